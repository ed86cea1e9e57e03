"""The rows of a split as columns: a few bytes a clip, which processes share where they lie in a file.

A file of rows is JSON, for people and other tools, and stays the truth. The table beside it is made of it
once, says of which content it was made, and is looked up instead while that content is the same.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..files import write_atomically

__all__ = ['KINDS', 'MOST', 'ClipRow', 'RowTable', 'table_file']

KINDS = ('video', 'frames', 'image')
MOST = 2**31 - 1
"""The largest number that a row may hold."""
MAGIC = b'gfvideo rows, version 1\n'
HEAD = 512
"""Bytes before the columns."""
PIECE = 2**22
NUMBERS = ('label', 'frames', 'height', 'width')


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One labelled clip.

    Attributes:
        id: its name, unique in its split.
        path: of the video file or the folder of frames, relative to the dataset's ``video_root``, with ``/``.
        kind: ``'video'``, ``'frames'`` (a folder of images) or ``'image'`` (a picture, of one frame).
        label: class number, from 0; None where the annotation tells none (test splits).
        frames: how many frames decode, or None if nobody counted.
        height, width: size in pixels as shown (rotation applied), or None.
    """

    id: str
    path: str
    kind: str
    label: int | None
    frames: int | None = None
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True, eq=False)
class RowTable(Sequence[ClipRow]):
    """Rows as columns; a row is made when it is asked for.

    Attributes:
        ends: int64 ``(2 * N + 1,)``, where the id and then the path of each row end in ``text``, from 0.
        numbers: int32 ``(4, N)``, label, frames, height and width; -1 where there is none.
        kinds: uint8 ``(N,)``, places in KINDS.
        text: uint8, all ids and paths in UTF-8.
        hash: of all rows, see :func:`gfvideo.data.manifest.rows_hash`; '' where nobody asked.
        chosen: int64, the rows that are in it, in order; None for all.
        file: that the columns lie in, None for memory.
    """

    ends: np.ndarray
    numbers: np.ndarray
    kinds: np.ndarray
    text: np.ndarray
    hash: str = ''
    chosen: np.ndarray | None = None
    file: Path | None = None

    @classmethod
    def of(cls, rows: Iterable[ClipRow], hash: str = '') -> RowTable:
        """A table in memory.

        Raises:
            OverflowError: on numbers above :data:`MOST`.
        """
        text, ends, kinds = bytearray(), array('q', [0]), bytearray()
        numbers = [array('i') for _ in NUMBERS]
        for row in rows:
            text += row.id.encode('utf-8', 'surrogatepass')
            ends.append(len(text))
            text += row.path.encode('utf-8', 'surrogatepass')
            ends.append(len(text))
            kinds.append(KINDS.index(row.kind))
            for column, value in zip(numbers, (row.label, row.frames, row.height, row.width), strict=True):
                column.append(-1 if value is None else value)
        return cls(
            np.frombuffer(ends, np.int64),
            np.array([np.frombuffer(column, np.int32) for column in numbers]),
            np.frombuffer(kinds, np.uint8),
            np.frombuffer(text, np.uint8),
            hash,
        )

    def __len__(self) -> int:
        return len(self.kinds if self.chosen is None else self.chosen)

    @overload
    def __getitem__(self, index: int) -> ClipRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[ClipRow]: ...
    def __getitem__(self, index: int | slice) -> ClipRow | list[ClipRow]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f'row {index} of {len(self)}')
        place = index % len(self) if self.chosen is None else int(self.chosen[index])
        start, middle, end = self.ends[2 * place : 2 * place + 3].tolist()
        label, *counted = (None if number < 0 else number for number in self.numbers[:, place].tolist())
        return ClipRow(
            self._said(start, middle), self._said(middle, end), KINDS[self.kinds[place]], label, *counted
        )

    def __iter__(self) -> Iterator[ClipRow]:
        return (self[index] for index in range(len(self)))

    @property
    def labels(self) -> np.ndarray:
        """Int32 ``(N,)``; -1 where there is none."""
        return self.numbers[0] if self.chosen is None else self.numbers[0][self.chosen]

    def take(self, places: np.ndarray) -> RowTable:
        """The rows at ``places``, in their order; the columns stay where they are."""
        chosen = places if self.chosen is None else self.chosen[places]
        return RowTable(self.ends, self.numbers, self.kinds, self.text, self.hash, chosen, self.file)

    def save(self, file: Path, text_hash: str) -> None:
        """Write all rows, so that :meth:`load` finds them.

        Args:
            file: where to write.
            text_hash: sha256 of the text that they were read from.

        Raises:
            OSError: if it cannot be written.
        """
        digest = hashlib.sha256()
        for column in self._columns():
            digest.update(column.tobytes())
        said = dict(
            text=text_hash,
            rows=self.hash,
            count=len(self.kinds),
            bytes=len(self.text),
            content=digest.hexdigest(),
        )
        head = (MAGIC + json.dumps(said).encode()).ljust(HEAD, b'\n')
        write_atomically(file, chain([head], (column.tobytes() for column in self._columns())))

    @classmethod
    def load(cls, file: Path, text_hash: str) -> RowTable | None:
        """The table in ``file``, mapped into memory; None unless it is whole and of the text with this
        hash."""
        try:
            with file.open('rb') as opened:
                said = _said_of(opened.read(HEAD))
                if said is None or said['text'] != text_hash:
                    return None
                digest = hashlib.sha256()
                while piece := opened.read(PIECE):
                    digest.update(piece)
            if digest.hexdigest() != said['content']:
                return None
            return cls._mapped(file, said)
        except (OSError, ValueError):
            return None

    @classmethod
    def _mapped(cls, file: Path, said: dict[str, Any]) -> RowTable | None:
        count = said['count']
        sizes = dict(ends=8 * (2 * count + 1), numbers=16 * count, kinds=count, text=said['bytes'])
        content = np.memmap(file, np.uint8, 'r', HEAD).view(np.ndarray)
        if len(content) != sum(sizes.values()):
            return None
        ends, numbers, kinds, text = np.split(content, np.cumsum(list(sizes.values())[:-1]))
        table = cls(
            ends.view(np.int64),
            numbers.view(np.int32).reshape(4, count),
            kinds,
            text,
            said['rows'],
            file=file,
        )
        return table if table._sound() else None

    def _sound(self) -> bool:
        """Whether every row can be made."""
        ends = self.ends
        return bool(
            ends[0] == 0
            and ends[-1] == len(self.text)
            and (ends[:-1] <= ends[1:]).all()
            and (not len(self.kinds) or self.kinds.max() < len(KINDS))
        )

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.ends, self.numbers, self.kinds, self.text

    def _said(self, start: int, end: int) -> str:
        return self.text[start:end].tobytes().decode('utf-8', 'surrogatepass')

    def __reduce__(self) -> tuple[Any, ...]:
        # another process maps the file again; memory is copied
        if self.file is not None:
            return _again, (self.file, self.hash, len(self.kinds), self.chosen)
        return RowTable, (*self._columns(), self.hash, self.chosen)


def table_file(file: Path) -> Path:
    """Where the table of a file of rows stands."""
    return file.with_name(f'{file.name}.table')


def _said_of(head: bytes) -> dict[str, Any] | None:
    """What the head of a file says, if it is one of a table."""
    if len(head) != HEAD or not head.startswith(MAGIC):
        return None
    said = json.loads(head[len(MAGIC) :])
    kinds = dict(text=str, rows=str, count=int, bytes=int, content=str)
    if not isinstance(said, dict) or {key: type(value) for key, value in said.items()} != kinds:
        return None
    return said if min(said['count'], said['bytes']) >= 0 else None


def _again(file: Path, hash: str, count: int, chosen: np.ndarray | None) -> RowTable:
    with file.open('rb') as opened:
        said = _said_of(opened.read(HEAD))
    table = None
    if said is not None and (said['rows'], said['count']) == (hash, count):
        table = RowTable._mapped(file, said)
    if table is None:
        raise RuntimeError(f'{file} changed while it was in use; start again')
    return table if chosen is None else table.take(chosen)
