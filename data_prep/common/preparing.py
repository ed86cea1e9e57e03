"""From an annotation and a folder of videos to a prepared dataset, step by step; every step can be cut and
goes on where it stopped.

    OUT/dataset.json, <split>.jsonl    the manifest that training reads
    OUT/failed.jsonl                   the clips that cannot be used, each with its reason
    OUT/lists/                         the same clips in the forms that other tools read
    OUT/stats.html, stats.json         a page to look at
    OUT/videos/ or OUT/frames/         encoded clips (--to video, --to frames)
    OUT/source/                        what was unpacked, if --videos names archives
    OUT/work/                          what the steps know; delete it to begin again
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from data_prep.common import lists, stats
from data_prep.common.archives import find_volumes, unpack
from data_prep.common.checking import Verdict
from data_prep.common.ffmpeg import Encoding, Ffmpeg, find_ffmpeg
from data_prep.common.listing import Found, Indexed, Listing, MisplacedError, extra
from data_prep.common.records import Record, iter_records, merge_records, read_lines, write_lines
from data_prep.common.reporting import report_failures
from data_prep.common.scanning import (
    IMAGES,
    VIDEOS,
    LeftOut,
    Scan,
    is_archive,
    is_frame,
    scan,
    tell_left_out,
    walk,
)
from data_prep.common.spreading import Spread, run_all
from data_prep.common.steps import AGAIN, Clip, EncodeJob, VerifyJob, output_of
from gfvideo.data.manifest import ClipRow, Manifest, write_manifest
from gfvideo.files import unfinished_name, write_atomically
from gfvideo.progress import Progress

__all__ = ['STEPS', 'Preparation', 'PreparationError', 'prepare']

logger = logging.getLogger('data_prep')
STEPS = ('unpack', 'index', 'verify', 'encode', 'lists', 'stats')
WRITTEN = re.compile(r'.+\.(jsonl?|txt|html)', re.DOTALL)  # what a run writes at once
UNFINISHED = re.compile(r'\..+\.(jsonl?|txt|html)\.\w{8}')  # left by killed runs of earlier versions
FIELDS = tuple(field for field in Verdict.__dataclass_fields__)


class PreparationError(ValueError):
    """The inputs cannot be prepared; the message names the file, the value and the remedy."""


@dataclass(frozen=True)
class Preparation:
    """What to prepare and how.

    Attributes:
        name, version: of the dataset.
        videos: folders of videos or of frames, or archives.
        read: gives the annotation; of plain folders, what was found is one.
        match: gives every clip of the annotation its file.
        to: 'video' (encode), 'frames' (folders of JPEG) or 'original' (leave the files as they are).
        shard: (number, of how many): the share of the clips that this run does.
        max_failed: share of the listed clips that may fail, in [0, 1].
        also: suffixes of files that are videos, too, in lower case; '' for none.
        arguments: those that the outcome depends on, for ``dataset.json``.
    """

    name: str
    version: str
    videos: tuple[Path, ...]
    out: Path
    read: Callable[[Found], Listing]
    match: Callable[[Listing, Found], Iterator[Indexed]]
    to: str = 'video'
    encoding: Encoding = field(default_factory=Encoding)
    ffmpeg: str | None = None
    steps: tuple[str, ...] = STEPS
    spread: Spread = field(default_factory=Spread)
    shard: tuple[int, int] = (0, 1)
    time_limit: float = 600.0
    min_frames: int = 1
    max_failed: float = 0.05
    also: tuple[str, ...] = ()
    largest_member: int = 4 * 2**30
    arguments: dict = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.out / 'work'

    @property
    def temporary(self) -> Path:
        return self.work / 'tmp' / self.shard_name

    @property
    def shard_name(self) -> str:
        return 'all' if self.shard[1] == 1 else f'{self.shard[0]}-of-{self.shard[1]}'

    @property
    def is_sharded(self) -> bool:
        return self.shard[1] > 1

    def records(self, step: str) -> Path:
        """Folder that this run's records of a step go to."""
        return self.work / step / self.shard_name if self.is_sharded else self.work / step


