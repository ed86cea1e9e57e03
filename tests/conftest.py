"""Fixtures of all tests: the folder of real data, and a small video that says in its pixels which frame is
which."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile('busy machines too', deadline=None)
settings.load_profile('busy machines too')

BITS = 8
CELL = 16


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder ``shared`` beside the repository, with real clips and weights; tests that need it are
    skipped without it."""
    folder = Path(__file__).resolve().parents[2] / 'shared'
    if not (folder / 'data').is_dir():
        pytest.skip(f'real clips are not here ({folder}/data); this test needs them')
    return folder


@pytest.fixture(scope='session')
def ffmpeg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Path of an ffmpeg program that is the first on PATH from then on, here and for the programs that tests
    start.

    The one that GFVIDEO_TEST_FFMPEG names, else the one of the package imageio-ffmpeg, whatever the machine
    has; only without both the machine's own.
    """
    program = os.environ.get('GFVIDEO_TEST_FFMPEG') or _packaged_ffmpeg() or shutil.which('ffmpeg')
    if program is None:
        pytest.skip('no ffmpeg program: pip install imageio-ffmpeg')
    folder = tmp_path_factory.mktemp('bin')
    (folder / 'ffmpeg').symlink_to(Path(program).absolute())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PATH', os.pathsep.join([str(folder), os.environ.get('PATH', os.defpath)]))
        yield str(folder / 'ffmpeg')


def _packaged_ffmpeg() -> str | None:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


@pytest.fixture
def free_port() -> str:
    """A port that nobody listens at. It is none of those that systems hand out by themselves, so that nothing
    else gets it before it is used, and drawn, so that two test runs at a time hardly ever take the same."""
    for port in random.SystemRandom().sample(range(20000, 30000), 100):
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind(('127.0.0.1', port))
            except OSError:
                continue
        return str(port)
    pytest.skip('a hundred ports from 20000 to 30000 are taken')


def painted_frame(number: int, height: int = 48, width: int = 128) -> np.ndarray:
    """``(H, W, 3)`` uint8: the bits of ``number`` (below 256) as black and white cells on top, a moving
    coloured bar below."""
    frame = np.full((height, width, 3), 96, np.uint8)
    for bit in range(BITS):
        frame[:CELL, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 16
    left = number * 5 % (width - 8)
    frame[CELL:, left : left + 8] = (200, 40, 90)
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number :func:`painted_frame` painted."""
    # (rows, bits, columns, RGB)
    cells = frame[CELL // 4 : CELL * 3 // 4, : BITS * CELL].reshape(CELL // 2, BITS, CELL, 3)
    return sum(1 << bit for bit, level in enumerate(cells.mean(axis=(0, 2, 3))) if level > 128)


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = 'libx264',
    rate: int = 25,
    key_every: int = 12,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB ``frames``; ``times`` (in 1/``rate`` s) makes the frame rate variable."""
    with av.open(str(path), 'w', container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], 'yuv420p'
        stream.codec_context.gop_size = key_every
        stream.codec_context.thread_count = 1
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope='session')
def painted_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function ``(count=40, suffix='.mp4', **options of write_video) -> Path`` of videos whose frames say
    their numbers.

    ``painted_video.read_number(frame)`` reads the number from a frame, ``painted_video.frame(number)`` paints
    one.
    """
    folder = tmp_path_factory.mktemp('painted')
    made: dict[tuple, Path] = {}

    def make(
        count: int = 40, suffix: str = '.mp4', *, height: int = 48, width: int = 128, **options: object
    ) -> Path:
        key = (count, suffix, height, width, repr(sorted(options.items())))
        if key not in made:
            frames = [painted_frame(number, height, width) for number in range(count)]
            made[key] = write_video(folder / f'{len(made)}{suffix}', frames, **options)
        return made[key]

    make.read_number, make.frame, make.write = read_number, painted_frame, write_video
    return make
