import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.exits import CRITERIA, StepExits, StreamExits, confidence
from gfvideo.exits.rules import from_plain, to_plain

THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.inf])
EXITS = st.one_of(
    st.builds(
        StepExits, st.lists(THRESHOLDS, max_size=4), st.sampled_from(sorted(CRITERIA)), st.floats(0.05, 20)
    ),
    st.builds(
        StreamExits,
        st.lists(THRESHOLDS, max_size=3),
        st.lists(THRESHOLDS, max_size=4),
        st.sampled_from(sorted(CRITERIA)),
        st.floats(0.05, 20),
    ),
)


def with_max_prob(*values):
    """Two-class logits of the given largest probabilities, exactly where these are 0.5 or 1."""
    return torch.tensor([[math.log(p / (1 - p)) if p < 1 else 1e4, 0.0] for p in values], dtype=torch.float64)


def test_thresholds_become_tuples_of_floats():
    exits = StepExits([1, 0.5])
    assert (
        exits == StepExits((1.0, 0.5))
        and exits.thresholds == (1.0, 0.5)
        and hash(exits) == hash(StepExits((1.0, 0.5)))
    )
    stream = StreamExits(enough=[0], stop=[1, math.inf])
    assert (stream.enough, stream.stop) == ((0.0,), (1.0, math.inf))


@pytest.mark.parametrize(
    'make', [lambda **more: StepExits((0.5,), **more), lambda **more: StreamExits((0.5,), **more)]
)
@pytest.mark.parametrize(
    'values, message',
    [
        (dict(criterion='best'), "'best' is unknown; choose 'max_prob', 'entropy', 'margin'"),
        (dict(temperature=0), 'temperature=0 must be above 0'),
        (dict(temperature=-2.0), 'above 0'),
        (dict(temperature=math.nan), 'above 0'),
    ],
)
def test_wrong_criteria_and_temperatures(make, values, message):
    with pytest.raises(ValueError, match=message):
        make(**values)


@pytest.mark.parametrize(
    'make, name',
    [
        (lambda: StepExits((0.5, math.nan)), 'thresholds'),
        (lambda: StreamExits((math.nan,)), 'enough'),
        (lambda: StreamExits((0.5,), (math.nan,)), 'stop'),
    ],
)
def test_a_nan_is_named(make, name):
    with pytest.raises(ValueError, match=f'{name}=.*nan.*write inf'):
        make()


def test_a_clip_leaves_at_a_confidence_of_at_least_the_threshold():
    logits = with_max_prob(0.5, 0.75, 1.0)
    exactly = confidence(logits)[1].item()
    exits = StepExits((0.0, 0.5, exactly, math.nextafter(exactly, 1), 1.0, math.inf))
    expected = [
        [True, True, True],
        [True, True, True],
        [False, True, True],
        [False, False, True],
        [False, False, True],
        [False, False, False],
    ]
    assert [exits.decide(logits, step).enough.tolist() for step in range(6)] == expected


def test_criterion_and_temperature_are_those_of_the_exits():
    logits = torch.tensor([[3.0, 1.0, 0.0]])
    for criterion in CRITERIA:
        for temperature in (0.5, 4.0):
            exactly = confidence(logits, criterion, temperature).item()
            above = math.nextafter(exactly, 2)
            there = StepExits((exactly,), criterion, temperature).decide(logits, 0)
            assert there.enough.tolist() == [True] and there.score.tolist() == [exactly]
            assert not StepExits((above,), criterion, temperature).decide(logits, 0).enough.any()
            assert StreamExits((exactly,), (exactly,), criterion, temperature).decide(logits, 0, 0).stop.all()


@given(
    st.lists(THRESHOLDS, max_size=3),
    st.lists(THRESHOLDS, max_size=3),
    st.lists(st.sampled_from([0.5, 0.6, 0.75, 0.9, 1.0]), min_size=1, max_size=4),
    st.integers(0, 4),
)
def test_decide_equals_its_truth_table(enough, stop, probabilities, frame):
    logits = with_max_prob(*probabilities)
    exits = StreamExits(enough, stop)
    for step in range(len(enough) + 1):
        of_frame, of_video, _ = exits.decide(logits, step, frame)
        assert of_frame.dtype == of_video.dtype == torch.bool
        for b, sure in enumerate(confidence(logits).tolist()):
            done = True if step == len(enough) else sure >= enough[step]
            assert of_frame[b].item() == done
            assert of_video[b].item() == (done and frame < len(stop) and sure >= stop[frame])


@pytest.mark.parametrize(
    'enough, stop, asks',
    [
        ((), (), False),
        ((math.inf,), (), False),
        ((math.inf,), (math.inf, math.inf), False),
        ((0.0,), (), True),
        ((math.inf, 0.9), (), True),
        ((), (math.inf, 1.0), True),
    ],
)
def test_exits_that_no_confidence_can_reach_ask_nothing(enough, stop, asks):
    assert StreamExits(enough, stop).asks is asks


@given(EXITS)
def test_the_plain_form_comes_back_and_holds_no_infinity(exits):
    plain = to_plain(exits)
    assert (
        from_plain(
            {key: list(value) if isinstance(value, (list, tuple)) else value for key, value in plain.items()}
        )
        == exits
    )
    assert not any(item == math.inf for value in plain.values() if isinstance(value, list) for item in value)


@pytest.mark.parametrize(
    'values',
    [
        {},
        dict(thresholds=[0.5], colour='red'),
        dict(stop=[0.5]),
        dict(thresholds=0.5),
        dict(thresholds=[[0.5]]),
        dict(enough=[0.5], thresholds=[0.5]),
    ],
)
def test_what_is_no_exits_is_refused(values):
    with pytest.raises(ValueError, match='are no exits'):
        from_plain(values)
