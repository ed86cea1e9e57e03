"""Frames by decord."""

from __future__ import annotations

import io
import os
from types import ModuleType

import numpy as np

from ..orientation import UPRIGHT, Orientation
from .base import USE_PYAV
from .checked import CheckedReader
from .pyav import PyAVReader

__all__ = ['DecordReader', 'import_decord']

MOST_FRAMES = 10**7
"""A header that says more is wrong: four days at 30 frames a second. For as many, decord takes 160 MB at
once."""


class DecordReader(CheckedReader):
    """decord's ``VideoReader``, told to raise where it would silently repeat a frame, one thread."""

    name = 'decord'

    def __init__(self, path: str, exact: bool = False):
        decord = import_decord()
        super().__init__(
            path, exact, (decord.DECORDError, RuntimeError, ValueError, IndexError, KeyError, OSError)
        )
        if self._stored_size[0] % 2:
            raise self._error(
                f'its height is odd ({self._stored_size[0]}), and decord gives such pictures other colours',
                USE_PYAV,
            )
        self._decoder = self._attempt(
            decord.VideoReader,
            os.path.abspath(path) if self._content is None else io.BytesIO(self._content),
            num_threads=1,
            fault_tol=1,
        )
        self._check_count(len(self._decoder))

    def _check_file(self, reference: PyAVReader) -> None:
        # decord makes room for as many frames as the header speaks of and, out of memory, ends the process
        count, held = reference.header_count, self._index.stored
        if count > held:
            raise self._error(f'its header speaks of {count} frames, and it holds {held}', USE_PYAV)
        if not count and reference.header_seconds * reference.header_rate > MOST_FRAMES:
            raise self._error(
                f'its header speaks of {reference.header_seconds:g} s of {reference.header_rate:g} frames '
                f'each, and it holds {held}',
                USE_PYAV,
            )
        self._container_name = reference.container_name

    def _check_orientation(self, orientation: Orientation | None) -> None:
        super()._check_orientation(orientation)
        if orientation != UPRIGHT and not self._container_name.startswith('mov'):
            raise self._error(
                f'its pictures are to be turned, and decord does not see that in {self._container_name}',
                USE_PYAV,
            )

    def _read(self, indices: list[int]) -> np.ndarray:
        return self._decoder.get_batch(indices).asnumpy()

    def close(self) -> None:
        self._decoder = None


def import_decord() -> ModuleType:
    try:
        import decord
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            f"decord cannot be imported ({error}); install it (pip install decord) or use reader='pyav'"
        ) from error
    decord.logging.set_level(decord.logging.QUIET)  # what goes wrong is raised
    return decord
