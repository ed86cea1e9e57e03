"""Clips that are parts of longer videos, or of folders of frames: each is cut and encoded once, into
``OUT/clips/<id>.mp4``, and what was done is kept in ``work/cut``.

From then on they are a folder of videos like any other: they are indexed, verified and listed as they are.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from data_prep.common.checking import Verdict
from data_prep.common.children import TRIES, run_child
from data_prep.common.ffmpeg import Encoding, Ffmpeg, find_ffmpeg
from data_prep.common.image_names import printf_of, template_of
from data_prep.common.listing import Found, Indexed, Listed, Listing, some
from data_prep.common.records import Record, iter_records, merge_records, source_digest, source_key
from data_prep.common.scanning import IMAGES, is_frame, scan
from data_prep.common.spreading import Spread, StopRun, no_room, run_all
from data_prep.common.steps.jobs import AGAIN, NEW_TIMES, Kept, add_record, made_by_another
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.progress import Progress

__all__ = ['CLIPS', 'CutJob', 'Cutting', 'Part', 'PartClip', 'match_cut']

logger = logging.getLogger('data_prep')
CLIPS = 'clips'
"""The folder of cut clips below the prepared one."""
STEP = 'cut'


@dataclass(frozen=True, slots=True)
class Part:
    """Of which file a clip is cut, and where.

    Attributes:
        source: name of the video without suffix, or of the folder of frames.
        start, stop: in seconds; None: from the first frame, to the last.
        first, end: frames from 0, ``end`` is not in it; None: from the first, to the last. Of a folder of
            frames these count, of a video only without ``start`` and ``stop``.
    """

    source: str
    start: float | None = None
    stop: float | None = None
    first: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class PartClip(Listed):
    """A clip that is a part of something longer; the first of ``parts`` whose source is there is cut."""

    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class _Task:
    """One clip to cut; ``path`` is its id, which names its record."""

    path: str
    source: str
    kind: str
    part: Part


@dataclass(frozen=True)
class Cutting:
    """How clips are cut.

    Attributes:
        encoding: as of clips that are encoded again.
        ffmpeg: the program; None: one is looked for.
        also: suffixes of files that are videos, too.
    """

    encoding: Encoding = field(default_factory=Encoding)
    ffmpeg: str | None = None
    also: tuple[str, ...] = ()

    def made(self, space: Workspace) -> dict[str, object]:
        """What decides how a clip comes out, and the versions of ffmpeg that cut those that are there."""
        versions = {
            record['ffmpeg']
            for record in iter_records(space.records(STEP))
            if record['reason'] is None and record.get('ffmpeg')
        }
        ffmpeg = ', '.join(sorted(versions or {find_ffmpeg(self.ffmpeg).version}))
        return {'to': 'video', **self.encoding.settings('video'), 'ffmpeg': ffmpeg}

    def cut(
        self,
        space: Workspace,
        root: Path,
        read: Callable[[Found], Listing],
        time_limit: float,
        spread: Spread,
        redo: bool = False,
    ) -> Path:
        """Cut this run's share of the clips that are not cut yet in this way.

        Args:
            root: folder of the sources.
            read: gives the annotation, whose clips are :class:`PartClip`.
            redo: whether clips are cut anew that another version of ffmpeg cut, or whose source has a new
                time.

        Returns:
            the folder of the clips.

        Raises:
            PreparationError: there is no source, or none of the clips'.
        """
        ffmpeg = find_ffmpeg(self.ffmpeg)
        found = scan(root, self.also).found
        if not found.videos and not found.folders:
            raise PreparationError(f'{root} holds neither videos nor folders of frames; correct --videos')
        clips = read(found).clips
        tasks, reasons = _tasks(clips, found)
        done = {record['path']: record for record in iter_records(space.records(STEP))}
        _tell_missing(clips, reasons, root, cut_before=bool(done))
        outputs = space.out / CLIPS
        outputs.mkdir(exist_ok=True)
        job = CutJob(
            root.absolute(),
            outputs.absolute(),
            space.temporary.absolute(),
            space.own_records(STEP),
            ffmpeg,
            self.encoding,
            time_limit,
        )
        kept = Kept(STEP)
        todo = [
            task
            for task in tasks
            if space.has(task.path) and not job.is_done(task, done.get(task.path), kept, redo)
        ]
        kept.say()
        mine = sum(space.has(task.path) for task in tasks)
        logger.info('cutting %d clips of %s; %d are cut already', mine, root, mine - len(todo))
        tell = partial(logger.info, '%s')
        with Progress(STEP, mine, done=mine - len(todo), failed=0, tell=tell) as progress:
            for counts in run_all(spread, job, iter(todo), 1, job.dead) if todo else ():
                progress.add(counts.total(), failed=counts.total() - counts[''])
        if space.is_whole:
            merge_records(space.records(STEP), 'all', (clip.id for clip in clips))
            _remove_others(outputs, {f'{clip.id}.mp4' for clip in clips})
        return outputs


def _tasks(clips: Sequence[PartClip], found: Found) -> tuple[list[_Task], dict[str, tuple[str, str]]]:
    """What is to be cut, each clip once; and why others cannot be: id -> (reason, detail)."""
    tasks: dict[str, _Task] = {}
    reasons: dict[str, tuple[str, str]] = {}
    for clip in clips:
        names = ' or '.join(dict.fromkeys(part.source for part in clip.parts))
        reasons[clip.id] = (
            'missing',
            f'no video {names} is there to cut it from; get the file, or name the folder that holds it',
        )
        for part in clip.parts:
            kind = 'video' if part.source in found.videos else 'frames'
            paths = found.named(kind).get(part.source, ())
            if len(paths) > 1:
                reasons[clip.id] = (
                    'ambiguous',
                    f'several files have the name: {some(paths)}; keep one of them',
                )
            if len(paths) == 1:
                tasks[clip.id] = _Task(clip.id, paths[0], kind, part)
                del reasons[clip.id]
            if paths:
                break
    return list(tasks.values()), reasons


def _tell_missing(
    clips: Sequence[PartClip], reasons: dict[str, tuple[str, str]], root: Path, cut_before: bool
) -> None:
    lost = [clip for clip in clips if clip.id in reasons]
    if not lost:
        return
    sources = sorted({clip.parts[0].source for clip in lost})
    logger.warning(
        '%d of %d clips have no source in %s, of %d videos: %s',
        len(lost),
        len(clips),
        root,
        len(sources),
        some(sources),
    )
    if len(lost) == len(clips) and not cut_before:
        raise PreparationError(
            f'none of the {len(sources)} videos that clips are cut from is in {root}, e.g. {some(sources)};'
            ' correct --videos'
        )


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Clips of an earlier run with another list."""
    for name in os.listdir(folder):
        if name not in wanted:
            (folder / name).unlink()


