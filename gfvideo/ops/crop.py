"""Cut patches at centres: an exact integer gather, and a bilinear form that is differentiable in the centres.

A centre is ``(y, x)`` in [0, 1]: 0 puts the patch against the top/left edge of the frame, 1 against the
bottom/right edge. The top-left corner is ``centre * (H - P)``; the exact form takes its floor, as GFNet does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .running import numbers_like

__all__ = ['crop_patches', 'crop_patches_bilinear', 'crop_windows', 'patch_corners']


def patch_corners(centres: Tensor, frame_size: tuple[int, int], patch_size: tuple[int, int]) -> Tensor:
    """Top-left corners in pixels of the patches at ``centres``.

    Args:
        centres: ``(..., 2)``, (y, x) in [0, 1].
        frame_size: (H, W) in pixels.
        patch_size: (height, width) of the patch in pixels.

    Returns:
        ``(..., 2)`` float, (y, x), between 0 and (H - height, W - width).

    Raises:
        ValueError: if the patch is larger than the frame.
    """
    if patch_size[0] > frame_size[0] or patch_size[1] > frame_size[1]:
        raise ValueError(
            f'patch {patch_size} is larger than the frame {frame_size}; choose a smaller patch or larger'
            ' frames'
        )
    room = numbers_like(centres, [frame_size[0] - patch_size[0], frame_size[1] - patch_size[1]])
    return centres.clamp(0, 1) * room


def crop_patches(frames: Tensor, centres: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Cut one patch per frame by one gather; equal to slicing at ``floor(centre * (H - P))`` (GFNet, Sec. 3).

    Args:
        frames: ``(B, T, C, H, W)``.
        centres: ``(B, T, 2)``, (y, x) in [0, 1]; values outside are clamped.
        patch_size: (height, width) in pixels.

    Returns:
        ``(B, T, C, height, width)``; no gradient reaches the centres.

    Raises:
        ValueError: if the patch is larger than the frame.
    """
    B, T, C, H, W = frames.shape
    h, w = patch_size
    corners = patch_corners(centres.detach().float(), (H, W), patch_size).floor().long()  # (B, T, 2)
    rows = corners[..., 0, None] + torch.arange(h, device=frames.device)  # (B, T, h)
    cols = corners[..., 1, None] + torch.arange(w, device=frames.device)  # (B, T, w)
    index = (rows[..., :, None] * W + cols[..., None, :]).view(B, T, 1, h * w)  # (B, T, 1, h*w)
    return frames.flatten(3).gather(3, index.expand(B, T, C, h * w)).view(B, T, C, h, w)


def crop_patches_bilinear(frames: Tensor, centres: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Cut patches by bilinear sampling, differentiable in the centres (AdaFocus V2, Sec. 3.2).

    At centres whose corner is an integer the result equals :func:`crop_patches`.

    Args:
        frames: ``(B, T, C, H, W)``, floating point.
        centres: ``(B, T, 2)``, (y, x) in [0, 1].
        patch_size: (height, width) in pixels.

    Returns:
        ``(B, T, C, height, width)``, of the dtype of the frames.

    Raises:
        TypeError: if the frames are integers.
        ValueError: if the patch is larger than the frame.
    """
    if not frames.is_floating_point():
        raise TypeError(
            f'frames are {frames.dtype}; interpolation needs floating point, e.g. frames.float(), or use'
            ' crop_patches'
        )
    B, T, C, H, W = frames.shape
    h, w = patch_size
    # half precision places a sample up to half a pixel off: interpolate in float32 at least
    dtype = torch.promote_types(torch.promote_types(frames.dtype, centres.dtype), torch.float32)
    corners = patch_corners(centres.to(dtype), (H, W), patch_size)  # (B, T, 2)
    ys = corners[..., 0, None] + torch.arange(h, device=frames.device, dtype=dtype)  # (B, T, h)
    xs = corners[..., 1, None] + torch.arange(w, device=frames.device, dtype=dtype)  # (B, T, w)
    # pixel i has its centre at (2i + 1)/size - 1 in the coordinates of grid_sample with align_corners=False
    ys, xs = (2 * ys + 1) / H - 1, (2 * xs + 1) / W - 1
    # (B, T, h, w, 2)
    grid = torch.stack([xs[..., None, :].expand(B, T, h, w), ys[..., :, None].expand(B, T, h, w)], dim=-1)
    patches = F.grid_sample(
        frames.flatten(0, 1).to(dtype),
        grid.flatten(0, 1),
        mode='bilinear',
        padding_mode='border',
        align_corners=False,
    )  # (B*T, C, h, w)
    return patches.to(frames.dtype).view(B, T, C, h, w)


def crop_windows(
    frames: Tensor, centres: Tensor, window_sizes: Tensor, patch_size: tuple[int, int]
) -> Tensor:
    """Cut windows of any size and resample each to a patch, differentiable in place and size (deformable
    patches of Uni-AdaFocus).

    A window of the size of the patch gives what :func:`crop_patches_bilinear` gives. Samples beyond the edge
    of the frame mix with zeros, as in the published code; they occur only within half a pixel of the edge, in
    windows that are magnified.

    Args:
        frames: ``(B, T, C, H, W)``, floating point.
        centres: ``(B, T, 2)``, (y, x) in [0, 1]: 0 = the window touches the top/left edge, 1 = the
            bottom/right edge.
        window_sizes: ``(B, T, 2)``, (height, width) of the windows in pixels, at most (H, W).
        patch_size: (height, width) of the patches in pixels.

    Returns:
        ``(B, T, C, *patch_size)``, of the dtype of the frames.

    Raises:
        TypeError: if the frames are integers.
    """
    if not frames.is_floating_point():
        raise TypeError(f'frames are {frames.dtype}; interpolation needs floating point, e.g. frames.float()')
    B, T, C, H, W = frames.shape
    h, w = patch_size
    dtype = torch.promote_types(torch.promote_types(frames.dtype, centres.dtype), torch.float32)
    centres = centres.to(dtype)
    corners = centres * (numbers_like(centres, [H, W]) - window_sizes)  # (B, T, 2), edges of pixels
    axes = []
    for axis, (pixels, size) in enumerate(((h, H), (w, W))):
        # of the patch's pixels, in (0, 1)
        middles = (torch.arange(pixels, device=frames.device, dtype=dtype) + 0.5) / pixels
        at = corners[..., axis, None] + middles * window_sizes[..., axis, None].to(dtype)  # (B, T, pixels)
        axes.append(2 * at / size - 1)
    ys, xs = axes
    # (B, T, h, w, 2)
    grid = torch.stack([xs[..., None, :].expand(B, T, h, w), ys[..., :, None].expand(B, T, h, w)], dim=-1)
    patches = F.grid_sample(
        frames.flatten(0, 1).to(dtype),
        grid.flatten(0, 1),
        mode='bilinear',
        padding_mode='zeros',
        align_corners=False,
    )
    return patches.to(frames.dtype).view(B, T, C, h, w)
