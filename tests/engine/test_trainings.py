"""Trainings in child processes: the order, what goes on where it was, what fails. The tool is a few lines."""

from __future__ import annotations

import json
import os

import pytest

from gfvideo.engine.trainings import Training, TrainingError, train_all

TOOL = """
import json, os, sys, time
config, folder = sys.argv[1], sys.argv[sys.argv.index('--work-dir') + 1]
with open(os.environ['CALLS'], 'a') as file:
    call = dict(folder=os.path.basename(folder), arguments=sys.argv[4:], at=time.time())
    file.write(json.dumps(call) + '\\n')
print('Epoch(train) [2][ 5/10]  lr: 0.1  loss: 0.5000')
if '--start' in sys.argv and not os.path.isfile(sys.argv[sys.argv.index('--start') + 1]):
    sys.exit('the checkpoint to start from is not here')
if os.path.exists(config):
    os.remove(config)  # a config that is there fails, once
    sys.exit('the power went')
os.makedirs(os.path.join(folder, 'tune'))
with open(os.path.join(folder, 'tune', 'last.pth'), 'w') as file:
    file.write(os.path.basename(folder))
print('Epoch(val) [2][2/2]  top1: 0.7500')
with open(os.environ['CALLS'], 'a') as file:
    file.write(json.dumps(dict(folder=os.path.basename(folder), done=time.time())) + '\\n')
"""


@pytest.fixture
def world(tmp_path):
    """A function that makes trainings, one that runs them, and one that reads what the tool was called
    with."""
    (tmp_path / 'tool.py').write_text(TOOL)
    calls = tmp_path / 'calls'

    class World:
        folder = tmp_path

        @staticmethod
        def training(name, *arguments, after=None):
            return Training(
                name,
                tmp_path / 'tool.py',
                tmp_path / f'{name}.py',
                tmp_path / 'runs' / name,
                list(arguments),
                after,
            )

        @staticmethod
        def run(*trainings, jobs=2):
            train_all(trainings, jobs, {**os.environ, 'CALLS': str(calls)})

        @staticmethod
        def calls():
            return [json.loads(line) for line in calls.read_text().splitlines()]

    return World


def test_one_that_starts_from_another_waits_for_it(world, capsys):
    start = str(world.folder / 'runs' / 'learned' / 'tune' / 'last.pth')
    world.run(world.training('random', '--start', start, after='learned'), world.training('learned'))
    calls = world.calls()
    assert [call['folder'] for call in calls] == ['learned', 'learned', 'random', 'random']
    assert calls[2]['at'] >= calls[1]['done']
    assert (world.folder / 'runs' / 'random' / 'tune' / 'last.pth').read_text() == 'random'
    assert 'learned: trained, epoch 2 50 % loss: 0.5000 val top-1 75 %' in capsys.readouterr().out


@pytest.mark.parametrize('jobs', [1, 2])
def test_no_more_run_at_a_time_than_asked(world, jobs):
    world.run(*(world.training(name) for name in 'abc'), jobs=jobs)
    events = sorted((call.get('at', call.get('done')), 'at' in call) for call in world.calls())
    running = 0
    for _, begins in events:
        running += 1 if begins else -1
        assert running <= jobs
    assert len(events) == 6


def test_what_is_done_is_left_out_and_what_was_cut_off_goes_on(world):
    (world.folder / 'b.py').write_text('')  # b fails once
    with pytest.raises(TrainingError, match='training b failed with exit status 1') as error:
        world.run(world.training('a'), world.training('b'), jobs=1)
    assert 'the power went' in str(error.value)
    world.run(world.training('a'), world.training('b'), jobs=1)
    assert [(call['folder'], call['arguments']) for call in world.calls() if 'at' in call] == [
        ('a', []),
        ('b', []),
        ('b', ['--resume']),
    ]
    world.run(world.training('a'), world.training('b'))
    assert len(world.calls()) == 5  # nothing more


def test_another_command_trains_anew(world):
    (world.folder / 'a.py').write_text('')
    with pytest.raises(TrainingError):
        world.run(world.training('a', '--seed', '0'))
    world.run(world.training('a', '--seed', '1'))
    assert [call['arguments'] for call in world.calls() if 'at' in call] == [['--seed', '0'], ['--seed', '1']]


def test_a_training_that_comes_after_none(world):
    with pytest.raises(ValueError, match='random must come after one that is trained'):
        world.run(world.training('random', after='learned'))
    with pytest.raises(ValueError, match='jobs=0'):
        world.run(world.training('a'), jobs=0)


def test_the_stage_of_an_epoch_is_kept_while_the_log_grows(world):
    training = world.training('a')
    training.log.parent.mkdir(parents=True)
    training.log.write_text("WARNING: stage 'tune': long warm-up\nstage 1 of 2: joint — the encoders learn\n")
    assert training.read_status() == 'stage 1 of 2: joint,'
    with training.log.open('a') as file:
        file.write('x' * 30000 + '\nEpoch(train) [2][ 5/10]  lr: 0.1  loss: 0.5000\n')
    assert training.read_status() == 'stage 1 of 2: joint, epoch 2 50 % loss: 0.5000'
