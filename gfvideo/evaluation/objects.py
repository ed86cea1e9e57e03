"""Do the patches fall on the object? A diagnosis for datasets that say where it is; never a training
signal."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..ops import patch_corners

__all__ = ['Box', 'Objects', 'patch_hit_rate', 'patch_hits', 'read_objects', 'scale_boxes']

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) in pixels; a point (y, x) is inside when top <= y < bottom and left <= x <
right."""
Objects = Mapping[int, Box]
"""Where the object is in each frame of one video: frame number -> box. Frames that show none are absent."""


def read_objects(path: str | PathLike[str]) -> dict[str, dict[int, Box]]:
    """Read a table of object places.

    Args:
        path: CSV file with the columns ``id, frame, x, y, diameter``: video id, frame number from 0, centre
            and size in pixels.

    Returns:
        video id -> frame number -> box.

    Raises:
        ValueError: if a column is missing or a row is not numbers.
    """
    videos: dict[str, dict[int, Box]] = {}
    with open(path, newline='') as file:
        reader = csv.DictReader(file)
        missing = {'id', 'frame', 'x', 'y', 'diameter'} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f'{path} has no column {", ".join(sorted(missing))}; the first line must be'
                ' id,frame,x,y,diameter'
            )
        for row in reader:
            try:
                x, y, half = float(row['x']), float(row['y']), float(row['diameter']) / 2
                videos.setdefault(row['id'], {})[int(row['frame'])] = (y - half, x - half, y + half, x + half)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}, line {reader.line_num}: {row} is not id,frame,x,y,diameter with numbers'
                ) from error
    return videos


def scale_boxes(objects: Objects, old_size: tuple[int, int], new_size: tuple[int, int]) -> dict[int, Box]:
    """Boxes of a video whose frames were resized, uncropped, from ``old_size`` (H, W) to ``new_size``.

    Raises:
        ValueError: if the two sizes differ in shape by more than rounding: then frames were cropped, and
            boxes cannot follow.
    """
    (H, W), (h, w) = old_size, new_size
    if abs(h * W - w * H) > max(H, W):
        raise ValueError(
            f'frames of {H}x{W} became {h}x{w}: they were cropped, so the boxes of the objects are unknown'
            ' there; use a test pipeline that only resizes'
        )
    return {
        frame: (top * h / H, left * w / W, bottom * h / H, right * w / W)
        for frame, (top, left, bottom, right) in objects.items()
    }


