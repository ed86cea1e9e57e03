#!/usr/bin/env python
"""Prepare Kinetics-400, 600, 700 or 700-2020, a set called Mini-Kinetics, or clips in Kinetics form.

    Videos and annotations of the public copy (https://github.com/cvdfoundation/kinetics-dataset),
    the same with val; for 600 and 700-2020 with 600 or 700_2020 in the addresses:

    wget -i https://s3.amazonaws.com/kinetics/400/train/k400_train_path.txt -P k400/train
    wget https://s3.amazonaws.com/kinetics/400/annotations/{train,val,test}.csv -P k400/annotations
    python data_prep/kinetics.py --version 400 --videos k400 --annotations k400/annotations \\
        --out data/kinetics400

    mini-s3d     --annotations: train_ytid_list.txt and val_ytid_list.txt of
                 https://github.com/s9xie/Mini-Kinetics-200; --kinetics: the annotations of Kinetics-400
    mini-arnet   --annotations: mini_{train,val}_videofolder.txt and minik_classInd.txt of
                 AR-Net, AdaFuse or AdaFocus
    custom       train.csv, val.csv (label,youtube_id,time_start,time_end,split); any ids,
                 classes from the CSV

--videos holds part_N.tar.gz as downloaded, or videos at any depth: <id>_<start>_<end>.mp4 with padded times,
<id>_<start>.mp4 or <id>.mp4. Copies of Kinetics differ, so no count is an error. Everything goes on where it
stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import kinetics
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__, annotations='folder of the CSV files or lists, or one CSV with all splits', max_failed=0.25
    )
    flags.add_argument(
        '--version',
        choices=kinetics.VERSIONS,
        required=True,
        help='which set; custom: a set of your own',
    )
    flags.add_argument(
        '--kinetics', type=Path, metavar='DIR', help='annotations of Kinetics-400, for mini-s3d'
    )
    args = flags.parse_args(argv)
    if args.annotations is None and not args.recheck:
        flags.error('--annotations is needed')
    if args.kinetics is not None and args.version != 'mini-s3d':
        flags.error('--kinetics goes with --version mini-s3d alone')
    return command.prepare_with(
        flags,
        args,
        version=args.version,
        match=kinetics.match,
        deciding=('version',),
        read=lambda found: kinetics.read_listing(args.annotations, args.version, kinetics=args.kinetics),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
