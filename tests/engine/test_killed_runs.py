"""A training with the loaders that are shipped, killed at random moments, ends with the weights of the run
that nobody disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfvideo.engine import load_checkpoint, load_config
from gfvideo.engine.stages import read_record

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'quickstart' / 'glance-focus_tiny_toy.py'
STAGES = ('random', 'policy', 'tune')
KILLS = 10


def run(*command, env):
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=env, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """The environment of trainings on a toy set of 32 clips."""
    folder = tmp_path_factory.mktemp('toy')
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(ROOT),
        'GFVIDEO_TOY': str(folder / 'prepared'),
    }
    run(ROOT / 'data_prep/toy.py', '--out', folder / 'raw', '--train', 32, '--val', 4, '--test', 4, env=env)
    run(
        ROOT / 'data_prep/something_something.py',
        '--videos',
        folder / 'raw' / 'videos',
        '--annotations',
        folder / 'raw',
        '--out',
        folder / 'prepared',
        '--to',
        'original',
        '--counts',
        'ignore',
        env=env,
    )
    return env


def arguments(work_dir):
    """Four iterations an epoch, two epochs a stage, a checkpoint after each iteration; loaders as they are
    shipped."""
    return [
        CONFIG,
        '--work-dir',
        work_dir,
        '--cfg-options',
        'train_dataloader.batch_size=8',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.checkpoint.by_epoch=False',
        'default_hooks.logger.interval=1',
        *(f'stages.{stage}.train_cfg.max_epochs=2' for stage in STAGES),
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_ten_times_is_the_uncut_run_to_the_bit(toy, tmp_path):
    shipped = load_config(CONFIG).train_dataloader
    assert shipped.num_workers and shipped.persistent_workers  # what the promise is about
    script = Path(__file__).with_name('kill_training.py')
    run(script, 0, 0, *arguments(tmp_path / 'uncut'), env=toy)
    told = run(script, KILLS, torch.randint(10**6, ()).item(), *arguments(tmp_path / 'killed'), env=toy)
    print(told)
    for stage in STAGES:
        records = [read_record(tmp_path / name / stage) for name in ('uncut', 'killed')]
        whole, pieces = (
            load_checkpoint(tmp_path / name / stage / record.checkpoint)
            for name, record in zip(('uncut', 'killed'), records)
        )
        different = [
            key
            for key, value in whole['state_dict'].items()
            if not torch.equal(value, pieces['state_dict'][key])
        ]
        assert not different, (
            f'{stage}: {len(different)} of {len(whole["state_dict"])} tensors differ; {told}'
        )
        assert whole['meta']['iter'] == pieces['meta']['iter'] == 8
    assert f'killed {KILLS} times' in told
    for file in tmp_path.rglob('*.pth'):  # a name always means a whole file
        load_checkpoint(file)
    for file in tmp_path.rglob('stage_done.json'):
        json.loads(file.read_text())
