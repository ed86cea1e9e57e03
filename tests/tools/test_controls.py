"""The table of the controls, on clips of drawn images whose object is known."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import init_recognizer
from gfvideo.data.manifest import ClipRow, write_manifest

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/controls.py'
CLIPS, FRAMES, H, W = 6, 4, 48, 64
ENCODER = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('controls', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(root, model, size=(H, W)):
    pipeline = [
        dict(type='SampleFrames', frames=FRAMES, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='Resize', size=size),
        dict(type='PackClip'),
    ]
    dataset = dict(type='ClipDataset', root=str(root), split='val', pipeline=pipeline, test_mode=True)
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    return Config(
        dict(
            model=dict(model, num_classes=2),
            test_dataloader=dict(loader, dataset=dataset),
            test_cfg=dict(),
            test_evaluator=dict(type='ClipAccuracy'),
        )
    )


def looking(**settings):
    return (
        dict(
            type='GlanceFocusRecognizer',
            glance=ENCODER,
            focus=ENCODER,
            glance_size=16,
            patch_size=16,
            steps=2,
            policy=dict(type='ValueMapPolicy', hidden=8),
            classifier=dict(type='ConcatClassifier'),
        )
        | settings
    )


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Clips of two scenes, their manifest, objects.csv, annotations and configs with checkpoints of drawn
    weights."""
    root = tmp_path_factory.mktemp('controls')
    rng, rows, lines = np.random.default_rng(0), [], []
    for clip in range(CLIPS):
        name = f'yard{clip % 2}_{clip}'
        (root / 'clips' / name).mkdir(parents=True)
        for frame in range(FRAMES):
            picture = rng.integers(0, 255, (H, W, 3), dtype=np.uint8)
            cv2.imwrite(str(root / 'clips' / name / f'{frame + 1:05d}.jpg'), picture)
            lines += [f'{name},{frame},clock,{8 + 8 * clip},10,6', f'{name},{frame},fig,20,{36},6']
        rows.append(
            ClipRow(id=name, path=name, kind='frames', label=clip % 2, frames=FRAMES, height=H, width=W)
        )
    write_manifest(
        root,
        name='drawn',
        version='1',
        classes=['a', 'b'],
        label_order='given',
        rows=dict(val=rows),
        video_root='clips',
    )
    (root / 'objects.csv').write_text('id,frame,object,x,y,diameter\n' + '\n'.join(lines) + '\n')
    (root / 'val.csv').write_text('id,scene\n' + ''.join(f'{row.id},{row.id[:5]}\n' for row in rows))
    models = dict(
        gf=looking(),
        tsm=dict(type='ClipRecognizer', encoder=ENCODER, input_size=24),
        plus=looking(glance_size=(H, W), patch_size=(H, W), steps=1, policy=dict(type='CentrePolicy')),
    )
    for name, model in models.items():
        cfg = config(root, model)
        cfg.dump(root / f'{name}.py')
        torch.manual_seed(0)
        torch.save(dict(state_dict=init_recognizer(cfg).state_dict(), meta={}), root / f'{name}.pth')
    return root


def test_every_row(tool, world, tmp_path, capsys):
    gf, tsm, plus = (
        [str(world / f'{name}.py'), str(world / f'{name}.pth')] for name in ('gf', 'tsm', 'plus')
    )
    arguments = [*gf, '--objects', str(world / 'objects.csv'), '--device', 'cpu', '--batch-size', '4']
    arguments += ['--tuned', f'random={gf[1]}', f'centre={gf[1]}', '--static', '='.join(tsm)]
    arguments += [
        '--tsm-plus',
        '='.join(plus),
        '--sources',
        str(world / 'val.csv'),
        '--source-column',
        'scene',
    ]
    tool.main([*arguments, '--out', str(tmp_path / 'new' / 'controls.json')])
    out = capsys.readouterr().out
    written = json.loads((tmp_path / 'new' / 'controls.json').read_text())
    rows = {row['name']: row for row in written['rows']}
    own = ['learned', 'random', 'centre', 'top-k', 'oracle', 'glance only']
    assert list(rows) == [*own, 'random, tuned', 'centre, tuned', 'tsm, 24x24', 'plus, 48x64']
    assert written['clips'] == CLIPS and written['sources'] == 2 and written['data']['split'] == 'val'
    assert '6 clips of drawn' in out and 'from 2 sources' in out and '± one standard error by source' in out
    # the tuned ones are the same weights here
    for name in ('random', 'centre'):
        assert rows[f'{name}, tuned'] | dict(name=name) == rows[name]
    assert rows['oracle']['hits']['found'][-1] == 1.0
    assert rows['oracle']['hits']['objects']['clock']['centre'] == [1.0, 0.0]
    assert len(rows['tsm, 24x24']['top1']) == len(rows['plus, 48x64']['top1']) == 1
    assert rows['learned']['gmacs'][-1] > rows['top-k']['gmacs'][-1] > rows['random']['gmacs'][-1]

    tool.main([*gf, '--device', 'cpu', '--source-pattern', 'yard.'])
    assert 'from 2 sources' in capsys.readouterr().out


def test_the_rows_agree_with_tools_that_test_one_at_a_time(tool, world, tmp_path):
    from gfvideo.engine.predictions import SplitPredictions

    gf = [str(world / 'gf.py'), str(world / 'gf.pth')]
    tool.main([*gf, '--device', 'cpu', '--out', str(tmp_path / 'controls.json')])
    rows = {row['name']: row for row in json.loads((tmp_path / 'controls.json').read_text())['rows']}
    for name, options in (
        ('learned', {}),
        ('centre', {'model.test_centres': 'centre'}),
        ('top-k', {'model.policy.type': 'TopKPolicy'}),
    ):
        split = SplitPredictions(init_recognizer(*gf, 'cpu', options), 'val')
        logits = split.step_logits()
        right = (logits.argmax(2) == split.labels[:, None]).double().mean(0)
        assert rows[name]['top1'] == pytest.approx(right.tolist())


def test_refusals(tool, world, tmp_path):
    gf, tsm = ([str(world / f'{name}.py'), str(world / f'{name}.pth')] for name in ('gf', 'tsm'))
    for arguments, message in (
        ([*tsm], 'ClipRecognizer with steps=0 takes no looks'),
        ([*gf, '--tuned', f'mean={gf[1]}'], "tuned on 'mean' patches is unknown"),
        ([*gf, '--source-pattern', 'park'], "clip 'yard0_0' does not match"),
        ([*gf, '--objects', str(world / 'val.csv')], 'has no column'),
        ([*gf, '--split', 'vla'], "'vla'"),
    ):
        with pytest.raises(SystemExit, match=message):
            tool.main([*arguments, '--device', 'cpu'])


def test_usage(tool, capsys):
    for arguments, message in (
        (['--sources', 'val.csv'], '--source-column NAME go together'),
        (['--sources', 'a', '--source-column', 'b', '--source-pattern', 'c'], 'give one'),
        (['--tuned', 'random'], 'must be of the form NAME=VALUE'),
    ):
        with pytest.raises(SystemExit) as stop:
            tool.main(['config.py', 'best.pth', *arguments])
        assert stop.value.code == 2 and message in capsys.readouterr().err
