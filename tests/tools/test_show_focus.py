import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.registry import MODELS

TOOL = Path(__file__).parents[2] / 'tools' / 'visualizations' / 'show_focus.py'
CLASSES = ['rising', 'falling']
H, W, FRAMES = 48, 64, 6


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('show_focus', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with clips (folders of images), their manifest, objects.csv, config.py and model.pth of drawn
    weights."""
    root = tmp_path_factory.mktemp('trained')
    rng = np.random.default_rng(0)
    for clip in range(4):
        (root / 'clips' / f'v{clip}').mkdir(parents=True)
        for frame in range(1, FRAMES + 1):
            cv2.imwrite(
                str(root / 'clips' / f'v{clip}' / f'{frame:05d}.jpg'),
                rng.integers(0, 255, (H, W, 3), dtype=np.uint8),
            )
    rows = [
        ClipRow(
            id=f'v{clip}', path=f'v{clip}', kind='frames', label=clip % 2, frames=FRAMES, height=H, width=W
        )
        for clip in range(4)
    ]
    write_manifest(
        root,
        name='tiny',
        version='1',
        classes=CLASSES,
        label_order='given',
        rows=dict(val=rows),
        video_root='clips',
    )
    # the object fills the frame's middle 16 pixels, where the centre policy's patch of 32x32 holds it
    lines = ''.join(f'v{clip},{frame},{W / 2},{H / 2},16\n' for clip in range(3) for frame in range(FRAMES))
    (root / 'objects.csv').write_text('id,frame,x,y,diameter\n' + lines)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
    cfg = Config(
        dict(
            model=dict(
                type='GlanceFocusRecognizer',
                num_classes=2,
                glance=encoder,
                focus=encoder,
                glance_size=16,
                patch_size=32,
                steps=2,
                policy=dict(type='RecurrentGaussianPolicy', hidden=8),
                classifier=dict(type='RecurrentClassifier', hidden=16),
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='ClipDataset',
                    root=str(root),
                    split='val',
                    test_mode=True,
                    pipeline=[
                        dict(type='SampleFrames', frames=3, test_mode=True),
                        dict(type='DecodeFrames'),
                        dict(type='PackClip'),
                    ],
                )
            ),
        )
    )
    cfg.dump(root / 'config.py')
    torch.save(
        dict(
            state_dict=MODELS.build(cfg.model).state_dict(),
            meta=dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES)),
        ),
        root / 'model.pth',
    )
    return root


def picture(path):
    return cv2.imread(str(path))[..., ::-1]


def text_has(image, colour):
    """Whether the column of text, left of the frames, holds this colour."""
    return has(image[:, :330], colour)


def has(image, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(image.astype(int) - rgb).sum(-1) < 30).any())


def test_pictures_of_given_videos(tool, trained, tmp_path, capsys):
    tool.main(
        [
            str(trained / 'model.pth'),
            str(trained / 'clips' / 'v0'),
            str(trained / 'clips' / 'v1'),
            '--out',
            str(tmp_path),
        ]
    )
    assert capsys.readouterr().out.split() == [
        str(tmp_path / name) for name in ('v0.png', 'v1.png', 'sheet.png')
    ]
    one, two, whole = (picture(tmp_path / name) for name in ('v0.png', 'v1.png', 'sheet.png'))
    assert whole.shape[0] == one.shape[0] + two.shape[0] + 24
    assert has(one, '#E69F00') and has(one, '#56B4E9')  # two looks
    assert not text_has(one, '#1a7f37') and not text_has(one, '#cf222e')  # nobody knows what is right


def test_the_label_says_what_is_right(tool, trained, tmp_path):
    found = []
    for label in CLASSES:
        tool.main(
            [
                str(trained / 'model.pth'),
                str(trained / 'clips' / 'v0'),
                '--label',
                label,
                '--out',
                str(tmp_path),
            ]
        )
        found.append(
            tuple(text_has(picture(tmp_path / 'v0.png'), colour) for colour in ('#1a7f37', '#cf222e'))
        )
    assert found[0] == found[1][::-1] and any(found[0])  # what is right for one label is wrong for the other


def test_clips_of_the_test_split_and_the_share_of_hits(tool, trained, tmp_path, capsys):
    tool.main(
        [
            str(trained / 'config.py'),
            str(trained / 'model.pth'),
            '--count',
            '9',
            '--out',
            str(tmp_path),
            '--objects',
            str(trained / 'objects.csv'),
            '--cfg-options',
            'model.test_centres=centre',
        ]
    )
    out = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'sheet.png',
        'v0.png',
        'v1.png',
        'v2.png',
        'v3.png',
    ]
    assert 'of 3 clips' in out  # v3 has no row
    assert re.findall(r'^\d .*', out, re.M) == [
        f'{look:<6}     100.0 %     100.0 %       100.0 %' for look in (1, 2)
    ]


def test_count_spreads_over_the_split(tool, trained):
    cfg = Config.fromfile(trained / 'config.py')
    assert [clip['data_samples'].video_id for clip in tool.clips_of_test_split(cfg, 2)] == ['v0', 'v3']


def test_two_videos_of_one_name_make_two_pictures(tool, trained, tmp_path):
    video = str(trained / 'clips' / 'v2')
    tool.main([str(trained / 'model.pth'), video, video, '--out', str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['sheet.png', 'v2.png', 'v2_2.png']


def test_random_patches_are_the_same_for_the_same_seed(tool, trained, tmp_path):
    def drawn(seed):
        tool.main(
            [
                str(trained / 'model.pth'),
                str(trained / 'clips' / 'v0'),
                '--out',
                str(tmp_path),
                '--seed',
                seed,
                '--cfg-options',
                'model.test_centres=random',
            ]
        )
        return picture(tmp_path / 'v0.png')

    first, again, other = drawn('0'), drawn('0'), drawn('1')
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['config.py', '--out', 'x'], 'a checkpoint .* must come after the config'),
        (['model.pth', 'gone.mp4', '--out', 'x'], 'gone.mp4 not found'),
        (['model.pth', '--label', 'rising', '--out', 'x'], 'clips of the test split have their own'),
        (['model.pth', '--count', '0', '--out', 'x'], 'draw one clip at least'),
        (['model.pth', 'clips/v0'], '--out'),
    ],
)
def test_wrong_arguments_are_named(tool, trained, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(trained)
    with pytest.raises(SystemExit) as error:
        tool.main(arguments)
    assert error.value.code == 2 and re.search(message, capsys.readouterr().err)


def test_a_config_may_be_a_name(tool, trained):
    paths = [str(trained / 'model.pth'), str(trained / 'clips' / 'v0')]
    args = tool.parse_args(['tsm_tiny_toy', *paths, '--out', 'x'])
    assert (str(args.config), str(args.checkpoint)) == ('tsm_tiny_toy', paths[0])
    assert list(map(str, args.videos)) == paths[1:]


def test_a_folder_that_is_no_run_is_told(tool, trained, monkeypatch):
    monkeypatch.chdir(trained)
    with pytest.raises(SystemExit, match='CheckpointError: clips/v0 holds no checkpoint of a run'):
        tool.main(['clips/v0', '--out', 'x'])


def test_an_unknown_label_and_a_bad_video_are_named(tool, trained, tmp_path):
    with pytest.raises(SystemExit, match="'sinking' is no class.*'rising', 'falling'"):
        tool.main(
            [
                str(trained / 'model.pth'),
                str(trained / 'clips' / 'v0'),
                '--label',
                'sinking',
                '--out',
                str(tmp_path),
            ]
        )
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    with pytest.raises(SystemExit, match='VideoError.*bad.mp4'):
        tool.main([str(trained / 'model.pth'), str(tmp_path / 'bad.mp4'), '--out', str(tmp_path)])


def test_help_from_another_folder(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    out = subprocess.run(
        [sys.executable, str(TOOL), '--help'],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=True,
    ).stdout
    assert '[CONFIG] CHECKPOINT [VIDEO ...] --out DIR' in out


def test_real_clips(tool, shared, trained, tmp_path):
    folder = shared / 'data' / 'turning_camera_ssv2'
    clip = json.loads((folder / 'something-something-v2-validation.json').read_text())[0]
    tool.main(
        [
            str(trained / 'model.pth'),
            str(folder / 'videos' / f'{clip["id"]}.webm'),
            '--objects',
            str(folder / 'objects.csv'),
            '--out',
            str(tmp_path),
        ]
    )
    assert picture(tmp_path / f'{clip["id"]}.png').shape[1] > 1000


def test_a_value_map_is_drawn(tool, trained, tmp_path):
    cfg = Config.fromfile(trained / 'config.py')
    cfg.model.policy = dict(type='ValueMapPolicy', hidden=8)
    checkpoint = dict(
        state_dict=MODELS.build(cfg.model).state_dict(),
        meta=dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES)),
    )
    torch.save(checkpoint, tmp_path / 'value.pth')
    heights = []
    for flags in ([], ['--value-map']):
        tool.main([str(tmp_path / 'value.pth'), str(trained / 'clips/v0'), '--out', str(tmp_path), *flags])
        heights.append(picture(tmp_path / 'v0.png').shape[0])
    assert heights[1] > heights[0] + 2 * 100  # a row for each of two looks
    with pytest.raises(SystemExit, match='ValueMapPolicy keeps one'):
        tool.main(
            [str(trained / 'model.pth'), str(trained / 'clips/v0'), '--out', str(tmp_path), '--value-map']
        )
