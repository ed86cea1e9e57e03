#!/usr/bin/env python
"""Prepare pictures in folders of their classes, as clips of one frame: ImageNet, or a set of your own.

    # train/<class>/*.JPEG and val/<class>/*.JPEG
    python data_prep/images.py --videos imagenet --out data/imagenet
    # ImageNet as Kaggle has it, ILSVRC/Data/CLS-LOC, whose folder val has no classes
    python data_prep/images.py --videos ILSVRC/Data/CLS-LOC --val-list LOC_val_solution.csv \\
        --out data/imagenet
    # <class>/*.png without splits: a fifth of each class validates
    python data_prep/images.py --videos pictures --val-share 0.2 --out data/pictures

The pictures stay where they are; each is decoded once, and those that do not decode are named. Everything
goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import folder, images
from data_prep.common import command
from data_prep.common.listing import SPLITS


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__, annotations='not used: the folders are the classes', max_failed=0.01, to='original'
    )
    flags.add_argument(
        '--val-list',
        type=Path,
        metavar='FILE',
        help='classes of pictures right below the folder val: LOC_val_solution.csv, or lines "PICTURE CLASS"',
    )
    flags.add_argument('--split', choices=SPLITS, help='of class folders that do not say it')
    command.add_division(flags)
    args = flags.parse_args(argv)
    if args.annotations is not None:
        flags.error('--annotations: the folders are the classes; of a flat folder val give --val-list')
    if args.to != 'original':
        flags.error(f'--to {args.to}: pictures stay as they are; leave --to out')
    if args.val_list is not None and not args.val_list.is_file():
        flags.error(f'--val-list: {args.val_list} is not there')
    archive = next((path for path in args.videos or () if path.is_file()), None)
    if archive is not None:
        flags.error(f'--videos: {archive} is an archive; unpack it and name the folder')
    division = command.division_of(flags, args)
    return command.prepare_with(
        flags,
        args,
        version='images',
        images=True,
        match=folder.match,
        deciding=('val_list', 'split', *(command.DIVIDING if division is not None else ())),
        read=lambda found: images.read_listing(found, args.val_list, args.split, division),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
