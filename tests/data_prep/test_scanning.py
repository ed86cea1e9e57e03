from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from data_prep.common.scanning import is_archive, is_frame, scan, tell_left_out


@pytest.fixture
def folder(tmp_path):
    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b'x')
        return tmp_path

    return make


def test_what_is_found(folder):
    root = folder(
        'a.mp4',
        'b/a.webm',
        'b/c/d.MKV',
        'f/00001.jpg',
        'f/00002.jpg',
        'g/f/img_1.png',
        'part_0.tar.gz',
        'z/20bn-x-00',
        'z/20bn-x-01',
        'Thumbs.db',
        '.hidden/x.mp4',
        '._a.mp4',
        'b/notes.txt',
        'pictures/cover.jpg',
    )
    seen = scan(root)
    assert seen.found.videos == {'a': ['a.mp4', 'b/a.webm'], 'd': ['b/c/d.MKV']}
    assert seen.found.folders == {'f': ['f', 'g/f']}
    assert seen.archives == ['part_0.tar.gz', 'z/20bn-x-00', 'z/20bn-x-01']
    assert len(seen) == 5


def test_files_of_other_suffixes_are_counted(folder):
    root = folder(
        'b/2.GIF',
        'b/10.gif',
        'a/x.ogv',
        'raw.h264',
        'a/clip',
        'b/clip',
        'notes.txt',
        'x.mp4',
        '.hidden.gif',
        'f/1.jpg',
    )
    seen = scan(root)
    assert seen.left_out == {
        '.gif': [2, 'b/10.gif'],
        '.ogv': [1, 'a/x.ogv'],
        '.h264': [1, 'raw.h264'],
        '': [2, 'a/clip'],
        '.txt': [1, 'notes.txt'],
    }
    assert tell_left_out(seen.left_out) == (
        logging.WARNING,
        (
            'left out, for their suffix is none of a video: 2 without suffix (a/clip), 2 .gif (b/10.gif), 1'
            ' .h264 (raw.h264), 1 .ogv (a/x.ogv), 1 .txt (notes.txt); if these are videos, take them with'
            ' --also none,.gif,.h264,.ogv'
        ),
    )
    assert tell_left_out({'.txt': [1, 'notes.txt']}) == (
        logging.INFO,
        'left out, for their suffix is none of a video: 1 .txt (notes.txt)',
    )
    also = scan(root, ('', '.gif'))
    assert also.left_out.keys() == {'.ogv', '.h264', '.txt'}
    assert also.found.videos == {
        '2': ['b/2.GIF'],
        '10': ['b/10.gif'],
        'clip': ['a/clip', 'b/clip'],
        'x': ['x.mp4'],
    }


def test_links_are_followed_once(folder, tmp_path_factory):
    root, elsewhere = folder('a/x.mp4'), tmp_path_factory.mktemp('elsewhere')
    (elsewhere / 'y.mp4').write_bytes(b'y')
    (root / 'round').symlink_to(root)
    (root / 'a' / 'up').symlink_to(root / 'a')
    (root / 'linked').symlink_to(elsewhere)
    (root / 'gone.mp4').symlink_to(root / 'not there')
    assert scan(root).found.videos == {'x': ['a/x.mp4'], 'y': ['linked/y.mp4'], 'gone': ['gone.mp4']}


def test_the_folder_itself_may_hold_the_frames(folder):
    assert scan(folder('00001.jpg')).found.folders.keys() and scan(folder('00001.jpg')).found.folders[
        folder().name
    ] == ['.']


def test_odd_names(folder):
    names = [
        '-x.mp4',
        'a b.mp4',
        'it\'s "q".mp4',
        'ü.mp4',
        '100%d.mp4',
        'a:b.mp4',
        'two\nlines.mp4',
        'n' * 246 + '.mp4',
        'a.b.c.mp4',
        os.fsdecode(b'\xe9.mp4'),
    ]
    assert sorted(path for paths in scan(folder(*names)).found.videos.values() for path in paths) == sorted(
        names
    )


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('x.zip', True),
        ('x.tar', True),
        ('X.TAR.GZ', True),
        ('x.tgz', True),
        ('x.tar.xz', True),
        ('20bn-something-something-v2-00', True),
        ('x.tar.gz.00', True),
        ('x.tar.gz.aa', True),
        ('x.tar.part00', True),
        ('x.tgz.part01', True),
        ('x.gz', False),
        ('x-0', False),
        ('x-001', False),
        ('.x.zip', False),
        ('x.tar.gz.md5', False),
        ('x.tar00', False),
        ('x.mp4', False),
        ('clip-01.mp4', False),
        ('-00', False),
        ('x.tar.part', False),
    ],
)
def test_names_of_archives(name, expected):
    assert is_archive(name) is expected


@pytest.mark.parametrize(
    ('name', 'expected'),
    [('00001.jpg', True), ('a1.PNG', True), ('cover.jpg', False), ('1.mp4', False), ('.jpg', False)],
)
def test_names_of_frames(name, expected):
    assert is_frame(name) is expected


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / 'no')
