import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.exits import (
    GEOMETRIC_RATIOS,
    ExitTable,
    Frontier,
    direct_search,
    exit_positions,
    geometric_fractions,
    geometric_thresholds,
    replay,
)
from gfvideo.exits.thresholds import _Climber


@given(st.floats(0.01, 5), st.integers(1, 8))
def test_fractions_are_a_geometric_series_of_sum_one(ratio, exits):
    fractions = geometric_fractions(ratio, exits).tolist()
    assert len(fractions) == exits and math.fsum(fractions) == pytest.approx(1)
    assert all(b / a == pytest.approx(ratio) for a, b in itertools.pairwise(fractions))


def test_the_ratios_are_those_of_gfnet():
    assert (
        len(GEOMETRIC_RATIOS) == 39
        and GEOMETRIC_RATIOS[0] == 0.05
        and GEOMETRIC_RATIOS[-1] == 1.95
        and 1.0 in GEOMETRIC_RATIOS
    )


@pytest.mark.parametrize('ratio, exits', [(0, 3), (-1, 3), (math.nan, 3), (0.5, 0)])
def test_fractions_need_a_ratio_and_an_exit(ratio, exits):
    with pytest.raises(ValueError, match='must be above 0'):
        geometric_fractions(ratio, exits)


def distinct(samples, exits, seed):
    """Confidences of which no two are equal."""
    order = torch.randperm(samples * exits, generator=torch.Generator().manual_seed(seed))
    return (order.double() + 0.5).view(samples, exits) / (samples * exits)


@given(st.integers(1, 60), st.integers(1, 5), st.sampled_from(GEOMETRIC_RATIOS), st.integers(0, 1000))
def test_without_ties_the_asked_shares_leave_to_the_nearest_sample(samples, exits, ratio, seed):
    sure, fractions = distinct(samples, exits, seed), geometric_fractions(ratio, exits)
    thresholds = geometric_thresholds(sure, fractions)
    assert thresholds.shape == (exits - 1,) and thresholds.dtype == torch.float64
    gone = torch.bincount(exit_positions(sure, thresholds), minlength=exits).cumsum(0).tolist()
    for k, share in enumerate(fractions.cumsum(0).tolist()):
        assert abs(gone[k] - share * samples) <= 0.5 + 1e-6


TIED = st.sampled_from([-math.inf, 0.0, 0.2, 0.5, math.nextafter(0.5, 1), 1.0])


@st.composite
def tied(draw):
    samples, exits = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    return draw(st.lists(st.lists(TIED, min_size=exits, max_size=exits), min_size=samples, max_size=samples))


def groups_while_they_fit(sure, wanted):
    """The slow way: at each exit the groups of equal confidence leave from the surest on, as long as no more
    than ``wanted`` are gone."""
    left, gone, counts = list(range(len(sure))), 0, []
    for k, most in enumerate(wanted):
        for value in sorted({sure[n][k] for n in left} - {-math.inf}, reverse=True):
            group = [n for n in left if sure[n][k] == value]
            if gone + len(group) > most:
                break
            gone, left = gone + len(group), [n for n in left if n not in group]
        counts.append(gone)
    return counts


@settings(max_examples=200)
@given(tied(), st.sampled_from(GEOMETRIC_RATIOS), st.booleans())
def test_of_equal_confidences_all_leave_or_none_and_never_too_many(sure, ratio, single):
    exits = len(sure[0])
    fractions = geometric_fractions(ratio, exits)
    wanted = [round(share * len(sure)) for share in fractions.cumsum(0).tolist()][:-1]
    scores = torch.tensor(sure, dtype=torch.float32 if single else torch.float64)
    positions = exit_positions(scores, geometric_thresholds(scores, fractions))
    gone = [int((positions <= k).sum()) for k in range(exits - 1)]
    assert gone == groups_while_they_fit(scores.tolist(), wanted)
    assert all(here <= most for here, most in zip(gone, wanted))


