"""A checkpoint of weights alone, with what is needed to use them and to know where they come from."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .. import __version__
from ..engine.checkpoint import (
    PROVENANCE,
    WEIGHTS_HASH,
    CheckpointError,
    load_checkpoint,
    plain,
)
from ..engine.identity import weights_hash
from ..files import write_atomically
from ..weights import unwrapped

__all__ = ['publish_checkpoint']

KEPT = ('cfg', 'dataset_meta', *PROVENANCE)
HASH_DIGITS = 8


def publish_checkpoint(
    source: str | Path, target: str | Path, ema: Literal['averaged', 'unaveraged'] | None = None
) -> Path:
    """Write the weights of a training checkpoint to a file of their own, which appears whole or not at all.

    Optimizer, schedules, logs and states of random generators stay behind. The weights are the same to the
    bit, so exits that were fitted for the training checkpoint belong to the published one, too.

    Args:
        source: checkpoint of a run.
        target: a folder, where the name begins as that of ``source`` does; or a name ending in ``.pth``.
            Either way the first 8 digits of the SHA-256 of the file end its name: ``NAME-1a2b3c4d.pth``.
        ema: of a run with ``EMAHook``, 'averaged' or 'unaveraged' weights. The hook saves the averaged ones
            in the place of the model's own (``state_dict``) and those before averaging in ``ema_state_dict``;
            None takes what is in ``state_dict``.

    Returns:
        The path of the new file.

    Raises:
        FileNotFoundError: if there is no ``source``.
        CheckpointError: if it is no checkpoint, carries no config, or ``ema`` is given and it has no averaged
            weights.
        FileExistsError: if there is another file of that name.
    """
    loaded = load_checkpoint(source)
    if not str(loaded['meta'].get('cfg') or '').strip():
        raise CheckpointError(
            f'{source} carries no config, so the recognizer cannot be built from it alone; publish a'
            ' checkpoint that tools/train.py wrote'
        )
    meta = {key: loaded['meta'][key] for key in KEPT if loaded['meta'].get(key) is not None}
    # alone in their storages
    weights = {key: value.detach().clone() for key, value in _chosen(loaded, ema, source).items()}
    buffer = io.BytesIO()
    meta.update({'gfvideo_version': __version__, WEIGHTS_HASH: weights_hash(weights)})
    torch.save(dict(state_dict=weights, meta=plain(meta, 'meta')), buffer)
    content = buffer.getvalue()
    path = _named(Path(source), Path(target), hashlib.sha256(content).hexdigest()[:HASH_DIGITS])
    if path.exists() and path.read_bytes() != content:
        raise FileExistsError(
            f'{path} is there already and holds something else; remove it or choose another name'
        )
    write_atomically(path, content)
    return path


def _chosen(loaded: dict[str, Any], ema: str | None, source: str | Path) -> dict[str, Tensor]:
    """The wanted weights; keys without the ``module.`` of wrappers."""
    weights = unwrapped(loaded['state_dict'])
    if ema is None:
        return weights
    other = loaded.get('ema_state_dict')
    if not other:
        raise CheckpointError(
            f'{source} has no ema_state_dict: its run had no EMAHook, and there is one set of weights'
        )
    if ema == 'averaged':
        return weights
    before = unwrapped(other)
    missing = sorted(set(weights) - set(before))
    if missing:
        raise CheckpointError(
            f'the ema_state_dict of {source} lacks {", ".join(missing[:4])}; the weights before averaging are'
            ' incomplete'
        )
    return {key: before[key] for key in weights}  # without the hook's own counter


def _named(source: Path, target: Path, digits: str) -> Path:
    folder, stem = (target.parent, target.stem) if target.suffix == '.pth' else (target, source.stem)
    return folder / f'{re.sub(r"-[0-9a-f]{8}$", "", stem)}-{digits}.pth'
