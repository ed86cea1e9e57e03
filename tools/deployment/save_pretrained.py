#!/usr/bin/env python
"""Write a trained recognizer to a folder in the form of model hubs, and upload it if asked to.

    python tools/deployment/save_pretrained.py work_dirs/RUN my-model \\
        --exits exits.json --results work_dirs/RUN/test/test_results.json
    python tools/deployment/save_pretrained.py work_dirs/RUN my-model --push owner/name

The folder holds config.json, model.safetensors, exits.json if there are any, and a card (README.md) of the
given results. gfvideo.from_pretrained('my-model') reads it, and so do the tools where they take a checkpoint.
Needs the extra hub: pip install "gfvideo[hub]".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('checkpoint', help="a checkpoint, or a run's folder")
    parser.add_argument('folder', type=Path, help='where it is written; made if it is not there')
    parser.add_argument('--exits', help='exits.json of tools/calibrate.py on this checkpoint')
    parser.add_argument(
        '--results',
        nargs='+',
        default=[],
        metavar='FILE',
        help='test_results.json of tools/test.py on this checkpoint, for the card',
    )
    parser.add_argument('--name', help="what the card calls it (default: the folder's name)")
    parser.add_argument('--license', help='of the weights, for the card, e.g. apache-2.0')
    parser.add_argument(
        '--custom-imports',
        nargs='*',
        default=[],
        metavar='MODULE',
        help='modules that register parts of your own',
    )
    parser.add_argument('--push', metavar='OWNER/NAME', help='upload the same to this repository of the hub')
    parser.add_argument('--private', action='store_true', help='with --push: a new repository is private')
    args = parser.parse_args(arguments)
    if args.private and not args.push:
        parser.error('--private is about a repository; give --push OWNER/NAME too')
    return args


def save(args: argparse.Namespace) -> None:
    """Write the folder, and upload the same where that is asked for."""
    from gfvideo.apis import init_recognizer
    from gfvideo.engine import checkpoint_of

    model = init_recognizer(None, checkpoint_of(args.checkpoint), custom_imports=args.custom_imports)
    told = dict(exits=args.exits, results=args.results, name=args.name, license=args.license)
    folder = model.save_pretrained(args.folder, **told)
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        print(f'{file}  {file.stat().st_size / 1e6:.2f} MB')
    if args.push:
        if args.name is None:
            del told['name']
        print(model.push_to_hub(args.push, private=args.private or None, **told))


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults
    from gfvideo.hub import CardError

    try:
        with tell_faults():
            save(args)
    except (CardError, ImportError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
