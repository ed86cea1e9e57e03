"""Playlists under the name of a video: neither the check nor the ffmpeg program reads the files that they
name."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_prep import folder
from data_prep.common.checking import Verdict, check_video
from data_prep.common.ffmpeg import Encoding, find_ffmpeg
from data_prep.common.records import read_lines
from data_prep.common.steps.encode import EncodeJob
from data_prep.common.steps.jobs import Clip
from gfvideo.data.manifest import read_manifest, read_rows

IN_ACCESS, IN_OPEN = 0x1, 0x20  # linux/inotify.h
HLS = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n'
PLAYLISTS = {
    'concat': 'ffconcat version 1.0\nfile {}\n',
    'with binary': 'ffconcat version 1.0\n# \0\1\2\xff\nfile {}\n',
    'hls': HLS,
    'dash': (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT1S"><Period><AdaptationSet><Representation id="0" bandwidth="1"'
        ' mimeType="video/mp4"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>\n'
    ),
}
pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='asks inotify who opens a file')


@contextmanager
def untouched(file: Path) -> Iterator[None]:
    """Nobody opens or reads the file meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    try:
        if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(file), IN_ACCESS | IN_OPEN) < 0:
            pytest.skip(f'inotify does not work here: {os.strerror(ctypes.get_errno())}')
        yield
        with pytest.raises(BlockingIOError):  # no event waits
            os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


@pytest.fixture(params=PLAYLISTS)
def hostile(request, tmp_path, clip, lay) -> Path:
    """A folder with a playlist, named as a video, and a file outside of the class folders that it names."""
    text = PLAYLISTS[request.param].format('secret.mp4').encode('latin-1')
    return lay(
        tmp_path / 'v', {'train/a/list.mp4': text, 'train/a/secret.mp4': clip(9), 'train/a/good.mp4': clip(6)}
    )


def test_the_watch_sees_a_reader(tmp_path):
    (tmp_path / 'x').write_bytes(b'x')
    with pytest.raises(pytest.fail.Exception), untouched(tmp_path / 'x'):
        (tmp_path / 'x').read_bytes()


def test_a_check(hostile):
    with untouched(hostile / 'train/a/secret.mp4'):
        verdict = check_video(str(hostile / 'train/a/list.mp4'))
    assert verdict.reason == 'not_a_video'
    assert check_video(str(hostile / 'train/a/good.mp4')).frames == 6


def test_the_ffmpeg_program(hostile, tmp_path):
    argv = Encoding().video(find_ffmpeg(), str(hostile / 'train/a/list.mp4'), str(tmp_path / 'out.mp4'))
    with untouched(hostile / 'train/a/secret.mp4'):
        assert subprocess.run(argv, capture_output=True).returncode != 0
    assert not (tmp_path / 'out.mp4').exists()


@pytest.mark.parametrize('to', ['video', 'frames'])
def test_an_encoding_of_what_was_taken_for_a_video(hostile, tmp_path, to):
    """It was one when it was verified."""
    job = EncodeJob(
        to, hostile, tmp_path / 'o', tmp_path / 't', tmp_path / 'r', find_ffmpeg(), Encoding(), 300.0
    )
    with untouched(hostile / 'train/a/secret.mp4'):
        assert job([Clip('train/a/list.mp4', 'video', 'list', Verdict(9, 32, 128))]) == {'decode_error': 1}
    assert not (tmp_path / 'o').exists()


def test_a_whole_run(here, hostile, tmp_path, capfd):
    """What stands beside is a clip, too, so a run reads it; the playlist fails all the same."""
    assert (
        folder.main(
            [
                '--videos',
                str(hostile),
                '--out',
                str(tmp_path / 'out'),
                '--workers',
                '1',
                '--max-failed',
                '1',
                '--steps',
                'index,verify,transcode,lists',
            ]
        )
        == 0
    )
    assert [(row.id, row.frames) for row in read_rows(read_manifest(tmp_path / 'out'), 'train')] == [
        ('train/a/good.mp4', 6),
        ('train/a/secret.mp4', 9),
    ]
    (record,) = read_lines(tmp_path / 'out/failed.jsonl')
    assert (record['id'], record['reason']) == ('train/a/list.mp4', 'not_a_video')


@pytest.fixture
def remade(clip, tmp_path) -> Callable[[str], Path]:
    return lambda suffix: clip.write(
        tmp_path / f'x{suffix}',
        [clip.frame(number, 32, 128) for number in range(6)],
        codec={'.wmv': 'wmv2', '.mpg': 'mpeg1video', '.flv': 'flv', '.gif': 'gif'}.get(suffix, 'libx264'),
    )


@pytest.mark.parametrize(
    'suffix', ['.mp4', '.mkv', '.avi', '.mov', '.m4v', '.mpg', '.wmv', '.flv', '.ts', '.3gp', '.h264', '.nut']
)
def test_formats_of_videos_are_read(remade, tmp_path, suffix):
    file = remade(suffix)
    assert check_video(str(file)).frames == 6
    argv = Encoding().video(find_ffmpeg(), str(file), str(tmp_path / 'out.mp4'))
    ended = subprocess.run(argv, capture_output=True, text=True)
    assert 'whitelist' not in ended.stderr, ended.stderr
