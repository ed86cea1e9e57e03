import hashlib
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from gfvideo.evaluation.exits import (
    AnytimeMetric,
    BudgetMetric,
    ExitAccuracy,
    accuracy_within,
    area_under_curve,
)
from gfvideo.exits import (
    Calibration,
    Setting,
    StreamExits,
    calibrate_steps,
    read_exits,
    replay_clips,
    write_exits,
)
from gfvideo.registry import METRICS

COSTS = [1.0, 2.0, 4.0]
CLASSES = 5


def logits_and_labels(clips=60, seed=0):
    """Logits after three steps, each of which adds evidence to that of the steps before."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (clips,), generator=generator)
    evidence = (
        torch.randn(clips, len(COSTS), CLASSES, generator=generator)
        + torch.nn.functional.one_hot(labels, CLASSES)[:, None]
    )
    return evidence.cumsum(1), labels


def clips(logits, labels, names=None):
    return [
        BaseDataElement(
            metainfo=dict(video_id=f'v{i}' if names is None else names[i]),
            gt_label=labels[i],
            step_logits=logits[i],
        )
        for i in range(len(labels))
    ]


def evaluate(metric, samples, chunk_size=7):
    return Evaluator(metric).offline_evaluate(samples, chunk_size=chunk_size)


# ---- curves


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10)), min_size=1, max_size=6),
    st.integers(0, 20),
    st.integers(21, 60),
)
def test_the_area_is_the_mean_over_budgets(points, low, high):
    costs, accuracies = [cost / 4 for cost, _ in points], [accuracy / 10 for _, accuracy in points]
    low, high = low / 4, high / 4
    # no cost lies between two of them
    middles = [low + (i + 0.5) / 16 for i in range(round((high - low) * 16))]
    best = [
        max([accuracy for cost, accuracy in zip(costs, accuracies) if cost <= budget], default=0)
        for budget in middles
    ]
    assert area_under_curve(costs, accuracies, low, high) == pytest.approx(sum(best) / len(best))
    assert [accuracy_within(costs, accuracies, budget) for budget in middles] == best


def test_the_ends_are_the_cheapest_and_the_dearest_setting():
    assert area_under_curve([4.0, 1.0, 2.0], [0.4, 0.5, 0.8]) == pytest.approx((1 * 0.5 + 2 * 0.8) / 3)
    # the unit is no matter
    assert area_under_curve([1000, 4000, 2000], [0.5, 0.4, 0.8]) == pytest.approx((1 * 0.5 + 2 * 0.8) / 3)
    assert area_under_curve([3.0], [0.7]) == area_under_curve([3.0, 3.0], [0.2, 0.7]) == 0.7


def test_a_budget_that_was_rounded_still_pays():
    assert accuracy_within([0.1 + 0.2], [0.6], 0.3) == 0.6
    assert accuracy_within([0.31], [0.6], 0.3) == accuracy_within([], [], 1.0) == 0


@pytest.mark.parametrize('arguments', [([], []), ([1.0, 2.0], [0.5, 0.6], 2.0, 1.0), ([1.0], [0.5], 2.0)])
def test_no_settings_or_ends_the_wrong_way_round(arguments):
    with pytest.raises(ValueError, match='settings between budgets'):
        area_under_curve(*arguments)


# ---- all clips stop at the same step


def test_anytime_prediction_is_the_accuracy_of_every_step():
    logits, labels = logits_and_labels()
    found = evaluate(METRICS.build(dict(type='AnytimeMetric', costs=COSTS)), clips(logits, labels))
    accuracies = [sum(int(logits[i, s].argmax() == labels[i]) for i in range(60)) / 60 for s in range(3)]
    assert [found[f'anytime_top1_step{s}'] for s in range(3)] == pytest.approx(accuracies)
    assert [found[f'anytime_gmacs_step{s}'] for s in range(3)] == COSTS
    assert found['anytime_auc'] == pytest.approx((1 * accuracies[0] + 2 * max(accuracies[:2])) / 3)
    assert len(found) == 7


@pytest.mark.parametrize('metric', [AnytimeMetric, BudgetMetric])
def test_what_the_metrics_of_steps_refuse(metric):
    samples = clips(*logits_and_labels())
    with pytest.raises(ValueError, match='2 costs for 3 steps'):
        evaluate(metric([1.0, 2.0]), samples)
    with pytest.raises(ValueError, match='no clip was tested'):
        metric(COSTS).compute_metrics([])
    for field in ('gt_label', 'step_logits'):
        broken = clips(*logits_and_labels())
        del broken[3][field]
        with pytest.raises(ValueError, match=f"clip 'v3' has no {field}, which {metric.__name__} needs"):
            evaluate(metric(COSTS), broken)


# ---- every clip stops when it is sure


def first_half(names):
    return torch.tensor([hashlib.sha256(name.encode()).digest()[0] % 2 == 0 for name in names])


def test_budgets_are_judged_on_the_other_half():
    logits, labels = logits_and_labels()
    names = [f'v{i}' for i in range(60)]
    half = first_half(names)
    assert 20 < half.sum() < 40
    one, other = (calibrate_steps(logits[part], labels[part], dict(gmacs=COSTS)) for part in (half, ~half))

    def at(budget):
        of_other = replay_clips(logits[half], labels[half], other.pick(budget=budget).exits, COSTS)
        of_one = replay_clips(logits[~half], labels[~half], one.pick(budget=budget).exits, COSTS)
        share = half.double().mean().item()
        return [
            share * a + (1 - share) * b
            for a, b in ((of_other.cost, of_one.cost), (of_other.accuracy, of_one.accuracy))
        ]

    found = evaluate(
        METRICS.build(dict(type='BudgetMetric', costs=COSTS, budgets=[1.0, 1.6, 3.0])), clips(logits, labels)
    )
    assert set(found) == {'budget_auc', 'top1_at_1', 'top1_at_1.6', 'top1_at_3'}
    for budget in (1.0, 1.6, 3.0):
        assert found[f'top1_at_{budget:g}'] == pytest.approx(at(budget)[1])
    assert found['top1_at_1'] == pytest.approx((logits[:, 0].argmax(1) == labels).double().mean().item())
    costs, accuracies = zip(*(at(budget) for budget in np.linspace(1, 4, 21)))
    fine = np.linspace(1, 4, 30001)[:-1] + 0.5e-4
    best = [max(accuracy for cost, accuracy in zip(costs, accuracies) if cost <= budget) for budget in fine]
    assert found['budget_auc'] == pytest.approx(np.mean(best), abs=1e-3)


def test_the_order_of_clips_does_not_matter():
    samples = clips(*logits_and_labels())
    shuffled = [samples[i] for i in torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()]
    assert evaluate(BudgetMetric(COSTS), samples) == pytest.approx(
        evaluate(BudgetMetric(COSTS), shuffled, 60)
    )


def test_default_budgets_lie_between_glance_and_last_step():
    found = evaluate(BudgetMetric(COSTS), clips(*logits_and_labels()))
    assert set(found) == {'budget_auc', 'top1_at_1.75', 'top1_at_2.5', 'top1_at_3.25'}


def test_nothing_runs_below_the_glance():
    assert evaluate(BudgetMetric(COSTS, budgets=[0.9]), clips(*logits_and_labels()))['top1_at_0.9'] == 0


def test_clips_of_one_half_cannot_be_judged():
    names = [name for name in (f'v{i}' for i in range(30)) if first_half([name])]
    logits, labels = logits_and_labels(len(names))
    with pytest.raises(ValueError, match=f'{len(names)} clips fall into one half.*give exits=FILE'):
        evaluate(BudgetMetric(COSTS), clips(logits, labels, names))


def test_exits_of_a_file_are_replayed(tmp_path):
    logits, labels = logits_and_labels()
    write_exits(
        tmp_path / 'exits.json',
        calibrate_steps(*logits_and_labels(200, seed=5), dict(gmacs=COSTS, ms=[5.0, 6.0, 7.0]), 'ms'),
    )
    calibration = read_exits(tmp_path / 'exits.json')
    found = evaluate(
        BudgetMetric(COSTS, [0.99, 1.0, 2.2, 9.0], str(tmp_path / 'exits.json')), clips(logits, labels)
    )
    outcomes = [replay_clips(logits, labels, setting.exits, COSTS) for setting in calibration.sweep]
    assert found['top1_at_0.99'] == 0
    for budget in (1.0, 2.2, 9.0):
        fitting = [
            number for number, setting in enumerate(calibration.sweep) if setting.costs['gmacs'] <= budget
        ]
        # by the fitted clips, not by those judged
        best = max(fitting, key=lambda number: calibration.sweep[number].accuracy)
        assert found[f'top1_at_{budget:g}'] == outcomes[best].accuracy
    curve = [(outcome.cost, outcome.accuracy) for outcome in outcomes]
    fine = np.linspace(1, 4, 30001)[:-1] + 0.5e-4
    best = [max([accuracy for cost, accuracy in curve if cost <= budget], default=0) for budget in fine]
    assert found['budget_auc'] == pytest.approx(np.mean(best), abs=1e-3)


def test_exits_of_streams_are_no_exits_of_clips(tmp_path):
    one = Setting(StreamExits((0.5, 0.5)), 0.6, dict(gmacs=1.0), (9,))
    write_exits(
        tmp_path / 'stream.json', Calibration('stream', 'gmacs', (one,), dict(gmacs=[0.1, 0.1, 0.2]), {})
    )
    with pytest.raises(ValueError, match='stream.json holds exits of streams'):
        BudgetMetric(COSTS, exits=tmp_path / 'stream.json')


# ---- what really happened


def exited(label, answer, exit_, looks, ms, name, replayed=None):
    """A sample of a recognizer with exits; ``replayed`` is (answer, exit, looks)."""
    one_hot = torch.eye(3)
    values = dict(
        gt_label=torch.tensor(label),
        logits=one_hot[answer],
        exit=torch.tensor(exit_),
        looks=torch.tensor(looks),
        ms=torch.tensor(ms, dtype=torch.float64),
    )
    if replayed is not None:
        values.update(
            replay_logits=one_hot[replayed[0]],
            replay_exit=torch.tensor(replayed[1]),
            replay_looks=torch.tensor(replayed[2]),
        )
    return BaseDataElement(metainfo=dict(video_id=name), **values)


CLIPS = [
    (0, 0, 0, 0, 1.0, 'a', (0, 0, 0)),  # label, answer, exit, looks, ms, name, replayed
    (1, 2, 2, 2, 4.0, 'b', (2, 2, 2)),
    (2, 2, 1, 1, 2.0, 'c', (2, 2, 2)),  # leaves later in replay
    (1, 1, 2, 2, 9.0, 'd', (0, 2, 2)),  # says something else
    (0, 0, 0, 0, 1.5, 'e', (1, 1, 1)),
]  # both, and counts once


def test_exits_of_clips_by_hand():
    found = evaluate(
        METRICS.build(dict(type='ExitAccuracy', costs=COSTS)), [exited(*clip) for clip in CLIPS], 2
    )
    assert found == pytest.approx(
        dict(
            top1=4 / 5,
            top1_standard_error=(0.8 * 0.2 / 5) ** 0.5,
            gmacs=(1 + 4 + 2 + 4 + 1) / 5,
            ms=17.5 / 5,
            ms_p95=np.percentile([1.0, 4.0, 2.0, 9.0, 1.5], 95),
            exits_step0=2 / 5,
            exits_step1=1 / 5,
            exits_step2=2 / 5,
            replay_top1=2 / 5,
            replay_gmacs=(1 + 4 + 4 + 4 + 2) / 5,
            replay_differs=3,
            replay_exits_step0=1 / 5,
            replay_exits_step1=1 / 5,
            replay_exits_step2=3 / 5,
        )
    )


def test_without_replay_nothing_is_said_of_it():
    found = evaluate(ExitAccuracy(COSTS), [exited(*clip[:-1]) for clip in CLIPS])
    assert set(found) == {
        'top1',
        'top1_standard_error',
        'gmacs',
        'ms',
        'ms_p95',
        'exits_step0',
        'exits_step1',
        'exits_step2',
    }


STREAMS = [
    (0, 0, 0, [2, -1, -1, -1], 3.0, 'a', (0, 0, [2, -1, -1, -1])),
    (1, 1, 3, [0, 1, 0, 2], 8.0, 'b', (1, 3, [0, 1, 0, 2])),
    (2, 0, 1, [0, 0, -1, -1], 2.0, 'c', (0, 2, [0, 0, 1, -1])),
    (2, 2, 2, [1, 1, 1, -1], 5.0, 'd', (2, 2, [1, 1, 1, -1])),
]


def test_exits_of_streams_by_hand():
    look_costs = [1.0, 0.5, 0.25]  # the glance at a frame, and each look
    found = evaluate(ExitAccuracy(look_costs, stream=True), [exited(*clip) for clip in STREAMS], 3)

    def spent(looks):
        return sum(look_costs[step] for taken, step in product(looks, range(3)) if step <= taken)

    expected = dict(
        top1=3 / 4,
        top1_standard_error=(0.75 * 0.25 / 4) ** 0.5,
        gmacs=sum(spent(clip[3]) for clip in STREAMS) / 4,
        ms=18 / 4,
        ms_p95=np.percentile([3.0, 8.0, 2.0, 5.0], 95),
        frames=(1 + 4 + 2 + 3) / 4,
        looks=(2 + 3 + 0 + 3) / 4,
        replay_top1=3 / 4,
        replay_gmacs=sum(spent(clip[6][2]) for clip in STREAMS) / 4,
        replay_differs=1,
    )
    for t in range(4):
        expected[f'exits_frame{t}'] = sum(clip[2] == t for clip in STREAMS) / 4
        expected[f'replay_exits_frame{t}'] = sum(clip[6][1] == t for clip in STREAMS) / 4
    assert found == pytest.approx(expected)
    assert spent([2, -1, -1, -1]) == 1.75 and spent([0, 1, 0, 2]) == 1 + 1.5 + 1 + 1.75


@pytest.mark.parametrize('field', ['gt_label', 'logits', 'exit', 'looks', 'ms'])
def test_a_clip_without_what_happened_is_named(field):
    samples = [exited(*clip) for clip in CLIPS]
    del samples[2][field]
    with pytest.raises(ValueError, match=f"clip 'c' has no {field}, which ExitAccuracy needs"):
        evaluate(ExitAccuracy(COSTS), samples)


# ---- clips that a sampler added


@pytest.mark.parametrize(
    'metric, samples',
    [
        (AnytimeMetric(COSTS), clips(*logits_and_labels(31))),
        (BudgetMetric(COSTS), clips(*logits_and_labels(31))),
        (ExitAccuracy(COSTS), [exited(*clip) for clip in CLIPS]),
    ],
    ids=['anytime', 'budget', 'exits'],
)
def test_padding_does_not_count(metric, samples):
    expected = evaluate(metric, samples)
    evaluator = Evaluator(metric)
    evaluator.process([*samples, samples[0], samples[1]])
    assert evaluator.evaluate(len(samples)) == expected
