from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.data.manifest import (
    ClipRow,
    ManifestError,
    SplitInfo,
    manifest_hash,
    read_classes,
    read_list,
    read_manifest,
    read_rows,
    rows_hash,
    validate,
    write_manifest,
)

CLASSES = ['a cat', 'Hund, "groß"', "it's (odd)"]
TRAIN = [
    ClipRow('7', 'x/7.webm', 'video', 0, 36, 240, 320),
    ClipRow('é', 'y z/é.mp4', 'video', 2, None, None, None),
    ClipRow('f', 'folder', 'frames', 1, 12),
]
VAL = [ClipRow('8', '8.webm', 'video', 1, 40, 240, 427)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'videos').mkdir()
    write_manifest(
        tmp_path / 'set',
        name='tiny',
        version='v1',
        classes=CLASSES,
        label_order='sorted',
        rows={'train': TRAIN, 'val': VAL},
        video_root='../videos',
        official={'train': 5},
    )
    return tmp_path / 'set'


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def edit_line(file, number, change):
    lines = file.read_text().splitlines()
    row = json.loads(lines[number - 1])
    change(row)
    lines[number - 1] = json.dumps(row)
    file.write_text('\n'.join(lines))


def test_round_trip(folder):
    manifest = read_manifest(folder)
    assert (manifest.name, manifest.version, manifest.label_order, manifest.classes) == (
        'tiny',
        'v1',
        'sorted',
        tuple(CLASSES),
    )
    assert read_rows(manifest, 'train') == TRAIN
    assert read_rows(manifest, 'val') == VAL
    assert (manifest.splits['train'].present, manifest.splits['train'].official) == (3, 5)
    assert (manifest.splits['val'].present, manifest.splits['val'].official) == (1, None)
    assert manifest.videos.resolve() == (folder.parent / 'videos').resolve()
    assert validate(folder) == manifest


def test_files_have_the_documented_form(folder):
    content = json.loads((folder / 'dataset.json').read_text())
    assert {'name', 'version', 'classes', 'label_order', 'splits', 'video_root', 'hash'} <= content.keys()
    assert content['splits']['train'].keys() == {'file', 'present', 'official', 'hash'}
    first = json.loads((folder / 'train.jsonl').read_text().splitlines()[0])
    assert first == {
        'id': '7',
        'path': 'x/7.webm',
        'kind': 'video',
        'label': 0,
        'frames': 36,
        'height': 240,
        'width': 320,
    }
    assert not [name for name in os.listdir(folder) if name.startswith('.')], 'a temporary file is left'


def test_absolute_video_root(tmp_path):
    manifest = write_manifest(
        tmp_path,
        name='n',
        version='1',
        classes=['a'],
        label_order='given',
        rows={'val': [replace(VAL[0], label=0)]},
        video_root='/some/where',
    )
    assert str(manifest.videos) == '/some/where'
    assert read_manifest(tmp_path) == manifest


def slow_rows_hash(rows):
    text = ''
    for row in rows:
        pairs = sorted(
            {
                'id': row.id,
                'path': row.path,
                'kind': row.kind,
                'label': row.label,
                'frames': row.frames,
                'height': row.height,
                'width': row.width,
            }.items()
        )
        text += (
            '{'
            + ','.join(json.dumps(key) + ':' + json.dumps(value, ensure_ascii=False) for key, value in pairs)
            + '}\n'
        )
    return hashlib.sha256(text.encode()).hexdigest()


rows = st.builds(
    ClipRow,
    st.text(min_size=1),
    st.text(min_size=1),
    st.sampled_from(['video', 'frames']),
    st.integers(0, 9),
    st.none() | st.integers(1, 999),
    st.none() | st.integers(1, 999),
    st.none() | st.integers(1, 999),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(rows, max_size=5))
def test_rows_hash_is_sha256_of_sorted_compact_json(some):
    assert rows_hash(some) == slow_rows_hash(some)


def test_rows_hash_is_fixed():
    """A change here would silently make published hashes unlike those of the same data prepared today."""
    assert rows_hash(TRAIN) == rows_hash(list(TRAIN)) == slow_rows_hash(TRAIN)
    assert rows_hash([]) == hashlib.sha256().hexdigest()
    assert rows_hash(TRAIN) == 'b0cb0e62a964903ac667600f52dbc85be195bbf3816c2ada728d53403a1f311e'


