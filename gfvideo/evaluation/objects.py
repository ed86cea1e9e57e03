"""Do the patches fall on the objects? A diagnosis for datasets that say where they are; never a training
signal."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import NamedTuple, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from ..ops import patch_corners

__all__ = [
    'Box',
    'HitRates',
    'Objects',
    'PatchHits',
    'covered_areas',
    'patch_hit_rate',
    'patch_hits',
    'read_objects',
    'scale_boxes',
]

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) in pixels; a point (y, x) is inside when top <= y < bottom and left <= x <
right."""
Objects = Mapping[int, Mapping[str, Box]]
"""Where the objects are in each frame of one video: frame number -> name -> box. What a frame does not show
is absent; the one object of a table without names is called ''."""


class PatchHits(NamedTuple):
    """What the patches of one clip hold, of O objects, sorted by name.

    Attributes:
        names: of the objects.
        centre: ``(O, S, T)``, whether the patch holds the centre of the object.
        whole: ``(O, S, T)``, whether it holds all of it that can be seen.
        known: ``(O, T)``, whether the frame shows the object; where it does not, the others are False.
        near: ``(O, S, T)``, whether a patch of twice the size about the same middle would hold the centre.
        taken: ``(S, T)``, whether the look was taken at all.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    whole: np.ndarray
    known: np.ndarray
    near: np.ndarray
    taken: np.ndarray


class HitRates(TypedDict):
    """Where the patches of many clips fall; lists have an entry a look, and are fractions where not said
    otherwise. Of several objects a patch holds *an* object if it holds any of them; frames that show none are
    left out, but for ``area``, and looks that were not taken (nan) are no patches: they neither hit nor miss.

    * ``centre``: of the patches of this look, those that hold the centre of an object; nan where
      none was cut;
    * ``whole``: those that hold all of one (what can be seen of it);
    * ``clip``: of the clips, those of which at least one patch up to this look holds a centre;
    * ``clip_throughout``: of the clips, those where every frame that shows an object has such a patch;
    * ``near``: of the patches of this look that hold no centre, those that are close to one (within half a
      patch of it); the others look elsewhere. nan where none missed;
    * ``frame``: of the frames, those in which a patch up to this look does (the union over looks);
    * ``after_miss``: of the frames where no look before held a centre, those where this one does (of look 2
      P(hit 2 | miss 1)); nan where every frame was hit before;
    * ``misses``: the number of frames, looked at once more, that ``after_miss`` rests on;
    * ``found``: of all objects in all frames, those that a patch up to this look held;
    * ``area``: of the frame, what the patches up to this look cover together, where they overlap once; mean
      over all frames;
    * ``objects``: the same for each object by its name: ``centre``, ``whole`` and ``frame``.
    """

    centre: list[float]
    whole: list[float]
    clip: list[float]
    clip_throughout: list[float]
    near: list[float]
    frame: list[float]
    after_miss: list[float]
    misses: list[int]
    found: list[float]
    area: list[float]
    objects: dict[str, dict[str, list[float]]]


def read_objects(path: str | PathLike[str]) -> dict[str, dict[int, dict[str, Box]]]:
    """Read a table of object places.

    Args:
        path: CSV file with the columns ``id, frame, x, y, diameter``: video id, frame number from 0, centre
            and size in pixels; and, where frames show several, ``object``, its name.

    Returns:
        video id -> frame number -> name -> box; without the column ``object`` the name is ''.

    Raises:
        ValueError: if a column is missing, a row is not numbers, or a frame has two places for one object.
    """
    videos: dict[str, dict[int, dict[str, Box]]] = {}
    with open(path, newline='') as file:
        reader = csv.DictReader(file)
        missing = {'id', 'frame', 'x', 'y', 'diameter'} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f'{path} has no column {", ".join(sorted(missing))}; the first line must be'
                ' id,frame,x,y,diameter or id,frame,object,x,y,diameter'
            )
        for row in reader:
            try:
                x, y, half = float(row['x']), float(row['y']), float(row['diameter']) / 2
                frame, name = int(row['frame']), row.get('object') or ''
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}, line {reader.line_num}: {row} is not id,frame,x,y,diameter with numbers'
                ) from error
            boxes = videos.setdefault(row['id'], {}).setdefault(frame, {})
            if name in boxes:
                raise ValueError(
                    f'{path}, line {reader.line_num}: frame {frame} of {row["id"]} has object {name!r} twice;'
                    ' tell objects apart by a column "object"'
                )
            boxes[name] = (y - half, x - half, y + half, x + half)
    return videos


def scale_boxes(
    objects: Objects, old_size: tuple[int, int], new_size: tuple[int, int]
) -> dict[int, dict[str, Box]]:
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
        frame: {
            name: (top * h / H, left * w / W, bottom * h / H, right * w / W)
            for name, (top, left, bottom, right) in boxes.items()
        }
        for frame, boxes in objects.items()
    }


def _corners(
    centres: Tensor | np.ndarray, num_frames: int, frame_size: tuple[int, int], patch_size: tuple[int, int]
) -> np.ndarray:
    """Top-left corners ``(S, T, 2)`` in whole pixels; nan of looks that were not taken."""
    places = torch.as_tensor(centres, dtype=torch.float32)  # (S, T, 2)
    if places.ndim != 3 or places.shape[1:] != (num_frames, 2):
        raise ValueError(
            f'centres {tuple(places.shape)} must be (S, T, 2) with T={num_frames}, the number of frame'
            ' indices'
        )
    return patch_corners(places, frame_size, patch_size).floor().numpy()


def patch_hits(
    centres: Tensor | np.ndarray,
    frame_indices: Sequence[int],
    objects: Objects,
    frame_size: tuple[int, int],
    patch_size: tuple[int, int],
) -> PatchHits:
    """For each patch of one clip and each object: does it hold the object's centre, does it hold all of it?

    Args:
        centres: ``(S, T, 2)``, (y, x) in [0, 1], tensor or array: where the patches were cut
            (:func:`gfvideo.ops.crop_patches`); nan where a look was not taken.
        frame_indices: T frame numbers of the video.
        objects: frame number -> name -> box, in pixels of the frames that patches were cut from.
        frame_size: (H, W) of these frames.
        patch_size: (height, width) in pixels.

    Returns:
        See :class:`PatchHits`. An object that sticks out of the frame is whole in a patch that holds all that
        can be seen of it; one that has left it is not known there.
    """
    corners = _corners(centres, len(frame_indices), frame_size, patch_size)  # (S, T, 2)
    ends = corners + np.asarray(patch_size)
    names = tuple(sorted({name for boxes in objects.values() for name in boxes}))
    nowhere = (np.nan,) * 4  # every comparison with nan is False
    boxes = np.array(
        [[objects.get(int(frame), {}).get(name, nowhere) for frame in frame_indices] for name in names],
        dtype=float,
    ).reshape(len(names), 1, len(frame_indices), 4)  # (O, 1, T, 4)
    first, last = boxes[..., :2], boxes[..., 2:]  # top-left, bottom-right
    known = np.all((last > 0) & (first < frame_size), axis=-1)  # (O, 1, T)
    middle = (first + last) / 2
    centre = ((corners <= middle) & (middle < ends)).all(-1)  # (O, S, T)
    around = np.asarray(patch_size) / 2
    near = ((corners - around <= middle) & (middle < ends + around)).all(-1)  # (O, S, T)
    seen_first, seen_last = first.clip(0, None), last.clip(None, frame_size)
    whole = ((corners <= seen_first) & (seen_last <= ends)).all(-1)  # (O, S, T)
    taken = ~np.isnan(corners).any(-1)  # (S, T)
    return PatchHits(names, centre & known, whole & known, known[:, 0], near & known, taken)


def covered_areas(
    centres: Tensor | np.ndarray, frame_size: tuple[int, int], patch_size: tuple[int, int]
) -> np.ndarray:
    """Share of each frame that the patches of one clip cover together; where they overlap counts once.

    Args:
        centres: ``(S, T, 2)``, as :func:`patch_hits` takes them.
        frame_size: (H, W).
        patch_size: (height, width) in pixels.

    Returns:
        ``(S, T)`` in [0, 1], of the patches up to each look.
    """
    S, T = centres.shape[:2]
    corners = _corners(centres, T, frame_size, patch_size)  # (S, T, 2)
    areas = np.zeros((S, T))
    for t in range(T):
        firsts = corners[:, t]  # (S, 2)
        # between two neighbouring edges of any patches, a patch covers all or nothing
        edges = [np.unique([firsts[:, axis], firsts[:, axis] + patch_size[axis]]) for axis in (0, 1)]
        covered = np.zeros((len(edges[0]) - 1, len(edges[1]) - 1), dtype=bool)
        for s, first in enumerate(firsts):
            rows, columns = (
                (first[axis] <= edges[axis][:-1]) & (edges[axis][1:] <= first[axis] + patch_size[axis])
                for axis in (0, 1)
            )
            covered |= np.outer(rows, columns)
            heights, widths = (np.nan_to_num(np.diff(edge)) for edge in edges)
            areas[s, t] = heights @ covered @ widths
    return areas / (frame_size[0] * frame_size[1])


def patch_hit_rate(
    centres: Tensor | np.ndarray | Sequence[Tensor | np.ndarray],
    frame_indices: Sequence[Sequence[int]],
    objects: Sequence[Objects],
    frame_size: tuple[int, int] | Sequence[tuple[int, int]],
    patch_size: tuple[int, int],
) -> HitRates:
    """How many patches fall on the objects, by look, over many clips.

    Args:
        centres: ``(N, S, T, 2)``, (y, x) in [0, 1]; or N of ``(S, T, 2)`` whose T differ.
        frame_indices: N times T frame numbers.
        objects: N times frame number -> name -> box, in pixels of the frames that patches were cut from.
        frame_size: (H, W) of these frames; or N sizes where clips differ.
        patch_size: (height, width) in pixels.

    Returns:
        See :class:`HitRates`.

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
    clips = [clip for clip in clips if clip.known.any()]
    if not clips:
        raise ValueError(
            'no frame of these clips has a known object; do the video ids and frame numbers of the table fit'
            ' the dataset?'
        )
    shown = [np.any(clip.known, axis=0) for clip in clips]  # (T,): frames with an object
    # (S, frames) of all clips
    centre, whole, near = (
        np.concatenate([np.any(getattr(clip, kind), axis=0)[:, at] for clip, at in zip(clips, shown)], axis=1)
        for kind in ('centre', 'whole', 'near')
    )
    taken = np.concatenate([clip.taken[:, at] for clip, at in zip(clips, shown)], axis=1)  # (S, frames)
    so_far = np.logical_or.accumulate(centre, axis=0)
    # (S, frames): missed by all looks before, and looked at again
    missed = taken & np.vstack([np.ones_like(centre[:1]), ~so_far[:-1]])
    by_clip = [np.logical_or.accumulate(clip.centre.any((0, 2))) for clip in clips]  # (S,) each
    throughout = [
        np.logical_or.accumulate(np.any(clip.centre, axis=0))[:, at].all(1) for clip, at in zip(clips, shown)
    ]  # (S,) each
    by_name = {name: _of_object(clips, name) for name in sorted({n for clip in clips for n in clip.names})}
    held = [np.logical_or.accumulate(clip.centre, axis=1).sum((0, 2)) for clip in clips]  # (S,): objects
    areas = [covered_areas(looks, size, patch_size) for looks, size in zip(centres, sizes, strict=True)]
    return HitRates(
        centre=_shares(centre, taken),
        whole=_shares(whole, taken),
        clip=np.mean(by_clip, axis=0).tolist(),
        clip_throughout=np.mean(throughout, axis=0).tolist(),
        near=_shares(near, taken & ~centre),
        frame=so_far.mean(1).tolist(),
        after_miss=_shares(centre, missed),
        misses=missed.sum(1).tolist(),
        found=(sum(held) / sum(int(clip.known.sum()) for clip in clips)).tolist(),
        area=np.concatenate(areas, axis=1).mean(1).tolist(),
        objects=by_name,
    )


def _shares(found: np.ndarray, among: np.ndarray) -> list[float]:
    """Of each look ``(S, frames)``, the share found among some frames; nan among none."""
    return [
        float(own[some].mean()) if some.any() else float('nan')
        for own, some in zip(found, among, strict=True)
    ]


def _of_object(clips: Sequence[PatchHits], name: str) -> dict[str, list[float]]:
    """``centre``, ``whole`` and ``frame`` of one object, over the frames that show it."""
    own = [(clip, clip.names.index(name)) for clip in clips if name in clip.names]
    # (S, frames) of all clips
    centre = np.concatenate([clip.centre[o][:, clip.known[o]] for clip, o in own], axis=1)
    whole = np.concatenate([clip.whole[o][:, clip.known[o]] for clip, o in own], axis=1)
    taken = np.concatenate([clip.taken[:, clip.known[o]] for clip, o in own], axis=1)
    if not centre.shape[1]:  # in no sampled frame
        return dict.fromkeys(('centre', 'whole', 'frame'), [float('nan')] * len(centre))
    so_far = np.logical_or.accumulate(centre, axis=0)
    return dict(centre=_shares(centre, taken), whole=_shares(whole, taken), frame=so_far.mean(1).tolist())
