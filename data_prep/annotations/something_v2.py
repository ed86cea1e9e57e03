"""Something-Something V2: JSON files, and clips ``<id>.webm``.

    something-something-v2-labels.json      {"Approaching something with your camera":"0", …}
    something-something-v2-train.json       [{"id":"78687","template":"Holding [something] …", …}, …]
    something-something-v2-validation.json  the same form
    something-something-v2-test.json        [{"id":"1420"}, …]

Later copies have the names ``labels.json``, ``train.json``, … in a folder ``labels``, and
``test-answers.csv`` (``id;label``). The class is the template without the characters ``[`` and ``]``, nothing
else changed; ``label`` is a caption, not the class. Classes are numbered as in the labels file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.annotations import twentybn
from data_prep.common.listing import (
    AnnotationError,
    Found,
    Indexed,
    Listed,
    Listing,
    check_classes,
    count_splits,
    decoded_lines,
    find_file,
    leaked,
    match_names,
    whole_number,
)

__all__ = ['PUBLISHED', 'PUBLISHED_CLASSES', 'class_of_template', 'match', 'read_labels', 'read_listing']

PUBLISHED = {'train': 168_913, 'val': 24_777, 'test': 27_157}
PUBLISHED_CLASSES = 174
SPACE = re.compile(r'[ \t\n\r]*')


def names(stem: str) -> list[str]:
    """Where the annotation file ``stem`` may stand."""
    return [
        f'{folder}{prefix}{stem}' for folder in ('', 'labels/') for prefix in ('something-something-v2-', '')
    ]


def class_of_template(template: str) -> str:
    return template.replace('[', '').replace(']', '')


# ------------------------------------------------------------------------------------- JSON with line numbers


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of ``pairs``; by itself, json would keep the last of two values of a key and say nothing."""
    content = dict(pairs)
    if len(content) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f'key {twice!r} stands twice in one object')
    return content


DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def elements(file: Path, brackets: str) -> Iterator[tuple[int, Any]]:
    """``(line, element)`` of the JSON list in ``file``, or ``(line, (key, value))`` of the object, as
    ``brackets`` say (``[]``, ``{}``).

    Raises:
        AnnotationError: naming the line where the file ceases to be such JSON.
    """
    text = '\n'.join(decoded_lines(file))
    at, line, counted = _skip(text, 0), 1, 0
    if text[at : at + 1] != brackets[0]:
        raise _not_json(
            file, text, at, f'expected a {"list" if brackets == "[]" else "object"}, "{brackets[0]}"'
        )
    at = _skip(text, at + 1)
    closed = text[at : at + 1] == brackets[1]
    while not closed:
        line, counted = line + text.count('\n', counted, at), at
        element, at = _decode(file, text, at)
        if brackets == '{}':
            if not isinstance(element, str) or text[at : at + 1] != ':':
                raise _not_json(file, text, at, 'expected "key": value')
            value, at = _decode(file, text, _skip(text, at + 1))
            element = element, value
        yield line, element
        closed = text[at : at + 1] == brackets[1]
        if not closed and text[at : at + 1] != ',':
            raise _not_json(file, text, at, f'expected "," or "{brackets[1]}"')
        at = at if closed else _skip(text, at + 1)
    at = _skip(text, at + 1)
    if at != len(text):
        raise _not_json(file, text, at, f'something follows the closing "{brackets[1]}"')


def _skip(text: str, at: int) -> int:
    return SPACE.match(text, at).end()


