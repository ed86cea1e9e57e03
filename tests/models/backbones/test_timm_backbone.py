"""Networks of timm as backbones: maps, vectors, places of the shift, streams, errors."""

from __future__ import annotations

import builtins
import copy

import pytest
import torch
from torch import Tensor, nn

from gfvideo.models import Encoder
from gfvideo.models.backbones import TimmBackbone
from gfvideo.models.pretrained import load_pretrained
from gfvideo.models.temporal import TemporalContext, insert_shift, temporal_context

# timm's name, further arguments, strides, numbers of shift points and the first of them
NETWORKS = {
    'resnet18': ({}, (4, 8, 16, 32), 8, 'layer1.0.conv1'),
    'resnetv2_18': ({}, (4, 8, 16, 32), 8, 'stages.0.blocks.0.conv1'),
    'convnext_atto': ({}, (4, 8, 16, 32), 12, 'stages.0.blocks.0.conv_dw'),
    'swin_tiny_patch4_window7_224': (
        dict(img_size=64, window_size=4, depths=(1, 1, 2, 1), embed_dim=24, num_heads=(1, 2, 2, 2)),
        (4, 8, 16, 32),
        10,
        'layers.0.blocks.0.attn.qkv',
    ),
    'swinv2_tiny_window8_256': (
        dict(img_size=64, window_size=4, depths=(1, 1, 2, 1), embed_dim=24, num_heads=(1, 2, 2, 2)),
        (4, 8, 16, 32),
        10,
        'layers.0.blocks.0.attn.proj',
    ),
    'regnety_004': ({}, (4, 8, 16, 32), 16, 's1.b1.conv1.conv'),
    'efficientnet_b0': ({}, (4, 8, 16, 32), 9, 'blocks.1.1.conv_pw'),
    'mobilenetv3_small_050': ({}, (4, 8, 16, 32), 7, 'blocks.1.1.conv_pw'),
    'mobilenetv4_conv_small': ({}, (4, 8, 16, 32), 10, 'blocks.2.1.pw_exp.conv'),
    'densenet121': ({}, (4, 8, 16, 32), 58, 'features.denseblock1.denselayer1.conv1'),
    'vit_tiny_patch16_224': (dict(img_size=64, depth=3), (16,), 6, 'blocks.0.attn.qkv'),
    'deit_tiny_distilled_patch16_224': (dict(img_size=64, depth=2), (16,), 4, 'blocks.0.attn.qkv'),
    'vit_small_patch16_18x2_224': (
        dict(img_size=64, depth=2, global_pool='avg', fc_norm=False),
        (16,),
        None,
        None,
    ),
}
every_network = pytest.mark.parametrize('name', NETWORKS)


@pytest.fixture(scope='module')
def opened():
    """A function of a name in the table: the calibrated backbone, which a test must not change."""
    pytest.importorskip('timm')
    kept: dict[str, TimmBackbone] = {}

    def opened(name: str) -> TimmBackbone:
        if name not in kept:
            torch.manual_seed(0)
            kept[name] = calibrate(TimmBackbone(name, **NETWORKS[name][0]))
        return kept[name]

    return opened


