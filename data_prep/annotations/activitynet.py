"""ActivityNet and FCVID, whose videos may show several classes.

    activity_net.v1-3.min.json                     the official annotation of ActivityNet-1.3
    actnet_train_split.txt, actnet_val_split.txt   v_sJFgo9H6zNo,2813,83      folder,frames,label[,label…]
    fcvid_train_split.txt, fcvid_val_split.txt     the same form
    classInd.txt                                   a class a line, in label order

The lists are those of AR-Net (Meng et al., ECCV 2020), which AdaFocus (Wang et al., ICCV 2021) uses, too.
Their numbers of frames are of frames that others extracted, and are not used. A clip is a whole video and
has all classes that it shows; or, of the official annotation, an annotated part of one, with its class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.common.listing import (
    SPLIT_WORDS,
    AnnotationError,
    Found,
    Indexed,
    Listed,
    Listing,
    check_classes,
    check_counts,
    count_splits,
    find_file,
    given,
    leaked,
    missing,
    read_class_list,
    text_lines,
    whole_number,
)

__all__ = ['PUBLISHED', 'has_lists', 'match', 'read_annotation', 'read_lists']

PUBLISHED = {'train': 10_024, 'val': 4_926, 'test': 5_044}
"""Videos of ActivityNet-1.3."""
PUBLISHED_CLASSES = 200
OFFICIAL = ('activity_net.v1-3.min.json', 'activity_net.v1-3.json')
CLASSES = ('classInd.txt',)


# ------------------------------------------------------------------------------------------- lists of AR-Net


def read_lists(folder: Path, stem: str) -> Listing:
    """The lists ``<stem>_train_split.txt`` and ``<stem>_val_split.txt`` in ``folder``, and ``classInd.txt``.

    Raises:
        AnnotationError: naming file, line and value.
    """
    classes = read_class_list(_needed(folder, CLASSES))
    files = {split: _needed(folder, (f'{stem}_{split}_split.txt',)) for split in ('train', 'val')}
    clips = [clip for split, file in files.items() for clip in _listed(file, split, len(classes))]
    return _listing(classes, 'file', clips)


def has_lists(folder: Path, stem: str) -> bool:
    """Whether AR-Net's lists lie in ``folder``."""
    return find_file(folder, (f'{stem}_train_split.txt',), required=False) is not None


def _listed(file: Path, split: str, num_classes: int) -> Iterator[Listed]:
    seen: dict[str, int] = {}
    for line, text in text_lines(file):
        # a title, of which the name may be made, may hold commas: the numbers stand at the end
        parts = text.split(',')
        numbers: list[int] = []
        while len(parts) > 1 and (number := whole_number(parts[-1].strip())) is not None:
            numbers.insert(0, number)
            parts.pop()
        name = ','.join(parts).strip()
        if len(numbers) < 2 or not name:
            raise AnnotationError(
                f'{file}:{line}: {text!r} is not folder,frames,label with one label or more; correct the line'
            )
        labels = tuple(sorted(set(numbers[1:])))
        if labels[-1] >= num_classes:
            raise AnnotationError(
                f'{file}:{line}: label {labels[-1]} of {name!r} is outside 0..{num_classes - 1}; classInd.txt'
                f' lists {num_classes} classes'
            )
        if name in seen:
            raise AnnotationError(f'{file}:{line}: {name!r} stands on line {seen[name]} already; remove one')
        seen[name] = line
        yield Listed(split, name, None, str(file), line, labels=labels)


# ------------------------------------------------------------------------------------ the official annotation