def test_neighbours_in_float32_are_parted():
    """Found here: half way between them was rounded down to the lower one, and both left."""
    high = torch.tensor(0.3)
    for _ in range(4):
        low = torch.nextafter(high, torch.tensor(0.0))
        scores = torch.stack([high, low])[:, None].expand(2, 2)
        assert exit_positions(scores, geometric_thresholds(scores, [0.5, 0.5])).tolist() == [0, 1]
        high = low


@pytest.mark.parametrize('high', [1.0, 0.5, 1e-300, 5e-324])
def test_a_threshold_lies_between_the_last_that_leaves_and_the_first_that_stays(high):
    for low in (math.nextafter(high, 0), high / 2, 0.0):
        (threshold,) = geometric_thresholds(
            torch.tensor([[low, 1], [high, 1]], dtype=torch.float64), [0.5, 0.5]
        ).tolist()
        assert low < threshold <= high
    (threshold,) = geometric_thresholds(torch.tensor([[0.2, 1], [0.6, 1], [0.3, 1]]), [0.4, 0.6]).tolist()
    assert threshold == pytest.approx(0.45)


def test_thresholds_of_small_cases():
    inf = math.inf
    assert geometric_thresholds(torch.tensor([[0.3]]), [1.0]).tolist() == []  # one exit
    assert geometric_thresholds(torch.tensor([[0.3, 0.4]]), [0.9, 0.1]).tolist() == [0.0]  # one sample
    assert geometric_thresholds(torch.tensor([[0.3, 0.4]]), [0.1, 0.9]).tolist() == [inf]
    equal = torch.full((4, 3), 0.7)
    assert geometric_thresholds(equal, [0.5, 0.25, 0.25]).tolist() == [inf, inf]
    assert geometric_thresholds(equal, [1.0, 0.0, 0.0]).tolist() == [0.0, inf]
    assert geometric_thresholds(torch.tensor([[1.0, 1.0]] * 3), [0.0, 1.0]).tolist() == [inf]  # saturated


@pytest.mark.parametrize(
    'sure, fractions, message',
    [
        ([[0.5, math.nan]], [0.5, 0.5], 'nan.*diverged'),
        ([[0.5, 0.5]], [1.0], 'must be 2 shares'),
        ([[0.5, 0.5]], [0.7, 0.7], 'sum to 1'),
        ([[0.5, 0.5]], [1.5, -0.5], 'must be 2 shares'),
    ],
)
def test_errors_of_the_geometric_family(sure, fractions, message):
    with pytest.raises(ValueError, match=message):
        geometric_thresholds(torch.tensor(sure), fractions)


def brute_force(table):
    """(cost, accuracy) of every set of thresholds that differs in what it does."""
    sure = table.confidence
    choices = [
        [0.0, *sorted(set(sure[:, k].tolist()) - {-math.inf}), math.inf] for k in range(sure.shape[1] - 1)
    ]
    outcomes = []
    for thresholds in itertools.product(*choices):
        spent = right = 0
        for row, correct, costs in zip(sure.tolist(), table.correct.tolist(), table.costs.tolist()):
            k = next(
                (k for k, least in enumerate(thresholds) if row[k] > -math.inf and row[k] >= least),
                len(thresholds),
            )
            spent, right = spent + costs[k], right + correct[k]
        outcomes.append((spent / len(sure), right / len(sure)))
    return outcomes


def best_within(outcomes, budget):
    return max((accuracy for cost, accuracy in outcomes if cost <= budget * (1 + 1e-9) + 1e-12), default=-1.0)


def geometric_outcomes(table):
    results = [
        replay(
            table,
            geometric_thresholds(table.confidence, geometric_fractions(ratio, table.confidence.shape[1])),
        )
        for ratio in GEOMETRIC_RATIOS
    ]
    return [(result.cost, result.accuracy) for result in results]


