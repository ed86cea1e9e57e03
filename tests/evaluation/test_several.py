"""Mean average precision against scikit-learn and a slow reference, ties and absent classes included."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger

from gfvideo.evaluation import MeanAveragePrecision, average_precisions
from gfvideo.structures import ClipSample


def slow_average_precision(scores: list[float], present: list[bool]) -> float:
    """Threshold by threshold, as the definition says."""
    total, before, area = sum(present), 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [shows for score, shows in zip(scores, present) if score >= threshold]
        recall = sum(taken) / total
        area += (recall - before) * sum(taken) / len(taken)
        before = recall
    return area


@st.composite
def clips(draw):
    count, classes = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    # few values: many ties
    scores = draw(st.lists(st.integers(-2, 2), min_size=count * classes, max_size=count * classes))
    present = draw(st.lists(st.booleans(), min_size=count * classes, max_size=count * classes))
    shape = (count, classes)
    return torch.tensor(scores).view(shape).double() / 3, torch.tensor(present).view(shape)


@given(clips())
@settings(max_examples=150, deadline=None)
def test_equals_the_definition(case):
    scores, present = case
    for values, shows, got in zip(scores.T, present.T, average_precisions(scores, present)):
        if shows.any():
            assert got.item() == pytest.approx(slow_average_precision(values.tolist(), shows.tolist()))
        else:
            assert got.isnan()


def test_equals_that_of_scikit_learn():
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    scores, present = rng.normal(size=(300, 20)), rng.random((300, 20)) < 0.1
    scores[:, 10:] = scores[:, 10:].round(1)  # ties
    present[:, 3] = False
    present[:, 4] = True
    got = average_precisions(torch.tensor(scores), torch.tensor(present))
    assert got[3].isnan()
    for number in (*range(3), *range(4, 20)):
        wanted = metrics.average_precision_score(present[:, number], scores[:, number])
        assert got[number].item() == pytest.approx(wanted, abs=1e-12)


def test_scores_that_make_no_sense():
    with pytest.raises(ValueError, match=r'scores \(2, 3\) and present \(2, 2\)'):
        average_precisions(torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match='not numbers'):
        average_precisions(torch.full((2, 1), torch.nan), torch.ones(2, 1, dtype=torch.bool))
    assert average_precisions(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.bool)).isnan().all()


def sample(number: int, logits: list[list[float]], **labels: object) -> dict:
    made = ClipSample(metainfo=dict(video_id=str(number)))
    made.step_logits = torch.tensor(logits)
    for name, value in labels.items():
        setattr(made, name, torch.tensor(value))
    return made.to_dict()


def measured(metric: MeanAveragePrecision, samples: list[dict]) -> dict[str, float]:
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_metric():
    samples = [
        sample(0, [[2.0, 1.0, 0.0], [1.0, 0.0, 0.0]], gt_labels=[0, 1]),
        sample(1, [[9.0, 8.0, 0.0], [9.0, 3.0, 0.0]], gt_labels=[1]),
        sample(2, [[0.0, 3.0, 1.0], [0.0, 9.0, 1.0]], gt_label=0),
    ]
    metric = MeanAveragePrecision('sigmoid')
    metric.dataset_meta = dict(classes=['run', 'jump', 'swim'])
    got = measured(metric, samples)
    # after the glance: class 0 ranks 1 (no), 0 (yes), 2 (yes); class 1 ranks 1 (yes), 2 (no), 0 (yes)
    first = [slow_average_precision([2, 9, 0], [True, False, True]), (1 + 2 / 3) / 2]
    last = [(1 / 2 + 2 / 3) / 2, slow_average_precision([0, 3, 9], [True, True, False])]
    assert got['mAP_step0'] == pytest.approx(sum(first) / 2)
    assert got['mAP'] == got['mAP_step1'] == pytest.approx(sum(last) / 2)
    assert got['hit1'] == pytest.approx(1 / 3)


def test_softmax_ranks_clips_by_another_order():
    # the logit of class 0 is higher in the first clip, its share of the softmax in the second
    samples = [
        sample(0, [[2.0, 9.0]], gt_labels=[1]),
        sample(1, [[1.0, 0.0]], gt_labels=[0]),
    ]
    assert measured(MeanAveragePrecision('softmax'), samples)['mAP'] == 1
    assert measured(MeanAveragePrecision('sigmoid'), samples)['mAP'] == pytest.approx((0.5 + 1) / 2)


def test_classes_left_out_are_named():
    told: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    handler = Kept()
    MMLogger.get_current_instance().addHandler(handler)
    metric = MeanAveragePrecision()
    metric.dataset_meta = dict(classes=['run', 'jump', 'swim'])
    assert measured(metric, [sample(0, [[1.0, 2.0, 0.0]], gt_labels=[1])])['mAP'] == 1
    MMLogger.get_current_instance().removeHandler(handler)
    [line] = told
    assert '2 of 3 classes are left out' in line and line.endswith("'run', 'swim'")


def test_wrong_labels():
    with pytest.raises(ValueError, match='label 3, but the scores are of 2 classes'):
        measured(MeanAveragePrecision(), [sample(0, [[1.0, 2.0]], gt_labels=[1, 3])])
    with pytest.raises(ValueError, match='has no labels'):
        measured(MeanAveragePrecision(), [sample(0, [[1.0, 2.0]])])
