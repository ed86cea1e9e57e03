#!/usr/bin/env python
"""Measure records on the demo's set and add them to a table, each with date, commit, machine and command.

    make demo                                                    # the set, the trained networks, results.json
    python tools/analysis_tools/records.py learn                 # CPU seconds until validation reaches 95 %
    python tools/analysis_tools/records.py latency               # ms per clip beside the static network's
    python tools/analysis_tools/records.py prepare               # clips per second that become a dataset

learn    trains the demo's first network on one thread, from nothing, and stops at the first epoch whose
         validation reaches --accuracy; training and validation count, in seconds of the processor.
latency  times the trained networks of the demo in turn, one clip at a time and one thread, and reads their
         accuracies from the demo's results.json: early exit within --points of the static network.
prepare  prepares the demo's videos anew into a folder of its own, and counts clips a second.

Times depend on what else runs: the load of the machine at the start stands beside each number.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Records

The best that was measured of a few things, newest last. Rows are written by
`tools/analysis_tools/records.py`, not by hand; `load` is how many processes wanted a processor when the
measurement began.

| date | what | value | commit | machine | command |
|---|---|---|---|---|---|
"""
CONFIG = 'glance-focus_tiny_value-map_toy'


class Record(NamedTuple):
    """What was measured, and the value in words."""

    what: str
    value: str


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('record', choices=sorted(RECORDS), help='what to measure')
    parser.add_argument('--demo', type=Path, default=Path('work_dirs/demo'), help='work dir of tools/demo.py')
    parser.add_argument('--seed', type=int, default=0, help='of the demo, and of learn (default: 0)')
    parser.add_argument('--accuracy', type=float, default=0.95, help='of learn, in [0, 1] (default: 0.95)')
    parser.add_argument('--points', type=float, default=1.0, help='of latency (default: 1)')
    parser.add_argument('--repeats', type=int, default=30, help='of latency: runs a network (default: 30)')
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'docs/records.md', help='the table (default: docs/records.md)'
    )
    args = parser.parse_args(arguments)
    args.command = ' '.join(['python tools/analysis_tools/records.py', *(arguments or sys.argv[1:])])
    return args


def learn(args: argparse.Namespace) -> Record:
    """Seconds of the processor until validation is good enough."""
    import torch
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from gfvideo.engine import expand_stages, load_config, select_stage
    from gfvideo.home import model_config

    class Reached(Exception):
        """The accuracy was reached."""

    class Watch(Hook):
        """Stops the training there."""

        best = 0.0

        def after_val_epoch(self, runner, metrics=None):
            self.best = max(self.best, metrics['top1'])
            print(f'{time.process_time() - began:.0f} s: top-1 {100 * metrics["top1"]:.1f} %', flush=True)
            if metrics['top1'] >= args.accuracy:
                raise Reached

    torch.set_num_threads(1)
    os.environ['GFVIDEO_TOY'] = str(args.demo / 'prepared')
    with tempfile.TemporaryDirectory() as made:
        options = {
            'work_dir': made,
            'train_cfg.val_interval': 1,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
            'randomness.seed': args.seed,
        }
        cfg = select_stage(expand_stages(load_config(str(model_config(CONFIG))), options), 'joint').cfg
        runner, watch = Runner.from_cfg(cfg), Watch()
        runner.register_hook(watch)
        began = time.process_time()
        try:
            runner.train()
        except Reached:
            seconds, epoch = time.process_time() - began, runner.epoch
            what = f"CPU seconds to {100 * args.accuracy:g} % on the demo's validation clips"
            return Record(what, f'{seconds:.0f} s ({epoch} epochs, {CONFIG}, seed {args.seed})')
    sys.exit(f'{100 * args.accuracy:g} % was not reached; the best was {100 * watch.best:.1f} %')


