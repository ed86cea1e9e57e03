"""What passes between the rooms: the sample of one clip, and the state that one look leaves for the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

__all__ = ['ClipSample', 'LookState', 'map_tensors']


class ClipSample(BaseDataElement):
    """One clip's annotation and, after ``predict``, its prediction.

    Meta information: ``video_id``, ``path``, ``total_frames``, ``frame_indices``, ``frame_size`` (H, W).

    Data: ``gt_label`` (long, scalar), or ``gt_labels`` (long, (K,)), of a clip that may have several
    classes; ``step_logits`` (S+1, C) clip logits after every step, of several views the log of their mean
    softmax; ``logits`` (C,) those after the last step; ``centres`` (S, T, 2), with V views (V, S, T, 2),
    nan where a frame was not looked at; ``window_sizes`` (S, T, 2) in pixels, of a recognizer that
    chooses the size of what it cuts.
    """


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to every tensor inside nested tuples, lists and dicts; anything else stays as it
    is."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (tuple, list)):
        items = [map_tensors(item, function) for item in value]
        # named tuples take them one by one
        return type(value)(*items) if hasattr(value, '_fields') else type(value)(items)
    if isinstance(value, dict):
        return {key: map_tensors(item, function) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class LookState:
    """What one look leaves for the next; nothing is kept on the model itself.

    Every recognizer fills ``step`` and ``logits``; the rest serves its own next look, its policy and
    pictures. Whatever is kept in ``evidence`` and ``memory`` are tensors, with B in front, or nested tuples,
    lists or dicts of them.

    Attributes:
        step: number of the look just taken, 0 for the glance.
        logits: ``(B, T, C)`` per frame, from the evidence of all looks so far; the clip's prediction is their
            mean over T.
        vector: ``(B, T, F)`` pooled features of this look alone.
        feature_map: ``(B, T, D, h, w)`` map of this look that the policy reads.
        evidence: state of the classifier.
        memory: state of the policy, None before its first choice.
        centres: ``(B, T, 2)`` where this look was cut, (y, x) in [0, 1]; None for the glance.
        cache: causal caches, one dict per step, of the last frame that took that step; empty for the
            bidirectional shift.
        window_sizes: ``(B, T, 2)`` in pixels, (height, width) of what was cut, where the policy chose that
            too.
        glance: ``(B, T, 3, G, G)`` the frames as they were glanced at, or in the size that the policy reads,
            where it reads them.
        ahead: what the policy chose for the next look, where it values looks and was asked at once; else
            None.
        promise: ``(B, A)`` the gain of that look that the policy expects, in units of the probability of the
            true class, A = T, or 1 where one centre serves the clip; None if not given.
        patch_size: (height, width) in pixels of the looks from here on, where it is not the recognizer's own.
        frame_indices: ``(B, K)`` int64, which of the T frames this look was at, where it chose; None for all.
    """

    step: int
    logits: Tensor
    vector: Tensor | None = None
    feature_map: Tensor | None = None
    evidence: Any = None
    memory: Any = None
    centres: Tensor | None = None
    cache: tuple[dict[str, Tensor], ...] = ()
    window_sizes: Tensor | None = None
    frame_indices: Tensor | None = None
    glance: Tensor | None = None
    ahead: Any = None
    promise: Tensor | None = None
    patch_size: tuple[int, int] | None = None

    def select(self, rows: Tensor | slice) -> LookState:
        """Keep some clips of the batch: ``rows`` is a slice, a bool mask ``(B,)`` or indices ``(N,)``; early
        exit needs no more."""
        if isinstance(rows, Tensor) and rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        return replace(
            self,
            **{
                field.name: map_tensors(getattr(self, field.name), lambda x: x[rows])
                for field in fields(self)
            },
        )
