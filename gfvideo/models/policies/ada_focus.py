"""The policies of the AdaFocus family: one window for all frames of a clip, and which frames to focus on.

They are feed-forward and differentiable: they learn with the encoders, and PPO has no part in them.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ...ops import numbers_like
from ...registry import MODELS
from .base import Choice, DifferentiablePolicy, Observation

__all__ = ['DeformablePolicy', 'FramePolicy', 'StackedMapPolicy', 'frames_at_quantiles']


def _check_frames(policy: nn.Module, num_frames: int, given: int) -> None:
    if given != num_frames:
        raise ValueError(
            f'{type(policy).__name__} was built for {num_frames} glance frames and got {given}; its layers'
            ' span them all'
        )


@MODELS.register_module()
class StackedMapPolicy(DifferentiablePolicy):
    """One window per clip from the glance maps of all frames side by side (AdaFocus V2, Wang et al., CVPR
    2022, on TSM).

    Args:
        glance_channels: D of the glance map.
        glance_frames: glance frames of a clip.
        glance_map: (h, w) of the glance map.
        reduced: channels after the 1x1 convolution.
        hidden: widths of the two hidden layers.
    """

    def __init__(
        self,
        glance_channels: int,
        glance_frames: int,
        glance_map: tuple[int, int],
        reduced: int = 64,
        hidden: tuple[int, int] = (1024, 512),
    ):
        super().__init__('clip')
        self.glance_frames = glance_frames
        first, second = hidden
        self.reduce = nn.Sequential(
            nn.Conv2d(glance_channels * glance_frames, reduced, 1, bias=False),
            nn.BatchNorm2d(reduced),
            nn.Tanh(),
            nn.Flatten(),
        )
        self.actor = nn.Sequential(
            nn.Linear(reduced * glance_map[0] * glance_map[1], first),
            nn.BatchNorm1d(first),
            nn.Tanh(),
            nn.Linear(first, second),
            nn.BatchNorm1d(second),
            nn.Tanh(),
            nn.Linear(second, 2),
            nn.Sigmoid(),
        )

    def forward(self, observation: Observation) -> Choice:
        """Centre of the window, the same for all frames, from the map ``(B, T, D, h, w)``.

        Raises:
            ValueError: on other frames than it was built for, or a single clip in training.
        """
        _check_frames(self, self.glance_frames, observation.feature_map.shape[1])
        if self.training and len(observation.feature_map) == 1:
            raise ValueError(
                'StackedMapPolicy normalises over the clips of a batch and got 1 to learn from; train with a'
                ' batch_size of 2 or more, and drop_last=True where one is left over'
            )
        stacked = rearrange(observation.feature_map, 'b t d h w -> b (t d) h w')
        centre = self.actor(self.reduce(stacked))  # (B, 2)
        return Choice(self.for_frames(centre[:, None], observation))


@MODELS.register_module()
class DeformablePolicy(DifferentiablePolicy):
    """One window per clip, place and size (Uni-AdaFocus, Wang et al., TPAMI 2024, on TSM).

    Args:
        glance_channels: D of the glance map.
        glance_frames: glance frames of a clip.
        glance_map: (h, w) of the glance map.
        hidden: channels of the 3D convolutions.
        side_range: smallest and largest side of the window, in pixels.
    """

    sizes = True

    def __init__(
        self,
        glance_channels: int,
        glance_frames: int,
        glance_map: tuple[int, int],
        hidden: int = 128,
        side_range: tuple[int, int] = (96, 224),
    ):
        super().__init__('clip')
        if not 0 < side_range[0] <= side_range[1]:
            raise ValueError(f'side_range={side_range} must be two growing positive numbers of pixels')
        self.glance_frames, self.side_range = glance_frames, tuple(side_range)

        def conv(channels: int, kernel: int) -> list[nn.Module]:
            return [
                nn.Conv3d(channels, hidden, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm3d(hidden),
                nn.ReLU(),
            ]

        self.encoder = nn.Sequential(*conv(glance_channels, 1), *conv(hidden, 3), *conv(hidden, 3))
        self.actor = nn.Conv3d(hidden, 4, (glance_frames, *glance_map), bias=False)

    def forward(self, observation: Observation) -> Choice:
        """Centre and size of the window, the same for all frames, from the map ``(B, T, D, h, w)``."""
        _check_frames(self, self.glance_frames, observation.feature_map.shape[1])
        smallest, largest = self.side_range
        frame_size = observation.geometry.frame_size
        if min(frame_size) < largest:
            raise ValueError(
                f'frames of {frame_size} cannot hold windows of up to {largest} pixels; give larger'
                ' frames, or a policy with a smaller side_range'
            )
        maps = rearrange(observation.feature_map, 'b t d h w -> b d t h w')
        y_x_height_width = self.actor(self.encoder(maps)).flatten(1).sigmoid()[:, None]  # (B, 1, 4)
        sizes = smallest + y_x_height_width[..., 2:] * (largest - smallest)  # (B, 1, 2), pixels
        return Choice(
            self.for_frames(y_x_height_width[..., :2], observation),
            window_sizes=self.for_frames(sizes, observation),
        )

    def size_penalty(self, window_sizes: Tensor) -> Tensor:
        """Mean squared distance of sides ``(..., 2)`` in pixels to the largest, as a share of the range
        (Uni-AdaFocus): 0 for the largest windows, 1 for the smallest."""
        smallest, largest = self.side_range
        return ((largest - window_sizes) / max(largest - smallest, 1)).square().mean()


@MODELS.register_module()
class FramePolicy(nn.Module):
    """How much each glance frame matters, as a distribution over the clip's duration (temporal policy of
    Uni-AdaFocus).

    Args:
        glance_channels: F of the glance vectors.
        hidden: channels of the two temporal convolutions.
        temperature: of the softmax that frames are chosen with.
    """

    def __init__(self, glance_channels: int, hidden: int = 64, temperature: float = 1.0):
        super().__init__()
        self.temperature = temperature
        self.encoder = nn.Sequential(
            nn.Conv2d(glance_channels, hidden, (3, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, (3, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1, bias=False),
        )

    def scores(self, vectors: Tensor) -> Tensor:
        """Glance vectors ``(B, T, F)`` to scores ``(B, T)``."""
        return self.encoder(vectors.transpose(1, 2)[..., None]).flatten(1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Glance vectors ``(B, T, F)`` to weights ``(B, T)`` that add up to 1."""
        return (self.scores(vectors) / self.temperature).softmax(1)


