"""What an annotation lists, what stands in the folder of videos, and which file belongs to which listed clip.

The readers of ``data_prep.annotations`` turn an annotation into a :class:`Listing`; someone scans the folder
of videos into a :class:`Found`; each reader's ``match`` gives every listed clip its file, or the reason why
it has none. Nothing is dropped on the way: there is one :class:`Indexed` for every clip of the listing, in
the annotation's order.
"""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

__all__ = [
    'SPLITS',
    'SPLIT_WORDS',
    'AnnotationError',
    'Extra',
    'Found',
    'Indexed',
    'Listed',
    'Listing',
    'MisplacedError',
    'ambiguous',
    'check_classes',
    'check_counts',
    'class_of',
    'columns_of',
    'count_splits',
    'counted',
    'csv_rows',
    'decoded_lines',
    'extra',
    'find_file',
    'given',
    'is_meant',
    'leaked',
    'limited',
    'match_names',
    'missing',
    'names_meant',
    'narrowed',
    'read_class_list',
    'some',
    'spelling',
    'text_lines',
    'unquoted',
    'whole_number',
]

SPLITS = ('train', 'val', 'test')
SPLIT_WORDS = {
    'train': 'train',
    'training': 'train',
    'val': 'val',
    'valid': 'val',
    'validate': 'val',
    'validation': 'val',
    'test': 'test',
    'testing': 'test',
}
SHOWN = 5
REPLACEMENT = re.compile(r'replacement(_for_corrupted\w*)?', re.IGNORECASE).fullmatch
NUMBERED = re.compile(r'(\d+)(?:\s*[,;:]\s*|\s+)(\S.*)')


class AnnotationError(ValueError):
    """An annotation is malformed or not there; the message is ``FILE:LINE: what, value; remedy``."""


class MisplacedError(AnnotationError):
    """A clip does not stand where class folders have theirs."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One clip of an annotation.

    Attributes:
        split: ``'train'``, ``'val'`` or ``'test'``.
        id: its name, unique in its split.
        label: class number, or None where the annotation tells none (test splits).
        file, line: where it is listed.
        labels: class numbers in ascending order, where clips may have several; ``label`` is None then.
        part: (start, end) in seconds, the part of the file that is the clip; None: all of it.
    """

    split: str
    id: str
    label: int | None
    file: str = ''
    line: int = 0
    labels: tuple[int, ...] = field(default=(), kw_only=True)
    part: tuple[float, float] | None = field(default=None, kw_only=True)

    @property
    def place(self) -> str:
        """``file:line``, for messages."""
        return f'{self.file}:{self.line}'


