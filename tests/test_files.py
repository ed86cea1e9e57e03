from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gfvideo.files import file_hash, unfinished_name, write_atomically, written_whole

ROOT = Path(__file__).resolve().parents[1]


# ---- writing


@pytest.mark.parametrize(
    'content',
    [b'', b'some bytes', bytearray(b'others'), memoryview(b'a view'), [], [b'one ', b'', b'after another']],
    ids=['nothing', 'bytes', 'bytearray', 'view', 'no pieces', 'pieces'],
)
def test_content(tmp_path, content):
    write_atomically(tmp_path / 'x', content)
    assert (tmp_path / 'x').read_bytes() == (b''.join(content) if isinstance(content, list) else content)
    assert os.listdir(tmp_path) == ['x']


def test_pieces_that_are_made_one_by_one(tmp_path):
    write_atomically(str(tmp_path / 'x'), (str(number).encode() for number in range(5)))
    assert (tmp_path / 'x').read_bytes() == b'01234'


def test_missing_folders_are_made(tmp_path):
    write_atomically(tmp_path / 'new/folder/x', b'new')
    assert (tmp_path / 'new/folder/x').read_bytes() == b'new'


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664), (0o077, 0o600)])
def test_mode_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / 'x', b'new')
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'x').stat().st_mode) == mode


def broken(error: BaseException):
    yield b'half of '
    raise error


@pytest.mark.parametrize(
    'error', [OSError('disk full'), KeyboardInterrupt(), SystemExit(3), ValueError('bad')]
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    for before in (None, b'old'):
        if before is not None:
            write_atomically(tmp_path / 'x', before)
        with pytest.raises(type(error)):
            write_atomically(tmp_path / 'x', broken(error))
        assert os.listdir(tmp_path) == ([] if before is None else ['x'])
    assert (tmp_path / 'x').read_bytes() == b'old'


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_disk_that_fails_late(tmp_path, monkeypatch, call):
    write_atomically(tmp_path / 'x', b'old')

    def power_cut(*_):
        raise OSError('power cut')

    monkeypatch.setattr(os, call, power_cut)
    with pytest.raises(OSError, match='power cut'):
        write_atomically(tmp_path / 'x', b'new')
    assert (tmp_path / 'x').read_bytes() == b'old' and os.listdir(tmp_path) == ['x']


def test_text_is_refused(tmp_path):
    with pytest.raises(TypeError):
        write_atomically(tmp_path / 'x', 'text')
    assert os.listdir(tmp_path) == []


def test_a_folder_stands_there(tmp_path):
    (tmp_path / 'x').mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / 'x', b'new')
    assert os.listdir(tmp_path) == ['x'] and (tmp_path / 'x').is_dir()


def test_a_kill_leaves_the_old_file_and_a_name_that_is_known(tmp_path):
    write_atomically(tmp_path / 'x.jsonl', b'old')
    code = (
        'import sys, time\n'
        'from gfvideo.files import write_atomically\n'
        'def pieces():\n'
        "    yield b'n' * 2**20\n"
        "    print('halfway', flush=True)\n"
        '    time.sleep(600)\n'
        'write_atomically(sys.argv[1], pieces())'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path / 'x.jsonl')], cwd=ROOT, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b'halfway\n'
        writer.send_signal(signal.SIGKILL)
    assert (tmp_path / 'x.jsonl').read_bytes() == b'old'
    (left,) = set(os.listdir(tmp_path)) - {'x.jsonl'}
    assert unfinished_name(left) == 'x.jsonl'
    write_atomically(tmp_path / 'x.jsonl', b'new')
    assert (tmp_path / 'x.jsonl').read_bytes() == b'new'


def test_writers_of_one_path_do_not_disturb_each_other(tmp_path):
    whole = [bytes([letter]) * 50_000 for letter in b'abcdefgh']

    def write(content: bytes) -> None:
        for _ in range(5):
            write_atomically(tmp_path / 'x', (content[i : i + 1000] for i in range(0, len(content), 1000)))
            assert (tmp_path / 'x').read_bytes() in whole

    with ThreadPoolExecutor(len(whole)) as pool:
        list(pool.map(write, whole))
    assert os.listdir(tmp_path) == ['x']


@pytest.mark.parametrize(
    'name, final',
    [
        ('.x.jsonl.0123abcd.tmp', 'x.jsonl'),
        ('..hidden.0123abcd.tmp', '.hidden'),
        ('.two\nlines.0123abcd.tmp', 'two\nlines'),
        ('x.jsonl', None),
        ('x.0123abcd.tmp', None),
        ('.x.0123abc.tmp', None),
        ('.x.tmp', None),
        ('.0123abcd.tmp', None),
    ],
)
def test_names_of_unfinished_files(name, final):
    assert unfinished_name(name) == final


# ---- hashes


def test_hash_is_of_the_content(tmp_path):
    (tmp_path / 'x').write_bytes(b'abc')
    assert file_hash(tmp_path / 'x') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    large = bytes(range(256)) * 10_000
    (tmp_path / 'large').write_bytes(large)
    assert file_hash(str(tmp_path / 'large')) == hashlib.sha256(large).hexdigest()


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_hash(tmp_path / 'x')


def test_a_writer_that_needs_a_path(tmp_path):
    path = tmp_path / 'new' / 'film.mp4'
    with written_whole(path) as part:
        part.write_bytes(b'half')
        assert not path.exists() and unfinished_name(part.name) == 'film.mp4'
        part.write_bytes(b'all of it')
    assert path.read_bytes() == b'all of it' and [file.name for file in path.parent.iterdir()] == ['film.mp4']
    with pytest.raises(RuntimeError), written_whole(path) as part:
        part.write_bytes(b'half')
        raise RuntimeError
    assert path.read_bytes() == b'all of it' and [file.name for file in path.parent.iterdir()] == ['film.mp4']
