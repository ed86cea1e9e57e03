"""Early exit that skips the work: sure clips leave the batch, the others go on as a smaller one.

A model is anything with ``glance(frames) -> state``, ``focus(frames, state) -> state`` and ``steps``, whose
states have ``logits (B, T, C)`` and ``select(rows)``. A streaming model has ``stream(exits)``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .confidence import check_numbers
from .rules import ExitRule, StepExits

__all__ = ['ClipExit', 'ClipTrace', 'StreamExit', 'record_clips', 'run_clips', 'run_stream']


class ClipExit(NamedTuple):
    """Predictions of clips that left early.

    Attributes:
        logits: ``(B, C)`` after the last step taken.
        steps: ``(B,)`` int64, that step, 0..S.
        centres: ``(B, S, T, 2)``, nan for looks that were not taken; None without focus steps.
        window_sizes: ``(B, S, T, 2)`` in pixels, likewise, where the policy chose them; else None.
    """

    logits: Tensor
    steps: Tensor
    centres: Tensor | None
    window_sizes: Tensor | None = None


@torch.no_grad()
def run_clips(
    model: Any,
    frames: Tensor,
    exits: ExitRule | None,
    micro_batch: int | None = None,
    buckets: bool = False,
) -> ClipExit:
    """Look at clips step by step; those that are sure leave, the rest go on as a smaller batch.

    Args:
        model: in evaluation mode; see the top of this page.
        frames: ``(B, T, 3, H, W)``, normalised.
        exits: None takes every step.
        micro_batch: look at so many clips at a time; None at all of them. On a CPU single clips are as fast
            as batches, and a batch of one leaves without copying what remains of it.
        buckets: fill up what goes on to the next power of two by repeating a clip, to the same answers: for
            engines that prepare themselves for each size of batch anew (a compiler, a recorded graph), which
            so meet log2(B) + 1 sizes where they would meet B.

    Raises:
        ValueError: if the exits are not of as many steps as the model has, or are those of streams.
    """
    if exits is not None and 'steps' not in exits.kinds:
        raise ValueError(f'{type(exits).__name__} decides frame by frame; clips need exits of steps')
    if exits is not None and exits.steps != model.steps:
        raise ValueError(
            f'exits of {exits.steps} focus steps for a model of {model.steps}; calibrate this model'
        )
    if micro_batch is not None and micro_batch < len(frames):
        parts = [_run_clips(model, part, exits, buckets) for part in frames.split(micro_batch)]
        return ClipExit(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.steps for part in parts]),
            torch.cat([part.centres for part in parts if part.centres is not None]) if model.steps else None,
            _all_sizes(parts),
        )
    return _run_clips(model, frames, exits, buckets)


def _all_sizes(parts: list[ClipExit]) -> Tensor | None:
    """The window sizes of all parts; nan in those that took no look."""
    if all(part.window_sizes is None for part in parts):
        return None
    return torch.cat(
        [
            torch.full_like(part.centres, torch.nan) if part.window_sizes is None else part.window_sizes
            for part in parts
            if part.centres is not None
        ]
    )


def _run_clips(model: Any, frames: Tensor, exits: ExitRule | None, buckets: bool) -> ClipExit:
    B, T = frames.shape[:2]
    state = model.glance(frames)
    now = state.logits.mean(1)  # (b, C), b clips that are still looked at
    logits, steps = now.clone(), torch.zeros(B, dtype=torch.long, device=now.device)
    centres = torch.full((B, model.steps, T, 2), torch.nan, device=now.device) if model.steps else None
    sizes = None
    rows: Tensor | slice = slice(None)  # which these are
    for step in range(model.steps):
        if exits is not None and exits.asks_after(step):
            asked = state if len(state.logits) == len(now) else state.select(slice(len(now)))
            # the one wait for the device of a step
            stay = (~exits.decide(now, step, None, asked).enough).nonzero().squeeze(1)
            if not len(stay):
                break
            if len(stay) < len(now):
                rows = stay if isinstance(rows, slice) else rows[stay]
                looked_at = _filled_up(stay, len(frames)) if buckets else stay
                frames, state = frames[looked_at], state.select(looked_at)
        state = model.focus(frames, state)
        count = B if isinstance(rows, slice) else len(rows)
        now = state.logits[:count].mean(1)
        logits[rows], steps[rows] = now, step + 1
        if centres is not None and state.centres is not None:
            centres[rows, step] = state.centres[:count].to(centres.dtype)
            if state.window_sizes is not None:
                sizes = torch.full_like(centres, torch.nan) if sizes is None else sizes
                sizes[rows, step] = state.window_sizes[:count].to(sizes.dtype)
    if exits is not None and logits.device.type != 'cpu':  # there no step has waited to see
        check_numbers(logits.sum(-1), logits.shape)
    return ClipExit(logits, steps, centres, sizes)


def _filled_up(rows: Tensor, most: int) -> Tensor:
    """Rows, and the last of them again up to a power of two of rows, or to ``most``."""
    size = min(1 << (len(rows) - 1).bit_length(), most)
    return torch.cat([rows, rows[-1:].expand(size - len(rows))])


class ClipTrace(NamedTuple):
    """What clips said at every step, none skipped: ``step_logits (B, S+1, C)``, and ``scores (B, S+1)`` by a
    rule."""

    step_logits: Tensor
    scores: Tensor


@torch.no_grad()
def record_clips(model: Any, frames: Tensor, rule: StepExits) -> ClipTrace:
    """Take every look at clips ``(B, T, 3, H, W)`` and score each by ``rule``, whatever its thresholds."""
    state, step_logits, scores = model.glance(frames), [], []
    for step in range(model.steps + 1):
        state = model.focus(frames, state) if step else state
        step_logits.append(state.logits.mean(1))
        scores.append(rule.score(step_logits[-1], step, None, state))
    return ClipTrace(torch.stack(step_logits, 1), torch.stack(scores, 1))


class StreamExit(NamedTuple):
    """Predictions of videos that were read frame by frame.

    Attributes:
        logits: ``(B, C)`` when each stopped.
        num_frames: ``(B,)`` int64, frames that were read, 1..T.
        looks: ``(B, T)`` int64, focus looks at each frame, -1 for frames that were not read.
        frame_logits: ``(B, T, C)`` the prediction after each frame, nan for frames that were not read.
        scores: ``(B, T)`` what the exits made of the last look at each frame, nan where they were not asked.
        centres: ``(B, S, T, 2)`` where looks were cut, nan for those that were not taken.
    """

    logits: Tensor
    num_frames: Tensor
    looks: Tensor
    frame_logits: Tensor
    scores: Tensor | None = None
    centres: Tensor | None = None


@torch.no_grad()
def run_stream(model: Any, frames: Tensor, exits: ExitRule | None) -> StreamExit:
    """Read clips ``(B, T, 3, H, W)`` frame by frame; those that are sure stop, the rest go on as a smaller
    batch.

    Args:
        model: a causal recognizer in evaluation mode.
        frames: normalised.
        exits: None takes every look at every frame.

    Raises:
        ValueError: if the exits are those of clips.
    """
    if exits is not None and 'stream' not in exits.kinds:
        raise ValueError(f'{type(exits).__name__} decides clip by clip; streams need exits of streams')
    B, T = frames.shape[:2]
    stream = model.stream(exits)
    rows = torch.arange(B, device=frames.device)
    looks = torch.full((B, T), -1, device=frames.device)
    for t in range(T):
        answer = stream.read(frames[rows, t] if len(rows) < B else frames[:, t])
        if t == 0:
            predictions = answer.logits.new_full((B, T, answer.logits.shape[-1]), torch.nan)
            scores = answer.score.new_full((B, T), torch.nan)
            centres = answer.centres.new_full((B, model.steps, T, 2), torch.nan)
        predictions[rows, t], looks[rows, t], scores[rows, t] = answer.logits, answer.looks, answer.score
        centres[rows, :, t] = answer.centres
        if exits is not None and t < T - 1 and exits.asks_to_stop(t):
            stay = (~answer.done).nonzero().squeeze(1)
            if not len(stay):
                break
            if len(stay) < len(rows):
                rows, stream = rows[stay], stream.select(stay)
    read = (looks >= 0).sum(1)  # (B,)
    last = predictions[torch.arange(B, device=read.device), read - 1]  # (B, C)
    return StreamExit(last, read, looks, predictions, scores, centres)
