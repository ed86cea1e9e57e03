"""PPO's pure functions against slow, obvious loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.models.ppo import (
    clipped_policy_loss,
    explained_variance,
    generalised_advantages,
    leave_one_out,
    normalise,
    step_rewards,
)


def test_step_rewards_by_hand():
    p = torch.tensor([[0.2, 0.5], [0.4, 0.25], [0.8, 0.5]])  # (S+1, N)
    assert torch.allclose(step_rewards(p.log(), 'prob'), torch.tensor([[0.2, -0.25], [0.4, 0.25]]))
    assert torch.allclose(step_rewards(p.log(), 'log_prob'), torch.tensor([[2.0, 0.5], [2.0, 2.0]]).log())
    at_random = torch.tensor([[0.3, 0.3], [0.6, 0.1]])
    assert torch.allclose(
        step_rewards(p.log(), 'contrast', at_random.log()), torch.tensor([[0.1, -0.05], [0.2, 0.4]])
    )


def test_step_rewards_refuses():
    with pytest.raises(ValueError, match='unknown'):
        step_rewards(torch.zeros(2, 1), 'increment')
    with pytest.raises(ValueError, match='random patch'):
        step_rewards(torch.zeros(2, 1), 'contrast')


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 6), gamma=st.floats(0, 1), lam=st.floats(0, 1), seed=st.integers(0, 99))
def test_advantages_equal_the_double_sum(steps, gamma, lam, seed):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (torch.randn(steps, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    advantages, returns = generalised_advantages(rewards, values, gamma, lam)
    after = torch.cat([values[1:], torch.zeros(1, 3, dtype=torch.float64)])
    deltas = rewards + gamma * after - values
    expected = torch.stack(
        [sum((gamma * lam) ** k * deltas[s + k] for k in range(steps - s)) for s in range(steps)]
    )
    assert torch.allclose(advantages, expected)
    assert torch.allclose(returns, expected + values)


def test_lambda_one_gives_discounted_returns():
    rewards, values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0.3], [-0.2], [9.0]])
    _, returns = generalised_advantages(rewards, values, gamma=0.5, lam=1.0)
    assert torch.allclose(returns, torch.tensor([[1 + 1 + 1.0], [2 + 2.0], [4.0]]))


def test_clipped_loss_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    new, old, advantages = (torch.randn(4, 5, generator=generator) * 0.5 for _ in range(3))
    loss, diagnostics = clipped_policy_loss(new, old, advantages, clip=0.2)
    terms, outside = [], 0
    for n, o, a in zip(new.flatten(), old.flatten(), advantages.flatten()):
        ratio = (n - o).exp()
        terms.append(torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a))
        outside += bool(abs(ratio - 1) > 0.2)
    assert loss.item() == pytest.approx(-torch.stack(terms).mean().item(), rel=1e-5)
    assert diagnostics['clip_fraction'].item() == pytest.approx(outside / 20)
    assert diagnostics['approx_kl'] > 0


def test_clip_stops_the_gradient_where_the_ratio_has_gone_far_enough():
    new = torch.tensor([0.5, -0.5], requires_grad=True)  # ratios 1.65 and 0.61
    loss, _ = clipped_policy_loss(new, torch.zeros(2), torch.tensor([1.0, -1.0]), clip=0.2)
    loss.backward()
    assert new.grad.tolist() == [0, 0]


def test_explained_variance():
    returns = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(returns, returns) == 1
    assert explained_variance(torch.full((3,), 2.0), returns) == 0
    assert explained_variance(-returns, returns) < 0


def test_normalise():
    x = normalise(torch.randn(7, 3) * 5 + 2)
    assert x.mean().abs() < 1e-5 and abs(x.std(unbiased=False) - 1) < 1e-4
    assert normalise(torch.ones(4)).abs().max() == 0


def test_each_is_compared_with_the_others_of_its_start():
    returns = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0))
    found = leave_one_out(returns, 4)
    for row in range(12):
        start = row // 4 * 4
        others = [other for other in range(start, start + 4) if other != row]
        torch.testing.assert_close(found[:, row], returns[:, row] - returns[:, others].mean(1))
    for group in (1, 5):
        with pytest.raises(ValueError, match=f'groups of {group}'):
            leave_one_out(returns, group)
