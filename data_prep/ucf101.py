#!/usr/bin/env python
"""Prepare UCF101, one of its three official splits; or clips in its form.

    https://www.crcv.ucf.edu/data/UCF101.php: UCF101.rar, unpacked, and
    UCF101TrainTestSplits-RecognitionTask.zip, the folder ucfTrainTestlist

    python data_prep/ucf101.py --videos UCF-101 --annotations ucfTrainTestlist --official-split 1 \\
        --out data/ucf101

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
        annotations='the folder ucfTrainTestlist: classInd.txt, trainlist01.txt, testlist01.txt, …',
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
        read=lambda found: official_splits.read_ucf101(args.annotations, args.official_split),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
