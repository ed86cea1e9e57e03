"""``metadata.csv`` and ``metadata.jsonl`` of Hugging Face's folders of videos or pictures::

    DIR/train/metadata.csv      file_name,label              paths start from the folder of the file
                                17.mp4,jumping jacks
    DIR/metadata.jsonl          {"file_name": "train/17.mp4", "label": "jumping jacks"}

The split is that of the column ``split``, or else of the first folder on the path that is named as one. Other
columns are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_prep.common.listing import (
    SPLIT_WORDS,
    AnnotationError,
    columns_of,
    csv_rows,
    text_lines,
)

__all__ = ['MetadataRow', 'metadata_files', 'metadata_rows']

NAMES = ('metadata.csv', 'metadata.jsonl')
COLUMNS = ('file_name', 'label', 'split')


class MetadataRow(NamedTuple):
    """One row; ``path`` starts from the folder of the dataset, ``label`` is '' for none."""

    line: int
    split: str
    path: str
    label: str


def metadata_files(folder: Path) -> list[Path]:
    """The files of ``folder`` and of the folders in it, two deep, sorted.

    Raises:
        AnnotationError: if there is none, or two forms of it in one folder.
    """
    files = sorted(
        file for above in ('', '*/', '*/*/') for name in NAMES for file in folder.glob(f'{above}{name}')
    )
    homes = [file.parent for file in files]
    twice = next((home for home in homes if homes.count(home) > 1), None)
    if twice is not None:
        raise AnnotationError(f'{twice}: holds metadata.csv and metadata.jsonl; keep the one that is meant')
    if not files:
        raise AnnotationError(
            f'{folder}: holds no metadata.csv or metadata.jsonl, nor do the folders in it; name the'
            ' folder that does'
        )
    return files


def metadata_rows(file: Path, folder: Path, split: str | None) -> Iterator[MetadataRow]:
    """The rows of one file of the dataset ``folder``.

    Args:
        split: of rows that neither the column ``split`` nor a folder tells it of.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    rows = _of_csv(file) if file.suffix == '.csv' else _of_jsonl(file)
    home = PurePosixPath(file.parent.relative_to(folder).as_posix())
    for line, name, label, said in rows:
        path = home / name.replace('\\', '/')
        if not name or path.is_absolute() or '..' in path.parts:
            raise AnnotationError(
                f'{file}:{line}: file_name is {name!r}; give a path that starts from the folder of the file'
            )
        found = SPLIT_WORDS.get(said.lower()) if said else _split_of(path) or split
        if found is None:
            raise AnnotationError(
                f'{file}:{line}: {path} has '
                + (f'the split {said!r}' if said else 'no split')
                + f'; put it in a folder named {", ".join(SPLIT_WORDS)}, or say it in a column split'
            )
        if not label and found != 'test':
            raise AnnotationError(
                f'{file}:{line}: {path} in split {found!r} has no label; only test rows may lack it'
            )
        yield MetadataRow(line, found, str(path), label)


def _split_of(path: PurePosixPath) -> str | None:
    return next((SPLIT_WORDS[part.lower()] for part in path.parts[:-1] if part.lower() in SPLIT_WORDS), None)


def _of_csv(file: Path) -> Iterator[tuple[int, str, str, str]]:
    rows = csv_rows(file)
    line, header = next(rows, (1, []))
    at = columns_of(file, line, header, COLUMNS[:2], COLUMNS)
    for line, fields in rows:
        if len(fields) != len(header):
            raise AnnotationError(
                f'{file}:{line}: the row has {len(fields)} fields, the header {len(header)}:'
                f' {",".join(fields)!r}; quote fields that hold a comma'
            )
        yield line, *(fields[at[name]] if name in at else '' for name in COLUMNS)


def _of_jsonl(file: Path) -> Iterator[tuple[int, str, str, str]]:
    for line, text in text_lines(file):
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnnotationError(f'{file}:{line}: not JSON ({error}); correct the line') from error
        if not isinstance(said, dict) or not {'file_name', 'label'} <= said.keys():
            raise AnnotationError(
                f'{file}:{line}: {text[:80]!r} is no object with file_name and label; give every row both'
            )
        yield line, *(_text(file, line, name, said.get(name)) for name in COLUMNS)


def _text(file: Path, line: int, name: str, value: object) -> str:
    if value is None:
        return ''
    if isinstance(value, str) or type(value) is int:
        return str(value)
    raise AnnotationError(f'{file}:{line}: {name} is {value!r}; give one text or whole number')
