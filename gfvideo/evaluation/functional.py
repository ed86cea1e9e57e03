"""Accuracies and average precision as pure functions of scores and labels.

Every accuracy is a fraction in [0, 1]. Equal scores are ordered by class number, so a network that answers
the same for every class gets the share of class 0 and not 100 %, whichever machine it runs on.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

__all__ = [
    'accuracy_standard_error',
    'average_precisions',
    'class_accuracies',
    'confusion_matrix',
    'label_ranks',
    'mean_class_accuracy',
    'top_k_accuracy',
]


def label_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes are ordered before the true one, 0 for a clip that is recognized.

    Args:
        scores: ``(N, C)`` logits or probabilities, the higher the likelier.
        labels: ``(N,)`` integers in [0, C).

    Returns:
        ``(N,)`` int64 in [0, C).

    Raises:
        ValueError: if the shapes disagree, a label is out of range or a score is not a number.
    """
    _check(scores, labels)
    own = scores.gather(1, labels[:, None])  # (N, 1)
    classes = torch.arange(scores.shape[1], device=scores.device)
    before = (scores > own) | ((scores == own) & (classes < labels[:, None]))
    return before.sum(1)


def top_k_accuracy(scores: Tensor, labels: Tensor, k: int = 1) -> float:
    """Share of clips whose true class is among the ``k`` best scored.

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)`` integers in [0, C).
        k: between 1 and C.

    Raises:
        ValueError: as :func:`label_ranks`, and if ``k`` does not fit C or there is no clip.
    """
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(
            f'top-{k} of {scores.shape[1]} classes does not exist; choose k between 1 and {scores.shape[1]}'
        )
    ranks = label_ranks(scores, labels)
    if not len(ranks):
        raise ValueError('no clip to measure the accuracy of; is the split empty?')
    return (ranks < k).double().mean().item()


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """Count clips by true class (row) and recognized class (column).

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)`` integers in [0, C).

    Returns:
        ``(C, C)`` int64, whose sum is N.
    """
    _check(scores, labels)
    C = scores.shape[1]
    best = (scores == scores.amax(1, keepdim=True)).int().argmax(1)  # the first of equal scores
    return torch.bincount(labels * C + best, minlength=C * C).view(C, C)


def class_accuracies(scores: Tensor, labels: Tensor) -> Tensor:
    """Top-1 accuracy of the clips of each class, ``(C,)`` float64; nan for a class without clips."""
    matrix = confusion_matrix(scores, labels).double()
    return matrix.diagonal() / matrix.sum(1)


def mean_class_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Mean of the top-1 accuracies of the classes that have clips (a class of three clips counts as much as
    one of thousands).

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)`` integers in [0, C).

    Raises:
        ValueError: as :func:`label_ranks`, and if there is no clip.
    """
    accuracies = class_accuracies(scores, labels)
    if accuracies.isnan().all():
        raise ValueError('no clip to measure the accuracy of; is the split empty?')
    return accuracies.nanmean().item()


def average_precisions(scores: Tensor, present: Tensor) -> Tensor:
    """Average precision of each class: how well its scores put the clips that show it before the others.

    AP = sum over the thresholds of (R_n - R_(n-1)) P_n, precision and recall of the clips that score the
    threshold or more; clips of equal scores come in together, so their order plays no part. Nothing is
    interpolated.

    Args:
        scores: ``(N, C)``, the higher the likelier; of each class, comparable from clip to clip.
        present: ``(N, C)`` bool, whether the clip shows the class.

    Returns:
        ``(C,)`` float64 in [0, 1]; nan for a class that no clip shows.

    Raises:
        ValueError: if the shapes disagree or a score is not a number.
    """
    if scores.ndim != 2 or present.shape != scores.shape:
        raise ValueError(
            f'scores {tuple(scores.shape)} and present {tuple(present.shape)} must both be (N, C)'
        )
    if scores.isnan().any():
        raise ValueError('some scores are not numbers (nan): the network has diverged')
    if not len(scores):
        return torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    ordered, order = scores.sort(0, descending=True)
    shown = present.gather(0, order).double()  # (N, C), the likeliest clip first
    found = shown.cumsum(0)
    precision = found / torch.arange(1, len(scores) + 1, device=scores.device)[:, None]
    last = torch.ones_like(ordered, dtype=torch.bool)  # of those with equal scores
    last[:-1] = ordered[:-1] != ordered[1:]
    # every clip counts with the precision at the end of its equals: the next row that is a last one
    places = torch.arange(len(scores), device=scores.device)[:, None].expand_as(ordered)
    ends = torch.where(last, places, len(scores)).flip(0).cummin(0).values.flip(0)
    total = present.sum(0).double()
    return (shown * precision.gather(0, ends)).sum(0) / torch.where(total > 0, total, torch.nan)


def accuracy_standard_error(accuracy: float, clips: int) -> float:
    """Standard error of an accuracy measured on ``clips`` independent clips, sqrt(p (1 - p) / n), as a
    fraction.

    It is the spread due to the choice of the test clips alone; the spread over training seeds comes on top.
    """
    if not 0 <= accuracy <= 1 or clips < 1:
        raise ValueError(
            f'accuracy {accuracy} on {clips} clips: the accuracy must be a fraction in [0, 1] and there must'
            ' be a clip'
        )
    return sqrt(accuracy * (1 - accuracy) / clips)


def _check(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f'scores {tuple(scores.shape)} and labels {tuple(labels.shape)} must be (N, C) and (N,)'
        )
    outside = labels[(labels < 0) | (labels >= scores.shape[1])]
    if len(outside):
        raise ValueError(
            f'label {outside[0].item()} does not exist: the scores are of {scores.shape[1]} classes, '
            'numbered from 0; check num_classes and the label order of the dataset'
        )
    broken = scores.isnan().any(1)
    if broken.any():
        raise ValueError(
            f'the scores of {int(broken.sum())} of {len(scores)} clips are not numbers (nan): the network has'
            ' diverged'
        )
