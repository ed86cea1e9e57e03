"""The step index: annotation x files -> work/index.jsonl, a row for every listed clip, and
work/index.json."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from data_prep.common.listing import Found, Indexed, Listing, MisplacedError, counted, extra
from data_prep.common.records import Record, read_lines, write_lines
from data_prep.common.scanning import scan, tell_left_out
from data_prep.common.steps.unpack import tops_of, with_those_of_archives
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.row_table import MORE

__all__ = ['Annotation', 'index_rows', 'read_summary', 'write_index']

logger = logging.getLogger('data_prep')


@dataclass(frozen=True)
class Annotation:
    """What is listed.

    Attributes:
        name, version: of the dataset.
        read: gives the annotation; of plain folders, what was found is one.
        match: gives every clip of the annotation its file.
        listed: whether ``read`` lists the clips by itself, whatever was found.
    """

    name: str
    version: str
    read: Callable[[Found], Listing]
    match: Callable[[Listing, Found], Iterator[Indexed]]
    listed: bool = False


def write_index(
    space: Workspace,
    root: Path,
    annotation: Annotation,
    also: Collection[str] = (),
    say_left_out: bool = True,
    images: bool = False,
    gone: Iterable[tuple[str, str]] = (),
) -> None:
    """Write the index of the clips below ``root``.

    Args:
        also: suffixes of files that are videos, too.
        say_left_out: whether to say which files are left out for their suffix.
        images: whether each picture is a clip of one frame.
        gone: path and kind of clips that were encoded, and removed from ``root`` thereafter.

    Raises:
        PreparationError, AnnotationError: the folder holds no clips, or the annotation is malformed.
    """
    there = scan(root, also, images)
    there.add(gone)
    left_out, refused = there.left_out, []
    if root == space.source:
        left_out, refused = with_those_of_archives(space, left_out)
    left_out = dict(sorted(left_out.items()))
    if not len(there):
        others = f' ({tell_left_out(left_out)[1]})' if left_out else ''
        what = 'no picture' if images else 'neither videos nor folders of frames'
        raise PreparationError(f'{root} holds {what}; correct --videos{others}')
    if left_out and say_left_out:
        logger.log(*tell_left_out(left_out))
    found = replace(there.found, tops=tops_of(space)) if root == space.source else there.found
    listing = _listing(annotation, found, space, root)
    logger.info(
        '%s: the annotation lists %s clips of %d classes; %s holds %d %s',
        annotation.name,
        counted(listing.official),
        len(listing.classes),
        root,
        len(there),
        'pictures' if images else 'videos and folders of frames',
    )
    if listing.groups:
        logger.info('clips were kept together in groups: %s', counted(listing.groups))
    for warning in listing.warnings:
        logger.warning('%s', warning)
    matched = list(annotation.match(listing, there.found))
    unused = extra(there.found, matched)
    if unused.count:
        logger.warning('%d files belong to no listed clip, e.g. %s', unused.count, ', '.join(unused.first))
    for split, reasons in _counts(matched).items():
        logger.info('%s: %s', split, ', '.join(f'{count} {reason}' for reason, count in reasons.items()))
    write_lines(_rows_file(space), _rows(matched, there.found))
    write_lines(
        _summary_file(space),
        [
            {
                'classes': listing.classes,
                'label_order': listing.label_order,
                'official': listing.official,
                'expected': listing.expected,
                'warnings': listing.warnings,
                'groups': listing.groups,
                'extra': unused.count,
                'left_out': left_out,
                'refused': refused,
            }
        ],
    )


def _listing(annotation: Annotation, found: Found, space: Workspace, root: Path) -> Listing:
    try:
        return annotation.read(found)
    except MisplacedError as error:
        if root != space.source:
            raise
        raise MisplacedError(
            f'{error}. Archives are unpacked in folders of their own names, in {root}; what all clips of one'
            ' have above their class folders does not count, but these clips have different folders there'
        ) from error


def _counts(matched: Iterable[Indexed]) -> dict[str, Counter]:
    counts: dict[str, Counter] = {}
    for clip in matched:
        counts.setdefault(clip.split, Counter())[clip.reason or 'found'] += 1
    return counts


def _rows(matched: Iterable[Indexed], found: Found) -> Iterator[Record]:
    """Rows of the index; ``target`` is where a source's encoded form goes, ``again`` marks a clip whose file
    an earlier row has, too (in another split)."""
    shared, seen = _shared_stems(found), set()
    for clip in map(_named, matched):
        fields = asdict(clip)
        for name in MORE:  # most clips have none of these
            if not fields[name] and fields[name] != 0:
                del fields[name]
        yield {**fields, 'target': _target(clip, shared), 'again': clip.path in seen}
        if clip.path is not None:
            seen.add(clip.path)


def _named(clip: Indexed) -> Indexed:
    """The clip, or without its file if the name of that is no text."""
    try:
        f'{clip.id}{clip.path}'.encode()
        return clip
    except UnicodeEncodeError:
        name = clip.id.encode(errors='backslashreplace').decode()
        return Indexed(
            clip.split,
            name,
            clip.label,
            None,
            clip.kind,
            'unreadable',
            f'the name {clip.path!a} is not UTF-8; rename it',
        )


def _target(clip: Indexed, shared: Collection[str]) -> str | None:
    """The path without suffix; with it where another source could have that name, too."""
    if clip.path is None or clip.kind == 'frames':
        return clip.path
    stem = os.path.splitext(clip.path)[0]
    return clip.path if stem in shared else stem


def _shared_stems(found: Found) -> set[str]:
    """Paths that would be those of several sources, if videos lost their suffixes."""
    videos = [path for paths in found.videos.values() for path in paths]
    folders = [path for paths in found.folders.values() for path in paths]
    stems = Counter(os.path.splitext(path)[0] for path in videos)
    return {stem for stem, count in stems.items() if count > 1} | stems.keys() & {*videos, *folders}


# ---- for the steps that follow


def _rows_file(space: Workspace) -> Path:
    return space.work / 'index.jsonl'


def _summary_file(space: Workspace) -> Path:
    return space.work / 'index.json'


def read_summary(space: Workspace) -> Record:
    """Classes, splits and what was left out.

    Raises:
        PreparationError: there is no index yet.
    """
    if not _summary_file(space).is_file() or not _rows_file(space).is_file():
        raise PreparationError(f'{_summary_file(space)} is missing; run the step index first')
    return next(read_lines(_summary_file(space)))


def index_rows(space: Workspace) -> Iterator[Record]:
    """The listed clips of all shards."""
    return read_lines(_rows_file(space))
