"""Policies of the AdaFocus family: frames at quantiles against a slow loop, windows, and the sizes they were
built for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from gfvideo.models.policies import (
    DeformablePolicy,
    FramePolicy,
    Geometry,
    Observation,
    StackedMapPolicy,
    frames_at_quantiles,
)


def one_after_the_other(weights: list[float], candidates: int, quantiles: list[float]) -> list[int]:
    spans, reached = len(weights), [0.0]
    for weight in weights[:-1]:
        reached.append(reached[-1] + weight)
    reached.append(1.0)
    chosen: list[int] = []
    for rank, quantile in enumerate(quantiles):
        end = next(k for k in range(1, spans + 1) if reached[k] >= quantile)
        inside = (quantile - reached[end - 1]) / (reached[end] - reached[end - 1])
        at = (end - 1 + inside) / spans * candidates
        assume(abs(at - round(at)) > 1e-9)  # on the edge between two frames rounding decides
        index = math.floor(at)
        chosen.append(max(index, chosen[-1] + 1) if rank else index)
    return [min(index, candidates - len(quantiles) + rank) for rank, index in enumerate(chosen)]


@st.composite
def choices(draw: st.DrawFn) -> tuple[Tensor, int, int]:
    """Weights of two clips, some of them next to nothing, candidates and how many to choose."""
    spans, candidates = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    scores = torch.randn(2, spans, generator=generator, dtype=torch.float64) * draw(
        st.sampled_from([0.1, 1.0, 5.0, 30.0])
    )
    return scores.softmax(1), candidates, draw(st.integers(1, candidates))


@given(choices())
def test_frames_at_quantiles(choice):
    weights, candidates, chosen = choice
    frames = frames_at_quantiles(weights, candidates, chosen)
    quantiles = [(rank + 0.5) / chosen for rank in range(chosen)]
    assert frames.tolist() == [one_after_the_other(row, candidates, quantiles) for row in weights.tolist()]
    assert (frames.diff(dim=1) > 0).all() and frames.min() >= 0 and frames.max() < candidates
    if chosen == candidates:
        assert frames.tolist() == [list(range(candidates))] * 2


@given(choices(), st.integers(0, 999))
def test_frames_at_other_quantiles(choice, seed):
    weights, candidates, chosen = choice
    quantiles = (
        torch.rand(chosen, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        .clamp(1e-6, 1 - 1e-6)
        .sort()
        .values
    )
    frames = frames_at_quantiles(weights, candidates, chosen, quantiles)
    assert frames.tolist() == [
        one_after_the_other(row, candidates, quantiles.tolist()) for row in weights.tolist()
    ]


def test_frames_lie_where_the_weight_is():
    even, late = torch.full((1, 4), 0.25), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert frames_at_quantiles(even, 12, 4).tolist() == [[1, 4, 7, 10]]
    assert frames_at_quantiles(late, 12, 3).tolist() == [[9, 10, 11]]
    with pytest.raises(ValueError, match='5 focus frames cannot be chosen from 4 candidates'):
        frames_at_quantiles(even, 4, 5)


def test_frame_policy_by_hand():
    torch.manual_seed(0)
    policy, vectors = FramePolicy(6, hidden=4).eval(), torch.randn(2, 5, 6)
    x = vectors.transpose(1, 2)  # (B, F, T)
    for number in (0, 3):
        x = torch.nn.functional.conv1d(x, policy.encoder[number].weight[..., 0], padding=1)
        x = policy.encoder[number + 1](x[..., None])[..., 0].relu()
    scores = (x * policy.encoder[6].weight.view(1, 4, 1)).sum(1)
    torch.testing.assert_close(policy(vectors), scores.softmax(1))
    policy.temperature = 0.5
    torch.testing.assert_close(policy(vectors), (2 * scores).softmax(1))


def policies(cells: tuple[int, int] = (2, 3)) -> dict:
    torch.manual_seed(0)
    built = dict(
        stacked=StackedMapPolicy(5, 4, cells, reduced=3, hidden=(8, 6)),
        deformable=DeformablePolicy(5, 4, cells, hidden=6, side_range=(12, 30)),
    )
    return {name: policy.eval() for name, policy in built.items()}


@pytest.mark.parametrize('name', ['stacked', 'deformable'])
def test_one_window_for_all_frames(name):
    policy, geometry = policies()[name], Geometry((40, 36), (16, 16))
    maps = torch.randn(3, 4, 5, 2, 3, requires_grad=True)
    choice = policy(Observation(0, maps, None, geometry))
    assert choice.centres.shape == (3, 4, 2) and policy.scope == 'clip'
    assert (
        (choice.centres == choice.centres[:, :1]).all()
        and 0 <= choice.centres.min()
        and choice.centres.max() <= 1
    )
    assert not torch.allclose(choice.centres[0], choice.centres[1])
    if name == 'stacked':
        assert choice.window_sizes is None
        wanted = policy.actor(policy.reduce(torch.cat(list(maps.unbind(1)), 1)))
        torch.testing.assert_close(choice.centres[:, 0], wanted)
    else:
        assert choice.window_sizes.shape == (3, 4, 2)
        wanted = policy.actor(policy.encoder(maps.transpose(1, 2))).flatten(1).sigmoid()  # (B, 4)
        torch.testing.assert_close(choice.window_sizes[:, 0], 12 + wanted[:, 2:] * 18)
        torch.testing.assert_close(choice.centres[:, 0], wanted[:, :2])
    (choice.centres.sum() + (0 if choice.window_sizes is None else choice.window_sizes.sum())).backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in policy.parameters()
    )


@pytest.mark.parametrize('name', ['stacked', 'deformable'])
def test_policies_that_span_all_frames(name):
    with pytest.raises(ValueError, match='was built for 4 glance frames and got 6'):
        policies()[name](Observation(0, torch.randn(1, 6, 5, 2, 3), None, Geometry((40, 40), (16, 16))))


def test_windows_that_do_not_fit():
    with pytest.raises(ValueError, match=r'frames of \(40, 20\) cannot hold windows of up to 30 pixels'):
        policies()['deformable'](
            Observation(0, torch.randn(1, 4, 5, 2, 3), None, Geometry((40, 20), (16, 16)))
        )
    with pytest.raises(ValueError, match=r'side_range=\(30, 12\)'):
        DeformablePolicy(5, 4, (2, 3), side_range=(30, 12))
