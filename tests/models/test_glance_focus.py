"""The recognizer: its contract, the lattice of looks both ways, its losses, and a policy that must learn to
look at a bright square."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from gfvideo.models import GlanceFocusRecognizer
from gfvideo.models.losses import supervised_loss
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample, LookState

ENCODERS = ('glance_encoder', 'focus_encoder', 'classifier', 'glance_head', 'focus_head')


def build(
    shift='bidirectional', scope='frame', classifier='RecurrentClassifier', steps=2, policy=None, **options
) -> GlanceFocusRecognizer:
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift, map_stride=4)
    head = (
        dict(type='ConcatClassifier')
        if classifier == 'ConcatClassifier'
        else dict(type='RecurrentClassifier', hidden=16)
    )
    return MODELS.build(
        {
            **dict(
                type='GlanceFocusRecognizer',
                glance=encoder,
                focus=encoder,
                classifier=head,
                num_classes=5,
                glance_size=16,
                patch_size=(12, 16),
                steps=steps,
                policy=policy or dict(type='RecurrentGaussianPolicy', scope=scope, hidden=16, reduced=4),
            ),
            **options,
        }
    ).eval()


def samples(labels):
    return [ClipSample(gt_label=torch.as_tensor(label)) for label in labels]


def assert_same(one, other, atol=1e-5):
    assert torch.allclose(one, other, atol=atol), (one - other).abs().max()


@pytest.mark.parametrize('classifier', ['RecurrentClassifier', 'ConcatClassifier'])
@pytest.mark.parametrize('scope', ['frame', 'clip'])
def test_looks(classifier, scope):
    model, frames = build(scope=scope, classifier=classifier), torch.randn(2, 4, 3, 30, 40)
    with torch.no_grad():
        states = model.looks(frames)
    assert [state.step for state in states] == [0, 1, 2]
    assert states[0].centres is None and states[2].centres.shape == (2, 4, 2)
    assert all(state.logits.shape == (2, 4, 5) for state in states)
    if scope == 'clip':
        assert (states[1].centres == states[1].centres[:, :1]).all()
    assert_same(model(frames, mode='tensor'), states[2].logits.mean(1))


def test_any_number_of_frames_and_no_state_between_calls():
    model = build()
    first, second = torch.randn(1, 3, 3, 30, 40), torch.randn(2, 7, 3, 30, 40)
    with torch.no_grad():
        alone = model(first)
        model(second)
        assert torch.equal(model(first), alone)


def test_select_keeps_what_the_rest_of_the_batch_would_have_had():
    model, frames = build(), torch.randn(4, 3, 3, 30, 40)
    with torch.no_grad():
        whole = model.looks(frames)
        for rows in (torch.tensor([3, 1]), torch.tensor([False, True, False, True]), slice(1, 3)):
            state = whole[0].select(rows)
            assert isinstance(state, LookState)
            for step in (1, 2):
                state = model.focus(frames[rows], state)
                assert_same(state.logits, whole[step].logits[rows])
                assert_same(state.centres, whole[step].centres[rows])


def test_frame_by_frame_equals_step_by_step():
    """The causal lattice walked both ways (logits, centres)."""
    model, frames = build(shift='causal'), torch.randn(2, 6, 3, 30, 40)
    with torch.no_grad():
        offline, cache = model.looks(frames), ()
        for t in range(6):
            frame = frames[:, t : t + 1]
            state = model.glance(frame, cache)
            assert_same(state.logits[:, 0], offline[0].logits[:, t])
            for step in (1, 2):
                state = model.focus(frame, state)
                assert_same(state.logits[:, 0], offline[step].logits[:, t])
                assert_same(state.centres[:, 0], offline[step].centres[:, t])
            cache = state.cache


def test_a_frame_that_skips_a_step_leaves_that_steps_cache_alone():
    model, frames = build(shift='causal', steps=1), torch.randn(1, 3, 3, 30, 40)
    with torch.no_grad():
        first = model.focus(frames[:, :1], model.glance(frames[:, :1]))
        skipped = model.glance(frames[:, 1:2], first.cache)
        assert skipped.cache[1] is first.cache[1] and skipped.cache[0] is not first.cache[0]
        third = model.glance(frames[:, 2:], skipped.cache)
        centres = torch.full((1, 1, 2), 0.3)
        seen = model.focus(frames[:, 2:], third, centres).vector
        # the focus encoder reads frames 0 and 2 as neighbours
        patches = torch.stack([frames[:, 0, :, :, :], frames[:, 2]], 1)
        both = torch.cat([first.centres, centres], 1)
        from gfvideo.ops import crop_patches

        assert_same(
            seen[:, 0], model.focus_encoder(crop_patches(patches, both, model.patch_size)).vector[:, 1]
        )


def test_a_later_frame_changes_nothing_before_it():
    model, frames = build(shift='causal'), torch.randn(1, 5, 3, 30, 40)
    changed = frames.clone()
    changed[:, 3:] += 1
    with torch.no_grad():
        for one, other in zip(model.looks(frames), model.looks(changed)):
            assert torch.equal(one.logits[:, :3], other.logits[:, :3])


def test_losses_by_hand():
    model, frames, labels = build(aux_weight=0.5), torch.randn(2, 3, 3, 30, 40), torch.tensor([1, 4])
    model.train_centres = model.test_centres = 'centre'
    with torch.no_grad():
        results = model(frames, samples([1, 4]), mode='loss')
        for state in model.looks(frames):
            head = model.glance_head if state.step == 0 else model.focus_head
            assert_same(results[f'loss_step{state.step}'], F.cross_entropy(state.logits.mean(1), labels) / 3)
            assert_same(
                results[f'loss_aux_step{state.step}'],
                0.5 * F.cross_entropy(head(state.vector).mean(1), labels) / 3,
            )
            assert (
                results[f'acc_step{state.step}'] == (state.logits.mean(1).argmax(1) == labels).float().mean()
            )


def test_predict_and_views():
    model, views = build(), torch.randn(2, 3, 4, 3, 30, 40)
    with torch.no_grad():
        predicted = model(views, mode='predict')
        each = [model(views[:, v], mode='predict') for v in range(3)]
    for i, sample in enumerate(predicted):
        mean = torch.stack([clips[i].step_logits.softmax(-1) for clips in each]).mean(0)
        assert_same(sample.step_logits.exp(), mean)
        assert sample.centres.shape == (3, 2, 4, 2) and torch.equal(sample.logits, sample.step_logits[-1])


@pytest.mark.parametrize('centres', ['random', 'centre', 'sample', 'mean'])
def test_centres_have_a_name(centres):
    model, frames = build(test_centres=centres), torch.randn(2, 3, 3, 30, 40)
    with torch.no_grad():
        one, other = model.looks(frames)[1].centres, model.looks(frames)[1].centres
    assert torch.equal(one, other) == (centres in ('centre', 'mean'))
    assert (centres == 'centre') == bool((one == 0.5).all())


@pytest.mark.parametrize('frozen', [('policy',), ENCODERS])
def test_frozen_parts_keep_parameters_and_buffers(frozen):
    model = build(frozen=frozen).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    frames = torch.randn(2, 3, 3, 30, 40)
    if frozen == ('policy',):
        losses = model(frames, samples([0, 1]), mode='loss')
    else:
        losses = model(model(frames, samples([0, 1]), mode='rollout'), mode='policy_loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not [name for name in changed if name.split('.')[0] in frozen]


@pytest.mark.parametrize('scope', ['frame', 'clip'])
@pytest.mark.parametrize('reward', ['prob', 'log_prob', 'contrast'])
def test_rollout(reward, scope):
    model, frames = build(reward=reward, scope=scope, frozen=ENCODERS), torch.randn(4, 3, 3, 30, 40)
    labels = torch.tensor([0, 1, 2, 3])
    rollout = model(frames, samples(labels), mode='rollout')
    rows = 3 if scope == 'frame' else 1
    assert len(rollout) == 4 and rollout.rewards.shape == rollout.log_probs.shape == (4, 2, rows)
    if reward != 'contrast':  # replay the looks at the same centres
        with torch.no_grad():
            states = [model.glance(frames)]
            for step in range(2):
                states.append(model.focus(frames, states[-1], rollout.centres[:, step]))
        logits = [
            state.logits if scope == 'frame' else state.logits.mean(1, keepdim=True) for state in states
        ]
        p = torch.stack([x.softmax(-1)[range(4), :, labels] for x in logits])  # (S+1, B, A)
        expected = p[1:] - p[:-1] if reward == 'prob' else p[1:].log() - p[:-1].log()
        assert_same(rollout.rewards, expected.transpose(0, 1))
    unchanged = model(rollout, mode='policy_loss')
    assert unchanged['approx_kl'].abs() < 1e-6 and unchanged['clip_fraction'] == 0
    assert len(rollout.select(torch.tensor([2, 0]))) == 2
    assert torch.equal(rollout.select(torch.tensor([2, 0])).actions, rollout.actions[[2, 0]])


def test_unknown_options():
    with pytest.raises(ValueError, match='frozen'):
        build(frozen=('encoder',))
    with pytest.raises(ValueError, match='test_centres'):
        build(test_centres='policy')
    with pytest.raises(ValueError, match='scope'):
        build(shift='causal', scope='clip')
    with pytest.raises(ValueError, match='epsilon'):
        build(ppo=dict(epsilon=0.1))
    with pytest.raises(ValueError, match='larger than the frame'):
        build()(torch.randn(1, 2, 3, 8, 8))
    with pytest.raises(ValueError, match='5 classes'):
        build()(torch.randn(1, 2, 3, 30, 40), samples([5]), mode='loss')
    with pytest.raises(ValueError, match='gt_label'):
        build()(torch.randn(1, 2, 3, 30, 40), [ClipSample()], mode='loss')


@pytest.mark.parametrize('resize', ['antialiased', 'bilinear', 'bicubic'])
def test_glance_resize(resize):
    model, frames = build(glance_resize=resize, shift=None), torch.randn(2, 3, 3, 30, 40)
    small = []
    for frame in frames.flatten(0, 1):
        if resize == 'antialiased':
            small.append(F.interpolate(frame[None], (16, 16), mode='bilinear', antialias=True)[0])
        else:
            small.append(F.interpolate(frame[None], (16, 16), mode=resize, align_corners=True)[0])
    small = torch.stack(small).unflatten(0, (2, 3))
    if resize != 'antialiased':  # with corners aligned they are the corners of the frame
        assert_same(small[..., [0, -1], :][..., [0, -1]], frames[..., [0, -1], :][..., [0, -1]])
    with torch.no_grad():
        assert_same(model.glance(frames).vector, model.glance_encoder(small).vector)
        same_size = torch.randn(1, 2, 3, 16, 16)
        assert torch.equal(model.glance(same_size).vector, model.glance_encoder(same_size).vector)


def test_glance_resize_unknown():
    with pytest.raises(ValueError, match="resize='nearest' is unknown"):
        build(glance_resize='nearest').glance(torch.randn(1, 2, 3, 30, 40))


def test_the_published_recognizer_learns():
    """Glance answered alone, one reader for all looks, two linear layers to read: gradients reach all of it
    in their stages."""
    model = build(
        patch_size=16,
        classifier='RecurrentClassifier',
        policy=dict(
            type='RecurrentGaussianPolicy',
            actor='linear',
            reader='flat',
            share_reader=True,
            critic_layers=1,
            hidden=16,
            std=(0.1, 0.1),
        ),
        frozen=('policy',),
    )
    model.classifier = MODELS.build(
        dict(
            type='RecurrentClassifier',
            glance_channels=model.glance_encoder.channels,
            num_classes=5,
            steps=2,
            focus_channels=model.focus_encoder.channels,
            hidden=16,
            glance_fc=True,
        )
    )
    model.train()
    frames = torch.randn(2, 3, 3, 30, 40)
    losses = model(frames, samples([0, 1]), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert all(
        parameter.grad is not None
        for name, parameter in model.named_parameters()
        if not name.startswith('policy.')
    )
    model.policy.requires_grad_(True)
    losses = model(model(frames, samples([0, 1]), mode='rollout'), mode='policy_loss')
    (losses['loss_policy'] + losses['loss_value']).backward()
    assert all(parameter.grad is not None for parameter in model.policy.parameters())


def bright_squares(generator, clips, T=2, size=24, side=6):
    """Black frames with one bright square each, and the square's centre in the coordinates of patches of 8
    pixels."""
    frames = torch.zeros(clips, T, 3, size, size)
    corners = torch.randint(0, size - side + 1, (clips, T, 2), generator=generator)
    for b in range(clips):
        for t in range(T):
            y, x = corners[b, t]
            frames[b, t, :, y : y + side, x : x + side] = 1
    return frames, ((corners + side / 2 - 4) / (size - 8)).clamp(0, 1)


class Brightness(torch.nn.Module):
    """In the focus encoder's place: it finds class 1 in what a patch holds of the square, so only looking at
    the square pays."""

    def __init__(self, encoder):
        super().__init__()
        self.channels, self.map_channels, self.shift, self.encoder = (
            encoder.channels,
            encoder.map_channels,
            None,
            encoder,
        )

    def forward(self, frames, cache=None):
        features = self.encoder(frames)
        return features._replace(vector=frames.mean((2, 3, 4))[..., None].expand_as(features.vector))


@pytest.mark.parametrize('actor', ['attention', 'linear'])
def test_policy_learns_to_look_at_the_square(actor):
    """PPO from reward alone; a random patch holds a third of the square on average, the learned one nearly
    all of it."""
    model = build(
        shift=None,
        classifier='ConcatClassifier',
        steps=1,
        patch_size=8,
        glance_size=24,
        frozen=ENCODERS,
        policy=dict(type='RecurrentGaussianPolicy', actor=actor, hidden=32, reduced=8, std=(0.3, 0.1)),
        ppo=dict(gamma=0.5, lam=0.84),
    )
    model.focus_encoder = Brightness(model.focus_encoder)
    with torch.no_grad():
        for layer in model.classifier.fc:
            layer.weight.zero_()
        model.classifier.fc[1].weight[1, -model.focus_encoder.channels :] = 8 / model.focus_encoder.channels
    generator, labels = torch.Generator().manual_seed(1), samples([1] * 32)
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=3e-3)
    model.train()

    def distance(frames, places):
        with torch.no_grad():
            return (
                (model.choose(frames, model.glance(frames), 'mean').centres - places)
                .norm(dim=-1)
                .mean()
                .item()
            )

    test_frames, test_places = bright_squares(torch.Generator().manual_seed(2), 64)
    before, updates = distance(test_frames, test_places), 60 if actor == 'attention' else 180
    for update in range(updates):
        model.set_progress(update / updates)
        frames, _ = bright_squares(generator, 32)
        rollout = model(frames, labels, mode='rollout')
        for _ in range(4):
            losses = model(rollout, mode='policy_loss')
            optimizer.zero_grad()
            (losses['loss_policy'] + losses['loss_value']).backward()
            torch.nn.utils.clip_grad_norm_(model.policy.parameters(), 1.0)
            optimizer.step()
    after = distance(test_frames, test_places)
    assert after < 0.4 * before, (before, after)


def test_groups_are_compared_with_themselves_and_need_no_critic():
    model = build(ppo=dict(baseline='group', group=3), reward='prob')
    model.train()
    frames, labels = torch.randn(2, 4, 3, 40, 48), torch.tensor([0, 2])
    torch.manual_seed(5)
    rollout = model.rollout(frames, labels)
    assert len(rollout) == 6 and rollout.centres.shape[0] == 6
    assert not torch.equal(rollout.centres[0], rollout.centres[1])
    gamma, returns = model.ppo['gamma'], torch.zeros_like(rollout.rewards)
    for s in reversed(range(rollout.rewards.shape[1])):
        later = returns[:, s + 1] if s + 1 < returns.shape[1] else 0
        returns[:, s] = rollout.rewards[:, s] + gamma * later
    torch.testing.assert_close(rollout.returns, returns)
    expected = torch.stack(
        [
            returns[i] - returns[[j for j in range(i // 3 * 3, i // 3 * 3 + 3) if j != i]].mean(0)
            for i in range(6)
        ]
    )
    expected = (expected - expected.mean()) / (expected.std(unbiased=False) + 1e-6)
    torch.testing.assert_close(rollout.advantages, expected, rtol=1e-4, atol=1e-5)
    losses = model.policy_losses(rollout.select(torch.tensor([4, 0])))
    assert losses['loss_value'] == 0 and losses['loss_policy'].requires_grad
    for wrong in (dict(baseline='mean'), dict(group=1)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            build(ppo=wrong)


def test_budgets_draw_what_a_batch_costs():
    model = build(
        budgets=dict(steps=[1], patch_sizes=[8], frames=[2]), distil_weight=1.0, full_frame_weight=2.0
    )
    model.train()
    model.policy.requires_grad_(False)
    cut = []
    model.focus_encoder.register_forward_pre_hook(lambda module, args: cut.append(tuple(args[0].shape)))
    losses = model.losses(torch.randn(3, 4, 3, 40, 48), torch.tensor([0, 1, 2]))
    P = model.patch_size
    assert cut == [(3, 2, 3, 8, 8), (3, 2, 3, *P)]  # the look, and the whole frame
    assert 'loss_step1' in losses and 'loss_step2' not in losses and losses['loss_full_frame'] > 0
    model.eval()
    with torch.no_grad():
        assert set(model.losses(torch.randn(3, 4, 3, 40, 48), torch.tensor([0, 1, 2]))) >= {'loss_step2'}


@pytest.mark.parametrize(
    ('budgets', 'told'),
    [
        (dict(looks=[1]), 'looks'),
        (dict(steps=[3]), 'holds 3'),
        (dict(steps=2), 'list of choices'),
        (dict(frames=[0]), 'holds 0'),
        (dict(patch_sizes=[-4]), 'positive'),
    ],
)
def test_unknown_budgets(budgets, told):
    with pytest.raises(ValueError, match=told):
        build(budgets=budgets)


def test_patch_sizes_are_drawn_for_policies_that_read_any():
    gaussian = dict(type='RecurrentGaussianPolicy', hidden=8, reduced=4)
    for centres in ('mean', 'sample', 'mixed'):
        with pytest.raises(
            ValueError, match="budgets\\['patch_sizes'\\] needs .* RecurrentGaussianPolicy is built"
        ):
            build(policy=gaussian, budgets=dict(patch_sizes=[8]), train_centres=centres)
    build(policy=gaussian, budgets=dict(patch_sizes=[8]), train_centres='random')
    model = build(policy=dict(type='ValueMapPolicy'), budgets=dict(patch_sizes=[8]), train_centres='mean')
    assert 'loss_step2' in model.train().losses(torch.randn(2, 2, 3, 40, 48), torch.tensor([0, 1]))


@torch.no_grad()
@pytest.mark.parametrize('policy', ['RecurrentGaussianPolicy', 'ValueMapPolicy'])
def test_given_places_leave_what_the_policy_would_have_known(policy):
    """A look at the very place that it would choose changes nothing of what it chooses next."""
    model, frames = build(policy=dict(type=policy)).eval(), torch.randn(2, 3, 3, 40, 48)
    before = model.glance(frames)
    asked = model.focus(frames, before)
    given = model.focus(frames, replace(before, ahead=None), asked.centres)
    assert model.focus(frames, given).centres.equal(model.focus(frames, asked).centres)


def test_looks_for_the_map_alone_leave_the_running_statistics_alone():
    counts = []
    for others in (0, 3):
        torch.manual_seed(3)
        model = build(policy=dict(type='ValueMapPolicy'), value_looks=others).train()
        torch.manual_seed(4)
        model.losses(torch.randn(2, 2, 3, 40, 48), torch.tensor([0, 1]))
        counts.append({name: value for name, value in model.named_buffers() if 'running' in name})
        assert all(norm.momentum == 0.1 for norm in model.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    assert counts[0].keys() == counts[1].keys() and len(counts[0]) > 4
    for name, value in counts[0].items():
        assert value.equal(counts[1][name]), name


def test_earlier_looks_learn_from_the_last():
    model = build(distil_weight=0.5)
    model.train()
    model.policy.requires_grad_(False)
    frames, labels = torch.randn(3, 4, 3, 40, 48), torch.tensor([0, 1, 2])
    torch.manual_seed(0)
    losses = model.losses(frames, labels)
    torch.manual_seed(0)
    states = model.looks(frames)
    last = states[-1].logits.mean(1).softmax(-1)
    expected = sum(
        (last * (last.log() - state.logits.mean(1).log_softmax(-1))).sum(-1).mean() for state in states[:-1]
    )
    torch.testing.assert_close(losses['loss_distil'], 0.5 * expected / 3, rtol=1e-4, atol=1e-6)


def test_rising_supervision_by_hand():
    logits, labels = torch.randn(2, 3, 4), torch.tensor([1, 3])
    each = [torch.nn.functional.cross_entropy(logits[:, : t + 1].mean(1), labels) for t in range(3)]
    expected = (each[0] + 2 * each[1] + 3 * each[2]) / 6
    torch.testing.assert_close(supervised_loss(logits, labels, 'rising'), expected)
    torch.testing.assert_close(supervised_loss(logits, labels, 'frames'), sum(each) / 3)
    torch.testing.assert_close(supervised_loss(logits, labels, 'clip'), each[2])
