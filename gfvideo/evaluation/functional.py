"""Accuracies as pure functions of scores and labels.

Every accuracy is a fraction in [0, 1]. Equal scores are ordered by class number, so a network that answers
the same for every class gets the share of class 0 and not 100 %, whichever machine it runs on.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

__all__ = [
    'accuracy_standard_error',
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
