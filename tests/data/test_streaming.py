from __future__ import annotations

import itertools
import socket
import threading
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gfvideo.data import streaming
from gfvideo.data.dataset import build_pipeline
from gfvideo.data.readers import VideoError
from gfvideo.data.streaming import (
    FrameSource,
    address_frames,
    camera_frames,
    describe_video,
    is_stream_address,
)

COUNT, T = 20, 4


def pipeline(*after, frames=T, decode=None, **options):
    return build_pipeline(
        [
            dict(type='SampleFrames', frames=frames, test_mode=True, **options),
            decode or dict(type='DecodeFrames'),
            *after,
            dict(type='PackClip'),
        ]
    )


def numbers(source, painted_video):
    """What the frames themselves say: which frame of the video each is."""
    return [painted_video.read_number(data['inputs'][0].permute(1, 2, 0).numpy()) for _, data in source]


@pytest.fixture(scope='module')
def painted(painted_video):
    return np.stack([painted_video.frame(number) for number in range(COUNT)])


@pytest.fixture(scope='module')
def video(painted_video):
    """Every frame depends on those before alone, so none is decoded ahead of the one that is asked for."""
    return painted_video(COUNT, options={'bf': '0', 'tune': 'zerolatency'})


@pytest.fixture(scope='module')
def folder(tmp_path_factory, painted):
    folder = tmp_path_factory.mktemp('frames') / 'clip.7'
    folder.mkdir()
    for number, frame in enumerate(painted):
        cv2.imwrite(str(folder / f'img_{number:03d}.png'), frame[..., ::-1])
    return folder


NAMES = dict(frame_template='img_{:03d}.png', start_index=0)


@pytest.fixture(params=['array', 'file', 'folder'])
def source(request, painted, video, folder):
    return dict(array=painted, file=video, folder=str(folder))[request.param]


# ---- videos


def test_frames_are_those_of_the_clip(source, painted_video):
    clip = pipeline(dict(type='Resize', size=(24, 64)))(describe_video(source, **NAMES))
    frames = FrameSource(source, pipeline(dict(type='Resize', size=(24, 64))), **NAMES)
    assert frames.sampled and frames.num_frames == T
    read = list(frames)
    assert [index for index, _ in read] == clip['data_samples'].frame_indices
    assert all(data['inputs'].shape == (1, 3, 24, 64) for _, data in read)
    assert torch.equal(torch.cat([data['inputs'] for _, data in read]), clip['inputs'])
    assert [data['data_samples'].frame_indices for _, data in read] == [[index] for index, _ in read]
    assert 'gt_label' not in read[0][1]['data_samples']
    assert numbers(FrameSource(source, pipeline(), **NAMES), painted_video) == [index for index, _ in read]
    frames.close()


@pytest.mark.parametrize('every', [1, 3, COUNT, 100])
def test_one_frame_out_of_so_many(source, painted_video, every):
    frames = FrameSource(source, pipeline(), every, **NAMES)
    assert not frames.sampled
    assert numbers(frames, painted_video) == list(range(0, COUNT, every))
    assert [index for index, _ in FrameSource(source, pipeline(), every, **NAMES)] == list(
        range(0, COUNT, every)
    )


def test_a_short_video_repeats_frames(painted, painted_video):
    frames = FrameSource(painted[:2], pipeline())
    assert (
        numbers(frames, painted_video)
        == pipeline()(describe_video(painted[:2]))['data_samples'].frame_indices
        == [0, 0, 1, 1]
    )
    assert frames.decoded == 2


def test_nothing_is_decoded_before_it_is_asked_for(source):
    frames = FrameSource(source, pipeline(), **NAMES)
    assert frames.decoded == 0
    counts = []
    for index, _ in frames:
        counts.append((index, frames.decoded))
    if str(source).endswith('.mp4'):  # the way to a frame is decoded too, but not what follows
        assert all(decoded <= index + 1 for index, decoded in counts) and counts[1][1] < counts[3][1]
    else:
        assert [decoded for _, decoded in counts] == [1, 2, 3, 4]


def test_a_stream_that_is_left_decodes_no_more(video):
    frames = FrameSource(video, pipeline(), every=1)
    assert next(iter(frames))[0] == 0
    assert frames.decoded == 1
    frames.close()


