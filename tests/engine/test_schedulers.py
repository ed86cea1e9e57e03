"""A warm-up is a share of the stage, so that small sets train at the rate that is set."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.optim import ConstantLR, CosineAnnealingLR, LinearLR
from mmengine.registry import DefaultScope
from torch import nn

from gfvideo.engine import check_stages, expand_stages, load_config
from gfvideo.engine.schedulers import WarmupLR, warmup_share
from gfvideo.registry import PARAM_SCHEDULERS

SCHEDULES = sorted((Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'schedules').glob('*.py'))


def optimizer(rate=1.0):
    return torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=rate)


def rates(schedulers, optimizer, iterations):
    found = []
    for _ in range(iterations):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@given(total=st.integers(3, 400), share=st.floats(0.01, 0.9), start=st.floats(0.001, 1))
def test_the_rate_is_reached_at_the_share(total, share, start):
    one = optimizer()
    found = rates([WarmupLR(one, share=share, start_factor=start, end=total, by_epoch=False)], one, total)
    end = max(2, round(share * total))
    expected = [start + (1 - start) * min(i, end - 1) / (end - 1) for i in range(total)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('file', SCHEDULES, ids=lambda file: file.stem)
@pytest.mark.parametrize('clips', [144, 200, 960, 20_000])
def test_with_a_shipped_schedule_every_stage_comes_near_the_rate_that_is_set(file, clips):
    """By how the Runner builds schedulers, at a batch of 16; a short stage on 144 clips used to reach 9 % of
    it."""
    for stage in expand_stages(load_config(file)):
        cfg, length, one = stage.cfg, clips // 16, optimizer()
        epochs, total = min(cfg.train_cfg.max_epochs, 8), min(cfg.train_cfg.max_epochs, 8) * length
        with DefaultScope.overwrite_default_scope('gfvideo'):
            built = [
                PARAM_SCHEDULERS.build(
                    scheduler,
                    default_args=dict(
                        optimizer=one,
                        epoch_length=length,
                        end=epochs if scheduler.get('by_epoch', True) else total,
                    ),
                )
                for scheduler in cfg.param_scheduler
            ]
        assert max(rates([one for one in built if not one.by_epoch], one, total)) > 0.9, stage.name
        assert warmup_share(built, epochs, length) < 0.12 or total < 20


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(share=0.0), 'share=0.0'),
        (dict(share=1.0), 'share=1.0'),
        (dict(share=-1), 'share=-1'),
        (dict(by_epoch=True), 'by_epoch=False'),
        (dict(end=None), 'by_epoch=False'),
        (dict(start_factor=2.0), 'Starting'),
    ],
)
def test_what_it_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmupLR(optimizer(), **{**dict(end=10, by_epoch=False), **arguments})


def test_what_counts_as_warm_up():
    one = optimizer()
    assert warmup_share([LinearLR(one, start_factor=0.1, end=60, by_epoch=False)], 8, 9) == pytest.approx(
        60 / 72
    )
    assert warmup_share([LinearLR(one, start_factor=0.1, end=2)], 8, 9) == 0.25
    assert warmup_share([ConstantLR(one, factor=0.1, end=4)], 8, 9) == 0.5
    assert warmup_share([LinearLR(one, start_factor=0.1, end=600, by_epoch=False)], 8, 9) == 1
    assert warmup_share([CosineAnnealingLR(one, T_max=8)], 8, 9) == 0
    assert warmup_share([LinearLR(one, start_factor=1.0, end_factor=0.1, end=8)], 8, 9) == 0  # a decay
    assert warmup_share([LinearLR(one, start_factor=0.1, begin=4, end=8)], 8, 9) == 0  # a restart


@pytest.mark.parametrize('end, warned', [(4, True), (3, False), (60, True)])
def test_a_warm_up_of_half_the_stage_is_warned_of(three_stages, end, warned, monkeypatch):
    """Two epochs of four batches."""
    schedule = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=end)]
    stages = expand_stages(load_config(three_stages), {'param_scheduler': schedule})
    told = []
    monkeypatch.setattr(logging.Logger, 'handle', lambda self, record: told.append(record.getMessage()))
    check_stages(stages)
    told = [message for message in told if 'warm-up' in message]
    assert len(told) == (len(stages) if warned else 0)
    assert (
        not warned
        or f"stage 'policy': the warm-up of param_scheduler takes {100 * min(end / 8, 1):.0f} % of the 8"
        in told[1]
    )


def test_the_runner_counts_the_iterations(train, three_stages, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(three_stages)!r}\n'
        "param_scheduler = dict(_delete_=True, type='WarmupLR', share=0.5, by_epoch=False)\n"
    )
    train(tmp_path / 'run', '--stage', 'random', config=config)
    content = torch.load(tmp_path / 'run' / 'random' / 'epoch_2.pth', weights_only=True)
    assert (content['meta']['iter'], content['param_schedulers'][0]['end']) == (8, 4)
