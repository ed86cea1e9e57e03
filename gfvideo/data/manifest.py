"""A prepared dataset: ``dataset.json`` (classes, splits, hashes) and one ``<split>.jsonl`` with a row per
clip, beside it the same in columns (:mod:`gfvideo.data.row_table`); list files of other tools.

Three hashes stand in it. ``hash`` keeps ``dataset.json`` and the rows together: it covers name, version,
classes and every row in its order, paths included. ``content_hash`` says *which data* it is and ``made_hash``
*how it was made*: :mod:`gfvideo.data.content`.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from json.encoder import encode_basestring
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..files import file_hash, write_atomically
from .content import content_of_all, content_of_split, made_hash
from .remote import FetchedDataset, is_address, joined
from .row_table import KINDS, MORE, MOST, ClipRow, RowTable, table_file
from .shards import ShardError, check_shards, member_of

__all__ = [
    'LIST_FORMS',
    'ClipRow',
    'Manifest',
    'ManifestError',
    'SplitInfo',
    'check_packed',
    'manifest_hash',
    'read_classes',
    'read_list',
    'read_manifest',
    'read_rows',
    'read_table',
    'row_fields',
    'rows_hash',
    'validate',
    'write_manifest',
]

FORMAT = 1
DATASET_KEYS = {
    'name': str,
    'version': str,
    'classes': list,
    'label_order': str,
    'video_root': str,
    'frame_template': str,
    'start_index': int,
    'splits': dict,
    'hash': str,
}


class ManifestError(ValueError):
    """A prepared dataset or list file is malformed; the message names the file, the line, the value and the
    remedy."""


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """One split: its file beside ``dataset.json``, rows present, rows the official annotation lists (None:
    unknown), hash of its rows."""

    file: str
    present: int
    official: int | None
    hash: str


@dataclass(frozen=True)
class Manifest:
    """What ``dataset.json`` says, and the folder it stands in.

    ``frame_template`` and ``start_index`` name the images of clips of kind ``'frames'``. ``preparation``
    tells how it was made: arguments and versions. ``hash`` is :func:`manifest_hash` of the clips and classes.
    ``contents`` are the content hashes of the splits and ``made`` is what encoded the clips, each with the
    hash of it (:mod:`gfvideo.data.content`); all are empty in files of versions that did not write them.
    ``fetched`` says where it comes from, if ``folder`` holds what was fetched from an address.
    """

    folder: Path
    name: str
    version: str
    classes: tuple[str, ...]
    label_order: str
    video_root: str
    splits: Mapping[str, SplitInfo]
    hash: str
    frame_template: str = '{:05d}.jpg'
    start_index: int = 1
    preparation: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    content_hash: str = ''
    made: Mapping[str, Any] = field(default_factory=dict)
    made_hash: str = ''
    fetched: FetchedDataset | None = None

    @property
    def file(self) -> Path:
        return self.folder / 'dataset.json'

    @property
    def videos(self) -> Path | str:
        """``video_root``, resolved against the folder of the manifest when it is relative; an address of a
        dataset that stands at one, or whose ``video_root`` is one."""
        if is_address(self.video_root):
            return self.video_root
        if self.fetched is not None and not self.video_root.startswith('/'):
            return joined(self.fetched.address, self.video_root)
        return self.folder / self.video_root


# ------------------------------------------------------------------------------------------------------- hash


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(',', ':')).encode() + b'\n'


def rows_hash(rows: Iterable[ClipRow]) -> str:
    """sha256 of the rows in their order: of their values, not of spaces or key order in a file.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_canonical_row(row))
    return digest.hexdigest()


def _canonical_row(row: ClipRow) -> bytes:
    """``_canonical`` of the row, several times as fast."""
    if row.more:
        return _canonical(row_fields(row))
    label, frames, height, width = (
        'null' if value is None else value for value in (row.label, row.frames, row.height, row.width)
    )
    name, path, kind = map(encode_basestring, (row.id, row.path, row.kind))
    return (
        f'{{"frames":{frames},"height":{height},"id":{name},"kind":{kind},"label":{label},"path":{path},'
        f'"width":{width}}}\n'
    ).encode()


