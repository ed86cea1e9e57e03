"""The command line: what the tools answer, and what they print and write."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfvideo.evaluation import read_predictions

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
ENGINE_TESTS = ROOT / 'tests' / 'engine'
CONFIG = ENGINE_TESTS / 'three_stages.py'


@pytest.fixture
def run(tmp_path):
    """Run a tool from another folder; the answer is (exit status, standard output, standard error)."""
    environment = {
        **os.environ,
        'PYTHONPATH': str(ENGINE_TESTS),
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
    }

    def call(*command: object) -> tuple[int, str, str]:
        starter = ['bash'] if str(command[0]).endswith('.sh') else [sys.executable]
        done = subprocess.run(
            [*starter, str(TOOLS / str(command[0])), *map(str, command[1:])],
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            timeout=1500,
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'analysis_tools/print_config.py'])
def test_tools_answer_help_from_any_folder(run, tool):
    status, out, _ = run(tool, '--help')
    assert status == 0 and 'config' in out and '--cfg-options' in out


@pytest.mark.parametrize(
    'script, usage',
    [
        ('dist_train.sh', 'CONFIG GPUS'),
        ('dist_test.sh', 'CONFIG CHECKPOINT GPUS'),
        ('slurm_train.sh', 'PARTITION JOB CONFIG'),
        ('slurm_test.sh', 'PARTITION JOB CONFIG CHECKPOINT'),
    ],
)
def test_scripts_say_what_they_want(run, script, usage):
    status, _, error = run(script)
    assert status == 2 and usage in error
    assert os.access(TOOLS / script, os.X_OK)


def test_slurm_scripts_ask_for_what_the_environment_says(tmp_path):
    (tmp_path / 'srun').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    environment = {
        **os.environ,
        'PATH': f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
        'PYTHON': 'py',
        'GPUS': '16',
        'GPUS_PER_NODE': '4',
    }

    def asked(script: str, *arguments: str, **more: str) -> list[str]:
        return subprocess.run(
            ['bash', str(TOOLS / script), 'part', 'job', *arguments],
            env={**environment, **more},
            text=True,
            capture_output=True,
            check=True,
            timeout=1500,
        ).stdout.split('\n')[:-1]

    assert asked('slurm_train.sh', 'c.py', '--amp', SRUN_ARGS='--mem=2 --time=1') == [
        '--partition=part',
        '--job-name=job',
        '--gres=gpu:4',
        '--ntasks=16',
        '--ntasks-per-node=4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        '--mem=2',
        '--time=1',
        'py',
        '-u',
        f'{TOOLS}/train.py',
        'c.py',
        '--launcher',
        'slurm',
        '--amp',
    ]
    assert asked('slurm_test.sh', 'c.py', 'x.pth', GPUS='2', GPUS_PER_NODE='0') == [
        '--partition=part',
        '--job-name=job',
        '--ntasks=2',
        '--ntasks-per-node=2',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        'py',
        '-u',
        f'{TOOLS}/test.py',
        'c.py',
        'x.pth',
        '--launcher',
        'slurm',
    ]


def test_print_config(run):
    status, out, _ = run(
        'analysis_tools/print_config.py',
        CONFIG,
        '--stage',
        'policy',
        '--cfg-options',
        'model.steps=1',
        'stages.1.train_cfg.max_epochs=3',
    )
    assert (
        status == 0
        and "# stage 'policy'" in out
        and "type='PolicyLoop'" in out
        and 'steps=1' in out
        and 'max_epochs=3' in out
    )
    assert run('analysis_tools/print_config.py', CONFIG, '--stage', 'polcy')[2].startswith(
        "ConfigError: no stage 'polcy'"
    )


@pytest.mark.slow
def test_train_then_test(run, tmp_path):
    status, out, error = run(
        'train.py',
        CONFIG,
        '--stage',
        'random',
        '--work-dir',
        'work',
        '--cfg-options',
        'train_cfg.max_epochs=1',
    )
    assert status == 0, error[-2000:]
    checkpoint = tmp_path / 'work' / 'random' / 'epoch_1.pth'
    torch.load(checkpoint, weights_only=True)

    status, out, error = run('test.py', CONFIG, checkpoint, '--work-dir', 'tested', '--dump', 'clips.pkl')
    assert status == 0, error[-2000:]
    results = json.loads((tmp_path / 'tested' / 'test_results.json').read_text())
    assert re.fullmatch('[0-9a-f]{64}', results['weights'])
    assert results['stage'] == 'tune' and results['seed'] == 0 and results['clips'] == 3
    assert results['dataset'] == dict(name='squares', manifest_hash='abc123', present=3, official=10)
    assert {'top1', 'top5', 'mean_class_accuracy', 'top1_step0', 'top1_step2'} <= set(results['metrics'])
    for line in ('manifest_hash', 'official', f'{results["metrics"]["top1"]:.4f}', 'top1_step2'):
        assert line in out
    clips = read_predictions(tmp_path / 'clips.pkl')
    logits = [clip['step_logits'][-1].argmax().item() == clip['gt_label'].item() for clip in clips]
    assert len(clips) == 3 and sum(logits) / 3 == pytest.approx(results['metrics']['top1'])

    status, _, error = run('test.py', CONFIG, checkpoint, '--cfg-options', 'model.steps=1')
    assert status == 1 and 'epoch_1.pth does not fit the model of the config' in error
    assert 'unknown to the model (policy.focus_reader' in error


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nowhere.py'], 'FileNotFoundError: no config at nowhere.py'),
        (
            [CONFIG, '--cfg-options', 'optim_wraper.type=X'],
            "ConfigError: unknown key 'optim_wraper' in option 'optim_wraper.type'; did you",
        ),
        (
            [CONFIG, '--cfg-options', 'model.num_classes=5'],
            "ConfigError: stage 'random': model.num_classes=5, but train_dataloader.dataset",
        ),
        (
            [CONFIG, '--cfg-options', 'optim_wrapper.optimizer.type=Adamm'],
            "optim_wrapper.optimizer.type='Adamm' is no registered optimizer; did you mean 'Adam",
        ),
        (
            [CONFIG, '--cfg-options', 'train_cfg.max_epochs=many'],
            "train_cfg.max_epochs is 'many': a whole number is wanted, 1 or more",
        ),
        (
            [CONFIG, '--cfg-options', 'train_dataloader.datset.type=X'],
            "train_dataloader.datset is unknown; did you mean 'dataset'?",
        ),
        (
            [CONFIG, '--cfg-options', 'train_dataloader.batch_size=0'],
            'train_dataloader.batch_size is 0: a whole number is wanted, 1 or more',
        ),
        (
            [CONFIG, '--stage', 'tune'],
            "ConfigError: stage 'tune' starts from stage 'policy', which is not finished",
        ),
        ([CONFIG, '--launcher', 'pytorch'], 'ConfigError: --launcher pytorch: RANK, WORLD_SIZE'),
    ],
)
def test_faults_are_told_in_a_line_before_anything_is_written(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ENGINE_TESTS)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOLS / 'train.py'))['main'](list(map(str, arguments)))
    assert message in str(stop.value)
    assert not list(tmp_path.rglob('*.pth'))
