"""A file of another code base, converted whole or not at all, and the checkpoint that is made of it."""

from __future__ import annotations

import pprint
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from ... import __version__
from ...engine.checkpoint import WEIGHTS_HASH, plain
from ...engine.identity import weights_hash
from ...files import file_hash
from ...registry import MODELS
from ...weights import COUNTER, misfit
from ..errors import ConversionError
from ..writing import write
from .files import read_published
from .forms import FORMS, Options, recognise_form

__all__ = ['Converted', 'convert_file', 'converted_config', 'save_converted', 'summary']

FRAMES = dict(gfnet=1, torchvision=1, timm=1, adafocusv2=12)
FRAMES |= {'uni-adafocus': 36}


@dataclass
class Converted:
    """A converted model: its form, config, weights and what should be known of it."""

    form: str
    model: dict[str, Any]
    weights: dict[str, Tensor]
    num_frames: int
    remarks: list[str] = field(default_factory=list)
    classes: Sequence[str] | None = None


def convert_file(path: str | Path, form: str = 'auto', options: Options | None = None) -> Converted:
    """Convert a file of another code base; every weight is placed, or it is an error.

    Args:
        path: the file.
        form: one of :data:`FORMS`, or 'auto'.
        options: what no weight tells.

    Raises:
        ConversionError: naming all the weights that could not be placed.
    """
    options = options or Options()
    content = read_published(path, options.trust_pickle)
    form = recognise_form(content) if form == 'auto' else form
    if form not in FORMS:
        raise ConversionError(f'form {form!r} is unknown; choose auto, {", ".join(FORMS)}')
    if 'adafocus' in form and recognise_form(content) != form:
        raise ConversionError(f'form {form}: the names are those of {recognise_form(content)}')
    _check_options(form, options)
    model, weights, remarks = FORMS[form](content, options)
    _check_complete(model, weights)
    num_frames = FRAMES.get(form, 8) if options.num_frames is None else options.num_frames
    if model['type'] == 'AdaFocusRecognizer' and num_frames < max(
        model['glance_frames'], model['focus_frames'] or 1
    ):
        raise ConversionError(
            f'{num_frames} frames are fewer than the {model["glance_frames"]} of the glance or the'
            f' {model["focus_frames"]} of the focus; set --frames and --focus-frames to numbers that go'
            ' together'
        )
    if options.num_frames is None and form not in ('gfnet', 'torchvision', 'timm'):
        remarks = [
            *remarks,
            f'no weight tells the number of frames of a clip: {num_frames}; --frames sets another',
        ]
    classes = options.classes or _classes_in(content)
    if classes is not None and len(classes) != model['num_classes']:
        raise ConversionError(f'{len(classes)} names of classes for a model of {model["num_classes"]}')
    return Converted(form, model, weights, num_frames, list(remarks), classes)


NUMBERS = dict(
    steps=('gfnet',),
    patch_size=('gfnet', 'adafocusv2', 'uni-adafocus'),
    focus_frames=('uni-adafocus',),
    num_frames=(),
)  # of which forms; () for all


def _check_options(form: str, options: Options) -> None:
    """Numbers are positive, and belong to the form."""
    for name, forms in NUMBERS.items():
        value, flag = getattr(options, name), '--' + name.removeprefix('num_').replace('_', '-')
        if value is not None and value < 1:
            raise ConversionError(f'{flag} {value} must be at least 1')
        if value is not None and forms and form not in forms:
            more = (
                ': AdaFocus V2 focuses on every candidate, give it as many frames'
                if form == 'adafocusv2'
                else ''
            )
            raise ConversionError(
                f'{flag} {value} means nothing to the form {form}{more}; it is for {", ".join(forms)}'
            )
    if options.arch is not None and form != 'timm':
        raise ConversionError(f'--arch {options.arch} means nothing to the form {form}; it is for timm')


def _classes_in(content: Mapping[str, Any]) -> list[str] | None:
    meta = content.get('meta')
    dataset = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    classes = dataset.get('classes') if isinstance(dataset, Mapping) else None
    return list(classes) if isinstance(classes, (list, tuple)) and classes else None


def _check_complete(config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Every weight has its place in the model, and every place its weight; counters that old files lack start
    at 0."""
    own = MODELS.build(config).state_dict()
    for name, value in own.items():
        if name.endswith(COUNTER):
            weights.setdefault(name, torch.zeros_like(value))
    if found := misfit(own, weights):
        raise ConversionError(f'the weights do not fit {config["type"]}: {found.told(None)}')


# short side and side of the central square of the images, in pixels
USUAL_SIZE = (256, 224)
GFNET_SIZES = dict(b2=(297, 260), b3=(331, 300))


def _image_size(converted: Converted) -> tuple[int, int]:
    if converted.form != 'gfnet':
        return USUAL_SIZE
    return GFNET_SIZES.get(converted.model['glance']['backbone'].get('variant'), USUAL_SIZE)


def converted_config(converted: Converted) -> Config:
    """Model and test pipeline: the central square that the model was published with, frames in the middles of
    equal parts of the video."""
    short, side = _image_size(converted)
    pipeline = [
        dict(type='SampleFrames', frames=converted.num_frames, strategy='segment', test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='ResizeShortSide', short=short),
        dict(type='CentreCrop', size=side),
        dict(type='PackClip'),
    ]
    return Config(
        dict(
            default_scope='gfvideo',
            model=converted.model,
            test_dataloader=dict(batch_size=1, dataset=dict(pipeline=pipeline)),
        )
    )


def save_converted(converted: Converted, source: str | Path, output: str | Path) -> None:
    """Write a checkpoint that carries its config, whole or not at all, for ``init_recognizer(None, output)``.

    Raises:
        ConversionError: if ``output`` is the source.
    """
    source, output = Path(source), Path(output)
    if output.exists() and output.samefile(source):
        raise ConversionError(f'{output} is the file to convert; name another output')
    meta = {
        'cfg': converted_config(converted).pretty_text,
        'gfvideo_version': __version__,
        'converted': dict(form=converted.form, source=source.name, sha256=file_hash(source)),
        WEIGHTS_HASH: weights_hash(converted.weights),
    }
    if converted.classes:
        meta['dataset_meta'] = dict(classes=list(converted.classes))
    write(dict(state_dict=converted.weights, meta=plain(meta)), output)


def summary(converted: Converted) -> str:
    """What was recognised and placed, in words."""
    parameters = sum(value.numel() for value in converted.weights.values())
    short, side = _image_size(converted)
    lines = [
        f'form: {converted.form}',
        'model: ' + pprint.pformat(converted.model, sort_dicts=False, width=120, compact=True),
        f'placed: {len(converted.weights)} tensors, {parameters / 1e6:.2f} million values, none left over',
        (
            f'test pipeline: {converted.num_frames} frame{"s" if converted.num_frames != 1 else ""}'
            f' of {side}x{side} from a short side of {short}'
        ),
    ]
    return '\n'.join(lines + [f'note: {remark}' for remark in converted.remarks])
