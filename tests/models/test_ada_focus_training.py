"""How the AdaFocus family trains: every term against a slow reference, which way gradients go, controls, and
settings that would leave a part as it is."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gfvideo.models.ada_focus import AdaFocusRecognizer
from gfvideo.models.policies import Choice, Observation, Policy
from gfvideo.registry import MODELS

P, SIDES, FRAME = 16, (12, 30), (36, 40)
LABELS = torch.tensor([3, 0, 4])
KINDS = ('stacked', 'deformable')


def build(kind: str = 'stacked', **options) -> AdaFocusRecognizer:
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='bidirectional')
    own = dict(policy=dict(type='StackedMapPolicy', reduced=4, hidden=(8, 8)))
    if kind == 'deformable':
        own = dict(
            policy=dict(type='DeformablePolicy', hidden=8, side_range=SIDES),
            frame_policy=dict(type='FramePolicy', hidden=8),
            focus_frames=3,
        )
    settings = dict(
        type='AdaFocusRecognizer',
        num_classes=5,
        glance=encoder,
        focus=encoder,
        patch_size=P,
        glance_size=32,
        glance_frames=4,
        dropout=0.0,
    )
    model = MODELS.build(settings | own | options).eval()
    for layer in (model.glance_head, model.focus_head, *model.classifier.values()):
        torch.nn.init.normal_(layer.weight)  # logits far apart, so that no term hides behind another
    return model


def frames() -> Tensor:
    return torch.randn(3, 6, 3, *FRAME, generator=torch.Generator().manual_seed(1))


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(value for name, value in losses.items() if name.startswith('loss'))


# --------------------------------------------------------------------------------------------- slow reference


def sampled(image: Tensor, y: float, x: float) -> Tensor:
    """Of an image ``(C, H, W)`` at a place in pixels, from its four neighbours; nothing beyond the edge."""
    top, left = math.floor(y), math.floor(x)
    value = image.new_zeros(len(image))
    for row, across in ((top, 1 - (y - top)), (top + 1, y - top)):
        for col, along in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < image.shape[1] and 0 <= col < image.shape[2]:
                value += across * along * image[:, row, col]
    return value


def cut(image: Tensor, centre: list[float], sides: list[float], cells: tuple[int, int]) -> Tensor:
    """The window of an image ``(C, H, W)`` as ``(C, *cells)``."""
    places = []
    for axis in (0, 1):
        corner = centre[axis] * (image.shape[1 + axis] - sides[axis])
        places.append([corner + (i + 0.5) / cells[axis] * sides[axis] - 0.5 for i in range(cells[axis])])
    return torch.stack([torch.stack([sampled(image, y, x) for x in places[1]], -1) for y in places[0]], 1)


def cross_entropy(logits: Tensor, label: int) -> float:
    values = logits.tolist()
    return math.log(sum(math.exp(value) for value in values)) - values[label]


@torch.no_grad()
def reference(
    model: AdaFocusRecognizer, clips: Tensor, centres: dict[str, Tensor | None]
) -> dict[str, float]:
    """The terms unweighted, clip by clip, at the windows that ``centres`` ``(B, 2)`` names; None for the
    policy's. In evaluation mode, where clips do not see each other."""
    terms: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        terms.setdefault(name, []).append(value)

    for b, (clip, label) in enumerate(zip(clips, LABELS.tolist())):
        glance = F.interpolate(clip[[0, 2, 3, 5]], (32, 32), mode='bilinear', antialias=True)
        seen = model.glance_encoder(glance[None])
        choice = model.choose(clip[None], model.glance(clip[None]), 'mean')
        note('loss_glance_head', cross_entropy(model.glance_head(seen.vector)[0].mean(0), label))
        picked = list(range(6))
        sides = [float(P), float(P)]
        if model.policy.sizes:
            sides = choice.window_sizes[0, 0].tolist()
            picked = model.focus(clip[None], model.glance(clip[None])).frame_indices[0].tolist()
            h, w = seen.map.shape[-2:]
            cells = max(1, P * h // FRAME[0]), max(1, P * w // FRAME[1])
            in_cells = [sides[0] * h / FRAME[0], sides[1] * w / FRAME[1]]
            inside = [cut(one, choice.centres[0, 0].tolist(), in_cells, cells) for one in seen.map[0]]
            mean = torch.stack([one.mean((1, 2)) for one in inside]).mean(0)
            note('loss_window_policy', cross_entropy(model.window_head(mean), label))
            shares = [(side - SIDES[0]) / (SIDES[1] - SIDES[0]) for side in sides]
            note('loss_window_size', sum((share - 1) ** 2 for share in shares) / 2)
            weights = model.frame_policy(seen.vector)[0].tolist()
            logits = model.glance_head(seen.vector)[0]  # of four frames one is drawn
            expected = sum(weight * frame for weight, frame in zip(weights, logits))
            note('loss_frame_policy', cross_entropy(expected, label))
        for name, given in centres.items():
            centre = choice.centres[0, 0].tolist() if given is None else given[b].tolist()
            size = sides if given is None else [float(P), float(P)]
            patches = torch.stack([cut(clip[t], centre, size, (P, P)) for t in picked])
            vector = model.focus_encoder(patches[None]).vector[0]
            note(f'loss_{name}_head', cross_entropy(model.focus_head(vector).mean(0), label))
            answer = model.classifier['focus'](vector).mean(0) + model.classifier['glance'](
                seen.vector[0]
            ).mean(0)
            note(f'loss_{name}_window', cross_entropy(answer, label))
    return {name: sum(values) / len(values) for name, values in terms.items()}


WINDOWS = dict(mixed=('policy', 'random'), mean=('policy',), random=('random',), centre=('centre',))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('train_centres', WINDOWS)
def test_every_term_is_that_of_the_slow_reference(kind, train_centres):
    weights = dict(answer=0.7, glance_head=1.3, focus_head=0.9)
    if kind == 'deformable':
        weights |= dict(window_policy=1.7, frame_policy=0.4, window_size=0.25)
    model = build(kind, train_centres=train_centres, loss_weights=weights)
    torch.manual_seed(5)
    at_random = torch.rand(3, 1, 2)[:, 0]
    given = dict(policy=None, random=at_random, centre=torch.full((3, 2), 0.5))
    expected = reference(model, frames(), {name: given[name] for name in WINDOWS[train_centres]})
    torch.manual_seed(5)
    with torch.no_grad():
        losses = model.losses(frames(), LABELS)
    each = 1 / len(WINDOWS[train_centres])
    scale = dict(
        loss_glance_head=1.3, loss_window_policy=1.7, loss_frame_policy=0.4, loss_window_size=0.25
    ) | {
        f'loss_{name}_{term}': each * weight
        for name in WINDOWS[train_centres]
        for term, weight in (('window', 0.7), ('head', 0.9))
    }
    told = {name: value.item() for name, value in losses.items() if name.startswith('loss')}
    assert told == pytest.approx({name: scale[name] * value for name, value in expected.items()}, rel=2e-4)
    assert set(losses) - set(told) == {'acc_step0', 'acc_step1'}


@pytest.mark.parametrize('kind', KINDS)
def test_the_published_weights_are_the_defaults(kind):
    plain = dict(answer=1.0, glance_head=1.0, focus_head=1.0)
    if kind == 'deformable':
        plain |= dict(window_policy=1.0, frame_policy=1.0, window_size=0.5)
    assert build(kind).loss_weights == plain
    assert build(kind, loss_weights=dict(answer=2)).loss_weights == plain | dict(answer=2.0)


def test_size_penalty():
    policy = build('deformable').policy
    assert policy.size_penalty(torch.tensor([[30.0, 30.0]])) == 0
    assert policy.size_penalty(torch.tensor([[12.0, 12.0]])) == 1
    assert policy.size_penalty(torch.tensor([[21.0, 30.0], [30.0, 12.0]])).item() == pytest.approx(1.25 / 4)


@pytest.mark.parametrize('kind', KINDS)
def test_which_clips_are_normalised_together(kind):
    """Uni-AdaFocus reads both windows in one batch, AdaFocus V2 in two."""
    model, batches = build(kind).train(), []
    model.focus_encoder.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    model.losses(frames(), LABELS)
    assert batches == ([6] if kind == 'deformable' else [3, 3])


# ------------------------------------------------------------------------------------- which way gradients go


@pytest.mark.parametrize('kind', KINDS)
def test_patches_carry_a_gradient_in_adafocus_v2_alone(kind):
    model, carried = build(kind).train(), []
    model.focus_encoder.register_forward_pre_hook(lambda _, given: carried.append(given[0].requires_grad))
    model.losses(frames(), LABELS)
    assert carried == (
        [False] if kind == 'deformable' else [True, False]
    )  # the policy's window, the random one


@pytest.mark.parametrize('kind', KINDS)
def test_the_policys_gradient_is_the_slope_of_the_terms_that_teach_it(kind):
    """The whole loss gives the policy the slope of those terms alone, measured by moving its weights."""
    model = build(kind).double()
    clips, taught = frames().double(), ('loss_policy_head',)
    if kind == 'deformable':
        taught = ('loss_window_policy', 'loss_window_size')
    last = model.policy.actor[6] if kind == 'stacked' else model.policy.actor
    direction = torch.randn(last.weight.shape, generator=torch.Generator().manual_seed(2)).double()
    torch.manual_seed(5)
    total(model.losses(clips, LABELS)).backward()
    slope = (last.weight.grad * direction).sum().item()
    values = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            last.weight += step * direction
            torch.manual_seed(5)
            losses = model.losses(clips, LABELS)
            last.weight -= step * direction
        values.append(sum(losses[name].item() for name in taught))
    assert abs(slope) > 1e-4
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3)


