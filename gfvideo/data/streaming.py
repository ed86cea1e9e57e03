"""Frames of a file, a camera or an iterator, one after the other, each through the test pipeline when it is
asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from os import PathLike
from typing import Any

import av
import cv2
import numpy as np
from torch import Tensor

from .dataset import Pipeline, describe_clip
from .orientation import UPRIGHT, display_matrix, orientation_of
from .readers import Decoder, HeldVideo, Reader, VideoError, channels_last, open_held, open_video
from .results import FrameNames, Results
from .transforms import DecodeFrames, SampleFrames

__all__ = [
    'CameraError',
    'FrameSource',
    'Source',
    'Video',
    'address_frames',
    'camera_frames',
    'describe_video',
    'is_stream_address',
]

Video = str | PathLike[str] | HeldVideo
"""A video file; a folder of images; frames ``(N, H, W, 3)`` or ``(N, 3, H, W)`` uint8 RGB, an array or a
tensor; the bytes of a video file; or an open decoder of torchcodec."""
Source = Video | int | Iterable[np.ndarray | Tensor]
"""A video, the number of a camera, an address (``rtsp://...``, ``http://...``), or anything that gives frames
``(H, W, 3)`` or ``(3, H, W)`` uint8 RGB and may never end."""

HELD = (np.ndarray, Tensor, bytes, bytearray, memoryview)
ADDRESSES = ('http', 'https', 'rtsp', 'rtsps', 'rtmp', 'rtp', 'udp', 'tcp', 'srt')

TIMEOUT = 10.0
"""Seconds that a camera may take to give a frame."""
AGAIN = 0.01
"""Seconds until a camera that gave nothing is asked again."""


class CameraError(RuntimeError):
    """There is no such camera, or something else holds it."""


Asked = queue.SimpleQueue[threading.Event | None]
Given = queue.SimpleQueue[np.ndarray | Exception | None]


def describe_video(video: Video, frame_template: str = '{:05d}.jpg', start_index: int = 1) -> Results:
    """What a pipeline needs to know of a video that is in no dataset.

    Raises:
        TypeError: if it is none of the things that a :data:`Video` is.
        ValueError: if an array or a tensor is not frames.
        VideoError: if bytes are no video.
    """
    if not isinstance(video, (str, PathLike)):
        reader = open_held(video)
        known = Results(
            path='',
            kind='video',
            video_id='frames',
            total_frames=len(reader),
            reader=reader,
            frame_template=frame_template,
            start_index=start_index,
            rng=np.random.default_rng(0),
        )
    else:
        known = describe_clip(video, frame_template=frame_template, start_index=start_index)
    known['label'] = None
    return known


def is_stream_address(source: object) -> bool:
    """Whether a source is to be fetched: text that begins like ``rtsp://`` or ``http://``."""
    return isinstance(source, str) and source.partition('://')[0].lower() in ADDRESSES and '://' in source


def address_frames(address: str, timeout: float | None = TIMEOUT) -> Generator[np.ndarray, None, None]:
    """Frames ``(H, W, 3)`` uint8 RGB from an address that FFmpeg can open, turned as they ask for, until they
    end or it is closed.

    Args:
        address: as of :func:`is_stream_address`: a network camera, or a video file on a server.
        timeout: longest wait for the connection and for a frame, in seconds; None waits for ever.

    Raises:
        VideoError: if there is no such address or no video at it.
        TimeoutError: if it gives nothing for so long.
        ValueError: if the timeout is not above 0.
    """
    _check_timeout(timeout)
    try:
        with av.open(address, timeout=timeout) as container:
            if not container.streams.video:
                raise VideoError(f'{address}: there is no picture in it; is it the right address?', address)
            for frame in container.decode(container.streams.video[0]):
                orientation = orientation_of(display_matrix(frame)) or UPRIGHT
                yield np.ascontiguousarray(orientation.of(frame.to_ndarray(format='rgb24')))
    except (
        av.error.ExitError,
        av.error.TimeoutError,
    ) as error:  # how FFmpeg says that it was told to give up
        raise TimeoutError(
            f'{address} has given no frame for {timeout:g} s; is it running, and reachable from here? If it'
            ' needs longer, give a longer timeout'
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f'{address}: it cannot be read ({error}); is the address right, and what is there running?',
            address,
        ) from error


def camera_frames(camera: int, timeout: float | None = TIMEOUT) -> Generator[np.ndarray, None, None]:
    """Frames ``(H, W, 3)`` uint8 RGB of a camera, each taken when asked for, until it is closed or unplugged.

    Args:
        camera: its number.
        timeout: longest wait for a frame, in seconds; None waits for ever.

    Raises:
        CameraError: if there is no such camera.
        TimeoutError: if it gives no frame for so long.
        ValueError: if the timeout is not above 0.
    """
    _check_timeout(timeout)
    capture = cv2.VideoCapture(camera)
    if not capture.isOpened():
        capture.release()
        raise CameraError(f'camera {camera} cannot be opened; is it plugged in, free, and its number right?')
    asked: Asked = queue.SimpleQueue()
    given: Given = queue.SimpleQueue()
    # nothing ends a read that hangs: it hangs in a thread that blocks nothing, and that thread releases the
    # camera
    thread = threading.Thread(
        target=_serve, args=(capture, asked, given), name=f'camera {camera}', daemon=True
    )
    thread.start()
    left, hangs = threading.Event(), False
    try:
        while True:
            asked.put(left)
            try:
                picture = given.get(timeout=timeout)
            except queue.Empty:
                hangs = True
                raise TimeoutError(
                    f'camera {camera} has given no frame for {timeout:g} s; is it plugged in, and used '
                    'by nothing else? If it needs longer, give a longer timeout'
                ) from None
            if isinstance(picture, Exception):
                raise picture
            if picture is None:
                return
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        left.set()
        asked.put(None)
        if not hangs:
            thread.join(timeout)


def _serve(capture: cv2.VideoCapture, asked: Asked, given: Given) -> None:
    """Put a BGR picture in ``given`` for each event in ``asked``; None when the camera is gone, or the error.

    A camera that gives nothing is asked again until the event is set. None in ``asked`` ends it.
    """
    try:
        while left := asked.get():
            found, picture = capture.read()
            while not found and capture.isOpened() and not left.wait(AGAIN):
                found, picture = capture.read()
            given.put(picture if found else None)
    except Exception as error:  # raised again where the frames are asked for
        given.put(error)
    finally:
        capture.release()


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not 0 < timeout <= threading.TIMEOUT_MAX:
        raise ValueError(f'timeout={timeout} must be a number of seconds above 0, or None to wait for ever')


class FrameSource:
    """The frames of a stream, ready for a preprocessor; close it when done.

    Args:
        source: a video is sampled as the pipeline says; cameras, addresses and iterators are read as they
            come.
        pipeline: transforms that start with SampleFrames and DecodeFrames and make one view; what follows
            works on each frame alone.
        every: take one frame out of so many; of a video, instead of the pipeline's sampling.
        frame_template, start_index: names and first number of the images of a folder.
        timeout: longest wait for a frame of a camera or an address, in seconds; None waits for ever.

    Attributes:
        sampled: whether the frames are those that the pipeline would choose for a clip.
        num_frames: T, frames of a clip of the pipeline.
        picture: ``(H, W, 3)`` uint8 RGB, the latest frame that was given, whole, before the pipeline.

    Raises:
        ValueError: if the pipeline cannot be run frame by frame, ``every`` is below 1, the timeout is not
            above 0 or an array is not frames.
        VideoError: if a video cannot be read.
    """

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        every: int | None = None,
        frame_template: str = '{:05d}.jpg',
        start_index: int = 1,
        timeout: float | None = TIMEOUT,
    ):
        _check_timeout(timeout)
        if every is not None and every < 1:
            raise ValueError(f'every={every} must be at least 1')
        starts, self._after = pipeline.steps[:2], pipeline.steps[2:]
        sample, decode = starts if len(starts) == 2 else (None, None)
        if type(sample) is not SampleFrames or type(decode) is not DecodeFrames:
            raise ValueError(
                f'the test pipeline starts with {", ".join(type(step).__name__ for step in starts)}; only'
                ' one that starts with SampleFrames, DecodeFrames can be run frame by frame'
            )
        self.num_frames, self._every = sample.num_frames, every or 1
        self._names = FrameNames(frame_template=frame_template, start_index=start_index)
        self.sampled, self._seen = False, 0
        self._reader: Reader | None = None  # of a video
        self._camera: Generator[np.ndarray, None, None] | None = None  # or an address
        self._frames: Iterable[np.ndarray | Tensor] = ()  # of a camera, an address or an iterator
        self.picture = np.empty((0, 0, 3), np.uint8)
        if is_stream_address(source):
            assert isinstance(source, str)
            self._frames = self._camera = address_frames(source, timeout)
        elif isinstance(source, (str, PathLike, *HELD)) or isinstance(source, Decoder):
            self.sampled = every is None
            self._open_video(describe_video(source, **self._names), sample, decode.reader)
        elif isinstance(source, int):
            self._frames = self._camera = camera_frames(source, timeout)
        elif not isinstance(source, Iterable):
            raise TypeError(
                f'{type(source).__name__} is no source of frames: give a video, the number of a camera, an'
                ' address, or an iterable of frames (H, W, 3) uint8 RGB'
            )
        else:
            self._frames = source

    def _open_video(self, results: Results, sample: SampleFrames, reader: str) -> None:
        if self.sampled:
            results = sample(results)
        self._reader = results.pop('reader', None) or open_video(
            results['path'], reader, template=results['frame_template'], start=results['start_index']
        )
        if not self.sampled:
            self._indices = np.arange(0, len(self._reader), self._every)
            return
        self._indices = results['frame_indices']
        if results['num_views'] != 1 or (np.diff(self._indices) < 0).any():
            self.close()
            raise ValueError(
                f'the test pipeline takes {results["num_views"]} views, frames {self._indices.tolist()}; a'
                ' stream is one view and only goes forward: use the strategy segment or uniform with views=1'
            )

    @property
    def planned(self) -> int | None:
        """How many frames will be given; None if unknown."""
        return None if self._reader is None else len(self._indices)

    @property
    def decoded(self) -> int:
        """Frames decoded so far (of a camera or iterator: taken)."""
        return self._seen if self._reader is None else self._reader.decoded

    def close(self) -> None:
        """Close the file, the camera or the connection; an iterator that was given stays open."""
        if self._reader is not None:
            self._reader.close()
        elif self._camera is not None:
            self._camera.close()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """(number of the frame, what the pipeline makes of it: with PackClip a clip of T = 1)."""
        for index, picture in self._numbered():
            yield index, self._transformed(index, picture)

    def _numbered(self) -> Iterator[tuple[int, np.ndarray | Tensor]]:
        if self._reader is not None:
            yield from zip(self._indices.tolist(), self._reader.iter_at(self._indices))
            return
        for index, picture in enumerate(self._frames):
            self._seen += 1
            if index % self._every == 0:
                yield index, picture

    def _transformed(self, index: int, picture: np.ndarray | Tensor) -> Any:
        if not isinstance(picture, np.ndarray | Tensor):
            raise ValueError(f'frame {index} is {type(picture).__name__}; give (H, W, 3) uint8 RGB')
        try:
            picture = self.picture = channels_last(picture, dims=3)
        except ValueError:
            form = str(picture.dtype).removeprefix('torch.')
            raise ValueError(
                f'frame {index} is {form} {tuple(picture.shape)}; give (H, W, 3) uint8 RGB or (3, H, W)'
            ) from None
        made: Any = Results(
            **self._names,
            path='',
            kind='video',
            video_id='stream',
            total_frames=None,
            num_views=1,
            frames=picture[None],
            label=None,
            frame_indices=np.array([index]),
            frame_size=picture.shape[:2],
            rng=np.random.default_rng(0),
        )
        for step in self._after:
            made = step(made)
        if made['inputs'].dim() != 4:
            raise ValueError('the test pipeline makes several crops of a frame; a stream is one view')
        return made
