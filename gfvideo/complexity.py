"""What a model costs: multiply-adds counted while it runs, and time measured.

Every convolution, matrix product and attention that a forward pass really runs is counted, at the shapes it
runs with, so whatever a module's name or a paper says has no part in the result. Multiply-adds are counted
once each (a dot product of length n is n of them); the field prints them as "FLOPs". Additions of a bias or a
skip connection, normalisation, activations, pooling, softmax, the temporal shift, cutting patches and
resizing frames count 0.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .models.base import Recognizer
from .models.encoder import Encoder
from .structures import LookState

__all__ = [
    'count_multiply_adds',
    'latency',
    'multiply_adds_by_part',
    'recognizer_cost',
    'whole_frames_cost',
]

aten = torch.ops.aten
REST = 'rest'


# ----------------------------------------------------------------------------- multiply-adds of one operation


def _convolution(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *rest: Any,
) -> int:
    # weight (out, in/groups, ...): a window of it makes one output; transposed (in, out/groups, ...): one
    # input goes through it
    return (x if transposed else out).numel() * weight[0].numel()


def _matrix_product(out: Tensor, a: Tensor, b: Tensor) -> int:
    return out.numel() * a.shape[-1]


def _biased_matrix_product(out: Tensor, bias: Tensor, a: Tensor, b: Tensor) -> int:
    return out.numel() * a.shape[-1]


def _summed_batch_product(out: Tensor, bias: Tensor, a: Tensor, b: Tensor) -> int:
    return out.numel() * a.shape[-1] * len(a)


def _attention(out: Any, query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> int:
    pairs = query.shape[:-1].numel() * key.shape[-2]  # scores of every query with every key
    return pairs * (query.shape[-1] + value.shape[-1])


def _recurrent_layer(out: Any, x: Tensor, input_weight: Tensor, state_weight: Tensor, *rest: Any) -> int:
    return x.shape[:-1].numel() * (input_weight.numel() + state_weight.numel())


def _recurrent_stack(out: Any, x: Tensor, weights: Sequence[Tensor], *rest: Any) -> int:
    return x.shape[:-1].numel() * sum(weight.numel() for weight in weights if weight.dim() == 2)


_COSTS: dict[Any, Callable[..., int]] = {
    aten.convolution: _convolution,
    aten._convolution: _convolution,
    aten.mm: _matrix_product,
    aten.bmm: _matrix_product,
    aten.mv: _matrix_product,
    aten.dot: _matrix_product,
    aten.addmm: _biased_matrix_product,
    aten.addmv: _biased_matrix_product,
    aten.baddbmm: _biased_matrix_product,
    aten.addbmm: _summed_batch_product,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_cudnn_attention: _attention,
    aten.mkldnn_rnn_layer: _recurrent_layer,
    aten._cudnn_rnn: _recurrent_stack,
}


class _Meter(TorchDispatchMode):
    """Adds up the multiply-adds of the operations that run inside, under the name of the part that runs
    them."""

    def __init__(self, running: Sequence[str]):
        super().__init__()
        self.running = running
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        cost = _COSTS.get(func.overloadpacket)
        if cost is None and torch.is_inference_mode_enabled():
            with self:  # there composed operations arrive whole
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if cost is not None:
            self.counts[self.running[-1]] += cost(out, *args)
        return out


@contextmanager
def _announced(parts: Mapping[str, nn.Module]) -> Iterator[list[str]]:
    """A list whose last element is, at any time in the block, the name of the part of which a module is
    running."""
    running, handles = [REST], []

    def leave(*_: Any) -> None:
        running.pop()

    def enter(name: str, *_: Any) -> None:
        running.append(name)

    try:
        for name, part in parts.items():
            for module in part.modules():  # all of them: a part may be entered by another method than forward
                handles.append(module.register_forward_pre_hook(partial(enter, name)))
                handles.append(module.register_forward_hook(leave, always_call=True))
        yield running
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _no_shortcuts() -> Iterator[None]:
    """Let attention run as products that can be counted, not as one kernel that cannot."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def multiply_adds_by_part(
    function: Callable[..., Any], parts: Mapping[str, nn.Module], *inputs: Any
) -> dict[str, int]:
    """Multiply-adds of ``function(*inputs)`` by the part of the model that ran them.

    Args:
        function: a module or any callable on tensors. It is run once, without gradients, as it is (in
            training mode if it is in it).
        parts: modules by name; a module inside two of them counts for the one named last.
        inputs: its arguments.

    Returns:
        name to multiply-adds, every name of ``parts`` and ``'rest'`` for what no part ran.
    """
    with _announced(parts) as running, _no_shortcuts(), torch.no_grad(), _Meter(running) as meter:
        function(*inputs)
    return {name: meter.counts[name] for name in (*parts, REST)}


