"""Which backbone a set of weights belongs to: told by shapes, not by names of files.

Each backbone of this package renames the layouts it knows to its own names (``rename_pretrained``). Its
variants are built without memory (torch's meta device), and the one whose names and shapes are those of the
weights is it. So a depth or width that was never published is recognised like the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ...registry import MODELS
from ...weights import COUNTER, Misfit, misfit
from ..errors import ConversionError
from ..variants import VARIANTS, names_and_shapes

__all__ = ['BackboneWeights', 'identify_backbone', 'split_classifier']


class BackboneWeights(NamedTuple):
    """Config of a backbone and its weights under its own names."""

    config: dict[str, Any]
    weights: dict[str, Tensor]


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
    closest: tuple[dict[str, Any], Misfit] | None = None
    for kind, variants in VARIANTS.items():
        renamed = MODELS.get(kind).rename_pretrained(dict(weights))
        far: list[dict[str, Any]] = []  # whose names are others, whatever the width
        for variant in variants:
            layers = {key: value for key, value in variant.items() if key not in ('width', 'rounding')}
            if 'width' in variant and layers in far:
                continue
            config = dict(type=kind, **variant)
            own = names_and_shapes(config)
            found = misfit(own, renamed, counters=False)
            needed = sum(not name.endswith(COUNTER) for name in own)
            if len(found.missing) + len(found.left_over) > 0.1 * needed:
                far.append(layers)
            if len(found.missing) > 0.9 * needed:
                break  # another family: next to no name in common
            if not found and len(renamed) == len(weights):
                return BackboneWeights(
                    config | (dict(norm_eps=1e-5) if timm and kind == 'MobileNetV3' else {}), renamed
                )
            if closest is None or len(found) < len(closest[1]):
                closest = config, found
    if closest is None:
        raise ConversionError(
            f'no backbone of this package has such names: {", ".join(list(weights)[:6])}, ...; a model of'
            ' timm can be opened with --from timm --arch NAME'
        )
    raise ConversionError(
        f'the weights fit no backbone of this package; the closest is {closest[0]}, with'
        f' {closest[1].told(None)}'
    )


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
