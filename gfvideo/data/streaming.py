"""Frames of a file, a camera or an iterator, one after the other, each through the test pipeline when it is asked for."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

import cv2
import numpy as np

from .dataset import Pipeline, describe_clip
from .readers import ArrayReader, Reader, open_video
from .transforms import DecodeFrames, SampleFrames

__all__ = ['FrameSource', 'Source', 'Video', 'camera_frames', 'describe_video']

Video = str | PathLike[str] | np.ndarray
"""A video file, a folder of images, or frames ``(N, H, W, 3)`` uint8 RGB."""
Source = Video | int | Iterable[np.ndarray]
"""A video, the number of a camera, or anything that gives frames ``(H, W, 3)`` uint8 RGB and may never end."""


def describe_video(video: Video, frame_template: str = '{:05d}.jpg', start_index: int = 1) -> dict[str, Any]:
    """What a pipeline needs to know of a video that is in no dataset.

    Raises:
        ValueError: if an array is not frames.
    """
    if isinstance(video, np.ndarray):
        known = dict(path='', kind='video', video_id='frames', total_frames=len(video), reader=ArrayReader(video),
                     frame_template=frame_template, start_index=start_index, rng=np.random.default_rng(0))
    else:
        known = describe_clip(video, frame_template=frame_template, start_index=start_index)
    return dict(known, label=None)


def camera_frames(camera: int) -> Iterator[np.ndarray]:
    """Frames ``(H, W, 3)`` uint8 RGB of a camera, until it gives no more.

    Raises:
        RuntimeError: if there is no such camera.
    """
    capture = cv2.VideoCapture(camera)
    try:
        if not capture.isOpened():
            raise RuntimeError(f'camera {camera} cannot be opened; is it plugged in, free, and its number right?')
        while True:
            found, picture = capture.read()
            if not found:
                return
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


class FrameSource:
    """The frames of a stream, ready for a preprocessor; close it when done.

    Args:
        source: a video is sampled as the pipeline says; cameras and iterators are read as they come.
        pipeline: transforms that start with SampleFrames and DecodeFrames and make one view; what follows works on each frame alone.
        every: take one frame out of so many; of a video, instead of the pipeline's sampling.
        frame_template, start_index: names and first number of the images of a folder.

    Attributes:
        sampled: whether the frames are those that the pipeline would choose for a clip.
        num_frames: T, frames of a clip of the pipeline.

    Raises:
        ValueError: if the pipeline cannot be run frame by frame, ``every`` is below 1 or an array is not frames.
        VideoError: if a video cannot be read.
    """

    def __init__(self, source: Source, pipeline: Pipeline, every: int | None = None, frame_template: str = '{:05d}.jpg',
                 start_index: int = 1):
        if every is not None and every < 1:
            raise ValueError(f'every={every} must be at least 1')
        (steps,) = pipeline.args
        if [type(step) for step in steps[:2]] != [SampleFrames, DecodeFrames]:
            raise ValueError(f'the test pipeline starts with {", ".join(type(step).__name__ for step in steps[:2])}; only one that starts '
                             'with SampleFrames, DecodeFrames can be run frame by frame')
        sample, decode, *self._after = steps
        self.num_frames, self._every = sample.frames, every or 1
        self._names = dict(frame_template=frame_template, start_index=start_index)
        self._frames, self._reader, self._seen = None, None, 0
        is_video = isinstance(source, (str, PathLike, np.ndarray))
        self.sampled = is_video and every is None
        if not is_video:
            self._frames = camera_frames(source) if isinstance(source, int) else source
            self._opened_here = isinstance(source, int)
        else:
            self._open_video(describe_video(source, **self._names), sample, decode.reader)

    def _open_video(self, results: dict[str, Any], sample: SampleFrames, reader: str) -> None:
        if self.sampled:
            results = sample(results)
        self._reader: Reader = results.pop('reader', None) or open_video(results['path'], reader, template=results['frame_template'],
                                                                         start=results['start_index'])
        if not self.sampled:
            self._indices = np.arange(0, len(self._reader), self._every)
            return
        self._indices = results['frame_indices']
        if results['num_views'] != 1 or (np.diff(self._indices) < 0).any():
            self.close()
            raise ValueError(f'the test pipeline takes {results["num_views"]} views, frames {self._indices.tolist()}; a stream is one view '
                             'and only goes forward: use the strategy segment or uniform with views=1')

    @property
    def decoded(self) -> int:
        """Frames decoded so far (of a camera or iterator: taken)."""
        return self._seen if self._reader is None else self._reader.decoded

    def close(self) -> None:
        """Close the file or the camera; an iterator that was given stays open."""
        if self._reader is not None:
            self._reader.close()
        elif self._opened_here:
            self._frames.close()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """(number of the frame, what the pipeline makes of it: with PackClip a clip of T = 1)."""
        if self._reader is not None:
            numbered = zip(self._indices.tolist(), self._reader.iter_at(self._indices))
        else:
            numbered = self._taken()
        for index, picture in numbered:
            yield index, self._transformed(index, picture)

    def _taken(self) -> Iterator[tuple[int, np.ndarray]]:
        for index, picture in enumerate(self._frames):
            self._seen += 1
            if index % self._every == 0:
                yield index, picture

    def _transformed(self, index: int, picture: np.ndarray) -> Any:
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
            told = f'{picture.dtype} {picture.shape}' if isinstance(picture, np.ndarray) else type(picture).__name__
            raise ValueError(f'frame {index} is {told}; give (H, W, 3) uint8 RGB')
        results = dict(self._names, path='', kind='video', video_id='stream', total_frames=None, num_views=1, frames=picture[None],
                       label=None, frame_indices=np.array([index]), frame_size=picture.shape[:2], rng=np.random.default_rng(0))
        for step in self._after:
            results = step(results)
        if results['inputs'].dim() != 4:
            raise ValueError('the test pipeline makes several crops of a frame; a stream is one view')
        return results
