"""Patches at the true places of the objects: what a policy that knew them would give the network."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from ..models import Geometry
from ..models.policies.value_map import centres_at
from .objects import Box, Objects

__all__ = ['oracle_centres']


def oracle_centres(
    objects: Objects,
    frame_indices: Sequence[int],
    frame_size: tuple[int, int],
    patch_size: tuple[int, int],
    looks: int,
) -> Tensor:
    """Where to cut the patches of one clip so that their middles are those of the objects; at the edge a
    patch stays inside the frame, as those of a policy do.

    Look s of S takes the s-th object of the clip in the order of their names, and the first again after the
    last. At a frame that does not show it, it takes the last place before; else the first one after; else, of
    clips without objects, the middle of the frame.

    Args:
        objects: frame number -> name -> box, in pixels of the frames that are cut from.
        frame_indices: T frame numbers of the video.
        frame_size: (H, W) of these frames.
        patch_size: (height, width) in pixels.
        looks: S.

    Returns:
        ``(S, T, 2)``, (y, x) in [0, 1].
    """
    names = sorted({name for boxes in objects.values() for name in boxes})
    middle = (frame_size[0] / 2, frame_size[1] / 2)
    places = []
    for s in range(looks):
        known = _places(objects, names[s % len(names)], frame_size) if names else {}
        numbers = sorted(known)
        for frame in frame_indices:
            before = bisect_right(numbers, int(frame))
            places.append(known[numbers[max(before - 1, 0)]] if numbers else middle)
    parts = torch.tensor(places, dtype=torch.float32).view(looks, len(frame_indices), 2)
    return centres_at(parts / parts.new_tensor(frame_size), Geometry(frame_size, patch_size))


def _places(objects: Objects, name: str, frame_size: tuple[int, int]) -> dict[int, tuple[float, float]]:
    """The middle of an object, in pixels, in the frames that show it."""
    boxes = {frame: boxes[name] for frame, boxes in objects.items() if name in boxes}
    return {frame: _middle(box) for frame, box in boxes.items() if _shown(box, frame_size)}


def _shown(box: Box, frame_size: tuple[int, int]) -> bool:
    top, left, bottom, right = box
    return bottom > 0 and right > 0 and top < frame_size[0] and left < frame_size[1]


def _middle(box: Box) -> tuple[float, float]:
    top, left, bottom, right = box
    return (top + bottom) / 2, (left + right) / 2
