from __future__ import annotations

import csv
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep import kinetics
from data_prep import something_something as something
from data_prep.common import probing
from gfvideo.data.manifest import ClipRow, read_manifest, read_rows, validate

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {'Pushing something from left to right': '1', 'Holding something next to something': '0'}


def flags(folder, **changes):
    given = {'videos': folder / 'videos', 'annotations': folder, 'out': folder / 'out', 'jobs': 1, **changes}
    return [part for name, value in given.items() for part in (f'--{name}', str(value))]


def left_out(folder):
    with (folder / 'out' / 'left_out.csv').open() as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def ssv2(tmp_path, painted_video):
    """Three training and two validation clips; one has no file, one is no video."""
    (tmp_path / 'videos').mkdir()
    for clip in ('10', '11', '20'):
        shutil.copy(painted_video(5 + int(clip) % 10, '.webm', codec='libvpx-vp9', options={'deadline': 'realtime', 'cpu-used': '8'}),
                    tmp_path / 'videos' / f'{clip}.webm')
    (tmp_path / 'videos' / '21.webm').write_bytes(b'<html>')
    push, hold = 'Pushing [something] from left to right', 'Holding [something] next to [something]'

    def entry(clip, template):
        return {'id': clip, 'label': 'a caption', 'template': template, 'placeholders': ['x']}

    annotations = {'labels': CLASSES, 'train': [entry('11', push), entry('10', hold), entry('12', hold)],
                   'validation': [entry('20', push), entry('21', hold)]}
    for stem, content in annotations.items():
        (tmp_path / f'something-something-v2-{stem}.json').write_text(json.dumps(content, indent=0))
    return tmp_path


def test_something_something(ssv2, caplog):
    caplog.set_level(logging.INFO, logger='data_prep')
    assert something.run(something.main, flags(ssv2)) == 0
    manifest = validate(ssv2 / 'out', check_files=True)
    assert manifest.classes == ('Holding something next to something', 'Pushing something from left to right')
    assert (manifest.name, manifest.version, manifest.label_order) == ('out', 'v2', 'labels.json')
    assert Path(manifest.video_root) == ssv2 / 'videos'
    assert read_rows(manifest, 'train') == [ClipRow('11', '11.webm', 'video', 1, 6, 48, 128),
                                            ClipRow('10', '10.webm', 'video', 0, 5, 48, 128)]
    assert read_rows(manifest, 'val') == [ClipRow('20', '20.webm', 'video', 1, 5, 48, 128)]
    assert {split: (info.present, info.official) for split, info in manifest.splits.items()} == {'train': (2, 3), 'val': (1, 2)}
    missing, broken = left_out(ssv2)
    assert missing == {'split': 'train', 'id': '12', 'path': '', 'reason': 'no file 12.webm'}
    assert (broken['split'], broken['id'], broken['path']) == ('val', '21', '21.webm')
    assert '21.webm' in broken['reason']
    assert '4 of 4 clips read, 1 bad' in caplog.text
    assert 'train: 2 of 3 listed clips can be used (66.7 %)' in caplog.text
    assert manifest.hash in caplog.text


def test_same_input_same_files(ssv2):
    something.main(flags(ssv2))
    files = {path.name: path.read_bytes() for path in (ssv2 / 'out').iterdir()}
    assert files.keys() == {'dataset.json', 'train.jsonl', 'val.jsonl', 'left_out.csv'}
    something.main(flags(ssv2, jobs=2))
    assert files == {path.name: path.read_bytes() for path in (ssv2 / 'out').iterdir()}


def test_test_split_with_answers_in_the_folder_labels(ssv2):
    (ssv2 / 'labels').mkdir()
    for stem in ('labels', 'train', 'validation'):
        (ssv2 / f'something-something-v2-{stem}.json').rename(ssv2 / 'labels' / f'{stem}.json')
    (ssv2 / 'labels' / 'test.json').write_text('[{"id": "20"}]')
    (ssv2 / 'labels' / 'test-answers.csv').write_text('20;Holding something next to something\n')
    something.main(flags(ssv2, name='Sth', version='v2.1'))
    manifest = read_manifest(ssv2 / 'out')
    assert (manifest.name, manifest.version) == ('Sth', 'v2.1')
    assert read_rows(manifest, 'test') == [ClipRow('20', '20.webm', 'video', 0, 5, 48, 128)]
    (ssv2 / 'labels' / 'test-answers.csv').write_text('\n20;Holding\n')
    with pytest.raises(something.PreparationError, match=r"test-answers\.csv:2: 'Holding' is none of the 2 classes"):
        something.main(flags(ssv2))


