"""The step encode: clips as videos with dense key frames or as folders of JPEG frames -> OUT/videos or
OUT/frames, and work/transcode/*.jsonl or work/frames/*.jsonl."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from data_prep.common.checking import Verdict
from data_prep.common.children import TRIES, run_child
from data_prep.common.ffmpeg import Encoding, Ffmpeg
from data_prep.common.image_names import printf_of
from data_prep.common.records import Record, RecordTable, iter_records, source_digest, source_key, whole_hash
from data_prep.common.spreading import Spread, StopRun, no_room
from data_prep.common.steps.jobs import (
    AGAIN,
    NEW_TIMES,
    Clip,
    Kept,
    add_record,
    clips_of,
    made_by_another,
    run_job,
    verdict_of,
)
from data_prep.common.steps.unpack import tops_of
from data_prep.common.steps.verify import checker, verified
from data_prep.common.workspace import PreparationError, Workspace

__all__ = ['FOLDERS', 'RECORDS', 'EncodeJob', 'encode_clips', 'encode_job', 'encoded', 'output_of']

logger = logging.getLogger('data_prep')

FOLDERS = {'video': 'videos', 'frames': 'frames'}
"""Where encoded clips stand in the prepared folder, by their form."""
RECORDS = {'video': 'transcode', 'frames': 'frames'}
INTERRUPTED = 255  # ffmpeg's status when it ends because of SIGINT or SIGTERM
NO_ROOM = ('No space left on device', 'Disk quota exceeded', 'File too large')


def encode_job(
    space: Workspace,
    root: Path,
    to: str,
    ffmpeg: Ffmpeg,
    encoding: Encoding,
    time_limit: float,
    consume: bool = False,
    packed: Mapping[str, int] | None = None,
) -> EncodeJob:
    """The job of a prepared folder; arguments as its attributes."""
    links = root.iterdir() if root == space.source and root.is_dir() else ()
    return EncodeJob(
        to,
        root.absolute(),
        (space.out / FOLDERS[to]).absolute(),
        space.temporary.absolute(),
        space.own_records(RECORDS[to]),
        ffmpeg,
        encoding,
        time_limit,
        root == space.source,
        consume and root == space.source,
        tuple(path.name for path in links if path.is_symlink()),
        packed or {},
    )


def encode_clips(
    space: Workspace, job: EncodeJob, min_frames: int, spread: Spread, redo: bool = False
) -> None:
    """Encode the usable clips of this run's share that are not encoded in this way.

    Args:
        redo: whether clips are made anew that another version of ffmpeg made, or whose source has a new time.

    Raises:
        PreparationError: a clip has not been verified.
    """
    ffmpeg = job.ffmpeg
    logger.info('encoding with the ffmpeg %s: %s, version %s', ffmpeg.origin, ffmpeg.path, ffmpeg.version)
    found, done, kept = verified(space), encoded(space, job), Kept(job.step)

    def clips() -> Iterator[Clip]:
        for clip in clips_of(space):
            record = found.get(clip.path)
            if record is None:
                raise PreparationError(f'{clip.path} has not been verified; run the step verify first')
            verdict = verdict_of(record)
            if verdict.reason is None and verdict.frames >= min_frames:
                yield Clip(clip.path, clip.kind, clip.target, verdict)

    def is_done(clip: Clip) -> bool:
        record = done.get(clip.path)
        if record is None or record['reason'] in AGAIN or not job.is_whole(clip, record):
            return False
        differences = job.differences(clip, job.told_now(record))
        if differences is None or redo and differences:
            return False
        for difference in differences:
            kept.note(difference)
        if 'recipe' in record:  # those of earlier versions need the source to be known again
            job.remove_source(clip)
        return True

    run_job(
        replace(job, packed={}), job.step, space, clips, is_done, chunk=1, spread=spread, say_kept=kept.say
    )


def encoded(space: Workspace, job: EncodeJob) -> RecordTable:
    """The records of this run's share of the encoded clips, however they were encoded."""
    return RecordTable(space.records(job.step), space.has)


