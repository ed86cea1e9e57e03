import numpy as np
import pytest
import torch

from gfvideo.exits import read_exits
from gfvideo.report import CostCurve, gather, ratio_to, read_run

STATIC = CostCurve('static', 'b', 'test', [0.9], dict(gmacs=[4.0], ms=[20.0]), 100, static=True)


def curve(accuracies, gmacs, split='test'):
    return CostCurve('looks', 'a', split, accuracies, dict(gmacs=gmacs), 100)


@pytest.mark.parametrize(
    ('accuracies', 'gmacs', 'expected'),
    [
        ([0.5, 0.9, 0.95], [1.0, 2.0, 3.0], (0.5, 0.9, 0.0)),  # the cheapest that is as good
        ([0.95, 0.9], [3.0, 2.0], (0.5, 0.9, 0.0)),  # in any order
        ([0.5, 0.8], [1.0, 3.0], (0.75, 0.8, 0.1)),  # none is: the best
        ([0.8, 0.8], [3.0, 1.0], (0.25, 0.8, 0.1)),  # of equals the cheaper
    ],
)
def test_ratio_to_a_static_network(accuracies, gmacs, expected):
    assert ratio_to(STATIC, curve(accuracies, gmacs), 'gmacs') == pytest.approx(expected)


def test_no_ratio_without_a_common_unit_or_split():
    assert ratio_to(STATIC, curve([0.9], [1.0]), 'ms') is None
    assert ratio_to(STATIC, curve([0.9], [1.0], 'val'), 'gmacs') is None


def test_the_curve_of_exits_is_that_of_predictions_replayed_one_by_one(runs):
    parts = gather([runs.looks])
    (found,) = [one for one in parts.curves if one.name == 'early exit']
    (clips,) = read_run(runs.looks).dumps.values()
    calibration = read_exits(runs.looks / 'exits.json')
    for setting, accuracy, gmacs in zip(calibration.sweep, found.accuracies, found.costs['gmacs']):
        rule, right, spent = setting.exits, [], []
        for clip in clips:
            shares = (clip['step_logits'].double() / rule.temperature).softmax(-1).amax(-1)
            last = len(shares) - 1
            step = next((s for s in range(last) if shares[s] >= rule.thresholds[s]), last)
            right.append(int(clip['step_logits'][step].argmax()) == int(clip['gt_label']))
            spent.append(calibration.costs['gmacs'][step])
        assert accuracy == pytest.approx(np.mean(right)) and gmacs == pytest.approx(np.mean(spent))
    assert found.split == 'test' and not found.fitted_here


def test_curves_and_ratios_of_two_runs(runs):
    parts = gather([runs.looks, runs.static])
    by_name = {(one.run, one.name): one for one in parts.curves}
    static = by_name['static', 'static']
    assert static.static and 'ms' not in static.costs and len(static.accuracies) == 1
    anytime = by_name['looks', 'a fixed number of looks']
    exits = read_exits(runs.looks / 'exits.json')
    assert anytime.costs['gmacs'] == exits.costs['gmacs'] and anytime.costs['ms'] == exits.costs['ms']
    controls = {name for run, name in by_name if name.endswith('patches')}
    assert controls == {'random patches', 'centre patches'}
    rows = {row.method: row for row in parts.ratios}
    assert rows['looks: a fixed number of looks'].static == 'static: static'
    expected = ratio_to(static, anytime, 'gmacs')
    row = rows['looks: a fixed number of looks']
    assert row.gmacs == f'{100 * expected.share:.0f}' and row.ms == ''
    assert f'{100 * expected.accuracy:.1f} %' in row.sentence


def test_standard_errors_of_a_curve():
    assert STATIC.errors == pytest.approx([0.03])
    assert CostCurve('a', 'b', 'test', [0.9], {}).errors is None
    assert torch.tensor(curve([0.5, 0.5], [1, 2]).errors).shape == (2,)
