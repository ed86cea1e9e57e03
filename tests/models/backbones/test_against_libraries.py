"""The same weights give the same maps and vectors as torchvision's and timm's networks; their names lead to
ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gfvideo.registry import MODELS

TORCHVISION = [
    ('resnet18', {}, dict(type='ResNet', depth=18)),
    ('resnet50', {}, dict(type='ResNet', depth=50)),
    ('mobilenet_v2', dict(width_mult=0.5), dict(type='MobileNetV2', width=0.5)),
    ('mobilenet_v3_large', {}, dict(type='MobileNetV3')),
    ('mobilenet_v3_large', dict(width_mult=1.25), dict(type='MobileNetV3', width=1.25)),
    ('mobilenet_v3_small', {}, dict(type='MobileNetV3', size='small')),
    ('mobilenet_v3_small', dict(width_mult=0.5), dict(type='MobileNetV3', size='small', width=0.5)),
    ('efficientnet_b0', {}, dict(type='EfficientNet', variant='b0')),
    ('efficientnet_b2', {}, dict(type='EfficientNet', variant='b2')),
    ('regnet_y_400mf', {}, dict(type='RegNetY', size='400m')),
    ('regnet_y_800mf', {}, dict(type='RegNetY', size='800m')),
    ('densenet121', {}, dict(type='DenseNet', depth=121)),
]
TIMM = [
    ('resnet18', dict(type='ResNet', depth=18)),
    ('mobilenetv2_050', dict(type='MobileNetV2', width=0.5)),
    ('mobilenetv2_100', dict(type='MobileNetV2')),
    ('mobilenetv3_large_075', dict(type='MobileNetV3', width=0.75, rounding='timm', norm_eps=1e-5)),
    ('mobilenetv3_large_100', dict(type='MobileNetV3', rounding='timm', norm_eps=1e-5)),
    (
        'mobilenetv3_small_050',
        dict(type='MobileNetV3', size='small', width=0.5, rounding='timm', norm_eps=1e-5),
    ),
    (
        'mobilenetv3_small_075',
        dict(type='MobileNetV3', size='small', width=0.75, rounding='timm', norm_eps=1e-5),
    ),
    ('mobilenetv3_small_100', dict(type='MobileNetV3', size='small', norm_eps=1e-5)),
    ('efficientnet_b0', dict(type='EfficientNet', variant='b0')),
    ('efficientnet_b1', dict(type='EfficientNet', variant='b1')),
    ('efficientnet_b3', dict(type='EfficientNet', variant='b3')),
    ('regnety_004', dict(type='RegNetY', size='400m', rounding='timm')),
    ('regnety_006', dict(type='RegNetY', size='600m', rounding='timm')),
    ('regnety_008', dict(type='RegNetY', size='800m', rounding='timm')),
    ('regnety_008_tv', dict(type='RegNetY', size='800m')),
    ('regnety_016', dict(type='RegNetY', size='1.6g', rounding='timm')),
    ('densenet121', dict(type='DenseNet', depth=121)),
]


def outputs(backbone: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Deepest map and vector."""
    deepest = backbone(x)[max(backbone.channels)]
    return deepest, backbone.to_vector(deepest)


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    """In double precision: a deep network of random weights makes single rounding large."""
    assert ours.shape == theirs.shape and ours.dtype == torch.float64
    assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


def before_the_last_linear_layer(model: nn.Module, x: Tensor) -> Tensor:
    """What the classifier of a torchvision network reads."""
    last, read = [module for module in model.modules() if isinstance(module, nn.Linear)][-1], []
    last.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    model(x)
    return read[0]


@pytest.mark.parametrize(
    'function, arguments, config', TORCHVISION, ids=lambda value: value if isinstance(value, str) else ''
)
def test_values_of_torchvision(fresh, function, arguments, config):
    torchvision = pytest.importorskip('torchvision')
    ours, theirs = (
        fresh(config).double(),
        getattr(torchvision.models, function)(**arguments, num_classes=3).double().eval(),
    )
    loaded = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not loaded.unexpected_keys and all(
        name.split('.')[0] in ('fc', 'classifier') for name in loaded.missing_keys
    )
    x = torch.randn(2, 3, 71, 64, dtype=torch.float64)
    with torch.no_grad():
        _, vector = outputs(ours, x)
        assert_near(vector, before_the_last_linear_layer(theirs, x))


@pytest.mark.parametrize('name, config', TIMM, ids=[name for name, _ in TIMM])
def test_values_of_timm(name, config):
    timm = pytest.importorskip('timm')
    theirs = timm.create_model(name, num_classes=3)
    calibrate(theirs)
    theirs.double()
    ours = MODELS.build(config).double().eval()
    ours.load_state_dict(
        ours.rename_pretrained({f'module.{key}': value for key, value in theirs.state_dict().items()})
    )
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        deepest, vector = outputs(ours, x)
        features = theirs.forward_features(x)
        assert_near(deepest, features)
        assert_near(vector, theirs.forward_head(features, pre_logits=True))


def calibrate(model: nn.Module) -> None:
    """Statistics of its own for every normalisation; evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3), nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    model.eval()
