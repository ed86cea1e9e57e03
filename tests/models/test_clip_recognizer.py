import pytest
import torch
import torch.nn.functional as F

from gfvideo.ops import resize_frames
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample


def build(shift='bidirectional', **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ClipRecognizer',
            num_classes=4,
            dropout=0.0,
            encoder=dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift),
            **options,
        )
    ).eval()


def test_prediction_is_the_mean_over_frames():
    model, frames = build(), torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        logits = model.fc(model.encoder(frames).vector)  # (B, T, C)
        assert torch.allclose(model(frames), logits.mean(1), atol=1e-6)
        sample = model(frames, [ClipSample(), ClipSample()], mode='predict')[1]
    assert sample.step_logits.shape == (1, 4) and torch.allclose(sample.logits, logits[1].mean(0), atol=1e-6)


def test_without_shift_the_order_of_frames_does_not_matter_with_it_it_does():
    frames = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        for shift, same in ((None, True), ('bidirectional', False)):
            model = build(shift)
            assert torch.allclose(model(frames), model(frames.flip(1)), atol=1e-5) == same


def test_loss_and_label_checks():
    model, frames = build(), torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        results = model(frames, [ClipSample(gt_label=torch.tensor(i)) for i in (3, 0)], mode='loss')
        assert torch.allclose(
            results['loss_step0'], F.cross_entropy(model(frames), torch.tensor([3, 0])), atol=1e-6
        )
    with pytest.raises(ValueError, match='label 4'):
        model(frames, [ClipSample(gt_label=torch.tensor(i)) for i in (4, 0)], mode='loss')
    with pytest.raises(ValueError, match='mode'):
        model(frames, mode='train')
    with pytest.raises(ValueError, match='B, T, 3, H, W'):
        model(frames[0])


def test_resize_frames():
    frames = torch.randn(2, 3, 3, 20, 30)
    assert resize_frames(frames, (20, 30)) is frames
    expected = torch.stack([F.interpolate(clip, (8, 10), mode='bilinear', antialias=True) for clip in frames])
    assert torch.allclose(resize_frames(frames, (8, 10)), expected)
    model = build(input_size=16)
    with torch.no_grad():
        assert torch.allclose(model(frames), build()(resize_frames(frames, (16, 16))), atol=1e-6)
