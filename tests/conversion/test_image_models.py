"""Image models of torchvision, of timm and of GFNet's code, of every backbone and of variants that nobody
listed."""

from __future__ import annotations

import re

import pytest
import torch
from other_names import gfnet_names, random_backbone, shapes_of, timm_names, vector_channels, vector_of
from published_networks import gfnet

from gfvideo.apis import init_recognizer
from gfvideo.conversion import ConversionError, recognise_form
from gfvideo.conversion.incoming.backbones import identify_backbone
from gfvideo.conversion.incoming.gfnet import convert_gfnet
from gfvideo.models import ClipRecognizer
from gfvideo.models.backbones import MobileNetV3
from gfvideo.registry import MODELS

CLASSES = 7


@pytest.fixture(autouse=True)
def no_gradient():
    with torch.no_grad():
        yield


def with_classifier(weights: dict, backbone, name: str) -> dict:
    device = next(iter(weights.values())).device
    generator = None if device.type == 'meta' else torch.Generator().manual_seed(1)
    weight = torch.randn(CLASSES, vector_channels(backbone), device=device, generator=generator)
    return weights | {
        f'{name}.weight': weight,
        f'{name}.bias': torch.arange(CLASSES, dtype=torch.float32, device=device),
    }


# ----------------------------------------------------------------------------------- torchvision's and timm's

MODELS_OF_TORCHVISION = [
    (dict(type='ResNet', depth=18), 'fc'),
    (dict(type='ResNet', depth=50), 'fc'),
    (dict(type='MobileNetV2', width=0.5), 'classifier.1'),
    (dict(type='MobileNetV3', size='small', width=0.5), 'classifier.3'),
    (dict(type='MobileNetV3', size='large', width=1.0), 'classifier.3'),
    (dict(type='EfficientNet', variant='b0'), 'classifier.1'),
    (dict(type='RegNetY', size='400m'), 'fc'),
    (dict(type='RegNetY', size='800m'), 'fc'),
    (dict(type='DenseNet', depth=121), 'classifier'),
]
MODELS_OF_TIMM = [
    (dict(type='ResNet', depth=34), 'fc'),
    (dict(type='MobileNetV2', width=1.4), 'classifier'),
    (dict(type='MobileNetV3', size='large', width=1.0, norm_eps=1e-5), 'classifier'),
    (dict(type='MobileNetV3', size='large', width=1.25, rounding='timm', norm_eps=1e-5), 'classifier'),
    (dict(type='MobileNetV3', size='small', width=0.75, rounding='timm', norm_eps=1e-5), 'classifier'),
    (dict(type='EfficientNet', variant='b1'), 'classifier'),
    (dict(type='RegNetY', size='600m'), 'head.fc'),
    (dict(type='RegNetY', size='800m', rounding='timm'), 'head.fc'),
    (dict(type='DenseNet', depth=121), 'classifier'),
]


def label(value) -> str:
    return (
        ''.join(re.findall(r'[\w.]+', ' '.join(str(item) for item in value.values())))
        if isinstance(value, dict)
        else ''
    )


