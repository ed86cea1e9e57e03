#!/usr/bin/env python
"""Which part of a class is mistaken, where class names have parts: the motion or the object, say.

    python tools/test.py CONFIG CHECKPOINT --dump predictions.pkl
    python tools/analysis_tools/class_parts.py predictions.pkl data/turning_camera_ssv2 \\
        --pattern 'camera (?P<direction>\\w+) while filming (?P<object>.+)'

Each group of the pattern is a part, which is right when the predicted class has the same text there as the
true one. Named groups give their names to the lines.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        'predictions', type=Path, metavar='PREDICTIONS', help='.pkl file that tools/test.py --dump wrote'
    )
    parser.add_argument(
        'dataset', type=Path, metavar='DATASET', help='the prepared dataset, whose dataset.json names classes'
    )
    parser.add_argument('--pattern', required=True, metavar='REGEX', help='found in every class name')
    return parser.parse_args(arguments)


def parts_of(classes: list[str], pattern: str) -> dict[str, list[str]]:
    """Name of a part -> its text in every class.

    Raises:
        ValueError: if the pattern is none, has no groups, or is not in the name of a class.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'--pattern {pattern!r} is no regular expression: {error}') from error
    if not compiled.groups:
        raise ValueError(f'--pattern {pattern!r} has no (groups), one for each part')
    found = [compiled.search(name) for name in classes]
    for name, match in zip(classes, found):
        if match is None:
            raise ValueError(f'--pattern {pattern!r} is not in the class name {name!r}')
    names = {number: name for name, number in compiled.groupindex.items()}
    return {
        names.get(number, f'part {number}'): [match[number] for match in found if match is not None]
        for number in range(1, compiled.groups + 1)
    }


def report(args: argparse.Namespace) -> list[str]:
    import torch

    from gfvideo.evaluation import read_predictions

    clips = read_predictions(args.predictions)
    manifest = args.dataset / 'dataset.json'
    if not manifest.is_file():
        raise ValueError(f'{manifest} is not there; name the folder that a data_prep script wrote')
    classes = json.loads(manifest.read_text())['classes']
    parts = parts_of(classes, args.pattern)
    missing = [key for key in ('gt_label', 'step_logits') if not clips or key not in clips[0]]
    if missing:
        raise ValueError(f'{args.predictions} holds no {", ".join(missing)}')
    logits = torch.stack([torch.as_tensor(clip['step_logits']).float() for clip in clips])  # (N, S+1, C)
    if logits.shape[-1] != len(classes):
        raise ValueError(
            f'{args.predictions} has {logits.shape[-1]} classes, {manifest} names {len(classes)}; is it the'
            ' dataset of this test?'
        )
    labels = [int(clip['gt_label']) for clip in clips]
    lines = [f'{len(clips)} clips; % right after each step']
    guesses = logits.argmax(-1).tolist()  # (N, S+1)
    for name, texts in {'class': list(map(str, range(len(classes)))), **parts}.items():
        right = torch.tensor(
            [[texts[guess] == texts[label] for guess in row] for row, label in zip(guesses, labels)]
        )
        lines.append(
            f'{name:<12}' + ' / '.join(f'{100 * share:5.1f}' for share in right.float().mean(0).tolist())
        )
    return lines


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    try:
        print('\n'.join(report(args)))
    except (OSError, ValueError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
