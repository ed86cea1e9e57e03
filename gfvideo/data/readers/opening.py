"""Which reader opens a path."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..shards import member_of
from .base import Reader
from .decord import DecordReader
from .folder import FolderReader
from .image import ImageReader, is_image
from .pyav import PyAVReader
from .torchcodec import TorchCodecReader

__all__ = ['READERS', 'open_video']

READERS: dict[str, Callable[[str, bool], Reader]] = {
    'torchcodec': TorchCodecReader,
    'pyav': PyAVReader,
    'decord': DecordReader,
}
AUTO = 'pyav'
"""It decodes fewest frames: no index is made twice, and pictures of H.264 that no other needs are skipped."""


def open_video(
    path: str | os.PathLike[str],
    reader: str = 'auto',
    *,
    exact: bool = False,
    template: str = '{:05d}.jpg',
    start: int = 1,
) -> Reader:
    """Open a video file, a folder of images, or a picture (a video of one frame), for reading by index.

    Args:
        path: the file or the folder, or a video in a shard (:mod:`gfvideo.data.shards`).
        reader: ``'pyav'``, ``'torchcodec'`` or ``'decord'``; ``'auto'`` is PyAV, which reads most and,
            measured on H.264 and VP9, fastest. Not used for folders.
        exact: decode the whole file once to count its frames. Otherwise they are counted without decoding
            wherever packets can be relied on to be frames; a packet that then does not decode shows as a
            :class:`VideoError` when its frame is asked for.
        template, start: form of the names, and first number, of the images of a folder; not used for files.

    Returns:
        a :class:`Reader`; use it in a ``with`` statement.

    Raises:
        VideoError: the file cannot be read; the message says why and what to do.
        ValueError: no such reader.
        ImportError: the reader asked for cannot be imported.
    """
    path = os.fspath(path)
    if member_of(path) is None and os.path.isdir(path):
        return FolderReader(path, template, start)
    if is_image(path):
        return ImageReader(path)
    reader = AUTO if reader == 'auto' else reader
    if reader not in READERS:
        raise ValueError(
            f'no reader is called {reader!r}; there are {", ".join(map(repr, ["auto", *READERS]))}'
        )
    return READERS[reader](path, exact)
