"""The printed table is the measured cost, and the shape is that of the test pipeline."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from mmengine.config import Config

from gfvideo.complexity import recognizer_cost
from gfvideo.registry import MODELS

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'get_flops.py'

CONFIG = """
default_scope = 'gfvideo'
encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8))
model = dict(type='GlanceFocusRecognizer', glance=encoder, focus=encoder,
             policy=dict(type='RecurrentGaussianPolicy', hidden=8),
             classifier=dict(type='RecurrentClassifier', hidden=16),
             num_classes=5, glance_size=32, patch_size=32, steps=2)
test_pipeline = [dict(type='SampleFrames', frames=3), dict(type='DecodeFrames'),
                 dict(type='ResizeShortSide', short=70),
                 dict(type='CentreCrop', size=(64, 80)), dict(type='PackClip')]
test_dataloader = dict(dataset=dict(type='ClipDataset', pipeline=test_pipeline))
"""


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('get_flops_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path) -> Path:
    file = tmp_path / 'tiny.py'
    file.write_text(CONFIG)
    return file


def test_the_table(tool, config, capsys):
    tool.main([str(config)])
    printed = capsys.readouterr().out
    cost = recognizer_cost(MODELS.build(Config.fromfile(config).model), (3, 3, 64, 80))
    assert 'Multiply-adds in GMACs' in printed and '3 frames of 64x80' in printed
    rows = {line.split('  ')[0]: line.split() for line in printed.splitlines() if line}
    for name, multiply_adds in cost['parts'].items():
        assert (name in rows) == (multiply_adds > 0)  # heads that learn alone are left out
        assert name not in rows or rows[name][1] == f'{multiply_adds / 1e9:.4f}'
    assert rows['whole'][1] == f'{cost["steps"][-1] / 1e9:.4f}'
    for step, after in enumerate(cost['steps']):
        assert rows[f'step {step}'][-1] == f'{after / 1e9:.4f}'


def test_shape_and_options_are_given(tool, config, capsys):
    tool.main([str(config), '--shape', '2', '64', '64'])
    one = capsys.readouterr().out
    tool.main([str(config), '--shape', '2', '64', '64', '--cfg-options', 'model.steps=1'])
    other = capsys.readouterr().out
    assert '2 frames of 64x64' in one and 'step 2' in one and 'step 2' not in other


def test_frames_are_those_of_the_pipeline_unless_they_are_given(tool, config, capsys):
    """``--shape H W`` and ``--shape S``, as MMAction2's tool takes them."""
    for shape, told in (
        ('48 64', '3 frames of 48x64'),
        ('64', '3 frames of 64x64'),
        ('2 48 64', '2 frames of 48x64'),
    ):
        tool.main([str(config), '--shape', *shape.split()])
        assert told in capsys.readouterr().out
    for shape, said in (('1 3 8 224 224', 'give H W or T H W'), ('0 64', 'give positive numbers')):
        with pytest.raises(SystemExit):
            tool.main([str(config), '--shape', *shape.split()])
        assert said in capsys.readouterr().err


def test_a_pipeline_without_frames(tool, config):
    config.write_text(CONFIG.replace("dict(type='SampleFrames', frames=3), ", ''))
    with pytest.raises(SystemExit, match='how many frames it takes; give --shape T H W'):
        tool.main([str(config), '--shape', '64', '64'])


def test_a_device_that_is_not_here(tool, config, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(SystemExit, match="ConfigError: device 'cuda' is not here"):
        tool.main([str(config), '--device', 'cuda'])


def test_a_pipeline_without_a_size(tool, config):
    config.write_text(CONFIG.replace("dict(type='CentreCrop', size=(64, 80)), ", ''))
    with pytest.raises(SystemExit, match='give --shape T H W'):
        tool.main([str(config)])


def test_a_patch_that_does_not_fit(tool, config):
    with pytest.raises(SystemExit, match='larger than the frame'):
        tool.main([str(config), '--shape', '2', '16', '16'])


def test_shape_of_views(tool):
    def pipeline(*steps: dict) -> Config:
        return Config(
            dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='SampleFrames', frames=4), *steps])))
        )

    assert tool.shape_of_views(pipeline(dict(type='Resize', size=(20, 30)))) == (4, 20, 30)
    assert tool.shape_of_views(
        pipeline(dict(type='Resize', size=(20, 30)), dict(type='ThreeCrop', size=16))
    ) == (4, 16, 16)
    with pytest.raises(ValueError, match='--shape'):
        tool.shape_of_views(Config(dict(model=dict())))


def test_help(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOL), '--help'], cwd=tmp_path, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0 and 'multiply-adds' in done.stdout
