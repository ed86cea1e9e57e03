"""The command line that the preparation scripts share."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import av

import gfvideo
from data_prep.common.archives import ArchiveError, begins_as_archive, read_texts
from data_prep.common.cutting import Cutting
from data_prep.common.ffmpeg import Encoding, FfmpegError
from data_prep.common.interrupts import Interrupted, ended_by_signals
from data_prep.common.listing import AnnotationError, Found, Indexed, Listing, limited
from data_prep.common.preparing import (
    STEPS,
    Form,
    Preparation,
    Source,
    foresee_prepared,
    prepare,
    recheck_prepared,
)
from data_prep.common.scanning import IMAGES, VIDEOS, is_archive
from data_prep.common.splitting import Division
from data_prep.common.spreading import Spread, StopRun, no_room
from data_prep.common.steps.index import Annotation
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.manifest import ManifestError
from gfvideo.files import write_atomically
from gfvideo.usage import HelpFormatter

__all__ = [
    'DAMAGED',
    'DIVIDING',
    'TOO_MANY_FAILED',
    'add_division',
    'division_of',
    'parser',
    'prepare_with',
    'run',
]

logger = logging.getLogger('data_prep')
TOO_MANY_FAILED = 3
DAMAGED = 4
TEXTS = ('.json', '.jsonl', '.csv', '.txt', '.tsv')
DIVIDING = ('val_share', 'test_share', 'group')
ENCODE_NAMES = {'transcode': 'encode', 'frames': 'encode'}


class _Help(HelpFormatter):
    """One page: the width of the terminal up to 120, and defaults said."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=26, width=min(120, int(os.environ.get('COLUMNS', 120))))


