"""tools/calibrate.py fits exits to a checkpoint, tools/test.py --exits runs them: what both answer, print and
write, on tiny videos."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from gfvideo.apis import build_pipeline, init_recognizer, prepare_video
from gfvideo.complexity import recognizer_cost
from gfvideo.data.manifest import ClipRow, read_manifest, write_manifest
from gfvideo.engine import weights_hash
from gfvideo.exits import Calibration, StreamExits, read_exits, replay_clips, write_exits

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
SPLITS = dict(train=2, val=16, test=7)  # 7: two processes do not share it evenly
FRAMES, STEPS, FRAME_SIZE = 4, 2, (36, 48)
BIDIRECTIONAL = ('--cfg-options', 'model.glance.shift=bidirectional', 'model.focus.shift=bidirectional')


def config(root: Path) -> Config:
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift='causal', map_stride=4)
    pipeline = [
        dict(type='SampleFrames', frames=FRAMES, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='Resize', size=FRAME_SIZE),
        dict(type='PackClip'),
    ]

    def loader(split: str) -> dict:
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='ClipDataset', root=str(root), split=split, pipeline=pipeline, test_mode=split != 'train'
            ),
        )

    return Config(
        dict(
            default_scope='gfvideo',
            model=dict(
                type='GlanceFocusRecognizer',
                num_classes=3,
                glance=encoder,
                focus=encoder,
                glance_size=16,
                patch_size=16,
                steps=STEPS,
                policy=dict(type='RecurrentGaussianPolicy', hidden=8, reduced=4),
                classifier=dict(type='ConcatClassifier'),
            ),
            train_dataloader=loader('train'),
            test_dataloader=loader('test'),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='ClipAccuracy'),
        )
    )


def draw_weights(cfg: Config, videos: list[Path], seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """An untrained network that is sure of different classes on different videos; its weights, and its step
    logits on them."""
    torch.manual_seed(seed)
    model = init_recognizer(cfg)
    pipeline = build_pipeline(cfg)
    clips = model.data_preprocessor(pseudo_collate([prepare_video(video, pipeline) for video in videos]))[
        'inputs'
    ]
    with torch.no_grad():
        for step, layer in enumerate(model.classifier.fc):
            logits = model.predict_steps(clips).step_logits[:, step]  # (N, C)
            layer.weight.mul_(2 / logits.std(0).mean())
            layer.bias.zero_()
            layer.bias.sub_(model.predict_steps(clips).step_logits[:, step].mean(0))
        return model.state_dict(), model.predict_steps(clips).step_logits


@pytest.fixture(scope='module')
def world(tmp_path_factory, painted_video) -> SimpleNamespace:
    """A prepared dataset, a config and a checkpoint of it whose last step is right on most clips, and another
    checkpoint."""
    folder = tmp_path_factory.mktemp('world')
    (folder / 'videos').mkdir()
    rng = np.random.default_rng(0)
    names = [f'{split}{number}' for split, count in SPLITS.items() for number in range(count)]
    for name in names:
        tint, noise = rng.integers(0, 160, (12, 1, 1, 3)), rng.integers(0, 95, (12, 6, 8, 3))
        painted_video.write(
            folder / 'videos' / f'{name}.mp4', (tint + noise).astype(np.uint8).repeat(8, 1).repeat(8, 2)
        )
    cfg = config(folder)
    videos = [folder / 'videos' / f'{name}.mp4' for name in names]
    weights, step_logits = draw_weights(cfg, videos, seed=0)
    labels = step_logits[:, -1].argmax(1)
    labels[::5] = (labels[::5] + 1) % 3
    rows = {
        split: [
            ClipRow(
                id=name, path=f'{name}.mp4', kind='video', label=int(label), frames=12, height=48, width=64
            )
            for name, label in zip(names, labels)
            if name.startswith(split)
        ]
        for split in SPLITS
    }
    write_manifest(
        folder,
        name='tints',
        version='1',
        classes=['a', 'b', 'c'],
        label_order='given',
        rows=rows,
        video_root='videos',
    )
    cfg.dump(folder / 'config.py')
    torch.save(dict(state_dict=weights, meta=dict(seed=3)), folder / 'best.pth')
    torch.save(dict(state_dict=draw_weights(cfg, videos, seed=1)[0], meta={}), folder / 'other.pth')
    held_out = torch.tensor([name.startswith('val') for name in names])
    return SimpleNamespace(
        folder=folder,
        config=folder / 'config.py',
        checkpoint=folder / 'best.pth',
        other=folder / 'other.pth',
        weights=weights,
        val_logits=step_logits[held_out],
        val_labels=labels[held_out],
        gmacs=[n / 1e9 for n in recognizer_cost(init_recognizer(cfg), (FRAMES, 3, *FRAME_SIZE))['steps']],
    )


@pytest.fixture(scope='module')
def environment() -> dict[str, str]:
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'PYTHON': sys.executable}


@pytest.fixture(scope='module')
def run(world, environment):
    """Run a tool on the config in a child process; the answer is (standard output, standard error)."""

    def call(tool: str, checkpoint: Path, *arguments: object) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, str(TOOLS / tool), str(world.config), str(checkpoint), *map(str, arguments)],
            cwd=world.folder,
            env=environment,
            text=True,
            capture_output=True,
            timeout=1500,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout, done.stderr

    return call


@pytest.fixture
def here(world, monkeypatch, tmp_path):
    """Run a tool on the config in this process, which is quicker."""
    monkeypatch.chdir(tmp_path)

    def call(tool: str, *arguments: object) -> None:
        runpy.run_path(str(TOOLS / tool))['main']([str(world.config), *map(str, arguments)])

    return call


@pytest.fixture
def refused(here):
    """Run a tool that must end with a line and nothing else; the line. (An exception here would be a
    traceback outside.)"""

    def call(tool: str, *arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            here(tool, *arguments)
        # Python prints it and answers 1
        assert isinstance(stop.value.code, str), 'status 0, or a usage error'
        assert '\n' not in stop.value.code
        return stop.value.code

    return call


@pytest.fixture(scope='module')
def fitted(world, run) -> SimpleNamespace:
    """Exits of clips, as the tool fits them without being asked for more, and what it printed."""
    out, error = run('calibrate.py', world.checkpoint, '--split', 'val')
    path = world.folder / 'exits.json'
    return SimpleNamespace(
        path=path, calibration=read_exits(path), content=json.loads(path.read_text()), out=out, error=error
    )


def results(folder: Path) -> dict:
    return json.loads((folder / 'test_results.json').read_text())


def shares(metrics: dict[str, float], name: str) -> list[float]:
    return [value for key, value in metrics.items() if re.fullmatch(rf'{name}\d+', key)]


def test_calibrate_writes_all_that_the_exits_depend_on(world, fitted):
    content, source = fitted.content, fitted.calibration.source
    model, data = source['model'], source['data']
    assert content['kind'] == 'steps' and content['unit'] == 'gmacs' and source['checkpoint'] == 'best.pth'
    assert (
        model['weights'] == weights_hash(world.weights)
        and model['shift'] == ['causal']
        and model['steps'] == STEPS
    )
    assert (
        data['split'] == 'val'
        and data['manifest_hash'] == read_manifest(world.folder).hash
        and data['present'] == 16
    )
    assert content['costs']['gmacs'] == pytest.approx(world.gmacs)
    ms = content['costs']['ms']
    assert len(ms) == STEPS + 1 and ms == sorted(ms) and ms[0] > 0

    sweep = fitted.calibration.sweep
    costs, accuracies = [one.costs['gmacs'] for one in sweep], [one.accuracy for one in sweep]
    assert len(sweep) > 2 and costs == sorted(costs) and accuracies == sorted(accuracies)
    assert sweep[content['chosen']].accuracy == max(accuracies)  # nothing was asked for
    for setting in sweep:  # what the tool saw is what the network says
        outcome = replay_clips(world.val_logits, world.val_labels, setting.exits, world.gmacs)
        assert sum(setting.counts) == 16 and tuple(outcome.exits.tolist()) == setting.counts
        assert outcome.accuracy == pytest.approx(setting.accuracy) and outcome.cost == pytest.approx(
            setting.costs['gmacs']
        )


def test_calibrate_prints_the_sweep(world, fitted):
    rows = [line for line in fitted.out.splitlines() if re.match(r' +\d', line)]
    chosen, without = rows[-2:]
    assert len(rows) == min(len(fitted.calibration.sweep), 12) + 1
    assert (
        chosen.endswith('<- chosen')
        and fitted.out.count('<- chosen') == 1
        and without.endswith('without exits')
    )
    right = (world.val_logits[:, -1].argmax(1) == world.val_labels).double().mean().item()
    gmacs, ms, top1 = map(float, without.split()[:3])
    assert gmacs == pytest.approx(world.gmacs[-1], abs=6e-5) and ms == pytest.approx(
        fitted.content['costs']['ms'][-1], abs=0.06
    )
    assert top1 == pytest.approx(100 * right, abs=0.06)
    assert "fitted on 16 clips of tints, split 'val'" in fitted.out
    assert f'written to {fitted.path}' in fitted.out and 'batch 1' in fitted.out
    assert 'WARNING' not in fitted.error and 'Traceback' not in fitted.error


@pytest.mark.parametrize('target', ['budget', 'accuracy'])
def test_a_target_chooses_as_pick_does(world, here, fitted, tmp_path, capsys, target):
    sweep = fitted.calibration.sweep
    # of its accuracy the cheapest
    middle = next(one for one in sweep if one.accuracy >= sweep[len(sweep) // 2].accuracy)
    value = dict(budget=middle.costs['gmacs'], accuracy=middle.accuracy)[target]
    here(
        'calibrate.py',
        world.checkpoint,
        '--split',
        'val',
        f'--{target}',
        value,
        '--out',
        tmp_path / 'chosen.json',
        '--device',
        'cpu',
    )
    again = read_exits(tmp_path / 'chosen.json')
    assert [one.exits for one in again.sweep] == [one.exits for one in fitted.calibration.sweep]
    assert again.pick().exits == fitted.calibration.pick(**{target: value}).exits == middle.exits
    assert re.search(rf'^ +{middle.costs["gmacs"]:.4f} .*<- chosen$', capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize('criterion', ['entropy', 'margin'])
def test_budgets_in_milliseconds_and_other_confidences(world, here, tmp_path, capsys, criterion):
    here(
        'calibrate.py',
        world.checkpoint,
        '--split',
        'val',
        '--unit',
        'ms',
        '--criterion',
        criterion,
        '--budget',
        '1e6',
        '--out',
        tmp_path / 'new folder' / 'exits.json',
        '--device',
        'cpu',
    )
    again = read_exits(tmp_path / 'new folder' / 'exits.json')
    assert (
        again.unit == 'ms'
        and {one.exits.criterion for one in again.sweep} == {criterion}
        and again.pick() == again.sweep[-1]
    )
    times = [one.costs['ms'] for one in again.sweep]
    # the cheapest glances alone
    assert times == sorted(set(times)) and again.costs['ms'][0] == pytest.approx(times[0])
    for one in again.sweep:
        outcome = replay_clips(world.val_logits, world.val_labels, one.exits, again.costs['ms'])
        assert (outcome.accuracy, outcome.cost) == pytest.approx((one.accuracy, one.costs['ms']))
    assert re.search(
        rf'^ +{again.pick().costs["gmacs"]:.4f} .*<- chosen$', capsys.readouterr().out, re.MULTILINE
    )


@pytest.fixture(scope='module')
def tested(world, run, fitted) -> SimpleNamespace:
    """The checkpoint with the last but one of these exits on the test split, and what the tool printed."""
    setting = fitted.calibration.sweep[-2]
    options = ('--exits', str(fitted.path), '--budget', str(setting.costs['gmacs']))
    out, error = run('test.py', world.checkpoint, *options, '--work-dir', 'tested')
    return SimpleNamespace(
        setting=setting, options=options, found=results(world.folder / 'tested'), out=out, error=error
    )


def test_exits_within_a_budget_do_what_a_replay_says(world, tested):
    setting, found, out, error = tested.setting, tested.found, tested.out, tested.error
    metrics, exits = found['metrics'], found['exits']
    assert found['clips'] == SPLITS['test'] and found['dataset']['split'] == 'test' and found['seed'] == 3
    assert (
        exits['fitted_accuracy'] == setting.accuracy
        and exits['fitted_costs'] == setting.costs
        and exits['unit'] == 'gmacs'
    )
    assert exits['fitted_on']['split'] == 'val' and exits['fitted_on_these_clips'] is False
    assert (
        metrics['replay_differs'] == 0
        and metrics['top1'] == metrics['replay_top1']
        and metrics['gmacs'] == metrics['replay_gmacs']
    )
    left = shares(metrics, 'exits_step')
    assert (
        len(left) == STEPS + 1
        and sum(left) == pytest.approx(1)
        and left == shares(metrics, 'replay_exits_step')
    )
    assert sum(share > 0 for share in left) > 1  # some leave earlier than others
    assert metrics['gmacs'] == pytest.approx(sum(share * cost for share, cost in zip(left, world.gmacs)))
    assert world.gmacs[0] <= metrics['gmacs'] < world.gmacs[-1] and metrics['ms'] > 0
    for line in ('replay_differs', f'{metrics["top1"]:.4f}', found['dataset']['manifest_hash']):
        assert line in out
    assert 'WARNING: the exits were fitted' not in error


def test_clips_that_the_network_learned_from_are_warned_of(world, here, tmp_path, capsys):
    here(
        'calibrate.py',
        world.checkpoint,
        '--split',
        'train',
        '--out',
        tmp_path / 'train.json',
        '--device',
        'cpu',
    )
    assert "WARNING: the config trains on split 'train'" in capsys.readouterr().err
    assert read_exits(tmp_path / 'train.json').source['data']['split'] == 'train'


def test_one_half_of_a_split_is_fitted_and_the_other_tested(world, here, tmp_path, capsys):
    here(
        'calibrate.py',
        world.checkpoint,
        '--split',
        'val',
        '--fold',
        '0/2',
        '--out',
        tmp_path / 'half.json',
        '--device',
        'cpu',
    )
    fitted = read_exits(tmp_path / 'half.json')
    assert fitted.source['data']['fold'] == '0/2' and 0 < sum(fitted.sweep[0].counts) < 16
    tested = {}
    for fold in ('0/2', '1/2'):
        options = ('--exits', 'half.json', '--split', 'val', '--fold', fold, '--no-replay', '--work-dir', '.')
        here('test.py', world.checkpoint, *options)
        error = capsys.readouterr().err
        tested[fold] = results(tmp_path)
        assert ('WARNING: the exits were fitted on clips of this split' in error) is (fold == '0/2')
        assert (
            tested[fold]['exits']['fitted_on_these_clips'] is (fold == '0/2')
            and 'replay_top1' not in tested[fold]['metrics']
        )
    assert (
        tested['0/2']['clips'] == sum(fitted.sweep[0].counts)
        and tested['0/2']['clips'] + tested['1/2']['clips'] == 16
    )
    assert tested['0/2']['metrics']['top1'] == pytest.approx(fitted.pick().accuracy)  # the same clips again
    assert tested['0/2']['metrics']['gmacs'] == pytest.approx(fitted.pick().costs['gmacs'])


@pytest.fixture(scope='module')
def streamed(world) -> SimpleNamespace:
    """Exits of streams, as the tool fits them without being asked for more, and what it printed."""
    with redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(TOOLS / 'calibrate.py'))['main'](
            [str(world.config), str(world.checkpoint), '--split', 'val', '--stream', '--device', 'cpu']
        )
    path = world.folder / 'stream_exits.json'
    return SimpleNamespace(path=path, calibration=read_exits(path), out=out.getvalue())


def test_streams(world, here, streamed, tmp_path, capsys):
    path, fitted, out = streamed.path, streamed.calibration, streamed.out
    assert (
        fitted.kind == 'stream'
        and f'written to {path}' in out
        and 'clips that leave after frame 0, 1, ...' in out
    )
    assert all(
        isinstance(one.exits, StreamExits) and len(one.counts) == FRAMES and sum(one.counts) == 16
        for one in fitted.sweep
    )
    assert len(fitted.costs['gmacs']) == STEPS + 1 and sum(fitted.costs['gmacs']) * FRAMES == pytest.approx(
        world.gmacs[-1], rel=0.05
    )
    setting = fitted.sweep[len(fitted.sweep) // 2]
    options = ('--exits', path, '--budget', setting.costs['gmacs'], '--split', 'val', '--work-dir', tmp_path)
    here('test.py', world.checkpoint, *options)
    out, error = capsys.readouterr()
    metrics = results(tmp_path)['metrics']
    assert 'WARNING: the exits were fitted on clips of this split' in error
    assert metrics['top1'] == pytest.approx(setting.accuracy) and metrics['gmacs'] == pytest.approx(
        setting.costs['gmacs']
    )
    assert (
        metrics['replay_differs'] == 0
        and metrics['top1'] == metrics['replay_top1']
        and metrics['gmacs'] == metrics['replay_gmacs']
    )
    left = shares(metrics, 'exits_frame')
    assert left == pytest.approx([count / 16 for count in setting.counts])
    assert (
        metrics['frames'] == pytest.approx(sum(share * (frame + 1) for frame, share in enumerate(left)))
        and 1 <= metrics['frames'] <= 4
    )
    assert 0 <= metrics['looks'] <= STEPS * metrics['frames'] and metrics['gmacs'] < world.gmacs[-1]
    assert re.search(r'^frames +\d', out, re.MULTILINE) and re.search(r'^looks +\d', out, re.MULTILINE)


@pytest.fixture
def two_processes(world, environment, free_port, tmp_path):
    """Run tools/test.py in two processes; what it printed and wrote."""

    def call(*options: str) -> tuple[str, dict]:
        done = subprocess.run(
            [
                'bash',
                str(TOOLS / 'dist_test.sh'),
                str(world.config),
                str(world.checkpoint),
                '2',
                *options,
                '--work-dir',
                str(tmp_path / 'two'),
            ],
            cwd=tmp_path,
            env={**environment, 'PORT': free_port},
            text=True,
            capture_output=True,
            timeout=1500,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout, results(tmp_path / 'two')

    return call


def assert_same_but_for_times(one: dict, two: dict) -> None:
    assert two['clips'] == one['clips'] == SPLITS['test'] and two['exits'] == one['exits']
    timed = {name for name in one['metrics'] if re.search(r'(^|_)ms(_|$)', name)}
    assert timed and one['metrics'].keys() == two['metrics'].keys()
    for name in one['metrics'].keys() - timed:
        assert two['metrics'][name] == pytest.approx(one['metrics'][name]), name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('bash') is None, reason='dist_test.sh needs bash')
def test_two_processes_find_what_one_does(tested, two_processes):
    out, two = two_processes(*tested.options)
    assert out.count('replay_differs ') == 1  # one process tells
    assert_same_but_for_times(tested.found, two)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('bash') is None, reason='dist_test.sh needs bash')
def test_two_processes_read_streams_as_one_does(world, here, streamed, two_processes, tmp_path):
    options = ('--exits', str(streamed.path), '--batch-size', '2')
    here('test.py', world.checkpoint, *options, '--work-dir', tmp_path / 'one')
    one = results(tmp_path / 'one')
    assert one['metrics']['replay_differs'] == 0 and 1 < one['metrics']['frames'] < FRAMES
    assert_same_but_for_times(one, two_processes(*options)[1])


def test_calibrate_refuses_in_a_line(world, refused, tmp_path):
    fit = ('calibrate.py', world.checkpoint, '--out', tmp_path / 'exits.json', '--device', 'cpu', '--split')
    assert 'no setting costs 1e-09 gmacs or less; the cheapest costs' in refused(
        *fit, 'val', '--budget', '1e-9'
    )
    assert 'no setting reaches an accuracy of 2.0000; the best has' in refused(*fit, 'val', '--accuracy', '2')
    assert 'bidirectional' in refused(*fit, 'val', '--stream', *BIDIRECTIONAL)
    message = refused(*fit, 'vla')
    assert "'vla'" in message and 'train' in message and 'val' in message
    assert '0/2' in refused(*fit, 'val', '--fold', '2/2')
    assert 'nowhere.pth' in refused('calibrate.py', 'nowhere.pth', '--split', 'val')
    assert not list(tmp_path.rglob('*exits.json'))


def test_test_refuses_in_a_line(world, fitted, refused, tmp_path):
    exits = ('--exits', fitted.path)
    message = refused('test.py', world.other, *exits)
    assert 'was fitted for another model (weights' in message and 'calibrate' in message
    assert 'shift' in refused('test.py', world.checkpoint, *exits, *BIDIRECTIONAL)
    assert 'no setting costs 1e-09 gmacs or less' in refused(
        'test.py', world.checkpoint, *exits, '--budget', '1e-9'
    )
    assert 'no exits at nowhere.json; make them with tools/calibrate.py' in refused(
        'test.py', world.checkpoint, '--exits', 'nowhere.json'
    )
    message = refused('test.py', world.checkpoint, *exits, '--split', 'vla')
    assert "'vla'" in message and 'train' in message and 'val' in message
    views = ('--cfg-options', 'test_dataloader.dataset.pipeline.0.views=2')
    assert 'exits were fitted for one view, so test with one' in refused(
        'test.py', world.checkpoint, *exits, *views
    )
    write_exits(tmp_path / 'counted.json', without_ms(fitted.calibration))
    message = refused('test.py', world.checkpoint, '--exits', 'counted.json', '--budget', '5', '--unit', 'ms')
    assert message.startswith("ExitsFileError: counted.json: unit 'ms' was not measured")
    assert not list(tmp_path.rglob('test_results.json'))


def test_a_refusal_is_all_that_a_shell_sees(world, environment):
    done = subprocess.run(
        [
            sys.executable,
            str(TOOLS / 'test.py'),
            str(world.config),
            str(world.checkpoint),
            '--exits',
            'nowhere.json',
        ],
        cwd=world.folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=1500,
    )
    assert done.returncode == 1 and not done.stdout
    assert (
        done.stderr.startswith('FileNotFoundError: no exits at nowhere.json') and done.stderr.count('\n') == 1
    )


def without_ms(calibration: Calibration) -> Calibration:
    sweep = tuple(replace(one, costs=dict(gmacs=one.costs['gmacs'])) for one in calibration.sweep)
    return replace(calibration, sweep=sweep, costs=dict(gmacs=calibration.costs['gmacs']))


@pytest.mark.parametrize(
    'tool, arguments, message',
    [
        ('calibrate.py', ['--split', 'val', '--levels', 'frame'], '--levels frame is a choice for --stream'),
        (
            'calibrate.py',
            ['--split', 'val', '--budget', '1', '--accuracy', '0.5'],
            'not allowed with argument --budget',
        ),
        ('calibrate.py', [], 'the following arguments are required: --split'),
        ('test.py', ['--budget', '1'], 'give --exits FILE too'),
    ],
)
def test_usage(capsys, tool, arguments, message):
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOLS / tool))['main'](['config.py', 'best.pth', *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_budget_curve_judges_every_method_on_other_clips(world, here, tmp_path, capsys):
    static = world.folder / 'static.py'
    cfg = Config.fromfile(world.config)
    cfg.model = dict(
        type='ClipRecognizer', num_classes=3, encoder=dict(cfg.model.glance, shift='bidirectional')
    )
    cfg.dump(static)
    torch.save(dict(state_dict=init_recognizer(cfg).state_dict(), meta={}), world.folder / 'static.pth')
    here(
        'analysis_tools/budget_curve.py',
        world.checkpoint,
        '--fit',
        'val',
        '--judge',
        'test',
        '--control',
        f'random={world.other}',
        '--static',
        f'{static}={world.folder / "static.pth"}',
        '--sizes',
        '24',
        '36',
        '--stream',
        f'{world.config}={world.checkpoint}',
        '--out',
        str(tmp_path / 'out'),
    )
    written = json.loads((tmp_path / 'out' / 'curves.json').read_text())
    curves = written['curves']
    assert written['clips'] == SPLITS['test'] and set(curves) == {
        'Glance-and-Focus, exits',
        'Glance-and-Focus, all looks',
        'random patches, exits',
        'random patches, all looks',
        'static static, 24',
        'static static, 36',
        'causal, both exits',
        'causal, frame-level exits',
        'causal, step-level exits',
        'causal, all looks',
    }
    whole = curves['Glance-and-Focus, all looks'][0]
    assert (
        whole['gmacs'] == pytest.approx(world.gmacs[-1])
        and whole['accuracy'] == curves['causal, all looks'][0]['accuracy']
    )
    for points in curves.values():
        assert all(0 <= point['accuracy'] <= 1 and point['ms'] > 0 for point in points)
    assert max(point['gmacs'] for point in curves['Glance-and-Focus, exits']) <= whole['gmacs'] * (1 + 1e-9)
    assert curves['static static, 24'][0]['gmacs'] < curves['static static, 36'][0]['gmacs']
    assert (tmp_path / 'out' / 'gmacs.png').stat().st_size > 1000 and (
        tmp_path / 'out' / 'ms.png'
    ).stat().st_size > 1000
    assert 'fitted on val, judged on 7 clips of test' in capsys.readouterr().out


def test_budget_curve_draws_the_exits_of_every_criterion(world, tmp_path, monkeypatch):
    """A value map's own exits and their control beside those of its predictions."""
    cfg = Config.fromfile(world.config)
    cfg.model.policy = dict(type='ValueMapPolicy', hidden=8)
    cfg.dump(tmp_path / 'value.py')
    torch.manual_seed(3)
    model = init_recognizer(cfg)
    torch.nn.init.constant_(model.policy.value[2].bias, 0.5)  # looks that promise something
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'value.pth')
    tool = runpy.run_path(str(TOOLS / 'analysis_tools/budget_curve.py'))['main']
    arguments = [str(tmp_path / 'value.py'), str(tmp_path / 'value.pth'), '--fit', 'val', '--judge', 'test']
    tool([*arguments, '--criterion', 'max_prob', 'value', 'inverted_value', '--out', str(tmp_path)])
    curves = json.loads((tmp_path / 'curves.json').read_text())['curves']
    names = [f'Glance-and-Focus, exits by {name}' for name in ('max_prob', 'value', 'inverted_value')]
    assert list(curves) == [*names, 'Glance-and-Focus, all looks']
    whole = curves['Glance-and-Focus, all looks'][0]['gmacs']
    assert all(0 < point['gmacs'] <= whole * (1 + 1e-9) for name in names for point in curves[name])
    assert curves[names[1]] != curves[names[2]]
    with pytest.raises(SystemExit, match="'luck' is unknown"):
        tool([*arguments, '--criterion', 'luck'])


