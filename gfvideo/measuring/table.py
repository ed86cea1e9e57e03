"""A table of comparisons that is measured row by row, kept in a file, and gone on with where it was left."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .load import BUSY, Load

__all__ = ['MeasuredRow', 'Table', 'machine']


class MeasuredRow(NamedTuple):
    """A row.

    Attributes:
        ours_ms, plain_ms: of one clip, or one frame.
        wall, cpu: quartiles of plain / ours, by the clock and of the time of the processors.
        limit: the ratio that a machine without overhead would reach; None where there is none.
        mark: the least ratio that is asked for; None where nothing is.
        others: share of the processors that other work took meanwhile; None where the system does not tell.
    """

    ours_ms: float
    plain_ms: float
    wall: tuple[float, float, float]
    cpu: tuple[float, float, float]
    limit: float | None = None
    mark: float | None = None
    others: float | None = None

    @property
    def reached(self) -> float | None:
        """Share of the limit, by the processors' time."""
        return None if self.limit is None else self.cpu[1] / self.limit


HEAD = (
    f'{"":50} {"ours ms":>8} {"plain ms":>8}  {"plain / ours":>20}  {"of CPU time":>20} {"limit":>6}'
    f' {"of it":>6} {"mark":>6}'
)


def as_line(name: str, row: MeasuredRow) -> str:
    """A row as a line below HEAD; with a star where the mark is not reached, and a word if the machine was
    busy."""
    wall, cpu = (f'{half:.2f} ({low:.2f} to {high:.2f})' for low, half, high in (row.wall, row.cpu))
    limit = '' if row.limit is None else f'{row.limit:.2f}'
    reached = '' if row.reached is None else f'{100 * row.reached:.0f} %'
    mark = '' if row.mark is None else f'{row.mark:.2f}' + ('*' if row.cpu[1] < row.mark else '')
    busy = f'  busy: {row.others:.0%} other work' if row.others is not None and row.others > BUSY else ''
    return (
        f'{name:50} {row.ours_ms:8.2f} {row.plain_ms:8.2f}  {wall:>20}  {cpu:>20} {limit:>6} {reached:>6}'
        f' {mark:>6}{busy}'
    )


def machine() -> dict[str, Any]:
    """What the numbers are of."""
    versions = {}
    for library in ('torch', 'onnxruntime', 'torchcodec', 'av', 'decord', 'mmaction2'):
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return dict(
        processor=_processor(), cores=os.cpu_count(), python=platform.python_version(), versions=versions
    )


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    return next(named, platform.machine())


def _quartiles(told: list[float]) -> tuple[float, float, float]:
    low, middle, high = told
    return low, middle, high


class Table:
    """Rows by name, in a file.

    Args:
        path: JSON; what is in it is gone on with. None keeps no file.
        settings: of all rows.
        again: whether rows that are there are measured once more.

    Raises:
        ValueError: if the file holds rows of other settings or another machine, or is no such table.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], again: bool = False):
        self.path, self.settings = path, json.loads(json.dumps(dict(settings)))
        self.machine = json.loads(json.dumps(machine()))
        self.rows: dict[str, MeasuredRow] = {}
        if path is not None and path.exists() and not again:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            told = json.loads(path.read_text())
            rows = {
                name: MeasuredRow(**row | dict(wall=_quartiles(row['wall']), cpu=_quartiles(row['cpu'])))
                for name, row in told['rows'].items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path} is no table of this tool ({error}); give another --out') from error
        for name, ours in (('settings', self.settings), ('machine', self.machine)):
            if told.get(name) != ours:
                raise ValueError(
                    f'{path} holds rows of other {name}, {told.get(name)} and not {ours}; give another --out,'
                    ' or --again to measure all anew'
                )
        self.rows = rows

    def _write(self) -> None:
        if self.path is None:
            return
        rows = {name: row._asdict() for name, row in self.rows.items()}
        told = dict(machine=self.machine, settings=self.settings, rows=rows)
        part = self.path.with_name(f'.{self.path.name}.part')
        part.write_text(json.dumps(told, indent=1) + '\n')
        part.replace(self.path)

    def measure(self, rows: Mapping[str, Callable[[], MeasuredRow]]) -> None:
        """Measure those of ``rows`` that are not there yet, and write the file after each: what is
        interrupted goes on where it was.

        A row whose library is not installed is left out, and a line says so.
        """
        print(f'{self.machine["processor"]}, {self.machine["cores"]} cores, {self.machine["versions"]}')
        print(HEAD, flush=True)
        for number, (name, run) in enumerate(rows.items(), 1):
            if name not in self.rows:
                print(f'{number}/{len(rows)} {name} ...', end='\r', flush=True)
                load = Load()
                try:
                    found = run()
                except ImportError as error:
                    print(f'{name:50} left out: {error}', flush=True)
                    continue
                self.rows[name] = found._replace(others=load.others())
                self._write()
            print(as_line(name, self.rows[name]), flush=True)
        if any((self.rows[name].others or 0) > BUSY for name in rows if name in self.rows):
            print(
                'the machine was busy: trust the ratios of CPU time alone, and repeat with --again when it is'
                ' idle'
            )