@pytest.mark.parametrize(
    'transforms, options, message',
    [
        ((dict(type='ThreeCrop', size=16),), {}, 'several crops of a frame'),
        (
            (),
            dict(strategy='uniform', views=2),
            'takes 2 views.*use the strategy segment or uniform with views=1',
        ),
        ((), dict(views=2), 'takes 2 views'),
    ],
)
def test_pipelines_of_several_views(painted, transforms, options, message):
    with pytest.raises(ValueError, match=message):
        list(FrameSource(painted, pipeline(*transforms, **options)))


def test_frames_that_go_back(painted):
    """A window longer than the video begins anew at its end."""
    with pytest.raises(
        ValueError, match=r'1 views, frames \[0, 16, 12, 8\]; a stream is one view and only goes forward'
    ):
        FrameSource(painted, pipeline(strategy='dense', span=64))


class Watched:
    """A reader, and whether it was closed."""

    def __init__(self, reader):
        self.reader, self.closed = reader, 0

    def __getattr__(self, name):
        return getattr(self.reader, name)

    def __len__(self):
        return len(self.reader)

    def close(self):
        self.closed += 1
        self.reader.close()


@pytest.fixture
def opened(monkeypatch):
    """The readers that were opened, by the sampling or by the source."""
    from gfvideo.data import transforms

    readers, open_video = [], streaming.open_video

    def watched(*args, **kwargs):
        readers.append(Watched(open_video(*args, **kwargs)))
        return readers[-1]

    for module in (streaming, transforms):
        monkeypatch.setattr(module, 'open_video', watched)
    return readers


@pytest.mark.parametrize('every', [None, 2])
def test_a_file_is_opened_once_and_closed(video, opened, every):
    frames = FrameSource(video, pipeline(), every)
    next(iter(frames))
    assert len(opened) == 1 and not opened[0].closed
    frames.close()
    assert opened[0].closed == 1


def test_a_file_that_cannot_be_streamed_is_closed(video, opened):
    with pytest.raises(ValueError, match='takes 2 views'):
        FrameSource(video, pipeline(views=2))
    assert [reader.closed for reader in opened] == [1]


# ---- iterators


class Endless:
    """Frames without end, how many were taken, and whether it was closed."""

    def __init__(self, painted):
        self.painted, self.taken, self.closed = painted, 0, False

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        return self.painted[(self.taken - 1) % len(self.painted)]

    def close(self):
        self.closed = True


@pytest.mark.parametrize('every', [None, 1, 3])
def test_an_endless_iterator_is_taken_from_as_frames_are_asked_for(painted, painted_video, every):
    endless = Endless(painted)
    frames = FrameSource(endless, pipeline(), every)
    assert not frames.sampled and frames.num_frames == T and frames.decoded == endless.taken == 0
    step = every or 1
    for number, (index, data) in enumerate(itertools.islice(frames, 6)):
        assert index == number * step and frames.decoded == endless.taken == index + 1
        assert painted_video.read_number(data['inputs'][0].permute(1, 2, 0).numpy()) == index % COUNT
    frames.close()
    assert not endless.closed and next(endless) is not None  # it belongs to the caller


def test_a_list_of_frames_ends(painted, painted_video):
    assert numbers(FrameSource(list(painted[:7]), pipeline(), 2), painted_video) == [0, 2, 4, 6]
    assert list(FrameSource([], pipeline())) == []


@pytest.mark.parametrize(
    'frame, told',
    [
        (np.zeros((8, 8, 3)), r'float64 \(8, 8, 3\)'),
        (np.zeros((8, 8), np.uint8), r'uint8 \(8, 8\)'),
        (np.zeros((4, 8, 8), np.uint8), r'uint8 \(4, 8, 8\)'),
        (torch.zeros(8, 8, 3), r'float32 \(8, 8, 3\)'),
        (None, 'NoneType'),
    ],
)
def test_what_is_no_frame_is_named(painted, frame, told):
    frames = iter(FrameSource([painted[0], frame], pipeline()))
    next(frames)
    with pytest.raises(ValueError, match=rf'frame 1 is {told}; give \(H, W, 3\) uint8 RGB'):
        next(frames)


# ---- cameras


class Camera:
    """Stands for cv2.VideoCapture: gives ``frames``; None among them is a read without a picture, an event
    one that hangs."""

    made = []

    def __init__(self, number, frames=(), opens=True):
        self.number, self.frames, self.opens = number, iter(frames), opens
        self.reads, self.released = 0, threading.Event()
        Camera.made.append(self)

    def isOpened(self):
        return self.opens

    def read(self):
        self.reads += 1
        frame = next(self.frames, 'unplugged')
        if isinstance(frame, threading.Event):
            frame.wait()
            frame = None
        if isinstance(frame, Exception):
            raise frame
        if isinstance(frame, str):
            self.opens, frame = False, None
        return frame is not None, frame

    def release(self):
        self.released.set()


