"""PyAV goes on where another reader fails: no frame is lost or comes twice."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import pytest

from gfvideo.data.readers import PyAVReader, VideoError, open_video, opening
from gfvideo.data.readers.fallback import FallbackReader

COUNT = 20
H264 = {'options': {'x264-params': 'bframes=2:keyint=6:min-keyint=6:scenecut=0:b-adapt=0'}}


def numbers(painted_video, frames: Iterable[np.ndarray]) -> list[int]:
    return [painted_video.read_number(frame) for frame in frames]


class Failing:
    """PyAV under another name, which fails at every call that asks for frame ``fails`` or a later one."""

    name = 'torchcodec'

    def __init__(self, path: str, fails: int):
        self.path, self.fails, self.closed = path, fails, False
        self.decoded, self.inner = 0, PyAVReader(path)

    def __len__(self) -> int:
        return len(self.inner)

    def get_frames(self, indices: np.ndarray) -> np.ndarray:
        if max(indices) >= self.fails:
            raise VideoError.of(
                self.path, self.name, 'no more frames left to decode', 'read it in another way'
            )
        self.decoded += len(indices)
        return self.inner.get_frames(indices)

    def close(self) -> None:
        self.closed = True
        self.inner.close()


@pytest.fixture
def failing(painted_video, monkeypatch):
    """Opens a video with 'auto' where torchcodec fails from a frame on; ``.made`` are the readers that do."""
    monkeypatch.setattr(opening, 'torchcodec_imports', lambda: True)
    path = painted_video(COUNT, **H264)

    def opened(fails: int) -> FallbackReader:
        def open_failing(path: str, exact: bool) -> Failing:
            opened.made.append(Failing(path, fails))
            return opened.made[-1]

        monkeypatch.setattr(opening, 'TorchCodecReader', open_failing)
        return open_video(path)

    opened.made = []
    return opened


@pytest.mark.parametrize('fails', [0, 1, 7, 16, 17, COUNT - 1, COUNT])
def test_auto_goes_on_where_torchcodec_fails(painted_video, failing, fails):
    with failing(fails) as video:
        assert numbers(painted_video, video.iter_at(range(COUNT))) == list(range(COUNT))
    with failing(fails) as video:
        assert numbers(painted_video, video.iter_frames()) == list(range(COUNT))
        assert numbers(painted_video, video.get_frames([9, 2, 9])) == [9, 2, 9]
    with failing(fails) as video:
        assert numbers(painted_video, video.get_frames([19, 3, 3])) == [19, 3, 3]
        assert (len(video), video.frame_size) == (COUNT, (48, 128))
    with failing(fails) as video:
        assert video.frame_size == (48, 128)


def test_what_auto_has_decoded_goes_on(painted_video, failing):
    with failing(3) as video:
        counts = []
        for index, frame in zip([0, 1, 2, 6, 7, 19], video.iter_at([0, 1, 2, 6, 7, 19]), strict=True):
            assert painted_video.read_number(frame) == index
            counts.append(video.decoded)
        assert counts[:3] == [1, 2, 3] and (np.diff(counts) > 0).all()  # frame 6 is a key frame
        assert counts[3] <= 3 + 3  # PyAV begins there, not at frame 0
        between, *_ = video.iter_at([1]), video.get_frames([4])
        assert painted_video.read_number(next(between)) == 1
    (first,) = failing.made
    assert first.closed


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='counts open files in /proc')
def test_auto_closes_both(failing):
    before = len(os.listdir('/proc/self/fd'))
    with failing(3) as video:
        video.get_frames([4])
        assert len(os.listdir('/proc/self/fd')) == before + 2
    assert len(os.listdir('/proc/self/fd')) == before


def test_walks_of_auto_that_interleave(painted_video, failing):
    with failing(5) as video:
        ours, others = range(0, COUNT, 2), range(1, COUNT, 2)
        for number, (one, other) in enumerate(zip(video.iter_at(ours), video.iter_at(others), strict=True)):
            assert numbers(painted_video, [one, other]) == [2 * number, 2 * number + 1]


def test_auto_tells_what_pyav_says_where_both_fail(failing, monkeypatch):
    with failing(2) as video:
        with pytest.raises(IndexError, match=f'no frame {COUNT}, it has {COUNT} frames'):
            video.get_frames([COUNT])

        def broken(self, indices):
            raise VideoError.of(self.path, self.name, 'a packet does not decode', 'drop it from the list')

        monkeypatch.setattr(PyAVReader, 'get_frames', broken)
        with pytest.raises(VideoError, match='pyav cannot read this video: a packet does not decode'):
            video.get_frames([3])
