#!/usr/bin/env python
"""Prepare Something-Something V1 or V2, or clips in their form.

    V2: https://www.qualcomm.com/developer/software/something-something-v-2-dataset, the videos and the labels

    python data_prep/something_something.py --version v2 --videos DIR --annotations DIR \\
        --out data/something_something_v2

    --videos: the folder with 20bn-something-something-v2-00, -01, … (or the zips that hold them),
              or with <id>.webm unpacked
    --annotations: the folder with something-something-v2-{labels,train,validation,test}.json,
                   or labels/{labels,train,…}.json

    V1: the same site; 25 parts 20bn-something-something-v1-00 … -24, folders of JPEG frames

    python data_prep/something_something.py --version v1 --videos DIR --annotations DIR \\
        --out data/something_something_v1

    --annotations: the folder with something-something-v1-{labels,train,validation,test}.csv

Frames of V1 stay as they are; videos of V2 are transcoded (--to original keeps them). Everything goes on
where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import something_v2, twentybn
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__, annotations='folder of the JSON files (v2) or CSV files (v1)', max_failed=0.01, to=None
    )
    flags.add_argument('--version', choices=('v1', 'v2'), default='v2', help='(default: %(default)s)')
    flags.add_argument(
        '--label-order',
        choices=('sorted', 'file'),
        default='sorted',
        help=(
            'how v1 numbers its classes: sorted (TSM, AdaFocus, and as v2) or as in the labels file'
            ' (MMAction2)'
        ),
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
    args.to = args.to or {'v1': 'original', 'v2': 'video'}[args.version]
    if args.version == 'v2':

        def read(found):
            return something_v2.read_listing(args.annotations, counts=args.counts)

    else:

        def read(found):
            return twentybn.read_listing(
                args.annotations, 'something-something-v1', label_order=args.label_order, counts=args.counts
            )

    match = {'v1': twentybn.match, 'v2': something_v2.match}[args.version]
    return command.prepare_with(
        flags, args, version=args.version, read=read, match=match, deciding=('version', 'label_order')
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
