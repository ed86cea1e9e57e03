"""The step verify: every clip is decoded once -> work/verify/*.jsonl."""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from threading import get_ident

from data_prep.common.checking import Checker, Verdict
from data_prep.common.children import TRIES
from data_prep.common.records import iter_records, source_key
from data_prep.common.spreading import Spread
from data_prep.common.steps.jobs import AGAIN, Clip, add_record, clips_of, run_job, verdict_of
from data_prep.common.workspace import Workspace

__all__ = ['VerifyJob', 'verdicts', 'verify_clips']

STEP = 'verify'


def verify_clips(space: Workspace, root: Path, time_limit: float, spread: Spread) -> None:
    """Verify the clips of this run's share that are not verified or have changed since.

    Args:
        root: folder of the videos.
        time_limit: seconds a clip.
    """
    job = VerifyJob(root.absolute(), space.own_records(STEP), time_limit)
    done: dict[int, int] = {}  # hashes, a third of the memory of the texts
    for record in iter_records(space.records(STEP)):
        done[hash(record['path'])] = hash(record['key']) if record['reason'] not in AGAIN else 0

    def is_done(clip: Clip) -> bool:
        try:
            return done.get(hash(clip.path), 0) == hash(job.key(clip))
        except OSError:
            return False

    run_job(job, STEP, space, partial(clips_of, space), is_done, chunk=16, spread=spread)


def verdicts(space: Workspace) -> dict[str, Verdict]:
    """What was found of each source, by its path."""
    return {record['path']: verdict_of(record) for record in iter_records(space.records(STEP))}


@cache
def _checker(thread: int) -> Checker:
    """One for each thread: a cluster's workers may have several."""
    checker = Checker()
    atexit.register(checker.close)
    return checker


@dataclass(frozen=True)
class VerifyJob:
    """Decode every clip once.

    Attributes:
        root: folder of the videos.
        records: folder of this step's records.
        time_limit: seconds a clip.
    """

    root: Path
    records: Path
    time_limit: float

    def key(self, clip: Clip) -> str:
        return source_key(str(self.root / clip.path), clip.kind)

    def __call__(self, clips: Sequence[Clip]) -> Counter:
        return Counter(self._verify(clip) for clip in clips)

    def _verify(self, clip: Clip) -> str:
        try:
            key = self.key(clip)
            verdict = _checker(get_ident())(str(self.root / clip.path), clip.kind, self.time_limit)
        except OSError as error:
            key, verdict = (
                '',
                Verdict.bad(
                    'missing' if isinstance(error, FileNotFoundError) else 'unreadable', error.strerror
                ),
            )
        return self.note(clip, key, verdict)

    def note(self, clip: Clip, key: str, verdict: Verdict) -> str:
        add_record(self.records, {'path': clip.path, 'key': key, **asdict(verdict)})
        return verdict.reason or ''

    def dead(self, clip: Clip) -> Counter:
        return Counter(
            [
                self.note(
                    clip, '', Verdict.bad('killed', f'the worker that decoded it was killed {TRIES} times')
                )
            ]
        )
