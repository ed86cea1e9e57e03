import json
import shutil

import pytest

from gfvideo.evaluation import accuracy_standard_error
from gfvideo.report import gather


@pytest.fixture(scope='module')
def groups(runs):
    return {group.title: group for group in gather([runs.looks]).groups}


def test_a_test_is_listed_with_its_glance_alone(runs, groups):
    told = json.loads((runs.looks / 'test' / 'test_results.json').read_text())
    group = groups['test']
    assert (group.split, group.clips, group.data_hash) == ('test', 18, told['dataset']['content_hash'])
    every, glance = group.rows
    top1 = [told['metrics'][f'top1_step{step}'] for step in range(3)]
    assert every.top1 == top1 and glance.top1 == [top1[0], None, None]
    assert every.errors == pytest.approx([accuracy_standard_error(value, 18) for value in top1])
    assert every.gmacs > glance.gmacs > 0 and every.ms >= glance.ms > 0


def test_the_command_is_the_one_that_was_given(runs, groups):
    words = groups['test'].command.split()
    assert words[:2] == ['python', 'tools/test.py'] and groups['test'].recorded
    assert words[-2:] == ['--dump', str(runs.looks / 'test' / 'predictions.pkl')]
    for title, tool in (('test with early exit', 'test.py'), ('controls', 'controls.py')):
        assert tool in groups[title].command and groups[title].recorded


def test_a_file_without_a_command_gets_one_put_together(runs, tmp_path):
    shutil.copytree(runs.looks / 'test_exits', tmp_path / 'run')
    told = json.loads((tmp_path / 'run' / 'test_results.json').read_text())
    del told['command']
    told['exits'] |= dict(budget=0.5, unit='gmacs')
    (tmp_path / 'run' / 'test_results.json').write_text(json.dumps(told))
    (group,) = gather([tmp_path / 'run']).groups
    assert not group.recorded and group.rows[0].name == 'early exit, budget 0.5 gmacs'
    exits = str(runs.looks / 'exits.json')
    assert group.command.split()[4:] == [
        *('--exits', exits, '--budget', '0.5', '--unit', 'gmacs', '--split', 'test')
    ]


def test_controls_are_listed_as_they_were_measured(runs, groups):
    told = json.loads((runs.looks / 'controls.json').read_text())
    rows = {row.name: row for row in groups['controls'].rows}
    assert list(rows) == [row['name'] for row in told['rows']]
    assert set(rows) == {'learned', 'random', 'centre', 'glance only'}
    for row in told['rows']:
        known = [value for value in rows[row['name']].top1 if value is not None]
        assert known == row['top1'] and rows[row['name']].gmacs == row['gmacs'][-1]
    assert rows['learned'].ahead is None
    assert rows['random'].ahead[0] == told['rows'][1]['ahead'][-1]['mean']