def test_the_frame_policys_gradient_is_the_slope_of_its_term():
    model = build('deformable').double()
    clips, last = frames().double(), model.frame_policy.encoder[6]
    total(model.losses(clips, LABELS)).backward()
    direction = torch.randn(last.weight.shape, generator=torch.Generator().manual_seed(2)).double()
    values = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            last.weight += step * direction
            values.append(model.losses(clips, LABELS)['loss_frame_policy'].item())
            last.weight -= step * direction
    slope = (last.weight.grad * direction).sum().item()
    assert abs(slope) > 1e-5 and slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_policies_stay_out_of_mixed_precision(kind):
    model = build(kind).train()
    dtypes, parts = {}, dict(policy=model.policy.actor)
    if kind == 'deformable':
        parts |= dict(frame_policy=model.frame_policy.encoder, window_head=model.window_head)
    for name, part in (parts | dict(focus_encoder=model.focus_head)).items():
        part.register_forward_hook(lambda _, given, made, name=name: dtypes.update({name: made.dtype}))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.losses(frames(), LABELS)
    assert dtypes.pop('focus_encoder') == torch.bfloat16  # where autocast is on
    assert dtypes == dict.fromkeys(parts, torch.float32)
    total(losses).backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters()
    )


# ------------------------------------------------------------------------------------- controls, frozen parts


