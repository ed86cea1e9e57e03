"""What a network looks at in your own video, as a film, a still or a page.

    python tools/look.py VIDEO --checkpoint work_dirs/RUN --out film.mp4
    python tools/look.py VIDEO --checkpoint RUN --exits exits.json --out page.html   # and where it stops
    python tools/look.py FOLDER --checkpoint RUN --out FILMS     # a film of every video; goes on where it was
    python tools/look.py 0 --checkpoint RUN --show               # camera 0, in a window
    python tools/look.py rtsp://camera/stream --checkpoint RUN --frames 300 --out film.mp4

The ending of --out says the form: .mp4, .gif, .png, .pdf, .svg or .html. A checkpoint is a file, an address
or the folder of a run (its last stage then). A recognizer of causal encoders reads the video frame by frame;
one that needs later frames is shown one clip of a file, and clips that slide along a camera or, with
--window, --stride or --every, along a file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO

from mmengine.config import DictAction

from .files import file_hash, write_atomically
from .usage import HelpFormatter

if TYPE_CHECKING:
    import numpy as np

    from .exits import ExitRule
    from .models.base import Recognizer
    from .visualization import Moment, Scene

__all__ = ['LookError', 'look', 'main', 'moments_of', 'parse_args', 'videos_in', 'write_film']

VIDEO_ENDINGS = (
    '.mp4', '.webm', '.mkv', '.avi', '.mov', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.3gp'
)  # fmt: skip
IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
RECORD = 'look.json'  # in a folder of films: what they were made with
KEPT = 64  # moments kept of a film, for its still
HOLD = 2.0  # seconds that the end stays


class LookError(RuntimeError):
    """What was asked for cannot be shown; the message says why and what to do."""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Arguments of ``gfvideo look``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    add(
        'source',
        metavar='VIDEO|FOLDER|CAMERA|URL',
        help='video file, folder of images or of videos, number of a camera, or address (rtsp://, http://)',
    )
    add('--checkpoint', required=True, metavar='RUN_OR_FILE', help='a .pth file, or the work dir of a run')
    add('--config', metavar='FILE', help='config, if the one that the checkpoint carries is not wanted')
    add('--exits', metavar='FILE', help='stop when sure, as this file of tools/calibrate.py says')
    add('--out', type=Path, metavar='F', help='file to write; of a folder of videos a folder')
    add(
        '--form',
        choices=['mp4', 'gif', 'png', 'pdf', 'svg', 'html'],
        help='of a folder of videos (default: mp4)',
    )
    add('--show', action='store_true', help='open a window; q ends it')
    add(
        '--width',
        type=int,
        default=1280,
        metavar='PIXELS',
        help='of the pictures, even (default: %(default)s)',
    )
    add(
        '--fps',
        type=float,
        metavar='N',
        help='pictures a second (default: 3; of cameras and with --every, --window, --stride 12)',
    )
    add(
        '--every',
        type=int,
        metavar='N',
        help='take one frame out of N, instead of the sampling of the config',
    )
    add(
        '--window',
        type=int,
        metavar='N',
        help='predict from N frames at a time (default: as many as in training)',
    )
    add('--stride', type=int, metavar='N', help='frames from one clip to the next (default: the window)')
    add('--frames', type=int, metavar='N', help='stop after so many pictures, e.g. of a camera')
    add('--timeout', type=float, default=10.0, metavar='S', help='wait so long for a camera (default: 10)')
    add('--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)')
    add('--seed', type=int, default=0, help='of random patches (default: %(default)s)')
    add(
        '--custom-imports',
        nargs='+',
        default=[],
        metavar='MODULE',
        help='modules of your own to import first',
    )
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='settings to change')
    args = parser.parse_args(arguments)
    _check(parser, args)
    return args


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    from .visualization import form_of

    if args.out is None and not args.show:
        parser.error('give --out FILE, --show, or both')
    for name in ('every', 'window', 'stride', 'frames'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} {getattr(args, name)}: give a whole number from 1 on')
    if args.width % 2 or args.width < 200:
        parser.error(f'--width {args.width}: give an even number from 200 on')
    if args.fps is not None and not args.fps > 0:
        parser.error(f'--fps {args.fps}: give a number above 0')
    args.source = source_of(args.source)
    args.videos = videos_in(args.source) if isinstance(args.source, Path) and args.source.is_dir() else []
    if isinstance(args.source, Path) and not args.source.exists():
        parser.error(f'{args.source} not found; give a video, a folder, the number of a camera or an address')
    if args.videos:
        if args.show or args.out is None or args.out.suffix.lower() in ('.mp4', '.gif', '.html', '.png'):
            parser.error(
                f'{args.source} holds {len(args.videos)} videos: --out is a folder then (a film of each,'
                ' --form says of which form), without --show'
            )
    elif args.out is not None:
        if args.form is not None:
            parser.error('--form is for a folder of videos; otherwise the ending of --out says it')
        try:
            form_of(args.out)
        except ValueError as error:
            parser.error(f'--out {error}')


def source_of(text: str) -> Path | int | str:
    """A path, the number of a camera, or an address."""
    from .data.streaming import is_stream_address

    if is_stream_address(text):
        return text
    return int(text) if text.isdecimal() and not Path(text).exists() else Path(text)


def videos_in(folder: Path) -> list[Path]:
    """The videos in a folder and the folders in it, in order: files and folders of images; empty of a folder
    that is itself one video, of images.

    Raises:
        LookError: if there is neither a video nor an image in it.
    """
    files = sorted(path for path in folder.rglob('*') if path.is_file() and not path.name.startswith('.'))
    images = {path.parent for path in files if path.suffix.lower() in IMAGE_ENDINGS}
    videos = [path for path in files if path.suffix.lower() in VIDEO_ENDINGS]
    if folder in images and not videos:
        return []
    found = sorted([*videos, *(images - {folder})])
    if not found:
        raise LookError(
            f'{folder} holds no video ({", ".join(VIDEO_ENDINGS[:5])} ...) and no folder of images'
        )
    return found


# --------------------------------------------------------------------------------------------------- watching


def moments_of(
    model: Recognizer,
    source: Any,
    exits: ExitRule | None = None,
    *,
    every: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    timeout: float | None = 10.0,
) -> Iterator[Moment]:
    """The film of a source, in the way that suits the model: frame by frame if its encoders look backward in
    time only; else one clip of a video, or clips that slide along an endless source, and along a video if
    ``every``, ``window`` or ``stride`` is given.

    Args:
        model: of :func:`gfvideo.apis.init_recognizer`.
        source: as of :func:`gfvideo.apis.stream`.
        exits: of streams or of clips, as the way asks for; exits of clips make a causal model read clips.
        every, window, timeout: as of :func:`gfvideo.apis.stream`.
        stride: as of :func:`gfvideo.watching.watch_sliding`.

    Raises:
        ValueError: if the exits are not of the way that suits the model.
    """
    from .data.streaming import is_stream_address
    from .watching import watch_clip, watch_sliding, watch_stream

    backward = not model.looking_ahead() and stride is None
    if backward and (exits is None or 'stream' in exits.kinds):
        return watch_stream(model, source, exits, every=every, window=window, timeout=timeout)
    if exits is not None and 'steps' not in exits.kinds:
        raise ValueError(
            f'{type(exits).__name__} decides frame by frame, but clips are watched here; give exits of clips'
            ' (tools/calibrate.py without --stream)'
        )
    endless = isinstance(source, int) or is_stream_address(source)
    if endless or (every, window, stride) != (None, None, None):
        return watch_sliding(model, source, exits, every=every, window=window, stride=stride, timeout=timeout)
    return watch_clip(model, source, exits)


# ---------------------------------------------------------------------------------------------------- writing


class Kept:
    """Some of many moments, evenly spread, and the last one."""

    def __init__(self) -> None:
        self._some: list[Moment] = []
        self._every, self._count = 1, 0
        self.last: Moment | None = None

    def add(self, moment: Moment) -> None:
        self.last = moment
        if self._count % self._every == 0:
            self._some.append(moment)
        self._count += 1
        if len(self._some) == 2 * KEPT:
            self._some, self._every = self._some[::2], 2 * self._every

    def moments(self) -> list[Moment]:
        last = [] if self.last is None or self._some and self._some[-1] is self.last else [self.last]
        return [*self._some, *last]


def write_film(
    path: Path | None,
    scene: Scene,
    moments: Iterable[Moment],
    *,
    width: int = 1280,
    fps: float = 3.0,
    show: Callable[[np.ndarray], bool] | None = None,
    endless: bool = False,
) -> Moment:
    """Draw the moments and write them as the ending of ``path`` says: ``.mp4``, ``.gif``; one still as
    ``.png``, ``.pdf``, ``.svg``; or ``.html``, a page that holds film, still and numbers.

    Args:
        path: of the file; None writes none.
        scene: what holds for all moments.
        moments: in order.
        width: of the pictures in pixels.
        fps: pictures a second.
        show: is given every picture; its answer says whether to go on.
        endless: whether Ctrl-C is the way to end the moments: what there is by then is written.

    Returns:
        The last moment.

    Raises:
        LookError: if there is no moment.
    """
    from .visualization import draw_moment, draw_strip, film_writer, form_of, write_page

    form = None if path is None else form_of(path)
    kept, rows = Kept(), []
    with ExitStack() as stack, TemporaryDirectory() as folder:
        film = Path(folder) / 'film.mp4' if form == '.html' else path
        add = None
        if film is not None and form in ('.mp4', '.gif', '.html'):
            writing = stack.enter_context(ExitStack())
            add = writing.enter_context(film_writer(film, fps))
        for moment in _until_interrupted(moments) if endless else moments:
            kept.add(moment)
            rows.append(_row(scene, moment))
            picture = draw_moment(scene, moment, width).render() if add or show else None
            if add and picture is not None:
                add(picture)
            if show and picture is not None and not show(picture):
                break
        if kept.last is None:
            raise LookError('there is no frame to look at')
        if add and kept.last.end and picture is not None:
            for _ in range(round(HOLD * fps)):
                add(picture)
        if add:
            writing.close()
        if path is not None and form in ('.png', '.pdf', '.svg'):
            draw_strip(scene, kept.moments(), width).save(path)
        if path is not None and film is not None and form == '.html':
            still = Path(folder) / 'still.svg'
            draw_strip(scene, kept.moments(), width).save(still)
            write_page(
                path, film, still, title=scene.title, summary=told(scene, kept.last), heads=HEADS, rows=rows
            )
    return kept.last


HEADS = ('what happened', 'frame', 'looks', 'it says', 'certainty', 'GMACs so far')


def _until_interrupted(moments: Iterable[Moment]) -> Iterator[Moment]:
    try:
        yield from moments
    except KeyboardInterrupt:
        return


def _row(scene: Scene, moment: Moment) -> list[str]:
    says, sure = _answer(scene, moment)
    looks = max(0, moment.looks) if moment.watched else 0
    return [moment.status, f'{moment.index}', f'{looks}', says, sure, f'{moment.costs.so_far:.4g}']


def _answer(scene: Scene, moment: Moment) -> tuple[str, str]:
    if moment.probabilities is None:
        return '', ''
    best = int(moment.probabilities.argmax())
    return scene.classes[best], f'{100 * moment.probabilities[best]:.0f} %'


def told(scene: Scene, moment: Moment) -> str:
    """How a film ended, in a sentence."""
    says, sure = _answer(scene, moment)
    costs = moment.costs
    whole = '' if costs.whole is None else f', of {costs.whole:.4g} for every frame whole'
    spent = f'{costs.so_far:.4g} GMACs, of {costs.all_looks:.4g} for all looks{whole}'
    return f'{says} ({sure}). {moment.status}. {spent}.'


# ---------------------------------------------------------------------------------------------------- windows


@contextmanager
def window(title: str, fps: float) -> Iterator[Callable[[np.ndarray], bool]]:
    """A window on the screen: a function that shows a picture, and says whether to go on (q, Esc and closing
    the window end it).

    Raises:
        LookError: if there is no screen, or an OpenCV without windows.
    """
    import cv2

    no_screen = 'write a file with --out instead, e.g. --out film.mp4'
    if sys.platform.startswith('linux') and not (
        os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    ):
        raise LookError(f'--show: there is no screen here (DISPLAY is not set); {no_screen}')
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    except cv2.error as error:
        raise LookError(f'--show: this OpenCV opens no window ({error.err or error}); {no_screen}') from error

    def show(picture: np.ndarray) -> bool:
        cv2.imshow(title, picture[..., ::-1])
        key = cv2.waitKey(max(1, round(1000 / fps))) & 0xFF
        return key not in (ord('q'), 27) and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1

    try:
        yield show
    finally:
        cv2.destroyWindow(title)


# ------------------------------------------------------------------------------------------------ the command


def look(args: argparse.Namespace) -> int:
    """Run the command; the number of videos that could not be shown."""
    import torch

    from .apis import init_recognizer
    from .engine import checkpoint_of
    from .watching import chosen_exits

    args.checkpoint = checkpoint_of(args.checkpoint)
    torch.manual_seed(args.seed)
    with ExitStack() as stack:
        show = None
        if args.show:  # now, not after the model has been read
            show = stack.enter_context(window('gfvideo look', rate_of(args)))
        model = init_recognizer(
            args.config, args.checkpoint, args.device, args.cfg_options, args.custom_imports
        )
        exits = chosen_exits(model, args.exits)
        if args.videos:
            return look_at_folder(args, model, exits)
        moments = film_of(args, model, exits, args.source)
        scene = scene_named(model, args.source)
        last = write_film(
            args.out,
            scene,
            moments,
            width=args.width,
            fps=rate_of(args),
            show=show,
            endless=not isinstance(args.source, Path),
        )
        say(told(scene, last))
        if args.out is not None:
            say(args.out)
    return 0


def say(words: object, file: TextIO | None = None) -> None:
    (file or sys.stdout).write(f'{words}\n')
    (file or sys.stdout).flush()


def rate_of(args: argparse.Namespace) -> float:
    """Pictures a second: frames that a config samples lie far apart, others close together."""
    sampled = isinstance(args.source, Path) and not (args.every or args.window or args.stride)
    return args.fps or (3.0 if sampled else 12.0)


def film_of(
    args: argparse.Namespace, model: Recognizer, exits: ExitRule | None, source: Any
) -> Iterator[Moment]:
    moments = moments_of(
        model,
        source,
        exits,
        every=args.every,
        window=args.window,
        stride=args.stride,
        timeout=args.timeout,
    )
    return moments if args.frames is None else islice(moments, args.frames)


def scene_named(model: Recognizer, source: Any) -> Scene:
    from .watching import scene_of

    title = f'camera {source}' if isinstance(source, int) else str(source)
    return scene_of(model, Path(source).name if isinstance(source, Path) else title)


def look_at_folder(args: argparse.Namespace, model: Recognizer, exits: ExitRule | None) -> int:
    """A film of every video, those that are there already left out."""
    from .data.readers import VideoError
    from .progress import Progress

    form = args.form or 'mp4'
    films = outputs(args.source, args.videos, args.out, form)
    check_record(args.out / RECORD, settings(args))
    missing = [video for video in args.videos if not films[video].exists()]
    failed: dict[Path, str] = {}
    done = len(films) - len(missing)
    with Progress('look', len(films), unit='videos', done=done, failed=0) as progress:
        for video in missing:
            try:
                scene = scene_named(model, video)
                last = write_film(
                    films[video],
                    scene,
                    film_of(args, model, exits, video),
                    width=args.width,
                    fps=rate_of(args),
                )
                say(f'{films[video]}: {told(scene, last)}')
            except (VideoError, ValueError, LookError) as error:
                failed[video] = f'{error}'
            progress.add(failed=video in failed)
    for video, reason in failed.items():
        say(f'{video} is left out: {reason.removeprefix(f"{video}: ")}', sys.stderr)
    return len(failed)


def outputs(root: Path, videos: list[Path], folder: Path, form: str) -> dict[Path, Path]:
    """Where the film of each video goes: its place under ``root``, with another ending; behind its own where
    two would have one name."""
    short = {video: video.relative_to(root).with_suffix('') for video in videos}
    names = list(short.values())
    return {
        video: folder / (f'{name}.{form}' if names.count(name) == 1 else f'{video.relative_to(root)}.{form}')
        for video, name in short.items()
    }


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What decides how films come out."""
    from .weights import is_address

    own = ('form', 'width', 'fps', 'every', 'window', 'stride', 'frames', 'seed', 'cfg_options')
    files = dict(checkpoint=args.checkpoint, config=args.config, exits=args.exits)
    return {name: getattr(args, name) for name in own} | {
        name: file if file is None or is_address(file) else file_hash(file) for name, file in files.items()
    }


def check_record(path: Path, now: Mapping[str, Any]) -> None:
    """Write what films are made with, or compare it with what earlier ones were made with.

    Raises:
        LookError: if they were made with something else.
    """
    if not path.exists():
        write_atomically(path, json.dumps(now, indent=1).encode())
        return
    before = json.loads(path.read_text())
    changed = sorted(
        name for name in {*before, *now} if before.get(name) != json.loads(json.dumps(now)).get(name)
    )
    if changed:
        raise LookError(
            f'{path.parent} holds films made with another {", ".join(changed)}; give another folder, or'
            f' remove {path} and the films'
        )


def main(arguments: list[str] | None = None) -> None:
    """``gfvideo look``: see ``--help``."""
    from .data.streaming import CameraError
    from .engine import tell_faults

    with tell_faults():
        try:
            failed = look(parse_args(arguments))
        except (CameraError, LookError, TimeoutError, ValueError) as error:
            sys.exit(f'{type(error).__name__}: {error}')
    sys.exit(1 if failed else 0)
