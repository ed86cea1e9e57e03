"""What a run needs at every epoch and iteration: seeds that do not depend on where it was cut, and an end
when it goes wrong."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..registry import HOOKS
from .random_state import epoch_generator, seed_everything

__all__ = ['DatasetEpochHook', 'EpochSeedHook', 'FiniteHook', 'NotFiniteError']


@HOOKS.register_module()
class DatasetEpochHook(Hook):
    """Tell the training dataset, and those it wraps, the number of the epoch (``set_epoch``), as samplers are
    told.

    A dataset can then draw its augmentation from (seed, epoch, index) alone, whichever worker serves it. A
    ``set_epoch`` that takes a ``seed`` is given the run's.
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
    """Seed all generators from (seed, epoch, rank) before each training epoch, and each loader's own before
    it is read.

    What is drawn in an epoch then does not depend on what was drawn before it (in validation, say), so a run
    resumed between two epochs is the run that was never cut; and ranks draw different patches. A loader
    without a generator of its own would take the seed of its workers from torch's global one: with persistent
    workers in the first epoch of a process alone, which shifts all that this epoch draws after it.
    """

    priority = 'HIGH'

    def before_train_epoch(self, runner: Any) -> None:
        seed_everything(runner.seed, runner.epoch, runner.rank)
        self._seed_loader(runner, runner.train_dataloader)

    def before_val_epoch(self, runner: Any) -> None:
        self._seed_loader(runner, runner.val_dataloader)

    def before_test_epoch(self, runner: Any) -> None:
        self._seed_loader(runner, runner.test_dataloader)

    @staticmethod
    def _seed_loader(runner: Any, loader: DataLoader) -> None:
        loader.generator = epoch_generator(runner.seed, runner.epoch, runner.rank)


class NotFiniteError(RuntimeError):
    """A loss or a weight became nan or infinite; the message tells the iteration, the clips and what to
    try."""


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stop a run at the iteration whose loss or update is not finite, before anything is logged or saved of
    it.

    Raises:
        NotFiniteError: with the iteration, the values and the ids of the batch's clips.
    """

    priority = 'HIGH'

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Mapping | None = None, outputs: Mapping | None = None
    ) -> None:
        losses = {name: torch.as_tensor(value) for name, value in (outputs or {}).items() if 'loss' in name}
        if not all(value.isfinite().all() for value in losses.values()):
            told = ', '.join(f'{name}={value.float().mean().item():.4g}' for name, value in losses.items())
            raise not_finite(runner, told, data_batch)
        if not weights_are_finite(runner.model):
            bad = [name for name, value in _trained(runner.model) if not value.isfinite().all()]
            raise not_finite(
                runner,
                f'after the update {len(bad)} weights are nan or infinite '
                f'({", ".join(bad[:3])}{", ..." if len(bad) > 3 else ""})',
                data_batch,
            )


def not_finite(runner: Any, told: str, data_batch: Mapping | None) -> NotFiniteError:
    """The error of the current iteration: ``told`` is what is wrong."""
    stage = runner.cfg.get('stage')
    rates = sorted({group['lr'] for group in runner.optim_wrapper.param_groups})
    return NotFiniteError(
        f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}{f", stage {stage!r}" if stage else ""}) is'
        f' not finite: {told}; clips {", ".join(clip_ids(data_batch)) or "unknown"}. Look at these clips,'
        f' lower the rate (optim_wrapper.optimizer.lr; it was {", ".join(f"{rate:.3g}" for rate in rates)}'
        ' here) or clip gradients harder (optim_wrapper.clip_grad.max_norm); checkpoints that were saved'
        ' before are whole'
    )


def weights_are_finite(model: nn.Module) -> bool:
    """Whether all that training changes in a model is finite, by one number: the norm of it all."""
    values = [value for _, value in _trained(model)]
    return not values or bool(torch.nn.utils.get_total_norm(values).isfinite())


def _trained(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    inner = model.module if is_model_wrapper(model) else model
    assert isinstance(inner, nn.Module)
    yield from ((name, value.detach()) for name, value in inner.named_parameters() if value.requires_grad)
    yield from (
        (name, value) for name, value in inner.named_buffers() if value.is_floating_point() and value.numel()
    )


def clip_ids(data_batch: Mapping | None) -> list[str]:
    """The video ids of a batch, as far as its samples tell them."""
    samples = (data_batch or {}).get('data_samples') or []
    return [
        str(sample.get('video_id'))
        for sample in samples
        if hasattr(sample, 'get') and sample.get('video_id') is not None
    ]
