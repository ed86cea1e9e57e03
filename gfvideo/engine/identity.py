"""What identifies a model: its weights, and the settings that decide what it predicts and costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..exits import Calibration, ExitsFileError
from ..models.base import Recognizer
from ..models.policies.value_map import AS_BEFORE

__all__ = ['check_exits', 'describe_model', 'same_clips', 'weights_hash']

# what files of exits have told since there are any; later ones tell more
ALWAYS_TOLD = ('weights', 'type', 'shift', 'steps', 'num_classes')


def weights_hash(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values: the same for every file that holds these weights, whatever
    else is in it. How weights of an earlier version choose is told by the settings, not by it."""
    digest = hashlib.sha256()
    for name, value in sorted((key.removeprefix('module.'), value) for key, value in state_dict.items()):
        if name.endswith(f'.{AS_BEFORE}'):
            continue
        value = value.detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def describe_model(model: Recognizer) -> dict[str, Any]:
    """Weights and settings that decide what a recognizer predicts and costs; exits belong to exactly these.

    An exported recognizer has no weights any more, and tells the hash of those that it had.
    """
    return dict(weights=weights_hash(model.state_dict())) | model.described()


def check_exits(calibration: Calibration, model: Recognizer, name: str) -> None:
    """Refuse exits that were fitted for another model.

    What a file of an earlier version, or an earlier export, does not tell yet is not compared.

    Raises:
        ExitsFileError: naming what differs.
    """
    fitted, now = calibration.source.get('model') or {}, describe_model(model)
    compared = {*ALWAYS_TOLD, *(fitted.keys() & now.keys())}
    different = [key for key in sorted(compared) if fitted.get(key) != now.get(key)]
    if different:
        told = ', '.join(
            f'{key} {_short(fitted.get(key))} there and {_short(now.get(key))} here' for key in different
        )
        raise ExitsFileError(
            f'{name} was fitted for another model ({told}): calibrate this checkpoint with tools/calibrate.py'
        )


def _short(value: Any) -> str:
    return f'{value[:12]}...' if isinstance(value, str) and len(value) > 40 else repr(value)


def same_clips(calibration: Calibration, dataset: Mapping[str, Any]) -> bool:
    """Whether exits were fitted on clips that are (also) in ``dataset``, told by its ``metainfo``.

    The content hashes tell it; of files that have none, the hash of the manifest and the split.
    """
    fitted = calibration.source.get('data') or {}
    told = ('content_hash',) if fitted.get('content_hash') else ('manifest_hash', 'split')
    if any(fitted.get(key) != dataset.get(key) for key in told):
        return False
    one, other = fitted.get('fold'), dataset.get('fold')
    if one is None or other is None:
        return True
    return one == other or one.split('/')[1] != other.split('/')[1]
