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
        self._first = first
        self._second: PyAVReader | None = None

    @property
    def decoded(self) -> int:
        return self._first.decoded + (0 if self._second is None else self._second.decoded)

    def iter_frames(self) -> Iterator[np.ndarray]:
        count, few = len(self), 16
        for first in range(0, count, few):
            if self._second is not None:
                # goes on where it is, chunks would begin anew
                yield from self._second.iter_at(range(first, count))
                return
            yield from self.get_frames(range(first, min(first + few, count)))

    def close(self) -> None:
        self._first.close()
        if self._second is not None:
            self._second.close()

    def _decode(self, wanted: np.ndarray) -> np.ndarray:
        read = self._read(wanted)
        return read if isinstance(read, np.ndarray) else read.get_frames(wanted)

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        for given in range(len(wanted)):
            read = self._read(wanted[given : given + 1])
            if not isinstance(read, np.ndarray):
                yield from read.iter_at(wanted[given:])
                return
            yield read[0]

    def _read(self, wanted: np.ndarray) -> np.ndarray | PyAVReader:
        """Frames by the first reader; if it fails or has failed before, the reader that is to read them."""
        if self._second is None:
            try:
                return self._first.get_frames(wanted)
            except VideoError:
                self._second = PyAVReader(self.path)
        return self._second
