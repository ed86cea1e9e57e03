#!/usr/bin/env python
"""Write the toy set: small encoded videos in the form of Something-Something V2, drawn from nothing but a
seed.

    python data_prep/toy.py --out data/toy

A disc of a warm colour, with a fine texture in its middle, is pushed to the left or to the right over
clutter, and discs of cold colours with it. Its class is (what, how):
WHAT, one of three textures of equal mean and contrast, is readable only at full resolution: a period of the
texture is 3 pixels of 128, so it averages out in a frame seen at 32x32 or 48x48, where the disc and its
colour stay visible among the cold ones. HOW, the direction, is readable only over time: a clip to the left is
a clip to the right played backwards. Where a disc leaves its room at one side it starts again at the other,
so that in every frame of every class it may stand anywhere. WHERE the disc is differs by clip, and by frame
within a clip.

With --objects 2 there are two such discs of different textures, apart, and WHAT is which two: one look at one
of them cannot know.

DIR holds videos/<id>.webm (VP9, 12 frames a second),
something-something-v2-{labels,train,validation,test}.json, test-answers.csv (id;label), objects.csv
(id,frame,x,y,diameter: centre and width of the disc in pixels, to measure where patches fall, never to train
on; of two discs the column object says which) and toy.json (the settings; the sign that the folder may be
replaced). A clip depends on its id and the settings, not on how many there are.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.common.interrupts import ended_by_signals, held_from_children
from gfvideo.files import unfinished_name, write_atomically
from gfvideo.progress import Progress
from gfvideo.usage import HelpFormatter

VERSION = 1  # of the pictures: raise it when the same seed draws other pixels
FRAMES_PER_SECOND = 12
FIRST_IDS = {'train': 100000, 'validation': 200000, 'test': 300000}
MAX_CLIPS = 100000  # of a split, between one first id and the next
CHUNK = 16  # clips in one task of a worker

TEXTURES = ('upright stripes', 'level stripes', 'checks')  # none changes into another in a mirror
MOTIONS = {'from left to right': 1, 'from right to left': -1}
PERIOD = 3 / 128  # of the texture, as a part of the frame's width
DIAMETER = 22 / 128  # of a disc, likewise
MARK = 16 / 128  # of the textured middle, likewise
SPEEDS = (1.0, 1.4)  # 1 crosses half the frame's width in a clip
# hues of the disc and of the others: degrees in the plane of red and blue differences
WARM, COLD = (-60, 20), (100, 220)
OTHERS = 4
APART = 36 / 128  # between the middles of two discs with a texture at least: no small patch shows both

MARKER = 'toy.json'
LISTS = [f'something-something-v2-{name}.json' for name in ('labels', *FIRST_IDS)] + [
    'test-answers.csv',
    'objects.csv',
]


@dataclass(frozen=True)
class Settings:
    """All that a clip's pixels depend on besides its id: height and width in pixels, length in frames, seed,
    version of the drawing; how many discs have a texture, 1 or 2."""

    size: int
    frames: int
    seed: int
    version: int = VERSION
    objects: int = 1

    @property
    def diameter(self) -> float:
        return DIAMETER * self.size


# ---------------------------------------------------------------- pictures


def texture(
    what: str, x: np.ndarray, y: np.ndarray, period: float, phases: tuple[float, float]
) -> np.ndarray:
    """Waves of mean 0 and root mean square 1 at pixel coordinates (x, y)."""
    across, down = np.sin(2 * math.pi * x / period + phases[0]), np.sin(2 * math.pi * y / period + phases[1])
    return {
        'upright stripes': math.sqrt(2) * across,
        'level stripes': math.sqrt(2) * down,
        'checks': 2 * across * down,
    }[what]


def course(rng: np.random.Generator, settings: Settings) -> np.ndarray:
    """Centres (frames, 2), (x, y) in pixels, of a disc that crosses the frame: x starts anew at the other
    side, y drifts to and fro.

    The start is uniform over where a disc fits, and so is the place in every frame, whatever the speed, one
    of ``SPEEDS`` to the right.
    """
    room, pace = settings.size - settings.diameter, 0.5 * settings.size / settings.frames
    moment = np.arange(settings.frames)
    x = (rng.uniform(0, room) + pace * rng.uniform(*SPEEDS) * moment) % room
    y = (rng.uniform(0, 2 * room) + pace * rng.uniform(-0.4, 0.4) * moment) % (2 * room)
    return np.stack([x, np.minimum(y, 2 * room - y)], axis=1) + settings.diameter / 2


def clouds(rng: np.random.Generator, size: int, cells: int, channels: int) -> np.ndarray:
    """Smooth noise of about unit strength that changes over size/cells pixels: float32 (size, size,
    channels)."""
    coarse = rng.standard_normal((cells, cells, channels), dtype=np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, channels)


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cloudy, nearly grey clutter: float32 (size, size, 3) about 118."""
    light = 118 + 22 * clouds(rng, size, 5, 1) + 12 * clouds(rng, size, 14, 1)
    return light + 9 * clouds(rng, size, 5, 3)


