"""Frames in a folder of images."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Generator, Iterator
from functools import cache

import cv2
import numpy as np

from .base import IndexedReader, Make

__all__ = ['FolderReader']


class FolderReader(IndexedReader):
    """A folder of numbered images, one a frame; frame 0 is the image with number ``start``.

    Args:
        path: the folder.
        template: form of the names with one number, ``'{:05d}.jpg'`` or ``'img_{:05d}.jpg'``; other files are
            not frames.
        start: number of the first image.

    Raises:
        VideoError: no image of that form, or a number missing between the first and the last.
        ValueError: a template without exactly one number.
    """

    name = 'folder'

    def __init__(self, path: str, template: str = '{:05d}.jpg', start: int = 1):
        super().__init__(path)
        self.template, self.start = template, start
        self._count = self._count_images()

    def close(self) -> None:
        pass

    def iter_frames(self) -> Iterator[np.ndarray]:
        return self._walk(np.arange(len(self)))

    def _walk(self, wanted: np.ndarray) -> Generator[np.ndarray, None, None]:
        return (self._image(index) for index in wanted.tolist())

    def _decode(self, wanted: np.ndarray, make: Make | None = None) -> np.ndarray:
        images = ((row, self._image(index)) for row, index in enumerate(wanted.tolist()))
        return self._stack(images, len(wanted), make)

    def _count_images(self) -> int:
        pattern = _pattern_of(self.template)
        if not os.path.isdir(self.path):
            raise self._error('there is no such folder', 'correct the path or the root of the dataset')
        matches = (pattern.fullmatch(name) for name in os.listdir(self.path))
        numbers = {
            int(match[1])
            for match in matches
            if match and self.template.format(int(match[1])) == match.string
        }
        if not numbers:
            raise self._error(
                f'no image in it is named like {self.template.format(self.start)}',
                'correct the template or the path',
            )
        gaps = set(range(self.start, max(numbers) + 1)) ^ numbers
        if gaps:
            what = (
                'is missing' if min(gaps) not in numbers else f'comes before the first number, {self.start}'
            )
            raise self._error(
                f'{self.template.format(min(gaps))} {what}', 'extract its frames again, or correct the start'
            )
        return len(numbers)

    def _image(self, index: int) -> np.ndarray:
        file = os.path.join(self.path, self.template.format(index + self.start))
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        if image is None:
            raise self._error(f'{os.path.basename(file)} is no image', 'extract its frames again')
        self._decoded += 1
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)  # (H, W, 3)


@cache
def _pattern_of(template: str) -> re.Pattern[str]:
    parts = list(string.Formatter().parse(template))
    if sum(field is not None for _, field, _, _ in parts) != 1:
        raise ValueError(f"the template {template!r} must hold one number, as '{{:05d}}.jpg' does")
    return re.compile(
        ''.join(re.escape(text) + (r'(\d+)' if field is not None else '') for text, field, _, _ in parts)
    )
