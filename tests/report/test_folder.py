import json
import pickle
import shutil

import pytest

from gfvideo.report import read_run


def test_everything_is_found_by_what_it_is(runs):
    run = read_run(runs.looks)
    assert [stage.name for stage in run.stages] == ['joint', 'policy']  # by when they began, not by name
    assert {path.parent.name for path in run.tests} == {'test', 'test_exits'}
    assert [path.name for path in run.exits] == ['exits.json']
    assert [path.name for path in run.controls] == ['controls.json']
    assert [len(clips) for clips in run.dumps.values()] == [18]
    assert run.checkpoint.resolve() == (runs.looks / 'last.pth').resolve()
    assert run.config == str(runs.looks / 'config.py')
    assert run.name == 'looks' and not run.faults


def test_a_validation_stands_at_the_iteration_before_it(runs):
    joint = read_run(runs.bare).stages[0]
    assert [row['iter'] for row in joint.train] == [10, 20] and joint.iterations == 20
    assert [(row['iter'], row['top1']) for row in joint.validated] == [(10, 0.5)]


def test_a_later_log_of_a_stage_takes_the_place_of_what_it_repeats(runs, tmp_path):
    shutil.copytree(runs.bare, tmp_path / 'run')
    log = tmp_path / 'run' / 'joint' / '20260101_010000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('\n'.join(json.dumps(dict(loss=9.0 + n, iter=10 * n, epoch=n)) for n in (2, 3)))
    joint = read_run(tmp_path / 'run').stages[0]
    assert [(row['iter'], row['loss']) for row in joint.train] == [(10, 3.0), (20, 11.0), (30, 12.0)]


def test_a_file_that_could_run_a_program_is_told_and_left_out(runs, tmp_path):
    shutil.copytree(runs.bare, tmp_path / 'run')
    (tmp_path / 'run' / 'evil.pkl').write_bytes(pickle.dumps([print]))
    run = read_run(tmp_path / 'run')
    assert not run.dumps and len(run.faults) == 1 and 'evil.pkl' in run.faults[0]


def test_exits_that_were_edited_are_told_and_left_out(runs, tmp_path):
    shutil.copytree(runs.bare, tmp_path / 'run')
    content = json.loads((runs.looks / 'exits.json').read_text())
    content['sweep'][0]['accuracy'] /= 2
    (tmp_path / 'run' / 'exits.json').write_text(json.dumps(content))
    run = read_run(tmp_path / 'run')
    assert not run.exits and 'was changed' in run.faults[0]


def test_no_folder_and_a_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match='--work-dir'):
        read_run(tmp_path / 'nowhere')
    (tmp_path / 'other.json').write_text('[1, 2')
    with pytest.raises(ValueError, match='no log'):
        read_run(tmp_path)
