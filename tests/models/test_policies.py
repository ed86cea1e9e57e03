"""Policies: distributions, memory, geometry, and the attention's aim."""

import math

import pytest
import torch

from gfvideo.models.policies import CentrePolicy, Geometry, Observation, RandomPolicy, RecurrentGaussianPolicy
from gfvideo.models.policies.base import cell_centres
from gfvideo.models.policies.recurrent_gaussian import AttentionActor

GEOMETRY = Geometry((40, 60), (12, 12))


def gaussian(**options):
    torch.manual_seed(0)
    return RecurrentGaussianPolicy(
        **{
            **dict(
                glance_channels=3,
                focus_channels=5,
                glance_map=(4, 6),
                focus_map=(2, 2),
                steps=2,
                hidden=8,
                reduced=4,
            ),
            **options,
        }
    )


def walk(policy, sample=False, B=2, T=3):
    torch.manual_seed(1)
    choose = policy.draw if sample else policy
    first = choose(Observation(0, torch.randn(B, T, 3, 4, 6), None, GEOMETRY))
    second = Observation(1, torch.randn(B, T, 5, 2, 2), first.centres, GEOMETRY, first.memory)
    return first, choose(second)


@pytest.mark.parametrize('actor', ['attention', 'linear'])
@pytest.mark.parametrize('scope', ['frame', 'clip'])
def test_shapes_and_scope(actor, scope):
    for choice in walk(gaussian(actor=actor, scope=scope), sample=True):
        rows = 3 if scope == 'frame' else 1
        assert choice.centres.shape == (2, 3, 2) and choice.action.shape == (2, rows, 2)
        assert choice.log_prob.shape == choice.value.shape == (2, rows)
        assert choice.centres.min() >= 0 and choice.centres.max() <= 1
        if scope == 'clip':
            assert (choice.centres == choice.centres[:, :1]).all()


def test_log_prob_is_of_the_raw_draw():
    policy = gaussian(std=(3.0, 1.0))  # wide, so that most draws fall outside [0, 1]
    choice, _ = walk(policy, sample=True)
    assert ((choice.action < 0) | (choice.action > 1)).any()
    mean = walk(policy, sample=False)[0].centres
    expected = torch.distributions.Normal(mean, 3.0).log_prob(choice.action).sum(-1)
    assert torch.allclose(choice.log_prob, expected, atol=1e-5)
    assert torch.equal(choice.centres, choice.action.clamp(0, 1))


def test_reevaluation_gives_the_same_log_prob_and_value():
    policy = gaussian()
    first, second = walk(policy, sample=True)
    torch.manual_seed(1)
    again = policy.evaluate(Observation(0, torch.randn(2, 3, 3, 4, 6), None, GEOMETRY), first.action)
    assert torch.allclose(again.log_prob, first.log_prob) and torch.allclose(again.value, first.value)
    assert torch.equal(again.action, first.action)


def test_std_schedule_and_entropy():
    policy = gaussian(std=(0.4, 0.1))
    for fraction, std in ((0.0, 0.4), (0.5, 0.25), (1.0, 0.1), (2.0, 0.1)):
        policy.set_progress(fraction)
        assert policy.std.item() == pytest.approx(std)
        expected = 2 * torch.distributions.Normal(0.0, std).entropy()
        entropy = walk(policy, sample=True)[0].entropy
        assert entropy.shape == (2, 3)
        assert entropy.numpy() == pytest.approx(expected.item(), rel=1e-5)
    assert 'std' in policy.state_dict()  # so that a resumed run goes on with it


def test_no_gradient_reaches_the_map():
    feature_map = torch.randn(1, 2, 3, 4, 6, requires_grad=True)
    choice = gaussian()(Observation(0, feature_map, None, GEOMETRY))
    assert choice.centres.requires_grad
    choice.centres.sum().backward()
    assert feature_map.grad is None


def test_one_step_policy_has_no_unused_reader():
    assert gaussian(steps=1).focus_reader is None


def test_cell_centres_put_the_patch_over_the_cell():
    ys, xs = cell_centres((4, 6), GEOMETRY)
    for axis, (cells, frame, patch) in zip((ys, xs), ((4, 40, 12), (6, 60, 12))):
        for i, centre in enumerate(axis.tolist()):
            middle_of_patch = centre * (frame - patch) + patch / 2
            middle_of_cell = (i + 0.5) * frame / cells
            inside = min(max(middle_of_cell, patch / 2), frame - patch / 2)  # a patch cannot leave the frame
            assert middle_of_patch == pytest.approx(inside, abs=1e-4)


