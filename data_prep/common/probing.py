"""Open every clip once, in worker processes, and say how many frames decode and how large they are, or why it cannot be read."""
from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

from gfvideo.data.readers import VideoError, open_video

__all__ = ['Probe', 'probe', 'probe_all']

logger = logging.getLogger('data_prep')
CHUNK = 16
SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Probe:
    """What reading a clip showed: the number of frames that decode and their size as shown, or the ``reason`` why it cannot be used."""
    frames: int = 0
    height: int = 0
    width: int = 0
    reason: str | None = None


def probe(file: str, reader: str = 'auto') -> Probe:
    """Decode one video file to its end; a bad one gives a :class:`Probe` with a reason instead of an exception."""
    try:
        with open_video(file, reader=reader, exact=True) as video:
            frames, (height, width) = len(video), video.frame_size
    except VideoError as error:
        return Probe(reason=' '.join(str(error).split()))
    return Probe(frames, height, width) if frames else Probe(reason='no frame decodes')


def _probe_chunk(files: Sequence[str], reader: str) -> list[Probe]:
    return [probe(file, reader) for file in files]


def _chunks(files: Iterable[str]) -> Iterator[list[str]]:
    files = iter(files)
    while chunk := list(islice(files, CHUNK)):
        yield chunk


def probe_all(files: Sequence[str], jobs: int = 1, reader: str = 'auto') -> dict[str, Probe]:
    """Probe ``files`` in ``jobs`` worker processes, with a progress line every few seconds.

    A clip that kills its worker (a crash inside a decoder) costs that worker alone: it is found by trying its neighbours one at a time,
    and gets a reason. A decoder that never returns is not interrupted.

    Returns:
        ``{file: Probe}`` for every file.
    """
    progress, results = _Progress(len(files)), {}
    chunks, suspects = _chunks(files), []
    while chunk := next(chunks, None):
        try:
            with ProcessPoolExecutor(jobs) as pool:
                _run(pool, chunk, chunks, jobs, reader, results, progress, suspects)
        except BrokenProcessPool:
            logger.warning('a worker process died; probing the clips it may have been reading one at a time')
    for file in suspects:
        if file not in results:
            results[file] = _probe_alone(file, reader)
            progress.add([results[file]])
    progress.line()
    return results


def _run(pool: ProcessPoolExecutor, first: list[str], chunks: Iterator[list[str]], jobs: int, reader: str, results: dict[str, Probe],
         progress: _Progress, suspects: list[str]) -> None:
    """Keep the pool busy until the chunks end; if it breaks, what was in flight goes to ``suspects``."""
    in_flight: dict[Future, list[str]] = {pool.submit(_probe_chunk, first, reader): first}
    try:
        while in_flight:
            for chunk in islice(chunks, max(0, 2 * jobs - len(in_flight))):
                in_flight[_submit(pool, chunk, reader, suspects)] = chunk
            for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                probes = future.result()
                results.update(zip(in_flight.pop(future), probes, strict=True))
                progress.add(probes)
    except BrokenProcessPool:
        suspects.extend(file for chunk in in_flight.values() for file in chunk)
        raise


def _submit(pool: ProcessPoolExecutor, chunk: list[str], reader: str, suspects: list[str]) -> Future:
    try:
        return pool.submit(_probe_chunk, chunk, reader)
    except BrokenProcessPool:
        suspects.extend(chunk)
        raise


def _probe_alone(file: str, reader: str) -> Probe:
    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(probe, file, reader).result()
    except BrokenProcessPool:
        return Probe(reason='the decoder crashed')


class _Progress:
    """Counts what is done and logs a line every few seconds."""

    def __init__(self, total: int):
        self.total, self.done, self.bad = total, 0, 0
        self.start = self.last = time.monotonic()

    def add(self, probes: Sequence[Probe]) -> None:
        self.done += len(probes)
        self.bad += sum(probe.reason is not None for probe in probes)
        if self.done < self.total and time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.line()

    def line(self) -> None:
        self.last = time.monotonic()
        rate = self.done / max(self.last - self.start, 1e-9)
        left = '' if self.done == self.total else f', {(self.total - self.done) / max(rate, 1e-9):.0f} s left'
        logger.info('%d of %d clips read, %d bad, %.0f clips/s%s', self.done, self.total, self.bad, rate, left)
