"""Kinetics-400, 600, 700, 700-2020, the two sets called Mini-Kinetics, and sets of your own in Kinetics
form.

A CSV with a header per split (``train.txt``, ``val.txt`` of Kinetics-600 count before its incomplete
``train.csv``, ``val.csv``), or one for all: ``label,youtube_id,time_start,time_end,split[,is_cc]`` in any
order, quoted or not. Times may be floats; names of files hold whole seconds, so they are cut to them.
``split`` is one of ``SPLIT_WORDS`` and may be left out where the file's name tells it; the label may be empty
or left out in the test split. Classes are sorted by name.

Two different sets are called Mini-Kinetics-200, both chosen from Kinetics-400:

* ``mini-s3d`` (S3D, https://github.com/s9xie/Mini-Kinetics-200): ``train_ytid_list.txt`` and
  ``val_ytid_list.txt``, one youtube id a line, nothing else. They choose rows of Kinetics-400's
  ``train.csv`` and ``val.csv``, which are needed too. Classes are those of the chosen rows, sorted. Clips
  stand in the order of the lists.
* ``mini-arnet`` (AR-Net, AdaFuse, AdaFocus): ``mini_train_videofolder.txt`` and
  ``mini_val_videofolder.txt``, lines ``images/val/air drumming/7LSJ2Ryv1a8_000000_000010 60 0``: a path that
  may hold spaces and ends in ``<id>_<start>_<end>``, the number of frames that their authors extracted (not
  used here: it depends on how frames are extracted), the class number from 0; and ``minik_classInd.txt``,
  one class name a line. A folder of the path that spells another class than the number means is an error.

No copy of Kinetics holds every video, so nothing here fails on a count; ``Listing.warnings`` says which
published counts are not met.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from data_prep.common.listing import (
    SPLIT_WORDS,
    SPLITS,
    AnnotationError,
    Found,
    Indexed,
    Listed,
    Listing,
    ambiguous,
    check_classes,
    check_counts,
    class_of,
    columns_of,
    count_splits,
    csv_rows,
    decoded_lines,
    find_file,
    given,
    leaked,
    missing,
    read_class_list,
    some,
    spelling,
    text_lines,
    whole_number,
)

__all__ = ['PUBLISHED', 'PUBLISHED_CLASSES', 'VERSIONS', 'KineticsClip', 'match', 'read_csv', 'read_listing']

COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end', 'split')
PUBLISHED: dict[str, dict[str, int]] = {
    '400': {'train': 246_534, 'val': 19_906, 'test': 39_805},
    '600': {'train': 370_582, 'val': 28_313, 'test': 56_618},
    '700': {},  # 2019; its counts differ from source to source
    '700-2020': {'train': 542_352, 'val': 34_125, 'test': 67_433},
    'mini-s3d': {'train': 80_000, 'val': 5_000},
    'mini-arnet': {'train': 121_215, 'val': 9_867},
    'custom': {},
}
VERSIONS = tuple(PUBLISHED)
PUBLISHED_CLASSES = {'400': 400, '600': 600, '700': 700, '700-2020': 700, 'mini-s3d': 200, 'mini-arnet': 200}
STEMS = {'train': ('train',), 'val': ('val', 'validate', 'validation'), 'test': ('test',)}
TAGS = {
    '400': ('kinetics-400', 'kinetics_400', 'kinetics400', 'k400', 'kinetics'),
    '600': ('kinetics-600', 'kinetics_600', 'kinetics600', 'k600'),
    '700': ('kinetics-700', 'kinetics_700', 'kinetics700', 'k700'),
    '700-2020': (
        'kinetics-700-2020',
        'kinetics_700_2020',
        'kinetics700_2020',
        'kinetics-700_2020',
        'kinetics700-2020',
        'k700-2020',
    ),
    'custom': ('kinetics',),
}
S3D_FOLDERS = ('', 'Mini-Kinetics-200/')


@dataclass(frozen=True, slots=True)
class KineticsClip(Listed):
    """A clip of a YouTube video: ``[start, end)`` in whole seconds."""

    youtube_id: str = ''
    start: int = 0
    end: int = 0


class Row(NamedTuple):
    """One row of a CSV; label None where it tells none."""

    line: int
    split: str
    label: str | None
    youtube_id: str
    start: int
    end: int


# ---------------------------------------------------------------------------------------------------- one CSV


def read_csv(file: Path, split: str | None = None, *, youtube: bool = True) -> Iterator[Row]:
    """The rows of one CSV, in its order.

    Args:
        split: the split that every row must belong to; None if the column ``split`` says it.
        youtube: whether ids must have the form of YouTube's, 11 letters, digits, ``_`` and ``-``.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    needed = [
        column
        for column in COLUMNS
        if not (column == 'split' and split) and not (column == 'label' and split == 'test')
    ]
    rows = csv_rows(file, '\t' if '\t' in next(decoded_lines(file), '') else ',')
    line, header = next(rows, (1, []))
    at = columns_of(file, line, header, needed, COLUMNS)
    label_at, id_at, start_at, end_at, split_at = (at.get(column) for column in COLUMNS)
    for line, fields in rows:
        if len(fields) != len(header):
            raise AnnotationError(
                f'{file}:{line}: the row has {len(fields)} fields, the header {len(header)}:'
                f' {",".join(fields)!r}; quote fields that hold a comma'
            )
        youtube_id = fields[id_at]
        if not _is_id(youtube_id, youtube):
            expected = '11 letters, digits, "_" or "-"' if youtube else 'text that can be the name of a file'
            raise AnnotationError(
                f'{file}:{line}: youtube_id is {youtube_id!r}, expected {expected}; correct the row or'
                ' remove it'
            )
        home = split if split_at is None else SPLIT_WORDS.get(fields[split_at].lower())
        if home is None or split not in (None, home):
            raise AnnotationError(
                f'{file}:{line}: split is {fields[split_at]!r}, expected {_words(split)}'
                f'{" in the file of this split" if split else ""}; correct the row or move it'
            )
        label = fields[label_at] or None if label_at is not None else None
        if label is None and home != 'test':
            raise AnnotationError(
                f'{file}:{line}: clip of {youtube_id!r} in split {home!r} has no label; only test rows may'
                ' lack it'
            )
        yield Row(
            line,
            home,
            label,
            youtube_id,
            _seconds(file, line, 'time_start', fields[start_at]),
            _seconds(file, line, 'time_end', fields[end_at]),
        )


