"""From an annotation and a folder of videos to a prepared dataset, step by step; every step can be cut and
goes on where it stopped.

    OUT/dataset.json, <split>.jsonl    the manifest that training reads
    OUT/failed.jsonl                   the clips that cannot be used, each with its reason
    OUT/sha256.txt                     the SHA-256 of every clip
    OUT/lists/                         the same clips in the forms that other tools read
    OUT/stats.html, stats.json         a page to look at
    OUT/videos/ or OUT/frames/         encoded clips (--to video, --to frames)
    OUT/shards/                        encoded clips in tar files (--to shards)
    OUT/clips/                         clips that were cut out of longer videos
    OUT/source/                        what was unpacked, if --videos names archives
    OUT/work/                          what the steps know; delete it to begin again
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from data_prep.common.archives import find_volumes
from data_prep.common.cutting import CLIPS, Cutting, match_cut
from data_prep.common.ffmpeg import Encoding, Ffmpeg, find_ffmpeg
from data_prep.common.foreseeing import foresee, tell
from data_prep.common.listing import Found, names_meant
from data_prep.common.spreading import Spread
from data_prep.common.steps.encode import (
    EncodeJob,
    consumed,
    encode_clips,
    encode_job,
    volumes_to_unpack_again,
)
from data_prep.common.steps.index import Annotation, read_summary, write_index
from data_prep.common.steps.lists import write_lists
from data_prep.common.steps.pack import packed_clips
from data_prep.common.steps.recheck import recheck
from data_prep.common.steps.stats import write_stats
from data_prep.common.steps.unpack import find_sources, unpack_archives
from data_prep.common.steps.verify import verify_clips
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.files import unfinished_name

__all__ = [
    'STEPS',
    'Form',
    'Preparation',
    'PreparationError',
    'Source',
    'foresee_prepared',
    'prepare',
    'recheck_prepared',
]

logger = logging.getLogger('data_prep')
STEPS = ('unpack', 'index', 'verify', 'encode', 'lists', 'stats')
WRITTEN = re.compile(r'.+\.(jsonl?|txt|html)', re.DOTALL)  # what a run writes at once
UNFINISHED = re.compile(r'\..+\.(jsonl?|txt|html)\.\w{8}')  # left by killed runs of earlier versions


@dataclass(frozen=True)
class Source:
    """Where the clips come from.

    Attributes:
        videos: folders of videos or of frames, or archives.
        also: suffixes of files that are videos, too, in lower case; '' for none.
        largest_member: bytes that a file of an archive may have.
        keep: whether what is unpacked stays when it is encoded.
        images: whether each picture is a clip of one frame, rather than a frame of its folder.
    """

    videos: tuple[Path, ...]
    also: tuple[str, ...] = ()
    largest_member: int = 4 * 2**30
    keep: bool = False
    images: bool = False


@dataclass(frozen=True)
class Form:
    """How the clips are kept.

    Attributes:
        to: 'video' (encode), 'frames' (folders of JPEG), 'shards' (encode, then pack in tar files) or
            'original' (leave the files as they are).
        encoding: of videos and of frames.
        ffmpeg: the program; None: one is looked for.
        shard_bytes: of the videos in a tar file.
    """

    to: str = 'video'
    encoding: Encoding = field(default_factory=Encoding)
    ffmpeg: str | None = None
    shard_bytes: int = 2**30


@dataclass(frozen=True)
class Preparation:
    """What to prepare and how.

    Attributes:
        annotation: what is listed.
        source, form: where the clips come from, and what is made of them.
        space: the folder that is prepared, and the share of the clips that this run does.
        steps: of :data:`STEPS`.
        cutting: how clips are cut out of longer videos; None: they are files.
        spread: where the work on single clips is done.
        time_limit: seconds a clip, of each step.
        min_frames: clips with fewer cannot be used.
        arguments: those that the outcome depends on, for ``dataset.json``.
        redo: whether clips are made anew that differ only in what another run would keep: the version of
            ffmpeg, the time of the source.
    """

    annotation: Annotation
    source: Source
    space: Workspace
    form: Form = field(default_factory=Form)
    cutting: Cutting | None = None
    steps: tuple[str, ...] = STEPS
    spread: Spread = field(default_factory=Spread)
    time_limit: float = 600.0
    min_frames: int = 1
    arguments: dict = field(default_factory=dict)
    redo: bool = False


def prepare(plan: Preparation) -> float:
    """Run the steps of ``plan``.

    Returns:
        The share of listed clips that cannot be used; 0 where the lists were not written.

    Raises:
        PreparationError, AnnotationError, ArchiveError, FfmpegError, StopRun, OSError: with what to do.
    """
    space, steps = plan.space, plan.steps
    space.out.mkdir(parents=True, exist_ok=True)
    with _only_run(space):
        root = _unpacked(plan)
        if steps == ('unpack',):
            return 0.0
        if plan.cutting is not None:
            plan, root = _cut(plan, plan.cutting, root)
            if space.is_sharded:
                logger.info(
                    'shard %d of %d is cut; when all are, run the command once more with --shard 0/1',
                    *space.shard,
                )
                return 0.0
        if 'index' in steps:  # what is left out stands at the end of the lists, too
            gone = (
                [(record['path'], record['kind']) for record in consumed(space)]
                if root == space.source
                else ()
            )
            write_index(
                space,
                root,
                plan.annotation,
                plan.source.also,
                say_left_out='lists' not in steps,
                images=plan.source.images,
                gone=gone,
            )
        read_summary(space)  # refuses to go on without an index
        if 'verify' in steps:
            verify_clips(space, root, plan.time_limit, plan.spread, plan.redo)
        job = _encode_job(plan, root)
        if job is not None and 'encode' in steps:
            encode_clips(space, job, plan.min_frames, plan.spread, plan.redo)
        if space.is_sharded:
            logger.info(
                'shard %d of %d is done; when all are, run the command once more with --shard 0/1 for the'
                ' lists',
                *space.shard,
            )
            return 0.0
        failed = 0.0
        if 'lists' in steps:
            failed = write_lists(
                space,
                root,
                plan.annotation,
                job,
                plan.min_frames,
                plan.arguments,
                plan.cutting and plan.cutting.made(space),
                plan.form.shard_bytes if plan.form.to == 'shards' else None,
            )
        if 'stats' in steps:
            write_stats(space, root)
    return failed


def recheck_prepared(space: Workspace, spread: Spread) -> int:
    """Compare the clips of a prepared dataset with their SHA-256; gives how many are damaged or gone.

    Raises:
        PreparationError, ManifestError, OSError: with what to do.
    """
    if not (space.out / 'dataset.json').is_file():
        raise PreparationError(f'{space.out / "dataset.json"} is missing: nothing is prepared there')
    with _only_run(space):
        return recheck(space, spread)


def _cut(plan: Preparation, cutting: Cutting, sources: Path) -> tuple[Preparation, Path]:
    """The preparation of the clips that are cut out of ``sources``, and their folder."""
    space, annotation = plan.space, plan.annotation
    root = space.out / CLIPS
    if 'encode' in plan.steps:
        root = cutting.cut(space, sources, annotation.read, plan.time_limit, plan.spread, plan.redo)
    elif not root.is_dir():
        raise PreparationError(f'{root} is missing; run the step transcode, which cuts the clips, first')
    match = partial(match_cut, space, sources, cutting.also)
    return replace(plan, annotation=replace(annotation, match=match)), root


def foresee_prepared(plan: Preparation) -> list[str]:
    """What the preparation will take, in lines; nothing is written into its folder.

    Raises:
        PreparationError, AnnotationError, ArchiveError, FfmpegError, OSError: with what to do.
    """
    sources = find_sources(plan.source.videos, plan.space, plan.source.also)
    if len(sources.folders) > 1 or (sources.folders and sources.archives):
        raise PreparationError('--dry-run: name one folder, or archives alone, in --videos')
    volumes = find_volumes(sources.archives)
    with tempfile.TemporaryDirectory(prefix='gfvideo-') as folder:
        form = replace(plan, steps=('encode',))
        job = _encode_job(form, sources.root)
        forecast = foresee(volumes, sources.root, plan.source.also, plan.annotation, job, Path(folder))
    return tell(forecast, plan.space.out, plan.spread.workers)


def _unpacked(plan: Preparation) -> Path:
    """The folder that paths of clips start from, with the archives unpacked if there are any."""
    space, source = plan.space, plan.source
    sources = find_sources(source.videos, space, source.also)
    sources.link_folders()
    if sources.archives and 'unpack' in plan.steps:
        names = names_meant(plan.annotation.read(Found({}, {}))) if plan.annotation.listed else None
        again = volumes_to_unpack_again(space, _wanted_job(plan, sources.root))
        unpack_archives(
            sources.archives,
            space,
            source.also,
            source.largest_member,
            plan.spread,
            names,
            again,
            alone=plan.steps == ('unpack',),
        )
    elif not sources.root.is_dir():
        raise PreparationError(f'{sources.root} is missing; run the step unpack first')
    return sources.root


def _wanted_job(plan: Preparation, root: Path) -> EncodeJob | None:
    """What would encode the clips, by whatever ffmpeg, if these steps or later ones do."""
    form = plan.form
    if form.to == 'original':
        return None
    to, packed = _encoded_form(plan)
    return encode_job(plan.space, root, to, Ffmpeg('', '99.0'), form.encoding, plan.time_limit, packed=packed)


def _encode_job(plan: Preparation, root: Path) -> EncodeJob | None:
    """Of a run that encodes, or lists what was encoded."""
    form = plan.form
    if form.to == 'original' or not {'encode', 'lists'} & set(plan.steps):
        return None
    ffmpeg = find_ffmpeg(form.ffmpeg)
    keep = plan.source.keep or plan.cutting is not None
    to, packed = _encoded_form(plan)
    return encode_job(
        plan.space, root, to, ffmpeg, form.encoding, plan.time_limit, consume=not keep, packed=packed
    )


def _encoded_form(plan: Preparation) -> tuple[str, dict[str, int]]:
    """What clips are encoded as, and the bytes of those that shards hold already."""
    if plan.form.to == 'shards':
        return 'video', packed_clips(plan.space)
    return plan.form.to, {}


# ---- one run at a time


@contextmanager
def _only_run(space: Workspace) -> Iterator[None]:
    """Hold the folder for this run (shards share it), and remove what a killed run left half-way."""
    space.work.mkdir(exist_ok=True)
    with _locked(space, space.work, fcntl.LOCK_SH if space.is_sharded else fcntl.LOCK_EX):
        space.temporary.mkdir(parents=True, exist_ok=True)
        with _locked(space, space.temporary, fcntl.LOCK_EX):
            _remove_unfinished(space)
            try:
                yield
            finally:
                _remove_tree(space.temporary if space.is_sharded else space.temporary.parent)


def _remove_tree(folder: Path) -> None:
    """Remove a folder in which an encoder that has just been killed may still be making a file."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


@contextmanager
def _locked(space: Workspace, folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PreparationError(f'another run is preparing {space.out}; wait for it or end it') from None
    except OSError as error:
        logger.warning(
            '%s cannot be locked (%s); see to it that no other run prepares it', folder, error.strerror
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(space: Workspace) -> None:
    """What killed runs left half-way; a shard leaves alone what others may be writing."""
    left = [*space.temporary.iterdir()]
    if not space.is_sharded:
        left += [path for path in space.temporary.parent.iterdir() if path != space.temporary]
        folders = [
            space.out,
            space.out / 'lists',
            space.work,
            *(path for path in space.work.iterdir() if path.is_dir()),
        ]
        left += [
            path
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
            if _is_unfinished(path.name)
        ]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_unfinished(name: str) -> bool:
    final = unfinished_name(name) or ''
    return bool(WRITTEN.fullmatch(final) or UNFINISHED.fullmatch(name))