def _decode(file: Path, text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at ``at``, and where the next token begins."""
    try:
        value, end = DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _not_json(file, text, error.pos, error.msg) from error
    # a key twice, a number of thousands of digits; nested too deep
    except (ValueError, RecursionError) as error:
        raise _not_json(file, text, at, str(error)) from error
    return value, _skip(text, end)


def _not_json(file: Path, text: str, at: int, what: str) -> AnnotationError:
    near = text[at : at + 30] or 'the end of the file'
    return AnnotationError(
        f'{file}:{text.count(chr(10), 0, at) + 1}: not the JSON that is expected ({what}), at {near!r};'
        ' correct the line or download the file again'
    )


# -------------------------------------------------------------------------------------------- the three files


def read_labels(file: Path) -> tuple[str, ...]:
    """Class names in label order, of ``{name: number}`` with the numbers 0..C-1, each once, as text or as
    they are.

    Raises:
        AnnotationError: naming file and line.
    """
    lines: dict[str, int] = {}
    by_number: dict[int, str] = {}
    for line, (name, given_number) in elements(file, '{}'):
        number = whole_number(str(given_number)) if type(given_number) in (str, int) else None
        if number is None:
            raise AnnotationError(
                f'{file}:{line}: the number of class {name!r} is {given_number!r}, expected a whole number'
                ' from 0'
            )
        if not name or not name.isprintable():
            raise AnnotationError(
                f'{file}:{line}: the class of number {number} is {name!r}; a class name is printable text'
            )
        if name in lines:
            raise AnnotationError(
                f'{file}:{line}: class {name!r} stands on line {lines[name]} already; remove one'
            )
        if number in by_number:
            raise AnnotationError(
                f'{file}:{line}: number {number} of class {name!r} belongs to {by_number[number]!r} already;'
                ' number the classes from 0, each once'
            )
        lines[name], by_number[number] = line, name
    if not by_number:
        raise AnnotationError(f'{file}:1: lists no class; download the file again')
    if max(by_number) >= len(by_number):
        name = by_number[max(by_number)]
        raise AnnotationError(
            f'{file}:{lines[name]}: class {name!r} has the number {max(by_number)}, but there are'
            f' {len(by_number)} classes; number them 0..{len(by_number) - 1}, each once'
        )
    return tuple(by_number[number] for number in range(len(by_number)))


def clips_of(file: Path, split: str, numbers: Mapping[str, int]) -> list[Listed]:
    """The clips of one split's file; the test split may lack templates."""
    clips: list[Listed] = []
    lines: dict[str, int] = {}
    for line, entry in elements(file, '[]'):
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get('id'), str)
            or not re.fullmatch('[0-9]+', entry['id'])
        ):
            raise AnnotationError(
                f'{file}:{line}: the entry {entry!r} has no "id" with digits as text; a clip is {{"id":'
                ' "78687", …}'
            )
        clip, template = entry['id'], entry.get('template')
        if clip in lines:
            raise AnnotationError(
                f'{file}:{line}: clip {clip!r} stands on line {lines[clip]} already; remove one'
            )
        lines[clip] = line
        if template is None and split == 'test':
            label = None
        elif not isinstance(template, str):
            raise AnnotationError(
                f'{file}:{line}: the template of clip {clip!r} is {template!r}, expected text; download the'
                ' file again'
            )
        elif class_of_template(template) not in numbers:
            raise AnnotationError(
                f'{file}:{line}: template {template!r} of clip {clip!r} is none of the {len(numbers)}'
                ' classes; this file and the labels file must be of the same version'
            )
        else:
            label = numbers[class_of_template(template)]
        clips.append(Listed(split, clip, label, str(file), line))
    if not clips:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')
    return clips


def clips_of_test(annotations: Path, numbers: Mapping[str, int]) -> list[Listed]:
    answers_file = find_file(annotations, names('test-answers.csv'), required=False)
    file = find_file(annotations, names('test.json'), required=answers_file is not None)
    if file is None:
        return []
    clips = clips_of(file, 'test', numbers)
    if answers_file is None:
        return clips
    answers = twentybn.read_answers(answers_file, numbers, {clip.id: clip.label for clip in clips})
    return [Listed('test', clip.id, answers.get(clip.id, clip.label), clip.file, clip.line) for clip in clips]


def read_listing(annotations: Path, *, counts: str = 'warn') -> Listing:
    """Read the annotation of Something-Something V2, or of clips in its form.

    Args:
        annotations: the folder of the files, or the one that holds their folder ``labels``.
        counts: what to do when the published counts are not met: ``'warn'``, ``'assert'``, or ``'ignore'``
            them.

    Returns:
        Train, validation and, if its file is there, test clips; labels of the test clips from
        ``test-answers.csv``, None without it.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    classes = read_labels(find_file(annotations, names('labels.json')))
    numbers = {name: number for number, name in enumerate(classes)}
    clips = [
        clip
        for split, stem in (('train', 'train.json'), ('val', 'validation.json'))
        for clip in clips_of(find_file(annotations, names(stem)), split, numbers)
    ]
    clips += clips_of_test(annotations, numbers)
    listing = Listing(classes, 'labels.json', clips, count_splits(clip.split for clip in clips))
    listing.warnings = [
        *leaked(((clip.split, clip.id) for clip in clips), 'clip ids'),
        *twentybn.unanswered(clips),
        *check_classes(classes, clips),
    ]
    return twentybn.with_published(annotations, listing, PUBLISHED, PUBLISHED_CLASSES, counts)


def match(listing: Listing, found: Found) -> Iterator[Indexed]:
    """Give every clip its video ``<id>.*``, at any depth, or else a folder of images of that name; in the
    order of the listing."""
    return match_names(listing, found, ('video', 'frames'))