@pytest.mark.parametrize(('stem', 'text', 'message'), [
    ('train', '[\n{"id": "10", "template": "Holding [something] next to [something]"},\n{"id": "11", "template": "Eating [it]"}\n]',
     r"train\.json:3: template 'Eating \[it\]' of clip '11' is none of the 2 classes"),
    ('train', '[\n{"id": "10", "label": "x"}]', r"train\.json:2: entry 0 has no text 'template'"),
    ('train', '[{"id": 10, "template": "x"}]', r"train\.json:1: entry 0 has no text 'id'"),
    ('train', '[{"id": "1/0", "template": "x"}]', "id of entry 0 is '1/0', expected digits"),
    ('train', '[{"id": "10", "template": "x"},\n\n{"id": "10", "template": "x"}]', r"train\.json:3: clip '10' is listed twice"),
    ('train', '[\n{"id": "10"\n', r'train\.json:\d: not JSON'),
    ('train', '{}', 'holds a dict, expected a list'),
    ('labels', '{"a": "0", "b": "2"}', "number 2 of class 'b'"),
])
def test_wrong_annotations_of_something_something(ssv2, stem, text, message):
    (ssv2 / f'something-something-v2-{stem}.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        something.main(flags(ssv2))
    assert not (ssv2 / 'out').exists()


def test_what_a_user_can_mend_is_one_line(ssv2, tmp_path, caplog, capsys):
    (ssv2 / 'something-something-v2-train.json').unlink()
    assert something.run(something.main, flags(ssv2)) == 1
    assert 'holds none of something-something-v2-train.json, train.json, labels/' in caplog.text
    for changes, message in (({'videos': tmp_path / 'no'}, '--videos: .*no is not a folder'), ({'jobs': 0}, '--jobs is 0')):
        with pytest.raises(SystemExit) as caught:
            something.main(flags(ssv2, **changes))
        assert caught.value.code == 2
        assert re.search(message, capsys.readouterr().err)


def test_wrong_folder_of_videos(ssv2, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(something.PreparationError, match=r"no clip of split 'train' can be used; .* '11': no file 11\.webm; is --videos"):
        something.main(flags(ssv2, videos=tmp_path / 'empty'))
    assert not (ssv2 / 'out').exists()


def test_a_crashing_decoder_costs_one_clip(ssv2, monkeypatch, caplog):
    genuine = probing.open_video

    def crashing(file, **options):
        if file.endswith('10.webm'):
            os.kill(os.getpid(), signal.SIGKILL)
        return genuine(file, **options)

    monkeypatch.setattr(probing, 'open_video', crashing)               # the worker processes are forked, and so inherit it
    something.main(flags(ssv2, jobs=2))
    assert [row.id for row in read_rows(read_manifest(ssv2 / 'out'), 'train')] == ['11']
    assert [row['reason'] for row in left_out(ssv2) if row['id'] == '10'] == ['the decoder crashed']
    assert 'a worker process died' in caplog.text


# ---- Kinetics

HEADER = 'label,youtube_id,time_start,time_end,split,is_cc\n'


@pytest.fixture
def csvs(tmp_path, painted_video):
    for number, path in enumerate(['train/-abc_EFG____000003_000013.mp4', 'train/k3DltqdSvHL_000099_000109.mp4',
                                   'val/k3DltqdSvHL_000099_000109.mp4', 'val/0123456789a_000000_000010.mkv']):
        file = tmp_path / 'videos' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(painted_video(5 + number), file)
    (tmp_path / 'train.csv').write_text(HEADER + '"walking, standing",-abc_EFG___,3,13,train,0\nbridge up,k3DltqdSvHL,99.0,109.0,train,0\n'
                                        'bridge up,aaaaaaaaaaa,1,11,train,0\n')
    (tmp_path / 'validate.csv').write_text(HEADER + 'bridge up,k3DltqdSvHL,99,109,validate,0\n"walking, standing",0123456789a,0,10,val,0\n')
    return tmp_path


def test_kinetics(csvs, caplog):
    assert kinetics.run(kinetics.main, flags(csvs, name='k2')) == 0
    manifest = validate(csvs / 'out', check_files=True)
    assert (manifest.name, manifest.label_order, manifest.classes) == ('k2', 'sorted', ('bridge up', 'walking, standing'))
    assert read_rows(manifest, 'train') == [
        ClipRow('-abc_EFG____000003_000013', 'train/-abc_EFG____000003_000013.mp4', 'video', 1, 5, 48, 128),
        ClipRow('k3DltqdSvHL_000099_000109', 'train/k3DltqdSvHL_000099_000109.mp4', 'video', 0, 6, 48, 128)]
    assert read_rows(manifest, 'val') == [
        ClipRow('k3DltqdSvHL_000099_000109', 'val/k3DltqdSvHL_000099_000109.mp4', 'video', 0, 7, 48, 128),
        ClipRow('0123456789a_000000_000010', 'val/0123456789a_000000_000010.mkv', 'video', 1, 8, 48, 128)]
    assert manifest.splits['train'].official == 3
    missing = 'aaaaaaaaaaa_000001_000011'
    assert left_out(csvs) == [{'split': 'train', 'id': missing, 'path': '', 'reason': f'no file {missing}.mp4'}]
    assert '1 youtube ids stand in more than one split, e.g. k3DltqdSvHL' in caplog.text


def test_kinetics_of_two_files_with_one_name(csvs):
    (csvs / 'videos' / 'train').rename(csvs / 'videos' / 'bridge up')
    shutil.copytree(csvs / 'videos' / 'bridge up', csvs / 'videos' / 'copy')
    with pytest.raises(kinetics.PreparationError, match=r'several files: bridge up/-abc.*mp4, copy/-abc.*mp4; keep one'):
        kinetics.main(flags(csvs))


@pytest.mark.parametrize(('text', 'message'), [
    ('label,youtube_id,split\n', r'train\.csv:1: the header is .* without time_start, time_end'),
    (HEADER + 'a,k3DltqdSvHL,1,11,train,0\nb,short,1,2,train,0\n', r"train\.csv:3: youtube_id is 'short', expected 11"),
    (HEADER + 'a,k3DltqdSvHL,x,11,train,0\n', r"train\.csv:2: time_start is 'x', expected seconds"),
    (HEADER + 'a,k3DltqdSvHL,1\n', r'train\.csv:2: split is None'),
    (HEADER + 'a,k3DltqdSvHL,1,11,validate,0\n', r"train\.csv:2: split is 'validate' in the file of split 'train', expected train"),
    (HEADER + ',k3DltqdSvHL,1,11,train,0\n', r'train\.csv:2: no label'),
    (HEADER + 'a,k3DltqdSvHL,1,11,train,0\na,k3DltqdSvHL,1,11,train,0\n', r'train\.csv:3: clip .* stands at .*train\.csv:2 already'),
])
def test_wrong_annotations_of_kinetics(csvs, text, message):
    (csvs / 'train.csv').write_text(text)
    with pytest.raises(kinetics.PreparationError, match=message):
        kinetics.main(flags(csvs))
    assert not (csvs / 'out').exists()


# ---- real clips, and the command line

def excerpt_of_ssv2(data, folder):
    (folder / 'videos').mkdir()
    entries = {stem: json.loads((data / f'something-something-v2-{stem}.json').read_text())[:3] for stem in ('train', 'validation')}
    for stem, some in entries.items():
        (folder / f'something-something-v2-{stem}.json').write_text(json.dumps(some))
        for entry in some:
            (folder / 'videos' / f'{entry["id"]}.webm').symlink_to(data / 'videos' / f'{entry["id"]}.webm')
    shutil.copyfile(data / 'something-something-v2-labels.json', folder / 'something-something-v2-labels.json')
    return entries


def test_real_clips_of_something_something_by_the_command_line(shared, tmp_path):
    data = shared / 'data' / 'turning_camera_ssv2'
    entries = excerpt_of_ssv2(data, tmp_path)
    subprocess.run([sys.executable, ROOT / 'data_prep' / 'something_something.py', *flags(tmp_path)], check=True, cwd=tmp_path, timeout=300)
    manifest, numbers = validate(tmp_path / 'out', check_files=True), json.loads((data / 'something-something-v2-labels.json').read_text())
    for split, stem in (('train', 'train'), ('val', 'validation')):
        labels = [int(numbers[re.sub(r'[\[\]]', '', entry['template'])]) for entry in entries[stem]]
        assert read_rows(manifest, split) == [ClipRow(entry['id'], f'{entry["id"]}.webm', 'video', label, 36, 240, 320)
                                              for entry, label in zip(entries[stem], labels, strict=True)]


@pytest.mark.parametrize('name', ['surveillance_kinetics', 'railyard_kinetics'])
def test_real_clips_of_kinetics(shared, tmp_path, name):
    data = shared / 'data' / name
    for split, file in (('train', 'train.csv'), ('val', 'validate.csv')):
        lines = (data / file).read_text().splitlines()[:3]
        (tmp_path / file).write_text('\n'.join(lines))
        (tmp_path / 'videos' / split).mkdir(parents=True)
        for row in csv.DictReader(lines):
            clip = f'{row["youtube_id"]}_{int(row["time_start"]):06d}_{int(row["time_end"]):06d}.mp4'
            (tmp_path / 'videos' / split / clip).symlink_to(data / 'videos' / split / clip)
    kinetics.main(flags(tmp_path))
    manifest = validate(tmp_path / 'out', check_files=True)
    for split in ('train', 'val'):
        rows = read_rows(manifest, split)
        assert len(rows) == 2
        assert all(row.frames >= 30 and row.height >= 240 and row.width >= 320 for row in rows)


@pytest.mark.parametrize('module', [something, kinetics])
def test_help(module, capsys):
    with pytest.raises(SystemExit) as caught:
        module.main(['--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for flag in ('--videos', '--annotations', '--out', '--jobs', 'left_out.csv'):
        assert flag in text
