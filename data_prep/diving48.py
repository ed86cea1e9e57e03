#!/usr/bin/env python
"""Prepare Diving48, version 2 of its labels; or clips in its form.

    http://www.svcl.ucsd.edu/projects/resound/dataset.html: Diving48_rgb.tar.gz, Diving48_vocab.json,
    Diving48_V2_train.json and Diving48_V2_test.json

    python data_prep/diving48.py --videos Diving48_rgb.tar.gz --annotations DIR --out data/diving48

The test clips become the split val. Everything goes on where it stopped when the same command is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.annotations import diving48
from data_prep.common import command


def main(argv: Sequence[str] | None = None) -> int:
    flags = command.parser(__doc__, annotations='folder of the three JSON files', max_failed=0.01)
    args = flags.parse_args(argv)
    if args.annotations is None and not args.recheck:
        flags.error('--annotations is needed')
    return command.prepare_with(
        flags,
        args,
        version='v2',
        match=diving48.match,
        read=lambda found: diving48.read_listing(args.annotations),
    )


if __name__ == '__main__':
    sys.exit(command.run(main))
