"""Pictures of clips whose pixels are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from gfvideo.data.manifest import ClipRow, write_manifest

ROOT = Path(__file__).resolve().parents[2]
COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]  # RGB of clip 0, 1, 2
H, W = 40, 60


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location(
        'browse_dataset', ROOT / 'tools/visualizations/browse_dataset.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path):
    """A config of three clips of one colour each, which training crops to 24x24."""
    root = tmp_path / 'data'
    for clip, colour in enumerate(COLOURS):
        (root / 'clips' / f'v{clip}').mkdir(parents=True)
        for frame in range(1, 5):
            picture = np.full((H, W, 3), colour[::-1], dtype=np.uint8)
            cv2.imwrite(str(root / 'clips' / f'v{clip}' / f'{frame:05d}.jpg'), picture)
    rows = [
        ClipRow(id=f'v{n}', path=f'v{n}', kind='frames', label=n % 2, frames=4, height=H, width=W)
        for n in range(3)
    ]
    write_manifest(
        root,
        name='colours',
        version='1',
        classes=['one', 'two'],
        label_order='given',
        rows=dict(train=rows),
        video_root='clips',
    )
    steps = [
        dict(type='SampleFrames', frames=4),
        dict(type='DecodeFrames'),
        dict(type='RandomCrop', size=24),
        dict(type='PackClip'),
    ]
    dataset = dict(type='ClipDataset', root=str(root), split='train', pipeline=steps)
    cfg = Config(dict(model=dict(type='X'), train_dataloader=dict(batch_size=1, dataset=dataset)))
    cfg.dump(tmp_path / 'config.py')
    return str(tmp_path / 'config.py')


def pixels_of(path, colour):
    """How many pixels of a picture have this colour."""
    picture = cv2.imread(str(path))[..., ::-1].astype(int)
    return int((np.abs(picture - colour).sum(-1) < 30).sum())


def test_clips_after_the_pipeline_and_before(tool, config, tmp_path, capsys):
    for mode, size in (('transformed', 24 * 24), ('original', H * W)):
        out = tmp_path / mode
        tool.main([config, '--output-dir', str(out), '--mode', mode])
        names = [f'00000{n}_v{n}.png' for n in range(3)]
        assert sorted(path.name for path in out.iterdir()) == names
        assert capsys.readouterr().out.split() == [str(out / name) for name in names]
        for name, colour in zip(names, COLOURS):
            assert pixels_of(out / name, colour) == pytest.approx(4 * size, rel=0.02)


def test_number_spreads_over_the_split(tool, config, tmp_path):
    tool.main([config, '--output-dir', str(tmp_path / 'out'), '--number', '2'])
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['000000_v0.png', '000002_v2.png']


def test_frames_stand_in_order_under_their_indices(tool):
    frames = np.stack([np.full((30, 50, 3), 20 * n, dtype=np.uint8) for n in range(10)])
    picture = tool.draw_clip(frames, list(range(10)), '0 one | v0')
    lines = 2  # eight and two
    assert picture.shape == (48 + lines * (20 + 30 + 8), 8 * 58 + 8, 3)
    assert picture[48 + 20 + 15, 8 + 58 * 3 + 25].tolist() == [60] * 3
    assert picture[48 + 58 + 20 + 15, 8 + 58 + 25].tolist() == [180] * 3
    assert picture[:48].min() < 100  # the caption


def test_tall_frames_are_drawn_smaller(tool):
    assert tool.draw_clip(np.zeros((1, 512, 1024, 3), np.uint8), [0], 'x').shape[:2] == (48 + 284, 528)


def test_what_is_wrong_is_told(tool, config, tmp_path):
    with pytest.raises(SystemExit, match='has no val_dataloader.dataset; choose another --split'):
        tool.main([config, '--output-dir', str(tmp_path), '--split', 'val'])
    with pytest.raises(SystemExit, match='ManifestError|FileNotFoundError'):
        tool.main(
            [
                config,
                '--output-dir',
                str(tmp_path),
                '--cfg-options',
                f'train_dataloader.dataset.root={tmp_path}/gone',
            ]
        )