@pytest.mark.parametrize(
    'config, classifier, form',
    [(*case, 'torchvision') for case in MODELS_OF_TORCHVISION] + [(*case, 'timm') for case in MODELS_OF_TIMM],
    ids=label,
)
def test_image_model(config, classifier, form, convert, tmp_path):
    backbone = random_backbone(config)
    weights = with_classifier(
        timm_names(backbone, config) if form == 'timm' else backbone.state_dict(), backbone, classifier
    )
    if config['type'] not in ('ResNet', 'DenseNet'):  # theirs are the same in both
        assert recognise_form(weights) == form
    torch.save(
        {'model': {f'module.{name}': value for name, value in weights.items()}}, tmp_path / 'image.pth'
    )
    convert(tmp_path / 'image.pth', tmp_path / 'ours.pth', '--from', form)
    model = init_recognizer(None, tmp_path / 'ours.pth')
    assert isinstance(model, ClipRecognizer) and model.encoder.shift is None
    frames = torch.randn(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    vectors = vector_of(backbone, frames.flatten(0, 1))
    expected = (
        (vectors @ weights[f'{classifier}.weight'].T + weights[f'{classifier}.bias'])
        .unflatten(0, (2, 3))
        .mean(1)
    )
    torch.testing.assert_close(model(frames), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_epsilon_is_the_code_bases_own(convert, tmp_path):
    """The same weights mean other answers to torchvision and to timm."""
    config = dict(type='MobileNetV3', size='small', width=1.0)
    backbone = random_backbone(config)
    weights = with_classifier(backbone.state_dict(), backbone, 'classifier.3')
    torch.save(weights, tmp_path / 'image.pth')
    for form, epsilon in (('torchvision', 1e-3), ('timm', 1e-5)):
        convert(tmp_path / 'image.pth', tmp_path / f'{form}.pth', '--from', form)
        assert init_recognizer(None, tmp_path / f'{form}.pth').encoder.backbone.features[0][1].eps == epsilon


# timm's and pycls' names of one block a family, and shapes of what tells them apart
BLOCKS = [
    (
        timm_names,
        dict(type='MobileNetV2'),
        'blocks.1.1',
        {
            'conv_pw.weight': (144, 24, 1, 1),
            'bn1.weight': (144,),
            'conv_dw.weight': (144, 1, 3, 3),
            'bn2.bias': (144,),
            'conv_pwl.weight': (24, 144, 1, 1),
            'bn3.running_var': (24,),
        },
    ),
    (
        timm_names,
        dict(type='MobileNetV2'),
        'blocks.0.0',
        {
            'conv_dw.weight': (32, 1, 3, 3),
            'bn1.weight': (32,),
            'conv_pw.weight': (16, 32, 1, 1),
            'bn2.weight': (16,),
        },
    ),
    (
        timm_names,
        dict(type='MobileNetV3'),
        'blocks.2.0',
        {
            'conv_pw.weight': (72, 24, 1, 1),
            'bn1.weight': (72,),
            'conv_dw.weight': (72, 1, 5, 5),
            'bn2.weight': (72,),
            'se.conv_reduce.weight': (24, 72, 1, 1),
            'se.conv_expand.bias': (72,),
            'conv_pwl.weight': (40, 72, 1, 1),
            'bn3.weight': (40,),
        },
    ),
    (
        timm_names,
        dict(type='EfficientNet'),
        'blocks.0.0',
        {
            'conv_dw.weight': (32, 1, 3, 3),
            'bn1.weight': (32,),
            'se.conv_reduce.weight': (8, 32, 1, 1),
            'se.conv_expand.weight': (32, 8, 1, 1),
            'conv_pw.weight': (16, 32, 1, 1),
            'bn2.weight': (16,),
        },
    ),
    (
        timm_names,
        dict(type='RegNetY'),
        's1.b1',
        {
            'conv1.conv.weight': (64, 32, 1, 1),
            'conv1.bn.weight': (64,),
            'conv2.conv.weight': (64, 16, 3, 3),
            'conv2.bn.weight': (64,),
            'se.fc1.weight': (8, 64, 1, 1),
            'se.fc2.weight': (64, 8, 1, 1),
            'conv3.conv.weight': (64, 64, 1, 1),
            'conv3.bn.weight': (64,),
            'downsample.conv.weight': (64, 32, 1, 1),
            'downsample.bn.weight': (64,),
        },
    ),
    (
        gfnet_names,
        dict(type='RegNetY'),
        's1.b1',
        {
            'proj.weight': (64, 32, 1, 1),
            'bn.weight': (64,),
            'f.a.weight': (64, 32, 1, 1),
            'f.a_bn.weight': (64,),
            'f.b.weight': (64, 16, 3, 3),
            'f.se.f_ex.0.weight': (8, 64, 1, 1),
            'f.se.f_ex.2.bias': (64,),
            'f.c.weight': (64, 64, 1, 1),
            'f.c_bn.running_mean': (64,),
        },
    ),
]


@pytest.mark.parametrize(
    'names, config, block, expected', BLOCKS, ids=lambda value: value if isinstance(value, str) else ''
)
def test_the_names_used_here_are_theirs(names, config, block, expected):
    found = {
        name.removeprefix(f'{block}.'): tuple(value.shape)
        for name, value in names(shapes_of(config), config).items()
        if name.startswith(f'{block}.')
    }
    assert expected.items() <= found.items()
    modules = {name.rpartition('.')[0] for name in found}
    assert {name.rpartition('.')[0] for name in expected} | {'f.b_bn'} >= modules  # and no others


def test_timm_knows_these_names():
    timm = pytest.importorskip('timm')
    for name, config in (
        ('mobilenetv2_100', dict(type='MobileNetV2')),
        ('mobilenetv3_large_100', dict(type='MobileNetV3')),
        ('efficientnet_b0', dict(type='EfficientNet')),
        ('regnety_006', dict(type='RegNetY', size='600m')),
    ):
        theirs = {
            key
            for key in timm.create_model(name).state_dict()
            if not key.startswith(('classifier.', 'head.'))
        }
        assert set(timm_names(shapes_of(config), config)) == theirs


def test_arch_opens_any_network_of_timm(convert, tmp_path):
    timm = pytest.importorskip('timm')
    theirs = timm.create_model('resnet10t', num_classes=CLASSES).eval()
    torch.save(theirs.state_dict(), tmp_path / 'image.pth')
    convert(tmp_path / 'image.pth', tmp_path / 'ours.pth', '--from', 'timm', '--arch', 'resnet10t')
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        init_recognizer(None, tmp_path / 'ours.pth')(images[:, None]), theirs(images), rtol=1e-4, atol=1e-4
    )


# ------------------------------------------------------------------------------------- GFNet's other networks


def gfnet_file(backbone, config: dict, patch: int, looks: int, hidden: int = 16) -> dict:
    """Both encoders alike in names, not in values; a policy and a classifier of few hidden values."""
    recurrent = config['type'] in ('ResNet', 'DenseNet', 'RegNetY')
    flat = config['type'] in ('ResNet', 'DenseNet')
    names = gfnet_names(backbone, config)
    device = next(iter(names.values())).device
    torch.manual_seed(3)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device) / (shape[-1] ** 0.5 if len(shape) == 2 else 10)

    def gru(inputs: int) -> dict:
        return {
            'weight_ih_l0': drawn(3 * hidden, inputs),
            'weight_hh_l0': drawn(3 * hidden, hidden),
            'bias_ih_l0': drawn(3 * hidden),
            'bias_hh_l0': drawn(3 * hidden),
        }

    def linear(name: str, inputs: int, outputs: int) -> dict:
        return {f'{name}.weight': drawn(outputs, inputs), f'{name}.bias': drawn(outputs)}

    channels, vector, cells = backbone.channels[32], vector_channels(backbone), -(-patch // 32)
    if flat:
        reader = linear('state_encoder.0', channels * cells**2, 2048) | linear(
            'state_encoder.2', 2048, hidden
        )
    else:
        reader = {'state_encoder.0.weight': drawn(32, channels, 1, 1)} | linear(
            'state_encoder.3', 32 * cells**2, hidden
        )
    policy = reader | {f'gru.{name}': value for name, value in gru(hidden).items()}
    policy |= linear('actor.0', hidden, 2) | linear('critic.0', hidden, 1)
    if recurrent:
        fc = {f'rnn.{name}': value for name, value in gru(vector).items()} | linear('fc', hidden, CLASSES)
    else:
        fc = {
            key: value
            for look in (2, 3, 4, 5)
            for key, value in linear(f'fc_{look}', look * vector, CLASSES).items()
        }
    head = 'fc' if config['type'] in ('ResNet', 'RegNetY') else 'classifier'
    encoder = {f'module.{name}': value for name, value in with_classifier(names, backbone, head).items()}
    focus = {
        name: value * 0.9 if name.endswith('conv_stem.weight') or name.endswith('bias') else value
        for name, value in encoder.items()
    }
    return dict(
        model_name='whatever',
        patch_size=patch,
        flops=[1e9] * looks,
        model_prime_state_dict=encoder,
        model_state_dict=focus,
        policy=policy,
        fc=fc,
    )


RELATIVES = [
    dict(type='ResNet', depth=101),
    dict(type='ResNet', depth=152),
    dict(type='DenseNet', depth=169),
    dict(type='DenseNet', depth=201),
    dict(type='RegNetY', size='600m'),
    dict(type='RegNetY', size='1.6g'),
    dict(type='EfficientNet', variant='b3'),
    dict(type='MobileNetV3', size='large', width=1.25, rounding='timm', norm_eps=1e-5),
]


@pytest.mark.parametrize('config', RELATIVES, ids=label)
def test_relatives_are_recognised_by_rule(config):
    """Names and shapes alone, of networks of which no layout was published."""
    model, weights, remarks = convert_gfnet(gfnet_file(shapes_of(config), config, patch=96, looks=4))
    assert model['glance']['backbone'] == model['focus']['backbone'] == config and not remarks
    assert (model['steps'], model['patch_size'], model['glance_size'], model['num_classes']) == (
        3,
        96,
        96,
        CLASSES,
    )
    assert model['glance_resize'] == ('bilinear' if config['type'] in ('DenseNet', 'RegNetY') else 'bicubic')
    own = shapes_of(model).state_dict()
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in own.items()
    }


