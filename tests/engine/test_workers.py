"""How many processes read clips where the config leaves it to the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

from gfvideo.engine import check_stages, expand_stages, fill_workers, load_config, run_stages
from gfvideo.engine.config import cores_of_process
from gfvideo.engine.predictions import loader_config
from gfvideo.engine.stages import settings_of, with_essentials

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def config(train=None, val=None, test=None, **top) -> Config:
    numbers = dict(zip(LOADERS, (train, val, test)))
    loaders = {key: dict(num_workers=number, persistent_workers=True) for key, number in numbers.items()}
    return Config(loaders | top)


def numbers(cfg) -> list:
    return [cfg[loader].num_workers for loader in LOADERS]


@pytest.mark.parametrize(
    ('cores', 'expected'),
    [(1, [1, 1, 1]), (2, [2, 2, 2]), (3, [3, 3, 3]), (4, [4, 4, 4]), (12, [8, 8, 8]), (64, [8, 8, 8])],
)
def test_each_loader_has_as_many_as_there_are_cores(cores, expected):
    cfg = config()
    told = fill_workers(cfg, cores)
    assert numbers(cfg) == expected
    train, val, test = expected
    assert told == (
        f'processes that read clips: {train} of train_dataloader, {val} of val_dataloader, {test} of'
        f' test_dataloader (cores for this process: {cores})'
    )
    assert all(cfg[loader].persistent_workers for loader in LOADERS)
    assert fill_workers(cfg, 99) == '' and numbers(cfg) == expected  # once


def test_numbers_that_are_said_stay():
    cfg = config(train=3, test=11)
    assert 'val_dataloader' in fill_workers(cfg, 4) and numbers(cfg) == [3, 4, 11]
    cfg = config()
    cfg.val_dataloader = None  # no validation
    fill_workers(cfg, 6)
    assert cfg.train_dataloader.num_workers == 6
    cfg = Config(dict(train_dataloader=dict(batch_size=2), work_dir='x'))
    assert fill_workers(cfg, 6) == '' and 'num_workers' not in cfg.train_dataloader


def test_none_that_work_do_not_persist():
    cfg = config(train=0)
    cfg.val_dataloader = dict(persistent_workers=True)  # torch's default is 0
    assert fill_workers(cfg, 4).startswith('processes that read clips: 4 of test_dataloader (')
    assert not cfg.train_dataloader.persistent_workers and not cfg.val_dataloader.persistent_workers
    assert cfg.test_dataloader.persistent_workers
    for loader in LOADERS:
        DataLoader(range(3), **cfg[loader])  # which refuses workers that persist and are none


@pytest.mark.parametrize(
    ('launcher', 'environment', 'expected'),
    [
        ('none', {'LOCAL_WORLD_SIZE': '4', 'SLURM_CPUS_PER_TASK': '3'}, 12),
        ('pytorch', {'LOCAL_WORLD_SIZE': '4'}, 3),
        ('pytorch', {'LOCAL_WORLD_SIZE': '16'}, 1),
        ('pytorch', {}, 12),
        ('slurm', {'SLURM_CPUS_PER_TASK': '5', 'SLURM_STEP_TASKS_PER_NODE': '4'}, 5),
        ('slurm', {'SLURM_STEP_TASKS_PER_NODE': '4(x2),3'}, 3),
        ('mpi', {'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}, 6),
    ],
)
def test_processes_of_a_machine_divide_its_cores(launcher, environment, expected, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(12)), raising=False)
    assert cores_of_process(launcher, environment) == expected


def test_the_launcher_of_a_config_counts(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(12)), raising=False)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '3')
    for launcher, expected in (('pytorch', [4, 4, 4]), ('none', [8, 8, 8])):
        cfg = config(launcher=launcher)
        fill_workers(cfg)
        assert numbers(cfg) == expected


# ---- what is shipped


OPEN = ('custom', 'jester', 'kinetics400', 'kinetics700', 'something_something_v1', 'something_something_v2')


@pytest.mark.parametrize('name', OPEN)
def test_sets_of_any_size_leave_it_to_the_machine(name):
    ((_, cfg),) = expand_stages(load_config(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py'))
    assert numbers(cfg) == [None, None, None]
    fill_workers(cfg, 4)
    assert numbers(cfg) == [4, 4, 4]
    option = {'train_dataloader.num_workers': 5}
    ((_, cfg),) = expand_stages(load_config(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py'), option)
    fill_workers(cfg, 4)
    assert numbers(cfg) == [5, 4, 4]


def test_runs_begun_with_another_number_go_on():
    cfg = load_config(ROOT / 'configs/glance_focus/glance-focus_mobilenetv2_g96-p80-s2_8f_custom.py')
    for stage, before in zip(
        expand_stages(cfg), expand_stages(cfg, {f'{key}.num_workers': 8 for key in LOADERS})
    ):
        old, now = with_essentials(before.cfg), with_essentials(stage.cfg)
        assert numbers(old) == [8, 8, 8]  # as every config had it
        for cores in (1, 16):
            filled = with_essentials(stage.cfg)
            fill_workers(filled, cores)
            assert settings_of(old) == settings_of(now) == settings_of(filled)


def test_the_loader_of_predictions(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(3)), raising=False)
    cfg = Config(dict(test_dataloader=dict(num_workers=None, dataset=dict(split='val'))))
    assert loader_config(cfg, 'val', None, 4)['num_workers'] == 3
    assert cfg.test_dataloader.num_workers is None  # the config stays as it was


def test_a_training_says_what_it_filled_in(three_stages, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0}, raising=False)
    cfg = load_config(three_stages)
    cfg.work_dir = str(tmp_path / 'run')
    options = {'train_dataloader.num_workers': None, 'train_dataloader.persistent_workers': True}
    stages = expand_stages(cfg, {**options, 'train_cfg.max_epochs': 1})[:1]
    check_stages(stages)
    run_stages(stages)
    said = capfd.readouterr()
    assert (said.out + said.err).count('processes that read clips: 1 of train_dataloader (cores') == 1
    again = {**options, 'train_cfg.max_epochs': 1, 'train_dataloader.num_workers': 0}
    run_stages(expand_stages(cfg, again)[:1], resume='auto')
    assert 'is finished' in capfd.readouterr().out
