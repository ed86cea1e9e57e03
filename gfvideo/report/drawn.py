"""The charts of a report: accuracy against cost, what the logs say of training, exits, classes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from ..evaluation import confusion_matrix
from .answers import ClassRow, ClipAnswers
from .charts import BarChart, Line, LineChart, MatrixChart
from .costs import CostCurve
from .folder import RunFolder

__all__ = ['class_chart', 'confusion_chart', 'cost_chart', 'exit_chart', 'training_charts']

UNITS = dict(
    gmacs='GMACs per clip (1e9 multiply-adds)', ms='milliseconds per clip, batch 1, the network alone'
)
POINTS = 40
"""Most points of a curve that are drawn; a sweep has hundreds, which lie on each other."""
ITERATIONS = 1500
"""Most points of a line of training that are drawn."""


def of_runs(count: int) -> Callable[[str, str], str]:
    """Names a line: with the name of its run in front where there are several."""
    return lambda run, name: f'{run}: {name}' if count > 1 else name


def cost_chart(curves: Sequence[CostCurve], unit: str) -> LineChart | None:
    """Accuracy against GMACs or milliseconds; None where nothing has such costs."""
    curves = [curve for curve in curves if unit in curve.costs and min(curve.costs[unit]) > 0]
    if not curves:
        return None
    runs = len({curve.run for curve in curves})
    splits = {curve.split for curve in curves}
    named, lines = of_runs(runs), []
    for curve in curves:
        places = _thinned(len(curve.accuracies), POINTS)
        costs, errors = curve.costs[unit], curve.errors
        name = named(curve.run, curve.name) + (f' ({curve.split})' if len(splits) > 1 else '')
        lines.append(
            Line(
                name,
                [costs[i] for i in places],
                [100 * curve.accuracies[i] for i in places],
                [100 * errors[i] for i in places] if errors and len(places) <= 4 else None,
                dashed=curve.fitted_here,
                markers=len(places) <= 12,
            )
        )
    best = max(curves, key=lambda curve: max(curve.accuracies))
    return LineChart(
        f'accuracy-{unit}',
        f'Accuracy against {"GMACs" if unit == "gmacs" else "measured time"}',
        f'Top-1 accuracy in percent over {UNITS[unit]}, logarithmic, of {len(lines)} methods. The highest, '
        f'{100 * max(best.accuracies):.1f} %, is of {named(best.run, best.name)}.',
        UNITS[unit],
        'top-1 accuracy (%)',
        lines,
        logarithmic=True,
    )


# --------------------------------------------------------------------------------------------------- training

# key of the chart, title, y axis, which scalars (of training, of validation)
SCALARS = (
    ('loss', 'Loss', 'loss', r'loss|loss_(?:policy|value|window|frame)\w*', None),
    ('look-losses', 'Loss of each look', 'loss', r'loss_(?:step|aux|glance|random)\w*', None),
    (
        'accuracy',
        'Accuracy while training',
        'share of clips',
        r'acc_step\d+|top1_acc|acc',
        r'top1_step\d+|top1',
    ),
    ('reward', 'Reward of each look', 'reward', r'reward\w*', None),
    ('kl', 'How far the policy moved', 'KL divergence; share', r'approx_kl|clip_fraction', None),
    ('std', 'Exploration', 'entropy; standard deviation', r'\w*std\w*|entropy', None),
    (
        'explained',
        'Explained variance of the value function',
        'share of variance',
        r'explained_variance',
        None,
    ),
    ('lr', 'Learning rate', 'learning rate', r'lr|base_lr', None),
)


def training_charts(runs: Sequence[RunFolder]) -> list[LineChart]:
    """A chart for each kind of scalar that any run logged, stages one after the other."""
    runs = [run for run in runs if run.stages]
    named = of_runs(len(runs))
    marks = _marks(runs)
    charts = []
    for key, title, y_name, trained, validated in SCALARS:
        lines = []
        for run in runs:
            names = _scalars(run, trained, validated, all_of_them=len(runs) == 1)
            for name, of_validation in names:
                x, y = _line(run, name, of_validation)
                if x:
                    shown = f'{name}, validation' if of_validation else name
                    lines.append(
                        Line(named(run.name, shown), x, y, group=run.name, dashed=of_validation)
                        if len(runs) > 1
                        else Line(shown, x, y, dashed=of_validation, markers=of_validation)
                    )
        if lines:
            ends = '; '.join(f'{line.name} ends at {line.y[-1]:.3g}' for line in lines[:6])
            stages = [f'{name} from {x:g}' for x, name in marks]
            alt = f'{title} over iterations{"; stages: " if stages else ""}{", ".join(stages)}. {ends}.'
            charts.append(LineChart(key, title, alt, 'iteration', y_name, lines, marks=marks))
    return charts


def _marks(runs: Sequence[RunFolder]) -> list[tuple[float, str]]:
    """Where stages begin, those of several runs at one place together."""
    found: dict[tuple[float, str], list[str]] = {}
    for run in runs:
        start = 0
        for stage in run.stages:
            if stage.name:
                found.setdefault((start, stage.name), []).append(run.name)
            start += stage.iterations
    everywhere = len([run for run in runs if any(stage.name for stage in run.stages)])
    return [
        (x, name if len(of) == everywhere else f'{name} ({", ".join(of)})')
        for (x, name), of in sorted(found.items())
    ]


def _scalars(
    run: RunFolder, trained: str, validated: str | None, all_of_them: bool
) -> list[tuple[str, bool]]:
    """(name, whether of validations) of the scalars of a run that match; of several looks' the last alone
    unless all are wanted."""
    found = []
    for pattern, of_validation in ((trained, False), (validated, True)):
        if pattern is None:
            continue
        rows = [row for stage in run.stages for row in (stage.validated if of_validation else stage.train)]
        names = sorted({name for row in rows for name in row if re.fullmatch(pattern, name)})
        if of_validation and any(re.fullmatch(r'top1_step\d+', name) for name in names):
            names = [name for name in names if name != 'top1']  # that of the last look
        if not all_of_them:
            total = [name for name in names if name == 'loss']
            names = total or names[-1:]
        found += [(name, of_validation) for name in names]
    return found


def _line(run: RunFolder, name: str, of_validation: bool) -> tuple[list[float], list[float]]:
    x: list[float] = []
    y: list[float] = []
    start = 0
    for stage in run.stages:
        for row in stage.validated if of_validation else stage.train:
            value = row.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                x.append(float(start + row['iter']))
                y.append(float(value))
        start += stage.iterations
    places = _thinned(len(x), ITERATIONS)
    return [x[i] for i in places], [y[i] for i in places]


def _thinned(count: int, most: int) -> list[int]:
    """At most so many of the numbers 0 to count - 1, evenly taken, the ends kept."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


