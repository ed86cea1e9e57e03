#!/usr/bin/env python
"""Prepare HMDB51, one of its three official splits; or clips in its form.

    https://serre.lab.brown.edu/hmdb51.html: hmdb51_org.rar with a rar file for each class in it, both
    unpacked, and test_train_splits.rar, the folder testTrainMulti_7030_splits

    python data_prep/hmdb51.py --videos hmdb51_org --annotations testTrainMulti_7030_splits \\
        --official-split 1 --out data/hmdb51

The test clips of the split become the split val. Everything goes on where it stopped when the same command is
run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import folder, official_splits
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__,
        annotations='the folder testTrainMulti_7030_splits: <class>_test_split1.txt, …',
        max_failed=0.01,
    )
    flags.add_argument(
        '--official-split',
        type=int,
        choices=official_splits.OFFICIAL_SPLITS,
        default=1,
        help='which of the three; results are their mean (default: %(default)s)',
    )
    args = flags.parse_args(argv)
    if args.annotations is None and not args.recheck:
        flags.error('--annotations is needed')
    return command.prepare_with(
        flags,
        args,
        version=f'split {args.official_split}',
        match=folder.match,
        deciding=('official_split',),
        read=lambda found: official_splits.read_hmdb51(args.annotations, args.official_split),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
