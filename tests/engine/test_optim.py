"""TSM's rates and decays, value by value."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from gfvideo.engine import ConfigError, expand_stages, load_config
from gfvideo.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
RATE, DECAY = 0.01, 0.1


def build(model, **settings):
    cfg = dict(
        constructor='TSMOptimWrapperConstructor',
        optimizer=dict(type='SGD', lr=RATE, weight_decay=DECAY),
        **settings,
    )
    with DefaultScope.overwrite_default_scope('gfvideo'):
        return build_optim_wrapper(model, cfg).optimizer


def tiny():
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='bidirectional', fold_div=4)
    return MODELS.build(dict(type='ClipRecognizer', num_classes=3, encoder=encoder))


def settings_by_name(model, optimizer):
    of = {id(p): (g['lr'], g['weight_decay']) for g in optimizer.param_groups for p in g['params']}
    return {name: of[id(p)] for name, p in model.named_parameters() if p.requires_grad}


def test_every_parameter_of_a_small_tsm():
    model = tiny()
    found = settings_by_name(model, build(model))
    modules = dict(model.named_modules())
    kinds = set()
    for name, value in found.items():
        place, _, kind = name.rpartition('.')
        if name == 'fc.weight':
            wanted = (5 * RATE, DECAY)
        elif name == 'fc.bias':
            wanted = (10 * RATE, 0)
        elif isinstance(modules[place], torch.nn.BatchNorm2d):
            wanted = (RATE, 0)
        elif kind == 'bias':
            wanted = (2 * RATE, 0)
        else:
            wanted = (RATE, DECAY)
        assert value == pytest.approx(wanted), name
        kinds.add(wanted)
    assert {(5 * RATE, DECAY), (10 * RATE, 0), (RATE, 0), (RATE, DECAY)} <= kinds


def test_a_bias_of_an_inner_layer():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    found = settings_by_name(model, build(model, paramwise_cfg=dict(last_layers=['2'])))
    assert found == {
        '0.weight': (RATE, DECAY),
        '0.bias': (2 * RATE, 0),
        '1.weight': (RATE, 0),
        '1.bias': (RATE, 0),
        '2.weight': (5 * RATE, DECAY),
        '2.bias': (10 * RATE, 0),
    }


def test_what_is_frozen_is_left_out_and_what_is_shared_counts_once():
    model = tiny()
    model.encoder.requires_grad_(False)
    model.again = model.fc
    optimizer = build(model)
    assert [len(group['params']) for group in optimizer.param_groups] == [1, 1]


def test_an_optimizer_without_decay_keeps_its_own():
    cfg = dict(constructor='TSMOptimWrapperConstructor', optimizer=dict(type='SGD', lr=RATE))
    with DefaultScope.overwrite_default_scope('gfvideo'):
        optimizer = build_optim_wrapper(tiny(), cfg).optimizer
    assert {group['weight_decay'] for group in optimizer.param_groups} == {0}


@pytest.mark.parametrize('layer', ['head', 'dropout'])
def test_a_last_layer_that_is_none(layer):
    with pytest.raises(ConfigError, match=f"names '{layer}'.*encoder, dropout, fc"):
        build(tiny(), paramwise_cfg=dict(last_layers=[layer]))


def test_an_optimizer_without_a_rate():
    cfg = dict(constructor='TSMOptimWrapperConstructor', optimizer=dict(type='Adadelta'))
    with DefaultScope.overwrite_default_scope('gfvideo'), pytest.raises(ConfigError, match='no lr'):
        build_optim_wrapper(tiny(), cfg)


def without_pretrained(value):
    if isinstance(value, dict):
        return {key: without_pretrained(one) for key, one in value.items() if key != 'init_cfg'}
    return value


@pytest.mark.parametrize('file', sorted(CONFIGS.glob('baselines/ts[mn]*/*.py')), ids=lambda file: file.stem)
def test_every_baseline_learns_by_the_kind_of_a_parameter(file):
    ((_, cfg),) = expand_stages(load_config(file))
    model = without_pretrained(cfg.model.to_dict())
    model['num_classes'] = model['num_classes'] or 3
    with torch.device('meta'):
        model = MODELS.build(model)
    with DefaultScope.overwrite_default_scope('gfvideo'):
        found = settings_by_name(model, build_optim_wrapper(model, cfg.optim_wrapper).optimizer)
    rate, decay = cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay
    last = ('fc.',) if 'encoder' in cfg.model else ('classifier.', 'glance_head.', 'focus_head.')
    for name, value in found.items():
        if name.startswith(last):
            times = (10, 0) if '.bias' in name else (5, 1)
            assert value == pytest.approx((times[0] * rate, times[1] * decay)), name
        else:
            assert value[0] <= 2 * rate
