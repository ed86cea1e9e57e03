"""Looks as graphs in memory, for clips of one size: made in a second, where an export takes half a minute."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..models.base import Recognizer
from ..models.temporal import Cache
from ..structures import LookState
from .export import (
    FIRST_OPSET,
    ExportError,
    FrameAsTensors,
    LookAsTensors,
    as_inputs,
    check_graph,
    empty_cache,
    quiet,
    random_frames,
    take_look,
    weight_bands,
)
from .sessions import Plan, Sessions, as_array, cache_place, on_device, open_session
from .states import CACHE, before_first

__all__ = ['TracedAnswers', 'TracedLooks', 'trace_answers', 'trace_looks']


class TracedLooks(NamedTuple):
    """The looks of a recognizer at one clip of one size.

    Attributes:
        sessions: what runs them.
        states: after each step, of some clip; their form counts, not their values.
    """

    sessions: Sessions
    states: list[LookState]


@torch.no_grad()
def trace_looks(
    model: Recognizer, num_frames: int, frame_size: tuple[int, int], threads: int | None = None
) -> TracedLooks:
    """Trace every look at a clip ``(1, T, 3, H, W)``; each graph must give what torch gives, to 1e-4.

    Args:
        model: in evaluation mode, on the CPU.
        num_frames: T.
        frame_size: (H, W) in pixels.
        threads: of each run; None takes a thread a core.

    Raises:
        ExportError: if a look cannot be traced, or answers otherwise.
    """
    example = random_frames(1, num_frames, frame_size)
    streams = not model.looking_ahead()
    before = before_first(empty_cache(model, example) if streams else ())
    sessions, plans, inputs, states = [], [], [], []
    for _ in range(model.steps + 1):
        look = LookAsTensors(model, before, example)
        session = open_session(_graph(look, example), threads)
        check_graph(look, session, example, batches=(1,))
        read = {entry.name: entry.shape for entry in session.get_inputs()}
        sessions.append(session)
        plans.append(Plan.of(read, [entry.name for entry in session.get_outputs()], look.carried))
        inputs.append(read)
        after = take_look(model, example, before)
        states.append(after if streams else replace(after, cache=()))
        before = states[-1]
    return TracedLooks(Sessions(sessions, plans, inputs), states)


class TracedAnswers(NamedTuple):
    """All looks of a recognizer at a clip of one size as one graph.

    Attributes:
        session: what runs it.
        reads: names of the causal caches that it takes, each with its step and key.
        answers: names of what it gives, without the caches.
        leaves: names of the caches that it gives, each with its step and key.
        caches: fills in those of no frame yet.
    """

    session: Any
    reads: list[tuple[str, int, str]]
    answers: list[str]
    leaves: list[tuple[str, int, str]]
    caches: Sessions

    def run(self, frames: Tensor, cache: tuple[Cache, ...]) -> list[LookState]:
        """The states after every step of a clip ``(1, T, 3, H, W)``; their logits and centres, and of the
        last the cache."""
        given = self.caches.complete(frames, cache)
        feed = {'frames': as_array(frames)}
        for name, step, key in self.reads:
            feed[name] = as_array(given[step][key])
        outputs = [*self.answers, *(name for name, _, _ in self.leaves)]
        tensors = list(on_device(frames.device, self.session.run(outputs, feed)))
        found = dict(zip(self.answers, tensors))
        last: tuple[Cache, ...] = tuple(
            {} for _ in range(1 + max((step for _, step, _ in self.leaves), default=-1))
        )
        for (_, step, key), tensor in zip(self.leaves, tensors[len(self.answers) :]):
            last[step][key] = tensor
        return [
            LookState(
                step,
                logits,
                centres=found['centres'][:, step - 1] if step and 'centres' in found else None,
                window_sizes=found['window_sizes'][:, step - 1] if step and 'window_sizes' in found else None,
                cache=last,
            )
            for step, logits in enumerate(found['step_logits'].unbind(1))
        ]


@torch.no_grad()
def trace_answers(
    model: Recognizer, num_frames: int, frame_size: tuple[int, int], threads: int | None = None
) -> TracedAnswers:
    """As :func:`trace_looks`, all looks as one graph: fewer calls, and nothing is handed from one to the
    next."""
    example = random_frames(1, num_frames, frame_size)
    start = before_first(empty_cache(model, example) if not model.looking_ahead() else ())
    looks = FrameAsTensors(model, start, example)
    session = open_session(_graph(looks, example), threads)
    check_graph(looks, session, example, batches=(1,))
    read = {entry.name: entry.shape for entry in session.get_inputs()}
    given = [entry.name for entry in session.get_outputs() if entry.name != 'clip_logits']
    return TracedAnswers(
        session,
        [cache_place(name) for name in read if name != 'frames'],
        [name for name in given if not name.startswith(CACHE)],
        [cache_place(name) for name in given if name.startswith(CACHE)],
        Sessions([], [], [read]),
    )


def _graph(look: LookAsTensors | FrameAsTensors, example: Tensor) -> bytes:
    inputs, graph = {'frames': example, **as_inputs(look.given)}, io.BytesIO()
    try:
        with quiet(), _resizing_as_products():
            torch.onnx.export(
                look,
                tuple(inputs.values()),
                graph,  # type: ignore[arg-type]  # a file in memory is taken, which the stub does not know
                dynamo=False,
                opset_version=FIRST_OPSET,
                input_names=list(inputs),
                output_names=['clip_logits', *look.outputs],
            )
    except Exception as error:  # the exporter raises errors of many kinds
        reason = str(error).strip().splitlines() or ['']
        raise ExportError(
            f'torch cannot trace step {look.step} ({type(error).__name__}: {reason[0]}); run it with'
            " runtime='eager'"
        ) from error
    return graph.getvalue()


@contextmanager
def _resizing_as_products() -> Iterator[None]:
    """While the block runs, antialiased resizing becomes products, as in an export; or ONNX's own operator, a
    quarter faster, where its weights are torch's."""
    helper = torch.onnx.symbolic_helper

    def resize(g: Any, x: Any, output_size: Any, align_corners: Any, *scales: Any) -> Any:
        def constant(values: Tensor) -> Any:
            return g.op('Constant', value_t=values.contiguous())

        def along(x: Any, axis: int, side: int, new_side: int) -> Any:
            parts = []
            for first, weights in weight_bands(side, new_side):
                bounds = (first, first + weights.shape[1], axis)
                window = g.op('Slice', x, *(constant(torch.tensor([bound])) for bound in bounds))
                operands = (window, constant(weights.T)) if axis == 3 else (constant(weights), window)
                parts.append(g.op('MatMul', *operands))
            return g.op('Concat', *parts, axis_i=axis)

        sizes = x.type().sizes()
        (H, W), (height, width) = sizes[-2:], helper._get_const(output_size, 'is', 'output_size')
        if _exact(H, height) and _exact(W, width):
            none = constant(torch.tensor([]))
            options = dict(mode_s='linear', antialias_i=1, exclude_outside_i=1)
            new = constant(torch.tensor([*sizes[:-2], height, width]))
            return g.op(
                'Resize', x, none, none, new, coordinate_transformation_mode_s='half_pixel', **options
            )
        return along(along(x, 2, H, height), 3, W, width)

    name = 'aten::_upsample_bilinear2d_aa'
    torch.onnx.register_custom_op_symbolic(name, resize, FIRST_OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(name, FIRST_OPSET)


def _exact(side: int, new_side: int) -> bool:
    """Whether the places of new pixels among the old ones are exact in float32, so that ONNX's antialiased
    resizing rounds as torch's does."""
    return 4 * side % new_side == 0
