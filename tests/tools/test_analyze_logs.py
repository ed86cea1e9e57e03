"""Curves and times of made-up logs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location(
        'analyze_logs', ROOT / 'tools/analysis_tools/analyze_logs.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """A run of two stages, of two epochs of two iterations and of one iteration."""
    rows = dict(
        first=[
            dict(loss=4.0, time=1.0, epoch=1, iter=1),
            dict(loss=3.0, time=3.0, epoch=1, iter=2),
            dict(top1=0.5, time=9.0, step=1),
            dict(loss=2.0, time=0.5, epoch=2, iter=3),
            dict(loss=1.0, time=0.5, epoch=2, iter=4),
            dict(top1=0.75, time=9.0, step=2),
        ],
        second=[dict(loss=0.5, time=0.25, epoch=1, iter=1), dict(top1=1.0, time=9.0, step=1)],
    )
    for number, (stage, written) in enumerate(rows.items()):
        log = tmp_path / 'run' / stage / f'20260101_00000{number}' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(''.join(json.dumps(row) + '\n' for row in written) + '{"cut')
    return tmp_path / 'run'


def log_of(run, stage):
    return str(next((run / stage).rglob('scalars.json')))


def chart(tool, *arguments):
    return tool.chart_of(tool.parse_args(['plot_curve', *map(str, arguments)]))


def test_stages_follow_each_other(tool, run):
    drawn = chart(tool, run, '--keys', 'loss', 'top1')
    loss, top1 = drawn.lines
    assert (loss.x, loss.y) == ([1, 2, 3, 4, 5], [4.0, 3.0, 2.0, 1.0, 0.5])
    assert (top1.x, top1.y) == ([2, 4, 5], [0.5, 0.75, 1.0])  # where they were validated
    assert drawn.marks == [(0, 'first'), (4, 'second')]


def test_a_single_log_reads_as_its_stage(tool, run):
    assert chart(tool, log_of(run, 'second')).lines[0].y == [0.5]
    assert chart(tool, log_of(run, 'first'), '--keys', 'top1').lines[0].x == [2, 4]
    assert chart(tool, log_of(run, 'first'), '--keys', 'time').lines[0].y == [1.0, 3.0, 0.5, 0.5]


def test_names_of_lines(tool, run):
    def names(*more):
        return [line.name for line in chart(tool, run, log_of(run, 'first'), *more).lines]

    assert names('--legend', 'a', 'b') == ['a', 'b']
    assert names('--keys', 'loss', 'top1', '--legend', 'a', 'b') == [
        'a: loss',
        'a: top1',
        'b: loss',
        'b: top1',
    ]
    assert names('--keys', 'loss', 'top1', '--legend', *'wxyz') == list('wxyz')
    assert names()[0] == f'{run}: loss'


def test_pictures(tool, run, tmp_path, capsys):
    for form in ('png', 'pdf', 'svg'):
        tool.main(
            ['plot_curve', str(run), '--title', 'Two stages', '--out', str(tmp_path / 'new' / f'c.{form}')]
        )
    assert 'Two stages' in (tmp_path / 'new/c.svg').read_text()
    assert (tmp_path / 'new/c.png').read_bytes()[:4] == b'\x89PNG'
    assert capsys.readouterr().out.count('written to') == 3


def test_times_of_epochs(tool, run, capsys):
    tool.main(['cal_train_time', str(run)])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:4]] == [
        'mean of 2 epochs 1.2500 s/iter'.split(),
        'slowest epoch 1 2.0000 s/iter'.split(),
        'fastest epoch 2 0.5000 s/iter'.split(),
    ]
    tool.main(['cal_train_time', log_of(run, 'second')])
    assert 'mean of 1 epochs 0.2500 s/iter' in capsys.readouterr().out


def test_what_is_wrong_is_told(tool, run, tmp_path, capsys):
    with pytest.raises(
        SystemExit, match="has no values of 'top5'; it has epoch, iter, loss, step, time, top1"
    ):
        tool.main(['plot_curve', str(run), '--keys', 'top5', '--out', str(tmp_path / 'a.png')])
    with pytest.raises(SystemExit, match='FileNotFoundError: no log at'):
        tool.main(['cal_train_time', str(tmp_path / 'gone.json')])
    (tmp_path / 'empty.json').write_text('')
    with pytest.raises(SystemExit, match='holds no training'):
        tool.main(['cal_train_time', str(tmp_path / 'empty.json')])
    with pytest.raises(SystemExit):
        tool.parse_args(['plot_curve', 'a', 'b', '--legend', *'xyz'])
    assert 'give one for each of 2 logs' in capsys.readouterr().err
