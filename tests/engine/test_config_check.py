"""Faults of a config are told before anything trains."""

from __future__ import annotations

import copy
import logging
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from gfvideo.engine import AutocastOptimWrapper, ConfigError, check_stages, expand_stages, load_config
from gfvideo.engine.config.check import check_patches
from gfvideo.engine.config.keys import accepted, faults_of_keys, mmengines_hooks, read_by
from gfvideo.engine.stages import OWN_HOOKS, with_essentials


@pytest.fixture
def write(tmp_path):
    def write_file(text: str, name: str = 'config.py'):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_file


# ----------------------------------------------------------------------------------------------- unknown keys


@pytest.mark.parametrize(
    'text, key, meant',
    [
        ("optim_wraper = dict(type='OptimWrapper')", 'optim_wraper', "did you mean 'optim_wrapper'"),
        ('train_dataloadr = dict()', 'train_dataloadr', "did you mean 'train_dataloader'"),
        ('nonsense = 1', 'nonsense', 'Nothing reads it'),
        ("load_form = 'x.pth'", 'load_form', "did you mean 'load_from'"),
    ],
)
def test_unknown_keys_are_named_with_what_was_meant(write, text, key, meant):
    with pytest.raises(ConfigError, match=f'unknown key {key!r} in .*config.py.*{meant}'):
        load_config(write(text))


def test_helpers_that_are_read_pass(write):
    write(
        "train_pipeline = [dict(type='A')]\ntrain_dataloader ="
        ' dict(dataset=dict(pipeline=train_pipeline))\nwidth = 3\n',
        'base.py',
    )
    cfg = load_config(
        write(
            "_base_ = './base.py'\nmodel = dict(width=_base_.width)\nepochs = 4\ntrain_cfg ="
            ' dict(max_epochs=2 * epochs)\n_own = 1\n'
        )
    )
    assert cfg.model.width == 3 and cfg.train_cfg.max_epochs == 8


def test_redefining_an_inherited_helper_is_told_to_change_nothing(write):
    write(
        "train_pipeline = [dict(type='A')]\ntrain_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n",
        'base.py',
    )
    with pytest.raises(
        ConfigError,
        match="'train_pipeline' in .*config.py.*redefining a helper of an inherited file changes nothing",
    ):
        load_config(write("_base_ = ['base.py']\ntrain_pipeline = [dict(type='B')]\n"))


def test_a_key_nobody_reads_in_an_inherited_file(write):
    write('model = dict()\nforgotten = 3\n', 'base.py')
    with pytest.raises(ConfigError, match=r"'forgotten' in .*base\.py"):
        load_config(write("_base_ = 'base.py'\n"))


def test_helpers_across_read_base(write):
    write('width = 3\n', 'base.py')
    text = (
        'from mmengine.config import read_base\nwith read_base():\n    from .base import *\nmodel ='
        ' dict(width=width)\n'
    )
    assert load_config(write(text)).model.width == 3
    with pytest.raises(ConfigError, match=r"'width' in .*base\.py"):
        load_config(write(text.replace('=width', '=4')))


def test_json_configs_have_no_helpers(write):
    with pytest.raises(ConfigError, match="unknown key 'helper'"):
        load_config(write('{"helper": 1}', 'config.json'))


def test_missing_config(tmp_path):
    with pytest.raises(FileNotFoundError, match='no config at .*nowhere.py'):
        load_config(tmp_path / 'nowhere.py')


# -------------------------------------------------------------------------------------------------- the parts


def check(three_stages, **options) -> None:
    cfg = load_config(three_stages)
    cfg.work_dir = 'work'
    check_stages(expand_stages(cfg, {key.replace('__', '.'): value for key, value in options.items()}))


def test_a_sound_config_passes(three_stages):
    check(three_stages)