def manifest_hash(
    name: str, version: str, classes: Sequence[str], label_order: str, splits: Mapping[str, SplitInfo]
) -> str:
    """sha256 of a dataset's content: name, version, classes in their order, and the rows' hash and counts of
    every split.

    Returns:
        64 hexadecimal digits; the same on every machine and for every order of ``splits``.
    """
    content = {
        'name': name,
        'version': version,
        'classes': list(classes),
        'label_order': label_order,
        'splits': {split: [info.present, info.official, info.hash] for split, info in splits.items()},
    }
    return hashlib.sha256(_canonical(content)).hexdigest()


def row_fields(row: ClipRow) -> dict[str, Any]:
    """The row as a line of ``<split>.jsonl`` says it."""
    return {name: getattr(row, name) for name in ROW_KEYS} | row.more


ROW_KEYS = tuple(field.name for field in fields(ClipRow) if field.name not in MORE)
"""What every row has."""


def _row_of(content: Mapping[str, Any]) -> ClipRow:
    """The row of a line; its values are not checked."""
    labels = content.get('labels', ())
    return ClipRow(**{**content, 'labels': tuple(labels) if isinstance(labels, list) else labels})


# ------------------------------------------------------------------------------------------------ check a row


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= MOST


def _row_fault(row: ClipRow, num_classes: int, absolute: bool) -> str | None:
    """What is wrong with the row, and its remedy; None if nothing is."""
    if not isinstance(row.id, str) or not row.id:
        return f'id is {row.id!r}; give every clip a non-empty text'
    if not isinstance(row.path, str) or not row.path:
        return f'path of clip {row.id!r} is {row.path!r}; give a path relative to video_root'
    if not absolute and row.path.startswith('/'):
        return f'path of clip {row.id!r} is absolute ({row.path!r}); write it relative to video_root'
    if row.kind not in KINDS:
        return f'kind of clip {row.id!r} is {row.kind!r}; use one of {", ".join(KINDS)}'
    if row.label is not None and (not _is_count(row.label, 0) or row.label >= num_classes):
        return (
            f'label of clip {row.id!r} is {row.label!r}, outside 0..{num_classes - 1} ({num_classes}'
            ' classes); labels count from 0'
        )
    if row.labels != () or row.start is not None or row.end is not None:
        fault = _more_fault(row, num_classes)
        if fault is not None:
            return fault
    for key, value in (('frames', row.frames), ('height', row.height), ('width', row.width)):
        if value is not None and not _is_count(value, 1):
            return (
                f'{key} of clip {row.id!r} is {value!r}; use a whole number from 1, or null if it is unknown'
            )
    if row.kind == 'frames' and row.frames is None:
        return f'frames of clip {row.id!r} is null; a folder of images must say how many it holds'
    return None


def _more_fault(row: ClipRow, num_classes: int) -> str | None:
    labels, start, end = row.labels, row.start, row.end
    if not isinstance(labels, tuple) or any(
        not _is_count(label, 0) or label >= num_classes for label in labels
    ):
        return (
            f'labels of clip {row.id!r} are {labels!r}; give a list of numbers in 0..{num_classes - 1}'
            f' ({num_classes} classes), counted from 0'
        )
    if list(labels) != sorted(set(labels)):
        return f'labels of clip {row.id!r} are {list(labels)}; give each once, in ascending order'
    if labels and row.label is not None:
        return f'clip {row.id!r} has label {row.label} and labels {list(labels)}; label is null beside labels'
    for key, value in (('start', start), ('end', end)):
        if value is not None and (type(value) not in (int, float) or not 0 <= value < float('inf')):
            return f'{key} of clip {row.id!r} is {value!r}; give seconds from the first frame, 0 or more'
    if end is not None and end <= (start or 0):
        return f'clip {row.id!r} ends at {end} s and starts at {start or 0} s; its end comes after its start'
    if row.kind != 'video' and (start is not None or end is not None):
        return (
            f'clip {row.id!r} has start or end, and only videos have times, images have none; leave them out'
        )
    return None


