#!/usr/bin/env python
"""Count the multiply-adds of a config's recognizer, by part and by step.

    python tools/analysis_tools/get_flops.py CONFIG --shape 8 240 320
    # and time it, one clip at a time
    python tools/analysis_tools/get_flops.py CONFIG --shape 8 240 320 --latency 30

Counted while the model runs, for one view of one clip, with the settings of the last stage. What other tools
call FLOPs are often these same multiply-adds; a processor's floating-point operations are twice as many.
Additions alone, normalisation, activations, pooling and resizing count 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='N',
        help=(
            'height and width of the frames in pixels, H W, or one number for both; before them, if wanted,'
            ' the frames of a view, T H W (default: what the test pipeline makes)'
        ),
    )
    parser.add_argument(
        '--latency',
        type=int,
        default=0,
        metavar='RUNS',
        help='also time so many runs of one clip on this machine (default: none)',
    )
    parser.add_argument(
        '--runtime',
        choices=['auto', 'eager', 'onnxruntime', 'compile'],
        default='eager',
        help='what computes the looks that are timed (default: %(default)s; see docs/performance.md)',
    )
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='settings of the config to change, e.g. model.patch_size=96',
    )
    args = parser.parse_args(arguments)
    if args.shape is not None:
        given = f'--shape {" ".join(map(str, args.shape))}'
        if min(args.shape) < 1:
            parser.error(f'{given}: give positive numbers')
        if len(args.shape) > 3:
            parser.error(f'{given}: give H W or T H W; colours are three, and one clip is counted')
    return args


def shape_of_views(cfg: Config, given: Sequence[int] = ()) -> tuple[int, int, int]:
    """(T, H, W) of a view: what is given, and the rest as the test pipeline makes it of a video.

    Args:
        cfg: whose test pipeline is read.
        given: nothing, one number for H and W, (H, W) or (T, H, W).

    Raises:
        ValueError: if the pipeline does not say how many frames it takes, or leaves them at a size that
            depends on the video.
    """
    if len(given) == 3:
        return tuple(given)
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    pipeline = [step for step in dataset.get('pipeline', ()) if isinstance(step, dict)]
    counts = [
        step.get('num_frames') or step.get('frames') or 8
        for step in pipeline
        if step['type'] == 'SampleFrames'
    ]
    sizes = [step['size'] for step in pipeline if 'size' in step]
    if not counts or not (sizes or given):
        missing = 'how large its frames are' if counts else 'how many frames it takes'
        raise ValueError(f'the test pipeline does not say {missing}; give --shape T H W')
    size = given or sizes[-1]
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    return counts[-1], height, width


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns: names to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        '  '.join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    ]
    return '\n'.join([lines[0], '  '.join('-' * width for width in widths), *lines[1:]])


def giga(multiply_adds: int) -> str:
    return f'{multiply_adds / 1e9:.4f}'


def report(cost: dict[str, Any], shape: Sequence[int], parameters: int) -> str:
    """The tables that are printed."""
    frames, height, width = shape
    names = list(cost['by_step'][0])
    # heads that learn alone, and the rest if there is none
    names = [name for name in names if any(step[name] for step in cost['by_step'])]
    by_step = [
        [
            f'step {i}' if len(cost['by_step']) > 1 else 'all',
            *(giga(step[name]) for name in names),
            giga(sum(step.values())),
            giga(after),
        ]
        for i, (step, after) in enumerate(zip(cost['by_step'], cost['steps']))
    ]
    by_part = [
        *([name, giga(value)] for name, value in cost['parts'].items() if value),
        ['whole', giga(cost['steps'][-1])],
    ]
    return '\n\n'.join(
        [
            (
                f'Multiply-adds in GMACs (10^9) for one view of {frames} frames of {height}x{width};'
                f' {parameters / 1e6:.2f} M parameters'
            ),
            table(['one run of', 'GMACs'], by_part),
            table(['GMACs', *names, 'step alone', 'after it'], by_step),
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.complexity import latency, recognizer_cost

    try:
        model = init_recognizer(
            args.config, device=args.device, cfg_options=args.cfg_options, runtime=args.runtime
        )
        shape = shape_of_views(model.cfg, args.shape or ())
        cost = recognizer_cost(model, (shape[0], 3, *shape[1:]))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    print(report(cost, shape, sum(parameter.numel() for parameter in model.parameters())))
    if args.latency:
        device = next(model.parameters()).device
        frames = torch.randn(1, shape[0], 3, *shape[1:], device=device)
        times = latency(model, frames, repeats=args.latency)
        print(
            f'\nms/clip at batch 1, median of {args.latency} runs on {device} by {args.runtime} with'
            f' {torch.get_num_threads()} threads: '
            + ', '.join(f'{ms:.1f} after step {step}' for step, ms in enumerate(times))
        )


if __name__ == '__main__':
    main()
