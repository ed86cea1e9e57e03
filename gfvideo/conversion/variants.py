"""The sizes in which each backbone of this package comes, and whether weights are those of one; built on the
meta device of torch, without memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..registry import MODELS
from ..weights import Misfit, misfit

__all__ = ['VARIANTS', 'misfit_of', 'names_and_shapes']

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


def names_and_shapes(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of what a config builds, without its values."""
    with torch.device('meta'):
        return MODELS.build(dict(config)).state_dict()


def misfit_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Misfit:
    """What keeps weights from the network that a config builds; old files lack counters."""
    return misfit(names_and_shapes(config), weights, counters=False)
