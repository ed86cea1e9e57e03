"""The ffmpeg program: which one, its version, and the command lines that the preparation runs."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from data_prep.common.children import TRIES

__all__ = ['Encoding', 'Ffmpeg', 'FfmpegError', 'find_ffmpeg']

logger = logging.getLogger('data_prep')
OLDEST = (4, 0)


class FfmpegError(RuntimeError):
    """No ffmpeg, or one that cannot do what is asked; the message names it and the remedy."""


@dataclass(frozen=True)
class Ffmpeg:
    """A program and what ``-version`` says of it.

    Attributes:
        origin: where it comes from, for messages: the flag ``--ffmpeg``, PATH or a package.
    """

    path: str
    version: str
    origin: str = field(default='', compare=False)

    @property
    def number(self) -> tuple[int, int]:
        """(major, minor); (99, 0) for one that is built from the latest source, which has no number."""
        match = re.match(r'n?(\d+)\.(\d+)', self.version)
        return (int(match[1]), int(match[2])) if match else (99, 0)

    @property
    def passthrough(self) -> tuple[str, str, str, str]:
        """Keep every frame and its time, also frames that follow each other faster than the mean; the flags
        changed in 5.1 and 6.1."""
        return (
            '-vsync' if self.number < (5, 1) else '-fps_mode',
            'passthrough',
            '-enc_time_base',
            '-1' if self.number < (6, 1) else 'demux',
        )

    @property
    def whole_mp4(self) -> tuple[str, ...]:
        """Show the last frame, too: before 5.1 it gets no duration with :attr:`passthrough`, and the edit
        list ends before it."""
        return ('-use_editlist', '0') if self.number < (5, 1) else ()


@dataclass(frozen=True)
class Encoding:
    """How clips are encoded again.

    Attributes:
        short_side: wanted short side in pixels, never enlarged; 0 keeps the size.
        gop: frames from one key frame to the next: 8 lets 8 spread frames be read at a fraction of the cost;
            1 is all-intra.
        crf: constant rate factor of x264, 0 (lossless) to 51.
        quality: of JPEG folders, ffmpeg's ``-q:v``: 2 (best) to 31.
    """

    short_side: int = 256
    gop: int = 8
    crf: int = 20
    quality: int = 2

    def __post_init__(self) -> None:
        if self.short_side < 0 or self.short_side % 2:
            raise ValueError(
                f'--short-side is {self.short_side}; give an even number of pixels, or 0 to keep the size'
            )
        if self.gop < 1:
            raise ValueError(f'--gop is {self.gop}; give 1 (all-intra) or more')
        if not 0 <= self.crf <= 51:
            raise ValueError(f'--crf is {self.crf}; give 0 to 51')
        if not 2 <= self.quality <= 31:
            raise ValueError(f'--quality is {self.quality}; give 2 to 31')

    def settings(self, to: str) -> dict[str, int]:
        """Those that count for a form, 'video', 'frames' or 'original'."""
        names = {'video': ('short_side', 'gop', 'crf'), 'frames': ('short_side', 'quality'), 'original': ()}
        return {name: getattr(self, name) for name in names[to]}

    def scale(self) -> str:
        """A filter that makes the short side at most ``short_side`` and both sides even, as the encoder needs
        them."""
        short = f'min({self.short_side},min(iw,ih))' if self.short_side else 'min(iw,ih)'
        even = f'trunc({short}/2)*2'
        return f"scale=w='if(gt(iw,ih),-2,{even})':h='if(gt(iw,ih),{even},-2)'"

    def video(self, ffmpeg: Ffmpeg, source: str, target: str) -> list[str]:
        """Encode to H.264 with dense key frames; rotation is baked in, sound, subtitles and metadata are left
        behind.

        ``source`` and ``target`` are absolute, so that a name with a leading ``-`` or a ``:`` is a name.
        """
        return [
            *self._read(ffmpeg, source),
            *ffmpeg.passthrough,
            '-vf',
            self.scale(),
            '-c:v',
            'libx264',
            '-preset',
            'veryfast',
            '-crf',
            str(self.crf),
            '-g',
            str(self.gop),
            '-bf',
            '0',
            '-tune',
            'fastdecode',
            '-pix_fmt',
            'yuv420p',
            '-fflags',
            '+bitexact',
            '-flags:v',
            '+bitexact',
            '-movflags',
            '+faststart',
            *ffmpeg.whole_mp4,
            '-threads',
            '1',
            '-f',
            'mp4',
            f'file:{target}',
        ]

    def frames(self, ffmpeg: Ffmpeg, source: str, folder: str) -> list[str]:
        """Write JPEG frames 00001.jpg, 00002.jpg … into ``folder``."""
        pattern = f'{folder}/%05d.jpg' if '%' not in folder else f'{folder.replace("%", "%%")}/%05d.jpg'
        return [
            *self._read(ffmpeg, source),
            *ffmpeg.passthrough,
            '-vf',
            self.scale(),
            '-q:v',
            str(self.quality),
            '-pix_fmt',
            'yuvj420p',
            '-fflags',
            '+bitexact',
            '-flags:v',
            '+bitexact',
            '-threads',
            '1',
            '-start_number',
            '1',
            '-f',
            'image2',
            f'file:{pattern}',
        ]

    @staticmethod
    def _read(ffmpeg: Ffmpeg, source: str) -> list[str]:
        from gfvideo.data.video_index import FORMATS  # those that hold their pictures themselves

        return [
            ffmpeg.path,
            '-nostdin',
            '-v',
            'error',
            '-xerror',
            '-y',
            '-threads',
            '1',
            '-protocol_whitelist',
            'file',
            '-format_whitelist',
            f'{FORMATS},image2',
            '-i',
            f'file:{source}',
            '-map',
            '0:v:0',
            '-an',
            '-sn',
            '-dn',
            '-map_metadata',
            '-1',
        ]


@cache
def find_ffmpeg(wanted: str | None = None) -> Ffmpeg:
    """The ffmpeg asked for, else the one on PATH, else the one that the package imageio-ffmpeg carries.

    One on PATH that cannot be used is passed over with a warning if the package carries another.

    Raises:
        FfmpegError: there is none, it does not run, is older than 4.0, or was built without the encoder
            libx264.
    """
    if wanted:
        return _asked(_absolute(wanted), 'as asked for with --ffmpeg')
    path = shutil.which('ffmpeg')
    if path is None:
        return _asked(
            _carried('no ffmpeg on PATH, and imageio-ffmpeg does not bring one'),
            'of the package imageio-ffmpeg',
        )
    try:
        return _asked(path, 'found on PATH')
    except FfmpegError as error:
        found = _asked(
            _carried(f'{error}; imageio-ffmpeg does not bring one, either'), 'of the package imageio-ffmpeg'
        )
        logger.warning('the ffmpeg on PATH is passed over: %s', error)
        return found


def _asked(path: str, origin: str) -> Ffmpeg:
    """The program at ``path``, after it said its version and its encoders."""
    version = _output([path, '-version'])
    found = re.match(r'ffmpeg version (\S+)', version)
    if found is None:
        raise FfmpegError(
            f'{path} is not ffmpeg: it answers -version with {version[:80]!r}; give another one with --ffmpeg'
        )
    ffmpeg = Ffmpeg(path, found[1], origin)
    if ffmpeg.number < OLDEST:
        raise FfmpegError(
            f'{path} has version {found[1]}, older than {OLDEST[0]}.{OLDEST[1]}; give a newer one with'
            ' --ffmpeg, or pip install imageio-ffmpeg'
        )
    if 'libx264' not in _output([path, '-hide_banner', '-encoders']):
        raise FfmpegError(
            f'{path} ({found[1]}) was built without the encoder libx264; give another one with --ffmpeg, or'
            ' pip install imageio-ffmpeg'
        )
    return ffmpeg


def _absolute(wanted: str) -> str:
    found = shutil.which(wanted)
    if found is None:
        raise FfmpegError(f'--ffmpeg: {wanted} is not a program that can be run')
    return str(Path(found).absolute())


def _carried(otherwise: str) -> str:
    """Path of the program that imageio-ffmpeg carries; ``otherwise``, with its reason, is the error where it
    carries none."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise FfmpegError(
            f'{otherwise} ({error}); pip install imageio-ffmpeg, or install ffmpeg, or keep the files as they'
            ' are with --to original'
        ) from error


def _output(argv: Sequence[str]) -> str:
    """What a program prints; one that something else killed is asked again."""
    try:
        for _ in range(TRIES):
            ended = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace', timeout=60
            )
            if ended.returncode != -signal.SIGKILL:
                break
        return ended.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FfmpegError(f'{argv[0]} does not run ({error}); give another ffmpeg with --ffmpeg') from error
