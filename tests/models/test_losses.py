"""Losses of clips that may show several classes: against plain sums, and through recognizers that train."""

from __future__ import annotations

import math

import pytest
import torch

from gfvideo.models.losses import (
    clip_loss,
    distillation_loss,
    label_log_probs,
    labels_of,
    mean_answer,
    register_loss,
    supervised_loss,
    top1,
)
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

BINARY = 'binary_cross_entropy'
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]])
SEVERAL = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def sample(**labels: object) -> ClipSample:
    made = ClipSample(metainfo=dict(video_id='v'))
    for name, value in labels.items():
        setattr(made, name, torch.tensor(value))
    return made


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_binary_cross_entropy_is_the_sum_over_classes():
    wanted = [
        -sum(
            math.log(sigmoid(x)) if y else math.log(1 - sigmoid(x))
            for x, y in zip(row.tolist(), shown.tolist())
        )
        for row, shown in zip(LOGITS, SEVERAL)
    ]
    assert clip_loss(LOGITS, SEVERAL, BINARY).item() == pytest.approx(sum(wanted) / 2, rel=1e-5)
    one = torch.nn.functional.one_hot(torch.tensor([2, 0]), 3).float()
    torch.testing.assert_close(
        clip_loss(LOGITS, torch.tensor([2, 0]), BINARY), clip_loss(LOGITS, one, BINARY)
    )


def test_cross_entropy_of_several_classes_is_the_mean_of_theirs():
    first = sum(clip_loss(LOGITS[:1], torch.tensor([label])) for label in (0, 2)) / 2
    second = clip_loss(LOGITS[1:], torch.tensor([1]))
    torch.testing.assert_close(clip_loss(LOGITS, SEVERAL), (first + second) / 2)


@pytest.mark.parametrize('loss', ['cross_entropy', BINARY])
@pytest.mark.parametrize('supervision', ['clip', 'frames', 'rising'])
def test_frames(loss, supervision):
    logits = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    running = [logits[:, : number + 1].mean(1) for number in range(3)]
    weights = dict(clip=[0, 0, 1], frames=[1 / 3] * 3, rising=[1 / 6, 2 / 6, 3 / 6])[supervision]
    wanted = sum(weight * clip_loss(one, SEVERAL, loss) for weight, one in zip(weights, running))
    torch.testing.assert_close(supervised_loss(logits, SEVERAL, supervision, loss), wanted)


def test_sureness_is_the_geometric_mean_over_the_true_classes():
    logits = LOGITS[:, None].expand(2, 2, 3)
    got = label_log_probs(logits, SEVERAL, BINARY).exp()
    assert got.shape == (2, 2)
    assert got[0, 0].item() == pytest.approx(math.sqrt(sigmoid(2.0) * sigmoid(0.5)))
    assert got[1, 1].item() == pytest.approx(sigmoid(1.0))
    soft = LOGITS.softmax(-1)
    got = label_log_probs(logits, SEVERAL).exp()
    assert got[0, 0].item() == pytest.approx(math.sqrt(soft[0, 0] * soft[0, 2]), rel=1e-5)
    one = label_log_probs(logits, torch.tensor([2, 1])).exp()
    torch.testing.assert_close(one, torch.stack([soft[0, 2], soft[1, 1]])[:, None].expand(2, 2))


def test_mean_over_views_is_that_of_probabilities():
    torch.testing.assert_close(mean_answer(LOGITS, 0, BINARY).sigmoid(), LOGITS.sigmoid().mean(0))
    torch.testing.assert_close(mean_answer(LOGITS, 0).softmax(-1), LOGITS.softmax(-1).mean(0))


def test_divergence_from_a_teacher():
    student, teacher = torch.randn(2, 1, 3), torch.randn(2, 1, 3)
    p, q = teacher[:, 0].sigmoid(), student[:, 0].sigmoid()
    wanted = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(-1).mean()
    torch.testing.assert_close(distillation_loss(student, teacher, 'clip', BINARY), wanted)
    assert distillation_loss(teacher, teacher, 'clip', BINARY).abs() < 1e-6


