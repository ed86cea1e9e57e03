"""What a policy reads of a glance: the encoder's map, and the pixels through a stem of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ['GlanceStem']


class GlanceStem(nn.Module):
    """The glance's map beside its pixels, which convolutions at strides 2 and 4 bring to the map's size.

    A map that was trained for classes says little of where they are told apart; the pixels do.

    Args:
        hidden: channels of the pixels' features.
        depth: how many convolutions of 3x3, 2 or more; those after the second one stay at stride 4.
        norm: whether a batch normalization follows each, with which it learns in fewer steps.

    Raises:
        ValueError: if ``depth`` is less than 2.
    """

    def __init__(self, hidden: int, depth: int = 2, norm: bool = False):
        super().__init__()
        if depth < 2:
            raise ValueError(f'depth={depth} of the stem must be 2 or more')
        channels, layers = 3, list[nn.Module]()
        for wanted, stride in ((hidden // 2, 2), *((hidden, 2 if n == 0 else 1) for n in range(depth - 1))):
            layers.append(nn.Conv2d(channels, wanted, 3, stride, 1))
            if norm:
                layers.append(nn.BatchNorm2d(wanted))
            layers.append(nn.ReLU())
            channels = wanted
        self.pixels = nn.Sequential(*layers)

    def forward(self, maps: Tensor, glance: Tensor) -> Tensor:
        """Maps ``(N, D, h, w)`` and frames as glanced at ``(N, 3, G, G)`` to ``(N, D + hidden, h, w)``."""
        pixels = F.adaptive_avg_pool2d(self.pixels(glance), (maps.shape[-2], maps.shape[-1]))
        return torch.cat([maps, pixels], 1)
