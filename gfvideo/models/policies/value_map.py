"""A policy that learns what a look is worth: the gain of every place, regressed on looks that were taken.

Where each look is judged by what it adds, no trial by trial search is needed: every patch that training cuts,
random ones first of all, tells what a patch at its place was worth. The gain of a place is learned from what
a glance shows there, once for all places; the best place not seen yet is looked at next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from ...registry import MODELS
from .base import Choice, Geometry, Observation, Scope, ValuePolicy

__all__ = ['ValueMapPolicy', 'ValueMemory']


class ValueMemory(NamedTuple):
    """State between choices: features of the glance ``(B, A, K, h, w)``, and how much of each cell was seen,
    in [0, 1], ``(B, A, h, w)``."""

    features: Tensor
    seen: Tensor


@MODELS.register_module()
class ValueMapPolicy(ValuePolicy):
    """The cell of the glance's map with the largest expected gain, refined within its neighbours.

    It reads the glance's map and, through a stem of its own, the glance's pixels: a map that was trained for
    classes says little of where they are told apart. Places that were looked at are marked in what it reads,
    and what a cell promises falls by ``discount`` as far as it was seen.

    Args:
        glance_channels: D of the glance's map.
        scope: 'frame' or 'clip'; a clip's one centre is chosen from the mean of its frames.
        hidden: channels of the stem and of the map of features.
        discount: share of a seen cell's promise that is taken off it, in [0, 1].
        temperature: of the draws while learning: cells are drawn by softmax(value / temperature).

    Raises:
        ValueError: if the discount is outside [0, 1] or the temperature not above 0.
    """

    reads_glance = True

    def __init__(
        self,
        glance_channels: int,
        scope: Scope = 'frame',
        hidden: int = 32,
        discount: float = 1.0,
        temperature: float = 0.1,
    ):
        super().__init__(scope)
        if not 0 <= discount <= 1:
            raise ValueError(f'discount={discount} must be in [0, 1]')
        if temperature <= 0:
            raise ValueError(f'temperature={temperature} must be above 0')
        self.discount, self.temperature = discount, temperature
        self.stem = nn.Sequential(
            nn.Conv2d(3, hidden // 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(hidden // 2, hidden, 3, 2, 1), nn.ReLU()
        )
        self.mix = nn.Sequential(nn.Conv2d(glance_channels + hidden, hidden, 3, padding=1), nn.ReLU())
        # the map of features, how far each cell was seen, and which look it is
        self.value = nn.Sequential(
            nn.Conv2d(hidden + 2, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, 1, 1)
        )

    # ---- values

    def _features(self, observation: Observation) -> Tensor:
        """What the glance shows, ``(B, A, K, h, w)``."""
        T, glance = observation.feature_map.shape[1], observation.glance
        assert glance is not None  # asked for by reads_glance
        maps = rearrange(observation.feature_map.detach(), 'b t d h w -> (b t) d h w')
        pixels = self.stem(rearrange(glance, 'b t c h w -> (b t) c h w'))
        h, w = maps.shape[-2:]
        pixels = F.adaptive_avg_pool2d(pixels, (h, w))
        features = rearrange(self.mix(torch.cat([maps, pixels], 1)), '(b t) k h w -> b t k h w', t=T)
        return features.mean(1, keepdim=True) if self.scope == 'clip' else features

    def remember(self, observation: Observation) -> ValueMemory:
        """What is known before the choice: the glance's features, and the places of all looks so far."""
        memory: ValueMemory | None = observation.memory
        if memory is None:
            features = self._features(observation)
            memory = ValueMemory(features, features.new_zeros(*features.shape[:2], *features.shape[-2:]))
        if observation.centres is None:
            return memory
        A = memory.seen.shape[1]
        h, w = memory.seen.shape[-2:]
        covered = coverage(observation.centres[:, :A], (h, w), observation.geometry)
        return ValueMemory(memory.features, torch.maximum(memory.seen, covered))

    def values(self, memory: ValueMemory, step: int) -> Tensor:
        """Expected gain of a look at each cell, ``(B, A, h, w)``, in units of the probability of the true
        class."""
        A = memory.seen.shape[1]
        features = rearrange(memory.features, 'b a k h w -> (b a) k h w')
        seen = rearrange(memory.seen, 'b a h w -> (b a) 1 h w').to(features.dtype)
        look = torch.full_like(seen, float(step))
        return rearrange(self.value(torch.cat([features, seen, look], 1)), '(b a) 1 h w -> b a h w', a=A)

    # ---- choices

    def forward(self, observation: Observation) -> Choice:
        memory = self.remember(observation)
        promise = self.values(memory, observation.step)
        left = promise - self.discount * memory.seen * (
            promise - reduce(promise, 'b a h w -> b a 1 1', 'min')
        )
        cells = rearrange(left, 'b a h w -> b a (h w)').argmax(-1)  # (B, A)
        return self._choice(observation, memory, promise, refined(left, cells))

    def draw(self, observation: Observation) -> Choice:
        memory = self.remember(observation)
        promise = self.values(memory, observation.step)
        h, w = promise.shape[-2:]
        weights = rearrange(promise.float() / self.temperature, 'b a h w -> (b a) (h w)').softmax(-1)
        cells = rearrange(torch.multinomial(weights, 1), '(b a) 1 -> b a', a=promise.shape[1])
        within = torch.rand(*cells.shape, 2, device=cells.device)  # anywhere in the cell
        places = (torch.stack([cells // w, cells % w], -1) + within) / within.new_tensor([h, w])
        return self._choice(observation, memory, promise, places)

    def _choice(
        self, observation: Observation, memory: ValueMemory, promise: Tensor, places: Tensor
    ) -> Choice:
        """A choice of places ``(B, A, 2)``, as parts of the frame's height and width."""
        geometry = observation.geometry
        centres = centres_at(places, geometry)
        return Choice(
            self.for_frames(centres, observation),
            memory,
            value=value_at(promise, centres, geometry),
        )

    def value_loss(self, observations: Sequence[Observation], centres: Tensor, gains: Tensor) -> Tensor:
        expected, memory = [], None
        for observation, places in zip(observations, centres, strict=True):
            memory = self.remember(observation._replace(memory=memory))
            places = places[:, : memory.seen.shape[1]]
            values = self.values(memory, observation.step)
            expected.append(value_at(values, places, observation.geometry))
        return F.smooth_l1_loss(torch.stack(expected).float(), gains, beta=0.25)


def coverage(centres: Tensor, cells: tuple[int, int], geometry: Geometry) -> Tensor:
    """How much of each cell of a map lies in the patches at ``centres`` ``(B, A, 2)``: ``(B, A, h, w)`` in
    [0, 1]."""
    parts = []
    for axis, (count, frame, patch) in enumerate(zip(cells, *geometry)):
        side = frame / count
        first = centres[..., axis, None] * (frame - patch)  # (B, A, 1), pixels
        start = torch.arange(count, device=centres.device) * side
        overlap = torch.minimum(first + patch, start + side) - torch.maximum(first, start)
        parts.append((overlap / side).clamp(0, 1))
    return parts[0][..., :, None] * parts[1][..., None, :]


def centres_at(places: Tensor, geometry: Geometry) -> Tensor:
    """Centres ``(..., 2)`` of the patches whose middles are at ``places``, parts of height and width."""
    frame, patch = (places.new_tensor(size) for size in geometry)
    return ((places * frame - patch / 2) / (frame - patch).clamp_min(1)).clamp(0, 1)


def value_at(values: Tensor, centres: Tensor, geometry: Geometry) -> Tensor:
    """Values ``(B, A, h, w)`` at the middles of the patches at ``centres`` ``(B, A, 2)``, between cells
    bilinear: ``(B, A)``."""
    A = values.shape[1]
    frame, patch = (centres.new_tensor(size) for size in geometry)
    middles = (centres * (frame - patch) + patch / 2) / frame  # (B, A, 2), parts of height and width
    grid = rearrange(2 * middles - 1, 'b a yx -> (b a) 1 1 yx').flip(-1)  # x first
    maps = rearrange(values, 'b a h w -> (b a) 1 h w')
    at = F.grid_sample(maps, grid.to(maps.dtype), padding_mode='border', align_corners=False)
    return rearrange(at, '(b a) 1 1 1 -> b a', a=A)


def refined(values: Tensor, cells: Tensor) -> Tensor:
    """Places ``(B, A, 2)``, parts of height and width: the middle of the best cell, moved by what its
    neighbours on either side promise, half a cell at most (a parabola through three points).

    It never lies between two places that both promise much.
    """
    h, w = values.shape[-2:]
    padded = F.pad(values.float(), (1, 1, 1, 1), mode='replicate')
    y, x = cells // w, cells % w
    flat = rearrange(padded, 'b a h w -> b a (h w)')

    def at(dy: int, dx: int) -> Tensor:
        index = (y + 1 + dy) * (w + 2) + x + 1 + dx
        return flat.gather(2, index[..., None]).squeeze(2)

    here = at(0, 0)
    offsets = []
    for before, after in ((at(-1, 0), at(1, 0)), (at(0, -1), at(0, 1))):
        bend = (2 * here - before - after).clamp_min(1e-6)
        offsets.append((0.5 * (after - before) / bend).clamp(-0.5, 0.5))
    places = torch.stack([y + 0.5 + offsets[0], x + 0.5 + offsets[1]], -1)
    return places / places.new_tensor([h, w])
