#!/usr/bin/env python
"""Write the toy set: small encoded videos in Something-Something-V2 form, made from nothing but a seed.

A warm-coloured disc with a fine texture in its middle is pushed to the left or to the right over clutter. Its class is (what, how):

* WHAT, one of four textures of equal mean and equal contrast, is readable only at full resolution: the texture's period is size/32 pixels,
  so it averages out when a frame is seen at 32x32. A disc and its colour stay visible there, among discs of colder colours.
* HOW, the direction, is readable only over time: a clip to the left is a clip to the right played backwards, and in every frame the disc may
  stand anywhere. It is pushed out of one side's reach and set back at the other, so that place and direction are independent.
* WHERE the disc is differs by clip, and by frame within a clip.

Files: videos/<id>.webm (VP9, 12 frames a second); something-something-v2-{labels,train,validation,test}.json; test-answers.csv (id;label);
objects.csv (id,frame,x,y,diameter: the disc's centre and width in pixels; for measuring where patches fall, never for training);
toy.json (the settings, and the sign that this folder is ours to replace).

The same settings and seed give the same pixels before encoding, clip by clip, whatever the number of clips: a clip depends on the seed and its id.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np

VERSION = 1  # of the pictures: raise it when the same seed draws other pixels
FRAMES_PER_SECOND = 12
GLANCE = 32  # pixels across, of a frame in which the texture averages out
DIAMETER, MARK = 20 / 128, 12 / 128  # of the disc, and of the texture in its middle, as parts of the frame's width
SPLITS = {'train': 100000, 'validation': 200000, 'test': 300000}  # first id of each split
MAX_CLIPS = 100000
TEXTURES = {'upright stripes': (1, 0), 'level stripes': (0, 1), 'rising stripes': (1, 1), 'falling stripes': (1, -1)}
MOTIONS = {'from left to right': 1, 'from right to left': -1}
WARM, COLD = (-60, 20), (100, 220)  # hues in degrees in the plane of red and blue differences
DISTRACTORS = 4
MARKER = 'toy.json'


def class_templates() -> list[str]:
    """The template of every class, texture by texture; a class name is its template without brackets."""
    return [f'Pushing [something with {texture}] {motion}' for texture in TEXTURES for motion in MOTIONS]


def parts(label: int) -> tuple[str, str]:
    """The texture and the motion of a class."""
    return list(TEXTURES)[label // len(MOTIONS)], list(MOTIONS)[label % len(MOTIONS)]


def class_name(template: str) -> str:
    return template.replace('[', '').replace(']', '')


@dataclass(frozen=True)
class Look:
    """What a clip of this set looks like: `size` pixels square, `frames` long, drawn from `seed`."""

    size: int
    frames: int
    seed: int
    version: int = VERSION

    @property
    def diameter(self) -> float:
        return DIAMETER * self.size


def texture(name: str, x: np.ndarray, y: np.ndarray, period: float, phase: tuple[float, float]) -> np.ndarray:
    """A texture of mean 0 and root mean square 1 over its period, at pixel coordinates (x, y)."""
    x = 2 * math.pi * x / period + phase[0]
    y = 2 * math.pi * y / period + phase[1]
    across, down = TEXTURES[name]
    return math.sqrt(2) * np.sin(across * x + down * y)


def path(rng: np.random.Generator, frames: int, room: float, forward: float, drift: float) -> np.ndarray:
    """Places (frames, 2) in [0, room]: x runs on by `forward` a frame and begins anew at the far side, y drifts to and fro.

    The start is uniform, hence so is the place in every frame, whatever the speed.
    """
    steps = np.arange(frames)
    x = (rng.uniform(0, room) + forward * steps) % room
    y = (rng.uniform(0, 2 * room) + drift * steps) % (2 * room)
    return np.stack([x, np.minimum(y, 2 * room - y)], axis=1)


def smooth_noise(rng: np.random.Generator, size: int, cells: int, channels: int) -> np.ndarray:
    """Noise of unit strength that changes over size/cells pixels, float32 (size, size, channels)."""
    coarse = rng.standard_normal((cells, cells, channels)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, channels)


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cloudy, nearly grey clutter, float32 (size, size, 3)."""
    light = 118 + 22 * smooth_noise(rng, size, 5, 1) + 12 * smooth_noise(rng, size, 14, 1)
    return light + 9 * smooth_noise(rng, size, 5, 3)


