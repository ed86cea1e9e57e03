#!/usr/bin/env python
"""How well what a value map is taught of looks tells those that hold an object from the others.

    python tools/analysis_tools/hit_signals.py CONFIG CHECKPOINT objects.csv

A value map learns from random looks: what a look added to the probability of
the true class (gain), what it tells by itself (alone), how far it moved the
logits (change). Which of them is about the place? Looks at random places are
compared with a table of where the objects are, which training never sees: means
of hits and misses, the correlation with being a hit, and how often a hit's
number is larger than a miss's (auc, 0.5 is luck). A teacher with half of the
correlation needs four times as many looks.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config of a glance-and-focus network that looks in every frame')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('objects', type=Path, metavar='OBJECTS', help='table of the objects, see controls.py')
    parser.add_argument('--split', default='val', metavar='SPLIT', help='clips to look at (val)')
    parser.add_argument('--looks', type=int, default=4, metavar='N', help='random looks at a frame (4)')
    parser.add_argument('--batches', type=int, metavar='N', help='stop after so many batches (default: all)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='default: 0')
    parser.add_argument('--device', default='cpu', help='cpu (the default), cuda, cuda:1')
    parser.add_argument('--out', type=Path, metavar='JSON', help='write the table there')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='changes to the config'
    )
    args = parser.parse_args(arguments)
    for name in ('looks', 'batches'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} {getattr(args, name)} must be 1 or more')
    return args


def tell(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The table, printed too.

    Raises:
        ValueError: if the network has no looks of this kind, or the table does not fit the clips.
    """
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.evaluation import read_objects, signals_of, told_apart
    from gfvideo.models import GlanceFocusRecognizer

    torch.manual_seed(args.seed)
    model = init_recognizer(args.config, args.checkpoint, args.device, args.cfg_options)
    if not isinstance(model, GlanceFocusRecognizer) or not model.steps:
        raise ValueError(f'{args.config} takes no focus steps of a GlanceFocusRecognizer; nothing to compare')
    batches = SplitPredictions(model, args.split).batches(f'looks at {args.split}')
    signals, hits = signals_of(model, islice(batches, args.batches), read_objects(args.objects), args.looks)
    rows = {name: told_apart(values, hits)._asdict() for name, values in signals.items()}
    print(f'{len(hits)} random first looks, {100 * float(hits.float().mean()):.1f} % hold an object')
    print(f'{"":8}{"hits":>8}{"misses":>8}{"correlation":>13}{"auc":>7}')
    for name, row in rows.items():
        print(f'{name:8}{row["hit"]:8.3f}{row["miss"]:8.3f}{row["correlation"]:13.3f}{row["auc"]:7.3f}')
    return rows


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults
    from gfvideo.files import write_atomically

    with tell_faults():
        try:
            rows = tell(args)
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.out, json.dumps(rows, indent=1).encode())


if __name__ == '__main__':
    main()
