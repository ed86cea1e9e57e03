"""Published Glance-and-Focus image models (GFNet, Huang et al.) as recognizers of clips of one frame."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...registry import MODELS
from ...weights import under, unwrapped
from ..errors import ConversionError
from .backbones import identify_backbone, split_classifier
from .files import require

__all__ = ['convert_gfnet']

# what the paper trained: looks in all, the glance among them
PUBLISHED_LOOKS = dict(ResNet=5, DenseNet=5, RegNetY=5, MobileNetV3=3, EfficientNet=4)
CONCATENATING = ('MobileNetV3', 'EfficientNet')
PARTS = ('model_prime_state_dict', 'model_state_dict', 'policy', 'fc')


def convert_gfnet(
    content: Mapping[str, Any], steps: int | None = None, patch_size: int | None = None
) -> tuple[dict, dict[str, Tensor], list[str]]:
    """Model config, weights and remarks of a published file.

    Args:
        content: what the file holds: ``model_prime_state_dict`` (glance encoder), ``model_state_dict`` (focus
            encoder), ``policy``, ``fc`` and, as a rule, ``model_name``, ``patch_size`` and ``flops``, a list
            with an entry a look.
        steps: S, the number of focus steps; None for what the file tells.
        patch_size: P in pixels; None for what the file tells.

    Raises:
        ConversionError: if a weight has no place, or the two encoders differ.
    """
    absent = [part for part in PARTS if not isinstance(content.get(part), Mapping)]
    if absent:
        raise ConversionError(
            f'a GFNet checkpoint holds {", ".join(PARTS)}; this one lacks {", ".join(absent)}'
        )
    name = str(content.get('model_name') or '')
    if name.startswith('tf_'):
        raise ConversionError(
            f'model_name={name!r} pads as TensorFlow does, which the backbones here do not; models without'
            ' tf_ convert'
        )
    parts = {part: unwrapped(content[part]) for part in PARTS}
    require(parts['policy'], ('state_encoder.0.weight', 'actor.0.weight'), 'the policy')
    encoders = [_encoder(parts[part]) for part in PARTS[:2]]
    (config, glance, glance_fc), (focus_config, focus, focus_fc) = encoders
    if config != focus_config:
        raise ConversionError(
            f'the glance encoder is {config}, the focus encoder {focus_config}; the published code has two'
            ' alike'
        )
    remarks: list[str] = []
    kind = config['type']
    looks = _looks(content, kind, remarks) if steps is None else steps + 1
    size = _patch_size(content, parts['policy'], config, patch_size)
    num_classes = len(glance_fc[1])
    known = len({name.split('.')[0] for name in parts['fc']}) + 1
    if kind in CONCATENATING and looks > known:
        raise ConversionError(
            f'{looks - 1} focus steps were asked of a classifier with layers for {known - 1}; choose --steps '
            f'{known - 1} or fewer'
        )

    classifier, classifier_weights = _classifier(kind, parts['fc'], glance_fc)
    policy, policy_weights = _policy(parts['policy'])
    model = dict(
        type='GlanceFocusRecognizer',
        num_classes=num_classes,
        glance_size=size,
        patch_size=size,
        steps=looks - 1,
        glance_resize='bilinear' if kind in ('DenseNet', 'RegNetY') else 'bicubic',
        glance=dict(type='Encoder', shift=None, backbone=config),
        focus=dict(type='Encoder', shift=None, backbone=config),
        policy=policy,
        classifier=classifier,
        train_centres='mean',
    )
    weights = under('glance_encoder.backbone', glance) | under('focus_encoder.backbone', focus)
    weights |= under('policy', policy_weights) | under('classifier', classifier_weights)
    for head, (weight, bias) in (('glance_head', glance_fc), ('focus_head', focus_fc)):
        weights |= under(head, dict(weight=weight, bias=bias))
    return model, weights, remarks


def _encoder(weights: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor], tuple[Tensor, Tensor]]:
    rest, weight, bias = split_classifier(weights)
    found = identify_backbone(rest, timm=True)
    return found.config, found.weights, (weight, bias)


def _looks(content: Mapping[str, Any], kind: str, remarks: list[str]) -> int:
    """Looks in all: as many as the file has costs for."""
    for key in ('flops', 'anytime_classification'):
        told = content.get(key)
        if isinstance(told, (list, tuple)) or isinstance(told, Tensor) and told.dim():
            return len(told)
    remarks.append(
        f'the file tells no number of looks (flops): {PUBLISHED_LOOKS[kind]}, as published for {kind};'
        ' --steps sets another'
    )
    return PUBLISHED_LOOKS[kind]


def _patch_size(
    content: Mapping[str, Any], policy: Mapping[str, Tensor], config: dict, given: int | None
) -> int:
    size = given or content.get('patch_size')
    cells = _map_cells(policy, config)
    if size is None:
        return 32 * cells
    if math.ceil(int(size) / 32) != cells:
        raise ConversionError(
            f'patch_size={size} gives a map of {math.ceil(int(size) / 32)} cells a side, but the policy was'
            f' built for {cells}'
        )
    return int(size)


def _map_cells(policy: Mapping[str, Tensor], config: dict) -> int:
    """Cells a side of the map that the policy reads."""
    convolution = policy['state_encoder.0.weight'].dim() == 4
    place = 'state_encoder.3.weight' if convolution else 'state_encoder.0.weight'
    require(policy, [place], 'the policy')
    linear = policy[place]
    channels = policy['state_encoder.0.weight'].shape[0] if convolution else _map_channels(config)
    cells = math.isqrt(linear.shape[1] // channels)
    if cells * cells * channels != linear.shape[1]:
        raise ConversionError(
            f'the policy reads {linear.shape[1]} values, which is no square map of {channels} channels'
        )
    return cells


def _map_channels(config: dict) -> int:
    with torch.device('meta'):
        backbone = MODELS.build(config)
    return backbone.channels[max(backbone.channels)]


def _rename_gru(name: str) -> str:
    """``gru.weight_ih_l0`` of a one-layer GRU to a cell's ``gru.weight_ih``."""
    return name.removesuffix('_l0')