def calibrate(model: nn.Module) -> nn.Module:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # the last of a branch begins at zero, which would hide it
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        norm.momentum = 1.0
    for name, parameter in model.named_parameters():  # layer scales begin near zero, too
        if name.endswith('gamma') or name.endswith('norm1.weight') or name.endswith('norm2.weight'):
            nn.init.uniform_(parameter, 0.5, 1)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    """Relative to the largest value."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def vector_of(model: TimmBackbone, maps: dict) -> Tensor:
    return maps['vector'] if 'vector' in maps else model.to_vector(maps[model.last_stride])


@every_network
def test_maps_and_vector_are_timms(opened, name):
    model, x = opened(name), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = model(x)
        assert_near(
            vector_of(model, maps), model.model.forward_head(model.model.forward_features(x), pre_logits=True)
        )
    assert tuple(model.channels) == NETWORKS[name][1]
    for stride, channels in model.channels.items():
        assert (
            tuple(maps[stride].shape)
            == (2, channels, *model.map_size((64, 64), stride))
            == (2, channels, 64 // stride, 64 // stride)
        )
    assert vector_of(model, maps).shape == (2, model.vector_channels)


@every_network
def test_maps_are_timms_intermediates(opened, name):
    model, x = opened(name), torch.randn(2, 3, 64, 64)
    infos = model.model.feature_info
    with torch.no_grad():
        maps = model(x)
        theirs = model.model.forward_intermediates(x, intermediates_only=True)
    for info, expected in zip(infos if isinstance(infos, list) else infos.get_dicts(), theirs, strict=True):
        if info['reduction'] in maps and info['reduction'] < model.last_stride:
            assert_near(maps[info['reduction']], expected)


@every_network
def test_layers_up_to_a_stride_are_those_it_depends_on(opened, name):
    model = copy.deepcopy(opened(name))
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    of = {id(parameter): name for name, parameter in named.items()}
    for stride, feature_map in model(torch.randn(1, 3, 64, 64)).items():
        if stride == 'vector':
            continue
        grads = torch.autograd.grad(
            feature_map.square().sum(), named.values(), allow_unused=True, retain_graph=True
        )
        listed = {
            of[id(parameter)]
            for layer in model.layers_up_to(stride)
            for parameter in layer.parameters()
            if id(parameter) in of
        }
        assert listed == {name for name, grad in zip(named, grads) if grad is not None}
    with pytest.raises(ValueError, match='no map at stride 5'):
        model.layers_up_to(5)


@every_network
def test_shift_points(opened, name):
    points = opened(name).shift_points()
    _, _, count, first = NETWORKS[name]
    if count is not None:
        assert (len(points), points[0]) == (count, f'model.{first}')
    assert set(points) <= {name for name, _ in opened(name).named_modules()}


def run(model: TimmBackbone, frames: Tensor, shift: str) -> Tensor:
    context = TemporalContext(frames.shape[1], shift, 8, images=frames.shape[0] * frames.shape[1])
    with torch.no_grad(), temporal_context(context):
        return vector_of(model, model(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])


@every_network
@pytest.mark.parametrize('which', [0, -1], ids=['first point', 'last point'])
def test_one_point_mixes_neighbouring_frames_and_no_others(opened, name, which):
    plain, model = opened(name), copy.deepcopy(opened(name))
    insert_shift(model, [model.shift_points()[which]])
    frames = torch.randn(1, 6, 3, 64, 64)
    changed = frames.clone()
    changed[:, 3] = torch.randn(3, 64, 64)
    for shift, reached in (('bidirectional', {2, 3, 4}), ('causal', {3, 4})):
        before = run(model, frames, shift)
        moved = (before - run(model, changed, shift)).abs().amax((0, 2)) / before.abs().max()
        assert {t for t in range(6) if moved[t] > 1e-5} == reached
    still = frames[:, :1].expand(-1, 3, -1, -1, -1)
    assert_near(run(model, still, 'bidirectional')[:, 1], run(plain, still, 'bidirectional')[:, 1])


def encoder_of(opened, name: str, shift: str) -> Encoder:
    encoder = Encoder(dict(type='TimmBackbone', name=name, **NETWORKS[name][0]), shift=shift)
    encoder.backbone.load_state_dict(opened(name).state_dict())
    return encoder.eval()


@every_network
def test_stream_frame_by_frame_equals_the_clip(opened, name):
    encoder, frames = (
        encoder_of(opened, name, 'causal').double(),
        torch.randn(2, 4, 3, 64, 64, dtype=torch.float64),
    )
    with torch.no_grad():
        whole, cache = encoder(frames), None
        assert whole.vector.shape == (2, 4, encoder.channels)
        assert whole.map.shape == (2, 4, encoder.map_channels, *encoder.map_size((64, 64)))
        for t in range(4):
            one = encoder(frames[:, t : t + 1], cache)
            cache = one.cache
            assert_near(one.vector[:, 0], whole.vector[:, t], 1e-10)
            assert_near(one.map[:, 0], whole.map[:, t], 1e-10)


@pytest.mark.parametrize('name', ['resnet18', 'swin_tiny_patch4_window7_224', 'vit_tiny_patch16_224'])
def test_gradient_reaches_every_parameter(opened, name):
    encoder = Encoder(dict(type='TimmBackbone', name=name, **NETWORKS[name][0]))
    encoder.init_weights()
    encoder.train()(torch.randn(2, 3, 3, 64, 64)).vector.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    'name', ['resnet18', 'mobilenetv3_small_050', 'convnext_atto', 'vit_tiny_patch16_224']
)
def test_timms_file_is_loaded_and_its_classifier_gives_timms_logits(opened, name, tmp_path):
    timm = pytest.importorskip('timm')
    theirs = timm.create_model(name, num_classes=5, **NETWORKS[name][0]).eval()
    torch.save(theirs.state_dict(), tmp_path / 'timm.pth')
    ours = TimmBackbone(name, **NETWORKS[name][0]).eval()
    load_pretrained(ours, str(tmp_path / 'timm.pth'))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_near(theirs.get_classifier()(vector_of(ours, ours(x))), theirs(x))
    assert list(ours.rename_pretrained(ours.state_dict())) == list(ours.state_dict())


def test_points_by_name():
    pytest.importorskip('timm')
    assert TimmBackbone(
        'resnet18', shift_points=['layer1.0.conv1', 'model.layer2.0.conv1']
    ).shift_points() == ['model.layer1.0.conv1', 'model.layer2.0.conv1']
    with pytest.raises(ValueError, match=r'no residual blocks found.*shift_points=\[\.\.\.\]'):
        TimmBackbone('test_vit', shift_points=[]).shift_points()


def test_errors():
    pytest.importorskip('timm')
    with pytest.raises(ValueError, match="has no model 'resnet19'.*such as .*'resnet1"):
        TimmBackbone('resnet19')
    model = TimmBackbone('vit_tiny_patch16_224', img_size=32, depth=1).eval()
    with pytest.raises(ValueError, match=r'64 x 48 pixels .* img_size=\.\.\.'):
        model(torch.randn(1, 3, 64, 48))
    with pytest.raises(ValueError, match='class token'):
        model.to_vector(torch.randn(1, 192, 2, 2))


@pytest.mark.parametrize(
    ('fault', 'told'),
    [
        (ImportError('timm'), r'resnet18.*pip install "gfvideo\[timm\]"'),
        (
            RuntimeError('operator torchvision::nms does not exist'),
            r'resnet18.*nms does not exist.*the torchvision that belongs to torch',
        ),
    ],
)
def test_without_timm(fault, told, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name == 'timm':
            raise fault
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match=told):
        TimmBackbone('resnet18')


def test_pretrained_weights_are_read_when_weights_are_initialised(monkeypatch):
    timm = pytest.importorskip('timm')
    real, asked = timm.create_model, []

    def create(name, pretrained=False, **options):
        asked.append(pretrained)
        return real(name, **options)

    monkeypatch.setattr(timm, 'create_model', create)
    model = TimmBackbone('resnet18', pretrained=True)
    assert asked == [False]  # a checkpoint can be loaded without a network
    before = model.model.conv1.weight.clone()
    model.init_weights()
    assert asked == [False, True] and not torch.equal(before, model.model.conv1.weight)
