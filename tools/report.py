#!/usr/bin/env python
"""Show a run, or several side by side, in one HTML file that needs no network.

    python tools/report.py work_dirs/my_run --out report.html
    python tools/report.py runs/glance_focus runs/tsm --names 'glance and focus' TSM --figures figures

A RUN is the --work-dir of tools/train.py. Whatever tools wrote below it is shown, by whatever name: results
of tools/test.py and its --dump, exits.json of tools/calibrate.py, --out of controls.py and budget_curve.py.
Of what is missing the page names the command that makes it. docs/report.md tells more.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a run')
    parser.add_argument(
        '--out', type=Path, default=Path('report.html'), metavar='FILE', help='default: report.html'
    )
    parser.add_argument('--title', default='', help='of the page (default: the names of the runs)')
    parser.add_argument('--names', nargs='+', metavar='NAME', help='of the runs (default: of their folders)')
    parser.add_argument(
        '--clips',
        type=int,
        default=300,
        metavar='N',
        help='most clips to look at, evenly spread over the test; 0 for none (default: 300)',
    )
    parser.add_argument('--figures', type=Path, metavar='DIR', help='write the charts as .pdf and .svg, too')
    parser.add_argument(
        '--custom-imports',
        nargs='+',
        metavar='MODULE',
        default=[],
        help='modules of your own to import, whose parts a checkpoint may name',
    )
    args = parser.parse_args(arguments)
    if args.clips < 0:
        parser.error(f'--clips {args.clips}: show none at least')
    args.command = shlex.join(
        ['python', 'tools/report.py', *map(str, sys.argv[1:] if arguments is None else arguments)]
    )
    return args


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults
    from gfvideo.report import write_report

    with tell_faults():
        try:
            out = write_report(
                args.runs,
                args.out,
                title=args.title,
                names=args.names,
                clips=args.clips,
                figures=args.figures,
                custom_imports=args.custom_imports,
                command=args.command,
            )
        except (ImportError, FileNotFoundError, ValueError) as error:
            sys.exit(f'{type(error).__name__}: {error}')
    print(f'written to {out}, {out.stat().st_size / 1e6:.1f} MB')
    if args.figures is not None:
        print(f'figures in {args.figures}')


if __name__ == '__main__':
    main()
