"""Early exit inside mmengine's test loop: a recognizer that predicts by the runtime, and what its exits
belong to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..complexity import latency, recognizer_cost
from ..exits import (
    Calibration,
    ExitsFileError,
    StepExits,
    StreamExits,
    replay_clips,
    replay_stream,
    run_clips,
    run_stream,
)
from ..models.base import Recognizer
from ..structures import ClipSample
from .checkpoint import weights_hash
from .config import ConfigError

__all__ = ['ExitingRecognizer', 'check_exits', 'costs_of', 'describe_model', 'micro_batch_for', 'same_clips']

DESCRIBED = ('steps', 'glance_size', 'patch_size', 'test_centres', 'input_size', 'num_classes')


def micro_batch_for(device: torch.device) -> int | None:
    """How many clips to look at together: on a CPU few at a time stay in its caches, a GPU takes the whole
    batch."""
    return 4 if device.type == 'cpu' else None


def describe_model(model: Recognizer) -> dict[str, Any]:
    """Weights and settings that decide what a recognizer predicts and costs; exits belong to exactly these.

    An exported recognizer (one with ``described``) has neither any more and tells what it had.
    """
    if hasattr(model, 'described'):
        return dict(model.described)
    settings = {name: getattr(model, name) for name in DESCRIBED if hasattr(model, name)}
    shifts = sorted({str(module.shift) for module in model.modules() if hasattr(module, 'fold_div')})
    return dict(
        weights=weights_hash(model.state_dict()),
        type=type(model).__name__,
        shift=shifts,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
    )


def check_exits(calibration: Calibration, model: Recognizer, name: str) -> None:
    """Refuse exits that were fitted for another model.

    Raises:
        ExitsFileError: naming what differs.
    """
    fitted, now = calibration.source.get('model') or {}, describe_model(model)
    different = [key for key in sorted(fitted.keys() | now.keys()) if fitted.get(key) != now.get(key)]
    if different:
        told = ', '.join(
            f'{key} {_short(fitted.get(key))} there and {_short(now.get(key))} here' for key in different
        )
        raise ExitsFileError(
            f'{name} was fitted for another model ({told}): calibrate this checkpoint with tools/calibrate.py'
        )


def _short(value: Any) -> str:
    return f'{value[:12]}...' if isinstance(value, str) and len(value) > 40 else repr(value)


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
    gmacs = [steps / 1e9 for steps in recognizer_cost(model, tuple(frames.shape[1:]))['steps']]
    ms = latency(model, frames, repeats=repeats, warm_up=3)
    ms = [max(ms[: step + 1]) for step in range(len(ms))]  # medians of so few runs may cross
    if kind == 'stream':
        gmacs, ms = ([now - before for now, before in zip(costs, [0.0, *costs])] for costs in (gmacs, ms))
    return dict(gmacs=gmacs, ms=ms)


class ExitingRecognizer(BaseModel):
    """Predicts by early exit, for mmengine's test loop and :class:`~gfvideo.evaluation.ExitAccuracy`.

    Beside ``logits (C,)`` a sample gets ``exit`` (the step, or the frame from 0, at which it stopped),
    ``looks`` (focus looks: of a clip one number, of a stream ``(T,)`` with -1 for frames that were not read),
    ``ms`` (time of the model alone, the batch's divided by its clips) and, with ``replay``, ``replay_exit``,
    ``replay_looks`` and ``replay_logits`` from a run that skips nothing.

    Args:
        recognizer: trained.
        exits: of a calibration of it.
        replay: also run without exits, untimed, and replay them.
        micro_batch: see :func:`~gfvideo.exits.run_clips`; 'auto' chooses by device.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        exits: StepExits | StreamExits,
        replay: bool = True,
        micro_batch: int | str | None = 'auto',
    ):
        super().__init__(recognizer.data_preprocessor)
        self.recognizer, self.exits, self.replay, self.micro_batch = recognizer, exits, replay, micro_batch
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
        if isinstance(self.exits, StepExits):
            size = micro_batch_for(frames.device) if self.micro_batch == 'auto' else self.micro_batch
            out = run_clips(self.recognizer, frames, self.exits, size)
            return dict(logits=out.logits.float(), exit=out.steps, looks=out.steps)
        out = run_stream(self.recognizer, frames, self.exits)
        return dict(logits=out.logits.float(), exit=out.frames - 1, looks=out.looks)

    @torch.no_grad()
    def _replayed(self, frames: Tensor) -> dict[str, Tensor]:
        """The same from all looks, none skipped, and thresholds applied afterwards."""
        unknown = torch.zeros(len(frames), dtype=torch.long)
        if isinstance(self.exits, StepExits):
            predictions = self.recognizer.predict_steps(frames).step_logits.float().cpu()  # (B, S+1, C)
            outcome = replay_clips(predictions, unknown, self.exits, list(range(predictions.shape[1])))
            looks = outcome.positions
        else:
            trace = run_stream(self.recognizer, frames, replace(self.exits, stop=()))
            predictions = trace.frame_logits.float().cpu()  # (B, T, C)
            outcome = replay_stream(trace, unknown, self.exits, [1.0] * (len(self.exits.enough) + 1))
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


def same_clips(calibration: Calibration, dataset: Mapping[str, Any]) -> bool:
    """Whether exits were fitted on clips that are (also) in ``dataset``, told by its ``metainfo``."""
    fitted = calibration.source.get('data') or {}
    if (fitted.get('manifest_hash'), fitted.get('split')) != (
        dataset.get('manifest_hash'),
        dataset.get('split'),
    ):
        return False
    one, other = fitted.get('fold'), dataset.get('fold')
    return None in (one, other) or one == other or one.split('/')[1] != other.split('/')[1]
