"""What ends a run without being a bug is told in one line, with the way on; nothing damaged is taken for
whole."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfvideo.apis import init_recognizer
from gfvideo.data.video_index import VideoError
from gfvideo.engine import (
    CheckpointError,
    ConfigError,
    latest_checkpoint,
    load_checkpoint,
    tell_faults,
)
from gfvideo.engine.stages import read_record

ROOT = Path(__file__).resolve().parents[2]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(f'tool_{Path(name).stem}', ROOT / 'tools' / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def edited(file, target, change):
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, target)
    return target


@pytest.fixture
def cut(train, tmp_path):
    """The folder of stage 'random' of a run that was cut off after both its epochs: two whole checkpoints, no
    record."""
    train(tmp_path / 'run', '--stage', 'random')
    (tmp_path / 'run' / 'random' / 'stage_done.json').unlink()
    return tmp_path / 'run' / 'random'


# ---------------------------------------------------------------------------------------- damaged checkpoints


def test_a_run_is_not_resumed_without_all_its_weights(train, cut):
    edited(
        cut / 'epoch_1.pth',
        cut / 'less.pth',
        lambda content: (content['state_dict'].popitem(), content['meta'].pop('weights_hash')),
    )
    with pytest.raises(
        SystemExit, match=r'less.pth does not fit the model of the config: 1 missing in the file'
    ):
        train(cut.parent, '--stage', 'random', '--resume', str(cut / 'less.pth'))


@pytest.mark.parametrize('part', ['state_dict', 'optimizer'])
def test_a_flipped_bit_does_not_load(cut, part):
    """In the middle of the largest tensor of the weights, and of the optimizer's state, which no hash of the
    weights covers."""
    file = cut / 'epoch_2.pth'
    content = torch.load(file, weights_only=True)
    values = (
        content['state_dict'].values()
        if part == 'state_dict'
        else [
            value
            for state in content['optimizer']['state'].values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        ]
    )
    largest = max(values, key=torch.Tensor.numel)
    raw = torch.empty(0, dtype=torch.uint8).set_(largest.untyped_storage()).numpy().tobytes()
    whole = bytearray(file.read_bytes())
    at = whole.find(raw[:64])
    assert at > 0
    whole[at + 33] ^= 1
    file.write_bytes(whole)
    torch.load(file, weights_only=True)  # torch takes it
    with pytest.raises(
        CheckpointError,
        match=rf'epoch_2.pth is damaged .*does not fit its checksum.*whole: --resume {cut}/epoch_1.pth',
    ):
        load_checkpoint(file)


def test_edited_weights_do_not_load(cut):
    file = edited(
        cut / 'epoch_2.pth',
        cut / 'edited.pth',
        lambda content: next(iter(content['state_dict'].values())).add_(1),
    )
    with pytest.raises(
        CheckpointError,
        match='edited.pth is damaged or was edited: its weights are not those it was saved with',
    ):
        init_recognizer(checkpoint=file)


@pytest.mark.parametrize('share', [0, 0.3, 0.9, 0.999])
def test_a_cut_last_checkpoint_names_the_whole_one_and_the_run_goes_on_from_it(train, uncut, cut, share):
    last = latest_checkpoint(cut)
    last.write_bytes(last.read_bytes()[: int(share * last.stat().st_size)])
    with pytest.raises(SystemExit, match=rf'{last.name} is damaged .*whole: --resume {cut}/epoch_1.pth'):
        train(cut.parent, '--stage', 'random', '--resume')
    train(cut.parent, '--stage', 'random', '--resume', str(cut / 'epoch_1.pth'))
    whole, again = (
        load_checkpoint(folder / read_record(folder).checkpoint)['state_dict']
        for folder in (uncut / 'random', cut)
    )
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_not_loaded(train, cut, value):
    name = next(
        name
        for name, tensor in load_checkpoint(cut / 'epoch_1.pth')['state_dict'].items()
        if tensor.is_floating_point()
    )

    def spoil(content):
        content['state_dict'][name][(0,) * content['state_dict'][name].dim()] = value
        content['meta'].pop('weights_hash')

    file = edited(cut / 'epoch_1.pth', cut / 'spoilt.pth', spoil)
    with pytest.raises(CheckpointError, match=rf'nan or infinite: 1 of them \({name}\)'):
        init_recognizer(checkpoint=file)
    for flags in (['--resume', str(file)], [f'load_from={file}']):
        with pytest.raises(SystemExit, match='nan or infinite'):
            train(cut.parent, '--stage', 'random', *flags)


# ----------------------------------------------------------------------------------------- runs that go wrong


@pytest.mark.parametrize('stage', ['random', 'policy', 'tune'])
@pytest.mark.parametrize('loss', [False, True])
def test_a_run_that_is_not_finite_stops_at_that_iteration(train, uncut, tmp_path, stage, loss):
    shutil.copytree(uncut, tmp_path / 'run')
    with pytest.raises(SystemExit) as caught:
        train(
            tmp_path / 'run',
            '--stage',
            stage,
            'default_hooks.poison.type=Poison',
            'default_hooks.poison.iteration=5',
            f'default_hooks.poison.loss={loss}',
            'default_hooks.checkpoint.interval=1',
            'default_hooks.checkpoint.by_epoch=False',
        )
    text = str(caught.value)
    assert (
        f"iteration 6 (epoch 2, stage '{stage}') is not finite" in text
        and ('loss=inf' if loss else 'nan') in text
    )
    ids = text.split('; clips ')[1].split('. Look')[0].split(', ')
    assert len(ids) == 2 and all(one.isdigit() for one in ids)
    assert 'lower the rate' in text and '\n' not in text
    saved = latest_checkpoint(tmp_path / 'run' / stage)
    assert saved.name == 'iter_5.pth'  # nothing of the sixth
    load_checkpoint(saved)


def test_a_full_disk_is_told_with_the_way_on(train, tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(SystemExit, match=r'the disk is full.*: make room; go on with\n  .*--resume'):
        train(tmp_path, '--stage', 'random')
    assert not list(tmp_path.rglob('*.pth')) and not list(tmp_path.rglob('*.tmp'))


@pytest.mark.parametrize(
    'given',
    [
        ['c.py', '--seed', '1'],
        ['c.py', '--resume', '--seed', '1'],
        ['c.py', '--resume', 'old.pth', '--seed', '1'],
        ['--resume', 'old.pth', 'c.py', '--seed', '1'],
        ['c.py', '--resume=old.pth', '--seed', '1'],
        ['c.py', '--seed', '1', '--resume'],
    ],
)
def test_the_way_on_is_the_same_command(given):
    assert load_tool('train.py').resuming(given).endswith(' c.py --seed 1 --resume')


def start(work_dir, three_stages, environment, *options):
    """A training in a process group of its own, and its output up to its first iteration."""
    command = [
        sys.executable,
        str(ROOT / 'tools/train.py'),
        str(three_stages),
        '--work-dir',
        str(work_dir),
        '--stage',
        'random',
        '--cfg-options',
        'default_hooks.logger.interval=1',
        'train_cfg.max_epochs=5000',
        *options,
    ]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # in the background of a shell SIGINT is ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = []
    for line in process.stdout:
        seen.append(line)
        if 'Epoch(train)' in line and len([one for one in seen if 'Epoch(train)' in one]) > 5:
            return process, ''.join(seen)
    raise AssertionError(''.join(seen))


@pytest.mark.parametrize(
    'number, status, told', [(signal.SIGINT, 130, 'interrupted'), (signal.SIGTERM, 143, 'stopped by SIGTERM')]
)
def test_a_signal_ends_a_run_in_one_line(tmp_path, three_stages, environment, number, status, told):
    process, _ = start(
        tmp_path,
        three_stages,
        environment,
        'train_dataloader.num_workers=1',
        'train_dataloader.persistent_workers=True',
    )
    os.killpg(process.pid, number)  # as Ctrl-C and clusters do: to all of its processes
    rest, _ = process.communicate(timeout=600)
    assert process.returncode == status, rest
    assert 'Traceback' not in rest
    assert f'\n{told}; go on with\n  python ' in rest and rest.rstrip().endswith('--resume')


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes start otherwise here')
@pytest.mark.parametrize('error, quiet', [(BrokenPipeError(32, 'Broken pipe'), True), (KeyError('x'), False)])
def test_a_reader_whose_run_has_left_says_nothing(capfd, error, quiet):
    with tell_faults():
        child = os.fork()
        if not child:
            sys.excepthook(type(error), error, None)  # as its thread that shares memory does
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)
        assert (capfd.readouterr().err == '') == quiet
        sys.excepthook(type(error), error, None)
        assert capfd.readouterr().err != ''


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='worker processes are found in /proc')
def test_a_killed_worker_is_told_in_one_line(tmp_path, three_stages, environment):
    process, _ = start(
        tmp_path,
        three_stages,
        environment,
        'train_dataloader.num_workers=1',
        'train_dataloader.persistent_workers=True',
    )
    workers = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    rest, _ = process.communicate(timeout=600)
    assert workers and process.returncode == 1, rest
    assert 'Traceback' not in rest
    line = rest.rstrip().splitlines()[-2]
    assert line.startswith(
        ('a process that reads clips was killed', 'a process that reads clips exited unexpectedly')
    )
    assert line.endswith('go on with')


def test_errors_of_workers_come_without_their_traceback():
    text = (
        'Caught VideoError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n '
        ' File "x.py", line 1\ngfvideo.data.video_index.VideoError: a.mp4: pyav cannot read this video: it is'
        ' cut off; fetch it again\n'
    )
    with pytest.raises(SystemExit) as caught, tell_faults():
        raise VideoError(text)
    assert (
        caught.value.code == 'VideoError: a.mp4: pyav cannot read this video: it is cut off; fetch it again'
    )


def test_bugs_keep_their_traceback():
    for error in (RuntimeError('shapes differ'), KeyError('x'), OSError(errno.EIO, 'broken')):
        with pytest.raises(type(error)), tell_faults('again'):
            raise error
    with pytest.raises(SystemExit, match='ConfigError: x'), tell_faults('again'):
        raise ConfigError('x')
