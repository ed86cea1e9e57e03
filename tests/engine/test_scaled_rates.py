"""Which learning rates follow the batch size, as tools/train.py sets it."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.logging import MMLogger

from gfvideo.engine import ConfigError, expand_stages, load_config

TRAIN = Path(__file__).resolve().parents[2] / 'tools' / 'train.py'


@pytest.mark.parametrize(
    'options, flags', [({}, ['--auto-scale-lr']), ({'auto_scale_lr.enable': True}, []), ({}, [])]
)
def test_which_stages_scale_their_rates(three_stages, caplog, options, flags):
    tool = SimpleNamespace(**runpy.run_path(str(TRAIN)))
    stages = expand_stages(load_config(three_stages), options)
    logger = MMLogger.get_instance('gfvideo')
    logger.addHandler(caplog.handler)
    try:
        for stage in stages:
            tool.apply_flags(stage.cfg, tool.parse_args([str(three_stages), *flags]))
    finally:
        logger.removeHandler(caplog.handler)
    asked = bool(options or flags)
    assert [stage.cfg.auto_scale_lr.get('enable', False) for stage in stages] == [asked, False, asked]
    assert ("stage 'policy' keeps its learning rate" in caplog.text) == asked


@pytest.mark.parametrize('size', [None, 0, -2, 'many', 2.5, True])
def test_rates_that_are_meant_for_no_batch_size(three_stages, size):
    tool = SimpleNamespace(**runpy.run_path(str(TRAIN)))
    stage = expand_stages(load_config(three_stages), {'auto_scale_lr.base_batch_size': size})[0]
    with pytest.raises(ConfigError, match='auto_scale_lr.*base_batch_size'):
        tool.apply_flags(stage.cfg, tool.parse_args([str(three_stages), '--auto-scale-lr']))
