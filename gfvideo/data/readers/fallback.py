"""Frames of one reader, and of PyAV from the first frame on that it fails at."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from ..video_index import VideoError
from .base import IndexedReader
from .pyav import PyAVReader

__all__ = ['FallbackReader']


class FallbackReader(IndexedReader):
    """What ``first`` reads; from the call or, in ``iter_at``, the frame on that it fails at, PyAV reads in
    its place.

    Args:
        first: a reader that is open. It has the same frames at the same indices as PyAV's.
    """

    def __init__(self, first: IndexedReader):
        super().__init__(first.path)
        self.name, self._count = first.name, len(first)
        self._first, self._second = first, None

    @property
    def decoded(self) -> int:
        return self._first.decoded + (self._second.decoded if self._second else 0)

    def iter_frames(self) -> Iterator[np.ndarray]:
        count, few = len(self), 16
        for first in range(0, count, few):
            if self._second:
                # goes on where it is, chunks would begin anew
                yield from self._second.iter_at(range(first, count))
                return
            yield from self.get_frames(range(first, min(first + few, count)))

    def close(self) -> None:
        for reader in (self._first, self._second):
            if reader:
                reader.close()

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        frames = self._by_first(wanted)
        return self._second.get_frames(wanted) if frames is None else frames

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        for given in range(len(wanted)):
            frames = self._by_first(wanted[given : given + 1])
            if frames is None:
                yield from self._second.iter_at(wanted[given:])
                return
            yield frames[0]

    def _by_first(self, wanted: np.ndarray) -> np.ndarray | None:
        """Frames by the first reader; None if it fails or has failed before, and PyAV is open then."""
        if self._second:
            return None
        try:
            return self._first.get_frames(wanted)
        except VideoError:
            self._second = PyAVReader(self.path)
            return None
