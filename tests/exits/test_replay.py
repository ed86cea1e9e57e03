import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.exits import (
    CRITERIA,
    ExitTable,
    StepExits,
    StreamExit,
    StreamExits,
    confidence,
    exit_positions,
    replay,
    replay_clips,
    replay_stream,
    step_table,
    stream_table,
)

ABOVE_HALF = math.nextafter(0.5, 1)
SURE = st.sampled_from([-math.inf, 0.0, 0.25, 0.5, ABOVE_HALF, 1.0])  # few values: many lie at a threshold
THRESHOLD = st.sampled_from([0.0, 0.25, 0.5, ABOVE_HALF, 0.75, 1.0, math.inf])


def grid(draw, values, rows, columns):
    return draw(st.lists(st.lists(values, min_size=columns, max_size=columns), min_size=rows, max_size=rows))


def running(steps):
    return [sum(steps[: k + 1]) for k in range(len(steps))]


@st.composite
def worlds(draw):
    """Confidence, correct, costs (of each exit, or of each sample and exit), thresholds and labels, as
    lists."""
    samples, exits = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    steps = grid(draw, st.sampled_from([0.0, 0.1, 1.0, 2.5]), samples, exits)
    costs = [running(row) for row in steps] if draw(st.booleans()) else running(steps[0])
    return (
        grid(draw, SURE, samples, exits),
        grid(draw, st.booleans(), samples, exits),
        costs,
        grid(draw, THRESHOLD, 1, exits - 1)[0],
        draw(st.lists(st.integers(0, 3), min_size=samples, max_size=samples)),
    )


def leaves_at(sure, thresholds):
    """The obvious walk of one sample: by each exit in turn."""
    for k, threshold in enumerate(thresholds):
        if sure[k] > -math.inf and sure[k] >= threshold:
            return k
    return len(thresholds)


@settings(max_examples=300)
@given(worlds())
def test_replay_equals_a_loop_over_samples_and_exits(world):
    sure, correct, costs, thresholds, labels = world
    exits = len(sure[0])
    table = ExitTable.of(
        torch.tensor(sure, dtype=torch.float64),
        torch.tensor(correct),
        torch.tensor(costs, dtype=torch.float64),
    )
    result = replay(table, torch.tensor(thresholds, dtype=torch.float64), torch.tensor(labels), 5)
    places = [leaves_at(row, thresholds) for row in sure]
    right, spent, by_class = 0, 0.0, [[0] * exits for _ in range(5)]
    for n, k in enumerate(places):
        right += correct[n][k]
        spent += costs[n][k] if isinstance(costs[0], list) else costs[k]
        by_class[labels[n]][k] += 1
    assert result.positions.tolist() == places
    assert result.exits.tolist() == [places.count(k) for k in range(exits)]
    assert result.class_exits.tolist() == by_class
    assert result.accuracy == pytest.approx(right / len(places)) and result.cost == pytest.approx(
        spent / len(places)
    )


def test_classes_are_counted_up_to_the_largest_label_or_not_at_all():
    table = ExitTable.of(torch.tensor([[0.9, 1.0], [0.1, 1.0]]), torch.ones(2, 2), torch.tensor([1.0, 2.0]))
    assert replay(table, [0.5]).class_exits is None
    assert replay(table, [0.5], torch.tensor([2, 0])).class_exits.tolist() == [[0, 1], [0, 0], [1, 0]]


@given(worlds(), st.integers(0, 3), THRESHOLD)
def test_a_lower_threshold_never_keeps_a_sample_longer(world, k, lower):
    sure, _, _, thresholds, _ = world
    sure = torch.tensor(sure, dtype=torch.float64)
    before = exit_positions(sure, thresholds)
    if k < len(thresholds):
        thresholds[k] = min(thresholds[k], lower)
    assert (exit_positions(sure, thresholds) <= before).all()


def test_at_exactly_the_threshold_a_sample_leaves_and_one_step_below_it_stays():
    just = torch.tensor([[0.7, 0.0], [math.nextafter(0.7, 0), 0.0]], dtype=torch.float64)
    assert exit_positions(just, torch.tensor([0.7], dtype=torch.float64)).tolist() == [0, 1]
    assert exit_positions(just, [math.inf]).tolist() == [1, 1] and exit_positions(just, [0.0]).tolist() == [
        0,
        0,
    ]


