"""Frames to another size: what becomes of a frame before it is glanced at."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

__all__ = ['ResizeMode', 'resize_frames']

ResizeMode = Literal['antialiased', 'bilinear', 'bicubic']


def resize_frames(frames: Tensor, size: tuple[int, int], resize: ResizeMode = 'antialiased') -> Tensor:
    """Frames ``(B, T, 3, H, W)`` to ``(B, T, 3, *size)``.

    Args:
        frames: floating point.
        size: (height, width) in pixels.
        resize: 'antialiased' is bilinear over all the pixels that a new one covers; 'bilinear' and 'bicubic'
            sample between neighbouring pixels with the corners aligned, as the published GFNet glances do
            (bicubic; bilinear for DenseNet and RegNet).

    Raises:
        ValueError: on another ``resize``.
    """
    if resize not in get_args(ResizeMode):
        raise ValueError(f"resize={resize!r} is unknown; choose 'antialiased', 'bilinear' or 'bicubic'")
    if tuple(frames.shape[-2:]) == size:
        return frames
    how = (
        dict(mode='bilinear', align_corners=False, antialias=True)
        if resize == 'antialiased'
        else dict(mode=resize, align_corners=True)
    )
    resized = F.interpolate(frames.flatten(0, 1), size, **how)  # (B*T, 3, h, w)
    return resized.unflatten(0, frames.shape[:2])
