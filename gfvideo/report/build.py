"""From folders of runs to the page: what there is, what is missing, and by which command it would come."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..data.readers import VideoError
from ..files import write_atomically
from .answers import ClipAnswers, answers_of, class_rows
from .charts import Chart
from .costs import CostCurve, cost_curves, ratio_to, step_accuracies, step_costs, without_copies
from .drawn import class_chart, confusion_chart, cost_chart, exit_chart, training_charts
from .figures import write_figures
from .folder import RunFolder, read_run
from .gallery import Gallery, Trained, trained_of
from .page import ClassTable, Figures, RatioRow, percent, plotly_script, render_page
from .results import ResultGroup, result_groups

__all__ = ['Parts', 'gather', 'write_report']

MOST_BYTES = 19_000_000
"""Of the whole page."""
REST = 1_500_000
"""Bytes kept for all but plotly.js and the pictures."""

Missing = tuple[str, str, str]


@dataclass
class Parts:
    """All that the page shows.

    Attributes:
        runs: what was found.
        answers, trained: of each run, None where it has none.
        groups: of the table of results.
        curves: accuracy against cost, of all runs.
        ratios: beside static networks.
        costs, training, exits: charts.
        classes: of each run with predictions.
        missing: section -> what is not there.
    """

    runs: list[RunFolder]
    answers: list[ClipAnswers | None] = field(default_factory=list)
    trained: list[Trained | None] = field(default_factory=list)
    groups: list[ResultGroup] = field(default_factory=list)
    curves: list[CostCurve] = field(default_factory=list)
    ratios: list[RatioRow] = field(default_factory=list)
    costs: Figures = Figures(())
    training: Figures = Figures(())
    exits: Figures = Figures(())
    classes: list[ClassTable] = field(default_factory=list)
    missing: dict[str, list[Missing]] = field(default_factory=dict)

    @property
    def charts(self) -> list[Chart]:
        """Every chart of the page."""
        of_classes = [chart for table in self.classes for chart in table.charts]
        return [*self.costs.charts, *self.training.charts, *self.exits.charts, *of_classes]


def write_report(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    title: str = '',
    names: Sequence[str] | None = None,
    clips: int = 300,
    figures: str | Path | None = None,
    custom_imports: Sequence[str] = (),
    command: str = '',
) -> Path:
    """Write the page.

    Args:
        folders: of runs, see :func:`~gfvideo.report.folder.read_run`.
        out: the HTML file.
        title: of the page; '' makes one of the runs' names.
        names: of the runs, in order; None for those of their folders.
        clips: most clips in the gallery, evenly spread over a test; 0 for none.
        figures: folder for the charts as PDF and SVG; None for none.
        custom_imports: modules of your own whose parts a checkpoint may name.
        command: that made the page, shown in it.

    Returns:
        ``out``.

    Raises:
        ImportError: if plotly or jinja2 is not installed.
        FileNotFoundError, ValueError: if a folder holds no run, or two runs have one name.
    """
    script = plotly_script()  # says at once that it is missing
    parts = gather(folders, names, custom_imports)
    gallery = Gallery(clips, MOST_BYTES - REST - len(script.encode()))
    shown = [
        (run, answers, trained)
        for run, answers, trained in zip(parts.runs, parts.answers, parts.trained)
        if answers is not None and clips > 0
    ]
    for number, (run, answers, trained) in enumerate(shown):
        gallery.add(run, answers, trained, len(shown) - number)
    page = render_page(
        title or ' and '.join(run.name for run in parts.runs),
        [
            dict(
                name=run.name,
                folder=str(run.folder),
                facts=facts_of(run),
                headline=headline_of(run, parts.groups),
            )
            for run in parts.runs
        ],
        parts.groups,
        parts.costs,
        parts.ratios,
        parts.training,
        parts.exits,
        parts.classes,
        {name: parts.missing.get(name, []) for name in ('results', 'classes', 'clips')},
        dict(runs=gallery.runs, videos=gallery.videos),
        [fault for run in parts.runs for fault in run.faults],
        command,
    )
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page.encode())
    if figures is not None:
        write_figures(parts.charts, figures)
    return out


def gather(
    folders: Sequence[str | Path], names: Sequence[str] | None = None, custom_imports: Sequence[str] = ()
) -> Parts:
    """Read the runs and work out all that is shown but the pictures of clips.

    Args:
        folders, names, custom_imports: as of :func:`write_report`.

    Raises:
        FileNotFoundError, ValueError: as of :func:`write_report`.
    """
    parts = Parts(_read_all(folders, names))
    for run in parts.runs:
        answers, trained = answers_of(run), trained_of(run, custom_imports)
        parts.answers.append(answers)
        parts.trained.append(trained)
        costs = step_costs(run, _counted(answers, trained))
        parts.groups += result_groups(run, costs)
        parts.curves += cost_curves(run, answers, costs)
        if answers is not None:
            parts.classes.append(_classes(run, len(parts.classes), answers, trained))
    # controls last: colours repeat after seven lines
    parts.curves = sorted(without_copies(parts.curves), key=lambda curve: curve.control)
    parts.ratios = ratio_rows(parts.curves, several=len(parts.runs) > 1)
    drawn = [cost_chart(parts.curves, unit) for unit in ('gmacs', 'ms')]
    by_level = [exit_chart(parts.runs, level) for level in ('step', 'frame')]
    parts.missing = _missing(parts)
    for section, charts in (
        ('costs', [chart for chart in drawn if chart is not None]),
        ('training', training_charts(parts.runs)),
        ('exits', [chart for chart in by_level if chart is not None]),
    ):
        setattr(parts, section, Figures(charts, parts.missing[section]))
    return parts


def _read_all(folders: Sequence[str | Path], names: Sequence[str] | None) -> list[RunFolder]:
    if names is not None and len(names) != len(folders):
        raise ValueError(f'{len(names)} names {list(names)} for {len(folders)} runs: give one for each')
    runs = [read_run(folder, None if names is None else names[n]) for n, folder in enumerate(folders)]
    called = [run.name for run in runs]
    if len(set(called)) < len(called) and names is None:  # two folders of one name: with those above
        for run in runs:
            run.name = '/'.join(run.folder.resolve().parts[-2:])
        called = [run.name for run in runs]
    if len(set(called)) < len(called):
        raise ValueError(f'runs are called {", ".join(called)}; give each a name of its own (--names)')
    return runs


def _counted(answers: ClipAnswers | None, trained: Trained | None) -> list[float] | None:
    """GMACs of a clip after each step, by the frames of the first one; None if it is gone."""
    if answers is None or trained is None:
        return None
    try:
        return trained.gmacs(trained.frames(answers.clips[0]))
    except (VideoError, OSError, ValueError, KeyError):
        return None


def _classes(run: RunFolder, number: int, answers: ClipAnswers, trained: Trained | None) -> ClassTable:
    count = answers.step_logits.shape[2]
    named = trained is not None and len(trained.classes) == count
    classes = trained.classes if named and trained is not None else [f'class {n}' for n in range(count)]
    exit_name = '' if answers.exits is None else 'frame' if answers.streamed else 'step'
    rows = class_rows(answers, classes)
    accuracy, exits = class_chart(run.name, number, rows, exit_name or 'step')
    charts: list[Chart] = [confusion_chart(run.name, number, answers, classes), accuracy]
    charts += [] if exits is None else [exits]
    note = f'{len(answers.labels)} clips of {answers.file}'
    if exit_name:
        first = 'glance' if exit_name == 'step' else 'first frame'
        note += f'; exits {answers.exits_from}, counted from 0, the {first}'
    return ClassTable(run.name, exit_name, note, rows, charts)


def facts_of(run: RunFolder) -> list[tuple[str, str]]:
    """(what, value) that identify a run."""
    facts = [
        ('stages', ', '.join(f'{one.name or "none"} ({one.iterations} iterations)' for one in run.stages))
    ]
    seeds = {str(test['seed']) for test in run.tests.values() if test.get('seed') is not None}
    data = {str(test['dataset'].get('name')) for test in run.tests.values()}
    facts += [('seed', ', '.join(sorted(seeds))), ('data', ', '.join(sorted(data)))]
    facts.append(('checkpoint', str(run.checkpoint or '')))
    return [(name, value) for name, value in facts if value]


def headline_of(run: RunFolder, groups: Sequence[ResultGroup]) -> tuple[str, str] | None:
    """Accuracy of a run's first test, and what it is of; None if it was not tested."""
    of_run = [group for group in groups if group.run == run.name]
    if not of_run:
        return None
    row = of_run[0].rows[0]
    known = [value for value in row.top1 if value is not None]
    cost = '' if row.gmacs is None else f', {row.gmacs:.3g} GMACs a clip'
    return f'{percent(known[-1])} %', f'top-1 on {of_run[0].split}, {row.name}{cost}'