@st.composite
def tables(draw, max_samples=7, min_exits=1, max_exits=3):
    """Small tables of all sorts: ties, exits not come by, costs of exits or of samples."""
    samples, exits = draw(st.integers(1, max_samples)), draw(st.integers(min_exits, max_exits))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    sure = distinct(samples, exits, draw(st.integers(0, 10**6)))
    if draw(st.booleans()):
        sure = (sure * 4).round() / 4
    if draw(st.booleans()):
        sure[:, :-1] = sure[:, :-1].masked_fill(
            torch.rand(samples, exits - 1, generator=generator) < 0.25, -math.inf
        )
    correct = torch.rand(samples, exits, generator=generator) < draw(
        st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0])
    )
    own = torch.rand(samples, exits, generator=generator, dtype=torch.float64)
    costs = (
        own.cumsum(1)
        if draw(st.booleans())
        else draw(st.sampled_from([own[0].cumsum(0), torch.arange(exits), torch.ones(exits)]))
    )
    return ExitTable.of(sure, correct, costs)


@settings(max_examples=40)
@given(tables())
def test_direct_search_lies_between_the_geometric_family_and_brute_force(table):
    frontier, best, geometric = direct_search(table), brute_force(table), geometric_outcomes(table)
    for budget in sorted({cost for cost, _ in best if cost >= frontier.cost[0]}):
        found = frontier.accuracy[frontier.within(budget)].item()
        assert best_within(geometric, budget) - 1e-12 <= found <= best_within(best, budget) + 1e-12
    assert frontier.cost[0].item() == pytest.approx(min(cost for cost, _ in best))


@settings(max_examples=40)
@given(tables())
def test_a_frontier_rises_and_does_what_it_says(table):
    frontier = direct_search(table)
    P, exits = len(frontier.cost), table.confidence.shape[1]
    assert frontier.thresholds.shape == (P, exits - 1) and frontier.accuracy.shape == (P,) and P >= 1
    assert (frontier.cost.diff() > 0).all() and (frontier.accuracy.diff() > 0).all()
    for thresholds, cost, accuracy in zip(
        frontier.thresholds, frontier.cost.tolist(), frontier.accuracy.tolist()
    ):
        result = replay(table, thresholds)
        assert (result.cost, result.accuracy) == (cost, accuracy)
        assert all(0 <= value <= 1 or value == math.inf for value in thresholds.tolist())


def test_direct_search_finds_nearly_always_the_best_of_small_tables():
    """All of them with two exits and equal costs, where its budgets are closer together than the costs;
    nearly all with three."""
    generator = torch.Generator().manual_seed(0)
    shortfalls = []
    for number in range(60):
        exits = 2 + number % 2
        sure = torch.rand(7, exits, generator=generator, dtype=torch.float64)
        table = ExitTable.of(
            sure, torch.rand(7, exits, generator=generator) < sure, torch.arange(1, exits + 1)
        )
        frontier, best = direct_search(table), brute_force(table)
        for budget in sorted({cost for cost, _ in best}):
            shortfalls.append(best_within(best, budget) - frontier.accuracy[frontier.within(budget)].item())
            assert exits == 3 or shortfalls[-1] < 1e-12
    assert sum(gap < 1e-12 for gap in shortfalls) / len(shortfalls) > 0.95 and max(shortfalls) < 2.5 / 7


@pytest.mark.parametrize('samples', [40, 300])
def test_on_larger_tables_it_stays_within_a_hundredth_of_the_best_two_exits_and_above_the_geometric_family(
    samples,
):
    generator = torch.Generator().manual_seed(samples)
    sure = torch.rand(samples, 2, generator=generator, dtype=torch.float64)
    table = ExitTable.of(sure, torch.rand(samples, 2, generator=generator) < sure, torch.tensor([1.0, 3.0]))
    frontier, geometric = direct_search(table), geometric_outcomes(table)
    best = [
        (result.cost, result.accuracy)
        for result in (replay(table, [one]) for one in [*sure[:, 0].tolist(), math.inf])
    ]
    for budget in torch.linspace(1.0, 3.0, 40, dtype=torch.float64).tolist():
        found = frontier.accuracy[frontier.within(budget)].item()
        assert (
            best_within(best, budget) - max(0.01, 1.5 / samples) <= found <= best_within(best, budget) + 1e-12
        )
        assert found >= best_within(geometric, budget) - 1e-12


