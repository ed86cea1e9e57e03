"""The table of results: what was measured on what, by which command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation import accuracy_standard_error
from .costs import split_of, step_accuracies
from .folder import RunFolder

__all__ = ['ResultGroup', 'ResultRow', 'result_groups']


@dataclass(frozen=True)
class ResultRow:
    """One method; fractions.

    Attributes:
        name: of the method.
        top1: after each step of the table, None where this method has no answer there.
        errors: standard errors of ``top1``.
        ahead: how far the learned policy is ahead of it after the last step, and the error of that.
        gmacs, ms: mean cost of a clip; None if not measured.
    """

    name: str
    top1: list[float | None]
    errors: list[float | None]
    ahead: tuple[float, float] | None = None
    gmacs: float | None = None
    ms: float | None = None


@dataclass(frozen=True)
class ResultGroup:
    """The rows of one file.

    Attributes:
        run: its name.
        title: what was measured.
        split, clips: on which clips.
        data_hash: of the clips (content), or of the prepared dataset in a file that does not tell the other;
            '' if it tells neither.
        command: that made the numbers.
        recorded: whether the file names the command; else it was put together from what the file tells, and
            options may be missing.
        rows: one at least.
    """

    run: str
    title: str
    split: str
    clips: int
    data_hash: str
    command: str
    recorded: bool
    rows: list[ResultRow]

    @property
    def steps(self) -> int:
        """Columns of accuracies."""
        return max(len(row.top1) for row in self.rows)


def result_groups(run: RunFolder, costs: Mapping[str, Sequence[float]]) -> list[ResultGroup]:
    """All results of a run: tests, controls, curves' static networks.

    Args:
        run: what was found.
        costs: of its recognizer after each step, see :func:`~gfvideo.report.costs.step_costs`.
    """
    groups = [_of_test(run, test, costs) for test in run.tests.values()]
    groups += [_of_controls(run, path, one) for path, one in run.controls.items()]
    groups += [_of_curves(run, path, one) for path, one in run.curves.items()]
    return [group for group in groups if group.rows]


def _of_test(run: RunFolder, test: Mapping[str, Any], costs: Mapping[str, Sequence[float]]) -> ResultGroup:
    metrics, clips, exits = test['metrics'], int(test.get('clips') or 0), test.get('exits')
    rows: list[ResultRow] = []
    if exits:
        budget = exits.get('budget')
        name = 'early exit' if budget is None else f'early exit, budget {budget:g} {exits.get("unit")}'
        top1 = float(metrics['top1'])
        rows.append(_row(name, [top1], clips, gmacs=metrics.get('gmacs'), ms=metrics.get('ms')))
    else:
        accuracies = step_accuracies(metrics)
        last = len(accuracies) - 1
        prices = {unit: values for unit, values in costs.items() if len(values) == last + 1}
        if 'gmacs_step0' in metrics:
            prices['gmacs'] = [metrics[f'gmacs_step{step}'] for step in range(last + 1)]
        price = {unit: float(values[last]) for unit, values in prices.items() if accuracies}
        if accuracies:
            name = 'every look' if last else 'whole frames'
            rows.append(_row(name, accuracies, clips, price.get('gmacs'), price.get('ms')))
            if last:
                glance = {unit: float(values[0]) for unit, values in prices.items()}
                padding: list[float | None] = [None] * last
                only = _row('glance only', accuracies[:1], clips, glance.get('gmacs'), glance.get('ms'))
                rows.append(
                    ResultRow(
                        only.name, only.top1 + padding, only.errors + padding, None, only.gmacs, only.ms
                    )
                )
    return ResultGroup(
        run.name,
        'test with early exit' if exits else 'test',
        split_of(test['dataset']),
        clips,
        _data_hash(test['dataset']),
        str(test.get('command') or _test_command(run, test)),
        'command' in test,
        rows,
    )


def _row(
    name: str, top1: Sequence[float], clips: int, gmacs: float | None = None, ms: float | None = None
) -> ResultRow:
    errors = [accuracy_standard_error(value, clips) if clips else None for value in top1]
    return ResultRow(name, list(top1), errors, None, gmacs, ms)


def _test_command(run: RunFolder, test: Mapping[str, Any]) -> str:
    words = ['python', 'tools/test.py', str(test.get('config') or 'CONFIG'), str(test['checkpoint'])]
    exits = test.get('exits') or {}
    for flag, value in (
        ('--exits', exits.get('file')),
        ('--budget', exits.get('budget')),
        ('--unit', exits.get('unit') if exits.get('budget') is not None else None),
        ('--split', test['dataset'].get('split')),
        ('--fold', test['dataset'].get('fold')),
    ):
        if value is not None:
            words += [flag, str(value)]
    return shlex.join(words)


def _of_controls(run: RunFolder, path: Path, one: Mapping[str, Any]) -> ResultGroup:
    rows = []
    steps = max(len(row['top1']) for row in one['rows'])
    for row in one['rows']:
        first = steps - 1 if row.get('step') is None else int(row['step'])
        top1: list[float | None] = [None] * steps
        errors: list[float | None] = [None] * steps
        for column, (value, error) in enumerate(zip(row['top1'], row['errors']), start=first):
            top1[column], errors[column] = value, error
        last = row['ahead'][-1] if row.get('ahead') else None
        ahead = None if last is None else (float(last['mean']), float(last['error']))
        rows.append(ResultRow(str(row['name']), top1, errors, ahead, float(row['gmacs'][-1])))
    data = one['data']
    made = ['python', 'tools/analysis_tools/controls.py', str(one.get('config') or 'CONFIG')]
    made += [str(one.get('checkpoint') or '--train'), '--split', str(data.get('split'))]
    seeds = one.get('seeds')
    return ResultGroup(
        run.name,
        f'controls, means of {len(seeds)} trainings' if seeds else 'controls',
        split_of(data),
        int(one.get('clips') or 0),
        _data_hash(data),
        str(one.get('command') or shlex.join([*made, '--out', str(path)])),
        'command' in one,
        rows,
    )


def _of_curves(run: RunFolder, path: Path, one: Mapping[str, Any]) -> ResultGroup:
    """The static networks of a set of curves; its curves are drawn, not listed."""
    rows, clips = [], int(one.get('clips') or 0)
    for name, points in one['curves'].items():
        if len(points) == 1 and math.isfinite(points[0]['accuracy']):
            point = points[0]
            rows.append(_row(str(name), [point['accuracy']], clips, point.get('gmacs'), point.get('ms')))
    data = one.get('data') or {}
    made = ['python', 'tools/analysis_tools/budget_curve.py', run.config, 'CHECKPOINT']
    made += ['--fit', str(one['fit']), '--judge', str(one['judge']), '--out', str(path.parent)]
    return ResultGroup(
        run.name,
        'without exits, timed by turns',
        str(one['judge']).replace(':', ', part '),
        clips,
        _data_hash(data),
        str(one.get('command') or shlex.join(made)),
        'command' in one,
        rows,
    )


def _data_hash(data: Mapping[str, Any]) -> str:
    return str(data.get('content_hash') or data.get('manifest_hash') or '')