def colour(rng: np.random.Generator, hues: tuple[float, float]) -> np.ndarray:
    """A colour of a hue in `hues` (degrees) and a fixed brightness (BT.601), give or take 12."""
    hue = math.radians(rng.uniform(*hues))
    # red and blue differences turn with the hue; green follows from the brightness
    light = 118 + rng.uniform(-12, 12)
    red, blue = light + 50 * math.cos(hue), light + 50 * math.sin(hue)
    return np.array([red, (light - 0.299 * red - 0.114 * blue) / 0.587, blue], dtype=np.float32)


def draw_disc(frame: np.ndarray, place: np.ndarray, diameter: float, paint: np.ndarray, mark: np.ndarray | None) -> None:
    """Draw a disc into the float frame (size, size, 3); `mark` (size, size) is added to its middle."""
    size = frame.shape[0]
    x0, y0 = (max(0, int(c - diameter / 2 - 1)) for c in place)
    x1, y1 = (min(size, int(c + diameter / 2 + 3)) for c in place)
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32) + 0.5
    distance = np.hypot(x - place[0], y - place[1])
    cover = np.clip(diameter / 2 - distance + 0.5, 0, 1)[..., None]
    filled = np.broadcast_to(paint, (*distance.shape, 3))
    if mark is not None:
        filled = filled + mark(x - place[0], y - place[1], distance)[..., None]
    frame[y0:y1, x0:x1] += cover * (filled - frame[y0:y1, x0:x1])


def disc_places(rng: np.random.Generator, look: Look, speed: tuple[float, float]) -> np.ndarray:
    """Centres (frames, 2), (x, y) in pixels, of a disc that moves by `speed` (range; 1 is half the frame's width a clip) and drifts."""
    pace = 0.5 * look.size / look.frames
    room = look.size - look.diameter
    return path(rng, look.frames, room, pace * rng.uniform(*speed), pace * rng.uniform(-0.4, 0.4)) + look.diameter / 2


def draw_clip(rng: np.random.Generator, look: Look, what: str, places: np.ndarray) -> np.ndarray:
    """Draw the disc with texture `what` at `places` (frames, 2), over clutter and among discs of colder colours.

    Returns:
        uint8 (frames, size, size, 3), RGB.
    """
    size, diameter = look.size, look.diameter
    warm, phase = colour(rng, WARM), tuple(rng.uniform(0, 2 * math.pi, 2))
    others = [(disc_places(rng, look, (-0.5, 0.5)), colour(rng, COLD)) for _ in range(DISTRACTORS)]
    scene = background(rng, size)

    def mark(x: np.ndarray, y: np.ndarray, distance: np.ndarray) -> np.ndarray:
        inside = np.clip(MARK * size / 2 - distance + 0.5, 0, 1)
        return 36 * inside * texture(what, x, y, size / GLANCE, phase)

    pixels = np.empty((look.frames, size, size, 3), np.uint8)
    for t in range(look.frames):
        frame = scene + 3 * rng.standard_normal((size, size, 1), dtype=np.float32)
        for elsewhere, cold in others:
            draw_disc(frame, elsewhere[t], diameter, cold, None)
        draw_disc(frame, places[t], diameter, warm, mark)
        pixels[t] = np.clip(frame + 0.5, 0, 255)
    return pixels


def encode(pixels: np.ndarray) -> bytes:
    """WebM bytes of uint8 (frames, height, width, 3) RGB; VP9, one thread, its fastest settings that keep the texture."""
    file = io.BytesIO()
    with av.open(file, 'w', format='webm') as container:
        stream = container.add_stream('libvpx-vp9', rate=FRAMES_PER_SECOND)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], 'yuv420p'
        stream.codec_context.thread_count = 1
        stream.options = {'deadline': 'realtime', 'cpu-used': '8', 'crf': '28', 'b': '0', 'lag-in-frames': '0'}
        for image in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')))
        container.mux(stream.encode())
    return file.getvalue()