def parser(
    description: str, *, annotations: str, max_failed: float, to: str | None = 'video'
) -> argparse.ArgumentParser:
    """The flags of every script.

    Args:
        description: of the script, with the commands of the official download.
        annotations: help of ``--annotations``.
        max_failed: default of ``--max-failed``.
        to: default of ``--to``; None: the script decides.
    """
    flags = argparse.ArgumentParser(description=description, formatter_class=_Help)
    flags.add_argument(
        '--videos',
        type=Path,
        nargs='+',
        metavar='PATH',
        help='folder of the videos or of the folders of frames, or the archives as downloaded; never changed',
    )
    flags.add_argument(
        '--also',
        type=_suffixes,
        default=(),
        metavar='SUFFIX,…',
        help=(
            f'suffixes of files to take for videos beside {" ".join(VIDEOS)}, e.g. .gif,.ogv; "none": files'
            ' without one'
        ),
    )
    flags.add_argument('--annotations', type=Path, metavar='DIR', help=annotations)
    flags.add_argument(
        '--out', type=Path, required=True, metavar='DIR', help='where the prepared dataset goes'
    )
    flags.add_argument('--name', help='name of the dataset (default: the name of the folder --out)')
    flags.add_argument(
        '--steps',
        type=_steps,
        default=STEPS,
        metavar='STEP,…',
        help=(
            'of unpack,index,verify,transcode,frames,lists,stats (default: all); one that is done before is'
            ' not repeated'
        ),
    )
    flags.add_argument(
        '--to',
        choices=('video', 'frames', 'shards', 'original'),
        default=to,
        help='transcode to small videos with dense key frames, write JPEG frames, pack small videos in tar'
        ' files (shards), or keep the files' + (f' (default: {to})' if to else ''),
    )
    flags.add_argument(
        '--keep-source',
        action='store_true',
        help='keep what was unpacked of clips that are encoded (else removed, and unpacked again if needed)',
    )
    flags.add_argument(
        '--dry-run',
        action='store_true',
        help='write nothing; say clips, core-hours and gigabytes of each step, measured on a few clips',
    )
    flags.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='at most N clips of each split, evenly spread over the annotation: a try',
    )
    flags.add_argument(
        '--redo',
        action='store_true',
        help='make clips anew that another version of ffmpeg made, or whose sources have new times',
    )
    flags.add_argument(
        '--recheck',
        action='store_true',
        help=(
            'only compare the prepared clips in --out with the SHA-256 that they had; exit with status'
            f' {DAMAGED} if any differs. --videos and --annotations are not needed'
        ),
    )
    encoding = flags.add_argument_group('encoding')
    encoding.add_argument(
        '--short-side',
        type=int,
        default=256,
        metavar='PIXELS',
        help='never enlarged; 0: keep (default: %(default)s)',
    )
    encoding.add_argument(
        '--gop',
        type=int,
        default=8,
        metavar='FRAMES',
        help='from key frame to key frame (default: %(default)s)',
    )
    encoding.add_argument(
        '--all-intra',
        action='store_true',
        help='only key frames, as --gop 1: fastest to read, 1.5 times the bytes',
    )
    encoding.add_argument(
        '--crf',
        type=int,
        default=20,
        help='constant rate factor of x264, less is better (default: %(default)s)',
    )
    encoding.add_argument(
        '--quality', type=int, default=2, help='of JPEG, 2 (best) to 31 (default: %(default)s)'
    )
    encoding.add_argument(
        '--shard-bytes',
        type=float,
        default=1024.0,
        metavar='MIB',
        help='videos in a tar file of --to shards (default: %(default)g)',
    )
    encoding.add_argument(
        '--ffmpeg',
        metavar='PROGRAM',
        help='default: the one on PATH, else that of the package imageio-ffmpeg',
    )
    spreading = flags.add_argument_group('spreading')
    spreading.add_argument(
        '--workers',
        type=int,
        default=_cores(),
        metavar='N',
        help='processes (default: one per core, %(default)s)',
    )
    spreading.add_argument(
        '--dask', metavar='ADDRESS', help='of a Dask scheduler; its workers do the work instead'
    )
    spreading.add_argument(
        '--shard',
        type=_shard,
        metavar='I/N',
        help=(
            'do share I (from 0) of N; without the flag the variables of an array job (Slurm, Grid Engine)'
            ' and of srun are read; N alone: the same for PBS, which does not tell how many tasks there are'
        ),
    )
    limits = flags.add_argument_group('limits')
    limits.add_argument(
        '--time-limit',
        type=float,
        default=600.0,
        metavar='S',
        help='seconds for one clip (default: %(default)g)',
    )
    limits.add_argument(
        '--min-frames',
        type=int,
        default=1,
        metavar='N',
        help='shorter clips are left out (default: %(default)s)',
    )
    limits.add_argument(
        '--max-failed',
        type=float,
        default=max_failed,
        metavar='SHARE',
        help=(
            f'exit with status {TOO_MANY_FAILED} if more of the listed clips cannot be used (default:'
            ' %(default)s)'
        ),
    )
    limits.add_argument(
        '--max-member',
        type=float,
        default=4.0,
        metavar='GIB',
        help='largest file in an archive (default: %(default)g)',
    )
    return flags


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _steps(text: str) -> tuple[str, ...]:
    names = [ENCODE_NAMES.get(name.strip(), name.strip()) for name in text.split(',')]
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f'{unknown[0]!r} is no step; choose of unpack, index, verify, transcode, frames, lists, stats'
        )
    return tuple(step for step in STEPS if step in names)


def _suffixes(text: str) -> tuple[str, ...]:
    """Sorted, in lower case and with the dot, '' for 'none'."""
    names = [name.strip().lower() for name in text.split(',')]
    wrong = next(
        (name for name in names if not re.fullmatch(r'\.?\w+', name) or f'.{name.lstrip(".")}' in IMAGES),
        None,
    )
    if wrong is not None:
        raise argparse.ArgumentTypeError(
            f'{wrong!r} is no suffix of videos; give some as .gif,.ogv, or none for files without suffix'
        )
    return tuple(sorted({'' if name == 'none' else f'.{name.lstrip(".")}' for name in names}))


