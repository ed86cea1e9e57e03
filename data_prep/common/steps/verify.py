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
from data_prep.common.records import RecordTable, source_digest, source_key, whole_hash
from data_prep.common.spreading import Spread
from data_prep.common.steps.jobs import (
    AGAIN,
    NEW_TIMES,
    Clip,
    Kept,
    add_record,
    clips_of,
    run_job,
)
from data_prep.common.workspace import Workspace

__all__ = ['VerifyJob', 'checker', 'verified', 'verify_clips']

STEP = 'verify'


def verify_clips(space: Workspace, root: Path, time_limit: float, spread: Spread, redo: bool = False) -> None:
    """Verify the clips of this run's share that are not verified or have changed since.

    Args:
        root: folder of the videos.
        time_limit: seconds a clip.
        redo: whether a new time alone means that a source has changed.
    """
    job = VerifyJob(root.absolute(), space.own_records(STEP), time_limit)
    done, kept = verified(space), Kept(STEP)

    def is_done(clip: Clip) -> bool:
        record = done.get(clip.path)
        if record is None or record['reason'] in AGAIN:
            return False
        try:
            if record['key'] == job.key(clip):
                return True
            same = not redo and record.get('digest') == source_digest(str(job.root / clip.path), clip.kind)
        except FileNotFoundError:  # of an archive: encoded and removed
            return root == space.source and record['reason'] is None
        except OSError:
            return False
        if same and root != space.source:  # what is unpacked again has new times, and that means nothing
            kept.note(NEW_TIMES)
        return same

    clips = partial(clips_of, space)
    run_job(job, STEP, space, clips, is_done, chunk=16, spread=spread, say_kept=kept.say)


def verified(space: Workspace) -> RecordTable:
    """The records of this run's share of the sources."""
    return RecordTable(space.records(STEP), space.has)


def checker() -> Checker:
    """One for each thread: a cluster's workers may have several."""
    return _checker(get_ident())


@cache
def _checker(thread: int) -> Checker:
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
        source = str(self.root / clip.path)
        try:
            seen = {'key': self.key(clip), 'digest': source_digest(source, clip.kind)}
            verdict = checker()(source, clip.kind, self.time_limit)
            seen |= {'sha256': whole_hash(source, clip.kind)}
        except OSError as error:
            reason = 'missing' if isinstance(error, FileNotFoundError) else 'unreadable'
            return self.note(clip, Verdict.bad(reason, error.strerror))
        return self.note(clip, verdict, **seen)

    def note(self, clip: Clip, verdict: Verdict, key: str = '', digest: str = '', sha256: str = '') -> str:
        seen = {'key': key, 'digest': digest, 'sha256': sha256}
        add_record(self.records, {'path': clip.path, **seen, **asdict(verdict)})
        return verdict.reason or ''

    def dead(self, clip: Clip) -> Counter:
        return Counter(
            [self.note(clip, Verdict.bad('killed', f'the worker that decoded it was killed {TRIES} times'))]
        )
