"""An epoch-based training loop that can be cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from ..registry import LOOPS
from .hooks import NotFiniteError, not_finite, weights_are_finite
from .random_state import restore_random_state

__all__ = ['ResumableEpochLoop']


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop, which after a checkpoint in mid-epoch goes on with the batches that were left,
    not with the epoch anew.

    The run is then, to the bit on one thread of a CPU, the one that was never cut: batches already seen are
    skipped by their indices and the random generators are where they were. (With worker processes that holds
    for datasets whose items depend on seed, epoch and index alone; without, for any.) A validation that was
    due when the run was cut is made up for.

    Args:
        as :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    def run(self) -> nn.Module:
        """Train.

        Raises:
            ValueError: if the run is resumed in mid-epoch and an epoch no longer has the same number of
                batches.
        """
        self._batches_seen = self._batches_of_cut_epoch()
        self.runner.message_hub.update_info('epoch_length', len(self.dataloader))
        self.runner.call_hook('before_train')
        if self._epoch > 0 and self._batches_seen == 0:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _batches_of_cut_epoch(self) -> int:
        """How many batches of the current epoch an earlier run has seen."""
        length = self.runner.message_hub.get_info('epoch_length', len(self.dataloader))
        seen = self._iter - self._epoch * length
        if length != len(self.dataloader):
            if seen:
                raise ValueError(
                    f'the checkpoint was saved after {seen} of {length} batches of epoch {self._epoch + 1},'
                    f' now an epoch has {len(self.dataloader)}: resume with the same batch size, number of'
                    ' processes and dataset, or from a checkpoint at the end of an epoch'
                )
            print_log(
                f'an epoch had {length} batches and now has {len(self.dataloader)}; schedules that count'
                f' iterations go on at iteration {self._iter}',
                logger='current',
                level=30,
            )
        return seen

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch == self._max_epochs or self._epoch % self.val_interval == 0
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """One epoch, or what is left of it."""
        seen, self._batches_seen = self._batches_seen, 0
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index, batch in enumerate(self._rest_of_epoch(seen) if seen else self.dataloader, start=seen):
            try:
                self.run_iter(index, batch)
            except (IndexError, RuntimeError, ValueError) as error:
                # nan comes as many errors: a place that is no place, a distribution without a mean
                if isinstance(error, NotFiniteError) or weights_are_finite(self.runner.model):
                    raise
                raise not_finite(self.runner, f'weights are nan or infinite ({error})', batch) from error
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _rest_of_epoch(self, seen: int) -> Iterator[Any]:
        """The batches after the first ``seen``; the earlier ones are not loaded."""
        whole = self.dataloader
        left = DataLoader(
            whole.dataset,
            batch_sampler=list(islice(whole.batch_sampler, seen, None)),
            num_workers=whole.num_workers,
            collate_fn=whole.collate_fn,
            pin_memory=whole.pin_memory,
            timeout=whole.timeout,
            worker_init_fn=whole.worker_init_fn,
            multiprocessing_context=whole.multiprocessing_context,
            prefetch_factor=whole.prefetch_factor,
            generator=whole.generator,
        )
        batches = iter(left)
        states = self.runner.message_hub.get_info('random_states')
        if states is not None and len(states) == self.runner.world_size:
            restore_random_state(states[self.runner.rank])
        yield from batches
