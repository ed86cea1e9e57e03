"""Insert the temporal shift into any image backbone, without touching its parameter names.

A shift point is a forward pre-hook on one convolution of a residual branch ("blockres" of TSM), or on a
linear layer of a network of tokens. What the shift needs to know, how many frames a batch of images holds and
what an earlier frame left, travels in a :class:`TemporalContext` that lives for one forward pass of
:class:`~gfvideo.models.encoder.Encoder`; nothing stays on the modules, so one model serves many streams and
threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from ..ops import bidirectional_shift, causal_shift, causal_step

__all__ = ['Cache', 'Shift', 'TemporalContext', 'insert_shift', 'temporal_context']

Shift = Literal['bidirectional', 'causal']
Cache = dict[str, Tensor]


@dataclass
class TemporalContext:
    """What the shift points of one forward pass share: T, the direction, and the causal caches coming in and
    going out.

    ``images`` is the number of images B*T in the batch; a network that cuts them into windows on the batch
    axis needs it. None: as many as a shift point's input has rows.
    """

    num_frames: int
    shift: Shift
    fold_div: int
    cache_in: Cache | None = None
    cache_out: Cache = field(default_factory=dict)
    images: int | None = None


class _Active(threading.local):
    """The context of the forward pass that this thread runs; compilers follow it, but no ContextVar."""

    context: TemporalContext | None = None


_active = _Active()


@contextmanager
def temporal_context(context: TemporalContext) -> Iterator[TemporalContext]:
    """Make ``context`` the one that shift points of this thread read while the block runs."""
    before = _active.context
    _active.context = context
    try:
        yield context
    finally:
        _active.context = before


def _clips_of_tokens(x: Tensor, context: TemporalContext) -> Tensor:
    """Input ``(B*T*windows, ..., C)`` of a linear layer with time and channels in front,
    ``(B, T, C, windows, ...)``."""
    images = x.shape[0] if context.images is None else context.images
    if x.shape[0] % images:
        raise RuntimeError(
            f'input {tuple(x.shape)} of a shifted linear layer does not divide into {images} images; '
            'put the temporal shift elsewhere'
        )
    windows = x.shape[0] // images  # of one image they lie one after another
    return x.unflatten(0, (-1, context.num_frames, windows)).movedim(-1, 2)


class ShiftPoint:
    """Forward pre-hook that shifts the input of one module in time: ``(B*T, C, ...)``, of a linear layer
    ``(B*T, ..., C)``."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        context = _active.context
        if context is None:
            raise RuntimeError(
                f'the temporal shift at {self.name!r} ran outside an encoder, so it cannot know how many'
                ' frames its input holds; call the Encoder with (B, T, 3, H, W) frames instead of the bare'
                ' backbone'
            )
        (x,) = args
        tokens = isinstance(module, nn.Linear)
        if context.shift == 'causal' and context.num_frames == 1 and not tokens:
            before = None if context.cache_in is None else context.cache_in[self.name]
            out, context.cache_out[self.name] = causal_step(x, before, context.fold_div)
            return (out,)
        # (B, T, C, ...)
        frames = _clips_of_tokens(x, context) if tokens else x.unflatten(0, (-1, context.num_frames))
        if context.shift == 'bidirectional':
            out = bidirectional_shift(frames, context.fold_div)
        else:
            before = None if context.cache_in is None else context.cache_in[self.name]
            out, context.cache_out[self.name] = causal_shift(frames, before, context.fold_div)
        return (out.movedim(2, -1).flatten(0, 2) if tokens else out.flatten(0, 1),)  # as it came


def insert_shift(backbone: nn.Module, points: Iterable[str]) -> list[str]:
    """Put a shift point in front of the named convolutions or linear layers of ``backbone``.

    Args:
        backbone: any image backbone.
        points: dotted module names, e.g. ``backbone.shift_points()`` of the backbones in this package.

    Returns:
        The names, in the order in which they were given.

    Raises:
        ValueError: if there is no point, one is unknown, or one has a shift already.
    """
    names = list(points)
    modules = dict(backbone.named_modules())
    if not names:
        raise ValueError(
            f'{type(backbone).__name__} names no place for the temporal shift; give the names of its'
            ' convolutions'
        )
    for name in names:
        if name not in modules:
            raise ValueError(
                f'{type(backbone).__name__} has no module {name!r} to put the temporal shift in front of'
            )
        if any(isinstance(hook, ShiftPoint) for hook in modules[name]._forward_pre_hooks.values()):
            raise ValueError(f'{name!r} has a temporal shift already')
        modules[name].register_forward_pre_hook(ShiftPoint(name))
    return names