@pytest.fixture
def camera(monkeypatch, painted):
    """The cameras that were opened; number 3 gives what ``camera.gives`` holds, five painted frames to begin
    with."""

    class Cameras(list):
        gives = list(painted[:5, :, :, ::-1])  # BGR

    made = Cameras()
    monkeypatch.setattr(Camera, 'made', made)
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: Camera(number, made.gives, opens=number == 3))
    return made


def threads_of_cameras():
    return [thread for thread in threading.enumerate() if thread.name.startswith('camera')]


def all_ended():
    for thread in threads_of_cameras():
        thread.join(60)
    return not threads_of_cameras()


def test_a_camera_is_read_and_released(camera, painted):
    frames = FrameSource(3, pipeline())
    assert not frames.sampled
    first = iter(frames)
    _, data = next(first)
    assert torch.equal(data['inputs'][0], torch.from_numpy(painted[0]).permute(2, 0, 1))
    # nothing is read ahead
    assert [one.number for one in camera] == [3] and frames.decoded == camera[0].reads == 1
    assert not camera[0].released.is_set() and len(threads_of_cameras()) == 1
    frames.close()
    assert camera[0].released.is_set() and list(first) == [] and not threads_of_cameras()


def test_a_camera_that_is_unplugged_ends_the_stream(camera, painted_video):
    assert numbers(FrameSource(3, pipeline(), 2), painted_video) == [0, 2, 4]
    assert camera[0].released.is_set()
    assert len(list(camera_frames(3))) == 5 and camera[1].released.is_set() and not threads_of_cameras()


def test_no_such_camera(camera):
    with pytest.raises(RuntimeError, match='camera 1 cannot be opened'):
        list(FrameSource(1, pipeline()))
    assert camera[0].released.is_set() and not threads_of_cameras()


STALLED = r'camera 3 has given no frame for 2 s; is it plugged in, .*give a longer timeout'


def test_a_camera_that_hangs(camera):
    hanging = threading.Event()
    camera.gives[2:] = [hanging]
    frames = FrameSource(3, pipeline(), timeout=2)
    taken = []
    with pytest.raises(TimeoutError, match=STALLED):
        taken.extend(frames)
    assert len(taken) == 2
    frames.close()
    assert all(thread.daemon for thread in threads_of_cameras())  # it cannot keep the program from ending
    assert not camera[0].released.is_set()  # not while it is being read
    hanging.set()
    assert all_ended() and camera[0].released.is_set()


def test_a_camera_that_gives_nothing(camera):
    camera.gives[1:] = [None] * 10**6
    reading = camera_frames(3, timeout=2)
    next(reading)
    with pytest.raises(TimeoutError, match=STALLED):
        next(reading)
    assert all_ended() and camera[0].released.is_set() and camera[0].reads > 2  # asked again and again
    assert list(reading) == []


def test_a_camera_that_misses_frames(camera, painted_video):
    camera.gives[2:2] = [None, None]
    assert numbers(FrameSource(3, pipeline(), 1), painted_video) == [0, 1, 2, 3, 4]


def test_errors_of_a_camera_show_where_frames_are_asked_for(camera):
    camera.gives[1:] = [cv2.error('the driver says no')]
    reading = camera_frames(3, timeout=None)
    next(reading)
    with pytest.raises(cv2.error, match='the driver says no'):
        next(reading)
    assert camera[0].released.is_set() and not threads_of_cameras()


@pytest.mark.parametrize('timeout', [0, -1, float('nan'), float('inf')])
def test_timeouts_are_seconds(camera, timeout):
    with pytest.raises(ValueError, match=f'timeout={timeout} must be a number of seconds above 0'):
        FrameSource(3, pipeline(), timeout=timeout)
    with pytest.raises(ValueError, match='above 0, or None'):
        next(camera_frames(3, timeout))
    assert not camera


# ---- what is refused


@pytest.mark.parametrize('every', [0, -1])
def test_every_is_a_whole_number_from_1(painted, every):
    with pytest.raises(ValueError, match=f'every={every} must be at least 1'):
        FrameSource(painted, pipeline(), every)


