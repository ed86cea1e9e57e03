#!/usr/bin/env python
"""How often the patches of a test hold the objects, where their places are known.

    python tools/test.py CONFIG CHECKPOINT --dump predictions.pkl
    python tools/analysis_tools/patch_hits.py predictions.pkl objects.csv --patch-size 64

OBJECTS is a table with the header id,frame,x,y,diameter (centre and width in pixels) or, where frames show
several, id,frame,object,x,y,diameter; it serves to measure, never to train. The clips must have been tested
on whole frames (decoded, perhaps resized, not cropped): the table is in pixels of the video, the patch size
in those that the network reads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        'predictions', type=Path, metavar='PREDICTIONS', help='.pkl file that tools/test.py --dump wrote'
    )
    parser.add_argument('objects', type=Path, metavar='OBJECTS', help='table of the objects, .csv')
    parser.add_argument(
        '--patch-size',
        type=int,
        nargs='+',
        required=True,
        metavar='P',
        help='one number, or height and width',
    )
    args = parser.parse_args(arguments)
    if len(args.patch_size) > 2:
        parser.error('--patch-size takes one number, or height and width')
    return args


def clips_with_centres(path: Path) -> list[dict[str, Any]]:
    """What ``tools/test.py --dump`` wrote.

    Raises:
        ValueError: if the file is no such dump, or the clips have no centres.
    """
    from gfvideo.evaluation import read_predictions

    clips = read_predictions(path)
    if not clips or 'centres' not in clips[0]:
        raise ValueError(
            f'{path} holds no centres; a static recognizer cuts no patches, test a Glance-and-Focus one'
        )
    for number, clip in enumerate(clips):
        missing = [key for key in ('video_id', 'centres', 'frame_indices', 'frame_size') if key not in clip]
        if missing:
            raise ValueError(
                f'{path}: clip {number} has no {", ".join(missing)}; is it the whole dump of one test?'
            )
        if clip.get('window_sizes') is not None:
            raise ValueError(
                f'{path}: clip {number} was looked at through windows of sizes of their own, which one'
                ' --patch-size does not tell; these patches are not measured here'
            )
    return clips


def report(args: argparse.Namespace) -> list[str]:
    from gfvideo.evaluation import patch_hit_rate, read_objects, scale_boxes

    clips, objects = clips_with_centres(args.predictions), read_objects(args.objects)
    decoded = [tuple(clip['frame_size']) for clip in clips]
    # a dump of an earlier version does not tell what the network read: then the frames as decoded
    sizes = [tuple(clip.get('input_size', size)) for clip, size in zip(clips, decoded)]
    boxes = [
        scale_boxes(objects[clip['video_id']], *both) if clip['video_id'] in objects else {}
        for clip, *both in zip(clips, decoded, sizes)
    ]
    rates = patch_hit_rate(
        [clip['centres'] for clip in clips],
        [clip['frame_indices'] for clip in clips],
        boxes,
        sizes,
        (args.patch_size[0], args.patch_size[-1]),
    )
    lines = [
        f'{len(clips)} clips; % of patches that hold the centre of an object, all of one; of clips, those'
        ' with a centre held so far in any frame, in every one; of frames with a centre held so far; of'
        ' patches after misses alone (and how many those were); of the patches of a look that miss, those'
        ' within half a patch of a centre; of the objects in all frames, those found so far; of the frame,'
        ' what was covered so far'
    ]
    names = dict(
        centre='centre',
        whole='whole',
        clip='clips',
        clip_throughout='throughout',
        frame='frames',
        after_miss='after a miss',
    )
    for step, misses in enumerate(rates['misses']):
        told = [f'{word} {100 * rates[name][step]:.1f}' for name, word in names.items()]
        told[-1] += f' (of {misses})'
        told.append(f'near misses {100 * rates["near"][step]:.1f}')
        told += [f'{name} {100 * rates[name][step]:.1f}' for name in ('found', 'area')]
        lines.append(f'look {step + 1}: {"  ".join(told)}')
        if len(rates['objects']) > 1:
            lines += [
                f'  {name}: '
                + '  '.join(
                    f'{word} {100 * own[key][step]:.1f}'
                    for key, word in (('centre', 'centre'), ('whole', 'whole'), ('frame', 'frames'))
                )
                for name, own in rates['objects'].items()
            ]
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
