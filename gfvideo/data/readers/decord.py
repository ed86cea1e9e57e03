"""Frames by decord."""
from __future__ import annotations

import os
from types import ModuleType

import numpy as np

from .base import USE_PYAV
from .checked import CheckedReader

__all__ = ['DecordReader', 'import_decord']


class DecordReader(CheckedReader):
    """decord's ``VideoReader``, told to raise where it would silently repeat a frame, one thread."""

    name = 'decord'

    def __init__(self, path: str, exact: bool = False):
        decord = import_decord()
        super().__init__(path, exact, (decord.DECORDError, RuntimeError, ValueError, IndexError, KeyError, OSError))
        if self._stored_size[0] % 2:
            raise self._error(f'its height is odd ({self._stored_size[0]}), and decord gives such pictures other colours', USE_PYAV)
        if self._index.has_leading:
            raise self._error('it has frames that refer back across a key frame, and decord gives wrong ones there', USE_PYAV)
        self._decoder = self._attempt(decord.VideoReader, os.path.abspath(path), num_threads=1, fault_tol=1)
        self._check_count(len(self._decoder))

    def _read(self, indices: list[int]) -> np.ndarray:
        return self._decoder.get_batch(indices).asnumpy()

    def close(self) -> None:
        self._decoder = None


def import_decord() -> ModuleType:
    try:
        import decord
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(f"decord cannot be imported ({error}); install it (pip install decord) or use reader='pyav'") from error
    decord.logging.set_level(decord.logging.QUIET)      # what goes wrong is raised
    return decord
