"""Backbones: the names and shapes of torchvision's weights, known numbers of parameters, strides, places of
the shift."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from gfvideo.models.backbones import MobileNetV2, ResNet, TinyCNN
from gfvideo.models.backbones.batch_norm import BatchNorm2d

BATCH_NORM = {'weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'}


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@cache
def resnet(depth: int) -> ResNet:
    """Built once for all tests that only read its names and shapes."""
    return ResNet(depth)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def batch_norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.{part}': () if part == 'num_batches_tracked' else (channels,) for part in BATCH_NORM}


def torchvision_resnet(repeats: tuple[int, ...], bottleneck: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNets, by rule."""
    keys = {'conv1.weight': (64, 3, 7, 7), **batch_norm('bn1', 64)}
    before = 64
    for i, repeat in enumerate(repeats):
        width = 64 << i
        out = 4 * width if bottleneck else width
        for j in range(repeat):
            block = f'layer{i + 1}.{j}'
            convs = [(out, before, 3, 3), (out, out, 3, 3)]
            if bottleneck:
                convs = [(width, before, 1, 1), (width, width, 3, 3), (out, width, 1, 1)]
            for n, shape in enumerate(convs, 1):
                keys.update({f'{block}.conv{n}.weight': shape, **batch_norm(f'{block}.bn{n}', shape[0])})
            if j == 0 and before != out:
                keys.update(
                    {
                        f'{block}.downsample.0.weight': (out, before, 1, 1),
                        **batch_norm(f'{block}.downsample.1', out),
                    }
                )
            before = out
    return keys


# parameters: torchvision's documented number less its classifier, features * 1000 + 1000
@pytest.mark.parametrize(
    'depth, repeats, bottleneck, count',
    [
        (18, (2, 2, 2, 2), False, 11_689_512 - 513_000),
        (34, (3, 4, 6, 3), False, 21_797_672 - 513_000),
        (50, (3, 4, 6, 3), True, 25_557_032 - 2_049_000),
        (101, (3, 4, 23, 3), True, 44_549_160 - 2_049_000),
    ],
)
def test_resnet_has_torchvisions_names(depth, repeats, bottleneck, count):
    model = resnet(depth)
    assert shapes(model) == torchvision_resnet(repeats, bottleneck)
    assert parameters(model) == count


def test_mobilenetv2_has_torchvisions_names():
    model = MobileNetV2()
    assert parameters(model) == 3_504_872 - 1_281_000
    keys = shapes(model)
    assert len(keys) == 312
    expected = {
        'features.0.0.weight': (32, 3, 3, 3),
        'features.1.conv.0.0.weight': (32, 1, 3, 3),
        'features.1.conv.1.weight': (16, 32, 1, 1),
        'features.1.conv.2.running_var': (16,),
        'features.2.conv.0.0.weight': (96, 16, 1, 1),
        'features.2.conv.1.0.weight': (96, 1, 3, 3),
        'features.2.conv.2.weight': (24, 96, 1, 1),
        'features.2.conv.3.bias': (24,),
        'features.17.conv.2.weight': (320, 960, 1, 1),
        'features.18.0.weight': (1280, 320, 1, 1),
        'features.18.1.running_mean': (1280,),
    }
    assert {name: keys.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    'model, strides',
    [
        (ResNet(18), (4, 8, 16, 32)),
        (ResNet(50), (4, 8, 16, 32)),
        (MobileNetV2(0.5), (4, 8, 16, 32)),
        (TinyCNN(16), (4, 8, 16)),
    ],
    ids=['resnet18', 'resnet50', 'mobilenetv2', 'tiny_cnn'],
)
@pytest.mark.parametrize('size', [(64, 96), (33, 65)])
def test_maps_by_stride(model, strides, size):
    with torch.no_grad():
        maps = model.eval()(torch.randn(1, 3, *size))
    assert set(strides) <= set(maps) and max(maps) == strides[-1] and set(maps) == set(model.channels)
    for stride, feature_map in maps.items():
        assert tuple(feature_map.shape) == (
            1,
            model.channels[stride],
            -(-size[0] // stride),
            -(-size[1] // stride),
        )


@pytest.mark.parametrize('channels_last', [False, True])
def test_batch_norm_equals_torchs(channels_last):
    ours, theirs = BatchNorm2d(6), nn.BatchNorm2d(6)
    nn.init.normal_(ours.weight), nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 6, 5, 7) * 3 + 1
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    for _ in range(3):  # training: the statistics too
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    assert all(
        torch.equal(one, other)
        for one, other in zip(ours.state_dict().values(), theirs.state_dict().values())
    )
    ours.eval(), theirs.eval()
    before = x.clone()
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)  # a gradient may be asked for: x stays
    assert torch.equal(x, before)
    with torch.no_grad():
        torch.testing.assert_close(ours(x.bfloat16()), theirs(x.bfloat16()))
        expected, y = theirs(x), x.clone()
        out = ours(y)
    assert out.data_ptr() == y.data_ptr()  # overwritten
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    assert out.stride() == expected.stride()


@pytest.mark.parametrize(
    'build',
    [lambda: ResNet(18), lambda: ResNet(50), lambda: TinyCNN(16)],
    ids=['resnet18', 'resnet50', 'tiny_cnn'],
)
def test_maps_with_and_without_gradient_agree(build):
    model = build()
    x = torch.randn(2, 3, 64, 64)
    model(x)  # statistics of their own
    model.eval()
    expected = model(x)
    with torch.no_grad():
        maps = model(x)
    for stride, feature_map in maps.items():
        torch.testing.assert_close(feature_map, expected[stride], rtol=1e-4, atol=1e-4)


