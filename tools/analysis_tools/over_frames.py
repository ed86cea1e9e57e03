#!/usr/bin/env python
"""What single frames know, after each look: the answers of frames averaged in several ways, and after every
frame of the clip.

    python tools/analysis_tools/over_frames.py CONFIG CHECKPOINT --split val

A recognizer answers with the mean over the frames of a clip. Of a causal one the first frames cannot know
what takes time: whether later ones should weigh more, and how early a stream knows, this says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config of the recognizer')
    parser.add_argument('checkpoint', help='checkpoint of it, or the work dir of its run')
    parser.add_argument('--split', default='val', metavar='NAME', help='clips to look at (default: val)')
    parser.add_argument('--fold', metavar='K/N', help='only the K-th of N parts of the split, K from 0')
    parser.add_argument(
        '--last', type=int, nargs='+', default=[1, 2, 4], metavar='K', help='(default: 1 2 4)'
    )
    parser.add_argument('--batch-size', type=int, default=16, help='clips looked at a time (default: 16)')
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override config values'
    )
    args = parser.parse_args(arguments)
    if min(args.last) < 1:
        parser.error(f'--last {" ".join(map(str, args.last))}: numbers of frames, 1 or more')
    return args


def report(args: argparse.Namespace) -> list[str]:
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.evaluation import running_answers, ways_over_frames

    model = init_recognizer(args.config, args.checkpoint, args.device, args.cfg_options)
    clips = SplitPredictions(model, args.split, args.fold, args.batch_size)
    found: list[list[torch.Tensor]] = []
    with torch.no_grad():
        for frames, _ in clips.batches('looking'):
            found.append([state.logits.float().cpu() for state in model.looks(frames)])
    labels = clips.labels
    assert labels is not None  # known after a pass
    steps = [torch.cat(parts) for parts in zip(*found)]  # of each (N, T, C)

    def shares(answers: list[torch.Tensor]) -> str:
        return ' / '.join(f'{100 * (one.argmax(-1) == labels.cpu()).float().mean():5.1f}' for one in answers)

    lines = [f'{len(labels)} clips of {args.split!r}, top-1 % after each step']
    ways = [ways_over_frames(logits, args.last) for logits in steps]
    lines += [f'{name:<16}' + shares([way[name] for way in ways]) for name in ways[0]]
    lines.append('mean of the frames so far')
    running = [running_answers(logits) for logits in steps]
    for t in range(steps[0].shape[1]):
        lines.append(f'{f"  after {t + 1}":<16}' + shares([one[:, t] for one in running]))
    return lines


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.data.manifest import ManifestError
    from gfvideo.engine import CheckpointError, ConfigError

    try:
        print('\n'.join(report(args)))
    except (CheckpointError, ConfigError, FileNotFoundError, ManifestError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
