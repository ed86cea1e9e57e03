"""Which data it is, and how it was made: two hashes that say no more than that.

The *content hash* of a split covers the class names in label order and, of every clip, its id, label, number
of frames and size as shown, and its labels, start and end where it has any. Not in it are names (of the
dataset, of its folder, of files), the order of the rows, and the clips that are listed and absent: two people
who can use the same clips have the same hash, wherever the clips lie and whatever archive they came from. It
does not look at pixels.

The *made hash* covers what encoded the clips: their form, short side, distance of key frames, rate factor or
quality, and version of ffmpeg.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from json.encoder import encode_basestring
from typing import Any

from .row_table import ClipRow

__all__ = ['common_folder', 'content_of_all', 'content_of_split', 'made_hash', 'with_relative_ids']


def content_of_split(classes: Sequence[str], rows: Iterable[ClipRow]) -> str:
    """The content hash of one split.

    The SHA-256 of the rows are added up (modulo 2^256), so that their order does not count.

    Args:
        classes: names in label order.
        rows: of the split, in any order.

    Returns:
        64 hexadecimal digits.
    """
    total, count = 0, 0
    for row in rows:
        total += int.from_bytes(hashlib.sha256(_said(row)).digest())
        count += 1
    return _hash([list(classes), count, total % 2**256])


def _said(row: ClipRow) -> bytes:
    """What counts of a row, as compact JSON."""
    label, frames, height, width = (
        'null' if value is None else value for value in (row.label, row.frames, row.height, row.width)
    )
    text = f'[{encode_basestring(row.id)},{label},{frames},{height},{width}'
    text += f',{json.dumps(row.more)}]' if row.more else ']'
    return text.encode('utf-8', 'surrogatepass')


def content_of_all(contents: Mapping[str, str]) -> str:
    """The content hash of a dataset, from those of its splits; their order does not count.

    Returns:
        64 hexadecimal digits.
    """
    return _hash(dict(contents))


def made_hash(made: Mapping[str, Any]) -> str:
    """The hash of how clips were made.

    Args:
        made: name of a setting -> its value, as JSON; the order does not count.

    Returns:
        64 hexadecimal digits.
    """
    return _hash(dict(made))


def with_relative_ids(rows: Sequence[ClipRow]) -> Sequence[ClipRow]:
    """Rows whose ids are absolute paths, with ids from :func:`common_folder` on; other rows as they are."""
    start = len(common_folder([row.id for row in rows]))
    return [replace(row, id=row.id[start:]) for row in rows] if start else rows


def common_folder(paths: Sequence[str]) -> str:
    """What absolute paths begin with up to the last ``/`` that they share, so that what follows is the same
    wherever they are mounted; '' if one is not absolute, or nothing would be left of one."""
    if not paths or not all(path.startswith('/') for path in paths):
        return ''
    shared = os.path.commonprefix(list(paths))
    shared = shared[: shared.rindex('/') + 1]
    return shared if all(len(path) > len(shared) for path in paths) else ''


def _hash(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()
