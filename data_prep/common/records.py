"""What was done to each clip, kept so that a killed run loses at most the clips in flight.

Every process that works appends to a file of its own, one JSON object a line, in one write; none rewrites
another's lines. When a step is done its files are merged into one, in the order of the clips, so that the
same inputs leave the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import tempfile
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gfvideo.files import file_hash, write_atomically

__all__ = [
    'Record',
    'RecordTable',
    'Recorder',
    'iter_records',
    'merge_records',
    'read_lines',
    'size_in',
    'source_digest',
    'source_key',
    'whole_hash',
    'write_lines',
]

Record = dict[str, Any]


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(',', ':')).encode() + b'\n'


class Recorder:
    """Appends records to a file of its own in ``folder``; a line is there whole when :meth:`add` returns.

    No file is kept open: a cluster's workers outlive the runs, which merge the files and remove them.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._file = self._new_file()

    def _new_file(self) -> Path:
        return self._folder / f'{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part'

    def add(self, record: Record) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        line = _line(record)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            written = os.write(descriptor, line)
        finally:
            os.close(descriptor)
        if written != len(line):
            self._file = self._new_file()  # nothing may follow the torn line
            raise OSError(28, 'No space left on device', str(self._folder))


def read_lines(file: Path) -> Iterator[Record]:
    """The records of a file; a last line that a killed process did not finish is passed over."""
    yield from map(json.loads, _whole_lines(file))


def _whole_lines(file: Path) -> Iterator[bytes]:
    with file.open('rb') as lines:
        yield from (line for line in lines if line.endswith(b'\n'))


def write_lines(file: Path, records: Iterable[Record]) -> None:
    """Write records to ``file``, which appears complete or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, map(_line, records))


def iter_records(folder: Path) -> Iterator[Record]:
    """The records of all runs of a step, merged ones first, so that the later one of a clip comes later."""
    for file in _files(folder):
        yield from read_lines(file)


class RecordTable:
    """The last record of each path, looked up where it stands: about twenty bytes of memory a record."""

    OPEN = 64  # files at a time

    def __init__(self, folder: Path, has: Callable[[str], bool] = lambda path: True):
        """
        Args:
            folder: of the records of a step.
            has: of a path; records of others are passed over.
        """
        self._files, self._open = _files(folder), {}
        hashes, numbers, places = array('q'), array('i'), array('q')
        for number, file in enumerate(self._files):
            place = 0
            for line in _whole_lines(file):
                path = json.loads(line)['path']
                if has(path):
                    hashes.append(hash(path))
                    numbers.append(number)
                    places.append(place)
                place += len(line)
        order = np.argsort(np.frombuffer(hashes, np.int64), kind='stable') if hashes else []
        self._hashes, self._numbers, self._places = (
            np.frombuffer(column, kind)[order] if hashes else np.empty(0, kind)
            for column, kind in ((hashes, np.int64), (numbers, np.int32), (places, np.int64))
        )

    def __len__(self) -> int:
        """How many records, earlier ones of a path included."""
        return len(self._hashes)

    def get(self, path: str) -> Record | None:
        at = int(np.searchsorted(self._hashes, hash(path), side='right')) - 1
        if at < 0 or self._hashes[at] != hash(path):
            return None
        file = self._file(int(self._numbers[at]))
        file.seek(int(self._places[at]))
        record = json.loads(file.readline())
        return record if record['path'] == path else None

    def _file(self, number: int) -> BinaryIO:
        if number not in self._open:
            if len(self._open) >= self.OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[number] = self._files[number].open('rb')
        return self._open[number]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob('*.jsonl')) + sorted(
        folder.rglob('*.part'), key=lambda file: file.stat().st_mtime_ns
    )


def merge_records(folder: Path, name: str, order: Iterable[str]) -> None:
    """Merge the records of a step into ``folder/name.jsonl``: the last one of each path in ``order``, in that
    order."""
    places: dict[int, int] = {}  # hash of the path -> where its last record stands in all_lines
    folder.mkdir(parents=True, exist_ok=True)
    files = _files(folder)
    with tempfile.TemporaryFile(dir=folder) as all_lines:
        for line in (line for file in files for line in _whole_lines(file)):
            places[hash(json.loads(line)['path'])] = all_lines.tell()
            all_lines.write(line)

        def line_at(place: int) -> bytes:
            all_lines.seek(place)
            return all_lines.readline()

        write_atomically(
            folder / f'{name}.jsonl', (line_at(places[hash(path)]) for path in order if hash(path) in places)
        )
    for file in files:
        if file != folder / f'{name}.jsonl':
            file.unlink()
    for of_shard in {file.parent for file in files} - {folder}:
        of_shard.rmdir()


def source_key(path: str, kind: str) -> str:
    """Changes when a source changes: size and time of a file; number, size and time of a folder's files.

    Raises:
        OSError: it is not there or cannot be read.
    """
    if kind == 'frames':
        with os.scandir(path) as entries:
            stats = [entry.stat() for entry in entries if entry.is_file()]
        return (
            f'{len(stats)}-{sum(s.st_size for s in stats)}-{max((s.st_mtime_ns for s in stats), default=0)}'
        )
    told = os.stat(path)
    return f'{told.st_size}-{told.st_mtime_ns}'


def size_in(key: str) -> int:
    """The bytes that a :func:`source_key` tells; 0 if it is none."""
    numbers = key.split('-')
    return int(numbers[-2]) if len(numbers) > 1 and numbers[-2].isdigit() else 0


ENDS = 2**16  # bytes of a file's head and tail


def source_digest(path: str, kind: str) -> str:
    """Tells whether a source whose :func:`source_key` changed is the same after all: its size, and the
    SHA-256 of its first and last 64 KiB; of a folder the names and sizes of its files, and the ends of the
    first and the last.

    Raises:
        OSError: it is not there or cannot be read.
    """
    digest = hashlib.sha256()
    if kind != 'frames':
        _check_plain(path)
        return f'{os.stat(path).st_size}-{_ends(path, digest).hexdigest()[:32]}'
    with os.scandir(path) as entries:
        sizes = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
    for name, size in sizes:
        digest.update(f'{name}/{size}/'.encode(errors='surrogateescape'))
    for name, _ in sizes[:1] + sizes[-1:]:
        _ends(os.path.join(path, name), digest)
    return f'{len(sizes)}-{digest.hexdigest()[:32]}'


def _check_plain(path: str | Path) -> None:
    """Nobody waits for who writes into a pipe."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileNotFoundError(errno.ENOENT, 'no plain file', str(path))


def _ends(path: str, digest: Any) -> Any:
    with open(path, 'rb') as file:
        digest.update(file.read(ENDS))
        size = os.fstat(file.fileno()).st_size
        if size > ENDS:
            file.seek(max(ENDS, size - ENDS))
            digest.update(file.read(ENDS))
    return digest


def whole_hash(path: str | Path, kind: str) -> str:
    """SHA-256 of a file; of a folder, of the lines ``<SHA-256>  <name>`` of its files in the order of names,
    as sha256sum writes them.

    Raises:
        OSError: it is not there or cannot be read.
    """
    if kind != 'frames':
        _check_plain(path)
        return file_hash(path)
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    digest = hashlib.sha256()
    for name in names:
        line = f'{file_hash(os.path.join(path, name))}  {name}\n'
        digest.update(line.encode(errors='surrogateescape'))
    return digest.hexdigest()
