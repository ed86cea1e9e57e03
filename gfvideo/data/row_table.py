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

__all__ = ['KINDS', 'MORE', 'MOST', 'ClipRow', 'RowTable', 'table_file']

KINDS = ('video', 'frames', 'image')
MOST = 2**31 - 1
"""The largest number that a row may hold."""
MAGIC = b'gfvideo rows, version 1\n'
MAGIC_WITH_MORE = b'gfvideo rows, version 2\n'
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
        frames: how many frames decode, or None if not counted.
        height, width: size in pixels as shown (rotation applied), or None.
        labels: class numbers in ascending order, of a clip that may have several classes; ``label`` is None
            then. Empty of a clip that has one.
        start, end: seconds from the first frame: frames shown from ``start`` on and before ``end`` are the
            clip; None: from the first one on, up to the last one.
    """

    id: str
    path: str
    kind: str
    label: int | None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    labels: tuple[int, ...] = ()
    start: float | None = None
    end: float | None = None

    @property
    def all_labels(self) -> tuple[int, ...]:
        """Its class numbers, be there one, several or none."""
        return self.labels if self.label is None else (self.label,)

    @property
    def more(self) -> dict[str, Any]:
        """What only some rows have, by its name, without what this row has not."""
        said: dict[str, Any] = {'labels': list(self.labels)} if self.labels else {}
        said |= {} if self.start is None else {'start': self.start}
        return said if self.end is None else said | {'end': self.end}


MORE = ('labels', 'start', 'end')
"""What only some rows have."""


@dataclass(frozen=True, eq=False)
class RowTable(Sequence[ClipRow]):
    """Rows as columns; a row is made when it is asked for.

    Attributes:
        ends: int64 ``(2 * N + 1,)``, where the id and then the path of each row end in ``text``, from 0; or
            ``(3 * N + 1,)`` if after the path comes, as JSON, what only some rows have.
        numbers: int32 ``(4, N)``, label (the largest one of several), frames, height and width; -1 where
            there is none.
        kinds: uint8 ``(N,)``, places in KINDS.
        text: uint8, all ids, paths and the rest in UTF-8.
        hash: of all rows, see :func:`gfvideo.data.manifest.rows_hash`; '' if not computed.
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
        parts = 2
        for row in rows:
            more = row.more
            if more and parts == 2:
                parts, ends = 3, _spread(ends)
            for said in (row.id, row.path, json.dumps(more) if more else '')[:parts]:
                text += said.encode('utf-8', 'surrogatepass')
                ends.append(len(text))
            kinds.append(KINDS.index(row.kind))
            label = max(row.all_labels, default=None)
            for column, value in zip(numbers, (label, row.frames, row.height, row.width), strict=True):
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
        parts = self._parts
        at = self.ends[parts * place : parts * (place + 1) + 1].tolist()
        numbers = self.numbers[:, place].tolist()
        label, frames, height, width = (None if number < 0 else number for number in numbers)
        name, path, more = self._said(at[0], at[1]), self._said(at[1], at[2]), {}
        if parts == 3 and at[3] > at[2]:
            more = json.loads(self._said(at[2], at[3]))
            if 'labels' in more:
                label, more['labels'] = None, tuple(more['labels'])
        return ClipRow(name, path, KINDS[self.kinds[place]], label, frames, height, width, **more)

    @property
    def _parts(self) -> int:
        """Texts a row."""
        return 3 if len(self.kinds) and len(self.ends) == 3 * len(self.kinds) + 1 else 2

    def __iter__(self) -> Iterator[ClipRow]:
        return (self[index] for index in range(len(self)))

    @property
    def labels(self) -> np.ndarray:
        """Int32 ``(N,)``, the largest one of several; -1 where there is none."""
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
        magic = MAGIC if self._parts == 2 else MAGIC_WITH_MORE
        head = (magic + json.dumps(said).encode()).ljust(HEAD, b'\n')
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
        sizes = dict(
            ends=8 * (said['parts'] * count + 1), numbers=16 * count, kinds=count, text=said['bytes']
        )
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
    if len(head) != HEAD or not head.startswith((MAGIC, MAGIC_WITH_MORE)):
        return None
    said = json.loads(head[len(MAGIC) :])
    kinds = dict(text=str, rows=str, count=int, bytes=int, content=str)
    if not isinstance(said, dict) or {key: type(value) for key, value in said.items()} != kinds:
        return None
    if min(said['count'], said['bytes']) < 0:
        return None
    return said | dict(parts=2 if head.startswith(MAGIC) else 3)


def _spread(ends: array) -> array:
    """Ends of two texts a row as those of three, the third one empty."""
    spread = array('q', [0])
    for place in range(1, len(ends), 2):
        spread.extend((ends[place], ends[place + 1], ends[place + 1]))
    return spread


def _again(file: Path, hash: str, count: int, chosen: np.ndarray | None) -> RowTable:
    with file.open('rb') as opened:
        said = _said_of(opened.read(HEAD))
    table = None
    if said is not None and (said['rows'], said['count']) == (hash, count):
        table = RowTable._mapped(file, said)
    if table is None:
        raise RuntimeError(f'{file} changed while it was in use; start again')
    return table if chosen is None else table.take(chosen)
