"""The work on single clips: verify, transcode, frames. Each runs in a worker process and keeps a record of
every clip it did."""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from threading import get_ident

from data_prep.common.checking import Checker, Verdict
from data_prep.common.children import TRIES, run_child
from data_prep.common.ffmpeg import Encoding, Ffmpeg
from data_prep.common.records import Record, Recorder, source_key
from data_prep.common.spreading import StopRun

__all__ = ['AGAIN', 'Clip', 'EncodeJob', 'VerifyJob', 'no_room', 'output_of']

AGAIN = ('timeout', 'killed', 'unreadable', 'missing')
"""Reasons that may pass: these clips are tried again by the next run even if the file did not change."""

INTERRUPTED = 255  # ffmpeg's status when it ends because of SIGINT or SIGTERM
NO_ROOM = ('No space left on device', 'Disk quota exceeded', 'File too large')


@dataclass(frozen=True, slots=True)
class Clip:
    """One source: its path below the folder of videos, and where its encoded form goes below the folder of
    those, without suffix."""

    path: str
    kind: str
    target: str
    verdict: Verdict | None = None


def no_room(error: OSError) -> StopRun | None:
    """The error that ends the run, if nothing can be written any more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return StopRun(
            f'{error.filename or "the folder --out"}: {error.strerror}; make room and run the same command'
            ' again: it goes on where it stopped'
        )
    return None


@cache
def _checker(thread: int) -> Checker:
    """One for each thread: a cluster's workers may have several."""
    checker = Checker()
    atexit.register(checker.close)
    return checker


@cache
def _recorder(folder: Path, pid: int, thread: int) -> Recorder:
    return Recorder(folder)


def _record(folder: Path, record: Record) -> None:
    try:
        _recorder(folder, os.getpid(), get_ident()).add(record)
    except OSError as error:
        raise no_room(error) or error from error


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
        _record(self.records, {'path': clip.path, 'key': key, **asdict(verdict)})
        return verdict.reason or ''

    def dead(self, clip: Clip) -> Counter:
        return Counter(
            [
                self.note(
                    clip, '', Verdict.bad('killed', f'the worker that decoded it was killed {TRIES} times')
                )
            ]
        )


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
    """

    to: str
    root: Path
    outputs: Path
    temporary: Path
    records: Path
    ffmpeg: Ffmpeg
    encoding: Encoding
    time_limit: float

    def key(self, clip: Clip) -> str:
        """Changes with the source, the arguments and the version of ffmpeg."""
        return f'{self.made_by}-{source_key(str(self.root / clip.path), clip.kind)}'

    @property
    def made_by(self) -> str:
        """The part of a key that arguments and version decide."""
        argv = self._argv('IN', 'OUT')[1:]
        return hashlib.sha256('\0'.join([self.ffmpeg.version, *argv]).encode()).hexdigest()[:16]

    def _argv(self, source: str, target: str) -> list[str]:
        write = self.encoding.video if self.to == 'video' else self.encoding.frames
        return write(self.ffmpeg, source, target)

    def is_done(self, clip: Clip, record: Record) -> bool:
        """Whether the record speaks of this source encoded in this way, and the output stands there as it was
        written."""
        target = self.outputs / output_of(clip.target, self.to)
        try:
            if self.to == 'frames':
                whole = record['reason'] is not None or _sizes(target) == (record['frames'], record['bytes'])
            else:
                whole = record['reason'] is not None or target.stat().st_size == record['bytes']
            return whole and record['key'] == self.key(clip)
        except OSError:
            return False

    def __call__(self, clips: Sequence[Clip]) -> Counter:
        return Counter(self._encode(clip) for clip in clips)

    def _encode(self, clip: Clip) -> str:
        try:
            key = self.key(clip)
        except OSError as error:
            return self.note(clip, '', Verdict.bad('missing', error.strerror), 0)
        target = self.outputs / output_of(clip.target, self.to)
        name = hashlib.sha1(clip.path.encode()).hexdigest()[:12]
        temporary = self.temporary / output_of(f'{os.getpid()}-{name}', self.to)
        try:
            verdict, size = self._write(clip, temporary)
            if verdict.reason is None:
                _put(temporary, target)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return self.note(
                    clip, key, Verdict.bad('unreadable', 'its name is too long to get the suffix .mp4'), 0
                )
            raise no_room(error) or StopRun(
                f'{error.filename}: {error.strerror}; see to it that --out can be written, and run the same '
                'command again'
            ) from error
        finally:
            _remove(temporary)
        return self.note(clip, key, verdict, size)

    def note(self, clip: Clip, key: str, verdict: Verdict, size: int) -> str:
        _record(self.records, {'path': clip.path, 'key': key, 'bytes': size, **asdict(verdict)})
        return verdict.reason or ''

    def dead(self, clip: Clip) -> Counter:
        return Counter(
            [
                self.note(
                    clip, '', Verdict.bad('killed', f'the worker that encoded it was killed {TRIES} times'), 0
                )
            ]
        )

    def _write(self, clip: Clip, temporary: Path) -> tuple[Verdict, int]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        source = str((self.root / clip.path).absolute())
        if self.to == 'frames':
            temporary.mkdir()
        if clip.kind == 'frames':
            source = f'{source.replace("%", "%%")}/{_printf(clip.verdict.template)}'
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
        """Whether every frame of the source is in the output, and its size."""
        verdict, size = _frames_written(temporary) if self.to == 'frames' else _video_written(temporary)
        if verdict.reason is None and verdict.frames != clip.verdict.frames:
            return (
                Verdict.bad('decode_error', f'{verdict.frames} of {clip.verdict.frames} frames were encoded'),
                0,
            )
        return verdict, size


def _printf(template: str) -> str:
    """'img_{:05d}.jpg' -> 'img_%05d.jpg'."""
    return ''.join(
        text.replace('%', '%%') + ('' if form is None else f'%{form}')
        for text, _, form, _ in Formatter().parse(template)
    )


def output_of(target: str, to: str) -> str:
    """Path of the encoded clip below the folder of outputs."""
    return f'{target}.mp4' if to == 'video' else target


def _video_written(file: Path) -> tuple[Verdict, int]:
    """What the packets say; nothing is decoded, for it comes from our own encoder, which reported no error.

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