def test_a_threshold_between_two_float32_confidences_parts_them():
    """Found here: the threshold was rounded to the type of the confidence, and so onto one of the two."""
    high = torch.tensor(0.3)
    for _ in range(4):  # half of all midpoints round down
        low = torch.nextafter(high, torch.tensor(0.0))
        assert exit_positions(
            torch.stack([high, low])[:, None].expand(2, 2), [(high.item() + low.item()) / 2]
        ).tolist() == [0, 1]
        high = low


def test_nobody_leaves_where_nobody_comes_by():
    """Found here: a threshold of -inf let samples out at exits that they do not come by."""
    assert exit_positions(torch.tensor([[-math.inf, 0.4, 0.9]]), [-math.inf, math.inf]).tolist() == [2]


@pytest.mark.parametrize(
    'thresholds, message',
    [
        ([0.5], r'\(1,\) thresholds for 3 exits: give one for each but the last'),
        ([0.5, 0.5, 0.5], r'\(3,\) thresholds for 3 exits'),
        ([0.5, math.nan], 'nan; write inf'),
    ],
)
def test_wrong_thresholds(thresholds, message):
    with pytest.raises(ValueError, match=message):
        exit_positions(torch.zeros(2, 3), thresholds)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(confidence=torch.tensor([[0.1, 0.2], [0.3, math.nan]])), 'sample 1 at exit 1 is not a number'),
        (dict(confidence=torch.tensor([[0.1, 0.2], [0.3, 7.5]])), 'raw logits are no confidence'),
        (dict(confidence=torch.tensor([[0.1, -0.2], [0.3, 0.5]])), 'raw logits are no confidence'),
        (dict(confidence=torch.tensor([[0.1, math.inf], [0.3, 0.5]])), 'raw logits are no confidence'),
        (dict(confidence=torch.zeros(2)), r'\(N, K\)'),
        (dict(confidence=torch.zeros(0, 2), correct=torch.zeros(0, 2)), 'at least 1'),
        (dict(confidence=torch.zeros(2, 0), correct=torch.zeros(2, 0), costs=torch.zeros(0)), 'at least 1'),
        (dict(correct=torch.ones(2, 3)), r'correct \(2, 3\)'),
        (dict(costs=torch.ones(3)), r'costs \(3,\) must be \(K,\) or \(N, K\)'),
        (dict(costs=torch.ones(2, 1)), r'costs \(2, 1\)'),
        (dict(costs=torch.tensor([2.0, 1.0])), 'never fall'),
        (dict(costs=torch.tensor([[1.0, 2.0], [1.0, 0.5]])), 'never fall'),
        (dict(costs=torch.tensor([1.0, math.inf])), 'must be numbers'),
        (dict(costs=torch.tensor([math.nan, 1.0])), 'must be numbers'),
    ],
)
def test_wrong_tables(changes, message):
    fine = dict(confidence=torch.full((2, 2), 0.5), correct=torch.ones(2, 2), costs=torch.tensor([1.0, 2.0]))
    ExitTable.of(**fine)
    with pytest.raises(ValueError, match=message):
        ExitTable.of(**fine | changes)


def clips(seed=0, samples=40, exits=4, classes=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, exits, classes, generator=generator), torch.randint(
        0, classes, (samples,), generator=generator
    )


def test_step_table_holds_confidence_rightness_and_costs_to_the_last_digit():
    """Found here: costs were rounded to float32, so that a budget of exactly the cheapest cost, 0.1, was
    refused."""
    logits, labels = clips()
    costs = [0.1, 0.3, 0.7, 1e9 + 0.1]
    table = step_table(logits, labels, costs, 'margin', 1.7)
    assert all(row == costs for row in table.costs.tolist())
    for n in range(len(labels)):
        for k in range(4):
            assert table.confidence[n, k].item() == pytest.approx(
                confidence(logits[n, k], 'margin', 1.7).item(), rel=1e-12
            )
            assert table.correct[n, k].item() == (
                max(range(5), key=logits[n, k].tolist().__getitem__) == labels[n]
            )


