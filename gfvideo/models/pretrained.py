"""Read pretrained weights safely, and place every one of them or say which could not be placed."""
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ['load_pretrained', 'read_state_dict']

_CLASSIFIER_NAMES = ('fc', 'classifier', 'head', 'new_fc')


def read_state_dict(source: str) -> dict[str, Tensor]:
    """State dict of a checkpoint file or URL, read with ``weights_only=True``; a ``state_dict`` or ``model`` inside is opened.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if the file holds no state dict.
    """
    if source.startswith(('http://', 'https://')):
        content = torch.hub.load_state_dict_from_url(source, map_location='cpu', weights_only=True)
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f'pretrained weights {source!r} not found (looked from {Path.cwd()}); give the path of a checkpoint, '
                                    'or remove init_cfg to start from random weights')
        content = torch.load(path, map_location='cpu', weights_only=True)
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f'{source!r} holds no state dict of tensors; export the weights with torch.save(model.state_dict(), path)')
    return content


def load_pretrained(backbone: nn.Module, source: str) -> None:
    """Load image weights into a backbone, all of them.

    The backbone's ``rename_pretrained`` maps known layouts to its own names. Weights of a classifier that the backbone does not have are
    left out; anything else that is missing, left over or of another shape is an error.

    Raises:
        ValueError: with the names that could not be placed.
    """
    weights = backbone.rename_pretrained(read_state_dict(source))
    own = backbone.state_dict()
    weights = {name: value for name, value in weights.items() if name in own or name.split('.')[0] not in _CLASSIFIER_NAMES}
    missing = [name for name in own if name not in weights and not name.endswith('num_batches_tracked')]
    left_over = [name for name in weights if name not in own]
    reshaped = [f'{name}: file {tuple(weights[name].shape)}, model {tuple(own[name].shape)}'
                for name in weights if name in own and weights[name].shape != own[name].shape]
    if missing or left_over or reshaped:
        raise ValueError(f'{source!r} does not fit {type(backbone).__name__}: missing {missing[:5]} ({len(missing)} in all), '
                         f'left over {left_over[:5]} ({len(left_over)}), of another shape {reshaped[:5]} ({len(reshaped)})')
    backbone.load_state_dict(weights, strict=False)
