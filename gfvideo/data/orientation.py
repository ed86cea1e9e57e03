"""How a video asks to be turned and mirrored before it is shown: the display matrix of its frames (ISO
14496-12, 6.2.2)."""

from __future__ import annotations

import struct
from typing import NamedTuple

import av
import numpy as np
from av.buffer import Buffer

__all__ = ['UPRIGHT', 'Orientation', 'display_matrix', 'orientation_of']

NEARLY = 0.0175
"""Tangent of one degree, by which FFmpeg, too, lets a matrix miss a quarter turn."""


class Orientation(NamedTuple):
    """One of the eight ways to lay a rectangle on itself.

    Attributes:
        transposed: rows become columns, before the rest.
        flipped_x: left and right change places.
        flipped_y: top and bottom change places.
    """

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether it shows a mirror image, which no turning undoes."""
        return sum(self) % 2 == 1

    def of(self, picture: np.ndarray) -> np.ndarray:
        """``(H, W, 3)`` -> ``(H, W, 3)`` or ``(W, H, 3)`` as it is to be shown, a view."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flipped_y else 1, :: -1 if self.flipped_x else 1]


UPRIGHT = Orientation()


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of a frame's display matrix, row by row; None if it has none."""
    data = frame.side_data.get('DISPLAYMATRIX')
    if data is None:
        return None
    assert isinstance(data, Buffer)  # PyAV's types know of motion vectors alone
    return struct.unpack('=9i', data)


def orientation_of(matrix: tuple[int, ...] | None) -> Orientation | None:
    """What a display matrix ``(a b u, c d v, x y w)`` asks for; None if it is more than turning by quarters,
    mirroring and scaling.

    A point (p, q) of the stored picture is shown at (a p + c q, b p + d q). How far it is moved and scaled is
    not looked at: a picture is shown whole, in the pixels it has.
    """
    if matrix is None:
        return UPRIGHT
    a, b, u, c, d, v = matrix[:6]
    if u or v:
        return None
    straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
    if straight and max(abs(b), abs(c)) <= NEARLY * straight:
        return Orientation(False, a < 0, d < 0)
    if crossed and max(abs(a), abs(d)) <= NEARLY * crossed:
        return Orientation(True, c < 0, b < 0)
    return None
