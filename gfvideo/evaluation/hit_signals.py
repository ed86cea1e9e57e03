"""What a value map is taught of random looks, and how well that tells hits from misses.

A map can only learn places from what its teacher tells apart. Three things are told of a look
(:class:`~gfvideo.models.LooksTold`); a table of places, which training never sees, says how much of each is
about whether the look holds an object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..models import Geometry, GlanceFocusRecognizer
from ..models.losses import labels_of
from ..structures import ClipSample
from .findable import boxes_of, hits_of
from .objects import Objects

__all__ = ['Signal', 'signals_of', 'told_apart']


class Signal(NamedTuple):
    """How a number that is told of looks differs between those that hold an object and those that do not.

    Attributes:
        hit, miss: its means.
        correlation: with being a hit, in [-1, 1]; to learn places to the same accuracy takes looks in
            proportion to its inverse square.
        auc: how often it is larger for a hit than for a miss, in [0, 1]; 0.5 is luck.
    """

    hit: float
    miss: float
    correlation: float
    auc: float


@torch.no_grad()
def signals_of(
    model: GlanceFocusRecognizer,
    batches: Iterable[tuple[Tensor, Sequence[ClipSample]]],
    objects: Mapping[str, Objects],
    looks: int = 4,
) -> tuple[dict[str, Tensor], Tensor]:
    """Numbers told of ``looks`` random first looks at every frame.

    Args:
        model: in evaluation mode, of scope 'frame'.
        batches: frames ``(B, T, 3, H, W)``, decoded whole, and their samples.
        objects: video id -> frame number -> name -> box, in pixels of the video.

    Returns:
        Each number by its name, ``(K,)`` of K looks at frames that show an object, and whether a look held
        one, bool ``(K,)``.

    Raises:
        ValueError: if no frame shows an object, or the model looks once a clip.
    """
    if model.policy.scope != 'frame':
        raise ValueError(
            "looks at whole clips (scope='clip') cannot be compared with places in single frames"
        )
    found: dict[str, list[Tensor]] = dict(gain=[], alone=[], change=[])
    hits = []
    for frames, samples in batches:
        size = (frames.shape[-2], frames.shape[-1])
        boxes = boxes_of(samples, objects, size).to(frames.device)
        shown = ~boxes.isnan().any(-1).all(1)  # (B, T)
        before = model.glance(frames)
        places = torch.rand(looks, *frames.shape[:2], 2, device=frames.device)
        after = [model.focus(frames, before, centres) for centres in places]
        told = model.looks_told(before, after, labels_of(samples, model.num_classes, frames.device))
        for name, values in zip(found, (told.gains, told.alone, told.changes)):
            found[name].append(values[:, shown].flatten().cpu())
        for centres in told.centres:
            hits.append(hits_of(centres, boxes, Geometry(size, model.patch_size))[shown].cpu())
    if not hits or not torch.cat(hits).numel():
        raise ValueError('no clip shows an object of the table; are its ids those of this dataset?')
    return {name: torch.cat(values) for name, values in found.items()}, torch.cat(hits)


def told_apart(values: Tensor, hits: Tensor) -> Signal:
    """How well ``values`` ``(K,)`` tell ``hits``, bool ``(K,)``; nan where there are no hits or no misses."""
    values = values.double()
    of_hits, of_misses = values[hits], values[~hits]
    if not len(of_hits) or not len(of_misses):
        return Signal(float(of_hits.mean()), float(of_misses.mean()), math.nan, math.nan)
    correlation = torch.corrcoef(torch.stack([values, hits.double()]))[0, 1]
    ranked = of_misses.sort().values
    below = torch.searchsorted(ranked, of_hits) + torch.searchsorted(ranked, of_hits, right=True)
    auc = below.double().mean() / (2 * len(ranked))  # misses that are equal count half
    return Signal(float(of_hits.mean()), float(of_misses.mean()), float(correlation), float(auc))
