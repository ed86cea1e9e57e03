"""Two gloo processes train all stages on the CPU and end with the same weights."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from gfvideo.engine import ConfigError, init_distributed, leave_distributed, load_checkpoint
from gfvideo.engine.stages import read_record

STAGES = ('random', 'policy', 'tune')
TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('bash') is None, reason='dist_train.sh needs bash')
def test_two_processes_hold_the_same_weights_after_every_stage(
    three_stages, environment, free_port, tmp_path
):
    options = [
        'train_cfg.max_epochs=1',
        'stages.policy.train_cfg.target_kl=0.001',
        'default_hooks.keep.type=KeepWeights',
        f'default_hooks.keep.folder={tmp_path}',
    ]
    done = subprocess.run(
        [
            'bash',
            str(TOOLS / 'dist_train.sh'),
            str(three_stages),
            '2',
            '--work-dir',
            str(tmp_path),
            '--diff-rank-seed',  # which they have without it too
            '--cfg-options',
            *options,
        ],
        env={**environment, 'PORT': free_port, 'CUDA_VISIBLE_DEVICES': ''},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kept = {
        stage: [torch.load(tmp_path / f'{stage}_rank{rank}.pth', weights_only=True) for rank in (0, 1)]
        for stage in STAGES
    }
    for stage in STAGES:
        first, second = kept[stage]
        saved = load_checkpoint(tmp_path / stage / read_record(tmp_path / stage).checkpoint)
        for key in first:
            assert torch.equal(first[key], second[key]), f'{stage}: {key}'
            assert torch.equal(first[key], saved['state_dict'][key]), f'{stage}: {key}'
        assert saved['meta']['iter'] == 2  # 8 clips, batches of 2, 2 processes
        assert len(saved['message_hub']['runtime_info']['random_states']) == 2
        seeds = [torch.load(tmp_path / f'{stage}_seed{rank}.pth') for rank in (0, 1)]
        assert seeds[1] != seeds[0]
    moved = {
        key.split('.')[0]
        for key in kept['policy'][0]
        if not torch.equal(kept['random'][0][key], kept['policy'][0][key])
    }
    assert moved == {'policy'}  # the wrapper did not skip its update; nothing else moved


def test_processes_nobody_started_are_told_how(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ConfigError, match='--launcher pytorch: RANK, WORLD_SIZE.* not set; start the processes with torchrun'
    ):
        init_distributed('pytorch')
    with pytest.raises(ConfigError, match='--launcher slurm: SLURM_PROCID.* start the processes with srun'):
        init_distributed('slurm')
    with pytest.raises(ConfigError, match="launcher='ray' is unknown"):
        init_distributed('ray')
    init_distributed('none')


@pytest.fixture
def one_of_one(monkeypatch, free_port):
    """As torchrun starts the only process."""
    told = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    yield
    leave_distributed()


def test_the_group_is_left(one_of_one):
    leave_distributed()  # where there is none
    init_distributed('pytorch')
    assert torch.distributed.is_initialized()
    leave_distributed()
    assert not torch.distributed.is_initialized()


def test_commands_leave_their_group(one_of_one, train, three_stages, tmp_path):
    """The threads of a group that is left to the interpreter's end may abort a process that is done."""
    train(tmp_path, '--launcher', 'pytorch', '--stage', 'random', 'train_cfg.max_epochs=1')
    assert not torch.distributed.is_initialized()
    checkpoint = tmp_path / 'random' / 'epoch_1.pth'
    arguments = [three_stages, checkpoint, '--work-dir', tmp_path / 'test', '--launcher', 'pytorch']
    runpy.run_path(str(TOOLS / 'test.py'))['main']([str(argument) for argument in arguments])
    assert (tmp_path / 'test' / 'test_results.json').exists() and not torch.distributed.is_initialized()
