"""Frames that are in memory."""

from __future__ import annotations

import numpy as np

from .base import IndexedReader, Make

__all__ = ['ArrayReader']


class ArrayReader(IndexedReader):
    """Frames in memory ``(N, H, W, 3)`` uint8 RGB; those handed out count as decoded.

    Raises:
        ValueError: if an array is not frames.
    """

    name = 'array'

    def __init__(self, frames: np.ndarray):
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise ValueError(
                f'an array of shape {frames.shape} and type {frames.dtype} is no video; give frames (N, H, W,'
                ' 3) uint8 RGB'
            )
        super().__init__('the array')
        self.frames, self._count, self._frame_size = frames, len(frames), frames.shape[1:3]

    def close(self) -> None:
        pass

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        self._decoded += len(wanted)
        frames = self.frames[wanted]
        return frames if make is None else self._stack(enumerate(frames), len(frames), make)