@pytest.mark.parametrize('kind', KINDS)
def test_controls_at_test(kind):
    clips = frames()
    with torch.no_grad():
        own = build(kind).predict_steps(clips)
        assert torch.equal(
            build(kind, train_centres='centre').predict_steps(clips).step_logits, own.step_logits
        )
        model = build(kind, test_centres='centre')
        prediction = model.predict_steps(clips)
        given = model.focus(clips, model.glance(clips), torch.full((3, 1, 2), 0.5))
        torch.testing.assert_close(prediction.step_logits[:, 1], given.logits.mean(1))
        assert prediction.window_sizes is None and not model.draws
        assert not torch.allclose(prediction.step_logits[:, 1], own.step_logits[:, 1])
        model = build(kind, test_centres='random')
        assert model.draws
        torch.manual_seed(5)
        places = torch.rand(3, 1, 2)
        torch.manual_seed(5)
        centres = model.predict_steps(clips).centres
    focused = centres.isfinite().all(-1)
    assert torch.equal(centres[focused], places[:, :, None].expand(3, 1, 6, 2)[focused])


def test_the_control_at_test_belongs_to_what_is_described():
    assert 'test_centres' not in build().described()
    assert build(test_centres='centre').described()['test_centres'] == 'centre'


@pytest.mark.parametrize('kind', KINDS)
def test_a_step_leaves_frozen_parts_alone(kind):
    frozen = ('glance_encoder', 'policy')
    model = build(kind, frozen=frozen).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    total(model.losses(frames(), LABELS)).backward()
    optimizer.step()
    still = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    held = {name for name in before if name.startswith(tuple(f'{part}.' for part in frozen))}
    assert held <= still  # weights and statistics
    assert not any(name.startswith(('focus_encoder.', 'focus_head.', 'classifier.')) for name in still)