def _checked_rows(
    rows: Iterable[tuple[str, ClipRow]], num_classes: int, absolute: bool = False
) -> Iterator[ClipRow]:
    """Yield the rows of ``(place, row)`` pairs; raise at the first that is malformed or repeats an id."""
    seen: dict[str, str] = {}
    for place, row in rows:
        fault = _row_fault(row, num_classes, absolute)
        if fault is not None:
            raise ManifestError(f'{place}: {fault}')
        if row.id in seen:
            raise ManifestError(
                f'{place}: clip {row.id!r} stands at {seen[row.id]} already; ids must be unique in a split,'
                ' remove one'
            )
        seen[row.id] = place
        yield row


def _check_classes(place: str, classes: Sequence[Any]) -> tuple[str, ...]:
    if not classes:
        raise ManifestError(f'{place}: no class; list at least one class name')
    seen: set[str] = set()
    for number, name in enumerate(classes):
        if not isinstance(name, str) or not name:
            raise ManifestError(f'{place}: class {number} is {name!r}; every class needs a non-empty name')
        if name in seen:
            raise ManifestError(f'{place}: class {name!r} is listed twice; remove one')
        seen.add(name)
    return tuple(classes)


# ------------------------------------------------------------------------------------------------------ write


def write_manifest(
    folder: str | Path,
    *,
    name: str,
    version: str,
    classes: Sequence[str],
    label_order: str,
    rows: Mapping[str, Sequence[ClipRow]],
    video_root: str,
    official: Mapping[str, int | None] | None = None,
    frame_template: str = '{:05d}.jpg',
    start_index: int = 1,
    preparation: Mapping[str, Any] | None = None,
    made: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a prepared dataset: a ``<split>.jsonl`` per split, then ``dataset.json``; every file appears
    complete or not at all.

    Args:
        folder: where to write; made if missing.
        name, version: of the dataset.
        classes: class names; a label is an index into them.
        label_order: where the order of ``classes`` comes from, e.g. ``'sorted'``.
        rows: split name -> its rows, in order.
        video_root: folder that the rows' paths start from, absolute or relative to ``folder``.
        official: split name -> rows that the official annotation lists, where known.
        frame_template, start_index: names of the images in clips of kind ``'frames'``.
        preparation: how it was made, for a reader to know; JSON, not part of any hash.
        made: what encoded the clips, setting -> value, JSON: the made hash is of it.

    Returns:
        The manifest as :func:`read_manifest` would read it.

    Raises:
        ManifestError: if classes or rows are malformed; nothing is written then.
    """
    folder = Path(folder)
    classes = _check_classes(f'classes of {name!r}', classes)
    unknown = set(official or {}) - set(rows)
    if unknown:
        raise ManifestError(
            f'official counts of unknown split(s) {sorted(unknown)}; the rows hold {sorted(rows)}'
        )
    for split in rows:
        if not re.fullmatch(r'[A-Za-z0-9_.-]+', split):
            raise ManifestError(
                f'split {split!r} cannot be a file name; use letters, digits, "_", "." and "-"'
            )
    checked = {
        split: list(
            _checked_rows(
                ((f'split {split!r}, row {i}', row) for i, row in enumerate(split_rows, 1)), len(classes)
            )
        )
        for split, split_rows in rows.items()
    }
    splits = {
        split: SplitInfo(
            file=f'{split}.jsonl',
            present=len(some),
            official=(official or {}).get(split),
            hash=rows_hash(some),
        )
        for split, some in checked.items()
    }
    contents = {split: content_of_split(classes, some) for split, some in checked.items()}
    manifest = Manifest(
        folder,
        name,
        version,
        classes,
        label_order,
        str(video_root),
        splits,
        manifest_hash(name, version, classes, label_order, splits),
        frame_template,
        start_index,
        dict(preparation or {}),
        contents,
        content_of_all(contents),
        dict(made or {}),
        made_hash(made) if made else '',
    )
    folder.mkdir(parents=True, exist_ok=True)
    for split, some in checked.items():
        file = folder / splits[split].file
        write_atomically(file, (_line(row) for row in some))
        RowTable.of(some, splits[split].hash).save(table_file(file), file_hash(file))
    write_atomically(manifest.file, [_dataset_json(manifest)])
    return manifest


def _line(row: ClipRow) -> bytes:
    return json.dumps(row_fields(row), ensure_ascii=False).encode() + b'\n'


def _dataset_json(manifest: Manifest) -> bytes:
    content = {
        'format': FORMAT,
        'name': manifest.name,
        'version': manifest.version,
        'label_order': manifest.label_order,
        'video_root': manifest.video_root,
        'frame_template': manifest.frame_template,
        'start_index': manifest.start_index,
        'splits': {split: asdict(info) for split, info in manifest.splits.items()},
        'hash': manifest.hash,
        'content_hash': manifest.content_hash,
        'contents': dict(manifest.contents),
        'made_hash': manifest.made_hash,
        'made': dict(manifest.made),
        'preparation': dict(manifest.preparation),
        'classes': list(manifest.classes),
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b'\n'


# ------------------------------------------------------------------------------------------------------- read


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check ``dataset.json``; the rows are read by :func:`read_rows`.

    Args:
        folder: the prepared dataset, i.e. the folder, or the address, that holds ``dataset.json``.

    Raises:
        FileNotFoundError: if there is no such file.
        ManifestError: if it is malformed, or its hash is not that of its content.
        OSError, ImportError: if the address cannot be read.
    """
    fetched = FetchedDataset(folder) if is_address(folder) else None
    if fetched is not None:
        folder = fetched.folder
    file = Path(folder) / 'dataset.json'
    if not file.is_file():
        raise FileNotFoundError(
            f'no prepared dataset at {Path(folder)}: {file} is missing; make it with one of the scripts in'
            ' data_prep/ (python data_prep/<dataset>.py --help), or correct the path'
        )
    content = _load_json(file)
    if not isinstance(content, dict):
        raise ManifestError(
            f'{file}: holds a {type(content).__name__}, not an object; prepare the dataset again'
        )
    if content.get('format') != FORMAT:
        raise ManifestError(
            f'{file}: format is {content.get("format")!r}, this version reads {FORMAT}; prepare the dataset'
            ' again'
        )
    for key, kind in DATASET_KEYS.items():
        if type(content.get(key)) is not kind:
            raise ManifestError(
                f'{file}: {key!r} is {content.get(key)!r}, expected {kind.__name__}; prepare the dataset'
                ' again'
            )
    splits = {split: _split_info(file, split, info) for split, info in content['splits'].items()}
    manifest = Manifest(
        Path(folder),
        content['name'],
        content['version'],
        _check_classes(f'{file}: classes', content['classes']),
        content['label_order'],
        content['video_root'],
        splits,
        content['hash'],
        content['frame_template'],
        content['start_index'],
        content.get('preparation') or {},
        content.get('contents') or {},
        content.get('content_hash') or '',
        content.get('made') or {},
        content.get('made_hash') or '',
        fetched,
    )
    expected = manifest_hash(manifest.name, manifest.version, manifest.classes, manifest.label_order, splits)
    if manifest.hash != expected:
        raise ManifestError(
            f'{file}: hash is {manifest.hash}, its content has {expected}: it was edited or mixed after it'
            ' was prepared; prepare the dataset again (video_root alone may be edited)'
        )
    _check_content(manifest)
    return manifest


def _check_content(manifest: Manifest) -> None:
    """Whether the hashes of content and making fit what stands beside them, where a file has any."""
    for name, there, parts, of in (
        ('content_hash', manifest.content_hash, manifest.contents, content_of_all),
        ('made_hash', manifest.made_hash, manifest.made, made_hash),
    ):
        if not isinstance(parts, dict) or (there or parts) and of(parts) != there:
            raise ManifestError(
                f'{manifest.file}: {name} is {there!r}, which is not that of what stands beside it: it was'
                ' edited after it was prepared; prepare the dataset again (the step lists is enough)'
            )


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except RecursionError as error:
        raise ManifestError(
            f'{file}: nested too deeply to be of a prepared dataset; prepare the dataset again'
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f'{file}: not UTF-8 text ({error}); write it again as UTF-8') from error
    except json.JSONDecodeError as error:
        raise ManifestError(
            f'{file}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); correct the line or write'
            ' the file again'
        ) from error


def _split_info(file: Path, split: str, info: Any) -> SplitInfo:
    well_formed = (
        isinstance(info, dict)
        and set(info) == {'file', 'present', 'official', 'hash'}
        and isinstance(info['file'], str)
        and isinstance(info['hash'], str)
        and _is_count(info['present'], 0)
        and (info['official'] is None or _is_count(info['official'], 0))
    )
    if not well_formed:
        raise ManifestError(
            f'{file}: split {split!r} is {info!r}, expected file, present, official and hash; prepare the'
            ' dataset again'
        )
    return SplitInfo(**info)


def read_rows(manifest: Manifest, split: str) -> list[ClipRow]:
    """The rows of :func:`read_table`, in memory.

    Raises:
        ManifestError, FileNotFoundError: as :func:`read_table`.
    """
    return list(read_table(manifest, split))


def read_table(manifest: Manifest, split: str) -> RowTable:
    """Read and check the rows of one split: form, label range, unique ids, their number and their hash.

    What was checked once is written beside the file of rows, for other processes and other times; while that
    file has the same content, it is looked up there.

    Raises:
        ManifestError: naming file, line, value and remedy.
        FileNotFoundError: if the split's file is missing.
    """
    if split not in manifest.splits:
        raise ManifestError(
            f'{manifest.file}: has no split {split!r}; it has {", ".join(manifest.splits) or "none"}'
        )
    info = manifest.splits[split]
    file = manifest.folder / info.file
    if manifest.fetched is not None:
        manifest.fetched.fetch(info.file)
    if not file.is_file():
        raise FileNotFoundError(
            f'{file} is missing, which {manifest.file} names for split {split!r}; prepare the dataset again'
        )
    text_hash, num_classes = file_hash(file), len(manifest.classes)
    table = RowTable.load(table_file(file), text_hash)
    if table is None or len(table) and table.labels.max() >= num_classes:
        table = _parsed(file, num_classes)
    if len(table) != info.present:
        raise ManifestError(
            f'{file}: holds {len(table)} rows, {manifest.file} says {info.present}; prepare the dataset again'
        )
    if table.hash != info.hash:
        raise ManifestError(
            f'{file}: its rows have the hash {table.hash}, {manifest.file} says {info.hash}: one was edited'
            ' after it was prepared; prepare the dataset again'
        )
    return table if table.file else _kept(table, table_file(file), text_hash)


def _kept(table: RowTable, file: Path, text_hash: str) -> RowTable:
    """The same table in a file, if one can be written there."""
    try:
        table.save(file, text_hash)
    except OSError:  # a folder to read only; the next process checks the rows again
        return table
    return RowTable.load(file, text_hash) or table


def _parsed(file: Path, num_classes: int) -> RowTable:
    """The rows of a file, checked."""
    digest, ids = hashlib.sha256(), array('q')

    def read() -> Iterator[ClipRow]:
        for row in _well_formed(file, num_classes):
            ids.append(hash(row.id))
            digest.update(_canonical_row(row))
            yield row

    try:
        table = RowTable.of(read())
        if len(np.unique(np.frombuffer(ids, np.int64))) == len(table):
            return replace(table, hash=digest.hexdigest())
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    # line by line, which tells what is wrong and where
    rows = list(_checked_rows(_parse_jsonl(file), num_classes))
    return RowTable.of(rows, rows_hash(rows))


def _well_formed(file: Path, num_classes: int) -> Iterator[ClipRow]:
    """The rows of a file in which no line is unusual; ValueError, KeyError or TypeError at the first that
    is."""
    values = itemgetter(*ROW_KEYS)
    with file.open('rb') as lines:
        for line in lines:
            content = json.loads(line.decode())
            row = ClipRow(*values(content))
            if len(content) != len(ROW_KEYS):
                if not content.keys() <= {*ROW_KEYS, *MORE}:
                    raise ValueError
                row = _row_of(content)
            if _row_fault(row, num_classes, absolute=False):
                raise ValueError
            yield row


def _text_lines(file: Path) -> Iterator[tuple[str, str]]:
    """``(place, line)`` of the non-empty lines."""
    with file.open('rb') as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode('utf-8-sig' if number == 1 else 'utf-8').strip()
            except UnicodeDecodeError as error:
                raise ManifestError(
                    f'{file}:{number}: not UTF-8 text ({error}); write the file again as UTF-8'
                ) from error
            if text:
                yield f'{file}:{number}', text


def _parse_jsonl(file: Path) -> Iterator[tuple[str, ClipRow]]:
    for place, line in _text_lines(file):
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise ManifestError(
                f'{place}: not JSON ({error.msg}, column {error.colno}): {line[:80]!r}; prepare the dataset '
                'again'
            ) from error
        if not isinstance(content, dict):
            raise ManifestError(
                f'{place}: {line[:80]!r} is not an object with the keys {", ".join(ROW_KEYS)}; prepare the'
                ' dataset again'
            )
        missing, unknown = set(ROW_KEYS) - content.keys(), content.keys() - {*ROW_KEYS, *MORE}
        if missing or unknown:
            raise ManifestError(
                f'{place}: missing keys {sorted(missing)}, unknown keys {sorted(unknown)}; a row has exactly '
                f'{", ".join(ROW_KEYS)}, and may have {", ".join(MORE)}'
            )
        yield place, _row_of(content)


def check_packed(videos: Path | str, split: str) -> None:
    """Check that the shards of a split are there and whole.

    Raises:
        ManifestError: naming the first that is not.
    """
    try:
        check_shards(videos, split)
    except ShardError as error:
        raise ManifestError(str(error)) from error


def validate(folder: str | Path, check_files: bool = False) -> Manifest:
    """Check a whole prepared dataset: ``dataset.json``, the rows of every split, and no clip in two splits.

    Args:
        folder: the prepared dataset.
        check_files: also ask whether every clip's file or folder is there.

    Raises:
        ManifestError, FileNotFoundError: naming what is wrong and the remedy.
    """
    manifest = read_manifest(folder)
    home: dict[str, str] = {}
    for split in manifest.splits:
        rows = read_rows(manifest, split)
        packed = bool(rows) and member_of(rows[0].path) is not None
        if check_files and packed:
            check_packed(manifest.videos, split)
        for row in rows:
            if home.setdefault(row.path, split) != split:
                raise ManifestError(
                    f'{manifest.file}: {row.path!r} stands in split {home[row.path]!r} and in {split!r}; a'
                    ' clip may be in one split only, remove it from the others'
                )
            if check_files and not packed and not Path(joined(manifest.videos, row.path)).exists():
                raise FileNotFoundError(
                    f'{joined(manifest.videos, row.path)} is missing (clip {row.id!r} of split {split!r});'
                    f' correct video_root in {manifest.file} or prepare the dataset again'
                )
    return manifest


# --------------------------------------------------------------------------------------- lists of other tools


def read_classes(file: str | Path) -> tuple[str, ...]:
    """Class names in label order, from a text file (one a line) or JSON (a list, or ``{name: number}`` with
    numbers 0..C-1).

    Raises:
        FileNotFoundError: if the file is missing.
        ManifestError: if it is malformed; a class may not be listed twice.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(
            f'no class list at {file}; give the file that names one class per line in label order'
        )
    if file.suffix != '.json':
        return _check_classes(str(file), [line for _, line in _text_lines(file)])
    content = _load_json(file)
    if isinstance(content, dict):
        return _check_classes(str(file), _by_number(file, content))
    if isinstance(content, list):
        return _check_classes(str(file), content)
    raise ManifestError(
        f'{file}: holds a {type(content).__name__}; expected a list of names or {{name: number}}'
    )


def _by_number(file: Path, numbers: Mapping[str, Any]) -> list[str]:
    names: dict[int, str] = {}
    for name, number in numbers.items():
        if not re.fullmatch(r'\d+', str(number)):
            raise ManifestError(
                f'{file}: number of class {name!r} is {number!r}; expected 0..{len(numbers) - 1}'
            )
        if int(number) in names or int(number) >= len(numbers):
            raise ManifestError(
                f'{file}: number {number} of class {name!r} is taken or too large; the {len(numbers)} classes'
                f' must be numbered 0..{len(numbers) - 1}, each once'
            )
        names[int(number)] = name
    return [names[number] for number in range(len(numbers))]


def _whole(place: str, what: str, text: str) -> int:
    if not re.fullmatch(r'-?\d+', text):
        raise ManifestError(f'{place}: {what} is {_short(text)}, expected a whole number')
    return int(text)


def _path_label(place: str, line: str, kind: str = 'video') -> ClipRow:
    # SlowFast may be set to a comma; the path may hold spaces
    label = re.split(r'[\s,]', line)[-1]
    rest = line.removesuffix(label).rstrip()
    path = rest.removesuffix(',').rstrip()
    if not label or not path:
        raise ManifestError(f'{place}: {_short(line)} is not "path label"')
    return ClipRow(path, path, kind, _whole(place, 'label', label))


def _short(line: str) -> str:
    """A line, for a message: lines of megabytes are no lists."""
    return repr(line) if len(line) <= 300 else f'{line[:300]!r}… ({len(line):,} characters)'


def _mmaction2_video(place: str, line: str) -> ClipRow:
    if len(line.split()) != 2:
        raise ManifestError(
            f'{place}: {_short(line)} is not "path label"; this form has no spaces in the path and one label,'
            ' use the form "path_label" for paths with spaces'
        )
    return _path_label(place, line)


def _folder_frames_label(place: str, line: str) -> ClipRow:
    parts = line.rsplit(maxsplit=2)
    if len(parts) != 3:
        raise ManifestError(f'{place}: {_short(line)} is not "folder frames label"')
    folder, frames, label = parts
    return ClipRow(
        folder, folder, 'frames', _whole(place, 'label', label), _whole(place, 'number of frames', frames)
    )


def _mmaction2_frames(place: str, line: str) -> ClipRow:
    if len(line.split()) != 3:
        raise ManifestError(
            f'{place}: {_short(line)} is not "folder frames label"; this form has no spaces in the folder, no'
            ' offset and one label, use the form "tsm" for folders with spaces'
        )
    return _folder_frames_label(place, line)


def _several_labels(place: str, line: str) -> ClipRow:
    folder, *numbers = line.split(',')
    if len(numbers) < 2:
        raise ManifestError(f'{place}: {_short(line)} is not "folder,frames,label" with one label or more')
    frames, *labels = (_whole(place, 'a number', text.strip()) for text in numbers)
    return ClipRow(folder, folder, 'frames', None, frames, labels=tuple(sorted(set(labels))))


LIST_FORMS: dict[str, Callable[[str, str], ClipRow]] = {
    'mmaction2_video': _mmaction2_video,  # path label
    'mmaction2_frames': _mmaction2_frames,  # folder total_frames label
    'tsm': _folder_frames_label,  # folder n_frames label; AdaFocus too; the folder may hold spaces
    'arnet': _several_labels,  # folder,n_frames,label[,label…]; AR-Net and AdaFocus on ActivityNet and FCVID
    'path_label': _path_label,  # SlowFast, PyTorchVideo, VideoMAE; the path may hold spaces
}


def read_list(file: str | Path, form: str, classes: Sequence[str]) -> list[ClipRow]:
    """Rows of a list file of another tool; ids are the paths, which may be absolute here.

    Args:
        file: the list, one clip a line.
        form: ``'mmaction2_video'`` (path label), ``'mmaction2_frames'`` (folder frames label), ``'tsm'`` (as
            AdaFocus: folder frames label, the folder may hold spaces), ``'arnet'`` (AR-Net and AdaFocus on
            ActivityNet and FCVID: folder,frames,label[,label…]) or ``'path_label'`` (SlowFast,
            PyTorchVideo, VideoMAE: path label, the path may hold spaces).
        classes: class names in the order that the labels count; see :func:`read_classes`.

    Raises:
        FileNotFoundError: if there is no such file.
        ManifestError: naming file, line and value; also if the list is empty.
    """
    if form not in LIST_FORMS:
        raise ManifestError(f'form is {form!r}; the list files read are {", ".join(LIST_FORMS)}')
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f'no list file at {file}; correct the path')
    parse, classes = LIST_FORMS[form], _check_classes('classes', classes)
    rows = list(
        _checked_rows(
            ((place, parse(place, line)) for place, line in _text_lines(file)), len(classes), absolute=True
        )
    )
    if not rows:
        raise ManifestError(f'{file}: holds no clip; give a list with one clip a line')
    return rows
