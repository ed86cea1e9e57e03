"""A run that tells a person how it goes: what it trains, how far it is, and whether it waits for its
videos."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from .banner import banner
from .terminal import TerminalHandler, to_terminal

__all__ = ['READING_HINT', 'StageRunner', 'TellHook']

READING_HINT = 0.2  # share of the time spent waiting for clips, above which a way out is told


class StageRunner(Runner):
    """mmengine's Runner, whose log file gets everything and whose terminal what a person reads.

    Attributes:
        place: number of the stage, from 1, and of all stages.
        terminal: where lines and bars go.
    """

    place = (1, 1)
    terminal: TerminalHandler

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        logger = super().build_logger(*args, **kwargs)
        self.terminal = to_terminal(logger)
        return logger

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        super().register_hooks(*args, **kwargs)
        self.register_hook(TellHook())

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> Any:
        printed = io.StringIO()  # mmengine prints here what it logs elsewhere
        with redirect_stdout(printed):
            checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        for line in filter(None, printed.getvalue().splitlines()):
            misfit = not line.startswith('Loads checkpoint')  # keys that are missing or left over
            self.logger.log(logging.WARNING if misfit else logging.INFO, line)
        return checkpoint

    def train(self) -> nn.Module:
        try:
            return super().train()
        finally:
            self.terminal.stop_bar()


class TellHook(Hook):
    """Tells what a stage trains before it starts, draws bars and a line an epoch on a terminal, and says when
    training waits for clips for more than :data:`READING_HINT` of its time."""

    priority = 'LOW'

    def __init__(self) -> None:
        self._hinted = False

    def before_train(self, runner: Any) -> None:
        if is_main_process():
            runner.logger.info(banner(runner, *runner.place))

    # ---- training

    def before_train_epoch(self, runner: Any) -> None:
        self._batches, self._began = 0, time.monotonic()
        self._whole = self._reading = 0.0

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self._batches == 0 and is_main_process():  # its loader has started its processes
            by_epoch = 'max_epochs' in runner.cfg.train_cfg
            total = len(runner.train_dataloader) if by_epoch else runner.max_iters
            what = _epoch_of(runner, runner.epoch + 1) if by_epoch else 'training'
            runner.terminal.start_bar(what, total, batch_idx)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Mapping | None = None
    ) -> None:
        scalars = runner.message_hub.log_scalars
        if 'train/time' in scalars and 'train/data_time' in scalars:
            if self._batches == 1:  # the first waited for processes to start
                self._whole = self._reading = 0.0
            self._whole += scalars['train/time'].current()
            self._reading += scalars['train/data_time'].current()
        self._batches += 1
        if runner.terminal.bar is not None:
            runner.terminal.bar.add()

    def after_train_epoch(self, runner: Any) -> None:
        if not is_main_process():
            return
        runner.terminal.stop_bar()
        share = self._reading / self._whole if self._whole else 0.0
        if runner.terminal.draws:
            runner.terminal.say(self._epoch(runner, share))
        if share > READING_HINT and not self._hinted:
            self._hinted = True
            runner.logger.info(reading_hint(share, runner.cfg.train_dataloader.get('num_workers', 0)))

    def _epoch(self, runner: Any, share: float) -> str:
        scalars = runner.message_hub.log_scalars
        told = [
            f'{name.partition("/")[2].replace("_step", " of look ")} {scalars[name].mean(self._batches):.3g}'
            for name in ['train/loss', *sorted(name for name in scalars if 'train/reward_step' in name)[-1:]]
            if name in scalars
        ]
        spent = f'{self._batches} batches in {time.monotonic() - self._began:.1f} s'
        return f'{_epoch_of(runner, runner.epoch + 1)}: ' + ', '.join(
            [*told, f'{spent}, {100 * share:.0f} % of it reading']
        )

    # ---- validation

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == 0 and is_main_process():
            runner.terminal.start_bar('validation', len(runner.val_dataloader))

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if runner.terminal.bar is not None:
            runner.terminal.bar.add()

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        if is_main_process():
            runner.terminal.stop_bar()
            if runner.terminal.draws:
                runner.terminal.say(f'{_epoch_of(runner, runner.epoch)}: {validated(metrics or {})}')


def _epoch_of(runner: Any, epoch: int) -> str:
    by_epoch = 'max_epochs' in runner.cfg.train_cfg
    where = f'epoch {epoch} of {runner.max_epochs}' if by_epoch else f'batch {runner.iter}'
    return f'{runner.cfg.get("stage") or ""} {where}'.strip()


def reading_hint(share: float, workers: int) -> str:
    """What to do about a share of the time, in [0, 1], that goes by waiting for clips."""
    return (
        f'reading takes {100 * share:.0f} % of the time: more workers (train_dataloader.num_workers, now'
        f' {workers}), or prepare smaller videos'
    )


def validated(metrics: Mapping[str, Any]) -> str:
    """Top-1 and that after each look, or else the first metrics as they are."""
    if 'top1' not in metrics:
        return 'validation, ' + ', '.join(f'{name} {value}' for name, value in list(metrics.items())[:4])
    steps = [metrics[name] for step in range(len(metrics)) if (name := f'top1_step{step}') in metrics]
    looks = f' (after each look: {" ".join(f"{100 * value:.1f}" for value in steps)})' if steps[1:] else ''
    return f'validation, top-1 {100 * metrics["top1"]:.1f} %{looks}'