def match_cut(
    space: Workspace, sources: Path, also: Sequence[str], listing: Listing, found: Found
) -> Iterator[Indexed]:
    """Give every clip of the listing the file that was cut for it, or the reason why there is none.

    A clip that was cut as it is listed is used, too, if its source is not there any more.
    """
    _, reasons = _tasks(listing.clips, scan(sources, also).found)
    records = {record['path']: record for record in iter_records(space.records(STEP))}
    for clip in listing.clips:
        fault, record = reasons.get(clip.id), records.get(clip.id)
        is_cut = record is not None and record['reason'] is None and clip.id in found.videos
        if is_cut and Part(**record['part']) in clip.parts:
            fault = None
        elif fault is None and record is not None and record['reason'] is not None:
            fault = record['reason'], record['detail']
        elif fault is None:
            fault = 'missing', 'it was not cut yet; run the step transcode (all shards of it)'
        if fault is None:
            yield Indexed(clip.split, clip.id, clip.label, found.videos[clip.id][0])
        else:
            yield Indexed(clip.split, clip.id, clip.label, None, 'video', *fault)


@dataclass(frozen=True)
class CutJob:
    """Cut clips and encode them; a file with a final name is a finished one.

    Attributes:
        root: folder of the sources.
        outputs: folder of the clips.
        temporary: folder for files in the making, on the same file system.
        records: folder of the records.
        time_limit: seconds a clip.
    """

    root: Path
    outputs: Path
    temporary: Path
    records: Path
    ffmpeg: Ffmpeg
    encoding: Encoding
    time_limit: float

    def key(self, task: _Task) -> str:
        """Changes with the source, the part of it and the arguments, and not with the version of ffmpeg."""
        newest = replace(self, ffmpeg=Ffmpeg('', '99.0'))
        how = json.dumps([asdict(task.part), newest._argv(task, 'IN', 'OUT')[1:]])
        source = self.root / task.source
        # a folder of hours of frames is told by its own time; to look at each would take longer than to cut
        stamp = source_key(str(source), 'video')
        return f'{hashlib.sha256(how.encode()).hexdigest()[:16]}-{stamp}'

    def is_done(self, task: _Task, record: Record | None, kept: Kept, redo: bool) -> bool:
        """Whether a clip stands there as it would be cut now, or nearly, which is noted in ``kept``."""
        if record is None or record['reason'] in AGAIN:
            return False
        differences = []
        try:
            if record['reason'] is None and self._target(task).stat().st_size != record['bytes']:
                return False
            there, key = record['key'].partition('-'), self.key(task).partition('-')
            if there[0] != key[0]:
                return False
            if there[2] != key[2]:
                if not record.get('digest') or record['digest'] != self.digest(task):
                    return False
                differences.append(NEW_TIMES)
        except OSError:
            return False
        if record.get('ffmpeg') != self.ffmpeg.version:
            if record['reason'] is not None:
                return False
            differences.append(made_by_another(record.get('ffmpeg'), self.ffmpeg.version))
        if redo and differences:
            return False
        for difference in differences:
            kept.note(difference)
        return True

    def digest(self, task: _Task) -> str:
        """Of a video; '' of a folder of hours of frames."""
        return source_digest(str(self.root / task.source), 'video') if task.kind == 'video' else ''

    def _target(self, task: _Task) -> Path:
        return self.outputs / f'{task.path}.mp4'

    def _argv(self, task: _Task, source: str, target: str) -> list[str]:
        part = task.part
        argv = self.encoding.video(self.ffmpeg, source, target)
        at = argv.index('-i')
        before, after = argv[:at], argv[at + 2 :]
        by_time = task.kind == 'video' and (part.start is not None or part.stop is not None)
        if by_time:
            before += [] if part.start is None else ['-ss', f'{part.start:.3f}']
            before += [] if part.stop is None else ['-t', f'{part.stop - (part.start or 0.0):.3f}']
        elif task.kind == 'video' and (part.first or part.end is not None):
            end = '' if part.end is None else f'*lt(n,{part.end})'
            scale = after.index('-vf') + 1
            after[scale] = f"select='gte(n,{part.first or 0}){end}',setpts=PTS-STARTPTS,{after[scale]}"
            after = after if part.end is None else self._frames(after, part)
        elif task.kind == 'frames':
            before += ['-start_number', str((part.first or 0) + self._first_image(task))]
            after = after if part.end is None else self._frames(after, part)
        return [*before, *argv[at : at + 2], *after]

    @staticmethod
    def _frames(after: list[str], part: Part) -> list[str]:
        """Stop when all frames are there, rather than to read on to the end."""
        return [*after[:-1], '-frames:v', str(part.end - (part.first or 0)), after[-1]]

    def _images(self, task: _Task) -> tuple[str, int]:
        """Form and number of the first image of a folder."""
        names = (
            entry.name
            for entry in os.scandir(self.root / task.source)
            if is_frame(entry.name) and entry.name.lower().endswith(IMAGES)
        )
        name = min(names)
        return template_of(name), int(re.search(r'(\d+)\.\w+$', name)[1])

    def _first_image(self, task: _Task) -> int:
        return self._images(task)[1]

    def __call__(self, tasks: Sequence[_Task]) -> Counter:
        return Counter(self._cut(task) for task in tasks)

    def dead(self, task: _Task) -> Counter:
        return Counter(
            [
                self.note(
                    task, '', Verdict.bad('killed', f'the worker that cut it was killed {TRIES} times'), 0
                )
            ]
        )

    def note(self, task: _Task, key: str, verdict: Verdict, size: int, digest: str = '') -> str:
        made = {'key': key, 'digest': digest, 'ffmpeg': self.ffmpeg.version, 'part': asdict(task.part)}
        add_record(self.records, {'path': task.path, **made, 'bytes': size, **asdict(verdict)})
        return verdict.reason or ''

    def _cut(self, task: _Task) -> str:
        try:
            key, digest = self.key(task), self.digest(task)
        except OSError as error:
            return self.note(task, '', Verdict.bad('missing', error.strerror), 0)
        name = hashlib.sha1(task.path.encode()).hexdigest()[:12]
        temporary = self.temporary / f'{os.getpid()}-{name}.mp4'
        try:
            self.temporary.mkdir(parents=True, exist_ok=True)
            verdict = self._write(task, temporary)
            size = 0 if verdict.reason else temporary.stat().st_size
            if verdict.reason is None:
                os.replace(temporary, self._target(task))
        except OSError as error:
            raise no_room(error) or StopRun(
                f'{error.filename}: {error.strerror}; see to it that --out can be written, and run the same'
                ' command again'
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return self.note(task, key, verdict, size, digest)

    def _write(self, task: _Task, temporary: Path) -> Verdict:
        source = str((self.root / task.source).absolute())
        if task.kind == 'frames':
            source = f'{source.replace("%", "%%")}/{printf_of(self._images(task)[0])}'
        finished = run_child(self._argv(task, source, str(temporary.absolute())), self.time_limit)
        if 'No space left on device' in finished.stderr:
            raise OSError(errno.ENOSPC, 'No space left on device', str(temporary))
        if finished.timed_out:
            return Verdict.bad('timeout', f'not cut after {self.time_limit:g} s')
        if finished.was_killed:
            return Verdict.bad('killed', f'ffmpeg was killed {TRIES} times')
        if finished.status or finished.stderr:
            said = ' '.join(finished.stderr.replace(source, Path(source).name).split())
            return Verdict.bad('decode_error', f'ffmpeg ended with status {finished.status}: {said[-240:]}')
        return self._length(task, temporary)

    def _length(self, task: _Task, temporary: Path) -> Verdict:
        """Whether the part has the frames that it should."""
        import av

        try:
            with av.open(str(temporary)) as container:
                count = sum(1 for packet in container.demux(video=0) if packet.size)
        except (av.error.FFmpegError, IndexError):
            count = 0
        part = task.part
        by_frames = task.kind == 'frames' or (part.start is None and part.stop is None)
        wanted = part.end - (part.first or 0) if by_frames and part.end is not None else 1
        if count < wanted:
            return Verdict.bad(
                'truncated',
                f'{count} of {wanted} frames are there: {task.source} ends before the part that is listed',
            )
        return Verdict(count)
