"""What a film of looks tells: one moment after the other, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..ops import ResizeMode, patch_corners, resize_frames

__all__ = ['Moment', 'Spent', 'Window', 'as_glanced', 'window_of']


@dataclass(frozen=True)
class Window:
    """A rectangle in pixels: of a patch, in the frame that the recognizer is given; or of the field of view,
    in the frame of the video."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Spent:
    """GMACs (1e9 multiply-adds) at a moment.

    Attributes:
        so_far: of the looks taken so far.
        all_looks: of every look at every frame.
        whole: of watching every frame whole, without looks; None where that is not known.
    """

    so_far: float
    all_looks: float
    whole: float | None = None


@dataclass(frozen=True)
class Moment:
    """One picture of the film.

    Attributes:
        picture: ``(H, W, 3)`` uint8 RGB, the whole frame of the video.
        seen: ``(h, w, 3)`` uint8 RGB, what the recognizer is given of it.
        field: where ``seen`` lies in ``picture``; None if unknown, then only ``seen`` is drawn.
        index: number of the frame in the video, from 0.
        place: which of ``taken`` it is.
        windows: S of them, where each look was cut in ``seen``; None of one that is not taken, or not yet.
        taken: for every frame of the clip, or of the stream so far and as far as is known to come, the number
            of the latest look: 0 is the glance, -1 is none yet.
        skipped: for every frame of ``taken``, whether no more looks will be taken there.
        probabilities: ``(C,)`` the prediction so far; None before there is one.
        costs: at this moment.
        watched: whether the recognizer looked at this frame; one that was skipped is drawn in grey.
        status: what happens, in a line.
        end: whether the recognizer has stopped.
    """

    picture: np.ndarray
    seen: np.ndarray
    field: Window | None
    index: int
    place: int
    windows: Sequence[Window | None]
    taken: Sequence[int]
    skipped: Sequence[bool]
    probabilities: np.ndarray | None
    costs: Spent
    watched: bool = True
    status: str = ''
    end: bool = False

    @property
    def looks(self) -> int:
        """Looks taken at this frame so far; -1 before the glance."""
        return self.taken[self.place]


def window_of(
    centre: Sequence[float],
    seen: tuple[int, int],
    patch_size: tuple[int, int],
    window_size: Sequence[float] | None = None,
) -> Window | None:
    """Where a look was cut.

    Args:
        centre: (y, x) in [0, 1]; nan where no look was taken.
        seen: (height, width) of the frame that it was cut from.
        patch_size: (height, width) of the patch.
        window_size: of what was cut, where the policy chose that, too.
    """
    if np.isnan(centre).any():
        return None
    if window_size is None:
        top, left = patch_corners(torch.tensor(centre)[None], seen, patch_size)[0].floor().tolist()
        return Window(top, left, *patch_size)
    height, width = window_size
    return Window(centre[0] * (seen[0] - height), centre[1] * (seen[1] - width), height, width)


def as_glanced(
    frames: np.ndarray, size: tuple[int, int] | None, how: ResizeMode = 'antialiased'
) -> np.ndarray:
    """Frames ``(T, H, W, 3)`` uint8 as small as the glance reads them, resized as the recognizer does; as
    they are without a size."""
    if size is None or tuple(frames.shape[1:3]) == tuple(size):
        return frames
    clip = rearrange(torch.from_numpy(np.ascontiguousarray(frames)), 't h w c -> 1 t c h w').float()
    small: Tensor = resize_frames(clip, (size[0], size[1]), how).round().clamp(0, 255).byte()
    return rearrange(small, '1 t c h w -> t h w c').numpy()


def cut(seen: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """The pixels of a look, ``(*size, 3)``, enlarged in squares."""
    top, left = round(window.top), round(window.left)
    high, wide = max(1, round(window.height)), max(1, round(window.width))
    pixels = np.ascontiguousarray(seen[top : top + high, left : left + wide])
    smaller = size[0] * size[1] < high * wide
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=how))
