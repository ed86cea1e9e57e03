"""The value map: places and values by hand, and a map that learns where the square is from random patches."""

from __future__ import annotations

import pytest
import torch

from gfvideo.engine.checkpoint import check_weights
from gfvideo.engine.identity import check_exits, describe_model, weights_hash
from gfvideo.exits import Calibration, ExitsFileError
from gfvideo.models import Geometry, LooksTold, Observation, ValueMapPolicy, cell_centres
from gfvideo.models.policies.stem import GlanceStem
from gfvideo.models.policies.value_map import centres_at, coverage, refined, value_at
from gfvideo.ops import resize_frames
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

GEOMETRY = Geometry((40, 60), (12, 10))


def test_coverage_is_the_share_of_a_cells_pixels():
    centres = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(0)) * 0.9
    corners = (centres * torch.tensor([28.0, 50.0])).floor()
    centres = corners / torch.tensor([28.0, 50.0])  # at whole pixels
    found = coverage(centres, (4, 6), GEOMETRY)
    for b in range(2):
        for a in range(3):
            seen = torch.zeros(40, 60)
            y, x = corners[b, a].int().tolist()
            seen[y : y + 12, x : x + 10] = 1
            cells = seen.view(4, 10, 6, 10).mean((1, 3))
            torch.testing.assert_close(found[b, a], cells, atol=1e-4, rtol=0)


def test_values_are_read_where_the_patch_looks():
    values = torch.randn(2, 3, 4, 6)
    ys, xs = cell_centres((4, 6), GEOMETRY)
    for i in range(1, 3):
        for j in range(1, 5):  # cells at the edge are not the middle of any patch
            centre = torch.stack([ys[i], xs[j]]).expand(2, 3, 2)
            torch.testing.assert_close(value_at(values, centre, GEOMETRY), values[:, :, i, j])


def test_middles_and_centres_are_each_others_way_back():
    ys, xs = cell_centres((4, 6), GEOMETRY)
    places = torch.tensor([[(i + 0.5) / 4, (j + 0.5) / 6] for i in range(4) for j in range(6)])
    expected = torch.stack([ys.repeat_interleave(6), xs.repeat(4)], -1)
    torch.testing.assert_close(centres_at(places, GEOMETRY), expected)


def test_refining_stays_within_the_best_cell_and_never_goes_between_two():
    values = torch.zeros(1, 1, 5, 7)
    values[0, 0, 1, 1], values[0, 0, 3, 5] = 1.0, 0.99  # two places, one a little better
    cells = values.flatten(2).argmax(-1)
    torch.testing.assert_close(refined(values, cells)[0, 0], torch.tensor([1.5 / 5, 1.5 / 7]))
    values[0, 0, 1, 2] = 0.8  # its neighbour to the right pulls, half a cell at most
    y, x = refined(values, cells)[0, 0].tolist()
    assert y == pytest.approx(1.5 / 5) and 1.5 / 7 < x <= 2 / 7


def test_the_place_that_was_seen_is_not_looked_at_again():
    torch.manual_seed(0)
    policy = ValueMapPolicy(3, 9, hidden=8).eval()
    first = Observation(0, torch.randn(4, 2, 3, 8, 8), None, GEOMETRY, None, torch.randn(4, 2, 3, 32, 32))
    choice = policy(first)
    second = policy(Observation(1, torch.randn(4, 2, 9, 2, 2), choice.centres, GEOMETRY, choice.memory))
    apart = (choice.centres - second.centres).abs() * torch.tensor([28.0, 50.0])
    assert (apart > torch.tensor([12.0, 10.0]) / 3).any(-1).all()  # in pixels of the frame
    unchanged = ValueMapPolicy(3, 9, hidden=8, discount=0.0).eval()
    unchanged.load_state_dict(policy.state_dict())
    assert unchanged(first).centres.equal(choice.centres)


