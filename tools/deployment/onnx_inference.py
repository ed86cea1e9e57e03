#!/usr/bin/env python
"""Recognize a video with exported graphs; with exits, stop at the step after which the clip is sure.

    python tools/deployment/onnx_inference.py EXPORT_DIR VIDEO
    python tools/deployment/onnx_inference.py EXPORT_DIR VIDEO --exits exits.json

EXPORT_DIR is of tools/deployment/export_onnx.py, exits.json of tools/calibrate.py with the checkpoint that
was exported.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfvideo.deployment import OnnxRecognizer
    from gfvideo.structures import ClipSample

ROOT = Path(__file__).resolve().parents[2]
TOP = 5


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('folder', help='folder of an export')
    parser.add_argument('video', help='video file, or a folder of images')
    parser.add_argument('--exits', metavar='FILE', help='exit early, as this file of tools/calibrate.py says')
    parser.add_argument(
        '--threads', type=int, metavar='N', help='threads of onnxruntime (default: one a core)'
    )
    parser.add_argument(
        '--custom-imports',
        nargs='+',
        metavar='MODULE',
        default=[],
        help='modules of your own to import, whose parts the export may name',
    )
    return parser.parse_args(arguments)


def report(model: OnnxRecognizer, sample: ClipSample) -> str:
    """The most probable classes, and the step that was the last."""
    chances = sample.logits.softmax(-1)
    best = chances.topk(min(TOP, len(chances)))
    names = model.record.classes or [f'class {number}' for number in range(model.num_classes)]
    lines = [
        f'{100 * chance:6.2f} %  {names[number]}'
        for chance, number in zip(best.values.tolist(), best.indices.tolist())
    ]
    step = int(sample.exit) if 'exit' in sample else model.steps
    looked = f'{step} focus look{"s" if step != 1 else ""}' if step else 'the glance'
    return '\n'.join([*lines, f'left after step {step} of {model.steps} ({looked})'])


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    import torch

    from gfvideo.apis import inference_recognizer
    from gfvideo.data.video_index import VideoError
    from gfvideo.deployment import OnnxRecognizer
    from gfvideo.exits import ExitsFileError

    try:
        model = OnnxRecognizer(args.folder, args.threads, custom_imports=args.custom_imports)
        # the first run of a graph also makes its plans
        model.looks(torch.zeros(1, model.record.num_frames, 3, *model.record.frame_size))
        began = time.perf_counter()
        sample = inference_recognizer(model, args.video, args.exits)
        ms = 1e3 * (time.perf_counter() - began)
    except (ExitsFileError, FileNotFoundError, ImportError, ValueError, VideoError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    print(report(model, sample))
    print(f'{ms:.1f} ms from opening the video to the answer')


if __name__ == '__main__':
    main()