def one_threshold_moved(table, thresholds):
    """(cost, accuracy) of all settings that differ from this one in one threshold."""
    for k in range(len(thresholds)):
        for value in [0.0, *sorted(set(table.confidence[:, k].tolist()) - {-math.inf}), math.inf]:
            result = replay(table, [*thresholds[:k].tolist(), value, *thresholds[k + 1 :].tolist()])
            yield result.cost, result.accuracy


@settings(max_examples=60)
@given(
    tables(max_samples=12, min_exits=2, max_exits=4),
    st.lists(st.floats(0, 0.6), min_size=3, max_size=3),
    st.integers(0, 10**6),
)
def test_no_single_threshold_buys_more_within_the_budget(table, shares, seed):
    """From any start the climb keeps within the budget, loses no right answer, and ends where no step up is
    left."""
    start = torch.rand(
        3, table.costs.shape[1] - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    outcomes, dearest = [replay(table, thresholds) for thresholds in start], table.costs[:, -1].mean().item()
    budgets = torch.tensor(
        [one.cost + share * (dearest - one.cost) for one, share in zip(outcomes, shares)], dtype=torch.float64
    )
    for sweeps in (1, 50):
        for budget, before, thresholds in zip(
            budgets.tolist(), outcomes, _Climber(table).within_budgets(budgets, start, sweeps)
        ):
            result = replay(table, thresholds)
            assert result.cost <= budget * (1 + 1e-9) and result.accuracy >= before.accuracy
            assert (
                sweeps == 1
                or best_within(one_threshold_moved(table, thresholds), budget) <= result.accuracy + 1e-12
            )


def worths_of(table, seed):
    generator = torch.Generator().manual_seed(seed)
    return table.correct + 0.25 * torch.rand(table.correct.shape, generator=generator, dtype=torch.float64)


def worth_of(table, worth, thresholds):
    positions = exit_positions(table.confidence, thresholds)
    return sum(worth[n, at].item() for n, at in enumerate(positions.tolist())) / len(positions)


@settings(max_examples=60)
@given(tables(max_samples=12, min_exits=2, max_exits=4), st.floats(0, 0.6), st.integers(0, 10**6))
def test_no_single_threshold_buys_more_of_another_worth_within_the_budget(table, share, seed):
    worth = worths_of(table, seed)
    start = torch.rand(
        1, table.costs.shape[1] - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    before, dearest = replay(table, start[0]), table.costs[:, -1].mean().item()
    budget = before.cost + share * (dearest - before.cost)
    climbed = _Climber(table, worth).within_budgets(torch.tensor([budget], dtype=torch.float64), start, 50)[0]
    assert replay(table, climbed).cost <= budget * (1 + 1e-9)
    found = worth_of(table, worth, climbed)
    assert found >= worth_of(table, worth, start[0]) - 1e-6
    for k in range(len(climbed)):
        for value in [0.0, *sorted(set(table.confidence[:, k].tolist()) - {-math.inf}), math.inf]:
            other = torch.tensor([*climbed[:k].tolist(), value, *climbed[k + 1 :].tolist()])
            if replay(table, other).cost <= budget:
                assert worth_of(table, worth, other) <= found + 1e-6


@settings(max_examples=40)
@given(tables(min_exits=2, max_exits=4), st.integers(0, 10**6))
def test_of_a_frontier_of_another_worth_each_is_more_accurate_than_all_cheaper_or_worth_more(table, seed):
    worth = worths_of(table, seed)
    frontier = direct_search(table, worth=worth)
    worths = [worth_of(table, worth, thresholds) for thresholds in frontier.thresholds]
    outcomes = [replay(table, thresholds) for thresholds in frontier.thresholds]
    assert [one.cost for one in outcomes] == frontier.cost.tolist() == sorted(set(frontier.cost.tolist()))
    assert [one.accuracy for one in outcomes] == frontier.accuracy.tolist()
    assert frontier.worth.tolist() == pytest.approx(worths)
    for n in range(1, len(worths)):
        assert worths[n] > max(worths[:n]) or outcomes[n].accuracy > max(o.accuracy for o in outcomes[:n])
    for budget in frontier.cost.tolist():
        affordable = [one for one, cost in zip(worths, frontier.cost.tolist()) if cost <= budget]
        assert worths[frontier.within(budget)] == max(affordable)
    # the geometric family, and all looks, are nowhere above
    never = torch.full((table.costs.shape[1] - 1,), math.inf, dtype=torch.float64)
    family = [
        geometric_thresholds(table.confidence, geometric_fractions(q, table.costs.shape[1]))
        for q in (0.5, 1.5)
    ]
    for thresholds in (never, *family):
        cost = replay(table, thresholds).cost
        within = worths[frontier.within(cost)]
        assert within >= worth_of(table, worth, thresholds) - 1e-9


def test_right_answers_are_what_is_searched_for_unless_another_worth_is_given():
    table = ExitTable.of(
        distinct(40, 3, 1), distinct(40, 3, 2) < distinct(40, 3, 1), torch.tensor([1.0, 2.0, 9.0])
    )
    unasked, asked = direct_search(table), direct_search(table, worth=table.correct.double())
    assert unasked.worth is None and torch.equal(asked.worth, asked.accuracy)
    assert all(torch.equal(one, other) for one, other in zip(unasked[:3], asked[:3]))


@pytest.mark.parametrize('worth', [torch.ones(6, 2), torch.full((6, 3), math.nan)])
def test_worths_that_are_not_those_of_the_table(worth):
    table = ExitTable.of(distinct(6, 3, 2), torch.ones(6, 3), torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r'must be \(6, 3\) finite numbers'):
        direct_search(table, worth=worth)


@pytest.mark.parametrize('seed', range(8))
def test_a_climb_within_budgets_loses_no_right_answer_on_larger_tables(seed):
    generator = torch.Generator().manual_seed(seed)
    sure = torch.rand(60, 4, generator=generator, dtype=torch.float64)
    table = ExitTable.of(
        sure,
        torch.rand(60, 4, generator=generator) < sure * torch.tensor([0.7, 0.8, 0.9, 1.0]),
        torch.arange(1, 5),
    )
    start = torch.rand(40, 3, generator=generator, dtype=torch.float64)
    outcomes = [replay(table, thresholds) for thresholds in start]
    budgets = torch.tensor([one.cost for one in outcomes], dtype=torch.float64)
    for before, thresholds in zip(outcomes, _Climber(table).within_budgets(budgets, start, 1)):
        result = replay(table, thresholds)
        assert result.cost <= before.cost + 1e-9 and result.accuracy >= before.accuracy


def test_of_equally_many_right_answers_the_cheapest_are_taken():
    table = ExitTable.of(distinct(6, 3, 2), torch.ones(6, 3), torch.tensor([1.0, 2.0, 3.0]))
    never = torch.full((1, 2), math.inf, dtype=torch.float64)
    assert replay(table, _Climber(table).within_budgets(torch.tensor([3.0]), never, 2)[0]).cost == 1


@settings(max_examples=40)
@given(tables(min_exits=2, max_exits=4), st.lists(st.floats(0.01, 3), min_size=3, max_size=3))
def test_no_single_threshold_is_worth_more_at_its_price(table, prices):
    for price, thresholds in zip(
        prices, _Climber(table).at_prices(torch.tensor(prices, dtype=torch.float64), 50)
    ):
        result = replay(table, thresholds)
        best = max(accuracy - price * cost for cost, accuracy in one_threshold_moved(table, thresholds))
        assert best <= result.accuracy - price * result.cost + 1e-9


@settings(max_examples=25)
@given(tables(max_samples=30, max_exits=5), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_budget_is_never_less_accurate(table, one, other):
    cheapest, dearest = direct_search(table).cost[0].item(), table.costs[:, -1].mean().item()
    smaller, larger = (cheapest + share * (dearest - cheapest) for share in sorted([one, other]))
    first, second = direct_search(table), direct_search(table)
    a, b = first.within(smaller), second.within(larger)
    assert first.accuracy[a] <= second.accuracy[b]
    assert first.cost[a] <= smaller + 1e-6 and second.cost[b] <= larger + 1e-6


@settings(max_examples=25)
@given(tables(max_samples=15, max_exits=4), st.integers(0, 10**6))
def test_the_order_of_samples_does_not_matter(table, seed):
    order = torch.randperm(len(table.correct), generator=torch.Generator().manual_seed(seed))
    frontier, shuffled = direct_search(table), direct_search(ExitTable(*(part[order] for part in table)))
    assert torch.allclose(frontier.cost, shuffled.cost, rtol=1e-9) and torch.allclose(
        frontier.accuracy, shuffled.accuracy, rtol=1e-9
    )


@pytest.mark.parametrize('samples', [1, 5])
def test_one_exit_has_one_setting_without_thresholds(samples):
    """Found here: with one exit the search broke down, and with it the calibration of streams by looks
    alone."""
    table = ExitTable.of(torch.full((samples, 1), 0.5), torch.ones(samples, 1), torch.tensor([3.0]))
    frontier = direct_search(table)
    assert (
        frontier.thresholds.shape == (1, 0)
        and frontier.cost.tolist() == [3.0]
        and frontier.accuracy.tolist() == [1.0]
    )


@pytest.mark.parametrize('right', [True, False])
def test_where_no_exit_is_more_accurate_only_the_cheapest_stays(right):
    table = ExitTable.of(distinct(6, 3, 0), torch.full((6, 3), right), torch.tensor([1.0, 2.0, 3.0]))
    frontier = direct_search(table)
    assert frontier.cost.tolist() == [1.0] and frontier.accuracy.tolist() == [float(right)]


def test_one_sample_leaves_where_it_is_right():
    table = ExitTable.of(
        torch.tensor([[0.2, 0.9, 0.4]]), torch.tensor([[False, True, True]]), torch.tensor([1.0, 2.0, 3.0])
    )
    frontier = direct_search(table)
    assert frontier.cost.tolist() == [1, 2] and frontier.accuracy.tolist() == [0, 1]


def test_saturated_confidences_leave_together():
    """All 1.0: the first exit lets out everyone or nobody, there is nothing between."""
    table = ExitTable.of(
        torch.ones(6, 2), torch.tensor([[True, True]] * 3 + [[False, True]] * 3), torch.tensor([1.0, 2.0])
    )
    frontier = direct_search(table)
    assert frontier.cost.tolist() == [1, 2] and frontier.accuracy.tolist() == [0.5, 1]


def test_exits_that_lose_accuracy_are_passed_only_to_save():
    """Overthinking: the second exit is better than the last, so the most accurate setting is not the
    dearest."""
    correct = torch.tensor([[False, True, False]] * 4 + [[False, True, True]] * 2)
    frontier = direct_search(ExitTable.of(distinct(6, 3, 1), correct, torch.tensor([1.0, 2.0, 9.0])))
    assert frontier.accuracy[-1] == 1 and frontier.cost[-1] == 2


FRONTIER = Frontier(
    torch.tensor([[0.0], [0.5], [math.inf]]),
    torch.tensor([1.0, 2.0, 4.0]),
    torch.tensor([0.5, 0.75, 0.8]).double(),
)


@pytest.mark.parametrize('budget, expected', [(1.0, 0), (1.999, 0), (2.0, 1), (3.9, 1), (4.0, 2), (1e9, 2)])
def test_within_a_budget(budget, expected):
    assert FRONTIER.within(budget) == expected


@pytest.mark.parametrize('accuracy, expected', [(0.0, 0), (0.5, 0), (0.51, 1), (0.75, 1), (0.8, 2)])
def test_reaching_an_accuracy(accuracy, expected):
    assert FRONTIER.reaching(accuracy) == expected


def test_what_no_setting_does_is_said_with_the_nearest():
    with pytest.raises(ValueError, match='no setting costs 0.9 or less; the cheapest costs 1'):
        FRONTIER.within(0.9)
    with pytest.raises(ValueError, match='accuracy of 0.9000; the best has 0.8000'):
        FRONTIER.reaching(0.9)