def test_draws_follow_the_promise():
    torch.manual_seed(0)
    policy = ValueMapPolicy(3, 9, hidden=8, temperature=0.02).eval()
    observation = Observation(
        0, torch.randn(1, 1, 3, 4, 6), None, GEOMETRY, None, torch.randn(1, 1, 3, 32, 48)
    )
    worth = policy.left(policy.valued(observation))[0, 0]
    weights = (worth / 0.02).flatten().softmax(0)
    many = observation._replace(
        feature_map=observation.feature_map.expand(4000, -1, -1, -1, -1),
        glance=observation.glance.expand(4000, -1, -1, -1, -1),
    )
    drawn = policy.draw(many).centres[:, 0]  # (4000, 2)
    middles = (drawn * torch.tensor([28.0, 50.0]) + torch.tensor([6.0, 5.0])) / torch.tensor([10.0, 10.0])
    best = int(weights.argmax())
    inside = ((middles[:, 0] - best // 6 - 0.5).abs() <= 0.55) & (
        (middles[:, 1] - best % 6 - 0.5).abs() <= 0.55
    )
    assert inside.float().mean() >= 0.8 * weights.max()


def test_places_are_chosen_by_one_of_the_three_values_or_the_sum_of_two():
    torch.manual_seed(0)
    observation = Observation(
        0, torch.randn(2, 3, 3, 8, 8), None, GEOMETRY, None, torch.randn(2, 3, 3, 32, 32)
    )
    policy = ValueMapPolicy(3, 9, hidden=8).eval()
    valued = policy.valued(observation)
    assert policy.promises(observation).equal(valued.change)
    worths = dict(
        change=valued.change, sum=valued.promise + valued.alone, gain=valued.promise, alone=valued.alone
    )
    for name, worth in worths.items():
        other = ValueMapPolicy(3, 9, hidden=8, chosen_by=name).eval()
        other.load_state_dict(policy.state_dict())
        torch.testing.assert_close(other.promises(observation), worth)
        assert other.described()['chosen_by'] == name


@pytest.mark.parametrize(
    'options',
    [dict(discount=1.5), dict(temperature=0.0), dict(scope='video'), dict(chosen_by='luck')],
)
def test_unknown_options(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        ValueMapPolicy(3, 9, **options)


@pytest.mark.parametrize(
    'by, options', [('change', {}), ('sum', {}), ('change', dict(stem_depth=4, stem_norm=True))]
)
def test_it_learns_where_a_look_pays_from_random_patches(by, options):
    """A bright square somewhere; what a patch is worth is how much of the square it holds."""
    torch.manual_seed(0)
    policy = ValueMapPolicy(4, 9, hidden=16, chosen_by=by, **options)
    geometry = Geometry((32, 32), (10, 10))
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)

    def squares(clips):
        frames, corners = torch.zeros(clips, 1, 3, 32, 32), torch.randint(0, 25, (clips, 1, 2))
        for b in range(clips):
            y, x = corners[b, 0].tolist()
            frames[b, 0, :, y : y + 8, x : x + 8] = 1
        glance = torch.nn.functional.avg_pool2d(frames[:, 0], 2)[:, None]
        observation = Observation(0, torch.zeros(clips, 1, 4, 8, 8), None, geometry, None, glance)
        return frames, corners, observation

    for _ in range(120):
        frames, corners, observation = squares(32)
        centres = torch.rand(32, 1, 2)
        first = (centres * 22).floor()
        overlap = (
            torch.minimum(first + 10, corners + 8.0) - torch.maximum(first, corners.float())
        ).clamp_min(0)
        worth = overlap.prod(-1)[None, None] / 64
        nothing = torch.zeros_like(worth)
        told = (nothing, nothing, 12 * worth) if by == 'change' else (worth, worth, nothing)
        loss = policy.value_loss([observation], LooksTold(centres[None, None], *told))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _, corners, observation = squares(200)
    with torch.no_grad():
        found = policy.eval()(observation).centres[:, 0] * 22 + 5
    hit = ((found - (corners[:, 0] + 4.0)).abs() < 4).all(-1).float().mean()
    assert hit > 0.9, hit


def build(policy, **options):
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
    settings = dict(
        type='GlanceFocusRecognizer',
        glance=encoder,
        focus=encoder,
        policy=policy,
        classifier=dict(type='ConcatClassifier'),
        num_classes=3,
        glance_size=16,
        patch_size=12,
        steps=2,
    )
    return MODELS.build(settings | options)


def test_a_recognizer_teaches_it_beside_the_encoders():
    model = build(dict(type='ValueMapPolicy', hidden=8)).train()
    frames, labels = torch.randn(4, 2, 3, 30, 40), torch.arange(4) % 3
    for centres in ('random', 'sample', 'mean', 'mixed'):
        model.train_centres = centres
        model.zero_grad()
        losses = model.losses(frames, labels)
        losses['loss_policy'].backward()
        assert all(value.grad is not None for value in model.policy.parameters())
        others = [value for name, value in model.named_parameters() if not name.startswith('policy.')]
        assert all(value.grad is None for value in others)
    model.policy.requires_grad_(False)
    assert 'loss_policy' not in model.losses(frames, labels)


def test_stages_that_cannot_teach_it_say_so():
    frames, labels = torch.randn(2, 2, 3, 30, 40), torch.arange(2)
    with pytest.raises(ValueError, match='with steps=0 there is no look to learn from'):
        build(dict(type='ValueMapPolicy', hidden=8), steps=0).train().losses(frames, labels)
    with pytest.raises(ValueError, match='the recognizer has steps=0 and never asks it'):
        build(dict(type='ValueMapPolicy', hidden=8), steps=0).train().rollout(frames, labels)
    with pytest.raises(ValueError, match='this stage is to train ValueMapPolicy, but it is frozen'):
        build(dict(type='ValueMapPolicy', hidden=8), frozen=('policy',)).train().rollout(frames, labels)
    with pytest.raises(ValueError, match=r"budgets\['steps'\]=\[0\] drew 0, and without a look"):
        build(dict(type='ValueMapPolicy', hidden=8), budgets=dict(steps=[0])).train().rollout(frames, labels)


def test_a_stage_of_its_own_teaches_it_what_the_encoders_stage_does():
    ENCODERS = 'glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head'
    model = build(dict(type='ValueMapPolicy', hidden=8), frozen=ENCODERS, value_looks=2).train()
    frames, labels = torch.randn(5, 2, 3, 30, 40), torch.arange(5) % 3
    torch.manual_seed(1)
    rollout = model(frames, [ClipSample(gt_label=int(label)) for label in labels], mode='rollout')
    torch.manual_seed(1)
    expected = model.losses(frames, labels)['loss_policy']
    expected.backward()
    wanted = {name: value.grad for name, value in model.policy.named_parameters()}
    model.zero_grad()
    losses = model(rollout, mode='policy_loss')
    losses['loss_policy'].backward()
    torch.testing.assert_close(losses['loss_policy'], expected)
    for name, value in model.policy.named_parameters():
        torch.testing.assert_close(value.grad, wanted[name])
    assert len(rollout) == 5 and rollout.told.centres.shape == (2, 3, 5, 2, 2)
    torch.testing.assert_close(losses['change_step2'], rollout.told.changes[1, 0].mean())

    # parts of whole clips: their losses, weighed by their clips, are that of all
    rows = torch.tensor([3, 0]), torch.tensor([1, 4, 2])
    parts = [model(rollout.select(some), mode='policy_loss')['loss_policy'] for some in rows]
    torch.testing.assert_close((2 * parts[0] + 3 * parts[1]) / 5, expected)
    alone = rollout.select(torch.tensor([3]))
    assert alone.observations[1].glance.equal(rollout.observations[1].glance[3:4])
    assert alone.told.changes.equal(rollout.told.changes[:, :, 3:4])


def test_mixed_centres_are_random_at_half_of_the_places():
    model = build(dict(type='CentrePolicy'), train_centres='mixed').train()
    frames = torch.randn(60, 5, 3, 30, 40)
    centres = model.choose(frames, model.glance(frames)).centres
    own = (centres == 0.5).all(-1).float().mean()
    assert 0.4 < own < 0.6 and centres.std() > 0.1
    with pytest.raises(ValueError, match="test_centres='mixed' is for training"):
        build(dict(type='CentrePolicy'), test_centres='mixed')


def test_maps_of_promises_lead_to_the_centres_that_are_taken():
    model = build(dict(type='ValueMapPolicy', hidden=8)).eval()
    frames = torch.rand(2, 4, 3, 40, 60)
    maps = model.promise_maps(frames)  # (B, S, T, h, w)
    states = model.looks(frames)
    assert maps.shape[:3] == (2, model.steps, 4)
    geometry = Geometry((40, 60), model.patch_size)
    for step, state in enumerate(states[1:]):
        best = refined(maps[:, step], maps[:, step].flatten(2).argmax(-1))
        torch.testing.assert_close(centres_at(best, geometry), state.centres)
    assert build(dict(type='CentrePolicy')).promise_maps(frames) is None
    assert build(dict(type='TopKPolicy', hidden=8)).eval().promise_maps(frames) is None  # has one map
    assert build(dict(type='TopKPolicy', hidden=8), steps=1).eval().promise_maps(frames).shape[:3] == (
        2,
        1,
        4,
    )


def test_exits_are_told_of_a_map_that_sees_frames_singly():
    by_time, singly = (build(dict(type='ValueMapPolicy', hidden=8, temporal=on)) for on in (True, False))
    exits = Calibration('steps', 'gmacs', (), {}, dict(model=describe_model(by_time)))
    singly.load_state_dict(by_time.state_dict())
    check_exits(exits, by_time, 'exits.json')
    with pytest.raises(ExitsFileError, match='fitted for another model .policy_settings'):
        check_exits(exits, singly, 'exits.json')


@torch.no_grad()
def test_maps_of_promises_beside_a_control_are_of_the_whole_frame():
    model = build(dict(type='ValueMapPolicy', hidden=8)).eval()
    frames = torch.rand(2, 4, 3, 40, 60)
    model.test_centres = 'centre'
    maps, states = model.promise_maps(frames), model.looks(frames)
    own = model.policy(model.observe(frames, states[0]))
    expected = model.policy.promises(model.observe(frames, states[1])._replace(memory=own.memory))
    torch.testing.assert_close(maps[:, 1], expected)


def test_weights_of_the_first_version_give_its_places():
    """It had no write-back, no shift in time, and read of other frames and of sureness nothing."""
    torch.manual_seed(0)
    singly = ValueMapPolicy(3, 9, hidden=8, write_back=False, temporal=False).eval()
    with torch.no_grad():
        singly.value[0].weight[:, 9:11] = 0  # places seen at other frames, sureness
        singly.value[2].weight[1], singly.value[2].bias[1] = 0, 0  # what a look tells by itself
    singly.chosen_by = 'sum'
    weights = {name.replace('stem.pixels.', 'stem.'): value for name, value in singly.state_dict().items()}
    weights['value.0.weight'] = weights['value.0.weight'][:, [*range(9), 11]]
    weights |= {name: weights[name][:1] for name in ('value.2.weight', 'value.2.bias')}
    policy = ValueMapPolicy(3, 9, shift='bidirectional', hidden=8).eval()
    check_weights(policy, weights, 'model.pth')  # what loads a checkpoint first looks whether it fits
    policy.load_state_dict(weights)
    again = ValueMapPolicy(3, 9, shift='bidirectional', hidden=8).eval()
    saved = policy.state_dict()
    check_weights(again, saved, 'model.pth')
    again.load_state_dict(saved)  # as one that was saved anew
    earlier = ValueMapPolicy(3, 9, shift='bidirectional', hidden=8).eval()
    earlier.load_state_dict({name: value for name, value in saved.items() if name != 'as_before'})
    assert [each.shift for each in (policy, again, earlier)] == [None] * 3
    glance, maps = torch.randn(4, 2, 3, 32, 32), torch.randn(4, 2, 3, 8, 8)
    observation = Observation(0, maps, None, GEOMETRY, None, glance, torch.randn(4, 2, 5))
    for _ in range(2):
        theirs, ours = singly(observation), policy(observation)
        torch.testing.assert_close(ours.centres, theirs.centres)
        assert again(observation).centres.equal(ours.centres) and earlier(observation).centres.equal(
            ours.centres
        )
        torch.testing.assert_close(ours.value, theirs.value)
        observation = Observation(
            1, torch.randn(4, 2, 9, 2, 2), ours.centres, GEOMETRY, ours.memory, glance, torch.randn(4, 2, 5)
        )


@pytest.mark.parametrize('by', ['change', 'sum', 'gain', 'alone'])
def test_weights_that_know_of_no_change_choose_as_they_did(by):
    torch.manual_seed(0)
    theirs = ValueMapPolicy(3, 9, hidden=8, chosen_by='sum' if by == 'change' else by).eval()
    weights = dict(theirs.state_dict())
    weights |= {name: weights[name][:2] for name in ('value.2.weight', 'value.2.bias')}
    policy = ValueMapPolicy(3, 9, hidden=8, chosen_by=by).eval()
    check_weights(policy, weights, 'model.pth')
    policy.load_state_dict(weights)
    assert policy.described()['chosen_by'] == theirs.chosen_by
    glance, maps = torch.randn(4, 2, 3, 32, 32), torch.randn(4, 2, 3, 8, 8)
    observation = Observation(0, maps, None, GEOMETRY, None, glance, torch.randn(4, 2, 5))
    assert policy(observation).centres.equal(theirs(observation).centres)
    assert not policy.valued(observation).change.any()
    again = ValueMapPolicy(3, 9, hidden=8, chosen_by=by).eval()
    again.load_state_dict(policy.state_dict())  # as one that was saved anew
    assert again(observation).centres.equal(theirs(observation).centres)


def test_how_earlier_weights_choose_outlives_training_and_saving():
    torch.manual_seed(0)
    theirs = ValueMapPolicy(3, 9, hidden=8, chosen_by='sum').eval()
    weights = dict(theirs.state_dict())
    weights |= {name: weights[name][:2] for name in ('value.2.weight', 'value.2.bias')}
    policy, fresh = ValueMapPolicy(3, 9, hidden=8), ValueMapPolicy(3, 9, hidden=8)
    assert 'as_before' not in policy.state_dict()
    policy.load_state_dict(weights)
    with torch.no_grad():
        policy.value[2].weight[2] += 1  # as a step of training does
    again = ValueMapPolicy(3, 9, hidden=8)
    saved = policy.state_dict()
    check_weights(again, saved, 'model.pth')
    again.load_state_dict(saved)
    assert policy.chosen_by == again.chosen_by == 'sum'
    told = {name: value for name, value in saved.items() if name != 'as_before'}
    assert weights_hash({f'policy.{name}': value for name, value in saved.items()}) == weights_hash(
        {f'policy.{name}': value for name, value in told.items()}
    )  # exits of these weights stay theirs
    again.load_state_dict(fresh.state_dict())  # weights of this version choose as the config says
    assert again.chosen_by == 'change' and 'as_before' not in again.state_dict()


@pytest.mark.parametrize('others', [0, 3])
@pytest.mark.parametrize('scope', ['frame', 'clip'])
def test_the_values_are_taught_what_the_looks_were_worth(scope, others, monkeypatch):
    """The loss against a loop over looks, clips and choices; of looks that were taken, and of others."""
    model = build(dict(type='ValueMapPolicy', hidden=8, scope=scope), value_looks=others).train()
    frames, labels = torch.rand(2, 4, 3, 40, 60), torch.tensor([2, 0])
    before, looks, choose = {}, {0: [], 1: []}, model.choose

    def watched(frames, state, *how):
        choice = choose(frames, state, *how)
        before.setdefault(state.step, state)
        looks[state.step].append(choice.centres)
        return choice

    monkeypatch.setattr(model, 'choose', watched)
    found = model.losses(frames, labels)['loss_policy']
    assert [len(looks[step]) for step in (0, 1)] == [1 + others] * 2

    def told(logits, b, a):  # probability of the true class, of a frame or of the clip
        chosen = logits[b, a] if scope == 'frame' else logits[b].mean(0)
        return chosen.softmax(-1)[labels[b]]

    losses, memory, geometry = [], None, Geometry((40, 60), model.patch_size)
    for step in (0, 1):
        valued = model.policy.valued(model.observe(frames, before[step])._replace(memory=memory))
        memory = valued.memory
        for centres in looks[step]:
            after = model.focus(frames, before[step], centres)
            own = model.focus_head(after.vector)
            for b in range(2):
                for a in range(memory.seen.shape[1]):
                    gain = told(after.logits, b, a) - told(before[step].logits, b, a)
                    moved = after.logits[b] - before[step].logits[b]  # (T, C)
                    moved = (moved[a] if scope == 'frame' else moved.mean(0)).pow(2).mean()
                    for values, target in (
                        (valued.promise, gain),
                        (valued.alone, told(own, b, a)),
                        (valued.change, moved / (moved + 9)),  # half of it at 3 units of a logit
                    ):
                        value = value_at(values, after.centres[:, : values.shape[1]], geometry)[b, a]
                        far = (value - target).abs()
                        losses.append(far - 0.125 if far > 0.25 else far**2 / 0.5)
    torch.testing.assert_close(found, 3 * torch.stack(losses).mean())
    assert len(torch.stack(looks[0]).unique(dim=0)) == 1 + others  # elsewhere each time


def test_other_looks_teach_the_map_alone():
    """What the encoders learn does not depend on them, and the map's stage takes them with frozen parts."""
    frames, labels = torch.rand(2, 4, 3, 40, 60), torch.tensor([2, 0])
    gradients = []
    for others in (0, 2):
        model = build(dict(type='ValueMapPolicy', hidden=8), value_looks=others).train()
        torch.manual_seed(1)
        losses = model.losses(frames, labels)
        sum(value for name, value in losses.items() if name.startswith('loss')).backward()
        parts = {name: part for name, part in model.parts().items() if name != 'policy'}
        gradients.append([p.grad for part in parts.values() for p in part.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    model = build(dict(type='ValueMapPolicy', hidden=8), value_looks=2, frozen=tuple(parts)).train()
    model.losses(frames, labels)['loss_policy'].backward()
    assert all(p.grad is None for part in parts for p in model.parts()[part].parameters())
    assert model.policy.value[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('policy', 'looks'), [(dict(type='ValueMapPolicy'), -1), (dict(type='CentrePolicy'), 2)]
)
def test_other_looks_are_for_a_policy_that_learns_values(policy, looks):
    with pytest.raises(ValueError, match=f'value_looks={looks}: give 0, or .*{policy["type"]}'):
        build(policy, value_looks=looks)


def test_a_deeper_stem_sees_further_at_the_same_stride():
    glance, maps = torch.zeros(1, 3, 64, 64), torch.zeros(1, 2, 16, 16)
    there = glance.clone()
    there[:, :, 32, 32] = 5
    reach = {}
    for depth in (2, 4):
        stem = GlanceStem(8, depth)
        changed = (stem(maps, there) - stem(maps, glance)).abs().amax(1)[0].amax(0) > 0  # columns of 16
        reach[depth] = int(changed.sum())
    assert reach[2] <= 2 < reach[4] <= 6
    with pytest.raises(ValueError, match='depth=1 of the stem must be 2 or more'):
        ValueMapPolicy(3, 9, stem_depth=1)


@pytest.mark.parametrize(
    'stride, depth, channels, strides',
    [
        (4, 2, [4, 8], [2, 2]),
        (4, 4, [4, 8, 8, 8], [2, 2, 1, 1]),
        (8, 3, [2, 4, 8], [2, 2, 2]),
        (8, 4, [2, 4, 8, 8], [2, 2, 2, 1]),
    ],
)
def test_the_first_convolutions_of_a_stem_make_its_stride(stride, depth, channels, strides):
    stem = GlanceStem(8, depth, stride=stride)
    layers = [layer for layer in stem.pixels if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == channels
    assert [layer.stride for layer in layers] == [(one, one) for one in strides]
    assert stem.pixels(torch.randn(1, 3, 64, 32)).shape == (1, 8, 64 // stride, 32 // stride)


@pytest.mark.parametrize('size', [(24, 40), (56, 24), (16, 8), (20, 36)])
def test_a_stem_comes_to_the_size_of_any_map(size):
    """As adaptive pooling does it, whether or not the map divides it."""
    torch.manual_seed(0)
    stem = GlanceStem(8, 3, stride=8).eval()
    glance, maps = torch.randn(2, 3, *size), torch.randn(2, 5, 4, 3)
    expected = torch.nn.functional.adaptive_avg_pool2d(stem.pixels(glance), (4, 3))
    found = stem(maps, glance)
    torch.testing.assert_close(found, torch.cat([maps, expected], 1))


def test_strides_that_no_stem_has():
    for stride in (2, 6, 0):
        with pytest.raises(
            ValueError, match=f'stride={stride} of the stem must be a power of two, 4 or more'
        ):
            ValueMapPolicy(3, 9, stem_stride=stride)
    with pytest.raises(ValueError, match='depth=2 of the stem must be 3 or more'):
        ValueMapPolicy(3, 9, stem_stride=8)
    with pytest.raises(ValueError, match='stem_size=0 must be positive'):
        ValueMapPolicy(3, 9, stem_size=0)


@pytest.mark.parametrize('size, wanted', [(None, (16, 16)), (24, (24, 24)), ((20, 28), (20, 28))])
def test_a_stem_reads_frames_of_its_own_size(size, wanted):
    """What the policy is given are the frames themselves, resized once, and not the glance enlarged."""
    torch.manual_seed(0)
    encoder = dict(
        type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='bidirectional', map_stride=4
    )
    model = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            num_classes=3,
            glance=encoder,
            focus=encoder,
            glance_size=16,
            patch_size=12,
            steps=1,
            classifier=dict(type='ConcatClassifier'),
            policy=dict(type='ValueMapPolicy', hidden=8, stem_size=size, stem_stride=8, stem_depth=3),
        )
    ).eval()
    frames = torch.randn(2, 3, 3, 40, 56)
    state = model.glance(frames)
    assert state.glance.shape == (2, 3, 3, *wanted)
    expected = resize_frames(frames, wanted, model.glance_resize)
    torch.testing.assert_close(state.glance, expected)
    assert model.described()['policy_settings'].get('stem_size') == (None if size is None else list(wanted))
    faint = frames.clone()
    faint[:, :, :, 20, 28] += 3  # of one pixel, which the small glance hardly shows
    other = model.policy.promises(model.observe(faint, model.glance(faint)))
    assert not torch.equal(other, model.policy.promises(model.observe(frames, state)))


def test_a_normalized_stem_learns_alike_from_faint_glances_and_reads_each_frame_by_itself():
    torch.manual_seed(0)
    glance, maps = torch.randn(6, 3, 32, 32), torch.zeros(6, 2, 8, 8)
    plain, normed = GlanceStem(8, 3), GlanceStem(8, 3, norm=True)
    for stem in (plain, normed):
        assert sum(isinstance(layer, torch.nn.Conv2d) for layer in stem.pixels) == 3
    convolutions = [n for n, layer in enumerate(normed.pixels) if isinstance(layer, torch.nn.Conv2d)]
    for n, name in zip(convolutions, ('0', '2', '4')):  # the names that weights of before have
        assert plain.state_dict()[f'pixels.{name}.weight'].shape == normed.pixels[n].weight.shape
    first = torch.nn.Sequential(*list(normed.pixels)[:2])(glance)
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(first.var((0, 2, 3), unbiased=False), torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(normed(maps, 0.1 * glance), normed(maps, glance), atol=0.02, rtol=0.02)
    normed.eval()
    torch.testing.assert_close(normed(maps, glance)[2:3], normed(maps[2:3], glance[2:3]))