def patch_hits(
    centres: Tensor | np.ndarray,
    frame_indices: Sequence[int],
    objects: Objects,
    frame_size: tuple[int, int],
    patch_size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each patch of one clip: does it hold the centre of the object, does it hold all of it?

    Args:
        centres: ``(S, T, 2)``, (y, x) in [0, 1], tensor or array: where the patches were cut
            (:func:`gfvideo.ops.crop_patches`).
        frame_indices: T frame numbers of the video.
        objects: frame number -> box, in pixels of the frames that patches were cut from.
        frame_size: (H, W) of these frames.
        patch_size: (height, width) in pixels.

    Returns:
        ``centre (S, T)``, ``whole (S, T)`` and ``known (T,)``, booleans; frames that show no object are not
        known, and False in the others. An object that sticks out of the frame is whole in a patch that holds
        all that can be seen of it.
    """
    places = torch.as_tensor(centres, dtype=torch.float32)  # (S, T, 2)
    if places.ndim != 3 or places.shape[1:] != (len(frame_indices), 2):
        raise ValueError(
            f'centres {tuple(places.shape)} must be (S, T, 2) with T={len(frame_indices)}, the number of'
            ' frame indices'
        )
    corners = patch_corners(places, frame_size, patch_size).floor().numpy()  # (S, T, 2)
    ends = corners + np.asarray(patch_size)
    known = np.array([int(frame) in objects for frame in frame_indices], dtype=bool)
    nowhere = (np.nan,) * 4  # every comparison with nan is False
    boxes = np.array([objects.get(int(frame), nowhere) for frame in frame_indices], dtype=float).reshape(
        -1, 4
    )
    first, last = boxes[:, :2], boxes[:, 2:]  # (T, 2) top-left, (T, 2) bottom-right
    known &= ((last > 0) & (first < frame_size)).all(-1)  # what left the frame cannot be looked at
    middle = (first + last) / 2
    centre = ((corners <= middle) & (middle < ends)).all(-1)  # (S, T)
    seen_first, seen_last = first.clip(0, None), last.clip(None, frame_size)
    whole = ((corners <= seen_first) & (seen_last <= ends)).all(-1)  # (S, T)
    return centre & known, whole & known, known


def patch_hit_rate(
    centres: Tensor | np.ndarray | Sequence[Tensor | np.ndarray],
    frame_indices: Sequence[Sequence[int]],
    objects: Sequence[Objects],
    frame_size: tuple[int, int] | Sequence[tuple[int, int]],
    patch_size: tuple[int, int],
) -> dict[str, list[float]]:
    """Share of patches that fall on the object, per step, over many clips.

    Args:
        centres: ``(N, S, T, 2)``, (y, x) in [0, 1]; or N of ``(S, T, 2)`` whose T differ.
        frame_indices: N times T frame numbers.
        objects: N times frame number -> box, in pixels of the frames that patches were cut from.
        frame_size: (H, W) of these frames; or N sizes where clips differ.
        patch_size: (height, width) in pixels.

    Returns:
        Lists of S fractions:

        * ``centre``: share of the patches of this step that hold the centre of the object;
        * ``whole``: share that hold all of it (what can be seen of it);
        * ``clip``: share of the clips of which at least one patch up to this step holds the centre;
        * ``frame``: the same share of the frames;
        * ``after_miss``: share of the patches of this step that hold the centre, of frames where none before
          did; nan where every frame was hit before.

        Frames without a known object are left out.

    Raises:
        ValueError: if shapes disagree, or no frame has an object.
    """
    if not len(centres) == len(frame_indices) == len(objects):
        raise ValueError(
            f'{len(centres)} clips of centres, {len(frame_indices)} of frame indices, {len(objects)} of'
            ' objects: they must be the same clips'
        )
    sizes = cast(  # that the first is a number tells a checker nothing of the whole
        Sequence[tuple[int, int]],
        [frame_size] * len(objects) if isinstance(frame_size[0], int) else frame_size,
    )
    clips = [
        patch_hits(looks, numbers, boxes, size, patch_size)
        for looks, numbers, boxes, size in zip(centres, frame_indices, objects, sizes, strict=True)
    ]
    clips = [clip for clip in clips if clip[2].any()]
    if not clips:
        raise ValueError(
            'no frame of these clips has a known object; do the video ids and frame numbers of the table fit'
            ' the dataset?'
        )
    frames = sum(known.sum() for _, _, known in clips)
    centre = sum(centre.sum(1) for centre, _, _ in clips) / frames  # (S,)
    whole = sum(whole.sum(1) for _, whole, _ in clips) / frames  # (S,)
    found = np.mean([np.logical_or.accumulate(centre.any(1)) for centre, _, _ in clips], axis=0)  # (S,)
    hits = np.concatenate([centre[:, known] for centre, _, known in clips], axis=1)  # (S, frames)
    so_far = np.logical_or.accumulate(hits, axis=0)
    missed = np.vstack([np.ones_like(hits[:1]), ~so_far[:-1]])  # (S, frames): by all looks before
    after_miss = [
        float(hit[miss].mean()) if miss.any() else float('nan')
        for hit, miss in zip(hits, missed, strict=True)
    ]
    return dict(
        centre=centre.tolist(),
        whole=whole.tolist(),
        clip=found.tolist(),
        frame=so_far.mean(1).tolist(),
        after_miss=after_miss,
    )
