"""Read pretrained weights safely, and place every one of them or say which could not be placed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..weights import (
    DamagedFile,
    UnsafeFile,
    listed,
    misfit,
    not_finite,
    part_of,
    read_weights_file,
    weights_in,
)
from .backbones.base import Backbone

__all__ = ['load_pretrained', 'read_state_dict']

_CLASSIFIER_NAMES = ('fc', 'classifier', 'head', 'new_fc')
_ENCODERS = ('encoder', 'glance_encoder', 'focus_encoder')  # of the recognizers of this package
_CONVERT = (
    'tools/convert_checkpoint.py INPUT OUTPUT makes a checkpoint of this package of the files of other code'
    ' bases, and init_cfg takes that'
)


def read_state_dict(source: str) -> dict[str, Tensor]:
    """State dict of a checkpoint file or URL, read with ``weights_only=True``, wherever it lies inside; see
    :func:`~gfvideo.weights.weights_in`.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if the file cannot be fetched or read safely, is damaged, or holds no state dict.
        ImportError: if it is a .safetensors file and the package safetensors is not installed.
    """
    try:
        content = read_weights_file(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'pretrained weights {source!r} not found (looked from {Path.cwd()}); give the path of a '
            'checkpoint, or remove init_cfg to start from random weights'
        ) from error
    except UnsafeFile as error:
        raise ValueError(
            f'{source!r} holds more than tensors and plain values, which may run a program while it loads; if'
            f' you trust it, {_CONVERT} (--trust-pickle)'
        ) from error
    except DamagedFile as error:
        raise ValueError(f'{source!r} is damaged, or was not written by torch.save ({error})') from error
    weights = weights_in(content)
    if weights is None:
        raise ValueError(f'{source!r} holds no state dict of tensors; {_CONVERT}')
    return weights


def _backbone_weights(weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """What belongs to the backbone, of a file of this package or of TSM; other files as they are.

    Raises:
        ValueError: if the file holds two encoders.
    """
    encoders = [name for name in _ENCODERS if any(key.startswith(f'{name}.backbone.') for key in weights)]
    if len(encoders) > 1:
        raise ValueError(
            f'{source!r} holds two encoders, {" and ".join(encoders)}; write one of them to a file of its own'
            ' with tools/convert_checkpoint.py INPUT OUTPUT --to torchvision --part glance (or focus)'
        )
    if encoders:
        return part_of(weights, f'{encoders[0]}.backbone')
    if any(name.startswith('base_model.') for name in weights):  # TSM marks a shifted convolution by .net
        return {
            re.sub(r'\.net\.(?=\w+$)', '.', name.removeprefix('base_model.')): value
            for name, value in weights.items()
        }
    return dict(weights)


def load_pretrained(backbone: Backbone, source: str) -> None:
    """Load weights into a backbone, all of them.

    The file may hold an image model, in a layout that the backbone's ``rename_pretrained`` knows, a
    recognizer of this package with one encoder (trained or converted), or a model of TSM. Weights of a
    classifier that the backbone does not have are left out; anything else that is missing, left over, of
    another shape or not finite is an error.

    Raises:
        ValueError: with the names that could not be placed, or if the file cannot be read.
    """
    weights = backbone.rename_pretrained(_backbone_weights(read_state_dict(source), source))
    own = backbone.state_dict()
    weights = {
        name: value
        for name, value in weights.items()
        if name in own or name.split('.')[0] not in _CLASSIFIER_NAMES
    }
    if found := misfit(own, weights, counters=False):
        raise ValueError(
            f'{source!r} does not fit {type(backbone).__name__}: {found.told()}. If it is of another code'
            f' base: {_CONVERT}'
        )
    if bad := not_finite(weights):
        raise ValueError(
            f'{source!r} holds weights that are nan or infinite: {listed(bad, "of them")}; take another file'
        )
    backbone.load_state_dict(weights, strict=False)