def frames_at_quantiles(
    weights: Tensor, candidates: int, chosen: int, quantiles: Tensor | None = None
) -> Tensor:
    """Choose frames where the weight lies: those at evenly spaced quantiles of the distribution over the
    clip's duration.

    The clip is cut into as many equal spans as there are weights, and each span holds its weight evenly. A
    frame that would be chosen twice makes way for the next one, so the choice grows strictly (temporal policy
    of Uni-AdaFocus).

    Args:
        weights: ``(B, spans)``, not negative, adding up to 1.
        candidates: frames to choose from, spread evenly over the clip.
        chosen: how many to choose.
        quantiles: ``(chosen,)`` or ``(B, chosen)``, growing, in (0, 1); None for the middles of equal parts.

    Returns:
        ``(B, chosen)`` indices of candidates, growing.

    Raises:
        ValueError: if more are to be chosen than there are.
    """
    if not 1 <= chosen <= candidates:
        raise ValueError(
            f'{chosen} focus frames cannot be chosen from {candidates} candidates; give at least as many'
            ' frames'
        )
    spans = weights.shape[1]
    rank = torch.arange(chosen, device=weights.device)
    if quantiles is None:
        quantiles = (rank.to(weights.dtype) + 0.5) / chosen
    quantiles = quantiles.expand(weights.shape[0], chosen)
    ends = numbers_like(weights, [0.0, 1.0]).expand(weights.shape[0], 2)
    reached = torch.cat([ends[:, :1], weights.cumsum(1)[:, :-1], ends[:, 1:]], 1)  # (B, spans + 1)
    span = (reached[:, None] < quantiles[..., None]).sum(-1).clamp(1, spans) - 1  # (B, chosen)
    low, high = reached.gather(1, span), reached.gather(1, span + 1)
    start, end = span / spans, (span + 1) / spans
    # in [0, 1] of the duration
    moments = (end * (quantiles - low) - start * (quantiles - high)) / (high - low)
    index = (moments * candidates).floor().long()
    before = rank[None, :] <= rank[:, None]  # (chosen, chosen)
    index = (index - rank)[:, None].masked_fill(~before, -chosen).amax(-1) + rank  # no frame twice
    return torch.minimum(index, candidates - chosen + rank)