def prepare(plan: Preparation) -> float:
    """Run the steps of ``plan``.

    Returns:
        The share of listed clips that cannot be used; 0 where the lists were not written.

    Raises:
        PreparationError, AnnotationError, ArchiveError, FfmpegError, StopRun, OSError: with what to do.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    with _only_run(plan):
        root = _root(plan)
        if plan.steps == ('unpack',):
            return 0.0
        if 'index' in plan.steps:
            _index(plan, root)
        summary = _summary(plan)
        if 'verify' in plan.steps:
            _verify(plan, root)
        ffmpeg = (
            find_ffmpeg(plan.ffmpeg)
            if plan.to != 'original' and {'encode', 'lists'} & set(plan.steps)
            else None
        )
        if ffmpeg is not None and 'encode' in plan.steps:
            _encode(plan, root, ffmpeg)
        if plan.is_sharded:
            logger.info(
                'shard %d of %d is done; when all are, run the command once more with --shard 0/1 for the'
                ' lists',
                *plan.shard,
            )
            return 0.0
        failed = 0.0
        if 'lists' in plan.steps:
            failed = _write_lists(plan, root, summary, ffmpeg)
        if 'stats' in plan.steps:
            _stats(plan)
    return failed


# ---- one run at a time


@contextmanager
def _only_run(plan: Preparation) -> Iterator[None]:
    """Hold the folder for this run (shards share it), and remove what a killed run left half-way."""
    plan.work.mkdir(exist_ok=True)
    with _locked(plan, plan.work, fcntl.LOCK_SH if plan.is_sharded else fcntl.LOCK_EX):
        plan.temporary.mkdir(parents=True, exist_ok=True)
        with _locked(plan, plan.temporary, fcntl.LOCK_EX):
            _remove_unfinished(plan)
            try:
                yield
            finally:
                _remove_tree(plan.temporary if plan.is_sharded else plan.temporary.parent)


def _remove_tree(folder: Path) -> None:
    """Remove a folder in which an encoder that has just been killed may still be making a file."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


