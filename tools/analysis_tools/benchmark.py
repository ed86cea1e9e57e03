#!/usr/bin/env python
"""Compare this package's speed with plain code that does the same, written out below: paired, interleaved
measurements.

    python tools/analysis_tools/benchmark.py tsm  # a static TSM forward pass and its peak memory
    # reading the frames of clips, with transforms
    python tools/analysis_tools/benchmark.py reading VIDEO_OR_FOLDER
    # loading the rows of a prepared dataset, and memory: the text once, then its table
    python tools/analysis_tools/benchmark.py rows --clips 1000000
    # does skipped work save its share of time?
    python tools/analysis_tools/benchmark.py exits CONFIG CHECKPOINT --split val
    # from opening a file to the answer
    python tools/analysis_tools/benchmark.py streams CONFIG CHECKPOINT EXITS --split val
    python tools/analysis_tools/benchmark.py onnx  # a glance by onnxruntime against the same in torch
    # Glance-and-Focus against the static TSM on each engine
    python tools/analysis_tools/benchmark.py engines
    # all that and more as one table, kept in a file and gone on with
    python tools/analysis_tools/benchmark.py all --out table.json --videos VIDEO_OR_FOLDER
    # folded normalisation against unfolded, a batch in parts against one at once
    python tools/analysis_tools/benchmark.py evaluation

A ratio is the plain code's time divided by ours, taken in every round from two runs side by side; above 1,
ours is faster. Trust the ratios and not the milliseconds: other work on the machine slows both sides of a
pair alike. "CPU" is the time the processors spent on this process; with one thread other work hardly touches
it.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 174
VIDEO_ENDINGS = {'.webm', '.mp4', '.avi', '.mkv', '.mov'}
sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too


# -------------------------------------------------------------------------------------------------- measuring


class Comparison(NamedTuple):
    """Medians over rounds; ratios are plain / ours, with their quartiles."""

    ours_ms: float
    plain_ms: float
    wall: tuple[float, float, float]
    cpu: tuple[float, float, float]

    def __str__(self) -> str:
        wall, cpu = (f'{ratio[1]:.3f} ({ratio[0]:.3f} to {ratio[2]:.3f})' for ratio in (self.wall, self.cpu))
        return (
            f'ours {self.ours_ms:8.1f} ms   plain {self.plain_ms:8.1f} ms   ratio {wall}   of CPU time {cpu}'
        )


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and by the processors; of a GPU too, until it is done."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    return tuple(float(value) for value in np.percentile(values, (25, 50, 75)))


def compare(ours: Callable[[], Any], plain: Callable[[], Any], rounds: int) -> Comparison:
    """Run both in turn, each first in every second round, after one round that does not count."""
    times: dict[str, list[tuple[float, float]]] = dict(ours=[], plain=[])
    for i in range(rounds + 1):
        order = [('ours', ours), ('plain', plain)]
        for name, function in order if i % 2 else reversed(order):
            seconds = timed(function)
            if i:
                times[name].append(seconds)
    walls, cpus = ([plain[k] / ours[k] for ours, plain in zip(times['ours'], times['plain'])] for k in (0, 1))
    medians = (1e3 * statistics.median(wall for wall, _ in times[name]) for name in ('ours', 'plain'))
    return Comparison(*medians, quartiles(walls), quartiles(cpus))


# ---------------------------------------------------------------------------------------- tsm: the plain code


class PlainShift(nn.Module):
    """The published shift in front of a convolution: zeros, then three slices."""

    def __init__(self, net: nn.Module, frames: int, fold_div: int = 8):
        super().__init__()
        self.net, self.frames, self.fold_div = net, frames, fold_div

    def forward(self, x: Tensor) -> Tensor:
        clip = x.view(-1, self.frames, *x.shape[1:])  # (B, T, C, H, W)
        fold = clip.shape[2] // self.fold_div
        out = torch.zeros_like(clip)
        out[:, :-1, :fold] = clip[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = clip[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = clip[:, :, 2 * fold :]
        return self.net(out.view_as(x))


class PlainBottleneck(nn.Module):
    """torchvision's bottleneck, with the shift where TSM puts it."""

    def __init__(self, channels: int, width: int, stride: int, frames: int):
        super().__init__()
        self.conv1 = PlainShift(nn.Conv2d(channels, width, 1, bias=False), frames)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class PlainTSM(nn.Module):
    """ResNet-50 as torchvision writes it, the shift inside, the mean of the frames' scores: (B, T, 3, H, W)
    to (B, classes)."""

    def __init__(self, classes: int, frames: int):
        super().__init__()
        self.frames = frames
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for i, repeat in enumerate((3, 4, 6, 3)):
            width, blocks = 64 << i, []
            for j in range(repeat):
                blocks.append(PlainBottleneck(channels, width, 2 if i and j == 0 else 1, frames))
                channels = 4 * width
            setattr(self, f'layer{i + 1}', nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.view(-1, *frames.shape[2:])  # (B*T, 3, H, W)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        scores = self.fc(self.avgpool(x).flatten(1))  # (B*T, classes)
        return scores.view(-1, self.frames, scores.shape[1]).mean(1)


def plain_tsm(classes: int, frames: int) -> nn.Module:
    torch.manual_seed(0)
    return PlainTSM(classes, frames).eval()


def our_tsm(classes: int, frames: int) -> nn.Module:
    from gfvideo.registry import MODELS

    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ClipRecognizer',
            num_classes=classes,
            encoder=dict(type='Encoder', backbone=dict(type='ResNet', depth=50)),
        )
    ).eval()


def copy_weights(plain: nn.Module, ours: nn.Module) -> None:
    """Give both the same weights, so that their outputs can be compared."""
    state = {name.replace('.net.', '.'): value for name, value in plain.state_dict().items()}
    ours.encoder.backbone.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith('fc.')}
    )
    ours.fc.load_state_dict({'weight': state['fc.weight'], 'bias': state['fc.bias']})


def clips(batch: int, frames: int, size: int) -> Tensor:
    return torch.randn(batch, frames, 3, size, size, generator=torch.Generator().manual_seed(0))


