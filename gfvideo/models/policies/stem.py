"""What a policy reads of a glance: the encoder's map, and the pixels through a stem of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ['GlanceStem']


class GlanceStem(nn.Module):
    """The glance's map beside its pixels, which strided convolutions bring to the map's size.

    A map that was trained for classes says little of where they are told apart; the pixels do.

    Args:
        hidden: channels of the pixels' features.
        depth: how many convolutions of 3x3, enough for the stride.
        norm: whether a batch normalization follows each, with which it learns in fewer steps.
        stride: of all of them together, a power of two, 4 or more. The first ones halve their maps, and the
            last of those has ``hidden`` channels, each before it half as many.

    Raises:
        ValueError: if ``stride`` is no power of two, or ``depth`` too small for it.
    """

    def __init__(self, hidden: int, depth: int = 2, norm: bool = False, stride: int = 4):
        super().__init__()
        halvings = stride.bit_length() - 1
        if stride < 4 or stride != 1 << halvings:
            raise ValueError(f'stride={stride} of the stem must be a power of two, 4 or more')
        if depth < halvings:
            raise ValueError(f'depth={depth} of the stem must be {halvings} or more')
        channels, layers = 3, list[nn.Module]()
        for n in range(depth):
            wanted = max(1, hidden >> max(0, halvings - 1 - n))
            layers.append(nn.Conv2d(channels, wanted, 3, 2 if n < halvings else 1, 1))
            if norm:
                layers.append(nn.BatchNorm2d(wanted))
            layers.append(nn.ReLU())
            channels = wanted
        self.pixels = nn.Sequential(*layers)

    def forward(self, maps: Tensor, glance: Tensor) -> Tensor:
        """Maps ``(N, D, h, w)`` and frames as glanced at ``(N, 3, G, G)`` to ``(N, D + hidden, h, w)``."""
        pixels = self.pixels(glance)
        # whole numbers, also while a graph is traced
        height, width, h, w = (int(side) for side in (*pixels.shape[-2:], *maps.shape[-2:]))
        if height % h or width % w:  # as adaptive pooling does, which graphs have for whole parts alone
            pixels = means_of(height, h, pixels) @ pixels @ means_of(width, w, pixels).T
        else:
            pixels = F.adaptive_avg_pool2d(pixels, (h, w))
        return torch.cat([maps, pixels], 1)


def means_of(length: int, parts: int, like: Tensor) -> Tensor:
    """``(parts, length)`` of the dtype of ``like``, made where it is: the mean over each part of an axis,
    from the cell that it begins in to the one that it ends in."""
    part = torch.arange(parts, device=like.device)[:, None]
    cell = torch.arange(length, device=like.device)
    # cell c lies in [c, c + 1), part p in [p, p + 1) * length / parts
    inside = ((cell + 1) * parts > part * length) & (cell * parts < (part + 1) * length)
    return inside.to(like.dtype) / inside.sum(1, keepdim=True)
