"""The forms in which checkpoints are published: told apart by the names of their weights, and each taken to a
model config, its weights and remarks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...registry import MODELS
from ...weights import part_of, under
from ..errors import ConversionError
from .adafocus import convert_adafocus
from .backbones import identify_backbone, split_classifier
from .files import require, state_dict_in
from .gfnet import convert_gfnet
from .tsm import encoder_from_tsm, from_mmaction2_names

__all__ = ['FORMS', 'Options', 'recognise_form', 'register_form']


@dataclass(frozen=True)
class Options:
    """What no weight tells; None for what the file says, or what was published.

    Attributes:
        arch: name of the timm model, for weights that no backbone of the package takes.
        steps: S of a GFNet model.
        patch_size: P in pixels, of a GFNet or AdaFocus model.
        focus_frames: how many frames Uni-AdaFocus focuses on.
        num_frames: T of the clips that the converted checkpoint's test pipeline makes.
        classes: names of the classes, in the order of the labels.
        trust_pickle: load files that hold more than tensors and plain values.
    """

    arch: str | None = None
    steps: int | None = None
    patch_size: int | None = None
    focus_frames: int | None = None
    num_frames: int | None = None
    classes: Sequence[str] | None = None
    trust_pickle: bool = False


# -------------------------------------------------------------------------------------------------- the forms


def _clip_recognizer(
    encoder: dict, weights: Mapping[str, Tensor], fc: tuple[Tensor, Tensor]
) -> tuple[dict, dict[str, Tensor]]:
    model = dict(type='ClipRecognizer', num_classes=len(fc[1]), encoder=encoder)
    return model, under('encoder.backbone', weights) | {'fc.weight': fc[0], 'fc.bias': fc[1]}


def _from_tsm(
    content: Mapping[str, Any], options: Options, shift: str = 'bidirectional', always: bool = False
) -> tuple:
    weights = {name.removeprefix('base_model.'): value for name, value in state_dict_in(content).items()}
    rest, weight, bias = split_classifier(weights)
    encoder, placed = encoder_from_tsm(rest, shift, always)
    both = 'no weight tells the direction of the shift: both ways; --from tsm-online makes it causal'
    remarks = [both] if encoder['shift'] == 'bidirectional' else []
    return *_clip_recognizer(encoder, placed, (weight, bias)), remarks


def _from_tsm_online(content: Mapping[str, Any], options: Options) -> tuple:
    """One direction, frame by frame; the demo's code shifts without a mark in the names, a model trained by
    TSM's code has them."""
    marked = any('.net.' in name for name in state_dict_in(content))
    return _from_tsm(content, options, 'causal', always=not marked)


def _from_mmaction2(content: Mapping[str, Any], options: Options) -> tuple:
    weights = state_dict_in(content)
    backbone = part_of(weights, 'backbone')
    if not backbone:
        raise ConversionError(
            'no name begins with backbone., so this is no file of MMAction2; it looks like'
            f' {recognise_form(content)}'
        )
    left = [
        name
        for name in weights
        if not name.startswith('backbone.') and name not in ('cls_head.fc_cls.weight', 'cls_head.fc_cls.bias')
    ]
    if left:
        raise ConversionError(
            f'a TSN or TSM of MMAction2 has backbone.* and cls_head.fc_cls.*; not placed: {", ".join(left)}'
        )
    require(weights, ('cls_head.fc_cls.weight', 'cls_head.fc_cls.bias'), 'the head of MMAction2')
    encoder, placed = encoder_from_tsm(from_mmaction2_names(backbone))
    return (
        *_clip_recognizer(
            encoder, placed, (weights['cls_head.fc_cls.weight'], weights['cls_head.fc_cls.bias'])
        ),
        [],
    )


def _from_gfnet(content: Mapping[str, Any], options: Options) -> tuple:
    return convert_gfnet(content, options.steps, options.patch_size)


def _from_adafocus(content: Mapping[str, Any], options: Options) -> tuple:
    return convert_adafocus(state_dict_in(content), options.patch_size, options.focus_frames)


def _from_image_model(content: Mapping[str, Any], options: Options, timm: bool) -> tuple:
    rest, weight, bias = split_classifier(state_dict_in(content))
    if timm and options.arch:
        config: dict[str, Any] = dict(type='TimmBackbone', name=options.arch)
        placed = MODELS.build(config).rename_pretrained(rest)
    else:
        config, placed = identify_backbone(rest, timm)
    encoder = dict(type='Encoder', shift=None, backbone=config)
    return *_clip_recognizer(encoder, placed, (weight, bias)), []


def _from_torchvision(content: Mapping[str, Any], options: Options) -> tuple:
    return _from_image_model(content, options, timm=False)


def _from_timm(content: Mapping[str, Any], options: Options) -> tuple:
    return _from_image_model(content, options, timm=True)


Convert = Callable[[Mapping[str, Any], Options], tuple[dict[str, Any], dict[str, Tensor], list[str]]]
"""What was read of a file, and options -> config of a model, its weights, remarks for the user."""

FORMS: dict[str, Convert] = {
    'tsm': _from_tsm,
    'tsm-online': _from_tsm_online,
    'mmaction2': _from_mmaction2,
    'gfnet': _from_gfnet,
    'adafocusv2': _from_adafocus,
    'uni-adafocus': _from_adafocus,
    'torchvision': _from_torchvision,
    'timm': _from_timm,
}


_MARKS: dict[str, Callable[[Sequence[str]], bool]] = {}  # of forms that were registered


def register_form(
    name: str, marks: Callable[[Sequence[str]], bool] | None = None
) -> Callable[[Convert], Convert]:
    """Make a function a form that ``tools/convert_checkpoint.py`` knows.

    Args:
        name: for ``--from``; new.
        marks: whether a file with weights of these names is of the form, for files whose form is not given;
            asked before the forms of this package.

    Raises:
        ValueError: if there is such a form.
    """
    if name in FORMS:
        raise ValueError(f'there is a form {name!r} already; choose another name')

    def register(function: Convert) -> Convert:
        FORMS[name] = function
        if marks is not None:
            _MARKS[name] = marks
        return function

    return register


def recognise_form(content: Mapping[str, Any]) -> str:
    """Which of :data:`FORMS` a file's dict is in, told by the names of its weights.

    Raises:
        ConversionError: if it holds no weights, or is a checkpoint of this package already.
    """
    if 'model_prime_state_dict' in content:
        return 'gfnet'
    names = list(state_dict_in(content))
    for form, marks in _MARKS.items():
        if marks(names):
            return form

    def some(pattern: str) -> bool:
        return any(re.match(pattern, name) for name in names)

    if some(r'(encoder|glance_encoder)\.backbone\.'):
        raise ConversionError(
            'this is a checkpoint of gfvideo already; --to tsm, mmaction2 or torchvision takes it elsewhere'
        )
    if some(r'(local|global)_CNN\.'):
        return 'uni-adafocus' if some(r'temporal_policy\.') else 'adafocusv2'
    if some(r'backbone\.') and some(r'cls_head\.'):
        return 'mmaction2'
    if some(r'base_model\.'):
        return 'tsm'
    if (
        some(r'features\.\d+\.conv\.3\.weight')
        and some(r'classifier\.weight')
        and not some(r'features\.\d+\.conv\.\d\.\d\.')
    ):
        return 'tsm-online'  # the flat MobileNetV2 of TSM's online demo
    if some(r'conv_stem\.|stem\.conv\.|s1\.b1\.|stages\.|patch_embed\.|stem\.0\.bn|blocks\.0\.'):
        return 'timm'
    return 'torchvision'
