"""What cannot be converted is refused: every name is told, with the reason and the remedy, and nothing is
written."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from other_names import gfnet_names, random_backbone
from torch import Tensor

from gfvideo.conversion import ConversionError, Converted, convert_file, export_encoder, recognise_form
from gfvideo.conversion.incoming.convert import converted_config
from gfvideo.registry import MODELS

R18 = dict(type='ResNet', depth=18)


@functools.cache
def recognizer(shift: str | None = 'bidirectional'):
    model = MODELS.build(
        dict(type='ClipRecognizer', num_classes=5, encoder=dict(type='Encoder', shift=shift, backbone=R18))
    )
    model.encoder.backbone.load_state_dict(random_backbone(R18).state_dict())
    return model.eval()


def linear(name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
    return {f'{name}.weight': torch.randn(outputs, inputs), f'{name}.bias': torch.randn(outputs)}


def norm(name: str, channels: int) -> dict[str, Tensor]:
    return {
        f'{name}.{leaf}': torch.ones(channels) for leaf in ('weight', 'bias', 'running_mean', 'running_var')
    }


def gru(inputs: int, hidden: int) -> dict[str, Tensor]:
    return {
        'weight_ih_l0': torch.randn(3 * hidden, inputs),
        'weight_hh_l0': torch.randn(3 * hidden, hidden),
        'bias_ih_l0': torch.randn(3 * hidden),
        'bias_hh_l0': torch.randn(3 * hidden),
    }


def tsm_file() -> dict:
    return export_encoder(recognizer(), 'tsm')


def mmaction2_file() -> dict:
    return export_encoder(recognizer(), 'mmaction2')


def torchvision_file() -> dict:
    return dict(state_dict=export_encoder(recognizer(None), 'torchvision'))


def gfnet_file() -> dict:
    encoder = {
        f'module.{name}': value
        for name, value in (gfnet_names(random_backbone(R18), R18) | linear('fc', 512, 5)).items()
    }
    policy = linear('state_encoder.0', 512 * 4, 2048) | linear('state_encoder.2', 2048, 8)
    policy |= linear('actor.0', 8, 2) | linear('critic.0', 8, 1)
    policy |= {f'gru.{name}': value for name, value in gru(8, 8).items()}
    fc = {f'rnn.{name}': value for name, value in gru(512, 8).items()} | linear('fc', 8, 5)
    return dict(
        model_name='resnet18',
        patch_size=64,
        flops=[1.0, 2.0, 3.0],
        model_prime_state_dict=encoder,
        model_state_dict=dict(encoder),
        policy=policy,
        fc=fc,
    )


def adafocus_encoders() -> dict:
    base = {
        name.removeprefix('module.base_model.'): value
        for name, value in tsm_file()['state_dict'].items()
        if 'base_model' in name
    }
    encoder = (
        {f'base_model.{name}': value for name, value in base.items()}
        | linear('new_fc', 512, 5)
        | linear('new_new_fc', 512, 5)
    )
    return {
        f'module.{part}.{name}': value
        for part in ('global_CNN', 'local_CNN')
        for name, value in encoder.items()
    }


def adafocusv2_file() -> dict:
    policy = (
        {'0.weight': torch.randn(4, 512 * 2, 1, 1)}
        | norm('1', 4)
        | linear('4', 4 * 4, 8)
        | norm('5', 8)
        | linear('7', 8, 6)
    )
    policy |= norm('8', 6) | linear('10', 6, 2)
    return dict(
        state_dict=adafocus_encoders()
        | {f'module.policy_stn.{name}': value for name, value in policy.items()}
    )


def uni_adafocus_file() -> dict:
    spatial = (
        {'0.weight': torch.randn(4, 512, 1, 1, 1)}
        | norm('1', 4)
        | {'3.weight': torch.randn(4, 4, 3, 3, 3)}
        | norm('4', 4)
    )
    spatial |= (
        {'6.weight': torch.randn(4, 4, 3, 3, 3)} | norm('7', 4) | {'9.weight': torch.randn(4, 4, 2, 7, 7)}
    )
    temporal = (
        {'0.weight': torch.randn(4, 512, 3, 1)}
        | norm('1', 4)
        | {'3.weight': torch.randn(4, 4, 3, 1)}
        | norm('4', 4)
    )
    temporal |= {'6.weight': torch.randn(1, 4, 1, 1)}
    weights = adafocus_encoders() | {
        f'module.spatial_policy.encoder.{name}': value for name, value in spatial.items()
    }
    weights |= {f'module.temporal_policy.Tconv.{name}': value for name, value in temporal.items()}
    return dict(state_dict=weights | linear('module.aux_fc', 512, 5))


FILES = dict(
    tsm=tsm_file,
    mmaction2=mmaction2_file,
    torchvision=torchvision_file,
    gfnet=gfnet_file,
    adafocusv2=adafocusv2_file,
)
FILES |= {'uni-adafocus': uni_adafocus_file}


@pytest.fixture
def refused(tmp_path, convert, capsys) -> Callable[..., str]:
    """A function ``(content, *flags)``: the one line with which the tool refuses to convert; it writes
    nothing."""

    def refuse(content: object, *flags: str) -> str:
        torch.save(content, tmp_path / 'theirs.pth')
        with pytest.raises(SystemExit) as stopped:
            convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth', *flags)
        assert [path.name for path in tmp_path.iterdir()] == ['theirs.pth'] and not capsys.readouterr().out
        assert str(stopped.value).startswith('error: ')
        return str(stopped.value)

    return refuse


@pytest.mark.parametrize('form', FILES)
def test_these_files_convert(form, tmp_path, convert, capsys):
    torch.save(FILES[form](), tmp_path / 'theirs.pth')
    convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    assert f'form: {form}' in capsys.readouterr().out


# ---------------------------------------------------------------------- names that have no place, or no value

BASE = {
    'tsm': 'module.base_model.',
    'mmaction2': 'backbone.',
    'torchvision': '',
    'gfnet': 'module.',
    'adafocusv2': 'module.local_CNN.base_model.',
    'uni-adafocus': 'module.global_CNN.base_model.',
}


def weights_of(form: str, content: dict) -> dict[str, Tensor]:
    return content['model_state_dict' if form == 'gfnet' else 'state_dict']


def names_told(message: str, names: list[str]) -> bool:
    return all(re.search(rf'(?<![\w.]){re.escape(name)}(?![\w.])', message) for name in names)


@pytest.mark.parametrize('form', FILES)
def test_unknown_names_are_all_told(form, refused):
    content = FILES[form]()
    added = [f'layer9.{i}.conv.weight' for i in range(12)]
    weights_of(form, content).update({BASE[form] + name: torch.zeros(2) for name in added})
    assert names_told(refused(content), added)


@pytest.mark.parametrize('form', FILES)
def test_missing_names_are_all_told(form, refused):
    content = FILES[form]()
    weights = weights_of(form, content)
    taken = [
        name
        for name in weights
        if name.startswith(BASE[form]) and re.search(r'layer[34].*\.(running_var|bias)$', name)
    ]
    assert len(taken) > 10
    for name in taken:
        del weights[name]
    plain = [name.removeprefix(BASE[form]) for name in taken]
    if form == 'mmaction2':  # told as the backbone calls them
        plain = [
            re.sub(r'downsample\.bn', 'downsample.1', re.sub(r'conv(\d)\.bn', r'bn\1', name))
            for name in plain
        ]
    assert names_told(refused(content), plain)


@pytest.mark.parametrize('form', FILES)
def test_reshaped_weights_are_all_told(form, refused):
    content = FILES[form]()
    weights = weights_of(form, content)
    names = [
        name
        for name in weights
        if name.startswith(BASE[form]) and name.endswith(('running_var', 'running_mean')) and 'layer' in name
    ]
    for name in names:
        weights[name] = weights[name][:-1]
    message = refused(content)
    assert (
        len(names) > 10 and message.count('instead of') == len(names) and '(63,) instead of (64,)' in message
    )


HEADS = {
    'tsm': ('module.new_fc.bias', 'new_fc.weight has no bias'),
    'mmaction2': ('cls_head.fc_cls.bias', 'cls_head.fc_cls'),
    'adafocusv2': ('module.local_CNN.new_new_fc.weight', 'new_new_fc.weight'),
    'uni-adafocus': ('module.aux_fc.bias', 'window_head.bias'),
}


@pytest.mark.parametrize('form', HEADS)
def test_a_missing_part_of_the_head(form, refused):
    content = FILES[form]()
    del content['state_dict'][HEADS[form][0]]
    assert HEADS[form][1] in refused(content)


POLICY_NAMES = [
    ('gfnet', 'policy', 'state_encoder.0.weight'),
    ('gfnet', 'policy', 'state_encoder.2.bias'),
    ('gfnet', 'policy', 'actor.0.weight'),
    ('gfnet', 'policy', 'gru.bias_hh_l0'),
    ('gfnet', 'fc', 'rnn.weight_hh_l0'),
    ('gfnet', 'fc', 'fc.bias'),
    *[
        ('adafocusv2', 'state_dict', f'module.policy_stn.{name}')
        for name in ('0.weight', '4.weight', '7.weight', '8.bias')
    ],
    *[
        ('uni-adafocus', 'state_dict', f'module.spatial_policy.encoder.{name}')
        for name in ('9.weight', '4.running_mean')
    ],
    *[
        ('uni-adafocus', 'state_dict', f'module.temporal_policy.Tconv.{name}')
        for name in ('0.weight', '6.weight')
    ],
]


@pytest.mark.parametrize(
    'form, part, name', POLICY_NAMES, ids=[f'{form} {name}' for form, _, name in POLICY_NAMES]
)
def test_a_missing_weight_of_policy_or_classifier(form, part, name, refused):
    content = FILES[form]()
    del content[part][name]
    assert re.search(r'missing|lacks|expected', refused(content))


@pytest.mark.parametrize(
    'form, part, name',
    [
        ('gfnet', 'policy', 'actor.2.weight'),
        ('gfnet', 'policy', 'state_encoder.5.weight'),
        ('gfnet', 'fc', 'rnn.weight_ih_l1'),
        ('gfnet', 'fc', 'fc2.weight'),
        ('adafocusv2', 'state_dict', 'module.policy_stn.12.weight'),
        ('uni-adafocus', 'state_dict', 'module.spatial_policy.gate.weight'),
        ('uni-adafocus', 'state_dict', 'module.temporal_policy.Tconv.9.weight'),
        ('adafocusv2', 'state_dict', 'module.extra.weight'),
        ('mmaction2', 'state_dict', 'neck.weight'),
    ],
)
def test_an_unknown_weight_of_policy_or_classifier(form, part, name, refused):
    content = FILES[form]()
    content[part][name] = torch.zeros(3)
    rest = name.removeprefix('module.')
    assert any('.'.join(rest.split('.')[i:]) in refused(content) for i in range(2))


def test_a_classifier_that_skips_a_look(refused):
    content = gfnet_file()
    config = dict(type='MobileNetV3', size='small', width=0.5, rounding='timm', norm_eps=1e-5)
    encoder = gfnet_names(random_backbone(config), config) | linear('classifier', 1024, 5)
    content |= dict(model_prime_state_dict=encoder, model_state_dict=dict(encoder), patch_size=64)
    content['policy'] = (
        {'state_encoder.0.weight': torch.randn(4, 288, 1, 1)}
        | linear('state_encoder.3', 16, 8)
        | {name: value for name, value in content['policy'].items() if 'state_encoder' not in name}
    )
    assert '[2, 4]' in refused(content | dict(fc=linear('fc_2', 2048, 5) | linear('fc_4', 4096, 5)))
    assert 'rnn.weight_ih_l0' in refused(content)  # a recurrent one, which this family does not have


# ----------------------------------------------------------------------------------------- models that differ


def test_shift_at_other_places(refused):
    content = tsm_file()
    weights = content['state_dict']
    weights['module.base_model.layer2.0.conv2.net.weight'] = weights.pop(
        'module.base_model.layer2.0.conv2.weight'
    )
    weights['module.base_model.layer3.1.conv1.weight'] = weights.pop(
        'module.base_model.layer3.1.conv1.net.weight'
    )
    message = refused(content)
    assert (
        "missing at ['layer3.1.conv1'] and superfluous at ['layer2.0.conv2']" in message
        and 'blockres' in message
    )


def test_non_local_blocks(refused):
    content = tsm_file()
    added = [f'module.base_model.layer2.0.nl.{name}.weight' for name in ('theta', 'phi', 'g', 'W.0', 'W.1')]
    content['state_dict'].update({name: torch.zeros(1) for name in added})
    message = refused(content)
    assert 'non-local' in message and names_told(
        message, [name.removeprefix('module.base_model.') for name in added]
    )


def test_models_that_pad_as_tensorflow_does(refused):
    message = refused(gfnet_file() | dict(model_name='tf_efficientnet_b2'))
    assert "'tf_efficientnet_b2'" in message and 'TensorFlow' in message and 'without tf_' in message


def test_two_different_encoders(refused):
    content = gfnet_file()
    encoder = gfnet_names(
        random_backbone(dict(type='ResNet', depth=34)), dict(type='ResNet', depth=34)
    ) | linear('fc', 512, 5)
    message = refused(content | dict(model_state_dict=encoder))
    assert "'depth': 18" in message and "'depth': 34" in message


def test_parts_of_gfnet_that_lack(refused):
    content = gfnet_file()
    del content['policy'], content['model_state_dict']
    assert 'lacks model_state_dict, policy' in refused(content)


def test_a_patch_size_that_does_not_fit_the_policy(refused):
    message = refused(gfnet_file() | dict(patch_size=96))
    assert 'patch_size=96' in message and '3 cells' in message and 'built for 2' in message
    assert 'patch_size=128' in refused(gfnet_file(), '--patch-size', '128')


def test_a_backbone_without_classifier(refused):
    bare = random_backbone(R18).state_dict()
    for flags in ((), ('--from', 'timm'), ('--from', 'tsm')):
        message = refused(bare, *flags)
        assert 'no classifier' in message and "init_cfg=dict(type='Pretrained'" in message


def test_another_network(refused):
    message = refused(
        {'stage1.weight': torch.zeros(3, 3), 'fc.weight': torch.zeros(5, 3), 'fc.bias': torch.zeros(5)}
    )
    assert 'stage1.weight' in message and '--arch' in message


def test_focus_frames_of_a_model_that_picks_none(refused):
    message = refused(adafocusv2_file(), '--focus-frames', '6')
    assert '--focus-frames 6' in message and 'every candidate' in message


def test_a_checkpoint_of_ours(refused, tmp_path):
    message = refused(dict(state_dict=recognizer().state_dict(), meta=dict(cfg='model = dict()')))
    assert 'gfvideo already' in message and '--to tsm, mmaction2 or torchvision' in message


def test_an_unknown_form(tmp_path):
    torch.save(tsm_file(), tmp_path / 'theirs.pth')
    with pytest.raises(ConversionError, match="'caffe' is unknown; choose auto, tsm"):
        convert_file(tmp_path / 'theirs.pth', 'caffe')


@pytest.mark.parametrize(
    'content, told',
    [
        ([1, 2], 'a list, not a dict'),
        ({}, 'no weights'),
        (dict(state_dict={}), 'no weights'),
        (dict(epoch=3, note='x'), "['epoch', 'note']"),
        (torch.zeros(2), 'a Tensor'),
    ],
)
def test_files_without_weights(content, told, refused):
    assert told in refused(content)


# -------------------------------------------------------------------------------------------- files and flags


@pytest.mark.parametrize(
    'foreign, kind',
    [
        (argparse.Namespace(lr=0.1), 'argparse.Namespace'),
        (np.float64(61.5), 'numpy'),
        (np.arange(3), 'numpy'),
    ],
)
def test_foreign_objects_need_trust(foreign, kind, refused, convert, tmp_path):
    content = tsm_file() | dict(args=foreign)
    message = refused(content)
    assert kind in message and 'may run a program' in message and '--trust-pickle' in message
    with pytest.warns(
        UserWarning, match='theirs.pth is unpickled whole, as --trust-pickle asks.*can run any program'
    ):
        convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth', '--trust-pickle')
    assert torch.load(tmp_path / 'ours.pth', weights_only=True)['meta']['converted']['form'] == 'tsm'


def test_no_program_runs_unasked(refused, tmp_path):
    class Program:
        def __reduce__(self):
            return exec, (f'open({str(tmp_path / "ran")!r}, "w").close()',)

    assert 'may run a program' in refused(tsm_file() | dict(hidden=Program()))
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'damage', [lambda data: data[: len(data) // 2], lambda data: b'', lambda data: b'<html>not found</html>']
)
def test_a_damaged_file(damage, tmp_path, convert):
    torch.save(tsm_file(), tmp_path / 'whole.pth')
    (tmp_path / 'theirs.pth').write_bytes(damage((tmp_path / 'whole.pth').read_bytes()))
    with pytest.raises(SystemExit, match=r'error: .*theirs\.pth'):
        convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    assert not (tmp_path / 'ours.pth').exists()


def test_forms_are_told_by_their_names():
    for form, file in FILES.items():
        assert recognise_form(file()) == form


@pytest.mark.parametrize(
    ('form', 'backbone', 'sizes'),
    [
        ('gfnet', dict(type='EfficientNet', variant='b2'), (297, 260)),
        ('gfnet', dict(type='EfficientNet', variant='b3'), (331, 300)),
        ('gfnet', dict(type='ResNet', depth=50), (256, 224)),
    ],
)
def test_the_test_pipeline_makes_images_of_the_published_size(form, backbone, sizes):
    model = dict(type='GlanceFocusRecognizer', glance=dict(type='Encoder', backbone=backbone))
    pipeline = converted_config(Converted(form, model, {}, num_frames=1)).test_dataloader.dataset.pipeline
    steps = {step['type']: step for step in pipeline}
    assert (steps['ResizeShortSide']['short'], steps['CentreCrop']['size']) == sizes
    assert steps['SampleFrames']['frames'] == 1


def test_focus_frames_and_frames_that_do_not_go_together(refused):
    assert '8 frames are fewer than' in refused(uni_adafocus_file(), '--frames', '8')
    assert '36 frames are fewer than' in refused(uni_adafocus_file(), '--focus-frames', '50')


def test_a_form_of_the_family_that_it_is_not(refused):
    assert 'the names are those of adafocusv2' in refused(adafocusv2_file(), '--from', 'uni-adafocus')
