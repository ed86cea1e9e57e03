"""Something-Something V1 and Jester: text files with ``;`` between fields, no header, and no quotes needed.

    something-something-v1-labels.csv        Holding something            one class a line, not sorted
    something-something-v1-train.csv         100218;Something falling     labels may hold , ' and (
    something-something-v1-validation.csv    the same form
    something-something-v1-test.csv          100219

Jester's are ``jester-v1-*.csv``. Later copies leave out the prefix, put the files in a folder ``labels`` and
bring ``test-answers.csv`` (``id;label``). Clips are folders of images named ``<id>``, or videos of that name.

Tools number the classes in two ways, and on Something-Something V1 173 of the 174 numbers differ: TSM and
AdaFocus sort the names, MMAction2 takes the order of the labels file. Sorted is the default here; it equals
the numbers of Something-Something V2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from data_prep.common.listing import (
    AnnotationError,
    Found,
    Indexed,
    Listed,
    Listing,
    check_classes,
    check_counts,
    count_splits,
    find_file,
    leaked,
    match_names,
    read_class_list,
    some,
    text_lines,
    unquoted,
)

__all__ = [
    'LABEL_ORDERS',
    'PUBLISHED',
    'PUBLISHED_CLASSES',
    'match',
    'read_answers',
    'read_listing',
    'with_published',
]

PUBLISHED = {
    'something-something-v1': {'train': 86_017, 'val': 11_522, 'test': 10_960},
    'jester-v1': {'train': 118_562, 'val': 14_787, 'test': 14_743},
}
PUBLISHED_CLASSES = {'something-something-v1': 174, 'jester-v1': 27}
LABEL_ORDERS = ('sorted', 'file')
COUNTS = ('warn', 'assert', 'ignore')


def names(dataset: str, stem: str) -> list[str]:
    """Where the annotation file ``stem`` may stand."""
    return [f'{folder}{prefix}{stem}.csv' for folder in ('', 'labels/') for prefix in (f'{dataset}-', '')]


def rows_of(file: Path, numbers: Mapping[str, int], label_needed: bool) -> dict[str, tuple[int | None, int]]:
    """``id -> (label, line)`` of the lines ``id;label``, in the file's order; where no label is needed, None
    stands for an absent one."""
    rows: dict[str, tuple[int | None, int]] = {}
    for line, text in text_lines(file):
        clip, _, label = (part.strip() for part in text.partition(';'))
        clip, label = unquoted(clip), unquoted(label)
        if not re.fullmatch('[0-9]+', clip):
            raise AnnotationError(
                f'{file}:{line}: the id is {clip!r}, expected digits; a line is "id;label", without a header'
            )
        if clip in rows:
            raise AnnotationError(
                f'{file}:{line}: clip {clip!r} stands on line {rows[clip][1]} already; remove one'
            )
        if not label and label_needed:
            raise AnnotationError(
                f'{file}:{line}: clip {clip!r} has no label ({text!r}); a line is "id;label"'
            )
        if label and label not in numbers:
            raise AnnotationError(
                f'{file}:{line}: label {label!r} of clip {clip!r} is none of the {len(numbers)} classes; this'
                ' file and the labels file must be of the same version'
            )
        rows[clip] = numbers[label] if label else None, line
    if not rows:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')
    return rows


def read_answers(file: Path, numbers: Mapping[str, int], listed: Mapping[str, int | None]) -> dict[str, int]:
    """``id -> label`` of ``test-answers.csv``, lines ``id;label``.

    Args:
        listed: the clips of the test split with the label that the test file itself tells, or None.

    Raises:
        AnnotationError: naming file and line if a clip is not listed or the test file tells another label.
    """
    answers = rows_of(file, numbers, label_needed=True)
    for clip, (label, line) in answers.items():
        if clip not in listed:
            raise AnnotationError(
                f'{file}:{line}: clip {clip!r} is not in the test list; the two files must be of the same'
                ' version'
            )
        if listed[clip] not in (None, label):
            raise AnnotationError(
                f'{file}:{line}: the label of clip {clip!r} has the number {label}, in the test list'
                f' {listed[clip]}; correct one'
            )
    return {clip: label for clip, (label, _) in answers.items()}


def unanswered(clips: list[Listed]) -> list[str]:
    """A warning if some test clips have a label and others have none."""
    without = [clip.id for clip in clips if clip.split == 'test' and clip.label is None]
    tested = sum(clip.split == 'test' for clip in clips)
    return (
        [f'{len(without)} of {tested} test clips have no answer: {some(without)}']
        if 0 < len(without) < tested
        else []
    )


def with_published(
    annotations: Path, listing: Listing, published: Mapping[str, int], classes: int, counts: str
) -> Listing:
    """Compare the listing with the published counts: ``'warn'``, ``'assert'`` (raise) or ``'ignore'`` (a set
    of your own in this form)."""
    if counts not in COUNTS:
        raise ValueError(f'counts is {counts!r}; use one of {", ".join(COUNTS)}')
    if counts == 'ignore':
        return listing
    faults = check_counts(listing.official, published, len(listing.classes), classes)
    if faults and counts == 'assert':
        raise AnnotationError(
            f'{annotations}: {"; ".join(faults)}; download the annotation again, or do not assert its counts'
        )
    listing.expected = dict(published)
    listing.warnings[:0] = faults
    return listing


def read_listing(
    annotations: Path,
    dataset: str = 'something-something-v1',
    *,
    label_order: str = 'sorted',
    counts: str = 'warn',
) -> Listing:
    """Read the annotation of Something-Something V1 or Jester, or of clips in their form.

    Args:
        annotations: the folder of the files, or the one that holds their folder ``labels``.
        dataset: ``'something-something-v1'`` or ``'jester-v1'``; the prefix of the files.
        label_order: how classes are numbered: ``'sorted'`` by name, or as in the labels ``'file'``.
        counts: what to do when the published counts are not met: ``'warn'``, ``'assert'``, or ``'ignore'``
            them.

    Returns:
        Train, validation and, if its file is there, test clips; labels of the test clips from
        ``test-answers.csv``, None without it.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    if dataset not in PUBLISHED:
        raise ValueError(f'dataset is {dataset!r}; use one of {", ".join(PUBLISHED)}')
    if label_order not in LABEL_ORDERS:
        raise ValueError(f'label_order is {label_order!r}; use one of {", ".join(LABEL_ORDERS)}')
    classes = read_class_list(find_file(annotations, names(dataset, 'labels')))
    classes = tuple(sorted(classes)) if label_order == 'sorted' else classes
    numbers = {name: number for number, name in enumerate(classes)}
    clips = [
        Listed(split, clip, label, str(file), line)
        for split, stem in (('train', 'train'), ('val', 'validation'))
        for file in (find_file(annotations, names(dataset, stem)),)
        for clip, (label, line) in rows_of(file, numbers, label_needed=True).items()
    ]
    clips += clips_of_test(annotations, dataset, numbers)
    listing = Listing(classes, label_order, clips, count_splits(clip.split for clip in clips))
    listing.warnings = [
        *leaked(((clip.split, clip.id) for clip in clips), 'clip ids'),
        *unanswered(clips),
        *check_classes(classes, clips),
    ]
    return with_published(annotations, listing, PUBLISHED[dataset], PUBLISHED_CLASSES[dataset], counts)


def clips_of_test(annotations: Path, dataset: str, numbers: Mapping[str, int]) -> list[Listed]:
    answers_file = find_file(annotations, names(dataset, 'test-answers'), required=False)
    file = find_file(annotations, names(dataset, 'test'), required=answers_file is not None)
    if file is None:
        return []
    rows = rows_of(file, numbers, label_needed=False)
    told = {clip: label for clip, (label, _) in rows.items()}
    answers = {} if answers_file is None else read_answers(answers_file, numbers, told)
    return [
        Listed('test', clip, answers.get(clip, label), str(file), line)
        for clip, (label, line) in rows.items()
    ]


def match(listing: Listing, found: Found) -> Iterator[Indexed]:
    """Give every clip its folder of images ``<id>``, at any depth, or else a video of that name; in the order
    of the listing."""
    return match_names(listing, found, ('frames', 'video'))