def read_annotation(folder: Path, segments: bool = False) -> Listing:
    """The official annotation of ActivityNet-1.3 in ``folder``; classes in the order of ``classInd.txt`` if
    it lies beside it, else sorted.

    Args:
        segments: every annotated part of a video is a clip, with its class; else every video is one.

    Raises:
        AnnotationError: naming the file and what is wrong.
    """
    file = _needed(folder, OFFICIAL)
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        videos: Mapping[str, Any] = content['database']
        named = {one['label'] for video in videos.values() for one in video['annotations']}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f'{file}: not the annotation of ActivityNet, {{"database": {{ID: {{"subset", "annotations"}}}}}}'
            f' ({type(error).__name__}: {error}); download it again'
        ) from error
    listed = find_file(folder, CLASSES, required=False)
    classes = tuple(sorted(named)) if listed is None else read_class_list(listed)
    unknown = sorted(named - set(classes))
    if unknown:
        raise AnnotationError(f'{listed}: does not list {unknown[0]!r}, which {file.name} names; correct it')
    numbers = {name: number for number, name in enumerate(classes)}
    clips: list[Listed] = []
    warnings: list[str] = []
    without = 0
    for name, video in videos.items():
        split = SPLIT_WORDS.get(str(video.get('subset')))
        if split is None:
            raise AnnotationError(
                f'{file}: the subset of {name!r} is {video.get("subset")!r}; expected training, validation or'
                ' testing'
            )
        annotations = video['annotations']
        if not annotations and split != 'test':
            without += 1
        elif segments and annotations:
            clips += _parts(file, split, f'v_{name}', annotations, numbers)
        else:
            labels = tuple(sorted({numbers[one['label']] for one in annotations}))
            clips.append(Listed(split, f'v_{name}', None, str(file), labels=labels))
    if without:
        warnings.append(f'{without} videos outside the test split show no class, and are left out')
    listing = _listing(classes, 'sorted' if listed is None else 'file', clips)
    listing.warnings[:0] = warnings
    if not segments:
        listing.expected.update(PUBLISHED)
        listing.warnings += check_counts(listing.official, PUBLISHED, len(classes), PUBLISHED_CLASSES)
    return listing


def _parts(
    file: Path, split: str, name: str, annotations: Sequence[Mapping[str, Any]], numbers: Mapping[str, int]
) -> Iterator[Listed]:
    for place, one in enumerate(annotations):
        try:
            start, end = (float(second) for second in one['segment'])
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f'{file}: annotation {place} of {name!r} has the segment {one.get("segment")!r}; expected two'
                ' numbers, seconds'
            ) from error
        start = max(0.0, start)
        if not start < end < float('inf'):
            raise AnnotationError(
                f'{file}: annotation {place} of {name!r} is from {start:g} s to {end:g} s; its end comes'
                ' after its start'
            )
        label = numbers[one['label']]
        yield Listed(split, f'{name}_{place:03d}', label, str(file), part=(start, end))


# ----------------------------------------------------------------------------------------------------- match


def match(listing: Listing, found: Found) -> Iterator[Indexed]:
    """Give every clip the video, or folder of images, with the name that it is listed by, at any depth."""
    for clip in listing.clips:
        name = clip.id.rsplit('/', 1)[-1]
        if clip.part is not None:
            name = name.rpartition('_')[0]
        stem = name.rpartition('.')[0] if name.lower().endswith(('.mp4', '.mkv', '.webm')) else name
        kind = next((kind for kind in ('video', 'frames') if stem in found.named(kind)), None)
        if kind is None:
            yield missing(clip, f'no video {stem}.* and no folder of images {stem} is there; get the file')
        elif kind == 'frames' and clip.part is not None:
            yield missing(clip, f'{stem} is a folder of images, which has no times; get the video')
        else:
            yield given(clip, found.named(kind)[stem], kind, None)


def _listing(classes: tuple[str, ...], order: str, clips: list[Listed]) -> Listing:
    return Listing(
        classes,
        order,
        clips,
        count_splits(clip.split for clip in clips),
        warnings=[
            *leaked(((clip.split, clip.id) for clip in clips), 'videos'),
            *check_classes(classes, clips),
        ],
    )


def _needed(folder: Path, names: Sequence[str]) -> Path:
    file = find_file(folder, names)
    assert file is not None  # required
    return file