def test_labels():
    got = labels_of([sample(gt_labels=[0, 2]), sample(gt_labels=[1])], 3, torch.device('cpu'))
    assert torch.equal(got, SEVERAL)
    assert top1(LOGITS, SEVERAL).item() == 1 and top1(-LOGITS, SEVERAL).item() == 0
    with pytest.raises(ValueError, match=r'has the labels \[0, 3\], but the model has 3 classes'):
        labels_of([sample(gt_labels=[0, 3])], 3, torch.device('cpu'))
    with pytest.raises(ValueError, match='needs a gt_label'):
        labels_of([sample(gt_labels=[0]), sample(gt_label=1)], 3, torch.device('cpu'))
    with pytest.raises(ValueError, match='there is a loss'):
        register_loss(BINARY, None)


def encoder() -> dict:
    return dict(type='Encoder', backbone=dict(type='MobileNetV2', width=0.1), map_stride=8)


def glance_focus(**options: object) -> torch.nn.Module:
    config = dict(
        type='GlanceFocusRecognizer',
        glance=encoder(),
        focus=encoder(),
        policy=dict(type='RecurrentGaussianPolicy', scope='frame', hidden=16),
        classifier=dict(type='RecurrentClassifier', hidden=16),
        num_classes=3,
        glance_size=32,
        patch_size=32,
        steps=2,
        loss=BINARY,
    )
    return MODELS.build(config | options)


SAMPLES = [sample(gt_labels=[0, 2]), sample(gt_labels=[1])]
FRAMES = torch.randn(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def stepped(model: torch.nn.Module, losses: dict[str, torch.Tensor]) -> float:
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    assert total.isfinite()
    model.zero_grad()
    total.backward()
    return sum(
        float(parameter.grad.abs().sum()) for parameter in model.parameters() if parameter.grad is not None
    )


def test_the_static_recognizer_learns():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(type='ClipRecognizer', encoder=encoder(), num_classes=3, loss=BINARY, dropout=0.0)
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    first = None
    for _ in range(12):
        losses = model(FRAMES, SAMPLES, mode='loss')
        first = first or losses['loss_step0'].item()
        stepped(model, losses)
        optimizer.step()
    assert losses['loss_step0'].item() < 0.5 * first
    assert model.described()['loss'] == BINARY
    views = model.eval()(FRAMES[:, None], mode='predict')[0].step_logits
    torch.testing.assert_close(views, model(FRAMES, mode='predict')[0].step_logits, atol=1e-4, rtol=1e-4)


def test_glance_and_focus_and_its_policy_learn():
    torch.manual_seed(0)
    model = glance_focus(frozen=('policy',), distil_weight=0.5, full_frame_weight=0.5)
    losses = model(FRAMES, SAMPLES, mode='loss')
    assert {'loss_step0', 'loss_step2', 'loss_aux_step1', 'loss_distil', 'loss_full_frame'} <= set(losses)
    assert stepped(model, losses) > 0
    for reward in ('prob', 'log_prob', 'contrast'):
        model = glance_focus(reward=reward, frozen=('glance_encoder', 'focus_encoder', 'classifier'))
        rollout = model(FRAMES, SAMPLES, mode='rollout')
        assert rollout.rewards.shape == (2, 2, 3) and rollout.rewards.abs().sum() > 0
        assert stepped(model, model(rollout, mode='policy_loss')) > 0


def test_rewards_are_gains_of_the_true_classes():
    torch.manual_seed(0)
    model = glance_focus(train_centres='centre', reward='prob').eval()
    rollout = model(FRAMES, SAMPLES, mode='rollout')
    state = model.glance(FRAMES)
    known = [state.logits]
    for step in range(2):
        state = model.focus(FRAMES, state, rollout.centres[:, step])
        known.append(state.logits)
    sure = [label_log_probs(logits, SEVERAL, BINARY).exp() for logits in known]
    for step in range(2):
        torch.testing.assert_close(rollout.rewards[:, step], (sure[step + 1] - sure[step]).detach())


def test_a_value_map_learns_the_gains():
    torch.manual_seed(0)
    model = glance_focus(policy=dict(type='ValueMapPolicy', scope='frame', hidden=8))
    losses = model(FRAMES, SAMPLES, mode='loss')
    stepped(model, losses)
    assert losses['loss_policy'] > 0
    assert any(
        parameter.grad.abs().sum() > 0
        for parameter in model.policy.parameters()
        if parameter.grad is not None
    )


def test_unknown_loss():
    with pytest.raises(ValueError, match="loss='hinge'"):
        glance_focus(loss='hinge')
