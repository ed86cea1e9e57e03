"""The folder of a run as the tools leave it: logs of two stages, a checkpoint, tests, exits, predictions."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ['up & <b>up</b>', '</script><script>window.harmed=1</script>', '<img src=x onerror=harmed=1>']
H, W, VIDEO_FRAMES, FRAMES, STEPS = 48, 64, 6, 4, 2
SPLITS = dict(val=12, test=18)
LOGS = dict(
    joint=[
        dict(loss=3.0, loss_step0=1.0, acc_step2=0.25, lr=0.01, epoch=1, iter=10, step=10),
        dict(top1=0.5, top1_step0=0.25, top1_step2=0.5, step=1),
        dict(loss=2.0, loss_step0=0.5, acc_step2=0.5, lr=0.005, epoch=2, iter=20, step=20),
    ],
    policy=[
        dict(loss=1.0, reward_step1=0.1, approx_kl=0.01, entropy=1.5, lr=0.001, epoch=1, iter=5, step=5),
        dict(loss=0.5, reward_step1=0.3, explained_variance=0.4, lr=0.001, epoch=1, iter=10, step=10),
    ],
)


def load_tool(name: str):
    path = ROOT / 'tools' / name
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(root: Path, steps: int = STEPS) -> Config:
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
    pipeline = [
        dict(type='SampleFrames', frames=FRAMES, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='PackClip'),
    ]
    looks = dict(
        type='GlanceFocusRecognizer',
        glance=encoder,
        focus=encoder,
        glance_size=16,
        patch_size=24,
        steps=steps,
        policy=dict(type='RecurrentGaussianPolicy', hidden=8),
        classifier=dict(type='RecurrentClassifier', hidden=16),
    )
    whole = dict(type='ClipRecognizer', encoder=encoder)
    return Config(
        dict(
            default_scope='gfvideo',
            model=dict(num_classes=len(CLASSES), **(looks if steps else whole)),
            test_dataloader=dict(
                batch_size=6,
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


def write_dataset(root: Path) -> None:
    rng, rows = np.random.default_rng(0), {}
    for split, count in SPLITS.items():
        rows[split] = [
            ClipRow(
                id=f'{split}{n}',
                path=f'{split}{n}',
                kind='frames',
                label=n % len(CLASSES),
                frames=VIDEO_FRAMES,
                height=H,
                width=W,
            )
            for n in range(count)
        ]
        for row in rows[split]:
            (root / 'clips' / row.path).mkdir(parents=True)
            tint = rng.integers(0, 255, (1, 1, 3))
            for frame in range(1, VIDEO_FRAMES + 1):
                noise = rng.integers(0, 40, (H // 4, W // 4, 3)).repeat(4, 0).repeat(4, 1)
                picture = np.clip(tint + noise, 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / 'clips' / row.path / f'{frame:05d}.jpg'), picture)
    write_manifest(
        root,
        name='tints',
        version='1',
        classes=CLASSES,
        label_order='given',
        rows=rows,
        video_root='clips',
    )


def write_stage(folder: Path, begun: str, rows: list[dict]) -> None:
    log = folder / begun / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(json.dumps(row) + '\n' for row in rows) + '{"loss": 0.4, "it')  # cut off


def write_checkpoint(cfg: Config, path: Path) -> None:
    torch.manual_seed(0)
    weights = MODELS.build(cfg.model).state_dict()
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES), seed=7)
    torch.save(dict(state_dict=weights, meta=meta), path)


@pytest.fixture(scope='session')
def runs(tmp_path_factory) -> SimpleNamespace:
    """Folders ``looks``, a run with all that tools write, ``static``, one of a static network that was
    tested, and ``bare``, with logs alone."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp('runs')
    write_dataset(root / 'data')
    looks, static, bare = (root / name for name in ('looks', 'static', 'bare'))
    for folder in (looks, bare):
        write_stage(folder / 'policy', '20260102_000000', LOGS['policy'])
        write_stage(folder / 'joint', '20260101_000000', LOGS['joint'])
    write_stage(static, '20260103_000000', LOGS['joint'])
    for folder, steps in ((looks, STEPS), (static, 0)):
        cfg = config(root / 'data', steps)
        cfg.dump(folder / 'config.py')
        write_checkpoint(cfg, folder / 'last.pth')
        arguments = [folder / 'config.py', folder / 'last.pth']
        tested = ['--work-dir', folder / 'test', '--dump', folder / 'test' / 'predictions.pkl']
        (folder / 'test').mkdir()
        load_tool('test.py').main([str(one) for one in [*arguments, *tested]])
        if steps:
            load_tool('calibrate.py').main([str(one) for one in [*arguments, '--split', 'val']])
            exits = ['--exits', folder / 'exits.json', '--work-dir', folder / 'test_exits']
            load_tool('test.py').main([str(one) for one in [*arguments, *exits]])
            controls = load_tool('analysis_tools/controls.py')
            out = ['--split', 'test', '--out', folder / 'controls.json']
            controls.main([str(one) for one in [*arguments, *out]])
    record = dict(stage='policy', checkpoint='../last.pth', best=None, settings={}, seed=7)
    (looks / 'policy' / 'stage_done.json').write_text(json.dumps(record))
    return SimpleNamespace(root=root, looks=looks, static=static, bare=bare, data=root / 'data')