def test_attention_aims_at_what_the_query_likes():
    actor = AttentionActor(hidden=8, key_channels=2)
    with torch.no_grad():
        actor.query.weight.zero_()
        actor.query.bias.copy_(torch.tensor([100.0, 0.0]))
    keys = torch.zeros(1, 1, 2, 4, 6)
    keys[0, 0, 0, 2, 4] = 1.0
    mean = actor(torch.zeros(1, 1, 8), keys, None, GEOMETRY)[0, 0]
    ys, xs = cell_centres((4, 6), GEOMETRY)
    assert torch.allclose(mean, torch.stack([ys[2], xs[4]]), atol=1e-4)
    uniform = actor(torch.zeros(1, 1, 8), torch.zeros_like(keys), None, GEOMETRY)[0, 0]
    assert torch.allclose(uniform, torch.tensor([0.5, 0.5]), atol=1e-4)


def test_controls():
    observation = Observation(0, torch.zeros(4, 500, 1, 1, 1), None, GEOMETRY)
    torch.manual_seed(0)
    centres = RandomPolicy()(observation).centres
    assert centres.shape == (4, 500, 2) and centres.min() >= 0 and centres.max() <= 1
    assert abs(centres.mean() - 0.5) < 0.02 and abs(centres.std() - math.sqrt(1 / 12)) < 0.01
    together = RandomPolicy(scope='clip')(observation).centres
    assert (together == together[:, :1]).all() and not torch.equal(together[0], together[1])
    assert (CentrePolicy()(observation).centres == 0.5).all()


def test_unknown_options():
    with pytest.raises(ValueError, match='scope'):
        RandomPolicy(scope='video')
    with pytest.raises(ValueError, match='actor'):
        gaussian(actor='mlp')
    with pytest.raises(ValueError, match='map_stride'):
        gaussian(glance_map=(1, 1))
    with pytest.raises(ValueError, match='std'):
        gaussian(std=(0.1, 0.0))


PUBLISHED = dict(
    actor='linear', share_reader=True, critic_layers=1, std=(0.1, 0.1), focus_channels=3, focus_map=(4, 6)
)


@pytest.mark.parametrize('reader', ['convolution', 'flat'])
def test_published_policy_by_hand(reader):
    """Looks one after the other through one reader and nn.GRU."""
    policy = gaussian(reader=reader, **PUBLISHED)
    torch.manual_seed(1)
    # (S, B, T, D, h, w)
    maps, memory, centres, read, answers = torch.randn(2, 2, 3, 3, 4, 6), None, None, [], []
    gru = torch.nn.GRU(8, 8)
    gru.load_state_dict({f'{name}_l0': value for name, value in policy.gru.state_dict().items()})
    for step in range(2):
        choice = policy(Observation(step, maps[step], centres, GEOMETRY, memory))
        memory, centres = choice.memory, choice.centres
        answers.append(choice.centres)
        x, weights = maps[step].flatten(0, 1), dict(policy.glance_reader.named_parameters())
        if reader == 'flat':
            assert weights['linear1.weight'].shape == (2048, 3 * 4 * 6)
            hidden = (x.flatten(1) @ weights['linear1.weight'].T + weights['linear1.bias']).relu()
            read.append((hidden @ weights['linear2.weight'].T + weights['linear2.bias']).relu())
        else:
            hidden = (
                torch.einsum('ndhw,kd->nkhw', x, weights['reduce.weight'][:, :, 0, 0])
                + weights['reduce.bias'].view(-1, 1, 1)
            ).relu()
            read.append((hidden.flatten(1) @ weights['linear.weight'].T + weights['linear.bias']).relu())
        expected = torch.sigmoid(policy.actor.linear(gru(torch.stack(read))[0][-1]))
        assert torch.allclose(answers[-1].flatten(0, 1), expected, atol=1e-5)
    assert not torch.allclose(answers[0], answers[1])


def test_a_shared_reader_is_one():
    shared, own = gaussian(**PUBLISHED), gaussian(**{**PUBLISHED, 'share_reader': False})
    assert shared.focus_reader is None and own.focus_reader is not None
    maps = torch.randn(1, 2, 3, 4, 6)
    for policy, alike in ((shared, True), (own, False)):
        glance = policy(Observation(0, maps, None, GEOMETRY)).centres
        later = policy(Observation(1, maps, glance, GEOMETRY)).centres
        assert torch.allclose(glance, later) == alike


def test_layers_of_the_critic():
    one, two = gaussian(critic_layers=1), gaussian()
    assert len(list(one.critic.parameters())) == 2 and len(list(two.critic.parameters())) == 4
    choice, _ = walk(one, sample=True)
    assert torch.allclose(choice.value, one.critic[0](choice.memory.hidden).squeeze(-1))


def test_unknown_readers_and_critics():
    with pytest.raises(ValueError, match="reader='mlp'"):
        gaussian(reader='mlp')
    with pytest.raises(ValueError, match='critic_layers=3 must be 1 or 2'):
        gaussian(critic_layers=3)
    with pytest.raises(ValueError, match=r'share_reader=True needs maps of one form.*\(5, \(2, 2\)\)'):
        gaussian(share_reader=True)
