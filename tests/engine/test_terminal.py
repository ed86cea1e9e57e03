"""What a terminal gets of a log, and its file."""

from __future__ import annotations

import logging
import sys

import pytest
from mmengine.logging import MMLogger

from gfvideo.engine.terminal import TerminalHandler, keep_for_the_file, to_terminal

NOISE = [
    '\n------\nSystem environment:\n    sys.platform: linux',
    'Config:\nmodel = dict()',
    'Hooks will be executed in the following order:\nbefore_run:',
    'Using env variable `GFVIDEO_TOY` with value of x to replace item in config.',
    'Exp name: toy_20260101_000000',
]
TOLD = [
    'stage 1 of 2: policy — the policy learns',
    'resumed epoch: 3, iter: 9',
    'Epoch(train) [1][3/3]  lr: 1',
]


@pytest.fixture
def logger(tmp_path, request):
    name = f'terminal of {request.node.name}'
    yield MMLogger.get_instance(name, log_file=str(tmp_path / 'run.log'))
    MMLogger._instance_dict.pop(name)


def test_the_file_gets_all_and_the_terminal_what_tells_of_training(logger, tmp_path, capsys):
    to_terminal(logger)
    for text in NOISE + TOLD:
        logger.info(text)
    logger.warning('"FileClient" will be deprecated in future.')
    logger.warning('3 clips could not be read')
    said, written = capsys.readouterr().out, (tmp_path / 'run.log').read_text()
    assert [line.split(' ', 2)[2] for line in said.splitlines()] == [
        *TOLD,
        'WARNING: 3 clips could not be read',
    ]
    assert all(text in written for text in [*NOISE, *TOLD, 'FileClient', 'could not be read'])


def test_a_terminal_draws_instead_of_iterations(logger, tmp_path, capsys, monkeypatch):
    handler = to_terminal(logger)
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    monkeypatch.setenv('NO_COLOR', '1')
    for text in TOLD:
        logger.info(text)
    assert capsys.readouterr().out.splitlines() == TOLD[:2]
    handler.start_bar('policy epoch 1 of 2', 4)
    logger.warning('lost a clip')
    handler.bar.add()
    handler.stop_bar()
    assert handler.bar is None
    said = capsys.readouterr().out
    assert 'policy epoch 1 of 2' in said and 'WARNING: lost a clip' in said
    assert TOLD[2] in (tmp_path / 'run.log').read_text()


def test_what_is_told_before_there_is_a_file_comes_first_in_it(tmp_path, capsys, request):
    keep_for_the_file()
    early = MMLogger.get_instance('mmengine')
    for _ in range(2):
        early.info(NOISE[3])
    early.warning('the warm-up is long')
    assert 'Using env' not in (said := capsys.readouterr().out) and said.count('the warm-up is long') == 1
    run = MMLogger.get_instance('terminal of a run', log_file=str(tmp_path / 'run.log'))
    try:
        to_terminal(run)
        run.info('begins')
    finally:
        MMLogger._instance_dict.pop('terminal of a run')
    lines = (tmp_path / 'run.log').read_text().splitlines()
    assert [line.split(' - ')[-1] for line in lines] == [NOISE[3], 'the warm-up is long', 'begins']
    assert capsys.readouterr().out.endswith('begins\n')  # and is not told twice on the terminal


def test_other_processes_stay_silent(tmp_path, capsys):
    logger = MMLogger('terminal of another rank', log_level='INFO')
    logger.handlers[0].setLevel(logging.ERROR)  # as mmengine does in all but the first
    handler = to_terminal(logger)
    logger.warning('a warning')
    assert isinstance(handler, TerminalHandler) and not capsys.readouterr().out
    assert to_terminal(logger) is handler
