"""From held-out predictions to a sweep of exits, cheapest to most accurate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .confidence import STATE_CRITERIA, confidence, fit_temperature
from .replay import ExitTable, replay, step_table, stream_table
from .rules import StepExits, StreamExits
from .runtime import StreamExit
from .thresholds import direct_search, undominated

__all__ = ['Calibration', 'Costs', 'Setting', 'calibrate_steps', 'calibrate_stream']

PROBABILITY_WEIGHT = 0.25
"""What the mean probability of the true class counts for beside the accuracy.

By accuracy alone a search of few clips takes exits for perfect that read those by luck, and has nothing to
choose among stricter ones. How it was chosen: docs/early_exit.md.
"""
AS_GOOD = 0.0005
"""Two settings whose worth differs by less are equally good: 0.002 of the probability."""

Costs = Mapping[str, Sequence[float]]
"""Unit ('gmacs', 'ms') -> S + 1 costs. Clips: cumulative, after step 0..S. Streams: of each look at one
frame, the glance first."""


@dataclass(frozen=True)
class Setting:
    """One set of exits and what it does on the data it was fitted on.

    Attributes:
        exits: the thresholds.
        accuracy: in [0, 1].
        costs: unit -> mean cost of a clip.
        counts: clips that left at each step (of a clip) or after each frame (of a stream; one number where
            only the end was allowed).
        probability: in [0, 1], mean probability of the true class where clips left, with a temperature that
            was fitted to all exits; None in files of earlier versions.
    """

    exits: StepExits | StreamExits
    accuracy: float
    costs: dict[str, float]
    counts: tuple[int, ...]
    probability: float | None = None

    @property
    def worth(self) -> float:
        """What settings are searched for: the accuracy, and a quarter of the mean probability of the true
        class."""
        return self.accuracy + PROBABILITY_WEIGHT * (self.probability or 0.0)


@dataclass(frozen=True)
class Calibration:
    """A sweep of settings on the Pareto frontier of cost, accuracy and :attr:`~Setting.worth`, cheapest
    first: each is more accurate than all cheaper ones, or worth more.

    Attributes:
        kind: 'steps', for clips, or 'stream'.
        unit: the unit that was searched in, 'gmacs' or 'ms'.
        sweep: the settings.
        costs: see :data:`Costs`, those the search was given.
        source: where it comes from, as the caller wrote it: checkpoint, model, data.
        chosen: number of the setting to use unless another budget is asked for.
    """

    kind: str
    unit: str
    sweep: tuple[Setting, ...]
    costs: dict[str, list[float]]
    source: dict[str, Any]
    chosen: int = -1

    def pick(
        self, budget: float | None = None, accuracy: float | None = None, unit: str | None = None
    ) -> Setting:
        """The setting of most :attr:`~Setting.worth` within ``budget`` (mean cost of a clip in ``unit``), or
        the cheapest with ``accuracy``.

        Without either, the chosen one.

        Raises:
            ValueError: if both are given, or no setting will do.
        """
        unit = unit or self.unit
        if budget is not None and accuracy is not None:
            raise ValueError('give a budget or an accuracy, not both')
        if unit not in self.costs:
            raise ValueError(f'unit {unit!r} was not measured; there is {", ".join(self.costs)}')
        if budget is not None:
            fitting = [setting for setting in self.sweep if setting.costs[unit] <= budget * (1 + 1e-9)]
            if not fitting:
                raise ValueError(
                    f'no setting costs {budget:g} {unit} or less; the cheapest costs '
                    f'{min(setting.costs[unit] for setting in self.sweep):.4g}'
                )
            return max(fitting, key=lambda setting: setting.worth)
        if accuracy is not None:
            fitting = [setting for setting in self.sweep if setting.accuracy >= accuracy - 1e-12]
            if not fitting:
                raise ValueError(
                    f'no setting reaches an accuracy of {accuracy:.4f}; the best has '
                    f'{max(setting.accuracy for setting in self.sweep):.4f}'
                )
            return min(fitting, key=lambda setting: setting.costs[unit])
        return self.sweep[self.chosen]

    def choose(self, budget: float | None = None, accuracy: float | None = None) -> Calibration:
        """A copy whose chosen setting is that of :meth:`pick`."""
        return replace(self, chosen=self.sweep.index(self.pick(budget, accuracy)))


def _settings(
    tables: Mapping[str, ExitTable],
    unit: str,
    probability: Tensor,
    make: Callable[[tuple[float, ...]], StepExits | StreamExits],
) -> list[Setting]:
    """``probability (N, K)`` of the true class at each exit."""
    if unit not in tables:
        raise ValueError(f'unit {unit!r} has no costs; there are {", ".join(tables)}')
    frontier = direct_search(
        tables[unit], worth=tables[unit].correct + PROBABILITY_WEIGHT * probability.double()
    )
    settings = []
    for thresholds in frontier.thresholds:
        outcome = {name: replay(table, thresholds) for name, table in tables.items()}
        settings.append(
            Setting(
                make(tuple(thresholds.tolist())),
                outcome[unit].accuracy,
                {name: one.cost for name, one in outcome.items()},
                tuple(outcome[unit].exits.tolist()),
                probability.double().gather(1, outcome[unit].positions[:, None]).mean().item(),
            )
        )
    return settings


def _best_of(settings: Sequence[Setting], unit: str) -> tuple[Setting, ...]:
    costs = [one.costs[unit] for one in settings]
    kept = undominated(costs, [one.worth for one in settings], [one.accuracy for one in settings])
    return tuple(settings[i] for i in kept)


def _unasked(sweep: Sequence[Setting]) -> int:
    """The cheapest setting that is as good as any."""
    best = max(one.worth for one in sweep)
    return next(number for number, one in enumerate(sweep) if one.worth >= best - AS_GOOD)


def _true_probability(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """``(N, K)`` of logits ``(N, K, C)``."""
    probabilities = (logits.double() / temperature).softmax(-1)
    return probabilities.gather(-1, labels[:, None, None].expand(-1, logits.shape[1], 1)).squeeze(-1)


def calibrate_steps(
    step_logits: Tensor,
    labels: Tensor,
    costs: Costs,
    unit: str = 'gmacs',
    criterion: str = 'max_prob',
    source: Mapping[str, Any] | None = None,
    rule: StepExits | None = None,
    scores: Tensor | None = None,
) -> Calibration:
    """Exits of clips, step by step.

    Args:
        step_logits: ``(N, S+1, C)`` of held-out clips.
        labels: ``(N,)``.
        costs: see :data:`Costs`; cumulative.
        unit: which of them budgets are in.
        criterion: see :func:`~gfvideo.exits.confidence`.
        source: kept with the result.
        rule: one of your own, whose thresholds are searched, whatever they are; None takes
            :class:`~gfvideo.exits.StepExits` with the criterion and a temperature that is fitted first.
        scores: ``(N, S+1)`` by ``rule`` or the criterion, of
            :func:`~gfvideo.exits.record_clips`; None asks it of the logits.

    Returns:
        The sweep; the chosen setting is the cheapest that is worth as much as any (0.0005 less at most).

    Raises:
        ValueError: without scores, if the criterion reads more than logits.
    """
    S = step_logits.shape[1] - 1
    temperature = _fitted_temperature(step_logits, labels)
    if rule is None and criterion in STATE_CRITERIA:
        rule = StepExits((math.inf,) * S, criterion)
    if rule is None:
        rule = StepExits((math.inf,) * S, criterion, temperature)
    if scores is None:
        scores = torch.stack([rule.score(step_logits[:, step], step) for step in range(S + 1)], 1)
    tables = {name: step_table(step_logits, labels, values, scores=scores) for name, values in costs.items()}
    probability = _true_probability(step_logits, labels.long(), temperature)
    settings = _settings(tables, unit, probability, lambda thresholds: replace(rule, thresholds=thresholds))
    return _calibration('steps', unit, settings, costs, source)


def calibrate_stream(
    record: Callable[[StreamExits], StreamExit],
    labels: Tensor,
    costs: Costs,
    steps: int,
    unit: str = 'gmacs',
    criterion: str = 'max_prob',
    source: Mapping[str, Any] | None = None,
    shares: Sequence[float] = (0.15, 0.3, 0.5, 0.7, 0.85),
    levels: str = 'both',
    rule: StreamExits | None = None,
) -> Calibration:
    """Exits of streams, look by look and frame by frame.

    What a look shows depends on the looks that earlier frames took, so step-level thresholds are not
    replayed: for each candidate the model reads the held-out videos anew, without stopping, and the
    frame-level thresholds are searched on what it really predicted.

    Args:
        record: reads the held-out videos with given exits, which never stop.
        labels: ``(N,)``, in the order of ``record``.
        costs: see :data:`Costs`; of each look at one frame.
        steps: S.
        unit, criterion, source: as for :func:`calibrate_steps`.
        shares: step-level candidates: the score, in a reading with all looks, that these shares of the
            frames exceed. Beside them every fixed number of looks is tried.
        levels: 'both'; or 'step' alone (all frames are read) or 'frame' alone (all looks are taken), to see
            what each is worth.
        rule: one of your own, whose thresholds are searched, whatever they are; None takes
            :class:`~gfvideo.exits.StreamExits` with the criterion and a temperature that is fitted first.
    """
    if levels not in ('both', 'step', 'frame'):
        raise ValueError(f"levels={levels!r} is unknown; choose 'both', 'step' or 'frame'")
    every_look = (math.inf,) * steps
    full = record((replace(rule, enough=every_look) if rule else StreamExits(every_look)).recording())
    temperature = _fitted_temperature(full.frame_logits.cpu(), labels.cpu())
    if rule is None:
        rule = StreamExits(every_look, (), criterion, temperature)
    settings = []
    candidates = [every_look] if levels == 'frame' else _step_candidates(_scores(full, rule), steps, shares)
    for enough in candidates:
        one = replace(rule, enough=enough, stop=())
        trace = record(one.recording()) if one.asks else full
        scores = _scores(trace, one)
        tables = {name: stream_table(trace, labels, values, scores=scores) for name, values in costs.items()}
        probability = _true_probability(trace.frame_logits.cpu(), labels.cpu().long(), temperature)
        if levels == 'step':  # the last frame is the only exit
            tables = {name: ExitTable(*(part[:, -1:] for part in table)) for name, table in tables.items()}
            probability = probability[:, -1:]
        settings += _settings(tables, unit, probability, partial(_with_stop, one))
    return _calibration('stream', unit, settings, costs, source)


def _fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """Of the predictions ``(N, K, C)`` at all exits."""
    return fit_temperature(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


def _with_stop(rule: StreamExits, stop: tuple[float, ...]) -> StreamExits:
    return replace(rule, stop=stop)


def _calibration(
    kind: str, unit: str, settings: Sequence[Setting], costs: Costs, source: Mapping[str, Any] | None
) -> Calibration:
    given = {name: list(values) for name, values in costs.items()}
    sweep = _best_of(settings, unit)
    return Calibration(kind, unit, sweep, given, dict(source or {}), _unasked(sweep))


def _scores(trace: StreamExit, rule: StreamExits) -> Tensor:
    """``(N, T)`` after the last look at each frame."""
    if rule.reads_logits_alone():
        return confidence(trace.frame_logits.cpu(), rule.criterion, rule.temperature)
    if trace.scores is None:
        raise ValueError(
            f'the trace holds no scores of {type(rule).__name__}; record it with its recording()'
        )
    return trace.scores.cpu()


def _step_candidates(scores: Tensor, steps: int, shares: Sequence[float]) -> list[tuple[float, ...]]:
    fixed = [(math.inf,) * looks + (0.0,) * (steps - looks) for looks in range(steps + 1)]
    if not steps:
        return fixed
    values = sorted({scores.flatten().quantile(1 - share).item() for share in shares})
    return fixed + [(value,) * steps for value in values]
