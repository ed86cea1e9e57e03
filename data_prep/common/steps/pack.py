"""Encoded clips -> tar files in webdataset's form, OUT/shards, and work/shards/*.jsonl.

A shard gets its final name only when it is whole, and only then are the clips in it removed from OUT/videos;
so a run may be killed at any time, and at no time is there more on the disk than all clips and one shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from data_prep.common.records import Record, Recorder, iter_records, write_lines
from data_prep.common.workspace import PreparationError, Workspace
from gfvideo.data.manifest import row_fields
from gfvideo.data.row_table import ClipRow
from gfvideo.data.shards import (
    SHARDS,
    Member,
    Shard,
    index_name,
    member_of,
    read_member,
    write_shard_index,
    write_shard_list,
)
from gfvideo.files import written_whole
from gfvideo.progress import Progress

__all__ = ['FOLDER', 'pack_clips', 'packed_clips', 'unpack_damaged']

logger = logging.getLogger('data_prep')

FOLDER = 'shards'
"""Of the shards in the prepared folder, and of their records in its work folder."""


@dataclass(frozen=True)
class Video:
    """One video of a shard, and the rows that show it.

    Attributes:
        path: of the encoded clip, below the folder of those.
        bytes: of it.
        rows: more than one where they are segments of it.
    """

    path: str
    bytes: int
    rows: tuple[ClipRow, ...]

    @property
    def key(self) -> str:
        """Of its members: the id of its first row, without what ends a key or a folder."""
        return ''.join(f'%{ord(char):02X}' if char in '%./\\\0' else char for char in self.rows[0].id)


def packed_clips(space: Workspace) -> dict[str, int]:
    """Bytes of the encoded clips that whole shards hold, by their path below the folder of encoded clips."""
    return {
        path: member_of(place).size
        for record in _whole_shards(space)
        for path, place in record['clips'].items()
    }


def pack_clips(
    space: Workspace,
    videos: Path,
    rows: Mapping[str, Sequence[ClipRow]],
    classes: Sequence[str],
    most_bytes: int,
) -> dict[str, list[ClipRow]]:
    """Pack the clips of all splits; shards that are whole already are left as they are.

    Args:
        videos: folder of the encoded clips, which are removed once they are packed.
        rows: split -> its rows in order, with the paths of encoded clips.
        classes: names in label order.
        most_bytes: of the videos in a shard; a longer video has a shard for itself.

    Returns:
        The rows with their places in the shards.

    Raises:
        PreparationError: a clip is neither there nor in a shard.
        OSError: a shard cannot be written.
    """
    folder = space.out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    whole = {record['path']: record for record in _whole_shards(space)}
    sizes = {
        path: member_of(place).size for record in whole.values() for path, place in record['clips'].items()
    }
    planned = {
        name: part
        for split, some in rows.items()
        for name, part in _plan(split, some, partial(_size_of, videos, sizes), most_bytes)
    }
    keys = {name: _key(part, classes) for name, part in planned.items()}
    kept = {name for name, key in keys.items() if whole.get(name, {}).get('key') == key}
    _unpack_others(folder, videos, [record for name, record in whole.items() if name not in kept], planned)
    uses = Counter(video.path for part in planned.values() for video in part)
    recorder, places = Recorder(space.records(FOLDER)), {}
    tell = partial(logger.info, '%s')
    total, ready = (sum(len(planned[name]) for name in names) for names in (planned, kept))
    with Progress('shards', total, done=ready, tell=tell) as progress:
        for name, part in planned.items():
            if name not in kept:
                members = _write(folder, name, part, videos, classes)
                clips = {
                    video.path: Member(name, *members[f'{video.key}.mp4'], f'{video.key}.mp4').path
                    for video in part
                }
                size = (folder / name).stat().st_size
                whole[name] = {'path': name, 'key': keys[name], 'bytes': size, 'clips': clips}
                recorder.add(whole[name])
                progress.add(len(part))
            places[name] = whole[name]['clips']
            for video in part:
                uses[video.path] -= 1
                if not uses[video.path]:
                    (videos / video.path).unlink(missing_ok=True)
    _leave_nothing_else(folder, planned)
    _remove_empty(videos)
    _keep_records(space, [whole[name] for name in planned])
    write_shard_list(folder, (Shard(name, whole[name]['bytes'], len(part)) for name, part in planned.items()))
    return {split: list(_placed(split, some, planned, places)) for split, some in rows.items()}


def unpack_damaged(space: Workspace, videos: Path, damaged: Mapping[str, str]) -> dict[str, str]:
    """Take apart the shards that hold damaged clips; those that are sound go back to where the encoder left
    them, so that the next run makes the others anew and packs all.

    Args:
        videos: folder of the encoded clips.
        damaged: place of a clip in the shards -> what is wrong with it.

    Returns:
        path of the damaged clips below ``videos`` -> what is wrong with them.
    """
    told: dict[str, str] = {}
    last = {record['path']: record for record in iter_records(space.records(FOLDER))}
    for record in last.values():
        wrong = {path: damaged[place] for path, place in record['clips'].items() if place in damaged}
        shard = space.out / FOLDER / record['path']
        if not wrong or not shard.exists():
            continue
        told |= wrong
        for path, place in record['clips'].items():
            if path not in wrong:
                _put_back(videos / path, str(shard.parent / place))
        shard.unlink()
    return told


def _put_back(target: Path, place: str) -> None:
    member = member_of(place)
    assert member is not None  # of a record
    if not target.exists():
        with written_whole(target) as unfinished:
            unfinished.write_bytes(read_member(member))


def _whole_shards(space: Workspace) -> Iterator[Record]:
    """Records of the shards that stand there as they were written; the last one of each name."""
    last = {record['path']: record for record in iter_records(space.records(FOLDER))}
    for name, record in last.items():
        try:
            if (space.out / FOLDER / name).stat().st_size == record['bytes']:
                yield record
        except FileNotFoundError:
            continue


def _size_of(videos: Path, packed: Mapping[str, int], path: str) -> int:
    try:
        return (videos / path).stat().st_size
    except FileNotFoundError as error:
        if path not in packed:
            raise PreparationError(
                f'{videos / path} is gone, and no shard holds it; run the step transcode again'
            ) from error
        return packed[path]


def _plan(
    split: str, rows: Iterable[ClipRow], size_of: partial[int], most_bytes: int
) -> Iterator[tuple[str, list[Video]]]:
    """Names of shards and what each holds: the videos in the order of the rows, as many as fit."""
    by_path: dict[str, list[ClipRow]] = {}
    for row in rows:
        by_path.setdefault(row.path, []).append(row)
    part: list[Video] = []
    number = held = 0
    for path, some in by_path.items():
        video = Video(path, size_of(path), tuple(some))
        if part and held + video.bytes > most_bytes:
            yield f'{split}-{number:06d}.tar', part
            part, number, held = [], number + 1, 0
        part.append(video)
        held += video.bytes
    if part:
        yield f'{split}-{number:06d}.tar', part


def _key(part: Sequence[Video], classes: Sequence[str]) -> str:
    """Changes when another shard is wanted."""
    digest = hashlib.sha256()
    for video in part:
        digest.update(repr((video.path, video.bytes)).encode('utf-8', 'surrogatepass'))
        digest.update(_described(video, classes))
    return digest.hexdigest()[:32]


def _described(video: Video, classes: Sequence[str]) -> bytes:
    """What ``KEY.json`` says."""
    rows = [{**row_fields(row), 'class': _class_names(row, classes)} for row in video.rows]
    for row in rows:
        del row['path'], row['kind']
    return json.dumps(rows[0] if len(rows) == 1 else {'clips': rows}, ensure_ascii=False).encode()


def _class_names(row: ClipRow, classes: Sequence[str]) -> str | list[str] | None:
    if row.labels:
        return [classes[label] for label in row.labels]
    return None if row.label is None else classes[row.label]


def _write(
    folder: Path, name: str, part: Sequence[Video], videos: Path, classes: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Write a shard and its index; (offset, size) of each member by its name."""
    members: dict[str, tuple[int, int]] = {}
    with written_whole(folder / name) as unfinished:
        with tarfile.open(unfinished, 'w', format=tarfile.PAX_FORMAT) as tar:

            def add(member: str, size: int, content: BinaryIO) -> None:
                info = tarfile.TarInfo(member)
                info.size, info.mode = size, 0o644
                tar.addfile(info, content)
                members[member] = (tar.offset - -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, size)

            for video in part:
                with open(videos / video.path, 'rb') as file:
                    add(f'{video.key}.mp4', video.bytes, file)
                described = _described(video, classes)
                add(f'{video.key}.json', len(described), io.BytesIO(described))
                if len(video.rows) == 1 and video.rows[0].label is not None:
                    label = str(video.rows[0].label).encode()
                    add(f'{video.key}.cls', len(label), io.BytesIO(label))
        with open(unfinished, 'rb') as file:
            os.fsync(file.fileno())
    write_shard_index(folder, name, ((member, *place) for member, place in members.items()))
    return members


