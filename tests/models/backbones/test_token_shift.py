"""The temporal shift in front of a linear layer, whose channels come last, with and without windows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gfvideo.models.temporal import TemporalContext, insert_shift, temporal_context


def shifted_by_hand(x: Tensor, clips: int, frames: int, windows: int, fold: int) -> Tensor:
    """(B*T*windows, ..., C), row by row and channel by channel."""
    out = x.clone()
    for b in range(clips):
        for t in range(frames):
            for w in range(windows):
                row = (b * frames + t) * windows + w
                for c in range(2 * fold):
                    other = t + 1 if c < fold else t - 1
                    out[row, ..., c] = x[row + (other - t) * windows, ..., c] if 0 <= other < frames else 0
    return out


def layer() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(8, 4))
    insert_shift(model, ['0'])
    return model


@pytest.mark.parametrize('shape', [(5, 8), (3, 2, 8)], ids=['tokens', 'map with channels last'])
@pytest.mark.parametrize('windows', [1, 4])
def test_equals_a_shift_by_hand(shape, windows):
    model, x = layer(), torch.randn(2 * 3 * windows, *shape)
    expected = nn.functional.linear(shifted_by_hand(x, 2, 3, windows, 2), model[0].weight, model[0].bias)
    with temporal_context(TemporalContext(3, 'bidirectional', 4, images=6)):
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize('windows', [1, 4])
def test_causal_stream(windows):
    model, x = layer(), torch.randn(2, 5, windows, 7, 8)
    with temporal_context(TemporalContext(5, 'causal', 4, images=10)):
        whole = model(x.flatten(0, 2)).unflatten(0, (2, 5, windows))
    cache = None
    for t in range(5):
        with temporal_context(TemporalContext(1, 'causal', 4, cache, images=2)) as context:
            torch.testing.assert_close(model(x[:, t].flatten(0, 1)).unflatten(0, (2, windows)), whole[:, t])
        cache = context.cache_out


def test_rows_that_are_no_images():
    with pytest.raises(RuntimeError, match=r'input \(7, 8\) .* does not divide into 6 images'):
        with temporal_context(TemporalContext(3, 'bidirectional', 4, images=6)):
            layer()(torch.randn(7, 8))
