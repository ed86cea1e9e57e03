"""Faults of a config are told before anything trains."""
from __future__ import annotations

import pytest
from mmengine.config import Config

from gfvideo.engine import ConfigError, check_stages, expand_stages, load_config


@pytest.fixture
def write(tmp_path):
    def write_file(text: str, name: str = 'config.py'):
        (tmp_path / name).write_text(text)
        return tmp_path / name
    return write_file


# ---------------------------------------------------------------------------------------------------------------------- unknown keys

@pytest.mark.parametrize('text, key, meant', [
    ("optim_wraper = dict(type='OptimWrapper')", 'optim_wraper', "did you mean 'optim_wrapper'"),
    ('train_dataloadr = dict()', 'train_dataloadr', "did you mean 'train_dataloader'"),
    ('nonsense = 1', 'nonsense', 'Nothing reads it'),
    ("load_form = 'x.pth'", 'load_form', "did you mean 'load_from'"),
])
def test_unknown_keys_are_named_with_what_was_meant(write, text, key, meant):
    with pytest.raises(ConfigError, match=f'unknown key {key!r} in .*config.py.*{meant}'):
        load_config(write(text))


def test_helpers_that_are_read_pass(write):
    write("train_pipeline = [dict(type='A')]\ntrain_dataloader = dict(dataset=dict(pipeline=train_pipeline))\nwidth = 3\n", 'base.py')
    cfg = load_config(write("_base_ = './base.py'\nmodel = dict(width=_base_.width)\nepochs = 4\ntrain_cfg = dict(max_epochs=2 * epochs)\n"
                            '_own = 1\n'))
    assert cfg.model.width == 3 and cfg.train_cfg.max_epochs == 8


def test_redefining_an_inherited_helper_is_told_to_change_nothing(write):
    write("train_pipeline = [dict(type='A')]\ntrain_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n", 'base.py')
    with pytest.raises(ConfigError, match="'train_pipeline' in .*config.py.*redefining a helper of an inherited file changes nothing"):
        load_config(write("_base_ = ['base.py']\ntrain_pipeline = [dict(type='B')]\n"))


def test_a_key_nobody_reads_in_an_inherited_file(write):
    write('model = dict()\nforgotten = 3\n', 'base.py')
    with pytest.raises(ConfigError, match=r"'forgotten' in .*base\.py"):
        load_config(write("_base_ = 'base.py'\n"))


def test_helpers_across_read_base(write):
    write('width = 3\n', 'base.py')
    text = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\nmodel = dict(width=width)\n'
    assert load_config(write(text)).model.width == 3
    with pytest.raises(ConfigError, match=r"'width' in .*base\.py"):
        load_config(write(text.replace('=width', '=4')))


def test_json_configs_have_no_helpers(write):
    with pytest.raises(ConfigError, match="unknown key 'helper'"):
        load_config(write('{"helper": 1}', 'config.json'))


def test_missing_config(tmp_path):
    with pytest.raises(FileNotFoundError, match='no config at .*nowhere.py'):
        load_config(tmp_path / 'nowhere.py')


# -------------------------------------------------------------------------------------------------------------------------- the parts

def check(three_stages, **options) -> None:
    cfg = load_config(three_stages)
    cfg.work_dir = 'work'
    check_stages(expand_stages(cfg, {key.replace('__', '.'): value for key, value in options.items()}))


def test_a_sound_config_passes(three_stages):
    check(three_stages)


@pytest.mark.parametrize('options, message', [
    (dict(stages__tune__model__num_classes=4),
     "stage 'tune': model.num_classes=4, but train_dataloader.dataset has 3 classes .red, green, blue"),
    (dict(val_dataloader__dataset__classes=['red', 'green', 'blue', 'grey']),
     'model.num_classes=3, but val_dataloader.dataset has 4 classes .red, green, blue, ...'),
    (dict(val_dataloader__dataset__classes=['red', 'blue', 'green']),
     "val_dataloader.dataset and train_dataloader.dataset number their classes differently: label 1 is 'blue' and 'green'"),
    (dict(stages__tune__model__stepz=3), "stage 'tune': model cannot be built: .*stepz"),
    (dict(stages__policy__train_cfg__update_epoch=3), "stage 'policy': train_cfg cannot be built: .*update_epoch"),
    (dict(stages__policy__train_cfg__type='PolicyLop'), "stage 'policy': train_cfg.type='PolicyLop' is not a registered loop"),
    (dict(val_cfg__fp17=True), 'val_cfg cannot be built: .*fp17'),
    (dict(default_hooks__checkpoint__intervall=3), 'default_hooks.checkpoint cannot be built: .*takes no intervall'),
    (dict(default_hooks__logger__intervall=3), 'default_hooks.logger cannot be built: .*intervall'),
    (dict(val_evaluator__type='ClipAcuracy'), 'val_evaluator cannot be built: .*ClipAcuracy'),
    (dict(test_evaluator__metrics=[]), 'test_evaluator cannot be built'),
    (dict(optim_wrapper__optimizer__momentm=0.9), 'optim_wrapper cannot be built: .*momentm'),
    (dict(param_scheduler__type='CosineAnealing'), 'param_scheduler.0 cannot be built: .*CosineAnealing'),
    (dict(train_dataloader__batchsize=3), 'train_dataloader cannot be built: .*batchsize'),
    (dict(train_dataloader__batch_size=9, train_dataloader__drop_last=True), 'train_dataloader has no batch: 8 clips, batch_size=9'),
    (dict(train_dataloader__dataset__clip=3), 'train_dataloader.dataset cannot be built: .*clip'),
    (dict(stages__tune__start_from='best', stages__policy__default_hooks__checkpoint__save_best=None),
     "stage 'tune' has start_from='best', but stage 'policy' keeps no best checkpoint"),
    (dict(stages__tune__model__frozen=['glance_encoder', 'focus_encoder', 'policy', 'classifier', 'glance_head', 'focus_head']),
     "stage 'tune': no parameter of GlanceFocusRecognizer learns"),
])
def test_faults_of_any_stage_are_told_with_its_name(three_stages, options, message):
    with pytest.raises(ConfigError, match=message):
        check(three_stages, **options)


def test_a_missing_manifest_is_named(three_stages, tmp_path):
    with pytest.raises(ConfigError, match=r"stage 'random': train_dataloader.dataset cannot be built: .*no prepared dataset at .*nowhere"):
        cfg = load_config(three_stages)
        cfg.train_dataloader.dataset = dict(type='ClipDataset', root=str(tmp_path / 'nowhere'), split='train',
                                            pipeline=[dict(type='SampleFrames', clip_len=2)])
        check_stages(expand_stages(cfg))


def test_checking_changes_no_config(three_stages):
    stages = expand_stages(load_config(three_stages))
    before = [stage.cfg.to_dict() for stage in stages]
    check_stages(stages)
    assert before == [stage.cfg.to_dict() for stage in stages]


def test_a_config_object_without_a_file_has_no_helpers():
    from gfvideo.engine.config_check import check_keys
    with pytest.raises(ConfigError, match="unknown key 'modle' in the config; did you mean 'model'"):
        check_keys(Config(dict(modle=dict())))
