#!/usr/bin/env python
"""Measure data preparation against the same work by hand, and how it grows with the number of clips.

    # against ffmpeg processes started by hand
    python tools/analysis_tools/benchmark_preparation.py transcode FOLDER
    python tools/analysis_tools/benchmark_preparation.py verify FOLDER  # against plain sequential decoding
    # 8 frames of a clip, before and after transcoding
    python tools/analysis_tools/benchmark_preparation.py reading VIDEO
    # 8 frames of clips in a tar file, in random order, against the same from files of their own
    python tools/analysis_tools/benchmark_preparation.py shards FOLDER
    # time and peak memory of index, a resumed run and lists
    python tools/analysis_tools/benchmark_preparation.py rows --clips 100000

A ratio is the time by hand divided by ours, of two runs one after the other, first in turn; 1 means that
nothing is lost. Times are those of the processors for the processes measured; by the clock, other work on the
machine counts too, and if it took more than a little, the result says that the machine was busy.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout that is not installed works too

from data_prep.common.checking import Checker, Verdict
from data_prep.common.children import run_child
from data_prep.common.ffmpeg import Encoding, find_ffmpeg
from data_prep.common.records import read_lines, write_lines
from data_prep.common.scanning import scan
from data_prep.common.spreading import Spread, run_all
from data_prep.common.steps.encode import EncodeJob, encode_job
from data_prep.common.steps.jobs import Clip
from data_prep.common.steps.verify import VerifyJob
from data_prep.common.workspace import Workspace
from gfvideo.data.readers import open_video
from gfvideo.data.shards import Member
from gfvideo.measuring import Load, own_work, warning

ROOT = Path(__file__).resolve().parents[2]


class Ratios(NamedTuple):
    """Medians of both in ms of the processors; by hand / ours of every round, of CPU time and by the clock;
    the share of the processors that other work took meanwhile, None where the system does not tell."""

    ours_ms: float
    plain_ms: float
    cpu: list[float]
    wall: list[float]
    others: float | None

    def __str__(self) -> str:
        return (
            f'ratio of CPU time by hand / ours {_quartiles(self.cpu)}, by the clock {_quartiles(self.wall)},'
            f' {len(self.cpu)} rounds{self.warning}'
        )

    @property
    def warning(self) -> str:
        return warning(self.others)


def _quartiles(ratios: Sequence[float]) -> str:
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return f'{middle:.3f} ({low:.3f} to {high:.3f})'


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and by the processors for this process and the ones it started and waited for."""
    wall, cpu = time.perf_counter(), own_work()
    function()
    return time.perf_counter() - wall, own_work() - cpu


def paired(ours: Callable[[], object], plain: Callable[[], object], rounds: int) -> Ratios:
    """Run both in turn; each is first in every second round."""
    times: list[tuple[tuple[float, float], tuple[float, float]]] = []
    load = Load()
    for i in range(rounds):
        if i % 2:
            by_hand = seconds(plain)
            times.append((seconds(ours), by_hand))
        else:
            own = seconds(ours)
            times.append((own, seconds(plain)))
    wall, cpu = ([by_hand[k] / own[k] for own, by_hand in times] for k in (0, 1))
    medians = (1e3 * statistics.median(pair[k][1] for pair in times) for k in (0, 1))
    return Ratios(*medians, cpu, wall, load.others())


