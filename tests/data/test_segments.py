"""Parts of videos: exactly the frames that a slow decode finds between start and end, from every reader."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfvideo.data.dataset import ClipDataset, build_pipeline, describe_clip
from gfvideo.data.manifest import write_manifest
from gfvideo.data.readers import READERS, VideoError, open_video
from gfvideo.data.row_table import ClipRow

PIPELINE = [
    dict(type='SampleFrames', num_frames=4, strategy='segment', test_mode=True),
    dict(type='DecodeFrames'),
    dict(type='PackClip'),
]


def slow_frames(path: Path, start: float | None, end: float | None) -> list[int]:
    """Decode everything, and look at the time of each frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = [Fraction(frame.pts) * stream.time_base for frame in container.decode(stream)]
    stamps = sorted(stamps)
    return [
        number
        for number, stamp in enumerate(stamps)
        if float(stamp - stamps[0]) >= (start or 0) and (end is None or float(stamp - stamps[0]) < end)
    ]


@pytest.fixture(scope='module', params=['.mp4', '.webm', '.ts', 'late.mp4', 'uneven.mp4'])
def video(request, painted_video, tmp_path_factory) -> Path:
    if '.' in request.param[1:]:
        source = painted_video(30, '.mp4')
        target = tmp_path_factory.mktemp('times') / request.param
        with av.open(str(source)) as container, av.open(str(target), 'w') as out:
            stream = container.streams.video[0]
            copy = out.add_stream_from_template(stream)
            for number, packet in enumerate(container.demux(stream)):
                if packet.dts is None:
                    continue
                step = packet.duration or 1
                if request.param == 'late.mp4':
                    packet.pts, packet.dts = packet.pts + 90 * step, packet.dts + 90 * step
                else:  # the later, the slower
                    packet.pts, packet.dts = packet.pts + number**2 * step, packet.dts + number**2 * step
                packet.stream = copy
                out.mux(packet)
        return target
    options = dict(codec='libvpx-vp9') if request.param == '.webm' else {}
    return painted_video(30, request.param, **options)


@given(start=st.none() | st.integers(0, 40), length=st.none() | st.integers(1, 40), off=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frame_exact(video, start, length, off):
    with open_video(video) as reader:
        times = reader.times()
    rate = (len(times) - 1) / times[-1]
    start = None if start is None else (start + off / 3) / rate
    end = None if length is None else (start or 0) + length / rate
    wanted = slow_frames(video, start, end)
    pipeline = build_pipeline(PIPELINE)
    results = describe_clip(video) | dict(start=start, end=end)
    if not wanted:
        with pytest.raises(VideoError, match='no frame is shown from'):
            pipeline(results)
        return
    whole = {number: row for row, number in enumerate(wanted)}
    sample = pipeline(results)
    indices = sample['data_samples'].frame_indices
    assert set(indices) <= set(wanted)
    # the middles of four equal parts of what is between
    part = len(wanted) / 4
    assert [whole[index] for index in indices] == [int(part / 2 + part * number) for number in range(4)]
    with open_video(video) as reader:
        frames = np.stack([reader.get_frames([index])[0] for index in indices])
    assert np.array_equal(sample['inputs'].numpy().transpose(0, 2, 3, 1), frames)


@pytest.mark.parametrize('reader', READERS)
def test_every_reader_tells_the_same_times(painted_video, reader):
    path = painted_video(20, '.mp4')
    try:
        opened = open_video(path, reader)
    except ImportError as error:
        pytest.skip(str(error))
    with opened, open_video(path) as reference:
        times = opened.times()
        assert times.shape == (20,) and times[0] == 0 and (np.diff(times) > 0).all()
        assert np.array_equal(times, reference.times())


def test_dataset(painted_video, tmp_path):
    path = painted_video(30, '.mp4')
    with open_video(path) as reader:
        times = reader.times()
    write_manifest(
        tmp_path,
        name='set',
        version='v1',
        classes=['one', 'two', 'three'],
        label_order='given',
        video_root=str(path.parent),
        rows={
            'train': [
                ClipRow('a', path.name, 'video', None, 30, labels=(0, 2), end=float(times[10])),
                ClipRow('b', path.name, 'video', None, 30, labels=(1,), start=float(times[20])),
            ]
        },
    )
    dataset = ClipDataset(tmp_path, 'train', PIPELINE)
    first, second = (dataset[number]['data_samples'] for number in range(2))
    assert first.gt_labels.tolist() == [0, 2] and second.gt_labels.tolist() == [1] and 'gt_label' not in first
    assert first.frame_indices == [1, 3, 6, 8] and second.frame_indices == [21, 23, 26, 28]
    assert first.total_frames == 30


def test_folder_of_images_has_no_times(tmp_path):
    import cv2

    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f'{number:05d}.jpg'), np.zeros((8, 8, 3), np.uint8))
    results = describe_clip(tmp_path) | dict(start=0.5, end=None)
    with pytest.raises(VideoError, match='nothing says when its frames are shown'):
        build_pipeline(PIPELINE)(results)
