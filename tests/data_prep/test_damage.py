"""Damaged, odd and unreadable clips through a whole run: each becomes a row or a line of failed.jsonl, and
none stops the others."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep import folder, kinetics
from data_prep.common.children import Finished
from data_prep.common.command import run
from data_prep.common.records import Recorder, read_lines
from data_prep.common.steps import encode, lists
from gfvideo.data.manifest import read_rows, validate

ROOT = Path(__file__).resolve().parents[2]


def flags(videos, out):
    return [
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
        'index,verify,transcode,lists',
    ]


def outcome(out) -> tuple[dict[str, int], dict[str, str]]:
    """(id -> frames, id -> reason)"""
    manifest = validate(out, check_files=True)
    rows = {row.id: row.frames for split in manifest.splits for row in read_rows(manifest, split)}
    return rows, {record['id']: record['reason'] for record in read_lines(out / 'failed.jsonl')}


def flipped(data: bytes, places) -> bytes:
    damaged = bytearray(data)
    for place in places:
        damaged[int(len(data) * place)] ^= 0xFF
    return bytes(damaged)


def without_moov(data: bytes) -> bytes:
    at = 0
    while data[at + 4 : at + 8] != b'moov':
        at += int.from_bytes(data[at : at + 4], 'big')
    return data[:at]


@pytest.fixture
def noisy(clip):
    """Clips whose bytes are mostly pictures, so that damage hits them."""
    import numpy as np

    noise = np.random.default_rng(0)
    frames = [
        np.clip(clip.frame(n, 64, 128) + noise.integers(-40, 40, (64, 128, 3)), 0, 255).astype(np.uint8)
        for n in range(16)
    ]

    def make(path, **options):
        return clip.write(path, frames, **options).read_bytes()

    return make


def test_damage(here, tmp_path, clip, lay, noisy, remuxed, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    mp4, webm = (
        noisy(tmp_path / 'x.mp4'),
        noisy(tmp_path / 'x.webm', codec='libvpx-vp9', options={'deadline': 'realtime'}),
    )
    faststart = noisy(tmp_path / 'y.mp4', container_options={'movflags': '+faststart'})
    assert faststart.index(b'moov') < faststart.index(b'mdat')
    sound = remuxed(None, tmp_path / 'sound.mp4', sound=True)
    failing = {
        'half.mp4': (mp4[: len(mp4) // 2], 'truncated'),
        'half faststart.mp4': (faststart[: len(faststart) // 2], 'truncated'),
        'nearly whole.mp4': (faststart[:-20], 'truncated'),
        'half.webm': (webm[: len(webm) // 2], 'truncated'),
        'nearly whole.webm': (webm[:-3], 'truncated'),
        'no moov.mp4': (without_moov(mp4), 'truncated'),
        'empty.mp4': (b'', 'empty'),
        'empty.webm': (b'', 'empty'),
        'page.mp4': (
            b'<!DOCTYPE html><html><head><title>429 Too Many Requests</title></head></html>',
            'not_a_video',
        ),
        'page.webm': (b'<html></html>' * 99, 'not_a_video'),
        'sound.mp4': (sound.read_bytes(), 'no_video_stream'),
        'flipped.mp4': (flipped(faststart, (0.5, 0.55, 0.6, 0.7)), 'decode_error'),
        'zeros.mp4': (bytes(10**4), 'not_a_video'),
    }
    good = {
        'whole.mp4': mp4,
        'whole.webm': webm,
        'webm named.mp4': webm,
        'mp4 named.webm': mp4,
        'mp4 named.avi': mp4,
        'sound too.mkv': clip(7, '.mkv'),
    }
    videos = lay(
        tmp_path / 'v',
        {
            f'train/a/{name}': data
            for name, data in {**good, **{name: data for name, (data, _) in failing.items()}}.items()
        },
    )
    lay(videos, {'val/b/flipped.webm': flipped(webm, (0.5, 0.6, 0.7))})
    assert folder.main(flags(videos, tmp_path / 'out')) == 0
    rows, failed = outcome(tmp_path / 'out')
    # VP9 swallows flipped bits, or it does not: a row with every frame, or a reason
    assert (
        rows.pop('val/b/flipped.webm', 16) == 16
        and failed.pop('val/b/flipped.webm', 'decode_error') == 'decode_error'
    )
    assert failed == {f'train/a/{name}': reason for name, (_, reason) in failing.items()}
    assert rows == {f'train/a/{name}': 7 if name == 'sound too.mkv' else 16 for name in good}
    assert not list((tmp_path / 'out/work').rglob('tmp'))
    for record in read_lines(tmp_path / 'out/failed.jsonl'):
        assert record['detail'] and str(tmp_path) not in record['detail'] and ' @ 0x' not in record['detail']
    assert 'the download was cut off; download it again' in caplog.text


ODD_NAMES = [
    '-x.mp4',
    '--y.mp4',
    'a b.mp4',
    ' c.mp4',
    "it's.mp4",
    'say "x".mp4',
    'ünïcødé 动作.mp4',
    '100%d.mp4',
    '%05d.mp4',
    'a:b.mp4',
    'http:x.mp4',
    'two\nlines.mp4',
    'tab\t.mp4',
    '$(touch made).mp4',
    '`x`;y&z|.mp4',
    '*?[].mp4',
    '{0}.mp4',
    '#x.mp4',
    'n' * 246 + '.mp4',
    'm' * 250 + '.ts',
    "'.mp4",
    '\u0301.mp4',
    'a,b.mp4',
]


def odd_clips(clip, to):
    return {f'train/a/{name}': clip(6, '.mkv') for name in ODD_NAMES}


@pytest.mark.parametrize('to', ['video', 'frames'])
def test_odd_names(here, tmp_path, clip, lay, to):
    videos = lay(tmp_path / 'v', odd_clips(clip, to))
    assert folder.main([*flags(videos, tmp_path / 'out'), '--to', to]) == 0
    rows, failed = outcome(tmp_path / 'out')
    assert failed == {} and rows == {f'train/a/{name}': 6 for name in ODD_NAMES}
    assert sorted(os.listdir(tmp_path / 'out/lists')) == ['category.txt']  # no form can say a line break
    assert not list(tmp_path.rglob('made'))


def test_names_that_no_output_can_have(here, tmp_path, clip, lay):
    """255 bytes is the most a name can have; 'x.ts' becomes 'x.mp4'."""
    videos = lay(tmp_path / 'v', {f'train/a/{"n" * 252}.ts': clip(6, '.mkv'), 'train/a/x.mp4': clip(6)})
    os.rename(videos / 'train/a/x.mp4', os.fsencode(videos / 'train/a') + b'/caf\xe9.mp4')
    lay(videos, {'train/a/x.mp4': clip(6)})
    assert folder.main(flags(videos, tmp_path / 'out')) == 0
    rows, failed = outcome(tmp_path / 'out')
    assert rows == {'train/a/x.mp4': 6}
    assert failed == {f'train/a/{"n" * 252}.ts': 'unreadable', 'train/a/caf\\udce9.mp4': 'unreadable'}


def test_kinetics_names(here, tmp_path, clip, lay):
    """Ids may begin with '-' and hold '_'; classes have quotes and brackets; one file is missing and one lies
    in two folders."""
    rows = [
        ('-abc_EFG___', 3, 'walking, "standing"'),
        ('k3DltqdSvHL', 99, 'bridge (up)'),
        ('_-_-_-_-_-_', 0, 'bridge (up)'),
        ('aaaaaaaaaaa', 1, 'bridge (up)'),
        ('twice______', 0, 'bridge (up)'),
    ]
    csv = 'label,youtube_id,time_start,time_end,split\n' + ''.join(
        '"{}",{},{},{},train\n'.format(label.replace('"', '""'), name, start, start + 10)
        for name, start, label in rows
    )
    videos = lay(
        tmp_path / 'v',
        {
            'walking standing/-abc_EFG____000003_000013.mp4': clip(6),
            'bridge_up/k3DltqdSvHL_99.mkv': clip(7, '.mkv'),
            '_-_-_-_-_-_.webm': clip(9, '.webm'),
            'x/twice_______000000_000010.mp4': clip(6),
            'y/twice_______000000_000010.mp4': clip(6),
        },
    )
    (tmp_path / 'train.csv').write_text(csv)
    assert (
        kinetics.main(
            [
                *flags(videos, tmp_path / 'out'),
                '--version',
                'custom',
                '--annotations',
                str(tmp_path / 'train.csv'),
            ]
        )
        == 0
    )
    rows, failed = outcome(tmp_path / 'out')
    assert rows == {
        '-abc_EFG____000003_000013': 6,
        'k3DltqdSvHL_000099_000109': 7,
        '_-_-_-_-_-__000000_000010': 9,
    }
    assert failed == {'aaaaaaaaaaa_000001_000011': 'missing', 'twice_______000000_000010': 'ambiguous'}


def test_unreadable(here, tmp_path, clip, lay):
    videos = lay(tmp_path / 'v', {'train/a/x.mp4': clip(6), 'train/a/y.mp4': clip(6)})
    (videos / 'train/a/y.mp4').chmod(0)
    if os.access(videos / 'train/a/y.mp4', os.R_OK):
        pytest.skip('root may read everything')
    assert folder.main(flags(videos, tmp_path / 'out')) == 0
    assert outcome(tmp_path / 'out') == ({'train/a/x.mp4': 6}, {'train/a/y.mp4': 'unreadable'})


def test_links_that_lead_nowhere(here, tmp_path, clip, lay):
    videos = lay(tmp_path / 'v', {'train/a/x.mp4': clip(6)})
    (videos / 'train/a/y.mp4').symlink_to(tmp_path / 'gone')
    (videos / 'train/a/z.mp4').symlink_to('z.mp4')
    os.mkfifo(videos / 'train/a/pipe.mp4')
    assert folder.main([*flags(videos, tmp_path / 'out'), '--time-limit', '500']) == 0
    rows, failed = outcome(tmp_path / 'out')
    assert rows == {'train/a/x.mp4': 6}
    assert (
        failed.keys() == {'train/a/y.mp4', 'train/a/z.mp4', 'train/a/pipe.mp4'}
        and failed['train/a/y.mp4'] == 'missing'
    )
    assert failed['train/a/pipe.mp4'] == 'missing'  # nobody waits for who writes into it


def test_odd_videos_through_a_whole_run(here, shared, tmp_path, lay):
    """Those that are quick to encode."""
    source = shared / 'data' / 'odd_videos'
    names = [
        'header_50_frames_49_decode.mp4',
        'odd_size_vp9.mp4',
        'one_frame.mp4',
        'rotation_90.mov',
        'hevc_10bit.mp4',
        'ucf_mpeg4_with_mp3.avi',
    ]
    videos = lay(tmp_path / 'v', {f'train/a/{name}': source / name for name in names})
    assert folder.main([*flags(videos, tmp_path / 'out'), '--short-side', '32']) == 0
    rows, failed = outcome(tmp_path / 'out')
    assert {Path(name).name: frames for name, frames in rows.items()} == {
        'odd_size_vp9.mp4': 25,
        'one_frame.mp4': 1,
        'rotation_90.mov': 3,
        'hevc_10bit.mp4': 30,
        'ucf_mpeg4_with_mp3.avi': 164,
    }
    assert failed == {'train/a/header_50_frames_49_decode.mp4': 'decode_error'}


# ---- a full disk


@pytest.fixture
def four(tmp_path, clip, lay):
    return lay(
        tmp_path / 'v',
        {
            f'train/{name}/{frames}.mp4': clip(frames)
            for name, frames in (('a', 6), ('a', 7), ('b', 9), ('b', 10))
        },
    )


@pytest.mark.parametrize(
    ('when', 'code'),
    [
        ('record', errno.ENOSPC),
        ('record', errno.EDQUOT),
        ('rename', errno.EROFS),
        ('mkdir', errno.ENOSPC),
        ('lists', errno.ENOSPC),
        ('ffmpeg', errno.ENOSPC),
    ],
)
def test_a_full_disk(here, four, tmp_path, content, monkeypatch, caplog, when, code):
    folder.main(flags(four, tmp_path / 'whole'))
    wanted = content(tmp_path / 'whole')
    room = [2]

    def limited(function):
        def call(*args, **kwargs):
            room[0] -= 1
            if room[0] < 0:
                raise OSError(code, os.strerror(code), str(tmp_path / 'out'))
            return function(*args, **kwargs)

        return call

    def of_videos(function, others):
        return lambda source, target: (function if Path(target).suffix == '.mp4' else others)(source, target)

    def said(argv, limit):
        return Finished(228, f'[out#0/mp4 @ 0x5] Error writing trailer: {os.strerror(errno.ENOSPC)}')

    with monkeypatch.context() as patch:
        match when:
            case 'record':
                patch.setattr(Recorder, 'add', limited(Recorder.add))
            case 'rename':
                patch.setattr(os, 'replace', of_videos(limited(os.replace), os.replace))
            case 'mkdir':
                patch.setattr(Path, 'mkdir', limited(Path.mkdir))
            case 'lists':
                patch.setattr(lists, 'write_manifest', limited(lambda *args, **kwargs: None))
                room[0] = 0
            case 'ffmpeg':
                patch.setattr(encode, 'run_child', said)
        assert run(folder.main, flags(four, tmp_path / 'out')) == 1
    message = caplog.records[-1].message
    assert message.startswith('error: ') and os.strerror(code) in message
    assert 'the same command again' in message or code != errno.ENOSPC
    for record in (tmp_path / 'out').rglob('*.part'):
        assert all(one['reason'] is None for one in read_lines(record))
    assert not (tmp_path / 'out/dataset.json').exists() and not (tmp_path / 'out/work/tmp').exists()
    assert run(folder.main, flags(four, tmp_path / 'out')) == 0
    assert content(tmp_path / 'out') == wanted


def test_files_that_may_not_grow(four, tmp_path, content):
    """With real processes and a real limit, which ends ffmpeg by a signal."""
    command = [sys.executable, str(ROOT / 'data_prep/folder.py'), *flags(four, tmp_path / 'out')]
    limited = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=1500,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)),
    )
    assert limited.returncode == 1, limited.stderr
    assert (
        'Traceback' not in limited.stderr and 'run the same command again' in limited.stderr.splitlines()[-1]
    )
    for file in (tmp_path / 'out/work').rglob('*.part'):
        assert all(json.loads(line)['reason'] is None for line in file.read_text().splitlines())
    assert not (tmp_path / 'out/work/tmp').exists()
    subprocess.run(command, check=True, timeout=1500)
    assert outcome(tmp_path / 'out')[1] == {} and len(list((tmp_path / 'out').rglob('*.mp4'))) == 4
