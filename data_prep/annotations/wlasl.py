"""WLASL, signs of American Sign Language: ``WLASL_v0.3.json``, or one of its subsets, ``nslt_100.json``::

    [{"gloss": "book", "instances": [{"bbox": [385, 37, 885, 720], "fps": 25, "frame_end": -1,
      "frame_start": 1, "instance_id": 0, "signer_id": 118, "source": "aslbrick", "split": "train",
      "url": "https://www.youtube.com/watch?v=0AbCd_ex0m1", "variation_id": 0, "video_id": "69241"}, …]}, …]

    {"05237": {"subset": "train", "action": [77, 1, 55]}, …}     nslt_100.json: label, first and last frame

An instance lies in a file of its own, named by its ``video_id``, which holds nothing else; or in a video of
YouTube, named by the id at the end of ``url``, from frame ``frame_start`` to ``frame_end``, counted from 1
(-1: to the end). The subsets number the glosses as the whole list does, and take the first 100, 300, 1000 or
2000.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.annotations.something_v2 import elements
from data_prep.common.cutting import Part, PartClip
from data_prep.common.listing import (
    SPLIT_WORDS,
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

__all__ = ['PUBLISHED', 'VERSIONS', 'read_listing']

PUBLISHED = {'v0.3': 21_083, 'nslt_100': 2_038, 'nslt_300': 5_117, 'nslt_1000': 13_168, 'nslt_2000': 21_083}
VERSIONS = tuple(PUBLISHED)
GLOSSES = {'v0.3': 2000, 'nslt_100': 100, 'nslt_300': 300, 'nslt_1000': 1000, 'nslt_2000': 2000}


def read_listing(annotations: Path, version: str) -> Listing:
    """Read ``WLASL_v0.3.json``, or a subset with the names of its glosses.

    Args:
        annotations: folder of the JSON files; a subset needs ``WLASL_v0.3.json`` beside it, or
            ``wlasl_class_list.txt``, for the names. Without the former, clips have no address to tell the
            video of YouTube by, and are found by ``video_id`` alone.
        version: one of ``VERSIONS``.

    Returns:
        Clips of type :class:`~data_prep.common.cutting.PartClip`, whose ids are ``video_id``; classes in the
        order of the list.

    Raises:
        AnnotationError: naming file, line, value and remedy.
    """
    if version not in VERSIONS:
        raise ValueError(f'version is {version!r}; use one of {", ".join(VERSIONS)}')
    whole = find_file(annotations, ['WLASL_v0.3.json'], required=version == 'v0.3')
    glosses, listed = _whole(whole) if whole else ((), [])
    if version == 'v0.3':
        clips = listed
    else:
        glosses = _first(_class_list(annotations) or glosses, version, annotations)
        parts = {clip.id: clip.parts for clip in listed}
        clips = list(_subset(find_file(annotations, [f'{version}.json']), len(glosses), parts))
    official = count_splits(clip.split for clip in clips)
    warnings = check_counts({'all': len(clips)}, {'all': PUBLISHED[version]}, len(glosses), GLOSSES[version])
    warnings += leaked(((clip.split, clip.id) for clip in clips), 'clips')
    return Listing(glosses, 'file', clips, official, {}, [*warnings, *check_classes(glosses, clips)])


def _whole(file: Path) -> tuple[tuple[str, ...], list[PartClip]]:
    lines: dict[str, int] = {}
    seen: dict[str, int] = {}
    clips: list[PartClip] = []
    for line, entry in elements(file, '[]'):
        gloss = entry.get('gloss') if isinstance(entry, dict) else None
        instances = entry.get('instances') if isinstance(entry, dict) else None
        if not isinstance(gloss, str) or not gloss or not isinstance(instances, list):
            raise AnnotationError(
                f'{file}:{line}: an entry without gloss and instances; download the file again'
            )
        if gloss in lines:
            raise AnnotationError(
                f'{file}:{line}: the gloss {gloss!r} stands on line {lines[gloss]} already; remove one'
            )
        label = len(lines)
        lines[gloss] = line
        for instance in instances:
            clip = _instance(file, line, gloss, label, instance)
            if clip.id in seen:
                raise AnnotationError(
                    f'{file}:{line}: video_id {clip.id!r} of {gloss!r} stands on line {seen[clip.id]}'
                    ' already; remove one of them'
                )
            seen[clip.id] = line
            clips.append(clip)
    if not clips:
        raise AnnotationError(f'{file}:1: lists no clip; download the file again')
    return tuple(lines), clips


def _instance(file: Path, line: int, gloss: str, label: int, instance: Any) -> PartClip:
    said = instance if isinstance(instance, dict) else {}
    name, split = said.get('video_id'), SPLIT_WORDS.get(str(said.get('split')))
    if not isinstance(name, str) or not name.isalnum() or split is None:
        raise AnnotationError(
            f'{file}:{line}: an instance of {gloss!r} has video_id {name!r} and split {said.get("split")!r};'
            ' expected digits, and train, val or test'
        )
    parts = [Part(name)]
    url = said.get('url')
    if isinstance(url, str) and ('youtube' in url or 'youtu.be' in url):
        first, last = _range(file, line, name, said.get('frame_start', 1), said.get('frame_end', -1))
        parts.append(Part(url[-11:], first=first, end=last))
    return PartClip(split, name, label, str(file), line, tuple(parts))


def _range(file: Path, line: int, name: str, first: Any, last: Any) -> tuple[int, int | None]:
    """Frames counted from 1, both in it -> from 0, the last not in it; None: to the end."""
    if type(first) is not int or type(last) is not int or first < 1 or (0 < last < first):
        raise AnnotationError(
            f'{file}:{line}: {name!r} reaches from frame {first!r} to {last!r}; expected whole numbers from 1'
            ' that rise, and -1 for the end'
        )
    return first - 1, last if last > 0 else None


def _class_list(annotations: Path) -> tuple[str, ...]:
    """``wlasl_class_list.txt``, if it is there: number, tab, gloss."""
    file = find_file(annotations, ['wlasl_class_list.txt'], required=False)
    names: list[str] = []
    for line, text in text_lines(file) if file else ():
        number, _, name = text.partition('\t')
        if whole_number(number) != len(names) or not name.strip() or name.strip() in names:
            raise AnnotationError(
                f'{file}:{line}: {text!r} is not "{len(names)}", a tab and a gloss of its own; download the'
                ' file again'
            )
        names.append(name.strip())
    return tuple(names)


def _first(glosses: tuple[str, ...], version: str, annotations: Path) -> tuple[str, ...]:
    count = GLOSSES[version]
    if len(glosses) < count:
        raise AnnotationError(
            f'{annotations}: {version} is of {count} glosses, {len(glosses)} names are there; put'
            ' wlasl_class_list.txt or WLASL_v0.3.json beside it'
        )
    return glosses[:count]


def _subset(file: Path, num_classes: int, parts: dict[str, tuple[Part, ...]]) -> Iterator[PartClip]:
    for line, (name, said) in elements(file, '{}'):
        action = said.get('action') if isinstance(said, dict) else None
        split = SPLIT_WORDS.get(str(said.get('subset'))) if isinstance(said, dict) else None
        if split is None or not isinstance(action, list) or len(action) != 3:
            raise AnnotationError(
                f'{file}:{line}: {name!r} is {said!r}; expected subset and action [label, first, last]'
            )
        label = action[0]
        if type(label) is not int or not 0 <= label < num_classes:
            raise AnnotationError(
                f'{file}:{line}: the label of {name!r} is {label!r}, outside 0..{num_classes - 1}'
            )
        yield PartClip(split, name, label, str(file), line, parts.get(name, (Part(name),)))
