"""What recognizers learn from and log: labels, cross-entropy of frames and clips, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from ..structures import ClipSample
from .arguments import one_of

__all__ = ['Supervision', 'known_supervision', 'labels_of', 'running_mean', 'supervised_loss', 'top1']

Supervision = Literal['clip', 'frames']


def known_supervision(supervision: str) -> Supervision:
    """``supervision`` if it is one.

    Raises:
        ValueError: if it is not.
    """
    one_of(supervision, 'supervision', dict(clip='after the last frame', frames='after every frame'))
    return 'clip' if supervision == 'clip' else 'frames'


def labels_of(data_samples: Sequence[ClipSample] | None, num_classes: int, device: torch.device) -> Tensor:
    """Labels ``(B,)``, checked against the number of classes.

    Raises:
        ValueError: if a sample has no label, or one outside 0..C-1.
    """
    if not data_samples or any('gt_label' not in sample for sample in data_samples):
        raise ValueError(
            'training needs a gt_label in every data sample; use PackClip at the end of the training pipeline'
        )
    labels = torch.stack([torch.as_tensor(sample.gt_label).reshape(()) for sample in data_samples]).long()
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero().flatten()
    if len(wrong):
        sample = data_samples[int(wrong[0])]
        raise ValueError(
            f'clip {sample.get("video_id")!r} has label {int(labels[wrong[0]])}, but the model has'
            f' {num_classes} classes (0 is the first); set num_classes to the number of classes of the'
            ' dataset'
        )
    return labels.to(device)


def top1(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of ``logits`` ``(B, C)`` whose largest is at the label."""
    return (logits.argmax(-1) == labels).float().mean()


def running_mean(logits: Tensor) -> Tensor:
    """What a stream has predicted after each frame: the mean of the logits ``(B, T, C)`` of the frames so
    far, ``(B, T, C)``."""
    counts = torch.arange(1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype)  # (T,)
    return logits.cumsum(1) / counts[:, None]


def supervised_loss(logits: Tensor, labels: Tensor, supervision: Supervision) -> Tensor:
    """Cross-entropy of frame logits ``(B, T, C)``: of their mean ('clip'), or the mean of those after every
    frame ('frames')."""
    logits = logits.float()
    if supervision == 'clip':
        return F.cross_entropy(logits.mean(1), labels)
    labels = repeat(labels, 'b -> (b t)', t=logits.shape[1])
    return F.cross_entropy(running_mean(logits).flatten(0, 1), labels)