@pytest.mark.parametrize(
    'config, interpolation', [(RELATIVES[-1], 'bicubic'), (RELATIVES[4], 'bilinear')], ids=label
)
def test_relatives_answer_as_the_published_code(config, interpolation, convert, tmp_path):
    content = gfnet_file(random_backbone(config), config, patch=64, looks=3)
    torch.save(content, tmp_path / 'gfnet.pth.tar')
    convert(tmp_path / 'gfnet.pth.tar', tmp_path / 'ours.pth')
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(4))
    prediction = init_recognizer(None, tmp_path / 'ours.pth').predict_steps(images[:, None])
    logits, centres = gfnet(content, config, images, 3, interpolation, glance_answers_alone=True)
    torch.testing.assert_close(
        prediction.step_logits.transpose(0, 1), logits, rtol=1e-4, atol=1e-4 * logits.abs().max().item()
    )
    torch.testing.assert_close(prediction.centres[:, :, 0].transpose(0, 1), centres, rtol=0, atol=1e-4)


def test_patch_size_and_looks_without_being_told():
    config = dict(type='RegNetY', size='400m')
    content = gfnet_file(shapes_of(config), config, patch=96, looks=4)
    del content['flops'], content['patch_size']
    model, _, remarks = convert_gfnet(content)
    assert model['patch_size'] == 96 and model['steps'] == 4  # 3 cells of 32 pixels; 5 looks, as published
    assert len(remarks) == 1 and '5, as published for RegNetY; --steps' in remarks[0]
    told, _, remarks = convert_gfnet(content, steps=2, patch_size=90)
    assert (told['patch_size'], told['steps'], remarks) == (90, 2, [])


