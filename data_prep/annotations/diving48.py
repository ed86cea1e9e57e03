"""Diving48, version 2: ``Diving48_V2_train.json`` and ``Diving48_V2_test.json``, and the vocabulary::

    [{"vid_name": "-mm0_example_00155", "label": 0, "start_frame": 0, "end_frame": 48}, …]
    [["Back", "15som", "05Twis", "FREE"], …]      Diving48_vocab.json: class k is entry k

Clips are cut already, so ``start_frame`` and ``end_frame`` say how long each is and cut nothing. The test
clips are the split ``val``: there is no other to validate on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_prep.annotations.something_v2 import elements
from data_prep.common.listing import (
    AnnotationError,
    Found,
    Indexed,
    Listed,
    Listing,
    check_classes,
    check_counts,
    count_splits,
    find_file,
    leaked,
    match_names,
)

__all__ = ['PUBLISHED', 'match', 'read_listing']

PUBLISHED = {'train': 15_027, 'val': 1_970}
FILES = {'train': 'Diving48_V2_train.json', 'val': 'Diving48_V2_test.json'}


def read_listing(annotations: Path) -> Listing:
    """Read the three files in the folder ``annotations``.

    Returns:
        Train and validation clips, whose ids are ``vid_name``; the names of classes are the four parts of a
        dive, ``'Back 15som 05Twis FREE'``.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    classes = _classes(find_file(annotations, ['Diving48_vocab.json']))
    clips = [
        clip
        for split, name in FILES.items()
        for clip in _clips(find_file(annotations, [name]), split, len(classes))
    ]
    official = count_splits(clip.split for clip in clips)
    warnings = [
        *check_counts(official, PUBLISHED, len(classes), 48),
        *leaked(((clip.split, clip.id) for clip in clips), 'clips'),
        *check_classes(classes, clips),
    ]
    return Listing(classes, 'Diving48_vocab.json', clips, official, dict(PUBLISHED), warnings)


def _classes(file: Path) -> tuple[str, ...]:
    lines: dict[str, int] = {}
    for line, parts in elements(file, '[]'):
        if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
            raise AnnotationError(
                f'{file}:{line}: {parts!r} is no list of the parts of a dive, as ["Back", "15som", "05Twis",'
                ' "FREE"]; download the file again'
            )
        name = ' '.join(parts)
        if name in lines:
            raise AnnotationError(
                f'{file}:{line}: the dive {name!r} stands on line {lines[name]} already; remove one'
            )
        lines[name] = line
    if not lines:
        raise AnnotationError(f'{file}:1: lists no class; download the file again')
    return tuple(lines)


def _clips(file: Path, split: str, num_classes: int) -> Iterator[Listed]:
    lines: dict[str, int] = {}
    for line, entry in elements(file, '[]'):
        name = entry.get('vid_name') if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            raise AnnotationError(
                f'{file}:{line}: {entry!r} has no vid_name; an entry has vid_name, label, start_frame and'
                ' end_frame'
            )
        label = entry.get('label')
        if type(label) is not int or not 0 <= label < num_classes:
            raise AnnotationError(
                f'{file}:{line}: the label of {name!r} is {label!r}, outside 0..{num_classes - 1} (the'
                f' {num_classes} classes of Diving48_vocab.json); take all files from one version'
            )
        if name in lines:
            raise AnnotationError(
                f'{file}:{line}: {name!r} stands on line {lines[name]} already; remove one of them'
            )
        lines[name] = line
        yield Listed(split, name, label, str(file), line)
    if not lines:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')


def match(listing: Listing, found: Found) -> Iterator[Indexed]:
    """Give every clip the video ``<vid_name>``, at any depth, or else a folder of images of that name."""
    return match_names(listing, found, ('video', 'frames'))
