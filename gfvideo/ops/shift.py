"""Temporal shift (TSM, Lin et al., ICCV 2019): exchange channels between neighbouring frames, at no
multiply-adds.

Two forms, both on tensors whose frames are an axis of their own, ``(B, T, C, H, W)``:

* bidirectional: the first C//fold_div channels come from the next frame, the second C//fold_div from the
  previous one;
* causal: the first C//fold_div channels come from the previous frame, the rest stay, so a stream can be read
  frame by frame with one cached slice per shift (TSM's online model).

Where there is no neighbouring frame the channels are zero. A clip of one frame has no neighbour on either
side: the bidirectional shift, which would only lose channels, refuses it; the causal one takes it, for a
stream comes frame by frame.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .running import being_captured

__all__ = [
    'bidirectional_shift',
    'causal_shift',
    'causal_step',
    'exchange_by_copies',
    'exchange_by_gather',
    'shift_fold',
]


def shift_fold(channels: int, fold_div: int) -> int:
    """Number of channels that one direction of the shift moves, ``channels // fold_div``.

    Raises:
        ValueError: if the two directions together would move more channels than there are, or none.
    """
    fold = channels // fold_div if fold_div > 0 else 0
    if fold < 1 or 2 * fold > channels:
        raise ValueError(
            f'fold_div={fold_div} moves {fold} of {channels} channels each way; choose fold_div between 2 and'
            f' {channels}'
        )
    return fold


def exchange_by_copies(x: Tensor, from_next: tuple[int, int], from_previous: tuple[int, int]) -> Tensor:
    """The exchange on a CPU: one straight copy beats gathering the parts that stay.

    Args:
        x: ``(B, T, C, ...)``.
        from_next, from_previous: ranges of channels that come from the next and the previous frame, zeros
            past the ends.
    """
    out = x.clone()  # keeps the memory format
    later, earlier = slice(*from_next), slice(*from_previous)
    out[:, :-1, later], out[:, 1:, earlier] = x[:, 1:, later], x[:, :-1, earlier]
    out[:, -1, later].zero_()
    out[:, 0, earlier].zero_()
    return out


def exchange_by_gather(x: Tensor, from_next: tuple[int, int], from_previous: tuple[int, int]) -> Tensor:
    """The same on a GPU, where each operation is a launch: a gather along time, and zeros past the ends."""
    index, outside = _frames_read(x.shape[1], x.shape[2], from_next, from_previous, x.device)
    rest = (1,) * (x.dim() - 3)
    index = index.view(1, *index.shape, *rest).expand(x.shape)  # (B, T, C, ...), no memory of its own
    out = torch.gather(x, 1, index, out=torch.empty_like(x))  # given, for it keeps the memory format
    return out.masked_fill_(outside.view(1, *outside.shape, *rest), 0)


@lru_cache(maxsize=64)
def _frames_read(
    T: int, C: int, from_next: tuple[int, int], from_previous: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Which frame each channel of each frame comes from, and where there is none, ``(T, C)`` each; kept, for
    to send them to a device takes longer than to use them."""
    with torch.inference_mode(False):
        step = torch.zeros(C, dtype=torch.long)
        step[slice(*from_next)], step[slice(*from_previous)] = 1, -1
        index = torch.arange(T)[:, None] + step
        return index.clamp(0, T - 1).to(device), ((index < 0) | (index >= T)).to(device)


class _Exchange(torch.autograd.Function):
    """The exchange with its gradient, which is the exchange backwards in time: one pass, where autograd would
    copy once a slice."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, from_next: tuple[int, int], from_previous: tuple[int, int]) -> Tensor:
        return _exchanged(x, from_next, from_previous)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.from_next, ctx.from_previous = inputs

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _exchange(grad, ctx.from_previous, ctx.from_next), None, None


def _exchanged(x: Tensor, from_next: tuple[int, int], from_previous: tuple[int, int]) -> Tensor:
    exchange = exchange_by_copies if x.device.type == 'cpu' else exchange_by_gather
    return exchange(x, from_next, from_previous)


def _gathered(x: Tensor, from_next: tuple[int, int], from_previous: tuple[int, int]) -> Tensor:
    """The same as one gather: the graphs of exporters cannot write into slices, and take many nodes to say
    so."""
    T, C = x.shape[1:3]
    step = [1 if c in range(*from_next) else -1 if c in range(*from_previous) else 0 for c in range(C)]
    index = [(t + step[c]) * C + c if 0 <= t + step[c] < T else T * C for t in range(T) for c in range(C)]
    padded = F.pad(x.flatten(1, 2), (0, 0) * (x.dim() - 3) + (0, 1))  # (B, T*C + 1, H, W), the last is zeros
    return padded.index_select(1, torch.tensor(index, device=x.device)).unflatten(1, (T, C))


def _exchange(x: Tensor, from_next: tuple[int, int], from_previous: tuple[int, int]) -> Tensor:
    """Copy of ``x`` ``(B, T, C, H, W)`` whose channels in the ranges come from the next and the previous
    frame, zeros past the ends."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _Exchange.apply(x, from_next, from_previous)
    # plain operations where no gradient is needed: tracers and exporters know those
    return (_gathered if being_captured() else _exchanged)(x, from_next, from_previous)


