"""What a config with stages expands to."""

from __future__ import annotations

import json
from pathlib import Path

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
            stages=dict(
                first=dict(),
                second=dict(
                    model=dict(frozen=[], head=dict(width=8)),
                    param_scheduler=[dict(type='C')],
                    train_cfg=dict(type='PolicyLoop', max_epochs=2),
                    optim_wrapper=dict(optimizer=dict(_delete_=True, type='Adam', lr=1)),
                ),
                third=dict(load_from='other.pth'),
            ),
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
    assert cfg.train_cfg.max_epochs == 5 and cfg.stages.second.train_cfg.max_epochs == 2


def test_an_option_leaves_a_stage_out(cfg):
    del cfg.stages.third['load_from']
    for option in ('stages.second', 'stages.1'):
        others = {'stages.second.train_cfg.max_epochs': 3, 'stages.2.custom_hooks': []}
        kept = expand_stages(cfg, {**others, option: None})
        assert [stage.name for stage in kept] == ['first', 'third']
        assert [stage.cfg.start_from for stage in kept] == ['load_from', 'last']
    (last,) = expand_stages(cfg, {'stages.first': None, 'stages.second': None})
    assert last.cfg.start_from == 'load_from'  # it is the first now
    with pytest.raises(ConfigError, match='leave no stage'):
        expand_stages(cfg, {'stages.0': None, 'stages.1': None, 'stages.2': None})
    with pytest.raises(ConfigError, match="option 'stages.fourth': write stages.STAGE.KEY"):
        expand_stages(cfg, {'stages.fourth': None})
    with pytest.raises(ConfigError, match='or stages.STAGE=None to leave it out'):
        expand_stages(cfg, {'stages.second': 3})


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


# ------------------------------------------------------------------------------------------------- both forms


def as_list(stages: dict) -> list[dict]:
    return [dict(name=name, **overrides) for name, overrides in stages.items()]


def test_a_list_means_what_the_dict_means_and_goes_on_with_its_runs(cfg):
    listed = Config({**cfg.to_dict(), 'stages': as_list(cfg.stages.to_dict())})
    options = {'stages.second.train_cfg.max_epochs': 4, 'stages.0.train_cfg.max_epochs': 6}
    for some in ({}, options):
        both = list(zip(expand_stages(cfg, some), expand_stages(listed, some), strict=True))
        assert [(one.name, one.cfg.to_dict()) for one, _ in both] == [
            (other.name, other.cfg.to_dict()) for _, other in both
        ]
        assert all(settings_of(one.cfg) == settings_of(other.cfg) for one, other in both)


def test_settings_are_recorded_as_they_always_were(three_stages):
    """Records of finished runs hold these: another number, and a run of an earlier version cannot go on."""
    recorded = [settings_of(stage.cfg)['optim_wrapper'] for stage in expand_stages(load_config(three_stages))]
    assert recorded == ['acf1500bcf6f', '0a58ac0a4424', '96761c1cb597']


@pytest.mark.parametrize(
    'stages, message',
    [
        ([dict(model=dict())], r'stages\[0\].name is None; give every stage a name'),
        ([dict(name='a/b')], "stages has the name 'a/b'"),
        ({'a/b': dict()}, "stages has the name 'a/b'"),
        ([dict(name='x'), dict(name='x')], "two stages are named 'x'"),
        ([3], r'stages.0=3, not a dict'),
        (dict(x=3), r'stages.x=3, not a dict'),
        (3, r'stages=3; write them as a dict by name'),
        (
            dict(x=dict(optim_wraper=dict())),
            "unknown key 'optim_wraper' in stage 'x'; did you mean 'optim_wrapper'",
        ),
        (dict(x=dict(nonsense=1)), "unknown key 'nonsense' in stage 'x'"),
        (dict(x=dict(name='y')), "unknown key 'name' in stage 'x'"),
        (
            dict(x=dict(start_from='middle')),
            "start_from='middle' is unknown; choose of last, best, load_from",
        ),
    ],
)
def test_faults_of_stages_are_named(stages, message):
    with pytest.raises(ConfigError, match=message):
        expand_stages(Config(dict(stages=stages)))


def test_a_stage_that_is_none_is_left_out(cfg):
    cfg.stages.second = None
    assert [stage.name for stage in expand_stages(cfg)] == ['first', 'third']


# ----------------------------------------------------------------------------------------- files that inherit


@pytest.fixture
def write(tmp_path, cfg):
    """``write('base', stages=...)``: a config file of the fixture's keys and these stages; ``write('child',
    '_base_ = ...')``: a file with this text."""

    def call(name: str, text: str = '', **given) -> Path:
        file = tmp_path / f'{name}.py'
        lines = [
            f'{key} = {value!r}' for key, value in ({**cfg.to_dict(), **given} if not text else {}).items()
        ]
        file.write_text(text or '\n'.join(lines))
        return file

    return call


