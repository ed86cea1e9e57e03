"""Recognizers as one graph: torch.compile follows the looks, and answers what they answer."""

from __future__ import annotations

import shutil

import pytest
import torch

from gfvideo.models import GlanceFocusRecognizer
from gfvideo.registry import MODELS


def build(backbone: dict, shift: str = 'bidirectional', policy: str = 'ValueMapPolicy', steps: int = 1):
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=backbone, shift=shift)
    return MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            glance=encoder,
            focus=encoder,
            policy=dict(type=policy),
            classifier=dict(type='ConcatClassifier'),
            num_classes=5,
            glance_size=32,
            patch_size=32,
            steps=steps,
        )
    ).eval()


TINY, MOBILE = dict(type='TinyCNN', width=8), dict(type='MobileNetV2', width=0.25)
FRAMES = torch.randn(2, 3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def assert_compiles(model: GlanceFocusRecognizer, backend: str) -> None:
    """Glance, focus, and a whole prediction, each one graph."""

    def compiled(function):
        return torch.compile(function, fullgraph=True, backend=backend)

    with torch.no_grad():
        state = model.glance(FRAMES)
        torch.testing.assert_close(compiled(model.glance)(FRAMES).logits, state.logits)
        found = compiled(model.focus)(FRAMES, state)
        expected = model.focus(FRAMES, state)
        torch.testing.assert_close(found.logits, expected.logits)
        torch.testing.assert_close(found.centres, expected.centres)
        torch.testing.assert_close(compiled(model)(FRAMES), model(FRAMES))


@pytest.mark.parametrize('policy', ['ValueMapPolicy', 'RecurrentGaussianPolicy'])
def test_tiny(policy):
    assert_compiles(build(TINY, policy=policy), 'eager')


def test_through_the_autograd_of_compilers():
    assert_compiles(build(TINY), 'aot_eager')


@pytest.mark.slow
def test_mobilenetv2():
    assert_compiles(build(MOBILE), 'eager')


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='inductor needs a C++ compiler: g++')
def test_compiled_to_machine_code():
    assert_compiles(build(TINY), 'inductor')


def test_frames_of_a_stream():
    model = build(TINY, shift='causal')

    def read(frame, cache):
        state = model.glance(frame, cache)
        state = model.focus(frame, state)
        return state.logits, state.cache

    compiled = torch.compile(read, fullgraph=True, backend='eager')
    with torch.no_grad():
        _, cache = read(FRAMES[:, :1], ())
        found, expected = compiled(FRAMES[:, 1:2], cache), read(FRAMES[:, 1:2], cache)
    torch.testing.assert_close(found, expected)
