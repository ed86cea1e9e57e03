"""A published checkpoint holds the weights and what is needed to use them, and nothing of the run that made
it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from gfvideo import __version__
from gfvideo.apis import init_recognizer
from gfvideo.deployment import publish_checkpoint
from gfvideo.engine import CheckpointError, weights_hash

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'deployment' / 'publish_checkpoint.py'
MODEL = dict(
    type='ClipRecognizer', num_classes=3, encoder=dict(type='Encoder', backbone=dict(type='TinyCNN', width=8))
)
FRAMES = torch.randn(2, 3, 3, 24, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def checkpoint(tmp_path):
    """As a run with EMAHook saves it: averaged weights as the model's own, those before averaging beside."""
    torch.manual_seed(0)
    model = init_recognizer(Config(dict(model=MODEL)))
    weights = model.state_dict()
    optimizer = torch.optim.AdamW(model.parameters())
    model(FRAMES).sum().backward()
    optimizer.step()
    before = {f'module.{key}': value + 1 for key, value in weights.items()}
    path = tmp_path / 'epoch_3.pth'
    meta = dict(
        cfg=model.cfg.pretty_text,
        dataset_meta=dict(classes=['a', 'b', 'c']),
        stage='focus',
        epoch=3,
        seed=7,
        datasets=dict(train=dict(name='toy', manifest_hash='abc')),
        hook_msgs=dict(last='x'),
        experiment_name='x',
    )
    torch.save(
        dict(
            state_dict=weights,
            ema_state_dict={**before, 'steps': torch.tensor(5)},
            meta=meta,
            optimizer=optimizer.state_dict(),
            param_schedulers=[],
            message_hub=dict(random_states=torch.zeros(10_000)),
        ),
        path,
    )
    return path


def test_it_predicts_as_before_and_keeps_where_it_comes_from(checkpoint, tmp_path):
    path = publish_checkpoint(checkpoint, tmp_path / 'published')
    assert (
        path.parent == tmp_path / 'published'
        and path.name == f'epoch_3-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'
    )
    content = torch.load(path, weights_only=True)
    assert set(content) == {'state_dict', 'meta'} and path.stat().st_size < checkpoint.stat().st_size / 3
    assert set(content['meta']) == {
        'cfg',
        'dataset_meta',
        'stage',
        'epoch',
        'seed',
        'datasets',
        'gfvideo_version',
        'weights_hash',
    }
    assert (
        content['meta']['gfvideo_version'] == __version__
        and content['meta']['datasets']['train']['manifest_hash'] == 'abc'
    )
    before, after = init_recognizer(None, checkpoint), init_recognizer(None, path)
    assert weights_hash(before.state_dict()) == weights_hash(after.state_dict())
    assert after.dataset_meta == dict(classes=['a', 'b', 'c'])
    with torch.no_grad():
        assert before(FRAMES).equal(after(FRAMES))


def test_names(checkpoint, tmp_path):
    first = publish_checkpoint(checkpoint, tmp_path / 'NAME.pth')
    digits = first.stem.removeprefix('NAME-')
    assert first.parent == tmp_path and len(digits) == 8
    assert publish_checkpoint(checkpoint, tmp_path / 'NAME.pth') == first  # the same again is no other file
    # the old digits make way for the new
    assert publish_checkpoint(first, tmp_path / 'again').name == first.name
    first.write_bytes(b'something else')
    with pytest.raises(FileExistsError, match='holds something else'):
        publish_checkpoint(checkpoint, tmp_path / 'NAME.pth')
    assert first.read_bytes() == b'something else'


def test_weights_before_and_after_averaging(checkpoint, tmp_path):
    weights = torch.load(checkpoint, weights_only=True)['state_dict']
    averaged, unaveraged = (
        torch.load(publish_checkpoint(checkpoint, tmp_path / name, name), weights_only=True)['state_dict']
        for name in ('averaged', 'unaveraged')
    )
    assert averaged.keys() == unaveraged.keys() == weights.keys()
    assert all(
        averaged[key].equal(value) and unaveraged[key].equal(value + 1) for key, value in weights.items()
    )


def test_what_cannot_be_published_is_told(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    del content['ema_state_dict']
    torch.save(content, tmp_path / 'single.pth')
    with pytest.raises(CheckpointError, match='no ema_state_dict'):
        publish_checkpoint(tmp_path / 'single.pth', tmp_path / 'out', 'averaged')
    del content['meta']['cfg']
    torch.save(content, tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match='carries no config'):
        publish_checkpoint(tmp_path / 'bare.pth', tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match='no checkpoint at'):
        publish_checkpoint(tmp_path / 'gone.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_the_tool_says_what_was_saved(checkpoint, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('publish_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main([str(checkpoint), str(tmp_path / 'published')])
    before, after = capsys.readouterr().out.splitlines()
    assert before.startswith(str(checkpoint)) and before.endswith(' MB')
    assert Path(after.split('  ')[0]).is_file() and after.endswith(' MB')
    with pytest.raises(SystemExit, match='FileNotFoundError'):
        tool.main([str(tmp_path / 'gone.pth'), str(tmp_path)])


def test_a_converted_checkpoint_keeps_its_source(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content['meta']['converted'] = dict(form='tsm', source='theirs.pth', sha256='0' * 64)
    torch.save(content, tmp_path / 'converted.pth')
    path = publish_checkpoint(tmp_path / 'converted.pth', tmp_path / 'published')
    assert torch.load(path, weights_only=True)['meta']['converted']['source'] == 'theirs.pth'