def check_equal(ours: Tensor, plain: Tensor) -> None:
    difference = float((ours - plain).abs().max() / plain.abs().max())
    if difference > 1e-4:
        raise RuntimeError(
            f'our TSM and the plain one differ by {difference:.1e} of the largest score; they are not the'
            ' same network'
        )


# -------------------------------------------------------------------------------------------- tsm: its memory


def resident_mb(key: str) -> float:
    """Memory of this process in MB: ``'VmRSS'`` now, ``'VmHWM'`` at its highest."""
    status = Path('/proc/self/status')
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(key))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == 'darwin' else 2**10)


def run_memory(args: argparse.Namespace) -> None:
    """Peak memory of one side in this process: MB at the highest, and how much of it came with the forward
    passes; printed as JSON."""
    import gfvideo.models  # noqa: F401  (on both sides, so that the same libraries fill the memory)

    torch.set_num_threads(args.threads)
    model = {'ours': our_tsm, 'plain': plain_tsm}[args.which](CLASSES, args.frames)
    x = clips(args.batch[0], args.frames, args.size)
    before = resident_mb('VmRSS')
    with torch.no_grad():
        for _ in range(2):
            model(x)
    peak = resident_mb('VmHWM')
    print(json.dumps(dict(peak=peak, added=peak - before)))


def peak_memory(which: str, batch: int, args: argparse.Namespace) -> dict[str, float]:
    """:func:`run_memory` in a process of its own."""
    command = [
        sys.executable,
        __file__,
        'memory',
        which,
        '--batch',
        str(batch),
        '--frames',
        str(args.frames),
        '--size',
        str(args.size),
        '--threads',
        str(args.threads),
    ]
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800).stdout
    )


def run_tsm(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    ours, plain = our_tsm(CLASSES, args.frames), plain_tsm(CLASSES, args.frames)
    copy_weights(plain, ours)
    print(
        f'TSM, ResNet-50, {args.frames} frames of {args.size}x{args.size}, float32, {args.threads} thread(s),'
        f' {args.rounds} rounds; median ratio (quartiles), plain / ours'
    )
    for batch in args.batch:
        x = clips(batch, args.frames, args.size)
        with torch.no_grad():
            check_equal(ours(x), plain(x))
            print(
                f'batch {batch}: {compare(lambda x=x: ours(x), lambda x=x: plain(x), args.rounds)}',
                flush=True,
            )
        memory = {which: peak_memory(which, batch, args) for which in ('ours', 'plain')}
        peaks = '   '.join(
            f'{which} {mb["peak"]:.0f} MB, {mb["added"]:.0f} MB of it for the forward pass'
            for which, mb in memory.items()
        )
        print(
            f'batch {batch}: peak memory   {peaks}   ratio'
            f' {memory["plain"]["peak"] / memory["ours"]["peak"]:.3f}',
            flush=True,
        )


# ---------------------------------------------------------------------------------------------------- reading


def read_by_hand(path: str, frames: int, short: int, crop: int) -> Tensor:
    """Middle frames of equal parts, short side to ``short``, centre crop, with decord and cv2 alone: uint8
    (T, 3, crop, crop)."""
    import decord

    reader = decord.VideoReader(path, num_threads=1)
    indices = ((np.arange(frames) + 0.5) * (len(reader) / frames)).astype(np.int64)
    return cut_by_hand(reader.get_batch(indices.tolist()).asnumpy(), short, crop)


def cut_by_hand(images: np.ndarray, short: int, crop: int) -> Tensor:
    """``(T, H, W, 3)`` -> ``(T, 3, crop, crop)`` with cv2."""
    height, width = images.shape[1:3]
    scale = short / min(height, width)
    height, width = int(height * scale + 0.5), int(width * scale + 0.5)
    top, left = (height - crop) // 2, (width - crop) // 2
    resized = [cv2.resize(image, (width, height))[top : top + crop, left : left + crop] for image in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()


def read_by_torchcodec(path: str, frames: int, short: int, crop: int) -> Tensor:
    """The same with torchcodec's approximate mode, which trusts the header, in place of decord."""
    from torchcodec.decoders import VideoDecoder

    reader = VideoDecoder(path, dimension_order='NHWC', num_ffmpeg_threads=1, seek_mode='approximate')
    indices = ((np.arange(frames) + 0.5) * (len(reader) / frames)).astype(np.int64)
    return cut_by_hand(reader.get_frames_at(indices.tolist()).data.numpy(), short, crop)


def our_pipeline(frames: int, short: int, crop: int, reader: str) -> Callable[[str], Tensor]:
    """The same with the transforms of a test pipeline."""
    from gfvideo.data.dataset import build_pipeline, describe_clip

    pipeline = build_pipeline(
        [
            dict(type='SampleFrames', frames=frames, strategy='segment', test_mode=True, reader=reader),
            dict(type='DecodeFrames', reader=reader),
            dict(type='ResizeShortSide', short=short),
            dict(type='CentreCrop', size=crop),
            dict(type='PackClip'),
        ]
    )
    return lambda path: pipeline(dict(describe_clip(path), label=None))['inputs']


def videos_in(paths: Sequence[Path], limit: int) -> list[str]:
    """Up to ``limit`` video files of the files and folders, evenly spread.

    Raises:
        FileNotFoundError: if there is none.
    """
    files = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist')
        files += (
            sorted(file for file in path.rglob('*') if file.suffix.lower() in VIDEO_ENDINGS)
            if path.is_dir()
            else [path]
        )
    if not files:
        raise FileNotFoundError(
            f'no video ({", ".join(sorted(VIDEO_ENDINGS))}) in {", ".join(map(str, paths))}'
        )
    return [
        str(files[i])
        for i in np.unique(np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int))
    ]


def mean_difference(ours: Tensor, plain: Tensor) -> float:
    """Mean absolute difference of two clips, in levels of 0..255; 255 where their shapes differ."""
    return float((ours.float() - plain.float()).abs().mean()) if ours.shape == plain.shape else 255.0


def run_reading(args: argparse.Namespace) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    files = videos_in(args.videos, args.limit)
    read = our_pipeline(args.frames, args.short, args.crop, args.reader)
    by_hand = dict(decord=read_by_hand, torchcodec=read_by_torchcodec)[args.plain]
    plain: Callable[[str], Tensor] = lambda path: by_hand(path, args.frames, args.short, args.crop)  # noqa: E731
    differences = [mean_difference(read(file), plain(file)) for file in files]
    print(
        f'{len(files)} files, {args.frames} frames, short side {args.short}, crop {args.crop}, reader'
        f' {args.reader}, plain: {args.plain} and cv2, one thread; median ratio (quartiles), plain / ours'
    )
    for file, difference in zip(files, differences):
        if difference > 1:
            print(
                f'{file}: the two differ by {difference:.1f} of 255 on average (other frames, sizes or'
                ' colours)'
            )

    def all_files(read_one: Callable[[str], Tensor]) -> Callable[[], None]:
        return lambda: [read_one(file) for file in files] and None

    print(f'all files: {compare(all_files(read), all_files(plain), args.rounds)}')


# ------------------------------------------------------------------------------------------------------- rows


def write_rows(folder: Path, count: int) -> None:
    """A prepared dataset of ``count`` clips that are nowhere."""
    from gfvideo.data.manifest import ClipRow, write_manifest

    classes = [f'class {number:03d}' for number in range(400)]
    rows = [
        ClipRow(name, f'{name}.mp4', 'video', number % 400, 250, 256, 340)
        for number in range(count)
        for name in [f'train/class_{number % 400:03d}/{number:011d}_000010_000020']
    ]
    write_manifest(
        folder,
        name='benchmark',
        version='custom',
        classes=classes,
        label_order='sorted',
        rows={'train': rows},
        video_root='.',
    )


def run_load(args: argparse.Namespace) -> None:
    """Load the rows in this process; printed as JSON: seconds of CPU, and MB that came with them at most."""
    from gfvideo.data.dataset import ClipDataset

    before, began = resident_mb('VmRSS'), time.process_time()
    dataset = ClipDataset(args.folder, 'train', [lambda results: results], test_mode=True)
    spent = time.process_time() - began
    print(json.dumps(dict(rows=len(dataset), seconds=spent, mb=max(0, resident_mb('VmHWM') - before))))


def run_rows(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), args.clips)
        command = [sys.executable, __file__, 'load', folder]
        for name in ('from the table', 'from the text'):
            if name == 'from the text':
                next(Path(folder).glob('*.table')).unlink()
            told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800).stdout
            loaded = json.loads(told)
            print(f'{loaded["rows"]} rows {name}: {loaded["seconds"]:.2f} s of CPU, {loaded["mb"]:.0f} MB')


