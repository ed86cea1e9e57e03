"""What recognizers learn from and log: labels, the losses of frames and clips, accuracy.

Labels are ``(B,)`` class numbers, one a clip, or ``(B, C)`` of clips that may show several classes: 1 where a
clip shows the class, else 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..structures import ClipSample
from .arguments import one_of

__all__ = [
    'CROSS_ENTROPY',
    'Loss',
    'Supervision',
    'clip_loss',
    'distillation_loss',
    'known_loss',
    'known_supervision',
    'label_log_probs',
    'labels_of',
    'mean_answer',
    'probabilities_of',
    'register_loss',
    'running_mean',
    'supervised_loss',
    'top1',
]

Supervision = Literal['clip', 'frames', 'rising']
_TOLD = dict(
    clip='after the last frame', frames='after every frame', rising='after every frame, the later the more'
)


CROSS_ENTROPY = 'cross_entropy'


@dataclass(frozen=True)
class Loss:
    """What logits mean, and what is lost where they are wrong.

    Attributes:
        each: logits and labels -> ``(B,)`` what every clip loses; both forms of labels.
        log_probs: logits ``(..., C)`` -> log-probability of every class.
        logits: probabilities ``(..., C)`` -> logits that mean them.
        divergence: logits ``(..., C)``, those of a teacher -> ``(...)`` how far they are from it.
    """

    each: Callable[[Tensor, Tensor], Tensor]
    log_probs: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]
    divergence: Callable[[Tensor, Tensor], Tensor]


LOSSES: dict[str, Loss] = {}


def register_loss(name: str, loss: Loss) -> None:
    """Make a loss one that configs name as ``model.loss``.

    Raises:
        ValueError: if there is such a loss.
    """
    if name in LOSSES:
        raise ValueError(f'there is a loss {name!r} already; choose another name')
    LOSSES[name] = loss


def known_loss(name: str) -> str:
    """``name`` if it is that of a loss.

    Raises:
        ValueError: if it is not.
    """
    return one_of(name, 'loss', tuple(LOSSES))


def _shares(labels: Tensor) -> Tensor:
    """Labels as what the cross-entropy of torch takes: several classes of a clip have equal shares."""
    return labels if labels.dim() == 1 else labels / labels.sum(1, keepdim=True).clamp_min(1)


def _kl_of_softmax(logits: Tensor, teacher: Tensor) -> Tensor:
    known, taught = logits.log_softmax(-1), teacher.log_softmax(-1)
    return F.kl_div(known, taught, reduction='none', log_target=True).sum(-1)


def _kl_of_sigmoid(logits: Tensor, teacher: Tensor) -> Tensor:
    taught = teacher.sigmoid()
    wrong = F.binary_cross_entropy_with_logits(logits, taught, reduction='none')
    return (wrong - F.binary_cross_entropy_with_logits(teacher, taught, reduction='none')).sum(-1)


def _present(logits: Tensor, labels: Tensor) -> Tensor:
    return labels.to(logits) if labels.dim() == 2 else F.one_hot(labels, logits.shape[-1]).to(logits)


register_loss(
    CROSS_ENTROPY,
    Loss(
        each=lambda logits, labels: F.cross_entropy(logits, _shares(labels), reduction='none'),
        log_probs=lambda logits: logits.log_softmax(-1),
        logits=lambda probabilities: probabilities.clamp_min(1e-12).log(),
        divergence=_kl_of_softmax,
    ),
)
register_loss(
    'binary_cross_entropy',  # summed over the classes: a logit's gradient is of the size that it has above
    Loss(
        each=lambda logits, labels: F.binary_cross_entropy_with_logits(
            logits, _present(logits, labels), reduction='none'
        ).sum(-1),
        log_probs=F.logsigmoid,
        logits=lambda probabilities: torch.logit(probabilities, eps=1e-7),
        divergence=_kl_of_sigmoid,
    ),
)


def clip_loss(logits: Tensor, labels: Tensor, loss: str = CROSS_ENTROPY) -> Tensor:
    """The loss of that name of clip logits ``(B, C)``, mean over the clips."""
    return LOSSES[loss].each(logits, labels).mean()


def label_log_probs(logits: Tensor, labels: Tensor, loss: str = CROSS_ENTROPY) -> Tensor:
    """Log-probability of the true class of logits ``(B, A, C)``, ``(B, A)``: how sure of it they are.

    Of a clip with several classes it is the mean over them (the geometric mean of their probabilities);
    classes that the clip does not show play no part.
    """
    log_probs = LOSSES[loss].log_probs(logits.float())  # (B, A, C)
    if labels.dim() == 1:
        return log_probs.gather(2, labels[:, None, None].expand(-1, logits.shape[1], 1)).squeeze(2)
    shares = _shares(labels.to(log_probs))[:, None]  # (B, 1, C)
    return (log_probs * shares).sum(-1)


def probabilities_of(logits: Tensor, loss: str = CROSS_ENTROPY) -> Tensor:
    """What logits ``(..., C)`` of a recognizer that learned by the loss of that name mean."""
    return LOSSES[loss].log_probs(logits.float()).exp()


def mean_answer(logits: Tensor, dim: int, loss: str = CROSS_ENTROPY) -> Tensor:
    """Logits that mean the mean probabilities of ``logits`` over a dimension."""
    return LOSSES[loss].logits(probabilities_of(logits, loss).mean(dim))


def known_supervision(supervision: str) -> Supervision:
    """``supervision`` if it is one.

    Raises:
        ValueError: if it is not.
    """
    one_of(supervision, 'supervision', _TOLD)
    return cast(Supervision, supervision)


def labels_of(data_samples: Sequence[ClipSample] | None, num_classes: int, device: torch.device) -> Tensor:
    """Labels ``(B,)``, or ``(B, C)`` of samples with ``gt_labels``, checked against the number of classes.

    Raises:
        ValueError: if a sample has no label, or one outside 0..C-1.
    """
    if data_samples and all('gt_labels' in sample for sample in data_samples):
        return _several(data_samples, num_classes).to(device)
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


def _several(data_samples: Sequence[ClipSample], num_classes: int) -> Tensor:
    present = torch.zeros(len(data_samples), num_classes)
    for row, sample in zip(present, data_samples):
        numbers = torch.as_tensor(sample.gt_labels).long().reshape(-1)
        if not len(numbers) or int(numbers.min()) < 0 or int(numbers.max()) >= num_classes:
            raise ValueError(
                f'clip {sample.get("video_id")!r} has the labels {numbers.tolist()}, but the model has'
                f' {num_classes} classes (0 is the first); set num_classes to the number of classes of the'
                ' dataset'
            )
        row[numbers] = 1
    return present


def top1(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of ``logits`` ``(B, C)`` whose largest is at the label, or at one of several."""
    if labels.dim() == 2:
        return labels.gather(1, logits.argmax(-1, keepdim=True)).float().mean()
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


def supervised_loss(
    logits: Tensor, labels: Tensor, supervision: Supervision, loss: str = CROSS_ENTROPY
) -> Tensor:
    """The loss of that name of frame logits ``(B, T, C)``: of their mean ('clip'), the mean of those after
    every frame ('frames'), or with a weight that rises with the number of frames read ('rising')."""
    predictions, weights = _supervised(logits, supervision)
    B, K = predictions.shape[:2]
    each = LOSSES[loss].each(predictions.flatten(0, 1), labels.repeat_interleave(K, 0))  # (B*K,)
    return (each.view(B, K) * weights).sum(1).mean()


def distillation_loss(
    logits: Tensor, teacher: Tensor, supervision: Supervision, loss: str = CROSS_ENTROPY
) -> Tensor:
    """KL divergence of what frame logits ``(B, T, C)`` predict from what the ``teacher``'s ``(B, T, C)`` do,
    which gets no gradient; at temperature 1 (AdaptiveNN)."""
    predictions, weights = _supervised(logits, supervision)
    taught, _ = _supervised(teacher.detach(), supervision)
    each = LOSSES[loss].divergence(predictions, taught)  # (B, K)
    return (each * weights).sum(1).mean()
