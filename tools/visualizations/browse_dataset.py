#!/usr/bin/env python
"""Draw clips of a dataset as its pipeline hands them on, each a picture of its frames with class, id and
frame indices: whether labels fit, and what augmentation does.

    python tools/visualizations/browse_dataset.py CONFIG --output-dir clips --number 10
    # the same frames as they are in the videos
    python tools/visualizations/browse_dataset.py CONFIG --output-dir clips --split val --mode original
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, DictAction

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, GAP, LINE = 8, 8, 20
TALLEST = 256  # pixels; frames that are taller are drawn smaller


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--output-dir', '--out', required=True, type=Path, metavar='DIR', help='folder for the pictures'
    )
    parser.add_argument(
        '--split',
        '--phase',
        choices=['train', 'val', 'test'],
        default='train',
        help='whose dataloader (default: %(default)s)',
    )
    parser.add_argument(
        '--number',
        '-n',
        type=int,
        default=20,
        metavar='N',
        help='clips, evenly spread over the split (default: %(default)s)',
    )
    parser.add_argument(
        '--mode',
        '-m',
        choices=['original', 'transformed'],
        default='transformed',
        help='frames as decoded, or after the whole pipeline (default: %(default)s)',
    )
    parser.add_argument('--stage', metavar='NAME', help="draw this stage's dataset instead of the last one's")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='override config values',
    )
    args = parser.parse_args(arguments)
    if args.number < 1:
        parser.error(f'--number {args.number}: draw one clip at least')
    return args


def dataset_config(cfg: Config, split: str, mode: str) -> dict[str, Any]:
    """What to build; in mode 'original' the pipeline ends with decoding, and packs.

    Raises:
        ConfigError: if the config has no such dataloader, or its pipeline does not decode.
    """
    from gfvideo.engine import ConfigError

    loader = cfg.get(f'{split}_dataloader') or {}
    if 'dataset' not in loader:
        raise ConfigError(f'{cfg.filename} has no {split}_dataloader.dataset; choose another --split')
    dataset = dict(loader['dataset'])
    if mode == 'original':
        types = [step['type'] for step in dataset.get('pipeline') or []]
        if 'DecodeFrames' not in types:
            raise ConfigError(
                f'the pipeline of {split}_dataloader.dataset has no DecodeFrames; use --mode transformed'
            )
        decoded = dataset['pipeline'][: types.index('DecodeFrames') + 1]
        dataset['pipeline'] = [*decoded, dict(type='PackClip')]
    return dataset


def draw_clip(frames: np.ndarray, indices: list[int], caption: str) -> np.ndarray:
    """Frames in lines of eight, each under its index, and a caption over all.

    Args:
        frames: ``(N, H, W, 3)`` uint8 RGB.
        indices: of the N frames in their video.
        caption: one line, which may be broken in two.

    Returns:
        ``(height, width, 3)`` uint8 RGB.
    """
    from gfvideo.visualization.canvas import Canvas, resize

    height, width = frames.shape[1:3]
    if height > TALLEST:
        height, width = TALLEST, max(1, round(width * TALLEST / height))
    columns = min(COLUMNS, len(frames))
    lines = -(-len(frames) // columns)
    whole = max(columns * (width + GAP) + GAP, 320)
    top = 2 * LINE + GAP
    canvas = Canvas(top + lines * (LINE + height + GAP), whole)
    for number, words in enumerate(canvas.wrap(caption, whole - 2 * GAP, 14, lines=2)):
        canvas.text(words, GAP + LINE / 2 + number * LINE, GAP)
    for place, (frame, index) in enumerate(zip(frames, indices, strict=True)):
        y = top + place // columns * (LINE + height + GAP)
        x = GAP + place % columns * (width + GAP)
        canvas.text(str(index), y + LINE / 2, x, size=12)
        canvas.paste(frame if frame.shape[0] == height else resize(frame, height, width), y + LINE, x)
    return canvas.render()


def browse(args: argparse.Namespace) -> None:
    """Write a picture of each clip, and print where it is."""
    from mmengine.registry import DATASETS, DefaultScope

    from gfvideo.engine import expand_stages, load_config, select_stage
    from gfvideo.visualization import save_picture

    cfg = select_stage(expand_stages(load_config(args.config), args.cfg_options), args.stage).cfg
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'gfvideo'):
        dataset = DATASETS.build(dataset_config(cfg, args.split, args.mode))
    if not len(dataset):
        raise ValueError(f'the {args.split} split has no clip; prepare the dataset again')
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes') or []
    last, count = len(dataset) - 1, args.number
    for place in sorted({round(n * last / max(count - 1, 1)) for n in range(count)}):
        clip = dataset[place]
        sample, inputs = clip['data_samples'], clip['inputs']
        frames = inputs.reshape(-1, *inputs.shape[-3:]).permute(0, 2, 3, 1).numpy()  # (N, H, W, 3)
        indices = [int(index) for index in sample.get('frame_indices', range(len(frames)))]
        # the crops of a view show the same frames
        indices = (indices * (len(frames) // len(indices)))[: len(frames)]
        label = int(sample.gt_label) if 'gt_label' in sample else None
        name = classes[label] if label is not None and label < len(classes) else f'class {label}'
        told = 'no label' if label is None else f'{label} {name}'
        caption = (
            f'{told} | {sample.video_id} | {frames.shape[2]}x{frames.shape[1]}, {args.split}, {args.mode}'
        )
        path = args.output_dir / f'{place:06d}_{Path(str(sample.video_id)).name}.png'
        print(save_picture(draw_clip(frames, indices, caption), path), flush=True)


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults

    with tell_faults():
        try:
            browse(args)
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
