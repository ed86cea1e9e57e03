"""A backbone's own names to those of TSM's code and of MMAction2.

All of them keep the backbone's own names (ResNet as in torchvision; MobileNetV2 in the original, flat
numbering or in MMAction2's) and mark a shifted convolution by ``.net`` behind its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ...models.backbones import Backbone, MobileNetV2, ResNet
from ..errors import ConversionError
from ..mmaction2 import mobilenetv2_blocks

__all__ = ['to_mmaction2_names', 'to_tsm_names']


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


def to_tsm_names(backbone: Backbone, weights: Mapping[str, Tensor], shift: bool = True) -> dict[str, Tensor]:
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


def to_mmaction2_names(
    backbone: Backbone, weights: Mapping[str, Tensor], shift: bool = True
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
    return f'{mobilenetv2_blocks()[number]}.conv.{where}.{"net." if point else ""}{kind}.{leaf}'
