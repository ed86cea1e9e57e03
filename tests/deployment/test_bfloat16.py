"""Encoders in bfloat16: near to what they were, the rest in float32, refused where they lose too much."""

from __future__ import annotations

import pytest
import torch

from gfvideo.deployment import QuantizationError, with_bfloat16
from gfvideo.exits import StepExits, run_clips, run_stream
from gfvideo.registry import MODELS

T, H, W = 2, 24, 32
CLIPS = torch.randn(8, T, 3, H, W, generator=torch.Generator().manual_seed(3))
ENCODER = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='causal', map_stride=4)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=ENCODER,
            focus=ENCODER,
            num_classes=4,
            glance_size=16,
            patch_size=12,
            steps=1,
            policy=dict(type='ValueMapPolicy', hidden=8),
            classifier=dict(type='ConcatClassifier'),
        )
    )
    with torch.no_grad():
        model.train()(CLIPS)  # statistics of batch normalisation
    return model.eval()


def labelled(model):
    with torch.no_grad():
        return [(clip, int(model(clip).argmax())) for clip in CLIPS.split(1)]


def test_answers_stay_near_and_the_model_as_it_was(model):
    with torch.no_grad():
        before = model(CLIPS)
        rounded, drop = with_bfloat16(model, labelled(model), largest_drop=1.0)
        found = rounded(CLIPS)
        torch.testing.assert_close(model(CLIPS), before, rtol=0, atol=0)
        assert found.dtype == torch.float32
        error = (found - before).abs().median() / before.abs().max()
        assert 1e-5 < error < 0.05  # 8 bits of each number, and not noise
    right = [int(rounded(clip).argmax()) == label for clip, label in labelled(model)]
    assert drop == (1.0, sum(right) / 8, 8)
    own = dict(model.named_parameters())
    assert all(weights is own[name] for name, weights in rounded.named_parameters())
    assert run_clips(rounded, CLIPS, StepExits((0.0,))).steps.tolist() == [0] * 8
    assert run_stream(rounded, CLIPS, None).logits.shape == (8, 4)
    state = rounded.glance(CLIPS)
    tensors = (state.logits, state.vector, state.feature_map, *state.cache[0].values())
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_the_encoders_alone_compute_in_bfloat16(model):
    seen = {}
    rounded, _ = with_bfloat16(model, largest_drop=None)
    for name, part in (('policy', rounded.policy.stem), ('classifier', rounded.classifier.fc[0])):
        part.register_forward_hook(lambda *given, name=name: seen.update({name: given[-1].dtype}))
    with torch.no_grad():
        rounded(CLIPS)
    assert seen == dict(policy=torch.float32, classifier=torch.float32)


def test_what_loses_too_much_is_refused(model):
    wrong = [(clip, (label + 1) % 4) for clip, label in labelled(model)]
    with pytest.raises(QuantizationError, match='what bfloat16 cost in accuracy is unknown'):
        with_bfloat16(model)
    with pytest.raises(QuantizationError, match='bfloat16 cost .* points of accuracy on 8 clips'):
        with_bfloat16(model, wrong, largest_drop=-1.1)
    model.train()
    try:
        with pytest.raises(ValueError, match='training mode'):
            with_bfloat16(model, wrong)
    finally:
        model.eval()
