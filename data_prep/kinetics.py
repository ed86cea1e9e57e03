#!/usr/bin/env python
"""Prepare Kinetics, or clips in its form: read the CSV annotations, find and count the frames of <id>_<start>_<end>.mp4, write a manifest.

    python data_prep/kinetics.py --videos DIR --annotations DIR --out data/kinetics400

--annotations holds train.csv and validate.csv (or val.csv) with the columns label,youtube_id,time_start,time_end,split. Files are looked
for by their name, times padded to six digits, in --videos and every folder below. Classes are sorted by name.
Clips without a file or that do not decode are left out and listed in OUT/left_out.csv; copies of Kinetics differ, so that is no error.
"""
from __future__ import annotations

import csv
import logging
import os
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.common.preparing import ListedClip, PreparationError, find_annotation, parse_arguments, prepare, run

logger = logging.getLogger('data_prep')
COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end', 'split')
FILES = {'train': ('train.csv',), 'val': ('validate.csv', 'val.csv')}
SPLIT_WORDS = {'train': ('train',), 'val': ('val', 'validate', 'validation')}
SUFFIXES = ('.mp4', '.mkv', '.webm')


@dataclass(frozen=True)
class Annotated:
    """One row of the CSV."""
    place: str
    split: str
    label: str
    youtube_id: str
    start: int
    end: int

    @property
    def id(self) -> str:
        return f'{self.youtube_id}_{self.start:06d}_{self.end:06d}'


def read_csv(file: Path, split: str) -> list[Annotated]:
    """The rows of one split's file."""
    with file.open(encoding='utf-8-sig', newline='') as lines:
        table = csv.DictReader(lines)
        missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise PreparationError(f'{file}:1: the header is {table.fieldnames}, without {", ".join(missing)}; the columns are '
                                   f'{", ".join(COLUMNS)}')
        rows = [checked_row(f'{file}:{table.line_num}', row, split) for row in table]
    places: dict[str, str] = {}
    for row in rows:
        if row.id in places:
            raise PreparationError(f'{row.place}: clip {row.id!r} stands at {places[row.id]} already; remove one')
        places[row.id] = row.place
    return rows


def checked_row(place: str, row: Mapping[str, str | None], split: str) -> Annotated:
    if not row['label']:
        raise PreparationError(f'{place}: no label; only rows with a label can be prepared')
    if not re.fullmatch(r'[A-Za-z0-9_-]{11}', row['youtube_id'] or ''):
        raise PreparationError(f'{place}: youtube_id is {row["youtube_id"]!r}, expected 11 letters, digits, "_" or "-"')
    if row['split'] not in SPLIT_WORDS[split]:
        raise PreparationError(f'{place}: split is {row["split"]!r} in the file of split {split!r}, expected '
                               f'{" or ".join(SPLIT_WORDS[split])}')
    start, end = (seconds(place, column, row[column]) for column in ('time_start', 'time_end'))
    return Annotated(place, split, row['label'], row['youtube_id'], start, end)


def seconds(place: str, column: str, text: str | None) -> int:
    """Whole seconds of a time, which may be written as a float; file names hold whole seconds."""
    if not re.fullmatch(r'\d+(\.\d*)?', text or ''):
        raise PreparationError(f'{place}: {column} is {text!r}, expected seconds from 0')
    return int(float(text))


def files_by_stem(videos: Path) -> dict[str, list[str]]:
    """Paths relative to ``videos`` of every video in it and below, by name without suffix."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder, _, names in os.walk(videos, followlinks=True):
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                found[stem].append((Path(folder) / name).relative_to(videos).as_posix())
    return found


def listed_clip(row: Annotated, number: int, found: Mapping[str, Sequence[str]]) -> ListedClip:
    """Give the row its file; of several with its name, the one below a folder that is named as its split."""
    paths = found.get(row.id, ())
    if len(paths) > 1:
        paths = [path for path in paths if path.split('/')[0] in SPLIT_WORDS[row.split]] or paths
    if len(paths) == 1:
        return ListedClip(row.split, row.id, number, paths[0])
    reason = f'several files: {", ".join(sorted(paths))}; keep one' if paths else f'no file {row.id}{SUFFIXES[0]}'
    return ListedClip(row.split, row.id, number, None, reason)


def warn_of_leakage(rows: Sequence[Annotated]) -> None:
    """A video that gives clips to two splits makes the validation score too good."""
    splits = defaultdict(set)
    for row in rows:
        splits[row.youtube_id].add(row.split)
    shared = sorted(video for video, of in splits.items() if len(of) > 1)
    if shared:
        logger.warning('%d youtube ids stand in more than one split, e.g. %s', len(shared), ', '.join(shared[:5]))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(__doc__, argv, help='folder of the CSV files', version='1')
    rows = [row for split, names in FILES.items() for row in read_csv(find_annotation(args.annotations, names), split)]
    warn_of_leakage(rows)
    classes = sorted({row.label for row in rows})
    numbers = {name: number for number, name in enumerate(classes)}
    found = files_by_stem(args.videos)
    prepare(args, classes, 'sorted', [listed_clip(row, numbers[row.label], found) for row in rows])


if __name__ == '__main__':
    sys.exit(run(main))
