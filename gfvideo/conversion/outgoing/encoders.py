"""An encoder that was trained here, with its classifier, as another code base loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ...engine.checkpoint import plain
from ...models import ClipRecognizer, Encoder, Recognizer
from ...weights import under
from ..errors import ConversionError
from ..variants import VARIANTS, misfit_of
from ..writing import write
from .names import to_mmaction2_names, to_tsm_names

__all__ = ['TARGETS', 'export_encoder', 'save_exported']

TARGETS = ('tsm', 'mmaction2', 'torchvision')
PARTS = dict(glance=('glance_encoder', 'glance_head'), focus=('focus_encoder', 'focus_head'))


def export_encoder(model: Recognizer, target: str, part: str | None = None) -> dict[str, Any]:
    """The content of a file that another code base loads: an encoder with its classifier.

    Args:
        model: of :func:`gfvideo.apis.init_recognizer`.
        target: one of :data:`TARGETS`.
        part: 'glance' or 'focus' of a recognizer with both, which takes the encoder with its own head.

    Raises:
        ConversionError: if the other code base has no such backbone, or the part must be named.
    """
    if target not in TARGETS:
        raise ConversionError(f'target {target!r} is unknown; choose {", ".join(TARGETS)}')
    encoder, fc = _part_of(model, part)
    backbone, shift = encoder.backbone, encoder.shift is not None
    own = backbone.state_dict()
    head = {leaf: value.detach().clone() for leaf, value in (('weight', fc.weight), ('bias', fc.bias))}
    if target == 'tsm':
        weights = under('module.base_model', to_tsm_names(backbone, own, shift))
        return dict(state_dict=weights | under('module.new_fc', head))
    if target == 'mmaction2':
        weights = under('backbone', to_mmaction2_names(backbone, own, shift)) | under('cls_head.fc_cls', head)
        return dict(state_dict=weights, meta=dict(dataset_meta=plain(model.dataset_meta)))
    place = _torchvision_classifier(backbone)
    _check_torchvision(backbone)
    return own | under(place, head)


def _part_of(model: Recognizer, part: str | None) -> tuple[Encoder, nn.Linear]:
    if isinstance(model, ClipRecognizer):
        if part is not None:
            raise ConversionError(f'part={part!r}: a ClipRecognizer has one encoder; leave the part away')
        return model.encoder, model.fc
    if part not in PARTS:
        raise ConversionError(f'{type(model).__name__} has two encoders; name the part, glance or focus')
    parts, (encoder, head) = model.parts(), PARTS[part]
    if encoder not in parts or head not in parts:
        raise ConversionError(
            f'{type(model).__name__} has the parts {", ".join(parts)}, and no {encoder} with a {head}'
        )
    found, fc = parts[encoder], parts[head]
    assert isinstance(found, Encoder) and isinstance(fc, nn.Linear)
    return found, fc


def _torchvision_classifier(backbone: nn.Module) -> str:
    kind = type(backbone).__name__
    places = dict(
        ResNet='fc',
        RegNetY='fc',
        DenseNet='classifier',
        MobileNetV2='classifier.1',
        EfficientNet='classifier.1',
        MobileNetV3='classifier.3',
    )
    if kind not in places:
        raise ConversionError(f'torchvision has no {kind}')
    return places[kind]


TORCHVISION_EPS = dict(MobileNetV3=1e-3)


def _check_torchvision(backbone: nn.Module) -> None:
    """torchvision builds this very network.

    Raises:
        ConversionError: if its widths differ there, or its normalisation adds another epsilon, so that the
            answers would change in silence.
    """
    kind = type(backbone).__name__
    if not _in_torchvision(backbone):
        raise ConversionError(
            f"torchvision's {kind} rounds its widths otherwise than this one, or has no such size; it has no"
            ' place for these weights'
        )
    eps = {module.eps for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)}
    if eps != {TORCHVISION_EPS.get(kind, 1e-5)}:
        raise ConversionError(
            f'the normalisations of this {kind} add {sorted(eps)}, those of torchvision '
            f'{TORCHVISION_EPS.get(kind, 1e-5)}: the answers there would differ'
        )


def save_exported(content: dict[str, Any], output: str | Path) -> None:
    """Write :func:`export_encoder`'s answer, whole or not at all."""
    write(content, Path(output))


def _in_torchvision(backbone: nn.Module) -> bool:
    """Whether torchvision has a network of these names and shapes."""
    own, kind = backbone.state_dict(), type(backbone).__name__
    variants = (
        variant for variant in VARIANTS[kind] if 'rounding' not in variant and variant != dict(size='600m')
    )
    return any(not misfit_of(dict(type=kind, **variant), own) for variant in variants)
