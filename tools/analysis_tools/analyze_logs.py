#!/usr/bin/env python
"""Draw what trainings logged, and tell how long their epochs took.

    python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/RUN --keys loss top1 --out curves.png
    # two runs, or single logs (vis_data/scalars.json), over each other
    python tools/analysis_tools/analyze_logs.py plot_curve RUN_A RUN_B --keys top1 --legend ours theirs
    python tools/analysis_tools/analyze_logs.py cal_train_time RUN

The stages of a run follow each other on the axis of iterations.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfvideo.report.charts import LineChart
    from gfvideo.report.folder import StageLog

ROOT = Path(__file__).resolve().parents[2]
FORMS = ('.png', '.pdf', '.svg')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    tasks = parser.add_subparsers(dest='task', required=True)
    plot = tasks.add_parser('plot_curve', help='draw values over iterations')
    times = tasks.add_parser('cal_train_time', help='mean time of an iteration, slowest and fastest epoch')
    for one in (plot, times):
        one.add_argument(
            'logs', nargs='+', metavar='LOG', help='scalars.json of a stage, or the work dir of a run'
        )
    plot.add_argument(
        '--keys', nargs='+', default=['loss'], metavar='KEY', help='values to draw (default: loss)'
    )
    plot.add_argument('--title', default='', help='written over the picture')
    plot.add_argument(
        '--legend', nargs='+', metavar='NAME', help='names of the lines: one a log, or one a log and key'
    )
    plot.add_argument(
        '--out',
        type=Path,
        default=Path('curves.png'),
        metavar='FILE',
        help=f'{", ".join(FORMS)} (default: %(default)s)',
    )
    args = parser.parse_args(arguments)
    if args.task == 'plot_curve':
        lines = len(args.logs) * len(args.keys)
        if args.legend is not None and len(args.legend) not in (len(args.logs), lines):
            parser.error(
                f'--legend has {len(args.legend)} names; give one for each of {len(args.logs)} logs, or of'
                f' {lines} lines'
            )
        if args.out.suffix not in FORMS:
            parser.error(f'--out {args.out}: give a file that ends in {", ".join(FORMS)}')
    return args


def stages_of(log: str) -> list[StageLog]:
    """What a run, or one log of it, holds.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if nothing was trained in it.
    """
    import json

    from gfvideo.report.folder import StageLog, read_run

    path = Path(log)
    if path.is_dir():
        stages = read_run(path).stages
    elif path.is_file():
        train, validated = [], []
        for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # a last line that was cut off
            if isinstance(row, dict) and 'iter' in row and 'loss' in row:
                train.append(row)
            elif isinstance(row, dict) and 'loss' not in row and 'iter' not in row:
                validated.append(row | dict(iter=train[-1]['iter'] if train else 0))
        stages = [StageLog('', train, validated)]
    else:
        raise FileNotFoundError(f'no log at {log}; give a vis_data/scalars.json, or the --work-dir of a run')
    if not any(stage.train for stage in stages):
        raise ValueError(f'{log} holds no training; give a vis_data/scalars.json, or the --work-dir of a run')
    return stages


def points_of(stages: list[StageLog], key: str) -> tuple[list[int], list[float]]:
    """Iterations, counted over all stages, and the values there; of a key that both have, training's."""
    for kind in ('train', 'validated'):
        xs, ys, before = [], [], 0
        for stage in stages:
            for row in getattr(stage, kind):
                if isinstance(row.get(key), int | float):
                    xs.append(before + int(row['iter']))
                    ys.append(float(row[key]))
            before += stage.iterations
        if xs:
            return xs, ys
    return [], []


def chart_of(args: argparse.Namespace) -> LineChart:
    """The lines of all logs and keys.

    Raises:
        ValueError: if a log does not have a key.
    """
    from gfvideo.report.charts import Line, LineChart

    lines, marks = [], []
    for place, log in enumerate(args.logs):
        stages = stages_of(log)
        for number, key in enumerate(args.keys):
            xs, ys = points_of(stages, key)
            if not xs:
                known = sorted(
                    {name for one in stages for row in (*one.train, *one.validated) for name in row}
                )
                raise ValueError(f'{log} has no values of {key!r}; it has {", ".join(known)}')
            name = f'{log}: {key}' if len(args.logs) > 1 else key
            if args.legend and len(args.legend) == len(args.logs) * len(args.keys):
                name = args.legend[place * len(args.keys) + number]
            elif args.legend:
                name = f'{args.legend[place]}: {key}' if len(args.keys) > 1 else args.legend[place]
            lines.append(Line(name, xs, ys))
        if len(args.logs) == 1 and len(stages) > 1:
            before = 0
            for stage in stages:
                marks.append((before, stage.name))
                before += stage.iterations
    keys = ', '.join(args.keys)
    return LineChart('curves', args.title, keys, 'iterations', keys, lines, marks=marks)


def plot_curve(args: argparse.Namespace) -> list[str]:
    """Draw it; the lines to print."""
    import io

    from matplotlib import rc_context

    from gfvideo.files import write_atomically
    from gfvideo.report.figures import SETTINGS, draw_figure

    chart = chart_of(args)
    drawn = io.BytesIO()
    with rc_context(SETTINGS):
        figure = draw_figure(chart)
        if args.title:
            figure.axes[0].set_title(args.title)
        figure.savefig(drawn, format=args.out.suffix[1:], dpi=200)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out, drawn.getvalue())
    return [f'written to {args.out}']


def cal_train_time(args: argparse.Namespace) -> list[str]:
    """Lines about each stage of each log: mean seconds of an iteration, over all and by epoch."""
    lines = []
    for log in args.logs:
        for stage in stages_of(log):
            epochs: dict[int, list[float]] = defaultdict(list)
            for row in stage.train:
                if 'time' in row:
                    epochs[int(row.get('epoch', 1))].append(float(row['time']))
            title = f'{log}, stage {stage.name!r}' if stage.name else log
            if not epochs:
                raise ValueError(f'{title} has no time; default_hooks.timer logs it')
            means = {epoch: fmean(times) for epoch, times in epochs.items()}
            slowest, fastest = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
            lines += [
                title,
                f'  mean of {len(means)} epochs {fmean(means.values()):.4f} s/iter',
                f'  slowest epoch {slowest:<6} {means[slowest]:.4f} s/iter',
                f'  fastest epoch {fastest:<6} {means[fastest]:.4f} s/iter',
            ]
    return lines


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults

    with tell_faults():
        try:
            print('\n'.join(plot_curve(args) if args.task == 'plot_curve' else cal_train_time(args)))
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
