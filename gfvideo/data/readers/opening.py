"""Which reader opens a path."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..video_index import VideoError
from .base import Reader
from .decord import DecordReader
from .fallback import FallbackReader
from .folder import FolderReader
from .pyav import PyAVReader
from .torchcodec import TorchCodecReader, torchcodec_imports

__all__ = ['READERS', 'open_video']

READERS: dict[str, Callable[[str, bool], Reader]] = {
    'torchcodec': TorchCodecReader,
    'pyav': PyAVReader,
    'decord': DecordReader,
}


def open_video(
    path: str | os.PathLike[str],
    reader: str = 'auto',
    *,
    exact: bool = False,
    template: str = '{:05d}.jpg',
    start: int = 1,
) -> Reader:
    """Open a video file, or a folder of images, for reading frames by index.

    Args:
        path: the file or the folder.
        reader: ``'torchcodec'``, ``'pyav'``, ``'decord'`` or ``'auto'``: torchcodec if it can be imported,
            else PyAV. What torchcodec refuses, at once or at a later frame, is read by PyAV, too. Not used
            for folders.
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
    if os.path.isdir(path):
        return FolderReader(path, template, start)
    if reader == 'auto':
        return _open_auto(path, exact)
    if reader not in READERS:
        raise ValueError(
            f'no reader is called {reader!r}; there are {", ".join(map(repr, ["auto", *READERS]))}'
        )
    return READERS[reader](path, exact)


def _open_auto(path: str, exact: bool) -> Reader:
    if torchcodec_imports():
        try:
            return FallbackReader(TorchCodecReader(path, exact))
        except VideoError:
            pass  # PyAV reads more, and gives the better reason if it does not
    return PyAVReader(path, exact)
