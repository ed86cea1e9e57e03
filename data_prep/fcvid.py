#!/usr/bin/env python
"""Prepare FCVID, the Fudan-Columbia video dataset.

    http://bigvid.fudan.edu.cn/FCVID/: the videos, on request; and the lists of AR-Net and AdaFocus:
    fcvid_{train,val}_split.txt and classInd.txt, as for ActivityNet

    python data_prep/fcvid.py --videos DIR --annotations DIR --out data/fcvid

A clip is a whole video and has all classes that it shows. Everything goes on where it stopped when the same
command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import activitynet
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__, annotations='folder of fcvid_{train,val}_split.txt and classInd.txt', max_failed=0.2
    )
    args = flags.parse_args(argv)
    if args.annotations is None:
        flags.error('--annotations is needed')
    return command.prepare_with(
        flags,
        args,
        version='1',
        match=activitynet.match,
        read=lambda found: activitynet.read_lists(args.annotations, 'fcvid'),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