def bidirectional_shift(x: Tensor, fold_div: int = 8) -> Tensor:
    """Shift channels one frame both ways.

    Args:
        x: ``(B, T, C, H, W)``, T at least 2.
        fold_div: the share of channels that moves each way is 1/fold_div.

    Returns:
        ``(B, T, C, H, W)``: ``out[:, t, :fold] = x[:, t+1, :fold]``, ``out[:, t, fold:2*fold] =
        x[:, t-1, fold:2*fold]``, the rest as it was, zeros past both ends.

    Raises:
        ValueError: if ``fold_div`` moves no channel, or more than there are; or if T is 1.
    """
    fold = shift_fold(x.shape[2], fold_div)
    if x.shape[1] < 2:  # a shape: tracers and compilers see a constant
        raise ValueError(
            f'a bidirectional shift of a clip of one frame, input (B, T, C, ...) = {tuple(x.shape)}: no frame'
            f' has a neighbour, so {2 * fold} of {x.shape[2]} channels would be zeros. Give clips of 2 frames'
            " or more; for single images train with shift=None, for streams with shift='causal'"
        )
    return _exchange(x, (0, fold), (fold, 2 * fold))


def causal_shift(x: Tensor, cache: Tensor | None = None, fold_div: int = 8) -> tuple[Tensor, Tensor]:
    """Shift channels one frame forward in time only, continuing from a cache.

    Args:
        x: ``(B, T, C, H, W)``, the next T frames of a stream.
        cache: ``(B, fold, H, W)``, what the frame before ``x[:, 0]`` left; None at the start of a stream
            (zeros).
        fold_div: the share of channels that moves is 1/fold_div.

    Returns:
        The shifted frames ``(B, T, C, H, W)`` and the cache for the frame after ``x[:, -1]``,
        ``(B, fold, H, W)``.

    Raises:
        ValueError: if the cache does not fit ``x``, or ``fold_div`` moves no channel, or more than there are.
    """
    fold = shift_fold(x.shape[2], fold_div)
    left = x[:, -1, :fold].clone()
    if cache is None:
        return _exchange(x, (0, 0), (0, fold)), left
    _check_cache(cache, (x.shape[0], fold, *x.shape[3:]))
    if being_captured():  # exporters cannot write into slices
        moved = torch.cat([cache[:, None], x[:, :-1, :fold]], 1)  # (B, T, fold, H, W)
        return torch.cat([moved, x[:, :, fold:]], 2), left
    out = _exchange(x, (0, 0), (0, fold))
    out[:, 0, :fold] = cache
    return out, left


def causal_step(x: Tensor, cache: Tensor | None = None, fold_div: int = 8) -> tuple[Tensor, Tensor]:
    """:func:`causal_shift` of one frame, ``(B, C, ...)``: what a stream does at every frame, in one copy.

    Args:
        x: ``(B, C, ...)``, the next frame of a stream.
        cache: ``(B, fold, ...)``, what the frame before left; None at the start (zeros).
        fold_div: the share of channels that moves is 1/fold_div.

    Returns:
        The shifted frame ``(B, C, ...)`` and the cache for the next one, ``(B, fold, ...)``.

    Raises:
        ValueError: as :func:`causal_shift`.
    """
    fold = shift_fold(x.shape[1], fold_div)
    moved, rest = x.split([fold, x.shape[1] - fold], 1)
    if cache is None:
        cache = torch.zeros_like(moved)
    _check_cache(cache, tuple(moved.shape))
    return torch.cat([cache, rest], 1), moved.clone()


def _check_cache(cache: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(cache.shape) != expected:
        raise ValueError(
            f'causal cache has shape {tuple(cache.shape)}, these frames need {expected}; '
            'a cache belongs to one stream, one look and one input size'
        )
