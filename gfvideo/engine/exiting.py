"""Early exit inside mmengine's test loop: a recognizer that predicts by the runtime."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..complexity import latency, recognizer_cost
from ..exits import (
    ExitRule,
    StepExits,
    StreamExits,
    record_clips,
    replay_clips,
    replay_stream,
    run_clips,
    run_stream,
)
from ..models.base import Recognizer
from ..ops import micro_batch_for
from ..structures import ClipSample
from .config import ConfigError

__all__ = ['ExitingRecognizer', 'costs_of', 'micro_batch_for']


def costs_of(model: Recognizer, frames: Tensor, kind: str, repeats: int = 20) -> dict[str, list[float]]:
    """Costs as calibrations take them, counted and timed on a clip ``(1, T, 3, H, W)``.

    Args:
        model: in evaluation mode.
        frames: a real clip, normalised.
        kind: 'steps' for cumulative costs after each step of a clip, 'stream' for those of each look at one
            frame.
        repeats: runs that are timed.

    Returns:
        dict(gmacs=S + 1 costs in 1e9 multiply-adds, ms=S + 1 costs in milliseconds at batch 1 on the frames'
        device).
    """
    frames = frames[:, :1] if kind == 'stream' else frames
    T, channels, H, W = frames.shape[1:]
    gmacs = [steps / 1e9 for steps in recognizer_cost(model, (T, channels, H, W))['steps']]
    ms = latency(model, frames, repeats=repeats, warm_up=3)
    ms = [max(ms[: step + 1]) for step in range(len(ms))]  # medians of so few runs may cross
    if kind == 'stream':
        gmacs, ms = ([now - before for now, before in zip(costs, [0.0, *costs])] for costs in (gmacs, ms))
    return dict(gmacs=gmacs, ms=ms)


class ExitingRecognizer(BaseModel):
    """Predicts by early exit, for mmengine's test loop and :class:`~gfvideo.evaluation.ExitAccuracy`.

    Beside ``logits (C,)`` a sample gets ``exit`` (the step, or the frame from 0, at which it stopped),
    ``looks`` (focus looks: of a clip one number, of a stream ``(T,)`` with -1 for frames that were not read),
    ``centres (S, T, 2)`` (and ``window_sizes``) of a recognizer that focuses, nan for looks that were not
    taken, ``ms`` (time of the model alone, the batch's divided by its clips) and, with ``replay``,
    ``replay_exit``, ``replay_looks`` and ``replay_logits`` from a run that skips nothing.

    Args:
        recognizer: trained.
        exits: of a calibration of it, or a rule of your own.
        replay: also run without exits, untimed, and replay them; only for exits with thresholds.
        micro_batch: see :func:`~gfvideo.exits.run_clips`; 'auto' chooses by device.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        exits: ExitRule,
        replay: bool = True,
        micro_batch: int | Literal['auto'] | None = 'auto',
    ):
        super().__init__(recognizer.data_preprocessor)
        self.recognizer, self.exits, self.micro_batch = recognizer, exits, micro_batch
        self.replay = replay and isinstance(exits, StepExits | StreamExits)
        self._warm = False

    def init_weights(self) -> None:
        """The recognizer has its weights."""

    def forward(
        self, inputs: Tensor, data_samples: Sequence[ClipSample] | None = None, mode: str = 'predict'
    ) -> list[ClipSample]:
        """Predict clips ``(B, T, 3, H, W)``.

        Raises:
            ValueError: in another mode.
            ConfigError: on views.
        """
        if mode != 'predict':
            raise ValueError(f'mode={mode!r}: a recognizer with exits only predicts')
        if inputs.dim() != 5:
            raise ConfigError(
                f'inputs have shape {tuple(inputs.shape)}; exits were fitted for one view, so test with one: '
                'frames (B, T, 3, H, W)'
            )
        samples = list(data_samples) if data_samples else [ClipSample() for _ in range(len(inputs))]
        if not self._warm:  # the first run also chooses kernels
            self._run(inputs[:1])
            self._warm = True
        start = _now(inputs.device)
        results = self._run(inputs)
        ms = 1e3 * (_now(inputs.device) - start) / len(inputs)
        for name, values in (results | (self._replayed(inputs) if self.replay else {})).items():
            for sample, value in zip(samples, values, strict=True):
                sample.set_data({name: value})
        for sample in samples:
            sample.set_data(dict(ms=torch.tensor(ms, dtype=torch.float64)))
        return samples

    def _run(self, frames: Tensor) -> dict[str, Tensor]:
        if 'steps' in self.exits.kinds:
            size = micro_batch_for(frames.device) if self.micro_batch == 'auto' else self.micro_batch
            buckets = self.recognizer.prepares_for_sizes
            clips = run_clips(self.recognizer, frames, self.exits, size, buckets)
            found = dict(logits=clips.logits.float(), exit=clips.steps, looks=clips.steps)
            told = dict(centres=clips.centres, window_sizes=clips.window_sizes)
            return found | {name: value for name, value in told.items() if value is not None}
        videos = run_stream(self.recognizer, frames, self.exits)
        found = dict(logits=videos.logits.float(), exit=videos.num_frames - 1, looks=videos.looks)
        return found if videos.centres is None else found | dict(centres=videos.centres)

    @torch.no_grad()
    def _replayed(self, frames: Tensor) -> dict[str, Tensor]:
        """The same from all looks, none skipped, and thresholds applied afterwards."""
        unknown = torch.zeros(len(frames), dtype=torch.long)
        if isinstance(self.exits, StepExits):
            clips = record_clips(self.recognizer, frames, self.exits)
            predictions = clips.step_logits.float().cpu()  # (B, S+1, C)
            steps = list(range(predictions.shape[1]))
            scores = None if self.exits.reads_logits_alone() else clips.scores.cpu()
            outcome = replay_clips(predictions, unknown, self.exits, steps, scores)
            looks = outcome.positions
        else:
            assert isinstance(self.exits, StreamExits)  # other rules are not replayed
            trace = run_stream(self.recognizer, frames, self.exits.recording())
            predictions = trace.frame_logits.float().cpu()  # (B, T, C)
            outcome = replay_stream(trace, unknown, self.exits, [1.0] * (self.exits.steps + 1))
            unread = torch.arange(frames.shape[1]) > outcome.positions[:, None]
            looks = trace.looks.cpu().masked_fill(unread, -1)  # (B, T)
        return dict(
            replay_logits=predictions[torch.arange(len(frames)), outcome.positions],
            replay_exit=outcome.positions,
            replay_looks=looks,
        )


def _now(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()
