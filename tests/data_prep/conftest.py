"""Fixtures of the preparation's tests: small clips laid out in folders, and work done in this process instead
of in new ones."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.common.spreading import Spread

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for published_lists

TINY = {'height': 32, 'width': 128}
WEBM = {'codec': 'libvpx-vp9', 'options': {'deadline': 'realtime', 'cpu-used': '8'}}


class Here(Executor):
    """Does at once what it is given, in this process."""

    def submit(self, function: Callable, *args: object) -> Future:
        future = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope='session', autouse=True)
def _one_ffmpeg(ffmpeg) -> None:
    """All that is prepared here is encoded with one program, whatever stands on PATH."""


@pytest.fixture
def here(monkeypatch) -> None:
    """Clips are done in this process: starting workers takes seconds, and most tests are about what is
    done."""

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        yield Here()

    monkeypatch.setattr(Spread, 'executor', executor)


@pytest.fixture(scope='session')
def clip(painted_video) -> Callable[..., Path]:
    """``(frames=6, suffix='.mp4') -> Path`` of a clip as small as they come; ``.webm`` is VP9."""

    def make(frames: int = 6, suffix: str = '.mp4', **options: object) -> Path:
        return painted_video(frames, suffix, **{**TINY, **(WEBM if suffix == '.webm' else {}), **options})

    make.read_number, make.frame, make.write = (
        painted_video.read_number,
        painted_video.frame,
        painted_video.write,
    )
    return make


@pytest.fixture(scope='session')
def remuxed() -> Callable[..., Path]:
    """``(source, target, degrees=0, sound=False, **metadata) -> target``: the packets of a clip in a new
    file, turned, with a second of sound beside them; without a source the sound alone."""

    def make(
        source: Path | None, target: Path, degrees: int = 0, sound: bool = False, **metadata: str
    ) -> Path:
        with av.open(str(target), 'w') as out:
            out.metadata.update(metadata)
            audio = out.add_stream('aac', rate=16000) if sound else None
            if source is not None:
                with av.open(str(source)) as container:
                    stream = out.add_stream_from_template(container.streams.video[0])
                    if degrees:
                        stream.set_display_rotation(degrees)
                    for packet in container.demux(video=0):
                        if packet.size:
                            packet.stream = stream
                            out.mux(packet)
            if audio is not None:
                wave = (8000 * np.sin(np.arange(16000) / 9)).astype(np.float32)[None] / 2**15
                frame = av.AudioFrame.from_ndarray(wave, format='fltp', layout='mono')
                frame.sample_rate = 16000
                out.mux(audio.encode(frame))
                out.mux(audio.encode())
        return target

    return make


@pytest.fixture
def lay() -> Callable[[Path, Mapping[str, Path | bytes]], Path]:
    """``(folder, {path: file to copy, or content}) -> folder``."""

    def make(folder: Path, files: Mapping[str, Path | bytes]) -> Path:
        for name, source in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                target.write_bytes(source)
            else:
                shutil.copy(source, target)
        return folder

    return make


@pytest.fixture(scope='session')
def content() -> Callable[[Path], dict[str, bytes]]:
    """``folder -> {path of every file below it: its bytes}``."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*'))
            if path.is_file()
        }

    return read
