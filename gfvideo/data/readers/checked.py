"""What the readers share that decode with another library than the one that reads the packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ..first_bytes import may_cut_left, may_turn
from ..orientation import Orientation, display_matrix, orientation_of
from .base import USE_PYAV, IndexedReader, Make
from .pyav import PyAVReader

__all__ = ['CheckedReader']

T = TypeVar('T')


class CheckedReader(IndexedReader):
    """Another library's decoder, used only for files whose frames the index vouches for.

    Asked for a later frame than the last, both libraries decode on from there unless a key frame lies
    between; so ``iter_at`` asks them for one frame at a time.
    """

    def __init__(self, path: str, exact: bool, errors: tuple[type[Exception], ...]):
        super().__init__(path)
        self._errors = errors
        with PyAVReader(path, exact, probed=True) as reference:
            if reference.doubt:
                raise self._error(reference.doubt, USE_PYAV)
            self._count, self._index, self._stored_size = (
                len(reference),
                reference.index,
                reference.stored_size,
            )
            if self._index.discards:
                raise self._error('its container hides some of its pictures (an edit list?)', USE_PYAV)
            if self._index.has_leading:
                raise self._error('it has frames that refer back across a key frame', USE_PYAV)
            self._check_file(reference)
            self._content, self._times = reference.content, reference.times()
            cut_left = may_cut_left(reference.codec_name, reference.extradata)
            if not cut_left and not may_turn(path, self._content):
                return
            first = reference.first_as_others_see_it()
        if (first.height, first.width) != self._stored_size:
            raise self._error('the left edge of its pictures is to be cut off', USE_PYAV)
        self._check_orientation(orientation_of(display_matrix(first)))

    def times(self) -> np.ndarray:
        return self._times

    def _check_file(self, reference: PyAVReader) -> None:
        """Raise VideoError if the library must not see this file."""

    def _check_orientation(self, orientation: Orientation | None) -> None:
        """Raise VideoError unless the library turns pictures so."""
        if orientation is None or orientation.mirrored:
            raise self._error('its pictures are to be mirrored, or turned by less than a quarter', USE_PYAV)

    def _read(self, indices: list[int]) -> np.ndarray:
        """Frames ``(n, H, W, 3)`` uint8."""
        raise NotImplementedError

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        frames = self._attempt(self._read, wanted.tolist())
        self._decoded += len(frames)
        self._frame_size = frames.shape[1:3]
        return frames if make is None else self._stack(enumerate(frames), len(frames), make)

    def _check_count(self, count: int) -> None:
        if count != self._count:
            raise self._error(f'it counts {count} frames where there are {self._count}', USE_PYAV)

    def _attempt(self, call: Callable[..., T], *args: object, **kwargs: object) -> T:
        try:
            return call(*args, **kwargs)
        except self._errors as error:
            raise self._error(' '.join(str(error).split()), USE_PYAV) from error