def test_stride_of_the_bottleneck_is_on_its_3x3():
    block = resnet(50).layer2[0]
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride, block.downsample[0].stride] == [
        (1, 1),
        (2, 2),
        (1, 1),
        (2, 2),
    ]


def test_resnet_18_by_hand():
    model = ResNet(18).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        out = torch.max_pool2d(model.bn1(model.conv1(x)).relu(), 3, 2, 1)
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            for block in layer:
                branch = block.bn2(block.conv2(block.bn1(block.conv1(out)).relu()))
                out = (branch + (block.downsample(out) if block.downsample else out)).relu()
        torch.testing.assert_close(model(x)[32], out)


def layers_by_forward(model: nn.Module, stride: int) -> set[str]:
    """Names of the parameters that the map at ``stride`` depends on."""
    model.zero_grad()
    model.eval()(torch.randn(1, 3, 32, 32))[stride].square().sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(
    'model', [ResNet(18), MobileNetV2(0.25), TinyCNN(8, (1, 2, 1))], ids=lambda model: type(model).__name__
)
def test_layers_up_to_a_stride_are_those_it_depends_on(model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for stride in model.channels:
        listed = {
            names[id(parameter)] for layer in model.layers_up_to(stride) for parameter in layer.parameters()
        }
        model.zero_grad(set_to_none=True)
        assert listed == layers_by_forward(model, stride)
        model.zero_grad(set_to_none=True)
    with pytest.raises(ValueError, match='no map at stride 5'):
        model.layers_up_to(5)


@pytest.mark.parametrize('depth', [17, 200])
def test_unknown_depth(depth):
    with pytest.raises(ValueError, match=f'no ResNet of depth {depth}'):
        ResNet(depth)


def test_tiny_cnn():
    assert parameters(TinyCNN(32)) == 308_448
    assert 70_000 < parameters(TinyCNN(16)) < 80_000
    assert TinyCNN(16, (1, 2, 1)).shift_points() == [
        'stages.0.0.conv1',
        'stages.1.0.conv1',
        'stages.1.1.conv1',
        'stages.2.0.conv1',
    ]
    with pytest.raises(ValueError, match='width=12'):
        TinyCNN(12)
    with pytest.raises(ValueError, match='three positive numbers'):
        TinyCNN(16, (1, 1))
    with pytest.raises(ValueError, match='three positive numbers'):
        TinyCNN(16, (1, 0, 1))


# ---------------------------------------------------------------------------- where the published code shifts


def published_layout(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a published checkpoint."""
    file = shared / 'checkpoints' / 'layouts' / f'{name}.txt'
    if not file.is_file():
        pytest.skip(f'{file} is not here')
    lines = re.findall(r'^(\S+) \((.*)\)$', file.read_text(), re.MULTILINE)
    return {key: tuple(int(side) for side in shape.split(',') if side.strip()) for key, shape in lines}


@pytest.mark.parametrize('depth', [50, 101])
def test_resnet_shifts_where_tsm_does(shared, depth):
    layout = published_layout(shared, f'tsm_resnet{depth}_blockres_8f')
    prefix, net = 'module.base_model.', '.net.weight'
    shifted = [key[len(prefix) : -len(net)] for key in layout if key.endswith(net)]
    assert resnet(depth).shift_points() == shifted
    renamed = {
        key.removeprefix(prefix).replace('.net.', '.'): shape
        for key, shape in layout.items()
        if key.startswith(prefix)
    }
    assert shapes(resnet(depth)) == renamed


def test_mobilenetv2_shifts_where_tsm_does(shared):
    layout = published_layout(shared, 'tsm_mobilenetv2_8f')
    shifted = [
        key.removeprefix('module.base_model.').replace('.conv.0.net.weight', '.conv.0.0')
        for key in layout
        if '.net.' in key
    ]
    assert MobileNetV2().shift_points() == shifted


def test_resnet_shift_points_of_the_other_depths():
    assert resnet(18).shift_points() == [f'layer{i}.{j}.conv1' for i in range(1, 5) for j in range(2)]
    assert len(resnet(34).shift_points()) == 3 + 4 + 6 + 3


# ----------------------------------------------------------------------------------------- pretrained weights


def test_resnet_takes_torchvisions_file():
    model = ResNet(18)
    file = {f'module.{name}': value.clone() for name, value in ResNet(18).state_dict().items()}
    file.update({'module.fc.weight': torch.zeros(1000, 512), 'module.fc.bias': torch.zeros(1000)})
    model.load_state_dict(model.rename_pretrained(file))
    assert torch.equal(model.conv1.weight, file['module.conv1.weight'])


def test_tiny_cnn_takes_its_own_file():
    file = TinyCNN(8).state_dict()
    assert list(TinyCNN.rename_pretrained({f'module.{name}': value for name, value in file.items()})) == list(
        file
    )


def test_mobilenetv2_takes_the_file_of_the_original_layout(shared):
    file = shared / 'weights' / 'mobilenetv2_imagenet_features.pt'
    if not file.is_file():
        pytest.skip(f'{file} is not here')
    state_dict = torch.load(file, weights_only=True)
    model = MobileNetV2()
    renamed = model.rename_pretrained(state_dict)
    model.load_state_dict(renamed)  # every key, and no other
    # layer by layer in the same order: nothing was crossed
    assert all(
        torch.equal(own, theirs)
        for own, theirs in zip(model.state_dict().values(), state_dict.values(), strict=True)
    )
    assert model.rename_pretrained(model.state_dict()).keys() == model.state_dict().keys()
