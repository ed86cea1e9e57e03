"""Names of the code bases around TSM: the original one, its online demo, MMAction2; both ways.

All of them keep the backbone's own names (ResNet as in torchvision; MobileNetV2 in the original, flat
numbering or in MMAction2's) and mark a shifted convolution by ``.net`` behind its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..models import MobileNetV2, ResNet
from ..registry import MODELS
from .backbones import BackboneWeights, identify_backbone
from .files import ConversionError

__all__ = [
    'encoder_from_tsm',
    'from_mmaction2_names',
    'to_mmaction2_names',
    'to_tsm_names',
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


# -------------------------------------------------------------------------------- MobileNetV2, flat numbering


def _flat(name: str, blocks: Mapping[str, bool]) -> str:
    """torchvision's ``features.2.conv.1.0`` to the original ``features.2.conv.3``; ``blocks`` tells which
    block expands."""
    match = re.fullmatch(r'features\.(\d+)\.conv\.(.+)\.(\w+)', name)
    if match is None:
        return name
    block, layer, leaf = match.groups()
    numbers = (
        {'0.0': 0, '0.1': 1, '1.0': 3, '1.1': 4, '2': 6, '3': 7}
        if blocks[block]
        else {'0.0': 0, '0.1': 1, '1': 3, '2': 4}
    )
    return f'features.{block}.conv.{numbers[layer]}.{leaf}'


def _expanding(names: Iterable[str]) -> dict[str, bool]:
    """Of each block of a MobileNetV2 in torchvision's names: whether it expands."""
    blocks: dict[str, bool] = {}
    for name in names:
        match = re.match(r'features\.(\d+)\.conv\.(\d+)\.(\d+)?', name)
        if match:
            blocks[match[1]] = blocks.get(match[1], False) or match[2] == '1' and match[3] is not None
    return blocks


def to_tsm_names(
    backbone: ResNet | MobileNetV2, weights: Mapping[str, Tensor], shift: bool = True
) -> dict[str, Tensor]:
    """A backbone's own names to TSM's, shifted convolutions marked by ``.net``.

    Raises:
        ConversionError: for backbones that TSM's code does not have.
    """
    if not isinstance(backbone, (ResNet, MobileNetV2)):
        raise ConversionError(f"TSM's code has ResNet and MobileNetV2, no {type(backbone).__name__}")
    points = set(backbone.shift_points()) if shift else set()
    blocks = _expanding(weights) if isinstance(backbone, MobileNetV2) else {}
    result = {}
    for name, value in weights.items():
        module, _, leaf = name.rpartition('.')
        plain = _flat(name, blocks) if blocks else name
        result[f'{plain.rpartition(".")[0]}.net.{leaf}' if module in points else plain] = value
    return result


# -------------------------------------------------------------------------------------------------- MMAction2


def _mobilenetv2_stages() -> dict[str, str]:
    """MMAction2's ``layer3.1`` of each ``features.N`` between stem and last convolution."""
    names, number = {}, 1
    for layer, (_, _, repeat, _) in enumerate(MobileNetV2.settings, start=1):
        for block in range(repeat):
            names[str(number)] = f'layer{layer}.{block}'
            number += 1
    return names


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
    number = {stage: features for features, stage in _mobilenetv2_stages().items()}.get(place)
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


def to_mmaction2_names(
    backbone: ResNet | MobileNetV2, weights: Mapping[str, Tensor], shift: bool = True
) -> dict[str, Tensor]:
    """A backbone's own names to MMAction2's (without ``backbone.``), shifted convolutions marked by ``.net``.

    Raises:
        ConversionError: for backbones that MMAction2's TSM does not have.
    """
    points = set(backbone.shift_points()) if shift else set()
    if isinstance(backbone, ResNet):
        return {_resnet_to_mmaction2(name, points): value for name, value in weights.items()}
    if isinstance(backbone, MobileNetV2):
        blocks = _expanding(weights)
        return {_mobilenetv2_to_mmaction2(name, points, blocks): value for name, value in weights.items()}
    raise ConversionError(f"MMAction2's TSM has ResNet and MobileNetV2, no {type(backbone).__name__}")


def _resnet_to_mmaction2(name: str, points: set[str]) -> str:
    module, _, leaf = name.rpartition('.')
    if module in points:
        return f'{module}.conv.net.{leaf}'
    name = re.sub(r'downsample\.0\.', 'downsample.conv.', name)
    name = re.sub(r'downsample\.1\.', 'downsample.bn.', name)
    name = re.sub(r'\bbn(\d)\.', r'conv\1.bn.', name)
    return re.sub(r'(conv\d)\.(weight|bias)$', r'\1.conv.\2', name)


def _mobilenetv2_to_mmaction2(name: str, points: set[str], blocks: Mapping[str, bool]) -> str:
    stem = re.fullmatch(r'features\.(\d+)\.([01])\.(\w+)', name)
    if stem:
        return f'conv{1 if stem[1] == "0" else 2}.{"conv" if stem[2] == "0" else "bn"}.{stem[3]}'
    _, number, _, *layer, leaf = name.split('.')
    last = 2 if blocks[number] else 1
    if len(layer) == 1:
        where, kind = str(last), 'conv' if int(layer[0]) == last else 'bn'
    else:
        where, kind = layer[0], 'conv' if layer[1] == '0' else 'bn'
    # a shift in front of the convolution wraps MMAction2's module of both
    point = f'features.{number}.conv.{where}.0' in points
    return f'{_mobilenetv2_stages()[number]}.conv.{where}.{"net." if point else ""}{kind}.{leaf}'
