"""Policies that learn nothing: the controls."""

from __future__ import annotations

import torch

from ...registry import MODELS
from .base import Choice, Observation, Policy

__all__ = ['CentrePolicy', 'RandomPolicy']


@MODELS.register_module()
class RandomPolicy(Policy):
    """Centres drawn uniformly, from torch's generator of the maps' device."""

    def forward(self, observation: Observation) -> Choice:
        B, T = observation.feature_map.shape[:2]
        rows = T if self.scope == 'frame' else 1
        return Choice(
            self.for_frames(torch.rand(B, rows, 2, device=observation.feature_map.device), observation)
        )


@MODELS.register_module()
class CentrePolicy(Policy):
    """The middle of every frame, at every step."""

    def forward(self, observation: Observation) -> Choice:
        B, T = observation.feature_map.shape[:2]
        return Choice(torch.full((B, T, 2), 0.5, device=observation.feature_map.device))
