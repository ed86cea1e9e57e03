"""What a config with stages expands to."""

from __future__ import annotations

import json

import pytest
from mmengine.config import Config

from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.engine import ConfigError, expand_stages, load_config, select_stage
from gfvideo.engine.stages import settings_of, with_essentials
from gfvideo.registry import MODELS


@pytest.fixture
def cfg() -> Config:
    return Config(
        dict(
            model=dict(type='M', frozen=['policy'], head=dict(type='H', width=4)),
            param_scheduler=[dict(type='A'), dict(type='B')],
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            train_cfg=dict(by_epoch=True, max_epochs=5),
            work_dir='work',
            load_from='imagenet.pth',
            _helper=3,
            stages=[
                dict(name='first'),
                dict(
                    name='second',
                    model=dict(frozen=[], head=dict(width=8)),
                    param_scheduler=[dict(type='C')],
                    train_cfg=dict(type='PolicyLoop', max_epochs=2),
                    optim_wrapper=dict(optimizer=dict(_delete_=True, type='Adam', lr=1)),
                ),
                dict(name='third', load_from='other.pth'),
            ],
        )
    )


def test_overrides_are_merged_deeply_and_lists_replaced(cfg):
    stages = expand_stages(cfg)
    assert [name for name, _ in stages] == ['first', 'second', 'third']
    first, second, third = (stage.cfg for stage in stages)
    assert first.model.to_dict() == third.model.to_dict() == cfg.model.to_dict()
    assert second.model.to_dict() == dict(type='M', frozen=[], head=dict(type='H', width=8))
    assert second.param_scheduler == [dict(type='C')] and first.param_scheduler == [
        dict(type='A'),
        dict(type='B'),
    ]
    assert second.optim_wrapper.optimizer.to_dict() == dict(type='Adam', lr=1)  # _delete_: no momentum
    assert second.train_cfg.to_dict() == dict(type='PolicyLoop', max_epochs=2)  # its loop overrides by_epoch
    assert [stage.cfg.work_dir for stage in stages] == ['work/first', 'work/second', 'work/third']
    assert [stage.cfg.start_from for stage in stages] == ['load_from', 'last', 'load_from']
    assert third.load_from == 'other.pth'
    assert all('stages' not in stage.cfg and '_helper' not in stage.cfg for stage in stages)


def test_a_plain_config_is_one_nameless_stage(cfg):
    cfg.stages = None
    (stage,) = expand_stages(cfg, {'model.head.width': 2})
    assert stage.name == '' and stage.cfg.work_dir == 'work' and stage.cfg.model.head.width == 2


def test_options_reach_every_stage_and_those_of_a_stage_win(cfg):
    options = {
        'train_cfg.max_epochs': 1,
        'stages.1.train_cfg.max_epochs': 3,
        'stages.third.model.head.width': 16,
        'work_dir': 'there',
        'param_scheduler.0.type': 'D',
    }
    first, second, third = (stage.cfg for stage in expand_stages(cfg, options))
    assert [c.train_cfg.max_epochs for c in (first, second, third)] == [1, 3, 1]
    assert [c.model.head.width for c in (first, second, third)] == [4, 8, 16]
    assert [c.param_scheduler[0].type for c in (first, second, third)] == ['D', 'D', 'D']
    assert second.work_dir == 'there/second'
    # the given config is left alone
    assert cfg.train_cfg.max_epochs == 5 and cfg.stages[1].train_cfg.max_epochs == 2


@pytest.mark.parametrize(
    'option, message',
    [
        (
            'optim_wraper.type',
            "unknown key 'optim_wraper' in option 'optim_wraper.type'; did you mean 'optim_wrapper'",
        ),
        ('stages.4.model.type', r"with STAGE of \['first', 'second', 'third'\] or its number"),
        ('stages.fourth.model.type', 'with STAGE of'),
        ('stages.1.modell.type', "unknown key 'modell' .* did you mean 'model'"),
        ('_helper', 'it is a helper of the config file and was read already'),
    ],
)
def test_options_that_would_change_nothing_are_refused(cfg, option, message):
    with pytest.raises(ConfigError, match=message):
        expand_stages(cfg, {option: 1})


