"""The commands after a training are right: their tools take them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from gfvideo.engine import expand_stages, load_config, next_commands, next_steps
from gfvideo.home import home

CONFIG = 'configs/quickstart/glance-focus_tiny_toy.py'


@pytest.fixture
def stages(monkeypatch):
    monkeypatch.chdir(home())
    cfg = load_config(CONFIG)
    cfg.work_dir = 'runs/toy'
    return expand_stages(cfg, {'model.num_classes': 6})


def parse(command: list[str]):
    """What the tool makes of the command."""
    file = home() / command[1]
    spec = importlib.util.spec_from_file_location(f'next_{file.stem}', file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.parse_args(command[2:])


def test_after_the_last_stage(stages, tmp_path):
    checkpoint = tmp_path / 'epoch_1.pth'
    checkpoint.touch()
    commands = next_commands(stages, 2, checkpoint, CONFIG, 'runs/toy', ['model.steps=1'])
    assert commands['accuracy on the test split'] == [
        'python',
        'tools/test.py',
        CONFIG,
        str(checkpoint),
        '--work-dir',
        'runs/toy/test',
        '--cfg-options',
        'model.steps=1',
    ]
    assert commands['early exit'][4:6] == ['--split', 'val']
    assert commands['pictures of where it looks'][4:6] == ['--out', 'runs/toy/tune/focus']
    assert 'what the policy is worth' in commands
    for what, command in commands.items():
        if what != 'all of it on one page':
            args = parse(command)
            assert Path(args.checkpoint) == checkpoint and str(args.config) == CONFIG
    text = next_steps(commands)
    assert text.splitlines()[:2] == ['what to type next:', '  # accuracy on the test split']
    assert f'  python tools/calibrate.py {CONFIG} {checkpoint} --split val' in text


def test_after_an_early_stage_the_next_one_comes_first(stages):
    options = ['model.steps=1', 'load_from=x.pth', 'stages.policy.train_cfg.max_epochs=1']
    commands = next_commands(stages, 0, 'runs/toy/random/epoch_1.pth', CONFIG, None, options)
    assert list(commands) == ['train the next stage', 'accuracy on the test split']
    args = parse(commands['train the next stage'])
    assert args.stage == 'policy' and args.work_dir is None
    assert args.cfg_options == {'model.steps': 1, 'stages.policy.train_cfg.max_epochs': 1}
    tested = parse(commands['accuracy on the test split'])
    assert tested.stage == 'random' and tested.cfg_options == {'model.steps': 1}


def test_under_one_name(stages, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['gfvideo train'])
    commands = next_commands(stages, 2, 'x.pth', CONFIG)
    assert commands['early exit'] == ['gfvideo', 'calibrate', CONFIG, 'x.pth', '--split', 'val']


def test_networks_that_do_not_look_are_only_tested(monkeypatch):
    monkeypatch.chdir(home())
    cfg = load_config('configs/quickstart/tsm_tiny_toy.py')
    cfg.work_dir = 'runs/tsm'
    commands = next_commands(expand_stages(cfg, {'model.num_classes': 6}), 0, 'x.pth', 'tsm_tiny_toy')
    assert set(commands) - {'all of it on one page'} == {'accuracy on the test split'}


def test_of_clips_with_several_classes_no_exits_and_controls_are_promised(monkeypatch):
    """Both would refuse them."""
    monkeypatch.chdir(home())
    config = 'configs/glance_focus/glance-focus_mobilenetv2-r50_g224-p128-s1_16f_activitynet.py'
    cfg = load_config(config)
    cfg.work_dir = 'runs/several'
    commands = next_commands(expand_stages(cfg), 2, 'x.pth', config)
    assert not {'early exit', 'what the policy is worth'} & set(commands)
    assert {'accuracy on the test split', 'pictures of where it looks'} <= set(commands)