def test_rows_hash_depends_on_order_and_every_field():
    assert rows_hash(TRAIN) != rows_hash(TRAIN[::-1])
    for change in (
        {'id': 'q'},
        {'path': 'q'},
        {'kind': 'frames'},
        {'label': 1},
        {'frames': 35},
        {'height': 1},
        {'width': None},
    ):
        assert rows_hash([replace(TRAIN[0], **change)]) != rows_hash(TRAIN[:1])


def test_manifest_hash():
    splits = {'train': SplitInfo('train.jsonl', 3, 5, 'aa'), 'val': SplitInfo('val.jsonl', 1, None, 'bb')}
    base = manifest_hash('n', '1', CLASSES, 'sorted', splits)
    assert base == manifest_hash('n', '1', CLASSES, 'sorted', dict(reversed(splits.items())))
    assert base == manifest_hash(
        'n', '1', CLASSES, 'sorted', {**splits, 'val': replace(splits['val'], file='other.jsonl')}
    )
    assert base != manifest_hash('n', '1', CLASSES[::-1], 'sorted', splits)
    assert base != manifest_hash('n', '1', CLASSES, 'given', splits)
    assert base != manifest_hash(
        'n', '1', CLASSES, 'sorted', {**splits, 'val': replace(splits['val'], hash='cc')}
    )
    assert base != manifest_hash(
        'n', '1', CLASSES, 'sorted', {**splits, 'val': replace(splits['val'], official=2)}
    )


def test_same_data_elsewhere_has_the_same_hash(folder, tmp_path):
    other = write_manifest(
        tmp_path / 'other',
        name='tiny',
        version='v1',
        classes=CLASSES,
        label_order='sorted',
        rows={'val': VAL, 'train': TRAIN},
        video_root='/elsewhere',
        official={'train': 5},
    )
    assert other.hash == read_manifest(folder).hash


def test_moving_the_videos_is_no_fault(folder):
    edit(folder / 'dataset.json', lambda content: content.update(video_root='/moved'))
    assert str(read_manifest(folder).videos) == '/moved'


def test_missing_manifest_names_path_and_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere.*dataset\.json is missing.*data_prep/'):
        read_manifest(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda c: c.update(classes=CLASSES[::-1]),
            r'dataset\.json: hash is .* its content has .*prepare the dataset again',
        ),
        (lambda c: c.update(name='other'), 'hash is'),
        (lambda c: c['splits']['train'].update(present=4), 'hash is'),
        (lambda c: c.update(format=2), 'format is 2'),
        (lambda c: c.pop('classes'), "'classes' is None, expected list"),
        (lambda c: c.update(classes=['a', 'a']), "class 'a' is listed twice"),
        (lambda c: c.update(classes=[]), 'no class'),
        (lambda c: c.update(classes=['a', 3]), 'class 1 is 3'),
        (lambda c: c['splits'].update(train=7), "split 'train' is 7"),
    ],
)
def test_edited_dataset_json(folder, change, message):
    edit(folder / 'dataset.json', change)
    with pytest.raises(ManifestError, match=message):
        read_manifest(folder)


def test_broken_json_names_the_line(folder):
    file = folder / 'dataset.json'
    lines = file.read_text().splitlines()
    file.write_text('\n'.join([*lines[:2], 'oops', *lines[2:]]))
    with pytest.raises(ManifestError, match=r'dataset\.json:3: not JSON'):
        read_manifest(folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda row: row.update(label=3),
            r"train\.jsonl:2: label of clip 'é' is 3, outside 0\.\.2 \(3 classes\)",
        ),
        (lambda row: row.update(label=-1), r'label of .* is -1'),
        (lambda row: row.update(label='1'), r"label of .* is '1'"),
        (lambda row: row.update(label=True), r'label of .* is True'),
        (lambda row: row.update(frames=0), r"train\.jsonl:2: frames of clip 'é' is 0"),
        (lambda row: row.update(height=1.5), r'height of .* is 1\.5'),
        (lambda row: row.update(kind='film'), r"kind of .* is 'film'; use one of video, frames"),
        (lambda row: row.update(kind='frames'), r"frames of clip 'é' is null"),
        (lambda row: row.update(path='/x.mp4'), r'absolute.*relative to video_root'),
        (lambda row: row.update(path=''), r"path of clip 'é' is ''"),
        (lambda row: row.update(id=''), r"id is ''"),
        (lambda row: row.update(id=9), r'id is 9'),
        (lambda row: row.update(id='7'), r"train\.jsonl:2: clip '7' stands at .*train\.jsonl:1 already"),
        (lambda row: row.update(colour=1), r"train\.jsonl:2: missing keys \[\], unknown keys \['colour'\]"),
        (lambda row: row.pop('frames'), r"missing keys \['frames'\]"),
        (lambda row: row.update(width=99), r'train\.jsonl: its rows have the hash'),
    ],
)
def test_edited_row(folder, change, message):
    edit_line(folder / 'train.jsonl', 2, change)
    with pytest.raises(ManifestError, match=message):
        read_rows(read_manifest(folder), 'train')