@pytest.mark.parametrize(
    'stage, message',
    [
        (dict(model=dict()), r'stages\[0\].name is None; give every stage a name'),
        (dict(name='a/b'), r"name is 'a/b'"),
        (
            dict(name='x', optim_wraper=dict()),
            "unknown key 'optim_wraper' in stage 'x'; did you mean 'optim_wrapper'",
        ),
        (dict(name='x', nonsense=1), "unknown key 'nonsense' in stage 'x'"),
        (
            dict(name='x', start_from='middle'),
            "start_from='middle' is unknown; choose of last, best, load_from",
        ),
    ],
)
def test_faults_of_a_stage_are_named(stage, message):
    with pytest.raises(ConfigError, match=message):
        expand_stages(Config(dict(stages=[stage])))


def test_two_stages_of_one_name():
    with pytest.raises(ConfigError, match="two stages are named 'x'"):
        expand_stages(Config(dict(stages=[dict(name='x'), dict(name='x')])))


def test_select_stage(cfg):
    stages = expand_stages(cfg)
    assert select_stage(stages, None).name == 'third' and select_stage(stages, 'first').name == 'first'
    with pytest.raises(ConfigError, match="no stage 'polcy'; the config has 'first', 'second', 'third'"):
        select_stage(stages, 'polcy')


def test_essentials_replace_mmengines_own_and_nothing_else(cfg):
    plain = with_essentials(Config(dict(train_cfg=dict(by_epoch=True, max_epochs=3))))
    assert (
        plain.train_cfg.to_dict() == dict(type='ResumableEpochLoop', max_epochs=3)
        and plain.default_scope == 'gfvideo'
    )
    assert plain.default_hooks.checkpoint.type == 'SafeCheckpointHook'
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=9), epoch_seed=dict(type='Mine'))
    given = with_essentials(Config(dict(train_cfg=dict(by_epoch=False, max_iters=3), default_hooks=hooks)))
    assert (
        given.train_cfg.to_dict() == dict(by_epoch=False, max_iters=3)
        and given.default_hooks.epoch_seed.type == 'Mine'
    )
    assert given.default_hooks.checkpoint.to_dict() == dict(type='SafeCheckpointHook', interval=9)
    policy = with_essentials(expand_stages(cfg)[1].cfg)
    assert policy.train_cfg.type == 'PolicyLoop'


def test_settings_name_what_decides_the_weights(cfg):
    cfg.train_dataloader = dict(batch_size=2, num_workers=4)
    first = expand_stages(cfg)[0].cfg
    same = expand_stages(
        cfg, {'train_dataloader.num_workers': 0, 'load_from': 'x.pth', 'log_level': 'DEBUG'}
    )[0].cfg
    other = expand_stages(cfg, {'model.head.width': 9})[0].cfg
    assert settings_of(first) == settings_of(same)
    differing = {key for key in settings_of(first) if settings_of(first)[key] != settings_of(other)[key]}
    assert differing == {'model'}
    json.dumps(settings_of(first))


def test_a_dumped_stage_is_a_config_of_its_own(three_stages, tmp_path):
    stage = expand_stages(load_config(three_stages))[1].cfg
    stage.dump(tmp_path / 'dumped.py')
    (again,) = expand_stages(load_config(tmp_path / 'dumped.py'))
    assert again.cfg.model.to_dict() == stage.model.to_dict()


def test_none_classes_are_those_of_the_prepared_dataset(cfg, tmp_path):
    rows = {'train': [ClipRow('1', '1.mp4', 'video', 2)]}
    write_manifest(
        tmp_path,
        name='n',
        version='v',
        classes=['a', 'b', 'c', 'd', 'e'],
        label_order='sorted',
        rows=rows,
        video_root='.',
    )
    cfg.model.num_classes = None
    cfg.train_dataloader = dict(dataset=dict(type='ClipDataset', root=str(tmp_path), split='train'))
    assert [stage.cfg.model.num_classes for stage in expand_stages(cfg)] == [5, 5, 5]
    assert {stage.cfg.model.num_classes for stage in expand_stages(cfg, {'model.num_classes': 3})} == {3}
    cfg.train_dataloader.dataset.root = str(tmp_path / 'none')
    assert {stage.cfg.model.num_classes for stage in expand_stages(cfg)} == {None}
    with pytest.raises(ValueError, match='num_classes=None stands for .* prepare it, or give the number'):
        MODELS.build(
            dict(
                type='ClipRecognizer',
                num_classes=None,
                encoder=dict(type='Encoder', backbone=dict(type='TinyCNN')),
            )
        )
