"""A control of the value map: the best places of its first map, chosen at once, whatever the patches show."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from ...ops import numbers_like
from ...registry import MODELS
from ..temporal import Shift
from .base import Choice, Geometry, Observation, Scope
from .value_map import By, ValueMapPolicy, centres_at, refined, value_at

__all__ = ['TopKPolicy', 'best_centres']

NEARLY = 1 - 1e-4  # of half a patch: rounding is no reason to refuse a place


@MODELS.register_module()
class TopKPolicy(ValueMapPolicy):
    """The K = S best places of the map of promises that stands after the glance, best first.

    Each lies at least half a patch, in height or in width, from those before it. Nothing that a patch shows
    changes the next place, so what :class:`ValueMapPolicy` reads better with the same weights is worth
    looking at one patch before choosing the next. A checkpoint of a value map serves as it is:
    ``--cfg-options model.policy.type=TopKPolicy``.

    Args:
        glance_channels, focus_channels, scope, shift, hidden, discount, temperature, write_back, temporal:
            as of :class:`ValueMapPolicy`, whose weights these are.
        chosen_by, stem_depth, stem_norm, stem_size, stem_stride: as of :class:`ValueMapPolicy`.
        steps: S.
    """

    def __init__(
        self,
        glance_channels: int,
        focus_channels: int,
        steps: int,
        scope: Scope = 'frame',
        shift: Shift | None = None,
        hidden: int = 32,
        discount: float = 1.0,
        temperature: float = 0.1,
        write_back: bool = True,
        temporal: bool = True,
        chosen_by: By = 'change',
        stem_depth: int = 2,
        stem_norm: bool = False,
        stem_size: int | Sequence[int] | None = None,
        stem_stride: int = 4,
    ):
        super().__init__(
            glance_channels,
            focus_channels,
            scope,
            shift,
            hidden,
            discount,
            temperature,
            write_back,
            temporal,
            chosen_by,
            stem_depth,
            stem_norm,
            stem_size,
            stem_stride,
        )
        self.steps = steps

    def promises(self, observation: Observation) -> Tensor | None:
        """The first map, from which all places are taken; None before later looks."""
        return None if observation.step > 0 else super().promises(observation)

    def forward(self, observation: Observation) -> Choice:
        if observation.step > 0:
            plan, promised = observation.memory
            at = observation.step
            return Choice(
                self.for_frames(plan[:, at], observation), observation.memory, value=promised[:, at]
            )
        valued = self.valued(observation)
        plan = best_centres(self.left(valued), self.steps, observation.geometry)  # (B, S, A, 2)
        promised = torch.stack(
            [value_at(valued.promise, centres, observation.geometry) for centres in plan.unbind(1)], 1
        )  # (B, S, A)
        return Choice(
            self.for_frames(plan[:, 0], observation),
            (plan, promised),
            value=promised[:, 0],
            carried=valued.carried or None,
        )


def best_centres(values: Tensor, count: int, geometry: Geometry) -> Tensor:
    """Where to cut ``count`` patches: the best places of a map, best first, each at least half a patch from
    those before it, in height or in width.

    Args:
        values: ``(B, A, h, w)``.
        count: K. Where fewer places lie so far apart, the next is the one farthest from those before.
        geometry: of frames and patches.

    Returns:
        Centres ``(B, K, A, 2)``, (y, x) in [0, 1].
    """
    h, w = values.shape[-2:]
    index = torch.arange(h * w, device=values.device)
    cells = (torch.stack([index // w, index % w], -1) + 0.5) / numbers_like(values, [h, w])  # (h*w, 2)
    at_cells = centres_at(cells, geometry)  # at the edge the patch stays inside the frame
    scores = rearrange(values, 'b a h w -> b a (h w)')
    taken: list[Tensor] = []
    for _ in range(count):
        room = _half_patches_apart(at_cells.expand(*scores.shape, 2), taken, geometry)  # (B, A, h*w)
        free = room >= NEARLY
        ranked = torch.where(free, scores, -torch.inf)
        best = torch.where(free.any(-1), ranked.argmax(-1), room.argmax(-1))  # (B, A)
        chosen = centres_at(refined(values, best), geometry)  # (B, A, 2)
        apart = _half_patches_apart(chosen[:, :, None], taken, geometry)  # (B, A, 1)
        taken.append(torch.where(apart >= NEARLY, chosen, at_cells[best]))
    return torch.stack(taken, 1)


def _half_patches_apart(centres: Tensor, taken: list[Tensor], geometry: Geometry) -> Tensor:
    """How far patches at centres ``(B, A, N, 2)`` lie from the nearest at centres ``(B, A, 2)`` that were
    taken, in halves of a patch: ``(B, A, N)``, infinity without any."""
    nearest = torch.full(centres.shape[:-1], torch.inf, device=centres.device)
    frame, patch = (numbers_like(centres, size) for size in geometry)
    for other in taken:
        pixels = (centres - other[:, :, None]).abs() * (frame - patch)
        nearest = torch.minimum(nearest, (pixels / (patch / 2)).amax(-1))
    return nearest