def _unpack_others(
    folder: Path, videos: Path, others: Sequence[Record], planned: Mapping[str, Sequence[Video]]
) -> None:
    """Put the clips of shards that are no longer wanted back where the encoder left them, those that are
    still listed; the shards are removed then."""
    wanted = {video.path for part in planned.values() for video in part}
    for record in others:
        for path, place in record['clips'].items():
            if path in wanted:
                _put_back(videos / path, str(folder / place))
        (folder / record['path']).unlink()


def _leave_nothing_else(folder: Path, planned: Mapping[str, object]) -> None:
    wanted = {SHARDS, *planned, *map(index_name, planned)}
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()


def _remove_empty(folder: Path) -> None:
    """Remove the folders below it, and itself, in which nothing is left."""
    for path, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)


def _keep_records(space: Workspace, records: Sequence[Record]) -> None:
    folder = space.records(FOLDER)
    old = [*folder.glob('*.part')]
    write_lines(folder / 'all.jsonl', records)
    for file in old:
        file.unlink()


def _placed(
    split: str,
    rows: Iterable[ClipRow],
    planned: Mapping[str, Sequence[Video]],
    places: Mapping[str, Mapping[str, str]],
) -> Iterator[ClipRow]:
    of_split = {
        video.path: places[name][video.path]
        for name, part in planned.items()
        if name.rpartition('-')[0] == split
        for video in part
    }
    return (replace(row, path=of_split[row.path]) for row in rows)