def _shard(text: str) -> tuple[int | None, int]:
    match = re.fullmatch(r'(?:(\d+)/)?(\d+)', text)
    if match is None or not int(match[1] or 0) < int(match[2]):
        raise argparse.ArgumentTypeError(
            f'{text!r}: give I/N with I from 0 to N - 1, e.g. 0/8, or N alone in an array job'
        )
    return None if match[1] is None else int(match[1]), int(match[2])


def shard_of_job(
    environment: dict[str, str] | os._Environ = os.environ, count: int | None = None
) -> tuple[int, int]:
    """This task's share of a cluster's job: of an array of Slurm, PBS, Torque or Grid Engine, of the tasks
    that srun starts, or of both; (0, 1) outside one.

    Args:
        count: of shares, where the variables do not tell it (PBS, Torque).

    Raises:
        PreparationError: the variables contradict each other, or do not tell how many tasks there are.
    """
    number, of = _of_array(environment, count)
    ranks = int(environment.get('SLURM_STEP_NUM_TASKS', 1))  # of srun; a batch script has a SLURM_PROCID, too
    rank = int(environment.get('SLURM_PROCID', 0)) if ranks > 1 else 0
    if not 0 <= rank < ranks:
        raise PreparationError(f'SLURM_PROCID is {rank}, outside the {ranks} tasks; give --shard I/N')
    if count is not None and of * ranks != count:
        raise PreparationError(f'--shard {count}: the job has {of} x {ranks} tasks; give --shard I/N')
    return number * ranks + rank, of * ranks


