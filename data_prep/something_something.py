#!/usr/bin/env python
"""Prepare Something-Something V2, or clips in its form: read the JSON annotations, count the frames of <id>.webm, write a manifest.

    python data_prep/something_something.py --videos DIR --annotations DIR --out data/something_something_v2

--annotations holds something-something-v2-{labels,train,validation}.json, or {labels,train,validation}.json, itself or in a folder labels/;
with test.json and test-answers.csv (id;label) beside them, the test split is written too. Classes are numbered as in labels.json.
Clips without a file or that do not decode are left out and listed in OUT/left_out.csv.
"""
from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.common.preparing import ListedClip, PreparationError, find_annotation, parse_arguments, prepare, run
from gfvideo.data.manifest import read_classes

PREFIX = 'something-something-v2-'
SUFFIXES = ('.webm', '.mp4', '.mkv')
SPLITS = {'train': 'train', 'validation': 'val'}


def names(stem: str) -> list[str]:
    """Where the annotation file ``stem`` may stand."""
    return [f'{folder}{prefix}{stem}' for folder in ('', 'labels/') for prefix in (PREFIX, '')]


def class_of_template(template: str) -> str:
    return template.replace('[', '').replace(']', '')


def read_entries(file: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The entries of an annotation file, each with the text ``keys``; ids are unique and digits."""
    text = file.read_text(encoding='utf-8')
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise PreparationError(f'{file}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); download the file again') from error
    if not isinstance(entries, list):
        raise PreparationError(f'{file}: holds a {type(entries).__name__}, expected a list of clips')
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        for key in keys:
            if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
                raise PreparationError(f'{file}:{line_of_entry(text, number)}: entry {number} has no text {key!r}: {entry!r}')
        if not re.fullmatch(r'\d+', entry['id']):
            raise PreparationError(f'{file}:{line_of_entry(text, number)}: id of entry {number} is {entry["id"]!r}, expected digits')
        if entry['id'] in seen:
            raise PreparationError(f'{file}:{line_of_entry(text, number)}: clip {entry["id"]!r} is listed twice; remove one')
        seen.add(entry['id'])
    return entries


def line_of_entry(text: str, number: int) -> int:
    """Line on which entry ``number`` of a JSON list begins."""
    decoder, skip = json.JSONDecoder(), re.compile(r'[\s,\[]*')
    end = re.compile(r'\s*\[').match(text).end()
    for _ in range(number):
        _, end = decoder.raw_decode(text, skip.match(text, end).end())
    return text.count('\n', 0, skip.match(text, end).end()) + 1


def labels_of(file: Path, numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    """``(id, label)`` of an annotation with templates."""
    entries = read_entries(file, ('id', 'template'))
    labels = []
    for number, entry in enumerate(entries):
        name = class_of_template(entry['template'])
        if name not in numbers:
            line = line_of_entry(file.read_text(encoding='utf-8'), number)
            raise PreparationError(f'{file}:{line}: template {entry["template"]!r} of clip {entry["id"]!r} is none of the {len(numbers)} '
                                   'classes in the labels file; the two files must be of the same version')
        labels.append((entry['id'], numbers[name]))
    return labels


def labels_of_test(file: Path, answers: Path, numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    """``(id, label)`` of the test list with its separate answers, ``id;label`` a line."""
    listed = dict.fromkeys(entry['id'] for entry in read_entries(file, ('id',)))
    labels = []
    for number, line in enumerate(answers.read_text(encoding='utf-8').splitlines(), 1):
        if not line:
            continue
        clip, _, name = line.partition(';')
        if clip not in listed or name not in numbers:
            what = f'clip {clip!r} is not in {file}' if clip not in listed else f'{name!r} is none of the {len(numbers)} classes'
            raise PreparationError(f'{answers}:{number}: {what}; a line is "id;label", of the same version as the other files')
        labels.append((clip, numbers[name]))
    return labels


def listed_clip(videos: Path, split: str, clip: str, label: int) -> ListedClip:
    for suffix in SUFFIXES:
        if (videos / f'{clip}{suffix}').is_file():
            return ListedClip(split, clip, label, f'{clip}{suffix}')
    return ListedClip(split, clip, label, None, f'no file {clip}{SUFFIXES[0]}')


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(__doc__, argv, help='folder of the JSON files', version='v2')
    labels_file = find_annotation(args.annotations, names('labels.json'))
    classes = read_classes(labels_file)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = {split: labels_of(find_annotation(args.annotations, names(f'{stem}.json')), numbers) for stem, split in SPLITS.items()}
    answers = find_annotation(args.annotations, names('test-answers.csv'), required=False)
    if answers is not None:
        labels['test'] = labels_of_test(find_annotation(args.annotations, names('test.json')), answers, numbers)
    clips = [listed_clip(args.videos, split, *pair) for split, pairs in labels.items() for pair in pairs]
    prepare(args, classes, 'labels.json', clips)


if __name__ == '__main__':
    sys.exit(run(main))
