"""Standard errors of clips that are not independent: several of one video resemble each other, so videos
count, not clips."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np

__all__ = [
    'Difference',
    'mean_standard_error',
    'paired_difference',
    'sources_by_pattern',
    'sources_of_table',
]


class Difference(NamedTuple):
    """A mean difference and its standard error, both fractions."""

    mean: float
    error: float


def mean_standard_error(values: Sequence[float] | np.ndarray, sources: Sequence[str] | None = None) -> float:
    """Standard error of the mean of clips that share sources: the cluster-robust one (Liang and Zeger, 1986).

    sqrt(sum over sources of (sum of the source's deviations from the mean)^2) / N. Where every clip is its
    own source, and values are 0 or 1, that is sqrt(p (1 - p) / N). With few sources, below thirty or so, it
    is on the small side.

    Args:
        values: N numbers, one a clip: 1 where it is recognized, 0 where not, or anything between.
        sources: N names of what each clip is from; None where every clip is its own source.

    Raises:
        ValueError: if there is no clip, or not a source for each.
    """
    values = np.asarray(values, dtype=float)  # (N,)
    if values.ndim != 1 or not len(values):
        raise ValueError(f'values of shape {values.shape} must be one number for each of 1 or more clips')
    deviations = values - values.mean()
    if sources is not None:
        if len(sources) != len(values):
            raise ValueError(f'{len(sources)} sources for {len(values)} clips: give one for each clip')
        _, groups = np.unique(np.asarray(sources, dtype=str), return_inverse=True)
        deviations = np.bincount(groups, weights=deviations)  # (G,), summed
    return float(np.sqrt((deviations**2).sum()) / len(values))


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    sources: Sequence[str] | None = None,
) -> Difference:
    """How much better the first method does on the same clips, with the standard error of that difference.

    Args:
        first, second: N numbers each, of the same clips in the same order.
        sources: as of :func:`mean_standard_error`.

    Raises:
        ValueError: if they are not of the same clips.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f'{first.shape} and {second.shape} values: a pair is of the same clips')
    return Difference(float((first - second).mean()), mean_standard_error(first - second, sources))


def sources_of_table(ids: Sequence[str], path: str | PathLike[str], column: str) -> list[str]:
    """The source of each clip by a column of an annotation table.

    Args:
        ids: N ids of clips.
        path: CSV file with a column ``id`` or ``video_id``; or, in Kinetics form, ``youtube_id``,
            ``time_start`` and ``time_end``, of which the ids are made as the files of the clips are named.
        column: name of the column that names the source, e.g. ``youtube_id``.

    Raises:
        ValueError: if a column is missing, or the table has no line of a clip.
    """
    with open(path, newline='') as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ())
        if column not in columns:
            raise ValueError(f'{path} has no column {column!r}; it has {", ".join(sorted(columns))}')
        known = {_clip_id(row, columns, path): row[column] for row in reader}
    missing = [one for one in ids if one not in known]
    if missing:
        raise ValueError(
            f'{path} has no line of clip {missing[0]!r} ({len(missing)} of {len(ids)} are missing); its first'
            f' clip is {next(iter(known), None)!r}. Give the table of this split, or a pattern on the ids'
        )
    return [known[one] for one in ids]


def _clip_id(row: dict[str, str], columns: set[str], path: str | PathLike[str]) -> str:
    for name in ('id', 'video_id'):
        if name in columns:
            return row[name]
    if {'youtube_id', 'time_start', 'time_end'} <= columns:
        start, end = (int(float(row[name])) for name in ('time_start', 'time_end'))
        return f'{row["youtube_id"]}_{start:06d}_{end:06d}'
    raise ValueError(
        f'{path} does not say which clip a line is of; it needs a column id, or youtube_id, time_start and'
        f' time_end, and has {", ".join(sorted(columns))}'
    )


def sources_by_pattern(ids: Sequence[str], pattern: str) -> list[str]:
    """The source of each clip by a regular expression: its first group, or without groups what it matches, at
    the start of the id.

    Args:
        ids: N ids of clips.
        pattern: e.g. ``r'(.+)_\\d+_\\d+$'`` for the videos that Kinetics clips are from.

    Raises:
        ValueError: if the pattern is none, or an id does not match it.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{pattern!r} is no regular expression: {error}') from error
    found = [compiled.match(one) for one in ids]
    for one, match in zip(ids, found, strict=True):
        if match is None:
            raise ValueError(f'clip {one!r} does not match the pattern {pattern!r} of its source')
    return [match[1 if compiled.groups else 0] for match in found if match is not None]
