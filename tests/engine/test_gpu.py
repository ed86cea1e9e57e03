"""What is filled in for a GPU, where there is one and the config leaves it open."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from gfvideo.engine import expand_stages, fill_gpu, load_config
from gfvideo.engine.predictions import loader_config
from gfvideo.engine.stages import settings_of

ROOT = Path(__file__).resolve().parents[2]
FIXED = [dict(type='SampleFrames'), dict(type='RandomResizedCrop', size=224)]
FREE = [dict(type='SampleFrames'), dict(type='ResizeShortSide', short=256)]


def config(train=FIXED, test=FIXED, **top) -> Config:
    loaders = dict(train_dataloader=train, test_dataloader=test)
    return Config(
        {key: dict(dataset=dict(type='ClipDataset', pipeline=steps)) for key, steps in loaders.items()}
        | dict(val_dataloader=None, env_cfg=dict(mp_cfg=dict(opencv_num_threads=0)))
        | top
    )


def test_a_gpu_gets_pinned_memory_and_the_fastest_kernels():
    cfg = config()
    told = fill_gpu(cfg, gpu=True)
    assert cfg.train_dataloader.pin_memory is True and cfg.test_dataloader.pin_memory is True
    assert cfg.env_cfg.cudnn_benchmark is True and cfg.env_cfg.mp_cfg.opencv_num_threads == 0
    assert told.startswith('for the GPU: pinned memory for train_dataloader, test_dataloader; cuDNN')
    assert '\n' not in told
    assert fill_gpu(cfg, gpu=True) == ''  # once


@pytest.mark.parametrize('gpu', [False, None])
def test_without_one_nothing_is_touched(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = config()
    before = cfg.to_dict()
    assert fill_gpu(cfg, gpu) == '' and cfg.to_dict() == before


def test_torch_is_asked_where_nobody_says(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = config()
    assert fill_gpu(cfg) and cfg.test_dataloader.pin_memory


def test_what_a_config_says_stays():
    cfg = config(env_cfg=dict(cudnn_benchmark=False))
    cfg.train_dataloader.pin_memory = False
    assert fill_gpu(cfg, gpu=True) == 'for the GPU: pinned memory for test_dataloader'
    assert cfg.train_dataloader.pin_memory is False and cfg.env_cfg.cudnn_benchmark is False


@pytest.mark.parametrize(
    'changes',
    [
        dict(train=FREE),
        dict(test=FREE),
        dict(test=None),  # a dataset of one's own, whose sizes nobody knows
        dict(randomness=dict(seed=0, deterministic=True)),
    ],
)
def test_kernels_are_not_tried_where_that_does_not_pay(changes):
    cfg = config(**changes)
    assert 'cudnn_benchmark' not in fill_gpu(cfg, gpu=True)
    assert cfg.env_cfg.get('cudnn_benchmark') is None and cfg.test_dataloader.pin_memory


def test_the_recipes_leave_it_open_and_a_run_resumes_on_another_machine():
    (found,) = (ROOT / 'configs').rglob('glance-focus_r50_g96-p96-s2_8f_ssv2.py')
    for stage in expand_stages(load_config(found)):
        here, there = Config(stage.cfg.to_dict()), Config(stage.cfg.to_dict())
        told = fill_gpu(there, gpu=True)
        assert 'pinned memory for train_dataloader' in told and 'cudnn_benchmark' in told
        assert settings_of(here) == settings_of(there)


def test_clips_of_a_split_are_pinned_where_they_go_to_a_gpu():
    cfg = config()
    assert loader_config(cfg, 'val', None, 4, gpu=True)['pin_memory'] is True
    assert 'pin_memory' not in loader_config(cfg, 'val', None, 4)