def test_rows_missing_or_broken(folder):
    manifest = read_manifest(folder)
    with pytest.raises(ManifestError, match="has no split 'test'; it has train, val"):
        read_rows(manifest, 'test')
    file = folder / 'train.jsonl'
    lines = file.read_text().splitlines()
    file.write_text('\n'.join(lines[:2]))
    with pytest.raises(ManifestError, match=r'holds 2 rows, .* says 3'):
        read_rows(manifest, 'train')
    file.write_text(lines[0] + '\n' + lines[1][:20])
    with pytest.raises(ManifestError, match=r'train\.jsonl:2: not JSON'):
        read_rows(manifest, 'train')
    file.write_bytes(b'\n\xff\n')
    with pytest.raises(ManifestError, match=r'train\.jsonl:2: not UTF-8'):
        read_rows(manifest, 'train')
    file.write_text('[1]\n')
    with pytest.raises(ManifestError, match=r'train\.jsonl:1: .* is not an object'):
        read_rows(manifest, 'train')
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r'train\.jsonl is missing'):
        read_rows(manifest, 'train')


def test_validate_finds_leakage_and_missing_files(tmp_path):
    row = replace(VAL[0], label=0)
    write_manifest(
        tmp_path,
        name='n',
        version='1',
        classes=['a'],
        label_order='given',
        video_root='videos',
        rows={'train': [row], 'val': [replace(row, id='b')]},
    )
    with pytest.raises(ManifestError, match=r"'8\.webm' stands in split 'train' and in 'val'"):
        validate(tmp_path)
    write_manifest(
        tmp_path,
        name='n',
        version='1',
        classes=['a'],
        label_order='given',
        rows={'train': [row]},
        video_root='videos',
    )
    validate(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'8\.webm is missing'):
        validate(tmp_path, check_files=True)
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / '8.webm').touch()
    validate(tmp_path, check_files=True)


