#!/usr/bin/env python
"""Prepare any folder of videos, or of folders of frames.

    # class folders, DIR/<split>/<class>/<clip>
    python data_prep/folder.py --videos DIR --out data/mine
    # DIR/<class>/<clip>
    python data_prep/folder.py --videos DIR --out data/mine --split train
    # the same, divided: a fifth of each class validates; clips of one subject (s07_run.mp4) stay together
    python data_prep/folder.py --videos DIR --out data/mine --val-share 0.2 --group '/([^/_]+)_'
    # lists train.txt, val.txt, test.txt (or train_videofolder.txt, …), one clip a line
    python data_prep/folder.py --videos DIR --annotations DIR --form path_label --out data/mine
    # a CSV with columns path,label[,split] in any order
    python data_prep/folder.py --videos DIR --annotations clips.csv --form csv --out data/mine
    # metadata.csv or metadata.jsonl of Hugging Face, in DIR or DIR/train, …
    python data_prep/folder.py --videos DIR --annotations DIR --form huggingface --out data/mine

Labels are numbers or names. A class list (category.txt, classes.txt) beside the lists gives the order;
otherwise names are sorted. Everything goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import folder
from data_prep.common import command
from data_prep.common.listing import SPLITS


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__,
        annotations='folder of the lists, or one list or CSV; without it, the folders are the classes',
        max_failed=0.05,
    )
    flags.add_argument(
        '--form',
        choices=folder.FORMS,
        help=(
            'of the lists: path label (path_label, mmaction2_video), folder frames label '
            '(mmaction2_frames, tsm), csv, or metadata of Hugging Face (huggingface)'
        ),
    )
    flags.add_argument('--split', choices=SPLITS, help='of class folders or of a list that do not say it')
    command.add_division(flags)
    flags.add_argument('--classes', type=Path, metavar='FILE', help='class names in label order, one a line')
    args = flags.parse_args(argv)
    if (args.annotations is None) != (args.form is None):
        flags.error('--annotations and --form go together')
    if args.classes is not None and args.annotations is None:
        flags.error('--classes goes with --annotations; without them the folders name the classes')
    several = args.annotations is not None and args.annotations.is_dir() and args.form != 'huggingface'
    if args.split is not None and several:
        flags.error(
            '--split goes with class folders or with one list; the names of several lists tell their splits'
        )
    division = command.division_of(flags, args)

    def read(found):
        if args.annotations is None:
            return folder.read_folders(found, args.split, division)
        return folder.read_listing(args.annotations, args.form, classes=args.classes, split=args.split)

    return command.prepare_with(
        flags,
        args,
        version=args.form or 'folders',
        read=read,
        match=folder.match,
        deciding=('form', 'split', *(command.DIVIDING if division is not None else ())),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