@dataclass
class Listing:
    """An annotation.

    Attributes:
        classes: class names in label order.
        label_order: where that order comes from: ``'sorted'``, ``'file'``, ``'numbers'`` or the name of the
            file with the numbers.
        clips: in the annotation's order.
        official: split -> rows that the annotation lists.
        expected: split -> rows published for this version; empty where nothing is published.
        warnings: what a user should know: counts not met, clips in several splits, rows that repeat.
        groups: split -> groups of clips that were kept together; empty where each clip stands alone.
    """

    classes: tuple[str, ...]
    label_order: str
    clips: Sequence[Listed]
    official: dict[str, int]
    expected: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What stands in the folder of videos.

    Attributes:
        videos: file name without suffix -> sorted paths relative to the folder, with ``/``.
        folders: name of a folder that holds images -> sorted paths of such folders.
        images: file name without suffix -> sorted paths, of pictures that are clips of one frame.
        tops: what paths begin with for a reason of the preparation alone: where archives are unpacked, or
            several folders put together.
    """

    videos: Mapping[str, Sequence[str]]
    folders: Mapping[str, Sequence[str]]
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tops: Sequence[str] = ()

    def named(self, kind: str) -> Mapping[str, Sequence[str]]:
        """The names of one kind, ``'video'``, ``'frames'`` or ``'image'``."""
        return {'video': self.videos, 'frames': self.folders, 'image': self.images}[kind]


@dataclass(frozen=True, slots=True)
class Indexed:
    """A listed clip with its file, or the reason why it has none.

    Attributes:
        path: of the file or folder, relative to the folder of videos; None without one.
        kind: ``'video'``, ``'frames'`` or ``'image'``.
        reason: ``'missing'`` or ``'ambiguous'`` when ``path`` is None.
        detail: a sentence: which names were looked for or which files compete, and the remedy.
        labels: as of :class:`Listed`.
        start, end: in seconds, of the part of the file that is the clip; None: all of it.
    """

    split: str
    id: str
    label: int | None
    path: str | None
    kind: str = 'video'
    reason: str | None = None
    detail: str = ''
    labels: tuple[int, ...] = ()
    start: float | None = None
    end: float | None = None


# ----------------------------------------------------------------------------------------------- reading text


def decoded_lines(file: Path) -> Iterator[str]:
    """Every line without its end (LF or CRLF) and without a byte order mark.

    Raises:
        AnnotationError: at the first line that is no UTF-8 text.
    """
    with file.open('rb') as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode('utf-8-sig' if number == 1 else 'utf-8')
            except UnicodeDecodeError as error:
                raise AnnotationError(
                    f'{file}:{number}: not UTF-8 text ({error.reason}, byte'
                    f' {error.object[error.start]:#04x}); save the file as UTF-8'
                ) from error
            if '\0' in text:
                raise AnnotationError(
                    f'{file}:{number}: holds a NUL byte, so it is no UTF-8 text; save the file as UTF-8'
                )
            yield text.removesuffix('\n').removesuffix('\r')


def text_lines(file: Path) -> Iterator[tuple[int, str]]:
    """``(line number, stripped text)`` of the lines that are not blank."""
    for number, text in enumerate(decoded_lines(file), 1):
        text = text.strip()
        if text:
            yield number, text


def csv_rows(file: Path, delimiter: str = ',') -> Iterator[tuple[int, list[str]]]:
    """``(line number, stripped fields)`` of the rows of a CSV, header included, blank rows left out.

    Raises:
        AnnotationError: at the first row with a wrong quote, a line break within quotes, or bytes that are no
            UTF-8 text.
    """
    table = csv.reader(decoded_lines(file), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in table:
            if table.line_num != line:
                raise AnnotationError(
                    f'{file}:{line}: a quote opens on this line and closes on line {table.line_num}; close it'
                    ' where it opens, or double a quote that belongs to the text'
                )
            fields = [text.strip() for text in row]
            if any(fields):
                yield line, fields
            line += 1
    except csv.Error as error:
        raise AnnotationError(
            f'{file}:{line}: not CSV ({error}); quote a field as "text", and double quotes inside it'
        ) from error


def columns_of(
    file: Path, line: int, header: Sequence[str], needed: Sequence[str], known: Sequence[str]
) -> dict[str, int]:
    """Column name -> position, for the ``known`` columns of a CSV's header; ``needed`` ones must be there.

    Raises:
        AnnotationError: if a needed column is missing or a known one stands there twice.
    """
    names = [name.lower() for name in header]
    absent = [name for name in needed if name not in names]
    if absent:
        raise AnnotationError(
            f'{file}:{line}: the header is {",".join(header)!r}, without {", ".join(absent)}; the first row'
            f' names the columns {",".join(known)}'
        )
    twice = [name for name in known if names.count(name) > 1]
    if twice:
        raise AnnotationError(f'{file}:{line}: the header names the column {twice[0]!r} twice; remove one')
    return {name: names.index(name) for name in known if name in names}


def whole_number(text: str) -> int | None:
    """The number that ASCII digits spell (at most 9, no sign); None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


def find_file(folder: Path, names: Sequence[str], required: bool = True) -> Path | None:
    """The one of ``names`` (relative, with ``/``, upper and lower case distinct) that is a file in
    ``folder``.

    Raises:
        AnnotationError: if several differing ones are there; if none is and one is required.
    """
    there = [folder / name for name in dict.fromkeys(names) if _is_file(folder / name)]
    if not there and required:
        raise AnnotationError(
            f'{folder}: holds none of {", ".join(dict.fromkeys(names))}; name the folder that does'
        )
    if len({file.read_bytes() for file in there} if len(there) > 1 else there) > 1:
        raise AnnotationError(
            f'{folder}: holds {", ".join(file.relative_to(folder).as_posix() for file in there)}, which'
            ' differ; keep the one that is meant'
        )
    return there[0] if there else None


def _is_file(file: Path) -> bool:
    # some file systems take any case for the same name
    return file.is_file() and file.name in os.listdir(file.parent)


def read_class_list(file: Path) -> tuple[str, ...]:
    """Class names in the file's order, one a line; a name may stand in double quotes. Where every line begins
    with its number, counted from 0 or 1 (``0,air drumming``, ``1 ApplyEyeMakeup``), that is no part of the
    name.

    Raises:
        AnnotationError: naming the line if a name stands there twice; if there is none.
    """
    names: dict[str, int] = {}
    for line, text in _without_numbers(list(text_lines(file))):
        name = unquoted(text)
        if not name:
            raise AnnotationError(f'{file}:{line}: the class name is {text!r}; give every class a name')
        if name in names:
            raise AnnotationError(
                f'{file}:{line}: class {name!r} stands on line {names[name]} already; remove one'
            )
        names[name] = line
    if not names:
        raise AnnotationError(f'{file}:1: lists no class; give one class name per line')
    return tuple(names)


