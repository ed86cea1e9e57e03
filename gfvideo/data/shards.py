"""Shards: tar files of many clips in webdataset's form, of which single clips are read by their place.

A clip is the members ``KEY.mp4``, ``KEY.json`` (its row) and, with one class, ``KEY.cls`` (the class number).
Rows name a video in a shard by ``SHARD.tar/OFFSET+SIZE/KEY.mp4``, so whoever has the path can read it: one
range of bytes, no handle that stays open, nothing to look up. ``shards.json`` beside the shards says how long
each is; ``<shard>.index.jsonl``, for other tools, where its members lie.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from ..files import write_atomically
from .remote import fetch_file, fetch_range, is_address, joined, listed_sizes

__all__ = [
    'SHARDS',
    'Member',
    'Shard',
    'ShardError',
    'check_shards',
    'index_name',
    'member_of',
    'read_member',
    'read_shard_list',
    'write_shard_index',
    'write_shard_list',
]

SHARDS = 'shards.json'
"""Name of the list of the shards, beside them."""
MEMBER = re.compile(r'(?P<shard>.+\.tar)/(?P<offset>\d+)\+(?P<size>\d+)/(?P<name>[^/]+)', re.DOTALL)


class ShardError(ValueError):
    """Shards or their index are missing, cut off or malformed; the message names the file and the remedy."""


class Member(NamedTuple):
    """A file in a shard.

    Attributes:
        shard: path or address of the tar file.
        offset, size: of its content, in bytes.
        name: of the file.
    """

    shard: str
    offset: int
    size: int
    name: str

    @property
    def path(self) -> str:
        return f'{self.shard}/{self.offset}+{self.size}/{self.name}'


def member_of(path: str) -> Member | None:
    """What a path of the form ``SHARD.tar/OFFSET+SIZE/NAME`` names; None of any other path."""
    match = MEMBER.fullmatch(path) if '.tar/' in path else None
    return match and Member(match['shard'], int(match['offset']), int(match['size']), match['name'])


def read_member(member: Member) -> bytes:
    """The content of a file in a shard.

    No file stays open, so processes may fork whenever they like.

    Raises:
        FileNotFoundError: if the shard is not there.
        EOFError: if the shard ends before the file does.
        OSError: if it cannot be read.
        ImportError: see :func:`gfvideo.data.remote.fetch_file`.
    """
    if is_address(member.shard):
        content = fetch_range(member.shard, member.offset, member.size)
    else:
        with open(member.shard, 'rb', buffering=0) as file:
            content = os.pread(file.fileno(), member.size, member.offset)
    if len(content) != member.size:
        raise EOFError(
            f'it ends within {member.name}: {len(content)} of {member.size} bytes are there from'
            f' {member.offset} on'
        )
    return content


# ---------------------------------------------------------------------------------------------- lists of them


@dataclass(frozen=True, slots=True)
class Shard:
    """An entry of the list.

    Attributes:
        shard: name of the tar file.
        bytes: of the whole file.
        clips: how many videos it holds.
    """

    shard: str
    bytes: int
    clips: int


def index_name(shard: str) -> str:
    """Name of the index of a shard: a line a member, ``[name, offset, size]``."""
    return f'{shard.removesuffix(".tar")}.index.jsonl'


def write_shard_index(folder: Path, shard: str, members: Iterable[Sequence[str | int]]) -> None:
    """Write where the members ``(name, offset, size)`` of a shard lie."""
    lines = (json.dumps(list(member), ensure_ascii=False).encode() + b'\n' for member in members)
    write_atomically(folder / index_name(shard), lines)


def write_shard_list(folder: Path, shards: Iterable[Shard]) -> None:
    """Write the list of the shards in ``folder``."""
    text = json.dumps([asdict(shard) for shard in shards], ensure_ascii=False, indent=1)
    write_atomically(folder / SHARDS, f'{text}\n'.encode())


def read_shard_list(videos: str | Path) -> list[Shard]:
    """The list of the shards in a folder or at an address.

    Raises:
        ShardError: if it is missing or malformed.
        OSError, ImportError: if it cannot be read.
    """
    file = joined(videos, SHARDS)
    try:
        content = fetch_file(file) if is_address(file) else Path(file).read_bytes()
    except FileNotFoundError as error:
        raise ShardError(
            f'{file} is missing, so it is unknown whether the shards are whole; copy it too, or prepare the'
            ' dataset again'
        ) from error
    try:
        return [
            Shard(str(said['shard']), int(said['bytes']), int(said['clips'])) for said in json.loads(content)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ShardError(
            f'{file}: no list of shards ({error!r}); copy it again, or prepare the dataset again'
        ) from error


def check_shards(videos: str | Path, split: str) -> None:
    """Whether the shards of a split are there and as long as the list says.

    At an address that does not tell sizes, a shard that is cut off shows when a clip is read.

    Raises:
        ShardError: naming the first shard that is missing or has another length.
        OSError, ImportError: if they cannot be read.
    """
    shards = [shard for shard in read_shard_list(videos) if shard.shard.startswith(f'{split}-')]
    sizes = listed_sizes(videos) if is_address(videos) else _sizes(Path(videos))
    for shard in shards if sizes is not None else ():
        assert sizes is not None  # for the checker of types
        place = joined(videos, shard.shard)
        if shard.shard not in sizes:
            raise ShardError(
                f'{place} is missing, which {SHARDS} beside it names; copy it, or prepare the dataset again'
            )
        if sizes[shard.shard] != shard.bytes:
            raise ShardError(
                f'{place} has {sizes[shard.shard]} bytes and {SHARDS} beside it says {shard.bytes}: it is cut'
                ' off or another one; copy it again, or prepare the dataset again'
            )


def _sizes(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.name.endswith('.tar')}
