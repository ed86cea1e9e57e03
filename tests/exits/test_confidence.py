import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.exits import CRITERIA, confidence, fit_temperature

NAMES = sorted(CRITERIA)
LOGITS = st.one_of(st.floats(-8, 8), st.sampled_from([-1e4, -300.0, 0.0, 300.0, 1e4, -math.inf]))


@st.composite
def rows(draw, min_classes=1):
    """One prediction with at least one finite logit."""
    row = draw(st.lists(LOGITS, min_size=min_classes, max_size=6))
    return row if max(row) > -math.inf else [0.0, *row[1:]]


def reference(row, criterion, temperature=1.0):
    """The three formulas, one class after the other."""
    top = max(row)
    powers = [math.exp((value - top) / temperature) for value in row]
    probs = sorted((power / math.fsum(powers) for power in powers), reverse=True)
    if criterion == 'max_prob':
        return probs[0]
    if len(row) == 1:
        return 1.0
    if criterion == 'margin':
        return probs[0] - probs[1]
    return 1 + math.fsum(p * math.log(p) for p in probs if p > 0) / math.log(len(row))


@pytest.mark.parametrize('criterion', NAMES)
@settings(max_examples=150)
@given(row=rows(), temperature=st.floats(0.05, 20))
def test_confidence_is_its_formula_and_lies_between_0_and_1(criterion, row, temperature):
    sure = confidence(torch.tensor(row, dtype=torch.float64), criterion, temperature).item()
    assert 0 <= sure <= 1
    assert sure == pytest.approx(reference(row, criterion, temperature), abs=1e-11)


@pytest.mark.parametrize('criterion, uniform', [('max_prob', 0.2), ('entropy', 0.0), ('margin', 0.0)])
def test_a_prediction_that_says_nothing_and_one_that_says_all(criterion, uniform):
    assert confidence(torch.full((5,), 7.0), criterion).item() == pytest.approx(uniform, abs=1e-12)
    assert confidence(torch.tensor([0.0, 1e4, 0.0, -1e4, -math.inf]), criterion).item() == 1


@pytest.mark.parametrize('criterion', NAMES)
def test_rounding_puts_no_confidence_below_0_where_a_threshold_of_0_lets_everyone_out(criterion):
    for classes in range(2, 201):  # 1 - entropy is -2e-16 for 5 equal ones
        assert 0 <= confidence(torch.zeros(classes), criterion).item() <= 1


@pytest.mark.parametrize('criterion', NAMES)
def test_of_one_class_one_is_always_sure(criterion):
    assert confidence(torch.tensor([[-3.0], [0.0], [1e4]]), criterion).tolist() == [1, 1, 1]


@pytest.mark.parametrize('criterion', NAMES)
def test_leading_dimensions_stay_and_rows_do_not_mix(criterion):
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sure = confidence(logits, criterion)
    assert sure.shape == (2, 3) and confidence(logits[:0], criterion).shape == (0, 3)
    for i in range(2):
        for j in range(3):
            assert sure[i, j].item() == pytest.approx(reference(logits[i, j].tolist(), criterion), abs=1e-12)


@pytest.mark.parametrize('criterion', NAMES)
@given(row=rows(min_classes=2), temperature=st.floats(0.1, 10), shift=st.floats(-50, 50), order=st.randoms())
def test_what_changes_no_probability_changes_no_confidence(criterion, row, temperature, shift, order):
    logits = torch.tensor(row, dtype=torch.float64)
    sure = confidence(logits, criterion, temperature).item()
    order.shuffle(row)
    for same, divisor in [
        (logits * temperature, temperature**2),
        (logits / temperature, 1.0),
        (logits + shift, temperature),
        (torch.tensor(row, dtype=torch.float64), temperature),
    ]:
        assert confidence(same, criterion, divisor).item() == pytest.approx(sure, abs=1e-9)


@pytest.mark.parametrize('criterion', NAMES)
@given(row=rows(min_classes=2), temperature=st.floats(0.1, 10), factor=st.floats(1, 5))
def test_a_higher_temperature_is_never_surer(criterion, row, temperature, factor):
    logits = torch.tensor(row, dtype=torch.float64)
    assert (
        confidence(logits, criterion, temperature * factor)
        <= confidence(logits, criterion, temperature) + 1e-12
    )


@pytest.mark.parametrize('criterion', NAMES)
def test_answers_that_are_all_1_in_float32_keep_their_order(criterion):
    logits = torch.stack([torch.arange(20.0, 32.0), torch.zeros(12)], dim=1)  # float32
    assert (logits.softmax(-1).amax(-1) == 1).all()
    sure = confidence(logits, criterion)
    assert sure.dtype == torch.float64 and (sure.diff() > 0).all() and sure[-1] < 1
    assert torch.equal(sure, confidence(logits.double(), criterion))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_first(dtype):
    logits = torch.tensor([[9.0, 0.5, -2.0]], dtype=dtype)
    assert torch.equal(confidence(logits), confidence(logits.double()))


