"""A tiny run as training leaves it: a folder of a stage with its last checkpoint, beside data and config."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.registry import MODELS
from gfvideo.visualization import save_picture

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
CLASSES = ['rising', 'falling']
SPLITS = dict(train=2, val=6, test=7)
H, W, FRAMES, TAKEN, STEPS = 32, 48, 5, 3, 2


@pytest.fixture(scope='session')
def load_tool() -> Callable[[str], ModuleType]:
    """A tool by its path below ``tools/``, as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f'tool_{Path(name).stem}', TOOLS / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def tiny_config(root: Path, steps: int) -> Config:
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='causal', map_stride=4)
    pipeline = [
        dict(type='SampleFrames', frames=TAKEN, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='Resize', size=(H, W)),
        dict(type='PackClip'),
    ]
    looks = dict(
        type='GlanceFocusRecognizer',
        glance=encoder,
        focus=encoder,
        glance_size=16,
        patch_size=16,
        steps=steps,
        policy=dict(type='RecurrentGaussianPolicy', hidden=8, reduced=4),
        classifier=dict(type='ConcatClassifier'),
    )
    model = looks if steps else dict(type='ClipRecognizer', encoder=encoder)
    return Config(
        dict(
            default_scope='gfvideo',
            model=dict(num_classes=len(CLASSES), **model),
            test_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='ClipDataset', root=str(root), split='test', pipeline=pipeline, test_mode=True
                ),
            ),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='ClipAccuracy'),
        )
    )


@pytest.fixture(scope='session')
def tiny_run(tmp_path_factory) -> SimpleNamespace:
    """A prepared dataset in ``folder`` and two runs on it.

    ``run`` is the work dir of a training of two stages, ``config`` its config, ``checkpoint`` the last one of
    its last stage; ``static_run``, ``static_config``, ``static_checkpoint`` are those of a network without
    looks. ``ids`` are those of split 'test'.
    """
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp('tiny')
    rng = np.random.default_rng(0)
    rows: dict[str, list[ClipRow]] = {}
    for split, count in SPLITS.items():
        names = [f'{CLASSES[n % 2]}/{split}{n}' for n in range(count)]
        rows[split] = [
            ClipRow(id=name, path=name, kind='frames', label=n % 2, frames=FRAMES, height=H, width=W)
            for n, name in enumerate(names)
        ]
        for name in names:
            for frame in range(1, FRAMES + 1):
                picture = rng.integers(0, 255, (H, W, 3), dtype=np.uint8)
                save_picture(picture, folder / 'clips' / name / f'{frame:05d}.jpg')
    write_manifest(
        folder,
        name='noise',
        version='1',
        classes=CLASSES,
        label_order='given',
        rows=rows,
        video_root='clips',
    )
    made = SimpleNamespace(folder=folder, ids=[row.id for row in rows['test']])
    for name, steps in (('', STEPS), ('static_', 0)):
        cfg = tiny_config(folder, steps)
        config, run = folder / f'{name}config.py', folder / f'{name}run'
        cfg.dump(config)
        torch.manual_seed(0)
        for stage, began in (('joint', '20260101_120000'), ('tune', '20260101_130000')):
            (run / stage / began).mkdir(parents=True)
            meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES), seed=3, stage=stage)
            weights = MODELS.build(cfg.model).state_dict()
            torch.save(dict(state_dict=weights, meta=meta), run / stage / 'epoch_2.pth')
            (run / stage / 'last_checkpoint').write_text(str(run / stage / 'epoch_2.pth'))
        setattr(made, f'{name}config', config)
        setattr(made, f'{name}run', run)
        setattr(made, f'{name}checkpoint', run / 'tune' / 'epoch_2.pth')
    return made
