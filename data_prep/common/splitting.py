"""Training, validation and test clips of class folders that have no splits.

Within each class the clips, or groups of clips, are put in the order of a hash of their names; the first
share of them validates, the last share tests, and the rest trains. So nothing but the names decides: not the
machine, not the order in which files are found, not a seed.

What holds when clips come or go: the order of the others stays. A class whose groups are its own gains or
loses by a new clip (or group) at most one validation clip and one test clip, so at most one other clip moves
between training and validation and one between training and test, and other classes stay as they are. Where
groups span classes that is what mostly happens, not what must.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from data_prep.common.listing import AnnotationError, count_splits, some

__all__ = ['Divided', 'Division', 'divide', 'divide_groups', 'group_of', 'numbers_of']


@dataclass(frozen=True)
class Division:
    """How clips are divided.

    Attributes:
        val, test: shares of the clips (or groups) of each class, in (0, 1); ``test`` may be 0, for none.
        group: clips stay together in whose path it finds the same text, of its group named ``group``, or
            else of its first group; None: each clip stands alone.

    Raises:
        ValueError: if a share is not in its range, both leave nothing to train on, or ``group`` has no
            capturing group.
    """

    val: float
    test: float = 0.0
    group: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.val < 1:
            raise ValueError(f'the share of validation clips is {self.val}; give one between 0 and 1, as 0.2')
        if not 0 <= self.test < 1:
            raise ValueError(f'the share of test clips is {self.test}; give one between 0 and 1, as 0.1')
        if _exactly(self.val) + _exactly(self.test) >= 1:
            raise ValueError(
                f'the shares of validation and test clips are {self.val} and {self.test}, which leaves'
                ' nothing to train on; give shares that add up to less than 1'
            )
        if self.group is not None and not self.group.groups:
            raise ValueError(
                f'the pattern {self.group.pattern!r} has no group; put what clips have in common in'
                ' parentheses, as ([^/_]+)_'
            )


class Divided(NamedTuple):
    """Clips with their splits.

    Attributes:
        splits: path -> ``'train'``, ``'val'`` or ``'test'``.
        groups: split -> groups in it; empty if each clip stands alone.
        warnings: which classes have no validation clip, or no test clip.
    """

    splits: dict[str, str]
    groups: dict[str, int]
    warnings: list[str]


def divide(clips: Mapping[str, str], division: Division) -> Divided:
    """Give every clip its split.

    Args:
        clips: path, relative to the folder of videos -> class.
        division: the shares, and what stays together.

    Raises:
        AnnotationError: naming the path in which the pattern of groups finds nothing; or if no class has a
            clip to validate on.
    """
    groups = {path: group_of(path, division.group) for path in clips}
    classes: dict[str, set[str]] = {}
    for path, name in clips.items():
        classes.setdefault(groups[path], set()).add(name)
    splits = divide_groups(classes, division.val, division.test)
    what = 'clips' if division.group is None else 'groups'
    if 'val' not in splits.values():
        raise AnnotationError(
            f'none of {len(set(clips.values()))} classes has two {what}, so none is left to validate on;'
            + (' add clips' if division.group is None else ' add clips, or give a pattern that parts them')
        )
    return Divided(
        {path: splits[group] for path, group in groups.items()},
        {} if division.group is None else count_splits(splits.values()),
        list(_warnings(classes, splits, what, tests=division.test > 0)),
    )


def group_of(path: str, pattern: re.Pattern[str] | None) -> str:
    """The name of a clip's group; its path without a pattern.

    Raises:
        AnnotationError: if the pattern finds nothing in the path.
    """
    if pattern is None:
        return unicodedata.normalize('NFC', path)
    found = pattern.search(path)
    name = found and found['group' if 'group' in pattern.groupindex else 1]
    if not name:
        raise AnnotationError(
            f'{path}: the pattern of groups, {pattern.pattern!r}, finds '
            + ('nothing in this path' if found is None else 'no text for the group in this path')
            + '; give one that fits every clip'
        )
    return unicodedata.normalize('NFC', name)


def divide_groups(classes: Mapping[str, Iterable[str]], val: float, test: float = 0.0) -> dict[str, str]:
    """The split of every group.

    Classes are dealt with in turn, those with the fewest groups first. What an earlier class has decided of a
    group that spans both counts for the later one, which decides about the rest.

    Args:
        classes: group -> the classes that it has clips of.
        val, test: shares of the groups of a class.
    """
    members: dict[str, list[str]] = {}
    for group in sorted(classes, key=_place):
        for name in classes[group]:
            members.setdefault(name, []).append(group)
    splits: dict[str, str] = {}
    for name in sorted(members, key=lambda name: (len(members[name]), name)):
        decided = count_splits(splits[group] for group in members[name] if group in splits)
        free = [group for group in members[name] if group not in splits]
        to_part = len(free) if 'train' in decided else max(0, len(free) - 1)  # one is left to train on
        wanted = numbers_of(len(members[name]), val, test)
        to_val = min(to_part, max(0, wanted[0] - decided.get('val', 0)))
        to_test = min(to_part - to_val, max(0, wanted[1] - decided.get('test', 0)))
        last = len(free) - to_test
        splits |= dict.fromkeys(free[:to_val], 'val')
        splits |= dict.fromkeys(free[to_val:last], 'train')
        splits |= dict.fromkeys(free[last:], 'test')
    return splits


def numbers_of(groups: int, val: float, test: float = 0.0) -> tuple[int, int]:
    """How many of the ``groups`` of a class validate and test: their shares, halves rounded up.

    Of two or more one validates at least, of three or more one tests if any are to, and one always trains.
    """
    tests = test > 0 and groups > 2
    to_val = min(max(1, _share(val, groups)), max(0, groups - 1 - tests))
    to_test = min(max(1, _share(test, groups)), groups - 1 - to_val) if tests else 0
    return to_val, to_test


def _share(share: float, count: int) -> int:
    return math.floor(_exactly(share) * count + Fraction(1, 2))


def _exactly(share: float) -> Fraction:
    """The decimal number that was written: 0.29 of 50 are 14.5, which floats miss."""
    return Fraction(repr(float(share)))


def _place(group: str) -> tuple[str, str]:
    """Where a group stands in the order of all that there could be."""
    return hashlib.sha256(group.encode(errors='surrogateescape')).hexdigest(), group


def _warnings(
    classes: Mapping[str, Iterable[str]], splits: Mapping[str, str], what: str, tests: bool
) -> Iterable[str]:
    names = sorted({name for some_names in classes.values() for name in some_names})
    for split, title, needed in (('val', 'validation', 'two'), ('test', 'test', 'three'))[: 1 + tests]:
        there = {name for group, home in splits.items() if home == split for name in classes[group]}
        lacking = [name for name in names if name not in there]
        if lacking:
            yield (
                f'{len(lacking)} of {len(names)} classes have no {title} clip (that takes {needed} {what}'
                f'{"" if what == "clips" else " that other classes leave free"}): {some(lacking)}'
            )
