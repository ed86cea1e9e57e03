"""How often a value map finds the objects when it is taught their places: what a glance lets it see at all.

A policy learns from what looks gain, which is a noisy teacher. Taught by a table of places, which training
never has, the same map says how much of its misses lies in what the glance shows, and how much in the
teacher.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models import Geometry, Recognizer
from ..models.policies.base import Observation
from ..models.policies.value_map import ValueMapPolicy, value_at
from ..ops import patch_corners
from ..structures import ClipSample
from .objects import Objects, scale_boxes

__all__ = ['Glances', 'boxes_of', 'found_share', 'glances_of', 'hits_of', 'teach_places']


class Glances(NamedTuple):
    """What a recognizer saw of N clips at a glance, and where the objects are.

    Attributes:
        maps: ``(N, T, D, h, w)`` of the glance encoder.
        small: ``(N, T, 3, G, G)`` the frames as the policy reads them.
        logits: ``(N, T, C)`` after the glance.
        boxes: ``(N, O, T, 4)``, top, left, bottom, right in pixels of the frames; nan where an object is not
            shown, or clips have fewer than O.
        geometry: sizes of frames and patches.
    """

    maps: Tensor
    small: Tensor
    logits: Tensor
    boxes: Tensor
    geometry: Geometry

    def observation(self, rows: Tensor) -> Observation:
        """What a policy reads of the clips at ``rows``."""
        return Observation(
            step=0,
            feature_map=self.maps[rows].float(),
            centres=None,
            geometry=self.geometry,
            glance=self.small[rows].float(),
            logits=self.logits[rows],
        )


@torch.no_grad()
def glances_of(
    model: Recognizer,
    batches: Iterable[tuple[Tensor, Sequence[ClipSample]]],
    objects: Mapping[str, Objects],
) -> Glances:
    """The glances of clips, computed once; maps and pixels are kept in half precision.

    Args:
        model: in evaluation mode; its policy reads the glance's pixels.
        batches: frames ``(B, T, 3, H, W)`` of one size, decoded whole, and their samples.
        objects: video id -> frame number -> name -> box, in pixels of the video.

    Raises:
        ValueError: if no clip shows an object, if frames differ in size or were cropped.
    """
    maps, small, logits, sizes = [], [], [], set()
    rows: list[Tensor] = []
    for frames, samples in batches:
        state = model.glance(frames)
        if state.glance is None or state.feature_map is None:
            raise ValueError(
                f'{type(model).__name__} keeps no pixels of its glance, so there is no map to teach'
            )
        maps.append(state.feature_map.half().cpu())
        small.append(state.glance.half().cpu())
        logits.append(state.logits.float().cpu())
        size = (frames.shape[-2], frames.shape[-1])
        sizes.add(size)
        rows.extend(_boxes_of(sample, objects, size) for sample in samples)
    if len(sizes) != 1:
        raise ValueError(
            f'frames of {len(sizes)} sizes {sorted(sizes)} cannot be taught together; resize them alike'
        )
    boxes = _padded(rows)
    if not boxes.shape[1]:
        raise ValueError('no clip shows an object of the table; are its ids those of this dataset?')
    patch = model.patch_size
    return Glances(torch.cat(maps), torch.cat(small), torch.cat(logits), boxes, Geometry(sizes.pop(), patch))


def boxes_of(samples: Sequence[ClipSample], objects: Mapping[str, Objects], size: tuple[int, int]) -> Tensor:
    """Where the objects of clips are, in frames of ``size`` (H, W): ``(B, O, T, 4)``, as in
    :class:`Glances`."""
    return _padded([_boxes_of(sample, objects, size) for sample in samples])


def _boxes_of(sample: ClipSample, objects: Mapping[str, Objects], size: tuple[int, int]) -> Tensor:
    """``(O, T, 4)``, nan where an object is not shown, or has left the frame."""
    frames = scale_boxes(objects.get(sample.video_id, {}), sample.frame_size, size)
    names = sorted({name for boxes in frames.values() for name in boxes})
    nowhere, indices = (torch.nan,) * 4, list(sample.frame_indices)
    table = [[frames.get(int(frame), {}).get(name, nowhere) for frame in indices] for name in names]
    boxes = torch.tensor(table, dtype=torch.float32).view(len(names), len(indices), 4)
    shown = ((boxes[..., 2:] > 0) & (boxes[..., :2] < boxes.new_tensor(size))).all(-1)
    return boxes.masked_fill(~shown[..., None], torch.nan)


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Rows ``(O, T, 4)`` of clips with as many frames, one below the other; nan where one has fewer
    objects."""
    padded = torch.full((len(rows), max(len(row) for row in rows), *rows[0].shape[1:]), torch.nan)
    for place, row in zip(padded, rows):
        place[: len(row)] = row
    return padded


def hits_of(centres: Tensor, boxes: Tensor, geometry: Geometry) -> Tensor:
    """Whether patches at ``(B, T, 2)`` hold the middle of any object of ``(B, O, T, 4)``: bool ``(B, T)``."""
    first = patch_corners(centres, geometry.frame_size, geometry.patch_size).floor()[:, None]
    last = first + first.new_tensor(geometry.patch_size)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2  # (B, O, T, 2)
    return ((first <= middle) & (middle < last)).all(-1).any(1)


def teach_places(
    policy: ValueMapPolicy,
    glances: Glances,
    epochs: int,
    samples: int,
    batch_size: int = 16,
    rate: float = 2e-3,
) -> Iterator[float]:
    """Teach a map, in place, whether a patch at a place holds an object, at ``samples`` random places of
    every frame an epoch.

    Yields:
        The mean loss of each epoch.
    """
    N, T = glances.maps.shape[:2]
    policy.requires_grad_(True)  # a config's last stage may freeze it
    batches = max(1, N // batch_size)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5 * rate, epochs * batches)
    for _ in range(epochs):
        policy.train()
        total = 0.0
        for rows in torch.randperm(N).split(batch_size)[:batches]:
            told = policy.valued(glances.observation(rows)).alone  # (B, A, h, w)
            losses = []
            for _ in range(samples):
                centres = torch.rand(len(rows), T, 2)
                hits = hits_of(centres, glances.boxes[rows], glances.geometry).float()
                losses.append(F.smooth_l1_loss(value_at(told, centres, glances.geometry), hits, beta=0.25))
            loss = torch.stack(losses).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) / batches
        yield total


@torch.no_grad()
def found_share(policy: ValueMapPolicy, glances: Glances, batch_size: int = 32) -> tuple[float, float]:
    """Shares in [0, 1] of frames that show an object whose first patch holds one: where the map says, and at
    random."""
    policy.eval()
    shown = ~glances.boxes.isnan().any(-1).all(1)  # (N, T)
    chosen, luck = [], []
    for rows in torch.arange(len(glances.maps)).split(batch_size):
        centres = policy(glances.observation(rows)).centres
        chosen.append(hits_of(centres, glances.boxes[rows], glances.geometry))
        luck.append(hits_of(torch.rand_like(centres), glances.boxes[rows], glances.geometry))
    return tuple(float(torch.cat(one)[shown].float().mean()) for one in (chosen, luck))  # type: ignore[return-value]
