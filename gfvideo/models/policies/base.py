"""What a policy is: from what the looks so far showed to where the next one is cut. There are four kinds.

* :class:`Policy` gives centres; what it gives is taken as it is. The controls are of this kind.
* :class:`StochasticPolicy` also draws, and says how likely a draw was: it learns by trial and reward (PPO),
  in a stage of its own.
* :class:`DifferentiablePolicy` gives centres that carry a gradient: it learns with the encoders, through the
  bilinear sampling of the patches.
* :class:`ValuePolicy` says what a look at a place is worth: it learns from the looks that training takes
  anyway, random ones first.

A policy of your own derives from one of these, is registered in ``MODELS``, and is named in the config as
``policy=dict(type='MyPolicy', ...)``. Its constructor is given what it names of ``glance_channels``,
``focus_channels``, ``glance_map``, ``focus_map``, ``steps``, ``num_classes`` and ``shift`` (that of the
glance encoder).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ...structures import map_tensors
from ..arguments import one_of

__all__ = [
    'Choice',
    'DifferentiablePolicy',
    'Geometry',
    'LooksTold',
    'Observation',
    'Policy',
    'Scope',
    'StochasticPolicy',
    'ValuePolicy',
    'ValueRollout',
    'cell_centres',
    'has_trainable',
]

Scope = Literal['frame', 'clip']


class Geometry(NamedTuple):
    """(H, W) of the frames and (height, width) of the patches, in pixels."""

    frame_size: tuple[int, int]
    patch_size: tuple[int, int]


class Observation(NamedTuple):
    """What a policy may read before it chooses.

    Attributes:
        step: number of the latest look, 0 for the glance.
        feature_map: ``(B, T, D, h, w)`` of the latest look, without gradient.
        centres: ``(B, T, 2)`` where the latest look was cut; None after the glance.
        geometry: sizes of frames and patches.
        memory: what the policy itself kept at its last choice of this clip; None before the first.
        glance: ``(B, T, 3, G, G)`` the frames as they were glanced at, or in the size that the policy
            ``reads_size``, for policies that ``reads_glance``; else None.
        logits: ``(B, T, C)`` what the looks so far say of every frame, without gradient.
        carried: what the policy's choice of this step at the frame before left for this one, in a causal
            stream; None at its start, and for whole clips.
    """

    step: int
    feature_map: Tensor
    centres: Tensor | None
    geometry: Geometry
    memory: Any = None
    glance: Tensor | None = None
    logits: Tensor | None = None
    carried: Mapping[str, Tensor] | None = None

    def select(self, rows: Tensor) -> Observation:
        """Keep the clips at ``rows``, long ``(N,)``."""
        kept = {
            name: map_tensors(getattr(self, name), lambda x: x[rows])
            for name in self._fields
            if name not in ('step', 'geometry')
        }
        return self._replace(**kept)


class Choice(NamedTuple):
    """What a policy answers; A is T in scope 'frame' and 1 in scope 'clip'.

    Attributes:
        centres: ``(B, T, 2)`` in [0, 1], where to cut.
        memory: what the policy wants to find in its next observation of these clips: None, a tensor, or
            nested tuples of tensors, with B in front.
        window_sizes: ``(B, T, 2)`` (height, width) in pixels of what is cut, of a policy that ``sizes``; None
            for the patch size.
        action: ``(B, A, ...)`` what was drawn, before it became centres in [0, 1]; None where nothing is.
        log_prob: ``(B, A)`` of ``action``, in nats.
        value: ``(B, A)`` estimate of the return before the choice.
        entropy: ``(B, A)`` of the distribution that is drawn from, in nats.
        carried: tensors with B in front that the choice of this step at the next frame is to find, in a
            causal stream; None without any.
    """

    centres: Tensor
    memory: Any = None
    window_sizes: Tensor | None = None
    action: Tensor | None = None
    log_prob: Tensor | None = None
    value: Tensor | None = None
    entropy: Tensor | None = None
    carried: Mapping[str, Tensor] | None = None


class Policy(nn.Module, ABC):
    """Gives centres.

    A subclass gives :meth:`forward`. It may have parameters, but none of the trainings of this package gives
    a gradient to a policy that is of none of the other kinds: unless they are frozen, training refuses it.

    Args:
        scope: 'frame', a centre for every frame, or 'clip', one for all frames of a clip.

    Attributes:
        sizes: whether its choices name ``window_sizes``.
        reads_glance: whether it reads the pixels of the glance, beside its map.
        reads_size: (height, width) in pixels of the frames that it reads instead, if it ``reads_glance``;
            None for those of the glance.
    """

    sizes = False
    reads_glance = False
    reads_size: tuple[int, int] | None = None

    def __init__(self, scope: Scope = 'frame'):
        super().__init__()
        self.scope = one_of(scope, 'scope', ('frame', 'clip'))

    @abstractmethod
    def forward(self, observation: Observation) -> Choice:
        """Choose the centres of the next look, as at test."""

    def described(self) -> dict[str, Any]:
        """Settings, as JSON holds them, that decide with the weights where it looks; here none."""
        return {}

    @staticmethod
    def for_frames(chosen: Tensor, observation: Observation) -> Tensor:
        """Of numbers ``(B, A, 2)``, A = T or 1, those of every frame ``(B, T, 2)``."""
        B, T = observation.feature_map.shape[:2]
        return chosen.expand(B, T, 2)


class StochasticPolicy(Policy):
    """A policy that learns by trial and reward (PPO, :mod:`gfvideo.models.ppo`).

    A subclass gives :meth:`forward`, the best choice, for tests; :meth:`draw`; and :meth:`evaluate`. They
    share what they have: ``draw(o)`` then ``evaluate(o, choice.action)`` must give the same ``log_prob`` and
    ``value``. All trainable parameters must have a part in ``log_prob``, ``value`` or ``entropy``.
    """

    @abstractmethod
    def draw(self, observation: Observation) -> Choice:
        """A choice drawn at random, with ``action``, ``log_prob`` and ``value``."""

    @abstractmethod
    def evaluate(self, observation: Observation, action: Tensor) -> Choice:
        """An earlier draw ``(B, A, ...)`` under the policy as it is now: ``log_prob``, ``value`` and
        ``entropy``, with gradients; ``centres`` those of the action."""

    def set_progress(self, fraction: float) -> None:
        """Which share of the policy's training, in [0, 1], is behind it; for schedules of exploration."""


