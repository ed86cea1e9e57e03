"""Names and shapes of parameters: those of torchvision, and the way to them from timm's, GFNet's and old
files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gfvideo.models.backbones import DenseNet, EfficientNet, MobileNetV3, RegNetY, ResNet
from gfvideo.models.pretrained import load_pretrained


def build(config: dict) -> nn.Module:
    from gfvideo.registry import MODELS

    with torch.device('meta'):  # names and shapes alone
        return MODELS.build(config)


def fingerprint(state_dict: dict[str, Tensor]) -> str:
    """Number of names, and the first twelve digits of a hash of names and shapes."""
    lines = sorted(f'{name} {tuple(value.shape)}' for name, value in state_dict.items())
    return f'{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}'


# config, torchvision's function, its arguments, the fingerprint of what it makes, without the classifier
TORCHVISION = [
    (dict(type='ResNet', depth=18), 'resnet18', dict(), '120 504739f3083b'),
    (dict(type='ResNet', depth=34), 'resnet34', dict(), '216 44a0fd3c2ef0'),
    (dict(type='ResNet', depth=50), 'resnet50', dict(), '318 c1f7fd3808aa'),
    (dict(type='ResNet', depth=101), 'resnet101', dict(), '624 a36254db3e8f'),
    (dict(type='ResNet', depth=152), 'resnet152', dict(), '930 5f18e10ce34a'),
    (dict(type='MobileNetV2', width=0.5), 'mobilenet_v2', dict(width_mult=0.5), '312 90290dcf16df'),
    (dict(type='MobileNetV2', width=1.0), 'mobilenet_v2', dict(width_mult=1.0), '312 9c3fc12e3e07'),
    (dict(type='MobileNetV2', width=1.4), 'mobilenet_v2', dict(width_mult=1.4), '312 d73737ec5641'),
    (
        dict(type='MobileNetV3', size='large', width=0.5),
        'mobilenet_v3_large',
        dict(width_mult=0.5),
        '310 54724a175552',
    ),
    (
        dict(type='MobileNetV3', size='large', width=0.75),
        'mobilenet_v3_large',
        dict(width_mult=0.75),
        '310 bcaaceb0177a',
    ),
    (
        dict(type='MobileNetV3', size='large', width=1.0),
        'mobilenet_v3_large',
        dict(width_mult=1.0),
        '310 1e88095998f8',
    ),
    (
        dict(type='MobileNetV3', size='large', width=1.25),
        'mobilenet_v3_large',
        dict(width_mult=1.25),
        '310 830e0cfedc14',
    ),
    (
        dict(type='MobileNetV3', size='small', width=0.5),
        'mobilenet_v3_small',
        dict(width_mult=0.5),
        '242 267ff109d76c',
    ),
    (
        dict(type='MobileNetV3', size='small', width=0.75),
        'mobilenet_v3_small',
        dict(width_mult=0.75),
        '242 6a9facfd9c96',
    ),
    (
        dict(type='MobileNetV3', size='small', width=1.0),
        'mobilenet_v3_small',
        dict(width_mult=1.0),
        '242 f8270650791d',
    ),
    (
        dict(type='MobileNetV3', size='small', width=1.25),
        'mobilenet_v3_small',
        dict(width_mult=1.25),
        '242 991a89240e12',
    ),
    (dict(type='EfficientNet', variant='b0'), 'efficientnet_b0', dict(), '358 188ac9aab151'),
    (dict(type='EfficientNet', variant='b1'), 'efficientnet_b1', dict(), '506 f1dd3c4f92ee'),
    (dict(type='EfficientNet', variant='b2'), 'efficientnet_b2', dict(), '506 7bc2cd5b4f4a'),
    (dict(type='EfficientNet', variant='b3'), 'efficientnet_b3', dict(), '572 c32038d23277'),
    (dict(type='RegNetY', size='400m'), 'regnet_y_400mf', dict(), '382 d85aef06caa6'),
    (dict(type='RegNetY', size='800m'), 'regnet_y_800mf', dict(), '338 7e57d2f9ac32'),
    (dict(type='RegNetY', size='1.6g'), 'regnet_y_1_6gf', dict(), '624 8ab73f321212'),
    (dict(type='DenseNet', depth=121), 'densenet121', dict(), '725 d40ec7e16223'),
    (dict(type='DenseNet', depth=169), 'densenet169', dict(), '1013 05e88ddaa92c'),
    (dict(type='DenseNet', depth=201), 'densenet201', dict(), '1205 5910556b6900'),
]


@pytest.mark.parametrize(
    'config, function, arguments, expected',
    TORCHVISION,
    ids=lambda value: '' if isinstance(value, dict) else value,
)
def test_names_are_torchvisions(config, function, arguments, expected):
    assert fingerprint(build(config).state_dict()) == expected


@pytest.mark.parametrize(
    'config, function, arguments, expected',
    TORCHVISION,
    ids=lambda value: '' if isinstance(value, dict) else value,
)
def test_fingerprints_are_torchvisions(config, function, arguments, expected):
    torchvision = pytest.importorskip('torchvision')
    with torch.device('cpu' if 'regnet' in function else 'meta'):  # RegNets compute their widths with tensors
        theirs = getattr(torchvision.models, function)(**arguments).state_dict()
    ours = build(config)
    kept = ours.rename_pretrained({f'module.{name}': value for name, value in theirs.items()})
    assert fingerprint(kept) == expected
    assert all(name.split('.')[0] in ('fc', 'classifier') for name in set(theirs) - set(kept))


# ---------------------------------------------------------------------------------------- GFNet's checkpoints

LAYOUTS = [
    ('gfnet_densenet121_96_T5', dict(type='DenseNet', depth=121)),
    ('gfnet_efficientnet_b2_128_T4', dict(type='EfficientNet', variant='b2')),
    ('gfnet_mobilenetv3_large_100_128_T3', dict(type='MobileNetV3', norm_eps=1e-5, rounding='timm')),
    ('gfnet_regnety_800m_96_T5', dict(type='RegNetY', size='800m', rounding='timm')),
    ('gfnet_resnet50_96_T5', dict(type='ResNet', depth=50)),
]


def parts_of(shared: Path, name: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Keys and shapes of each part of a published checkpoint."""
    file = shared / 'checkpoints' / 'layouts' / f'{name}.txt'
    if not file.is_file():
        pytest.skip(f'{file} is not here')
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for line in file.read_text().splitlines():
        if title := re.fullmatch(r'\[(\w+)\]', line):
            parts[title[1]] = {}
        elif match := re.fullmatch(r'(\S+) \((.*)\)', line):
            list(parts.values())[-1][match[1]] = tuple(
                int(side) for side in match[2].split(',') if side.strip()
            )
    return parts


