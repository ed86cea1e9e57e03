"""The graphs of an export in onnxruntime, look by look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..models.temporal import Cache
from ..structures import LookState
from .optional import needed
from .states import BEFORE, CACHE, FIELDS

__all__ = ['Plan', 'Sessions', 'as_array', 'cache_place', 'on_device', 'open_session']


class Place(NamedTuple):
    """Where in a state a tensor of a graph lies: ``logits``, ``memory`` at ``hidden``, or the cache of a step
    at the name of a module."""

    field: str
    key: str
    step: int = -1

    @classmethod
    def of(cls, name: str) -> Place:
        field, _, key = name.partition('.')
        if field != CACHE:
            return cls(field, key)
        step, _, key = key.partition('.')
        return cls(field, key, int(step))

    def find(self, state: LookState) -> Tensor:
        value = getattr(state, self.field)
        if self.step >= 0:
            value = value[self.step]
        return value[self.key] if self.key else value


class Plan(NamedTuple):
    """What a graph reads and gives, by place; None for the frames."""

    reads: list[tuple[str, Place | None]]
    names: list[str]
    gives: list[Place]
    carries: list[Place]

    @classmethod
    def of(cls, inputs: Iterable[str], outputs: Iterable[str], carried: Iterable[str]) -> Plan:
        names = [name for name in outputs if name != 'clip_logits']
        return cls(
            [(name, None if name == 'frames' else Place.of(name.removeprefix(BEFORE))) for name in inputs],
            names,
            [Place.of(name) for name in names],
            [Place.of(name) for name in carried],
        )


class Sessions:
    """Runs looks as graphs; nothing is kept between calls, so several threads may share one.

    Args:
        steps: the session of each step 0..S.
        plans: of each step.
        inputs: of all graphs, shapes by name.
    """

    def __init__(
        self,
        steps: Sequence[Any],
        plans: Sequence[Plan],
        inputs: Iterable[Mapping[str, Sequence[int | str]]],
    ):
        self.steps, self._plans = list(steps), list(plans)
        self._cache_shapes = _cache_shapes(inputs)

    def look(self, frames: Tensor, before: LookState) -> LookState:
        """The look after ``before``.

        Args:
            frames: ``(B, T, 3, H, W)`` float32, normalised.
            before: state of the look before; for the glance one of step -1 whose cache is what the frames
                before left, empty at the start.

        Returns:
            A state whose tensors are on the device of the frames; what had an inner form is a dict of the
            rest of the names.
        """
        step = before.step + 1
        plan = self._plans[step]
        cache = self.complete(frames, before.cache) if step == 0 else before.cache
        if cache is not before.cache:
            before = LookState(-1, before.logits, cache=cache)
        feed = {name: as_array(frames if place is None else place.find(before)) for name, place in plan.reads}
        given = on_device(frames.device, self.steps[step].run(plan.names, feed))
        values: dict[str, Any] = dict.fromkeys(FIELDS)
        caches = [dict(part) for part in cache]
        for places, tensors in ((plan.carries, None), (plan.gives, given)):
            for place in places:
                tensor = place.find(before) if tensors is None else next(tensors)
                if place.step >= 0:
                    caches[place.step][place.key] = tensor
                elif place.key:
                    values[place.field] = {**(values[place.field] or {}), place.key: tensor}
                else:
                    values[place.field] = tensor
        return LookState(step, **{**values, CACHE: tuple(caches)})

    def complete(self, frames: Tensor, cache: tuple[Cache, ...]) -> tuple[Cache, ...]:
        """Caches with zeros, which a stream starts with, where no frame took a step yet."""
        if all(
            step < len(cache) and names.keys() <= cache[step].keys() for step, names in self._cache_shapes
        ):
            return cache
        complete: list[dict[str, Tensor]] = [dict(part) for part in cache]
        for step, shapes in self._cache_shapes:
            complete += [{} for _ in range(step + 1 - len(complete))]
            for key, shape in shapes.items():
                if key not in complete[step]:
                    complete[step][key] = torch.zeros(len(frames), *shape, device=frames.device)
        return tuple(complete)


def open_session(
    graph: Path | bytes, threads: int | None = None, providers: Sequence[str] | None = None
) -> Any:
    """A graph, ready to run; its threads do not spin while they wait.

    Several graphs that each kept a pool of spinning threads would take the cores from each other, and from
    the decoder.

    Args:
        graph: a file, or what is in it.
        threads: of a run; None takes a thread a core.
        providers: of onnxruntime; None takes the CPU.
    """
    onnxruntime = needed('onnxruntime')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return onnxruntime.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph),
        options,
        providers=list(providers or ['CPUExecutionProvider']),
    )


def cache_place(name: str) -> tuple[str, int, str]:
    """The name of a causal cache in a graph, of which step it is, and its key there."""
    place = Place.of(name.removeprefix(BEFORE))
    return name, place.step, place.key


def as_array(tensor: Tensor) -> Any:
    """For onnxruntime."""
    if tensor.requires_grad or tensor.device.type != 'cpu':
        tensor = tensor.detach().cpu()
    return tensor.contiguous().numpy()


def on_device(device: torch.device, arrays: Iterable[Any]) -> Iterator[Tensor]:
    """What onnxruntime answered, where the frames are."""
    tensors = (torch.from_numpy(array) for array in arrays)
    return tensors if device.type == 'cpu' else (tensor.to(device) for tensor in tensors)


def _cache_shapes(
    inputs: Iterable[Mapping[str, Sequence[int | str]]],
) -> list[tuple[int, dict[str, list[int]]]]:
    """Shapes, without the batch, of the causal caches that graphs read, by step."""
    found: dict[int, dict[str, list[int]]] = {}
    for shapes in inputs:
        for name, shape in shapes.items():
            place = Place.of(name.removeprefix(BEFORE))
            if place.step >= 0:
                found.setdefault(place.step, {})[place.key] = [int(side) for side in shape[1:]]
    return sorted(found.items())
