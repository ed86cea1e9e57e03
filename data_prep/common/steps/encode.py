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
from dataclasses import asdict, dataclass
from pathlib import Path

from data_prep.common.checking import Verdict
from data_prep.common.children import TRIES, run_child
from data_prep.common.ffmpeg import Encoding, Ffmpeg
from data_prep.common.image_names import printf_of
from data_prep.common.records import Record, iter_records, source_key
from data_prep.common.spreading import Spread, StopRun
from data_prep.common.steps.jobs import AGAIN, Clip, add_record, clips_of, no_room, run_job, verdict_of
from data_prep.common.steps.pack import packed_clips
from data_prep.common.steps.verify import verdicts
from data_prep.common.workspace import PreparationError, Workspace

__all__ = ['FOLDERS', 'EncodeJob', 'encode_clips', 'encode_job', 'encoded_verdicts', 'output_of']

logger = logging.getLogger('data_prep')

FOLDERS = {'video': 'videos', 'frames': 'frames'}
"""Where encoded clips stand in the prepared folder, by their form."""
RECORDS = {'video': 'transcode', 'frames': 'frames'}
INTERRUPTED = 255  # ffmpeg's status when it ends because of SIGINT or SIGTERM
NO_ROOM = ('No space left on device', 'Disk quota exceeded', 'File too large')


def encode_job(
    space: Workspace, root: Path, to: str, ffmpeg: Ffmpeg, encoding: Encoding, time_limit: float
) -> EncodeJob:
    """The job of a prepared folder; arguments as its attributes."""
    return EncodeJob(
        to,
        root.absolute(),
        (space.out / FOLDERS[to]).absolute(),
        space.temporary.absolute(),
        space.own_records(RECORDS[to]),
        ffmpeg,
        encoding,
        time_limit,
    )


def encode_clips(
    space: Workspace, job: EncodeJob, min_frames: int, spread: Spread, in_shards: bool = False
) -> None:
    """Encode the usable clips of this run's share that are not encoded in this way.

    Args:
        in_shards: whether a clip that a shard holds is one that is encoded.

    Raises:
        PreparationError: a clip has not been verified.
    """
    ffmpeg = job.ffmpeg
    logger.info('encoding with the ffmpeg %s: %s, version %s', ffmpeg.origin, ffmpeg.path, ffmpeg.version)
    found = verdicts(space)

    def clips() -> Iterator[Clip]:
        for clip in clips_of(space):
            verdict = found.get(clip.path)
            if verdict is None:
                raise PreparationError(f'{clip.path} has not been verified; run the step verify first')
            if verdict.reason is None and verdict.frames >= min_frames:
                yield Clip(clip.path, clip.kind, clip.target, verdict)

    kept = ('key', 'reason', 'bytes', 'frames')  # what is_done asks for
    done = {
        record['path']: {name: record[name] for name in kept}
        for record in iter_records(space.records(job.step))
        if record['reason'] not in AGAIN
    }

    packed = packed_clips(space) if in_shards else {}

    def is_done(clip: Clip) -> bool:
        return clip.path in done and job.is_done(clip, done[clip.path], packed)

    run_job(job, job.step, space, clips, is_done, chunk=1, spread=spread)


def encoded_verdicts(space: Workspace, job: EncodeJob) -> dict[str, Verdict]:
    """What came out of each source, by its path; outputs of other arguments do not count."""
    made_by = job.made_by
    return {
        record['path']: verdict_of(record)
        for record in iter_records(space.records(job.step))
        if record['reason'] is not None or record['key'].startswith(made_by)
    }


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

    @property
    def step(self) -> str:
        """Of the records."""
        return RECORDS[self.to]

    def key(self, clip: Clip) -> str:
        """Changes with the source, the arguments and the version of ffmpeg."""
        return f'{self.made_by}-{source_key(str(self.root / clip.path), clip.kind)}'

    @property
    def settings(self) -> dict[str, str | int]:
        """What decides how a clip comes out, but for the version of ffmpeg."""
        return {'to': self.to, **self.encoding.settings(self.to)}

    @property
    def made_by(self) -> str:
        """The part of a key that arguments and version decide."""
        argv = self._argv('IN', 'OUT')[1:]
        return hashlib.sha256('\0'.join([self.ffmpeg.version, *argv]).encode()).hexdigest()[:16]

    def _argv(self, source: str, target: str) -> list[str]:
        write = self.encoding.video if self.to == 'video' else self.encoding.frames
        return write(self.ffmpeg, source, target)

    def is_done(self, clip: Clip, record: Record, packed: Mapping[str, int]) -> bool:
        """Whether the record speaks of this source encoded in this way, and the output stands there as it was
        written, or in a shard; ``packed`` says how long it is in that."""
        name = output_of(clip.target, self.to)
        target = self.outputs / name
        try:
            if self.to == 'frames':
                whole = record['reason'] is not None or _sizes(target) == (record['frames'], record['bytes'])
            else:
                size = record['bytes']
                whole = (
                    record['reason'] is not None or packed.get(name) == size or target.stat().st_size == size
                )
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
        add_record(self.records, {'path': clip.path, 'key': key, 'bytes': size, **asdict(verdict)})
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
        """Whether every frame of the source is in the output, and its size."""
        verdict, size = _frames_written(temporary) if self.to == 'frames' else _video_written(temporary)
        if verdict.reason is None and verdict.frames != clip.verdict.frames:
            return (
                Verdict.bad('decode_error', f'{verdict.frames} of {clip.verdict.frames} frames were encoded'),
                0,
            )
        return verdict, size


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