# ------------------------------------------------------------------------------------------ static networks


def ratio_rows(curves: Sequence[CostCurve], several: bool) -> list[RatioRow]:
    """Every method but controls beside every static network that was judged on the same split, in words.

    Args:
        curves: of all runs.
        several: whether the names of runs are told.
    """
    rows = []
    for static in (curve for curve in curves if curve.static):
        for curve in curves:
            found = {unit: ratio_to(static, curve, unit) for unit in ('gmacs', 'ms')}
            if curve.static or curve.control or curve.fitted_here or not any(found.values()):
                continue
            beside, method = (f'{one.run}: {one.name}' if several else one.name for one in (static, curve))
            best = next(ratio for ratio in found.values() if ratio is not None)
            prices = [
                f'{100 * ratio.share:.0f} % of its {name}'
                for ratio, name in zip(found.values(), ('GMACs', 'time'))
                if ratio is not None
            ]
            price = ' and '.join(prices)
            if best.behind:
                said = (
                    f'at best {percent(best.accuracy)} %, {100 * best.behind:.1f} points below'
                    f' {percent(static.accuracies[0])} %, at {price}'
                )
            else:
                said = (
                    f'{percent(best.accuracy)} %, no less than {percent(static.accuracies[0])} %, at {price}'
                )
            gmacs, ms = ('' if one is None else f'{100 * one.share:.0f}' for one in found.values())
            rows.append(RatioRow(beside, method, said, gmacs, ms))
    return rows