@pytest.mark.parametrize(
    'options, message',
    [
        (
            dict(stages__tune__model__num_classes=4),
            "stage 'tune': model.num_classes=4, but train_dataloader.dataset has 3 classes .red, green, blue",
        ),
        (
            dict(val_dataloader__dataset__classes=['red', 'green', 'blue', 'grey']),
            'model.num_classes=3, but val_dataloader.dataset has 4 classes .red, green, blue, ...',
        ),
        (
            dict(val_dataloader__dataset__classes=['red', 'blue', 'green']),
            (
                'val_dataloader.dataset and train_dataloader.dataset number their classes differently: label'
                " 1 is 'blue' and 'green'"
            ),
        ),
        (dict(model__aux_weight='strong'), "model.aux_weight is 'strong': a number is wanted"),
        (dict(model__reward='logprob'), "reward='logprob' is unknown; choose 'prob', 'log_prob' or"),
        (
            dict(model__policy__actor='deep'),
            "model.policy.actor='deep' is unknown; choose of 'attention', 'linear'",
        ),
        (dict(model__ppo=dict(gama=0.9)), 'model cannot be built: ppo has no .*gama.*; it takes .*gamma'),
        (
            dict(train_dataloader__batch_size=9, train_dataloader__drop_last=True),
            'train_dataloader has no batch: 8 clips, batch_size=9',
        ),
        (
            dict(stages__tune__start_from='best', stages__policy__default_hooks__checkpoint__save_best=None),
            "stage 'tune' has start_from='best', but stage 'policy' keeps no best checkpoint",
        ),
        (
            dict(
                stages__tune__model__frozen=[
                    'glance_encoder',
                    'focus_encoder',
                    'policy',
                    'classifier',
                    'glance_head',
                    'focus_head',
                ]
            ),
            "stage 'tune': no parameter of GlanceFocusRecognizer learns",
        ),
    ],
)
def test_faults_of_any_stage_are_told_with_its_name(three_stages, options, message):
    with pytest.raises(ConfigError, match=message):
        check(three_stages, **options)


