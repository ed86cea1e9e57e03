"""EPIC-KITCHENS-100: parts of long videos, each with a verb and a noun.

``EPIC_100_train.csv``, ``EPIC_100_validation.csv`` and, without labels, ``EPIC_100_test_timestamps.csv``::

    narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,…
    P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]

and the names of the classes, ``EPIC_100_verb_classes.csv`` and ``EPIC_100_noun_classes.csv`` (``_v2`` as
well; columns id, key, …). Of videos the timestamps count, of folders of frames,
``P01_01/frame_0000000001.jpg``, the frames, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.common.cutting import Part, PartClip
from data_prep.common.listing import (
    AnnotationError,
    Listing,
    check_classes,
    check_counts,
    columns_of,
    count_splits,
    csv_rows,
    find_file,
    leaked,
    whole_number,
)

__all__ = ['LABELS', 'PUBLISHED', 'read_listing']

LABELS = ('verb', 'noun', 'action')
PUBLISHED = {'train': 67_217, 'val': 9_668, 'test': 13_092}
PUBLISHED_CLASSES = {'verb': 97, 'noun': 300, 'action': None}
FILES = {
    'train': 'EPIC_100_train.csv',
    'val': 'EPIC_100_validation.csv',
    'test': 'EPIC_100_test_timestamps.csv',
}
CLASS_FILES = {
    'verb': ('EPIC_100_verb_classes.csv', 'verb_classes.csv'),
    'noun': ('EPIC_100_noun_classes.csv', 'EPIC_100_noun_classes_v2.csv', 'noun_classes.csv'),
}
TIMES = ('narration_id', 'video_id', 'start_timestamp', 'stop_timestamp', 'start_frame', 'stop_frame')
NUMBERS = ('verb_class', 'noun_class')


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    clip: str
    part: Part
    verb: int | None
    noun: int | None


def read_listing(annotations: Path, label: str) -> Listing:
    """Read the lists in the folder ``annotations``.

    Args:
        label: what is the class: ``'verb'``, ``'noun'``, or ``'action'``, a pair of both that a training clip
            has.

    Returns:
        Clips of type :class:`~data_prep.common.cutting.PartClip`, whose ids are ``narration_id``. Actions are
        numbered by verb and then noun; a validation clip with an action that nobody trains has no label and
        is left out, and counted in a warning.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    if label not in LABELS:
        raise ValueError(f'label is {label!r}; use one of {", ".join(LABELS)}')
    names = {
        kind: _classes(find_file(annotations, files))
        for kind, files in CLASS_FILES.items()
        if label in (kind, 'action')
    }
    tables: dict[str, tuple[Path, list[Row]]] = {}
    for split, name in FILES.items():
        file = find_file(annotations, [name], required=split == 'train')
        if file is not None:
            tables[split] = file, list(_rows(file, names, labelled=split != 'test'))
    pairs = sorted({(row.verb, row.noun) for row in tables['train'][1]})
    numbers = {pair: number for number, pair in enumerate(pairs)}
    classes = (
        tuple(f'{names["verb"][verb]} {names["noun"][noun]}' for verb, noun in pairs)
        if label == 'action'
        else names[label]
    )
    clips, unknown = [], 0
    for split, (file, rows) in tables.items():
        for row in rows:
            said = numbers.get((row.verb, row.noun)) if label == 'action' else getattr(row, label)
            if said is None and split == 'val':
                unknown += 1
                continue
            clips.append(PartClip(split, row.clip, said, str(file), row.line, (row.part,)))
    return _checked(classes, label, clips, unknown)


def _checked(classes: tuple[str, ...], label: str, clips: list[PartClip], unknown: int) -> Listing:
    official = count_splits(clip.split for clip in clips)
    videos = ((clip.split, clip.parts[0].source) for clip in clips)
    warnings = check_counts(
        official | ({'val': official.get('val', 0) + unknown} if unknown else {}),
        PUBLISHED,
        len(classes),
        PUBLISHED_CLASSES[label],
    )
    warnings += [*leaked(videos, 'videos'), *check_classes(classes, clips)]
    if unknown:
        warnings.append(
            f'{unknown} validation clips have a verb and noun that no training clip has; left out'
        )
    return Listing(classes, 'file', clips, official, dict(PUBLISHED), warnings)


def _classes(file: Path) -> tuple[str, ...]:
    rows = csv_rows(file)
    line, header = next(rows, (1, []))
    at = columns_of(file, line, header, ('id', 'key'), ('id', 'key'))
    names: list[str] = []
    for line, fields in rows:
        if len(fields) != len(header) or whole_number(fields[at['id']]) != len(names):
            raise AnnotationError(
                f'{file}:{line}: {",".join(fields)!r} is not class {len(names)}, with {len(header)} fields;'
                ' classes are numbered from 0, one a row: download the file again'
            )
        names.append(fields[at['key']])
    if len(set(names)) < len(names) or not names:
        raise AnnotationError(f'{file}:1: names no class, or one twice; download the file again')
    return tuple(names)


def _rows(file: Path, names: dict[str, tuple[str, ...]], labelled: bool) -> Iterator[Row]:
    rows = csv_rows(file)
    line, header = next(rows, (1, []))
    needed = (*TIMES, *(f'{kind}_class' for kind in names)) if labelled else TIMES
    at = columns_of(file, line, header, needed, (*TIMES, *NUMBERS))
    lines: dict[str, int] = {}
    for line, fields in rows:
        if len(fields) != len(header):
            raise AnnotationError(
                f'{file}:{line}: the row has {len(fields)} fields, the header {len(header)}; quote fields'
                ' that hold a comma'
            )
        clip, video = fields[at['narration_id']], fields[at['video_id']]
        if not re.fullmatch(r'[\w-]+', clip) or not video:
            raise AnnotationError(
                f'{file}:{line}: narration_id is {clip!r} and video_id {video!r}; expected P01_01_0 and'
                ' P01_01'
            )
        if lines.setdefault(clip, line) != line:
            raise AnnotationError(
                f'{file}:{line}: narration_id {clip!r} stands on line {lines[clip]} already; remove one'
            )
        start, stop = (_seconds(file, line, name, fields[at[name]]) for name in TIMES[2:4])
        first, last = (whole_number(fields[at[name]]) for name in TIMES[4:])
        if not start < stop or first is None or last is None or not 0 < first <= last:
            raise AnnotationError(
                f'{file}:{line}: {clip!r} reaches from {fields[at["start_timestamp"]]} to'
                f' {fields[at["stop_timestamp"]]}, frames {fields[at["start_frame"]]} to'
                f' {fields[at["stop_frame"]]}; its end must come after its start'
            )
        numbers = {
            kind: _label(file, line, clip, kind, fields[at[f'{kind}_class']], len(some))
            for kind, some in (names.items() if labelled else ())
        }
        part = Part(video, start, stop, first - 1, last)
        yield Row(line, clip, part, numbers.get('verb'), numbers.get('noun'))
    if not lines:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')


def _label(file: Path, line: int, clip: str, kind: str, text: str, count: int) -> int:
    number = whole_number(text)
    if number is None or number >= count:
        raise AnnotationError(
            f'{file}:{line}: {kind}_class of {clip!r} is {text!r}, outside 0..{count - 1} (the {count}'
            f' classes of the list of {kind}s); take all files from one version'
        )
    return number


def _seconds(file: Path, line: int, column: str, text: str) -> float:
    found = re.fullmatch(r'(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)', text)
    if found is None:
        raise AnnotationError(
            f'{file}:{line}: {column} is {text!r}, expected hours:minutes:seconds, 00:00:01.09'
        )
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