# ------------------------------------------------------------------------------------------ exits and classes


def exit_chart(runs: Sequence[RunFolder], level: str) -> BarChart | None:
    """Which share of clips leaves after each step, or frame; None where no run tells.

    Args:
        runs: what was found.
        level: 'step' or 'frame'.
    """
    bars: dict[str, list[float]] = {}
    named = of_runs(len(runs))
    for run in runs:
        for path, test in run.tests.items():
            shares = _shares(test['metrics'], level)
            if shares:
                bars[_free(named(run.name, f'as tested ({path.parent.name})'), bars)] = shares
        for path, calibration in run.exits.items():
            if (calibration.kind == 'stream') == (level == 'frame'):
                counts = calibration.pick().counts
                if len(counts) == 1 and level == 'step':
                    continue  # a static network has one way out
                name = named(run.name, f'when fitted ({path.name})')
                bars[_free(name, bars)] = [100 * count / max(1, sum(counts)) for count in counts]
    if not bars:
        return None
    most = max(map(len, bars.values()))
    labels = [
        ('glance' if number == 0 else f'look {number}') if level == 'step' else f'frame {number + 1}'
        for number in range(most)
    ]
    told = '; '.join(
        f'{name}: {", ".join(f"{share:.0f} %" for share in shares)}' for name, shares in bars.items()
    )
    return BarChart(
        f'exits-{level}',
        f'Where clips leave, by {level}',
        f'Share of clips that leave after each {level}. {told}.',
        f'the last {level} that was taken',
        'clips (%)',
        labels,
        {name: shares + [0.0] * (most - len(shares)) for name, shares in bars.items()},
    )


def _shares(metrics: dict, level: str) -> list[float]:
    shares: list[float] = []
    while f'exits_{level}{len(shares)}' in metrics:
        shares.append(100 * float(metrics[f'exits_{level}{len(shares)}']))
    return shares


def _free(name: str, taken: dict[str, list[float]]) -> str:
    """The name, or with a number behind it where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f'{name} {number}'
    return free


def confusion_chart(run: str, number: int, answers: ClipAnswers, classes: Sequence[str]) -> MatrixChart:
    """Clips by true and recognized class after the last step."""
    counts = confusion_matrix(answers.last, answers.labels)
    right, total = int(counts.diagonal().sum()), int(counts.sum())
    return MatrixChart(
        f'confusion-{number}',
        f'Confusion, {run}',
        f'Confusion matrix of {len(classes)} classes: {right} of {total} clips are on the diagonal, '
        'recognized as what they are. The table of classes tells the most frequent mistakes in words.',
        [f'{label} {name}' for label, name in enumerate(classes)],
        counts.tolist(),
    )


def class_chart(
    run: str, number: int, rows: Sequence[ClassRow], step_name: str = 'step'
) -> tuple[BarChart, BarChart | None]:
    """Accuracy of each class, and the mean exit of its clips where that is known."""
    names = [f'{row.label} {row.name}' for row in rows]
    worst = min(rows, key=lambda row: row.accuracy)
    accuracy = BarChart(
        f'classes-{number}',
        f'Accuracy of each class, {run}',
        f'Top-1 accuracy of each of {len(rows)} classes. The lowest is {100 * worst.accuracy:.0f} %, of'
        f' {worst.name}.',
        'class',
        'top-1 accuracy (%)',
        names,
        {'accuracy': [100 * row.accuracy for row in rows]},
        lying=True,
    )
    exits = [row.mean_exit for row in rows]
    if any(value is None for value in exits):
        return accuracy, None
    known = [value for value in exits if value is not None]
    return accuracy, BarChart(
        f'class-exits-{number}',
        f'Mean exit of each class, {run}',
        f'Mean {step_name} after which the clips of each class leave, {min(known):.2f} to {max(known):.2f}.',
        'class',
        f'mean exit {step_name}',
        names,
        {f'mean exit {step_name}': known},
        lying=True,
    )
