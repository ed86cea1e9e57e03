"""Clips made of noise and a bright square, in memory, for the tests of training; and a hook that cuts a run
off."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from gfvideo.registry import DATASETS, HOOKS
from gfvideo.structures import ClipSample


class CutOff(RuntimeError):
    """The power went."""


@DATASETS.register_module()
class BrightSquares(Dataset):
    """``clips`` clips ``(2, 3, 24, 32)`` whose square's colour is their label; the noise is drawn from
    torch's global generator."""

    def __init__(self, clips: int = 8, classes: tuple[str, ...] = ('red', 'green', 'blue')):
        self.clips = clips
        self.metainfo = dict(
            name='squares', classes=list(classes), manifest_hash='abc123', present=clips, official=10
        )
        self.epochs: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.clips

    def set_epoch(self, epoch: int, seed: int) -> None:
        self.epochs.append((epoch, seed))

    def __getitem__(self, index: int) -> dict:
        frames = torch.randint(0, 60, (2, 3, 24, 32), dtype=torch.uint8)
        label, y, x = index % 3, 5 * (index % 4), 7 * (index % 3)
        frames[:, label, y : y + 8, x : x + 8] = 255
        sample = ClipSample(metainfo=dict(video_id=str(index)))
        sample.gt_label = torch.tensor(label)
        return dict(inputs=frames, data_samples=sample)


@HOOKS.register_module()
class CutAt(Hook):
    """Raise :class:`CutOff` before iteration ``iteration`` (from 0) of a training run."""

    def __init__(self, iteration: int):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.iteration:
            raise CutOff(f'cut before iteration {runner.iter}')


@HOOKS.register_module()
class KeepWeights(Hook):
    """Save what each process holds at the end as ``<folder>/<stage>_rank<rank>.pth``, and the seed that it
    draws from as ``..._seed<rank>.pth``."""

    def __init__(self, folder: str):
        self.folder = folder

    def after_train(self, runner) -> None:
        model = getattr(runner.model, 'module', runner.model)
        torch.save(model.state_dict(), f'{self.folder}/{runner.cfg.stage}_rank{runner.rank}.pth')
        torch.save(torch.initial_seed(), f'{self.folder}/{runner.cfg.stage}_seed{runner.rank}.pth')


@HOOKS.register_module()
class Poison(Hook):
    """Make a weight nan before the update of iteration ``iteration`` (from 0), or with ``loss`` the loss."""

    priority = 'VERY_HIGH'

    def __init__(self, iteration: int, loss: bool = False):
        self.iteration, self.loss = iteration, loss

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.iteration and not self.loss:
            next(value for value in runner.model.parameters() if value.requires_grad).data.fill_(float('nan'))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter == self.iteration and self.loss:
            outputs['loss'] = torch.tensor(float('inf'))
