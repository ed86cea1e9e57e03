"""Pictures: where the recognizer looked and what it said, as stills and as films; accuracy against cost."""

from .canvas import Canvas, save_picture
from .curves import Curve, draw_curves
from .film import Scene, draw_moment, draw_strip, frame_as_seen
from .film_files import FILM_FORMS, FORMS, STILL_FORMS, film_writer, form_of, write_page
from .moments import Moment, Spent, Window, as_glanced, window_of
from .patches import (
    LOOK_COLOURS,
    NamedScore,
    draw_looks,
    draw_sample,
    patch_windows,
    sheet,
    step_predictions,
)

__all__ = [
    'FILM_FORMS',
    'FORMS',
    'LOOK_COLOURS',
    'STILL_FORMS',
    'Canvas',
    'Spent',
    'Curve',
    'Moment',
    'NamedScore',
    'Scene',
    'Window',
    'as_glanced',
    'draw_curves',
    'draw_looks',
    'draw_moment',
    'draw_sample',
    'draw_strip',
    'film_writer',
    'form_of',
    'frame_as_seen',
    'patch_windows',
    'save_picture',
    'sheet',
    'step_predictions',
    'window_of',
    'write_page',
]
