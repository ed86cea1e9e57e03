"""What one look leaves for the next, as tensors with names: ``logits``, ``feature_map``, ``memory.hidden``,
...

A tensor of :class:`~gfvideo.structures.LookState` has the name of its field; inside a field, the names or
places of what holds it follow after dots: ``cache.1.layers.2`` is what a causal stream keeps of step 1 at the
module ``layers.2``. ``step`` has no part in it. A graph takes the tensors of the look before with ``before.``
in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ..models.temporal import Cache
from ..structures import LookState

__all__ = ['BEFORE', 'CACHE', 'FIELDS', 'before_first', 'fill', 'joined', 'named_tensors', 'packed']

BEFORE = 'before.'
FIELDS = tuple(field.name for field in fields(LookState) if field.name != 'step')
CACHE = 'cache'


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


def before_first(cache: tuple[Cache, ...] = ()) -> LookState:
    """What there is before the glance: of a causal stream what the frames before left, else nothing."""
    return LookState(-1, None, cache=cache)  # type: ignore[arg-type]  # no logits yet


def packed(step: int, tensors: Mapping[str, Tensor]) -> LookState:
    """A state from named tensors alone; what had an inner form is a dict of the rest of the names, but for
    the cache, which keeps its form."""
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    caches: list[dict[str, Tensor]] = []
    for name, tensor in tensors.items():
        field, _, rest = name.partition('.')
        if field == CACHE:
            at, _, rest = rest.partition('.')
            caches += [{} for _ in range(int(at) + 1 - len(caches))]
            caches[int(at)][rest] = tensor
        else:
            values[field] = {**(values[field] or {}), rest: tensor} if rest else tensor
    return LookState(step, **{**values, CACHE: tuple(caches)})


def joined(states: Sequence[LookState]) -> LookState:
    """Packed states of several clips as that of a batch."""
    if len(states) == 1:
        return states[0]
    named = [named_tensors(state) for state in states]
    return packed(states[0].step, {name: torch.cat([one[name] for one in named]) for name in named[0]})
