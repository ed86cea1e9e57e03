"""Accuracy at its price: every curve a run has, and what it costs beside a static network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..evaluation import accuracy_standard_error
from ..exits import Costs, replay_clips
from .answers import ClipAnswers, replayable
from .folder import RunFolder

__all__ = ['CostCurve', 'Ratio', 'cost_curves', 'ratio_to', 'step_costs', 'without_copies']


@dataclass(frozen=True)
class CostCurve:
    """One method at one or several costs, cheapest first.

    Attributes:
        name: of the method.
        run: that it is of.
        split: of the clips it was judged on.
        accuracies: fractions.
        costs: 'gmacs' and, where it was measured, 'ms' -> the mean cost of a clip at each accuracy.
        clips: how many there were, 0 if not given.
        static: a network that reads whole frames and has nothing to choose.
        fitted_here: its thresholds were fitted on the clips it is judged on, which flatters it.
        control: the run's network with patches that its policy did not choose.
    """

    name: str
    run: str
    split: str
    accuracies: Sequence[float]
    costs: Costs
    clips: int = 0
    static: bool = False
    fitted_here: bool = False
    control: bool = False

    @property
    def errors(self) -> list[float] | None:
        """Standard errors of the accuracies."""
        if not self.clips:
            return None
        return [accuracy_standard_error(accuracy, self.clips) for accuracy in self.accuracies]


class Ratio(NamedTuple):
    """What a method costs beside a static network.

    Attributes:
        share: its cost over the static network's, at ``accuracy``.
        accuracy: of its cheapest point that is as accurate as the static network; of its most accurate one
            where none is.
        behind: how far that is below the static network, a fraction; 0 where it is as accurate.
    """

    share: float
    accuracy: float
    behind: float


def ratio_to(static: CostCurve, curve: CostCurve, unit: str) -> Ratio | None:
    """How the cost of a method compares with a static network's.

    Args:
        static: of one point.
        curve: judged on the same split.
        unit: 'gmacs' or 'ms'.

    Returns:
        None where one of them has no costs in ``unit``, or they were judged on different splits.
    """
    if curve.split != static.split or unit not in curve.costs or unit not in static.costs:
        return None
    wanted, price = static.accuracies[0], static.costs[unit][0]
    points = list(zip(curve.costs[unit], curve.accuracies))
    enough = [(cost, accuracy) for cost, accuracy in points if accuracy >= wanted - 1e-12]
    if enough:
        cost, accuracy = min(enough)
        return Ratio(cost / price, accuracy, 0.0)
    cost, accuracy = min(points, key=lambda point: (-point[1], point[0]))
    return Ratio(cost / price, accuracy, wanted - accuracy)


def step_costs(run: RunFolder, counted: Sequence[float] | None) -> dict[str, list[float]]:
    """Cumulative costs of a clip after each step: of the run's ``exits.json``, else GMACs as ``counted``."""
    for calibration in run.exits.values():
        if calibration.kind == 'steps':
            return {unit: list(values) for unit, values in calibration.costs.items()}
    return {} if counted is None else dict(gmacs=list(counted))


def cost_curves(run: RunFolder, answers: ClipAnswers | None, costs: Costs) -> list[CostCurve]:
    """All that is known of accuracy against cost, of one run.

    Args:
        run: what was found.
        answers: of its test, to replay exits on.
        costs: of :func:`step_costs`.
    """
    found = [*_of_tests(run, costs), *_of_exits(run, answers), *_of_controls(run), *_of_budget_curves(run)]
    kept: dict[tuple[str, str], CostCurve] = {}
    for curve in found:  # an earlier one of the same name is nearer to the run
        kept.setdefault((curve.name, curve.split), curve)
    return list(kept.values())


def without_copies(curves: Sequence[CostCurve]) -> list[CostCurve]:
    """The curves without static networks that stand there twice, as a run of its own and among another's
    controls; the one with a measured time stays."""
    statics: dict[tuple, CostCurve] = {}
    for curve in sorted(curves, key=lambda one: 'ms' not in one.costs):
        if curve.static and 'gmacs' in curve.costs:
            statics.setdefault(_likeness(curve), curve)
    return [
        curve
        for curve in curves
        if not curve.static or 'gmacs' not in curve.costs or statics[_likeness(curve)] is curve
    ]


def _likeness(curve: CostCurve) -> tuple[str, int, str, str]:
    return curve.split, curve.clips, f'{curve.accuracies[0]:.6f}', f'{curve.costs["gmacs"][0]:.5g}'


