"""Exits by what the policy promises of the next look: the score by hand, streams refused, and real exits as
replayed."""

from __future__ import annotations

import math

import pytest
import torch

from gfvideo.exits import (
    StepExits,
    StreamExits,
    calibrate_steps,
    confidence,
    read_exits,
    record_clips,
    register_criterion,
    replay_clips,
    run_clips,
    state_score,
    write_exits,
)
from gfvideo.registry import MODELS
from gfvideo.structures import LookState


def state(promise=None, step=0) -> LookState:
    return LookState(step, torch.zeros(2, 3, 4), promise=promise)


def looking(policy: str = 'ValueMapPolicy', **options):
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
    return MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder,
            focus=encoder,
            policy=dict(type=policy, hidden=8),
            classifier=dict(type='ConcatClassifier'),
            num_classes=3,
            glance_size=16,
            patch_size=12,
            steps=2,
            **options,
        )
    ).eval()


def test_the_score_is_what_no_look_would_add():
    promise = torch.tensor([[0.1, 0.2, 0.6], [-0.5, -0.1, 0.0]])
    torch.testing.assert_close(state_score(state(promise), 'value'), torch.tensor([0.7, 1.0]).double())
    torch.testing.assert_close(
        state_score(state(promise), 'inverted_value'), torch.tensor([0.3, 0.0]).double()
    )
    assert state_score(state(step=2), 'value').tolist() == [1.0, 1.0]  # no look is left


@pytest.mark.parametrize('given', [None, state()])
def test_looks_without_a_promise_are_refused(given):
    with pytest.raises(ValueError, match='needs a policy that values looks'):
        state_score(given, 'value')


def test_it_is_no_confidence_and_stops_no_stream():
    with pytest.raises(ValueError, match='reads what a look left'):
        confidence(torch.zeros(2, 3), 'value')
    with pytest.raises(ValueError, match='cannot stop a stream'):
        StreamExits((0.5,), (0.5,), 'value')
    with pytest.raises(ValueError, match="reads='pixels' is unknown"):
        register_criterion('mine', reads='pixels')
    with pytest.raises(ValueError, match='already'):
        register_criterion('value', reads='state')


@torch.no_grad()
def test_clips_leave_as_replayed_and_as_read_back(tmp_path):
    model = looking()
    with torch.no_grad():  # promises that differ, as learned ones do
        model.policy.value[-1].weight.mul_(20)
        model.policy.value[-1].bias.fill_(0.3)
    frames = torch.randn(12, 4, 3, 40, 48, generator=torch.Generator().manual_seed(3))
    trace = record_clips(model, frames, StepExits((math.inf,) * 2, 'value'))
    promised = torch.stack([one.promise.mean(1) for one in model.looks(frames)[:2]], 1).double()
    torch.testing.assert_close(trace.scores[:, :2], 1 - promised.clamp(0, 1))
    assert (trace.scores[:, 2] == 1).all()
    for criterion, scores in (('value', trace.scores), ('inverted_value', 1 - trace.scores)):
        exits = StepExits(tuple(scores[:, :2].quantile(0.6, dim=0).tolist()), criterion)
        outcome = replay_clips(trace.step_logits, torch.zeros(12).long(), exits, [1, 2, 3], scores)
        for micro_batch in (None, 1):
            ran = run_clips(model, frames, exits, micro_batch)
            assert ran.steps.tolist() == outcome.positions.tolist() and 0 < (ran.steps == 0).sum() < 12
    labels = trace.step_logits[:, 0].argmax(1)
    fitted = calibrate_steps(
        trace.step_logits, labels, dict(gmacs=[1, 2, 3]), criterion='value', scores=trace.scores
    )
    assert fitted.sweep[0].exits.criterion == 'value'
    write_exits(tmp_path / 'exits.json', fitted)
    assert read_exits(tmp_path / 'exits.json').sweep == fitted.sweep
    with pytest.raises(ValueError, match='not stored logits'):
        calibrate_steps(trace.step_logits, labels, dict(gmacs=[1, 2, 3]), criterion='value')


@torch.no_grad()
def test_a_policy_that_values_nothing_has_no_such_exits():
    frames = torch.randn(2, 4, 3, 40, 48)
    with pytest.raises(ValueError, match='needs a policy that values looks'):
        run_clips(looking('RecurrentGaussianPolicy'), frames, StepExits((0.5, 0.5), 'value'))


@torch.no_grad()
def test_the_look_ahead_is_the_next_look():
    model, frames = looking(), torch.randn(3, 4, 3, 40, 48)
    glance, first, second = model.looks(frames)
    assert torch.equal(glance.ahead.centres, first.centres)
    assert torch.equal(first.ahead.centres, second.centres)
    assert second.ahead is None and second.promise is None
    model.test_centres = 'random'
    assert all(one.ahead is None for one in model.looks(frames))
    elsewhere = torch.full((3, 4, 2), 0.25)
    model.test_centres = 'mean'
    assert torch.equal(model.focus(frames, glance, elsewhere).centres, elsewhere)