def latency(args: argparse.Namespace) -> Record:
    """Milliseconds of a clip with early exit, beside the static network."""
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.exits import read_exits, run_clips

    torch.set_num_threads(1)
    rows = {row['method']: row for row in json.loads((args.demo / 'results.json').read_text())}
    folder = args.demo / f'seed{args.seed}'
    ours, static = rows['early exit']['top1'][-1], rows['tsm']['top1'][-1]
    if ours < static - args.points / 100:
        sys.exit(f'early exit has {100 * ours:.1f} %, the static network {100 * static:.1f} %: no record')
    looks = init_recognizer(folder / 'glance_focus/tune')
    exits = read_exits(folder / 'glance_focus/exits.json').pick().exits
    whole = init_recognizer(folder / 'tsm')
    clips = _clips(args.demo, looks, args.repeats)
    times: dict[str, list[float]] = dict(ours=[], static=[])
    with torch.no_grad():
        for number, clip in enumerate([clips[0], *clips]):  # the first one warms up
            for name, run in (
                ('ours', lambda clip=clip: run_clips(looks, clip, exits, 1)),
                ('static', lambda clip=clip: whole.predict_steps(clip)),
            ):
                began = time.perf_counter()
                run()
                if number:
                    times[name].append(1e3 * (time.perf_counter() - began))
    mean = {name: statistics.fmean(values) for name, values in times.items()}
    return Record(
        f"ms per clip within {args.points:g} points of the static network's accuracy, demo's test clips",
        f'{mean["ours"]:.1f} ms at {100 * ours:.1f} %, static TSM {mean["static"]:.1f} ms at'
        f' {100 * static:.1f} % (means of {len(clips)} clips)',
    )


def _clips(demo: Path, model, count: int) -> list:
    """The first test clips, prepared for a network."""
    from mmengine.dataset import pseudo_collate

    from gfvideo.data.dataset import ClipDataset

    settings = dict(model.cfg.test_dataloader.dataset.to_dict(), root=str(demo / 'prepared'))
    settings.pop('type')
    dataset = ClipDataset(**settings)
    count = min(count, len(dataset))
    return [model.data_preprocessor(pseudo_collate([dataset[number]]))['inputs'] for number in range(count)]


def prepare(args: argparse.Namespace) -> Record:
    """Clips a second from raw videos to a prepared dataset."""
    raw = args.demo / 'videos'
    with tempfile.TemporaryDirectory() as made:
        command = [
            *(sys.executable, str(ROOT / 'data_prep/something_something.py')),
            *('--videos', str(raw / 'videos'), '--annotations', str(raw), '--out', f'{made}/prepared'),
            *('--counts', 'ignore'),
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        manifest = json.loads(Path(made, 'prepared/manifest.json').read_text())
    clips = sum(split['present'] for split in manifest['splits'].values())
    return Record("clips per second prepared, the demo's videos", f'{clips / seconds:.1f} ({clips} clips)')


RECORDS: dict[str, Callable[[argparse.Namespace], Record]] = dict(
    learn=learn, latency=latency, prepare=prepare
)


def machine() -> str:
    """Processor, cores and load."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        name = next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        pass
    load = f', load {os.getloadavg()[0]:.1f}' if hasattr(os, 'getloadavg') else ''
    return f'{name}, {os.cpu_count()} cores{load}'


def commit() -> str:
    """Of the checkout, in short."""
    shown = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return shown.stdout.strip() or 'no checkout'


def add_row(path: Path, cells: list[str]) -> None:
    """Add a row to the table, which is made if it is not there."""
    from gfvideo.files import write_atomically

    text = path.read_text(encoding='utf-8') if path.is_file() else HEAD
    row = ' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)
    write_atomically(path, f'{text.rstrip()}\n| {row} |\n'.encode())


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    if not (args.demo / 'results.json').is_file():
        sys.exit(f'{args.demo} holds no results.json; run make demo first, or name its work dir with --demo')
    here, today = machine(), datetime.date.today().isoformat()
    record = RECORDS[args.record](args)
    add_row(args.out, [today, record.what, record.value, commit(), here, f'`{args.command}`'])
    print(f'{record.what}: {record.value}\nadded to {args.out}')


if __name__ == '__main__':
    main()
