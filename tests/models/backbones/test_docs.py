"""The page on backbones: its example runs, its table names every backbone, its numbers are those that are
measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from gfvideo.complexity import count_multiply_adds
from gfvideo.models import Encoder, backbones
from gfvideo.models.pretrained import load_pretrained
from gfvideo.registry import MODELS

PAGE = (Path(__file__).resolve().parents[3] / 'docs' / 'backbones.md').read_text(encoding='utf-8')


@pytest.fixture
def example():
    """The example of the page, registered as long as the test runs."""
    (code,) = re.findall(r'```python\n(.*?)```', PAGE.partition('## Adding a backbone')[2], re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    names: dict = {}
    exec(compile(code, 'docs/backbones.md', 'exec'), names)
    yield names['PlainCNN']
    MODELS._module_dict.pop('PlainCNN')


def test_the_example_is_a_backbone(example, tmp_path):
    torch.save(example().state_dict(), tmp_path / 'plain.pth')
    load_pretrained(example(), str(tmp_path / 'plain.pth'))
    encoder = Encoder(dict(type='PlainCNN'), shift='causal', map_stride=4, frozen_stride=4).eval()
    encoder.init_weights()
    frames = torch.randn(1, 4, 3, 32, 32)
    whole, cache = encoder(frames), None
    assert whole.vector.shape == (1, 4, 32) and whole.map.shape == (1, 4, 16, 8, 8)
    for t in range(4):
        one = encoder(frames[:, t : t + 1], cache)
        cache = one.cache
        torch.testing.assert_close(one.vector[:, 0], whole.vector[:, t], rtol=1e-5, atol=1e-5)


def test_the_table_names_every_backbone():
    rows = re.findall(r'^\| `([A-Z]\w+)` \|', PAGE.partition('## Cost')[0], re.MULTILINE)
    assert sorted(rows) == sorted(set(backbones.__all__) - {'Backbone'})


CONFIGS = [
    ('`ResNet` 18', dict(type='ResNet', depth=18)),
    ('`MobileNetV2`', dict(type='MobileNetV2')),
    ('`MobileNetV3` large', dict(type='MobileNetV3')),
    ('`EfficientNet` b0', dict(type='EfficientNet')),
    (
        "`MobileNetV3` large, `width=1.25, rounding='timm'`",
        dict(type='MobileNetV3', width=1.25, rounding='timm'),
    ),
    ('`RegNetY` 800m', dict(type='RegNetY')),
    ('`DenseNet` 121', dict(type='DenseNet')),
    ('`TinyCNN`', dict(type='TinyCNN')),
]


@pytest.mark.parametrize('row, config', CONFIGS, ids=[config['type'] for _, config in CONFIGS])
def test_costs_are_those_of_the_page(row, config):
    gmacs, parameters = re.search(rf'\| {re.escape(row)} \| ([\d.]+) \| ([\d.]+) \|', PAGE).groups()
    encoder = Encoder(config, shift=None).eval()
    assert f'{count_multiply_adds(encoder, torch.zeros(1, 1, 3, 224, 224)) / 1e9:.3f}' == gmacs
    assert f'{sum(parameter.numel() for parameter in encoder.parameters()) / 1e6:.2f}' == parameters
