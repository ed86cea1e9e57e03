from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import folder, jester, something_something
from data_prep.common import preparing
from data_prep.common.checking import Checker
from data_prep.common.children import Finished
from data_prep.common.command import DAMAGED, run
from data_prep.common.ffmpeg import Encoding, find_ffmpeg
from data_prep.common.listing import AnnotationError, Indexed, Listing
from data_prep.common.preparing import PreparationError
from data_prep.common.records import read_lines
from data_prep.common.steps import encode, unpack
from data_prep.common.steps.index import Annotation, index_rows, write_index
from data_prep.common.steps.verify import VerifyJob
from data_prep.common.workspace import Workspace
from gfvideo.data.manifest import ClipRow, read_classes, read_list, read_manifest, read_rows, validate
from gfvideo.data.readers import open_video

ROOT = Path(__file__).resolve().parents[2]
ALL_STEPS = '--steps', ','.join(preparing.STEPS[:3]) + ',transcode,lists,stats'


def prepared(videos: Path, out: Path, *flags: object) -> int:
    """Without the step stats, unless the flags ask for it: drawing takes longer than the rest of a small
    run."""
    return folder.main(
        [
            '--videos',
            str(videos),
            '--out',
            str(out),
            '--name',
            'clips',
            '--workers',
            '1',
            '--max-failed',
            '1',
            '--steps',
            'unpack,index,verify,transcode,lists',
            *map(str, flags),
        ]
    )


@pytest.fixture
def videos(tmp_path, clip, lay):
    """Class folders with five clips of different lengths."""
    return lay(
        tmp_path / 'videos',
        {
            'train/run/a.mp4': clip(6),
            'train/run/b.webm': clip(9, '.webm'),
            'train/sit down/c.mp4': clip(12),
            'train/sit down/d.mkv': clip(7, '.mkv'),
            'val/run/e.mp4': clip(10),
        },
    )


