"""Decode a clip from its first frame to its last and say what it holds, or why it cannot be used.

Decoders can crash and hang, so they run in a process of their own that can be replaced: :class:`Checker`.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from data_prep.common.children import KILLED, TRIES, end_group, start_child
from data_prep.common.image_names import template_of

__all__ = ['Checker', 'Verdict', 'check_frames', 'check_image', 'check_video']

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    sys.executable,
    '-c',
    f'import sys; sys.path.insert(0, {str(ROOT)!r}); from data_prep.common.checking import serve; serve()',
)
IMAGES = ('.jpg', '.jpeg', '.png')
DETAIL = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a clip holds.

    Attributes:
        frames: how many decode.
        height, width: in pixels as shown, rotation applied.
        rate: frames per second, mean; 0 if the file does not say.
        rotation: degrees that the file asks to be turned by.
        codec: its name; '' for folders of images.
        template, start: names of the images of a folder, as for ``str.format``, and the first number.
        reason: why it cannot be used, one of the keys of :data:`data_prep.common.reporting.REMEDIES`; None if
            it can.
        detail: what was found, a sentence.
    """

    frames: int = 0
    height: int = 0
    width: int = 0
    rate: float = 0.0
    rotation: int = 0
    codec: str = ''
    template: str = ''
    start: int = 0
    reason: str | None = None
    detail: str = ''

    @classmethod
    def bad(cls, reason: str, detail: object) -> Verdict:
        return cls(reason=reason, detail=' '.join(str(detail).split())[:DETAIL])


def check_video(file: str) -> Verdict:
    """Decode every frame of a video file. What FFmpeg reports as an error counts, also where it goes on: it
    goes on after nearly all."""
    import av

    from gfvideo.data.video_index import VideoError

    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # else what is reported depends on the clip before
    with av.logging.Capture() as reports:
        try:
            verdict = _decoded(file)
        except (VideoError, av.error.FFmpegError) as error:
            said = '; '.join(dict.fromkeys(text.strip() for _, _, text in reports))
            return Verdict.bad(
                getattr(error, 'kind', 'decode_error'),
                _without(file, f'{error} {f"({said})" if said else ""}'),
            )
    errors = list(
        dict.fromkeys(f'{part}: {text.strip()}' for level, part, text in reports if level <= av.logging.ERROR)
    )
    if errors and verdict.reason is None:
        return Verdict.bad(
            'decode_error', f'{verdict.frames} frames decode, with {len(reports)} errors: {"; ".join(errors)}'
        )
    return verdict


def _decoded(file: str) -> Verdict:
    """One pass over the file: its packets are indexed, as readers will do it, and decoded."""
    import av

    from gfvideo.data.orientation import display_matrix, orientation_of
    from gfvideo.data.video_index import index_packets, open_stream, packets_of

    container, stream = open_stream(file, 'pyav')
    with container:
        context, sizes, lost, first = stream.codec_context, [], 0, None

        def decode(packet) -> int:
            nonlocal first
            try:
                frames = context.decode(packet)
            except av.error.InvalidDataError:
                return 1
            for frame in frames:
                first = first or frame
                sizes.append((frame.height, frame.width))
            return 0

        def passing():
            nonlocal lost
            for packet in packets_of(container, stream):
                yield packet
                lost += decode(packet)

        index = index_packets(passing(), container, stream)
        lost += decode(None)  # what the decoder held back
        if first is None:
            return Verdict.bad('decode_error', 'no frame of it decodes')
        rate, codec, rotation = (
            round(float(stream.average_rate or 0), 3),
            stream.codec.canonical_name,
            int(first.rotation),
        )
        orientation = orientation_of(display_matrix(first))
    if len(set(sizes)) > 1:
        some = ' and '.join(f'{width}x{height}' for height, width in sorted(set(sizes))[:2])
        return Verdict.bad('decode_error', f'its frames have {len(set(sizes))} sizes, e.g. {some}')
    if orientation is None:
        return Verdict.bad(
            'decode_error', f'it is to be turned by {rotation} degrees, or sheared; encode it upright'
        )
    if index.turns:
        return Verdict.bad(
            'decode_error', 'messages in its pictures turn or mirror some of them; encode it upright'
        )
    if not index.doubt and (lost or len(index.times) != len(sizes)):
        return Verdict.bad('decode_error', f'{len(sizes)} frames decode of {len(index.times)} in the file')
    height, width = sizes[0]
    return Verdict(
        len(sizes), *((width, height) if orientation.transposed else (height, width)), rate, rotation, codec
    )


def _without(file: str, text: str) -> str:
    """A message without the path, which stands beside it: the same clip elsewhere gives the same message."""
    for path in (os.path.abspath(file), file):  # PyAV is given the first, which may be without '..'
        text = text.replace(f'{path}: ', '').replace(path, Path(file).name)
    return text


