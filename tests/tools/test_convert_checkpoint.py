"""tools/convert_checkpoint.py: what it says, writes and leaves alone, and a converted file in the other
tools."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from gfvideo.apis import inference_recognizer, init_recognizer
from gfvideo.conversion import FORMS, TARGETS, export_encoder
from gfvideo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'convert_checkpoint.py'


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('convert_checkpoint', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='ResNet', depth=18))
    return MODELS.build(dict(type='ClipRecognizer', num_classes=3, encoder=encoder)).eval()


@pytest.fixture
def published(model, tmp_path) -> Path:
    path = tmp_path / 'tsm_r18.pth.tar'
    torch.save(export_encoder(model, 'tsm'), path)
    return path


@pytest.fixture
def run(tool) -> Callable[..., None]:
    return lambda *arguments: tool.main([str(argument) for argument in arguments])


def refusal(run: Callable[..., None], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    return str(stopped.value)


def test_forms_and_targets_are_those_of_the_package(tool):
    assert tool.FORMS == ('auto', *FORMS) and tool.TARGETS == TARGETS


def test_what_it_says_and_writes(run, published, tmp_path, capsys):
    output = tmp_path / 'ours.pth'
    run(published, output)
    said = capsys.readouterr().out
    assert 'form: tsm' in said and "'type': 'ResNet', 'depth': 18" in said
    assert 'placed: 122 tensors, 11.19 million values, none left' in said
    assert f"init_recognizer(None, '{output}')" in said
    saved = torch.load(output, weights_only=True)
    assert (
        saved['meta']['converted']['source'] == 'tsm_r18.pth.tar'
        and len(saved['meta']['converted']['sha256']) == 64
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ours.pth', 'tsm_r18.pth.tar']


def test_a_converted_file_recognises_videos_with_its_own_pipeline(run, published, tmp_path):
    (tmp_path / 'names.txt').write_text('put\ntake\nturn\n')
    run(published, tmp_path / 'ours.pth', '--classes', tmp_path / 'names.txt', '--frames', '3')
    recognizer = init_recognizer(None, tmp_path / 'ours.pth')
    assert recognizer.dataset_meta['classes'] == ['put', 'take', 'turn']
    video = np.random.default_rng(0).integers(0, 255, (9, 60, 80, 3), np.uint8)
    sample = inference_recognizer(recognizer, video)
    frames = torch.from_numpy(video[[1, 4, 7]]).permute(0, 3, 1, 2).float()  # the middles of three parts
    frames = torch.nn.functional.interpolate(frames, (256, 341), mode='bilinear', align_corners=False)[
        :, :, 16:240, 58:282
    ]
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        expected = recognizer(((frames / 255 - mean) / std)[None])[0]
    # pixels are rounded to whole numbers
    assert (sample.logits - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize('names', ['put\ntake\n', 'a\nb\nc\nd\n'])
def test_another_number_of_classes(names, run, published, tmp_path):
    (tmp_path / 'names.txt').write_text(names)
    message = refusal(run, published, tmp_path / 'ours.pth', '--classes', tmp_path / 'names.txt')
    assert (
        f'{len(names.split())} names of classes for a model of 3' in message
        and not (tmp_path / 'ours.pth').exists()
    )


def test_an_output_that_exists(run, published, tmp_path):
    output = tmp_path / 'ours.pth'
    output.write_bytes(b'precious')
    message = refusal(run, published, output)
    assert str(output) in message and '--overwrite' in message and output.read_bytes() == b'precious'
    run(published, output, '--overwrite')
    assert init_recognizer(None, output).num_classes == 3


@pytest.mark.parametrize('flags', [(), ('--overwrite',), ('--overwrite', '--to', 'tsm')])
def test_the_input_is_never_overwritten(flags, run, published, tmp_path):
    before, alias = published.read_bytes(), tmp_path / 'alias.pth'
    alias.symlink_to(published)
    for output in (published, alias):
        assert 'is the file to convert' in refusal(run, published, output, *flags)
    assert published.read_bytes() == before


def test_a_refused_input_leaves_the_old_output(run, tmp_path):
    torch.save(
        dict(
            state_dict={
                'module.base_model.conv1.weight': torch.zeros(1),
                'module.new_fc.weight': torch.zeros(2, 2),
                'module.new_fc.bias': torch.zeros(2),
            }
        ),
        tmp_path / 'bad.pth',
    )
    (tmp_path / 'ours.pth').write_bytes(b'precious')
    assert 'no backbone' in refusal(run, tmp_path / 'bad.pth', tmp_path / 'ours.pth', '--overwrite')
    assert (tmp_path / 'ours.pth').read_bytes() == b'precious' and len(list(tmp_path.iterdir())) == 2


def test_no_such_input(run, tmp_path):
    assert f'no checkpoint at {tmp_path / "none.pth"}' in refusal(
        run, tmp_path / 'none.pth', tmp_path / 'ours.pth'
    )
    assert 'none.pth' in refusal(run, tmp_path / 'none.pth', tmp_path / 'theirs.pth', '--to', 'tsm')


@pytest.mark.parametrize(
    'name, form, told',
    [
        ('adafocusv2_p128.pth.tar', 'adafocusv2', dict(patch_size=128)),
        ('uni_p144_8and16.pth', 'uni-adafocus', dict(patch_size=144, focus_frames=16, num_frames=48)),
        ('sth_8and12.pth', 'uni-adafocus', dict(focus_frames=12, num_frames=36)),
        ('ap128.pth', 'adafocusv2', {}),
        ('x_p128_8and12.pth', 'gfnet', {}),
        ('best.pth', 'uni-adafocus', {}),
        ('x_p144_8and12.pth', 'adafocusv2', dict(patch_size=144, num_frames=12)),
        ('TSM_somethingv2_RGB_resnet50_shift8_blockres_avg_segment16_e45.pth', 'tsm', dict(num_frames=16)),
        ('tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb.pth', 'mmaction2', dict(num_frames=16)),
    ],
)
def test_what_the_name_of_a_file_tells(name, form, told, tool):
    assert tool.told_by_name(Path(name), form) == told


def test_back_again(run, published, tmp_path, model, capsys):
    run(published, tmp_path / 'ours.pth')
    for target in ('tsm', 'mmaction2'):
        run(tmp_path / 'ours.pth', tmp_path / f'{target}.pth', '--to', target)
        assert f'{target}.pth: for {target}' in capsys.readouterr().out
    theirs, again = (
        torch.load(path, weights_only=True)['state_dict'] for path in (published, tmp_path / 'tsm.pth')
    )
    assert list(theirs) == list(again) and all(torch.equal(theirs[name], again[name]) for name in theirs)
    assert 'leave the part away' in refusal(
        run, tmp_path / 'ours.pth', tmp_path / 'part.pth', '--to', 'tsm', '--part', 'focus'
    )


def test_in_a_process_of_its_own(published, tmp_path):
    """Without an installed package, from another folder; the checkpoint that another process wrote opens
    here."""
    done = subprocess.run(
        [sys.executable, TOOL, published, tmp_path / 'ours.pth'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != 'PYTHONPATH'},
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr
    assert init_recognizer(None, tmp_path / 'ours.pth').num_classes == 3
    failed = subprocess.run(
        [sys.executable, TOOL, published, tmp_path / 'ours.pth'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert failed.returncode == 1 and failed.stderr.startswith('error: ') and 'Traceback' not in failed.stderr


def test_what_was_assumed_is_told(run, published, tmp_path, capsys):
    run(published, tmp_path / 'ours.pth')
    said = capsys.readouterr().out
    assert 'test pipeline: 8 frames of 224x224 from a short side of 256' in said
    assert (
        'direction of the shift: both ways; --from tsm-online' in said
        and 'number of frames of a clip: 8; --frames' in said
    )


@pytest.mark.parametrize(
    ('flags', 'told'),
    [
        (['--frames', '0'], '--frames 0 must be at least 1'),
        (['--frames', '-3'], '--frames -3'),
        (['--steps', '4'], '--steps 4 means nothing'),
        (['--patch-size', '96'], '--patch-size 96 means nothing to the form tsm'),
        (['--arch', 'resnet18'], '--arch resnet18 means nothing'),
        (['--classes', '.'], 'Is a directory'),
        (['--from', 'mmaction2'], 'it looks like tsm'),
    ],
)
def test_flags_that_cannot_be_meant(flags, told, run, published, tmp_path):
    assert told in refusal(run, published, tmp_path / 'ours.pth', *flags)
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize('flags', [[], ['--to', 'tsm'], ['--from', 'gfnet']])
@pytest.mark.parametrize('content', [b'no checkpoint', b'some text', b''])
def test_files_that_are_no_checkpoints(content, flags, run, tmp_path):
    (tmp_path / 'notes.pth').write_bytes(content)
    assert refusal(run, tmp_path / 'notes.pth', tmp_path / 'ours.pth', *flags).startswith('error: ')


def test_to_takes_checkpoints_of_gfvideo_alone(run, published, tmp_path):
    assert 'carries no config' in refusal(run, published, tmp_path / 'out.pth', '--to', 'mmaction2')


def test_an_output_that_is_a_folder(run, published, tmp_path):
    assert refusal(run, published, tmp_path, '--overwrite').startswith('error: ')