def colour(rng: np.random.Generator, hues: tuple[float, float]) -> np.ndarray:
    """RGB of a hue in ``hues`` (degrees) at a brightness (BT.601) of 106 to 130, far enough from black and
    white for the texture."""
    hue, light = math.radians(rng.uniform(*hues)), 118 + rng.uniform(-12, 12)
    red, blue = light + 50 * math.cos(hue), light + 50 * math.sin(hue)
    return np.array([red, (light - 0.299 * red - 0.114 * blue) / 0.587, blue], dtype=np.float32)


def draw_disc(
    frame: np.ndarray, centre: np.ndarray, diameter: float, paint: np.ndarray, mark: Callable | None = None
) -> None:
    """Draw a disc into ``frame``, float (size, size, 3). ``mark(x, y)`` is added to its brightness, (x, y)
    pixels from its centre."""
    size = len(frame)
    left, top = (max(0, int(c - diameter / 2) - 1) for c in centre)
    right, bottom = (min(size, int(c + diameter / 2) + 2) for c in centre)
    x = np.arange(left, right, dtype=np.float32)[None, :] + 0.5 - centre[0]  # (1, w)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - centre[1]  # (h, 1)
    under = frame[top:bottom, left:right]  # (h, w, 3)
    painted = paint if mark is None else paint + mark(x, y)[..., None]
    under += within(x, y, diameter)[..., None] * (painted - under)


def within(x: np.ndarray, y: np.ndarray, diameter: float) -> np.ndarray:
    """How much of the pixel at (x, y) from the centre a disc covers, 0 to 1."""
    return np.clip(diameter / 2 - np.hypot(x, y) + 0.5, 0, 1)


def courses(rng: np.random.Generator, settings: Settings) -> np.ndarray:
    """Centres (frames, objects, 2), (x, y) in pixels, of the discs with a texture, in every frame ``APART``
    at least."""
    while True:
        found = np.stack([course(rng, settings) for _ in range(settings.objects)], 1)
        if settings.objects == 1 or np.hypot(*(found[:, 0] - found[:, 1]).T).min() >= APART * settings.size:
            return found


def draw_clip(
    rng: np.random.Generator, settings: Settings, what: tuple[str, ...], how: str, pixels: bool = True
) -> tuple[np.ndarray | None, np.ndarray]:
    """Draw a clip of the discs with textures ``what``, pushed ``how``.

    Returns:
        Frames, uint8 (frames, size, size, 3) RGB, or None without ``pixels``; and the discs' centres,
        (frames, objects, 2), (x, y) in pixels.
    """
    centres = courses(rng, settings)
    frames = draw_frames(rng, settings, what, centres) if pixels else None
    if MOTIONS[how] < 0:  # to the left is to the right played backwards, so the two have the same frames
        return frames if frames is None else frames[::-1], centres[::-1]
    return frames, centres


