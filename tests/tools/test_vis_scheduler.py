"""Rates beside those that real runs log, and those of formulas."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest

from gfvideo.engine import expand_stages, load_config, run_stages

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'tests/engine/three_stages.py')


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tests/engine'))
    spec = importlib.util.spec_from_file_location(
        'vis_scheduler', ROOT / 'tools/visualizations/vis_scheduler.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stages(tool, *arguments):
    return tool.stage_values(tool.parse_args([CONFIG, *arguments]))


SCHEDULERS = [
    dict(type='WarmupLR', share=0.4, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, by_epoch=True, convert_to_iter_based=True),
    dict(type='MultiStepLR', milestones=[1], gamma=0.5, by_epoch=True),
]


def test_every_iteration_has_the_rate_that_a_run_logs(tool, tmp_path):
    options = {
        'default_hooks.logger.interval': 1,
        'work_dir': str(tmp_path),
        'randomness.seed': 0,
    }
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {CONFIG!r}\nparam_scheduler = {SCHEDULERS!r}\n')
    run_stages(expand_stages(load_config(config), options))
    shown = tool.stage_values(tool.parse_args([str(config)]))
    assert [(name, length) for name, length, _ in shown] == [('random', 4), ('policy', 4), ('tune', 4)]
    for name, _, values in shown:
        log = next((tmp_path / name).rglob('scalars.json')).read_text().splitlines()
        logged = [row['lr'] for row in map(json.loads, log) if 'lr' in row]
        assert len(logged) == 8 and len(set(logged)) > 4
        assert values == pytest.approx(logged, rel=1e-9)


def test_a_cosine_over_iterations(tool):
    (_, _, first), _, (_, _, last) = stages(tool)
    assert first == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 8)) / 2 for n in range(8)])
    assert last[0] == pytest.approx(0.01)  # of the stage's own rate


def test_epochs_as_long_as_asked(tool):
    found = stages(tool, '--iters-per-epoch', '7', '--stage', 'tune')
    assert [(name, length, len(values)) for name, length, values in found] == [('tune', 7, 14)]


def test_momentum(tool):
    _, _, values = stages(tool, '--parameter', 'momentum', '--stage', 'random')[0]
    assert values == [0.9] * 8


def test_a_picture_with_the_stages(tool, tmp_path, capsys):
    tool.main([CONFIG, '--out', str(tmp_path / 'new/rates.svg')])
    drawn = (tmp_path / 'new/rates.svg').read_text()
    assert all(word in drawn for word in ('random', 'policy', 'tune', 'learning rate', 'epochs'))
    assert 'random         2 epochs of 4 iterations, lr 0.05 first' in capsys.readouterr().out


def test_what_is_wrong_is_told(tool, tmp_path, capsys):
    dataset = dict(_delete_=True, type='ClipDataset', root=str(tmp_path), split='train', pipeline=[])
    (tmp_path / 'config.py').write_text(
        f'_base_ = {CONFIG!r}\ntrain_dataloader = dict(dataset={dataset!r})\n'
    )
    with pytest.raises(SystemExit, match='ConfigError: .*--iters-per-epoch'):
        tool.main([str(tmp_path / 'config.py'), '--out', str(tmp_path / 'a.png')])
    tool.main([str(tmp_path / 'config.py'), '--out', str(tmp_path / 'a.png'), '--iters-per-epoch', '3'])
    with pytest.raises(SystemExit):
        tool.parse_args([CONFIG, '--iters-per-epoch', '0'])
    assert 'one batch at least' in capsys.readouterr().err
