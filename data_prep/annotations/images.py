"""Pictures in the folders of ImageNet::

    train/n01440764/n01440764_10026.JPEG    <split>/<class>/<picture>
    val/n01440764/ILSVRC2012_val_00000293.JPEG
    val/ILSVRC2012_val_00000293.JPEG        or val as it is downloaded, with a list of the classes

The list is ``LOC_val_solution.csv`` of Kaggle (``ImageId,PredictionString``, whose first word is the class),
or a text, ``ILSVRC2012_val_00000293.JPEG n01440764`` or ``… 0`` a line; numbers count the sorted class
folders from 0, as those of Caffe's and PyTorch's lists do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_prep.annotations import folder
from data_prep.annotations.folder import FolderClip
from data_prep.common.listing import (
    SPLIT_WORDS,
    AnnotationError,
    Found,
    Listing,
    check_classes,
    columns_of,
    count_splits,
    csv_rows,
    some,
    text_lines,
    whole_number,
)
from data_prep.common.splitting import Division

__all__ = ['read_listing', 'read_val_list']

KAGGLE = ('ImageId', 'PredictionString')


def read_listing(
    found: Found, val_list: Path | None = None, split: str | None = None, division: Division | None = None
) -> Listing:
    """The pictures of ``<split>/<class>/<picture>``, of ``<class>/<picture>`` with their split or how they
    are divided, and of a flat folder ``val``.

    Args:
        val_list: which class each picture of the folder ``val`` has.
        split, division: of class folders without splits, as for
            :func:`~data_prep.annotations.folder.read_folders`.

    Returns:
        Clips of kind ``'image'``; classes are the names of the folders, sorted. Pictures right below ``test``
        have no label.

    Raises:
        AnnotationError: naming what does not fit, and the remedy.
    """
    if split is not None or division is not None:
        return folder.read_folders(found, split, division)
    flat: dict[str, list[str]] = {}
    for paths in found.images.values():
        for path in paths:
            home, _, name = path.partition('/')
            if '/' not in name and home.lower() in SPLIT_WORDS:
                flat.setdefault(SPLIT_WORDS[home.lower()], []).append(path)
    if flat.get('train'):
        raise AnnotationError(
            f'{some(sorted(flat["train"]))}: pictures to train on stand in a folder of their class,'
            ' train/<class>; move them'
        )
    if flat.get('val') and val_list is None:
        raise AnnotationError(
            f'{len(flat["val"])} pictures stand right below the folder {flat["val"][0].partition("/")[0]},'
            ' in no folder of a class; give the list of their classes with --val-list'
        )
    if val_list is not None and not flat.get('val'):
        raise AnnotationError(
            f'{val_list}: no picture stands right below a folder val, which the list is for; leave it out'
        )
    loose = {path for paths in flat.values() for path in paths}
    listing = folder.read_folders(_without(found, loose))
    clips = [*listing.clips]
    if val_list is not None:
        numbers = {name: number for number, name in enumerate(listing.classes)}
        clips += read_val_list(val_list, numbers)
    clips += [FolderClip('test', path, None, path, 1, 'image') for path in sorted(flat.get('test', ()))]
    listing.clips, listing.official = clips, count_splits(clip.split for clip in clips)
    listing.warnings = [*listing.warnings, *check_classes(listing.classes, clips)]
    listing.warnings = list(dict.fromkeys(listing.warnings))
    return listing


def _without(found: Found, loose: set[str]) -> Found:
    kept = {name: [path for path in paths if path not in loose] for name, paths in found.images.items()}
    return Found(found.videos, found.folders, {name: paths for name, paths in kept.items() if paths})


def read_val_list(file: Path, numbers: dict[str, int]) -> Iterator[FolderClip]:
    """The pictures that a list gives a class.

    Args:
        numbers: class -> label.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    lines: dict[str, int] = {}
    for line, name, said in _kaggle(file) if file.suffix.lower() == '.csv' else _text(file):
        label = numbers.get(said, whole_number(said))
        if label is None or label >= len(numbers):
            raise AnnotationError(
                f'{file}:{line}: the class of {name!r} is {said!r}, no name of a class folder of train and no'
                f' number from 0 to {len(numbers) - 1}; give the list that belongs to these folders'
            )
        if lines.setdefault(name, line) != line:
            raise AnnotationError(f'{file}:{line}: {name!r} stands on line {lines[name]} already; remove one')
        yield FolderClip('val', name, label, str(file), line, 'image')
    if not lines:
        raise AnnotationError(f'{file}:1: lists no picture; give a list with one a line')


def _text(file: Path) -> Iterator[tuple[int, str, str]]:
    for line, text in text_lines(file):
        name, _, said = text.rpartition(' ')
        if not name:
            raise AnnotationError(
                f'{file}:{line}: {text!r} is not "<picture> <class>"; a list of numbers alone, as'
                ' ILSVRC2012_validation_ground_truth.txt, has an order of its own: use LOC_val_solution.csv'
            )
        yield line, name.strip(), said


def _kaggle(file: Path) -> Iterator[tuple[int, str, str]]:
    rows = csv_rows(file)
    line, header = next(rows, (1, []))
    known = tuple(name.lower() for name in KAGGLE)
    at = columns_of(file, line, header, known, known)
    for line, fields in rows:
        if len(fields) != len(header) or not fields[at[known[1]]]:
            raise AnnotationError(f'{file}:{line}: {",".join(fields)!r} is not ImageId,PredictionString')
        yield line, fields[at[known[0]]], fields[at[known[1]]].split()[0]
