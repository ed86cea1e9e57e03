"""What early exit would have done, from stored confidences: no network runs here.

An exit table has a row a sample and a column an exit, in the order in which a runtime comes by them: the S +
1 steps of a clip, or the looks (frame, step) of a stream. A sample leaves at the first exit where its
confidence reaches the threshold; at the last, all that remain leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .confidence import confidence
from .rules import StepExits, StreamExits
from .runtime import StreamExit

__all__ = [
    'ExitTable',
    'Replay',
    'exit_positions',
    'replay',
    'replay_clips',
    'replay_stream',
    'step_table',
    'stream_table',
]


class ExitTable(NamedTuple):
    """What is known of N samples at K exits.

    Attributes:
        confidence: ``(N, K)`` float64 in [0, 1]; -inf where a sample does not come by this exit (it never
            leaves there).
        correct: ``(N, K)`` bool, is the prediction at this exit right; in the last column that of the
            sample's last prediction.
        costs: ``(N, K)`` cumulative cost up to this exit, in one unit for all (GMACs, or milliseconds).
    """

    confidence: Tensor
    correct: Tensor
    costs: Tensor

    @classmethod
    def of(cls, confidence: Tensor, correct: Tensor, costs: Tensor) -> ExitTable:
        """A checked table; ``costs`` may be ``(K,)``, the same for all samples.

        Raises:
            ValueError: if shapes disagree, there is no sample, a value is not a number, a confidence is
                outside [0, 1] or costs fall.
        """
        if confidence.ndim != 2 or correct.shape != confidence.shape or 0 in confidence.shape:
            raise ValueError(
                f'confidence {tuple(confidence.shape)} and correct {tuple(correct.shape)} must both be (N,'
                ' K), N and K at least 1'
            )
        if confidence.isnan().any():
            sample, at = confidence.isnan().nonzero()[0].tolist()
            raise ValueError(
                f'the confidence of sample {sample} at exit {at} is not a number (nan); the network has'
                ' diverged'
            )
        if ((confidence > 1) | (confidence < 0) & (confidence != -torch.inf)).any():
            raise ValueError(
                'a confidence lies outside [0, 1]; use gfvideo.exits.confidence, raw logits are no confidence'
            )
        costs = torch.as_tensor(costs, dtype=torch.float64, device=confidence.device)
        if costs.shape != confidence.shape[1:] and costs.shape != confidence.shape:
            raise ValueError(
                f'costs {tuple(costs.shape)} must be (K,) or (N, K) for a table of {tuple(confidence.shape)}'
            )
        costs = costs.expand(confidence.shape)
        if not costs.isfinite().all() or (costs.diff(dim=1) < 0).any():
            raise ValueError(
                'costs are cumulative: they must be numbers and never fall from one exit to the next'
            )
        return cls(confidence.double(), correct.bool(), costs)


class Replay(NamedTuple):
    """Outcome of one set of thresholds.

    Attributes:
        accuracy: share of right predictions, in [0, 1].
        cost: mean cost of a sample.
        exits: ``(K,)`` number of samples that left at each exit.
        positions: ``(N,)`` the exit of each sample.
        class_exits: ``(C, K)`` the same by true class; None without labels.
    """

    accuracy: float
    cost: float
    exits: Tensor
    positions: Tensor
    class_exits: Tensor | None = None


def exit_positions(confidence: Tensor, thresholds: Tensor) -> Tensor:
    """Where each sample leaves.

    Args:
        confidence: ``(N, K)``.
        thresholds: ``(K-1,)``; a sample leaves at exit k if its confidence is at least ``thresholds[k]``,
            with inf never.

    Returns:
        ``(N,)`` int64 in [0, K).

    Raises:
        ValueError: if there is not one threshold for every exit but the last, or one is not a number.
    """
    confidence = confidence.double()  # rounded thresholds could make others leave
    thresholds = torch.as_tensor(thresholds, dtype=torch.float64, device=confidence.device)
    if thresholds.shape != (confidence.shape[1] - 1,):
        raise ValueError(
            f'{tuple(thresholds.shape)} thresholds for {confidence.shape[1]} exits: give one for each but the'
            ' last'
        )
    if thresholds.isnan().any():
        raise ValueError(
            f'thresholds {thresholds.tolist()} hold a nan; write inf for an exit that is never taken'
        )
    leaves = confidence.new_ones(confidence.shape, dtype=torch.bool)
    leaves[:, :-1] = (confidence[:, :-1] >= thresholds) & (confidence[:, :-1] > -torch.inf)
    return leaves.int().argmax(1)  # the first of equal values


def replay(
    table: ExitTable, thresholds: Tensor, labels: Tensor | None = None, num_classes: int | None = None
) -> Replay:
    """What the thresholds would have done.

    Args:
        table: see :class:`ExitTable`.
        thresholds: ``(K-1,)``, see :func:`exit_positions`.
        labels: ``(N,)`` true classes, for ``class_exits``.
        num_classes: C; None for one more than the largest label.
    """
    positions = exit_positions(table.confidence, thresholds)
    at = positions[:, None]
    exits = table.confidence.shape[1]
    by_class = None
    if labels is not None:
        classes = int(labels.max()) + 1 if num_classes is None else num_classes
        by_class = torch.bincount(labels * exits + positions, minlength=classes * exits).view(classes, exits)
    return Replay(
        table.correct.gather(1, at).double().mean().item(),
        table.costs.gather(1, at).mean().item(),
        torch.bincount(positions, minlength=exits),
        positions,
        by_class,
    )


def step_table(
    step_logits: Tensor,
    labels: Tensor,
    costs: Sequence[float],
    criterion: str = 'max_prob',
    temperature: float = 1.0,
    scores: Tensor | None = None,
) -> ExitTable:
    """Exits after each step of a clip.

    Args:
        step_logits: ``(N, S+1, C)``.
        labels: ``(N,)``.
        costs: S + 1, cumulative.
        criterion, temperature: see :func:`~gfvideo.exits.confidence`.
        scores: ``(N, S+1)`` in [0, 1] to go by instead, of a rule that scores in its own way.
    """
    return ExitTable.of(
        confidence(step_logits, criterion, temperature) if scores is None else scores,
        step_logits.argmax(-1) == labels[:, None],
        torch.tensor(costs, dtype=torch.float64),
    )


def stream_table(
    trace: StreamExit,
    labels: Tensor,
    costs: Sequence[float],
    criterion: str = 'max_prob',
    temperature: float = 1.0,
    scores: Tensor | None = None,
) -> ExitTable:
    """Exits after each frame of a stream.

    Args:
        trace: of :func:`~gfvideo.exits.run_stream` with exits that never stop, so every frame was read.
        labels: ``(N,)``.
        costs: S + 1, of the glance at one frame and of each focus look.
        criterion, temperature: see :func:`~gfvideo.exits.confidence`.
        scores: ``(N, T)`` in [0, 1] to go by instead, of a rule that scores in its own way.

    Raises:
        ValueError: if a video stopped early: what its further frames would have said is unknown.
    """
    if len(costs) <= int(trace.looks.max()):
        raise ValueError(
            f'{len(costs)} costs for frames of up to {int(trace.looks.max())} looks; give one for the glance,'
            ' one a look'
        )
    if (trace.looks < 0).any():
        raise ValueError('a video of the trace stopped early; record it with exits whose stop is all inf')
    spent = torch.tensor(costs, dtype=torch.float64).cumsum(0)[trace.looks.cpu()].cumsum(1)  # (N, T)
    predictions = trace.frame_logits.cpu()
    return ExitTable.of(
        confidence(predictions, criterion, temperature) if scores is None else scores.cpu(),
        predictions.argmax(-1) == labels.cpu()[:, None],
        spent,
    )


def replay_clips(
    step_logits: Tensor,
    labels: Tensor,
    exits: StepExits,
    costs: Sequence[float],
    scores: Tensor | None = None,
) -> Replay:
    """What ``exits`` would do to clips with ``step_logits (N, S+1, C)``; ``costs`` are cumulative.

    ``scores (N, S+1)`` are those that the rule gave when the clips were recorded
    (:func:`~gfvideo.exits.record_clips`); None works them out from the logits.
    """
    if scores is None:
        steps = range(step_logits.shape[1])
        scores = torch.stack([exits.score(step_logits[:, step], step) for step in steps], 1)
    table = step_table(step_logits, labels, costs, scores=scores)
    return replay(table, torch.tensor(exits.thresholds, dtype=torch.float64), labels, step_logits.shape[-1])


def replay_stream(trace: StreamExit, labels: Tensor, exits: StreamExits, costs: Sequence[float]) -> Replay:
    """What stopping by ``exits`` would do to a ``trace`` that was recorded with the same step-level
    thresholds and no stop."""
    scores = None if exits.reads_logits_alone() else trace.scores
    table = stream_table(trace, labels, costs, exits.criterion, exits.temperature, scores)
    frames = table.confidence.shape[1]
    stop = [*exits.stop, *[math.inf] * frames][: frames - 1]
    return replay(table, torch.tensor(stop, dtype=torch.float64), labels, trace.frame_logits.shape[-1])