def clip_class(look: Look, split: str, number: int) -> int:
    """The class of clip `number` of a split: every run of as many clips as classes holds each class once, in an order of its own."""
    classes = len(TEXTURES) * len(MOTIONS)
    rng = np.random.default_rng([look.seed, SPLITS[split], number // classes, 1])
    return int(rng.permutation(classes)[number % classes])


def make_clip(look: Look, split: str, number: int, pixels: bool = True) -> tuple[np.ndarray | None, np.ndarray]:
    """Pixels (frames, size, size, 3), or None if not wanted, and places (frames, 2) of clip `number` of a split.

    A clip to the left is one to the right played backwards, so both have the same frames.
    """
    what, how = parts(clip_class(look, split, number))
    rng = np.random.default_rng([look.seed, SPLITS[split], number, 0])
    places = disc_places(rng, look, (0.85, 1.15))
    drawn = draw_clip(rng, look, what, places)[::MOTIONS[how]] if pixels else None
    return drawn, places[::MOTIONS[how]]


def clip_id(split: str, number: int) -> str:
    return str(SPLITS[split] + number)


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path` under a temporary name, then rename: the final name always means a complete file."""
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_videos(videos: Path, look: Look, jobs: list[tuple[str, int]]) -> int:
    """Draw, encode and write the clips `jobs` (split, number); runs in a worker process. Returns how many."""
    cv2.setNumThreads(1)
    for split, number in jobs:
        write_atomically(videos / f'{clip_id(split, number)}.webm', encode(make_clip(look, split, number)[0]))
    return len(jobs)


def label_files(look: Look, counts: dict[str, int]) -> dict[str, str]:
    """Name and text of every file but the videos."""
    templates = class_templates()
    names = [class_name(template) for template in templates]
    files = {'something-something-v2-labels.json': json.dumps({name: str(label) for label, name in enumerate(sorted(names))}, indent=0)}
    for split, count in counts.items():
        rows = [{'id': clip_id(split, i), **({} if split == 'test' else caption(templates[clip_class(look, split, i)]))} for i in range(count)]
        files[f'something-something-v2-{split}.json'] = json.dumps(rows, indent=0)
    files['test-answers.csv'] = ''.join(f'{clip_id("test", i)};{names[clip_class(look, "test", i)]}\n' for i in range(counts['test']))
    files['objects.csv'] = 'id,frame,x,y,diameter\n' + ''.join(object_rows(look, counts))
    return files


def caption(template: str) -> dict:
    """What an annotation row says of a clip besides its id: the caption, the template (the class) and what stands in its brackets."""
    placeholder = template[template.index('[') + 1:template.index(']')].replace('something', 'a disc')
    label = re.sub(r'\[.*\]', placeholder, template).lower()
    return {'label': label, 'template': template, 'placeholders': [placeholder]}


def object_rows(look: Look, counts: dict[str, int]) -> Iterator[str]:
    for split, count in counts.items():
        for number in range(count):
            for t, (x, y) in enumerate(make_clip(look, split, number, pixels=False)[1]):
                yield f'{clip_id(split, number)},{t},{x:.1f},{y:.1f},{look.diameter:g}\n'


def claim(out: Path, look: Look, wanted: set[str]) -> None:
    """Make `out` ours: a new or empty folder, or one this script made, from which what does not belong to `look` is removed."""
    marker = out / MARKER
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not marker.is_file():
        raise FileExistsError(f'{out} exists and was not made by this script (no {MARKER} in it): name another folder, or remove it')
    videos = out / 'videos'
    videos.mkdir(parents=True, exist_ok=True)
    same = marker.is_file() and json.loads(marker.read_text(encoding='utf-8')).get('look') == asdict(look)
    for name in label_files_names():
        (out / name).unlink(missing_ok=True)  # they come last: where they stand, the set is complete
    for path in videos.iterdir():
        if re.fullmatch(r'\d{6}\.webm(\.\d+\.tmp)?', path.name) and not (same and path.name in wanted):
            path.unlink()
    write_atomically(marker, json.dumps({'look': asdict(look)}, indent=1).encode())


def label_files_names() -> list[str]:
    return [f'something-something-v2-{name}.json' for name in ('labels', *SPLITS)] + ['test-answers.csv', 'objects.csv']


def check_arguments(counts: dict[str, int], size: int, frames: int, seed: int, workers: int) -> None:
    for split, count in counts.items():
        if not 0 <= count <= MAX_CLIPS:
            raise ValueError(f'{split} clips: {count}, give 0 to {MAX_CLIPS}')
    if not 96 <= size <= 1024 or size % 2:
        raise ValueError(f'size {size}: give an even number from 96 (below, the texture is finer than the pixels) to 1024')
    if not 2 <= frames <= 1000:
        raise ValueError(f'frames {frames}: give 2 to 1000')
    if seed < 0:
        raise ValueError(f'seed {seed}: give 0 or more')
    if workers < 1:
        raise ValueError(f'workers {workers}: give 1 or more')


class Progress:
    """Counts clips on `stream`: a bar on a terminal, else a line every tenth."""

    def __init__(self, total: int, stream=sys.stderr):
        self.total, self.stream = total, stream
        self.done, self.tenth, self.start = 0, -1, time.monotonic()

    def add(self, count: int) -> None:
        self.done += count
        seconds = time.monotonic() - self.start
        left = seconds / max(self.done, 1) * (self.total - self.done)
        text = f'{self.done}/{self.total} clips, {seconds:.0f} s' + (f', about {left:.0f} s left' if self.done < self.total else '')
        tenth = 10 * self.done // self.total
        if self.stream.isatty():
            bar = '#' * (2 * tenth) + '.' * (20 - 2 * tenth)
            self.stream.write(f'\r\033[K[{bar}] {text}' + ('\n' if self.done == self.total else ''))
        elif tenth > self.tenth:
            self.stream.write(f'{text}\n')
        self.tenth = tenth
        self.stream.flush()


def generate(
    out: str | os.PathLike, *, train: int = 1200, val: int = 400, test: int = 200, size: int = 128, frames: int = 16, seed: int = 0, workers: int | None = None,
) -> Path:
    """Write the toy set into the folder `out`, going on where an earlier run with the same look was cut off.

    Args:
        out: a new or empty folder, or one made by this function: then clips of another size, frames or seed are replaced.
        train, val, test: clips of each split, 0 to 100000.
        size: height and width in pixels, even, 96 to 1024. The texture vanishes at 32x32 whatever the size.
        frames: frames of a clip, at 12 a second; the disc crosses about half the frame's width in a clip of any length.
        seed: 0 or more; each seed gives other clips under the same ids.
        workers: processes; default: as many as there are cores. 1 works in this process. More are started by spawning, so a script must
            call this under `if __name__ == '__main__'`.

    Returns:
        The folder.

    Raises:
        FileExistsError: `out` holds something that this function did not make.
        ValueError: an argument out of range.
        RuntimeError: a worker process died.
    """
    counts = {'train': train, 'validation': val, 'test': test}
    workers = core_count() if workers is None else workers
    check_arguments(counts, size, frames, seed, workers)
    out, look = Path(out), Look(size, frames, seed)
    jobs = [(split, number) for split, count in counts.items() for number in range(count)]
    claim(out, look, {f'{clip_id(*job)}.webm' for job in jobs})
    jobs = [job for job in jobs if not (out / 'videos' / f'{clip_id(*job)}.webm').exists()]
    if jobs:
        progress = Progress(len(jobs))
        progress.add(0)
        for count in write_all(out / 'videos', look, jobs, workers):
            progress.add(count)
    for name, text in label_files(look, counts).items():
        write_atomically(out / name, text.encode())
    return out


def core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def write_all(videos: Path, look: Look, jobs: list[tuple[str, int]], workers: int) -> Iterator[int]:
    """Write the clips `jobs`, a few at a time; yields how many after each few."""
    chunks = [jobs[i:i + 16] for i in range(0, len(jobs), 16)]
    if workers == 1:
        yield from (write_videos(videos, look, chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=multiprocessing.get_context('spawn')) as pool:
        futures = [pool.submit(write_videos, videos, look, chunk) for chunk in chunks]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BrokenProcessPool as error:
            raise RuntimeError('a worker process died (out of memory?): run again to go on, with fewer --workers') from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0] + ' ' + __doc__.split('\n\n')[1],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write; a set made earlier by this script is resumed or replaced')
    parser.add_argument('--train', type=int, default=1200, metavar='N', help='training clips')
    parser.add_argument('--val', type=int, default=400, metavar='N', help='validation clips')
    parser.add_argument('--test', type=int, default=200, metavar='N', help='test clips')
    parser.add_argument('--size', type=int, default=128, metavar='PIXELS', help='height and width of a frame')
    parser.add_argument('--frames', type=int, default=16, metavar='N', help=f'frames of a clip, at {FRAMES_PER_SECOND} a second')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='each seed gives other clips')
    parser.add_argument('--workers', type=int, default=core_count(), metavar='N', help='processes')
    given = vars(parser.parse_args(arguments))
    try:
        out = generate(given.pop('out'), **given)
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(1, f'{parser.prog}: {error}\n')
    sys.stdout.write(f'{out}: {given["train"]} training, {given["val"]} validation and {given["test"]} test clips\n')


if __name__ == '__main__':
    main()