class DifferentiablePolicy(Policy):
    """A policy whose centres carry a gradient, and which learns with the encoders.

    A subclass gives :meth:`forward` with ``centres`` (and ``window_sizes``) that are differentiable in its
    parameters. While it learns, patches are cut by bilinear sampling
    (:func:`~gfvideo.ops.crop_patches_bilinear`); at test exactly, as for every policy.
    """


class LooksTold(NamedTuple):
    """What S looks were worth, and at each step N - 1 others that might have been taken in their place.

    Attributes:
        centres: ``(S, N, B, T, 2)`` where they were cut; the first of N is the look that was taken.
        gains: ``(S, N, B, A)`` what each added to the probability of the true class, in [-1, 1].
        alone: ``(S, N, B, A)`` the probability of the true class from each look by itself, in [0, 1].
        changes: ``(S, N, B, A)`` how far each moved what the looks before it said: the root mean square over
            the classes of the change of the logits, 0 or more. It asks no label, and tells places apart where
            the other two hardly do: a look that reads something changes an opinion, whether or not it is
            right by then.
    """

    centres: Tensor
    gains: Tensor
    alone: Tensor
    changes: Tensor

    def select(self, rows: Tensor) -> LooksTold:
        """Keep the clips at ``rows``, long ``(K,)``."""
        return LooksTold(*(field[:, :, rows] for field in self))


@dataclass
class ValueRollout:
    """What a policy that learns values is to learn from, of a batch of clips.

    Attributes:
        observations: what it read before each of its S looks, without its memory: that depends on its
            weights, and is worked out anew.
        told: what the looks were worth.
    """

    observations: tuple[Observation, ...]
    told: LooksTold

    def __len__(self) -> int:
        """Number of clips."""
        return self.told.gains.shape[2]

    def select(self, rows: Tensor) -> ValueRollout:
        """Keep the clips at ``rows``, long ``(K,)``."""
        kept = tuple(observation.select(rows) for observation in self.observations)
        return ValueRollout(kept, self.told.select(rows))


class ValuePolicy(Policy):
    """A policy that knows what a look is worth: it learns from looks that were taken, random ones too, with
    the encoders; and by itself, several times from each look, in a stage of
    :class:`~gfvideo.engine.PolicyLoop`.

    A subclass gives :meth:`forward`, the place that promises most; :meth:`draw`, for training on places that
    it would choose (``train_centres='sample'``); and :meth:`value_loss`.
    """

    @abstractmethod
    def draw(self, observation: Observation) -> Choice:
        """A choice drawn at random, more often where much is promised."""

    def promises(self, observation: Observation) -> Tensor | None:
        """How good a look at each cell of a map of the frame still is, ``(B, A, h, w)``, in units of its
        own; for pictures. None of a policy that keeps no map."""
        return None

    @abstractmethod
    def value_loss(self, observations: Sequence[Observation], told: LooksTold) -> Tensor:
        """How far what it expects of looks is from what they were worth.

        Args:
            observations: before each of the S looks, without memory.
            told: of the looks that were taken, and of others in their place.

        Returns:
            A scalar, with a gradient to the policy alone.
        """


def cell_centres(
    size: tuple[int, int], geometry: Geometry, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Where to cut so that the middle of the patch is the middle of a cell of a map of the frame.

    Args:
        size: (h, w) of the map, in cells.
        geometry: of the frames and patches.

    Returns:
        y of the centres ``(h,)`` and x ``(w,)``, in [0, 1]; of cells at the edge the patch stays inside the
        frame.
    """
    axes = []
    for cells, frame, patch in zip(size, *geometry):
        middles = (torch.arange(cells, device=device) + 0.5) * (frame / cells)
        axes.append(((middles - patch / 2) / max(frame - patch, 1)).clamp(0, 1))
    return axes[0], axes[1]


def has_trainable(module: nn.Module) -> bool:
    """Whether any parameter of it is not frozen."""
    return any(parameter.requires_grad for parameter in module.parameters())
