#!/usr/bin/env python
"""How often a value map could hit the objects at all, if it were taught where they are.

    python tools/analysis_tools/findable.py CONFIG objects.csv --epochs 6

A map that misses may see too little at a glance, or have too weak a teacher.
Here a fresh map of the config's own form is taught the places, which training
never sees, by the clips of one split, and looks once at those of another, on
the CPU. Compare its hits with those of the trained policy that controls.py
tells. --samples 64 tells it nearly everything about every frame; --samples 2 as
much as two random looks of a training epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config with a ValueMapPolicy')
    parser.add_argument('objects', type=Path, metavar='OBJECTS', help='table of the objects, see controls.py')
    parser.add_argument(
        '--checkpoint', help='whose glance encoder the map reads (default: as it is before training)'
    )
    parser.add_argument('--teach', default='train', metavar='SPLIT', help='clips to learn from (train)')
    parser.add_argument('--split', default='val', metavar='SPLIT', help='clips to look at (val)')
    parser.add_argument('--epochs', type=int, default=6, metavar='N', help='default: 6')
    parser.add_argument('--samples', type=int, default=64, metavar='N', help='places a frame and epoch (64)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='default: 0')
    parser.add_argument('--out', type=Path, metavar='JSON', help='write the shares there')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='changes to the config'
    )
    args = parser.parse_args(arguments)
    for name in ('epochs', 'samples'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} {getattr(args, name)} must be 1 or more')
    return args


def teach(args: argparse.Namespace) -> list[dict[str, float]]:
    """A row an epoch, printed as it is known.

    Raises:
        ValueError: if the config's policy is no value map, or the table does not fit the clips.
    """
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.evaluation import found_share, glances_of, read_objects, teach_places
    from gfvideo.models import ValueMapPolicy

    torch.manual_seed(args.seed)
    untrained = init_recognizer(args.config, None, 'cpu', args.cfg_options)
    policy = getattr(untrained, 'policy', None)
    if not isinstance(policy, ValueMapPolicy):
        raise ValueError(f'{args.config} has no ValueMapPolicy; only a map of values can be taught places')
    policy.chosen_by = 'alone'  # the value that is taught here
    model = untrained
    if args.checkpoint:
        model = init_recognizer(args.config, args.checkpoint, 'cpu', args.cfg_options)
    objects = read_objects(args.objects)
    seen = {
        split: glances_of(model, SplitPredictions(model, split).batches(f'glances of {split}'), objects)
        for split in (args.teach, args.split)
    }
    rows = []
    for epoch, loss in enumerate(teach_places(policy, seen[args.teach], args.epochs, args.samples), 1):
        share, luck = found_share(policy, seen[args.split])
        rows.append(dict(epoch=epoch, loss=loss, hits=share, luck=luck))
        print(
            f'epoch {epoch} of {args.epochs}: loss {loss:.4f}; first patches that hold an object'
            f' {100 * share:.1f} %, random ones {100 * luck:.1f} %',
            flush=True,
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults
    from gfvideo.files import write_atomically

    with tell_faults():
        try:
            rows = teach(args)
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.out, json.dumps(rows, indent=1).encode())


if __name__ == '__main__':
    main()