# ------------------------------------------------------------------------------------------------- early exit


def run_thresholds(args: argparse.Namespace) -> None:
    """Time of the search for thresholds, all budgets together, on simulated confidences: surer at later
    exits, right as often as sure."""
    from gfvideo.exits import ExitTable, direct_search

    torch.set_num_threads(args.threads)
    random = torch.Generator().manual_seed(0)
    ease = torch.randn(args.samples, 1, generator=random) + torch.arange(args.exits) / 2 - 1  # (N, K)
    sure = torch.sigmoid(2 * ease + torch.randn(args.samples, args.exits, generator=random)).double()
    table = ExitTable.of(
        sure, torch.rand(sure.shape, generator=random) < sure, torch.arange(1.0, args.exits + 1)
    )
    worth = table.correct + 0.25 * sure  # as calibrations search
    seconds = [timed(lambda: direct_search(table, worth=worth))[0] for _ in range(args.rounds)]
    frontier = direct_search(table, worth=worth)
    budgets = np.linspace(1.01, args.exits, 40)
    began = time.perf_counter()
    found = [frontier.within(budget) for budget in budgets]
    print(
        f'{args.samples} samples, {args.exits} exits, {args.threads} threads: search'
        f' {statistics.median(seconds):.2f} s (median of {args.rounds}), then {len(found)} budgets'
        f' {1e3 * (time.perf_counter() - began):.1f} ms'
    )


def run_exits(args: argparse.Namespace) -> None:
    """Speed-up of exits over the same network without them, beside the speed-up that the multiply-adds
    promise."""
    from gfvideo.apis import init_recognizer
    from gfvideo.complexity import recognizer_cost
    from gfvideo.engine.exiting import micro_batch_for
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.exits import (
        StepExits,
        geometric_fractions,
        geometric_thresholds,
        replay,
        run_clips,
        step_table,
    )

    torch.set_num_threads(args.threads)
    model = init_recognizer(args.config, args.checkpoint, args.device)
    clips = SplitPredictions(model, args.split, args.fold)
    frames = clips.frames(args.limit)  # (N, T, 3, H, W)
    gmacs = [steps / 1e9 for steps in recognizer_cost(model, tuple(frames.shape[1:]))['steps']]
    with torch.no_grad():
        logits = torch.cat([model.predict_steps(some).step_logits.float().cpu() for some in frames.split(8)])
    table = step_table(logits, torch.zeros(len(frames), dtype=torch.long), gmacs)

    def outcome(ratio: float) -> tuple[Any, Tensor]:
        thresholds = geometric_thresholds(table.confidence, geometric_fractions(ratio, len(gmacs)))
        return replay(table, thresholds), thresholds

    ratios = np.geomspace(0.01, 100, 200)
    done, thresholds = min(
        (outcome(ratio) for ratio in ratios), key=lambda one: abs(one[0].cost - args.share * gmacs[-1])
    )
    exits = StepExits(tuple(thresholds.tolist()))
    promised = gmacs[-1] / done.cost
    print(
        f'{len(frames)} clips of split {args.split!r} on {frames.device}, {args.threads} threads;'
        f' {gmacs[-1]:.3f} GMACs without exits, {done.cost:.3f} with, {promised:.2f} times fewer; clips leave'
        f' after step 0, 1, ...: {done.exits.tolist()}'
    )
    print('median (quartiles); efficiency is the measured speed-up divided by that of the multiply-adds')
    for batch in args.batch:
        size = micro_batch_for(frames.device) if args.micro_batch is None else args.micro_batch
        result = compare(
            lambda batch=batch, size=size: _through(model, frames, batch, exits, size, run_clips),
            lambda batch=batch, size=size: _through(model, frames, batch, None, size, run_clips),
            args.rounds,
        )
        low, middle, high = (speed_up / promised for speed_up in result.wall)
        print(
            f'batch {batch:>3}, looked at {size or "all"} at a time: {result.ours_ms / len(frames):.1f} ms'
            f' per clip with exits, {result.plain_ms / len(frames):.1f} without, {result.wall[1]:.2f} times'
            f' faster, efficiency {middle:.3f} ({low:.3f} to {high:.3f})'
        )


