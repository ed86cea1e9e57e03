"""Videos that a program already holds: frames as an array or a tensor, the bytes of a file, an open decoder
of torchcodec."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from torch import Tensor

from ..video_index import VideoError
from .array import ArrayReader
from .base import DROP, IndexedReader, Make, Reader
from .opening import open_video

__all__ = ['BytesReader', 'Decoder', 'DecoderReader', 'HeldVideo', 'channels_last', 'open_held']


@runtime_checkable
class Decoder(Protocol):
    """What is needed of an open decoder; ``torchcodec.decoders.VideoDecoder`` has it."""

    def __len__(self) -> int: ...

    def get_frames_at(self, indices: Any) -> Any: ...


HeldVideo = np.ndarray | Tensor | bytes | bytearray | memoryview | Decoder
"""Frames ``(N, H, W, 3)`` or ``(N, 3, H, W)`` uint8 RGB, the bytes of a video file, or an open decoder."""


def open_held(video: HeldVideo, reader: str = 'auto') -> Reader:
    """A reader of a video in memory.

    Args:
        video: an array or a tensor of frames, bytes of a file, or an open decoder, which stays open.
        reader: of bytes, as of :func:`open_video`.

    Raises:
        ValueError: if an array or a tensor is not frames.
        VideoError: if the bytes are no video that can be read.
    """
    if isinstance(video, bytes | bytearray | memoryview):
        return BytesReader(video, reader)
    if isinstance(video, np.ndarray | Tensor):
        return ArrayReader(channels_last(video))
    return DecoderReader(video)


def channels_last(frames: np.ndarray | Tensor, dims: int = 4) -> np.ndarray:
    """Frames ``(N, H, W, 3)`` or ``(N, 3, H, W)`` as the first of the two; one frame with ``dims=3``.

    Where both 3s stand, a tensor is taken as ``(N, 3, H, W)`` and an array as ``(N, H, W, 3)``.

    Raises:
        ValueError: if they are not uint8 of such a shape.
    """
    shape, form = tuple(frames.shape), str(frames.dtype).removeprefix('torch.')
    last, first = (len(shape) == dims and shape[place] == 3 for place in (-1, -3))
    if form != 'uint8' or not (last or first) or 0 in shape:
        named = 'a tensor' if isinstance(frames, Tensor) else 'an array'
        raise ValueError(
            f'{named} of shape {shape} and type {form} is no'
            + (' video; give frames (N, H, W, 3) uint8 RGB or (N, 3, H, W)' if dims == 4 else _ONE)
            + (', values of 0 to 255: (255 * x).round() if they are in [0, 1]' if 'float' in form else '')
        )
    pixels = frames.detach().cpu().numpy() if isinstance(frames, Tensor) else frames
    planes_first = first and (not last or isinstance(frames, Tensor))
    return np.moveaxis(pixels, -3, -1) if planes_first else pixels


_ONE = ' frame; give (H, W, 3) uint8 RGB or (3, H, W)'


class DecoderReader(IndexedReader):
    """Frames of a decoder that the caller opened, and closes.

    Raises:
        TypeError: if it gives no frames by their numbers.
    """

    name = 'decoder'

    def __init__(self, decoder: Decoder):
        if not isinstance(decoder, Decoder):
            raise TypeError(
                f'{type(decoder).__name__} is no video: give a path, an array or a tensor of frames, the'
                ' bytes of a video file, or a VideoDecoder of torchcodec'
            )
        super().__init__(f'the {type(decoder).__name__}')
        self._decoder, self._count = decoder, len(decoder)

    def close(self) -> None:
        """It is not ours to close."""

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        try:
            pixels = self._decoder.get_frames_at(wanted.tolist()).data
        except (RuntimeError, OSError) as error:
            raise self._error(error, DROP) from error
        self._decoded += len(wanted)
        frames = channels_last(pixels)
        return frames if make is None else self._stack(enumerate(frames), len(frames), make)


class BytesReader:
    """Frames of a video file whose bytes are in memory; they lie in a temporary file until it is closed.

    Args:
        content: all of the file.
        reader: as of :func:`open_video`.

    Raises:
        VideoError: if they are no video that can be read.
    """

    def __init__(self, content: bytes | bytearray | memoryview, reader: str = 'auto'):
        folder = tempfile.mkdtemp(prefix='gfvideo-')
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = os.path.join(folder, 'video')
        with open(path, 'wb') as file:
            file.write(content)
        try:
            self._reader = open_video(path, reader)
        except VideoError as error:
            self._remove()
            told = str(error).replace(path, f'{len(content)} bytes in memory')
            raise VideoError(told, '', error.kind) from None

    def __len__(self) -> int:
        return len(self._reader)

    @property
    def frame_size(self) -> tuple[int, int]:
        return self._reader.frame_size

    @property
    def decoded(self) -> int:
        return self._reader.decoded

    def times(self) -> np.ndarray:
        return self._reader.times()

    def get_frames(self, indices: Sequence[int] | np.ndarray, make: Make | None = None) -> np.ndarray:
        return self._reader.get_frames(indices, make)

    def iter_at(self, indices: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
        return self._reader.iter_at(indices)

    def iter_frames(self) -> Iterator[np.ndarray]:
        return self._reader.iter_frames()

    def close(self) -> None:
        self._reader.close()
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
