"""The temporal shift against a loop over frames and channels, its gradients, and a causal stream read in
pieces."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from gfvideo.ops import bidirectional_shift, causal_shift, shift_fold
from gfvideo.ops.shift import causal_step, exchange_by_copies, exchange_by_gather


def loop_bidirectional(x: Tensor, fold: int) -> Tensor:
    out = torch.zeros_like(x)
    B, T, C = x.shape[:3]
    for b in range(B):
        for t in range(T):
            for c in range(C):
                source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
                if 0 <= source < T:
                    out[b, t, c] = x[b, source, c]
    return out


def loop_causal(x: Tensor, cache: Tensor | None, fold: int) -> Tensor:
    out = x.clone()
    B, T = x.shape[:2]
    for b in range(B):
        for t in range(T):
            for c in range(fold):
                if t == 0:
                    out[b, t, c] = 0 if cache is None else cache[b, c]
                else:
                    out[b, t, c] = x[b, t - 1, c]
    return out


@st.composite
def clips(draw: st.DrawFn, least: int = 1) -> tuple[Tensor, int]:
    """Frames (B, T, C, H, W), also in channels-last order, T from ``least`` on, and a fold_div that suits
    C."""
    fold_div = draw(st.integers(2, 9))
    channels = draw(st.integers(fold_div, 24))
    shape = draw(
        st.tuples(
            st.integers(1, 3), st.integers(least, 5), st.just(channels), st.integers(1, 3), st.integers(1, 3)
        )
    )
    x = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if draw(st.booleans()):
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, shape[:2])
    return x, fold_div


@settings(max_examples=60, deadline=None)
@given(clips(least=2))
def test_bidirectional_equals_the_loop(clip):
    x, fold_div = clip
    before = x.clone()
    out = bidirectional_shift(x, fold_div)
    assert torch.equal(out, loop_bidirectional(x, x.shape[2] // fold_div))
    assert torch.equal(x, before), 'the input must stay as it is: the skip connection reads it'
    assert out.stride() == x.stride(), 'the memory format must survive'


@settings(max_examples=60, deadline=None)
@given(clips(), st.booleans())
def test_causal_equals_the_loop(clip, continued):
    x, fold_div = clip
    fold = x.shape[2] // fold_div
    cache = torch.randn(x.shape[0], fold, *x.shape[3:]) if continued else None
    out, left = causal_shift(x, cache, fold_div)
    assert torch.equal(out, loop_causal(x, cache, fold))
    assert torch.equal(left, x[:, -1, :fold])


@settings(max_examples=30, deadline=None)
@given(clips(), st.data())
def test_causal_stream_in_pieces_equals_offline(clip, data):
    x, fold_div = clip
    whole, end = causal_shift(x, None, fold_div)
    pieces, cache, start = [], None, 0
    while start < x.shape[1]:
        stop = data.draw(st.integers(start + 1, x.shape[1]))
        piece, cache = causal_shift(x[:, start:stop], cache, fold_div)
        pieces.append(piece)
        start = stop
    assert torch.equal(torch.cat(pieces, 1), whole)
    assert torch.equal(cache, end)


def test_the_future_reaches_no_earlier_frame():
    x = torch.randn(1, 4, 8, 2, 2)
    changed = x.clone()
    changed[:, 2:] += 1
    assert torch.equal(causal_shift(x)[0][:, :2], causal_shift(changed)[0][:, :2])
    assert not torch.equal(bidirectional_shift(x)[:, :2], bidirectional_shift(changed)[:, :2])


def test_the_cache_does_not_share_memory_with_the_frames():
    x = torch.zeros(1, 2, 8, 1, 1)
    _, cache = causal_shift(x)
    x += 1
    assert cache.sum() == 0


@pytest.mark.parametrize('frames', [1, 2, 4])
def test_gradients(frames):
    x = torch.randn(2, frames, 6, 2, 1, dtype=torch.float64, requires_grad=True)
    cache = torch.randn(2, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    if frames > 1:
        assert gradcheck(lambda x: bidirectional_shift(x, 3), x)
        assert gradgradcheck(lambda x: bidirectional_shift(x, 3), x)
    assert gradcheck(lambda x: causal_shift(x, None, 3), x)
    assert gradcheck(lambda x, cache: causal_shift(x, cache, 3), (x, cache))


def test_gradient_equals_that_of_the_loop():
    x = torch.randn(2, 5, 16, 3, 3)
    weight = torch.randn_like(x)
    ours, loop = x.clone().requires_grad_(), x.clone().requires_grad_()
    (bidirectional_shift(ours) * weight).sum().backward()
    (loop_bidirectional(loop, 2) * weight).sum().backward()
    assert torch.equal(ours.grad, loop.grad)


def test_with_and_without_gradient_give_the_same():
    x = torch.randn(2, 3, 8, 2, 2)
    assert torch.equal(bidirectional_shift(x.clone().requires_grad_()), bidirectional_shift(x))


def test_fold():
    assert [shift_fold(c, 8) for c in (8, 15, 16, 64)] == [1, 1, 2, 8]
    assert shift_fold(9, 2) == 4


@pytest.mark.parametrize('channels, fold_div', [(7, 8), (8, 1), (8, 0), (8, -2), (1, 2)])
def test_a_fold_that_moves_nothing_or_too_much(channels, fold_div):
    with pytest.raises(ValueError, match=f'fold_div={fold_div}'):
        bidirectional_shift(torch.zeros(1, 2, channels, 1, 1), fold_div)
    with pytest.raises(ValueError, match=f'fold_div={fold_div}'):
        causal_shift(torch.zeros(1, 2, channels, 1, 1), None, fold_div)


@pytest.mark.parametrize('grad', [False, True])
def test_a_clip_of_one_frame_is_refused_both_ways_and_is_a_streams_start_one_way(grad):
    x = torch.randn(2, 1, 8, 3, 3, requires_grad=grad)
    with pytest.raises(
        ValueError, match=r'of one frame.*\(2, 1, 8, 3, 3\).* 2 of 8 channels would be zeros.*shift=None'
    ):
        bidirectional_shift(x)
    out, left = causal_shift(x)
    assert (
        not out[:, :, 0].any() and torch.equal(out[:, :, 1:], x[:, :, 1:]) and torch.equal(left, x[:, 0, :1])
    )
    assert torch.equal(causal_shift(x, left)[0], x)


@pytest.mark.parametrize('shape', [(2, 1, 3, 3), (1, 2, 3, 3), (1, 1, 3, 4), (1, 1, 3)])
def test_a_cache_of_another_stream(shape):
    with pytest.raises(ValueError, match='causal cache has shape'):
        causal_shift(torch.zeros(1, 2, 8, 3, 3), torch.zeros(shape))


@settings(max_examples=30, deadline=None)
@given(clips())
def test_gpus_exchange_the_same(clip):
    x, fold_div = clip
    fold = shift_fold(x.shape[2], fold_div)
    x[0, 0, 0] = torch.inf  # what is not moved leaves no trace
    for ranges in (((0, fold), (fold, 2 * fold)), ((0, 0), (0, fold))):
        with torch.no_grad():
            found, expected = exchange_by_gather(x, *ranges), exchange_by_copies(x, *ranges)
        assert torch.equal(found, expected) and found.stride() == expected.stride()


class Launches(TorchDispatchMode):
    """The operations that would start something on a GPU."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view and 'empty' not in func.name():
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_two_launches_on_a_gpu():
    x = torch.empty(2, 4, 16, 3, 3, device='meta')  # as a GPU is told to, without one
    with torch.no_grad():
        bidirectional_shift(x, 8)  # the numbers of the frames are sent once
        with Launches() as seen:
            bidirectional_shift(x, 8)
    assert len(seen.names) == 2, seen.names


def test_two_launches_of_the_causal_shift_on_a_gpu():
    """And one for what it keeps for the frame after; a stream's one frame takes as many."""
    clip = torch.empty(2, 4, 16, 3, 3, device='meta')
    with torch.no_grad():
        _, cache = causal_shift(clip, None, 8)
        for shift, x in ((causal_shift, clip), (causal_step, clip[:, 0])):
            with Launches() as seen:
                shift(x, None if shift is causal_shift else cache, 8)
            kept = seen.names.count('aten::clone')
            assert kept == 1 and len(seen.names) - kept <= 2, seen.names