def test_pipelines_that_do_not_start_as_they_should(painted):
    steps = build_pipeline(
        [
            dict(type='SampleFrames', frames=2, test_mode=True),
            dict(type='Resize', size=8),
            dict(type='PackClip'),
        ]
    )
    with pytest.raises(
        ValueError,
        match='starts with SampleFrames, Resize; only one that starts with SampleFrames, DecodeFrames',
    ):
        FrameSource(painted, steps)
    with pytest.raises(ValueError, match='starts with PackClip; only one'):
        FrameSource(painted, build_pipeline([dict(type='PackClip')]))


@pytest.mark.parametrize('every', [None, 2])
def test_videos_that_cannot_be_read(tmp_path, every):
    (tmp_path / 'page.mp4').write_text('<html>not found</html>')
    (tmp_path / 'empty').mkdir()
    for name in ('nowhere.mp4', 'page.mp4', 'empty'):
        with pytest.raises(VideoError, match=name):
            list(FrameSource(tmp_path / name, pipeline(), every))
    for array in (np.zeros((4, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=r'give frames \(N, H, W, 3\) uint8'):
            FrameSource(array, pipeline(), every)


def test_describing_a_video(painted, video, folder):
    of_folder = describe_video(str(folder), **NAMES)
    assert (of_folder['kind'], of_folder['video_id'], of_folder['path']) == ('frames', 'clip.7', str(folder))
    assert (of_folder['frame_template'], of_folder['start_index'], of_folder['label']) == (
        'img_{:03d}.png',
        0,
        None,
    )
    of_file = describe_video(video)
    assert (of_file['kind'], of_file['video_id'], of_file['total_frames'], of_file['start_index']) == (
        'video',
        video.stem,
        None,
        1,
    )
    of_array = describe_video(painted)
    assert (of_array['kind'], of_array['video_id'], of_array['total_frames'], of_array['path']) == (
        'video',
        'frames',
        COUNT,
        '',
    )


# ---- addresses


@pytest.fixture
def server(tmp_path):
    """The address of a folder on a server of this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()


def test_frames_of_an_address(server, tmp_path, painted_video):
    (tmp_path / 'video.mp4').write_bytes(painted_video(12).read_bytes())
    address = f'{server}/video.mp4'
    numbers = [painted_video.read_number(frame) for frame in address_frames(address)]
    assert numbers == list(range(12))
    with closing(FrameSource(address, pipeline(), every=5)) as source:
        assert source.planned is None and [index for index, _ in source] == [0, 5, 10]
        assert painted_video.read_number(source.picture) == 10


def test_addresses_at_which_there_is_nothing(server, tmp_path, free_port):
    (tmp_path / 'page.mp4').write_text('<html>not found</html>')
    for address in (f'{server}/nowhere.mp4', f'{server}/page.mp4', f'http://127.0.0.1:{free_port}/video.mp4'):
        with pytest.raises(VideoError, match=f'{address}: it cannot be read'):
            list(address_frames(address))


def test_an_address_that_says_nothing(free_port):
    with socket.create_server(('127.0.0.1', int(free_port))):
        with pytest.raises(TimeoutError, match=r'has given no frame for 0.5 s; is it running'):
            next(address_frames(f'http://127.0.0.1:{free_port}/video.mp4', timeout=0.5))
    with pytest.raises(ValueError, match='timeout=0 must be'):
        next(address_frames('http://127.0.0.1/video.mp4', timeout=0))


def test_what_is_an_address():
    told = {
        'rtsp://camera/1': True,
        'HTTP://a/b.mp4': True,
        'videos/http.mp4': False,
        'C://a': False,
        'rtsp': False,
    }
    assert {text: is_stream_address(text) for text in told} == told
    assert not is_stream_address(Path('http://a'))


def test_the_picture_of_a_source_is_the_whole_frame(painted):
    with closing(FrameSource(painted, pipeline())) as source:
        assert source.planned == source.num_frames
        for index, _ in source:
            np.testing.assert_array_equal(source.picture, painted[index])


def test_tensors_are_frames_of_a_stream(painted):
    planes = [torch.from_numpy(frame).permute(2, 0, 1) for frame in painted[:3]]
    whole = [data['inputs'] for _, data in FrameSource(painted[:3], pipeline(), 1)]
    single = [data['inputs'] for _, data in FrameSource(iter(planes), pipeline(), 1)]
    assert all(torch.equal(one, other) for one, other in zip(whole, single))
    with pytest.raises(TypeError, match='NoneType is no source of frames'):
        FrameSource(None, pipeline())
