from __future__ import annotations

import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.common.records import (
    Recorder,
    iter_records,
    merge_records,
    read_lines,
    source_key,
    write_lines,
)


def record(path, **more):
    return {'path': path, 'reason': None, **more}


def written(folder, *records):
    """The file of a recorder that added the records."""
    recorder, before = Recorder(folder), set(folder.glob('*.part'))
    for one in records:
        recorder.add(one)
    (file,) = set(folder.glob('*.part')) - before
    return file


def test_a_line_is_there_when_add_returns(tmp_path):
    recorder = Recorder(tmp_path / 'verify')
    recorder.add(record('a\nb.mp4', detail='é"\n'))
    assert list(iter_records(tmp_path / 'verify')) == [record('a\nb.mp4', detail='é"\n')]
    assert len(list((tmp_path / 'verify').iterdir())) == 1


def test_recorders_do_not_share_files(tmp_path):
    recorders = [Recorder(tmp_path) for _ in range(3)]
    for number, recorder in enumerate(recorders * 2):
        recorder.add(record(str(number)))
    assert len(list(tmp_path.glob('*.part'))) == 3
    assert sorted(one['path'] for one in iter_records(tmp_path)) == list('012345')


def test_a_torn_last_line_is_passed_over(tmp_path):
    whole, torn = record('whole'), record('torn')
    file = written(tmp_path, whole, torn)
    for cut in range(1, len(file.read_bytes()) // 2):
        file.write_bytes(file.read_bytes()[:-1])
        assert list(read_lines(file)) == [whole], cut
    merge_records(tmp_path, 'all', ['torn', 'whole'])
    assert list(iter_records(tmp_path)) == [whole]


def test_a_recorder_outlives_merging(tmp_path):
    recorder = Recorder(tmp_path / 'shard')
    for number in range(3):
        recorder.add(record('a', number=number))
        merge_records(tmp_path, 'all', ['a'])
        assert list(iter_records(tmp_path)) == [record('a', number=number)]


def test_nothing_follows_a_torn_line(tmp_path, monkeypatch):
    recorder, write = Recorder(tmp_path), os.write
    recorder.add(record('first'))
    monkeypatch.setattr(os, 'write', lambda descriptor, line: write(descriptor, line[:5]))
    with pytest.raises(OSError, match='No space left on device'):
        recorder.add(record('torn'))
    monkeypatch.setattr(os, 'write', write)
    recorder.add(record('later'))
    assert sorted(one['path'] for one in iter_records(tmp_path)) == ['first', 'later']


def test_the_later_record_counts(tmp_path):
    for number, frames in enumerate((1, 2, 3)):
        file = written(tmp_path, record('a', frames=frames), record(f'of run {number}', frames=frames))
        os.utime(file, ns=(number, number))
    merge_records(tmp_path, 'all', ['a', 'of run 0', 'of run 2'])
    assert list(read_lines(tmp_path / 'all.jsonl')) == [
        record('a', frames=3),
        record('of run 0', frames=1),
        record('of run 2', frames=3),
    ]
    assert [file.name for file in tmp_path.iterdir()] == ['all.jsonl']
    written(tmp_path, record('a', frames=4))
    merge_records(tmp_path, 'all', ['a'])
    assert list(iter_records(tmp_path)) == [record('a', frames=4)]


@given(
    paths=st.lists(st.text(max_size=5), unique=True, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_merging_gives_the_same_bytes_however_the_work_was_split(tmp_path_factory, paths, cuts):
    one, many = (tmp_path_factory.mktemp('records') for _ in range(2))
    records = [record(path, number=number) for number, path in enumerate(paths)]
    written(one, *records, record('not asked for'))
    borders = sorted({0, *(min(cut, len(paths)) for cut in cuts), len(paths)})
    for first, last in reversed(list(zip(borders, borders[1:]))):
        folder = many / f'{first}-of-12' if first % 2 else many  # as shards leave them
        written(folder, record('not asked for'), *reversed(records[first:last]))
    for folder in (one, many):
        merge_records(folder, 'all', paths)
        assert [path.name for path in folder.iterdir()] == ['all.jsonl']
    assert (one / 'all.jsonl').read_bytes() == (many / 'all.jsonl').read_bytes()
    assert list(iter_records(one)) == records


def test_merging_more_files_than_may_be_open(tmp_path):
    for number in range(150):
        write_lines(tmp_path / f'{number}.part', [record(str(number))])
    opened = max(map(int, os.listdir('/proc/self/fd'))) if os.path.isdir('/proc/self/fd') else 60
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, limits[1]))
    try:
        merge_records(tmp_path, 'all', map(str, range(150)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list(iter_records(tmp_path))) == 150


def test_merging_nothing(tmp_path):
    merge_records(tmp_path / 'no' / 'folder', 'all', ['a'])
    assert list(iter_records(tmp_path / 'no' / 'folder')) == list(iter_records(tmp_path / 'nor this')) == []


def test_source_key(tmp_path):
    file = tmp_path / 'a.mp4'
    file.write_bytes(b'123')
    keys = [source_key(str(file), 'video')]
    assert keys == [source_key(str(file), 'video')]
    file.write_bytes(b'1234')
    keys.append(source_key(str(file), 'video'))
    os.utime(file, ns=(5, 5))
    keys.append(source_key(str(file), 'video'))
    folder = tmp_path / 'f'
    folder.mkdir()
    for name in ('1.jpg', '2.jpg'):
        (folder / name).write_bytes(b'12')
        keys.append(source_key(str(folder), 'frames'))
    (folder / '2.jpg').write_bytes(b'1')
    keys.append(source_key(str(folder), 'frames'))
    assert len(set(keys)) == len(keys)
    with pytest.raises(FileNotFoundError):
        source_key(str(tmp_path / 'no'), 'video')
