#!/usr/bin/env python
"""Prepare EPIC-KITCHENS-100: clips are cut out of its videos, or of its folders of frames.

    https://github.com/epic-kitchens/epic-kitchens-100-annotations: EPIC_100_train.csv,
    EPIC_100_validation.csv, EPIC_100_test_timestamps.csv, EPIC_100_verb_classes.csv,
    EPIC_100_noun_classes.csv; https://github.com/epic-kitchens/epic-kitchens-download-scripts: the videos
    P01/videos/P01_01.MP4, or P01/rgb_frames/P01_01.tar, unpacked in folders P01_01

    python data_prep/epic_kitchens.py --videos EPIC-KITCHENS --annotations DIR --label verb \\
        --out data/epic_kitchens_verb

Everything goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import epic_kitchens
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(__doc__, annotations='folder of the CSV files', max_failed=0.05)
    flags.add_argument(
        '--label',
        choices=epic_kitchens.LABELS,
        default='verb',
        help='what is the class; action: a pair of verb and noun (default: %(default)s)',
    )
    args = flags.parse_args(argv)
    if args.annotations is None and not args.recheck:
        flags.error('--annotations is needed')
    return command.prepare_with(
        flags,
        args,
        version=args.label,
        deciding=('label',),
        read=lambda found: epic_kitchens.read_listing(args.annotations, args.label),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
