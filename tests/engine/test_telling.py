"""A run told to a person: the banner before the epochs, hints, and a log file that misses nothing."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.logging import MessageHub

from gfvideo.engine.telling import TellHook, reading_hint, validated


@pytest.fixture(scope='module')
def told(train, tmp_path_factory):
    """(standard output, work dir) of a run of three stages, an epoch each."""
    import io
    from contextlib import redirect_stdout

    folder, out = tmp_path_factory.mktemp('told'), io.StringIO()
    with redirect_stdout(out):
        train(folder, 'train_cfg.max_epochs=1')
    return out.getvalue(), folder


def test_the_terminal_tells_of_stages_in_order(told):
    said, folder = told
    order = [
        'stage 1 of 3: random — the encoders and the classifier learn on patches at',
        '  training    squares, 8 clips, hash abc123\n  validation  squares, 3 clips, hash abc123',
        '  length      1 epoch of 4 batches\n  batch       2 clips\n  rates       SGD, learning rate 0.05',
        'Epoch(train) [1][4/4]',
        'Epoch(val) [1][2/2]',
        'stage 2 of 3: policy — the policy learns by PPO where patches pay; the',
        'rates       Adam, learning rate 0.003',
        f'starts from {folder / "random" / "epoch_1.pth"}',
        f'checkpoints {folder / "policy"}',
        'stage 3 of 3: tune — ',
        'rates       SGD, learning rate 0.01',
        'what to type next:',
        f'{folder / "tune" / "epoch_1.pth"} --work-dir {folder / "test"}',
    ]
    places = [said.index(text) for text in order]
    assert places == sorted(places)
    first = said.split('Epoch(train)')[0]
    assert len(first.splitlines()) < 25  # it was 260
    for noise in ('System environment', 'Config:', 'Hooks will be', 'Exp name', 'FileClient', 'Loads check'):
        assert noise not in said


def test_the_log_file_has_it_all(told):
    said, folder = told
    for stage in ('random', 'policy', 'tune'):
        written = next((folder / stage).glob('*/*.log')).read_text()
        for text in ('System environment', 'Config:', 'Hooks will be', 'TellHook', 'Exp name', 'FileClient'):
            assert text in written
        assert f': {stage} — ' in written and 'Epoch(train) [1][4/4]' in written
    assert 'Loads checkpoint by' in written and 'what to type next' in written
    scalars = next((folder / 'random').glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert {'lr', 'data_time', 'time', 'loss', 'epoch', 'iter', 'step'} <= set(json.loads(scalars[0]))


@pytest.fixture
def epoch(monkeypatch, caplog):
    """``epoch([(time, of which reading), ...])``: what the hook logs of such iterations."""
    logger = logging.getLogger('telling')
    logger.setLevel(logging.INFO)
    hub = MessageHub('telling')
    terminal = SimpleNamespace(draws=False, bar=None, stop_bar=lambda: None)
    cfg = Config(dict(train_dataloader=dict(num_workers=2)))
    runner = SimpleNamespace(message_hub=hub, logger=logger, terminal=terminal, cfg=cfg)
    hook = TellHook()

    def run(times):
        caplog.clear()
        hook.before_train_epoch(runner)
        for number, (whole, reading) in enumerate(times):
            hub.update_scalar('train/time', whole)
            hub.update_scalar('train/data_time', reading)
            hook.after_train_iter(runner, number)
        hook.after_train_epoch(runner)
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.INFO, 'telling'):
        yield run


def test_waiting_for_clips_is_told_once_above_a_fifth(epoch):
    assert epoch([(9.0, 8.0), (1.0, 0.1), (1.0, 0.3)]) == []  # 20 %, without the first
    assert epoch([(1.0, 0.0), (1.0, 0.3), (1.0, 0.4)]) == [reading_hint(0.35, 2)]
    assert epoch([(1.0, 0.0), (1.0, 0.9)]) == []  # it was told
    assert reading_hint(0.35, 2) == (
        'reading takes 35 % of the time: more workers (train_dataloader.num_workers, now 2), or prepare'
        ' smaller videos'
    )


def test_an_epoch_of_one_batch(epoch):
    assert epoch([(1.0, 0.5)]) == [reading_hint(0.5, 2)]


def test_validation_in_a_line():
    metrics = dict(top1=0.25, top5=1.0, top1_step0=1 / 6, top1_step1=0.25)
    assert validated(metrics) == 'validation, top-1 25.0 % (after each look: 16.7 25.0)'
    assert validated(dict(top1=0.5, top1_step0=0.5)) == 'validation, top-1 50.0 %'
    assert validated(dict(error=3)) == 'validation, error 3'
