"""Pictures in class folders: prepared as clips of one frame, and trained on."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from published_lists import first_step, written

from data_prep import images
from data_prep.annotations.images import read_val_list
from data_prep.common.checking import check_image
from data_prep.common.listing import AnnotationError
from data_prep.common.records import read_lines
from gfvideo.data.dataset import ClipDataset
from gfvideo.data.manifest import read_manifest, read_rows, validate

ROOT = Path(__file__).resolve().parents[2]
QUICK = '--workers', '1', '--max-failed', '1', '--steps', 'index,verify,lists'
WNIDS = 'n01440764', 'n01443537'


def picture(label: int, number: int = 0, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """``(H, W, 3)`` uint8: red or green, with some noise."""
    pixels = np.random.default_rng(number).integers(0, 60, (*size, 3), np.uint8)
    pixels[..., label] += 150
    return pixels


def save(path: Path, label: int, number: int = 0, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = how.pop('mode', 'RGB')
    Image.fromarray(picture(label, number)).convert(mode).save(path, **{'format': 'JPEG', **how})
    return path


@pytest.fixture
def imagenet(tmp_path) -> Path:
    """Two classes with three pictures to train on and two to validate on."""
    for label, wnid in enumerate(WNIDS):
        for number in range(3):
            save(tmp_path / 'imagenet' / 'train' / wnid / f'{wnid}_{number}.JPEG', label, number)
        for number in range(2):
            name = f'ILSVRC2012_val_{10 * label + number:08d}.JPEG'
            save(tmp_path / 'imagenet' / 'val' / wnid / name, label, number + 50)
    return tmp_path / 'imagenet'


def prepared(videos: Path, out: Path, *flags: str) -> int:
    return images.main(['--videos', str(videos), '--out', str(out), *QUICK, *flags])


def splits_of(out: Path) -> dict[str, list[tuple[str, str | None]]]:
    manifest = read_manifest(out)
    return {
        split: [
            (row.path, None if row.label is None else manifest.classes[row.label])
            for row in read_rows(manifest, split)
        ]
        for split in manifest.splits
    }


def failed(out: Path) -> dict[str, str]:
    return {record['id'].rpartition('/')[2]: record['reason'] for record in read_lines(out / 'failed.jsonl')}


# ------------------------------------------------------------------------------------------------ preparation


def test_the_folders_of_imagenet_are_clips_of_one_frame(here, imagenet, tmp_path):
    out = tmp_path / 'out'
    before = sorted(path for path in imagenet.rglob('*'))
    assert prepared(imagenet, out) == 0
    manifest = validate(out, check_files=True)
    assert manifest.classes == WNIDS and manifest.videos == imagenet.resolve()
    row = read_rows(manifest, 'train')[0]
    assert (row.path, row.kind, row.label, row.frames) == ('train/n01440764/n01440764_0.JPEG', 'image', 0, 1)
    assert (row.height, row.width) == (40, 56)
    assert {split: len(rows) for split, rows in splits_of(out).items()} == {'train': 6, 'val': 4}
    # nothing is copied or encoded
    assert sorted(path for path in imagenet.rglob('*')) == before
    assert not [path for path in out.rglob('*') if path.suffix in ('.JPEG', '.mp4')]
    assert math.isfinite(first_step('imagenet', out, frames=1))


def test_a_clip_holds_the_pixels_of_its_picture(here, imagenet, tmp_path):
    prepared(imagenet, tmp_path / 'out')
    steps = [dict(type='SampleFrames', num_frames=1), dict(type='DecodeFrames'), dict(type='PackClip')]
    clips = ClipDataset(str(tmp_path / 'out'), 'val', steps, test_mode=True)
    sample = clips[3]
    [file] = sorted((imagenet / 'val' / WNIDS[1]).iterdir())[1:]
    with Image.open(file) as opened:
        assert np.array_equal(sample['inputs'][0].permute(1, 2, 0).numpy(), np.array(opened))
    assert sample['inputs'].shape == (1, 3, 40, 56) and int(sample['data_samples'].gt_label) == 1


@pytest.mark.parametrize('form', ['names', 'numbers', 'kaggle'])
def test_a_flat_folder_val_needs_the_list_of_its_classes(here, imagenet, tmp_path, form, capsys):
    for wnid in WNIDS:
        for file in (imagenet / 'val' / wnid).iterdir():
            file.rename(imagenet / 'val' / file.name)
        (imagenet / 'val' / wnid).rmdir()
    save(imagenet / 'test' / 'ILSVRC2012_test_00000001.JPEG', 0)
    with pytest.raises(AnnotationError, match='4 pictures stand right below the folder val, in no folder'):
        prepared(imagenet, tmp_path / 'out')
    rows = [(f'ILSVRC2012_val_{10 * label + n:08d}', label) for n in range(2) for label in (1, 0)]
    rows.append(('ILSVRC2012_val_00000099', 0))
    texts = {
        'names': ''.join(f'{name}.JPEG {WNIDS[label]}\n' for name, label in rows),
        'numbers': ''.join(f'{name}.JPEG {label}\n' for name, label in rows),
        'kaggle': 'ImageId,PredictionString\n'
        + ''.join(f'{name},{WNIDS[label]} 111 108 230 368 \n' for name, label in rows),
    }
    file = tmp_path / ('LOC_val_solution.csv' if form == 'kaggle' else 'val.txt')
    file.write_text(texts[form])
    assert prepared(imagenet, tmp_path / 'out', '--val-list', str(file)) == 0
    found = splits_of(tmp_path / 'out')
    assert found['val'] == [(f'val/{name}.JPEG', WNIDS[label]) for name, label in rows[:-1]]
    assert found['test'] == [('test/ILSVRC2012_test_00000001.JPEG', None)] and len(found['train']) == 6
    assert list(failed(tmp_path / 'out').values()) == ['missing']


@pytest.mark.parametrize(
    ('name', 'text', 'told'),
    [
        ('val.txt', '490\n361\n', "val.txt:1: '490' is not .* a list of numbers alone"),
        ('val.txt', 'a.JPEG 2\n', "the class of 'a.JPEG' is '2', no name of a class folder of train and no"),
        ('val.txt', 'a.JPEG n09999999\n', "the class of 'a.JPEG' is 'n09999999'"),
        ('val.txt', 'a.JPEG 1\na.JPEG 0\n', "val.txt:2: 'a.JPEG' stands on line 1 already"),
        ('val.txt', '', 'lists no picture'),
        ('v.csv', 'ImageId,Class\na,n01440764\n', 'v.csv:1: .* without predictionstring'),
        ('v.csv', 'ImageId,PredictionString\na,\n', 'v.csv:2: .* is not ImageId,PredictionString'),
    ],
)
def test_lists_that_mismatch_are_refused(tmp_path, name, text, told):
    written(tmp_path, {name: text})
    with pytest.raises(AnnotationError, match=told):
        list(read_val_list(tmp_path / name, {wnid: number for number, wnid in enumerate(WNIDS)}))


def test_pictures_that_do_not_decode_are_named(here, imagenet, tmp_path):
    folder = imagenet / 'train' / WNIDS[0]
    whole = (folder / f'{WNIDS[0]}_0.JPEG').read_bytes()
    (folder / 'cut_1.JPEG').write_bytes(whole[: len(whole) // 2])
    (folder / 'page_2.JPEG').write_bytes(b'<html>404</html>')
    (folder / 'empty_3.JPEG').write_bytes(b'')
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(folder / 'deep_4.png')
    assert prepared(imagenet, tmp_path / 'out') == 0
    assert failed(tmp_path / 'out') == {
        'cut_1.JPEG': 'truncated',
        'page_2.JPEG': 'not_a_video',
        'empty_3.JPEG': 'empty',
        'deep_4.png': 'decode_error',
    }


@pytest.mark.parametrize('mode', ['CMYK', 'L', 'P', 'RGBA', 'LA', '1'])
def test_pictures_of_every_mode_with_8_bits_are_read(tmp_path, mode):
    form = 'JPEG' if mode in ('CMYK', 'L') else 'PNG'
    file = save(tmp_path / 'a.JPEG', 0, mode=mode, format=form)
    verdict = check_image(str(file))
    assert (verdict.reason, verdict.frames, verdict.height, verdict.width) == (None, 1, 40, 56)


def test_pictures_are_turned_as_their_tag_says(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6  # a quarter to the right
    verdict = check_image(str(save(tmp_path / 'a.jpg', 0, exif=tag)))
    assert (verdict.height, verdict.width) == (56, 40)


def test_class_folders_of_pictures_are_divided(here, tmp_path):
    for label, name in enumerate(('cat', 'dog')):
        for number in range(5):
            save(tmp_path / 'mine' / name / f'{number}.png', label, number, format='PNG')
    assert prepared(tmp_path / 'mine', tmp_path / 'out', '--val-share', '0.2') == 0
    assert {split: len(rows) for split, rows in splits_of(tmp_path / 'out').items()} == {'train': 8, 'val': 2}


@pytest.mark.parametrize(
    ('flags', 'told'),
    [
        (('--to', 'video'), '--to video: pictures stay as they are'),
        (('--annotations', '.'), '--annotations: the folders are the classes'),
        (('--val-list', 'no/where'), '--val-list: no/where is not there'),
    ],
)
def test_flags_that_mean_nothing_are_refused(tmp_path, flags, told, capsys):
    with pytest.raises(SystemExit):
        prepared(tmp_path, tmp_path / 'out', *flags)
    assert told in capsys.readouterr().err


def test_pictures_to_train_on_stand_in_class_folders(here, imagenet, tmp_path):
    save(imagenet / 'train' / 'loose.JPEG', 0)
    with pytest.raises(AnnotationError, match='train/loose.JPEG: pictures to train on stand in a folder of'):
        prepared(imagenet, tmp_path / 'out')


# -------------------------------------------------------------------------------------- the published recipes


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'images_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ('recipe', 'looks'),
    [
        ('glance-focus_r50_g96-p96-s4_1f_imagenet', 5),
        ('glance-focus_mobilenetv3-large_g128-p128-s2_1f_imagenet', 3),
    ],
)
def test_a_published_recipe_runs_all_stages_exits_and_test(
    here, imagenet, tmp_path, monkeypatch, recipe, looks
):
    prepared(imagenet, tmp_path / 'out')
    monkeypatch.setenv('GFVIDEO_IMAGENET', str(tmp_path / 'out'))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / 'few.py'
    config.write_text(f"""