def _without_numbers(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    found = [NUMBERED.fullmatch(text) for _, text in lines]
    if not found or None in found:
        return lines
    numbers = [int(match[1]) for match in found]
    if numbers[0] not in (0, 1) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return lines
    return [(line, match[2]) for (line, _), match in zip(lines, found)]


def unquoted(text: str) -> str:
    """The text without the double quotes that a spreadsheet puts around it."""
    return text[1:-1].replace('""', '"').strip() if len(text) > 1 and text[0] == text[-1] == '"' else text


# ---------------------------------------------------------------------------------------- checks of a listing


def count_splits(splits: Iterable[str]) -> dict[str, int]:
    """Split -> how often it occurs, in the order train, val, test."""
    counts = Counter(splits)
    return {split: counts[split] for split in SPLITS if split in counts}


def counted(splits: Mapping[str, int]) -> str:
    """What :func:`count_splits` gives, for a message."""
    return ' + '.join(f'{count} {split}' for split, count in splits.items())


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first few of ``names``, for a message."""
    return ', '.join(names[:shown]) + (', …' if len(names) > shown else '')


def leaked(names: Iterable[tuple[str, str]], what: str) -> list[str]:
    """A warning if a name stands in several splits; none otherwise.

    Args:
        names: ``(split, name)`` pairs.
        what: what the names are, in the plural, e.g. ``'youtube ids'``.

    Returns:
        At most one text: how many names which splits share, and the first five, sorted.
    """
    first: dict[str, str] = {}
    shared: dict[str, set[str]] = {}
    for split, name in names:
        if first.setdefault(name, split) != split:
            shared.setdefault(name, {first[name]}).add(split)
    if not shared:
        return []
    pairs = Counter(' and '.join(split for split in SPLITS if split in splits) for splits in shared.values())
    counts = ', '.join(f'{count} in {pair}' for pair, count in pairs.items())
    return [
        f'{len(shared)} {what} stand in more than one split ({counts}), e.g. {some(sorted(shared))}; results'
        ' on such a split look too good'
    ]


def check_counts(
    official: Mapping[str, int], expected: Mapping[str, int], classes: int, expected_classes: int | None
) -> list[str]:
    """A warning for each split whose rows, and for the classes whose number, differ from what is published.

    Splits that the annotation lacks are not compared.
    """
    warnings = [
        f'{split}: the annotation lists {official[split]:,} clips, {count:,} are published; this copy is not'
        ' the published one'
        for split, count in expected.items()
        if official.get(split, count) != count
    ]
    if expected_classes not in (None, classes):
        warnings.append(
            f'the annotation has {classes} classes, {expected_classes} are published; class numbers differ'
            ' from those of others'
        )
    return warnings


def check_classes(classes: Sequence[str], clips: Iterable[Listed]) -> list[str]:
    """Warnings: classes that differ in spelling alone; classes without a training clip, if there is a
    training split."""
    spelled: dict[str, list[str]] = {}
    for name in classes:
        spelled.setdefault(spelling(name), []).append(name)
    warnings = [
        f'the classes {", ".join(map(repr, names))} differ in spelling alone; if they are one class, write it'
        ' one way'
        for names in spelled.values()
        if len(names) > 1
    ]
    trained = {label for clip in clips if clip.split == 'train' for label in clip.labels or (clip.label,)}
    untrained = [name for number, name in enumerate(classes) if number not in trained]
    if trained and untrained:
        warnings.append(
            f'{len(untrained)} of {len(classes)} classes have no training clip: {some(untrained)}'
        )
    return warnings


# ------------------------------------------------------------------------------------------------------ match


def spelling(name: str) -> str:
    """Lower-case letters and digits alone: class folders spell ``passing American football (in game)`` in
    many ways."""
    lower = unicodedata.normalize('NFC', name).lower()
    return ''.join(char for char in lower if char.isalnum()) or lower


def narrowed(paths: Sequence[str], split: str, class_name: str | None) -> Sequence[str]:
    """Of several files with a clip's name: those below a folder named as its split, then those below one that
    spells its class.

    Before both come files below a folder ``replacement…``: Kinetics-400 is published with an archive of that
    name for the files that are damaged in the others. Each preference counts only if some file meets it; one
    path is left when the choice is clear.
    """
    if len(paths) > 1:
        paths = [path for path in paths if any(map(REPLACEMENT, path.split('/')[:-1]))] or paths
    if len(paths) > 1:
        paths = [
            path
            for path in paths
            if any(SPLIT_WORDS.get(name.lower()) == split for name in path.split('/')[:-1])
        ] or paths
    if len(paths) > 1 and class_name is not None:
        wanted = spelling(class_name)
        paths = [
            path for path in paths if any(spelling(name) == wanted for name in path.split('/')[:-1])
        ] or paths
    return paths


def names_meant(listing: Listing) -> set[str]:
    """What a file, or a folder of images, has in its name if it can be one of the clips: see
    :func:`is_meant`."""
    names: set[str] = set()
    for clip in listing.clips:
        paths = [clip.id, getattr(clip, 'path', ''), getattr(clip, 'youtube_id', '')]
        paths += [part.source for part in getattr(clip, 'parts', ())]
        for path in filter(None, paths):
            name = path.replace('\\', '/').rpartition('/')[2]
            names |= {name, os.path.splitext(name)[0]}
    return names - {''}


def limited(listing: Listing, most: int) -> Listing:
    """The annotation with ``most`` clips of each split at most, evenly spread over it."""
    chosen: list[Listed] = []
    for split, count in count_splits(clip.split for clip in listing.clips).items():
        clips = [clip for clip in listing.clips if clip.split == split]
        few = min(most, count)
        chosen += [clips[place * count // few] for place in range(few)]
    official = count_splits(clip.split for clip in chosen)
    return replace(listing, clips=chosen, official=official, groups={})


def is_meant(path: str, names: Collection[str]) -> bool:
    """Whether the file at ``path``, or a folder that it stands in, can be one of the clips: has a name of
    :func:`names_meant`, with or without a suffix, or one and times behind it (``<id>_<start>_<end>``)."""
    for part in path.split('/'):
        stem = os.path.splitext(part)[0]
        first = stem.rpartition('_')[0]
        if not names.isdisjoint((part, stem, first, first.rpartition('_')[0])):
            return True
    return False


def class_of(listing: Listing, clip: Listed) -> str | None:
    """Name of the clip's class; None without a label."""
    return None if clip.label is None else listing.classes[clip.label]


def given(clip: Listed, paths: Sequence[str], kind: str, class_name: str | None) -> Indexed:
    """The clip with the one of ``paths`` that is its own, or ambiguous with those that compete."""
    paths = narrowed(paths, clip.split, class_name)
    if len(paths) == 1:
        return _indexed(clip, paths[0], kind)
    return ambiguous(
        clip,
        f'several files have the name: {some(paths)}; keep one, or put it below a folder named as its split'
        ' or class',
        kind,
    )


def ambiguous(clip: Listed, detail: str, kind: str = 'video') -> Indexed:
    return _indexed(clip, None, kind, 'ambiguous', detail)


def missing(clip: Listed, detail: str, kind: str = 'video') -> Indexed:
    """The clip without a file."""
    return _indexed(clip, None, kind, 'missing', detail)


def _indexed(
    clip: Listed, path: str | None, kind: str, reason: str | None = None, detail: str = ''
) -> Indexed:
    start, end = clip.part or (None, None)
    return Indexed(clip.split, clip.id, clip.label, path, kind, reason, detail, clip.labels, start, end)


def match_names(listing: Listing, found: Found, kinds: Sequence[str]) -> Iterator[Indexed]:
    """Match every clip with the file or folder named as its id, at any depth.

    Args:
        kinds: ``'video'`` and ``'frames'`` in order of preference: the second is looked for only if there is
            none of the first.
    """
    looked_for = ' and '.join(
        'no video {0}.*' if kind == 'video' else 'no folder of images {0}' for kind in kinds
    )
    for clip in listing.clips:
        kind = next((kind for kind in kinds if clip.id in found.named(kind)), None)
        if kind is None:
            yield missing(
                clip,
                f'{looked_for.format(clip.id)} is there; get the file, or name the folder that holds it',
                kinds[0],
            )
        else:
            yield given(clip, found.named(kind)[clip.id], kind, class_of(listing, clip))


class Extra(NamedTuple):
    """Files that no clip of the annotation was given."""

    count: int
    first: tuple[str, ...]


def extra(found: Found, indexed: Iterable[Indexed]) -> Extra:
    """How many of the found files and folders of images belong to no clip, and the first five of them,
    sorted.

    Files that compete for an ambiguous clip belong to none.
    """
    used = {clip.path for clip in indexed}
    unused = sorted(
        path
        for named in (found.videos, found.folders, found.images)
        for paths in named.values()
        for path in paths
        if path not in used
    )
    return Extra(len(unused), tuple(unused[:SHOWN]))
