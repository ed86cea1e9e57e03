"""What a finished stage leaves behind, and the settings that decided how its weights came out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

__all__ = ['RECORD', 'StageRecord', 'read_record', 'settings_of']

RECORD = 'stage_done.json'
# what decides how a stage's weights come out; where they go, what is logged and what is validated does not
_DECIDING = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'randomness',
    'custom_hooks',
    'start_from',
)
_LOADING = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')


class StageRecord(NamedTuple):
    """What a finished stage leaves in its folder; files are named relative to it.

    Attributes:
        stage: its name.
        checkpoint: the last checkpoint.
        best: the best one by ``save_best``, None without.
        settings: a hash of each config key that decided how the weights came out.
        seed: of the run.
    """

    stage: str
    checkpoint: str
    best: str | None
    settings: dict[str, str]
    seed: int


def settings_of(cfg: Config) -> dict[str, str]:
    """A short hash of each key of a stage's config that decides how its weights come out."""
    content = {key: value for key, value in cfg.to_dict().items() if key in _DECIDING and value is not None}
    if 'train_dataloader' in content:
        content['train_dataloader'] = {
            key: value for key, value in content['train_dataloader'].items() if key not in _LOADING
        }
    return {
        key: hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:12]
        for key, value in content.items()
    }


def read_record(folder: str | Path) -> StageRecord | None:
    """The record of the stage finished in ``folder``, None if none is."""
    file = Path(folder) / RECORD
    return StageRecord(**json.loads(file.read_text())) if file.is_file() else None