def clips_in(folder: Path, most: int) -> list[Clip]:
    """``most`` videos spread over a folder, again from the first if it has fewer: starting workers should not
    count."""
    paths = sorted(path for paths in scan(folder).found.videos.values() for path in paths)
    if not paths:
        raise SystemExit(f'{folder} holds no video')
    step = max(1, len(paths) // most)
    few = paths[::step][:most]
    return [Clip(path, 'video', os.path.splitext(path)[0]) for path in islice(cycle(few), most)]


# ---- transcode


def run_transcode(args: argparse.Namespace) -> None:
    ffmpeg, encoding = find_ffmpeg(args.ffmpeg), Encoding(args.short_side)
    with Checker() as check:
        clips = [
            Clip(clip.path, clip.kind, clip.target, check(str((args.folder / clip.path).absolute())))
            for clip in clips_in(args.folder, args.clips)
        ]
    clips = [clip for clip in clips if clip.verdict.reason is None]
    frames = sum(clip.verdict.frames for clip in clips)
    print(f'{len(clips)} clips, {frames} frames, {args.workers} worker(s), ffmpeg {ffmpeg.version}')

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
            out = Path(folder)
            job = EncodeJob(
                'video',
                args.folder.absolute(),
                out / 'videos',
                out / 'tmp',
                out / 'records',
                ffmpeg,
                encoding,
                600.0,
            )
            failed = sum(
                reasons.total() - reasons['']
                for reasons in run_all(Spread(args.workers), job, clips, 1, job.dead)
            )
            if failed:
                raise SystemExit(f'{failed} clips failed')

    def by_hand() -> None:
        with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
            queue: SimpleQueue[int] = SimpleQueue()
            for number in range(len(clips)):
                queue.put(number)

            def work() -> None:
                while True:
                    try:
                        number = queue.get_nowait()
                    except Empty:
                        return
                    source = str((args.folder / clips[number].path).absolute())
                    subprocess.run(
                        encoding.video(ffmpeg, source, f'{folder}/{number}.mp4'),
                        check=True,
                        stdin=subprocess.DEVNULL,
                    )

            threads = [threading.Thread(target=work) for _ in range(args.workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    result = paired(ours, by_hand, args.rounds)
    print(
        f'transcode: ours {result.ours_ms / 1e3:.1f} s of CPU, by hand {result.plain_ms / 1e3:.1f} s,'
        f' {result}'
    )


# ---- verify


def run_verify(args: argparse.Namespace) -> None:
    clips = clips_in(args.folder, args.clips)
    print(f'{len(clips)} clips, {args.workers} worker(s)')

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
            job = VerifyJob(args.folder.absolute(), Path(folder), 600.0)
            for _ in run_all(Spread(args.workers), job, clips, 16, job.dead):
                pass

    def by_hand() -> None:
        """A new process, as ours, that decodes one file after the other; several share the files."""
        code = (
            'import sys, av\nfor name in sys.argv[1:]:\n    with av.open(name) as video:\n        stream ='
            ' video.streams.video[0]\n        stream.thread_type = "NONE"\n        for _ in'
            ' video.decode(stream):\n            pass\n'
        )
        names = [str((args.folder / clip.path).absolute()) for clip in clips]
        children = [
            subprocess.Popen([sys.executable, '-c', code, *names[i :: args.workers]])
            for i in range(args.workers)
        ]
        for child in children:
            child.wait()

    result = paired(ours, by_hand, args.rounds)
    print(
        f'verify: ours {result.ours_ms / 1e3:.1f} s of CPU, by hand {result.plain_ms / 1e3:.1f} s, {result}'
    )


# ---- reading


def read_eight(path: str, reader: str) -> None:
    with open_video(path, reader=reader) as video:
        video.get_frames(np.linspace(0, len(video) - 1, 8).round().astype(int))


def run_reading(args: argparse.Namespace) -> None:
    source = str(args.video.absolute())
    with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
        for name, encoding in (
            ('GOP 8', Encoding(args.short_side)),
            ('all-intra', Encoding(args.short_side, gop=1)),
        ):
            target = f'{folder}/clip.mp4'
            finished = run_child(encoding.video(find_ffmpeg(args.ffmpeg), source, target), 600.0)
            if finished.status or finished.stderr:
                raise SystemExit(f'{source} is not transcoded: {finished.stderr}')

            result = paired(
                partial(read_eight, target, args.reader),
                partial(read_eight, source, args.reader),
                args.rounds,
            )
            print(
                f'{name}: 8 spread frames in {result.ours_ms:.1f} ms of CPU, of the original in'
                f' {result.plain_ms:.1f} ms; original / transcoded {statistics.median(result.cpu):.2f};'
                f' bytes {os.path.getsize(target) / os.path.getsize(source):.2f} times{result.warning}'
            )


# ---- settings


def run_settings(args: argparse.Namespace) -> None:
    """Bytes and the time to read 8 spread frames of originals and of each setting, clip by clip in turn."""
    sources = [str((args.folder / clip.path).absolute()) for clip in clips_in(args.folder, args.clips)]
    ffmpeg = find_ffmpeg(args.ffmpeg)
    with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
        files = {'original': sources}
        for gop, crf in ((gop, crf) for gop in args.gop for crf in args.crf):
            name = f'gop {gop}, crf {crf}'
            files[name] = []
            for number, source in enumerate(sources):
                target = f'{folder}/{gop}-{crf}-{number}.mp4'
                encoding = Encoding(args.short_side, gop, crf)
                finished = run_child(encoding.video(ffmpeg, source, target), 600.0)
                if finished.status or finished.stderr:
                    raise SystemExit(f'{source} is not transcoded: {finished.stderr}')
                files[name].append(target)
        times: dict[str, list[float]] = {name: [] for name in files}
        for turn in range(args.rounds):
            for number in range(len(sources)):
                names = list(files)
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    times[name].append(seconds(partial(read_eight, files[name][number], args.reader))[1])
        sizes = {name: sum(map(os.path.getsize, some)) for name, some in files.items()}
    original = statistics.median(times['original'])
    print(f'{len(sources)} clips, ffmpeg {ffmpeg.version}, short side {args.short_side}')
    for name, some in times.items():
        middle = statistics.median(some)
        print(
            f'{name}: {sizes[name] / sizes["original"]:.2f} times the bytes, 8 frames in'
            f' {1e3 * middle:.1f} ms of CPU, original / this {original / middle:.2f}'
        )


# ---- shards


def run_shards(args: argparse.Namespace) -> None:
    paths = [str(args.folder.absolute() / clip.path) for clip in clips_in(args.folder, args.clips)]
    with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
        shard, members = f'{folder}/clips-000000.tar', []
        with tarfile.open(shard, 'w') as tar:
            for number, path in enumerate(paths):
                name = f'{number}{Path(path).suffix}'
                tar.add(path, name)
                size = os.path.getsize(path)
                begins = tar.offset - -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                members.append(Member(shard, begins, size, name).path)
        order = np.random.default_rng(0).permutation(len(paths))

        def read_all(places: Sequence[str]) -> None:
            for number in order:
                read_eight(places[number], args.reader)

        read_all(paths[:1] * len(paths))  # what is done once, when the first video is read
        result = paired(partial(read_all, members), partial(read_all, paths), args.rounds)
    each = len(paths)
    print(
        f'{each} clips, 8 spread frames each, reader {args.reader}: {result.ours_ms / each:.2f} ms a clip'
        f' from the shard, {result.plain_ms / each:.2f} ms from files; files / shard: {result}'
    )


# ---- rows


def run_rows(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
        root = Path(folder)
        start = time.perf_counter()
        _write_synthetic(root, args.clips)
        print(f'{args.clips} synthetic rows and files written in {time.perf_counter() - start:.1f} s')
        common = [
            sys.executable,
            str(ROOT / 'data_prep' / 'kinetics.py'),
            '--version',
            'custom',
            '--videos',
            str(root / 'videos'),
            '--annotations',
            str(root / 'annotations'),
            '--out',
            str(root / 'out'),
            '--to',
            'original',
            '--workers',
            '1',
            '--steps',
        ]
        _measure('index', [*common, 'index'])
        job = VerifyJob(root / 'videos', root / 'out' / 'work' / 'verify', 1.0)
        write_lines(root / 'out' / 'work' / 'verify' / 'all.jsonl', _records(job, args.clips))
        _measure('verify, resumed', [*common, 'verify'])
        _measure('lists', [*common, 'lists'])
        _write_encoded(root, args)
        shard = [
            *common[: common.index('--to')],
            '--to',
            'video',
            '--workers',
            '1',
            '--shard',
            '0/8',
            '--steps',
        ]
        _measure('verify, resumed, shard 0 of 8', [*shard, 'verify'])
        _measure('transcode, resumed, shard 0 of 8', [*shard, 'transcode'])


def _names(count: int) -> Iterator[tuple[str, int]]:
    for number in range(count):
        yield f'{number:011d}', number % 300


def _write_synthetic(root: Path, count: int) -> None:
    (root / 'annotations').mkdir()
    validation = max(1, count // 20)
    files = {name: (root / 'annotations' / f'{name}.csv').open('w', newline='') for name in ('train', 'val')}
    tables = {name: csv.writer(file) for name, file in files.items()}
    for table in tables.values():
        table.writerow(['label', 'youtube_id', 'time_start', 'time_end', 'split'])
    for number, (youtube_id, second) in enumerate(_names(count)):
        split = 'val' if number < validation else 'train'
        tables[split].writerow([f'class {number % 400:03d}', youtube_id, second, second + 10, split])
        folder = root / 'videos' / f'{number // 10000:03d}'
        if number % 10000 == 0:
            folder.mkdir(parents=True)
        (folder / _file(youtube_id, second)).touch()
    for file in files.values():
        file.close()


def _file(name: str, second: int) -> str:
    return f'{name}_{second:06d}_{second + 10:06d}.mp4'


def _records(job: VerifyJob, count: int) -> Iterator[dict]:
    for number, (name, second) in enumerate(_names(count)):
        path = f'{number // 10000:03d}/{_file(name, second)}'
        yield {
            'path': path,
            'key': job.key(Clip(path, 'video', '')),
            **asdict(Verdict(250, 256, 340, 25.0, 0, 'h264')),
        }


def _write_encoded(root: Path, args: argparse.Namespace) -> None:
    """Outputs without content, and records that they are what came out."""
    space = Workspace(root / 'out')
    job = encode_job(space, root / 'videos', 'video', find_ffmpeg(args.ffmpeg), Encoding(), 600.0)
    verdict = asdict(Verdict(250, 256, 340, 25.0, 0, 'h264'))

    def records() -> Iterator[dict]:
        for record in read_lines(root / 'out' / 'work' / 'verify' / 'all.jsonl'):
            target = root / 'out' / 'videos' / record['path']
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            made = {'digest': '', 'recipe': job.recipe, 'ffmpeg': job.ffmpeg.version, 'bytes': 0}
            yield {'path': record['path'], 'key': record['key'], **made, **verdict}

    write_lines(root / 'out' / 'work' / 'transcode' / 'all.jsonl', records())


# a forked process counts its parent's memory as its own; what the kernel tells of its own pages does not
MEASURED = (
    'import atexit, runpy, sys; from pathlib import Path; status = Path("/proc/self/status");'
    ' atexit.register(lambda: print(status.read_text() if status.exists() else "", file=sys.stderr));'
    ' sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")'
)


def _measure(what: str, argv: Sequence[str]) -> None:
    start = time.perf_counter()
    child = subprocess.Popen([argv[0], '-c', MEASURED, *argv[1:]], stderr=subprocess.PIPE, text=True)
    said_last = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f'{what} failed: {said_last[-500:]}')
    cpu = usage.ru_utime + usage.ru_stime
    own = re.search(r'VmHWM:\s*(\d+) kB', said_last)
    peak = int(own[1]) if own else usage.ru_maxrss
    print(
        f'{what}: {cpu:.1f} s of CPU ({time.perf_counter() - start:.1f} s by the clock), peak memory'
        f' {peak / 1024:.0f} MB',
        flush=True,
    )


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, run, inputs in (
        ('transcode', run_transcode, 'folder'),
        ('verify', run_verify, 'folder'),
        ('reading', run_reading, 'video'),
        ('settings', run_settings, 'folder'),
        ('shards', run_shards, 'folder'),
        ('rows', run_rows, None),
    ):
        command = commands.add_parser(name, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        command.set_defaults(run=run)
        if inputs:
            command.add_argument(inputs, type=Path)
        command.add_argument('--tmp', type=Path, help='folder for temporary files')
        if name in ('transcode', 'verify'):
            command.add_argument('--workers', type=int, default=2)
            command.add_argument(
                '--clips', type=int, default=200, help='how many; again from the first if there are fewer'
            )
            command.add_argument('--rounds', type=int, default=3)
        if name != 'verify':
            command.add_argument('--ffmpeg', help='the program to use')
        if name == 'settings':
            command.add_argument('--gop', type=int, nargs='+', default=[8])
            command.add_argument('--crf', type=int, nargs='+', default=[20, 26, 32])
            command.add_argument('--clips', type=int, default=20)
            command.add_argument('--rounds', type=int, default=3)
        if name in ('settings', 'reading', 'shards'):
            command.add_argument('--reader', default='auto')
        if name in ('transcode', 'reading', 'settings'):
            command.add_argument('--short-side', type=int, default=256)
        if name == 'reading':
            command.add_argument('--rounds', type=int, default=31)
        if name == 'shards':
            command.add_argument('--clips', type=int, default=100)
            command.add_argument('--rounds', type=int, default=7)
        if name == 'rows':
            command.add_argument('--clips', type=int, default=100_000)
    args = parser.parse_args(arguments)
    for name in ('folder', 'video'):
        path = getattr(args, name, None)
        if path is not None and not path.exists():
            parser.error(f'{path} is not there')
    return args


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    av.logging.set_level(av.logging.ERROR)
    args.run(args)


if __name__ == '__main__':
    main()
