#!/usr/bin/env python
"""The main job on an embedded default: make toy videos, train Glance-and-Focus and what it is compared with,
print one table.

    make demo                          # one seed, a few minutes on two cores
    make demo DEMO_ARGS="--seed 1"     # another seed of the training; the videos stay the same

The videos (data_prep/toy.py --objects 2) show two discs that move among others, and the class is which two,
and where to. WHAT they are is hidden in textures that only full resolution shows, HOW they move in the order
of the frames, and WHERE they are shows at a glance. Five networks of one tiny backbone learn to name
(what, how):

    glance_focus   a glance at 32x32, then two 24x24 patches a frame where a learned value map promises most
    random         the same, with patches at random places, tuned on them for as long
    centre         the same, with patches at the centre of the frame, tuned on them for as long
    tsm            the focus encoder on whole frames at full resolution
    tsn            the same without the temporal shift: frames are averaged

and the first of them once more with early exit: thresholds fitted on the validation clips, clips that are
sure skip further looks.

Cut off, the same command goes on where it was. Everything is written to --work-dir: results.json (the rows of
the table), focus/ (where it looks, and what it expects of looks elsewhere), curve.png, pretrained/ (the first
network in the form of model hubs, with its exits and a card of these results), and of every network its log,
checkpoints and test_results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gfvideo.engine.trainings import Training

ROOT = Path(__file__).resolve().parents[1]
GLANCE_FOCUS, TSM, TSN = (
    f'configs/quickstart/{name}_toy.py' for name in ('glance-focus_tiny_value-map', 'tsm_tiny', 'tsn_tiny')
)
OBJECTS = 2
METHODS = ('glance_focus', 'random', 'centre', 'tsm', 'tsn')
CLIP = (8, 3, 112, 112)  # what test_pipeline of configs/_base_/datasets/toy.py hands to a network


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=ROOT / 'work_dirs/demo',
        help='where everything goes (default: work_dirs/demo)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the training (default: 0)')
    parser.add_argument(
        '--jobs',
        type=int,
        default=min(2, os.cpu_count() or 1),
        help='networks trained at a time (default: 2)',
    )
    parser.add_argument(
        '--clips',
        type=int,
        nargs=3,
        default=(1600, 200, 400),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='size of the toy set (default: 1600 200 400)',
    )
    parser.add_argument(
        '--cfg-options', nargs='*', default=[], metavar='KEY=VALUE', help='handed to every training'
    )
    return parser.parse_args(arguments)


def say(text: str) -> None:
    print(text, flush=True)


def prepare_videos(work_dir: Path, clips: tuple[int, int, int]) -> None:
    """Generate and prepare the toy set; both scripts leave alone what they find complete."""
    train, val, test = (str(count) for count in clips)
    marker, settings = work_dir / 'videos_ready.json', dict(clips=list(clips), objects=OBJECTS)
    if marker.is_file() and json.loads(marker.read_text()) == settings:
        say(f'videos: {work_dir / "prepared"} is ready')
        return
    raw = work_dir / 'videos'
    for command in (
        [
            'data_prep/toy.py',
            '--out',
            str(raw),
            '--objects',
            str(OBJECTS),
            *('--train', train, '--val', val, '--test', test),
        ],
        [
            'data_prep/something_something.py',
            '--videos',
            str(raw / 'videos'),
            '--annotations',
            str(raw),
            '--out',
            str(work_dir / 'prepared'),
            '--to',
            'original',
            '--counts',
            'ignore',
        ],
    ):
        subprocess.run([sys.executable, str(ROOT / command[0]), *command[1:]], check=True)
    marker.write_text(json.dumps(settings))


def make_tasks(folder: Path, args: argparse.Namespace) -> list[Training]:
    """What to train, the longest first; the controls start from the encoders of the first stage, half of
    whose patches were random."""
    from gfvideo.engine.trainings import Training

    common = ['--seed', str(args.seed)]
    options = list(args.cfg_options)

    def task(name: str, config: str, arguments: list[str], after: str | None = None) -> Training:
        return Training(name, ROOT / 'tools/train.py', ROOT / config, folder / name, arguments, after)

    def control(centres: str) -> Training:
        start = folder / 'glance_focus/joint/last.pth'
        return task(
            centres,
            GLANCE_FOCUS,
            after='glance_focus',
            arguments=[
                *common,
                '--stage',
                'tune',
                '--cfg-options',
                f'load_from={start}',
                f'model.train_centres={centres}',
                f'model.test_centres={centres}',
                *options,
            ],
        )

    plain = [*common, *(['--cfg-options', *options] if options else [])]
    return [
        task('glance_focus', GLANCE_FOCUS, plain),
        task('tsm', TSM, plain),
        task('tsn', TSN, plain),
        control('random'),
        control('centre'),
    ]


def environment(work_dir: Path) -> dict[str, str]:
    """Of the trainings: where the data is, and one thread each, since two small networks side by side are
    faster than one on two cores."""
    return {
        **os.environ,
        'GFVIDEO_TOY': str(work_dir / 'prepared'),
        'OMP_NUM_THREADS': '1',
        'PYTHONUNBUFFERED': '1',
    }


def folder_of_last_stage(task: Training) -> Path:
    return task.folder / 'tune' if (task.folder / 'tune').is_dir() else task.folder


def measure(task: Training, env: dict[str, str], seed: int) -> dict:
    """A row of the table: accuracy from tools/test.py, multiply-adds counted, time measured one clip at a
    time."""
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.complexity import latency, recognizer_cost

    checkpoint = folder_of_last_stage(task) / 'last.pth'
    options = (
        task.arguments[task.arguments.index('--cfg-options') :] if '--cfg-options' in task.arguments else []
    )
    options = [option for option in options if not option.startswith(('load_from', 'stages'))]
    subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/test.py'),
            str(task.config),
            str(checkpoint),
            '--work-dir',
            str(task.folder / 'test'),
            *(options if len(options) > 1 else []),
        ],
        check=True,
        env=env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = json.loads((task.folder / 'test/test_results.json').read_text())['metrics']
    steps = sorted(
        int(key.removeprefix('top1_step')) for key in metrics if re.fullmatch(r'top1_step\d+', key)
    )
    model = init_recognizer(checkpoint=checkpoint)
    if task.name in ('random', 'centre'):
        model.test_centres = task.name
    return dict(
        method=task.name,
        seed=seed,
        top1=[metrics[f'top1_step{step}'] for step in steps],
        gmacs=[count / 1e9 for count in recognizer_cost(model, CLIP)['steps']],
        ms=latency(model, torch.randn(1, *CLIP), repeats=30),
    )


def measure_exits(task: Training, env: dict[str, str], seed: int) -> dict:
    """A row of the table: the same network, stopping when it is sure; thresholds are fitted on the validation
    clips."""
    checkpoint, exits = folder_of_last_stage(task) / 'last.pth', task.folder / 'exits.json'
    common = dict(check=True, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/calibrate.py'),
            str(task.config),
            str(checkpoint),
            '--split',
            'val',
            '--out',
            str(exits),
        ],
        **common,
    )
    subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/test.py'),
            str(task.config),
            str(checkpoint),
            '--exits',
            str(exits),
            '--no-replay',
            '--work-dir',
            str(task.folder / 'test_exits'),
        ],
        **common,
    )
    metrics = json.loads((task.folder / 'test_exits/test_results.json').read_text())['metrics']
    return dict(
        method='early exit', seed=seed, top1=[metrics['top1']], gmacs=[metrics['gmacs']], ms=[metrics['ms']]
    )


def table(rows: list[dict]) -> str:
    """The rows as text: a cell lists the values after step 0 (the glance), 1, 2; whole-frame networks have
    one."""

    def cell(values: list[float], form: str) -> str:
        return ' / '.join(format(value, form) for value in values)

    head = ['method', 'top-1 % after each step', 'GMACs/clip', 'ms/clip, batch 1']
    body = [
        [
            row['method'],
            cell([100 * x for x in row['top1']], '.1f'),
            cell(row['gmacs'], '.4f'),
            cell(row['ms'], '.1f'),
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(4)]
    return '\n'.join(
        '  '.join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in [head, *body]
    )


def write_rows(path: Path, rows: list[dict]) -> None:
    """Rows of this seed join those of other seeds in the file."""
    from gfvideo.files import write_atomically

    others = json.loads(path.read_text()) if path.is_file() else []
    rows = [row for row in others if row['seed'] not in {new['seed'] for new in rows}] + rows
    write_atomically(path, json.dumps(sorted(rows, key=lambda row: row['seed']), indent=1).encode())


def draw(folder: Path, rows: list[dict], env: dict[str, str]) -> None:
    from gfvideo.visualization import Curve, draw_curves, save_picture

    subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/visualizations/show_focus.py'),
            str(ROOT / GLANCE_FOCUS),
            str(folder / 'glance_focus/tune/last.pth'),
            '--count',
            '6',
            '--value-map',
            '--out',
            str(folder / 'focus'),
        ],
        check=True,
        env=env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    save_picture(
        draw_curves(
            {row['method']: Curve(row['gmacs'], row['top1']) for row in rows},
            title='Toy videos',
            chance=1 / 6,
        ),
        folder / 'curve.png',
    )


def save(folder: Path) -> str:
    """Save the network that glances and focuses as a folder that ``gfvideo.from_pretrained`` reads; where it
    is, or why it is not there."""
    from gfvideo.apis import init_recognizer

    trained = folder / 'glance_focus'
    try:
        return str(
            init_recognizer(trained / 'tune').save_pretrained(
                folder / 'pretrained',
                name='glance-focus_tiny_toy',
                exits=trained / 'exits.json',
                results=[trained / f'{test}/test_results.json' for test in ('test', 'test_exits')],
            )
        )
    except ImportError as error:  # an optional library
        return f'not saved: {error}'


def demo(args: argparse.Namespace) -> None:
    from gfvideo.engine.trainings import train_all

    work_dir = args.work_dir.resolve()
    folder = work_dir / f'seed{args.seed}'
    folder.mkdir(parents=True, exist_ok=True)
    say('1/4  videos')
    prepare_videos(work_dir, tuple(args.clips))
    say(f'2/4  training five networks, {args.jobs} at a time')
    env, tasks = environment(work_dir), make_tasks(folder, args)
    train_all(tasks, args.jobs, env, ROOT)
    say('\n3/4  testing, counting multiply-adds, measuring time one clip at a time')
    by_name = {task.name: task for task in tasks}
    rows = [measure(by_name[name], env, args.seed) for name in METHODS]
    rows.insert(1, measure_exits(by_name['glance_focus'], env, args.seed))
    write_rows(work_dir / 'results.json', rows)
    say('4/4  pictures')
    draw(folder, rows, env)
    saved = save(folder)
    say(
        f'\n{table(rows)}\n\nA cell lists the values after the glance, the first and the second look;'
        ' whole-frame networks have one, early exit its mean. GMACs are multiply-adds;\nms is the median of'
        ' 30 runs of the network alone on this CPU. Chance is 16.7 %.\nrows     '
        f' {work_dir / "results.json"}\npictures  {folder / "focus/sheet.png"}\ncurve    '
        f' {folder / "curve.png"}\nnetwork   {saved}'
    )


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    began = time.monotonic()
    try:
        demo(args)
    except KeyboardInterrupt:
        sys.exit('\nstopped; the same command goes on where it was')
    except (RuntimeError, OSError) as error:
        sys.exit(f'\n{error}')
    except subprocess.CalledProcessError as error:
        sys.exit(
            f'\n{" ".join(map(str, error.cmd[1:3]))} failed with exit status {error.returncode}; run it by'
            ' hand to see why'
        )
    say(f'{time.monotonic() - began:.0f} s in all')


if __name__ == '__main__':
    main()