def test_our_names_of_gfnet_are_those_of_the_layouts(checkpoints):
    for name, config in (
        ('resnet50_96_T5', dict(type='ResNet')),
        ('densenet121_96_T5', dict(type='DenseNet')),
        ('regnety_800m_96_T5', dict(type='RegNetY', rounding='timm')),
        ('efficientnet_b2_128_T4', dict(type='EfficientNet', variant='b2')),
        ('mobilenetv3_large_100_128_T3', dict(type='MobileNetV3')),
    ):
        text = (checkpoints / 'layouts' / f'gfnet_{name}.txt').read_text().split('[model_state_dict]')[0]
        layout = {
            line.split()[0].removeprefix('module.')
            for line in text.splitlines()
            if line.startswith('module.')
        }
        ours = set(gfnet_names(shapes_of(config), config))
        assert ours == {key for key in layout if key.split('.')[0] not in ('fc', 'classifier')}


def test_more_steps_than_the_classifier_has():
    config = dict(type='MobileNetV3', size='small', norm_eps=1e-5)
    with pytest.raises(ConversionError, match='7 focus steps .* choose --steps 4 or fewer'):
        convert_gfnet(gfnet_file(MobileNetV3('small', norm_eps=1e-5), config, 64, 3), steps=7)


@pytest.mark.parametrize(
    'config',
    [
        dict(type='MobileNetV2', width=0.9),
        dict(type='MobileNetV3', size='small', width=0.65, rounding='timm'),
    ],
)
def test_a_width_that_nobody_published(config):
    with torch.device('meta'):
        weights = MODELS.build(config).state_dict()
        found = MODELS.build(identify_backbone(weights).config).state_dict()
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in weights.items()
    }
