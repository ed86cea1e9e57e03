#!/usr/bin/env python
"""Draw where a recognizer looks: for each video the frames with the patches of every look, and what it says
after each.

    python tools/visualizations/show_focus.py CHECKPOINT VIDEO ... --out DIR
    python tools/visualizations/show_focus.py CONFIG CHECKPOINT --count 6 --out DIR

The checkpoint carries its config; a config in front of it takes its place. Without a VIDEO, clips of the
config's test split are drawn, evenly spread over it, with their true classes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, DictAction

if TYPE_CHECKING:
    from torch import Tensor

    from gfvideo.evaluation import Objects
    from gfvideo.models.base import Recognizer
    from gfvideo.structures import ClipSample

ROOT = Path(__file__).resolve().parents[2]
CONFIG_ENDINGS, CHECKPOINT_ENDINGS = {'.py', '.json', '.yaml', '.yml'}, {'.pth', '.pt', '.ckpt'}


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(
        usage='%(prog)s [CONFIG] CHECKPOINT [VIDEO ...] --out DIR [options]',
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='PATH',
        help=(
            'checkpoint, or the work dir of a run; before it a config, if the one it carries is not wanted;'
            ' after it videos (files, image folders)'
        ),
    )
    parser.add_argument(
        '--out',
        required=True,
        type=Path,
        metavar='DIR',
        help='folder for VIDEO_ID.png of each, and sheet.png of all',
    )
    parser.add_argument(
        '--count',
        type=int,
        default=6,
        metavar='N',
        help='clips of the test split to draw when no VIDEO is given (default: %(default)s)',
    )
    parser.add_argument('--label', metavar='CLASS', help='name of the true class of the given VIDEOs')
    parser.add_argument(
        '--objects',
        type=Path,
        metavar='CSV',
        help=(
            'where the objects are (columns id,frame,x,y,diameter in pixels of the video, and object where'
            ' there are several): drawn, and the share of patches that hold one is printed'
        ),
    )
    parser.add_argument(
        '--value-map',
        action='store_true',
        help='draw, over each look, what the policy expected of a look at each place (a ValueMapPolicy)',
    )
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of random patches (default: %(default)s)')
    parser.add_argument(
        '--custom-imports',
        nargs='+',
        metavar='MODULE',
        default=[],
        help='modules of your own to import, whose parts the checkpoint may name',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings of the config to change, e.g. model.test_centres=random',
    )
    args = parser.parse_args(arguments)
    args.config, args.checkpoint, args.videos = split_paths(parser, [Path(path) for path in args.paths])
    if args.label is not None and not args.videos:
        parser.error('--label names the class of the given VIDEOs; clips of the test split have their own')
    if args.count < 1:
        parser.error(f'--count {args.count}: draw one clip at least')
    return args


def split_paths(parser: argparse.ArgumentParser, paths: list[Path]) -> tuple[Path | None, Path, list[Path]]:
    """Config (a file, or a name of those that come along) or None, checkpoint, videos, told apart by their
    endings."""
    from gfvideo.home import list_models

    first = paths[0]
    named = not first.exists() and str(first) in list_models()
    config = paths.pop(0) if first.suffix in CONFIG_ENDINGS or named else None
    if not paths or not (paths[0].suffix in CHECKPOINT_ENDINGS or paths[0].is_dir()):
        parser.error(
            f'a checkpoint ({", ".join(sorted(CHECKPOINT_ENDINGS))}, or the folder of a run) must come'
            f' {"after the config" if config else "first"}'
        )
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        parser.error(f'{", ".join(missing)} not found')
    return config, paths[0], paths[1:]


def clips_of_videos(cfg: Config, videos: list[Path]) -> Iterator[dict[str, Any]]:
    from gfvideo.apis import build_pipeline, frame_names, prepare_video

    pipeline, names = build_pipeline(cfg), frame_names(cfg)
    return (prepare_video(video, pipeline, **names) for video in videos)


def clips_of_test_split(cfg: Config, count: int) -> Iterator[dict[str, Any]]:
    """At most ``count`` clips, evenly spread over the split."""
    from gfvideo.registry import DATASETS

    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    places = sorted({round(n * (len(dataset) - 1) / max(count - 1, 1)) for n in range(count)})
    return (dataset[place] for place in places)


def label_number(model: Recognizer, name: str | None) -> int | None:
    if name is None:
        return None
    classes = list(model.dataset_meta.get('classes') or [])
    if name not in classes:
        sys.exit(
            f'--label {name!r} is no class of the recognizer; it knows {", ".join(map(repr, classes[:20]))}'
        )
    return classes.index(name)


def boxes_in_inputs(clip: dict[str, Any], objects: dict[str, Objects] | None) -> Objects | None:
    """Where the objects are, in pixels of what the recognizer is given."""
    from gfvideo.evaluation import scale_boxes

    sample = clip['data_samples']
    if objects is None or sample.video_id not in objects:
        return None
    return scale_boxes(objects[sample.video_id], sample.frame_size, tuple(clip['inputs'].shape[-2:]))


def maps_of(model: Recognizer, clip: dict[str, Any]) -> Tensor:
    """What looks at the first view promised, ``(S, T, h, w)``."""
    import torch
    from mmengine.dataset import pseudo_collate

    from gfvideo.models import GlanceFocusRecognizer

    maps = None
    if isinstance(model, GlanceFocusRecognizer):
        with torch.no_grad():
            inputs = model.data_preprocessor(pseudo_collate([clip]))['inputs']
            maps = model.promise_maps(inputs[:, 0] if inputs.ndim == 6 else inputs)
    if maps is None:
        sys.exit('--value-map: this recognizer has no map of what a look promises; ValueMapPolicy keeps one')
    return maps[0].float().cpu()


def hit_rate_lines(
    looked: list[tuple[dict, ClipSample, Objects | None]], patch_size: tuple[int, int]
) -> list[str]:
    """Share of the patches, of the first view, that fall on an object, one line a look."""
    from gfvideo.evaluation import patch_hit_rate

    known = [
        (clip['inputs'], sample, boxes)
        for clip, sample, boxes in looked
        if boxes and 'centres' in sample and 'window_sizes' not in sample
    ]
    if not known:
        return [
            'no patch of these clips can be compared with the table of objects: no id in common, or the'
            ' recognizer does not focus, or chooses the size of what it cuts'
        ]
    # (S, T, 2) each
    first_views = [
        sample.centres[0] if sample.centres.ndim == 4 else sample.centres for _, sample, _ in known
    ]
    indices = [sample.frame_indices[: inputs.shape[-4]] for inputs, sample, _ in known]
    rates = patch_hit_rate(
        [centres.cpu() for centres in first_views],
        indices,
        [boxes for _, _, boxes in known],
        [tuple(inputs.shape[-2:]) for inputs, _, _ in known],
        patch_size,
    )
    lines = [
        f'patches that hold an object, of {len(known)} clips:',
        f'{"look":<6}{"its centre":>12}{"all of it":>12}{"clips found":>14}',
    ]
    for look, shares in enumerate(zip(rates['centre'], rates['whole'], rates['clip']), start=1):
        lines.append(
            f'{look:<6}'
            + ''.join(f'{100 * share:>{width - 2}.1f} %' for share, width in zip(shares, (12, 12, 14)))
        )
    return lines


def picture_path(folder: Path, video_id: str, before: list[ClipSample]) -> Path:
    """VIDEO_ID.png, or VIDEO_ID_2.png ... when earlier videos of this run have the same id."""
    same = sum(sample.video_id == video_id for sample in before)
    return folder / f'{Path(video_id).name}{f"_{same + 1}" if same else ""}.png'


def show(args: argparse.Namespace) -> None:
    """Recognize the clips, write their pictures, print where they are and how often the patches hit."""
    import torch

    from gfvideo.apis import init_recognizer, predict_clip
    from gfvideo.evaluation import read_objects
    from gfvideo.visualization import draw_sample, save_picture, sheet

    torch.manual_seed(args.seed)
    model = init_recognizer(args.config, args.checkpoint, args.device, args.cfg_options, args.custom_imports)
    objects = None if args.objects is None else read_objects(args.objects)
    label = label_number(model, args.label)
    clips = (
        clips_of_videos(model.cfg, args.videos) if args.videos else clips_of_test_split(model.cfg, args.count)
    )
    told = model.described()
    sizes = {name: told[name] and tuple(told[name]) for name in ('patch_size', 'glance_size') if name in told}
    looked, pictures = [], []
    for clip in clips:
        sample, boxes = predict_clip(model, clip), boxes_in_inputs(clip, objects)
        if label is not None:
            sample.gt_label = torch.tensor(label)
        promises = maps_of(model, clip) if args.value_map else None
        pictures.append(
            draw_sample(
                clip['inputs'],
                sample,
                model.dataset_meta.get('classes'),
                objects=boxes,
                promises=promises,
                loss=model.loss,
                **sizes,
            )
        )
        print(
            save_picture(
                pictures[-1], picture_path(args.out, sample.video_id, [earlier for _, earlier, _ in looked])
            ),
            flush=True,
        )
        looked.append((clip, sample, boxes))
    if len(pictures) > 1:
        print(save_picture(sheet(pictures), args.out / 'sheet.png'))
    if objects is not None:
        print('\n'.join(hit_rate_lines(looked, sizes['patch_size'])))


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.data.readers import VideoError
    from gfvideo.engine import CheckpointError, ConfigError

    try:
        show(args)
    except (CheckpointError, ConfigError, FileNotFoundError, VideoError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
