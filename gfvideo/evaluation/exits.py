"""Accuracy against cost: of every step, of every budget, and of exits that really happened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from ..exits import Calibration, Replay, Setting, StepExits, calibrate_steps, read_exits, replay_clips
from ..registry import METRICS
from .functional import accuracy_standard_error, top_k_accuracy

__all__ = ['AnytimeMetric', 'BudgetMetric', 'ExitAccuracy', 'accuracy_within', 'area_under_curve']


def accuracy_within(costs: Sequence[float], accuracies: Sequence[float], budget: float) -> float:
    """The best accuracy among settings that cost at most ``budget``, 0 if none does."""
    return max(
        (accuracy for cost, accuracy in zip(costs, accuracies, strict=True) if cost <= budget * (1 + 1e-9)),
        default=0.0,
    )


def area_under_curve(
    costs: Sequence[float], accuracies: Sequence[float], low: float | None = None, high: float | None = None
) -> float:
    """Mean over all budgets between ``low`` and ``high`` of the best accuracy within the budget: in [0, 1],
    whatever the unit of cost.

    Args:
        costs: of each setting, in any order.
        accuracies: of each setting, fractions.
        low, high: ends of the budgets; None for the cheapest and the dearest setting. Curves are comparable
            over the same ends only.

    Raises:
        ValueError: if there is no setting or the ends are the wrong way round.
    """
    low = min(costs, default=0.0) if low is None else low
    high = max(costs, default=0.0) if high is None else high
    if not costs or high < low:
        raise ValueError(
            f'{len(costs)} settings between budgets {low:g} and {high:g}; give one at least and the ends in'
            ' order'
        )
    if high == low:
        return accuracy_within(costs, accuracies, low)
    corners = [low, *sorted(cost for cost in set(costs) if low < cost < high), high]
    return sum(
        accuracy_within(costs, accuracies, left) * (right - left) for left, right in zip(corners, corners[1:])
    ) / (high - low)


class _ClipMetric(BaseMetric):
    """One result a clip, so the clips that a distributed sampler adds are dropped and every number is that of
    one process."""

    default_prefix = ''
    fields: tuple[str, ...] = ('gt_label',)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep what is needed of each clip of a batch.

        Raises:
            ValueError: if a clip has no label or no prediction of the right kind.
        """
        for sample in data_samples:
            for field in self.fields:
                if field not in sample:
                    raise ValueError(
                        f'clip {sample.get("video_id")!r} has no {field}, which {type(self).__name__} needs'
                    )
            self.results.append(dict(video_id=str(sample.get('video_id')), **self.kept(sample)))

    def kept(self, sample: dict[str, Any]) -> dict[str, Any]:
        """What to keep of a sample."""
        # (S+1, C)
        return dict(label=int(sample['gt_label']), step_logits=sample['step_logits'].detach().float().cpu())


def _labels(results: Sequence[dict[str, Any]]) -> Tensor:
    if not results:
        raise ValueError('no clip was tested; is the split empty?')
    return torch.tensor([result['label'] for result in results])


def _curve_table(costs: Sequence[float], accuracies: Sequence[float], clips: int) -> str:
    rows = [f'{"GMACs/clip":>12}{"top-1 (%)":>14}']
    rows += [
        f'{cost:>12.4f}{100 * accuracy:>7.1f} ± {100 * accuracy_standard_error(accuracy, clips):>4.1f}'
        for cost, accuracy in zip(costs, accuracies)
    ]
    return '\n'.join(rows)


