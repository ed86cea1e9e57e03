#!/usr/bin/env python
"""Prepare ActivityNet-1.3.

    http://activity-net.org/download.html: the videos v_<id>.mp4, and activity_net.v1-3.min.json; or, with the
    class numbers of AR-Net and AdaFocus, their lists: actnet_{train,val}_split.txt and classInd.txt, which
    https://github.com/mengyuest/AR-Net links to

    python data_prep/activitynet.py --videos DIR --annotations DIR --out data/activitynet

A clip is a whole video and has all classes that it shows, as AR-Net and AdaFocus have it. With --segments it
is an annotated part of a video, with its class: the video is encoded once, and training reads that part. The
lists are taken where both are there. Everything goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import activitynet
from data_prep.common import command
from data_prep.common.listing import Found, Listing


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__,
        annotations='folder of activity_net.v1-3.min.json, or of actnet_*_split.txt and classInd.txt',
        max_failed=0.2,
    )
    flags.add_argument(
        '--segments', action='store_true', help='clips are the annotated parts of the videos (needs the JSON)'
    )
    args = flags.parse_args(argv)
    if args.annotations is None:
        flags.error('--annotations is needed')

    def read(_found: Found) -> Listing:
        if not args.segments and activitynet.has_lists(args.annotations, 'actnet'):
            return activitynet.read_lists(args.annotations, 'actnet')
        return activitynet.read_annotation(args.annotations, args.segments)

    return command.prepare_with(
        flags, args, version='1.3', match=activitynet.match, deciding=('segments',), read=read
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