@pytest.mark.parametrize(
    'options, told',
    [
        # what 26 nested keys that nothing read used to pass by, and the like
        (
            dict(optim_wrapper__clip_grad__max_nrom=1.0),
            "optim_wrapper.clip_grad.max_nrom is unknown (its value: 1.0); did you mean 'max_norm'?",
        ),
        (
            dict(optim_wrapper__clip_grad__type='nrom'),
            "optim_wrapper.clip_grad.type is 'nrom'; choose 'norm' or 'value'",
        ),
        (dict(randomness__sed=3), "randomness.sed is unknown (its value: 3); did you mean 'seed'?"),
        (
            dict(randomness__determinstic=True),
            "randomness.determinstic is unknown (its value: True); did you mean 'deterministic'?",
        ),
        (
            dict(env_cfg__cudnn_benchmrk=True),
            "env_cfg.cudnn_benchmrk is unknown (its value: True); did you mean 'cudnn_benchmark'?",
        ),
        (
            dict(env_cfg__mp_cfg__mp_start_methd='spawn'),
            "env_cfg.mp_cfg.mp_start_methd is unknown (its value: 'spawn'); did you mean 'mp_start",
        ),
        (
            dict(env_cfg__mpcfg=dict(mp_start_method='fork')),
            "env_cfg.mpcfg is unknown; did you mean 'mp_cfg'?",
        ),
        (
            dict(env_cfg__dist_cfg__timeot=60),
            "env_cfg.dist_cfg.timeot is unknown (its value: 60); did you mean 'timeout'?",
        ),
        (
            dict(log_processor__window_sise=5),
            "log_processor.window_sise is unknown (its value: 5); did you mean 'window_size'?",
        ),
        (dict(visualizer__vis_backend=[]), "visualizer.vis_backend is unknown; did you mean 'vis_backends'?"),
        (
            dict(visualizer__vis_backends=[dict(type='LocalVisBackend', save_dr='x')]),
            "visualizer.vis_backends.0.save_dr is unknown (its value: 'x'); did you mean 'save_dir'?",
        ),
        (
            dict(visualizer__vis_backends=[dict(type='LocalVisBackned')]),
            (
                "visualizer.vis_backends.0.type='LocalVisBackned' is no registered vis_backend; did you mean"
                " 'LocalVisBackend'?"
            ),
        ),
        (
            dict(default_hooks__chekpoint=dict(type='SafeCheckpointHook', interval=3)),
            (
                "default_hooks.chekpoint is unknown; did you mean 'checkpoint'? Hooks of your own go into"
                ' custom_hooks'
            ),
        ),
        (
            dict(default_hooks__sync_bufers=None),
            "default_hooks.sync_bufers is unknown (its value: None); did you mean 'sync_buffers'?",
        ),
        (
            dict(default_hooks__xyzzy=dict(interval=3)),
            'default_hooks.xyzzy is unknown; known there: checkpoint, dataset_epoch',
        ),
        (
            dict(default_hooks__checkpoint__intervall=3),
            "default_hooks.checkpoint.intervall is unknown (its value: 3); did you mean 'interval'?",
        ),
        (
            dict(default_hooks__logger__intervall=3),
            "default_hooks.logger.intervall is unknown (its value: 3); did you mean 'interval'?",
        ),
        (
            dict(custom_hooks=[dict(type='EMAHok')]),
            "custom_hooks.0.type='EMAHok' is no registered hook; did you mean 'EMAHook'?",
        ),
        (
            dict(train_dataloader__batchsize=3),
            "train_dataloader.batchsize is unknown (its value: 3); did you mean 'batch_size'?",
        ),
        (
            dict(train_dataloader__num_worker=3),
            "train_dataloader.num_worker is unknown (its value: 3); did you mean 'num_workers'?",
        ),
        (
            dict(train_dataloader__sampler__shufle=True),
            "train_dataloader.sampler.shufle is unknown (its value: True); did you mean 'shuffle'?",
        ),
        (
            dict(train_dataloader__sampler__type='DefaultSampeler'),
            (
                "train_dataloader.sampler.type='DefaultSampeler' is no registered data sampler; did you mean"
                " 'DefaultSampler'?"
            ),
        ),
        (
            dict(train_dataloader__collate_fn=dict(type='default_collate', exta=1)),
            'train_dataloader.collate_fn.exta is unknown (its value: 1); known there: data_batch, type',
        ),
        (
            dict(train_dataloader__datset=dict(type='BrightSquares')),
            "train_dataloader.datset is unknown; did you mean 'dataset'?",
        ),
        (
            dict(train_dataloader__dataset__clip=3),
            "train_dataloader.dataset.clip is unknown (its value: 3); did you mean 'clips'?",
        ),
        (
            dict(train_dataloader__dataset__type='BrightSquare'),
            (
                "train_dataloader.dataset.type='BrightSquare' is no registered dataset; did you mean"
                " 'BrightSquares'?"
            ),
        ),
        *[
            (
                dict(train_dataloader__batch_size=value),
                f'train_dataloader.batch_size is {value!r}: a whole number is wanted, 1 or more',
            )
            for value in (0, -2, 'many', 1.5, True)
        ],
        *[
            (
                dict(train_cfg__max_epochs=value),
                f'train_cfg.max_epochs is {value!r}: a whole number is wanted, 1 or more',
            )
            for value in (0, 'many', 2.0)
        ],
        (
            dict(val_dataloader__num_workers=-1),
            'val_dataloader.num_workers is -1: a whole number is wanted, 0 or more',
        ),
        (
            dict(model_wrapper_cfg=dict(find_unused_parametrs=True)),
            (
                'model_wrapper_cfg.find_unused_parametrs is unknown (its value: True); did you mean'
                " 'find_unused_parameters'?"
            ),
        ),
        (
            dict(auto_scale_lr__base_batch_sise=4),
            "auto_scale_lr.base_batch_sise is unknown (its value: 4); did you mean 'base_batch_size'?",
        ),
        (
            dict(auto_scale_lr__base_batch_size='many'),
            "auto_scale_lr.base_batch_size is 'many': a whole number is wanted, 1 or more",
        ),
        (
            dict(optim_wrapper__paramwise_cfg=dict(norm_decay_mul=0)),
            (
                'optim_wrapper.paramwise_cfg.norm_decay_mul is unknown (its value: 0); did you mean'
                " 'norm_decay_mult'?"
            ),
        ),
        (
            dict(optim_wrapper__paramwise_cfg=dict(custom_keys=dict(policy=dict(lr_mul=0.1)))),
            (
                'optim_wrapper.paramwise_cfg.custom_keys.policy.lr_mul is unknown (its value: 0.1); did you'
                " mean 'lr_mult'?"
            ),
        ),
        (
            dict(optim_wrapper__paramwise_cfg=dict(custom_keys=dict(glance_encodr=dict(lr_mult=0.1)))),
            (
                'optim_wrapper.paramwise_cfg.custom_keys.glance_encodr is unknown; did you mean'
                " 'glance_encoder'? No parameter of Glance"
            ),
        ),
        (
            dict(optim_wrapper__acumulative_counts=2),
            "optim_wrapper.acumulative_counts is unknown (its value: 2); did you mean 'accumulative_c",
        ),
        (
            dict(optim_wrapper__optimizer__type='SDG'),
            "optim_wrapper.optimizer.type='SDG' is no registered optimizer; did you mean 'SGD'?",
        ),
        (
            dict(stages__policy__optim_wrapper__optimizer__type='Adamm'),
            (
                "stage 'policy': optim_wrapper.optimizer.type='Adamm' is no registered optimizer; did you"
                " mean 'Adam"
            ),
        ),
        (
            dict(optim_wrapper__optimizer__momentm=0.9),
            "optim_wrapper.optimizer.momentm is unknown (its value: 0.9); did you mean 'momentum'?",
        ),
        (
            dict(param_scheduler__T_maxx=9),
            "param_scheduler.T_maxx is unknown (its value: 9); did you mean 'T_max'?",
        ),
        (
            dict(param_scheduler=[dict(type='LinearLR', bye_poch=False)]),
            "param_scheduler.0.bye_poch is unknown (its value: False); did you mean 'by_epoch'?",
        ),
        (
            dict(param_scheduler__type='CosineAnealingLR'),
            (
                "param_scheduler.type='CosineAnealingLR' is no registered parameter scheduler; did you mean"
                " 'CosineAnnealingLR'?"
            ),
        ),
        (
            dict(stages__policy__train_cfg__update_epoch=3),
            "stage 'policy': train_cfg.update_epoch is unknown (its value: 3); did you mean 'update_epochs'?",
        ),
        (
            dict(stages__policy__train_cfg__type='PolicyLop'),
            "stage 'policy': train_cfg.type='PolicyLop' is no registered loop; did you mean 'PolicyLoop'?",
        ),
        (dict(val_cfg__fp17=True), "val_cfg.fp17 is unknown (its value: True); did you mean 'fp16'?"),
        (dict(test_cfg__fp17=True), "test_cfg.fp17 is unknown (its value: True); did you mean 'fp16'?"),
        (
            dict(val_evaluator__type='ClipAcuracy'),
            "val_evaluator.type='ClipAcuracy' is no registered metric; did you mean 'ClipAccuracy'?",
        ),
        (
            dict(val_evaluator__colect_device='cpu'),
            "val_evaluator.colect_device is unknown (its value: 'cpu'); did you mean 'collect_device'?",
        ),
        (
            dict(test_evaluator=dict(type='Evaluator', metrics=[dict(type='ClipAccuracy', prefx='a')])),
            "test_evaluator.metrics.0.prefx is unknown (its value: 'a'); did you mean 'prefix'?",
        ),
        (
            dict(compile=dict(backnd='inductor')),
            "compile.backnd is unknown (its value: 'inductor'); did you mean 'backend'?",
        ),
        (
            dict(stages__tune__model__stepz=3),
            "stage 'tune': model.stepz is unknown (its value: 3); did you mean 'steps'?",
        ),
        (
            dict(model__policy__hiden=9),
            "model.policy.hiden is unknown (its value: 9); did you mean 'hidden'?",
        ),
        (
            dict(model__policy__type='RecurrentGausianPolicy'),
            (
                "model.policy.type='RecurrentGausianPolicy' is no registered model; did you mean"
                " 'RecurrentGaussianPolicy'?"
            ),
        ),
        (
            dict(model__glance__backbone__widht=8),
            "model.glance.backbone.widht is unknown (its value: 8); did you mean 'width'?",
        ),
        (
            dict(model__glance__backbone__init_cfg=dict(type='Pretrained', checkpoint='x', checkpint='y')),
            (
                "model.glance.backbone.init_cfg.checkpint is unknown (its value: 'y'); did you mean"
                " 'checkpoint'?"
            ),
        ),
        (dict(model__num_classes='many'), "model.num_classes is 'many': a whole number is wanted"),
    ],
)
def test_a_nested_key_that_nothing_reads_is_told_by_its_path(three_stages, options, told):
    with pytest.raises(ConfigError) as error:
        check(three_stages, **options)
    stage = '' if told.startswith('stage ') else "stage 'random': "
    assert str(error.value).startswith(stage + told) and '\n' not in str(error.value)