@contextmanager
def _locked(plan: Preparation, folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PreparationError(f'another run is preparing {plan.out}; wait for it or end it') from None
    except OSError as error:
        logger.warning(
            '%s cannot be locked (%s); see to it that no other run prepares it', folder, error.strerror
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(plan: Preparation) -> None:
    """What killed runs left half-way; a shard leaves alone what others may be writing."""
    left = [*plan.temporary.iterdir()]
    if not plan.is_sharded:
        left += [path for path in plan.temporary.parent.iterdir() if path != plan.temporary]
        folders = [
            plan.out,
            plan.out / 'lists',
            plan.work,
            *(path for path in plan.work.iterdir() if path.is_dir()),
        ]
        left += [
            path
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
            if is_unfinished(path.name)
        ]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_unfinished(name: str) -> bool:
    return (
        WRITTEN.fullmatch(unfinished_name(name) or '') is not None or UNFINISHED.fullmatch(name) is not None
    )


# ---- unpack


def _root(plan: Preparation) -> Path:
    """The folder that paths start from: the one given, or the one that archives are unpacked in."""
    archives = [path for path in plan.videos if path.is_file()]
    folders = [path for path in plan.videos if path.is_dir()]
    if archives and folders:
        raise PreparationError(
            f'--videos names archives ({archives[0]}) and folders ({folders[0]}); name one kind'
        )
    if len(folders) > 1:
        raise PreparationError(
            f'--videos names {len(folders)} folders; name one that holds them all (links are followed)'
        )
    if folders:
        if plan.out.resolve().is_relative_to(folders[0].resolve()):
            raise PreparationError(
                f'--out ({plan.out}) lies inside --videos ({folders[0]}): what is prepared would pass for'
                ' videos; name a folder beside it'
            )
        archives = _archives_alone(folders[0], plan.also)
        if not archives:
            return folders[0]
    source = plan.out / 'source'
    if 'unpack' in plan.steps:
        _unpack(plan, archives, source)
    elif not source.is_dir():
        raise PreparationError(f'{source} is missing; run the step unpack first')
    return source


def _archives_alone(folder: Path, also: Sequence[str]) -> list[Path]:
    """The archives in a folder, unless videos or frames stand there, too: then they have been unpacked
    already."""
    archives, loose = [], False
    for where, names in walk(os.fspath(folder)):
        archives += [Path(where, name) for name in names if is_archive(name)]
        loose = any(
            os.path.splitext(name)[1].lower() in VIDEOS or is_frame(name) or _is_also(name, also)
            for name in names
        )
        if loose:
            break
    if loose and archives:
        logger.warning(
            '%s holds archives (%s, …) beside videos; the videos are taken and the archives are not read:'
            ' name the archives in --videos to unpack them',
            folder,
            archives[0].name,
        )
    return [] if loose else archives


def _unpack(plan: Preparation, archives: Sequence[Path], source: Path) -> None:
    volumes = find_volumes(archives)
    done_file = plan.work / 'unpack.jsonl'
    done = {record['name']: record for record in read_lines(done_file)} if done_file.is_file() else {}
    for volume in volumes:
        key = ' '.join((volume.key(), *plan.also))
        if done.get(volume.name, {}).get('key') == key:
            logger.info('%s was unpacked before', volume.name)
            continue
        if plan.is_sharded:
            raise PreparationError(
                'archives are unpacked by one run: run the step unpack without --shard first (--steps unpack)'
            )
        logger.info('unpacking %s (%d file(s))', volume.name, len(volume.parts))
        result = unpack(
            volume,
            source / volume.name,
            plan.temporary / 'member',
            plan.largest_member,
            partial(_is_of_clips, also=plan.also),
        )
        logger.info(
            '%s: %d files written, %d there already, %d passed over',
            volume.name,
            result.written,
            result.there,
            result.passed_over,
        )
        if result.refused:
            logger.warning(
                '%s: %d files cannot have their names here, e.g. %r: %s',
                volume.name,
                len(result.refused),
                *result.refused[0],
            )
        done[volume.name] = {
            'name': volume.name,
            'key': key,
            'left_out': result.left_out,
            'refused': result.refused,
        }
        write_lines(done_file, (done[name] for name in sorted(done)))
    source.mkdir(parents=True, exist_ok=True)


def _is_of_clips(name: str, also: Sequence[str] = ()) -> bool:
    return not name.startswith('.') and (
        os.path.splitext(name)[1].lower() in VIDEOS + IMAGES or _is_also(name, also)
    )


def _is_also(name: str, also: Sequence[str]) -> bool:
    return os.path.splitext(name)[1].lower() in also and not is_archive(name)


# ---- index


def _index(plan: Preparation, root: Path) -> None:
    """Annotations x files -> work/index.jsonl, a row for every listed clip, and work/index.json."""
    there = scan(root, plan.also)
    left_out, refused = _from_archives(plan, root, there.left_out)
    if not len(there):
        others = f' ({tell_left_out(left_out)[1]})' if left_out else ''
        raise PreparationError(f'{root} holds neither videos nor folders of frames; correct --videos{others}')
    if left_out and 'lists' not in plan.steps:  # else it stands at the end
        logger.log(*tell_left_out(left_out))
    try:
        listing = plan.read(there.found)
    except MisplacedError as error:
        if root != plan.out / 'source':
            raise
        raise MisplacedError(
            f'{error}. Archives are unpacked in folders of their own names, in {root}; to take the folders in'
            ' them for classes, prepare such a folder: --videos with it, and another --out'
        ) from error
    logger.info(
        '%s: the annotation lists %s clips of %d classes; %s holds %d videos and folders of frames',
        plan.name,
        ' + '.join(f'{count} {split}' for split, count in listing.official.items()),
        len(listing.classes),
        root,
        len(there),
    )
    for warning in listing.warnings:
        logger.warning('%s', warning)
    matched = list(plan.match(listing, there.found))
    unused = extra(there.found, matched)
    if unused.count:
        logger.warning('%d files belong to no listed clip, e.g. %s', unused.count, ', '.join(unused.first))
    for split, reasons in _counts(matched).items():
        logger.info('%s: %s', split, ', '.join(f'{count} {reason}' for reason, count in reasons.items()))
    targets = _Targets(there)
    write_lines(plan.work / 'index.jsonl', _index_rows(matched, targets))
    write_lines(
        plan.work / 'index.json',
        [
            {
                'classes': listing.classes,
                'label_order': listing.label_order,
                'official': listing.official,
                'expected': listing.expected,
                'warnings': listing.warnings,
                'extra': unused.count,
                'left_out': left_out,
                'refused': refused,
            }
        ],
    )


def _from_archives(plan: Preparation, root: Path, left_out: LeftOut) -> tuple[LeftOut, list[list[str]]]:
    """What is left out, with that of the archives, sorted; and the members that no file could have the name
    of, with the reason."""
    file = plan.work / 'unpack.jsonl'
    volumes = list(read_lines(file)) if root == plan.out / 'source' and file.is_file() else []
    for volume in volumes:
        for suffix, (count, first) in volume.get('left_out', {}).items():
            before, path = left_out.get(suffix, (0, first))
            left_out[suffix] = [before + count, min(path, first)]
    return dict(sorted(left_out.items())), [
        [f'{volume["name"]}/{name}', why] for volume in volumes for name, why in volume.get('refused', ())
    ]


def _index_rows(matched: Iterable[Indexed], targets: _Targets) -> Iterator[Record]:
    """Rows of the index; ``again`` marks a clip whose file an earlier row has, too (in another split)."""
    seen: set[str] = set()
    for clip in map(_named, matched):
        yield {**asdict(clip), 'target': targets(clip), 'again': clip.path in seen}
        if clip.path is not None:
            seen.add(clip.path)


def _counts(matched: Iterable[Indexed]) -> dict[str, Counter]:
    counts: dict[str, Counter] = {}
    for clip in matched:
        counts.setdefault(clip.split, Counter())[clip.reason or 'found'] += 1
    return counts


def _named(clip: Indexed) -> Indexed:
    """The clip, or without its file if the name of that is no text."""
    try:
        f'{clip.id}{clip.path}'.encode()
        return clip
    except UnicodeEncodeError:
        name = clip.id.encode(errors='backslashreplace').decode()
        return Indexed(
            clip.split,
            name,
            clip.label,
            None,
            clip.kind,
            'unreadable',
            f'the name {clip.path!a} is not UTF-8; rename it',
        )


class _Targets:
    """Where a source's encoded form goes: its path without suffix; with it where another source could have
    that name, too."""

    def __init__(self, there: Scan):
        paths = [
            path
            for named in (there.found.videos, there.found.folders)
            for paths in named.values()
            for path in paths
        ]
        stems = Counter(os.path.splitext(path)[0] for paths in there.found.videos.values() for path in paths)
        self._shared = {stem for stem, count in stems.items() if count > 1} | stems.keys() & set(paths)

    def __call__(self, clip: Indexed) -> str | None:
        if clip.path is None or clip.kind == 'frames':
            return clip.path
        stem = os.path.splitext(clip.path)[0]
        return clip.path if stem in self._shared else stem


def _summary(plan: Preparation) -> Record:
    if not (plan.work / 'index.json').is_file() or not (plan.work / 'index.jsonl').is_file():
        raise PreparationError(f'{plan.work / "index.json"} is missing; run the step index first')
    return next(read_lines(plan.work / 'index.json'))


def _rows(plan: Preparation) -> Iterator[Record]:
    return read_lines(plan.work / 'index.jsonl')


def _clips(plan: Preparation) -> Iterator[Clip]:
    """The sources of this shard, each once though two splits may list it."""
    for row in _rows(plan):
        if row['path'] is not None and not row['again'] and _in_shard(row['path'], plan.shard):
            yield Clip(row['path'], row['kind'], row['target'])


def _in_shard(path: str, shard: tuple[int, int]) -> bool:
    return shard[1] == 1 or int.from_bytes(hashlib.sha1(path.encode()).digest()[:8]) % shard[1] == shard[0]


# ---- verify and encode


def _verify(plan: Preparation, root: Path) -> None:
    job = VerifyJob(root.absolute(), plan.records('verify'), plan.time_limit)
    done: dict[int, int] = {}  # hashes, a third of the memory of the texts
    for record in iter_records(plan.work / 'verify'):
        done[hash(record['path'])] = hash(record['key']) if record['reason'] not in AGAIN else 0

    def is_done(clip: Clip) -> bool:
        try:
            return done.get(hash(clip.path), 0) == hash(job.key(clip))
        except OSError:
            return False

    _run(plan, 'verify', job, partial(_clips, plan), is_done, chunk=16)


def _encode(plan: Preparation, root: Path, ffmpeg: Ffmpeg) -> None:
    logger.info('encoding with the ffmpeg %s: %s, version %s', ffmpeg.origin, ffmpeg.path, ffmpeg.version)
    step, job = _encoded(plan), _encode_job(plan, root, ffmpeg)
    verdicts = _verdicts(plan)

    def clips() -> Iterator[Clip]:
        for clip in _clips(plan):
            verdict = verdicts.get(clip.path)
            if verdict is None:
                raise PreparationError(f'{clip.path} has not been verified; run the step verify first')
            if verdict.reason is None and verdict.frames >= plan.min_frames:
                yield Clip(clip.path, clip.kind, clip.target, verdict)

    kept = ('key', 'reason', 'bytes', 'frames')  # what is_done asks for
    done = {
        record['path']: {name: record[name] for name in kept}
        for record in iter_records(plan.work / step)
        if record['reason'] not in AGAIN
    }
    _run(
        plan, step, job, clips, lambda clip: clip.path in done and job.is_done(clip, done[clip.path]), chunk=1
    )


def _encode_job(plan: Preparation, root: Path, ffmpeg: Ffmpeg) -> EncodeJob:
    outputs = plan.out / _folder(plan.to)
    return EncodeJob(
        plan.to,
        root.absolute(),
        outputs.absolute(),
        plan.temporary.absolute(),
        plan.records(_encoded(plan)),
        ffmpeg,
        plan.encoding,
        plan.time_limit,
    )


def _encoded(plan: Preparation) -> str:
    return {'video': 'transcode', 'frames': 'frames'}[plan.to]


def _folder(to: str) -> str:
    return {'video': 'videos', 'frames': 'frames'}[to]


def _run(
    plan: Preparation,
    step: str,
    job: VerifyJob | EncodeJob,
    clips: Callable[[], Iterator[Clip]],
    is_done: Callable[[Clip], bool],
    chunk: int,
) -> None:
    """Do the clips that are not done. ``clips`` is gone through several times rather than kept."""
    done = bytearray(map(is_done, clips()))
    todo = len(done) - sum(done)
    chunk = max(1, min(8 * chunk if plan.spread.dask else chunk, todo // (4 * plan.spread.workers)))
    if done:
        tell = partial(logger.info, '%s')
        with Progress(step, len(done), done=len(done) - todo, failed=0, tell=tell) as progress:
            items = (clip for clip, is_it in zip(clips(), done) if not is_it)
            for reasons in run_all(plan.spread, job, items, chunk, job.dead) if todo else ():
                progress.add(reasons.total(), failed=reasons.total() - reasons[''])
    if not plan.is_sharded:
        merge_records(plan.work / step, 'all', (clip.path for clip in clips()))


def _verdicts(plan: Preparation) -> dict[str, Verdict]:
    return {
        record['path']: Verdict(*(record[name] for name in FIELDS))
        for record in iter_records(plan.work / 'verify')
    }


# ---- lists


def _write_lists(plan: Preparation, root: Path, summary: Record, ffmpeg: Ffmpeg | None) -> float:
    """The manifest, failed.jsonl and other tools' lists. Returns the share of clips that failed."""
    found = _verdicts(plan)
    if ffmpeg is not None:
        made_by = _encode_job(plan, root, ffmpeg).made_by  # outputs of other arguments do not count
        written = {
            record['path']: Verdict(*(record[name] for name in FIELDS))
            for record in iter_records(plan.work / _encoded(plan))
            if record['reason'] is not None or record['key'].startswith(made_by)
        }
        found = {
            path: verdict if verdict.reason or verdict.frames < plan.min_frames else written.get(path)
            for path, verdict in found.items()
        }
    names = _image_names(
        verdict for verdict in found.values() if verdict is not None and verdict.frames >= plan.min_frames
    )
    rows: dict[str, list[ClipRow]] = {split: [] for split in summary['official']}
    failed: list[Record] = []
    for row in _rows(plan):
        reason, detail = _fault(plan, row, found, names)
        if reason is not None:
            failed.append(
                {
                    'split': row['split'],
                    'id': row['id'],
                    'path': row['path'],
                    'reason': reason,
                    'detail': detail,
                }
            )
            continue
        verdict = found[row['path']]
        kind = {'video': 'video', 'frames': 'frames', 'original': row['kind']}[plan.to]
        path = row['path'] if plan.to == 'original' else output_of(row['target'], plan.to)
        rows[row['split']].append(
            ClipRow(row['id'], path, kind, row['label'], verdict.frames, verdict.height, verdict.width)
        )
    share = len(failed) / max(1, sum(summary['official'].values()))
    failed += [
        {
            'split': '',
            'id': name,
            'path': None,
            'reason': 'unreadable',
            'detail': f'not unpacked: {why}; rename it in the archive, or prepare on another file system',
        }
        for name, why in summary['refused']
    ]
    write_atomically(plan.out / 'failed.jsonl', (lists.json_line(_in_utf8(record)) for record in failed))
    rows = _with_clips(rows, failed, root)
    manifest = write_manifest(
        plan.out,
        name=plan.name,
        version=plan.version,
        classes=summary['classes'],
        label_order=summary['label_order'],
        rows=rows,
        video_root=_folder(plan.to) if plan.to != 'original' else _relative(root, plan.out),
        official={split: summary['official'][split] for split in rows},
        frame_template=names[0],
        start_index=names[1],
        preparation={'ffmpeg': ffmpeg and ffmpeg.version, **plan.arguments},
    )
    lists.write_all(plan.out / 'lists', manifest, rows)
    _report(manifest, failed, summary)
    return share


def _in_utf8(record: Record) -> Record:
    """The record with a name that is no text told in escapes."""
    return {
        name: value.encode(errors='backslashreplace').decode() if isinstance(value, str) else value
        for name, value in record.items()
    }


def _with_clips(
    rows: dict[str, list[ClipRow]], failed: Sequence[Record], root: Path
) -> dict[str, list[ClipRow]]:
    """The splits that have clips: a copy often lacks the test videos."""
    for split in (split for split, some in rows.items() if not some):
        first = next(
            (
                f'; the first that failed, {clip["id"]!r}: {clip["reason"]} ({clip["detail"]})'
                for clip in failed
                if clip['split'] == split
            ),
            '',
        )
        logger.warning(
            'no clip of split %r can be used, so the prepared dataset has no such split%s', split, first
        )
    if not any(rows.values()):
        raise PreparationError(
            f'no clip of any split can be used; is --videos right ({root})? failed.jsonl in --out lists the'
            ' reasons'
        )
    return {split: some for split, some in rows.items() if some}


def _image_names(verdicts: Iterable[Verdict]) -> tuple[str, int]:
    """Form and first number of the images of most folders."""
    counts = Counter((verdict.template, verdict.start) for verdict in verdicts if verdict.template)
    return counts.most_common(1)[0][0] if counts else ('{:05d}.jpg', 1)


def _fault(
    plan: Preparation, row: Record, found: dict[str, Verdict | None], names: tuple[str, int]
) -> tuple[str | None, str]:
    if row['path'] is None:
        return row['reason'], row['detail']
    verdict = found.get(row['path'])
    if verdict is None:
        step = 'verify' if row['path'] not in found else _encoded(plan)
        how = ' with these arguments' if step != 'verify' else ''
        raise PreparationError(
            f'{row["path"]} has no record of the step {step}{how}; run that step first (all shards of it)'
        )
    if verdict.reason is not None:
        return verdict.reason, verdict.detail
    if verdict.frames < plan.min_frames:
        return 'too_short', f'{verdict.frames} frames'
    if verdict.template and (verdict.template, verdict.start) != names:
        return (
            'missing_frames',
            (
                f'its images are named {verdict.template.format(verdict.start)!r}, others'
                f' {names[0].format(names[1])!r}'
            ),
        )
    return None, ''


def _relative(videos: Path, out: Path) -> str:
    """Relative when the videos lie inside the prepared folder, so that it can be moved; absolute
    otherwise."""
    videos, out = videos.resolve(), out.resolve()
    return videos.relative_to(out).as_posix() if videos.is_relative_to(out) else str(videos)


def _report(manifest: Manifest, failed: Sequence[Record], summary: Record) -> None:
    for split, info in manifest.splits.items():
        share = info.present / info.official
        logger.log(
            logging.INFO if share >= 0.99 else logging.WARNING,
            '%s: %d of %d listed clips can be used (%.1f %%)',
            split,
            info.present,
            info.official,
            100 * share,
        )
    report_failures(
        Counter(record['reason'] for record in failed),
        {record['reason']: record['id'] for record in reversed(failed)},
        manifest.folder / 'failed.jsonl',
    )
    if summary['left_out']:
        logger.log(*tell_left_out(summary['left_out']))
    logger.info('wrote %s, hash %s', manifest.file, manifest.hash)


def _stats(plan: Preparation) -> None:
    if not (plan.out / 'dataset.json').is_file():
        raise PreparationError(f'{plan.out / "dataset.json"} is missing; run the step lists first')
    sources = partial(iter_records, plan.work / 'verify')
    page = stats.write(plan.out, sources)
    logger.info('wrote %s', page)
