#!/usr/bin/env python
"""What the learned policy is worth: a checkpoint beside all its controls, on the same clips, in one table.

    python tools/analysis_tools/controls.py CONFIG CHECKPOINT --split val --objects objects.csv \\
        --tuned random=RANDOM_CHECKPOINT centre=CENTRE_CHECKPOINT \\
        --static TSM_CONFIG=TSM_CHECKPOINT --tsm-plus TSM_PLUS_CONFIG=TSM_PLUS_CHECKPOINT \\
        --sources validate.csv --source-column youtube_id --out controls.json

The same weights look where the policy says, at random, at the middle, at the best places of the first map
(of a value map), and where the objects are. Beside top-1 after each look stand standard errors, how far the
learned policy is ahead of each row on the same clips, GMACs, and how many patches hold an object. Clips are
decoded once for all of these; static networks read them by their own configs. docs/controls.md says how to
read the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import DictAction

if TYPE_CHECKING:
    from gfvideo.evaluation import Answers

ROOT = Path(__file__).resolve().parents[2]


def pair(text: str) -> tuple[str, str]:
    """'NAME=VALUE' -> (NAME, VALUE)."""
    name, found, value = text.partition('=')
    if not (name and found and value):
        raise argparse.ArgumentTypeError(f'{text!r} must be of the form NAME=VALUE')
    return name, value


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the recognizer')
    parser.add_argument('checkpoint', help='checkpoint of it')
    parser.add_argument('--split', default='val', metavar='NAME', help='clips to measure on (default: val)')
    parser.add_argument('--fold', metavar='K/N', help='only the K-th of N parts of the split, K from 0')
    parser.add_argument(
        '--objects',
        type=Path,
        metavar='CSV',
        help=(
            'where the objects are (columns id,frame,x,y,diameter in pixels of the video, and object where'
            ' there are several): adds the oracle, and where patches fall'
        ),
    )
    parser.add_argument(
        '--tuned',
        type=pair,
        nargs='+',
        default=[],
        metavar='CENTRES=CHECKPOINT',
        help='the recognizer tuned on random or centre patches',
    )
    parser.add_argument(
        '--static', type=pair, nargs='+', default=[], metavar='CONFIG=CHECKPOINT', help='static networks'
    )
    parser.add_argument(
        '--tsm-plus',
        type=pair,
        metavar='CONFIG=CHECKPOINT',
        help='both networks on whole frames, without a policy (configs/baselines/tsm_plus)',
    )
    parser.add_argument(
        '--sources',
        type=Path,
        metavar='CSV',
        help='annotations of the clips, for standard errors of clips that share a source',
    )
    parser.add_argument(
        '--source-column',
        metavar='NAME',
        help='column of --sources that names the source, e.g. youtube_id',
    )
    parser.add_argument(
        '--source-pattern',
        metavar='REGEX',
        help="the source by the clip's id: the first group, or all that matches",
    )
    parser.add_argument('--draws', type=int, default=3, help='draws of random patches (default: 3)')
    parser.add_argument('--seed', type=int, default=0, help='of these draws (default: 0)')
    parser.add_argument('--batch-size', type=int, default=16, help='clips looked at a time (default: 16)')
    parser.add_argument('--device', help='where to run (default: a GPU if there is one)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the rows to this .json file too')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='override values of CONFIG, for the recognizer and those tuned on other patches',
    )
    args = parser.parse_args(arguments)
    if (args.sources is None) != (args.source_column is None):
        parser.error('--sources FILE and --source-column NAME go together')
    if args.sources is not None and args.source_pattern is not None:
        parser.error('--sources and --source-pattern both say what a clip is from; give one')
    return args


def controls(args: argparse.Namespace) -> dict[str, Any]:
    """Measure every row; what is written to --out.

    Raises:
        ValueError: if an argument does not fit the recognizer, the clips or the tables.
    """
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.evaluation import ControlMeter, control_rows, read_objects

    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    model = init_recognizer(args.config, args.checkpoint, args.device, args.cfg_options)
    tuned = {
        centres: init_recognizer(args.config, checkpoint, args.device, args.cfg_options)
        for centres, checkpoint in args.tuned
    }
    objects = None if args.objects is None else read_objects(args.objects)
    meter = ControlMeter(model, objects, tuned, args.draws, args.seed)
    split = SplitPredictions(model, args.split, args.fold, args.batch_size)
    for frames, samples in split.batches('controls'):
        meter.add(frames, samples)
    others = [*args.static, *([] if args.tsm_plus is None else [args.tsm_plus])]
    answers = [*meter.answers(), *(whole_frames(*one, meter.video_ids, args) for one in others)]
    sources = sources_of(meter.video_ids, args)
    return dict(
        config=args.config,
        checkpoint=args.checkpoint,
        data=split.meta,
        clips=len(meter.video_ids),
        sources=None if sources is None else len(set(sources)),
        draws=args.draws,
        seed=args.seed,
        rows=[row.as_json() for row in control_rows(answers, sources)],
    )


def whole_frames(config: str, checkpoint: str, video_ids: list[str], args: argparse.Namespace) -> Answers:
    """The last answer of a network of its own kind on the same clips, which its own config reads.

    Raises:
        ValueError: if its config reads other clips.
    """
    from gfvideo.apis import init_recognizer
    from gfvideo.complexity import recognizer_cost
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.evaluation import Answers, right_answers

    model = init_recognizer(config, checkpoint, args.device)
    split = SplitPredictions(model, args.split, args.fold, args.batch_size)
    logits = split.step_logits()
    places = {video_id: place for place, video_id in enumerate(split.video_ids)}
    missing = [video_id for video_id in video_ids if video_id not in places]
    if missing or len(places) != len(video_ids):
        raise ValueError(
            f'{config} reads {len(places)} clips of split {args.split!r} and {args.config} {len(video_ids)}'
            f' ({len(missing)} of these are missing); give configs of one dataset'
        )
    right = right_answers(logits, split.labels)[[places[video_id] for video_id in video_ids]]
    shape = tuple(split.frames(1).shape[1:])
    told = model.described()
    height, width = told.get('input_size') or told.get('glance_size') or shape[-2:]
    return Answers(
        f'{Path(config).stem.split("_")[0]}, {height}x{width}',
        right[:, -1:],
        [recognizer_cost(model, shape)['steps'][-1] / 1e9],
        step=None,
    )


def sources_of(video_ids: list[str], args: argparse.Namespace) -> list[str] | None:
    from gfvideo.evaluation import sources_by_pattern, sources_of_table

    if args.sources is not None:
        return sources_of_table(video_ids, args.sources, args.source_column)
    return None if args.source_pattern is None else sources_by_pattern(video_ids, args.source_pattern)


def report(results: dict[str, Any]) -> str:
    """Lines of text: what was measured on what, the table, what its columns are."""
    from gfvideo.evaluation import ControlRow, controls_table

    data, sources = results['data'], results['sources']
    rows = [ControlRow.from_json(row) for row in results['rows']]
    lines = [
        f'{results["clips"]} clips of {data.get("name")}, split {data.get("split")!r}'
        + (f', part {data["fold"]}' if data.get('fold') else '')
        + ('' if sources is None else f', from {sources} sources'),
        '',
        controls_table(rows),
        '',
        'top-1 in %, ± one standard error'
        + ('' if sources is None else ' by source')
        + '; ahead: points that learned is ahead of the row on the same clips'
        + f'; random: mean of {results["draws"]} draws',
    ]
    if any(row.hits for row in rows):
        lines.append(
            'hit: % of the patches of a look that hold the centre of an object; after a miss: of the last'
            ' look, in frames that none before hit; frames: hit by any look;\nfound: of all objects in all'
            ' frames; area: % of the frame that the patches cover together'
        )
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    from gfvideo.engine import tell_faults
    from gfvideo.engine.checkpoint import plain
    from gfvideo.files import write_atomically

    with tell_faults():
        try:
            results = controls(args)
        except ValueError as error:  # what was asked does not fit together
            sys.exit(f'{type(error).__name__}: {error}')
        print(report(results))
        if args.out is not None:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.out, json.dumps(plain(results), indent=1).encode())
            print(f'written to {args.out}')


if __name__ == '__main__':
    main()
