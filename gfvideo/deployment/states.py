"""What one look leaves for the next, as tensors with names: ``logits``, ``feature_map``, ``memory.hidden``,
...

A tensor of :class:`~gfvideo.structures.LookState` has the name of its field; inside a field, the names or
places of what holds it follow after dots. ``step`` and ``cache`` (of causal streams) have no part in it. A
graph takes the tensors of the look before with ``before.`` in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from ..structures import LookState

__all__ = ['BEFORE', 'fill', 'named_tensors', 'packed']

BEFORE = 'before.'
FIELDS = tuple(field.name for field in fields(LookState) if field.name not in ('step', 'cache'))


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return iter(value.items())
    return zip(getattr(value, '_fields', map(str, range(len(value)))), value)


def _walk(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (tuple, list, Mapping)):
        for key, item in _parts(value):
            yield from _walk(item, f'{name}.{key}')


def named_tensors(state: LookState) -> dict[str, Tensor]:
    """All tensors of a state by name."""
    return {name: tensor for field in FIELDS for name, tensor in _walk(getattr(state, field), field)}


def _filled(value: Any, name: str, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return tensors[name]
    if isinstance(value, Mapping):
        return {key: _filled(item, f'{name}.{key}', tensors) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [_filled(item, f'{name}.{key}', tensors) for key, item in _parts(value)]
        return type(value)(*items) if hasattr(value, '_fields') else type(value)(items)
    return value


def fill(state: LookState, tensors: Mapping[str, Tensor]) -> LookState:
    """``state`` with its tensors replaced by those of the same names."""
    return replace(state, **{field: _filled(getattr(state, field), field, tensors) for field in FIELDS})


def packed(step: int, tensors: Mapping[str, Tensor]) -> LookState:
    """A state from named tensors alone; what had an inner form is a dict of the rest of the names."""
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    for name, tensor in tensors.items():
        field, _, rest = name.partition('.')
        values[field] = {**(values[field] or {}), rest: tensor} if rest else tensor
    return LookState(step, **values)
