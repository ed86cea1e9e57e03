"""Read checkpoints of other code bases, safely."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...weights import DamagedFile, UnsafeFile, read_weights_file, weights_in
from ..errors import ConversionError

__all__ = ['read_published', 'require', 'state_dict_in']


def read_published(path: str | Path, trust_pickle: bool = False) -> dict[str, Any]:
    """What a published checkpoint file holds.

    Args:
        path: a file written by ``torch.save``, or a ``.safetensors`` file.
        trust_pickle: load a file that holds more than tensors and plain values. Such a file can run any
            program while it is loaded, so a warning says which one is, and what it holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ConversionError: if it is damaged, is no dict, or needs ``trust_pickle``.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint at {path}')
    try:
        content = read_weights_file(path)
    except UnsafeFile as error:
        if not trust_pickle:
            raise ConversionError(
                f'{path} holds more than tensors and plain values ({error}), and loading it may run a program'
                ' hidden in it. If you trust where it comes from, say so with --trust-pickle'
            ) from error
        warnings.warn(
            f'{path} is unpickled whole, as --trust-pickle asks: it holds more than tensors and plain values '
            f'({error}) and can run any program while it is loaded',
            stacklevel=2,
        )
        content = torch.load(path, map_location='cpu', weights_only=False)
    except DamagedFile as error:
        raise ConversionError(
            f'{path} is damaged, or was not written by torch.save ({error}); is it the '
            'right file, and was it downloaded whole?'
        ) from error
    if not isinstance(content, Mapping):
        raise ConversionError(
            f'{path} holds a {type(content).__name__}, not a dict with weights; is it a checkpoint?'
        )
    return dict(content)


def require(weights: Mapping[str, Any], names: Iterable[str], of: str) -> None:
    """Stop unless all ``names`` are there.

    Raises:
        ConversionError: with those that are not.
    """
    missing = [name for name in names if name not in weights]
    if missing:
        raise ConversionError(f'weights of {of} that are missing: {", ".join(missing)}')


def state_dict_in(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a file's dict; see :func:`~gfvideo.weights.weights_in`.

    Raises:
        ConversionError: if there are none.
    """
    weights = weights_in(content)
    if weights is None:
        raise ConversionError(
            f'no weights found: the file holds {sorted(map(str, content))[:10]}; its weights are expected'
            ' under state_dict, model or model_state, or at the top'
        )
    return weights
