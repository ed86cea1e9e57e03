#!/usr/bin/env python
"""What the learned policy is worth: a checkpoint beside all its controls, on the same clips, in one table.

    python tools/analysis_tools/controls.py CONFIG CHECKPOINT --split val --objects objects.csv \\
        --tuned random=RANDOM_CHECKPOINT centre=CENTRE_CHECKPOINT \\
        --static TSM_CONFIG=TSM_CHECKPOINT --tsm-plus TSM_PLUS_CONFIG=TSM_PLUS_CHECKPOINT \\
        --sources validate.csv --source-column youtube_id --out controls.json

    # train everything first, for three seeds; cut off, the same command goes on where it was
    python tools/analysis_tools/controls.py CONFIG --train --seeds 0 1 2 --jobs 2 --work-dir runs/controls \\
        --split val --objects objects.csv --static TSM_CONFIG --tsm-plus TSM_PLUS_CONFIG

The same weights look where the policy says, at random, at the middle, at the best places of the first map
(of a value map), and where the objects are. Beside top-1 after each look stand standard errors, how far the
learned policy is ahead of each row on the same clips, GMACs, and how many patches hold an object. Clips are
decoded once for all of these; static networks read them by their own configs. docs/controls.md says how to
read the table, and what --train trains.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import DictAction

if TYPE_CHECKING:
    from gfvideo.engine.trainings import Training
    from gfvideo.evaluation import Answers

ROOT = Path(__file__).resolve().parents[2]


def pair(text: str) -> tuple[str, str]:
    """'NAME=VALUE' -> (NAME, VALUE)."""
    name, found, value = text.partition('=')
    if not (name and found and value):
        raise argparse.ArgumentTypeError(f'{text!r} must be of the form NAME=VALUE')
    return name, value


def config_and_checkpoint(text: str) -> tuple[str, str | None]:
    """'CONFIG=CHECKPOINT' -> (CONFIG, CHECKPOINT); 'CONFIG' -> (CONFIG, None)."""
    return pair(text) if '=' in text else (text, None)


class Options(DictAction):
    """``KEY=VALUE ...`` as a dict, and as they were given, for child processes."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.given_options = list(values)
        super().__call__(parser, namespace, values, option_string)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config of the recognizer')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint of it, or the work dir of its run; none with --train'
    )
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
        '--static',
        type=config_and_checkpoint,
        nargs='+',
        default=[],
        metavar='CONFIG=CHECKPOINT',
        help='static networks; with --train the configs alone',
    )
    parser.add_argument(
        '--tsm-plus',
        type=config_and_checkpoint,
        metavar='CONFIG=CHECKPOINT',
        help=(
            'both networks on whole frames, without a policy (configs/baselines/tsm_plus); with --train the'
            ' config alone'
        ),
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
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the rows to this .json file too')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        default={},
        help='override values of CONFIG, for the recognizer and those tuned on other patches',
    )
    training = parser.add_argument_group('training them first')
    training.add_argument(
        '--train',
        action='store_true',
        help='train the recognizer, its last stage on random and on centre patches, and the others',
    )
    training.add_argument(
        '--seeds', type=int, nargs='+', default=[0], help='a training of everything for each (default: 0)'
    )
    training.add_argument('--jobs', type=int, default=1, help='trainings at a time (default: 1)')
    training.add_argument(
        '--work-dir', type=Path, metavar='DIR', help='where they go (default: work_dirs/controls_<config>)'
    )
    training.add_argument('--amp', action='store_true', help='train in mixed precision (bfloat16)')
    parser.set_defaults(given_options=[])
    args = parser.parse_args(arguments)
    check_training(parser, args)
    if (args.sources is None) != (args.source_column is None):
        parser.error('--sources FILE and --source-column NAME go together')
    if args.sources is not None and args.source_pattern is not None:
        parser.error('--sources and --source-pattern both say what a clip is from; give one')
    return args


