#!/usr/bin/env python
"""Export a recognizer as ONNX graphs, one for each step, checked against torch, with export.json beside them.

    python tools/deployment/export_onnx.py CHECKPOINT OUT_DIR
    python tools/deployment/export_onnx.py CONFIG CHECKPOINT OUT_DIR --frames 8 --frame-size 224 224

The checkpoint carries its config; a config in front of it takes its place. T, H and W are those of the test
pipeline unless given. Needs the extra onnx: pip install "gfvideo[onnx]".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import DictAction

if TYPE_CHECKING:
    from gfvideo.deployment import ExportRecord

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(
        usage='%(prog)s [CONFIG] CHECKPOINT OUT_DIR [options]',
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='PATH',
        help=(
            'a config if the one in the checkpoint is not wanted; the checkpoint, or the work dir of its run;'
            ' the folder for the graphs'
        ),
    )
    parser.add_argument(
        '--frames', type=int, metavar='T', help='frames of a clip (default: as the test pipeline makes them)'
    )
    parser.add_argument(
        '--frame-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='height and width of the frames in pixels (default: as the test pipeline makes them)',
    )
    parser.add_argument(
        '--opset',
        type=int,
        default=18,
        metavar='N',
        help="version of ONNX's operators (default: %(default)s)",
    )
    parser.add_argument(
        '--whole-frame',
        action='store_true',
        help='of a causal network also write frame.onnx, which takes all looks in one call',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='settings of the config to change, e.g. model.test_centres=centre',
    )
    parser.add_argument(
        '--custom-imports',
        nargs='+',
        metavar='MODULE',
        default=[],
        help='modules of your own to import, whose parts the checkpoint may name',
    )
    args = parser.parse_args(arguments)
    if len(args.paths) not in (2, 3):
        parser.error(f'give [CONFIG] CHECKPOINT OUT_DIR, not {len(args.paths)} paths')
    *config, args.checkpoint, args.folder = args.paths
    args.config = config[0] if config else None
    if min([args.frames or 1, *(args.frame_size or [1])]) < 1:
        parser.error('give positive numbers')
    return args


def report(record: ExportRecord) -> str:
    """A line a step: the graph, its size, what it takes and how far it is from torch."""
    rows = [('step', 'graph', 'MB', 'clip logits from torch', 'worst output from torch', 'inputs')]
    for step, graph in enumerate(record.graphs):
        worst = max(graph.differences, key=graph.differences.get)
        rows.append(
            (
                str(step),
                graph.file,
                f'{graph.bytes / 1e6:.2f}',
                f'{graph.differences["clip_logits"]:.1e}',
                f'{graph.differences[worst]:.1e} ({worst})',
                ' '.join(graph.inputs),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    height, width = record.frame_size
    return '\n'.join(
        [
            (
                f'clips of {record.num_frames} frames of {height}x{width}, any number of them; opset'
                f' {record.opset}; differences as a share of the largest value'
            ),
            *('  '.join(cell.ljust(n) for cell, n in zip(row, widths)).rstrip() for row in rows),
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.apis import init_recognizer
    from gfvideo.deployment import ExportError, export_recognizer
    from gfvideo.engine import CheckpointError, ConfigError

    try:
        model = init_recognizer(
            args.config,
            args.checkpoint,
            cfg_options=args.cfg_options,
            custom_imports=args.custom_imports,
        )
        record = export_recognizer(
            model,
            args.folder,
            args.frames,
            None if args.frame_size is None else tuple(args.frame_size),
            args.opset,
            args.whole_frame,
        )
    except (CheckpointError, ConfigError, ExportError, ImportError, OSError, ValueError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    print(report(record))
    print(f'written to {args.folder}')


if __name__ == '__main__':
    main()