def _of_tests(run: RunFolder, costs: Costs) -> list[CostCurve]:
    curves = []
    for test in run.tests.values():
        metrics, split, clips = test['metrics'], split_of(test['dataset']), int(test.get('clips') or 0)
        if test.get('exits'):
            known = {unit: [metrics[unit]] for unit in ('gmacs', 'ms') if unit in metrics}
            name, replayed = 'early exit, as tested', bool(test['exits'].get('fitted_on_these_clips'))
            curves.append(
                CostCurve(name, run.name, split, [metrics['top1']], known, clips, fitted_here=replayed)
            )
            continue
        accuracies = step_accuracies(metrics)
        own = {unit: values for unit, values in costs.items() if len(values) == len(accuracies)}
        if 'gmacs_step0' in metrics:
            own['gmacs'] = [metrics[f'gmacs_step{step}'] for step in range(len(accuracies))]
        if own and accuracies:
            static = len(accuracies) == 1
            name = 'static' if static else 'a fixed number of looks'
            curves.append(CostCurve(name, run.name, split, accuracies, own, clips, static))
    return curves


def _of_exits(run: RunFolder, answers: ClipAnswers | None) -> list[CostCurve]:
    curves = []
    for path, calibration in run.exits.items():
        if calibration.kind == 'steps' and len(calibration.costs[calibration.unit]) == 1:
            continue  # a static network has one way out
        name = 'early exit' if path.stem == 'exits' else f'early exit ({path.stem})'
        data = calibration.source.get('data') or {}
        fitted = split_of(data)
        curve = CostCurve(
            f'{name}, on the clips it was fitted on',
            run.name,
            fitted,
            [setting.accuracy for setting in calibration.sweep],
            {unit: [setting.costs[unit] for setting in calibration.sweep] for unit in calibration.costs},
            sum(calibration.sweep[0].counts),
            fitted_here=True,
        )
        judged = None if answers is None else _judged(run, answers, path, fitted)
        if judged is not None:
            curves.append(CostCurve(name, run.name, *judged, clips=len(answers.labels if answers else ())))
        else:
            curves.append(curve)
    return curves


def _judged(
    run: RunFolder, answers: ClipAnswers, path: Any, fitted: str
) -> tuple[str, list[float], dict[str, list[float]]] | None:
    """Split, accuracies and costs of all settings, replayed on predictions of other clips."""
    calibration, split = run.exits[path], dump_split(run, answers)
    steps = answers.step_logits.shape[1] - 1
    rules = [replayable(calibration, steps, number) for number in range(len(calibration.sweep))]
    if split == fitted or any(rule is None for rule in rules):
        return None
    accuracies: list[float] = []
    costs: dict[str, list[float]] = {unit: [] for unit in calibration.costs}
    for rule in rules:
        assert rule is not None
        for unit, values in calibration.costs.items():
            outcome = replay_clips(answers.step_logits, answers.labels, rule, values)
            costs[unit].append(outcome.cost)
        accuracies.append(outcome.accuracy)
    return split, accuracies, costs


def dump_split(run: RunFolder, answers: ClipAnswers) -> str:
    """The split of dumped predictions: that of the test of as many clips, all steps and the same accuracy."""
    right = (answers.last.argmax(1) == answers.labels).double().mean().item()
    for test in run.tests.values():
        same = math.isclose(float(test['metrics'].get('top1', -1)), right, abs_tol=1e-6)
        if same and test.get('clips') == len(answers.labels) and not test.get('exits'):
            return split_of(test['dataset'])
    return answers.file.name


def _of_controls(run: RunFolder) -> list[CostCurve]:
    curves = []
    for one in run.controls.values():
        split, clips = split_of(one['data']), int(one.get('clips') or 0)
        for row in one['rows']:
            name = str(row['name'])
            if name in ('learned', 'glance only'):  # the run itself
                continue
            static = row.get('step') is None and len(row['top1']) == 1
            shown = f'static {name}' if static else f'{name} patches'
            costs = dict(gmacs=row['gmacs'])
            curves.append(
                CostCurve(shown, run.name, split, row['top1'], costs, clips, static, control=not static)
            )
    return curves


def _of_budget_curves(run: RunFolder) -> list[CostCurve]:
    curves = []
    for one in run.curves.values():
        for name, points in one['curves'].items():
            if not points:
                continue
            units = [unit for unit in ('gmacs', 'ms') if all(unit in point for point in points)]
            curves.append(
                CostCurve(
                    str(name),
                    run.name,
                    str(one['judge']).replace(':', ', part '),
                    [point['accuracy'] for point in points],
                    {unit: [point[unit] for point in points] for unit in units},
                    int(one.get('clips') or 0),
                    static=len(points) == 1 and str(name).startswith('static'),
                )
            )
    return curves


def split_of(data: Mapping[str, Any]) -> str:
    """'test', or 'val, part 0/2'."""
    split = str(data.get('split') or 'unknown split')
    return f'{split}, part {data["fold"]}' if data.get('fold') else split


def step_accuracies(metrics: Mapping[str, Any]) -> list[float]:
    """top-1 after each step."""
    accuracies: list[float] = []
    while f'top1_step{len(accuracies)}' in metrics:
        accuracies.append(float(metrics[f'top1_step{len(accuracies)}']))
    return accuracies
