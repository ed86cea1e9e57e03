"""The table of the controls, on clips of drawn images whose object is known."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

import gfvideo.engine.trainings
from gfvideo.apis import init_recognizer
from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.engine import expand_stages, load_config

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/controls.py'
CLIPS, FRAMES, H, W = 6, 4, 48, 64
ENCODER = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('controls', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(root, model, size=(H, W), **more):
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
            default_scope='gfvideo',
            model=dict(model, num_classes=2),
            train_dataloader=dict(loader, dataset=dict(dataset, split='train')),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)),
            test_dataloader=dict(loader, dataset=dataset),
            test_cfg=dict(),
            test_evaluator=dict(type='ClipAccuracy'),
            **more,
        )
    )


STAGES = [
    dict(name='joint', model=dict(train_centres='mixed')),
    dict(name='tune', model=dict(train_centres='mean', frozen=('policy',)), train_cfg=dict(max_epochs=1)),
]


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
    for clip in range(CLIPS + 2):
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
        rows=dict(val=rows[:CLIPS], train=rows[CLIPS:]),
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
    config(root, looking(), stages=STAGES).dump(root / 'staged.py')
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


def stages_of(training):
    """The stages that the command of a training runs, and which of them alone."""
    train = runpy.run_path(str(training.tool))
    args = train['parse_args'](training.command()[1:])
    assert Path(args.work_dir) == training.folder
    return expand_stages(load_config(args.config), args.cfg_options), args


def test_what_is_trained(tool, world, tmp_path):
    arguments = [str(world / 'staged.py'), '--train', '--seeds', '4', '--work-dir', str(tmp_path), '--amp']
    arguments += ['--static', str(world / 'tsm.py'), '--tsm-plus', str(world / 'plus.py')]
    arguments += ['--cfg-options', 'model.aux_weight=0.5']
    trainings, measured = tool.trainings_of(tool.parse_args(arguments), 4)
    assert [one.folder.name for one in trainings] == ['learned', 'tsm', 'plus', 'random', 'centre']
    learned = tmp_path / 'seed4' / 'learned'
    for training in trainings:
        stages, args = stages_of(training)
        name = training.folder.name
        assert args.seed == 4 and args.amp and training.folder == tmp_path / 'seed4' / name
        if name in ('tsm', 'plus'):
            assert not args.cfg_options and args.stage is None and training.after is None
            continue
        assert {stage.cfg.model.aux_weight for stage in stages} == {0.5}
        if name == 'learned':
            assert args.stage is None and [stage.name for stage in stages] == ['joint', 'tune']
            continue
        tune = stages[1].cfg
        assert args.stage == 'tune' and training.after == trainings[0].name
        assert tune.model.train_centres == tune.model.test_centres == name
        assert tune.load_from == str(learned / 'joint' / 'last.pth') and tune.train_cfg.max_epochs == 1
    assert measured.checkpoint == str(learned / 'tune' / 'last.pth')
    assert dict(measured.tuned) == {
        centres: str(tmp_path / 'seed4' / centres / 'tune' / 'last.pth') for centres in ('random', 'centre')
    }
    assert [checkpoint for _, checkpoint in measured.static] == [
        str(tmp_path / 'seed4' / name / 'last.pth') for name in ('tsm', 'plus')
    ]


def test_trained_over_seeds(tool, world, tmp_path, monkeypatch, capsys):
    """All but the training: drawn weights stand where it would leave its checkpoints."""

    def draw_weights(trainings, jobs, env):
        assert jobs == 2 and len(trainings) == 8
        for number, training in enumerate(trainings):
            torch.manual_seed(number)
            weights = init_recognizer(str(training.config)).state_dict()
            for folder in (training.folder, training.folder / 'tune'):
                folder.mkdir(parents=True)
                torch.save(dict(state_dict=weights, meta={}), folder / 'last.pth')

    monkeypatch.setattr(gfvideo.engine.trainings, 'train_all', draw_weights)
    arguments = [
        str(world / 'staged.py'),
        '--train',
        '--seeds',
        '0',
        '1',
        '--work-dir',
        str(tmp_path / 'runs'),
    ]
    arguments += ['--static', str(world / 'tsm.py'), '--objects', str(world / 'objects.csv'), '--jobs', '2']
    out = tmp_path / 'controls.json'
    tool.main([*arguments, '--device', 'cpu', '--out', str(out)])
    assert 'means of 2 trainings, seeds 0, 1' in (told := capsys.readouterr().out)
    assert '± one standard deviation over trainings;' in told
    written = json.loads(out.read_text())
    assert written['seeds'] == [0, 1] and len(written['runs']) == 2
    for number, row in enumerate(written['rows']):
        one, two = (run['rows'][number] for run in written['runs'])
        assert row['name'] == one['name'] == two['name']
        assert row['top1'][-1] == pytest.approx((one['top1'][-1] + two['top1'][-1]) / 2)
        assert row['errors'][-1] == pytest.approx(abs(one['top1'][-1] - two['top1'][-1]) / 2**0.5)
    assert [row['name'] for row in written['rows']][-3:] == ['random, tuned', 'centre, tuned', 'tsm, 24x24']


@pytest.mark.slow
def test_really_trained(tool, world, tmp_path, capsys):
    arguments = [str(world / 'staged.py'), '--train', '--work-dir', str(tmp_path / 'runs'), '--device', 'cpu']
    tool.main(arguments)
    first = capsys.readouterr().out
    assert 'seed 0, random: trained' in first
    tool.main(arguments)  # again: nothing is trained, and the table is the same
    second = capsys.readouterr().out
    assert 'trained,' not in second and second[second.index('row') :] == first[first.index('row') :]


def test_refusals(tool, world, tmp_path):
    gf, tsm = ([str(world / f'{name}.py'), str(world / f'{name}.pth')] for name in ('gf', 'tsm'))
    for arguments, message in (
        ([*tsm], 'ClipRecognizer with steps=0 takes no looks'),
        ([*gf, '--tuned', f'mean={gf[1]}'], "tuned on 'mean' patches is unknown"),
        ([*gf, '--source-pattern', 'park'], "clip 'yard0_0' does not match"),
        ([*gf, '--objects', str(world / 'val.csv')], 'has no column'),
        ([*gf, '--split', 'vla'], "'vla'"),
        ([gf[0], '--train', '--work-dir', str(tmp_path)], 'has no stages'),
    ):
        with pytest.raises(SystemExit, match=message):
            tool.main([*arguments, '--device', 'cpu'])


def test_usage(tool, capsys):
    for arguments, message in (
        (['--sources', 'val.csv'], '--source-column NAME go together'),
        (['--sources', 'a', '--source-column', 'b', '--source-pattern', 'c'], 'give one'),
        (['--tuned', 'random'], 'must be of the form NAME=VALUE'),
        (['--static', 'tsm.py'], 'must be of the form CONFIG=CHECKPOINT'),
        (['--train'], '--train makes the checkpoints'),
        (['--seeds', '1'], 'say how to --train'),
    ):
        with pytest.raises(SystemExit) as stop:
            tool.main(['config.py', 'best.pth', *arguments])
        assert stop.value.code == 2 and message in capsys.readouterr().err
    for arguments, message in (
        ([], 'give a CHECKPOINT of CONFIG, or --train'),
        (['--train', '--seeds', '1', '1'], 'each once'),
        (['--train', '--jobs', '0'], 'one at a time at least'),
        (['--train', '--static', 'a/tsm.py', 'b/tsm.py'], 'give each once'),
    ):
        with pytest.raises(SystemExit) as stop:
            tool.main(['config.py', *arguments])
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_what_single_frames_know(world, capsys):
    """tools/analysis_tools/over_frames.py, of the same clips: all frames' mean is what a test says."""
    spec = importlib.util.spec_from_file_location('over_frames', TOOL.with_name('over_frames.py'))
    over_frames = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(over_frames)
    paths = [str(world / 'gf.py'), str(world / 'gf.pth')]
    over_frames.main([*paths, '--last', '1', '--batch-size', '4'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{CLIPS} clips of 'val', top-1 % after each step"
    names = [line[:16].strip() for line in lines[1:]]
    assert names == ['mean', 'rising', 'sure', 'last 1', 'mean of the fram'] + [
        f'after {t}' for t in range(1, FRAMES + 1)
    ]
    assert lines[1][16:] == lines[-1][16:] and lines[1].count('/') == 2
    with pytest.raises(SystemExit):
        over_frames.main([*paths, '--last', '0'])


def test_a_map_of_the_config_is_taught_the_places(world, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('findable', TOOL.with_name('findable.py'))
    findable = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(findable)
    out = tmp_path / 'found.json'
    findable.main(
        [
            str(world / 'gf.py'),
            str(world / 'objects.csv'),
            '--epochs',
            '2',
            '--samples',
            '2',
            '--out',
            str(out),
        ]
    )
    rows = json.loads(out.read_text())
    assert [row['epoch'] for row in rows] == [1, 2]
    assert all(0 <= row['hits'] <= 1 and 0 <= row['luck'] <= 1 for row in rows)
    assert 'epoch 2 of 2: loss' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='has no ValueMapPolicy'):
        findable.main([str(world / 'plus.py'), str(world / 'objects.csv')])


def test_what_the_map_is_taught_is_compared_with_the_places(world, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('hit_signals', TOOL.with_name('hit_signals.py'))
    hit_signals = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hit_signals)
    out = tmp_path / 'signals.json'
    paths = [str(world / 'gf.py'), str(world / 'gf.pth'), str(world / 'objects.csv')]
    hit_signals.main([*paths, '--looks', '3', '--batches', '2', '--out', str(out)])
    rows = json.loads(out.read_text())
    assert list(rows) == ['gain', 'alone', 'change']
    assert all(set(row) == {'hit', 'miss', 'correlation', 'auc'} for row in rows.values())
    assert 'random first looks' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='takes no focus steps'):
        hit_signals.main([str(world / 'tsm.py'), str(world / 'tsm.pth'), str(world / 'objects.csv')])
    with pytest.raises(SystemExit):
        hit_signals.main([*paths, '--looks', '0'])