@pytest.mark.parametrize('criterion', NAMES)
@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_what_is_no_number_is_named_with_its_place(criterion, bad):
    logits = torch.zeros(2, 3, 4)
    logits[1, 2, 0] = bad
    with pytest.raises(ValueError, match=re.escape('logits at [1, 2] of (2, 3, 4)') + '.*diverged'):
        confidence(logits, criterion)


@pytest.mark.parametrize('criterion', NAMES)
@pytest.mark.parametrize(
    'row', [[math.nan], [math.inf], [-math.inf], [-math.inf, -math.inf], [math.inf, math.inf]]
)
def test_no_prediction_is_sure_without_a_number(criterion, row):
    """Found here: with one class, entropy and margin called nan sure."""
    with pytest.raises(ValueError, match='not numbers'):
        confidence(torch.tensor([row]), criterion)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(criterion='logit'), "'logit' is unknown; choose 'max_prob', 'entropy', 'margin'"),
        (dict(temperature=0.0), 'temperature=0.0 must be above 0'),
        (dict(temperature=-1.0), 'above 0'),
        (dict(temperature=math.nan), 'above 0'),
    ],
)
def test_wrong_arguments_of_confidence(arguments, message):
    with pytest.raises(ValueError, match=message):
        confidence(torch.zeros(1, 2), **arguments)


def simulated(clips, classes, temperature, seed=0, scale=2.0):
    """Logits whose softmax at ``temperature`` is the true probability of each class, and labels drawn from
    it."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(clips, classes, generator=generator, dtype=torch.float64)
    return logits * temperature, logits.softmax(-1).multinomial(1, generator=generator).squeeze(1)


def cross_entropy(logits, labels, temperature):
    return F.cross_entropy(logits.double() / temperature, labels).item()


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 5), st.floats(0.1, 8))
def test_no_temperature_of_a_fine_grid_is_better_than_the_fitted_one(seed, clips, classes, scale):
    logits, labels = simulated(clips, classes, 1.0, seed)
    logits *= scale
    fitted = fit_temperature(logits, labels)
    grid = torch.logspace(math.log10(0.05), math.log10(20), 400, dtype=torch.float64).tolist()
    losses = [cross_entropy(logits, labels, temperature) for temperature in grid]
    assert 0.05 <= fitted <= 20 + 1e-12
    assert cross_entropy(logits, labels, fitted) <= min(losses) + 1e-12


@pytest.mark.parametrize('temperature', [0.3, 1.0, 2.5, 6.0])
def test_the_temperature_of_calibrated_predictions_is_found(temperature):
    assert fit_temperature(*simulated(20000, 8, temperature)) == pytest.approx(temperature, rel=0.03)


@given(st.integers(0, 10**6), st.floats(0.5, 2))
def test_scaled_logits_get_the_scaled_temperature_and_shifted_ones_the_same(seed, factor):
    logits, labels = simulated(200, 4, 1.5, seed)
    fitted = fit_temperature(logits, labels)
    assert fit_temperature(logits * factor, labels) == pytest.approx(fitted * factor, rel=1e-9)
    shifts = 1000 * torch.randn(200, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert fit_temperature(logits + shifts, labels) == pytest.approx(fitted, rel=1e-6)


def test_all_right_or_all_wrong_asks_for_an_end_of_the_range():
    logits, _ = simulated(50, 5, 1.0)
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(0.05)
    assert fit_temperature(logits, logits.argmin(1)) == pytest.approx(20)


@pytest.mark.parametrize('label, expected', [(1, 0.05), (0, 20)])
def test_one_prediction_is_enough(label, expected):
    assert fit_temperature(torch.tensor([[0.0, 3.0]]), torch.tensor([label])) == pytest.approx(expected)


@pytest.mark.parametrize('offset', [0.0, 1e3, 1e6])
@pytest.mark.parametrize('classes', [1, 3, 7, 10])
def test_predictions_that_say_nothing_have_a_temperature_whatever_is_added(classes, offset):
    """Found here: rounding of large equal logits chose one end of the range or the other."""
    logits = offset * torch.rand(5, 1, generator=torch.Generator().manual_seed(0)).expand(5, classes)
    assert fit_temperature(logits, torch.zeros(5, dtype=torch.long)) == pytest.approx(20)


def test_a_fit_needs_no_gradient_and_leaves_the_logits_alone():
    logits, labels = simulated(20, 3, 1.0)
    kept = logits.clone().requires_grad_()
    assert isinstance(fit_temperature(kept, labels), float)
    assert torch.equal(kept, logits)


@pytest.mark.parametrize(
    'logits, labels, message',
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 'N at least 1'),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), r'\(2, 3\) and labels \(3,\)'),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([0]), 'not numbers'),
        (torch.tensor([[0.0, math.inf]]), torch.tensor([0]), 'not numbers'),
        (torch.tensor([[0.0, -math.inf]]), torch.tensor([1]), 'not numbers'),
    ],
)
def test_errors_of_the_fit(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)
