"""What the readers share that decode with another library than the one that reads the packets."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .base import USE_PYAV, IndexedReader
from .pyav import PyAVReader

__all__ = ['CheckedReader']


class CheckedReader(IndexedReader):
    """Another library's decoder, used only for files whose frames the index vouches for.

    Asked for a later frame than the last, both libraries decode on from there unless a key frame lies between; so ``iter_at`` asks them
    for one frame at a time.
    """

    def __init__(self, path: str, exact: bool, errors: tuple[type[Exception], ...]):
        super().__init__(path)
        self._errors = errors
        with PyAVReader(path, exact) as reference:
            if reference.doubt:
                raise self._error(reference.doubt, USE_PYAV)
            self._count, self._index, self._stored_size = len(reference), reference.index, reference.stored_size

    def _read(self, indices: list[int]) -> np.ndarray:
        """Frames ``(n, H, W, 3)`` uint8."""
        raise NotImplementedError

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        frames = self._attempt(self._read, wanted.tolist())
        self._decoded += len(frames)
        return frames

    def _check_count(self, count: int) -> None:
        if count != self._count:
            raise self._error(f'it counts {count} frames where there are {self._count}', USE_PYAV)

    def _attempt(self, call: Callable, *args: object, **kwargs: object):
        try:
            return call(*args, **kwargs)
        except self._errors as error:
            raise self._error(' '.join(str(error).split()), USE_PYAV) from error