def test_a_file_changes_one_value_of_one_stage(write, cfg):
    write('base')
    child = write('child', "_base_ = './base.py'\nstages = dict(second=dict(train_cfg=dict(max_epochs=3)))")
    stages = {name: stage.to_dict() for name, stage in expand_stages(load_config(child))}
    wanted = {name: stage.to_dict() for name, stage in expand_stages(cfg)}
    assert list(stages) == list(wanted)
    assert stages['second']['train_cfg'].pop('max_epochs') == 3
    assert wanted['second']['train_cfg'].pop('max_epochs') == 2
    assert stages == wanted


def test_a_file_adds_a_stage_leaves_one_out_and_replaces_all(write):
    write('base')
    more = write(
        'more', "_base_ = './base.py'\nstages = dict(last=dict(model=dict(frozen=['x'])), first=None)"
    )
    assert [stage.name for stage in expand_stages(load_config(more))] == ['second', 'third', 'last']
    new = write(
        'new', "_base_ = './base.py'\nstages = dict(_delete_=True, only=dict(train_cfg=dict(max_epochs=1)))"
    )
    assert [stage.name for stage in expand_stages(load_config(new))] == ['only']
    again = write('again', "_base_ = './base.py'\nstages = [dict(name='only'), dict(name='then')]")
    assert [stage.name for stage in expand_stages(load_config(again))] == ['only', 'then']


def test_a_dict_over_a_list_is_told_how_to(write, cfg):
    write('base', stages=as_list(cfg.stages.to_dict()))
    child = write('child', "_base_ = './base.py'\nstages = dict(second=dict(train_cfg=dict(max_epochs=3)))")
    with pytest.raises(
        ConfigError, match=r'child.py: stages is a dict here and a list .* as a dict, stages = '
    ):
        load_config(child)


@pytest.mark.parametrize('between', [False, True])
def test_a_misspelt_stage_is_not_one_more_stage(write, between):
    write('base')
    child = write('child', "_base_ = './base.py'\nstages = dict(secnd=dict(train_cfg=dict(max_epochs=3)))")
    file = write('last', "_base_ = './child.py'\nmodel = dict(frozen=[])") if between else child
    with pytest.raises(ConfigError, match="child.py: stage 'secnd' is none .* did you mean 'second'"):
        load_config(file)
    write('child', "_base_ = './base.py'\nstages = dict(second_2=dict(train_cfg=dict(max_epochs=3)))")
    assert [stage.name for stage in expand_stages(load_config(file))][-1] == 'second_2'


ADAM = "dict(_delete_=True, type='Adam', lr=3)"


@pytest.mark.parametrize(
    'text',
    [
        f'stages = dict(second=dict(optim_wrapper=dict(optimizer={ADAM})))',
        f"stages = {{'second': {{'optim_wrapper': dict(optimizer={ADAM})}}}}",
        f'_adam = {ADAM}\nstages = dict(second=dict(optim_wrapper=dict(optimizer=_adam)))',
        f'_own = dict(optim_wrapper=dict(optimizer={ADAM}))\nstages = dict(second=dict(**_own))',
        f'_own = dict(optim_wrapper=dict(optimizer={ADAM}))\nstages = dict(second=dict() | _own)',
    ],
)
@pytest.mark.parametrize('between', [False, True])
def test_a_deletion_in_a_stage_deletes_from_the_base_stage_and_from_what_all_stages_share(
    write, text, between
):
    write(
        'base',
        stages=dict(first=dict(), second=dict(optim_wrapper=dict(optimizer=dict(lr=2, nesterov=True)))),
    )
    child = write('child', f"_base_ = './base.py'\n{text}")
    if between:
        child = write('last', "_base_ = './child.py'\nstages = dict(second=dict(model=dict(frozen=[])))")
    first, second = expand_stages(load_config(child))
    assert first.cfg.optim_wrapper.optimizer.to_dict() == dict(type='SGD', lr=0.1, momentum=0.9)
    assert second.cfg.optim_wrapper.optimizer.to_dict() == dict(type='Adam', lr=3)


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


def test_a_dump_of_all_stages_has_lost_their_order(cfg, tmp_path):
    cfg.stages = dict(zip('zyx', cfg.stages.values()))
    cfg.dump(tmp_path / 'dumped.py')
    with pytest.raises(ConfigError, match=r'its stages \(x, y, z\) train is lost; write .* a list'):
        load_config(tmp_path / 'dumped.py')
    cfg.stages = as_list(cfg.stages.to_dict())
    cfg.dump(tmp_path / 'listed.py')
    assert [stage.name for stage in expand_stages(load_config(tmp_path / 'listed.py'))] == list('zyx')


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
