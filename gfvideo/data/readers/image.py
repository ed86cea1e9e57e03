"""A picture in a file of its own: a video of one frame."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..video_index import VideoError
from .base import IndexedReader, Make

__all__ = ['IMAGES', 'ImageReader', 'is_image', 'read_image']

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')
"""Suffixes of pictures, in lower case."""
DEEP = ('I', 'F')  # what the modes of more than 8 bits begin with


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of a picture."""
    return os.path.splitext(os.fspath(path))[1].lower() in IMAGES


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """RGB ``(H, W, 3)`` uint8 of a picture of any mode with 8 bits, turned as its EXIF tag says.

    Raises:
        OSError: it is not there, cut off or damaged; UnidentifiedImageError if it is no picture.
        ValueError: it is too large to be one (decompression bombs), or has more than 8 bits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('error', Image.DecompressionBombWarning)
        warnings.filterwarnings('ignore', 'Palette images with Transparency')
        try:
            with Image.open(path) as picture:
                if picture.mode.startswith(DEEP):
                    raise ValueError(f'its pixels are of mode {picture.mode}, more than 8 bits')
                picture.load()
                return np.array(ImageOps.exif_transpose(picture).convert('RGB'))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, SyntaxError) as error:
            raise ValueError(str(error)) from error


class ImageReader(IndexedReader):
    """The one frame of a picture, read by Pillow.

    Args:
        path: a file with one of the suffixes :data:`IMAGES`.

    Raises (when the frame is read):
        VideoError: the file cannot be read.
    """

    name = 'image'

    def __init__(self, path: str):
        super().__init__(path)
        self._count = 1

    def close(self) -> None:
        pass

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        return (self._picture() for _ in wanted)

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        return self._stack([(0, self._picture())], 1, make)

    def _picture(self) -> np.ndarray:
        try:
            picture = read_image(self.path)
        except FileNotFoundError as error:
            raise self._fault('there is no such file', 'missing') from error
        except PermissionError as error:
            raise self._fault(error.strerror, 'unreadable') from error
        except UnidentifiedImageError as error:
            if not os.path.getsize(self.path):
                raise self._fault('it is empty', 'empty') from error
            raise self._fault('it is no picture', 'not_a_video') from error
        except OSError as error:
            raise self._fault(
                error, 'truncated' if 'truncated' in str(error).lower() else 'decode_error'
            ) from error
        except ValueError as error:
            raise self._fault(error, 'decode_error') from error
        self._decoded += 1
        return picture

    def _fault(self, reason: object, kind: str) -> VideoError:
        remedy = 'fetch it again, or drop it from the list'
        return VideoError.of(self.path, self.name, reason, remedy, kind)
