"""UCF101 and HMDB51, which come with three official splits into training and test clips.

UCF101, the folder ``ucfTrainTestlist``::

    classInd.txt       1 ApplyEyeMakeup                                  numbers from 1
    trainlist01.txt    ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    testlist01.txt     ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi       the folder is the class

HMDB51, the folder ``testTrainMulti_7030_splits``, a file for each class and split::

    brush_hair_test_split1.txt    April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1    1 trains, 2 tests, 0 neither

The test clips are the split ``val``: neither set has another to validate on, and results on them are what
papers print.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.annotations.folder import FolderClip
from data_prep.common.listing import (
    AnnotationError,
    Listing,
    check_classes,
    check_counts,
    count_splits,
    find_file,
    leaked,
    text_lines,
    whole_number,
)

__all__ = ['OFFICIAL_SPLITS', 'PUBLISHED_HMDB51', 'PUBLISHED_UCF101', 'read_hmdb51', 'read_ucf101']

OFFICIAL_SPLITS = (1, 2, 3)
PUBLISHED_UCF101 = {
    1: {'train': 9_537, 'val': 3_783},
    2: {'train': 9_586, 'val': 3_734},
    3: {'train': 9_624, 'val': 3_696},
}
PUBLISHED_HMDB51 = {'train': 3_570, 'val': 1_530}
UCF101_FOLDERS = ('', 'ucfTrainTestlist/')
HMDB51_FOLDERS = ('', 'testTrainMulti_7030_splits/')
USES = {'0': None, '1': 'train', '2': 'val'}


# ----------------------------------------------------------------------------------------------------- UCF101


def read_ucf101(annotations: Path, number: int) -> Listing:
    """Read one of the three splits of UCF101.

    Args:
        annotations: ``ucfTrainTestlist``, or the folder that holds it.
        number: 1, 2 or 3.

    Returns:
        Clips of type :class:`~data_prep.annotations.folder.FolderClip`, whose ids are the paths as listed;
        classes in the order of classInd.txt, counted from 0.

    Raises:
        ValueError: if there is no split of that number.
        AnnotationError: naming file, line, value and remedy.
    """
    _check_number(number)
    classes = _ucf101_classes(find_file(annotations, [f'{folder}classInd.txt' for folder in UCF101_FOLDERS]))
    clips = [
        clip
        for split, stem in (('train', 'trainlist'), ('val', 'testlist'))
        for clip in _ucf101_clips(
            find_file(annotations, [f'{folder}{stem}{number:02d}.txt' for folder in UCF101_FOLDERS]),
            split,
            classes,
        )
    ]
    return _checked(classes, 'classInd.txt', clips, PUBLISHED_UCF101[number], 101, _ucf101_group)


def _check_number(number: int) -> None:
    if number not in OFFICIAL_SPLITS:
        raise ValueError(f'split is {number!r}; the official ones are 1, 2 and 3')


def _ucf101_classes(file: Path) -> tuple[str, ...]:
    names: dict[str, int] = {}
    for line, text in text_lines(file):
        number, _, name = text.partition(' ')
        name = name.strip()
        if not name or whole_number(number) != len(names) + 1:
            raise AnnotationError(
                f'{file}:{line}: {text!r} is not "{len(names) + 1} <class>"; classes are numbered from 1, one'
                ' a line: download the file again'
            )
        if name in names:
            raise AnnotationError(
                f'{file}:{line}: class {name!r} stands on line {names[name]} already; remove one'
            )
        names[name] = line
    if not names:
        raise AnnotationError(f'{file}:1: lists no class; download the file again')
    return tuple(names)


def _ucf101_clips(file: Path, split: str, classes: tuple[str, ...]) -> Iterator[FolderClip]:
    numbers = {name: number for number, name in enumerate(classes)}
    lines: dict[str, int] = {}
    for line, text in text_lines(file):
        path, _, label = text.partition(' ')
        name, _, clip = path.partition('/')
        if not clip:
            raise AnnotationError(f'{file}:{line}: {text!r} is no path <class>/<clip>; correct the line')
        if name not in numbers:
            raise AnnotationError(
                f'{file}:{line}: {name!r} is none of the {len(classes)} classes of classInd.txt; take both'
                ' files from one download'
            )
        if label and whole_number(label.strip()) != numbers[name] + 1:
            raise AnnotationError(
                f'{file}:{line}: the label of {path!r} is {label.strip()!r}, but {name} is class'
                f' {numbers[name] + 1} of classInd.txt; take both files from one download'
            )
        if split == 'train' and not label:
            raise AnnotationError(f'{file}:{line}: {text!r} has no label, as lines of a list to train on do')
        _only_once(file, line, path, lines)
        yield FolderClip(split, path, numbers[name], str(file), line, 'video')
    _check_some(file, lines)


def _ucf101_group(path: str) -> str:
    """What clips of one recording have in common: ``v_ApplyEyeMakeup_g08``."""
    return re.sub(r'_c\d+\.\w+$', '', path)


# ----------------------------------------------------------------------------------------------------- HMDB51


def read_hmdb51(annotations: Path, number: int) -> Listing:
    """Read one of the three splits of HMDB51.

    Args:
        annotations: ``testTrainMulti_7030_splits``, or the folder that holds it.
        number: 1, 2 or 3.

    Returns:
        Clips of type :class:`~data_prep.annotations.folder.FolderClip`, with ids ``<class>/<clip>.avi``;
        classes sorted. Clips that the split uses for nothing are not listed, and counted in a warning.

    Raises:
        ValueError: if there is no split of that number.
        AnnotationError: naming file, line, value and remedy.
    """
    _check_number(number)
    ending = f'_test_split{number}.txt'
    folder = next(
        (annotations / folder for folder in HMDB51_FOLDERS if any((annotations / folder).glob(f'*{ending}'))),
        None,
    )
    if folder is None:
        raise AnnotationError(
            f'{annotations}: holds no <class>{ending}, nor does a folder testTrainMulti_7030_splits in it;'
            ' name the folder that does (test_train_splits.rar, unpacked)'
        )
    files = {file.name.removesuffix(ending): file for file in sorted(folder.glob(f'*{ending}'))}
    classes = tuple(files)
    clips: list[FolderClip] = []
    unused = 0
    for label, (name, file) in enumerate(files.items()):
        lines: dict[str, int] = {}
        for line, text in text_lines(file):
            clip, _, use = text.rpartition(' ')
            clip = clip.strip()
            if not clip or use not in USES:
                raise AnnotationError(
                    f'{file}:{line}: {text!r} is not "<clip>.avi 0", 1 or 2 (1 trains, 2 tests, 0 neither);'
                    ' correct the line or download the lists again'
                )
            _only_once(file, line, clip, lines)
            split = USES[use]
            if split is None:
                unused += 1
            else:
                clips.append(FolderClip(split, f'{name}/{clip}', label, str(file), line, 'video'))
        _check_some(file, lines)
    listing = _checked(classes, 'sorted', clips, PUBLISHED_HMDB51, 51)
    if unused:
        listing.warnings.append(
            f'{unused} clips are neither of the training nor of the test part of split {number}, as the'
            ' lists say; they are left out'
        )
    return listing


# ------------------------------------------------------------------------------------------------------- both


def _only_once(file: Path, line: int, clip: str, lines: dict[str, int]) -> None:
    if lines.setdefault(clip, line) != line:
        raise AnnotationError(
            f'{file}:{line}: {clip!r} stands on line {lines[clip]} already; remove one of them'
        )


def _check_some(file: Path, lines: dict[str, int]) -> None:
    if not lines:
        raise AnnotationError(f'{file}:1: lists no clip; download the lists again')


def _checked(classes, order, clips, expected, expected_classes, group=lambda path: path) -> Listing:
    official = count_splits(clip.split for clip in clips)
    return Listing(
        classes,
        order,
        clips,
        official,
        dict(expected),
        [
            *check_counts(official, expected, len(classes), expected_classes),
            *leaked(((clip.split, group(clip.id)) for clip in clips), 'groups of clips'),
            *check_classes(classes, clips),
        ],
    )
