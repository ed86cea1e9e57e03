"""What pipelines leave to the top of a config: said once, changed in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from gfvideo.engine import ConfigError, expand_stages, load_config

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def config(**top) -> Config:
    """Pipelines that leave frames and flip open, one of them inside a dataset of datasets."""
    sampler, flip = dict(type='SampleFrames', frames=None), dict(type='Flip', prob=None)
    several = dict(type='ConcatDataset', datasets=[dict(pipeline=[sampler, flip])])
    return Config(
        dict(
            train_dataloader=dict(dataset=several),
            val_dataloader=dict(dataset=dict(pipeline=[dict(sampler, type='gfvideo.SampleFrames')])),
            test_dataloader=dict(dataset=dict(pipeline=[dict(type='SampleFrames', frames=4)])),
            **top,
        )
    )


def pipelines(cfg: Config, options: dict | None = None) -> list[list[dict]]:
    (stage,) = expand_stages(cfg, options)
    assert 'num_frames' not in stage.cfg and 'flip' not in stage.cfg
    train, val, test = (stage.cfg[loader].dataset.to_dict() for loader in LOADERS)
    return [train['datasets'][0]['pipeline'], val['pipeline'], test['pipeline']]


def test_frames_and_flip_fill_what_is_left_open_alone():
    train, val, test = pipelines(config(num_frames=6, flip=dict(label_map={1: 2})))
    assert train == [dict(type='SampleFrames', frames=6), dict(type='Flip', label_map={1: 2})]
    assert val == [dict(type='gfvideo.SampleFrames', frames=6)]
    assert test == [dict(type='SampleFrames', frames=4)]  # what a pipeline says itself stays


def test_either_name_of_the_frames_may_be_left_open():
    pipeline = [dict(type='SampleFrames', num_frames=None)]
    (stage,) = expand_stages(Config(dict(num_frames=6, val_dataloader=dict(dataset=dict(pipeline=pipeline)))))
    assert stage.cfg.val_dataloader.dataset.pipeline == [dict(type='SampleFrames', num_frames=6)]


def test_options_come_first():
    options = {'num_frames': 16, 'flip.prob': 0.3, 'test_dataloader.dataset.pipeline.0.frames': 2}
    train, val, test = pipelines(config(num_frames=6, flip=dict(label_map='jester')), options)
    assert train == [dict(type='SampleFrames', frames=16), dict(type='Flip', label_map='jester', prob=0.3)]
    assert val[0]['frames'] == 16 and test[0]['frames'] == 2


def test_no_flip_at_all():
    assert pipelines(config(num_frames=6, flip=None))[0] == [dict(type='SampleFrames', frames=6)]


@pytest.mark.parametrize(
    ('top', 'options', 'told'),
    [
        (dict(flip=None), {}, r'pipeline.0 leaves its frames to the config, which has no num_frames'),
        (
            dict(num_frames=8),
            {},
            r'train_dataloader.dataset.datasets.0.pipeline.1 leaves its flip to the config',
        ),
        (dict(num_frames=8, flip=0.5), {}, r'flip is 0.5; give the arguments of Flip'),
    ],
)
def test_what_is_asked_for_and_not_said_is_told(top, options, told):
    with pytest.raises(ConfigError, match=told):
        expand_stages(config(**top), options)


@pytest.mark.parametrize('option', [{'num_frames': 16}, {'flip': None}, {'flip.prob': 0.1}])
def test_an_option_that_changes_nothing_is_told(option):
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='SampleFrames', frames=4)]))))
    with pytest.raises(ConfigError, match='changes nothing: no pipeline of the config leaves it open'):
        expand_stages(cfg, option)


def test_a_stage_may_see_other_frames():
    cfg = config(num_frames=8, flip=None, stages=dict(short=dict(num_frames=4), long=dict()))
    short, long = (stage.cfg.val_dataloader.dataset.pipeline[0].frames for stage in expand_stages(cfg))
    assert (short, long) == (4, 8)


@pytest.mark.parametrize('name', ['something_something_v2', 'kinetics400', 'kinetics600', 'custom', 'toy'])
def test_one_line_changes_every_pipeline_of_a_dataset_that_is_shipped(name, tmp_path):
    child = tmp_path / 'child.py'
    base = ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py'
    child.write_text(f'_base_ = {str(base)!r}\nnum_frames = 16\nflip = None\n')
    (stage,) = expand_stages(load_config(child))
    for loader in LOADERS:
        pipeline = stage.cfg[loader].dataset.pipeline
        assert pipeline[0].frames == 16 and all(step.type != 'Flip' for step in pipeline)
    (stage,) = expand_stages(load_config(base), {'num_frames': 12})
    assert {stage.cfg[loader].dataset.pipeline[0].frames for loader in LOADERS} == {12}
