"""tools/test.py: pictures of tested clips, mixed precision, the device."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from gfvideo.apis import build_pipeline, init_recognizer, predict_clip, prepare_video
from gfvideo.engine.showing import picture_path
from gfvideo.evaluation import read_predictions
from gfvideo.exits import StepExits
from gfvideo.visualization import draw_sample, save_picture


@pytest.fixture
def tested(tiny_run, load_tool, tmp_path):
    """Test the run; what test_results.json holds."""

    def call(*arguments: object) -> dict:
        tool = load_tool('test.py')
        given = [tiny_run.config, tiny_run.run, '--work-dir', tmp_path / 'work', *arguments]
        tool.main([str(one) for one in given])
        return json.loads((tmp_path / 'work' / 'test_results.json').read_text())

    return call


def pictures_in(folder) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(folder.rglob('*.png')):
        found[path.relative_to(folder).with_suffix('').as_posix()] = cv2.imread(str(path))
    return found


def drawn(tiny_run, video_id, folder, exits=None) -> np.ndarray:
    """The picture of one clip, by the steps that the tool is a short cut of."""
    model = init_recognizer(tiny_run.config, tiny_run.checkpoint)
    names = dict(frame_template='{:05d}.jpg')
    clip = prepare_video(tiny_run.folder / 'clips' / video_id, build_pipeline(model.cfg), **names)
    sample = predict_clip(model, clip, exits)
    sample.gt_label = torch.tensor(int(video_id.startswith('falling')))
    sizes = dict(patch_size=(16, 16), glance_size=(16, 16))
    picture = draw_sample(clip['inputs'], sample, model.dataset_meta['classes'], title=video_id, **sizes)
    return cv2.imread(str(save_picture(picture, folder / 'expected.png')))


@pytest.mark.parametrize('batch_size', [1, 2])
def test_every_third_clip_is_drawn_by_its_id(tiny_run, tested, tmp_path, capsys, batch_size):
    folder = tmp_path / 'pictures'
    tested('--show-dir', folder, '--interval', 3, '--batch-size', batch_size)
    found = pictures_in(folder)
    assert sorted(found) == sorted(tiny_run.ids[::3])
    assert f'pictures in {folder}' in capsys.readouterr().out
    if batch_size == 1:  # a batch may round another way
        for video_id, picture in found.items():
            assert np.array_equal(picture, drawn(tiny_run, video_id, tmp_path))


def test_all_are_drawn_unless_it_is_said(tiny_run, tested, tmp_path):
    tested('--show-dir', tmp_path / 'pictures')
    assert sorted(pictures_in(tmp_path / 'pictures')) == sorted(tiny_run.ids)
    tested()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['pictures', 'work']


def test_clips_that_left_early_are_drawn_as_they_left(tiny_run, load_tool, tested, tmp_path):
    fitted = [tiny_run.config, tiny_run.run, '--split', 'val', '--out', tmp_path / 'exits.json']
    load_tool('calibrate.py').main([str(one) for one in fitted])
    folder, dump = tmp_path / 'pictures', tmp_path / 'dump.pkl'
    told = tested('--exits', tmp_path / 'exits.json', '--show-dir', folder, '--dump', dump)
    assert sorted(pictures_in(folder)) == sorted(tiny_run.ids)
    from gfvideo.exits import read_exits

    rule = read_exits(tmp_path / 'exits.json').pick().exits
    assert isinstance(rule, StepExits) and told['exits']['criterion'] == 'max_prob'
    video_id = tiny_run.ids[0]
    expected = drawn(tiny_run, video_id, tmp_path, rule)
    assert np.array_equal(pictures_in(folder)[video_id], expected)
    for clip in read_predictions(dump):
        taken = ~clip['centres'].isnan().any(-1).all(-1)  # (S,)
        assert int(taken.sum()) == int(clip['exit'])


def test_streams_that_stopped_early_are_drawn(tiny_run, load_tool, tested, tmp_path):
    fitted = [tiny_run.config, tiny_run.run, '--split', 'val', '--stream', '--out', tmp_path / 'exits.json']
    load_tool('calibrate.py').main([str(one) for one in fitted])
    folder, dump = tmp_path / 'pictures', tmp_path / 'dump.pkl'
    tested('--exits', tmp_path / 'exits.json', '--show-dir', folder, '--interval', 2, '--dump', dump)
    assert sorted(pictures_in(folder)) == sorted(tiny_run.ids[::2])
    for clip in read_predictions(dump):
        taken = ~clip['centres'].isnan().any(-1)  # (S, T)
        assert torch.equal(taken.sum(0), clip['looks'].clamp(min=0))


def test_mixed_precision_is_used_and_told(tested, tmp_path, capsys):
    logits = {}
    for flags in ((), ('--amp',)):
        told = tested('--dump', tmp_path / 'dump.pkl', *flags)
        assert told['precision'] == ('bfloat16 (--amp)' if flags else None)
        assert ('bfloat16' in capsys.readouterr().out) == bool(flags)
        logits[flags] = torch.stack([clip['step_logits'] for clip in read_predictions(tmp_path / 'dump.pkl')])
    exact, rounded = logits.values()
    assert exact.dtype == rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert torch.allclose(exact, rounded, atol=0.05 * float(exact.abs().max()))


def test_the_device_is_named_and_one_that_is_not_here_refused(tested, monkeypatch):
    assert tested('--device', 'cpu')['clips'] == 7
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(
        SystemExit, match=r"^ConfigError: device 'cuda:7' is not here: .* finds no GPU"
    ) as left:
        tested('--device', 'cuda:7')
    assert '\n' not in left.value.code


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (['--interval', '2'], 'give --show-dir DIR too'),
        (['--interval', '0', '--show-dir', 'x'], '--interval 0: give a whole number from 1 on'),
        (['--device', 'cpu', '--launcher', 'pytorch'], 'have a device each'),
        (['--amp', '--runtime', 'compile'], '--amp is for eager torch'),
    ],
)
def test_flags_that_do_not_go_together(load_tool, capsys, flags, said):
    with pytest.raises(SystemExit):
        load_tool('test.py').parse_args(['config.py', 'last.pth', *flags])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ('video_id', 'name'),
    [
        ('12', '12.png'),
        ('class a/12', 'class a/12.png'),
        ('/data/../12.mp4', 'data/12.mp4.png'),
        ('../..', 'clip.png'),
        ('what?:*', 'what___.png'),
    ],
)
def test_pictures_stay_in_their_folder(tmp_path, video_id, name):
    assert picture_path(tmp_path, video_id) == tmp_path / name