def test_what_signatures_accept():
    class Base:
        def __init__(self, a, *, b=1):
            pass

    class Passing(Base):
        def __init__(self, c=2, **kwargs):
            super().__init__(a=0, **kwargs)

    class Keeping(Base):
        def __init__(self, c=2, **kwargs):
            super().__init__(0)
            self.kwargs = kwargs

    class Inheriting(Passing):
        pass

    def function(x, *args, y=1):
        pass

    assert accepted(Base) == {'a', 'b'} and accepted(Passing) == accepted(Inheriting) == {'a', 'b', 'c'}
    assert (
        accepted(Keeping) is None
        and accepted(lambda **kwargs: None) is None
        and accepted(function) == {'x', 'y'}
    )
    assert accepted(object) == frozenset() and accepted(torch.nn.Identity) is None
    assert {'momentum', 'nesterov'} <= accepted(torch.optim.SGD) and 'dtype' in accepted(AutocastOptimWrapper)
    assert 'accumulative_counts' in accepted(AutocastOptimWrapper)


def test_what_mmengine_reads_is_found():
    """Where a newer mmengine words these otherwise, nothing would be known there, and every key refused."""
    assert {'dataset', 'sampler', 'collate_fn', 'num_batch_per_epoch'} <= read_by(
        Runner.build_dataloader, 'dataloader_cfg'
    )
    assert {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'} == read_by(Runner.setup_env, 'env_cfg')
    assert {'enable', 'base_batch_size'} == read_by(Runner.scale_lr, 'auto_scale_lr')
    assert {'by_epoch', 'type'} == read_by(Runner.build_train_loop, 'loop_cfg') and 'priority' in read_by(
        Runner.register_hook, 'hook'
    )
    assert {
        'runtime_info',
        'timer',
        'sampler_seed',
        'logger',
        'param_scheduler',
        'checkpoint',
    } == mmengines_hooks()


def test_names_that_may_be_free_pass(three_stages):
    check(
        three_stages,
        default_hooks__xyzzy=dict(type='EMAHook'),
        custom_hooks=[dict(type='EMAHook', priority='LOW', momentum=0.1)],
        param_scheduler=[dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)],
        train_dataloader__num_batch_per_epoch=2,
        optim_wrapper__paramwise_cfg=dict(custom_keys=dict(policy=dict(weight_decay=0.5))),
        optim_wrapper__type='AutocastOptimWrapper',
        optim_wrapper__accumulative_counts=1,
        env_cfg__resource_limit=64,
        model_wrapper_cfg=dict(type='MMDistributedDataParallel', broadcast_buffers=False, bucket_cap_mb=2),
        default_hooks__timer=None,
        test_evaluator=[dict(type='ClipAccuracy'), dict(type='DumpResults', out_file_path='x.pkl')],
    )


