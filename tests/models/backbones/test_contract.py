"""What every backbone promises, for every architecture: maps, layers, places of the shift, streams,
gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gfvideo.models import Encoder
from gfvideo.models.backbones import Backbone
from gfvideo.models.temporal import TemporalContext, insert_shift, temporal_context

ARCHITECTURES = {
    'resnet18': dict(type='ResNet', depth=18),
    'resnet50': dict(type='ResNet', depth=50),
    'mobilenetv2': dict(type='MobileNetV2', width=0.5),
    'mobilenetv3_large': dict(type='MobileNetV3', size='large', width=0.75),
    'mobilenetv3_small': dict(type='MobileNetV3', size='small'),
    'mobilenetv3_small_timm': dict(
        type='MobileNetV3', size='small', width=0.5, rounding='timm', norm_eps=1e-5
    ),
    'efficientnet_b0': dict(type='EfficientNet', variant='b0'),
    'regnety_400m': dict(type='RegNetY', size='400m'),
    'densenet121': dict(type='DenseNet', depth=121),
    'tiny_cnn': dict(type='TinyCNN', width=16),
}
every_architecture = pytest.mark.parametrize('config', ARCHITECTURES.values(), ids=ARCHITECTURES)


def vector_of(backbone: Backbone, maps: dict[int, Tensor]) -> Tensor:
    return backbone.to_vector(maps[max(maps)])


def assert_near(ours: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Relative to the largest value: rounding of small ones is that of the large ones they were made from."""
    assert (ours - expected).abs().max() <= tolerance * expected.abs().max()


@every_architecture
@pytest.mark.parametrize('size', [(64, 96), (47, 65)])
def test_maps_and_vector(built, config, size):
    model = built(config)
    with torch.no_grad():
        maps = model(torch.randn(2, 3, *size))
    assert set(maps) == set(model.channels)
    for stride, feature_map in maps.items():
        height, width = model.map_size(size, stride)
        if config['type'] != 'DenseNet':
            assert (height, width) == tuple(-(-side // stride) for side in size)
        assert tuple(feature_map.shape) == (2, model.channels[stride], height, width)
    assert vector_of(model, maps).shape == (2, model.vector_channels or model.channels[max(maps)])


@every_architecture
def test_without_gradient_nothing_changes(fresh, config):
    """Normalisations that overwrite their input overwrite nothing that is read again."""
    model, x = fresh(config).double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = model(x.clone())
    with torch.no_grad():
        maps = model(x)
    for stride, feature_map in maps.items():
        assert_near(feature_map, expected[stride].detach(), 1e-10)


@every_architecture
def test_layers_up_to_a_stride_are_those_it_depends_on(fresh, config):
    model = fresh(config)
    named = dict(model.named_parameters())
    of = {id(parameter): name for name, parameter in named.items()}
    for stride, feature_map in model(torch.randn(1, 3, 64, 64)).items():
        grads = torch.autograd.grad(
            feature_map.square().sum(), named.values(), allow_unused=True, retain_graph=True
        )
        listed = {
            of[id(parameter)] for layer in model.layers_up_to(stride) for parameter in layer.parameters()
        }
        assert listed == {name for name, grad in zip(named, grads) if grad is not None}
    with pytest.raises(ValueError, match='no map at stride 5'):
        model.layers_up_to(5)


def run(model: nn.Module, frames: Tensor, shift: str) -> Tensor:
    """Frames ``(B, T, 3, H, W)`` to vectors ``(B, T, F)``."""
    with torch.no_grad(), temporal_context(TemporalContext(frames.shape[1], shift, 8)):
        return vector_of(model, model(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])


@every_architecture
@pytest.mark.parametrize('which', [0, -1], ids=['first point', 'last point'])
def test_one_point_mixes_neighbouring_frames_and_no_others(fresh, config, which):
    model = fresh(config)
    plain = copy.deepcopy(model)
    insert_shift(model, [model.shift_points()[which]])
    frames = torch.randn(1, 6, 3, 64, 64)
    changed = frames.clone()
    changed[:, 3] = torch.randn(3, 64, 64)
    for shift, reached in (('bidirectional', {2, 3, 4}), ('causal', {3, 4})):
        moved = (run(model, frames, shift) - run(model, changed, shift)).abs().amax((0, 2))
        assert {t for t in range(6) if moved[t] > 1e-5} == reached
    still = frames[:, :1].expand(-1, 3, -1, -1, -1)  # where nothing moves, the shift changes the ends alone
    shifted, unshifted = run(model, still, 'bidirectional'), run(plain, still, 'bidirectional')
    assert_near(shifted[:, 1], unshifted[:, 1], 1e-4)
    assert (shifted[:, 0] - unshifted[:, 0]).abs().max() > 1e-3 * unshifted.abs().max()


@every_architecture
def test_shift_points_are_convolutions_of_branches(built, config):
    model = built(config)
    points = model.shift_points()
    modules = dict(model.named_modules())
    assert len(points) == len(set(points)) and all(isinstance(modules[point], nn.Conv2d) for point in points)
    assert all(modules[point].in_channels >= 8 and modules[point].groups == 1 for point in points)


def encoder_of(built, config: dict, shift: str) -> Encoder:
    encoder = Encoder(config, shift=shift)
    encoder.backbone.load_state_dict(built(config).state_dict())
    return encoder.eval()


@every_architecture
def test_stream_frame_by_frame_equals_the_clip(built, config):
    encoder, frames = (
        encoder_of(built, config, 'causal').double(),
        torch.randn(1, 4, 3, 64, 64, dtype=torch.float64),
    )
    with torch.no_grad():
        whole, cache = encoder(frames), None
        assert whole.vector.shape[2] == encoder.channels and whole.map.shape[2:] == (
            encoder.map_channels,
            *encoder.map_size((64, 64)),
        )
        for t in range(4):
            one = encoder(frames[:, t : t + 1], cache)
            cache = one.cache
            for ours, expected in ((one.vector[:, 0], whole.vector[:, t]), (one.map[:, 0], whole.map[:, t])):
                assert_near(ours, expected, 1e-10)


@every_architecture
def test_gradient_reaches_every_parameter(config):
    encoder = Encoder(config)
    encoder.init_weights()
    encoder.train()(torch.randn(2, 3, 3, 64, 64)).vector.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(type='ResNet', depth=26), 'no ResNet of depth 26'),
        (dict(type='DenseNet', depth=161), 'no DenseNet of depth 161'),
        (dict(type='EfficientNet', variant='b9'), "no EfficientNet 'b9'"),
        (dict(type='RegNetY', size='32g'), "no RegNetY of size '32g'"),
        (dict(type='RegNetY', rounding='up'), "rounding='up'"),
        (dict(type='MobileNetV3', size='huge'), "size 'huge'"),
        (dict(type='MobileNetV3', rounding='up'), "rounding='up'"),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_unknown_options(config, message):
    with pytest.raises(ValueError, match=message):
        Encoder(config)