@dataclass(frozen=True)
class EncodeJob:
    """Encode clips again, as videos with dense key frames or as folders of JPEG frames.

    An output gets its final name only when it is whole, so a file with a final name is a finished one.

    Attributes:
        to: 'video' or 'frames'.
        root: folder of the sources.
        outputs: folder of the encoded clips.
        temporary: folder for files in the making, on the same file system.
        records: folder of this step's records.
        time_limit: seconds a clip.
        unpacked: whether sources come out of archives, so that one that is gone was encoded and removed.
        consume: whether they are removed once they are encoded.
        links: folders in ``root`` that are somebody's own and keep their files.
        packed: bytes of the clips that shards hold, by their path below ``outputs``; workers do not get it.
    """

    to: str
    root: Path
    outputs: Path
    temporary: Path
    records: Path
    ffmpeg: Ffmpeg
    encoding: Encoding
    time_limit: float
    unpacked: bool = False
    consume: bool = False
    links: tuple[str, ...] = ()
    packed: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def step(self) -> str:
        """Of the records."""
        return RECORDS[self.to]

    @property
    def settings(self) -> dict[str, str | int]:
        """What decides how a clip comes out, but for the version of ffmpeg."""
        return {'to': self.to, **self.encoding.settings(self.to)}

    @property
    def recipe(self) -> str:
        """Changes with the arguments, and not with the version of ffmpeg."""
        newest = replace(self, ffmpeg=Ffmpeg('', '99.0'))
        return hashlib.sha256('\0'.join(newest._argv('IN', 'OUT')).encode()).hexdigest()[:16]

    @property
    def _made_by(self) -> str:
        """What the keys of records began with before these told recipe and version by themselves."""
        argv = self._argv('IN', 'OUT')[1:]
        return hashlib.sha256('\0'.join([self.ffmpeg.version, *argv]).encode()).hexdigest()[:16]

    def _argv(self, source: str, target: str) -> list[str]:
        write = self.encoding.video if self.to == 'video' else self.encoding.frames
        return write(self.ffmpeg, source, target)

    def told_now(self, record: Record) -> Record:
        """A record of an earlier version as it would be written now; recipe and ffmpeg are '' if nobody can
        tell."""
        if 'recipe' in record:
            return record
        made_by, _, key = record['key'].partition('-')
        same = made_by == self._made_by
        told = {'recipe': self.recipe if same else '', 'ffmpeg': self.ffmpeg.version if same else ''}
        return {**record, **told, 'key': key, 'digest': '', 'sha256': ''}

    def has_made(self, record: Record) -> bool:
        """Whether a clip whose source is gone is there as it would be made now."""
        if record['step'] != self.step or record.get('recipe') != self.recipe:
            return False
        return self.is_whole(Clip(record['path'], record['kind'], record['target']), record)

    def is_whole(self, clip: Clip, record: Record) -> bool:
        """Whether the output stands there with the size that it was written with, if there should be one."""
        if record['reason'] is not None:
            return True
        name = output_of(clip.target, self.to)
        if self.packed.get(name) == record['bytes']:
            return True
        target = self.outputs / name
        try:
            if self.to == 'frames':
                return _sizes(target) == (record['frames'], record['bytes'])
            return target.stat().st_size == record['bytes']
        except OSError:
            return False

    def differences(self, clip: Clip, record: Record) -> list[str] | None:
        """How what was recorded differs from what would be made now, though it may be kept; None if it is to
        be made anew: of other arguments or another source, or what another ffmpeg failed at."""
        if record['recipe'] != self.recipe:
            return None
        differences = []
        if record['ffmpeg'] != self.ffmpeg.version:
            if record['reason'] is not None:
                return None
            differences.append(made_by_another(record['ffmpeg'], self.ffmpeg.version))
        source = str(self.root / clip.path)
        try:
            if record['key'] != source_key(source, clip.kind):
                if record['digest'] != source_digest(source, clip.kind):
                    return None
                differences += [] if self.unpacked else [NEW_TIMES]  # unpacked again: that means nothing
        except FileNotFoundError:
            return differences if self.unpacked and record['reason'] is None else None
        except OSError:
            return None
        return differences

    def remove_source(self, clip: Clip) -> None:
        """Remove what was unpacked of a clip, now that it is encoded."""
        if not self.consume or clip.path.partition('/')[0] in self.links:
            return
        with suppress(OSError):  # what stays is in nobody's way
            _remove(self.root / clip.path)

    def __call__(self, clips: Sequence[Clip]) -> Counter:
        return Counter(self._encode(clip) for clip in clips)

    def _encode(self, clip: Clip) -> str:
        source = str(self.root / clip.path)
        try:
            seen = {'key': source_key(source, clip.kind), 'digest': source_digest(source, clip.kind)}
        except OSError as error:
            return self.note(clip, Verdict.bad('missing', error.strerror))
        target = self.outputs / output_of(clip.target, self.to)
        name = hashlib.sha1(clip.path.encode()).hexdigest()[:12]
        temporary = self.temporary / output_of(f'{os.getpid()}-{name}', self.to)
        try:
            verdict, size = self._write(clip, temporary)
            if verdict.reason is None:
                seen |= {'sha256': whole_hash(temporary, self.to)}
                _put(temporary, target)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                verdict = Verdict.bad('unreadable', 'its name is too long to get the suffix .mp4')
                return self.note(clip, verdict, **seen)
            raise no_room(error) or StopRun(
                f'{error.filename}: {error.strerror}; see to it that --out can be written, and run the same '
                'command again'
            ) from error
        finally:
            _remove(temporary)
        reason = self.note(clip, verdict, size, **seen)
        if not reason:
            self.remove_source(clip)
        return reason

    def try_out(self, clip: Clip, temporary: Path) -> int:
        """Encode a clip to a path that is not kept; gives the bytes of what came out, 0 if it failed."""
        try:
            return self._write(clip, temporary)[1]
        finally:
            _remove(temporary)

    def note(
        self,
        clip: Clip,
        verdict: Verdict,
        size: int = 0,
        key: str = '',
        digest: str = '',
        sha256: str = '',
    ) -> str:
        made = {'key': key, 'digest': digest, 'recipe': self.recipe, 'ffmpeg': self.ffmpeg.version}
        came = {'kind': clip.kind, 'target': clip.target, 'bytes': size, 'sha256': sha256, **asdict(verdict)}
        add_record(self.records, {'path': clip.path, **made, **came})
        return verdict.reason or ''

    def dead(self, clip: Clip) -> Counter:
        verdict = Verdict.bad('killed', f'the worker that encoded it was killed {TRIES} times')
        return Counter([self.note(clip, verdict)])

    def _write(self, clip: Clip, temporary: Path) -> tuple[Verdict, int]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        source = str((self.root / clip.path).absolute())
        if self.to == 'frames':
            temporary.mkdir()
        if clip.kind == 'frames':
            source = f'{source.replace("%", "%%")}/{printf_of(clip.verdict.template)}'
        finished = run_child(self._argv(source, str(temporary.absolute())), self.time_limit)
        if finished.status == -signal.SIGXFSZ or any(words in finished.stderr for words in NO_ROOM):
            raise OSError(errno.ENOSPC, 'No space left on device', str(temporary))
        if finished.timed_out:
            return Verdict.bad('timeout', f'not encoded after {self.time_limit:g} s'), 0
        if finished.was_killed:
            return Verdict.bad('killed', f'ffmpeg was killed {TRIES} times'), 0
        if finished.status == INTERRUPTED and not finished.stderr:
            return Verdict.bad('killed', 'ffmpeg was interrupted by a signal'), 0
        if finished.status or finished.stderr:
            said = ' '.join(
                finished.stderr.replace(source, Path(source).name).replace(str(temporary), 'OUT').split()
            )
            said = re.sub(r' @ 0x[0-9a-f]+', '', said)  # addresses, which differ from run to run
            return (
                Verdict.bad('decode_error', f'ffmpeg ended with status {finished.status}: {said[-240:]}'),
                0,
            )
        return self._inspect(clip, temporary)

    def _inspect(self, clip: Clip, temporary: Path) -> tuple[Verdict, int]:
        """Whether every frame of the source is in the output and decodes, and its size."""
        verdict, size = _frames_written(temporary) if self.to == 'frames' else _video_written(temporary)
        if verdict.reason is not None:
            return verdict, 0
        if verdict.frames != clip.verdict.frames:
            found = f'{verdict.frames} of {clip.verdict.frames} frames were encoded'
            return Verdict.bad('decode_error', found), 0
        decoded = checker()(str(temporary.absolute()), self.to, self.time_limit)
        if decoded.reason in AGAIN:
            return decoded, 0
        if (decoded.reason, decoded.frames) != (None, verdict.frames):
            found = decoded.detail or f'{decoded.frames} of {verdict.frames} frames'
            return Verdict.bad('decode_error', f'what was encoded does not decode: {found}'), 0
        return verdict, size


