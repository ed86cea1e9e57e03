#!/usr/bin/env python
"""Prepare WLASL, 2000 signs of American Sign Language, or its first 100, 300 or 1000.

    https://github.com/dxli94/WLASL: WLASL_v0.3.json (start_kit), nslt_100.json, … (code/I3D/preprocess), and
    the videos that its video_downloader.py fetches

    python data_prep/wlasl.py --videos raw_videos_mp4 --annotations DIR --version nslt_100 --out data/wlasl100

A file named by its video_id, 05237.mp4, is the clip; of a video of YouTube, named by its id, the frames that
WLASL_v0.3.json lists are cut out. Everything goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import wlasl
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(
        __doc__, annotations='folder of WLASL_v0.3.json and nslt_100.json, …', max_failed=0.5
    )
    flags.add_argument(
        '--version', choices=wlasl.VERSIONS, default='v0.3', help='which list (default: %(default)s, all)'
    )
    args = flags.parse_args(argv)
    if args.annotations is None and not args.recheck:
        flags.error('--annotations is needed')
    return command.prepare_with(
        flags,
        args,
        version=args.version,
        deciding=('version',),
        read=lambda found: wlasl.read_listing(args.annotations, args.version),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
