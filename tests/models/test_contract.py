"""What every recognizer and every policy promises, for all of the package: the looks, what they tell of
themselves, and all that stands on that."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from torch import Tensor

from gfvideo.complexity import latency, recognizer_cost
from gfvideo.engine import describe_model
from gfvideo.exits import (
    StepExits,
    StreamExits,
    confidence,
    record_clips,
    replay_clips,
    run_clips,
    run_stream,
)
from gfvideo.models import DifferentiablePolicy, Geometry, Observation, Policy, StochasticPolicy
from gfvideo.models.policies import (
    CentrePolicy,
    DeformablePolicy,
    RandomPolicy,
    StackedMapPolicy,
    ValueMapPolicy,
)
from gfvideo.registry import MODELS

T, C, H, W = 4, 3, 40, 48


def encoder(shift: str | None = 'bidirectional') -> dict:
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift, map_stride=4)


def looking(shift: str | None = 'bidirectional', steps: int = 2, **options) -> dict:
    return dict(
        dict(
            type='GlanceFocusRecognizer',
            num_classes=C,
            glance=encoder(shift),
            focus=encoder(shift),
            policy=dict(type='RecurrentGaussianPolicy', hidden=16, reduced=4),
            classifier=dict(type='ConcatClassifier'),
            glance_size=16,
            patch_size=(16, 20),
            steps=steps,
        ),
        **options,
    )


def ada_focus(policy: dict, **options) -> dict:
    return dict(
        type='AdaFocusRecognizer',
        num_classes=C,
        glance=encoder(),
        focus=encoder(),
        glance_frames=2,
        glance_size=16,
        patch_size=16,
        policy=policy,
        **options,
    )


STACKED = dict(type='StackedMapPolicy', reduced=4, hidden=(8, 6))
DEFORMABLE = dict(type='DeformablePolicy', hidden=6, side_range=(12, 36))
RECOGNIZERS = {
    'static, bidirectional': dict(type='ClipRecognizer', encoder=encoder(), num_classes=C, input_size=20),
    'static, causal': dict(type='ClipRecognizer', encoder=encoder('causal'), num_classes=C),
    'static, no shift': dict(type='ClipRecognizer', encoder=encoder(None), num_classes=C),
    'looking, bidirectional': looking(),
    'looking, causal': looking('causal', classifier=dict(type='RecurrentClassifier', hidden=16)),
    'looking, no shift': looking(None),
    'looking, pixels and an own critic': looking(
        policy=dict(type='RecurrentGaussianPolicy', hidden=8, reduced=4, pixels=True, own_critic=True),
        glance_size=20,
    ),
    'looking, one window a clip': looking(
        policy=dict(type='RecurrentGaussianPolicy', scope='clip', hidden=8)
    ),
    'looking, glance alone': looking('causal', steps=0),
    'looking, a value map': looking('causal', policy=dict(type='ValueMapPolicy', hidden=8)),
    'looking, a normalized value map': looking(
        'causal', policy=dict(type='ValueMapPolicy', hidden=8, stem_norm=True, discount=0.5)
    ),
    'looking, a value map that sees more than the glance': looking(
        'causal', policy=dict(type='ValueMapPolicy', hidden=8, stem_size=40, stem_stride=8, stem_depth=3)
    ),
    'looking both ways, a value map': looking(policy=dict(type='ValueMapPolicy', hidden=8)),
    'looking at the centre': looking('causal', policy=dict(type='CentrePolicy')),
    'looking, a stacked map': looking(policy=dict(STACKED, glance_frames=T), steps=1),
    'looking, windows of any size': looking(policy=dict(DEFORMABLE, glance_frames=T), steps=1),
    'AdaFocus V2': ada_focus(STACKED),
    'Uni-AdaFocus': ada_focus(DEFORMABLE, frame_policy=dict(type='FramePolicy', hidden=8), focus_frames=2),
}


@pytest.fixture(params=RECOGNIZERS.values(), ids=RECOGNIZERS)
def model(request):
    torch.manual_seed(0)
    return MODELS.build(dict(request.param)).eval()


@pytest.fixture
def frames() -> Tensor:
    return torch.randn(5, T, 3, H, W, generator=torch.Generator().manual_seed(1))


def equal(one, other) -> bool:
    """Nested states, nan where nan is."""
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one.nan_to_num(7.5), other.nan_to_num(7.5))
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return one == other


def as_dict(state) -> dict:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


@torch.no_grad()
def test_looks(model, frames):
    states = model.looks(frames)
    assert [state.step for state in states] == list(range(model.steps + 1))
    for state in states:
        assert state.logits.shape[0] == 5 and state.logits.shape[2] == C and state.logits.isfinite().all()
        assert (state.centres is None) == (state.step == 0)
        if state.centres is not None:
            looked_at = state.centres.nan_to_num(0.5)
            assert state.centres.shape == (5, T, 2) and looked_at.min() >= 0 and looked_at.max() <= 1
    step_logits, centres, _ = model.predict_steps(frames)
    assert torch.equal(step_logits, torch.stack([state.logits.mean(1) for state in states], 1))
    assert (centres is None) == (model.steps == 0)


@torch.no_grad()
def test_nothing_is_kept_between_calls(model, frames):
    before = {name: value for name, value in vars(model).items() if not name.startswith('_')}
    first, other, again = (model.looks(x)[-1] for x in (frames, frames.flip(0) + 1, frames))
    assert equal(as_dict(first), as_dict(again)) and not torch.equal(first.logits, other.logits)
    assert {name: value for name, value in vars(model).items() if not name.startswith('_')} == before


@torch.no_grad()
@pytest.mark.parametrize('rows', [torch.tensor([3, 1]), torch.tensor([True, False, False, True, True])])
def test_part_of_a_batch_goes_on_alone(model, frames, rows):
    whole = model.looks(frames)
    state = whole[0].select(rows)
    for step in range(1, model.steps + 1):
        state = model.focus(frames[rows], state)
        torch.testing.assert_close(state.logits, whole[step].logits[rows], rtol=1e-4, atol=1e-5)


def test_parts_are_all_that_has_weights(model):
    parts, own = model.parts(), model.state_dict()
    assert all(getattr(model, name) is part for name, part in parts.items())
    by_part = {name: {key for key in own if key.startswith(f'{name}.')} for name in parts}
    assert set().union(*by_part.values()) == set(own)
    assert {name: len(part.state_dict()) for name, part in parts.items()} == {
        name: len(keys) for name, keys in by_part.items()
    }


def test_described_is_json(model):
    told = describe_model(model)
    assert json.loads(json.dumps(told)) == told
    assert told['type'] == type(model).__name__ and told['steps'] == model.steps and told['num_classes'] == C


def test_what_is_described_tells_them_apart():
    described = [json.dumps(MODELS.build(dict(one)).described()) for one in RECOGNIZERS.values()]
    assert len(set(described)) == len(described)


def test_it_is_counted_and_timed(model, frames):
    cost = recognizer_cost(model, (T, 3, H, W))
    assert set(cost['parts']) == set(model.parts()) and len(cost['steps']) == model.steps + 1
    assert cost['steps'] == sorted(cost['steps']) and cost['steps'][0] > 0
    for step, after in zip(cost['by_step'], cost['steps']):
        assert sum(step.values()) == after - (
            cost['steps'][cost['by_step'].index(step) - 1] if after != cost['steps'][0] else 0
        )
    assert len(latency(model, frames[:1], repeats=1, warm_up=0)) == model.steps + 1


@torch.no_grad()
def test_exits_run_as_replayed(model, frames):
    if model.steps == 0:
        assert (run_clips(model, frames, StepExits(())).steps == 0).all()
        return
    sure = confidence(model.predict_steps(frames).step_logits)[:, :-1]  # (B, S)
    exits = StepExits(tuple(column.sort().values[2:4].mean().item() for column in sure.unbind(1)))
    trace = record_clips(model, frames, exits)
    outcome = replay_clips(trace.step_logits, torch.zeros(5).long(), exits, list(range(model.steps + 1)))
    for micro_batch in (None, 1):
        ran = run_clips(model, frames, exits, micro_batch)
        assert ran.steps.tolist() == outcome.positions.tolist() and 0 < (ran.steps == 0).sum() < 5
        expected = trace.step_logits[torch.arange(5), outcome.positions]
        torch.testing.assert_close(ran.logits, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_batches_are_read_in_parts_where_that_pays(model, frames, monkeypatch):
    together, sizes, glance = model.predict_steps(frames), [], model.glance

    def counted(part, *cache):
        sizes.append(len(part))
        return glance(part, *cache)

    monkeypatch.setattr('gfvideo.ops.running.PIXELS_AT_A_TIME', 1)
    monkeypatch.setattr(model, 'glance', counted)
    in_parts = model.predict_steps(frames)
    assert sizes == [1] * len(frames)
    for expected, found in zip(together, in_parts, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    model.predict_views(frames[None])
    assert sizes == [1] * 2 * len(frames)


@torch.no_grad()
def test_it_streams_unless_it_looks_ahead(model, frames):
    if model.looking_ahead() or 'AdaFocus' in type(model).__name__:
        with pytest.raises(ValueError, match=r"needed by (glance_)?encoder.* \(shift='bidirectional'"):
            model.stream()
        return
    expected = model.looks(frames)[-1].logits
    stream, logits = model.stream(), []
    for t in range(T):
        logits.append(stream.read(frames[:, t]).frame_logits)
        stream = model.stream(state=pickle.loads(pickle.dumps(stream.state)))
    torch.testing.assert_close(torch.stack(logits, 1), expected, rtol=1e-4, atol=1e-5)
    stop = StreamExits((0.0,) * model.steps, (0.0,))
    assert (run_stream(model, frames, stop).num_frames == 1).all()


def test_it_trains_and_every_part_that_learns_gets_a_gradient(model, frames):
    model.train()
    labels = torch.arange(5) % C
    model.train_centres = 'mean'
    parts = model.parts()
    if isinstance(parts.get('policy'), StochasticPolicy):  # it has a stage of its own
        parts['policy'].requires_grad_(False)
    if model.steps == 0:
        for name in {'focus_encoder', 'focus_head'} & set(parts):
            parts[name].requires_grad_(False)
    sum(value for name, value in model.losses(frames, labels).items() if 'loss' in name).backward()
    without = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not without


def test_views_and_modes(model, frames):
    with torch.no_grad():
        one = model(frames)
        two = model(torch.stack([frames, frames], 1))  # (B, V, T, 3, H, W)
    torch.testing.assert_close(two.softmax(-1), one.softmax(-1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="mode='guess' is unknown"):
        model(frames, mode='guess')


# ---- policies

GEOMETRY = Geometry((H, W), (16, 16))
POLICIES = {
    'random': lambda scope: RandomPolicy(scope),
    'centre': lambda scope: CentrePolicy(scope),
    'Gaussian': lambda scope: MODELS.build(
        dict(
            type='RecurrentGaussianPolicy',
            glance_channels=5,
            focus_channels=7,
            glance_map=(4, 5),
            focus_map=(2, 3),
            steps=2,
            hidden=8,
            reduced=4,
            scope=scope,
        )
    ),
    'Gaussian that reads pixels': lambda scope: MODELS.build(
        dict(
            type='RecurrentGaussianPolicy',
            glance_channels=5,
            focus_channels=7,
            glance_map=(4, 5),
            focus_map=(2, 3),
            steps=2,
            hidden=8,
            reduced=4,
            scope=scope,
            pixels=True,
            own_critic=True,
        )
    ),
    'value map': lambda scope: ValueMapPolicy(5, 7, scope, hidden=8),
    'stacked': lambda scope: StackedMapPolicy(5, T, (4, 5), reduced=3, hidden=(8, 6)),
    'deformable': lambda scope: DeformablePolicy(5, T, (4, 5), hidden=6, side_range=(12, 30)),
}


@pytest.fixture(params=POLICIES)
def policy(request) -> Policy:
    torch.manual_seed(0)
    return POLICIES[request.param]('frame').eval()


def observations(policy: Policy) -> list[Observation]:
    """Of the glance and, where the policy chooses again, of the first focus look."""
    torch.manual_seed(2)
    glance = torch.randn(3, T, 3, 16, 20) if policy.reads_glance else None
    first = Observation(0, torch.randn(3, T, 5, 4, 5), None, GEOMETRY, None, glance)
    if isinstance(policy, DifferentiablePolicy):
        return [first]
    choice = policy(first)
    return [first, Observation(1, torch.randn(3, T, 7, 2, 3), choice.centres, GEOMETRY, choice.memory)]


def test_choices(policy):
    for observation in observations(policy):
        choice = policy(observation)
        assert choice.centres.shape == (3, T, 2) and choice.centres.min() >= 0 and choice.centres.max() <= 1
        assert (choice.window_sizes is not None) == policy.sizes
        if policy.scope == 'clip':
            assert (choice.centres == choice.centres[:, :1]).all()


def test_clips_do_not_see_each_other(policy):
    rows = torch.tensor([2, 0])
    for observation in observations(policy):
        torch.manual_seed(0)
        whole = policy(observation).centres
        if isinstance(policy, RandomPolicy):
            return
        torch.testing.assert_close(policy(observation.select(rows)).centres, whole[rows])


def test_a_stochastic_policy_evaluates_what_it_drew(policy):
    if not isinstance(policy, StochasticPolicy):
        return
    A = T if policy.scope == 'frame' else 1
    for observation in observations(policy):
        drawn, other = policy.draw(observation), policy.draw(observation)
        assert not torch.equal(drawn.action, other.action)
        again = policy.evaluate(observation, drawn.action)
        for name in ('log_prob', 'value', 'entropy'):
            assert getattr(again, name).shape == (3, A)
        torch.testing.assert_close(again.log_prob, drawn.log_prob)
        torch.testing.assert_close(again.value, drawn.value)
        torch.testing.assert_close(again.centres, drawn.centres)
        assert again.log_prob.requires_grad and again.value.requires_grad


def test_a_differentiable_policy_hands_its_gradient_on(policy):
    if not isinstance(policy, DifferentiablePolicy):
        return
    (choice,) = (policy(observation) for observation in observations(policy))
    total = choice.centres.sum() + (choice.window_sizes.sum() if policy.sizes else 0)
    total.backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in policy.parameters())
