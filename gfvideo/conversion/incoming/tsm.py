"""From the names of the code bases around TSM: the original one, its online demo, MMAction2.

All of them keep the backbone's own names (ResNet as in torchvision; MobileNetV2 in the original, flat
numbering or in MMAction2's) and mark a shifted convolution by ``.net`` behind its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...models import MobileNetV2
from ...registry import MODELS
from ..errors import ConversionError
from ..mmaction2 import mobilenetv2_blocks
from .backbones import BackboneWeights, identify_backbone

__all__ = [
    'encoder_from_tsm',
    'from_mmaction2_names',
    'without_shift_marks',
]


def without_shift_marks(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """Weights with ``.net`` taken out of their names, and the names of the modules (before that) that carried
    it."""
    plain, marked = {}, set()
    for name, value in weights.items():
        head, mark, tail = name.partition('.net.')
        plain[f'{head}.{tail}' if mark else name] = value
        if mark:
            marked.add(head)
    return plain, marked


def encoder_from_tsm(
    weights: Mapping[str, Tensor], shift: str = 'bidirectional', always: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config of an encoder and its weights, from a backbone's weights with shift marks.

    Args:
        weights: of a ResNet or a MobileNetV2, in TSM's names.
        shift: the direction, which the names do not tell.
        always: the shift is there although no name is marked (the online demo has it in its code).

    Raises:
        ConversionError: if a weight has no place, or the shift stands elsewhere than in front of the first
            convolution of the residual branches ("blockres").
    """
    nested = [name for name in weights if '.nl.' in name or '.theta.' in name]
    if nested:
        raise ConversionError(
            f'the checkpoint has non-local blocks, which this package does not build: {", ".join(nested)}'
        )
    plain, marked = without_shift_marks(weights)
    found = identify_backbone(plain)
    if not marked and not always:
        return dict(type='Encoder', shift=None, backbone=found.config), found.weights
    if not always:
        _check_shift(found, marked)
    return dict(type='Encoder', shift=shift, backbone=found.config), found.weights


def _check_shift(found: BackboneWeights, marked: set[str]) -> None:
    """The marked modules are the shift points of the backbone."""
    with torch.device('meta'):
        expected = set(MODELS.build(found.config).shift_points())
    if not marked & expected:  # TSM's flat MobileNetV2: features.3.conv.0 is what is features.3.conv.0.0 here
        expected = {point.removesuffix('.0') for point in expected}
    if marked != expected:
        raise ConversionError(
            'the shift stands elsewhere than in front of the first convolution of residual branches: it is'
            f' missing at {sorted(expected - marked)} and superfluous at {sorted(marked - expected)};'
            ' shift_place must be "blockres"'
        )


# -------------------------------------------------------------------------------------------------- MMAction2


def from_mmaction2_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """MMAction2's names of a backbone (without ``backbone.``) to torchvision's, ``.net`` kept in front of the
    weight.

    A convolution there is a module of ``conv`` and ``bn``, so ``conv1.bn`` is ``bn1`` and ``conv1.conv`` is
    ``conv1``.
    """
    mobile = any(re.match(r'layer\d+\.\d+\.conv\.\d', name) for name in weights)
    rename = _mobilenetv2_from_mmaction2 if mobile else _resnet_from_mmaction2
    expanding = {match[1] for name in weights if (match := re.match(r'(layer\d+\.\d+)\.conv\.2\.', name))}
    return {rename(name, expanding): value for name, value in weights.items()}


def _resnet_from_mmaction2(name: str, _: set[str]) -> str:
    name = re.sub(r'downsample\.conv\.', 'downsample.0.', name)
    name = re.sub(r'downsample\.bn\.', 'downsample.1.', name)
    name = re.sub(r'conv(\d)\.bn\.', r'bn\1.', name)
    return re.sub(r'(conv\d)\.conv\.', r'\1.', name)


def _mobilenetv2_from_mmaction2(name: str, expanding: set[str]) -> str:
    stem = re.fullmatch(r'conv([12])\.(conv|bn)\.(\w+)', name)
    if stem:
        last = sum(repeat for _, _, repeat, _ in MobileNetV2.settings) + 1
        return f'features.{0 if stem[1] == "1" else last}.{"0" if stem[2] == "conv" else "1"}.{stem[3]}'
    match = re.fullmatch(r'(layer\d+\.\d+)\.conv\.(\d)\.(net\.)?(conv|bn)\.(\w+)', name)
    if match is None:
        return name
    place, layer, mark, kind, leaf = match.groups()
    number = {stage: features for features, stage in mobilenetv2_blocks().items()}.get(place)
    if number is None:
        return name
    last = 2 if place in expanding else 1
    if int(layer) == last:  # the projection stands without an activation
        where = f'{last + (kind == "bn")}'
    else:
        where = f'{layer}.{int(kind == "bn")}'
    if mark and kind == 'conv':
        where = f'{where}.net'
    return f'features.{number}.conv.{where}.{leaf}'