@pytest.mark.parametrize(
    'steps, told',
    [
        ([dict(type='CentreCrop', size=20)], '20x20'),
        ([dict(type='Resize', size=(15, 64))], '15x64'),
        ([dict(type='Resize', size=64), dict(type='CentreCrop', size=20)], '20x20'),
    ],
)
def test_a_patch_larger_than_the_frames_that_the_pipeline_makes(steps, told):
    model = SimpleNamespace(patch_size=(16, 32))
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[*steps, dict(type='Flip')]))))
    with pytest.raises(
        ConfigError,
        match=f"stage 'x': model.patch_size=16x32 is larger than the frames of {told} that test_dataloader",
    ):
        check_patches(model, cfg, "stage 'x': ")


@pytest.mark.parametrize(
    'steps',
    [
        [dict(type='CentreCrop', size=32)],
        [dict(type='ResizeShortSide', short=8)],
        [],
        [dict(type='CentreCrop', size=8), len],
        [dict(type='CentreCrop', size=8), dict(type='ResizeShortSide', short=40)],
    ],
)
def test_a_patch_that_fits_or_of_which_the_pipeline_does_not_tell(steps):
    check_patches(
        SimpleNamespace(patch_size=(16, 32)), Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    )


# -------------------------------------------------------------------------------------------- shipped recipes

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(file for file in (ROOT / 'configs').rglob('*.py') if '_base_' not in file.parts)
# dicts whose names anybody chooses; and what the model itself checks when it is built
FREE = ('custom_keys', 'label_map', 'ppo', 'loss_weights', 'budgets')


def faults(cfg) -> list[str]:
    with DefaultScope.overwrite_default_scope('gfvideo'):
        return list(faults_of_keys(cfg, OWN_HOOKS))


@pytest.mark.parametrize('folder', sorted({file.parent for file in RECIPES}), ids=lambda folder: folder.name)
def test_shipped_recipes_pass(folder):
    for file in RECIPES:
        if file.parent == folder:
            for stage in expand_stages(load_config(file)):
                assert faults(with_essentials(stage.cfg).to_dict()) == [], (file.name, stage.name)


