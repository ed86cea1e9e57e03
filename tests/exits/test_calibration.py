import math
from dataclasses import replace

import pytest
import torch

from gfvideo.exits import (
    Calibration,
    Setting,
    StepExits,
    StreamExit,
    StreamExits,
    calibrate_steps,
    calibrate_stream,
    direct_search,
    fit_temperature,
    replay_clips,
    replay_stream,
    step_table,
)


def setting(threshold, accuracy, gmacs, ms):
    return Setting(StepExits((threshold,)), accuracy, dict(gmacs=gmacs, ms=ms), (3, 1))


# ms fall once
CHEAP, MIDDLE, BEST = (
    setting(0.0, 0.5, 1.0, 5.0),
    setting(0.5, 0.7, 2.0, 9.0),
    setting(math.inf, 0.8, 3.0, 7.0),
)
SWEEP = Calibration(
    'steps', 'gmacs', (CHEAP, MIDDLE, BEST), dict(gmacs=[1.0, 3.0], ms=[5.0, 7.0]), dict(model='small')
)


@pytest.mark.parametrize(
    'request_, expected',
    [
        (dict(), BEST),
        (dict(budget=1.0), CHEAP),
        (dict(budget=1.99), CHEAP),
        (dict(budget=2.0), MIDDLE),
        (dict(budget=1e6), BEST),
        (dict(budget=6.9, unit='ms'), CHEAP),
        (dict(budget=7.0, unit='ms'), BEST),
        (dict(budget=9.5, unit='ms'), BEST),
        (dict(accuracy=0.0), CHEAP),
        (dict(accuracy=0.5), CHEAP),
        (dict(accuracy=0.51), MIDDLE),
        (dict(accuracy=0.8), BEST),
        (dict(accuracy=0.6), MIDDLE),
        (dict(accuracy=0.6, unit='ms'), BEST),
    ],
)
def test_pick_the_best_within_a_budget_or_the_cheapest_that_is_good_enough(request_, expected):
    assert SWEEP.pick(**request_) is expected


@pytest.mark.parametrize(
    'request_, message',
    [
        (dict(budget=0.9), 'no setting costs 0.9 gmacs or less; the cheapest costs 1'),
        (dict(budget=4.0, unit='ms'), 'no setting costs 4 ms or less; the cheapest costs 5'),
        (dict(accuracy=0.81), 'accuracy of 0.8100; the best has 0.8000'),
        (dict(accuracy=70), 'accuracy of 70.0000'),
        (dict(budget=2, accuracy=0.7), 'not both'),
        (dict(budget=2, unit='joules'), "unit 'joules' was not measured; there is gmacs, ms"),
        (dict(unit='joules'), "unit 'joules'"),
    ],
)
def test_what_cannot_be_picked(request_, message):
    with pytest.raises(ValueError, match=message):
        SWEEP.pick(**request_)


def test_choose_gives_a_copy_that_picks_it_unasked():
    chosen = SWEEP.choose(budget=2.5)
    assert chosen.pick() is MIDDLE and SWEEP.pick() is BEST and replace(chosen, chosen=-1) == SWEEP
    assert chosen.choose(accuracy=0.4).pick() is CHEAP and chosen.choose().pick() is MIDDLE


STEP_COSTS = dict(gmacs=[0.1, 0.4, 1.2], ms=[2.0, 2.5, 9.0])


