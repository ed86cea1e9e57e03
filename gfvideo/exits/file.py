"""The file that keeps a calibration beside its checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any

from ..files import write_atomically
from .calibration import Calibration, Setting
from .confidence import CRITERIA, STATE_CRITERIA
from .rules import StepExits, StreamExits, from_plain, to_plain

__all__ = ['ExitsFileError', 'read_exits', 'write_exits']

FORMAT = 1
KINDS = dict(steps=StepExits, stream=StreamExits)
_ANEW = 'calibrate again with tools/calibrate.py CONFIG CHECKPOINT --split NAME'
_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


class ExitsFileError(ValueError):
    """A file of exits cannot be used; the message names the file, the field, its value and the remedy."""


def write_exits(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration as JSON, with a hash of it; the final name only ever means a complete file.

    Raises:
        ExitsFileError: if the calibration is none that :func:`read_exits` would take.
    """
    path = Path(path)
    content = dict(
        format=FORMAT,
        kind=calibration.kind,
        unit=calibration.unit,
        costs=calibration.costs,
        source=calibration.source,
        chosen=calibration.chosen % max(1, len(calibration.sweep)),
        sweep=[
            dict(
                exits=to_plain(setting.exits),
                accuracy=setting.accuracy,
                costs=setting.costs,
                counts=list(setting.counts),
            )
            | ({} if setting.probability is None else dict(probability=setting.probability))
            for setting in calibration.sweep
        ],
    )
    try:
        content = _strict_json(json.dumps(content))  # as a reader will see it
    except ValueError as error:
        raise ExitsFileError(
            f'{path}: the calibration holds a value that cannot be written ({error}); {_ANEW}'
        ) from error
    _check(content, path)
    text = json.dumps(content | dict(hash=_hash(content)), indent=1) + '\n'
    write_atomically(path, text.encode())