@cache
def stage_of(file: Path) -> dict:
    """The config of the last stage, and all that default_runtime.py leaves out."""
    return with_essentials(expand_stages(load_config(file))[-1].cfg).to_dict()


def nested(value, place=()):
    """Where keys stand, two or more deep, outside of dicts that are free."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    for key, inner in items:
        if isinstance(key, str) and len(place) > 0 and place[-1] not in FREE:
            yield (*place, key)
        yield from nested(inner, (*place, key))


def misspelt(data, key: str) -> str:
    at = data.draw(st.integers(0, len(key) - 1))
    kind = data.draw(st.sampled_from(['drop', 'double', 'swap']))
    if kind == 'drop':
        return key[:at] + key[at + 1 :]
    return (
        key[:at] + key[at] * 2 + key[at + 1 :]
        if kind == 'double'
        else key[:at] + key[at : at + 2][::-1] + key[at + 2 :]
    )


@settings(max_examples=120)
@given(st.data())
def test_any_misspelt_key_of_a_recipe_is_refused_by_its_path(data):
    cfg = copy.deepcopy(stage_of(data.draw(st.sampled_from(RECIPES[::3]))))
    place = data.draw(st.sampled_from([place for place in nested(cfg) if place[0] in CHECKED]))
    inner = cfg
    for key in place[:-1]:
        inner = inner[key]
    wrong = misspelt(data, place[-1])
    assume(wrong and wrong not in inner)
    told = '.'.join(map(str, (*place[:-1], wrong)))
    inner[wrong] = inner.pop(place[-1])
    # a dict without its type is told by the key that resembles it; others beside may be told first
    assert any(fault.startswith(told + ' is unknown') for fault in faults(cfg)), (told, faults(cfg))


CHECKED = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'optim_wrapper',
    'auto_scale_lr',
    'env_cfg',
    'randomness',
    'log_processor',
    'visualizer',
    'default_hooks',
    'custom_hooks',
    'val_evaluator',
    'test_evaluator',
    'param_scheduler',
)


def test_a_missing_manifest_is_named(three_stages, tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"stage 'random': train_dataloader.dataset cannot be built: .*no prepared dataset at .*nowhere",
    ):
        cfg = load_config(three_stages)
        cfg.train_dataloader.dataset = dict(
            type='ClipDataset',
            root=str(tmp_path / 'nowhere'),
            split='train',
            pipeline=[dict(type='SampleFrames', frames=2)],
        )
        check_stages(expand_stages(cfg))


def test_checking_changes_no_config(three_stages):
    stages = expand_stages(load_config(three_stages))
    before = [stage.cfg.to_dict() for stage in stages]
    check_stages(stages)
    assert before == [stage.cfg.to_dict() for stage in stages]


def test_a_config_object_without_a_file_has_no_helpers():
    from gfvideo.engine.config import check_keys

    with pytest.raises(ConfigError, match="unknown key 'modle' in the config; did you mean 'model'"):
        check_keys(Config(dict(modle=dict())))


@pytest.mark.parametrize(
    'kind, library', [('TensorboardVisBackend', 'tensorboard'), ('WandbVisBackend', 'wandb')]
)
def test_a_backend_whose_library_is_missing(three_stages, monkeypatch, kind, library):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == library else find(name))
    backends = [dict(type='LocalVisBackend'), dict(type=kind)]
    with pytest.raises(
        ConfigError,
        match=f"stage 'random': visualizer.vis_backends.1: {kind} needs {library}, which is not installed:"
        f' pip install {library}, or leave this backend out',
    ):
        check(three_stages, visualizer__vis_backends=backends)


def test_a_variable_is_told_once(tmp_path, monkeypatch):
    """However often the file is read for the stages that it inherits."""
    monkeypatch.setenv('GFVIDEO_SOME_CLIPS', str(tmp_path / 'clips'))
    (tmp_path / 'base.py').write_text(
        "root = '{{$GFVIDEO_SOME_CLIPS:data}}'\nwork_dir = root\nstages = dict(random=dict(seed=0))\n"
    )
    (tmp_path / 'child.py').write_text("_base_ = ['base.py']\nstages = dict(random=dict(seed=1))\n")
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        for _ in range(2):
            assert load_config(tmp_path / 'child.py').work_dir == str(tmp_path / 'clips')
    finally:
        logger.removeHandler(handler)
    assert len([line for line in told if 'GFVIDEO_SOME_CLIPS' in line]) == 1