def draw_frames(
    rng: np.random.Generator, settings: Settings, what: tuple[str, ...], centres: np.ndarray
) -> np.ndarray:
    """Frames, uint8 (frames, size, size, 3) RGB: the discs at ``centres``, over discs of cold colours, over a
    cloudy ground."""
    size, diameter = settings.size, settings.diameter
    warm = [(colour(rng, WARM), tuple(rng.uniform(0, 2 * math.pi, 2))) for _ in what]
    others = [(course(rng, settings), colour(rng, COLD)) for _ in range(OTHERS)]
    ground = background(rng, size)

    def mark(x: np.ndarray, y: np.ndarray, number: int) -> np.ndarray:
        waves = texture(what[number], x, y, PERIOD * size, warm[number][1])
        return 45 * within(x, y, MARK * size) * waves

    frames = np.empty((settings.frames, size, size, 3), np.uint8)
    for number, places in enumerate(centres):
        frame = ground + 3 * rng.standard_normal((size, size, 1), dtype=np.float32)
        for elsewhere, cold in others:
            draw_disc(frame, elsewhere[number], diameter, cold)
        for one, centre in enumerate(places):
            draw_disc(frame, centre, diameter, warm[one][0], partial(mark, number=one))
        frames[number] = np.clip(frame + 0.5, 0, 255)
    return frames


# ---------------------------------------------------------------- clips and files


def kinds(settings: Settings) -> list[tuple[str, ...]]:
    """What there is to see: each texture, or each two of them."""
    return list(itertools.combinations(TEXTURES, settings.objects))


def class_templates(settings: Settings) -> list[str]:
    """The template of every class, by its number here; the name of a class is its template without
    brackets."""
    shown = [' and '.join(f'[something with {one}]' for one in what) for what in kinds(settings)]
    return [f'Pushing {what} {how}' for what in shown for how in MOTIONS]


def class_name(template: str) -> str:
    return template.replace('[', '').replace(']', '')


