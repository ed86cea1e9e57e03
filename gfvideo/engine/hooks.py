"""What has to happen at the start of every epoch so that a run does not depend on where it was cut."""
from __future__ import annotations

import inspect
from typing import Any

from mmengine.hooks import Hook

from ..registry import HOOKS
from .random_state import seed_everything

__all__ = ['DatasetEpochHook', 'EpochSeedHook']


@HOOKS.register_module()
class DatasetEpochHook(Hook):
    """Tell the training dataset, and those it wraps, the number of the epoch (``set_epoch``), as samplers are told.

    A dataset can then draw its augmentation from (seed, epoch, index) alone, whichever worker serves it. A ``set_epoch`` that takes a
    ``seed`` is given the run's.
    """
    priority = 'NORMAL'

    def before_train_epoch(self, runner: Any) -> None:
        set_epoch(runner.train_dataloader.dataset, runner.epoch, runner.seed)


def set_epoch(dataset: Any, epoch: int, seed: int) -> None:
    """Call ``set_epoch`` of ``dataset`` and of the datasets inside it, where they have it."""
    if hasattr(dataset, 'set_epoch'):
        takes_seed = 'seed' in inspect.signature(dataset.set_epoch).parameters
        dataset.set_epoch(epoch, **(dict(seed=seed) if takes_seed else {}))
    for inner in getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)]):
        if inner is not None:
            set_epoch(inner, epoch, seed)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed all generators from (seed, epoch, rank) before each training epoch.

    What is drawn in an epoch then does not depend on what was drawn before it (in validation, say), so a run resumed between two
    epochs is the run that was never cut; and ranks draw different patches.
    """
    priority = 'HIGH'

    def before_train_epoch(self, runner: Any) -> None:
        seed_everything(runner.seed, runner.epoch, runner.rank)
