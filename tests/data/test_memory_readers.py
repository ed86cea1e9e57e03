"""Videos that a program holds: tensors, arrays, bytes, open decoders."""

import gc
import os
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gfvideo.data.readers import BytesReader, DecoderReader, VideoError, channels_last, open_held, open_video
from gfvideo.data.streaming import describe_video

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 6, 8, 3), dtype=np.uint8)
PLANES = np.moveaxis(FRAMES, -1, 1)  # (5, 3, 6, 8)


@pytest.mark.parametrize(
    'video',
    [FRAMES, PLANES, torch.from_numpy(FRAMES), torch.from_numpy(PLANES.copy())],
    ids=['array', 'array of planes', 'tensor', 'tensor of planes'],
)
def test_frames_in_memory_whichever_way_they_lie(video):
    with open_held(video) as reader:
        assert (len(reader), reader.frame_size) == (5, (6, 8))
        np.testing.assert_array_equal(reader.get_frames([4, 0]), FRAMES[[4, 0]])
    described = describe_video(video)
    assert described['total_frames'] == 5 and described['video_id'] == 'frames'


def test_where_both_axes_are_three():
    frames = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    np.testing.assert_array_equal(channels_last(frames), frames)
    assert channels_last(torch.from_numpy(frames)).shape == (2, 4, 3, 3)


@pytest.mark.parametrize(
    'video, told',
    [
        (torch.rand(5, 3, 6, 8), r'tensor of shape \(5, 3, 6, 8\) and type float32.*\(255 \* x\)'),
        (torch.zeros(5, 6, 8, dtype=torch.uint8), r'tensor of shape \(5, 6, 8\) and type uint8'),
        (torch.zeros(5, 4, 6, 8, dtype=torch.uint8), r'shape \(5, 4, 6, 8\)'),
        (torch.zeros(5, 3, 6, 8, dtype=torch.int64), 'type int64'),
        (np.zeros((0, 6, 8, 3), np.uint8), r'array of shape \(0, 6, 8, 3\)'),
    ],
)
def test_what_is_no_video_is_named(video, told):
    with pytest.raises(ValueError, match=rf'{told}.*'):
        describe_video(video)
    with pytest.raises(ValueError, match=r'give frames \(N, H, W, 3\) uint8 RGB or \(N, 3, H, W\)'):
        describe_video(video)


@pytest.mark.parametrize('nothing', [None, 5, {'frames': 1}])
def test_other_things_are_no_videos(nothing):
    with pytest.raises(TypeError, match=f'{type(nothing).__name__} is no video: give a path'):
        describe_video(nothing)


def test_bytes_of_a_file_are_the_file(painted_video, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    path = painted_video(12)
    with open_video(path) as expected, BytesReader(path.read_bytes()) as reader:
        assert len(reader) == 12 and os.listdir(tmp_path)
        np.testing.assert_array_equal(reader.get_frames([3, 7]), expected.get_frames([3, 7]))
        assert [painted_video.read_number(frame) for frame in reader.iter_at([2, 5])] == [2, 5]
        assert reader.frame_size == (48, 128) and reader.decoded > 0
    assert not os.listdir(tmp_path)
    reader = BytesReader(memoryview(path.read_bytes()))
    del reader  # never closed
    gc.collect()
    assert not os.listdir(tmp_path)


def test_bytes_that_are_no_video(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    with pytest.raises(VideoError, match='9 bytes in memory'):
        open_held(b'not video')
    assert not os.listdir(tmp_path)


class Decoding:
    """As torchcodec's VideoDecoder is, which is not everywhere."""

    def __init__(self, planes: bool):
        self.planes = planes

    def __len__(self):
        return len(FRAMES)

    def get_frames_at(self, indices):
        frames = torch.from_numpy(np.ascontiguousarray(PLANES if self.planes else FRAMES))
        return SimpleNamespace(data=frames[indices])


@pytest.mark.parametrize('planes', [True, False])
def test_an_open_decoder(planes):
    with DecoderReader(Decoding(planes)) as reader:
        np.testing.assert_array_equal(reader.get_frames([3, 1, 3]), FRAMES[[3, 1, 3]])
        assert reader.decoded == 2 and len(reader) == 5
    assert describe_video(Decoding(planes))['total_frames'] == 5