def read_exits(path: str | Path) -> Calibration:
    """Read what :func:`write_exits` wrote.

    A file whose content is not that of its hash was edited, and its accuracies and costs are not
    what was measured: it is refused. A file of earlier versions has no hash and is read with a warning.

    Raises:
        FileNotFoundError: if there is no such file.
        ExitsFileError: if it is no file of exits, of another format, was changed, or a field has a value that
            no calibration gives it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'no exits at {path}; make them with tools/calibrate.py CONFIG CHECKPOINT --split NAME'
        )
    try:
        content = _strict_json(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:  # text that is no UTF-8 or no JSON, or nested without end
        raise ExitsFileError(
            f'{path} is no file of exits ({type(error).__name__}: {str(error)[:200]}); {_ANEW}'
        ) from error
    if not isinstance(content, dict) or 'format' not in content:
        raise ExitsFileError(
            f'{path} is no file of exits: it holds {_short.repr(content)}, no object with a format; {_ANEW}'
        )
    if content['format'] != FORMAT or isinstance(content['format'], bool):
        raise ExitsFileError(
            f'{path} has format {_short.repr(content["format"])}, this version reads {FORMAT}; {_ANEW}'
        )
    hash_ = content.pop('hash', None)
    if hash_ is None:
        warnings.warn(
            f'{path} has no hash of its content, as those of earlier versions: whether it was edited cannot '
            f'be told; {_ANEW} to be sure',
            stacklevel=2,
        )
    elif hash_ != _hash(content):
        raise ExitsFileError(
            f'{path} was changed since it was written: its content has not the hash {_short.repr(hash_)} '
            f'that it names, so its accuracies and costs need not be what was measured; {_ANEW}. Another '
            'setting of the sweep is chosen when the file is used, with a budget'
        )
    _check(content, path)
    sweep = tuple(
        Setting(
            from_plain(one['exits']),
            float(one['accuracy']),
            one['costs'],
            tuple(one['counts']),
            one.get('probability'),
        )
        for one in content['sweep']
    )
    return Calibration(
        content['kind'], content['unit'], sweep, content['costs'], content['source'], content['chosen']
    )


def _strict_json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f'{name} is no JSON')

    return json.loads(text, parse_constant=refuse)


def _hash(content: Mapping[str, Any]) -> str:
    """sha256 of the content without its hash, whatever the order of keys and the spaces in the file."""
    text = json.dumps(
        {key: value for key, value in content.items() if key != 'hash'}, sort_keys=True, separators=(',', ':')
    )
    return hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------ every field


class _Fault(ValueError):
    """A field has a value that it cannot have."""


def _check(content: Mapping[str, Any], path: Path) -> None:
    try:
        _check_calibration(content)
    except _Fault as fault:
        raise ExitsFileError(f'{path}: {fault}; {_ANEW}') from None


def _require(holds: bool, place: str, value: Any, wanted: str) -> None:
    if not holds:
        raise _Fault(f'{place} is {_short.repr(value)}, but must be {wanted}')


def _fields(place: str, value: Any, names: tuple[str, ...]) -> None:
    """``value`` is an object with exactly these fields."""
    inside = f'{place}.' if place else ''
    _require(isinstance(value, dict), place or 'the file', value, 'an object')
    for name in names:
        if name not in value:
            raise _Fault(f'{inside}{name} is missing')
    for name in value:
        if name not in names:
            raise _Fault(f'{inside}{_short.repr(name)[1:-1]} is unknown; the fields are {", ".join(names)}')


def _is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value) and low <= value <= high
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_calibration(content: Mapping[str, Any]) -> None:
    _fields('', content, ('format', 'kind', 'unit', 'costs', 'source', 'chosen', 'sweep'))
    kind, unit, costs, sweep = (content[name] for name in ('kind', 'unit', 'costs', 'sweep'))
    _require(isinstance(kind, str) and kind in KINDS, 'kind', kind, ' or '.join(map(repr, KINDS)))
    _require(isinstance(costs, dict) and len(costs) > 0, 'costs', costs, 'an object, unit to costs')
    _require(isinstance(unit, str) and unit in costs, 'unit', unit, f'one of the costs {", ".join(costs)}')
    for name, values in costs.items():
        _require(
            isinstance(values, list) and len(values) > 0,
            f'costs.{name}',
            values,
            'a list, a cost for the glance and each look',
        )
        for number, value in enumerate(values):
            _require(_is_number(value, 0), f'costs.{name}[{number}]', value, 'a number of 0 or more')
        _require(
            len(values) == len(costs[unit]),
            f'costs.{name}',
            values,
            f'{len(costs[unit])} numbers, as in costs.{unit}',
        )
    _require(isinstance(content['source'], dict), 'source', content['source'], 'an object')
    for name in ('model', 'data'):
        _require(
            isinstance(content['source'].get(name), dict | None),
            f'source.{name}',
            content['source'].get(name),
            'an object or null',
        )
    _require(isinstance(sweep, list) and len(sweep) > 0, 'sweep', sweep, 'a list of settings')
    for number, setting in enumerate(sweep):
        _check_setting(f'sweep[{number}]', setting, kind, costs, steps=len(costs[unit]) - 1)
    for number, (before, setting) in enumerate(zip(sweep, sweep[1:]), 1):
        place = f'sweep[{number}]'
        _require(
            setting['costs'][unit] > before['costs'][unit],
            f'{place}.costs.{unit}',
            setting['costs'][unit],
            f'above {before["costs"][unit]}, that of the setting before: cheapest first',
        )
        _require(
            _tells_probability(setting) == _tells_probability(before),
            place,
            setting,
            'with a probability, or all without, as those of earlier versions',
        )
        surer = setting.get('probability', 0) > before.get('probability', 0)
        _require(
            setting['accuracy'] > before['accuracy'] or surer,
            f'{place}.accuracy',
            setting['accuracy'],
            f'above {before["accuracy"]}, that of the cheaper setting before'
            + (', or its probability above' if _tells_probability(setting) else ''),
        )
        clips = sum(before['counts'])
        _require(
            sum(setting['counts']) == clips,
            f'{place}.counts',
            setting['counts'],
            f'of {clips} clips, as in the setting before',
        )
    chosen = content['chosen']
    _require(
        _is_count(chosen) and chosen < len(sweep),
        'chosen',
        chosen,
        f'the number of a setting, 0 to {len(sweep) - 1}',
    )


def _tells_probability(setting: Any) -> bool:
    return isinstance(setting, dict) and 'probability' in setting


def _check_setting(place: str, setting: Any, kind: str, costs: Mapping[str, list], steps: int) -> None:
    shares = ('accuracy', 'probability') if _tells_probability(setting) else ('accuracy',)
    _fields(place, setting, ('exits', *shares, 'costs', 'counts'))
    for name in shares:
        _require(_is_number(setting[name], 0, 1), f'{place}.{name}', setting[name], 'a number from 0 to 1')
    _fields(f'{place}.costs', setting['costs'], tuple(costs))
    for name, value in setting['costs'].items():
        _require(_is_number(value, 0), f'{place}.costs.{name}', value, 'a number of 0 or more')
    counts = setting['counts']
    _require(
        isinstance(counts, list) and len(counts) > 0, f'{place}.counts', counts, 'a list of numbers of clips'
    )
    for number, value in enumerate(counts):
        _require(
            _is_count(value), f'{place}.counts[{number}]', value, 'a number of clips, whole and 0 or more'
        )
    _check_rule(f'{place}.exits', setting['exits'], kind, steps)
    if kind == 'steps':
        _require(
            len(counts) == steps + 1, f'{place}.counts', counts, f'{steps + 1} numbers, one after each step'
        )
    else:
        stop = setting['exits']['stop']
        _require(
            len(stop) < len(counts),
            f'{place}.exits.stop',
            stop,
            f'{len(counts) - 1} thresholds or fewer: counts has {len(counts)} frames, the last needs none',
        )


def _check_rule(place: str, rule: Any, kind: str, steps: int) -> None:
    lists = ('thresholds',) if kind == 'steps' else ('enough', 'stop')
    names = (*lists, 'criterion', 'temperature')
    if isinstance(rule, dict) and 'rule' in rule:  # a class of your own, with fields of its own
        own = rule['rule']
        _require(isinstance(own, str), f'{place}.rule', own, 'the name of a class of exits')
        _fields(place, {name: rule[name] for name in names if name in rule}, names)
    else:
        _fields(place, rule, names)
    for name in lists:
        _require(isinstance(rule[name], list), f'{place}.{name}', rule[name], 'a list of thresholds')
        for number, value in enumerate(rule[name]):
            _require(
                value is None or _is_number(value),
                f'{place}.{name}[{number}]',
                value,
                'a number, or null for an exit that is never taken',
            )
    _require(
        len(rule[lists[0]]) == steps,
        f'{place}.{lists[0]}',
        rule[lists[0]],
        f'{steps} thresholds, one for each of the costs but the last',
    )
    _require(
        isinstance(rule['criterion'], str) and rule['criterion'] in (*CRITERIA, *STATE_CRITERIA),
        f'{place}.criterion',
        rule['criterion'],
        ' or '.join(map(repr, (*CRITERIA, *STATE_CRITERIA))),
    )
    temperature = rule['temperature']
    _require(
        _is_number(temperature, 0) and float(temperature) > 0,
        f'{place}.temperature',
        temperature,
        'a number above 0',
    )
    if 'rule' in rule:
        try:
            made = from_plain(rule)
        except ValueError as error:
            raise _Fault(f'{place}: {error}') from error
        _require(kind in made.kinds, f'{place}.rule', rule['rule'], f'exits of {kind}')