@pytest.fixture
def tree_of_frames(tmp_path, clip):
    """Class folders with two folders of five and seven images."""
    for name, count in (('train/run/1', 5), ('val/sit/2', 7)):
        (tmp_path / 'images' / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(
                str(tmp_path / 'images' / name / f'img_{number + 1:03d}.jpg'),
                clip.frame(number, 32, 128)[..., ::-1],
            )
    return tmp_path / 'images'


def numbers_in(clip, path, **how) -> list[int]:
    with open_video(path, **how) as video:
        return [clip.read_number(frame) for frame in video.iter_frames()]


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


def without_work(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.startswith('work/')}


def failed(out: Path) -> dict[str, str]:
    return {record['id']: record['reason'] for record in read_lines(out / 'failed.jsonl')}


# ---- what comes out


def test_videos(here, videos, tmp_path, clip, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    assert prepared(videos, tmp_path / 'out', *ALL_STEPS) == 0
    manifest = validate(tmp_path / 'out', check_files=True)
    assert (manifest.name, manifest.version, manifest.classes, manifest.label_order) == (
        'clips',
        'folders',
        ('run', 'sit down'),
        'sorted',
    )
    assert manifest.video_root == 'videos'
    assert read_rows(manifest, 'train') == [
        ClipRow('train/run/a.mp4', 'train/run/a.mp4', 'video', 0, 6, 32, 128),
        ClipRow('train/run/b.webm', 'train/run/b.mp4', 'video', 0, 9, 32, 128),
        ClipRow('train/sit down/c.mp4', 'train/sit down/c.mp4', 'video', 1, 12, 32, 128),
        ClipRow('train/sit down/d.mkv', 'train/sit down/d.mp4', 'video', 1, 7, 32, 128),
    ]
    assert read_rows(manifest, 'val') == [ClipRow('val/run/e.mp4', 'val/run/e.mp4', 'video', 0, 10, 32, 128)]
    for split in manifest.splits:
        for row in read_rows(manifest, split):
            assert numbers_in(clip, manifest.videos / row.path) == list(range(row.frames))
    assert failed(tmp_path / 'out') == {}
    assert sorted(os.listdir(tmp_path / 'out')) == [
        'dataset.json',
        'failed.jsonl',
        'lists',
        'sha256.txt',
        'stats.html',
        'stats.json',
        'train.jsonl',
        'train.jsonl.table',
        'val.jsonl',
        'val.jsonl.table',
        'videos',
        'work',
    ]
    assert sorted(os.listdir(tmp_path / 'out' / 'work')) == [
        'index.json',
        'index.jsonl',
        'transcode',
        'verify',
    ]
    for words in (
        'the annotation lists 4 train + 1 val clips of 2 classes',
        'train: 4 of 4 listed clips can be used (100.0 %)',
        f'content {manifest.content_hash[:12]}, made {manifest.made_hash[:12]}',
        'MiB of sources became',
    ):
        assert words in caplog.text


def test_transcoded_clips(here, tmp_path, clip, lay, remuxed):
    """Every 8th frame is a key frame, no B-frames, no sound, no metadata; the times of a file with variable
    rate stay."""
    with_sound = remuxed(clip(20), tmp_path / 'sound.mp4', sound=True, title='secret')
    with av.open(str(with_sound)) as container:
        assert len(container.streams) == 2 and container.metadata['title'] == 'secret'
    jitter = (0, 40, 43, 45, 120, 121, 122, 800, 801, 2000)  # several frames in the time of one
    at = (0, 1, 2, 10, 11, 30, 31, 33, 90, 91)
    videos = lay(
        tmp_path / 'v',
        {
            'train/a/sound.mp4': with_sound,
            'train/a/variable.mp4': clip(10, times=at),
            'train/a/slow.webm': clip(10, '.webm', times=at),
            'train/a/jitter.mp4': clip(10, rate=1000, times=jitter),
        },
    )
    assert prepared(videos, tmp_path / 'out', '--crf', 30) == 0
    with av.open(str(tmp_path / 'out/videos/train/a/sound.mp4')) as container:
        assert [stream.type for stream in container.streams] == ['video']
        assert 'title' not in container.metadata
        packets = [packet for packet in container.demux() if packet.size]
        assert [number for number, packet in enumerate(packets) if packet.is_keyframe][:3] == [0, 8, 16]
        assert [packet.pts for packet in packets] == sorted(packet.pts for packet in packets)
    for name, rate, stamps in (('variable', 25, at), ('slow', 25, at), ('jitter', 1000, jitter)):
        file = tmp_path / f'out/videos/train/a/{name}.mp4'
        assert numbers_in(clip, file) == list(range(10))
        with av.open(str(file)) as container:
            seconds = [float(frame.time) for frame in container.decode(video=0)]
        assert seconds == pytest.approx([stamp / rate for stamp in stamps], abs=0.021)


def test_outputs_whose_last_frame_is_hidden(here, tmp_path, clip, lay, monkeypatch):
    """Every frame is in such a file, and its table counts them all; an edit list that ends early keeps
    readers from showing the last."""
    run_child = encode.run_child

    def cutting(argv, limit):
        finished = run_child(
            [
                word.replace('0', '1') if before == '-use_editlist' else word
                for before, word in zip(['', *argv], argv)
            ],
            limit,
        )
        file = Path(argv[-1].removeprefix('file:'))
        data = bytearray(file.read_bytes())
        at = data.index(b'elst') + 12  # after the version and the number of entries: the duration
        data[at : at + 4] = (int.from_bytes(data[at : at + 4]) * 9 // 10).to_bytes(4)
        file.write_bytes(data)
        return finished

    videos = lay(tmp_path / 'v', {'train/a/x.mp4': clip(10)})
    with monkeypatch.context() as patch:
        patch.setattr(encode, 'run_child', cutting)
        with pytest.raises(PreparationError, match='no clip of any split'):
            prepared(videos, tmp_path / 'out')
    (record,) = read_lines(tmp_path / 'out/failed.jsonl')
    assert record['reason'] == 'decode_error' and record['detail'] in (
        '9 of 10 frames were encoded',
        '8 of 10 frames were encoded',
    )


@pytest.mark.parametrize(
    ('height', 'width', 'short_side', 'expected'),
    [
        (32, 128, 256, (32, 128)),
        (48, 160, 32, (32, 106)),
        (160, 144, 64, (72, 64)),
        (33, 129, 0, (32, 126)),
        (35, 131, 32, (32, 120)),
        (129, 129, 32, (32, 32)),
    ],
)
def test_sizes(here, tmp_path, clip, height, width, short_side, expected):
    """The short side is never enlarged, both sides are even, and the shape stays (to a pixel or two)."""
    source = clip.write(
        tmp_path / 'x.webm',
        [np.full((height, width, 3), 99, np.uint8)] * 2,
        codec='libvpx-vp9',
        options={'deadline': 'realtime'},
    )
    target = tmp_path / 'y.mp4'
    argv = Encoding(short_side).video(find_ffmpeg(), str(source), str(target))
    subprocess.run(argv, check=True)
    with av.open(str(target)) as container:
        found = container.streams.video[0].height, container.streams.video[0].width
    assert found == pytest.approx(expected, abs=2) and min(found) == min(expected)
    assert not any(side % 2 for side in found)
    assert found[0] / found[1] == pytest.approx(height / width, rel=0.05)


@pytest.mark.parametrize('to', ['video', 'frames'])
def test_rotation_is_baked_in(here, tmp_path, clip, remuxed, to):
    (tmp_path / 'v/train/a').mkdir(parents=True)
    remuxed(clip(4), tmp_path / 'v/train/a/x.mp4', degrees=90)
    assert prepared(tmp_path / 'v', tmp_path / 'out', '--to', to) == 0
    (row,) = read_rows(read_manifest(tmp_path / 'out'), 'train')
    assert (row.height, row.width, row.frames) == (128, 32, 4)
    assert [record['rotation'] for record in read_lines(tmp_path / 'out/work/verify/all.jsonl')] in (
        [90],
        [-90],
    )
    made = tmp_path / 'out' / ('videos' if to == 'video' else 'frames') / row.path
    with open_video(tmp_path / 'v/train/a/x.mp4') as source, open_video(made) as video:
        wanted, found = source.get_frames(range(4)), video.get_frames(range(4))
    assert wanted.shape == found.shape == (4, 128, 32, 3)
    assert np.abs(wanted.astype(int) - found).mean() < 12


def test_frames(here, videos, tmp_path, clip):
    shutil.copy(
        clip(8, rate=1000, times=(0, 40, 43, 45, 120, 121, 800, 2000)), videos / 'train/run/jitter.mp4'
    )
    assert prepared(videos, tmp_path / 'out', '--to', 'frames') == 0
    manifest = validate(tmp_path / 'out', check_files=True)
    assert failed(tmp_path / 'out') == {}
    assert (manifest.video_root, manifest.frame_template, manifest.start_index) == ('frames', '{:05d}.jpg', 1)
    for split in manifest.splits:
        for row in read_rows(manifest, split):
            assert row.kind == 'frames'
            assert sorted(os.listdir(manifest.videos / row.path)) == [
                f'{n:05d}.jpg' for n in range(1, row.frames + 1)
            ]
            assert numbers_in(clip, manifest.videos / row.path) == list(range(row.frames))
    assert sorted(file.name for file in (tmp_path / 'out/lists').iterdir()) == [
        'category.txt',
        'mmaction2_frames_val.txt',
        'tsm_adafocus_train.txt',
        'tsm_adafocus_val.txt',
    ]  # a space in the class of train


@pytest.mark.parametrize('to', ['original', 'video', 'frames'])
def test_folders_of_frames(here, tree_of_frames, tmp_path, clip, to):
    before = times(tree_of_frames)
    assert prepared(tree_of_frames, tmp_path / 'out 100%d', '--to', to) == 0
    manifest = validate(tmp_path / 'out 100%d', check_files=True)
    assert times(tree_of_frames) == before
    for split, path, count in (('train', 'train/run/1', 5), ('val', 'val/sit/2', 7)):
        (row,) = read_rows(manifest, split)
        assert (row.path, row.kind, row.frames) == (
            f'{path}.mp4' if to == 'video' else path,
            'video' if to == 'video' else 'frames',
            count,
        )
        assert numbers_in(
            clip, manifest.videos / row.path, template=manifest.frame_template, start=manifest.start_index
        ) == list(range(count))
    assert manifest.frame_template == ('img_{:03d}.jpg' if to == 'original' else '{:05d}.jpg')


def test_folders_whose_images_are_named_otherwise(here, tree_of_frames, tmp_path):
    shutil.copytree(tree_of_frames / 'train/run/1', tree_of_frames / 'train/run/3')
    (tree_of_frames / 'train/run/4').mkdir()
    for number in range(5):
        shutil.copy(tree_of_frames / 'train/run/1/img_001.jpg', tree_of_frames / f'train/run/4/{number}.jpg')
    prepared(tree_of_frames, tmp_path / 'out', '--to', 'original')
    assert failed(tmp_path / 'out') == {'train/run/4': 'missing_frames'}
    prepared(
        tree_of_frames, tmp_path / 'out', '--to', 'frames', '--min-frames', 6
    )  # of the folders that are left, none is named so any more
    assert failed(tmp_path / 'out') == {
        name: 'too_short' for name in ('train/run/1', 'train/run/3', 'train/run/4')
    }
    assert [row.id for row in read_rows(read_manifest(tmp_path / 'out'), 'val')] == ['val/sit/2']


def test_originals(here, videos, tmp_path):
    before = times(videos)
    assert prepared(videos, tmp_path / 'out', '--to', 'original') == 0
    manifest = validate(tmp_path / 'out', check_files=True)
    assert Path(manifest.video_root) == videos
    assert [row.path for row in read_rows(manifest, 'train')] == [
        'train/run/a.mp4',
        'train/run/b.webm',
        'train/sit down/c.mp4',
        'train/sit down/d.mkv',
    ]
    assert not (tmp_path / 'out/videos').exists() and times(videos) == before
    assert manifest.preparation['ffmpeg'] is None


def test_dataset_json_says_how_it_was_made(here, videos, tmp_path):
    prepared(videos, tmp_path / 'out', '--crf', 31, '--all-intra', '--min-frames', 2)
    made = read_manifest(tmp_path / 'out').preparation
    assert made['ffmpeg'] == find_ffmpeg().version and made['av'] == av.__version__ and made['gfvideo']
    assert made['arguments'] == {
        'form': None,
        'split': None,
        'videos': [str(videos)],
        'annotations': None,
        'to': 'video',
        'min_frames': 2,
        'short_side': 256,
        'gop': 1,
        'crf': 31,
    }


def test_the_hashes_of_content_and_making(here, videos, tmp_path):
    """Two folders with other names, one moved: one content; another rate factor: the same, made otherwise."""
    flags = '--steps', 'unpack,index,verify,transcode,lists', '--workers', '1'
    shutil.copytree(videos, tmp_path / 'elsewhere/clips')
    made = []
    for name, source, more in (
        ('one', videos, ()),
        ('two', tmp_path / 'elsewhere/clips', ()),
        ('crf', videos, ('--crf', '40')),
        ('small', videos, ('--short-side', '16')),
        ('kept', videos, ('--to', 'original')),
    ):
        folder.main(['--videos', str(source), '--out', str(tmp_path / name), *flags, *more])
        made.append(read_manifest(tmp_path / name))
    one, two, crf, small, kept = made
    assert one.content_hash == two.content_hash == crf.content_hash == kept.content_hash
    assert small.content_hash != one.content_hash  # shown in another size
    assert one.made_hash == two.made_hash
    assert len({manifest.made_hash for manifest in (one, crf, small, kept)}) == 4
    assert one.made['ffmpeg'] == find_ffmpeg().version and kept.made == {'to': 'original'}
    assert len({manifest.hash for manifest in made}) >= 3  # names of folders count in this one


def test_lists_of_other_tools(here, videos, tmp_path, caplog):
    prepared(videos, tmp_path / 'out')
    lists, manifest = tmp_path / 'out/lists', read_manifest(tmp_path / 'out')
    assert (
        lists / 'slowfast_videomae_train.txt'
    ).read_text() == 'train/run/a.mp4 0\ntrain/run/b.mp4 0\ntrain/sit down/c.mp4 1\ntrain/sit down/d.mp4 1\n'
    assert (lists / 'tsm_adafocus_val.txt').read_text() == 'val/run/e.mp4 10 0\n'
    assert read_classes(lists / 'category.txt') == manifest.classes
    assert (
        not (lists / 'mmaction2_video_train.txt').exists()
        and "cannot hold the path 'train/sit down/c.mp4'" in caplog.text
    )
    for form, name in (
        ('path_label', 'slowfast_videomae'),
        ('tsm', 'tsm_adafocus'),
        ('mmaction2_video', 'mmaction2_video'),
    ):
        for split in ('train', 'val'):
            if (form, split) != ('mmaction2_video', 'train'):
                rows = read_list(lists / f'{name}_{split}.txt', form, manifest.classes)
                assert [(row.path, row.label) for row in rows] == [
                    (row.path, row.label) for row in read_rows(manifest, split)
                ]
                assert form != 'tsm' or [row.frames for row in rows] == [
                    row.frames for row in read_rows(manifest, split)
                ]
    prepared(videos, tmp_path / 'out', '--to', 'frames')
    assert not (lists / 'slowfast_videomae_train.txt').exists()  # of the earlier run


def test_stats(here, videos, tmp_path):
    (videos / 'val/run/page.mp4').write_bytes(b'<html>')
    prepared(videos, tmp_path / 'out', *ALL_STEPS)
    stats = json.loads((tmp_path / 'out/stats.json').read_text())
    assert stats['splits'] == {
        'train': {
            'present': 4,
            'official': 4,
            'labelled': 4,
            'frames': [6, 6, 8, 9, 12],
            'clips_per_class': [2, 2],
        },
        'val': {'present': 1, 'official': 2, 'labelled': 1, 'frames': [10] * 5, 'clips_per_class': [1, 0]},
    }
    assert (
        stats['sizes'] == {'128x32': 5}
        and stats['source_rates'] == {'25': 5}
        and stats['source_codecs'] == {'h264': 4, 'vp9': 1}
    )
    assert stats['failed'] == [{'split': 'val', 'reason': 'not_a_video', 'clips': 1}]
    assert stats['hash'] == read_manifest(tmp_path / 'out').hash
    assert stats['content_hash'] == read_manifest(tmp_path / 'out').content_hash
    out = tmp_path / 'out'
    [example] = stats['failed_examples']['not_a_video']
    assert (example['split'], example['id']) == ('val', 'val/run/page.mp4')
    assert stats['bytes'] == {
        split: {
            'clips': present,
            'sources': sum((videos / row.id).stat().st_size for row in rows),
            'prepared': sum((out / 'videos' / row.path).stat().st_size for row in rows),
        }
        for split, present in (('train', 4), ('val', 1))
        for rows in [read_rows(read_manifest(out), split)]
    }
    page = (tmp_path / 'out/stats.html').read_text()
    assert page.count('src="data:image/jpeg;base64,') == 5  # a frame of every clip
    assert 'http' not in re.sub(r'xmlns(:\w+)?="[^"]+"|<!DOCTYPE svg[^>]+>', '', page)  # asks no network
    assert (
        page.startswith('<!DOCTYPE html>')
        and '<svg' in page
        and 'not_a_video' in page
        and str(tmp_path) not in page
    )


def test_short_clips_are_left_out(here, videos, tmp_path):
    assert prepared(videos, tmp_path / 'out', '--min-frames', 8) == 0
    assert failed(tmp_path / 'out') == {'train/run/a.mp4': 'too_short', 'train/sit down/d.mkv': 'too_short'}
    assert sorted(path.name for path in (tmp_path / 'out/videos').rglob('*.mp4')) == [
        'b.mp4',
        'c.mp4',
        'e.mp4',
    ]


def test_too_many_failed(here, videos, tmp_path, caplog):
    (videos / 'val/run/page.mp4').write_bytes(b'<html>')
    argv = [
        '--videos',
        str(videos),
        '--out',
        str(tmp_path / 'out'),
        '--workers',
        '1',
        '--steps',
        'index,verify,lists',
        '--to',
        'original',
    ]
    assert folder.main([*argv, '--max-failed', '0.16']) == 3
    assert '16.7 % of the listed clips cannot be used, more than --max-failed 0.16' in caplog.text
    assert validate(tmp_path / 'out')  # it is written all the same
    assert folder.main([*argv, '--max-failed', '0.17']) == 0


@pytest.fixture
def odd_suffixes(tmp_path, clip, lay):
    """A clip of each kind that is not taken by itself, and one that is."""
    frames = [clip.frame(number, 32, 128) for number in range(6)]
    with av.open(str(tmp_path / 'x.gif'), 'w') as out:
        stream = out.add_stream('gif', rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 128, 'rgb8'
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24').reformat(format='rgb8')))
        out.mux(stream.encode())
    return lay(
        tmp_path / 'v',
        {
            'train/a/x.gif': tmp_path / 'x.gif',
            'train/a/y.h264': clip.write(tmp_path / 'y.h264', frames),
            'train/a/z': clip(7),
            'train/a/w.mp4': clip(8),
            'train/notes.txt': b'none',
        },
    )


def test_what_is_left_out_for_its_suffix(here, odd_suffixes, tmp_path, clip, caplog):
    wanted = (
        'left out, for their suffix is none of a video: 1 without suffix (train/a/z), '
        '1 .gif (train/a/x.gif), 1 .h264 (train/a/y.h264), 1 .txt (train/notes.txt); '
        'if these are videos, take them with --also none,.gif,.h264'
    )
    assert prepared(odd_suffixes, tmp_path / 'out') == 0
    assert [record.message for record in caplog.records if 'left out' in record.message] == [wanted]
    caplog.clear()
    assert prepared(odd_suffixes, tmp_path / 'out', '--steps', 'index') == 0
    assert [record.message for record in caplog.records if 'left out' in record.message] == [wanted]
    assert prepared(odd_suffixes, tmp_path / 'out', '--also', 'none,.gif,.h264') == 0
    assert failed(tmp_path / 'out') == {}
    manifest = validate(tmp_path / 'out', check_files=True)
    assert {row.id: row.frames for row in read_rows(manifest, 'train')} == {
        'train/a/w.mp4': 8,
        'train/a/x.gif': 6,
        'train/a/y.h264': 6,
        'train/a/z': 7,
    }
    assert all(
        numbers_in(clip, manifest.videos / row.path) == list(range(row.frames))
        for row in read_rows(manifest, 'train')
    )
    assert manifest.preparation['arguments']['also'] == ['', '.gif', '.h264']


def test_an_archive_with_other_suffixes_and_names(here, odd_suffixes, tmp_path, caplog):
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        archive.add(odd_suffixes / 'train', 'train')
        archive.add(odd_suffixes / 'train/a/w.mp4', 'train/a/' + 'n' * 300 + '.mp4')
    csv = tmp_path / 'clips.csv'
    long = f'{"n" * 300}.mp4'
    csv.write_text(f'path,label,split\nw.mp4,0,train\nz,0,train\n{long},0,train\n')
    flags = '--annotations', csv, '--form', 'csv'
    assert prepared(tmp_path / 'x.tar', tmp_path / 'out', *flags) == 0
    refused = {long: 'missing', f'x/train/a/{long}': 'unreadable'}
    assert failed(tmp_path / 'out') == {'z': 'missing', **refused}
    assert (
        'the name is longer than the file system allows; rename it'
        in (tmp_path / 'out/failed.jsonl').read_text()
    )
    assert (
        '1 without suffix (x/train/a/z), 1 .gif (x/train/a/x.gif), 1 .h264 (x/train/a/y.h264)' in caplog.text
    )
    assert '--also none,.gif,.h264' in caplog.text
    caplog.clear()
    assert prepared(tmp_path / 'x.tar', tmp_path / 'out', *flags) == 0
    assert '1 without suffix (x/train/a/z)' in caplog.text  # though nothing is unpacked a second time
    assert prepared(tmp_path / 'x.tar', tmp_path / 'out', *flags, '--also', 'none') == 0
    assert failed(tmp_path / 'out') == refused


def test_a_folder_without_videos_tells_what_it_holds(here, tmp_path, lay):
    with pytest.raises(
        PreparationError,
        match=r'correct --videos \(left out.*1 .gif \(train/a/x.gif\); if these are videos, take them',
    ):
        prepared(lay(tmp_path / 'v', {'train/a/x.gif': b'x'}), tmp_path / 'out')


def test_nothing_can_be_used(here, tmp_path, lay):
    videos = lay(tmp_path / 'v', {'train/a/x.mp4': b'<html>', 'train/a/y.mp4': b''})
    with pytest.raises(PreparationError, match='no clip of any split can be used'):
        prepared(videos, tmp_path / 'out')
    assert failed(tmp_path / 'out') == {'train/a/x.mp4': 'not_a_video', 'train/a/y.mp4': 'empty'}
    assert not (tmp_path / 'out/dataset.json').exists()


def test_one_file_in_two_splits_is_done_once(here, tmp_path, clip, lay):
    videos = lay(tmp_path / 'v', {'x.mp4': clip(6), 'train.txt': b'x.mp4 0\n', 'val.txt': b'x.mp4 0\n'})
    assert prepared(videos, tmp_path / 'out', '--annotations', videos, '--form', 'path_label') == 0
    manifest = read_manifest(tmp_path / 'out')
    assert [read_rows(manifest, split)[0].path for split in ('train', 'val')] == ['x.mp4', 'x.mp4']
    assert len(list(read_lines(tmp_path / 'out/work/transcode/all.jsonl'))) == 1


def test_sources_that_differ_in_little(here, tmp_path, clip, lay):
    """x.mp4, x.webm, x.mp4.mkv and the folder of images x would all be x.mp4."""
    videos = lay(
        tmp_path / 'v',
        {
            'train/a/x.mp4': clip(6),
            'train/a/x.webm': clip(9, '.webm'),
            'train/a/x.mp4.mkv': clip(7, '.mkv'),
            'train/a/y.mp4': clip(6),
        },
    )
    for number in range(5):
        (videos / 'train/a/y').mkdir(exist_ok=True)
        cv2.imwrite(str(videos / f'train/a/y/{number:03d}.jpg'), clip.frame(number, 32, 128)[..., ::-1])
    for to in ('video', 'frames'):
        assert prepared(videos, tmp_path / 'out', '--to', to) == 0
        manifest = validate(tmp_path / 'out', check_files=True)
        rows = read_rows(manifest, 'train')
        assert {row.id.split('/')[-1]: row.frames for row in rows} == {
            'x.mp4': 6,
            'x.webm': 9,
            'x.mp4.mkv': 7,
            'y.mp4': 6,
            'y': 5,
        }
        assert all(len(numbers_in(clip, manifest.videos / row.path)) == row.frames for row in rows)


@given(
    st.lists(
        st.sampled_from(['a', 'a.mp4', 'a.webm', 'a.mp4.mp4', 'a.mp4.webm', 'a.webm.mp4', 'b.mp4', 'b']),
        unique=True,
        min_size=1,
    )
)
@settings(max_examples=40)
def test_no_two_sources_have_one_target(names):
    kinds = {name: 'frames' if name in ('a', 'b') else 'video' for name in names}
    clips = [Indexed('train', name, 0, name, kinds[name]) for name in names]
    listing = Listing(('class',), 'sorted', (), {'train': len(names)})
    annotation = Annotation('x', '1', lambda found: listing, lambda listing, found: iter(clips))
    with TemporaryDirectory() as root:
        for name in names:
            file = Path(root, 'v', name, '1.jpg') if kinds[name] == 'frames' else Path(root, 'v', name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        space = Workspace(Path(root, 'out'))
        write_index(space, Path(root, 'v'), annotation)
        given = [row['target'] for row in index_rows(space)]
    assert len(set(given)) == len(given) == len(names)
    assert all(kinds[name] == 'video' or target == name for name, target in zip(names, given))


# ---- again


def test_the_second_run_does_nothing(here, videos, tmp_path, content, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    for to in ('video', 'frames'):
        prepared(videos, tmp_path / to, '--to', to)
        before, encoded = (
            content(tmp_path / to),
            times(tmp_path / to / ('videos' if to == 'video' else 'frames')),
        )

        def never(*args):
            raise AssertionError(f'{args} was done before')

        with monkeypatch.context() as patch:
            patch.setattr(encode, 'run_child', never)
            patch.setattr(Checker, '__call__', never)
            prepared(videos, tmp_path / to, '--to', to)
        assert content(tmp_path / to) == before
        assert times(tmp_path / to / ('videos' if to == 'video' else 'frames')) == encoded
    assert 'verify: 5 of 5 clips were done before' in caplog.text
    # two of first runs, two of second
    assert sum(record.message.startswith('verify: ') for record in caplog.records) == 4


def test_changed_arguments_encode_again(here, videos, tmp_path, content, monkeypatch):
    prepared(videos, tmp_path / 'out')
    before = content(tmp_path / 'out')
    monkeypatch.setattr(VerifyJob, '__call__', None)  # nothing is verified again
    prepared(videos, tmp_path / 'out', '--gop', 1)
    changed = content(tmp_path / 'out')
    assert all(changed[name] != before[name] for name in before if name.endswith('.mp4'))
    assert read_manifest(tmp_path / 'out').hash  # of the same clips
    prepared(videos, tmp_path / 'out')
    assert content(tmp_path / 'out') == before


def test_lists_refuse_outputs_of_other_arguments(here, videos, tmp_path, caplog):
    prepared(videos, tmp_path / 'out')
    before = (tmp_path / 'out' / 'dataset.json').read_bytes()
    flags = ['--videos', str(videos), '--out', str(tmp_path / 'out'), '--workers', '1', '--steps', 'lists']
    assert run(folder.main, [*flags, '--gop', '1']) == 1
    assert 'has no record of the step transcode with these arguments' in caplog.text
    assert (tmp_path / 'out' / 'dataset.json').read_bytes() == before


def test_changed_sources_are_verified_and_encoded_again(here, videos, tmp_path, clip):
    prepared(videos, tmp_path / 'out')
    before = times(tmp_path / 'out/videos')
    shutil.copy(clip(20), videos / 'train/run/a.mp4')
    (videos / 'val/run/e.mp4').unlink()
    (videos / 'val/run/f.mp4').write_bytes(b'<html>')
    prepared(videos, tmp_path / 'out')
    rows = {row.id: row.frames for row in read_rows(read_manifest(tmp_path / 'out'), 'train')}
    assert rows['train/run/a.mp4'] == 20 == len(numbers_in(clip, tmp_path / 'out/videos/train/run/a.mp4'))
    after = times(tmp_path / 'out/videos')
    assert [Path(path).name for path in before if before[path] != after[path]] == ['a.mp4']
    assert read_manifest(tmp_path / 'out').splits.keys() == {'train'} and failed(tmp_path / 'out') == {
        'val/run/f.mp4': 'not_a_video'
    }
    shutil.copy(clip(10), videos / 'val/run/f.mp4')  # mended: no longer failed
    prepared(videos, tmp_path / 'out')
    assert failed(tmp_path / 'out') == {} and len(read_rows(read_manifest(tmp_path / 'out'), 'val')) == 1


@pytest.mark.parametrize('to', ['video', 'frames'])
def test_damaged_and_lost_outputs_are_made_again(here, videos, tmp_path, content, to):
    prepared(videos, tmp_path / 'out', '--to', to)
    before = content(tmp_path / 'out')
    files = sorted(
        path
        for path in (tmp_path / 'out' / ('videos' if to == 'video' else 'frames')).rglob('*')
        if path.is_file()
    )
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[-1].unlink()
    prepared(videos, tmp_path / 'out', '--to', to)
    assert content(tmp_path / 'out') == before


def test_outputs_of_other_arguments_are_not_taken_for_ones_own(here, videos, tmp_path, content, monkeypatch):
    """A run with other arguments replaced a folder of frames and was killed before it could say so."""
    prepared(videos, tmp_path / 'out', '--to', 'frames')
    before = content(tmp_path / 'out')
    with monkeypatch.context() as patch:
        patch.setattr(encode.EncodeJob, 'note', None)
        with pytest.raises(TypeError):
            prepared(videos, tmp_path / 'out', '--to', 'frames', '--quality', 31)
    assert content(tmp_path / 'out/frames') != {
        name.removeprefix('frames/'): data for name, data in before.items() if name.startswith('frames/')
    }
    prepared(videos, tmp_path / 'out', '--to', 'frames')
    assert content(tmp_path / 'out') == before


# ---- nothing whole is thrown away


def never(*args):
    raise AssertionError(f'{args} was done before')


def test_another_ffmpeg_and_new_times_make_nothing_anew(here, videos, tmp_path, content, monkeypatch, caplog):
    """Merging the shards on a node with another ffmpeg, of sources that were copied."""
    prepared(videos, tmp_path / 'out')
    before, first = content(tmp_path / 'out/videos'), find_ffmpeg()
    for file in videos.rglob('*.*'):
        os.utime(file, (1, 1))
    other = replace(first, version='n4.2-other')  # whose flags differ, too
    monkeypatch.setattr(preparing, 'find_ffmpeg', lambda wanted: other)
    with monkeypatch.context() as patch:
        patch.setattr(encode, 'run_child', never)
        patch.setattr(Checker, '__call__', never)
        prepared(videos, tmp_path / 'out')
    assert content(tmp_path / 'out/videos') == before
    for words in (
        'verify: 5 clips whose sources have new times, and the same size, head and tail, are kept',
        f'transcode: 5 clips that ffmpeg {first.version} made, where this is n4.2-other, are kept; --redo',
    ):
        assert words in caplog.text
    manifest = read_manifest(tmp_path / 'out')
    assert manifest.made['ffmpeg'] == manifest.preparation['ffmpeg'] == first.version  # which made them


def test_redo(here, videos, tmp_path, monkeypatch):
    prepared(videos, tmp_path / 'out')
    before = times(tmp_path / 'out/videos')
    os.utime(videos / 'train/run/a.mp4', (1, 1))
    prepared(videos, tmp_path / 'out', '--redo')
    after = times(tmp_path / 'out/videos')
    assert [Path(path).name for path in before if before[path] != after[path]] == ['a.mp4']
    other = replace(find_ffmpeg(), version='other')
    monkeypatch.setattr(preparing, 'find_ffmpeg', lambda wanted: other)
    prepared(videos, tmp_path / 'out', '--redo', '--shard', '0/2')
    prepared(videos, tmp_path / 'out')
    versions = read_manifest(tmp_path / 'out').made['ffmpeg'].split(', ')
    assert sorted(versions) == sorted({find_ffmpeg().version, 'other'})
    prepared(videos, tmp_path / 'out', '--redo')
    assert read_manifest(tmp_path / 'out').made['ffmpeg'] == 'other'
    monkeypatch.setattr(encode, 'run_child', never)
    prepared(videos, tmp_path / 'out', '--redo')  # nothing is left that differs


@pytest.mark.parametrize('place', [0, -1])
def test_a_source_of_the_same_size_and_another_head_or_tail(here, videos, tmp_path, place):
    prepared(videos, tmp_path / 'out')
    data = bytearray((videos / 'train/run/a.mp4').read_bytes())
    data[place] ^= 255
    (videos / 'train/run/a.mp4').write_bytes(data)
    os.utime(videos / 'train/run/a.mp4', (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        done = []

        def verify(job, clips):
            done.extend(clip.path for clip in clips)
            return Counter('' for _ in clips)

        patch.setattr(VerifyJob, '__call__', verify)
        prepared(videos, tmp_path / 'out', '--steps', 'verify')
    assert done == ['train/run/a.mp4']


def test_records_of_earlier_versions(here, videos, tmp_path, monkeypatch):
    """They told recipe, version and source in one key, and no digest: what the same ffmpeg made is kept."""
    prepared(videos, tmp_path / 'out')
    argv = Encoding().video(find_ffmpeg(), 'IN', 'OUT')[1:]
    made_by = hashlib.sha256('\0'.join([find_ffmpeg().version, *argv]).encode()).hexdigest()[:16]
    for step in ('verify', 'transcode'):
        file = tmp_path / 'out/work' / step / 'all.jsonl'
        records = list(read_lines(file))
        for record in records:
            for name in ('digest', 'sha256', 'recipe', 'ffmpeg'):
                record.pop(name, None)
            record['key'] = f'{made_by}-{record["key"]}' if step == 'transcode' else record['key']
        file.write_text(''.join(json.dumps(record) + '\n' for record in records))
    monkeypatch.setattr(encode, 'run_child', never)
    monkeypatch.setattr(Checker, '__call__', never)
    prepared(videos, tmp_path / 'out')
    assert read_manifest(tmp_path / 'out').made['ffmpeg'] == find_ffmpeg().version
    assert (tmp_path / 'out/sha256.txt').read_text() == ''
    with pytest.raises(AssertionError, match='was done before'):
        prepared(videos, tmp_path / 'out', '--crf', 30)


# ---- bit rot


def zero(file: Path, count: int = 4000) -> None:
    """In the middle, so that size and head and tail stay."""
    data = bytearray(file.read_bytes())
    middle = max(0, len(data) // 2 - count // 2)
    data[middle : middle + count] = bytes(len(data[middle : middle + count]))
    file.write_bytes(data)


@pytest.mark.parametrize('to', ['video', 'frames', 'original'])
def test_zeroed_bytes_are_found_and_mended(here, videos, tmp_path, content, to, caplog, clip):
    shutil.copy(clip(60), videos / 'train/run/long.mp4')
    out = tmp_path / 'out'
    prepared(videos, out, '--to', to)
    before = content(out)
    assert folder.main(['--out', str(out), '--recheck', '--workers', '1']) == 0
    root = {'video': out / 'videos', 'frames': out / 'frames', 'original': videos}[to]
    hurt = root / ('train/run/long' if to != 'original' else 'train/run/long.mp4')
    hurt = {'video': hurt.with_suffix('.mp4'), 'frames': hurt / '00031.jpg', 'original': hurt}[to]
    whole = hurt.read_bytes()
    zero(hurt)
    assert folder.main(['--out', str(out), '--recheck', '--workers', '1']) == DAMAGED
    path = 'train/run/long' + {'video': '.mp4', 'frames': '', 'original': '.mp4'}[to]
    assert f'{path}: its bytes are not those that were written' in caplog.text
    assert '1 of 6 clips are damaged' in caplog.text
    if to == 'original':
        hurt.write_bytes(whole)
    prepared(videos, out, '--to', to)
    assert hurt.read_bytes() == whole
    after = content(out)
    assert folder.main(['--out', str(out), '--recheck', '--workers', '1']) == 0
    assert {name: data for name, data in after.items() if 'work' not in name} == {
        name: data for name, data in before.items() if 'work' not in name
    }


def test_sums_are_those_of_sha256sum(here, videos, tmp_path):
    prepared(videos, tmp_path / 'out')
    lines = (tmp_path / 'out/sha256.txt').read_text().splitlines()
    assert len(lines) == 5
    for line in lines:
        value, path = line.split('  ')
        data = (tmp_path / 'out/videos' / path).read_bytes()
        assert value == hashlib.sha256(data).hexdigest()
    prepared(videos, tmp_path / 'frames', '--to', 'frames')
    for line in (tmp_path / 'frames/sha256.txt').read_text().splitlines():
        value, path = line.split('  ')
        images = sorted((tmp_path / 'frames/frames' / path).iterdir())
        text = ''.join(f'{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n' for one in images)
        assert value == hashlib.sha256(text.encode()).hexdigest()


def test_a_moved_copy_is_rechecked_without_sources(here, videos, tmp_path, caplog):
    prepared(videos, tmp_path / 'out')
    shutil.copytree(tmp_path / 'out', tmp_path / 'copy', ignore=shutil.ignore_patterns('work'))
    shutil.rmtree(videos)
    (tmp_path / 'copy/videos/val/run/e.mp4').unlink()
    assert folder.main(['--out', str(tmp_path / 'copy'), '--recheck', '--workers', '1']) == DAMAGED
    assert 'val/run/e.mp4: No such file or directory' in caplog.text
    assert 'nothing here tells their sources' in caplog.text
    assert run(folder.main, ['--out', str(tmp_path / 'nothing'), '--recheck']) == 1
    assert 'nothing is prepared there' in caplog.text


def test_what_was_encoded_is_decoded(here, videos, tmp_path, monkeypatch, lay):
    """An encoder, or a disk, that hands over whole packets with damage inside and no word."""
    once = encode.run_child

    def hurting(argv, time_limit):
        finished = once(argv, time_limit)
        if not any('c.mp4' in word for word in argv):
            return finished
        target = Path(argv[-1].removeprefix('file:'))
        data = bytearray(target.read_bytes())
        with av.open(str(target)) as container:
            packet = max((one for one in container.demux(video=0) if one.size), key=lambda one: one.size)
            last = packet.pos + packet.size
        for place in range(last - 20, last):
            data[place] ^= 0x5A
        target.write_bytes(data)
        return finished

    monkeypatch.setattr(encode, 'run_child', hurting)
    assert prepared(videos, tmp_path / 'out') == 0
    (told,) = read_lines(tmp_path / 'out/failed.jsonl')
    assert (told['id'], told['reason']) == ('train/sit down/c.mp4', 'decode_error')
    assert told['detail'].startswith('what was encoded does not decode: '), told
    assert not (tmp_path / 'out/videos/train/sit down/c.mp4').exists()


def test_what_a_killed_run_left_is_removed(here, videos, tmp_path, content):
    prepared(videos, tmp_path / 'out')
    before = content(tmp_path / 'out')
    for name in (
        'work/tmp/all/123-abc.mp4',
        'work/tmp/all/9-x/00001.jpg',
        'work/tmp/0-of-2/1.mp4',
        '.dataset.json.abcd1234.tmp',
        'lists/.category.txt.01234567.tmp',
        'work/.index.jsonl.89abcdef.tmp',
        'work/verify/.all.jsonl.00000000.tmp',
        # of earlier versions
        '.dataset.json.abcd1234',
        'lists/.category.txt.a_b0c1d2',
        'work/.index.jsonl.12345678',
        'work/verify/.all.jsonl.zzzzzzzz',
    ):
        (tmp_path / 'out' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'out' / name).write_bytes(b'half')
    (tmp_path / 'out/work/verify/host-1-0.part').write_bytes(b'{"path":"train/run/a.mp4","reas')
    prepared(videos, tmp_path / 'out')
    assert content(tmp_path / 'out') == before


def test_two_runs_at_a_time(here, videos, tmp_path, monkeypatch):
    """The second is refused, and leaves what the first has in the making."""
    seen = []
    run_child = encode.run_child

    def meanwhile(argv, time_limit):
        finished = run_child(argv, time_limit)
        with pytest.raises(PreparationError, match='another run is preparing .*out; wait for it or end it'):
            prepared(videos, tmp_path / 'out')
        with pytest.raises(PreparationError, match='another run'):
            prepared(videos, tmp_path / 'out', '--shard', '0/2')
        seen.append(argv)
        return finished

    monkeypatch.setattr(encode, 'run_child', meanwhile)
    assert prepared(videos, tmp_path / 'out') == 0
    assert len(seen) == 5 and failed(tmp_path / 'out') == {}
    assert prepared(videos, tmp_path / 'out') == 0  # and afterwards it is free


def test_two_shards_at_a_time(here, videos, tmp_path, monkeypatch):
    ran = []
    run_child = encode.run_child

    def meanwhile(argv, time_limit):
        finished = run_child(argv, time_limit)
        with pytest.raises(PreparationError, match='another run'):
            prepared(videos, tmp_path / 'out', '--shard', '0/2')  # the same
        with pytest.raises(PreparationError, match='another run'):
            prepared(videos, tmp_path / 'out')
        if not ran:
            ran.append('1/2')
            with monkeypatch.context() as patch:
                patch.setattr(encode, 'run_child', run_child)
                assert prepared(videos, tmp_path / 'out', '--shard', '1/2') == 0
        return finished

    monkeypatch.setattr(encode, 'run_child', meanwhile)
    assert prepared(videos, tmp_path / 'out', '--shard', '0/2') == 0
    monkeypatch.setattr(encode, 'run_child', None)
    assert ran and prepared(videos, tmp_path / 'out') == 0


def test_shards_give_the_same_bytes(here, videos, tmp_path, content, monkeypatch):
    (videos / 'val/run/page.mp4').write_bytes(b'<html>')
    prepared(videos, tmp_path / 'one')
    for shard in ('0/2', '1/2', '0/2'):
        prepared(videos, tmp_path / 'shards', '--shard', shard)
    assert not (tmp_path / 'shards/dataset.json').exists()
    monkeypatch.setattr(encode, 'run_child', None)  # nothing is left to do but the lists
    prepared(videos, tmp_path / 'shards', '--shard', '0/1')
    assert content(tmp_path / 'shards') == content(tmp_path / 'one')
    assert sorted(path.name for path in (tmp_path / 'shards').rglob('*') if path.is_dir()) == sorted(
        path.name for path in (tmp_path / 'one').rglob('*') if path.is_dir()
    )


def test_lists_before_all_shards_are_done(here, videos, tmp_path):
    prepared(videos, tmp_path / 'out', '--shard', '0/2')
    with pytest.raises(PreparationError, match='has no record of the step verify; run that step first'):
        prepared(videos, tmp_path / 'out', '--steps', 'lists')


@given(paths=st.lists(st.text(max_size=20), max_size=20), count=st.integers(1, 9))
def test_every_clip_belongs_to_one_shard(paths, count):
    for path in paths:
        assert sum(Workspace(Path(), (number, count)).has(path) for number in range(count)) == 1


def test_shards_are_of_about_one_size():
    shards = [Workspace(Path(), (number, 8)) for number in range(8)]
    counts = [sum(shard.has(f'{clip}.webm') for clip in range(4000)) for shard in shards]
    assert min(counts) > 400 and sum(counts) == 4000


def test_one_worker_or_two_give_the_same_bytes(videos, tmp_path, content, lay, clip):
    """With real processes, from the command line."""
    lay(videos, {'val/run/page.mp4': b'<html>', 'val/run/cut.mp4': clip(40).read_bytes()[:-400]})
    command = [
        sys.executable,
        str(ROOT / 'data_prep/folder.py'),
        '--videos',
        str(videos),
        '--name',
        'clips',
        '--max-failed',
        '0.5',
    ]
    for workers in (1, 2):
        subprocess.run(
            [*command, '--out', str(tmp_path / str(workers)), '--workers', str(workers)],
            check=True,
            cwd=tmp_path,
            timeout=1500,
        )
    assert content(tmp_path / '1') == content(tmp_path / '2')
    assert failed(tmp_path / '1') == {'val/run/cut.mp4': 'truncated', 'val/run/page.mp4': 'not_a_video'}


@pytest.mark.slow
def test_dask_by_its_command_line(here, videos, tmp_path, content, monkeypatch):
    """Scheduler and workers in processes and folders of their own, which know the package and not its
    checkout; a worker that joins late; paths relative to the folder of the command."""
    pytest.importorskip('distributed')
    prepared(videos, tmp_path / 'processes')
    monkeypatch.undo()
    for name in ('known', 'elsewhere'):
        (tmp_path / name).mkdir()
    (tmp_path / 'known/gfvideo').symlink_to(ROOT / 'gfvideo')  # as if it were installed
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path / 'known')}
    file = tmp_path / 'scheduler.json'

    def start(*words: object) -> subprocess.Popen:
        command = [sys.executable, '-m', 'dask', *map(str, words), '--scheduler-file', str(file)]
        return subprocess.Popen(
            command,
            cwd=tmp_path / 'elsewhere',
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    children = [start('scheduler', '--port', 0, '--no-dashboard', '--host', '127.0.0.1')]
    try:
        deadline = time.monotonic() + 300
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        children.append(start('worker', '--nthreads', 2, '--no-dashboard'))
        address = json.loads(file.read_text())['address']
        monkeypatch.chdir(tmp_path)
        for crf in (20, 40):
            assert prepared(Path('videos'), Path('dask'), '--dask', address, '--crf', crf) == 0
            children.append(start('worker', '--nthreads', 1, '--no-dashboard'))
        assert prepared(Path('videos'), Path('dask'), '--dask', address) == 0
    finally:
        for child in reversed(children):
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    made, by_processes = (content(tmp_path / name / 'videos') for name in ('dask', 'processes'))
    assert made == by_processes
    assert not list((tmp_path / 'elsewhere').rglob('*.jsonl'))


@pytest.mark.slow
def test_dask_gives_the_same_bytes(here, videos, tmp_path, content, monkeypatch):
    distributed = pytest.importorskip('distributed')
    prepared(videos, tmp_path / 'processes')
    prepared(videos, tmp_path / 'processes', '--crf', 40)
    monkeypatch.undo()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        for crf in (20, 40):  # the workers outlive the first run
            assert prepared(videos, tmp_path / 'dask', '--dask', cluster.scheduler_address, '--crf', crf) == 0
    assert content(tmp_path / 'dask') == content(tmp_path / 'processes')


# ---- steps


def test_steps_one_by_one(here, videos, tmp_path, content):
    prepared(videos, tmp_path / 'whole', *ALL_STEPS)
    for step in ('index', 'verify', 'transcode', 'lists', 'stats'):
        prepared(videos, tmp_path / 'steps', '--steps', step)
    assert content(tmp_path / 'steps') == content(tmp_path / 'whole')


@pytest.mark.parametrize(
    ('step', 'message'),
    [
        ('verify', 'index.json is missing; run the step index first'),
        ('lists', 'run the step index first'),
        ('index,transcode', 'run the step verify first'),
        ('index,lists', 'has no record of the step verify'),
        ('index,verify,lists', 'has no record of the step transcode'),
        ('index,stats', 'dataset.json is missing; run the step lists first'),
    ],
)
def test_a_step_too_early(here, videos, tmp_path, step, message):
    with pytest.raises(PreparationError, match=message):
        prepared(videos, tmp_path / 'out', '--steps', step)
    assert not (tmp_path / 'out/work/tmp').exists()


def test_a_clip_that_was_given_up_is_tried_again(here, videos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(encode, 'run_child', lambda argv, limit: Finished(None, 'not done'))
        with pytest.raises(PreparationError, match='no clip of any split'):
            prepared(videos, tmp_path / 'out')
    assert set(failed(tmp_path / 'out').values()) == {'timeout'}
    assert prepared(videos, tmp_path / 'out') == 0
    assert failed(tmp_path / 'out') == {}


@pytest.mark.parametrize('status', [255, -15])
def test_an_encoder_that_is_interrupted(here, videos, tmp_path, monkeypatch, status):
    """A cluster sends SIGTERM to all processes of a job: that says nothing about the clips. ffmpeg makes a
    status of 255 of it."""
    with monkeypatch.context() as patch:
        patch.setattr(encode, 'run_child', lambda argv, limit: Finished(status, ''))
        with pytest.raises(PreparationError, match='no clip of any split'):
            prepared(videos, tmp_path / 'out')
    assert set(failed(tmp_path / 'out').values()) == {'killed'}
    assert prepared(videos, tmp_path / 'out') == 0 and failed(tmp_path / 'out') == {}


@pytest.mark.parametrize('status', [1, -11])
def test_an_encoder_that_fails(here, videos, tmp_path, monkeypatch, status):
    run_child = encode.run_child

    def failing(argv, limit):
        if any(part.endswith('/e.mp4') for part in argv):
            return Finished(
                status,
                f'[h264 @ 0x55d5c0de{status % 7}] {argv[argv.index("-i") + 1][5:]}: broken, {argv[-1][5:]}',
            )
        return run_child(argv, limit)

    monkeypatch.setattr(encode, 'run_child', failing)
    prepared(videos, tmp_path / 'out')
    (record,) = read_lines(tmp_path / 'out/failed.jsonl')
    assert (record['id'], record['reason']) == ('val/run/e.mp4', 'decode_error')
    assert record['detail'] == f'ffmpeg ended with status {status}: [h264] e.mp4: broken, OUT'
    assert not (tmp_path / 'out/videos/val').exists()


def test_an_encoder_that_loses_frames(here, videos, tmp_path, monkeypatch):
    run_child = encode.run_child
    monkeypatch.setattr(
        encode, 'run_child', lambda argv, limit: run_child([*argv[:-1], '-frames:v', '5', argv[-1]], limit)
    )
    with pytest.raises(PreparationError):
        prepared(videos, tmp_path / 'out')
    assert 'frames were encoded' in (tmp_path / 'out/failed.jsonl').read_text()
    assert not list((tmp_path / 'out').rglob('*.mp4'))


# ---- other forms


@pytest.fixture
def ssv2(tmp_path, clip, lay):
    """Three training and two validation clips; one has no file, one is no video."""
    push, hold = 'Pushing [something] from left to right', 'Holding [something] next to [something]'

    def entries(**templates):
        return json.dumps(
            [
                {'id': name.strip('_'), 'label': 'a caption', 'template': template}
                for name, template in templates.items()
            ]
        ).encode()

    return lay(
        tmp_path / 'ss',
        {
            'videos/10.webm': clip(5, '.webm'),
            'videos/11.webm': clip(6, '.webm'),
            'videos/20.webm': clip(5, '.webm'),
            'videos/21.webm': b'<html>',
            'videos/30.webm': clip(6, '.webm'),
            'something-something-v2-labels.json': (
                b'{"Pushing something from left to right": "1", "Holding something next to something": "0"}'
            ),
            'something-something-v2-train.json': entries(_11=push, _10=hold, _12=hold),
            'something-something-v2-validation.json': entries(_20=push, _21=hold),
        },
    )


def prepared_ssv2(ssv2, *flags):
    return something_something.main(
        [
            '--videos',
            str(ssv2 / 'videos'),
            '--annotations',
            str(ssv2),
            '--out',
            str(ssv2 / 'out'),
            '--workers',
            '1',
            '--max-failed',
            '1',
            '--to',
            'original',
            *flags,
        ]
    )


def test_something_something_v2(here, ssv2, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    assert prepared_ssv2(ssv2) == 0
    manifest = validate(ssv2 / 'out', check_files=True)
    assert manifest.classes == ('Holding something next to something', 'Pushing something from left to right')
    assert (manifest.name, manifest.version, manifest.label_order) == ('out', 'v2', 'labels.json')
    assert read_rows(manifest, 'train') == [
        ClipRow('11', '11.webm', 'video', 1, 6, 32, 128),
        ClipRow('10', '10.webm', 'video', 0, 5, 32, 128),
    ]
    assert {split: (info.present, info.official) for split, info in manifest.splits.items()} == {
        'train': (2, 3),
        'val': (1, 2),
    }
    assert failed(ssv2 / 'out') == {'12': 'missing', '21': 'not_a_video'}
    for words in (
        'the annotation lists 3 clips, 168,913 are published',
        '1 files belong to no listed clip, e.g. 30.webm',
        'train: 2 of 3 listed clips can be used (66.7 %)',
        'no file was found; download these clips',
    ):
        assert words in caplog.text


def test_a_test_split_without_labels_and_one_without_clips(here, ssv2, caplog):
    (ssv2 / 'something-something-v2-test.json').write_text('[{"id": "30"}]')
    prepared_ssv2(ssv2)
    manifest = validate(ssv2 / 'out')
    assert [row.label for row in read_rows(manifest, 'test')] == [None]
    names = os.listdir(ssv2 / 'out/lists')
    assert 'slowfast_videomae_train.txt' in names and 'slowfast_videomae_test.txt' not in names
    assert json.loads((ssv2 / 'out/stats.json').read_text())['splits']['test']['labelled'] == 0
    (ssv2 / 'something-something-v2-test.json').write_text('[{"id": "31"}]')
    prepared_ssv2(ssv2)
    assert list(read_manifest(ssv2 / 'out').splits) == ['train', 'val']
    assert (
        "no clip of split 'test' can be used, so the prepared dataset has no such split; the first that"
        " failed, '31': missing" in caplog.text
    )


def test_jester_frames_in_split_archives(here, tmp_path, clip, lay, content, monkeypatch):
    """As downloaded: parts of one tar.gz with folders of frames, and stray files in it."""
    images = {
        f'20bn-jester-v1/{name}/{number:05d}.jpg': (
            cv2.imencode('.jpg', clip.frame(number, 32, 128)[..., ::-1])[1].tobytes()
        )
        for name in ('7', '8')
        for number in range(1, 6)
    }
    lay(tmp_path / 'tar', {**images, '20bn-jester-v1/7/Thumbs.db': b'x', '20bn-jester-v1/.DS_Store': b'x'})
    with tarfile.open(tmp_path / 'all.tar.gz', 'w:gz') as archive:
        archive.add(tmp_path / 'tar/20bn-jester-v1', '20bn-jester-v1')
    data = (tmp_path / 'all.tar.gz').read_bytes()
    parts = {
        f'videos/20bn-jester-v1-{number:02d}': data[at : at + 900]
        for number, at in enumerate(range(0, len(data), 900))
    }
    source = lay(tmp_path / 'source', parts)
    lay(
        source,
        {
            'jester-v1-labels.csv': b'Swiping Left\nDrumming Fingers\n',
            'jester-v1-train.csv': b'7;Swiping Left\n',
            'jester-v1-validation.csv': b'8;Drumming Fingers\n',
            'jester-v1-test.csv': b'9\n',
        },
    )
    before = content(source)
    argv = [
        '--videos',
        str(source / 'videos'),
        '--annotations',
        str(source),
        '--out',
        str(tmp_path / 'out'),
        '--workers',
        '1',
        '--max-failed',
        '0.34',
    ]
    with pytest.raises(PreparationError, match='archives are unpacked before shards do more'):
        jester.main([*argv, '--shard', '0/2'])
    assert jester.main(argv) == 0
    manifest = validate(tmp_path / 'out', check_files=True)
    assert (manifest.classes, manifest.label_order, manifest.video_root) == (
        ('Drumming Fingers', 'Swiping Left'),
        'sorted',
        'source',
    )
    assert read_rows(manifest, 'train') == [
        ClipRow('7', '20bn-jester-v1/20bn-jester-v1/7', 'frames', 1, 5, 32, 128)
    ]
    assert numbers_in(clip, manifest.videos / '20bn-jester-v1/20bn-jester-v1/7') == [1, 2, 3, 4, 5]
    assert not list((tmp_path / 'out').rglob('Thumbs.db'))
    kept = content(tmp_path / 'out')
    monkeypatch.setattr(unpack, 'unpack', None)  # nothing is unpacked a second time
    assert jester.main(argv) == 0 and jester.main([*argv, '--shard', '0/2']) == 0 and jester.main(argv) == 0
    assert content(tmp_path / 'out') == kept and content(source) == before
    shutil.rmtree(tmp_path / 'out')  # moved elsewhere, it is still whole: what is unpacked lies in it


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda v: ['--videos', v, v], 'names .* twice'),
        (
            lambda v: ['--videos', v / 'nothing'],
            'holds neither videos nor folders of frames; correct --videos',
        ),
        (lambda v: ['--videos', v, '--out', v / 'prepared'], 'lies inside --videos'),
        (
            lambda v: ['--videos', v / 'x.zip', '--steps', 'index'],
            'source is missing; run the step unpack first',
        ),
    ],
)
def test_wrong_places(here, videos, tmp_path, change, message):
    (videos / 'nothing').mkdir()
    (videos / 'x.zip').write_bytes(b'PK')
    with pytest.raises(PreparationError, match=message):
        folder.main([*map(str, ['--out', tmp_path / 'out', *change(videos)])])
    assert not (tmp_path / 'out/dataset.json').exists()


def test_archives_beside_videos_are_not_read(here, videos, tmp_path, caplog):
    (videos / 'part_0.tar.gz').write_bytes(b'no archive')
    assert prepared(videos, tmp_path / 'out', '--to', 'original') == 0
    assert 'holds archives (part_0.tar.gz, …) beside videos' in caplog.text


def test_archives_behind_links(here, videos, tmp_path, caplog):
    with tarfile.open(tmp_path / 'part_0.tar', 'w') as archive:
        archive.add(videos / 'train', 'train')
    (tmp_path / 'k/linked').mkdir(parents=True)
    (tmp_path / 'k/linked/part_0.tar').symlink_to(tmp_path / 'part_0.tar')
    (tmp_path / 'v').mkdir()
    (tmp_path / 'v/train').symlink_to(tmp_path / 'k/linked')
    assert prepared(tmp_path / 'v', tmp_path / 'out', '--to', 'original') == 0
    assert [row.id for row in read_rows(read_manifest(tmp_path / 'out'), 'train')] == [
        'train/run/a.mp4',
        'train/run/b.webm',
        'train/sit down/c.mp4',
        'train/sit down/d.mkv',
    ]
    assert len(list((tmp_path / 'out/source').rglob('*.*'))) == 4


def test_class_folders_of_archives_at_different_depths(here, videos, tmp_path):
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        archive.add(videos / 'train', 'train')
        archive.add(videos / 'val', 'more/val')
    with pytest.raises(
        AnnotationError,
        match=(
            'does not stand at <split>/<class>/<clip>.*Archives are unpacked in folders of their own '
            'names, in .*out/source; .*these clips have different folders there'
        ),
    ):
        prepared(tmp_path / 'x.tar', tmp_path / 'out')


def test_what_a_user_can_mend_is_one_line(here, videos, tmp_path, caplog):
    assert (
        run(folder.main, ['--videos', str(videos), '--out', str(tmp_path / 'out'), '--steps', 'lists']) == 1
    )
    assert caplog.records[-1].message.startswith('error: ') and '\n' not in caplog.records[-1].message