@pytest.mark.parametrize(
    'options',
    [
        dict(train_centres='random', frozen=('policy',)),
        dict(train_centres='centre', frozen=('policy',)),
        dict(train_centres='mean', frozen=('policy',)),
        dict(loss_weights=dict(answer=0), frozen=('classifier',)),
    ],
)
@pytest.mark.parametrize('kind', KINDS)
def test_what_is_not_frozen_gets_a_gradient(kind, options):
    model = build(kind, **options).train()
    total(model.losses(frames(), LABELS)).backward()
    without = {name.split('.')[0] for name, one in model.named_parameters() if one.grad is None}
    assert without == set(options['frozen'])


def test_a_deformable_policy_learns_beside_a_control():
    model = build('deformable', train_centres='centre').train()
    losses = model.losses(frames(), LABELS)
    assert {'loss_centre_head', 'loss_window_policy', 'loss_window_size'} < set(losses)
    total(losses).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.policy.parameters())


# ------------------------------------------------------------------------------------------- hostile settings


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        (
            dict(train_centres='middle'),
            "train_centres='middle' is unknown; choose 'mixed', 'mean', 'random' or",
        ),
        (dict(test_centres='mixed'), "test_centres='mixed' is unknown; choose 'mean', 'random' or 'centre'"),
        (dict(frozen=('focus_net',)), 'names unknown parts; choose of .*focus_encoder'),
        (dict(frozen=('window_head',)), 'names unknown parts'),
        (dict(loss_weights=dict(local=1.0)), r"loss_weights\['local'\]=1.0 weighs no term .* focus_head"),
        (dict(loss_weights=dict(window_size=0.5)), r"loss_weights\['window_size'\]=0.5 weighs no term"),
        (dict(loss_weights=dict(frame_policy=1)), r"loss_weights\['frame_policy'\]=1 weighs no term"),
        (dict(loss_weights=dict(answer=-1.0)), r"loss_weights\['answer'\]=-1.0 must be finite and not neg"),
        (dict(loss_weights=dict(answer=float('inf'))), 'must be finite'),
        (dict(loss_weights=dict(answer=float('nan'))), 'must be finite'),
        (dict(loss_weights=dict(answer='1')), r"loss_weights\['answer'\]='1' must be a number"),
        (dict(loss_weights=dict(answer=True)), 'must be a number'),
        (
            dict(policy=dict(type='CentrePolicy')),
            "CentrePolicy has scope='frame', and AdaFocus cuts one window",
        ),
    ],
)
def test_settings_that_mean_nothing(options, told):
    with pytest.raises(ValueError, match=told):
        build(**options)


class Aimless(Policy):
    """Has weights, and gives no gradient to them."""

    def __init__(self):
        super().__init__('clip')
        self.aim = torch.nn.Parameter(torch.zeros(2))

    def forward(self, observation: Observation) -> Choice:
        return Choice(self.for_frames(self.aim.sigmoid().detach(), observation))


@pytest.mark.parametrize(
    ('kind', 'options', 'told'),
    [
        ('stacked', dict(train_centres='random'), "policy has .* train_centres='random' never asks it"),
        (
            'stacked',
            dict(train_centres='centre'),
            "never asks it; .*or freeze it: model.frozen=\\('policy',\\)",
        ),
        (
            'stacked',
            dict(loss_weights=dict(glance_head=0)),
            "glance_encoder has .*'glance_head'.*=0 leaves out",
        ),
        (
            'stacked',
            dict(loss_weights=dict(focus_head=0), frozen=('focus_encoder', 'focus_head')),
            'policy has',
        ),
        ('stacked', dict(loss_weights=dict(answer=0)), 'classifier has parameters'),
        (
            'deformable',
            dict(loss_weights=dict(window_policy=0)),
            "policy has .*'window_policy'.*=0 leaves out",
        ),
        ('deformable', dict(loss_weights=dict(frame_policy=0)), 'frame_policy has parameters'),
        (
            'stacked',
            dict(policy=dict(type=Aimless)),
            'Aimless is no DifferentiablePolicy; choose one, or freeze',
        ),
    ],
)
def test_parts_that_would_stay_as_they_are(kind, options, told):
    model = build(kind, **options).train()
    with pytest.raises(ValueError, match=told):
        model.losses(frames(), LABELS)


def test_a_batch_of_one_cannot_be_normalised():
    model = build().train()
    with pytest.raises(ValueError, match='got 1 to learn from; train with a batch_size of 2 or more'):
        model.losses(frames()[:1], LABELS[:1])
    build(frozen=('policy',)).train().losses(frames()[:1], LABELS[:1])