@pytest.mark.parametrize('name, config', LAYOUTS, ids=[name for name, _ in LAYOUTS])
@pytest.mark.parametrize('part', ['model_prime_state_dict', 'model_state_dict'])
def test_gfnet_encoders(shared, name, config, part):
    layout = parts_of(shared, name)[part]
    file = {key: torch.empty(shape, device='meta') for key, shape in layout.items()}
    model = build(config)
    renamed = model.rename_pretrained(file)
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in renamed.items()}
    assert {key: shape for key, shape in found.items() if 'num_batches' not in key} == {
        key: shape for key, shape in own.items() if 'num_batches' not in key
    }
    assert set(found) <= set(own)


# ------------------------------------------------------------------------------------- old files, classifiers


def test_old_densenet_names():
    own = build(dict(type='DenseNet')).state_dict()
    old = {
        re.sub(r'(denselayer\d+\.(?:norm|conv))([12])\.', r'\1.\2.', name): value
        for name, value in own.items()
    }
    assert 'features.denseblock1.denselayer1.norm.1.weight' in old
    assert list(DenseNet.rename_pretrained({**old, 'classifier.weight': torch.zeros(10, 1024)})) == list(own)


@pytest.mark.parametrize(
    'config',
    [
        dict(type=name)
        for name in ('ResNet', 'MobileNetV2', 'MobileNetV3', 'EfficientNet', 'RegNetY', 'DenseNet')
    ],
    ids=lambda config: config['type'],
)
def test_own_names_stay(config):
    model = build(config)
    file = {f'module.{name}': value for name, value in model.state_dict().items()}
    assert list(model.rename_pretrained(file)) == list(model.state_dict())