def _through(
    model: nn.Module,
    frames: Tensor,
    batch: int,
    exits: Any,
    micro_batch: int | None,
    run_clips: Callable[..., Any],
) -> None:
    for some in frames.split(batch):
        run_clips(model, some, exits, micro_batch)
    if frames.device.type == 'cuda':
        torch.cuda.synchronize(frames.device)


def run_streams(args: argparse.Namespace) -> None:
    """From opening a file to its answer: with exits, without, and with the whole clip read first."""
    from gfvideo.apis import build_pipeline, frame_names, init_recognizer, predict_clip, prepare_video, stream
    from gfvideo.engine.predictions import SplitPredictions

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    model = init_recognizer(args.config, args.checkpoint, args.device)
    videos = SplitPredictions(model, args.split, args.fold).videos(args.limit)
    pipeline, names = build_pipeline(model.cfg), frame_names(model.cfg)
    results: dict[str, list[tuple[float, ...]]] = {}

    def note(name: str, *values: float) -> None:
        results.setdefault(name, []).append(values)

    for number in range(args.rounds + 1):  # the first round warms up
        for path, label in videos:
            began = time.perf_counter()
            sample = predict_clip(model, prepare_video(path, pipeline, **names))
            whole = 1e3 * (time.perf_counter() - began)
            *_, last = stream(model, path)
            *_, early = frames = list(stream(model, path, args.exits))
            if number:
                note(
                    'whole clip first',
                    whole,
                    float('nan'),
                    float('nan'),
                    float(sample.logits.argmax() == label),
                )
                note(
                    'stream, all looks',
                    last.ms,
                    last.decoded,
                    float('nan'),
                    float(last.logits.argmax() == label),
                )
                note(
                    'stream, exits',
                    early.ms,
                    early.decoded,
                    len(frames),
                    float(early.logits.argmax() == label),
                )
                note(
                    'whole clip first / stream, exits',
                    whole / early.ms,
                    float('nan'),
                    float('nan'),
                    float('nan'),
                )
    print(
        f'{len(videos)} videos of split {args.split!r}, {args.rounds} rounds, {args.threads} threads; opening'
        ' the file to answering'
    )
    print(f'{"":<34}{"median":>9}{"mean":>9}{"p95":>9} ms{"decoded":>10}{"looked at":>11}{"top-1 %":>9}')
    for name, rows in results.items():
        ms, decoded, looked, right = np.array(rows).T
        print(
            f'{name:<34}{np.median(ms):>9.2f}{ms.mean():>9.2f}{np.percentile(ms, 95):>9.2f}  '
            f' {decoded.mean():>10.1f}{looked.mean():>11.2f}{100 * right.mean():>9.1f}'
        )


# ------------------------------------------------------------------------------------------------------- onnx


def glancing_mobilenet(frames: int, size: int) -> nn.Module:
    """A static recognizer, TSM on MobileNetV2, whose inputs are resized to ``size``; its running statistics
    are those of noise."""
    from gfvideo.registry import MODELS

    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='ClipRecognizer',
            num_classes=CLASSES,
            input_size=size,
            encoder=dict(type='Encoder', backbone=dict(type='MobileNetV2')),
        )
    )
    return with_living_norms(model, lambda model: model(clips(4, frames, size)))


