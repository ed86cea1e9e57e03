import pytest
import torch

from gfvideo.models import Encoder
from gfvideo.models.pretrained import load_pretrained, read_state_dict


def tiny(**options):
    torch.manual_seed(0)
    return Encoder(**{**dict(backbone=dict(type='TinyCNN', width=8), map_stride=8), **options}).eval()


def test_shapes_and_map():
    encoder = tiny()
    features = encoder(torch.randn(2, 4, 3, 33, 47))
    assert features.vector.shape == (2, 4, encoder.channels)
    assert features.map.shape == (2, 4, encoder.map_channels, *encoder.map_size((33, 47)))


def test_without_shift_frames_do_not_see_each_other():
    encoder, frames = tiny(shift=None), torch.randn(1, 5, 3, 32, 32)
    alone = torch.cat([encoder(frames[:, t : t + 1]).vector for t in range(5)], 1)
    assert torch.allclose(encoder(frames).vector, alone, atol=1e-5)


@pytest.mark.parametrize('shift,seen', [('bidirectional', {2, 3, 4}), ('causal', {3, 4, 5})])
def test_one_shift_reaches_one_frame(shift, seen):
    """With a single shift point a change of frame 3 reaches its neighbours alone; with three, each reaches
    one further."""
    encoder, frames = tiny(shift=shift), torch.randn(1, 7, 3, 32, 32)
    reach = len(encoder.backbone.shift_points())
    changed = frames.clone()
    changed[:, 3] += 1
    moved = (encoder(frames).vector - encoder(changed).vector).abs().amax((0, 2)) > 1e-6
    expected = {
        t for t in range(7) if (abs(t - 3) <= reach if shift == 'bidirectional' else 0 <= t - 3 <= reach)
    }
    assert set(moved.nonzero().flatten().tolist()) == expected


def test_streaming_equals_offline():
    encoder, frames = tiny(shift='causal'), torch.randn(2, 6, 3, 32, 32)
    offline, cache = encoder(frames), None
    for t in range(6):
        online = encoder(frames[:, t : t + 1], cache)
        cache = online.cache
        assert torch.allclose(online.vector[:, 0], offline.vector[:, t], atol=1e-5)
        assert torch.allclose(online.map[:, 0], offline.map[:, t], atol=1e-5)


def test_frozen_stride_keeps_parameters_and_statistics():
    encoder = Encoder(dict(type='MobileNetV2', width=0.25), frozen_stride=4).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(torch.randn(1, 2, 3, 32, 32)).vector.sum().backward()
    frozen = [f'backbone.features.{i}.' for i in range(4)]
    for name, value in encoder.state_dict().items():
        if name.startswith(tuple(frozen)):
            assert torch.equal(value, before[name]), name
    assert all((p.grad is None) == name.startswith(tuple(frozen)) for name, p in encoder.named_parameters())


def test_pretrained_round_trip(tmp_path):
    source = tiny().backbone
    torch.save(
        dict(state_dict={**source.state_dict(), 'fc.weight': torch.zeros(3, 3)}), tmp_path / 'weights.pth'
    )
    torch.manual_seed(9)
    encoder = Encoder(
        dict(
            type='TinyCNN',
            width=8,
            init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')),
        )
    )
    encoder.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(encoder.backbone.state_dict()[name], value)


def test_pretrained_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        read_state_dict(str(tmp_path / 'nowhere.pth'))
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='no state dict'):
        read_state_dict(str(tmp_path / 'list.pth'))
    weights = tiny().backbone.state_dict()
    weights['stranger.weight'] = torch.zeros(1)
    del weights[next(iter(weights))]
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='missing.*stranger'):
        load_pretrained(tiny().backbone, str(tmp_path / 'other.pth'))
    with pytest.raises(ValueError, match='Pretrained'):
        Encoder(dict(type='TinyCNN', init_cfg=dict(type='Kaiming')))


def test_imagenet_mobilenetv2_loads_whole(shared):
    checkpoint = str(shared / 'weights' / 'mobilenetv2_imagenet_features.pt')
    encoder = Encoder(
        dict(type='MobileNetV2', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)), shift=None
    )
    encoder.init_weights()
    weights = torch.load(checkpoint, weights_only=True)
    assert torch.equal(encoder.backbone.features[2].conv[0][0].weight, weights['features.2.conv.0.weight'])
    assert torch.equal(encoder.backbone.features[18][1].running_var, weights['features.18.1.running_var'])


def test_unknown_options():
    with pytest.raises(ValueError, match='shift'):
        tiny(shift='forward')
    with pytest.raises(ValueError, match='map_stride=5'):
        tiny(map_stride=5)
