"""Proximal policy optimisation (Schulman et al., 2017, arXiv 1707.06347) as pure functions, and the record
they work on.

The functions' tensors are ``(S, ...)``: S focus steps of any number of independent trajectories (clips, or
frames of clips).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from .policies.base import Geometry

__all__ = [
    'Reward',
    'Rollout',
    'clipped_policy_loss',
    'explained_variance',
    'generalised_advantages',
    'normalise',
    'step_rewards',
]

Reward = Literal['prob', 'log_prob', 'contrast']


def step_rewards(log_probs: Tensor, reward: Reward, random_log_probs: Tensor | None = None) -> Tensor:
    """Reward of every focus step.

    Args:
        log_probs: ``(S+1, ...)`` log-probability of the true class after steps 0..S.
        reward: 'prob', p_s - p_{s-1} (GFNet); 'log_prob', log p_s - log p_{s-1}, which is CE_{s-1} - CE_s
            (AdaptiveNN); 'contrast', p_s - p_s of a random patch in its place (AdaFocus).
        random_log_probs: ``(S, ...)``, log-probability with a random patch at step s, for 'contrast' alone.

    Returns:
        ``(S, ...)``.

    Raises:
        ValueError: if the reward is unknown or 'contrast' lacks ``random_log_probs``.
    """
    if reward == 'prob':
        return log_probs[1:].exp() - log_probs[:-1].exp()
    if reward == 'log_prob':
        return log_probs[1:] - log_probs[:-1]
    if reward == 'contrast':
        if random_log_probs is None:
            raise ValueError("reward='contrast' needs the log-probabilities after a random patch")
        return log_probs[1:].exp() - random_log_probs.exp()
    raise ValueError(f"reward={reward!r} is unknown; choose 'prob', 'log_prob' or 'contrast'")


def generalised_advantages(
    rewards: Tensor, values: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al., 2016, Eq. 16) over trajectories that end after S
    steps.

    Args:
        rewards, values: ``(S, ...)``; ``values[s]`` is the estimate before choice s.
        gamma: discount in [0, 1].
        lam: trade-off between bias and variance in [0, 1].

    Returns:
        Advantages and returns (the targets of the value function), ``(S, ...)`` each.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[0])
    for s in reversed(range(len(rewards))):
        value_after = values[s + 1] if s + 1 < len(values) else torch.zeros_like(values[s])
        running = rewards[s] + gamma * value_after - values[s] + gamma * lam * running
        advantages[s] = running
    return advantages, advantages + values


def normalise(advantages: Tensor) -> Tensor:
    """Zero mean and unit deviation; only the advantages of the policy loss, never the targets of the value
    function."""
    return (advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-6)


def clipped_policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate (PPO, Eq. 7), negated, and its diagnostics.

    Args:
        log_probs: of the raw (unclamped) samples under the policy being updated.
        old_log_probs: of the same samples under the policy that drew them.
        advantages: normalised.
        clip: epsilon; the ratio stops to pay outside [1 - clip, 1 + clip].

    Returns:
        Scalar loss, and ``approx_kl`` (k3 estimator, http://joschu.net/blog/kl-approx.html) and
        ``clip_fraction``.
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    with torch.no_grad():
        diagnostics = dict(
            approx_kl=(ratio - 1 - log_ratio).mean(), clip_fraction=((ratio - 1).abs() > clip).float().mean()
        )
    return -surrogate.mean(), diagnostics


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns): 1 for a perfect value function, 0 for one that knows the mean
    alone."""
    return 1 - (returns - values).var(unbiased=False) / returns.var(unbiased=False).clamp_min(1e-8)


@dataclass(frozen=True)
class Rollout:
    """What a policy did on a batch of clips and how it went; A = T (scope 'frame') or 1 (scope 'clip').

    Attributes:
        feature_maps: what the policy read before each of its S choices, ``(B, T, D, h, w)`` each.
        centres: ``(B, S, T, 2)`` where the looks were cut.
        actions: ``(B, S, A, 2)`` raw draws.
        log_probs: ``(B, S, A)`` under the policy that drew them.
        values: ``(B, S, A)``.
        rewards: ``(B, S, A)``.
        advantages: ``(B, S, A)``, normalised over the whole batch.
        returns: ``(B, S, A)``.
        geometry: frame and patch size.
    """

    feature_maps: tuple[Tensor, ...]
    centres: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.actions)

    def select(self, rows: Tensor) -> Rollout:
        """Keep the clips at ``rows``, long ``(N,)``."""
        kept = {
            f.name: getattr(self, f.name)[rows]
            for f in fields(self)
            if f.name not in ('feature_maps', 'geometry')
        }
        return Rollout(
            tuple(feature_map[rows] for feature_map in self.feature_maps), geometry=self.geometry, **kept
        )
