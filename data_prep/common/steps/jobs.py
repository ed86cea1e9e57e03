"""What verify and encode share: work on single clips, done in worker processes that keep a record of each."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import get_ident
from typing import Protocol

from data_prep.common.checking import Verdict
from data_prep.common.records import Record, Recorder, merge_records
from data_prep.common.spreading import Spread, no_room, run_all
from data_prep.common.steps.index import index_rows
from data_prep.common.workspace import Workspace
from gfvideo.progress import Progress

__all__ = [
    'AGAIN',
    'NEW_TIMES',
    'Clip',
    'Job',
    'Kept',
    'add_record',
    'clips_of',
    'made_by_another',
    'run_job',
    'verdict_of',
]

logger = logging.getLogger('data_prep')

AGAIN = ('timeout', 'killed', 'unreadable', 'missing', 'damaged')
"""Reasons that may pass: these clips are tried again by the next run even if the file did not change."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One source: its path below the folder of videos, and where its encoded form goes below the folder of
    those, without suffix."""

    path: str
    kind: str
    target: str
    verdict: Verdict | None = None


class Job(Protocol):
    """What is done to clips; it is sent to the workers."""

    def __call__(self, clips: Sequence[Clip]) -> Counter:
        """Do the clips and record each; counts them by the reason why they failed, '' for those that did
        not."""

    def dead(self, clip: Clip) -> Counter:
        """Record that the worker which did this clip was killed again and again; counts it."""


def clips_of(space: Workspace) -> Iterator[Clip]:
    """The sources of this run's share, each once though two splits may list it."""
    for row in index_rows(space):
        if row['path'] is not None and not row['again'] and space.has(row['path']):
            yield Clip(row['path'], row['kind'], row['target'])


def run_job(
    job: Job,
    step: str,
    space: Workspace,
    clips: Callable[[], Iterator[Clip]],
    is_done: Callable[[Clip], bool],
    *,
    chunk: int,
    spread: Spread,
    say_kept: Callable[[], None] = lambda: None,
) -> None:
    """Do the clips that are not done, and merge the records unless other shards may be writing some, or the
    run does not see all clips.

    Args:
        step: names the records.
        clips: called several times, rather than that the clips are kept.
        chunk: how many clips a worker gets at a time.
        say_kept: called when it is known which are done.
    """
    done = bytearray(map(is_done, clips()))
    say_kept()
    todo = len(done) - sum(done)
    chunk = max(1, min(8 * chunk if spread.dask else chunk, todo // (4 * spread.workers)))
    if done:
        tell = partial(logger.info, '%s')
        with Progress(step, len(done), done=len(done) - todo, failed=0, tell=tell) as progress:
            items = (clip for clip, is_it in zip(clips(), done) if not is_it)
            for reasons in run_all(spread, job, items, chunk, job.dead) if todo else ():
                progress.add(reasons.total(), failed=reasons.total() - reasons[''])
    if space.is_whole:
        merge_records(space.records(step), 'all', (clip.path for clip in clips()))


@cache
def _recorder(folder: Path, pid: int, thread: int) -> Recorder:
    return Recorder(folder)


def add_record(folder: Path, record: Record) -> None:
    """Append to this worker's file of records; several threads may."""
    try:
        _recorder(folder, os.getpid(), get_ident()).add(record)
    except OSError as error:
        raise no_room(error) or error from error


class Kept:
    """Counts what is kept though it is not quite as it would be made now, and says so."""

    def __init__(self, step: str):
        self._step, self._counts = step, Counter()

    def note(self, difference: str) -> None:
        self._counts[difference] += 1

    def say(self) -> None:
        for difference, count in sorted(self._counts.items()):
            logger.warning('%s: %d clips %s are kept; --redo makes them anew', self._step, count, difference)


def made_by_another(ffmpeg: str | None, this: str) -> str:
    """A difference for :class:`Kept`."""
    return f'that ffmpeg {ffmpeg} made, where this is {this},'


NEW_TIMES = 'whose sources have new times, and the same size, head and tail,'


def verdict_of(record: Record) -> Verdict:
    return Verdict(*(record[name] for name in Verdict.__dataclass_fields__))
