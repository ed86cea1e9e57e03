"""From the clips that an annotation lists to a prepared dataset; the command line that the scripts share."""
from __future__ import annotations

import argparse
import csv
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.common.probing import Probe, probe_all
from gfvideo.data.manifest import ClipRow, Manifest, ManifestError, write_atomically, write_manifest

__all__ = ['ListedClip', 'PreparationError', 'find_annotation', 'parse_arguments', 'prepare', 'run']

logger = logging.getLogger('data_prep')


class PreparationError(ValueError):
    """The annotation or the videos cannot be prepared; the message names the file, the line, the value and the remedy."""


@dataclass(frozen=True)
class ListedClip:
    """One clip of the annotation: its file, relative to the folder of the videos, or the reason why it has none."""
    split: str
    id: str
    label: int
    path: str | None
    reason: str | None = None


def parse_arguments(description: str, argv: Sequence[str] | None, **annotations: str) -> argparse.Namespace:
    """The flags of every preparation script. ``annotations``: help and default of ``--annotations`` and ``--version``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--videos', type=Path, required=True, metavar='DIR', help='folder of the video files; they stay in place')
    parser.add_argument('--annotations', type=Path, required=True, metavar='DIR', help=annotations['help'])
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='where dataset.json and <split>.jsonl are written')
    parser.add_argument('--name', help='name of the dataset (default: the name of the folder --out)')
    parser.add_argument('--version', default=annotations['version'], help='version of the dataset (default: %(default)s)')
    parser.add_argument('--jobs', type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
                        metavar='N', help='worker processes that read the clips (default: %(default)s, one per core)')
    parser.add_argument('--reader', default='auto', help='reader of gfvideo.data.readers (default: %(default)s)')
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f'--jobs is {args.jobs}; give 1 or more')
    for flag in ('videos', 'annotations'):
        if not getattr(args, flag).is_dir():
            parser.error(f'--{flag}: {getattr(args, flag)} is not a folder')
    if args.out.exists() and not args.out.is_dir():
        parser.error(f'--out: {args.out} is a file; name a folder')
    args.name = args.name or args.out.resolve().name
    return args


def find_annotation(folder: Path, names: Sequence[str], required: bool = True) -> Path | None:
    """The first of ``names`` that is a file in ``folder``; an error that lists them when one is required and none is there."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    if required:
        raise PreparationError(f'{folder}: holds none of {", ".join(names)}; point --annotations at the folder that does')
    return None


def prepare(args: argparse.Namespace, classes: Sequence[str], label_order: str, clips: Sequence[ListedClip]) -> Manifest:
    """Read every listed clip that has a file, write the manifest of those that decode and ``left_out.csv`` with the others.

    Raises:
        PreparationError: if a split would be empty.
    """
    logger.info('%s: the annotation lists %d clips of %d classes', args.name, len(clips), len(classes))
    probes = probe_all([str(args.videos / clip.path) for clip in clips if clip.path is not None], args.jobs, args.reader)
    verdicts = [(clip, Probe(reason=clip.reason) if clip.path is None else probes[str(args.videos / clip.path)]) for clip in clips]
    splits = list(dict.fromkeys(clip.split for clip in clips))
    rows = {split: [ClipRow(clip.id, clip.path, 'video', clip.label, probe.frames, probe.height, probe.width)
                    for clip, probe in verdicts if clip.split == split and probe.reason is None] for split in splits}
    left_out = [(clip, probe) for clip, probe in verdicts if probe.reason is not None]
    for split in splits:
        if not rows[split]:
            clip, probe = next(pair for pair in left_out if pair[0].split == split)
            raise PreparationError(f'no clip of split {split!r} can be used; the first, {clip.id!r}: {probe.reason}; is --videos '
                                   f'{args.videos} the right folder?')
    manifest = write_manifest(args.out, name=args.name, version=args.version, classes=classes, label_order=label_order, rows=rows,
                              video_root=_video_root(args.videos, args.out),
                              official={split: sum(clip.split == split for clip in clips) for split in splits})
    _write_left_out(args.out / 'left_out.csv', left_out)
    _report(manifest, left_out)
    return manifest


def _video_root(videos: Path, out: Path) -> str:
    """Relative when the videos lie inside the prepared folder, so that it can be moved; absolute otherwise."""
    videos, out = videos.resolve(), out.resolve()
    return videos.relative_to(out).as_posix() if videos.is_relative_to(out) else str(videos)


def _write_left_out(file: Path, left_out: Sequence[tuple[ListedClip, Probe]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['split', 'id', 'path', 'reason'])
    table.writerows([clip.split, clip.id, clip.path or '', probe.reason] for clip, probe in left_out)
    write_atomically(file, [text.getvalue().encode()])


def _report(manifest: Manifest, left_out: Sequence[tuple[ListedClip, Probe]]) -> None:
    for split, info in manifest.splits.items():
        share = info.present / info.official
        logger.log(logging.INFO if share >= 0.99 else logging.WARNING, '%s: %d of %d listed clips can be used (%.1f %%)', split,
                   info.present, info.official, 100 * share)
    if left_out:
        logger.warning('%d clips were left out; %s says why', len(left_out), manifest.folder / 'left_out.csv')
    logger.info('wrote %s, hash %s', manifest.file, manifest.hash)


def run(main: Callable[[Sequence[str] | None], object], argv: Sequence[str] | None = None) -> int:
    """Run a script's ``main``: log to stderr; an error that a user can mend is one line, not a traceback. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S', stream=sys.stderr)
    try:
        main(argv)
    except (PreparationError, ManifestError, OSError) as error:
        logger.error('error: %s', error)
        return 1
    return 0
