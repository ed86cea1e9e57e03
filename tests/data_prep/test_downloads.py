"""Official downloads as they come: archives saved under other names, lists under those of their repositories,
several folders, labels in a zip."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from data_prep import folder, kinetics, something_something
from data_prep.annotations import folder as lists
from data_prep.annotations.kinetics import read_listing
from data_prep.common import preparing
from data_prep.common.archives import ArchiveError, find_volumes
from data_prep.common.command import run
from data_prep.common.ffmpeg import Encoding, find_ffmpeg
from data_prep.common.listing import AnnotationError, Found, read_class_list
from data_prep.common.records import read_lines
from data_prep.common.steps import encode
from data_prep.common.workspace import PreparationError
from gfvideo.data.manifest import LIST_FORMS, ManifestError, read_manifest, read_rows

STEPS = '--steps', 'unpack,index,verify,lists', '--to', 'original', '--workers', '1', '--max-failed', '1'
HEADER = 'label,youtube_id,time_start,time_end,split\n'


def tar(files, mode: str = 'w:gz') -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def zipped(files) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def ids(out: Path, split: str = 'train') -> dict[str, str]:
    return {row.id: row.path for row in read_rows(read_manifest(out), split)}


# ---- Kinetics


def test_the_replacement_wins_over_the_damaged_original(here, tmp_path, clip, lay):
    name = 'abcdefghijk_000001_000011'
    whole = clip(6).read_bytes()
    lay(
        tmp_path / 'k400',
        {
            'train/part_0.tar.gz': tar({f'{name}.mp4': whole[:200], 'bcdefghijkl_000002_000012.mp4': whole}),
            'replacement/replacement_for_corrupted_k400.tgz': tar(
                {f'replacement_for_corrupted_k400/{name}.mp4': whole}
            ),
            'annotations/train.csv': (
                f'{HEADER}run,abcdefghijk,1,11,train\nrun,bcdefghijkl,2,12,train\n'.encode()
            ),
            'annotations/val.csv': f'{HEADER}run,cdefghijklm,2,12,val\n'.encode(),
        },
    )
    flags = ['--version', '400', '--annotations', str(tmp_path / 'k400/annotations'), *STEPS]
    parts = tmp_path / 'k400/train', tmp_path / 'k400/replacement'
    kinetics.main(['--videos', *map(str, parts), '--out', str(tmp_path / 'out'), *flags])
    found = ids(tmp_path / 'out')
    assert found[name].endswith(f'replacement_for_corrupted_k400/{name}.mp4') and len(found) == 2


def test_the_complete_lists_of_kinetics_600(tmp_path, lay):
    rows = ''.join(f'run,{i:011d},1,11,train\n' for i in range(3))
    lay(
        tmp_path,
        {
            'train.txt': (HEADER + rows).encode(),
            'train.csv': f'{HEADER}run,00000000000,1,11,train\n'.encode(),
            'val.txt': (HEADER + 'run,abcdefghijk,1,11,val\n').replace(',', '\t').encode(),
        },
    )
    assert read_listing(tmp_path, '600').official == {'train': 3, 'val': 1}
    (tmp_path / 'val.csv').write_text(f'{HEADER}run,abcdefghijk,1,11,val\n')
    assert read_listing(tmp_path, '400').official == {'train': 1, 'val': 1}


# ---- Something-Something


def test_labels_in_a_zip_and_parts_saved_as_zips(here, tmp_path, clip, lay):
    whole = tar({f'20bn-something-something-v2/{i}.webm': clip(6, '.webm').read_bytes() for i in (1, 2)})
    texts = {
        'labels/labels.json': '{"Pushing something": "0"}',
        'labels/train.json': '[{"id": "1", "template": "Pushing [something]"}]',
        'labels/validation.json': '[{"id": "2", "template": "Pushing [something]"}]',
        'labels/test.json': '[]',
    }
    texts['labels/test.json'] = '[{"id": "3"}]'
    lay(
        tmp_path / 'ssv2',
        {
            '20bn-something-something-v2-00.zip': whole[:700],
            '20bn-something-something-v2-01.zip': whole[700:],
        },
    )
    lay(tmp_path, {'labels/20bn-something-something-download-package-labels.zip': zipped(texts)})
    for given in (tmp_path / 'labels', next((tmp_path / 'labels').iterdir())):
        out = tmp_path / f'out-{given.is_dir()}'
        flags = ['--annotations', str(given), '--counts', 'ignore', *STEPS]
        something_something.main(['--videos', str(tmp_path / 'ssv2'), '--out', str(out), *flags])
        assert ids(out).keys() == {'1'} and ids(out, 'val').keys() == {'2'}


def test_a_damaged_zip_of_labels(tmp_path, lay, caplog, clip):
    data = bytearray(zipped({'labels/train.json': '[1, 2, 3]' * 50}))
    data[60:70] = bytes(10)
    lay(tmp_path, {'labels.zip': bytes(data), 'videos/1.webm': b''})
    argv = ['--videos', str(tmp_path / 'videos'), '--annotations', str(tmp_path / 'labels.zip')]
    assert run(something_something.main, [*argv, '--out', str(tmp_path / 'out')]) == 1
    assert 'labels.zip: not a whole zip' in caplog.text


# ---- archives under other names


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        ({'x-00': 'first', 'x-01': 'later'}, {'x': 2}),
        ({'x-00.zip': 'first', 'x-01.zip': 'later'}, {'x': 2}),
        ({'x-00.tar.gz': 'whole', 'x-01.tar.gz': 'whole'}, {'x-00': 1, 'x-01': 1}),
        ({'x-00': 'whole', 'x-01': 'whole'}, {'x-00': 1, 'x-01': 1}),
        ({'x-00': 'zip', 'x-01': 'zip'}, {'x-00': 1, 'x-01': 1}),
        ({'x.zip': 'whole', 'y.tar.gz': 'zip', 'videos': 'tar'}, {'x': 1, 'y': 1, 'videos': 1}),
    ],
)
def test_first_bytes_decide(tmp_path, names, expected):
    whole = tar({'a.mp4': os.urandom(600)})
    data = {
        'first': whole[:300],
        'later': whole[300:],
        'whole': whole,
        'zip': zipped({'a.mp4': b'x'}),
        'tar': tar({'a.mp4': b'x'}, 'w'),
    }
    for name, kind in names.items():
        (tmp_path / name).write_bytes(data[kind])
    volumes = find_volumes(sorted(tmp_path.iterdir()))
    assert {volume.name: len(volume.parts) for volume in volumes} == expected


def test_an_archive_without_a_name_of_one_is_unpacked(here, tmp_path, clip, lay):
    data = tar({f'{split}/run/1.mp4': clip(6).read_bytes() for split in ('train', 'val')})
    lay(tmp_path, {'in/download (1)': data, 'in/README.md': b'a word'})
    folder.main(['--videos', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), *STEPS])
    assert ids(tmp_path / 'out').keys() == {'train/run/1.mp4'}


def test_broken_archives_do_not_stop_the_others(here, tmp_path, clip, lay, caplog):
    whole = {i: tar({f'train/c{i}/{i}.mp4': os.urandom(3000) + clip(6).read_bytes()}) for i in range(4)}
    files = {f'in/{i}.tar.gz': data[:900] if i in (0, 2) else data for i, data in whole.items()}
    lay(tmp_path, files)
    argv = ['--videos', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), *STEPS, '--steps', 'unpack']
    assert run(folder.main, argv) == 1
    last = caplog.records[-1].getMessage()
    assert last.startswith('error: 2 of 4 archives are not unpacked whole: 0: ') and '; 2: ' in last
    unpacked = {path.name for path in (tmp_path / 'out/source').rglob('*.mp4')}
    assert {'1.mp4', '3.mp4'} <= unpacked
    for i in (0, 2):
        (tmp_path / f'in/{i}.tar.gz').write_bytes(whole[i])
    caplog.clear()
    caplog.set_level(logging.INFO, logger='data_prep')
    assert run(folder.main, argv) == 0  # an afterok job starts
    assert '1 was unpacked before' in caplog.text and '0 was unpacked before' not in caplog.text


# ---- class folders in archives, several folders


@pytest.mark.parametrize(
    ('archives', 'flags'),
    [
        ({'all.zip': 'top/{split}/{name}'}, ()),
        ({'all.zip': '{split}/{name}'}, ()),
        ({'train.zip': '{name}', 'val.zip': '{name}'}, ()),
        ({'train.zip': 'x/train/{name}', 'val.zip': 'val/{name}'}, ()),
        ({'train.zip': '{name}'}, ('--split', 'train')),
        ({'all.zip': 'a/b/{name}'}, ('--split', 'train')),
    ],
)
def test_class_folders_in_archives(here, tmp_path, clip, lay, archives, flags):
    """The same clips as from a folder, and the same hash of content."""
    clips = {'run/1.mp4': clip(6).read_bytes(), 'sit down/2.mp4': clip(7).read_bytes()}
    splits = ('train',) if flags else ('train', 'val')
    for file, form in archives.items():
        own = [split for split in splits if file in ('all.zip', f'{split}.zip')]
        members = {form.format(split=split, name=name): data for split in own for name, data in clips.items()}
        lay(tmp_path / 'in', {file: zipped(members)})
    above = '' if flags else '{}/'
    lay(
        tmp_path / 'plain',
        {f'{above.format(split)}{name}': data for split in splits for name, data in clips.items()},
    )
    for name in ('in', 'plain'):
        folder.main(
            ['--videos', str(tmp_path / name), '--out', str(tmp_path / f'out-{name}'), *STEPS, *flags]
        )
    packed, plain = (read_manifest(tmp_path / f'out-{name}') for name in ('in', 'plain'))
    assert packed.classes == plain.classes == ('run', 'sit down')
    assert packed.content_hash == plain.content_hash
    assert ids(tmp_path / 'out-in').keys() == ids(tmp_path / 'out-plain').keys()


def test_one_clip_in_two_archives(tmp_path):
    found = Found({'1': ['a/run/1.mp4', 'b/run/1.mp4']}, {}, tops=('a', 'b'))
    with pytest.raises(AnnotationError, match='b/run/1.mp4: is run/1.mp4 as a/run/1.mp4 is, in another'):
        lists.read_folders(found, 'train')


def test_several_folders(here, tmp_path, clip, lay):
    lay(tmp_path, {'one/train/run/1.mp4': clip(6), 'disk/two/val/run/2.mp4': clip(7)})
    lay(tmp_path, {'three/three.zip': zipped({'train/run/3.mp4': clip(8).read_bytes()})})
    videos = [str(tmp_path / name) for name in ('one', 'disk/two', 'three')]
    argv = ['--videos', *videos, '--out', str(tmp_path / 'out'), *STEPS]
    folder.main(argv)
    assert ids(tmp_path / 'out').keys() == {'train/run/1.mp4', 'train/run/3.mp4'}
    assert ids(tmp_path / 'out', 'val') == {'val/run/2.mp4': 'two/val/run/2.mp4'}
    assert (read_manifest(tmp_path / 'out').videos / 'two/val/run/2.mp4').is_file()
    before = (tmp_path / 'out/dataset.json').read_bytes()
    folder.main(argv)
    assert (tmp_path / 'out/dataset.json').read_bytes() == before
    shutil.copytree(tmp_path / 'one', tmp_path / 'disk/one')
    (tmp_path / 'disk/one/train/run/1.mp4').rename(tmp_path / 'disk/one/train/run/4.mp4')
    folder.main(['--videos', videos[0], str(tmp_path / 'disk/one'), *argv[4:]])
    links = {path.name for path in (tmp_path / 'out/source').iterdir() if path.is_symlink()}
    assert links == {f'{tmp_path.name}_one', 'disk_one'}
    with pytest.raises(PreparationError, match='--videos names .*one twice'):
        folder.main(['--videos', videos[0], f'{videos[0]}/', *argv[4:]])


# ---- lists as they lie in repositories


@pytest.mark.parametrize(
    ('form', 'names'),
    [
        ('mmaction2_video', ('kinetics400_train_list_videos.txt', 'kinetics400_val_list_videos.txt')),
        ('mmaction2_frames', ('sthv2_train_list_rawframes.txt', 'sthv2_val_list_rawframes.txt')),
        ('tsm', ('actnet_train_split.txt', 'actnet_val_split.txt')),
        ('tsm', ('mini_train_videofolder.txt', 'mini_val_videofolder.txt')),
    ],
)
@pytest.mark.parametrize('classes', ['label_map_k400.txt', 'minik_classInd.txt', 'classInd.txt'])
def test_names_of_lists(tmp_path, form, names, classes):
    middle = ' 30' if form in ('mmaction2_frames', 'tsm') else ''
    for number, name in enumerate(names):
        (tmp_path / name).write_text(f'a{number}{middle} 0\nb{number}{middle} 1\n')
    (tmp_path / classes).write_text('0,abseiling\n1,air drumming\n')
    (tmp_path / 'readme_train_val.txt').write_text('no list')
    if form == 'mmaction2_video':
        (tmp_path / 'kinetics400_train_list_rawframes.txt').write_text('a 3 0\n')
    listing = lists.read_listing(tmp_path, form)
    assert listing.classes == ('abseiling', 'air drumming') and listing.label_order == classes
    assert [(clip.split, clip.id, clip.label) for clip in listing.clips] == [
        ('train', 'a0', 0),
        ('train', 'b0', 1),
        ('val', 'a1', 0),
        ('val', 'b1', 1),
    ]


def test_two_lists_of_a_split(tmp_path):
    for name in ('a_train_list_videos.txt', 'b_train_list_videos.txt'):
        (tmp_path / name).write_text('a 0\n')
    with pytest.raises(AnnotationError, match="could all be the list of split 'train'"):
        lists.read_listing(tmp_path, 'path_label')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('0,abseiling\n1,air drumming\n', ('abseiling', 'air drumming')),
        ('1 Archery\n2 Basketball\n', ('Archery', 'Basketball')),
        ('0 people\n2 people\n', ('0 people', '2 people')),
        ('2 people\n3 people\n', ('2 people', '3 people')),
        ('0 people\nrunning\n', ('0 people', 'running')),
        ('0,"a, b"\n1,c\n', ('a, b', 'c')),
    ],
)
def test_numbers_before_class_names(tmp_path, text, expected):
    (tmp_path / 'classes.txt').write_text(text)
    assert read_class_list(tmp_path / 'classes.txt') == expected


# ---- labels and long lines


@pytest.mark.parametrize('form', ['csv', 'path_label', 'tsm'])
@pytest.mark.parametrize('label', ['-1', '7'])
def test_labels_out_of_range(tmp_path, form, label):
    """Also where the first label is one, and names could be meant."""
    head, middle = ('path,label\n', ',') if form == 'csv' else ('', ' 30 ' if form == 'tsm' else ' ')
    (tmp_path / 'train.txt').write_text(f'{head}a{middle}{label}\nb{middle}0\nc{middle}1\n')
    classes = ('x', 'y') if label == '7' else None
    with pytest.raises(
        AnnotationError, match=f'train.txt:{1 + (form == "csv")}: the label of .a. is .?{label}'
    ):
        lists.read_listing(tmp_path / 'train.txt', form, split='train', classes=classes)


@pytest.mark.parametrize(
    'line', ['x' * 5_000_000, 'x ' * 2_500_000, ' ,' * 2_500_000 + '0', 'a' + ' ' * 5_000_000 + 'b c']
)
@pytest.mark.parametrize('form', sorted(LIST_FORMS))
def test_a_line_of_megabytes_does_not_hang(tmp_path, form, line):
    began = time.process_time()
    (tmp_path / 'train.txt').write_text(line)
    for classes in (None, ('x x', 'y')):
        try:
            lists.read_listing(tmp_path / 'train.txt', form, split='train', classes=classes)
        except AnnotationError as error:
            assert len(str(error)) < 4000
    try:
        LIST_FORMS[form]('place', line)
    except ManifestError as error:
        assert len(str(error)) < 4000
    assert time.process_time() - began < 30


def test_archive_errors_are_not_hidden(tmp_path):
    (tmp_path / 'x-01').write_bytes(b'no head')
    (tmp_path / 'x-03').write_bytes(b'no head')
    with pytest.raises(ArchiveError, match='those between them are missing'):
        find_volumes(sorted(tmp_path.iterdir()))
    assert list(read_lines(Path(os.devnull))) == []


# ---- one copy alone


def many(clip, count: int = 6) -> dict[str, bytes]:
    return {f'x/{i}.webm': clip(5 + i, '.webm').read_bytes() for i in range(1, count + 1)}


@pytest.fixture
def ssv2(tmp_path, clip, lay):
    """Six clips in two archives, four of them listed."""
    members = many(clip)
    halves = [dict(list(members.items())[::2]), dict(list(members.items())[1::2])]
    entry = '{{"id": "{}", "template": "Pushing [something]"}}'.format
    lay(tmp_path, {f'in/{i}.tar.gz': tar(half) for i, half in enumerate(halves)})
    lay(
        tmp_path / 'labels',
        {
            'labels.json': b'{"Pushing something": "0"}',
            'train.json': f'[{entry(1)}, {entry(2)}, {entry(3)}]'.encode(),
            'validation.json': f'[{entry(4)}]'.encode(),
        },
    )

    def main(out: str, *flags: str) -> int:
        words = ['--videos', str(tmp_path / 'in'), '--annotations', str(tmp_path / 'labels')]
        more = ['--counts', 'ignore', '--workers', '1', '--steps', 'unpack,index,verify,transcode,lists']
        return something_something.main([*words, '--out', str(tmp_path / out), *more, *flags])

    return main


def test_what_is_unpacked_is_listed_and_goes_when_it_is_encoded(here, ssv2, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    assert ssv2('kept', '--keep-source') == 0
    names = {path.name for path in (tmp_path / 'kept/source').rglob('*.*')}
    assert names == {'1.webm', '2.webm', '3.webm', '4.webm'}
    assert ssv2('out') == 0
    assert 'MiB of sources became' in caplog.text and 'left out' not in caplog.text
    assert not list((tmp_path / 'out/source').rglob('*.webm'))
    kept, out = (read_manifest(tmp_path / name) for name in ('kept', 'out'))
    assert (kept.content_hash, kept.hash.__class__) == (out.content_hash, str)
    before = {path: path.read_bytes() for path in (tmp_path / 'out').rglob('*.*') if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(encode, 'run_child', None)
        assert ssv2('out') == 0  # nothing is unpacked, verified or encoded again
    assert {path: path.read_bytes() for path in (tmp_path / 'out').rglob('*.*') if path.is_file()} == before
    assert ssv2('out', '--steps', 'unpack') == 0  # nor for a job that waits for it
    assert not list((tmp_path / 'out/source').rglob('*.webm'))
    assert ssv2('out', '--crf', '30') == 0  # unpacked again for that
    assert read_manifest(tmp_path / 'out').made['crf'] == 30
    assert not list((tmp_path / 'out/source').rglob('*.webm'))
    assert ssv2('out', '--to', 'original') == 0
    assert (read_manifest(tmp_path / 'out').videos / ids(tmp_path / 'out')['1']).is_file()
    assert ssv2('out', '--to', 'frames') == 0
    assert read_manifest(tmp_path / 'out').content_hash == out.content_hash


def test_sources_of_records_from_earlier_versions_stay(here, ssv2, tmp_path, monkeypatch):
    """They tell no recipe, so the source alone says that nothing has changed."""
    assert ssv2('out', '--keep-source') == 0
    argv = Encoding().video(find_ffmpeg(), 'IN', 'OUT')[1:]
    made_by = hashlib.sha256('\0'.join([find_ffmpeg().version, *argv]).encode()).hexdigest()[:16]
    file = tmp_path / 'out/work/transcode/all.jsonl'
    records = list(read_lines(file))
    for record in records:
        for name in ('digest', 'sha256', 'recipe', 'ffmpeg', 'kind', 'target'):
            del record[name]
        record['key'] = f'{made_by}-{record["key"]}'
    file.write_text(''.join(json.dumps(record) + '\n' for record in records))
    monkeypatch.setattr(encode, 'run_child', None)
    for _ in range(2):
        assert ssv2('out') == 0
        assert len(list((tmp_path / 'out/source').rglob('*.webm'))) == 4


def test_damage_is_mended_from_the_archive(here, ssv2, tmp_path, caplog):
    assert ssv2('out') == 0
    hurt = sorted((tmp_path / 'out/videos').rglob('*.mp4'))[0]
    whole = hurt.read_bytes()
    hurt.write_bytes(whole[:-40] + bytes(40))
    assert something_something.main(['--out', str(tmp_path / 'out'), '--recheck', '--workers', '1']) == 4
    assert ssv2('out') == 0
    assert hurt.read_bytes() == whole
    hurt.unlink()
    assert ssv2('out') == 0
    assert hurt.read_bytes() == whole
    assert 'new times' not in caplog.text


def test_a_limit_leaves_what_is_done(here, ssv2, tmp_path, monkeypatch):
    assert ssv2('out') == 0
    before = {path: path.read_bytes() for path in (tmp_path / 'out').rglob('*.*') if path.is_file()}
    monkeypatch.setattr(encode, 'run_child', None)
    assert ssv2('out', '--limit', '1') == 0
    assert ids(tmp_path / 'out').keys() == {'1'}
    assert ssv2('out') == 0
    assert {path: path.read_bytes() for path in (tmp_path / 'out').rglob('*.*') if path.is_file()} == before


def test_limit(here, ssv2, tmp_path):
    assert ssv2('out', '--limit', '2', '--keep-source') == 0
    assert ids(tmp_path / 'out').keys() == {'1', '2'} and ids(tmp_path / 'out', 'val').keys() == {'4'}
    names = {path.name for path in (tmp_path / 'out/source').rglob('*.webm')}
    assert names == {'1.webm', '2.webm', '4.webm'}
    assert read_manifest(tmp_path / 'out').preparation['arguments']['limit'] == 2
    assert ssv2('out') == 0
    assert len(ids(tmp_path / 'out')) == 3


def test_shards_unpack_their_archives(here, ssv2, tmp_path, caplog):
    """Every task of an array job that unpacks ends with status 0, and the next one finds all there."""
    caplog.set_level(logging.INFO, logger='data_prep')
    with pytest.raises(PreparationError, match='archives are unpacked before shards do more'):
        ssv2('out', '--shard', '0/2')
    for shard in ('0/2', '1/2'):
        assert ssv2('out', '--steps', 'unpack', '--shard', shard) == 0
    assert len(list((tmp_path / 'out/source').rglob('*.webm'))) == 4
    assert ssv2('out', '--steps', 'index') == 0
    for shard in ('0/2', '1/2'):
        assert ssv2('out', '--steps', 'unpack,verify,transcode', '--shard', shard) == 0
    caplog.clear()
    assert ssv2('out') == 0
    assert 'unpacking' not in caplog.text and len(ids(tmp_path / 'out')) == 3


def test_workers_unpack_several_archives(ssv2, tmp_path):
    """In real processes."""
    assert ssv2('out', '--workers', '2', '--steps', 'unpack') == 0
    assert {path.name for path in (tmp_path / 'out/source').rglob('*.webm')} == {
        '1.webm',
        '2.webm',
        '3.webm',
        '4.webm',
    }


@pytest.mark.parametrize('where', ['in', 'loose'])
def test_a_dry_run_writes_nothing_and_foresees(here, ssv2, tmp_path, capsys, clip, lay, where):
    if where == 'loose':
        shutil.rmtree(tmp_path / 'in')
        lay(tmp_path / 'in', many(clip))
    before = sorted(tmp_path.rglob('*'))
    assert ssv2('out', '--dry-run') == 0
    assert sorted(tmp_path.rglob('*')) == before
    told = capsys.readouterr().out
    lines = {line[:20].strip(): line[20:].split() for line in told.splitlines()}
    assert lines['verify'][0] == lines['transcode or frames'][0] == '4'
    assert f'measured on {4 if where == "loose" else 2} clips' in told  # those of the first archive
    assert 'are free at' in told and 'NOT ENOUGH' not in told


def test_a_dry_run_tells_what_comes_out(here, tmp_path, clip, lay):
    """Of few clips all are measured, so the bytes are those of the run."""
    lay(tmp_path / 'videos', {f'train/run/{i}.mp4': clip(5 + i) for i in range(5)})
    argv = ['--videos', str(tmp_path / 'videos'), '--out', str(tmp_path / 'out'), '--workers', '1']
    forecasts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, 'tell', lambda forecast, *rest: forecasts.append(forecast) or [])
        assert folder.main([*argv, '--dry-run']) == 0
    folder.main([*argv, '--steps', 'unpack,index,verify,transcode,lists'])
    (forecast,) = forecasts
    written = sum(path.stat().st_size for path in (tmp_path / 'out/videos').rglob('*.mp4'))
    sources = sum(path.stat().st_size for path in (tmp_path / 'videos').rglob('*.mp4'))
    assert (forecast.clips, forecast.sampled, forecast.source_bytes) == (5, 5, sources)
    assert abs(forecast.encoded_bytes - written) <= 1 and forecast.unpacked_bytes == 0
    assert forecast.encode_seconds > 0 < forecast.verify_seconds
