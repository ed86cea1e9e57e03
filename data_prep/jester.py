#!/usr/bin/env python
"""Prepare Jester, or clips in its form.

    https://www.qualcomm.com/developer/software/jester-dataset:
    23 parts 20bn-jester-v1-00 … -22, folders of JPEG frames, and the labels

    python data_prep/jester.py --videos DIR --annotations DIR --out data/jester

    --videos: the folder with the parts, or with the folders <id>/00001.jpg unpacked
    --annotations: the folder with jester-v1-{labels,train,validation,test}.csv,
                   or labels/{labels,train,…}.csv

The frames stay as they are (--to video transcodes them). Everything goes on where it stopped when the same
command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import twentybn
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(__doc__, annotations='folder of the CSV files', max_failed=0.01, to='original')
    flags.add_argument(
        '--label-order',
        choices=('sorted', 'file'),
        default='sorted',
        help='how classes are numbered: sorted (TSM, AdaFocus) or as in the labels file (MMAction2)',
    )
    flags.add_argument(
        '--counts',
        choices=('warn', 'assert', 'ignore'),
        default='warn',
        help='when the annotation lists another number of clips than is published (default: %(default)s)',
    )
    args = flags.parse_args(argv)
    if args.annotations is None and not args.recheck:
        flags.error('--annotations is needed')
    return command.prepare_with(
        flags,
        args,
        version='v1',
        match=twentybn.match,
        deciding=('label_order',),
        read=lambda found: twentybn.read_listing(
            args.annotations, 'jester-v1', label_order=args.label_order, counts=args.counts
        ),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