_base_ = {str(ROOT / 'configs' / 'glance_focus' / f'{recipe}.py')!r}
_of = dict(backbone=dict(init_cfg=None))
model = dict(num_classes=None, glance=_of, focus=_of)
train_cfg = dict(max_epochs=1, val_interval=1)
stages = dict(policy=dict(train_cfg=dict(max_epochs=1, update_epochs=1, minibatches=1)))
train_dataloader = dict(batch_size=6, num_workers=0, persistent_workers=False)
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
""")
    load_tool('train').main([str(config), '--work-dir', 'run'])
    assert [(tmp_path / 'run' / stage / 'last.pth').is_file() for stage in ('random', 'policy', 'tune')] == [
        True
    ] * 3
    test = load_tool('test')
    test.main([str(config), 'run/tune/last.pth', '--dump', 'all.pkl'])
    load_tool('calibrate').main([str(config), 'run/tune/last.pth', '--split', 'val', '--out', 'exits.json'])
    test.main([str(config), 'run/tune/last.pth', '--exits', 'exits.json'])
    assert json.loads((tmp_path / 'exits.json').read_text())
    from gfvideo.apis import inference_recognizer, init_recognizer

    one = sorted((imagenet / 'val' / WNIDS[0]).iterdir())[0]
    sample = inference_recognizer(init_recognizer(None, 'run/tune/last.pth', device='cpu'), str(one))
    assert sample.step_logits.shape == (looks, 2) and sample.centres.shape == (looks - 1, 1, 2)