def check_frames(folder: str) -> Verdict:
    """Decode every image of a folder. They are numbered without gaps; other files (thumbnails, listings) do
    not count."""
    import cv2
    import numpy as np

    names = [
        name for name in os.listdir(folder) if not name.startswith('.') and name.lower().endswith(IMAGES)
    ]
    numbered = {
        int(match[1]): name for name in names if (match := re.fullmatch(r'.*?(\d+)\.\w+', name, re.DOTALL))
    }
    if not numbered:
        return Verdict.bad('empty', 'no numbered image in the folder')
    order = sorted(numbered)
    gaps = sorted(set(range(order[0], order[-1] + 1)) - set(order))
    if gaps or order[0] > 1:
        lost = [*range(1, order[0]), *gaps]
        return Verdict.bad(
            'missing_frames',
            f'{len(lost)} of {order[-1]} images are missing, e.g. {", ".join(map(str, lost[:5]))}',
        )
    template = template_of(numbered[order[0]])
    odd = next((numbered[n] for n in order if numbered[n] != template.format(n)), None)
    if odd is not None or len(names) != len(numbered):
        stray = odd or sorted(set(names) - set(numbered.values()))[0]
        return Verdict.bad(
            'missing_frames', f'image {stray!r} is not named like the others, {template.format(order[0])!r}'
        )
    size = None
    for number in order:
        data = Path(folder, numbered[number]).read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None or not _is_whole(data):
            return Verdict.bad(
                'decode_error', f'image {numbered[number]!r} is {"damaged" if data else "empty"}'
            )
        if size is not None and picture.shape[:2] != size:
            return Verdict.bad(
                'decode_error', f'image {numbered[number]!r} is {picture.shape[:2]}, those before are {size}'
            )
        size = picture.shape[:2]
    return Verdict(len(order), *size, template=template, start=order[0])


def _is_whole(data: bytes) -> bool:
    """A JPEG ends with its end marker (ISO 10918-1, B.1), a PNG with its last chunk, or nearly; decoders fill
    up a cut one."""
    if data[:4] == b'\x89PNG':
        return b'IEND' in data[-64:]
    return data[:2] != b'\xff\xd8' or b'\xff\xd9' in data[-64:]


def check(path: str, kind: str) -> Verdict:
    try:
        return CHECKS[kind](path)
    except PermissionError as error:
        return Verdict.bad('unreadable', error.strerror)
    except FileNotFoundError as error:
        return Verdict.bad('missing', error.strerror)
    except Exception as error:  # whatever a decoder throws: this clip cannot be used, the next may
        return Verdict.bad('decode_error', _without(path, f'{type(error).__name__}: {error}'))


def check_image(file: str) -> Verdict:
    """Decode a picture."""
    from gfvideo.data.readers import ImageReader, VideoError

    try:
        [frame] = ImageReader(file).iter_frames()
    except VideoError as error:
        return Verdict.bad(error.kind, _without(file, str(error)))
    height, width = frame.shape[:2]
    return Verdict(1, height, width, codec=os.path.splitext(file)[1].lower().removeprefix('.'))


CHECKS = {'video': check_video, 'frames': check_frames, 'image': check_image}


# ---- a process that decodes


class Checker:
    """Checks clips one after the other in a process of its own, which is replaced when a clip crashes or
    hangs it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None

    def __call__(self, path: str, kind: str = 'video', time_limit: float = 120.0) -> Verdict:
        """Check one clip.

        Args:
            path: absolute, of a video file, or of a folder of images.
            kind: 'video', 'frames' or 'image'.
            time_limit: seconds after which it is given up.
        """
        for _ in range(TRIES):
            verdict = self._try(path, kind, time_limit)
            if verdict is not None:
                return verdict
        return Verdict.bad('killed', f'the process that decoded it was killed {TRIES} times')

    def _try(self, path: str, kind: str, time_limit: float) -> Verdict | None:
        """The verdict; None if something else killed the process: that says nothing about the clip."""
        child = self._started()
        try:
            child.stdin.write(json.dumps([path, kind]).encode() + b'\n')
            child.stdin.flush()
            answer = self._answer(child, time_limit)
        except BrokenPipeError:
            answer = b''
        if answer is None:
            self.close()
            return Verdict.bad('timeout', f'not decoded after {time_limit:g} s')
        if not answer.endswith(b'\n'):
            status = child.wait()
            self.close()
            return (
                None
                if status in KILLED
                else Verdict.bad('decode_error', f'the decoder crashed (status {status})')
            )
        return Verdict(**json.loads(answer))

    @staticmethod
    def _answer(child: subprocess.Popen, time_limit: float) -> bytes | None:
        """One line, or what comes before the end; None at the time limit. The child writes a line at once."""
        if not select.select([child.stdout], [], [], time_limit)[0]:
            return None
        return child.stdout.readline()

    def _started(self) -> subprocess.Popen:
        if self._child is not None and self._child.poll() is not None:
            self.close()
        if self._child is None:
            self._child = start_child(
                PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._child

    def close(self) -> None:
        if self._child is not None:
            end_group(self._child)
            self._child = None

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def serve() -> None:
    """Read ``[path, kind]`` a line from stdin and answer with the verdict, until stdin ends."""
    answers = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin.buffer:
        answers.write(json.dumps(asdict(check(*json.loads(line)))).encode() + b'\n')
        answers.flush()
