"""Predictions of a recognizer on a split of its dataset, to fit exits or draw curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor

from ..exits import ClipTrace, StepExits, StreamExit, StreamExits, record_clips, run_stream
from ..models.base import Recognizer
from ..models.losses import CROSS_ENTROPY
from ..progress import progress
from ..structures import ClipSample
from .config import ConfigError, fill_gpu, fill_workers
from .exiting import costs_of

__all__ = ['SplitPredictions', 'loader_config']


def loader_config(
    cfg: Config, split: str, fold: str | None, batch_size: int, gpu: bool = False
) -> dict[str, Any]:
    """The test dataloader of a config on another split, with test-time transforms; ``gpu`` says whether its
    clips go to one.

    Raises:
        ConfigError: if there is none, or it reads a list file of another split.
    """
    loader = dict(cfg.get('test_dataloader') or {})
    if 'dataset' not in loader:
        raise ConfigError('the config has no test_dataloader, so how to prepare clips is unknown')
    dataset = dict(loader['dataset'], test_mode=True)
    if dataset.get('form', 'manifest') != 'manifest' and dataset.get('split') != split:
        raise ConfigError(
            f'the config reads a list file for split {dataset.get("split")!r}; name that of {split!r} with'
            f' --cfg-options test_dataloader.dataset.list_file=FILE test_dataloader.dataset.split={split}'
        )
    dataset.update(split=split, **({} if fold is None else dict(fold=fold)))
    loader |= dict(dataset=dataset, batch_size=batch_size, sampler=dict(type='DefaultSampler', shuffle=False))
    fill_workers(dict(test_dataloader=loader))
    fill_gpu(dict(test_dataloader=loader), gpu)
    return loader


class SplitPredictions:
    """The clips of a split, through a recognizer, as often as asked.

    Args:
        model: of :func:`gfvideo.apis.init_recognizer`.
        split: name of a split of the prepared dataset.
        fold: 'K/N' for a part of it.
        batch_size: clips at a time.

    Attributes:
        meta: what the dataset says of itself, without its classes.
        labels: ``(N,)``, after the first pass.
        video_ids: of the N clips, after the first pass.

    Raises:
        ConfigError, FileNotFoundError, ManifestError: if the data is not there.
    """

    def __init__(self, model: Recognizer, split: str, fold: str | None = None, batch_size: int = 16):
        if model.loss != CROSS_ENTROPY:
            raise ConfigError(
                f'the model has loss={model.loss!r}: each class has a probability of its own, so there is no'
                ' one answer whose confidence an exit could go by, or whose accuracy a curve could show;'
                f' exits and controls are for loss={CROSS_ENTROPY!r}'
            )
        with DefaultScope.overwrite_default_scope('gfvideo'):
            gpu = model.data_preprocessor.device.type == 'cuda'
            self._loader = Runner.build_dataloader(loader_config(model.cfg, split, fold, batch_size, gpu))
        self.model = model
        self.meta = {key: value for key, value in self._loader.dataset.metainfo.items() if key != 'classes'}
        self.labels: Tensor | None = None
        self.video_ids: list[str] = []
        self._clip: Tensor | None = None

    def batches(self, what: str) -> Iterator[tuple[Tensor, list[ClipSample]]]:
        """Normalised frames ``(B, T, 3, H, W)`` and the samples of all clips; ``what`` is told while it
        runs."""
        samples: list[ClipSample] = []
        for data in progress(self._loader, what):
            if any('gt_labels' in sample for sample in data['data_samples']):
                raise ConfigError(
                    f'clips of split {self.meta.get("split")!r} may have several classes; exits and controls'
                    ' are for clips with one'
                )
            if any('gt_label' not in sample for sample in data['data_samples']):
                raise ConfigError(
                    f'split {self.meta.get("split")!r} has clips without labels; name one with labels'
                )
            samples += data['data_samples']
            frames = self.model.data_preprocessor(data)['inputs']
            if frames.dim() != 5:
                raise ConfigError(
                    f'the test pipeline makes several views of a clip, {tuple(frames.shape)}; exits and'
                    ' controls are for one view'
                )
            self._clip = frames[:1] if self._clip is None else self._clip
            yield frames, data['data_samples']
        self.labels = torch.tensor([int(sample.gt_label) for sample in samples])
        self.video_ids = [str(sample.video_id) for sample in samples]

    def _batches(self, what: str) -> Iterator[Tensor]:
        return (frames for frames, _ in self.batches(what))

    @torch.no_grad()
    def step_logits(self) -> Tensor:
        """Clip logits after every step, ``(N, S+1, C)`` on the CPU."""
        return torch.cat(
            [self.model.predict_steps(frames).step_logits.float().cpu() for frames in self._batches('clips')]
        )

    def record(self, rule: StepExits) -> ClipTrace:
        """Clip logits and a rule's scores after every step, on the CPU; see
        :func:`~gfvideo.exits.record_clips`."""
        parts = [record_clips(self.model, frames, rule) for frames in self._batches('clips')]
        step_logits, scores = (torch.cat(values).cpu() for values in zip(*parts))
        return ClipTrace(step_logits.float(), scores)

    def trace(self, exits: StreamExits | None = None) -> StreamExit:
        """Every frame read with step-level ``exits``, on the CPU; None takes all looks."""
        exits = exits or StreamExits((math.inf,) * self.model.steps)
        at = ', '.join('never' if value == math.inf else f'{value:.3g}' for value in exits.enough)
        what = (
            f'reading with "enough of a frame" at confidence {at}' if exits.asks else 'reading with all looks'
        )
        parts = [run_stream(self.model, frames, exits) for frames in self._batches(what)]
        return StreamExit(*(torch.cat(values).cpu() for values in zip(*parts)))

    def frames(self, count: int) -> Tensor:
        """The first ``count`` clips, normalised, ``(N, T, 3, H, W)``; fewer if there are no more."""
        dataset = self._loader.dataset
        return torch.cat(
            [
                self.model.data_preprocessor(pseudo_collate([dataset[i]]))['inputs']
                for i in range(min(count, len(dataset)))
            ]
        )

    def videos(self, count: int) -> list[tuple[str, int]]:
        """(path, label) of the first ``count`` clips."""
        samples = (
            self._loader.dataset[i]['data_samples'] for i in range(min(count, len(self._loader.dataset)))
        )
        return [(sample.path, int(sample.gt_label)) for sample in samples]

    def costs(self, kind: str) -> dict[str, list[float]]:
        """:func:`~gfvideo.engine.exiting.costs_of` on the first clip; after the first pass."""
        assert self._clip is not None  # kept by the first pass
        return costs_of(self.model, self._clip, kind)