def _of_array(environment: Mapping[str, str], count: int | None) -> tuple[int, int]:
    """(number, of how many) of a task in an array job."""
    if 'SLURM_ARRAY_TASK_ID' in environment:
        task, first, step = (
            int(environment.get(f'SLURM_ARRAY_TASK_{name}', otherwise))
            for name, otherwise in (('ID', 0), ('MIN', 0), ('STEP', 1))
        )
        last = int(environment.get('SLURM_ARRAY_TASK_MAX', task))
        of = int(environment.get('SLURM_ARRAY_TASK_COUNT', last - first + 1))
        return _checked('SLURM_ARRAY_TASK_ID', task, first, step, of)
    if environment.get('SGE_TASK_ID', 'undefined') != 'undefined':
        task, first, last, step = (
            int(environment[f'SGE_TASK_{name}']) for name in ('ID', 'FIRST', 'LAST', 'STEPSIZE')
        )
        return _checked('SGE_TASK_ID', task, first, step, (last - first) // step + 1)
    for name in ('PBS_ARRAY_INDEX', 'PBS_ARRAYID'):
        if name in environment:
            if count is None:
                raise PreparationError(
                    f'{name} is {environment[name]}, and nothing tells how many tasks the array has; give'
                    ' --shard N with their number (or --shard I/N)'
                )
            return int(environment[name]) % count, count  # N numbers in a row, from 0 or from 1
    if count is not None and 'SLURM_STEP_NUM_TASKS' not in environment:
        raise PreparationError(
            f'--shard {count} says how many shares there are, and no variable of an array job (Slurm, PBS,'
            ' Torque, Grid Engine) says which; give --shard I/N'
        )
    return 0, 1


def _checked(name: str, task: int, first: int, step: int, count: int) -> tuple[int, int]:
    number = (task - first) // step
    if not 0 <= number < count:
        raise PreparationError(
            f'{name} is {task}, outside the array of {count} tasks from {first}; give --shard I/N'
        )
    return number, count


def add_division(flags: argparse.ArgumentParser) -> None:
    """The flags of class folders that are to be divided."""
    flags.add_argument(
        '--val-share',
        type=float,
        metavar='SHARE',
        help=(
            'divide class folders without splits: this share of each class validates, e.g. 0.2; a hash of the'
            ' path decides, the same on every machine'
        ),
    )
    flags.add_argument('--test-share', type=float, metavar='SHARE', help='the same for test clips')
    flags.add_argument(
        '--group',
        type=_pattern,
        metavar='REGEX',
        help=(
            'clips stay in one split in whose path below --videos it finds the same text, of its first group'
            " or that named group: '/([^/_]+)_' for subjects in run/s07_2.mp4"
        ),
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no regular expression: {error}') from error


def division_of(flags: argparse.ArgumentParser, args: argparse.Namespace) -> Division | None:
    """What the flags of :func:`add_division` say; None without them."""
    if args.val_share is None:
        for name in DIVIDING[1:]:
            if getattr(args, name) is not None:
                flags.error(f'--{name.replace("_", "-")} goes with --val-share')
        return None
    for name in ('split', 'annotations'):
        if getattr(args, name) is not None:
            flags.error(
                f'--val-share divides class folders; --{name} says the splits already, so give one of the two'
            )
    if args.test_share is not None and not args.test_share > 0:
        flags.error(f'--test-share is {args.test_share}; give a share between 0 and 1, or leave it out')
    try:
        return Division(args.val_share, args.test_share or 0.0, args.group)
    except ValueError as error:
        flags.error(str(error))


def prepare_with(
    flags: argparse.ArgumentParser,
    args: argparse.Namespace,
    *,
    version: str,
    read: Callable[[Found], Listing],
    match: Callable[[Listing, Found], Iterator[Indexed]] | None = None,
    deciding: Sequence[str] = (),
    images: bool = False,
) -> int:
    """Check the flags, prepare, and say how it ended.

    Args:
        match: gives every clip its file; None: clips are parts, cut out of files
            (:mod:`data_prep.common.cutting`).
        deciding: names of the script's own arguments that the outcome depends on.
        images: whether each picture is a clip of one frame.

    Returns:
        exit status: 0, :data:`TOO_MANY_FAILED` or :data:`DAMAGED`.
    """
    _check(flags, args)
    if args.recheck:
        space = Workspace(args.out.absolute(), _share(args))
        return DAMAGED if recheck_prepared(space, Spread(args.workers, args.dask)) else 0
    args.annotations = _unzipped(args.annotations, args.out)
    encoding = Encoding(args.short_side, 1 if args.all_intra else args.gop, args.crf, args.quality)
    shard = _share(args)
    if shard[1] > 1:
        logger.info('doing shard %d of %d', *shard)
    if match is None and args.to != 'video':
        flags.error(f'--to {args.to}: clips are cut out of longer videos, and so encoded; leave --to out')
    if args.limit is not None:
        whole = read

        def read(found: Found) -> Listing:
            return limited(whole(found), args.limit)

    cutting = None if match else Cutting(encoding, args.ffmpeg, tuple(args.also))
    plan = Preparation(
        annotation=Annotation(
            args.name or args.out.resolve().name, version, read, match, args.annotations is not None
        ),
        source=Source(tuple(args.videos), args.also, int(args.max_member * 2**30), args.keep_source, images),
        space=Workspace(args.out.absolute(), shard, args.limit is not None),
        form=Form('original')
        if cutting
        else Form(args.to, encoding, args.ffmpeg, int(args.shard_bytes * 2**20)),
        cutting=cutting,
        steps=args.steps,
        spread=Spread(args.workers, args.dask),
        time_limit=args.time_limit,
        min_frames=args.min_frames,
        arguments=_arguments(args, encoding, deciding),
        redo=args.redo,
    )
    if args.dry_run:
        if cutting is not None:
            flags.error(
                '--dry-run: of clips that are cut out of longer videos nothing is foreseen; try --limit'
            )
        print('\n'.join(foresee_prepared(plan)))
        return 0
    failed = prepare(plan)
    if failed > args.max_failed:
        logger.error(
            '%.1f %% of the listed clips cannot be used, more than --max-failed %g',
            100 * failed,
            args.max_failed,
        )
        return TOO_MANY_FAILED
    return 0


def _unzipped(annotations: Path | None, out: Path) -> Path | None:
    """The annotations themselves, or the folder that they are unpacked in: of a zip, or of the only zip in a
    folder that holds nothing else to read."""
    if annotations is None:
        return None
    zipped = annotations
    if annotations.is_dir():
        zips = [file for file in annotations.iterdir() if file.suffix.lower() == '.zip']
        texts = [file for pattern in ('*', 'labels/*') for file in annotations.glob(pattern)]
        if len(zips) != 1 or any(file.suffix.lower() in TEXTS for file in texts):
            return annotations
        zipped = zips[0]
    elif not zipfile.is_zipfile(annotations):
        return annotations
    folder = out / 'work' / 'annotations'
    for name, data in read_texts(zipped, TEXTS):
        write_atomically(folder / name, data)
    logger.info('%s: annotations unpacked in %s', zipped, folder)
    return folder


def _share(args: argparse.Namespace) -> tuple[int, int]:
    if args.shard is None or args.shard[0] is None:
        return shard_of_job(count=args.shard and args.shard[1])
    return args.shard


def _arguments(args: argparse.Namespace, encoding: Encoding, deciding: Sequence[str]) -> dict:
    """What the outcome depends on, beside the inputs; nothing of the machine."""
    own = {name: _plain(getattr(args, name)) for name in deciding}
    own |= {'also': args.also} if args.also else {}
    own |= {'limit': args.limit} if args.limit is not None else {}
    return {
        'gfvideo': gfvideo.__version__,
        'av': av.__version__,
        'arguments': {
            **own,
            'videos': [str(path) for path in args.videos],
            'annotations': args.annotations and str(args.annotations),
            'to': args.to,
            'min_frames': args.min_frames,
            **encoding.settings('video' if args.to == 'shards' else args.to),
        },
    }


def _plain(value: object) -> object:
    if isinstance(value, re.Pattern):
        return value.pattern
    return str(value) if isinstance(value, Path) else value


def _check(flags: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.videos is None and not args.recheck:
        flags.error('the following arguments are required: --videos')
    for path in args.videos or ():
        if not path.exists():
            flags.error(f'--videos: {path} is not there')
        if path.is_file() and not is_archive(path.name) and not begins_as_archive(path):
            flags.error(
                f'--videos: {path} is neither a folder nor an archive (zip, tar, tar.gz, or parts x-00,'
                ' x-01, …)'
            )
    if args.annotations is not None and not args.annotations.exists():
        flags.error(f'--annotations: {args.annotations} is not there')
    if args.out.exists() and not args.out.is_dir():
        flags.error(f'--out: {args.out} is a file; name a folder')
    leasts = dict(workers=1, min_frames=1, limit=1, time_limit=1e-3, max_member=1e-6, shard_bytes=1e-6)
    for name, least in leasts.items():
        if getattr(args, name) is not None and getattr(args, name) < least:
            flags.error(
                f'--{name.replace("_", "-")} is {getattr(args, name)}; give'
                f' {"1 or more" if least == 1 else "more than 0"}'
            )
    if not 0 <= args.max_failed <= 1:
        flags.error(f'--max-failed is {args.max_failed}; give a share from 0 to 1')
    try:
        Encoding(args.short_side, args.gop, args.crf, args.quality)
    except ValueError as error:
        flags.error(str(error))


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a script's ``main``: log to stderr; an error that a user can mend is one line, not a traceback.
    Returns the exit status."""
    logging.basicConfig(
        level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S', stream=sys.stderr
    )
    try:
        with ended_by_signals():
            return main(argv)
    except (PreparationError, AnnotationError, ArchiveError, FfmpegError, StopRun, ManifestError) as error:
        logger.error('error: %s', error)
    except OSError as error:
        logger.error('error: %s', no_room(error) or error)
    except KeyboardInterrupt as error:
        ending = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        logger.error('interrupted by %s; what is done is kept: run the same command again to go on', ending)
        return ending.status
    return 1