def _is_id(text: str, youtube: bool) -> bool:
    if youtube:
        return len(text) == 11 and re.fullmatch('[A-Za-z0-9_-]+', text) is not None
    return re.fullmatch(r'[^/\\]+', text) is not None and text not in ('.', '..') and text.isprintable()


def _words(split: str | None) -> str:
    return ' or '.join(repr(word) for word, of in SPLIT_WORDS.items() if split in (None, of))


def _seconds(file: Path, line: int, column: str, text: str) -> int:
    whole, _, rest = text.partition('.')
    number = whole_number(whole)
    if number is None or (rest and not (rest.isascii() and rest.isdecimal())):
        raise AnnotationError(
            f'{file}:{line}: {column} is {text!r}, expected seconds from 0 such as 12 or 12.0; correct'
            ' the row'
        )
    return number


def _clips(
    file: Path, rows: Sequence[Row], numbers: Mapping[str, int], warnings: list[str]
) -> list[KineticsClip]:
    """The clips of one file's rows; rows that say the same twice become one clip and a warning."""
    name, clips, seen, repeats = str(file), [], {}, []
    for row in rows:
        clip_id = f'{row.youtube_id}_{row.start:06d}_{row.end:06d}'
        earlier = seen.setdefault((row.split, clip_id), row)
        if earlier is row:
            label = None if row.label is None else numbers[row.label]
            clips.append(
                KineticsClip(row.split, clip_id, label, name, row.line, row.youtube_id, row.start, row.end)
            )
        elif earlier.label == row.label:
            repeats.append(f'{clip_id} (line {row.line})')
        else:
            raise AnnotationError(
                f'{file}:{row.line}: clip {clip_id!r} has the label {row.label!r}, on line {earlier.line} '
                f'{earlier.label!r}; remove one of the two rows'
            )
    if repeats:
        warnings.append(
            f'{file}: {len(repeats)} rows repeat an earlier one and are counted, but listed once:'
            f' {some(repeats)}'
        )
    return clips


# ----------------------------------------------------------------------------------------- a whole annotation


