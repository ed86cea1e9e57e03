from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.data.content import content_of_all, content_of_split, made_hash, with_relative_ids
from gfvideo.data.dataset import ClipDataset
from gfvideo.data.manifest import ClipRow, ManifestError, read_manifest, write_manifest

CLASSES = ['run', 'sit “down”']
CLIPS = [
    ClipRow('7', 'x/7.webm', 'video', 0, 36, 240, 320),
    ClipRow('é', 'y z/é.mp4', 'video', 1, None, None, None),
    ClipRow('8', '8', 'frames', None, 40, 240, 427),
]
PIPELINE = [dict(type='SampleFrames', num_frames=2), dict(type='DecodeFrames'), dict(type='PackClip')]


def slow_content(classes, rows) -> str:
    """As the docs say it, with lists of numbers instead of a sum as it goes."""
    said = [
        json.dumps(
            [row.id, row.label, row.frames, row.height, row.width], ensure_ascii=False, separators=(',', ':')
        )
        for row in rows
    ]
    total = sum(int(hashlib.sha256(text.encode()).hexdigest(), 16) for text in said) % 2**256
    text = json.dumps([classes, len(rows), total], ensure_ascii=False, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()


numbers = st.none() | st.integers(1, 999)
rows = st.builds(
    ClipRow, st.text(min_size=1), st.just('p'), st.just('video'), numbers, numbers, numbers, numbers
)


@given(st.lists(rows, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_clips_does_not_count(some, chance):
    shuffled = chance.sample(some, len(some))
    assert (
        content_of_split(CLASSES, shuffled) == content_of_split(CLASSES, some) == slow_content(CLASSES, some)
    )


def test_what_counts():
    base = content_of_split(CLASSES, CLIPS)
    assert base == '5b112c168eb62aab281fff5a50ca1d3b376a99d9db9dca282d9f12071222e19b'
    for change in ({'path': 'q'}, {'kind': 'frames'}):
        assert content_of_split(CLASSES, [replace(CLIPS[0], **change), *CLIPS[1:]]) == base
    for change in ({'id': 'q'}, {'label': 1}, {'frames': 35}, {'height': 1}, {'width': None}):
        assert content_of_split(CLASSES, [replace(CLIPS[0], **change), *CLIPS[1:]]) != base
    assert content_of_split(CLASSES[::-1], CLIPS) != base
    assert content_of_split(CLASSES, CLIPS[:2]) != base != content_of_split(CLASSES, [*CLIPS, CLIPS[0]])


def test_a_dataset_of_splits():
    assert content_of_all({'train': 'a', 'val': 'b'}) == content_of_all({'val': 'b', 'train': 'a'})
    assert content_of_all({'train': 'b', 'val': 'a'}) != content_of_all({'train': 'a', 'val': 'b'})


def test_made():
    made = {'to': 'video', 'crf': 20, 'ffmpeg': '6.1'}
    assert made_hash(made) == made_hash(dict(reversed(made.items())))
    assert made_hash(made) != made_hash({**made, 'crf': 40}) != made_hash({**made, 'ffmpeg': '6.2'})


def test_absolute_ids_are_told_from_the_folder_that_holds_them():
    def ids(*given):
        return [row.id for row in with_relative_ids([replace(CLIPS[0], id=name) for name in given])]

    assert ids('/a/run/1.mp4', '/a/sit/2.mp4') == ids('/b/run/1.mp4', '/b/sit/2.mp4')
    assert ids('/a/run/1.mp4', '/a/sit/2.mp4') == ['run/1.mp4', 'sit/2.mp4']
    assert ids('run/1.mp4', '/x/2.mp4') == ['run/1.mp4', '/x/2.mp4'] and ids() == []
    assert ids('/', '//') == ['/', '//'] and ids('/a/1', '/a/12') == ['1', '12']


def written(folder, name='n', **changes):
    (folder / 'videos').mkdir(parents=True)
    given = dict(
        name=name,
        version='1',
        classes=CLASSES,
        label_order='sorted',
        rows={'train': CLIPS[:2], 'val': CLIPS[2:]},
        video_root='videos',
        made={'to': 'original'},
    )
    return write_manifest(folder, **{**given, **changes})


def test_names_of_dataset_folder_and_files_do_not_count(tmp_path):
    one = written(tmp_path / 'one')
    moved = [replace(row, path=f'part_0/{row.path}') for row in CLIPS[1::-1]]
    other = written(tmp_path / 'other', 'another', rows={'val': CLIPS[2:], 'train': moved})
    assert one.content_hash == other.content_hash == read_manifest(tmp_path / 'other').content_hash
    assert one.hash != other.hash and one.made_hash == other.made_hash
    assert written(tmp_path / 'third', rows={'train': CLIPS[:2]}).contents['train'] == one.contents['train']


def test_datasets_tell_the_hashes_of_their_split(tmp_path):
    manifest = written(tmp_path / 'set')
    told = {
        split: ClipDataset(tmp_path / 'set', split, PIPELINE, test_mode=True).metainfo
        for split in ('train', 'val')
    }
    for split, meta in told.items():
        assert (
            meta['content_hash']
            == manifest.contents[split]
            == slow_content(CLASSES, CLIPS[:2] if split == 'train' else CLIPS[2:])
        )
        assert (meta['made_hash'], meta['manifest_hash']) == (manifest.made_hash, manifest.hash)


def test_a_dataset_from_before_there_was_a_content_hash(tmp_path):
    manifest = written(tmp_path / 'set')
    file = tmp_path / 'set/dataset.json'
    content = json.loads(file.read_text())
    for key in ('content_hash', 'contents', 'made', 'made_hash'):
        del content[key]
    file.write_text(json.dumps(content))
    meta = ClipDataset(tmp_path / 'set', 'val', PIPELINE, test_mode=True).metainfo
    assert meta['content_hash'] == manifest.contents['val'] and meta['made_hash'] is None


def test_lists_of_other_tools_tell_it_too(tmp_path):
    for base in ('one', 'other'):
        (tmp_path / base).mkdir()
        (tmp_path / base / 'val.txt').write_text(
            f'{tmp_path}/{base}/a/1.mp4 0\n{tmp_path}/{base}/b/2.mp4 1\n'
        )
    hashes = {
        ClipDataset(
            tmp_path,
            'val',
            PIPELINE,
            form='path_label',
            list_file=tmp_path / base / 'val.txt',
            classes=CLASSES,
        ).metainfo['content_hash']
        for base in ('one', 'other')
    }
    assert len(hashes) == 1


@pytest.mark.parametrize('key', ['content_hash', 'made_hash', 'contents', 'made'])
def test_edited_hashes_are_refused(tmp_path, key):
    written(tmp_path / 'set')
    file = tmp_path / 'set/dataset.json'
    content = json.loads(file.read_text())
    content[key] = 'ab' if key.endswith('hash') else {**content[key], 'to': 'cd'}
    file.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match='hash is .*, which is not that of what stands beside it'):
        read_manifest(tmp_path / 'set')
