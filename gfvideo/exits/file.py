"""The file that keeps a calibration beside its checkpoint."""
from __future__ import annotations

import json
from pathlib import Path

from .calibration import Calibration, Setting
from .rules import StepExits, StreamExits, from_plain, to_plain

__all__ = ['ExitsFileError', 'read_exits', 'write_exits']

FORMAT = 1
KINDS = dict(steps=StepExits, stream=StreamExits)


class ExitsFileError(ValueError):
    """A file of exits cannot be used; the message names the file, the reason and the remedy."""


def write_exits(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration as JSON; the final name only ever means a complete file."""
    content = dict(format=FORMAT, kind=calibration.kind, unit=calibration.unit, costs=calibration.costs, source=calibration.source,
                   chosen=calibration.chosen % len(calibration.sweep),
                   sweep=[dict(exits=to_plain(setting.exits), accuracy=setting.accuracy, costs=setting.costs, counts=list(setting.counts))
                          for setting in calibration.sweep])
    path = Path(path)
    part = path.with_name(f'.{path.name}.part')
    try:
        part.write_text(json.dumps(content, indent=1) + '\n')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_exits(path: str | Path) -> Calibration:
    """Read what :func:`write_exits` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ExitsFileError: if it is no file of exits, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no exits at {path}; make them with tools/calibrate.py CONFIG CHECKPOINT --split NAME')
    try:
        content = json.loads(path.read_text())
        found = content.pop('format')
        if found != FORMAT:
            raise ExitsFileError(f'{path} has format {found}, this version reads {FORMAT}; calibrate again with tools/calibrate.py')
        own = {key: content.pop(key) for key in ('kind', 'unit', 'costs', 'chosen')}
        sweep = tuple(Setting(from_plain(one['exits']), one['accuracy'], one['costs'], tuple(one['counts']))
                      for one in content.pop('sweep'))
        if type(own['chosen']) is not int or not 0 <= own['chosen'] < len(sweep):
            raise ValueError(f'chosen is {own["chosen"]} of {len(sweep)} settings')
        if own['unit'] not in own['costs'] or any(set(setting.costs) != set(own['costs']) for setting in sweep):
            raise ValueError(f'not every setting has the costs {sorted(own["costs"])}, of which the unit is {own["unit"]!r}')
        if {type(setting.exits) for setting in sweep} != {KINDS.get(own['kind'])}:
            raise ValueError(f'kind is {own["kind"]!r}, but the exits are {sorted({type(one.exits).__name__ for one in sweep})}')
        return Calibration(sweep=sweep, source=content.pop('source'), **own)
    except ExitsFileError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ExitsFileError(f'{path} is no file of exits ({type(error).__name__}: {error}); make one with tools/calibrate.py') from error
