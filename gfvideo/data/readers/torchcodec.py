"""Frames by torchcodec."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np

from .checked import CheckedReader

__all__ = ['TorchCodecReader', 'import_torchcodec']


class TorchCodecReader(CheckedReader):
    """torchcodec's ``VideoDecoder`` in its exact mode, one thread."""

    name = 'torchcodec'

    def __init__(self, path: str, exact: bool = False):
        decoders = import_torchcodec()
        super().__init__(path, exact, (RuntimeError, ValueError, IndexError, KeyError, OSError))
        self._decoder = self._attempt(
            decoders.VideoDecoder,
            os.path.abspath(path) if self._content is None else self._content,
            dimension_order='NHWC',
            num_ffmpeg_threads=1,
            seek_mode='exact',
        )
        self._check_count(len(self._decoder))

    def _read(self, indices: list[int]) -> np.ndarray:
        return self._decoder.get_frames_at(indices).data.numpy()

    def close(self) -> None:
        self._decoder = None


def import_torchcodec() -> ModuleType:
    """``torchcodec.decoders``; a torchcodec built for another torch or without FFmpeg raises RuntimeError or
    OSError."""
    try:
        from torchcodec import decoders
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            f"torchcodec cannot be imported ({str(error).splitlines()[0]}); use reader='pyav'"
        ) from error
    return decoders
