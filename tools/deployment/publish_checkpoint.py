#!/usr/bin/env python
"""Write the weights of a training checkpoint, with its config and classes, to a small file of their own.

    # published/epoch_30-1a2b3c4d.pth
    python tools/deployment/publish_checkpoint.py work_dirs/RUN/STAGE/epoch_30.pth published/
    # published/NAME-1a2b3c4d.pth
    python tools/deployment/publish_checkpoint.py work_dirs/RUN/STAGE/epoch_30.pth published/NAME.pth

The name ends with the first 8 digits of the file's SHA-256. Optimizer, schedules, logs and states of random
generators stay behind. The weights are the same to the bit: init_recognizer(None, FILE) predicts as before,
and exits.json of the training checkpoint still belongs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of a run, or its work dir')
    parser.add_argument('target', type=Path, help='folder, or a name that ends in .pth')
    parser.add_argument(
        '--ema',
        choices=['averaged', 'unaveraged'],
        help=(
            'of a run with EMAHook: the averaged weights (which the hook saves as those of the model), or'
            ' those before averaging (default: those of the model)'
        ),
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.deployment import publish_checkpoint
    from gfvideo.engine import CheckpointError, checkpoint_of

    try:
        source = Path(checkpoint_of(args.checkpoint))
        path = publish_checkpoint(source, args.target, args.ema)
    except (CheckpointError, FileNotFoundError, FileExistsError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    before, after = (file.stat().st_size / 1e6 for file in (source, path))
    print(f'{source}  {before:.2f} MB\n{path}  {after:.2f} MB')


if __name__ == '__main__':
    main()