def check_training(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Checkpoints are given, or trained, but not both."""
    others = [*args.static, *([args.tsm_plus] if args.tsm_plus else [])]
    if args.train:
        if args.checkpoint or args.tuned or any(checkpoint for _, checkpoint in others):
            parser.error('--train makes the checkpoints; give configs alone, and no --tuned')
        if len(set(args.seeds)) < len(args.seeds):
            parser.error(f'--seeds {" ".join(map(str, args.seeds))}: each once')
        if args.jobs < 1:
            parser.error(f'--jobs {args.jobs}: train one at a time at least')
        stems = [Path(config).stem for config, _ in others]
        if len(set(stems)) < len(stems):
            parser.error(f'{", ".join(stems)}: networks go into folders by these names, so give each once')
        args.work_dir = args.work_dir or Path('work_dirs') / f'controls_{Path(args.config).stem}'
        return
    if not args.checkpoint:
        parser.error('give a CHECKPOINT of CONFIG, or --train')
    for config, checkpoint in others:
        if not checkpoint:
            parser.error(f'{config!r} must be of the form CONFIG=CHECKPOINT; configs alone are for --train')
    if args.seeds != [0] or args.jobs != 1 or args.work_dir or args.amp:
        parser.error('--seeds, --jobs, --work-dir and --amp say how to --train; the draws have --seed')


# ------------------------------------------------------------------------------------------------- trainings


def trainings_of(args: argparse.Namespace, seed: int) -> tuple[list[Training], argparse.Namespace]:
    """What is trained for a seed, the longest first; and the arguments that measure it.

    Raises:
        ConfigError: if the config has no stage in which encoders could be tuned on other patches.
    """
    from gfvideo.engine import ConfigError, expand_stages, load_config
    from gfvideo.engine.trainings import Training

    stages = [stage.name for stage in expand_stages(load_config(args.config), args.cfg_options)]
    if len(stages) < 2:
        raise ConfigError(
            f'{args.config} has no stages, so controls cannot be tuned from the first one; give one with'
            ' stages, whose last one tunes the encoders, or train the controls by hand and give --tuned'
        )
    folder = args.work_dir.resolve() / f'seed{seed}'
    common = ['--seed', str(seed), *(['--amp'] if args.amp else [])]

    def training(name: str, config: str, arguments: list[str], after: str | None = None) -> Training:
        tool = ROOT / 'tools/train.py'
        return Training(f'seed {seed}, {name}', tool, Path(config).resolve(), folder / name, arguments, after)

    def with_options(options: list[str]) -> list[str]:
        return [*common, *(['--cfg-options', *options] if options else [])]

    made = [training('learned', args.config, with_options(args.given_options))]
    measured = argparse.Namespace(**vars(args))
    measured.checkpoint = str(folder / 'learned' / stages[-1] / 'last.pth')
    measured.tuned, measured.static, measured.tsm_plus = [], [], None
    for config in [config for config, _ in args.static] + ([args.tsm_plus[0]] if args.tsm_plus else []):
        name = Path(config).stem
        made.append(training(name, config, common))
        last = expand_stages(load_config(config))[-1].name
        measured.static.append((config, str(folder / name / last / 'last.pth')))
    for centres in ('random', 'centre'):
        options = [
            *args.given_options,
            f'load_from={folder / "learned" / stages[0] / "last.pth"}',
            f'model.train_centres={centres}',
            f'model.test_centres={centres}',
        ]
        arguments = ['--stage', stages[-1], *with_options(options)]
        made.append(training(centres, args.config, arguments, after=made[0].name))
        measured.tuned.append((centres, str(folder / centres / stages[-1] / 'last.pth')))
    return made, measured


def train_and_measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train for every seed, then measure; what is written to --out.

    Raises:
        ConfigError, TrainingError: see :func:`trainings_of` and :func:`gfvideo.engine.trainings.train_all`.
    """
    from gfvideo.engine.trainings import train_all
    from gfvideo.evaluation import ControlRow, over_seeds

    made = {seed: trainings_of(args, seed) for seed in args.seeds}
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    train_all(
        [training for trainings, _ in made.values() for training in trainings],
        args.jobs,
        {'OMP_NUM_THREADS': str(threads), **os.environ, 'PYTHONUNBUFFERED': '1'},
    )
    runs = {seed: controls(measured) for seed, (_, measured) in made.items()}
    if len(runs) == 1:
        return next(iter(runs.values()))
    rows = over_seeds([[ControlRow.from_json(row) for row in run['rows']] for run in runs.values()])
    first = next(iter(runs.values()))
    return {key: first[key] for key in ('config', 'data', 'clips', 'sources', 'draws')} | dict(
        seeds=list(runs), rows=[row.as_json() for row in rows], runs=list(runs.values())
    )


# ------------------------------------------------------------------------------------------------------- rows


def controls(args: argparse.Namespace) -> dict[str, Any]:
    """Measure every row; what is written to --out.

    Raises:
        ValueError: if an argument does not fit the recognizer, the clips or the tables.
    """
    from gfvideo.apis import init_recognizer
    from gfvideo.engine import checkpoint_of
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.evaluation import ControlMeter, control_rows, read_objects

    args.checkpoint = checkpoint_of(args.checkpoint)
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

    data, sources, seeds = results['data'], results['sources'], results.get('seeds')
    rows = [ControlRow.from_json(row) for row in results['rows']]
    lines = [
        f'{results["clips"]} clips of {data.get("name")}, split {data.get("split")!r}'
        + (f', part {data["fold"]}' if data.get('fold') else '')
        + ('' if sources is None else f', from {sources} sources')
        + ('' if seeds is None else f'; means of {len(seeds)} trainings, seeds {", ".join(map(str, seeds))}'),
        '',
        controls_table(rows),
        '',
        'top-1 in %, ± one standard '
        + ('error' if seeds is None else 'deviation over trainings')
        + (' by source' if sources is not None and seeds is None else '')
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
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults
    from gfvideo.engine.checkpoint import plain
    from gfvideo.engine.trainings import TrainingError
    from gfvideo.files import write_atomically

    given = list(map(str, sys.argv[1:] if arguments is None else arguments))
    again = shlex.join(['python', 'tools/analysis_tools/controls.py', *given])
    with tell_faults(again if args.train else ''):
        try:
            results = train_and_measure(args) if args.train else controls(args)
        except (ValueError, TrainingError) as error:  # what was asked does not fit together, or failed
            sys.exit(f'{type(error).__name__}: {error}')
        print(report(results))
        if args.out is not None:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.out, json.dumps(plain(dict(command=again, **results)), indent=1).encode())
            print(f'written to {args.out}')


if __name__ == '__main__':
    main()