def test_budget_curve_refuses_to_judge_what_was_fitted(world, refused):
    line = refused('analysis_tools/budget_curve.py', world.checkpoint, '--fit', 'val', '--judge', 'val')
    assert 'judged on the clips that they were fitted on' in line


def test_benchmarks_of_early_exit_say_what_they_ran(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(TOOLS / 'analysis_tools' / 'benchmark.py'))['main']
    main(['thresholds', '--samples', '200', '--exits', '3', '--rounds', '1'])
    assert '200 samples, 3 exits' in capsys.readouterr().out
    main(
        [
            'exits',
            str(world.config),
            str(world.checkpoint),
            '--split',
            'val',
            '--limit',
            '8',
            '--rounds',
            '2',
            '--batch',
            '1',
            '4',
        ]
    )
    out = capsys.readouterr().out
    assert (
        '8 clips of split' in out
        and out.count('efficiency') == 3
        and 'batch   1' in out
        and 'batch   4' in out
    )
    exits = tmp_path / 'stream_exits.json'
    runpy.run_path(str(TOOLS / 'calibrate.py'))['main'](
        [str(world.config), str(world.checkpoint), '--split', 'val', '--stream', '--out', str(exits)]
    )
    capsys.readouterr()
    main(
        [
            'streams',
            str(world.config),
            str(world.checkpoint),
            str(exits),
            '--split',
            'test',
            '--limit',
            '3',
            '--rounds',
            '1',
        ]
    )
    out = capsys.readouterr().out
    assert '3 videos of split' in out
    rows = {
        line[:34].strip(): line[34:].split()
        for line in out.splitlines()
        if line.startswith(('whole', 'stream'))
    }
    assert float(rows['stream, exits'][3]) <= float(rows['stream, all looks'][3]) <= 12