def read_listing(annotations: Path, version: str, *, kinetics: Path | None = None) -> Listing:
    """Read the annotation of a version of Kinetics, or of a set in its form.

    Args:
        annotations: the folder of the files; or one CSV that holds all splits.
        version: one of ``VERSIONS``; ``'custom'`` for a set of your own, whose ids may be any names and
            whose splits may be absent.
        kinetics: for ``'mini-s3d'``: the annotation of Kinetics-400, if it is not in the folder
            ``annotations`` too.

    Returns:
        Train, validation and, if there is one, test clips, of type :class:`KineticsClip`. ``official`` counts
        every row.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    if version not in VERSIONS:
        raise ValueError(f'version is {version!r}; use one of {", ".join(VERSIONS)}')
    if kinetics is not None and version != 'mini-s3d':
        raise ValueError(
            f'kinetics is {str(kinetics)!r}, but version {version!r} needs no second annotation; leave it out'
        )
    if version == 'mini-s3d':
        listing = _mini_s3d(annotations, annotations if kinetics is None else kinetics)
    elif version == 'mini-arnet':
        listing = _mini_arnet(annotations)
    else:
        listing = _from_csvs(_read_rows(annotations, version))
    listing.expected = dict(PUBLISHED[version])
    listing.warnings = [
        *check_counts(
            listing.official, listing.expected, len(listing.classes), PUBLISHED_CLASSES.get(version)
        ),
        *listing.warnings,
        *leaked(((clip.split, clip.youtube_id) for clip in listing.clips), 'youtube ids'),
        *check_classes(listing.classes, listing.clips),
    ]
    return listing


def names(version: str, split: str) -> list[str]:
    """Where the CSV of a split may stand: plain or with the version before it, in the folder or in one named
    as the version."""
    return [f'{place}.csv' for place in _places(version, split)]


def _places(version: str, split: str) -> list[str]:
    folders = ('', 'annotations/', *(f'{tag}/' for tag in TAGS[version]))
    prefixes = ('', *(f'{tag}{mark}' for tag in TAGS[version] for mark in '_-'))
    return [f'{folder}{prefix}{stem}' for stem in STEMS[split] for folder in folders for prefix in prefixes]


def _read_rows(annotations: Path, version: str) -> list[tuple[Path, list[Row]]]:
    """The rows of each CSV; labels that are equal share their text."""
    youtube = version != 'custom'
    if annotations.is_file():
        files: dict[Path, str | None] = {annotations: None}
    else:
        files = {
            file: split
            for split in SPLITS
            if (file := _find_csv(annotations, version, split, required=youtube and split != 'test'))
            is not None
        }
    if not files:
        raise AnnotationError(
            f'{annotations}: holds none of train.csv, val.csv, validate.csv, test.csv; name the folder that'
            ' does, or one CSV with all splits'
        )
    tables, shared = [], {}
    for file, split in files.items():
        rows = [
            row._replace(label=shared.setdefault(row.label, row.label))
            for row in read_csv(file, split, youtube=youtube)
        ]
        if not rows:
            raise AnnotationError(f'{file}:1: lists no clip; download the file again')
        tables.append((file, rows))
    return tables


def _find_csv(annotations: Path, version: str, split: str, required: bool) -> Path | None:
    file = None
    if version == '600':  # train.csv and val.csv are published incomplete, these beside them complete
        file = find_file(annotations, [f'{place}.txt' for place in _places(version, split)], required=False)
    file = file or find_file(annotations, names(version, split), required=False)
    if file is None and required:
        plain, tag = ' or '.join(f'{stem}.csv' for stem in STEMS[split]), TAGS[version][0]
        raise AnnotationError(
            f'{annotations}: holds no {plain}, nor one with {tag}_ before its name or in a folder {tag}; name'
            ' the folder that does, or one CSV with all splits'
        )
    return file


def _from_csvs(tables: Sequence[tuple[Path, list[Row]]]) -> Listing:
    classes = tuple(sorted({row.label for _, rows in tables for row in rows if row.label is not None}))
    if not classes:
        raise AnnotationError(f'{tables[0][0]}:1: no row has a label; give a file of labelled clips')
    numbers = {name: number for number, name in enumerate(classes)}
    warnings: list[str] = []
    clips = [clip for file, rows in tables for clip in _clips(file, rows, numbers, warnings)]
    official = count_splits(row.split for _, rows in tables for row in rows)
    return Listing(classes, 'sorted', clips, official, warnings=warnings)


# -------------------------------------------------------------------------------------- the two Mini-Kinetics


def _mini_s3d(annotations: Path, kinetics: Path) -> Listing:
    rows_of: dict[tuple[str, str], list[Row]] = {}
    for _, rows in _read_rows(kinetics, '400'):
        for row in rows:
            rows_of.setdefault((row.split, row.youtube_id), []).append(row)
    tables, official, warnings = [], {}, []
    for split in ('train', 'val'):
        file = find_file(annotations, [f'{folder}{split}_ytid_list.txt' for folder in S3D_FOLDERS])
        ids = _read_ids(file)
        tables.append(
            (
                file,
                [
                    row._replace(line=line)
                    for name, line in ids.items()
                    for row in rows_of.get((split, name), ())
                ],
            )
        )
        official[split] = len(ids)
        absent = [name for name in ids if (split, name) not in rows_of]
        if absent:
            warnings.append(
                f'{split}: {len(absent):,} of the {len(ids):,} youtube ids in {file} are not in the {split}'
                f' split of {kinetics}, so their classes and times are unknown: {some(absent)}'
            )
    listing = _from_csvs(tables)
    listing.official, listing.warnings = official, [*warnings, *listing.warnings]
    return listing


def _read_ids(file: Path) -> dict[str, int]:
    """``youtube id -> line`` of a list with one id a line."""
    ids: dict[str, int] = {}
    for line, text in text_lines(file):
        if not _is_id(text, youtube=True):
            raise AnnotationError(
                f'{file}:{line}: {text!r} is no youtube id, 11 letters, digits, "_" or "-"; a line is one id'
            )
        if text in ids:
            raise AnnotationError(
                f'{file}:{line}: youtube id {text!r} stands on line {ids[text]} already; remove one'
            )
        ids[text] = line
    if not ids:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')
    return ids


def _mini_arnet(annotations: Path) -> Listing:
    classes_file = find_file(annotations, ('minik_classInd.txt',))
    classes = read_class_list(classes_file)
    clips = [
        clip
        for split in ('train', 'val')
        for clip in _videofolder(find_file(annotations, (f'mini_{split}_videofolder.txt',)), split, classes)
    ]
    return Listing(classes, classes_file.name, clips, count_splits(clip.split for clip in clips))


def _videofolder(file: Path, split: str, classes: Sequence[str]) -> Iterator[KineticsClip]:
    spellings = {spelling(name): name for name in classes}
    lines: dict[str, int] = {}
    name = str(file)
    for line, text in text_lines(file):
        parts = text.rsplit(maxsplit=2)
        match = re.fullmatch(r'(.*/)?([A-Za-z0-9_-]{11})_([0-9]{1,9})_([0-9]{1,9})', parts[0])
        if len(parts) != 3 or match is None or whole_number(parts[1]) is None:
            raise AnnotationError(
                f'{file}:{line}: {text!r} is not "path frames label" with a path that ends in'
                ' <id>_<start>_<end>; correct the line'
            )
        label = whole_number(parts[2])
        if label is None or label >= len(classes):
            raise AnnotationError(
                f'{file}:{line}: the label is {parts[2]!r}, outside 0..{len(classes) - 1} ({len(classes)}'
                ' classes); labels count from 0'
            )
        named = {spelling(folder) for folder in (match[1] or '').split('/')} & spellings.keys()
        if named and spelling(classes[label]) not in named:
            raise AnnotationError(
                f'{file}:{line}: {parts[0]!r} names the class {spellings[min(named)]!r}, but the label'
                f' {label} means {classes[label]!r}; the list and the class list must be of the same version'
            )
        start, end = int(match[3]), int(match[4])
        clip_id = f'{match[2]}_{start:06d}_{end:06d}'
        if clip_id in lines:
            raise AnnotationError(
                f'{file}:{line}: clip {clip_id!r} stands on line {lines[clip_id]} already; remove one'
            )
        lines[clip_id] = line
        yield KineticsClip(split, clip_id, label, name, line, match[2], start, end)
    if not lines:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')


# ------------------------------------------------------------------------------------------------------ match


class Name(NamedTuple):
    """A found name that begins with a listed id, and the times it tells."""

    start: int | None
    end: int | None
    name: str
    kind: str


def match(listing: Listing, found: Found) -> Iterator[Indexed]:
    """Give every clip its file, or its folder of images; in the order of the listing.

    Looked for are ``<id>_<start:06d>_<end:06d>``, then the same with times padded otherwise, then
    ``<id>_<start>``, then ``<id>`` alone. The last two are taken only where they can mean no other clip:
    ``<id>_<start>`` if no other clip of the id starts there, ``<id>`` if it is the only file of that id and
    the annotation lists one clip of it. A video is preferred to a folder of images of the same name.
    """
    names_of = _names_by_id(listing, found)
    times_of = _times_by_id(listing)
    for clip in listing.clips:
        kind = 'video' if clip.id in found.videos else 'frames'
        if clip.id in found.named(kind):
            yield given(clip, found.named(kind)[clip.id], kind, class_of(listing, clip))
        else:
            yield _match_loosely(
                clip,
                names_of.get(clip.youtube_id, ()),
                times_of.get(clip.youtube_id, ()),
                found,
                class_of(listing, clip),
            )


def _names_by_id(listing: Listing, found: Found) -> dict[str, list[Name]]:
    """Listed youtube id -> the found names that consist of it and times. Ids may hold ``_`` and digits, so
    all readings are tried."""
    listed = {clip.youtube_id for clip in listing.clips}
    names_of: dict[str, list[Name]] = {}
    for name, kind in chain(
        ((name, 'video') for name in found.videos), ((name, 'frames') for name in found.folders)
    ):
        for youtube_id, start, end in _readings(name):
            if youtube_id in listed:
                names_of.setdefault(youtube_id, []).append(Name(start, end, name, kind))
    return names_of


def _readings(name: str) -> Iterator[tuple[str, int | None, int | None]]:
    """``(id, start, end)`` as the name may be meant: without times, with a start, with a start and an end."""
    yield name, None, None
    head, _, last = name.rpartition('_')
    last = whole_number(last)
    if last is not None:
        yield head, last, None
        head, _, first = head.rpartition('_')
        first = whole_number(first)
        if first is not None:
            yield head, first, last


def _times_by_id(listing: Listing) -> dict[str, set[tuple[int, int]]]:
    """The times of the ids of which several clips are listed; a clip in two splits is one."""
    first: dict[str, tuple[int, int]] = {}
    several: dict[str, set[tuple[int, int]]] = {}
    for clip in listing.clips:
        times = clip.start, clip.end
        if first.setdefault(clip.youtube_id, times) != times:
            several.setdefault(clip.youtube_id, {first[clip.youtube_id]}).add(times)
    return several


def _match_loosely(
    clip: KineticsClip,
    names: Sequence[Name],
    times: set[tuple[int, int]] | tuple,
    found: Found,
    class_name: str | None,
) -> Indexed:
    """Match a clip that has no file of its exact name. ``names``: found ones of its id; ``times``: of the
    listed clips if several."""
    padded_otherwise = [name for name in names if (name.start, name.end) == (clip.start, clip.end)]
    if padded_otherwise:
        return _given_names(clip, padded_otherwise, found, class_name)
    with_start = [name for name in names if (name.start, name.end) == (clip.start, None)]
    if with_start:
        if sum(start == clip.start for start, _ in times) > 1:
            return ambiguous(
                clip,
                f'{_paths(with_start, found)} tells no end, and several clips of this id start there; rename'
                ' it to <id>_<start>_<end>',
            )
        return _given_names(clip, with_start, found, class_name)
    alone = [name for name in names if name.start is None]
    if alone and len(alone) == len(names) and not times:
        return _given_names(clip, alone, found, class_name)
    if alone:
        why = (
            f'{len(times)} clips of this id are listed'
            if times
            else f'there are other files of this id: {_paths(names, found)}'
        )
        return ambiguous(
            clip, f'{_paths(alone, found)} tells no times, and {why}; rename it to <id>_<start>_<end>'
        )
    others = f'; of this id there is {_paths(names, found)}, with other times' if names else ''
    return missing(
        clip,
        f'no file {clip.id}.*, {clip.youtube_id}_{clip.start}.* or {clip.youtube_id}.* is there{others}; get'
        ' the file, or name the folder that holds it',
    )


def _given_names(clip: KineticsClip, names: Sequence[Name], found: Found, class_name: str | None) -> Indexed:
    kind = 'video' if any(name.kind == 'video' for name in names) else 'frames'
    paths = sorted(path for name in names if name.kind == kind for path in found.named(kind)[name.name])
    return given(clip, paths, kind, class_name)


def _paths(names: Sequence[Name], found: Found) -> str:
    return some(sorted(path for name in names for path in found.named(name.kind)[name.name]))
