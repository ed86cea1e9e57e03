"""A picture in pixels: images pasted one to one, with text and outlines drawn over them by matplotlib (no
global state, no screen)."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ..files import write_atomically

__all__ = ['Canvas', 'fit_inside', 'resize', 'save_picture']

DPI = 100
INK = '#1f2328'

Align = Literal['left', 'center', 'right']


class Canvas:
    """A white picture of ``height`` x ``width`` pixels; positions are (y, x) pixels from the top left corner.

    Args:
        height: in pixels, at least 1.
        width: in pixels, at least 1.
    """

    def __init__(self, height: int, width: int):
        self.pixels = np.full((height, width, 3), 255, dtype=np.uint8)
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        self._agg = FigureCanvasAgg(self._figure)
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._axes.axis('off')

    def paste(self, image: np.ndarray, y: int, x: int) -> None:
        """Put ``image`` (h, w, 3) uint8 with its top left corner at (y, x), pixel by pixel."""
        height, width = image.shape[:2]
        self.pixels[y : y + height, x : x + width] = image

    def outline(
        self,
        y: float,
        x: float,
        height: float,
        width: float,
        colour: str,
        thickness: float = 2,
        dashed: bool = False,
    ) -> None:
        """Draw a rectangle over all images; ``thickness`` in pixels, centred on the edge."""
        self._axes.add_patch(
            Rectangle(
                (x, y),
                width,
                height,
                fill=False,
                edgecolor=colour,
                linewidth=thickness * 72 / DPI,
                linestyle=(0, (2, 1.5)) if dashed else 'solid',
                joinstyle='miter',
            )
        )

    def fill(self, y: float, x: float, height: float, width: float, colour: str) -> None:
        """Draw a filled rectangle over all images."""
        self._axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor='none'))

    def text(
        self,
        words: str,
        y: float,
        x: float,
        size: float = 14,
        colour: str = INK,
        bold: bool = False,
        align: Align = 'left',
    ) -> None:
        """Write one line; (y, x) is the middle of its left end, or of its centre or right end with ``align``
        'center', 'right'.

        ``size`` is the height of a line in pixels.
        """
        self._axes.add_artist(_line(words, y, x, size, colour, bold, align))

    def width_of(self, words: str, size: float = 14, bold: bool = False) -> float:
        """Width of a line of text in pixels."""
        return _width_of(words, size, bold)

    def wrap(
        self, words: str, width: float, size: float = 14, bold: bool = False, lines: int = 3
    ) -> list[str]:
        """Break ``words`` into at most ``lines`` lines of at most ``width`` pixels; what does not fit ends in
        an ellipsis."""
        rows: list[str] = []
        rest = words.split()
        while rest:
            count = len(rest)
            while count > 1 and self.width_of(' '.join(rest[:count]), size, bold) > width:
                count -= 1
            if len(rows) == lines - 1 and count < len(rest):
                rows.append(self._shorten(' '.join(rest), width, size, bold))
                break
            rows.append(self._shorten(' '.join(rest[:count]), width, size, bold))
            rest = rest[count:]
        return rows

    def render(self) -> np.ndarray:
        """The picture, ``(height, width, 3)`` uint8 RGB."""
        self._figure.patch.set_alpha(0)
        self._agg.draw()
        drawn = np.asarray(self._agg.buffer_rgba())  # (height, width, 4)
        alpha = drawn[..., 3:].astype(np.float32) / 255
        mixed = drawn[..., :3] * alpha + self.pixels * (1 - alpha)
        return (mixed + 0.5).astype(np.uint8)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file: ``.pdf`` and ``.svg`` with words and outlines as vectors over the images, any
        other ending in pixels.

        Raises:
            ValueError: if the ending is not that of a form that can be written.
        """
        path = Path(path)
        if path.suffix.lower() not in ('.pdf', '.svg'):
            save_picture(self.render(), path)
            return
        height, width = self.pixels.shape[:2]
        below = self._axes.imshow(self.pixels, extent=(0, width, height, 0), zorder=-1, interpolation='none')
        self._axes.set(xlim=(0, width), ylim=(height, 0), aspect='auto')
        content = BytesIO()
        self._figure.savefig(content, format=path.suffix.lower()[1:])
        below.remove()
        write_atomically(path, content.getvalue())

    def _shorten(self, words: str, width: float, size: float, bold: bool) -> str:
        if self.width_of(words, size, bold) <= width:
            return words
        while words and self.width_of(words + '…', size, bold) > width:
            words = words[:-1].rstrip()
        return words + '…'


def _line(words: str, y: float, x: float, size: float, colour: str, bold: bool, align: Align) -> Text:
    return Text(
        x,
        y,
        words,
        fontsize=size * 72 / DPI,
        color=colour,
        fontweight='bold' if bold else 'normal',
        horizontalalignment=align,
        verticalalignment='center_baseline',
        parse_math=False,
    )


@lru_cache(8192)  # the pictures of a film say the same again and again
def _width_of(words: str, size: float, bold: bool) -> float:
    figure = Figure(figsize=(1, 1), dpi=DPI)
    line = _line(words, 0, 0, size, INK, bold, 'left')
    line.set_figure(figure)
    return line.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width


def resize(image: np.ndarray, height: int, width: int, blocky: bool = False) -> np.ndarray:
    """Resize (H, W, 3) uint8: by the mean of the covered pixels when smaller, smoothly or (``blocky``) in
    squares when larger."""
    larger = cv2.INTER_NEAREST if blocky else cv2.INTER_CUBIC
    smaller = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(
        np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_AREA if smaller else larger
    )


def fit_inside(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Largest (height, width) of the shape of ``size`` that fits in ``room``; at least one pixel each way."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def save_picture(picture: np.ndarray, path: str | PathLike[str]) -> Path:
    """Write (H, W, 3) uint8 RGB to an image file (the ending says the form, e.g. ``.png``); folders are made.

    Raises:
        ValueError: if the ending is not that of an image form that OpenCV writes.
    """
    path = Path(path)
    if not cv2.haveImageWriter(path.name):
        raise ValueError(f'{path} does not end like an image file; end it in .png')
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, picture[..., ::-1])
    path.write_bytes(encoded.tobytes())
    return path
