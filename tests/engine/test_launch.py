"""On which device a command runs, where nobody says and where somebody does."""

from __future__ import annotations

import pytest
import torch

from gfvideo.apis import init_recognizer
from gfvideo.engine import ConfigError, choose_device


@pytest.fixture
def gpus(monkeypatch):
    """Have torch find so many GPUs."""

    def find(count: int) -> None:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)

    return find


@pytest.mark.parametrize(('count', 'expected'), [(0, 'cpu'), (1, 'cuda'), (4, 'cuda')])
def test_a_gpu_is_taken_where_there_is_one(gpus, count, expected):
    gpus(count)
    assert choose_device() == choose_device(None) == torch.device(expected)


@pytest.mark.parametrize('name', ['cpu', torch.device('cpu'), 'cuda', 'cuda:1'])
def test_what_is_named_is_taken(gpus, name):
    gpus(2)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ('count', 'name', 'said'),
    [
        (0, 'cuda', "device 'cuda' is not here: torch .* finds no GPU; give cpu, or leave it out"),
        (2, 'cuda:2', "device 'cuda:2' is not here: torch .* finds cuda:0, cuda:1 alone; give cpu"),
        (0, 'gpu', "device 'gpu' is unknown; give cpu, cuda, cuda:1"),
        (0, 'cuda:x', "device 'cuda:x' is unknown"),
        (0, 'xpu', "device 'xpu' is not here"),
    ],
)
def test_what_is_not_here_is_refused_in_a_line(gpus, count, name, said):
    gpus(count)
    with pytest.raises(ConfigError, match=said) as refused:
        choose_device(name)
    assert '\n' not in str(refused.value)


def test_a_recognizer_is_built_on_it(gpus, monkeypatch):
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8))
    from mmengine.config import Config

    cfg = Config(dict(model=dict(type='ClipRecognizer', num_classes=2, encoder=encoder)))
    gpus(0)
    model = init_recognizer(cfg, device=None)
    assert {parameter.device.type for parameter in model.parameters()} == {'cpu'}
    with pytest.raises(ConfigError, match="device 'cuda' is not here"):
        init_recognizer(cfg, device='cuda')
    gpus(1)  # onnxruntime is for the CPU
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    model = init_recognizer(cfg, device=None, runtime='onnxruntime')
    assert {parameter.device.type for parameter in model.parameters()} == {'cpu'}
