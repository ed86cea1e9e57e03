"""Readers against videos that say in their pixels which frame is which, against plain decoding, and on files
of every trouble."""

from __future__ import annotations

import csv
import gc
import os
import pickle
import sys
import wave
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from gfvideo.data.orientation import display_matrix
from gfvideo.data.readers import ArrayReader, FolderReader, PyAVReader, VideoError, open_video
from gfvideo.data.readers import pyav as pyav_module
from gfvideo.data.video_index import open_stream

COUNT = 40
H264 = {'options': {'x264-params': 'bframes=3:b-pyramid=normal:keyint=12:min-keyint=12:scenecut=0'}}
FORMS = {
    'h264': ('.mp4', H264),
    'h264 open groups': (
        '.mkv',
        {'options': {'x264-params': 'open-gop=1:bframes=3:keyint=9:min-keyint=9:scenecut=0'}},
    ),
    'h264 long group': (
        '.mp4',
        {'options': {'x264-params': 'bframes=3:b-adapt=0:b-pyramid=normal:keyint=250:scenecut=0'}},
    ),
    'h264 one key frame': ('.mp4', {'key_every': 250, 'options': {'preset': 'ultrafast'}}),
    'variable rate': ('.mp4', {'times': [number + number * number // 9 for number in range(COUNT)], **H264}),
    'vp9': ('.webm', {'codec': 'libvpx-vp9', 'options': {'deadline': 'realtime', 'cpu-used': '8'}}),
    'vp8': ('.webm', {'codec': 'libvpx', 'options': {'deadline': 'realtime', 'cpu-used': '8', 'b': '200k'}}),
    'mpeg4': ('.avi', {'codec': 'mpeg4', 'options': {'bf': '2', 'b': '2M'}}),
}
REFUSED_FORMS = {
    ('mpeg4', 'torchcodec'): 'AVI',
    ('mpeg4', 'decord'): 'AVI',
    ('h264 open groups', 'torchcodec'): 'key frame',
    ('h264 open groups', 'decord'): 'key frame',
}


def decoded(path: Path, indices: list[int] | None = None) -> list[np.ndarray]:
    """The slow, obvious reference: decode all, turn as the file says; all frames, or those at ``indices``."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # several threads conceal damage differently
        stream.thread_type, stream.codec_context.thread_count = 'NONE', 1
        for packet in container.demux(video=0):
            try:
                frames += packet.decode()
            except av.error.InvalidDataError:
                pass
    chosen = frames if indices is None else [frames[index] for index in indices]
    return [
        np.rot90(frame.to_ndarray(format='rgb24', interpolation='BICUBIC'), frame.rotation // 90)
        for frame in chosen
    ]


def packet_data(path: Path, number: int) -> bytes:
    with av.open(str(path)) as container:
        return bytes([packet for packet in container.demux(video=0) if packet.size][number])


def damaged_copy(path: Path, target: Path, before: bytes, after: bytes) -> Path:
    content = path.read_bytes()
    assert content.count(before) == 1 and len(after) == len(before)
    target.write_bytes(content.replace(before, after))
    return target


# ---- the number painted in the pixels


@pytest.mark.parametrize('form', FORMS)
def test_painted_numbers(painted_video, reader, form):
    suffix, options = FORMS[form]
    path = painted_video(COUNT, suffix, **options)
    if (form, reader) in REFUSED_FORMS:
        with pytest.raises(VideoError, match=f'{reader}.*{REFUSED_FORMS[form, reader]}.*pyav'):
            open_video(path, reader)
        return
    with open_video(path, reader) as video:
        assert len(video) == COUNT
        assert video.frame_size == (48, 128)
        for indices in (range(COUNT), [31, 2, 2, 17, 39, 0, 31], np.array([COUNT - 1]), [0], [13, 12, 11]):
            frames = video.get_frames(indices)
            assert frames.shape == (len(indices), 48, 128, 3) and frames.dtype == np.uint8
            assert [painted_video.read_number(frame) for frame in frames] == list(indices)
        assert [painted_video.read_number(frame) for frame in video.iter_frames()] == list(range(COUNT))


def test_hidden_vp8_frames_do_not_count(painted_video, reader, tmp_path):
    whole = painted_video(COUNT, *FORMS['vp8'][:1], **FORMS['vp8'][1])
    packet = packet_data(whole, 7)
    # the bit "show frame"
    path = damaged_copy(whole, tmp_path / 'hidden.webm', packet, bytes([packet[0] & ~0x10]) + packet[1:])
    if reader != 'pyav':
        with pytest.raises(VideoError, match=f'counts {COUNT} frames where there are {COUNT - 1}.*pyav'):
            open_video(path, reader)
        return
    with open_video(path, reader) as video:
        assert len(video) == COUNT - 1
        assert (video.get_frames(range(COUNT - 1)) == decoded(path)).all()
        assert painted_video.read_number(video.get_frames([7])[0]) == 8


@pytest.mark.parametrize('form', FORMS)
def test_equals_plain_decoding(painted_video, reader, form):
    suffix, options = FORMS[form]
    path = painted_video(COUNT, suffix, **options)
    if (form, reader) in REFUSED_FORMS:
        pytest.skip(f'{reader} refuses it')
    with open_video(path, reader) as video:
        assert (video.get_frames(range(COUNT)) == decoded(path)).all()


@settings(max_examples=30)
@given(
    form=st.sampled_from(['h264', 'h264 open groups', 'h264 long group', 'variable rate', 'vp9']),
    indices=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=10),
)
def test_any_indices(painted_video, form, indices):
    suffix, options = FORMS[form]
    with open_video(painted_video(COUNT, suffix, **options), 'pyav') as video:
        everything = video.get_frames(range(COUNT))
        assert (video.get_frames(indices) == everything[indices]).all()
        assert (video.get_frames(indices[::-1]) == everything[indices[::-1]]).all()


@pytest.mark.parametrize('size', [(48, 129), (49, 128), (49, 129)])
def test_odd_sizes(painted_video, reader, size):
    path = painted_video(6, '.webm', height=size[0], width=size[1], **FORMS['vp9'][1])
    if reader == 'decord' and size[0] % 2:
        with pytest.raises(VideoError, match='decord.*height is odd.*pyav'):
            open_video(path, reader)
        return
    with open_video(path, reader) as video:
        assert video.frame_size == size
        assert (video.get_frames(range(6)) == decoded(path)).all()


@pytest.mark.parametrize('degrees', [90, 180, -90])
def test_rotation(tmp_path, painted_video, reader, degrees):
    path = tmp_path / 'turned.mp4'
    with av.open(str(painted_video(6, height=64, **H264))) as source, av.open(str(path), 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with open_video(path, reader) as video:
        upright = [np.rot90(frame, -degrees // 90) for frame in video.get_frames(range(6))]
        assert [painted_video.read_number(frame) for frame in upright] == list(range(6))
        assert video.frame_size == ((64, 128) if degrees == 180 else (128, 64))


# ---- real files of every trouble


def odd_videos(shared: Path) -> list[dict[str, str]]:
    with (shared / 'data' / 'odd_videos' / 'index.csv').open() as file:
        return list(csv.DictReader(file))


@cache
def plain_frames(path: Path, indices: tuple[int, ...]) -> np.ndarray:
    return np.stack(decoded(path, list(indices))).astype(int)


REFUSED = {
    'pyav': {},
    'torchcodec': {
        'header_50_frames_49_decode.mp4': 'damaged',
        'one_frame.mp4': 'mpeg4',
        'ucf_mpeg4_with_mp3.avi': 'AVI',
        'header_266_frames_209_decode.mp4': 'hides some of its pictures',
    },
    'decord': {
        'header_50_frames_49_decode.mp4': 'damaged',
        'one_frame.mp4': 'mpeg4',
        'ucf_mpeg4_with_mp3.avi': 'AVI',
        'av1.mkv': 'cannot find video stream',
        'odd_size_vp9.mp4': 'odd',
        'header_266_frames_209_decode.mp4': 'hides some of its pictures',
    },
}


def test_odd_videos(shared, reader):
    for row in odd_videos(shared):
        path = shared / 'data' / 'odd_videos' / row['file']
        if row['file'] in REFUSED[reader]:
            with pytest.raises(
                VideoError, match=f'{row["file"]}: {reader}.*{REFUSED[reader][row["file"]]}.*pyav'
            ):
                open_video(path, reader)
            continue
        count = int(row['frames_that_decode'])
        indices = [count - 1, 0, count // 2]
        with open_video(path, reader) as video:
            assert len(video) == count, row
            assert video.frame_size == (int(row['height_shown']), int(row['width_shown'])), row
            frames = video.get_frames(indices)
        difference = np.abs(frames.astype(int) - plain_frames(path, tuple(indices)))
        # 8 bits: equal bit for bit; 10 bits: the readers upsample colour differently
        assert (
            difference.mean() < 4
            if row['file'] == 'hevc_10bit.mp4' and reader != 'pyav'
            else difference.max() == 0
        ), row


def test_exact_and_sequential_counts_agree(shared):
    for row in odd_videos(shared):
        path = shared / 'data' / 'odd_videos' / row['file']
        with open_video(path, exact=True) as video:
            assert len(video) == int(row['frames_that_decode']), row
            if row['file'].startswith('header'):
                assert sum(1 for _ in video.iter_frames()) == len(video)


# ---- opening without decoding the first frames


@pytest.mark.parametrize(
    ('form', 'suffix', 'left_out'),
    [
        ('h264', '.mp4', True),
        ('h264', '.mkv', False),
        ('vp9', '.webm', True),
        ('vp8', '.webm', True),
        ('mpeg4', '.avi', False),
    ],
)
def test_the_first_frames_are_probed_only_where_needed(painted_video, monkeypatch, form, suffix, left_out):
    path = painted_video(COUNT, suffix, **FORMS[form][1])
    container, stream = open_stream(str(path), 'pyav', True)
    with container:
        assert stream.codec_context.pix_fmt == 'yuv420p'  # told by a frame
    container, stream = open_stream(str(path), 'pyav', False)
    with container:
        assert (stream.codec_context.pix_fmt is None) == left_out


@pytest.mark.parametrize('form', FORMS)
def test_probed_or_not_the_index_and_the_frames_are_the_same(painted_video, form):
    suffix, options = FORMS[form]
    path = str(painted_video(COUNT, suffix, **options))
    with PyAVReader(path, probed=True) as probed, PyAVReader(path) as unprobed:
        for field in ('times', 'packets', 'starts'):
            assert (getattr(probed.index, field) == getattr(unprobed.index, field)).all()
        assert probed.doubt == unprobed.doubt
        for indices in ([3, 17, 38], range(COUNT)):
            assert (probed.get_frames(indices) == unprobed.get_frames(indices)).all()


def test_probed_or_not_odd_videos_are_the_same(shared):
    for path in sorted((shared / 'data/odd_videos').glob('*.*')):
        if path.suffix == '.csv':
            continue
        with PyAVReader(str(path), probed=True) as probed, PyAVReader(str(path)) as unprobed:
            assert len(probed) == len(unprobed)
            indices = np.linspace(0, len(probed) - 1, 5).astype(int)
            assert (probed.get_frames(indices) == unprobed.get_frames(indices)).all(), path


def test_fragments_are_probed(painted_video, tmp_path):
    """The table of times of a fragmented MP4 does not tell how many frames are to be held back."""
    whole, path = painted_video(COUNT, **H264), tmp_path / 'fragments.mp4'
    with (
        av.open(str(whole)) as source,
        av.open(str(path), 'w', options={'movflags': 'frag_keyframe+empty_moov'}) as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    container, stream = open_stream(str(path), 'pyav', False)
    with container:
        assert stream.codec_context.pix_fmt == 'yuv420p'
    with open_video(path) as video:
        assert (video.get_frames(range(COUNT)) == decoded(path)).all()


# ---- frames made small as they are read


def test_what_is_made_of_frames(painted_video, reader):
    def halved(frame: np.ndarray) -> np.ndarray:
        made.append(frame.shape)
        return frame[::2, ::2]

    made: list[tuple[int, ...]] = []
    with open_video(painted_video(COUNT, **H264), reader) as video:
        frames = video.get_frames([30, 4, 30, 9], halved)
        assert video.frame_size == (48, 128) and made == [(48, 128, 3)] * 3
        assert (frames == video.get_frames([30, 4, 30, 9])[:, ::2, ::2]).all()


# ---- what is decoded, and when


def test_opening_decodes_nothing(painted_video):
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        assert len(video) == COUNT and video.packets_decoded == video.decoded == 0


def test_every_distinct_frame_is_made_a_picture_once(painted_video, monkeypatch):
    pictures = []
    monkeypatch.setattr(
        pyav_module, 'display_matrix', lambda frame: pictures.append(frame.pts) or display_matrix(frame)
    )
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        video.get_frames([30, 4, 30, 4, 4])
    assert len(pictures) == len(set(pictures)) == 2


def test_only_the_needed_packets_are_decoded(painted_video):
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        video.get_frames([0, 24])  # both are key frames
        assert video.packets_decoded == 2


def test_frames_are_decoded_when_iterated_to(painted_video):
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        frames = video.iter_frames()
        assert painted_video.read_number(next(frames)) == 0
        assert video.packets_decoded < 10
        assert painted_video.read_number(video.get_frames([20])[0]) == 20  # does not disturb the iteration
        assert [painted_video.read_number(frame) for frame in frames] == list(range(1, COUNT))


@pytest.mark.parametrize('form', ['h264', 'mpeg4'])
def test_packets_of_large_files_are_not_kept(painted_video, monkeypatch, form):
    opened = []
    monkeypatch.setattr(
        pyav_module, 'open_stream', lambda *given: opened.append(given) or open_stream(*given)
    )
    suffix, options = FORMS[form]
    path = painted_video(COUNT, suffix, **options)
    with open_video(path, 'pyav') as video:
        video.get_frames([5, 38])
    assert len(opened) == 1
    monkeypatch.setattr(pyav_module, 'KEPT_BYTES', 1000)
    with open_video(path, 'pyav') as video:
        assert [painted_video.read_number(frame) for frame in video.get_frames([5, 38, 20, 38])] == [
            5,
            38,
            20,
            38,
        ]
    assert len(opened) > 2  # the packets came from the file again


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='counts open files in /proc')
def test_no_file_stays_open(painted_video, reader, tmp_path):
    empty = tmp_path / 'empty.mp4'
    empty.touch()
    path = painted_video(COUNT, **H264)
    with open_video(path, reader) as video:  # what the library itself keeps open is open now
        video.get_frames([3])
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(3):
        with open_video(path, reader) as video:
            video.get_frames([3, 20])
            frames = video.iter_frames()
            next(frames)
            frames.close()
            walk = video.iter_at([3, 20])
            next(walk)
            video.get_frames([3])
            del walk
            with pytest.raises(IndexError):
                video.get_frames([COUNT])
        video.close()
        with pytest.raises(VideoError):
            open_video(empty, reader)
    assert len(os.listdir('/proc/self/fd')) <= before


# ---- one frame after the other


def numbers(painted_video, frames: Iterable[np.ndarray]) -> list[int]:
    return [painted_video.read_number(frame) for frame in frames]


def damaged_h264(painted_video, tmp_path: Path) -> Path:
    """COUNT - 1 frames that decode, and an index in doubt."""
    whole = painted_video(COUNT, **H264)
    packet = packet_data(whole, 30)
    return damaged_copy(whole, tmp_path / 'damaged.mp4', packet, b'\xff' * 16 + packet[16:])


# `reader` is only a name
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(list(FORMS)),
    indices=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=12).map(sorted),
)
def test_iter_at_any_indices(painted_video, reader, form, indices):
    suffix, options = FORMS[form]
    if (form, reader) in REFUSED_FORMS:
        reader = 'pyav'
    with open_video(painted_video(COUNT, suffix, **options), reader) as video:
        frames = list(video.iter_at(indices))
        walked = video.decoded
        assert all(
            frame.shape == (48, 128, 3) and frame.dtype == np.uint8 and frame.flags.c_contiguous
            for frame in frames
        )
        assert numbers(painted_video, frames) == indices
        assert (np.stack(frames) == video.get_frames(indices)).all()
        assert 0 < walked <= video.decoded - walked


@pytest.mark.parametrize(
    'indices', [range(COUNT - 1), [0, 0, 12, 29, 29, 30, 38], [38], np.array([3, 31], np.uint8)]
)
def test_iter_at_in_doubt(painted_video, tmp_path, indices):
    path = damaged_h264(painted_video, tmp_path)
    with open_video(path, 'pyav') as video:
        assert video.doubt
        frames = list(video.iter_at(indices))
        walked = video.decoded
        assert walked == max(indices) + 1
        assert (np.stack(frames) == decoded(path, list(indices))).all()
        video.get_frames(indices)
        assert video.decoded == 2 * walked


# `held`: frames the decoder holds back before it gives one away; `ahead`: packets it takes for that, those of
# frames it skips too
@pytest.mark.parametrize(
    ('form', 'held', 'ahead'),
    [
        ('h264', 2, 4),
        ('h264 open groups', 2, 4),
        ('h264 long group', 2, 4),
        ('h264 one key frame', 0, 0),
        ('variable rate', 2, 4),
        ('vp9', 0, 0),
        ('vp8', 0, 0),
        ('mpeg4', 1, 1),
    ],
)
def test_iter_at_decodes_when_asked(painted_video, form, held, ahead):
    suffix, options = FORMS[form]
    indices = [1, 1, 3, 10, 11, 14, 26, 35]
    with open_video(painted_video(COUNT, suffix, **options), 'pyav') as video:
        frames = video.iter_at(indices)
        assert (video.decoded, video.packets_decoded) == (0, 0)
        for index in indices:
            assert painted_video.read_number(next(frames)) == index
            assert video.decoded <= index + 1 + held
            assert video.packets_decoded <= index + 1 + ahead
        assert next(frames, None) is None
        once = video.packets_decoded
        video.get_frames(indices)
        assert video.packets_decoded == 2 * once


def test_iter_at_starts_anew_only_for_other_groups(painted_video):
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        frames = video.iter_at([0, 24, 36])  # all are key frames
        assert [(painted_video.read_number(frame), video.packets_decoded) for frame in frames] == [
            (0, 1),
            (24, 2),
            (36, 3),
        ]


@pytest.mark.parametrize('form', ['h264', 'h264 long group', 'vp9', 'mpeg4'])
@pytest.mark.parametrize('kept', [True, False])
def test_iter_at_left_half_way(painted_video, reader, monkeypatch, form, kept):
    if (form, reader) in REFUSED_FORMS:
        pytest.skip(f'{reader} refuses it')
    if not kept:
        monkeypatch.setattr(pyav_module, 'KEPT_BYTES', 1000)
    suffix, options = FORMS[form]
    with open_video(painted_video(COUNT, suffix, **options), reader) as video:
        for leave in (lambda frames: frames.close(), lambda frames: gc.collect()):
            for asked in range(3):
                frames = video.iter_at([2, 17, 30])
                assert numbers(painted_video, (next(frames) for _ in range(asked))) == [2, 17, 30][:asked]
                leave(frames)
                del frames
                if asked % 2:
                    assert numbers(painted_video, video.iter_frames()) == list(range(COUNT))
                assert numbers(painted_video, video.get_frames([5, 16, 3])) == [5, 16, 3]
        for frame in video.iter_at(range(20)):
            if painted_video.read_number(frame) == 7:
                break
        assert numbers(painted_video, video.iter_at([0, 6, 39])) == [0, 6, 39]
        assert numbers(painted_video, video.iter_frames()) == list(range(COUNT))


@pytest.mark.parametrize('form', ['h264', 'h264 open groups', 'h264 long group', 'vp9', 'mpeg4'])
@pytest.mark.parametrize('kept', [True, False])
def test_iter_at_interleaved(painted_video, reader, monkeypatch, form, kept):
    if (form, reader) in REFUSED_FORMS:
        pytest.skip(f'{reader} refuses it')
    if not kept:
        monkeypatch.setattr(pyav_module, 'KEPT_BYTES', 1000)
    suffix, options = FORMS[form]
    ours, others = range(1, COUNT, 3), [*range(0, 26, 2)]
    with open_video(painted_video(COUNT, suffix, **options), reader) as video:
        everything = video.iter_frames()
        for number, (one, other) in enumerate(zip(video.iter_at(ours), video.iter_at(others), strict=True)):
            assert numbers(painted_video, [one, other, next(everything)]) == [
                ours[number],
                others[number],
                number,
            ]
            assert numbers(painted_video, video.get_frames([number, 39 - number])) == [number, 39 - number]


def test_files_are_opened_again_only_for_passes_that_meet(painted_video, monkeypatch):
    opened = []
    original = pyav_module.open_stream
    monkeypatch.setattr(pyav_module, 'open_stream', lambda *given: opened.append(given) or original(*given))
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        for _ in range(3):
            list(video.iter_at([3, 20]))
            next(video.iter_at([3, 20]))
            video.get_frames([5])
            list(video.iter_frames())
        assert len(opened) == 1
        for _ in range(3):
            frames = video.iter_at([3, 20])
            for _ in frames:
                video.get_frames([5])
        assert len(opened) == 2


def test_iter_at_after_closing(painted_video):
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        frames = video.iter_at([3, 20, 30])
        next(frames)
    gc.collect()
    assert numbers(painted_video, frames) == [20, 30]  # the packets are here; it must not crash


def test_writing_in_a_frame_spares_the_next(painted_video, tmp_path):
    # of a codec that decodes RGB and goes on from the memory of the frame before
    path = tmp_path / 'differences.mov'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('qtrle', rate=25, width=128, height=48, pix_fmt='rgb24')
        for number in range(6):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(painted_video.frame(number), format='rgb24'))
            )
        container.mux(stream.encode())
    with open_video(path, 'pyav') as video:
        for frames in (video.iter_at(range(6)), video.iter_frames()):
            for number, frame in enumerate(frames):
                assert (frame == painted_video.frame(number)).all()
                frame[:] = 77


def test_iter_at_keeps_the_order(painted_video):
    """Of a decoder whose order of pictures is not that of the index."""
    with open_video(painted_video(COUNT, **H264), 'pyav') as video:
        times = video.index.times.copy()
        times[[4, 9]] = times[[9, 4]]  # of one group, so that one pass decodes both
        video.index = replace(video.index, times=times)
        assert numbers(painted_video, video.iter_at([4, 9, 9, 31])) == [9, 4, 4, 31]


def test_decoded_counts(painted_video, reader):
    path = painted_video(COUNT, *FORMS['vp9'][:1], **FORMS['vp9'][1])  # one key frame
    passing = reader == 'pyav'  # frames on the way are seen
    with open_video(path, reader) as video:
        assert video.decoded == 0
        video.get_frames([9, 4, 9])
        assert video.decoded == (10 if passing else 2)
        next(video.iter_at([4, 4, 20]))
        assert video.decoded == (15 if passing else 3)
        sum(1 for _ in video.iter_frames())
        assert video.decoded == (15 if passing else 3) + COUNT
    with open_video(path, reader, exact=True) as video:
        assert video.decoded == (COUNT if passing else 0)


def test_iter_at_real_videos(shared, reader):
    folder = shared / 'data'
    paths = [
        folder / 'odd_videos' / row['file']
        for row in odd_videos(shared)
        if row['file'] not in REFUSED[reader]
    ]
    paths += sorted((folder / 'turning_camera_ssv2' / 'videos').glob('*.webm'))[:3]
    paths += sorted((folder / 'railyard_kinetics' / 'videos').glob('*/*.mp4'))[:3]
    for path in paths:
        with open_video(path, reader) as video:
            count = len(video)
            indices = np.sort([0, count // 5, count // 5, count // 3, (count - 1) // 2])
            video.get_frames(indices)  # where the index is in doubt, the count has been decoded
            before, frames = video.decoded, video.iter_at(indices)
            first = next(frames)
            assert video.decoded - before <= 5, path
            walked = np.stack([first, *frames])
            between = video.decoded
            assert (walked == video.get_frames(indices)).all(), path
            assert between - before <= video.decoded - between, path


# ---- damage


def test_damaged_packet_is_found_without_decoding(painted_video, reader, tmp_path):
    path = damaged_h264(painted_video, tmp_path)
    if reader != 'pyav':
        with pytest.raises(VideoError, match='packet 30 is damaged.*pyav'):
            open_video(path, reader)
        return
    with open_video(path, reader) as video:
        assert len(video) == len(decoded(path)) == COUNT - 1
        assert (video.get_frames(range(COUNT - 1)) == decoded(path)).all()
        with pytest.raises(IndexError, match=f'no frame {COUNT - 1}, it has {COUNT - 1} frames'):
            video.get_frames([COUNT - 1])


def test_damage_found_when_decoding(painted_video, tmp_path):
    suffix, options = FORMS['vp9']
    whole = painted_video(COUNT, suffix, **options)
    packet = packet_data(whole, 3)
    path = damaged_copy(whole, tmp_path / 'damaged.webm', packet, bytes(len(packet)))
    with open_video(path, 'pyav') as video:
        assert painted_video.read_number(video.get_frames([2])[0]) == 2
        with pytest.raises(VideoError, match='does not decode.*exact=True'):
            video.get_frames([5])
        with pytest.raises(VideoError, match='does not decode'):
            list(video.iter_frames())
        frames = video.iter_at([1, 2, 5])
        assert painted_video.read_number([next(frames), next(frames)][1]) == 2
        with pytest.raises(VideoError, match='does not decode.*exact=True'):
            next(frames)
        assert painted_video.read_number(video.get_frames([2])[0]) == 2
    with open_video(path, 'pyav', exact=True) as video:
        assert len(video) == len(decoded(path)) < COUNT
        assert (video.get_frames([0, 5]) == [decoded(path)[0], decoded(path)[5]]).all()


@pytest.mark.parametrize(
    ('suffix', 'options'),
    [('.mp4', {'options': {'movflags': '+faststart'}}), ('.mp4', {}), ('.webm', FORMS['vp9'][1])],
)
@pytest.mark.parametrize('part', [0.6, 0.95])
def test_cut_off(painted_video, reader, tmp_path, suffix, options, part):
    content = painted_video(COUNT, suffix, **options).read_bytes()
    path = tmp_path / f'cut{suffix}'
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(VideoError, match='cut off') as caught:
        open_video(path, reader)
    assert caught.value.path == str(path)


def test_not_a_video(reader, tmp_path):
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'page.mp4').write_text(
        '<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n' * 20
    )
    (tmp_path / 'bytes.mp4').write_bytes(bytes(range(256)) * 40)
    with wave.open(str(tmp_path / 'sound.wav'), 'wb') as sound:
        sound.setparams((1, 2, 8000, 0, 'NONE', ''))
        sound.writeframes(bytes(16000))
    reasons = {
        'missing.mp4': 'no such file',
        'empty.mp4': 'empty',
        'page.mp4': 'damaged|no video',
        'bytes.mp4': 'damaged|no video',
        'sound.wav': 'no video stream',
    }
    for name, reason in reasons.items():
        with pytest.raises(VideoError, match=f'(?s){name}: .*({reason})') as caught:
            open_video(tmp_path / name, reader)
        assert caught.value.path == str(tmp_path / name)


def test_changing_size(painted_video, tmp_path):
    paths = [tmp_path / 'a.ts', tmp_path / 'b.ts']
    for path, height in zip(paths, (48, 64), strict=True):
        painted_video.write(path, [painted_video.frame(number, height) for number in range(3)])
    both = tmp_path / 'both.ts'
    both.write_bytes(b''.join(path.read_bytes() for path in paths))
    with open_video(both, 'pyav') as video:
        for read in (video.get_frames, lambda indices: list(video.iter_at(indices))):
            with pytest.raises(VideoError, match=r'different sizes, \(48, 128\) and \(64, 128\)'):
                read(range(len(video)))
        assert numbers(painted_video, video.iter_at([0, 2])) == [0, 2]


def test_errors_survive_other_processes():
    error = VideoError.of('clips/a.mp4', 'pyav', 'it is empty', 'fetch it again')
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path) == (str(error), 'clips/a.mp4')
    with pytest.raises(VideoError, match=r'(?s)no\.mp4.*no such file'):
        list(DataLoader(_Missing(), num_workers=1))


class _Missing:
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int):
        return open_video('no.mp4')


# ---- asking wrongly


def test_wrong_indices(painted_video, reader):
    path = painted_video(COUNT, **H264)
    with open_video(path, reader) as video:
        for index in (-1, COUNT, 1000):
            with pytest.raises(
                IndexError, match=f'{path.name}: there is no frame {index}, it has {COUNT} frames'
            ):
                video.get_frames([0, index])
        for indices in ([], [0.5], [[0, 1]]):
            with pytest.raises(ValueError, match='indices of shape'):
                video.get_frames(indices)


def test_wrong_indices_for_iter_at(painted_video, reader):
    path = painted_video(COUNT, **H264)
    with open_video(path, reader) as video:
        for index in (-1, COUNT, 1000):
            with pytest.raises(
                IndexError, match=f'{path.name}: there is no frame {index}, it has {COUNT} frames'
            ):
                video.iter_at(sorted([0, index]))
        for indices in ([], [0.5], [[0, 1]]):
            with pytest.raises(ValueError, match='indices of shape'):
                video.iter_at(indices)
        # without a sign, differences are never below 0
        for indices in ([2, 7, 6, 1], np.array([2, 7, 6, 1], np.uint8)):
            with pytest.raises(ValueError, match='indices decrease from 7 to 6;'):
                video.iter_at(indices)
        assert video.decoded == 0


def test_wrong_indices_where_frames_are_not_counted(painted_video, tmp_path):
    path = damaged_h264(painted_video, tmp_path)
    with open_video(path, 'pyav') as video:
        frames = video.iter_at([7, COUNT - 1])
        assert painted_video.read_number(next(frames)) == 7
        with pytest.raises(IndexError, match=f'no frame {COUNT - 1}, it has {COUNT - 1} frames'):
            next(frames)
        assert (len(video), video.decoded) == (COUNT - 1, COUNT - 1)  # counted on the way
        with pytest.raises(IndexError, match=f'no frame {COUNT - 1}'):
            video.iter_at([7, COUNT - 1])  # at once, now that it is known
    with open_video(path, 'pyav') as video, pytest.raises(ValueError, match='decrease from 7 to 3'):
        video.iter_at([7, 3])


def test_wrong_reader(painted_video):
    with pytest.raises(ValueError, match="'opencv'.*'auto', 'torchcodec', 'pyav', 'decord'"):
        open_video(painted_video(COUNT, **H264), 'opencv')


# ---- which reader


@pytest.mark.parametrize('raised', ['ImportError', 'RuntimeError', 'OSError'])
def test_torchcodec_that_does_not_import(tmp_path, monkeypatch, painted_video, raised):
    (tmp_path / 'torchcodec').mkdir()
    (tmp_path / 'torchcodec' / '__init__.py').write_text(f"raise {raised}('libavutil is not here')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in list(sys.modules) if name.split('.')[0] == 'torchcodec']:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match='libavutil is not here.*pyav'):
        open_video(painted_video(COUNT, **H264), 'torchcodec')


def test_auto_is_the_reader_that_reads_most(painted_video):
    for form in ('h264', 'h264 open groups', 'vp9', 'mpeg4'):
        suffix, options = FORMS[form]
        with open_video(painted_video(COUNT, suffix, **options)) as video:
            assert isinstance(video, PyAVReader)


# ---- folders


@pytest.fixture
def folder(tmp_path, painted_video) -> Path:
    for number in range(12):
        cv2.imwrite(
            str(tmp_path / f'{number + 1:05d}.jpg'),
            painted_video.frame(number)[:, :, ::-1],
            [cv2.IMWRITE_JPEG_QUALITY, 95],
        )
    return tmp_path


def test_folder(folder, painted_video):
    for stray in (
        'Thumbs.db',
        '.DS_Store',
        '1.jpg',
        '000013.jpg',
        '00013.png',
        'img_00013.jpg',
        '00013.jpg.part',
    ):
        (folder / stray).touch()
    with open_video(folder) as video:
        assert isinstance(video, FolderReader)
        assert (len(video), video.frame_size) == (12, (48, 128))
        frames = video.get_frames([11, 0, 5, 5])
        assert [painted_video.read_number(frame) for frame in frames] == [11, 0, 5, 5]
        assert [painted_video.read_number(frame) for frame in video.iter_frames()] == list(range(12))
        bar = frames[1, 24:40, 2:6].reshape(-1, 3).mean(axis=0)
        assert np.abs(bar - (200, 40, 90)).max() < 25  # red, green, blue in this order
        with pytest.raises(IndexError, match='no frame 12, it has 12 frames'):
            video.get_frames([12])


def test_folder_one_after_the_other(folder, painted_video):
    with open_video(folder) as video:
        frames = video.iter_at([2, 2, 5, 11])
        for index, images in ((2, 1), (2, 1), (5, 2), (11, 3)):
            assert painted_video.read_number(next(frames)) == index
            assert video.decoded == images
        assert next(frames, None) is None
        assert video.frame_size == (48, 128)
        assert video.decoded == 3
        assert (np.stack(list(video.iter_at([0, 7]))) == video.get_frames([0, 7])).all()
        next(video.iter_frames())
        assert video.decoded == 8
        with pytest.raises(IndexError, match='no frame 12, it has 12 frames'):
            video.iter_at([0, 12])


def test_array(painted_video):
    frames = np.stack([painted_video.frame(number) for number in range(6)])
    with ArrayReader(frames) as video:
        assert (len(video), video.frame_size, video.decoded) == (6, (48, 128), 0)
        walk = video.iter_at([1, 1, 4])
        assert (painted_video.read_number(next(walk)), video.decoded) == (1, 1)
        assert (numbers(painted_video, walk), video.decoded) == ([1, 4], 2)
        assert (video.get_frames([5, 0, 5]) == frames[[5, 0, 5]]).all()
        assert video.decoded == 4
        for indices in ([0, 6], [-1, 0]):
            with pytest.raises(IndexError, match='it has 6 frames'):
                video.iter_at(indices)
        with pytest.raises(ValueError, match='decrease from 3 to 2'):
            video.iter_at([3, 2])


def test_folder_of_other_names(folder, painted_video):
    for number in range(12):
        (folder / f'{number + 1:05d}.jpg').rename(folder / f'img_{number}.jpg')
    with open_video(folder, template='img_{}.jpg', start=0) as video:
        assert [painted_video.read_number(frame) for frame in video.get_frames(range(12))] == list(range(12))


def test_folder_with_gaps(folder):
    (folder / '00007.jpg').unlink()
    with pytest.raises(VideoError, match='00007.jpg is missing'):
        open_video(folder)
    with pytest.raises(VideoError, match='00001.jpg comes before the first number, 2'):
        FolderReader(str(folder), start=2)


def test_folder_without_images(tmp_path):
    (tmp_path / 'Thumbs.db').touch()
    with pytest.raises(VideoError, match=r'no image in it is named like 00001\.jpg') as caught:
        open_video(tmp_path)
    assert caught.value.path == str(tmp_path)
    with pytest.raises(VideoError, match='no such folder'):
        FolderReader(str(tmp_path / 'missing'))
    with pytest.raises(ValueError, match='one number'):
        FolderReader(str(tmp_path), template='frame.jpg')


def test_folder_with_a_bad_image(folder, painted_video):
    (folder / '00003.jpg').write_text('<html>')
    cv2.imwrite(str(folder / '00005.jpg'), painted_video.frame(4)[:40])
    with open_video(folder) as video:
        with pytest.raises(VideoError, match='00003.jpg is no image'):
            video.get_frames([0, 2])
        with pytest.raises(VideoError, match='different sizes'):
            video.get_frames([0, 4])
        frames = video.iter_at([0, 4])
        assert painted_video.read_number(next(frames)) == 0
        with pytest.raises(VideoError, match='different sizes'):
            next(frames)
        frames = video.iter_at([0, 2])
        next(frames)
        with pytest.raises(VideoError, match='00003.jpg is no image'):
            next(frames)