def test_write_refuses_bad_rows_and_leaves_the_old_files(folder):
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with pytest.raises(ManifestError, match=r"split 'train', row 2: label of clip 'z' is 3"):
        write_manifest(
            folder,
            name='tiny',
            version='v1',
            classes=CLASSES,
            label_order='sorted',
            video_root='.',
            rows={'train': [TRAIN[0], ClipRow('z', 'z', 'video', 3)]},
        )
    with pytest.raises(ManifestError, match='official counts of unknown'):
        write_manifest(
            folder,
            name='tiny',
            version='v1',
            classes=CLASSES,
            label_order='sorted',
            video_root='.',
            rows={'train': TRAIN},
            official={'val': 3},
        )
    with pytest.raises(ManifestError, match='cannot be a file name'):
        write_manifest(
            folder,
            name='tiny',
            version='v1',
            classes=CLASSES,
            label_order='sorted',
            video_root='.',
            rows={'a/b': TRAIN},
        )
    assert before == {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def test_a_cut_off_write_leaves_no_file(folder, monkeypatch):
    before = (folder / 'dataset.json').read_bytes()
    monkeypatch.setattr(os, 'replace', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        write_manifest(
            folder,
            name='new',
            version='v1',
            classes=CLASSES,
            label_order='sorted',
            video_root='.',
            rows={'train': TRAIN},
        )
    assert (folder / 'dataset.json').read_bytes() == before
    names = ['dataset.json', 'train.jsonl', 'train.jsonl.table', 'val.jsonl', 'val.jsonl.table']
    assert sorted(os.listdir(folder)) == names


@pytest.mark.parametrize(
    ('form', 'text', 'expected'),
    [
        (
            'mmaction2_video',
            'a/1.mp4 0\nb/2.mp4 2\n',
            [ClipRow('a/1.mp4', 'a/1.mp4', 'video', 0), ClipRow('b/2.mp4', 'b/2.mp4', 'video', 2)],
        ),
        (
            'mmaction2_frames',
            'a/1 24 0\n\nb/2 7 2',
            [ClipRow('a/1', 'a/1', 'frames', 0, 24), ClipRow('b/2', 'b/2', 'frames', 2, 7)],
        ),
        ('tsm', '100218 42 1\r\n', [ClipRow('100218', '100218', 'frames', 1, 42)]),
        (
            'tsm',
            'train/air drumming/x y 300 1\n',
            [ClipRow('train/air drumming/x y', 'train/air drumming/x y', 'frames', 1, 300)],
        ),
        ('path_label', '/abs/a b.mp4 1\n', [ClipRow('/abs/a b.mp4', '/abs/a b.mp4', 'video', 1)]),
        ('path_label', 'a b, c.mp4,2\n', [ClipRow('a b, c.mp4', 'a b, c.mp4', 'video', 2)]),
    ],
)
def test_lists_of_other_tools(tmp_path, form, text, expected):
    (tmp_path / 'list.txt').write_text(text)
    assert read_list(tmp_path / 'list.txt', form, CLASSES) == expected


@pytest.mark.parametrize(
    ('form', 'text', 'message'),
    [
        ('mmaction2_video', 'a.mp4 0\na b.mp4 1\n', r'list\.txt:2: .* no spaces in the path'),
        ('mmaction2_video', 'a.mp4\n', r'list\.txt:1'),
        ('mmaction2_video', 'a.mp4 x\n', r"label is 'x', expected a whole number"),
        (
            'mmaction2_video',
            'a.mp4 3\n',
            r"list\.txt:1: label of clip 'a\.mp4' is 3, outside 0\.\.2 .*count from 0",
        ),
        ('mmaction2_frames', 'a 0 3 1\n', r'no offset'),
        ('mmaction2_frames', 'a 0 1\n', r'frames of clip .* is 0'),
        ('tsm', 'a 3\n', r'not "folder frames label"'),
        ('tsm', 'a 3.5 1\n', r"number of frames is '3\.5'"),
        ('path_label', 'a.mp4\n', r'not "path label"'),
        ('path_label', 'a.mp4 0\na.mp4 1\n', r'list\.txt:2: clip .* stands at .*:1 already'),
        ('path_label', '\n \n', 'holds no clip'),
        ('nonsense', 'a 1', 'the list files read are mmaction2_video'),
    ],
)
def test_bad_lists(tmp_path, form, text, message):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_list(tmp_path / 'list.txt', form, CLASSES)


def test_missing_list(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no list file at .*none\.txt'):
        read_list(tmp_path / 'none.txt', 'tsm', CLASSES)


def test_read_classes(tmp_path):
    (tmp_path / 'category.txt').write_text('\ufeffHolding something\nPutting, (twice)\n', encoding='utf-8')
    assert read_classes(tmp_path / 'category.txt') == ('Holding something', 'Putting, (twice)')
    (tmp_path / 'labels.json').write_text('{"b": "0", "a": "1", "c": 2}')
    assert read_classes(tmp_path / 'labels.json') == ('b', 'a', 'c')
    (tmp_path / 'list.json').write_text('["b", "a"]')
    assert read_classes(str(tmp_path / 'list.json')) == ('b', 'a')


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('c.txt', 'a\na\n', "class 'a' is listed twice"),
        ('c.txt', '', 'no class'),
        ('c.json', '{"a": "1", "b": "2"}', "number 2 of class 'b'"),
        ('c.json', '{"a": "0", "b": "0"}', "number 0 of class 'b'"),
        ('c.json', '{"a": "x"}', "number of class 'a' is 'x'"),
        ('c.json', '3', 'holds a int'),
        ('c.json', '{', r'c\.json:1: not JSON'),
    ],
)
def test_bad_classes(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_classes(tmp_path / name)


def test_missing_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match='no class list at'):
        read_classes(tmp_path / 'none.txt')