def clips(samples=300, seed=0, spread=2.0):
    """Logits after three steps, each of which adds evidence to that of the steps before."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 6, (samples,), generator=generator)
    evidence = (
        torch.randn(samples, 3, 6, generator=generator) + torch.nn.functional.one_hot(labels, 6)[:, None]
    )
    return spread * evidence.cumsum(1), labels


@pytest.mark.parametrize('criterion', ['max_prob', 'entropy', 'margin'])
@pytest.mark.parametrize('unit', ['gmacs', 'ms'])
def test_settings_of_clips_do_on_the_fitted_clips_what_they_say(unit, criterion):
    logits, labels = clips()
    calibration = calibrate_steps(
        logits, labels, STEP_COSTS, unit, criterion, source=dict(checkpoint='best.pth')
    )
    assert (calibration.kind, calibration.unit, calibration.costs) == ('steps', unit, STEP_COSTS)
    assert calibration.source == dict(checkpoint='best.pth') and len(calibration.sweep) > 5
    pooled = torch.stack([logits[n, s] for n in range(300) for s in range(3)])
    temperature = fit_temperature(
        pooled, torch.tensor([label for label in labels.tolist() for _ in range(3)])
    )
    assert temperature == pytest.approx(2, rel=0.3)
    for one in calibration.sweep:
        assert (
            one.exits.criterion == criterion
            and one.exits.temperature == temperature
            and len(one.exits.thresholds) == 2
        )
        for name, costs in STEP_COSTS.items():
            result = replay_clips(logits, labels, one.exits, costs)
            assert (result.accuracy, result.cost, tuple(result.exits.tolist())) == (
                one.accuracy,
                one.costs[name],
                one.counts,
            )
        true = [
            (logits[n, at].double() / temperature).softmax(-1)[label].item()
            for n, (at, label) in enumerate(
                zip(replay_clips(logits, labels, one.exits, STEP_COSTS[unit]).positions, labels)
            )
        ]
        assert one.probability == pytest.approx(math.fsum(true) / 300)
    assert_on_a_frontier(calibration, unit)


def assert_on_a_frontier(calibration, unit):
    """Cheapest first, each more accurate than all cheaper ones or worth more; chosen is the cheapest that is
    worth as much as any."""
    sweep = calibration.sweep
    costs, accuracies, worths = (
        [one.costs[unit] for one in sweep],
        [one.accuracy for one in sweep],
        [one.accuracy + 0.25 * one.probability for one in sweep],
    )
    assert costs == sorted(set(costs)) and worths == [one.worth for one in sweep]
    for n in range(1, len(sweep)):
        assert accuracies[n] > max(accuracies[:n]) or worths[n] > max(worths[:n])
    assert calibration.pick() is next(one for one in sweep if one.worth >= max(worths) - 0.0005)


def test_early_exits_cost_less_than_a_fixed_number_of_steps_of_the_same_accuracy():
    logits, labels = clips(1000)
    calibration = calibrate_steps(logits, labels, STEP_COSTS)
    for step, cost in enumerate(STEP_COSTS['gmacs'][1:], 1):
        fixed = (logits[:, step].argmax(-1) == labels).double().mean().item()
        assert calibration.pick(accuracy=fixed).costs['gmacs'] < 0.9 * cost
        assert calibration.pick(budget=cost).accuracy >= fixed


def by_accuracy_alone(logits, labels, costs):
    """Exits of highest accuracy on these clips, the cheapest of equal ones."""
    temperature = fit_temperature(logits.flatten(0, 1), labels.repeat_interleave(3))
    thresholds = direct_search(step_table(logits, labels, costs, 'max_prob', temperature)).thresholds[-1]
    return StepExits(tuple(thresholds.tolist()), 'max_prob', temperature)


def test_exits_fitted_on_few_clips_lose_less_on_others_than_those_by_accuracy_alone():
    """On few clips of a good network some early exit is without a fault by luck."""
    others, other_labels = clips(20000, seed=99, spread=6.0)
    costs, whole = [1.0, 2.0, 3.0], (others[:, -1].argmax(-1) == other_labels).double().mean().item()
    lost, lost_by_accuracy, spent = [], [], []
    for seed in range(12):
        fitted = clips(60, seed=seed, spread=6.0)
        found = calibrate_steps(*fitted, dict(gmacs=costs)).pick().exits
        outcome = replay_clips(others, other_labels, found, costs)
        lost.append(whole - outcome.accuracy)
        spent.append(outcome.cost)
        outcome = replay_clips(others, other_labels, by_accuracy_alone(*fitted, costs), costs)
        lost_by_accuracy.append(whole - outcome.accuracy)
    assert sum(lost) < 0.4 * sum(lost_by_accuracy) and sum(spent) < 0.9 * 3 * len(spent)


def test_the_accuracy_of_all_looks_can_be_asked_for_though_others_are_worth_more():
    """Of one temperature for all exits, earlier and sharper ones give the true class more probability."""
    for seed in range(6):
        logits, labels = clips(1000, seed=seed)
        logits = logits / torch.tensor([1.0, 2.0, 4.0])[:, None]
        whole = (logits[:, -1].argmax(-1) == labels).double().mean().item()
        calibration = calibrate_steps(logits, labels, STEP_COSTS)
        assert calibration.pick(accuracy=whole).accuracy >= whole


def test_settings_without_a_probability_are_picked_by_accuracy():
    older = replace(SWEEP, sweep=(*SWEEP.sweep, replace(BEST, costs=dict(gmacs=4.0, ms=9.0))))
    assert older.pick(budget=9.0) is BEST and BEST.worth == BEST.accuracy
    surer = replace(BEST, costs=dict(gmacs=4.0, ms=9.0), probability=0.6)
    assert replace(SWEEP, sweep=(*SWEEP.sweep, surer)).pick(budget=9.0) is surer


def test_a_budget_of_exactly_the_first_step_is_enough():
    logits, labels = clips()
    calibration = calibrate_steps(logits, labels, STEP_COSTS)
    assert calibration.pick(budget=0.1).counts == (300, 0, 0)


def test_clips_of_a_model_without_focus_steps():
    logits, labels = clips()
    calibration = calibrate_steps(logits[:, :1], labels, dict(gmacs=[0.5]))
    assert [one.exits.thresholds for one in calibration.sweep] == [()] and calibration.sweep[0].costs == dict(
        gmacs=0.5
    )


def test_wrong_costs_and_criteria_of_clips():
    logits, labels = clips()
    with pytest.raises(ValueError, match=r'costs \(2,\)'):
        calibrate_steps(logits, labels, dict(gmacs=[1.0, 2.0]))
    with pytest.raises(ValueError, match="'best' is unknown"):
        calibrate_steps(logits, labels, STEP_COSTS, criterion='best')


class Videos:
    """A model that reads by rule: each look adds fixed evidence, so what a frame shows depends on the looks
    at those before.

    ``record`` obeys ``exits`` one video after the other, the stop too, and remembers with which exits it was
    called.
    """

    def __init__(self, videos=80, frames=4, steps=2, classes=5, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, classes, (videos,), generator=generator)
        clue = (
            torch.nn.functional.one_hot(self.labels, classes)[:, None, None]
            * torch.tensor([0.4, 0.9, 0.9])[: steps + 1, None]
        )
        self.evidence = clue + torch.randn(videos, frames, steps + 1, classes, generator=generator)
        self.steps, self.calls = steps, []

    def record(self, exits):
        self.calls.append(exits)
        N, T, _, C = self.evidence.shape
        looks, predictions = torch.full((N, T), -1), torch.full((N, T, C), math.nan)
        sums, reading = torch.zeros(N, C), torch.arange(N)
        for t in range(T):
            looking, stopped = reading, []
            for step in range(self.steps + 1):
                sums[looking] += self.evidence[looking, t, step]
                looks[looking, t], predictions[looking, t] = step, sums[looking]
                enough, stop, _ = exits.decide(sums[looking], step, t)
                stopped += looking[stop].tolist()
                looking = looking[~enough]
            reading = torch.tensor([n for n in reading.tolist() if n not in stopped], dtype=torch.long)
        frames = (looks >= 0).sum(1)
        return StreamExit(predictions[torch.arange(N), frames - 1], frames, looks, predictions)


LOOK_COSTS = dict(gmacs=[1.0, 0.7, 0.6], ms=[3.0, 5.0, 5.0])


def test_settings_of_streams_do_what_they_say_when_the_videos_are_really_stopped():
    videos = Videos()
    calibration = calibrate_stream(
        videos.record, videos.labels, LOOK_COSTS, 2, 'ms', 'entropy', dict(data='simulated')
    )
    assert (calibration.kind, calibration.unit, calibration.costs) == ('stream', 'ms', LOOK_COSTS)
    assert calibration.source == dict(data='simulated')
    assert videos.calls[0].enough == (math.inf, math.inf) and all(exits.stop == () for exits in videos.calls)
    full = videos.record(StreamExits((math.inf, math.inf)))
    temperature = fit_temperature(
        full.frame_logits.flatten(0, 1), torch.tensor([y for y in videos.labels.tolist() for _ in range(4)])
    )
    assert (
        len({one.exits.enough for one in calibration.sweep}) > 1
        and len({one.exits.stop for one in calibration.sweep}) > 1
    )
    assert_on_a_frontier(calibration, 'ms')
    for one in calibration.sweep:
        assert (one.exits.criterion, one.exits.temperature) == ('entropy', temperature)
        run = videos.record(one.exits)
        assert (run.logits.argmax(-1) == videos.labels).double().mean().item() == one.accuracy
        assert tuple(torch.bincount(run.num_frames - 1, minlength=4).tolist()) == one.counts
        for name, (glance, *focus) in LOOK_COSTS.items():
            spent = sum(
                glance + sum(focus[:looks]) for row in run.looks.tolist() for looks in row if looks >= 0
            )
            assert one.costs[name] == pytest.approx(spent / len(videos.labels))
        again = replay_stream(
            videos.record(replace(one.exits, stop=())), videos.labels, one.exits, LOOK_COSTS['ms']
        )
        assert (again.accuracy, again.cost) == (one.accuracy, one.costs['ms'])


@pytest.mark.parametrize('seed', range(3))
def test_exits_on_both_levels_are_never_worse_than_on_one(seed):
    videos = Videos(60, 3, seed=seed)
    both, step, frame = (
        calibrate_stream(videos.record, videos.labels, LOOK_COSTS, 2, levels=levels)
        for levels in ('both', 'step', 'frame')
    )
    assert all(one.exits.stop == () and one.counts == (60,) for one in step.sweep)
    assert all(one.exits.enough == (math.inf, math.inf) and sum(one.counts) == 60 for one in frame.sweep)
    assert (
        both.sweep[0].exits.temperature == step.sweep[0].exits.temperature == frame.sweep[0].exits.temperature
    )
    for single in (step, frame):
        for budget in sorted(
            one.costs['gmacs'] for calibration in (both, step, frame) for one in calibration.sweep
        ):
            if budget >= single.sweep[0].costs['gmacs']:
                assert both.pick(budget=budget).worth >= single.pick(budget=budget).worth


def test_every_fixed_number_of_looks_is_within_reach():
    videos = Videos(60)
    calibration = calibrate_stream(videos.record, videos.labels, LOOK_COSTS, 2, levels='step', shares=())
    # all looks only once
    assert [exits.enough for exits in videos.calls] == [(math.inf,) * 2, (0.0, 0.0), (math.inf, 0.0)]
    for looks, cost in enumerate([4.0, 6.8, 9.2]):
        enough = (math.inf,) * looks + (0.0,) * (2 - looks)
        right = videos.record(StreamExits(enough)).logits.argmax(-1) == videos.labels
        assert calibration.pick(budget=cost).accuracy >= right.double().mean().item()


@pytest.mark.parametrize('frames, steps', [(1, 2), (3, 0), (1, 0)])
@pytest.mark.parametrize('levels', ['both', 'step', 'frame'])
def test_streams_of_one_frame_and_without_focus_looks(frames, steps, levels):
    videos = Videos(20, frames, steps)
    calibration = calibrate_stream(
        videos.record, videos.labels, dict(gmacs=[1.0, 0.5, 0.5][: steps + 1]), steps, levels=levels
    )
    for one in calibration.sweep:
        assert len(one.exits.enough) == steps and len(one.exits.stop) == (
            0 if levels == 'step' else frames - 1
        )
        assert (
            videos.record(one.exits).logits.argmax(-1) == videos.labels
        ).double().mean().item() == one.accuracy


def test_an_unknown_level_is_refused_before_any_video_is_read():
    videos = Videos(5)
    with pytest.raises(ValueError, match="levels='look' is unknown; choose 'both', 'step' or 'frame'"):
        calibrate_stream(videos.record, videos.labels, LOOK_COSTS, 2, levels='look')
    assert not videos.calls