# -------------------------------------------------------------------------------------------- what is missing


SECTIONS = ('results', 'costs', 'training', 'exits', 'classes', 'clips')


def _missing(parts: Parts) -> dict[str, list[Missing]]:
    """(run, what is not there, the command that would make it), by section."""
    told: dict[str, list[Missing]] = {section: [] for section in SECTIONS}
    for run, answers in zip(parts.runs, parts.answers):
        timed = any('ms' in curve.costs for curve in parts.curves if curve.run == run.name)
        for section, what, words in _missing_of(run, answers, timed):
            told[section].append((run.name, what, shlex.join(['python', *words])))
    if not any(curve.static for curve in parts.curves):
        run = parts.runs[0]
        words = ['tools/analysis_tools/budget_curve.py', run.config, str(run.checkpoint or 'CHECKPOINT')]
        words += ['--fit', 'val', '--judge', 'test', '--static', 'STATIC_CONFIG=STATIC_CHECKPOINT']
        words += ['--out', str(run.folder / 'curves')]
        what = 'No static network to compare with. Give its run beside this one, or measure both by turns.'
        told['costs'].append((run.name, what, shlex.join(['python', *words])))
    return told


def _missing_of(
    run: RunFolder, answers: ClipAnswers | None, timed: bool
) -> Iterator[tuple[str, str, list[str]]]:
    """(section, what a run lacks, words of the command) in the order in which one would run them."""
    network = [run.config, str(run.checkpoint or 'CHECKPOINT')]

    def place(*names: str) -> str:
        return str(run.folder.joinpath(*names))

    test = [
        'tools/test.py',
        *network,
        '--work-dir',
        place('test'),
        '--dump',
        place('test', 'predictions.pkl'),
    ]
    calibrate = ['tools/calibrate.py', *network, '--split', 'val', '--out', place('exits.json')]
    controls = [
        'tools/analysis_tools/controls.py',
        *network,
        '--split',
        'test',
        '--out',
        place('controls.json'),
    ]
    if not run.stages:
        yield 'training', 'No log of its training.', ['tools/train.py', run.config, '--work-dir', place()]
    if not run.tests:
        yield 'results', 'Not tested.', test
    if answers is None:
        yield 'classes', 'No predictions of every step, so no confusion matrix.', test
        yield 'clips', 'No predictions of every step, so no clips.', test
    if not timed:
        yield 'costs', 'No measured time.', calibrate
    if _is_static(run, answers):
        return
    if not run.controls:
        yield 'results', 'No controls (random, centre, oracle, top-k).', controls
    if not run.exits:
        yield 'exits', 'No exits were fitted.', calibrate
    elif not any(one.get('exits') for one in run.tests.values()):
        exits = ['--exits', str(next(iter(run.exits))), '--work-dir', place('test_exits')]
        yield 'exits', 'Exits were fitted, but not tested.', ['tools/test.py', *network, *exits]


def _is_static(run: RunFolder, answers: ClipAnswers | None) -> bool:
    """Whether all that is known of a run's network is that it answers once."""
    steps = [len(step_accuracies(test['metrics'])) for test in run.tests.values() if not test.get('exits')]
    steps += [] if answers is None else [answers.step_logits.shape[1]]
    return bool(steps) and max(steps) == 1
