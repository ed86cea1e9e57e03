"""Rows as columns: the same rows, in memory, in a file and in another process; the text stays the truth."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfvideo.data import row_table
from gfvideo.data.dataset import ClipDataset
from gfvideo.data.manifest import (
    ManifestError,
    read_manifest,
    read_rows,
    read_table,
    rows_hash,
    write_manifest,
)
from gfvideo.data.row_table import MOST, ClipRow, RowTable, table_file

ROWS = [
    ClipRow('a', 'x/a.mp4', 'video', 0, 12, 48, 64),
    ClipRow('ü "b"\n', 'x/ü.mp4', 'video', 1),
    ClipRow('c', 'c', 'frames', None, MOST, None, 7),
    ClipRow('d', 'd\\é\u2028.webm', 'video', 1, None, 3, None),
]

MANY = [
    ClipRow('e', 'e.mp4', 'video', None, 9, labels=(0, 1)),
    ClipRow('f', 'f.mp4', 'video', None, labels=(1,), start=0.5),
    ClipRow('g', 'f.mp4', 'video', 0, start=1, end=2.25),
]
"""Rows that have what only some have."""


@pytest.fixture
def folder(tmp_path) -> Path:
    write_manifest(
        tmp_path,
        name='set',
        version='v1',
        classes=['one', 'two'],
        label_order='given',
        video_root='.',
        rows={'train': ROWS},
    )
    return tmp_path


def test_rows_come_back(folder):
    in_memory = RowTable.of(ROWS)
    mapped = read_table(read_manifest(folder), 'train')
    assert mapped.file == table_file(folder / 'train.jsonl') and in_memory.file is None
    for table in (in_memory, mapped):
        assert list(table) == ROWS and len(table) == 4 and table[-1] == ROWS[3] and table[1:3] == ROWS[1:3]
        assert table.labels.tolist() == [0, 1, -1, 1]
        assert ROWS[2] in table
        for index in (4, -5):
            with pytest.raises(IndexError, match=f'row {index} of 4'):
                table[index]
        taken = table.take(np.array([3, 0])).take(np.array([1]))
        assert list(taken) == [ROWS[0]] and taken.labels.tolist() == [0]
    assert mapped.hash == rows_hash(ROWS)


def test_hashes_are_those_of_canonical_json():
    """The slow, obvious way to write what is hashed: the seven names that every row has, and of the others
    those that this row has."""
    import hashlib

    every = ('id', 'path', 'kind', 'label', 'frames', 'height', 'width')
    rows = [*ROWS, *MANY]
    said = [{name: getattr(row, name) for name in every} for row in rows]
    said[4] |= {'labels': [0, 1]}
    said[5] |= {'labels': [1], 'start': 0.5}
    said[6] |= {'start': 1, 'end': 2.25}
    text = ''.join(
        json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(',', ':')) + '\n' for row in said
    )
    assert rows_hash(rows) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize('rows', [MANY, [*ROWS, *MANY], [MANY[2], ROWS[0]]])
def test_rows_with_labels_and_times_come_back(tmp_path, rows):
    write_manifest(
        tmp_path,
        name='set',
        version='v1',
        classes=['one', 'two'],
        label_order='given',
        video_root='.',
        rows={'train': rows},
    )
    mapped = read_table(read_manifest(tmp_path), 'train')
    assert mapped.file is not None and list(mapped) == rows == list(RowTable.of(rows))
    assert mapped.labels.tolist() == [max(row.all_labels, default=-1) for row in rows]
    assert list(pickle.loads(pickle.dumps(mapped))) == rows
    table_file(tmp_path / 'train.jsonl').unlink()
    assert read_rows(read_manifest(tmp_path), 'train') == rows


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(label=None, labels=(0, 2)), r'labels of clip .a. are \(0, 2\); give a list of numbers in 0..1'),
        (dict(label=None, labels=(1, 0)), 'give each once, in ascending order'),
        (dict(labels=(0, 1)), 'has label 0 and labels'),
        (dict(start=-1.0), 'start of clip .a. is -1.0'),
        (dict(end=float('nan')), 'end of clip .a. is nan'),
        (dict(start=2.0, end=2.0), 'its end comes after its start'),
        (dict(kind='frames', start=2.0), 'only videos have times'),
    ],
)
def test_labels_and_times_that_make_no_sense(tmp_path, change, message):
    with pytest.raises(ManifestError, match=message):
        write_manifest(
            tmp_path,
            name='set',
            version='v1',
            classes=['one', 'two'],
            label_order='given',
            video_root='.',
            rows={'train': [replace(ROWS[0], **change)]},
        )
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_too_large(tmp_path):
    with pytest.raises(OverflowError):
        RowTable.of([ClipRow('a', 'a', 'video', 0, MOST + 1)])
    with pytest.raises(ManifestError, match='frames of clip .a. is 2147483648'):
        write_manifest(
            tmp_path,
            name='set',
            version='v1',
            classes=['one'],
            label_order='given',
            video_root='.',
            rows={'train': [ClipRow('a', 'a', 'video', 0, MOST + 1)]},
        )


def test_the_text_is_read_once_and_looked_up_then(folder, monkeypatch):
    manifest, file = read_manifest(folder), folder / 'train.jsonl'
    table_file(file).unlink()
    assert list(read_table(manifest, 'train')) == ROWS and table_file(file).exists()
    written = table_file(file).read_bytes()
    monkeypatch.setattr(json, 'loads', _only_heads(json.loads))
    assert list(read_table(manifest, 'train')) == ROWS
    assert table_file(file).read_bytes() == written


def _only_heads(loads):
    def checked(text, **how):
        assert text[:5] not in ('{"id"', b'{"id"'), 'a row was parsed'
        return loads(text, **how)

    return checked


def test_another_text_is_read_again(folder):
    """Of the same length, and as old."""
    manifest, file = read_manifest(folder), folder / 'train.jsonl'
    was = file.stat()
    file.write_bytes(file.read_bytes().replace(b'"label": 1', b'"label": 0', 1))
    import os

    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert file.stat().st_size == was.st_size
    for _ in range(2):  # what is wrong is not remembered as right
        with pytest.raises(ManifestError, match='one was edited after it was prepared'):
            read_table(manifest, 'train')


@pytest.mark.parametrize(
    'change',
    [
        lambda content: b'',
        lambda content: content[:600],
        lambda content: content + b'\0',
        lambda content: content[:-1] + b'!',
        lambda content: b'something else' + content[14:],
        lambda content: content.replace(b'"count": 4', b'"count": 5'),
        lambda content: content.replace(b'"count": 4', b'"count":-4'),
        lambda content: content.replace(b'"count": 4', b'"count":""'),
        lambda content: content.replace(b'{"text"', b'["text"'),
    ],
)
def test_damaged_tables_are_made_anew(folder, change):
    manifest, table = read_manifest(folder), table_file(folder / 'train.jsonl')
    whole = table.read_bytes()
    assert change(whole) != whole
    table.write_bytes(change(whole))
    assert list(read_table(manifest, 'train')) == ROWS
    assert table.read_bytes() == whole


def test_a_folder_to_read_only(folder, monkeypatch):
    manifest, table = read_manifest(folder), table_file(folder / 'train.jsonl')
    table.unlink()

    def refuse(*_):
        raise PermissionError('read only')

    monkeypatch.setattr(row_table, 'write_atomically', refuse)
    rows = read_table(manifest, 'train')
    assert list(rows) == ROWS and rows.file is None and not table.exists()
    assert read_rows(manifest, 'train') == ROWS


def test_labels_are_checked_against_the_classes_of_now(folder):
    """The same text under a dataset.json with fewer classes: the error of a label out of range, as ever."""
    content = json.loads((folder / 'dataset.json').read_text())
    other = folder / 'other'
    write_manifest(
        other,
        name='set',
        version='v1',
        classes=['one'],
        label_order='given',
        video_root='.',
        rows={'train': [ROWS[0]]},
    )
    (other / 'train.jsonl').write_bytes((folder / 'train.jsonl').read_bytes())
    table_file(other / 'train.jsonl').write_bytes(table_file(folder / 'train.jsonl').read_bytes())
    assert content['splits']['train']['present'] == 4
    with pytest.raises(ManifestError, match=r'train.jsonl:2: label of clip .* is 1, outside 0..0'):
        read_table(read_manifest(other), 'train')


def test_another_process_maps_the_file_itself(folder):
    table = read_table(read_manifest(folder), 'train').take(np.array([2, 1]))
    again = pickle.loads(pickle.dumps(table))
    assert list(again) == [ROWS[2], ROWS[1]] and again.file == table.file
    assert len(pickle.dumps(table)) < 1000
    assert list(pickle.loads(pickle.dumps(RowTable.of(ROWS)))) == ROWS
    table_file(folder / 'train.jsonl').write_bytes(b'')
    with pytest.raises(RuntimeError, match='changed while it was in use'):
        pickle.loads(pickle.dumps(table))


def test_datasets_go_to_spawned_processes(folder):
    dataset = ClipDataset(folder, 'train', [tuple], test_mode=True)
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        assert pool.apply(dataset.row, (1,)) == ROWS[1]