@METRICS.register_module()
class AnytimeMetric(_ClipMetric):
    """Anytime prediction: the accuracy after every step at its cost, when all clips stop at the same step.

    Gives ``anytime_top1_step{s}``, ``anytime_gmacs_step{s}`` and ``anytime_auc``, the mean accuracy over
    budgets from the cost of the glance to that of the last step (:func:`area_under_curve`).

    Args:
        costs: cumulative GMACs of a clip after each step, of :func:`gfvideo.complexity.recognizer_cost`.
        collect_device, prefix, collect_dir: see :class:`mmengine.evaluator.BaseMetric`.
    """

    fields = ('gt_label', 'step_logits')

    def __init__(
        self,
        costs: Sequence[float],
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.costs = [float(cost) for cost in costs]

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """See the class.

        Raises:
            ValueError: if there is no clip, or the costs are not one a step.
        """
        labels = _labels(results)
        step_logits = _stacked(results, len(self.costs))
        accuracies = [top_k_accuracy(logits, labels, 1) for logits in step_logits.unbind(1)]
        print_log('\n' + _curve_table(self.costs, accuracies, len(labels)), logger='current')
        return {
            **{f'anytime_top1_step{s}': accuracy for s, accuracy in enumerate(accuracies)},
            **{f'anytime_gmacs_step{s}': cost for s, cost in enumerate(self.costs)},
            'anytime_auc': area_under_curve(self.costs, accuracies),
        }


def _stacked(results: Sequence[dict[str, Any]], steps: int) -> Tensor:
    step_logits = torch.stack([result['step_logits'] for result in results])  # (N, S+1, C)
    if step_logits.shape[1] != steps:
        raise ValueError(
            f'{steps} costs for {step_logits.shape[1]} steps: give one per step, the glance included'
        )
    return step_logits


@METRICS.register_module()
class BudgetMetric(_ClipMetric):
    """Budgeted prediction: every clip stops when it is sure, and the thresholds spend a given mean cost.

    Gives ``budget_auc``, the mean accuracy over budgets (:func:`area_under_curve`), and ``top1_at_{budget}``
    for each asked budget. Thresholds are never fitted on the clips that they are judged on: they come from a
    file, or from the other half of these clips.

    Args:
        costs: cumulative GMACs of a clip after each step.
        budgets: mean GMACs per clip to tell the accuracy at; None for a quarter, a half and three quarters of
            the way from the glance to the last step.
        exits: file of ``tools/calibrate.py``, fitted on another split; None fits on each half of the clips
            (by a hash of their video ids) for the other.
        collect_device, prefix, collect_dir: see :class:`mmengine.evaluator.BaseMetric`.
    """

    fields = ('gt_label', 'step_logits')

    def __init__(
        self,
        costs: Sequence[float],
        budgets: Sequence[float] | None = None,
        exits: str | Path | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.costs = [float(cost) for cost in costs]
        low, high = self.costs[0], self.costs[-1]
        self.budgets = (
            [low + share * (high - low) for share in (0.25, 0.5, 0.75)]
            if budgets is None
            else [float(b) for b in budgets]
        )
        self.calibration = None if exits is None else read_exits(exits)
        if self.calibration is not None and 'gmacs' not in self.calibration.costs:
            raise ValueError(f'{exits} knows no costs in gmacs; calibrate again')
        if self.calibration is not None and self.calibration.kind != 'steps':
            raise ValueError(
                f'{exits} holds exits of streams; BudgetMetric replays those of clips (calibrate without'
                ' --stream)'
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """See the class.

        Raises:
            ValueError: if there is no clip, the costs are not one a step, or a half is empty.
        """
        labels, step_logits = _labels(results), _stacked(results, len(self.costs))
        if self.calibration is not None:
            sweep = self.calibration.sweep
            outcomes = [_replayed(setting, step_logits, labels, self.costs) for setting in sweep]
            curve = [(outcome.cost, outcome.accuracy) for outcome in outcomes]
            at = {budget: _given(self.calibration, budget, outcomes) for budget in self.budgets}
        else:
            half = torch.tensor(
                [hashlib.sha256(result['video_id'].encode()).digest()[0] % 2 == 0 for result in results]
            )
            grid = [*np.linspace(self.costs[0], self.costs[-1], 21).tolist(), *self.budgets]
            points = _cross_fitted(step_logits, labels, half, self.costs, grid)
            # nothing runs at less than the glance
            affordable = [budget * (1 + 1e-9) >= self.costs[0] for budget in self.budgets]
            curve, at = (
                points[:21],
                {
                    budget: accuracy if ok else 0.0
                    for budget, ok, (_, accuracy) in zip(self.budgets, affordable, points[21:])
                },
            )
        costs, accuracies = zip(*curve)
        print_log('\n' + _curve_table(costs, accuracies, len(labels)), logger='current')
        return {
            'budget_auc': area_under_curve(costs, accuracies, self.costs[0], self.costs[-1]),
            **{f'top1_at_{budget:.4g}': accuracy for budget, accuracy in at.items()},
        }


def _given(calibration: Calibration, budget: float, outcomes: Sequence[Replay]) -> float:
    try:
        setting = calibration.pick(budget=budget, unit='gmacs')
    except ValueError:
        return 0.0  # nothing runs at so little
    return outcomes[calibration.sweep.index(setting)].accuracy


def _replayed(setting: Setting, step_logits: Tensor, labels: Tensor, costs: Sequence[float]) -> Replay:
    assert isinstance(setting.exits, StepExits)  # of a calibration of steps
    return replay_clips(step_logits, labels, setting.exits, costs)


def _cross_fitted(
    step_logits: Tensor, labels: Tensor, half: Tensor, costs: Sequence[float], budgets: Sequence[float]
) -> list[tuple[float, float]]:
    """(mean cost, accuracy) at each budget, each half judged with what was fitted on the other."""
    if half.all() or not half.any():
        raise ValueError(
            f'{len(half)} clips fall into one half, so thresholds cannot be fitted on other clips; test more'
            ' clips, or give exits=FILE'
        )
    sums = np.zeros((len(budgets), 2))
    for judged, fitted in ((half, ~half), (~half, half)):
        calibration = calibrate_steps(step_logits[fitted], labels[fitted], dict(gmacs=costs))
        for row, budget in enumerate(budgets):
            setting = calibration.pick(budget=max(budget, calibration.sweep[0].costs['gmacs']))
            outcome = _replayed(setting, step_logits[judged], labels[judged], costs)
            sums[row] += int(judged.sum()) * np.array([outcome.cost, outcome.accuracy])
    return [(float(cost), float(accuracy)) for cost, accuracy in sums / len(half)]


@METRICS.register_module()
class ExitAccuracy(_ClipMetric):
    """What really happened with exits (:class:`~gfvideo.engine.exiting.ExitingRecognizer`), and what replay
    says should have.

    Gives ``top1`` with ``top1_standard_error``, mean ``gmacs`` per clip, ``ms`` and ``ms_p95`` per clip (the
    model alone), ``exits_step{s}`` or ``exits_frame{t}`` (shares of clips) and, of a stream, ``frames`` and
    ``looks`` (means per clip); with replay the same as ``replay_...``, and ``replay_differs``, the number of
    clips that left elsewhere or with another answer than in replay.

    Args:
        costs: GMACs: of a clip cumulative after each step, of a stream of each look at one frame.
        stream: whether samples were read as streams.
        collect_device, prefix, collect_dir: see :class:`mmengine.evaluator.BaseMetric`.
    """

    fields = ('gt_label', 'logits', 'exit', 'looks', 'ms')

    def __init__(
        self,
        costs: Sequence[float],
        stream: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.costs, self.stream = [float(cost) for cost in costs], stream

    def kept(self, sample: dict[str, Any]) -> dict[str, Any]:
        result = dict(
            label=int(sample['gt_label']),
            answer=int(sample['logits'].argmax()),
            exit=int(sample['exit']),
            looks=sample['looks'].cpu().reshape(-1),
            ms=float(sample['ms']),
        )
        if 'replay_exit' in sample:
            result.update(
                replay_exit=int(sample['replay_exit']),
                replay_answer=int(sample['replay_logits'].argmax()),
                replay_looks=sample['replay_looks'].cpu().reshape(-1),
            )
        return result

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """See the class.

        Raises:
            ValueError: if there is no clip.
        """
        labels = _labels(results)
        column = {
            key: torch.tensor([result[key] for result in results])
            for key in results[0]
            if key not in ('looks', 'replay_looks', 'video_id')
        }
        looks = torch.stack([result['looks'] for result in results])  # (N, 1) or (N, T)
        exits = looks.shape[1] if self.stream else len(self.costs)
        top1 = (column['answer'] == labels).double().mean().item()
        metrics = dict(
            top1=top1,
            top1_standard_error=accuracy_standard_error(top1, len(labels)),
            gmacs=self._gmacs(column['exit'], looks),
            ms=column['ms'].mean().item(),
            ms_p95=float(np.percentile(column['ms'].numpy(), 95)),
        )
        name = 'frame' if self.stream else 'step'
        metrics.update(_shares(f'exits_{name}', column['exit'], exits))
        if self.stream:
            metrics.update(
                frames=(column['exit'] + 1).double().mean().item(),
                looks=looks.clamp_min(0).sum(1).double().mean().item(),
            )
        if 'replay_exit' in column:
            differs = (column['replay_exit'] != column['exit']) | (
                column['replay_answer'] != column['answer']
            )
            replayed = torch.stack([result['replay_looks'] for result in results])
            metrics.update(
                replay_top1=(column['replay_answer'] == labels).double().mean().item(),
                replay_gmacs=self._gmacs(column['replay_exit'], replayed),
                replay_differs=int(differs.sum()),
            )
            metrics.update(_shares(f'replay_exits_{name}', column['replay_exit'], exits))
        return metrics

    def _gmacs(self, exits: Tensor, looks: Tensor) -> float:
        costs = torch.tensor(self.costs, dtype=torch.float64)
        if not self.stream:
            return costs[exits].mean().item()
        spent = costs.cumsum(0)[looks.clamp_min(0)] * (looks >= 0)  # (N, T)
        return spent.sum(1).mean().item()


def _shares(name: str, exits: Tensor, count: int) -> dict[str, float]:
    return {f'{name}{k}': (exits == k).double().mean().item() for k in range(count)}
