"""The clips of a prepared dataset in the forms that other tools read."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gfvideo.data.manifest import ClipRow, Manifest
from gfvideo.files import write_atomically

__all__ = ['json_line', 'write_list_forms']

logger = logging.getLogger('data_prep')


def json_line(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b'\n'


def _path_label(row: ClipRow) -> str:
    return f'{row.path} {row.label}'


def _path_frames_label(row: ClipRow) -> str:
    return f'{row.path} {row.frames} {row.label}'


def _forms(kind: str) -> dict[str, tuple[Callable[[ClipRow], str], bool]]:
    """Name of the list -> (a row's line, whether a path may hold spaces)."""
    forms = {'tsm_adafocus': (_path_frames_label, True)}
    if kind == 'frames':
        return {'mmaction2_frames': (_path_frames_label, False), **forms}
    return {'mmaction2_video': (_path_label, False), 'slowfast_videomae': (_path_label, True), **forms}


def write_list_forms(folder: Path, manifest: Manifest, rows: Mapping[str, Sequence[ClipRow]]) -> None:
    """Write ``<form>_<split>.txt`` for every form that can say these clips, and ``category.txt``, the class
    names in label order.

    Rows without a label are in the manifest alone. A form whose lines cannot hold a path (a space, a line
    break) is left out with a warning, for a list with clips missing would pass for a whole one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {'category.txt'}
    write_atomically(folder / 'category.txt', (f'{name}\n'.encode() for name in manifest.classes))
    for split, some in rows.items():
        labelled = [row for row in some if row.label is not None]
        for form, (line, spaces) in _forms(labelled[0].kind if labelled else 'video').items():
            fault = next((row.path for row in labelled if not _can_say(row.path, spaces)), None)
            if fault is not None:
                logger.warning(
                    'lists/%s_%s.txt is not written: its form cannot hold the path %r', form, split, fault
                )
            elif labelled:
                wanted.add(f'{form}_{split}.txt')
                write_atomically(folder / f'{form}_{split}.txt', _lines(labelled, line))
    for file in folder.glob('*.txt'):  # of an earlier run with other arguments
        if file.name not in wanted:
            file.unlink()


def _can_say(path: str, spaces: bool) -> bool:
    return path.strip().splitlines() == [path] and (spaces or len(path.split()) == 1)


def _lines(rows: Iterable[ClipRow], line: Callable[[ClipRow], str]) -> Iterator[bytes]:
    return (f'{line(row)}\n'.encode() for row in rows)