def with_living_norms(model: Any, run: Callable[[Any], Any]) -> Any:
    """A network whose batch normalisation knows the statistics of a run; else activations fade to numbers
    that processors are slow at."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        run(model.train())
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def run_onnx(args: argparse.Namespace) -> None:
    """Glances at one clip: frames as large as the glance, then frames that are resized to it first."""
    from gfvideo.deployment import OnnxRecognizer, export_recognizer

    if not args.all_threads:
        torch.set_num_threads(args.threads)
    told = (
        f'threads: torch {torch.get_num_threads()}, onnxruntime'
        f' {"its own choice" if args.all_threads else args.threads}'
    )
    print(
        f'MobileNetV2 with the temporal shift, glance at {args.glance_size}x{args.glance_size}, batch 1,'
        f' float32, {told}, {args.rounds} rounds; median ratio (quartiles), torch (plain) / onnxruntime'
        ' (ours)'
    )
    for frames in args.frames:
        model = glancing_mobilenet(8, args.glance_size)
        for size in dict.fromkeys((args.glance_size, args.size)):
            with tempfile.TemporaryDirectory() as folder:
                export_recognizer(model, folder, frames, (size, size))
                graphs = OnnxRecognizer(folder, None if args.all_threads else args.threads)
            x = clips(1, frames, size)
            with torch.inference_mode():
                result = compare(lambda: graphs.glance(x), lambda: model.glance(x), args.rounds)  # noqa: B023 (run at once)
            print(f'T={frames}, frames of {size}x{size}: {result}', flush=True)


# ---------------------------------------------------------------------------------------------------- engines


def mobilenet(shift: str, glance_size: int | None, patch_size: int, steps: int) -> Any:
    """Glance-and-Focus with a value map, or the static TSM at ``patch_size`` where there is no glance; with
    weights that keep activations alive."""
    from gfvideo.registry import MODELS

    encoder = dict(type='Encoder', shift=shift, backbone=dict(type='MobileNetV2'))
    config = dict(type='ClipRecognizer', num_classes=CLASSES, input_size=patch_size, encoder=encoder)
    if glance_size is not None:
        config = dict(
            type='GlanceFocusRecognizer',
            num_classes=CLASSES,
            glance=dict(encoder, map_stride=16),
            focus=dict(encoder, map_stride=16),
            glance_size=glance_size,
            patch_size=patch_size,
            steps=steps,
            policy=dict(type='ValueMapPolicy'),
            classifier=dict(type='ConcatClassifier'),
        )
    torch.manual_seed(0)
    return with_living_norms(MODELS.build(config), lambda model: model.looks(clips(4, 8, 240)))


def at_half_cost(model: Any, frames: Tensor, costs: Sequence[int]) -> tuple[Any, float]:
    """Exits by which so many of the clips ``frames`` leave after the glance that their mean cost is half of
    that of all looks, or as near to it as whole clips come; and that cost."""
    from gfvideo.exits import StepExits, confidence

    sure = confidence(torch.cat([model.predict_steps(clip).step_logits[:, 0] for clip in frames.split(1)]))
    share = min(1.0, 0.5 * costs[-1] / (costs[-1] - costs[0]))
    leave = round(share * len(frames))
    threshold = sure.sort(descending=True).values[leave - 1].item() if leave else float('inf')
    mean = (leave * costs[0] + (len(frames) - leave) * costs[-1]) / len(frames)
    return StepExits((threshold, *[float('inf')] * (model.steps - 1))), mean


def mmaction2_tsm() -> nn.Module:
    """MobileNetV2 with the temporal shift as MMAction2 builds it, with weights that keep activations alive.

    Raises:
        ImportError: if MMAction2 is not there.
    """
    import mmaction.models  # noqa: F401 (registers)
    from mmaction.registry import MODELS as THEIRS

    torch.manual_seed(0)
    head = dict(type='TSMHead', num_segments=8, in_channels=1280, num_classes=CLASSES, is_shift=True)
    backbone = dict(type='MobileNetV2TSM', num_segments=8, shift_div=8, pretrained=None, pretrained2d=False)
    before = dict(type='mmaction.ActionDataPreprocessor')
    model = THEIRS.build(
        dict(type='Recognizer2D', backbone=backbone, cls_head=head, data_preprocessor=before)
    )
    return with_living_norms(model, lambda model: model(clips(4, 8, 224), stage='head'))


def same_weights(theirs: nn.Module) -> nn.Module:
    """The static TSM of this package with the weights of one of MMAction2."""
    from gfvideo.conversion import FORMS, Options
    from gfvideo.registry import MODELS

    config, weights, _ = FORMS['mmaction2'](dict(state_dict=theirs.state_dict()), Options())
    ours = MODELS.build(config).eval()
    ours.load_state_dict(weights)
    return ours


class Pairs:
    """What is compared on each engine; networks are made when a row first asks for them.

    Args:
        args: of the command ``engines`` or ``all``.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        from gfvideo.engine import choose_device

        self.device = choose_device(args.device)
        if self.device.type == 'cuda':
            torch.cuda.set_device(self.device)  # whose work is waited for
        shape = (args.clips, 8, 3, *args.frame_size)
        frames = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.frames = frames.to(self.device)
        # clips looked at together: one on a CPU; as many as there are on a GPU, which one leaves idle
        self.together = 1 if self.device.type == 'cpu' else args.clips
        self._made: dict[Any, Any] = {}

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def network(self, engine: str, shift: str = 'bidirectional', static: bool = False) -> Any:
        """Ours, or the static TSM, on an engine."""
        from gfvideo.deployment import with_runtime

        args = self.args
        sizes = (None, args.size, 0) if static else (args.glance_size, args.patch_size, args.steps)
        torchs = self._once((shift, static), lambda: mobilenet(shift, *sizes).to(self.device))
        return self._once((engine, shift, static), lambda: with_runtime(torchs, engine, args.threads))

    def costs(self, static: bool = False) -> list[int]:
        """Multiply-adds after each look."""
        from gfvideo.complexity import recognizer_cost

        model, shape = self.network('eager', static=static), tuple(self.frames.shape[1:])
        return self._once(('costs', static), lambda: recognizer_cost(model, shape)['steps'])

    def exits(self, batch: int) -> tuple[Any, float, Tensor]:
        """Exits at half cost of ``batch`` clips or as many as there are, what they cost, and these clips."""
        frames = self.frames.repeat(-(-batch // len(self.frames)), 1, 1, 1, 1)[: max(batch, len(self.frames))]
        model, costs = self.network('eager'), self.costs()
        return self._once(('exits', batch), lambda: (*at_half_cost(model, frames, costs), frames))

    def result(
        self,
        ours: Callable[[], Any],
        plain: Callable[[], Any],
        units: int,
        limit: float | None = None,
        mark: float | None = None,
    ) -> Any:
        from gfvideo.measuring import MeasuredRow

        with torch.no_grad():
            found = compare(ours, plain, self.args.rounds)
        return MeasuredRow(found.ours_ms / units, found.plain_ms / units, found.wall, found.cpu, limit, mark)

    # ---- rows

    def against_static(self, engine: str, early: bool) -> Any:
        """Whole clips, all looks or exits at half cost, against the static TSM."""
        from gfvideo.exits import run_clips

        rule, cost, frames = self.exits(1) if early else (None, self.costs()[-1], self.frames)
        ours, plain = self.network(engine), self.network(engine, static=True)
        limit = self.costs(static=True)[-1] / cost
        share = 0.9 if self.device.type == 'cpu' else 0.8
        buckets = engine == 'compile'  # which prepares itself for each size of batch
        return self.result(
            lambda: run_clips(ours, frames, rule, self.together, buckets),
            lambda: run_clips(plain, frames, None, self.together),
            len(frames),
            limit,
            share * limit if early or self.device.type != 'cpu' else None,
        )

    def streams(self, engine: str) -> Any:
        """A frame of a stream, all looks, against the static TSM's."""
        ours, plain = self.network(engine, 'causal'), self.network(engine, 'causal', static=True)
        return self.result(
            lambda: read_on(ours, self.frames),
            lambda: read_on(plain, self.frames),
            8 * len(self.frames),
            self.costs(static=True)[-1] / self.costs()[-1],
            1 / 0.7,
        )

    def clip_and_stream(self, engine: str) -> Any:
        """A frame in a stream against one in a clip: clip / stream, 1 where a stream costs no more."""
        from gfvideo.exits import run_clips

        model = self.network(engine, 'causal')
        return self.result(
            lambda: read_on(model, self.frames),
            lambda: run_clips(model, self.frames, None, self.together),
            8 * len(self.frames),
            1.0,
            1 / 1.5,
        )

    def efficiency(self, engine: str, batch: int) -> Any:
        """Exits at half cost against the same network without them."""
        from gfvideo.engine.exiting import micro_batch_for
        from gfvideo.exits import run_clips

        model, (rule, cost, frames) = self.network(engine), self.exits(batch)
        size = min(batch, micro_batch_for(frames.device) or batch)
        limit = self.costs()[-1] / cost
        return self.result(
            lambda: run_clips(model, frames, rule, size, engine == 'compile'),
            lambda: run_clips(model, frames, None, size),
            len(frames),
            limit,
            (0.9 if batch == 1 else 0.8) * limit,
        )

    def eager_against(self, engine: str, static: bool, mark: float | None = None) -> Any:
        """Whole clips in eager torch against the same on an engine."""
        ours, plain = self.network(engine, static=static), self.network('eager', static=static)
        frames = self.frames
        return self.result(
            lambda: [ours.predict_steps(clip) for clip in frames.split(self.together)],
            lambda: [plain.predict_steps(clip) for clip in frames.split(self.together)],
            len(frames),
            mark=mark,
        )

    def glance_against_eager(self, engine: str) -> Any:
        """A glance alone at frames of its size, in eager torch against an engine."""
        from gfvideo.deployment import with_runtime

        side = self.args.glance_size
        plain = self._once('glance', lambda: glancing_mobilenet(8, side).to(self.device))
        ours, x = with_runtime(plain, engine, self.args.threads), clips(1, 8, side).to(self.device)
        return self.result(lambda: ours.glance(x), lambda: plain.glance(x), 1, mark=3.0)

    def against_mmaction2(self, engine: str) -> Any:
        """The static TSM on an engine against MMAction2's, which is eager torch: the same weights, frames of
        224x224 ready to be read, one clip."""
        from gfvideo.deployment import with_runtime

        plain = self._once('mmaction2', lambda: mmaction2_tsm().to(self.device))
        model = self._once('mmaction2, ours', lambda: same_weights(plain).to(self.device))
        ours, x = with_runtime(model, engine, self.args.threads), clips(1, 8, 224).to(self.device)
        with torch.no_grad():
            check_equal(ours(x), plain(x, stage='head'))
        return self.result(lambda: ours(x), lambda: plain(x, stage='head'), 1, mark=3.0)

    def folded(self, static: bool) -> Any:
        """Normalisation folded against unfolded, eager, one clip."""
        model = self.network('eager', static=static)
        plain, x = unfolded(model), self.frames[:1]
        with torch.no_grad():
            check_equal(model(x), plain(x))
        return self.result(lambda: model(x), lambda: plain(x), 1)

    def bfloat16(self, static: bool) -> Any:
        """Encoders in bfloat16 against float32, eager, one clip."""
        from gfvideo.deployment import with_bfloat16

        model, x = self.network('eager', static=static), self.frames[:1]
        rounded, _ = with_bfloat16(model, largest_drop=None)
        return self.result(lambda: rounded(x), lambda: model(x), 1)

    def in_parts(self, batch: int) -> Any:
        """A batch looked at a few clips at a time against all at once, eager."""
        model, (_, _, frames) = self.network('eager'), self.exits(batch)
        return self.result(lambda: model(frames), lambda: model.looks(frames), len(frames))

    def reading(self, files: Sequence[str], plain: str) -> Any:
        """Eight frames of video files with transforms, against a library by hand."""
        by_hand = dict(decord=read_by_hand, torchcodec=read_by_torchcodec)[plain]
        cv2.setNumThreads(1)
        try:
            importlib.import_module(plain)
        except (OSError, RuntimeError) as error:  # it is there, and its FFmpeg is not
            raise ImportError(str(error).strip().splitlines()[0]) from error
        read = our_pipeline(8, 256, 224, 'auto')
        mark = 2.0 if plain == 'decord' else 1.0
        return self.result(
            lambda: [read(file) for file in files],
            lambda: [by_hand(file, 8, 256, 224) for file in files],
            len(files),
            mark=mark,
        )

    def rows_of_engines(self) -> dict[str, Callable[[], Any]]:
        """Rows by name: first what is ours, then the plain side."""
        rows: dict[str, Callable[[], Any]] = {}
        for engine in self.args.engines:
            rows |= {
                f'{engine}: clips, all looks, to static TSM': partial(self.against_static, engine, False),
                f'{engine}: clips, exits at half cost, to static TSM': partial(
                    self.against_static, engine, True
                ),
                f'{engine}: streams, all looks, to static TSM': partial(self.streams, engine),
                f'{engine}: streams to clips, all looks': partial(self.clip_and_stream, engine),
            }
        for engine in self.args.engines:
            if engine != 'eager':
                rows |= {
                    f'{engine} to eager, all looks': partial(self.eager_against, engine, False),
                    f'{engine} to eager, static TSM': partial(self.eager_against, engine, True),
                }
        return rows

    def all_rows(self) -> dict[str, Callable[[], Any]]:
        rows = self.rows_of_engines()
        for engine in self.args.engines:
            if engine != 'eager':
                rows[f'{engine} to eager, a glance'] = partial(self.glance_against_eager, engine)
            rows[f'{engine}: static TSM to MMAction2'] = partial(self.against_mmaction2, engine)
        for engine in self.args.engines:
            for batch in dict.fromkeys((1, self.args.batch)):
                name = f'{engine}: exits at half cost to none, batch {batch}'
                rows[name] = partial(self.efficiency, engine, batch)
        rows |= {
            'folded to unfolded, static TSM': partial(self.folded, True),
            'folded to unfolded, all looks': partial(self.folded, False),
            'bfloat16 to float32, static TSM': partial(self.bfloat16, True),
            'bfloat16 to float32, all looks': partial(self.bfloat16, False),
            f'batch of {self.args.batch} in parts to at once': partial(self.in_parts, self.args.batch),
        }
        if self.args.videos:
            files = videos_in(self.args.videos, 20)
            for plain in ('decord', 'torchcodec'):
                rows[f'reading to {plain} and cv2'] = partial(self.reading, files, plain)
        return rows


def run_engines(args: argparse.Namespace) -> None:
    """Glance-and-Focus against the static TSM on each engine: whole clips, early exit, streams."""
    tell_table(args, Pairs(args).rows_of_engines())


def run_all(args: argparse.Namespace) -> None:
    """Every row of the table in docs/performance.md."""
    rows = Pairs(args).all_rows()
    if args.only:
        rows = {name: row for name, row in rows.items() if any(part in name for part in args.only)}
        if not rows:
            raise ValueError(f'no row has {" or ".join(map(repr, args.only))} in its name')
    tell_table(args, rows)


def tell_table(args: argparse.Namespace, rows: dict[str, Callable[[], Any]]) -> None:
    from gfvideo.measuring import Table

    torch.set_num_threads(args.threads)
    names = (
        'frame_size',
        'glance_size',
        'patch_size',
        'steps',
        'size',
        'clips',
        'batch',
        'threads',
        'rounds',
    )
    settings = {name: getattr(args, name) for name in names if hasattr(args, name)}
    device = torch.device(args.device)
    settings['device'] = torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
    settings['videos'] = [str(path) for path in getattr(args, 'videos', [])]
    print(
        'MobileNetV2, 8 frames of {frame_size[0]}x{frame_size[1]}; ours: a glance at {glance_size}, {steps}'
        ' looks of {patch_size}, a value map; static TSM at {size}; {device}, threads:'
        ' {threads}; {rounds} rounds'.format(**settings)
    )
    print('limit: ratio of the multiply-adds; * the mark is not reached by the time of the processors')
    table = Table(getattr(args, 'out', None), settings, getattr(args, 'again', False))
    try:
        table.measure(rows)
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command goes on from here' if table.path else 'interrupted')


@torch.no_grad()
def read_on(model: Any, frames: Tensor) -> None:
    """Every clip ``(N, T, 3, H, W)`` frame by frame."""
    for clip in frames:
        stream = model.stream()
        for frame in clip:
            stream.read(frame)


# ------------------------------------------------------------------------------------------------- evaluation


def looking_mobilenet(glance_size: int, patch_size: int, steps: int) -> nn.Module:
    """Glance-and-Focus on MobileNetV2."""
    from gfvideo.registry import MODELS

    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='MobileNetV2'))
    return MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder,
            focus=encoder,
            policy=dict(type='ValueMapPolicy'),
            classifier=dict(type='ConcatClassifier'),
            num_classes=CLASSES,
            glance_size=glance_size,
            patch_size=patch_size,
            steps=steps,
        )
    ).eval()


