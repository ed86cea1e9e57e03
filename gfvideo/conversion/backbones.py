"""Which backbone a set of weights belongs to: told by shapes, not by names of files.

Each backbone of this package renames the layouts it knows to its own names (``rename_pretrained``). Its
variants are built without memory (torch's meta device), and the one whose names and shapes are those of the
weights is it. So a depth or width of which nobody has seen a file is recognised like the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..registry import MODELS
from .files import ConversionError

__all__ = ['BackboneWeights', 'identify_backbone', 'in_torchvision', 'split_classifier']

# those that are published first, then every twentieth from 2 down to 0.25, below which blocks lose their
# expansion and with it their names
WIDTHS = tuple(
    dict.fromkeys(
        [1.0, 0.75, 1.25, 0.5, 1.5, 1.4, 0.35, *(round(0.05 * number, 2) for number in range(40, 4, -1))]
    )
)
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    'ResNet': tuple(dict(depth=depth) for depth in (18, 34, 50, 101, 152)),
    'MobileNetV2': tuple(dict(width=width) for width in WIDTHS),
    'MobileNetV3': tuple(
        dict(size=size, width=width, **rounding)
        for width in WIDTHS
        for size in ('large', 'small')
        for rounding in ({}, dict(rounding='timm'))
    ),
    'EfficientNet': tuple(dict(variant=variant) for variant in ('b0', 'b1', 'b2', 'b3')),
    'RegNetY': tuple(
        dict(size=size, **rounding)
        for size in ('400m', '600m', '800m', '1.6g')
        for rounding in ({}, dict(rounding='timm'))
    ),
    'DenseNet': tuple(dict(depth=depth) for depth in (121, 169, 201)),
}


class BackboneWeights(NamedTuple):
    """Config of a backbone and its weights under its own names."""

    config: dict[str, Any]
    weights: dict[str, Tensor]


class _Misfit(NamedTuple):
    """What keeps weights from fitting a variant; empty lists if they fit."""

    config: dict[str, Any]
    missing: list[str]
    left_over: list[str]
    reshaped: list[str]
    own: int

    def size(self) -> int:
        return len(self.missing) + len(self.left_over) + len(self.reshaped)

    def told(self) -> str:
        lists = (
            ('missing', self.missing),
            ('not placed', self.left_over),
            ('of another shape', self.reshaped),
        )
        return '; '.join(f'{len(names)} {what}: {", ".join(names)}' for what, names in lists if names)


def _misfit(config: dict[str, Any], weights: Mapping[str, Tensor]) -> _Misfit:
    with torch.device('meta'):
        own = MODELS.build(config).state_dict()
    needed = [name for name in own if not name.endswith('num_batches_tracked')]
    return _Misfit(
        config,
        [name for name in needed if name not in weights],
        [name for name in weights if name not in own],
        [
            f'{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}'
            for name in own
            if name in weights and weights[name].shape != own[name].shape
        ],
        len(needed),
    )


def identify_backbone(weights: Mapping[str, Tensor], timm: bool = False) -> BackboneWeights:
    """The backbone of this package that ``weights`` belong to, every one of them.

    Args:
        weights: of an image backbone without its classifier, in the layout of torchvision, of timm, or of
            another code base that a backbone knows.
        timm: they were trained by timm's code or its kin, whose batch normalisation in MobileNetV3 adds 1e-5
            where torchvision's adds 1e-3.

    Raises:
        ConversionError: if none fits, with all the names that could not be placed in the closest one.
    """
    closest: _Misfit | None = None
    for kind, variants in VARIANTS.items():
        renamed = MODELS.get(kind).rename_pretrained(dict(weights))
        far: list[dict[str, Any]] = []  # whose names are others, whatever the width
        for variant in variants:
            layers = {key: value for key, value in variant.items() if key not in ('width', 'rounding')}
            if 'width' in variant and layers in far:
                continue
            misfit = _misfit(dict(type=kind, **variant), renamed)
            if len(misfit.missing) + len(misfit.left_over) > 0.1 * misfit.own:
                far.append(layers)
            if len(misfit.missing) > 0.9 * misfit.own:
                break  # another family: next to no name in common
            if not misfit.size() and len(renamed) == len(weights):
                config = misfit.config | (dict(norm_eps=1e-5) if timm and kind == 'MobileNetV3' else {})
                return BackboneWeights(config, renamed)
            if closest is None or misfit.size() < closest.size():
                closest = misfit
    if closest is None:
        raise ConversionError(
            f'no backbone of this package has such names: {", ".join(list(weights)[:6])}, ...; a model of'
            ' timm can be opened with --from timm --arch NAME'
        )
    raise ConversionError(
        f'the weights fit no backbone of this package; the closest is {closest.config}, with {closest.told()}'
    )


def in_torchvision(backbone: nn.Module) -> bool:
    """Whether torchvision has a network of these names and shapes."""
    own, kind = backbone.state_dict(), type(backbone).__name__
    variants = (
        variant for variant in VARIANTS[kind] if 'rounding' not in variant and variant != dict(size='600m')
    )
    return any(not _misfit(dict(type=kind, **variant), own).size() for variant in variants)


_CLASSIFIER = re.compile(r'(?:fc|classifier|head|heads|new_fc|last_linear)(?:\..+)?\.weight')


def split_classifier(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Weights without the classifier, and its weight ``(C, F)`` and bias ``(C,)``: the last linear layer (or
    1x1 convolution) under a usual name.

    Raises:
        ConversionError: if there is none.
    """
    found = [
        name
        for name, value in weights.items()
        if _CLASSIFIER.fullmatch(name)
        and (value.dim() == 2 or value.dim() == 4 and value.shape[2:] == (1, 1))
    ]
    if not found:
        raise ConversionError(
            'the weights hold no classifier (fc, classifier, head), so they cannot answer; to start training'
            " from them, name the file in init_cfg=dict(type='Pretrained', checkpoint=PATH) of the backbone"
        )
    name = found[-1]
    bias = name.removesuffix('weight') + 'bias'
    if bias not in weights:
        raise ConversionError(f'the classifier {name} has no bias; the linear layers here have one')
    rest = {key: value for key, value in weights.items() if key not in (name, bias)}
    return rest, weights[name].flatten(1), weights[bias]
