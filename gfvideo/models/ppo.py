"""Proximal policy optimisation (Schulman et al., 2017, arXiv 1707.06347) as pure functions, and the record
they work on.

The functions' tensors are ``(S, ...)``: S focus steps of any number of independent trajectories (clips, or
frames of clips).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..structures import map_tensors
from .arguments import one_of
from .policies.base import Observation

__all__ = [
    'Reward',
    'Rollout',
    'clipped_policy_loss',
    'explained_variance',
    'generalised_advantages',
    'known_reward',
    'leave_one_out',
    'normalise',
    'register_reward',
    'step_rewards',
]

Reward = Callable[[Tensor, Tensor | None], Tensor]
"""Log-probabilities of the true class after steps 0..S, ``(S+1, ...)``, and with a random patch in place of
step s, ``(S, ...)`` or None -> reward of every focus step, ``(S, ...)``."""

REWARDS: dict[str, Reward] = {}
COMPARED: set[str] = set()  # rewards that ask for the random patch, which costs one more look a step


def register_reward(name: str, compared: bool = False) -> Callable[[Reward], Reward]:
    """Make a function a reward that configs name as ``model.reward``.

    Args:
        name: new.
        compared: whether it needs the log-probabilities after a random patch.

    Raises:
        ValueError: if there is such a reward.
    """
    if name in REWARDS:
        raise ValueError(f'there is a reward {name!r} already; choose another name')

    def register(function: Reward) -> Reward:
        REWARDS[name] = function
        if compared:
            COMPARED.add(name)
        return function

    return register


def known_reward(name: str) -> str:
    """``name`` if it is that of a reward.

    Raises:
        ValueError: if it is not.
    """
    return one_of(name, 'reward', tuple(REWARDS))


@register_reward('prob')
def _prob(log_probs: Tensor, random_log_probs: Tensor | None) -> Tensor:
    return log_probs[1:].exp() - log_probs[:-1].exp()


@register_reward('log_prob')
def _log_prob(log_probs: Tensor, random_log_probs: Tensor | None) -> Tensor:
    return log_probs[1:] - log_probs[:-1]


@register_reward('contrast', compared=True)
def _contrast(log_probs: Tensor, random_log_probs: Tensor | None) -> Tensor:
    assert random_log_probs is not None  # asked for by compared=True
    return log_probs[1:].exp() - random_log_probs.exp()


def step_rewards(log_probs: Tensor, reward: str, random_log_probs: Tensor | None = None) -> Tensor:
    """Reward of every focus step.

    Args:
        log_probs: ``(S+1, ...)`` log-probability of the true class after steps 0..S.
        reward: 'prob', p_s - p_{s-1} (GFNet); 'log_prob', log p_s - log p_{s-1}, which is CE_{s-1} - CE_s
            (AdaptiveNN); 'contrast', p_s - p_s of a random patch in its place (AdaFocus); or one of
            :func:`register_reward`.
        random_log_probs: ``(S, ...)``, log-probability with a random patch at step s, for rewards that
            compare.

    Returns:
        ``(S, ...)``.

    Raises:
        ValueError: if the reward is unknown or lacks ``random_log_probs``.
    """
    known_reward(reward)
    if reward in COMPARED and random_log_probs is None:
        raise ValueError(f'reward={reward!r} needs the log-probabilities after a random patch')
    return REWARDS[reward](log_probs, random_log_probs)


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


def leave_one_out(returns: Tensor, group: int) -> Tensor:
    """How much better each of several trajectories from the same start did than the others (Kool et al.,
    2019): no critic, no bias.

    Args:
        returns: ``(S, N * group, ...)``; the trajectories of one start lie one after another.
        group: trajectories a start, 2 or more.

    Returns:
        ``(S, N * group, ...)``: return - mean of the returns of the other group - 1.

    Raises:
        ValueError: if there are no others, or a start has not as many.
    """
    if group < 2 or returns.shape[1] % group:
        raise ValueError(
            f'{returns.shape[1]} trajectories in groups of {group}: each needs another one of its start at'
            ' least, and all groups must be full'
        )
    grouped = returns.unflatten(1, (-1, group))  # (S, N, group, ...)
    others = (grouped.sum(2, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).flatten(1, 2)


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
        observations: what the policy read before each of its S choices, without its memory: that depends on
            its weights, and is worked out anew.
        centres: ``(B, S, T, 2)`` where the looks were cut.
        actions: ``(B, S, A, ...)`` what it drew.
        log_probs: ``(B, S, A)`` under the policy that drew them.
        values: ``(B, S, A)``.
        rewards: ``(B, S, A)``.
        advantages: ``(B, S, A)``, normalised over the whole batch.
        returns: ``(B, S, A)``.
    """

    observations: tuple[Observation, ...]
    centres: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.log_probs)

    def select(self, rows: Tensor) -> Rollout:
        """Keep the clips at ``rows``, long ``(N,)``."""
        return Rollout(
            tuple(observation.select(rows) for observation in self.observations),
            *(
                map_tensors(getattr(self, field.name), lambda x: x[rows])
                for field in fields(self)
                if field.name != 'observations'
            ),
        )