def consumed(space: Workspace) -> Iterator[Record]:
    """The last records of clips out of archives that were encoded, whose sources are gone."""
    tops = tops_of(space) if space.source.is_dir() else ()
    for step in RECORDS.values():
        table = RecordTable(space.records(step))
        seen = set()
        for path in (record['path'] for record in iter_records(space.records(step))):
            if path in seen or not any(path.startswith(f'{top}/') for top in tops):
                continue
            seen.add(path)
            record = table.get(path)
            told = record is not None and 'recipe' in record and record['reason'] in (None, 'damaged')
            if told and not (space.source / path).exists():
                yield {**record, 'step': step}


def volumes_to_unpack_again(space: Workspace, job: EncodeJob | None) -> set[str]:
    """Names of the archives of which clips are gone and not there as ``job`` would encode them (None: as they
    are)."""
    return {
        top
        for record in consumed(space)
        for top in tops_of(space)
        if record['path'].startswith(f'{top}/') and not (job is not None and job.has_made(record))
    }


def output_of(target: str, to: str) -> str:
    """Path of the encoded clip below the folder of outputs."""
    return f'{target}.mp4' if to == 'video' else target


def _video_written(file: Path) -> tuple[Verdict, int]:
    """What the packets say; that they decode is another question.

    The table of contents counts frames that the edit list hides; the index does not, and no reader would show
    them.
    """
    from gfvideo.data.video_index import VideoError, index_packets, open_stream, packets_of

    try:
        container, stream = open_stream(str(file), 'pyav')
    except VideoError as error:
        return (
            Verdict.bad(
                'decode_error', f'what was encoded cannot be read: {error}'.replace(str(file), 'OUT')
            ),
            0,
        )
    with container:
        index = index_packets(packets_of(container, stream), container, stream)
        if index.doubt:
            return (
                Verdict.bad('decode_error', f'what was encoded cannot be read frame by frame: {index.doubt}'),
                0,
            )
        context, rate = stream.codec_context, round(float(stream.average_rate or 0), 3)
        return (
            Verdict(len(index.times), context.height, context.width, rate, 0, stream.codec.canonical_name),
            file.stat().st_size,
        )


def _frames_written(folder: Path) -> tuple[Verdict, int]:
    import cv2

    names = sorted(os.listdir(folder))
    if not names:
        return Verdict.bad('decode_error', 'no frame was written'), 0
    height, width = cv2.imread(str(folder / names[0])).shape[:2]
    return Verdict(len(names), height, width, 0.0, 0, '', '{:05d}.jpg', 1), _sizes(folder)[1]


def _sizes(folder: Path) -> tuple[int, int]:
    """Number and bytes of the files in a folder."""
    with os.scandir(folder) as entries:
        sizes = [entry.stat().st_size for entry in entries]
    return len(sizes), sum(sizes)


def _put(temporary: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if temporary.is_dir() and target.is_dir():  # of an earlier run with other arguments
        shutil.rmtree(target)
    os.replace(temporary, target)


def _remove(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)