def unfolded(model: nn.Module) -> nn.Module:
    """A copy that normalises: a backbone with a foreign hook on it runs as it is."""
    from gfvideo.models import Encoder

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Encoder):
            module.backbone.register_forward_hook(lambda *_: None)
    return model


@torch.no_grad()
def run_evaluation(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    looking = looking_mobilenet(96, 80, 2)
    print(
        f'MobileNetV2, {args.frames} frames of {args.size}x{args.size}, float32, {args.threads} thread(s),'
        f' {args.rounds} rounds; median ratio (quartiles), plain / ours'
    )
    x = clips(1, args.frames, args.size)
    for name, model in (
        ('static TSM', glancing_mobilenet(args.frames, args.size)),
        ('Glance-and-Focus, 96, 80, 2 looks', looking),
    ):
        plain = unfolded(model)
        check_equal(model(x), plain(x))
        result = compare(lambda m=model: m(x), lambda m=plain: m(x), args.rounds)
        print(f'{name}, one clip, folded / unfolded: {result}', flush=True)
    for batch in args.batch:
        x = clips(batch, args.frames, args.size)
        result = compare(lambda x=x: looking(x), lambda x=x: looking.looks(x), args.rounds)
        print(f'Glance-and-Focus, batch {batch}, in parts / at once: {result}', flush=True)


# ------------------------------------------------------------------------------------------------------- main


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    with_defaults = argparse.ArgumentDefaultsHelpFormatter
    commands = parser.add_subparsers(dest='command', required=True, metavar='WHAT')
    tsm = commands.add_parser(
        'tsm', help='static TSM forward pass: time and peak memory', formatter_class=with_defaults
    )
    tsm.add_argument('--rounds', type=int, default=15, help='pairs of runs')
    tsm.set_defaults(run=run_tsm)
    memory = commands.add_parser(
        'memory', help="peak memory of one side's TSM, in this very process", formatter_class=with_defaults
    )
    memory.add_argument('which', choices=['ours', 'plain'])
    memory.set_defaults(run=run_memory)
    for parser_of_tsm, batches in ((tsm, [1, 8]), (memory, [1])):
        parser_of_tsm.add_argument('--batch', type=int, nargs='+', default=batches, help='clips in a batch')
        parser_of_tsm.add_argument('--frames', type=int, default=8, help='frames of a clip')
        parser_of_tsm.add_argument(
            '--size', type=int, default=224, help='height and width of a frame in pixels'
        )
        parser_of_tsm.add_argument('--threads', type=int, default=1, help='threads of torch')
    reading = commands.add_parser(
        'reading', help='frames of video files, with transforms', formatter_class=with_defaults
    )
    reading.add_argument('videos', nargs='+', type=Path, help='video files, or folders of them')
    reading.add_argument(
        '--limit', type=int, default=20, help='files to read, evenly spread over those given'
    )
    reading.add_argument('--frames', type=int, default=8, help='frames of a clip')
    reading.add_argument('--short', type=int, default=256, help='short side after resizing, in pixels')
    reading.add_argument('--crop', type=int, default=224, help='side of the centre crop, in pixels')
    reading.add_argument('--reader', default='auto', help='auto, torchcodec, pyav or decord')
    reading.add_argument(
        '--plain',
        default='decord',
        choices=['decord', 'torchcodec'],
        help='what the plain code decodes with: decord, as MMAction2, or torchcodec in its approximate mode',
    )
    reading.add_argument('--rounds', type=int, default=10, help='pairs of runs over all files')
    reading.set_defaults(run=run_reading)
    rows = commands.add_parser(
        'rows', help='loading the rows of a prepared dataset', formatter_class=with_defaults
    )
    rows.add_argument('--clips', type=int, default=1_000_000, help='rows to load')
    rows.set_defaults(run=run_rows)
    load = commands.add_parser('load', help='load the rows in this very process')
    load.add_argument('folder', type=Path, help='the prepared dataset')
    load.set_defaults(run=run_load)
    thresholds = commands.add_parser(
        'thresholds', help='the search for thresholds', formatter_class=with_defaults
    )
    thresholds.add_argument('--samples', type=int, default=50_000, help='held-out clips')
    thresholds.add_argument('--exits', type=int, default=5, help='exits of a clip, with the last')
    thresholds.add_argument('--rounds', type=int, default=3, help='times to search')
    thresholds.add_argument('--threads', type=int, default=1, help='threads of torch')
    thresholds.set_defaults(run=run_thresholds)
    exits = commands.add_parser(
        'exits', help='early exit against the same network without', formatter_class=with_defaults
    )
    exits.add_argument('--batch', type=int, nargs='+', default=[1, 32], help='clips in a batch')
    exits.add_argument(
        '--micro-batch', type=int, help='clips looked at together (default: 4 on a CPU, all on a GPU)'
    )
    exits.add_argument(
        '--share', type=float, default=0.5, help='mean cost of a clip with exits, as a share of all looks'
    )
    exits.set_defaults(run=run_exits)
    streams = commands.add_parser(
        'streams', help='from opening a file to the answer', formatter_class=with_defaults
    )
    streams.set_defaults(run=run_streams)
    onnx = commands.add_parser(
        'onnx', help='a glance by onnxruntime against the same in torch', formatter_class=with_defaults
    )
    onnx.add_argument(
        '--frames', type=int, nargs='+', default=[8, 1], help='frames of a clip, one measurement each'
    )
    onnx.add_argument('--glance-size', type=int, default=96, help='height and width of the glance in pixels')
    onnx.add_argument(
        '--size', type=int, default=224, help='height and width of the frames that are resized to it'
    )
    onnx.add_argument('--rounds', type=int, default=40, help='pairs of runs')
    onnx.add_argument('--threads', type=int, default=1, help='threads of either')
    onnx.add_argument('--all-threads', action='store_true', help='as many as either takes by itself')
    onnx.set_defaults(run=run_onnx)
    engines = commands.add_parser(
        'engines',
        help='Glance-and-Focus against the static TSM on each engine',
        formatter_class=with_defaults,
    )
    engines.set_defaults(run=run_engines)
    everything = commands.add_parser(
        'all',
        help='the whole table of docs/performance.md, row by row, gone on with where it was interrupted',
        formatter_class=with_defaults,
    )
    everything.add_argument('--out', type=Path, help='JSON file that keeps the rows')
    everything.add_argument('--again', action='store_true', help='measure rows anew that are there')
    everything.add_argument('--only', nargs='+', help='rows that have one of these in their names')
    everything.add_argument('--batch', type=int, default=32, help='clips in a batch of exits and parts')
    everything.add_argument(
        '--videos', type=Path, nargs='+', default=[], help='files or folders, to measure readers on'
    )
    everything.set_defaults(run=run_all)
    for table in (engines, everything):
        table.add_argument(
            '--engines',
            nargs='+',
            default=argparse.SUPPRESS,
            help='eager, onnxruntime, compile (default: the first two on a CPU; on a GPU the first and the'
            ' last)',
        )
        table.add_argument(
            '--device',
            default='cpu',
            metavar='NAME',
            help='cpu, or cuda, cuda:1, ..., where --clips are looked at together',
        )
        table.add_argument('--clips', type=int, default=8, help='clips of a run')
        table.add_argument('--frame-size', type=int, nargs=2, default=[240, 320], help='height and width')
        table.add_argument(
            '--glance-size', type=int, default=96, help='height and width of the glance in pixels'
        )
        table.add_argument('--patch-size', type=int, default=80, help='of the patches')
        table.add_argument('--steps', type=int, default=2, help='focus looks')
        table.add_argument('--size', type=int, default=224, help='of the frames that the static TSM reads')
        table.add_argument('--rounds', type=int, default=9, help='pairs of runs')
        table.add_argument('--threads', type=int, default=1, help='threads of either')
    evaluation = commands.add_parser(
        'evaluation', help='folded normalisation, and batches in parts', formatter_class=with_defaults
    )
    evaluation.add_argument('--batch', type=int, nargs='+', default=[32], help='clips in a batch')
    evaluation.add_argument('--frames', type=int, default=8, help='frames of a clip')
    evaluation.add_argument('--size', type=int, default=224, help='height and width of a frame in pixels')
    evaluation.add_argument('--rounds', type=int, default=15, help='pairs of runs')
    evaluation.add_argument('--threads', type=int, default=1, help='threads of torch')
    evaluation.set_defaults(run=run_evaluation)
    for early in (exits, streams):
        early.add_argument('config', help='config file')
        early.add_argument('checkpoint', help='checkpoint of it, or the work dir of its run')
        early.add_argument('--split', required=True, help='split of the prepared dataset')
        early.add_argument('--fold', metavar='K/N', help='a part of it')
        early.add_argument('--limit', type=int, default=64, help='clips to take')
        early.add_argument('--rounds', type=int, default=5, help='pairs of runs over all clips')
        early.add_argument('--threads', type=int, default=1, help='threads of torch')
        early.add_argument(
            '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
        )
    streams.add_argument('exits', help='file of tools/calibrate.py --stream')
    args = parser.parse_args(arguments)
    if args.run in (run_engines, run_all) and not hasattr(args, 'engines'):
        args.engines = ['eager', 'onnxruntime' if args.device == 'cpu' else 'compile']
    names = ('frames', 'size', 'threads', 'rounds', 'limit', 'short', 'crop', 'batch', 'glance_size', 'clips')
    if min(np.min(getattr(args, name, 1)) for name in names) < 1:
        parser.error('give positive numbers')
    return args


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, RuntimeError, FileNotFoundError, ImportError) as error:
        sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