def class_of(settings: Settings, split: str, number: int) -> int:
    """Which of :func:`class_templates` clip ``number`` of a split shows: each run of 6 clips shows all 6, in
    an order of its own."""
    classes = len(class_templates(settings))
    rng = np.random.default_rng([settings.seed, FIRST_IDS[split], number // classes, 1])
    return int(rng.permutation(classes)[number % classes])


def make_clip(
    settings: Settings, split: str, number: int, pixels: bool = True
) -> tuple[np.ndarray | None, np.ndarray]:
    """Clip ``number`` of a split, as :func:`draw_clip` returns it: the same for the same arguments."""
    label = class_of(settings, split, number)
    what, how = kinds(settings)[label // len(MOTIONS)], list(MOTIONS)[label % len(MOTIONS)]
    return draw_clip(
        np.random.default_rng([settings.seed, FIRST_IDS[split], number, 0]), settings, what, how, pixels
    )


def clip_id(split: str, number: int) -> str:
    return str(FIRST_IDS[split] + number)


def encode(frames: np.ndarray) -> bytes:
    """WebM file of RGB ``frames``, uint8 (frames, height, width, 3): VP9 by one thread, in the fastest way
    that keeps the texture."""
    file = io.BytesIO()
    # no date, no random number
    with av.open(file, 'w', format='webm', options={'fflags': '+bitexact'}) as container:
        options = {'deadline': 'realtime', 'cpu-used': '8', 'crf': '28', 'b': '0', 'lag-in-frames': '0'}
        stream = container.add_stream('libvpx-vp9', rate=FRAMES_PER_SECOND, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], 'yuv420p'
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24'))
            )
        container.mux(stream.encode())
    return file.getvalue()


def write_videos(folder: Path, settings: Settings, clips: list[tuple[str, int]]) -> int:
    """Draw, encode and write ``clips``, (split, number) each, one after the other. Returns how many."""
    cv2.setNumThreads(1)  # one process a core
    for clip in clips:
        write_atomically(folder / f'{clip_id(*clip)}.webm', encode(make_clip(settings, *clip)[0]))
    return len(clips)


def annotation(template: str) -> dict[str, str | list[str]]:
    """What a list says of a clip besides its id: a caption, the template (the class), and what stands in its
    brackets."""
    placeholders = [one.replace('something', 'a disc') for one in re.findall(r'\[(.*?)\]', template)]
    caption = class_name(template).replace('something', 'a disc').lower()
    return {'label': caption, 'template': template, 'placeholders': placeholders}


def lists(settings: Settings, counts: dict[str, int]) -> dict[str, str]:
    """Name and text of each of ``LISTS``."""
    templates = class_templates(settings)
    shown = {
        split: [(clip_id(split, i), templates[class_of(settings, split, i)]) for i in range(count)]
        for split, count in counts.items()
    }
    contents = {'labels': {name: str(label) for label, name in enumerate(sorted(map(class_name, templates)))}}
    for split, clips in shown.items():
        contents[split] = [
            {'id': clip} | ({} if split == 'test' else annotation(template)) for clip, template in clips
        ]
    files = {
        f'something-something-v2-{name}.json': json.dumps(content, indent=0)
        for name, content in contents.items()
    }
    files['test-answers.csv'] = ''.join(
        f'{clip};{class_name(template)}\n' for clip, template in shown['test']
    )
    columns = 'id,frame,x,y,diameter' if settings.objects == 1 else 'id,frame,object,x,y,diameter'
    files['objects.csv'] = f'{columns}\n' + ''.join(object_rows(settings, counts))
    return files


def object_rows(settings: Settings, counts: dict[str, int]) -> Iterator[str]:
    for split, count in counts.items():
        for number in range(count):
            _, centres = make_clip(settings, split, number, pixels=False)
            for frame, places in enumerate(centres):
                for one, (x, y) in enumerate(places):
                    which = '' if settings.objects == 1 else f'{one},'
                    yield f'{clip_id(split, number)},{frame},{which}{x:.1f},{y:.1f},{settings.diameter:g}\n'


# ---------------------------------------------------------------- the whole set


def generate(
    out: str | os.PathLike,
    *,
    train: int = 1600,
    val: int = 200,
    test: int = 400,
    size: int = 128,
    frames: int = 16,
    seed: int = 0,
    objects: int = 1,
    workers: int | None = None,
) -> Path:
    """Write the toy set into the folder ``out``, going on where an earlier run was cut off; progress goes to
    stderr.

    Args:
        out: a new or empty folder, or one that this function made: its clips of another size, length or seed
            are replaced.
        train, val, test: clips of each split, 0 to 100000.
        size: height and width in pixels, even, 96 to 1024.
        frames: length of a clip, 2 to 1000; the disc crosses about half the frame's width in a clip of any
            length.
        seed: 0 or more; every seed draws other clips under the same ids.
        objects: 1 or 2 discs with a texture.
        workers: processes; as many as cores by default. 1 works in this process; more are spawned, so that a
            script must call this under ``if __name__ == '__main__'``.

    Returns:
        The folder.

    Raises:
        FileExistsError: ``out`` holds something that this function did not make.
        ValueError: an argument is out of range.
        RuntimeError: a worker process died.
        OSError: a file cannot be written.
    """
    counts = {'train': train, 'validation': val, 'test': test}
    workers = core_count() if workers is None else workers
    check_ranges(
        train=(train, 0, MAX_CLIPS),
        val=(val, 0, MAX_CLIPS),
        test=(test, 0, MAX_CLIPS),
        size=(size, 96, 1024),
        frames=(frames, 2, 1000),
        seed=(seed, 0, 2**63),
        objects=(objects, 1, 2),
        workers=(workers, 1, 1024),
    )
    if size % 2:
        raise ValueError(
            f'size is {size}; give an even number, for the colours of two pixels are stored as one'
        )
    folder, settings = Path(out), Settings(size, frames, seed, objects=objects)
    clips = [(split, number) for split, count in counts.items() for number in range(count)]
    present = claim(folder, settings, {f'{clip_id(*clip)}.webm' for clip in clips})
    missing = [clip for clip in clips if f'{clip_id(*clip)}.webm' not in present]
    with Progress('drawing', len(clips), done=len(present)) as progress:
        for count in write_all(folder / 'videos', settings, missing, workers):
            progress.add(count)
    for name, text in lists(settings, counts).items():
        write_atomically(folder / name, text.encode())
    return folder


def core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def check_ranges(**ranges: tuple[int, int, int]) -> None:
    """Each argument is ``(value, lowest, highest)``."""
    for name, (value, lowest, highest) in ranges.items():
        if not lowest <= value <= highest:
            raise ValueError(f'{name} is {value}; give {lowest} to {highest}')


def claim(folder: Path, settings: Settings, wanted: set[str]) -> set[str]:
    """Take ``folder`` over, and remove of an earlier set what is not wanted now. Returns the names of the
    wanted videos that are there."""
    earlier = settings_of(folder)
    videos = folder / 'videos'
    videos.mkdir(parents=True, exist_ok=True)
    for name in LISTS:
        (folder / name).unlink(missing_ok=True)  # written last: where they stand, the videos are complete
    present = set()
    for file in videos.iterdir():
        if earlier == asdict(settings) and file.name in wanted:
            present.add(file.name)
        elif re.fullmatch(r'\d{6}\.webm(\.\d+\.tmp)?', unfinished_name(file.name) or file.name):
            file.unlink()  # the number before .tmp: what a killed run of earlier versions left
    write_atomically(folder / MARKER, json.dumps({'settings': asdict(settings)}, indent=1).encode())
    return present


def settings_of(folder: Path) -> dict | None:
    """The settings that an earlier run left in ``folder``; None if the folder is new or empty; an error if it
    is someone else's."""
    if not folder.exists() or folder.is_dir() and not any(folder.iterdir()):
        return None
    try:
        return {'objects': 1} | json.loads((folder / MARKER).read_text(encoding='utf-8'))['settings']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileExistsError(
            f'{folder} is there and was not made by toy.py (it holds no {MARKER} with settings); '
            'name another folder, or remove this one'
        ) from error


def write_all(folder: Path, settings: Settings, clips: list[tuple[str, int]], workers: int) -> Iterator[int]:
    """Write ``clips`` in ``workers`` processes; yields how many after each task."""
    chunks = [clips[i : i + CHUNK] for i in range(0, len(clips), CHUNK)]
    if workers == 1 or len(chunks) < 2:
        yield from (write_videos(folder, settings, chunk) for chunk in chunks)
        return
    with held_from_children():
        pool = ProcessPoolExecutor(min(workers, len(chunks)), multiprocessing.get_context('spawn'))
    with pool:
        with held_from_children():
            tasks = [pool.submit(write_videos, folder, settings, chunk) for chunk in chunks]
        try:
            yield from (task.result() for task in as_completed(tasks))
        except BrokenProcessPool as error:
            raise RuntimeError(
                'a worker process died (out of memory?); run again to go on, with fewer workers'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='new folder, or an earlier toy set to go on with or replace',
    )
    options = {
        'train': (1600, 'training clips'),
        'val': (200, 'validation clips'),
        'test': (400, 'test clips'),
        'size': (128, 'height and width of a frame in pixels'),
        'frames': (16, 'frames of a clip'),
        'seed': (0, 'another seed draws other clips'),
        'objects': (1, 'discs with a texture, 1 or 2; with 2 the class is which two'),
        'workers': (core_count(), 'processes'),
    }
    for name, (default, text) in options.items():
        parser.add_argument(
            f'--{name}', type=int, default=default, metavar='N', help=f'{text} (default: %(default)s)'
        )
    args = parser.parse_args(argv)
    try:
        with ended_by_signals():
            folder = generate(**vars(args))
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(1, f'error: {error}\n')
    except KeyboardInterrupt as error:
        parser.exit(
            getattr(error, 'status', 130),
            f'\nstopped; the same command goes on where it was, in {args.out}\n',
        )
    sys.stdout.write(f'{folder}: {args.train} training, {args.val} validation, {args.test} test clips\n')


if __name__ == '__main__':
    main()
