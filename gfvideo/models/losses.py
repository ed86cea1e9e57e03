"""What recognizers learn from and log: labels, cross-entropy of frames and clips, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from ..structures import ClipSample
from .arguments import one_of

__all__ = [
    'Supervision',
    'distillation_loss',
    'known_supervision',
    'labels_of',
    'running_mean',
    'supervised_loss',
    'top1',
]

Supervision = Literal['clip', 'frames', 'rising']
_TOLD = dict(
    clip='after the last frame', frames='after every frame', rising='after every frame, the later the more'
)


def known_supervision(supervision: str) -> Supervision:
    """``supervision`` if it is one.

    Raises:
        ValueError: if it is not.
    """
    one_of(supervision, 'supervision', _TOLD)
    return cast(Supervision, supervision)


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


def _supervised(logits: Tensor, supervision: Supervision) -> tuple[Tensor, Tensor]:
    """Which predictions ``(B, K, C)`` of frame logits ``(B, T, C)`` are supervised, and their weights
    ``(K,)``, which sum to 1."""
    logits = logits.float()
    if supervision == 'clip':
        return logits.mean(1, keepdim=True), logits.new_ones(1)
    T = logits.shape[1]
    weights = torch.arange(1, T + 1, device=logits.device, dtype=logits.dtype)
    weights = torch.ones_like(weights) if supervision == 'frames' else weights
    return running_mean(logits), weights / weights.sum()


def supervised_loss(logits: Tensor, labels: Tensor, supervision: Supervision) -> Tensor:
    """Cross-entropy of frame logits ``(B, T, C)``: of their mean ('clip'), the mean of those after every
    frame ('frames'), or with a weight that rises with the number of frames read ('rising')."""
    predictions, weights = _supervised(logits, supervision)
    B, K = predictions.shape[:2]
    labels = repeat(labels, 'b -> (b k)', k=K)
    each = F.cross_entropy(predictions.flatten(0, 1), labels, reduction='none')
    return (each.view(B, K) * weights).sum(1).mean()


def distillation_loss(logits: Tensor, teacher: Tensor, supervision: Supervision) -> Tensor:
    """KL divergence of what frame logits ``(B, T, C)`` predict from what the ``teacher``'s ``(B, T, C)`` do,
    which gets no gradient; at temperature 1 (AdaptiveNN)."""
    predictions, weights = _supervised(logits, supervision)
    taught, _ = _supervised(teacher.detach(), supervision)
    each = F.kl_div(
        predictions.log_softmax(-1), taught.log_softmax(-1), reduction='none', log_target=True
    ).sum(-1)
    return (each * weights).sum(1).mean()
