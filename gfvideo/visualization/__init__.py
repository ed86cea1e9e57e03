"""Pictures: where the recognizer looked and what it said, and accuracy against cost."""

from .canvas import save_picture
from .curves import Curve, draw_curves
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
    'LOOK_COLOURS',
    'Curve',
    'NamedScore',
    'draw_curves',
    'draw_looks',
    'draw_sample',
    'patch_windows',
    'save_picture',
    'sheet',
    'step_predictions',
]
