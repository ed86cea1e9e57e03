"""On a CUDA device recognizers answer as on the CPU, without waiting for it, whatever computes the looks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gfvideo.deployment import with_runtime
from gfvideo.engine import AutocastOptimWrapper
from gfvideo.exits import StepExits, run_clips
from gfvideo.models import GlanceFocusRecognizer
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='torch finds no CUDA device'),
]
CARD = torch.device('cuda')
ROOT = Path(__file__).resolve().parents[1]
FRAMES = torch.randn(6, 4, 3, 64, 80, generator=torch.Generator().manual_seed(0))
POLICIES = ('ValueMapPolicy', 'RecurrentGaussianPolicy', 'CentrePolicy')


def build(policy: str = 'ValueMapPolicy', shift: str = 'bidirectional') -> GlanceFocusRecognizer:
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='MobileNetV2', width=0.5), shift=shift)
    model = MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder,
            focus=encoder,
            policy=dict(type=policy),
            classifier=dict(type='ConcatClassifier'),
            num_classes=5,
            glance_size=48,
            patch_size=32,
            steps=2,
        )
    )
    for module in model.modules():  # running statistics that keep activations alive
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().looks(FRAMES)
    return model.eval()


@pytest.fixture(autouse=True)
def whole_float32() -> Iterator[None]:
    """TF32 rounds to ten bits."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def without_waits() -> Iterator[None]:
    """Anything that waits for the device raises."""
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


@torch.no_grad()
def moved(model: GlanceFocusRecognizer) -> tuple[torch.Tensor, GlanceFocusRecognizer]:
    """What it answers after each look on the CPU, and the same model on the card."""
    expected = model.predict_steps(FRAMES).step_logits
    return expected, model.to(CARD)


@pytest.mark.parametrize('shift', ['bidirectional', 'causal'])
@pytest.mark.parametrize('policy', POLICIES)
def test_it_answers_as_on_the_cpu(policy, shift):
    expected, model = moved(build(policy, shift))
    found = model.predict_steps(FRAMES.to(CARD)).step_logits.cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('policy', POLICIES)
def test_a_look_does_not_wait(policy):
    _, model = moved(build(policy))
    frames = FRAMES.to(CARD)
    with torch.no_grad():
        model.looks(frames)  # kernels are chosen, constants moved
        with without_waits():
            model.looks(frames)


def test_exits_wait_once_a_look():
    """Under a count of what waits: after the glance and after the first look, where clips may leave."""
    _, model = moved(build())
    frames = FRAMES.to(CARD)
    run_clips(model, frames, StepExits((0.0, 0.0)))
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with pytest.warns(UserWarning, match='synchronizing') as told:
            run_clips(model, frames, StepExits((2.0, 2.0)))  # nobody leaves
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len([one for one in told if 'synchronizing' in str(one.message)]) == 2


@pytest.mark.parametrize('buckets', [False, True])
def test_clips_leave_where_they_do_on_the_cpu(buckets):
    model = build()
    with torch.no_grad():
        sure = model.glance(FRAMES).logits.mean(1).softmax(-1).amax(-1).sort().values
    exits = StepExits((float(sure[2:4].mean()), 2.0))  # between two clips
    expected = run_clips(model, FRAMES, exits)
    found = run_clips(model.to(CARD), FRAMES.to(CARD), exits, buckets=buckets)
    assert found.steps.tolist() == expected.steps.tolist() and len(expected.steps.unique()) == 2
    torch.testing.assert_close(found.logits.cpu(), expected.logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.centres.cpu(), expected.centres, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_a_stream_answers_as_on_the_cpu():
    model, answers = build(shift='causal'), {}
    for device in ('cpu', CARD):
        stream = model.to(device).stream()
        answers[device] = [stream.read(frame).logits.cpu() for frame in FRAMES[0].to(device)]
    torch.testing.assert_close(answers[CARD], answers['cpu'], rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(importlib.util.find_spec('triton') is None, reason='compiling for a GPU needs triton')
def test_compiled_it_answers_the_same():
    expected, model = moved(build())
    compiled = with_runtime(model, 'compile')
    found = compiled.predict_steps(FRAMES.to(CARD)).step_logits.cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_bfloat16_is_close():
    """Drawn weights make much of what is rounded."""
    expected, model = moved(build('CentrePolicy'))  # the same places, whatever is rounded
    with torch.no_grad(), torch.autocast(CARD.type, torch.bfloat16):
        found = model.predict_steps(FRAMES.to(CARD)).step_logits.float().cpu()
    assert torch.cosine_similarity(found.flatten(), expected.flatten(), 0) > 0.9


def test_a_training_step_in_mixed_precision():
    model = build().to(CARD).train()
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.AdamW(model.parameters(), 1e-4))
    samples = [ClipSample(gt_label=number % 5) for number in range(len(FRAMES))]
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with wrapper.optim_context(model):
        losses = model(FRAMES.to(CARD), samples, mode='loss')
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    wrapper.update_params(total)
    assert torch.isfinite(total)
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not [name for name in still if 'backbone' in name]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two CUDA devices')
@pytest.mark.skipif(shutil.which('bash') is None, reason='dist_train.sh needs bash')
def test_two_cards_train_by_nccl(tmp_path, free_port):
    """All stages of a tiny config."""
    tests = ROOT / 'tests' / 'engine'
    found = os.pathsep.join([str(tests), str(ROOT)])
    done = subprocess.run(
        [
            'bash',
            str(ROOT / 'tools' / 'dist_train.sh'),
            str(tests / 'three_stages.py'),
            '2',
            '--work-dir',
            str(tmp_path),
        ],
        env={**os.environ, 'PYTHONPATH': found, 'PORT': free_port},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'tune' / 'stage_done.json').exists()
