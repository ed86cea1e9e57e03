"""Files in every published layout, converted by the tool, answer what the published code answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_networks import (
    ada_focus,
    both_ways,
    forwards_only,
    gfnet,
    linear,
    mobilenetv2,
    resnet50_or_101,
    under,
)

from gfvideo.conversion import export_encoder


@pytest.fixture(autouse=True)
def no_gradient():
    with torch.no_grad():
        yield


def identical(one: dict, other: dict) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


# --------------------------------------------------------------------------------------------- TSM, MMAction2

TSM = [
    'tsm_resnet50_blockres_8f',
    'tsm_resnet101_blockres_8f',
    'tsm_mobilenetv2_8f',
    'mmaction2_tsm_r50_8f',
    'mmaction2_tsm_mobilenetv2_8f',
]


@pytest.fixture(scope='module', params=TSM)
def tsm(request, published):
    with published(request.param) as file:
        yield file


def test_tsm_logits(tsm, checkpoints, rule, agrees):
    expected = checkpoints / 'expected' / f'{tsm.name}.npz'
    if expected.exists():
        # stacked on channels is the same in memory
        frames = rule.randn(7, (1, 24, 224, 224)).view(1, 8, 3, 224, 224)
        agrees(
            f'{tsm.name}, logits of its code',
            tsm.model(frames),
            torch.from_numpy(np.load(expected)['output']),
        )
    frames, mmaction = rule.randn(8, (2, 5, 3, 96, 128)), tsm.name.startswith('mmaction2')
    weights = under(tsm.content['state_dict'], 'backbone.' if mmaction else 'module.base_model.')
    network = mobilenetv2 if 'mobilenet' in tsm.name else resnet50_or_101
    vectors = network(weights, frames.flatten(0, 1), both_ways(5), mmaction).mean((2, 3))
    logits = linear(tsm.content['state_dict'], 'cls_head.fc_cls' if mmaction else 'module.new_fc', vectors)
    agrees(
        f'{tsm.name}, logits of the slow reference', tsm.model(frames), logits.unflatten(0, (2, 5)).mean(1)
    )


def test_tsm_and_back_again(tsm):
    """Every name and every value, as published."""
    target = 'mmaction2' if tsm.name.startswith('mmaction2') else 'tsm'
    assert identical(export_encoder(tsm.model, target)['state_dict'], tsm.content['state_dict'])


def test_tsm_online(published, rule, agrees):
    with published('tsm_online_mobilenetv2_6f') as file:
        frames, weights, left = rule.randn(9, (1, 6, 3, 224, 224)), file.content['state_dict'], {}
        expected = []
        for t in range(6):
            shift = forwards_only(left)
            deepest = mobilenetv2(weights, frames[:, t], shift, shifted=(3, 5, 6, 8, 9, 10, 12, 13, 15, 16))
            expected.append(linear(weights, 'classifier', deepest.mean((2, 3))))
        stream = file.model.stream()
        streamed = [stream(frames[:, t]) for t in range(6)]
        agrees(
            'tsm_online_mobilenetv2_6f, logits of every frame', torch.stack(streamed), torch.stack(expected)
        )
        agrees(
            'tsm_online_mobilenetv2_6f, the clip at once', file.model(frames), torch.stack(expected).mean(0)
        )
        assert len(left) == 10 and not torch.allclose(expected[0], expected[1], rtol=1e-2)


# ------------------------------------------------------------------------------------------------------ GFNet

GFNET = {
    'gfnet_resnet50_96_T5': (dict(type='ResNet', depth=50), 'bicubic', False),
    'gfnet_densenet121_96_T5': (dict(type='DenseNet', depth=121), 'bilinear', False),
    'gfnet_regnety_800m_96_T5': (dict(type='RegNetY', size='800m', rounding='timm'), 'bilinear', True),
    'gfnet_efficientnet_b2_128_T4': (dict(type='EfficientNet', variant='b2'), 'bicubic', True),
    'gfnet_mobilenetv3_large_100_128_T3': (dict(type='MobileNetV3', norm_eps=1e-5), 'bicubic', True),
}


@pytest.mark.parametrize('name', GFNET)
def test_gfnet_steps(name, published, checkpoints, rule, agrees):
    backbone, interpolation, glance_answers_alone = GFNET[name]
    looks, golden = int(name[-1]), checkpoints / 'expected' / f'{name}.npz'
    with published(name) as file:
        model = file.model
        assert (
            model.steps == looks - 1
            and model.patch_size == model.glance_size == (file.content['patch_size'],) * 2
        )
        images = rule.randn(7, (2, 3, 224, 224))
        prediction = model.predict_steps(images[:, None])
        logits, centres = gfnet(file.content, backbone, images, looks, interpolation, glance_answers_alone)
    agrees(f'{name}, logits of every step', prediction.step_logits.transpose(0, 1), logits)
    agrees(f'{name}, centres', prediction.centres[:, :, 0].transpose(0, 1), centres)
    assert len(centres.flatten(0, 1).unique(dim=0)) == 2 * (looks - 1)  # the policy looks around
    if golden.exists():
        expected = np.load(golden)
        agrees(
            f'{name}, logits of its code',
            prediction.step_logits.transpose(0, 1),
            torch.from_numpy(expected['logits']),
        )
        agrees(
            f'{name}, centres of its code',
            prediction.centres[:, :, 0].transpose(0, 1),
            torch.from_numpy(expected['actions']),
        )


# --------------------------------------------------------------------------------------------------- AdaFocus


def smooth(frames: torch.Tensor) -> torch.Tensor:
    """So that a window a little off shows a little, not anything."""
    return 3 * F.avg_pool2d(frames.flatten(0, 1), 9, 1, 4).unflatten(0, frames.shape[:2])


FLATTER = {'module.spatial_policy.encoder.9.weight': 0.1, 'module.temporal_policy.Tconv.6.weight': 0.3}


@pytest.mark.parametrize(
    'name, patch, candidates, chosen, scales',
    [
        ('adafocusv2_tsm_p144_8and12', 144, 12, None, None),
        ('uni_adafocus_tsm_p128_8and12', 128, 36, 12, FLATTER),
    ],
)
def test_adafocus(name, patch, candidates, chosen, scales, published, rule, agrees):
    with published(name, scales) as file:
        model, weights = file.model, file.content['state_dict']
        assert model.patch_size == (patch, patch)  # told by the file's name
        glance, focus = (
            smooth(rule.randn(7, (2, 8, 3, 224, 224))),
            smooth(rule.randn(8, (2, candidates, 3, 224, 224))),
        )
        states = model.looks(dict(glance=glance, focus=focus))
        for clip in range(2):
            first, last, window, frames = ada_focus(weights, glance[clip], focus[clip], patch, chosen)
            agrees(f'{name}, logits of the glance', states[0].logits[clip].mean(0), first)
            agrees(f'{name}, logits', states[1].logits[clip].mean(0), last)
            agrees(f'{name}, centre', states[1].centres[clip, frames[0]], window[:2])
            assert not torch.allclose(first, last, rtol=1e-2) and 0.02 < window.min() and window.max() < 0.98
            if chosen:
                agrees(
                    f'{name}, window', states[1].window_sizes[clip, frames[0]], 96 + window[2:] * (224 - 96)
                )
                assert states[1].frame_indices[clip].tolist() == frames and frames != list(range(1, 36, 3))
