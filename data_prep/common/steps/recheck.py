"""Whether the bytes of a prepared dataset are still those that were written: OUT/sha256.txt, and comparing
clips with it."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from data_prep.common.checking import Verdict
from data_prep.common.children import TRIES
from data_prep.common.cutting import CLIPS
from data_prep.common.records import whole_hash
from data_prep.common.spreading import Spread, run_all
from data_prep.common.steps.encode import FOLDERS, RECORDS, output_of
from data_prep.common.steps.index import index_rows
from data_prep.common.steps.jobs import add_record
from data_prep.common.steps.pack import FOLDER as SHARDS_FOLDER
from data_prep.common.steps.pack import unpack_damaged
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.manifest import Manifest, read_manifest, read_table
from gfvideo.data.shards import member_of, read_member
from gfvideo.files import write_atomically
from gfvideo.progress import Progress

__all__ = ['SUMS', 'read_sums', 'recheck', 'write_sums']

logger = logging.getLogger('data_prep')
SUMS = 'sha256.txt'
SHOWN = 20


def write_sums(out: Path, sums: Mapping[str, str]) -> None:
    """Write ``sha256.txt``, a line ``<SHA-256>  <path>`` for every clip, as sha256sum has them.

    Args:
        out: the prepared folder.
        sums: path below ``video_root`` -> SHA-256; '' where nobody computed it, which is said and left out.
    """
    unknown = sum(not value for value in sums.values())
    if unknown:
        logger.warning(
            '%d of %d clips were prepared by a version that kept no SHA-256 of them: --recheck cannot judge'
            ' them; --redo makes them anew',
            unknown,
            len(sums),
        )
    lines = (f'{value}  {_on_a_line(path)}\n'.encode() for path, value in sums.items() if value)
    write_atomically(out / SUMS, lines)


def _on_a_line(path: str) -> str:
    return path.replace('\\', '\\\\').replace('\n', '\\n').replace('\r', '\\r')


def read_sums(file: Path) -> dict[str, str]:
    """The path of a clip on a line of :func:`write_sums` -> its SHA-256.

    Raises:
        PreparationError: there is no such file.
    """
    if not file.is_file():
        raise PreparationError(f'{file} is missing; run the step lists of this version, which writes it')
    lines = file.read_text(encoding='utf-8').split('\n')
    return {path: value for value, _, path in (line.partition('  ') for line in lines if line)}


@dataclass(frozen=True)
class Prepared:
    """A clip of a prepared dataset, and the SHA-256 that it had."""

    path: str
    kind: str
    sha256: str


@dataclass(frozen=True)
class RecheckJob:
    """Compare clips with their SHA-256; gives path and what is wrong of those that differ.

    Attributes:
        root: folder that their paths start from.
    """

    root: Path

    def __call__(self, clips: Sequence[Prepared]) -> list[tuple[str, str] | None]:
        return [self._compare(clip) for clip in clips]

    def _compare(self, clip: Prepared) -> tuple[str, str] | None:
        try:
            member = member_of(str(self.root / clip.path))
            if member is None:
                same = whole_hash(self.root / clip.path, clip.kind) == clip.sha256
            else:
                same = hashlib.sha256(read_member(member)).hexdigest() == clip.sha256
        except EOFError as error:
            return clip.path, str(error)
        except OSError as error:
            return clip.path, str(error.strerror)
        return None if same else (clip.path, 'its bytes are not those that were written')

    def dead(self, clip: Prepared) -> list[tuple[str, str] | None]:
        return [(clip.path, f'the worker that read it was killed {TRIES} times')]


def recheck(space: Workspace, spread: Spread) -> int:
    """Read every clip of this run's share again and compare it with its SHA-256.

    Damaged ones are named, and noted where the steps look: the next run makes them anew.

    Returns:
        how many are damaged or gone.

    Raises:
        PreparationError, ManifestError, FileNotFoundError: the dataset cannot be read.
    """
    manifest = read_manifest(space.out)
    sums = read_sums(space.out / SUMS)
    clips = [clip for clip in _prepared(manifest, sums) if space.has(clip.path)]
    if unknown := sum(not clip.sha256 for clip in clips):
        logger.warning('%d of %d clips have no SHA-256 in %s; they are not judged', unknown, len(clips), SUMS)
    clips = [clip for clip in clips if clip.sha256]
    job, damaged = RecheckJob(manifest.videos.absolute()), {}
    with Progress('recheck', len(clips), failed=0, tell=partial(logger.info, '%s')) as progress:
        for results in run_all(spread, job, clips, 16, job.dead):
            bad = dict(filter(None, results))
            damaged |= bad
            progress.add(len(results), failed=len(bad))
    for path in sorted(damaged)[:SHOWN]:
        logger.error('%s: %s', path, damaged[path])
    if len(damaged) > SHOWN:
        logger.error('and %d more', len(damaged) - SHOWN)
    noted = _note(space, manifest, damaged) if damaged else 0
    if damaged:
        logger.error(
            '%d of %d clips are damaged: %s',
            len(damaged),
            len(clips),
            'run the command without --recheck, which makes them anew from their sources'
            if noted
            else 'nothing here tells their sources (no folder work/); copy them again, or prepare again',
        )
    else:
        logger.info('all %d clips have the bytes that were written', len(clips))
    return len(damaged)


def _prepared(manifest: Manifest, sums: Mapping[str, str]) -> Iterator[Prepared]:
    seen = set()
    for split in manifest.splits:
        for row in read_table(manifest, split):
            if row.path not in seen:
                seen.add(row.path)
                yield Prepared(row.path, row.kind, sums.get(_on_a_line(row.path), ''))


def _note(space: Workspace, manifest: Manifest, damaged: Mapping[str, str]) -> int:
    """Record for the steps that clips are to be made anew; gives how many could be."""
    if not (space.work / 'index.jsonl').is_file():
        return 0
    encoded = {folder: to for to, folder in FOLDERS.items()}
    to = encoded.get(manifest.video_root, 'original')
    if manifest.video_root == SHARDS_FOLDER:
        to, damaged = 'video', unpack_damaged(space, space.out / FOLDERS['video'], damaged)
    step = RECORDS.get(to, 'verify')
    counts = Counter()
    if manifest.video_root == CLIPS:  # cut out of longer videos, and cut again if it is not there
        for path in damaged:
            (manifest.videos / path).unlink(missing_ok=True)
    for row in index_rows(space):
        if row['path'] is None or row['again']:
            continue
        path = row['path'] if to not in FOLDERS else output_of(row['target'], to)
        if path in damaged:
            verdict = asdict(Verdict.bad('damaged', damaged[path]))
            unknown = dict.fromkeys(('key', 'digest', 'recipe', 'ffmpeg', 'sha256'), '')
            where = {name: row[name] for name in ('path', 'kind', 'target')}
            add_record(space.own_records(step), {**where, 'bytes': 0, **unknown, **verdict})
            counts[step] += 1
    return counts.total()
