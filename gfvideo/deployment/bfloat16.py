"""Encoders in bfloat16 in eager torch, with what that costs in accuracy measured first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..models.base import Recognizer
from ..models.encoder import Encoder, Features
from ..models.temporal import Cache
from .quantize import LARGEST_DROP, AccuracyDrop, accuracy_drop, check_drop

__all__ = ['with_bfloat16']


def with_bfloat16(
    model: Recognizer,
    judge_on: Iterable[tuple[Tensor, int]] = (),
    largest_drop: float | None = LARGEST_DROP,
) -> tuple[Recognizer, AccuracyDrop | None]:
    """The same recognizer whose encoders compute in bfloat16 (autocast), for processors that multiply such
    faster; policy, classifier and heads stay in float32, and so do the weights.

    It pays in eager torch with folded normalisation, most with large frames; onnxruntime in float32 may be
    faster still (docs/performance.md).

    Args:
        model: trained, in evaluation mode; it is left as it is.
        judge_on: clips ``(1, T, 3, H, W)``, normalised, and their classes, to measure the loss of accuracy.
        largest_drop: of accuracy, a fraction, beyond which it is refused; None allows any.

    Returns:
        A recognizer that shares the weights of ``model``, and what was measured; None without clips.

    Raises:
        QuantizationError: if more accuracy is lost than allowed, or nothing was measured and a largest drop
            is asked for.
        ValueError: if the model is in training mode.
    """
    if model.training:
        raise ValueError('the model is in training mode; call model.eval() before it computes in bfloat16')
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    rounded = copy.deepcopy(model, shared)
    for module in rounded.modules():
        if isinstance(module, Encoder):
            module.forward = _in_bfloat16(module.forward)  # type: ignore[method-assign]  # of this copy
    drop = accuracy_drop(model, rounded, judge_on)
    check_drop('bfloat16', drop, largest_drop)
    return rounded, drop


def _in_bfloat16(read: Callable[..., Features]) -> Callable[..., Features]:
    def forward(frames: Tensor, cache: Cache | None = None) -> Features:
        with torch.autocast(frames.device.type, torch.bfloat16):
            vector, maps, left = read(frames, cache)
        return Features(vector.float(), maps.float(), {name: kept.float() for name, kept in left.items()})

    return forward
