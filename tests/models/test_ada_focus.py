"""The AdaFocus recognizer: two ways to give frames, what learns from what, early exit, and mmengine's
training step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper

from gfvideo.exits import StepExits, run_clips
from gfvideo.models.ada_focus import AdaFocusRecognizer, expected_draws
from gfvideo.models.policies import frames_at_quantiles
from gfvideo.ops import crop_patches_bilinear, crop_windows
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

KINDS = ('stacked', 'deformable')


def build(kind: str = 'stacked', **options) -> AdaFocusRecognizer:
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='bidirectional')
    own = dict(policy=dict(type='StackedMapPolicy', reduced=4, hidden=(8, 8)))
    if kind == 'deformable':
        own = dict(
            policy=dict(type='DeformablePolicy', hidden=8, side_range=(12, 30)),
            frame_policy=dict(type='FramePolicy', hidden=8),
            focus_frames=3,
        )
    return MODELS.build(
        dict(
            type='AdaFocusRecognizer',
            num_classes=5,
            glance=encoder,
            focus=encoder,
            patch_size=16,
            glance_size=32,
            glance_frames=4,
        )
        | own
        | options
    ).eval()


def frames(B: int = 2, T: int = 6) -> torch.Tensor:
    return torch.randn(B, T, 3, 36, 40, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('kind', KINDS)
def test_steps_by_hand(kind):
    model, candidates = build(kind), frames()
    glance = candidates[:, [0, 2, 3, 5]]  # the middles of four parts of six frames
    with torch.no_grad():
        prediction = model.predict_steps(dict(glance=glance, focus=candidates))
        resized = F.interpolate(glance.flatten(0, 1), (32, 32), mode='bilinear', antialias=True).unflatten(
            0, (2, 4)
        )
        features = model.glance_encoder(resized)
        first = model.classifier['glance'](features.vector).mean(1)
        choice = model.choose(candidates, model.glance(candidates))
        if kind == 'stacked':
            index, chosen = torch.arange(6).expand(2, 6), candidates
            patches = crop_patches_bilinear(chosen, choice.centres[:, :1].expand(2, 6, 2), (16, 16))
        else:
            index = frames_at_quantiles(model.frame_policy(features.vector), 6, 3)
            chosen = torch.stack([clip[rows] for clip, rows in zip(candidates, index)])
            patches = crop_windows(chosen, choice.centres[:, :3], choice.window_sizes[:, :3], (16, 16))
        second = first + model.classifier['focus'](model.focus_encoder(patches).vector).mean(1)
    torch.testing.assert_close(prediction.step_logits, torch.stack([first, second], 1), rtol=1e-4, atol=1e-5)
    for clip in range(2):
        assert (prediction.centres[clip, 0, index[clip]] == choice.centres[clip, 0]).all()
        if kind == 'deformable':
            assert (prediction.window_sizes[clip, 0, index[clip]] == choice.window_sizes[clip, 0]).all()
            others = [t for t in range(6) if t not in index[clip].tolist()]
            assert len(others) == 3 and prediction.centres[clip, 0, others].isnan().all()
            assert prediction.window_sizes[clip, 0, others].isnan().all()
    assert prediction.centres.shape == (2, 1, 6, 2) and (prediction.window_sizes is None) == (
        kind == 'stacked'
    )


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('T, glanced', [(6, [0, 2, 3, 5]), (4, [0, 1, 2, 3]), (12, [1, 4, 7, 10])])
def test_a_tensor_is_glanced_at_evenly(kind, T, glanced):
    model, candidates = build(kind), frames(T=T)
    with torch.no_grad():
        one, other = (
            model.predict_steps(candidates),
            model.predict_steps(dict(glance=candidates[:, glanced], focus=candidates)),
        )
        assert torch.equal(one.step_logits, other.step_logits)
        torch.testing.assert_close(one.centres, other.centres, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(model(candidates), one.step_logits[:, -1])
        assert torch.equal(
            model(dict(glance=candidates[:, glanced], focus=candidates)), one.step_logits[:, -1]
        )


@pytest.mark.parametrize('kind', KINDS)
def test_clips_do_not_see_each_other(kind):
    model, candidates = build(kind), frames(3)
    with torch.no_grad():
        whole = model.predict_steps(candidates).step_logits
        torch.testing.assert_close(
            whole[1:2], model.predict_steps(candidates[1:2]).step_logits, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize('kind', KINDS)
def test_early_exit(kind):
    model, candidates = build(kind), frames(4)
    with torch.no_grad():
        prediction = model.predict_steps(candidates)
    taken = run_clips(model, candidates, None)
    torch.testing.assert_close(taken.logits, prediction.step_logits[:, 1])
    sure = prediction.step_logits[:, 0].softmax(1).max(1).values
    middle = sure.sort().values[1:3].mean().item()
    exits = run_clips(model, candidates, StepExits((middle,)))
    assert (
        exits.steps.tolist() == [0 if confidence >= middle else 1 for confidence in sure.tolist()]
        and exits.steps.sum() == 2
    )
    expected = prediction.step_logits[range(4), exits.steps]
    torch.testing.assert_close(exits.logits, expected, rtol=1e-4, atol=1e-5)
    one_at_a_time = run_clips(model, candidates, StepExits((middle,)), micro_batch=1)
    torch.testing.assert_close(one_at_a_time.logits, expected, rtol=1e-4, atol=1e-5)


def parts_with_gradient(model: AdaFocusRecognizer, loss: torch.Tensor) -> set[str]:
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {
        name.split('.')[0] + ('.' + name.split('.')[1] if name.startswith('classifier') else '')
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


@pytest.mark.parametrize('kind', KINDS)
def test_what_each_loss_teaches(kind):
    model = build(kind, dropout=0.0).train()
    losses = model(frames(4), [ClipSample(gt_label=torch.tensor(i)) for i in range(4)], mode='loss')
    taught = {
        name: parts_with_gradient(model, loss) for name, loss in losses.items() if name.startswith('loss')
    }
    classifier = {'classifier.glance', 'classifier.focus'}
    expected = {
        'loss_glance_head': {'glance_encoder', 'glance_head'},
        'loss_random_window': classifier,
        'loss_policy_window': classifier,
        'loss_policy_head': {'focus_encoder', 'focus_head'},
        'loss_random_head': {'focus_encoder', 'focus_head'},
    }
    if kind == 'stacked':  # through the place of the patch
        expected['loss_policy_head'] = expected['loss_policy_head'] | {'policy'}
    else:
        expected |= {'loss_window_policy': {'policy', 'window_head'}, 'loss_frame_policy': {'frame_policy'}}
        expected['loss_window_size'] = {'policy'}
    assert taught == expected
    assert set.union(*taught.values()) == {
        name.split('.')[0] + ('.' + name.split('.')[1] if name.startswith('classifier') else '')
        for name, _ in model.named_parameters()
    }


@pytest.mark.parametrize('kind', KINDS)
def test_a_training_step_of_mmengine(kind):
    model = build(kind).train()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    clips = torch.randint(
        0, 256, (3, 6, 3, 36, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    before = {name: value.clone() for name, value in model.named_parameters()}
    log = model.train_step(
        dict(inputs=list(clips), data_samples=[ClipSample(gt_label=torch.tensor(i)) for i in range(3)]),
        wrapper,
    )
    assert torch.isfinite(log['loss']) and {'acc_step0', 'acc_step1', 'loss_policy_window'} <= set(log)
    total = sum(value for name, value in log.items() if name.startswith('loss_'))
    torch.testing.assert_close(log['loss'], total)
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not still


@pytest.mark.parametrize('kind', KINDS)
def test_it_learns_a_colour(kind):
    """Three classes of clips, each of another colour, through the whole training loss."""
    model = build(kind, dropout=0.0).train()
    optimizer, labels = torch.optim.Adam(model.parameters(), lr=1e-2), torch.arange(6) % 3
    clips = 0.1 * frames(6)
    for clip, label in zip(clips, labels.tolist()):
        clip[:, label] += 1
    samples = [ClipSample(gt_label=label) for label in labels]
    told = []
    for _ in range(25):
        losses = model(clips, samples, mode='loss')
        told.append({name: loss.item() for name, loss in losses.items() if name.startswith('loss')})
        optimizer.zero_grad()
        sum(loss for name, loss in losses.items() if name.startswith('loss')).backward()
        optimizer.step()
    assert all(told[-1][name] < told[0][name] / 2 for name in told[0])  # every term
    with torch.no_grad():
        assert (model.predict_steps(clips).step_logits[:, 1].argmax(1) == labels).all()


def test_expected_draws_of_one_frame_are_the_weighted_mean():
    torch.manual_seed(0)
    logits, weights = torch.randn(2, 5, 3), torch.randn(2, 5).softmax(1).requires_grad_()
    expected = torch.stack([sum(weights[b, t] * logits[b, t] for t in range(5)) for b in range(2)])
    torch.testing.assert_close(expected_draws(logits, weights, 1), expected)
    expected_draws(logits, weights, 1)[:, 0].sum().backward()
    torch.testing.assert_close(weights.grad, logits[..., 0])


def test_expected_draws_of_several_frames():
    torch.manual_seed(0)
    logits, weights = torch.randn(1, 3, 2), torch.tensor([[0.6, 0.3, 0.1]], requires_grad=True)
    w = weights.detach()[0]
    second = sum(
        w[first] * sum(w[t] / (1 - w[first]) * logits[0, t] for t in range(3) if t != first)
        for first in range(3)
    )
    expected = ((w[:, None] * logits[0]).sum(0) + second) / 2
    drawn = expected_draws(logits, weights, 2, samples=20000)
    torch.testing.assert_close(drawn[0], expected, rtol=0, atol=0.02)
    every = expected_draws(logits, weights, 3, samples=20000)  # all of them, in some order
    torch.testing.assert_close(every[0], logits[0].mean(0), rtol=0, atol=0.02)
    drawn.sum().backward()
    assert torch.isfinite(weights.grad).all() and weights.grad.abs().sum() > 0


def test_expected_draws_beside_a_sure_choice():
    logits, weights = torch.eye(3)[None], torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    drawn = expected_draws(logits, weights, 2)[0]  # the first frame, then one of the others
    torch.testing.assert_close(drawn[0], torch.tensor(0.5))
    torch.testing.assert_close(drawn.sum(), torch.tensor(1.0))
    drawn[1].backward()
    assert weights.grad.isfinite().all()


def test_faults():
    model = build()
    with pytest.raises(ValueError, match='was built for 4 glance frames and got 3'):
        model.predict_steps(dict(glance=frames(T=3), focus=frames()))
    with pytest.raises(ValueError, match="'focus', 'local'"):
        model.predict_steps(dict(local=frames(), focus=frames()))
    with pytest.raises(ValueError, match='5 focus frames cannot be chosen from 4'):
        build('deformable', focus_frames=5).predict_steps(frames(T=4))
    with pytest.raises(ValueError, match='focus_frames=3 needs a frame_policy'):
        build(focus_frames=3)
    with pytest.raises(ValueError, match="mode='predict'"):
        model(dict(glance=frames(T=4), focus=frames()), mode='predict')
    with pytest.raises(ValueError, match='larger than the frame'):
        model.predict_steps(frames()[..., :12, :12])
    with pytest.raises(ValueError, match='bidirectional'):
        model.stream()


def test_fewer_frames_than_the_glance_needs():
    with pytest.raises(ValueError, match='3 frames are fewer than the 4 that the glance needs'):
        build().predict_steps(frames(T=3))


def test_training_sees_other_frames_than_the_middles():
    model, candidates = build('deformable'), frames(B=1, T=30)
    state = model.eval().glance(candidates)

    def chosen_frames():
        return tuple(model.focus(candidates, state).frame_indices[0].tolist())

    torch.manual_seed(0)
    model.frame_policy.train()
    model.training = True  # and the encoders' statistics stay
    chosen = {chosen_frames() for _ in range(20)}
    assert len(chosen) > 5 and all(
        list(rows) == sorted(set(rows)) and 0 <= rows[0] and rows[-1] < 30 for rows in chosen
    )
    model.eval()
    assert len({chosen_frames() for _ in range(3)}) == 1
