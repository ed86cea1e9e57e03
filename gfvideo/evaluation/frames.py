"""How the answers of single frames may become the answer of the clip, and what is known after each frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ['running_answers', 'ways_over_frames']


def ways_over_frames(frame_logits: Tensor, last: Sequence[int] = (1, 2, 4)) -> dict[str, Tensor]:
    """Answers of clips from those of their frames, in several ways.

    Args:
        frame_logits: ``(N, T, C)``.
        last: numbers k of the last frames to answer from; those below T are taken.

    Returns:
        Name of the way -> logits ``(N, C)``: 'mean', as recognizers do; 'rising', frame t weighs t; 'sure',
        every frame weighs its largest softmax probability; 'last k', the mean of the last k frames.
    """
    N, T, _ = frame_logits.shape
    sure = frame_logits.float().softmax(-1).amax(-1)  # (N, T)
    rising = torch.arange(1, T + 1, device=sure.device).expand(N, T).to(sure.dtype)
    weights = dict(mean=torch.ones_like(sure), rising=rising, sure=sure)
    ways = {name: _weighted(frame_logits, weight) for name, weight in weights.items()}
    return ways | {f'last {k}': frame_logits[:, -k:].mean(1) for k in last if k < T}


def _weighted(frame_logits: Tensor, weights: Tensor) -> Tensor:
    return (frame_logits * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)


def running_answers(frame_logits: Tensor) -> Tensor:
    """The mean of the frames so far, after each: ``(N, T, C)`` to ``(N, T, C)``, as a stream answers."""
    counts = torch.arange(1, frame_logits.shape[1] + 1, device=frame_logits.device)
    return frame_logits.cumsum(1) / counts[:, None]
