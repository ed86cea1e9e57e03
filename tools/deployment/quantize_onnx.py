#!/usr/bin/env python
"""Turn an export into one whose encoders compute in 8-bit integers, and measure what that costs in accuracy.

    python tools/deployment/export_onnx.py CHECKPOINT EXPORT
    python tools/deployment/quantize_onnx.py EXPORT OUT_DIR --split val

Ranges are fitted on some clips of the split, accuracy is measured on the others, as exported and in 8 bits;
if more is lost than --largest-drop, nothing is written. What was measured stands in OUT_DIR/export.json.
Needs the extra onnx: pip install "gfvideo[onnx]".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('export', metavar='EXPORT', help='folder of tools/deployment/export_onnx.py')
    parser.add_argument('folder', metavar='OUT_DIR', help='folder for the new graphs')
    parser.add_argument('--split', required=True, metavar='NAME', help='split of the prepared dataset')
    parser.add_argument(
        '--fit', type=int, default=32, metavar='N', help='clips to fit ranges on (default: %(default)s)'
    )
    parser.add_argument(
        '--judge', type=int, metavar='N', help='clips to measure accuracy on (default: all others)'
    )
    parser.add_argument(
        '--largest-drop',
        type=float,
        default=0.5,
        metavar='POINTS',
        help='of accuracy in per cent points, beyond which nothing is written (default: %(default)s)',
    )
    parser.add_argument('--threads', type=int, help='of onnxruntime (default: a thread a core)')
    args = parser.parse_args(arguments)
    if min(args.fit, args.judge or 1, args.threads or 1) < 1:
        parser.error('give positive numbers')
    return args


def clips_of(dataset: Any, model: Any, indices: list[int]) -> Iterator[tuple[Tensor, int]]:
    """Clips ``(1, T, 3, H, W)``, normalised, with their classes."""
    from mmengine.dataset import pseudo_collate

    from gfvideo.progress import progress

    for index in progress(indices, 'clips'):
        batch = model.data_preprocessor(pseudo_collate([dataset[index]]))
        yield batch['inputs'], int(batch['data_samples'][0].gt_label)


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.deployment import OnnxRecognizer, QuantizationError, quantize_export
    from gfvideo.engine import ConfigError
    from gfvideo.engine.predictions import loader_config
    from gfvideo.registry import DATASETS

    try:
        model = OnnxRecognizer(args.export, args.threads)
        dataset = DATASETS.build(loader_config(model.cfg, args.split, None, 1)['dataset'])
        count = len(dataset)
        if count <= args.fit:
            raise ValueError(f'split {args.split!r} has {count} clips, and {args.fit} are to be fitted on')
        fitted = [i * count // args.fit for i in range(args.fit)]  # spread over the classes
        others = sorted(set(range(count)) - set(fitted))
        if args.judge:
            others = [others[i * len(others) // args.judge] for i in range(min(args.judge, len(others)))]
        fit_on = [clip for clip, _ in clips_of(dataset, model, fitted)]
        record, drop = quantize_export(
            args.export,
            args.folder,
            fit_on,
            clips_of(dataset, model, others),
            args.largest_drop / 100,
            args.threads,
        )
    except (ConfigError, QuantizationError, ImportError, OSError, ValueError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    size = sum(graph.bytes for graph in {graph.file: graph for graph in record.graphs}.values())
    print(
        f'top-1 on {drop.clips} clips: {100 * drop.exported:.2f} % as exported,'
        f' {100 * drop.quantized:.2f} % in 8 bits; {size / 1e6:.1f} MB; written to {args.folder}'
    )


if __name__ == '__main__':
    main()