def _policy(weights: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    convolution = weights['state_encoder.0.weight'].dim() == 4
    layers = (
        dict(zip(('0', '3'), ('reduce', 'linear')))
        if convolution
        else dict(zip(('0', '2'), ('linear1', 'linear2')))
    )
    result, left = {}, []
    for name, value in weights.items():
        part, *rest = name.split('.')
        if part == 'state_encoder' and rest[0] in layers:
            result[f'glance_reader.{layers[rest[0]]}.{rest[1]}'] = value
        elif part == 'gru':
            result[_rename_gru(name)] = value
        elif part == 'actor' and rest[0] == '0':
            result[f'actor.linear.{rest[1]}'] = value
        elif part == 'critic':
            result[name] = value
        else:
            left.append(name)
    if left:
        raise ConversionError(f'weights of the policy that have no place: {", ".join(left)}')
    config: dict[str, Any] = dict(
        type='RecurrentGaussianPolicy',
        actor='linear',
        share_reader=True,
        critic_layers=1,
        std=(0.1, 0.1),
        hidden=weights['actor.0.weight'].shape[1],
        reader='convolution' if convolution else 'flat',
    )
    if convolution:
        config['reduced'] = len(weights['state_encoder.0.weight'])
        # published without
        result.setdefault(
            'glance_reader.reduce.bias', weights['state_encoder.0.weight'].new_zeros(config['reduced'])
        )
    result['std'] = result['actor.linear.weight'].new_tensor(0.1)
    return config, result


def _classifier(
    kind: str, weights: dict[str, Tensor], glance_fc: tuple[Tensor, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if kind in CONCATENATING:
        unknown = [name for name in weights if not re.fullmatch(r'fc_\d+\.(weight|bias)', name)]
        if unknown:
            raise ConversionError(
                f'a classifier of layers fc_2, fc_3, ... was expected for {kind}; not placed:'
                f' {", ".join(unknown)}'
            )
        looks = sorted({int(name.split('.')[0].removeprefix('fc_')) for name in weights})  # fc_2 .. fc_5
        if looks != list(range(2, len(looks) + 2)):
            raise ConversionError(f'the classifier has layers for {looks} looks; they should be 2, 3, ...')
        result = {
            f'fc.{int(name.split(".")[0].removeprefix("fc_")) - 1}.{name.split(".")[1]}': value
            for name, value in weights.items()
        }
        result |= {'fc.0.weight': glance_fc[0], 'fc.0.bias': glance_fc[1]}
        return dict(type='ConcatClassifier', steps=len(looks)), result
    unknown = [name for name in weights if not name.startswith(('rnn.', 'fc.'))]
    if unknown or 'rnn.weight_hh_l0' not in weights:
        raise ConversionError(
            f'a recurrent classifier (rnn, fc) was expected for {kind}; found {", ".join(weights)}'
        )
    result = {_rename_gru(name.replace('rnn.', 'gru.')): value for name, value in weights.items()}
    config = dict(type='RecurrentClassifier', hidden=weights['rnn.weight_hh_l0'].shape[1])
    if kind == 'RegNetY':  # published: the glance is answered by its encoder's own classifier
        config['glance_fc'] = True
        result |= {'glance_fc.weight': glance_fc[0], 'glance_fc.bias': glance_fc[1]}
    return config, result
