import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.evaluation import (
    accuracy_standard_error,
    class_accuracies,
    confusion_matrix,
    mean_class_accuracy,
    top_k_accuracy,
)


@st.composite
def predictions(draw):
    clips, classes = draw(st.integers(1, 12)), draw(st.integers(1, 7))
    values = st.sampled_from([-math.inf, -1.5, 0.0, 0.25, 3.0])  # few values, so that there are ties
    scores = draw(
        st.lists(st.lists(values, min_size=classes, max_size=classes), min_size=clips, max_size=clips)
    )
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=clips, max_size=clips))
    return scores, labels


def order(scores):
    """Classes from best to worst; sorted() is stable, so the lower number goes first among equals."""
    return sorted(range(len(scores)), key=lambda c: -scores[c])


@settings(max_examples=100, deadline=None)
@given(predictions(), st.integers(1, 7))
def test_top_k_is_the_share_of_clips_found_in_a_sorted_list(sample, k):
    scores, labels = sample
    k = min(k, len(scores[0]))
    hits = [label in order(row)[:k] for row, label in zip(scores, labels)]
    assert top_k_accuracy(torch.tensor(scores), torch.tensor(labels), k) == pytest.approx(
        sum(hits) / len(hits)
    )


@settings(max_examples=100, deadline=None)
@given(predictions())
def test_confusion_and_mean_class_accuracy_equal_loops(sample):
    scores, labels = sample
    classes = len(scores[0])
    matrix = [[0] * classes for _ in range(classes)]
    for row, label in zip(scores, labels):
        matrix[label][order(row)[0]] += 1
    assert confusion_matrix(torch.tensor(scores), torch.tensor(labels)).tolist() == matrix
    own = [matrix[c][c] / sum(matrix[c]) for c in range(classes) if sum(matrix[c])]
    assert mean_class_accuracy(torch.tensor(scores), torch.tensor(labels)) == pytest.approx(
        sum(own) / len(own)
    )


@settings(max_examples=50, deadline=None)
@given(predictions())
def test_accuracies_agree_with_each_other(sample):
    scores, labels = map(torch.tensor, sample)
    matrix = confusion_matrix(scores, labels)
    assert matrix.diagonal().sum().item() / len(labels) == pytest.approx(top_k_accuracy(scores, labels, 1))
    assert top_k_accuracy(scores, labels, scores.shape[1]) == 1


def test_constant_scores_are_not_all_right():
    assert top_k_accuracy(torch.zeros(4, 4), torch.arange(4), 1) == 0.25


def test_a_class_without_clips_has_no_accuracy():
    accuracies = class_accuracies(torch.eye(3)[:2], torch.tensor([0, 1]))
    assert accuracies[:2].tolist() == [1, 1] and accuracies[2].isnan()


@pytest.mark.parametrize(
    'p, n, expected', [(0.5, 100, 0.05), (0.9, 300, 0.0173205), (1.0, 10, 0), (0.0, 1, 0)]
)
def test_standard_error(p, n, expected):
    assert accuracy_standard_error(p, n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('p, n', [(1.2, 10), (-0.1, 10), (0.5, 0), (77, 100)])
def test_standard_error_refuses_what_is_no_fraction(p, n):
    with pytest.raises(ValueError, match='fraction'):
        accuracy_standard_error(p, n)


@pytest.mark.parametrize(
    'scores, labels, message',
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), 'label 3 does not exist'),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), 'label -1 does not exist'),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([0]), '1 of 1 clips are not numbers'),
        (torch.zeros(2, 3), torch.tensor([0]), 'must be'),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 'no clip'),
    ],
)
def test_errors_name_the_thing(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        top_k_accuracy(scores, labels, 1)
    if 'no clip' not in message:
        with pytest.raises(ValueError, match=message):
            confusion_matrix(scores, labels)


@pytest.mark.parametrize('k', [0, 4])
def test_k_must_fit_the_classes(k):
    with pytest.raises(ValueError, match=f'top-{k} of 3 classes'):
        top_k_accuracy(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), k)