def count_multiply_adds(function: Callable[..., Any], *inputs: Any) -> int:
    """Multiply-adds of ``function(*inputs)``, a module or any callable on tensors; see the top of this page
    for what counts.

    It is run once, without gradients, as it is (in training mode if it is in it).
    """
    return sum(multiply_adds_by_part(function, {}, *inputs).values())


# ------------------------------------------------------------------------------------------------ recognizers


def recognizer_cost(model: Recognizer, frame_shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """Multiply-adds of a recognizer for one clip (one view), by part and by step, as it would run at test.

    Args:
        model: any recognizer that runs in torch; its :meth:`~gfvideo.models.base.Recognizer.parts` are told
            apart.
        frame_shape: (T, 3, H, W) of the clip that goes in.

    Returns:
        ``parts``, multiply-adds of one run of each part (in the last step that ran it, where they differ), 0
        of those that never ran; ``steps``, cumulative multiply-adds after each step 0..S, of which a static
        recognizer has one; ``by_step``, for each step the multiply-adds of every part and of the ``rest``,
        whose sums make ``steps``.

    Raises:
        ValueError: if the recognizer has no weights in torch, as an export.
    """
    model = model.by_torch()
    parts = model.parts()
    like = next(model.parameters(), None)
    if like is None:
        raise ValueError(
            f'{type(model).__name__} does not run in torch, so its multiply-adds cannot be counted; count'
            ' those of the recognizer that it was exported from'
        )
    frames = torch.zeros(1, *frame_shape, dtype=like.dtype, device=like.device)
    with _as_at_test(model, like.device):
        by_step, state = [], None
        for _ in range(model.steps + 1):
            kept: list[LookState] = []
            by_step.append(
                multiply_adds_by_part(
                    lambda before, kept=kept: kept.append(_look(model, frames, before)), parts, state
                )
            )
            state = kept[0]
    steps = list(accumulate(sum(step.values()) for step in by_step))
    return dict(
        parts={name: next((step[name] for step in reversed(by_step) if step[name]), 0) for name in parts},
        steps=steps,
        by_step=by_step,
    )


def whole_frames_cost(model: Recognizer, frame_shape: tuple[int, int, int, int]) -> int:
    """Multiply-adds of watching every frame whole: of the recognizer's dearest encoder that reads the frames
    of one clip as they are, the static network of the same backbone without its last layer.

    Args:
        model: any recognizer that runs in torch.
        frame_shape: (T, 3, H, W) of the clip.

    Raises:
        ValueError: if the recognizer has no encoder.
    """
    encoders = [part for part in model.modules() if isinstance(part, Encoder)]
    if not encoders:
        raise ValueError(f'{type(model).__name__} has no encoder that could read whole frames')
    like = next(encoders[0].parameters())
    frames = torch.zeros(1, *frame_shape, dtype=like.dtype, device=like.device)
    with _as_at_test(model, like.device):
        return max(count_multiply_adds(encoder, frames) for encoder in encoders)


def latency(model: Recognizer, frames: Tensor, repeats: int = 10, warm_up: int = 2) -> list[float]:
    """Measured time of a recognizer after each step.

    Args:
        model: any recognizer; it is run in evaluation mode, without gradients.
        frames: ``(B, T, 3, H, W)``, normalised; B = 1 to time single clips.
        repeats: runs that are timed, at least 1.
        warm_up: runs before them that are not.

    Returns:
        Milliseconds from the start of a clip to the end of each step 0..S, the median over ``repeats`` of
        each.
    """
    if repeats < 1:
        raise ValueError(f'repeats={repeats}; time at least one run')
    with torch.no_grad(), _as_at_test(model, frames.device):
        runs = [_timed(model, frames) for _ in range(warm_up + repeats)][warm_up:]
    return [median(step) for step in zip(*runs)]


def _look(model: Recognizer, frames: Tensor, before: LookState | None) -> LookState:
    return model.glance(frames) if before is None else model.focus(frames, before)


@contextmanager
def _as_at_test(model: Recognizer, device: torch.device) -> Iterator[None]:
    """Evaluation mode, and the random numbers that random patches take given back."""
    training = model.training
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        model.eval()
        try:
            yield
        finally:
            model.train(training)


def _timed(model: Recognizer, frames: Tensor) -> list[float]:
    times, state, start = [], None, _now(frames.device)
    for _ in range(model.steps + 1):
        state = _look(model, frames, state)
        times.append(1e3 * (_now(frames.device) - start))
    return times


def _now(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()
