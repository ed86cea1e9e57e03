"""What was done to each clip, kept so that a killed run loses at most the clips in flight.

Every process that works appends to a file of its own, one JSON object a line, in one write; none rewrites
another's lines. When a step is done its files are merged into one, in the order of the clips, so that the
same inputs leave the same bytes.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gfvideo.files import write_atomically

__all__ = ['Record', 'Recorder', 'iter_records', 'merge_records', 'read_lines', 'source_key', 'write_lines']

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
    stat = os.stat(path)
    return f'{stat.st_size}-{stat.st_mtime_ns}'