@pytest.mark.parametrize('criterion', sorted(CRITERIA))
@pytest.mark.parametrize(
    'thresholds', [(0.35, 0.4, 0.45), (0.0, 0.0, 0.0), (math.inf,) * 3, (math.inf, 0.3, 1.0)]
)
def test_replay_of_clips_equals_asking_each_clip_step_by_step(criterion, thresholds):
    logits, labels = clips(1)
    exits, costs = StepExits(thresholds, criterion, 0.8), [1.0, 1.5, 4.0, 4.0]
    result = replay_clips(logits, labels, exits, costs)
    right, spent, counts = 0, 0.0, [[0] * 4 for _ in range(5)]
    for clip, label in zip(logits, labels.tolist()):
        step = 0
        while step < 3 and not exits.decide(clip[step][None], step).enough.item():
            step += 1
        right += clip[step].argmax().item() == label
        spent += costs[step]
        counts[label][step] += 1
    assert (result.accuracy, result.cost) == (pytest.approx(right / 40), pytest.approx(spent / 40))
    assert result.class_exits.tolist() == counts and result.exits.tolist() == [
        sum(column) for column in zip(*counts)
    ]


def test_replay_of_clips_wants_as_many_thresholds_and_costs_as_there_are_steps():
    logits, labels = clips()
    with pytest.raises(ValueError, match='thresholds for 4 exits'):
        replay_clips(logits, labels, StepExits((0.5,)), [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r'costs \(3,\)'):
        replay_clips(logits, labels, StepExits((0.5,) * 3), [1, 2, 3])


def stream(seed=0, videos=30, frames=4, classes=5, steps=2):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(videos, frames, classes, generator=generator) * torch.arange(1, frames + 1)[:, None]
    looks = torch.randint(0, steps + 1, (videos, frames), generator=generator)
    labels = torch.randint(0, classes, (videos,), generator=generator)
    return StreamExit(logits[:, -1], torch.full((videos,), frames), looks, logits), labels


def test_a_stream_costs_the_looks_it_took_so_far():
    trace, labels = stream()
    table = stream_table(trace, labels, [1.0, 0.25, 0.1], 'entropy', 2.0)
    for n in range(30):
        spent = 0.0
        for t in range(4):
            spent += sum([1.0, 0.25, 0.1][: trace.looks[n, t] + 1])
            assert table.costs[n, t].item() == pytest.approx(spent, rel=1e-12)
            assert table.confidence[n, t].item() == pytest.approx(
                confidence(trace.frame_logits[n, t], 'entropy', 2.0).item(), rel=1e-12
            )
            assert table.correct[n, t].item() == (trace.frame_logits[n, t].argmax() == labels[n])


@pytest.mark.parametrize(
    'stop',
    [
        (),
        (0.5,),
        (0.5, 0.6, 0.7),
        (0.9, 0.5, 0.4, 0.0),
        (0.9, math.inf, 0.9, 0.1, 0.0, 0.0),
        (0.0,),
        (math.inf,) * 4,
    ],
)
def test_replay_of_streams_equals_asking_each_video_after_each_frame(stop):
    """Fewer thresholds than frames never stop at the rest; one at the last frame, or beyond, changes
    nothing."""
    trace, labels = stream(2)
    exits = StreamExits((0.4, 0.6), stop, 'max_prob', 1.3)
    result = replay_stream(trace, labels, exits, [1.0, 0.5, 0.5])
    right, spent, counts = 0, 0.0, [[0] * 4 for _ in range(5)]
    for n, label in enumerate(labels.tolist()):
        for t in range(4):
            spent += 1 + 0.5 * trace.looks[n, t].item()
            if t == 3 or exits.decide(trace.frame_logits[n, t][None], 2, t).stop.item():
                break
        right += trace.frame_logits[n, t].argmax().item() == label
        counts[label][t] += 1
    assert (result.accuracy, result.cost) == (pytest.approx(right / 30), pytest.approx(spent / 30))
    assert result.class_exits.tolist() == counts


def test_what_a_stopped_video_would_have_said_is_not_made_up():
    trace, labels = stream()
    trace.looks[3, 2:] = -1
    with pytest.raises(ValueError, match='stopped early'):
        replay_stream(trace, labels, StreamExits((0.5, 0.5)), [1, 1, 1])