def test_the_linear_layer_of_mobilenetv3_is_loaded(tmp_path):
    source, model = MobileNetV3('small', 0.5), MobileNetV3('small', 0.5)
    file = {
        **source.state_dict(),
        'classifier.3.weight': torch.zeros(10, 512),
        'classifier.3.bias': torch.zeros(10),
    }
    torch.save(file, tmp_path / 'small.pth')
    load_pretrained(model, str(tmp_path / 'small.pth'))
    assert torch.equal(model.classifier[0].weight, source.classifier[0].weight)
    del file['classifier.0.bias']
    torch.save(file, tmp_path / 'incomplete.pth')
    with pytest.raises(ValueError, match=r'1 missing in the file \(classifier\.0\.bias'):
        load_pretrained(model, str(tmp_path / 'incomplete.pth'))


# ------------------------------------------------------------------------------------------- widths and shift


def test_mobilenetv3_roundings():
    agree = [
        build(dict(type='MobileNetV3', size=size, rounding=rounding))
        for size in ('large', 'small')
        for rounding in ('torchvision', 'timm')
    ]
    assert fingerprint(agree[0].state_dict()) == fingerprint(agree[1].state_dict())
    assert fingerprint(agree[2].state_dict()) == fingerprint(agree[3].state_dict())
    wide = build(dict(type='MobileNetV3', width=1.25, rounding='timm'))
    assert (wide.channels[32], wide.vector_channels) == (1200, 1280)
    assert build(dict(type='MobileNetV3', width=1.25)).vector_channels == 1600
    assert build(dict(type='MobileNetV3', width=1.25, head_channels=1280)).classifier[0].weight.shape == (
        1280,
        1200,
    )
    assert [
        build(dict(type='MobileNetV3', width=0.5, rounding=rounding)).features[0][0].out_channels
        for rounding in ('torchvision', 'timm')
    ] == [8, 16]


@pytest.mark.parametrize(
    'size, rounding, widths',
    [
        ('400m', 'torchvision', (48, 104, 208, 440)),
        ('600m', 'torchvision', (48, 112, 256, 608)),
        ('600m', 'timm', (48, 112, 256, 608)),
        ('800m', 'torchvision', (64, 144, 320, 784)),
        ('800m', 'timm', (64, 128, 320, 768)),
        ('1.6g', 'torchvision', (48, 120, 336, 888)),
        ('1.6g', 'timm', (48, 120, 336, 888)),
    ],
)
def test_regnety_widths(size, rounding, widths):
    assert tuple(build(dict(type='RegNetY', size=size, rounding=rounding)).channels.values()) == widths


def test_numbers_of_shift_points():
    with torch.device('meta'):
        assert len(ResNet(152).shift_points()) == 2 + 4 + 18 + 2
        assert (
            len(DenseNet(121).shift_points()) == 58
            and DenseNet(121).shift_points()[0] == 'features.denseblock1.denselayer1.conv1'
        )
        assert (
            len(RegNetY('800m').shift_points()) == 14
            and RegNetY('800m').shift_points()[1] == 'trunk_output.block2.block2-0.f.a.0'
        )
        assert MobileNetV3('small').shift_points() == [
            f'features.{i}.block.0.0' for i in (3, 5, 6, 8, 10, 11)
        ]
        assert EfficientNet('b0').shift_points()[:2] == ['features.2.1.block.0.0', 'features.3.1.block.0.0']
