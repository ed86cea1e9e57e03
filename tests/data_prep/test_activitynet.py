"""ActivityNet and FCVID, from lists in the published forms to the first training step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data_prep import activitynet, fcvid
from data_prep.annotations.activitynet import read_annotation, read_lists
from data_prep.common.listing import AnnotationError
from gfvideo.data.dataset import ClipDataset
from gfvideo.data.manifest import read_manifest, read_rows
from gfvideo.engine import expand_stages, load_config
from gfvideo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 'Archery\nBallet\nCricket\nZumba\n'
TRAIN = 'v_aaaaaaaaaaa,2813,3\nv_bbb,b_bbbb-,700,1,0\nv_ccccccccccc,12,2,2,0\n'
VAL = 'v_ddddddddddd,44,2\nv_gone,44,1\n'
JSON = {
    'version': 'VERSION 1.3',
    'taxonomy': [],
    'database': {
        'aaaaaaaaaaa': {
            'subset': 'training',
            'duration': 2.0,
            'annotations': [
                {'segment': [0.2, 1.0], 'label': 'Zumba'},
                {'segment': [1.0, 9.5], 'label': 'Archery'},
                {'segment': [0.0, 0.4], 'label': 'Zumba'},
            ],
        },
        'ccccccccccc': {'subset': 'training', 'duration': 2.0, 'annotations': []},
        'ddddddddddd': {
            'subset': 'validation',
            'duration': 2.0,
            'annotations': [{'segment': [0.5, 1.5], 'label': 'Cricket'}],
        },
        'eeeeeeeeeee': {'subset': 'testing', 'duration': 2.0, 'annotations': []},
    },
}


@pytest.fixture
def lists(tmp_path) -> Path:
    folder = tmp_path / 'lists'
    folder.mkdir()
    for stem in ('actnet', 'fcvid'):
        (folder / f'{stem}_train_split.txt').write_text(TRAIN)
        (folder / f'{stem}_val_split.txt').write_text(VAL)
    (folder / 'classInd.txt').write_text(CLASSES)
    return folder


@pytest.fixture
def official(tmp_path) -> Path:
    folder = tmp_path / 'official'
    folder.mkdir()
    (folder / 'activity_net.v1-3.min.json').write_text(json.dumps(JSON))
    return folder


@pytest.fixture
def videos(tmp_path, clip, lay) -> Path:
    names = ('aaaaaaaaaaa', 'bbb,b_bbbb-', 'ccccccccccc', 'ddddddddddd', 'eeeeeeeeeee')
    return lay(tmp_path / 'v', {f'v_{name}.mp4': clip(24) for name in names})


def test_lists_of_arnet(lists):
    listing = read_lists(lists, 'actnet')
    assert listing.classes == ('Archery', 'Ballet', 'Cricket', 'Zumba')
    assert [(clip.split, clip.id, clip.label, clip.labels) for clip in listing.clips] == [
        ('train', 'v_aaaaaaaaaaa', None, (3,)),
        ('train', 'v_bbb,b_bbbb-', None, (0, 1)),
        ('train', 'v_ccccccccccc', None, (0, 2)),
        ('val', 'v_ddddddddddd', None, (2,)),
        ('val', 'v_gone', None, (1,)),
    ]
    assert listing.official == {'train': 3, 'val': 2} and not listing.warnings


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('v_a,12\n', r'actnet_train_split.txt:1: .v_a,12. is not folder,frames,label'),
        ('v_a,12,1\nv_b,x,4\n', r':2: .v_b,x,4. is not folder'),
        ('v_a,12,4\n', r':1: label 4 of .v_a. is outside 0..3; classInd.txt lists 4 classes'),
        ('v_a,12,-1\n', r':1: .* is not folder,frames,label'),
        ('v_a,12,1\nv_a,12,2\n', r':2: .v_a. stands on line 1 already'),
    ],
)
def test_lists_that_are_malformed(lists, text, message):
    (lists / 'actnet_train_split.txt').write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_lists(lists, 'actnet')


def test_official_annotation(official):
    listing = read_annotation(official)
    assert listing.classes == ('Archery', 'Cricket', 'Zumba') and listing.label_order == 'sorted'
    assert [(clip.split, clip.id, clip.labels) for clip in listing.clips] == [
        ('train', 'v_aaaaaaaaaaa', (0, 2)),
        ('val', 'v_ddddddddddd', (1,)),
        ('test', 'v_eeeeeeeeeee', ()),
    ]
    assert listing.warnings[0].startswith('1 videos outside the test split show no class')
    assert any('10,024 are published' in warning for warning in listing.warnings)
    parts = read_annotation(official, segments=True)
    assert [(clip.id, clip.label, clip.labels, clip.part) for clip in parts.clips] == [
        ('v_aaaaaaaaaaa_000', 2, (), (0.2, 1.0)),
        ('v_aaaaaaaaaaa_001', 0, (), (1.0, 9.5)),
        ('v_aaaaaaaaaaa_002', 2, (), (0.0, 0.4)),
        ('v_ddddddddddd_000', 1, (), (0.5, 1.5)),
        ('v_eeeeeeeeeee', None, (), None),
    ]
    (official / 'classInd.txt').write_text(CLASSES)
    assert read_annotation(official).clips[0].labels == (0, 3)
    (official / 'classInd.txt').write_text('Archery\n')
    with pytest.raises(AnnotationError, match="does not list 'Cricket'"):
        read_annotation(official)


def test_official_annotation_that_is_malformed(official):
    file = official / 'activity_net.v1-3.min.json'
    for content, message in (
        ('[]', 'not the annotation of ActivityNet'),
        (
            json.dumps({'database': {'a': {'subset': 'some', 'annotations': []}}}),
            "the subset of 'a' is 'some'",
        ),
    ):
        file.write_text(content)
        with pytest.raises(AnnotationError, match=message):
            read_annotation(official)
    wrong = {'a': {'subset': 'training', 'annotations': [{'segment': [3, 2], 'label': 'x'}]}}
    file.write_text(json.dumps({'database': wrong}))
    with pytest.raises(AnnotationError, match='from 3 s to 2 s'):
        read_annotation(official, segments=True)


def prepared(main, videos: Path, annotations: Path, out: Path, *flags: str) -> Path:
    status = main(
        ['--videos', str(videos), '--annotations', str(annotations), '--out', str(out), '--workers', '1']
        + ['--max-failed', '0.5', *flags]
    )
    assert status == 0
    return out


def tiny(recipe: str) -> tuple[dict, list]:
    """A recipe with small networks, and its training pipeline with small crops."""
    cfg = expand_stages(load_config(ROOT / 'configs' / recipe))[0].cfg
    model, pipeline = cfg.model.to_dict(), cfg.train_dataloader.dataset.to_dict()['pipeline']
    for part in ('encoder', 'glance', 'focus'):
        if part in model:
            model[part] |= dict(backbone=dict(type='MobileNetV2', width=0.1), map_stride=8)
    if 'glance' in model:
        model |= dict(glance_size=32, patch_size=32)
    for step in pipeline:
        if step['type'] == 'MultiScaleCrop':
            step['size'] = 32
    return model, pipeline


def first_step(model: torch.nn.Module, dataset: ClipDataset) -> dict[str, torch.Tensor]:
    data = [dataset[number] for number in range(len(dataset))]
    inputs = model.data_preprocessor(
        dict(inputs=[one['inputs'] for one in data], data_samples=[one['data_samples'] for one in data]), True
    )
    losses = model(**inputs, mode='loss')
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    before = [parameter.clone() for parameter in model.parameters()]
    total.backward()
    optimizer.step()
    assert total.isfinite()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters()))
    return losses


@pytest.mark.parametrize('main', [activitynet.main, fcvid.main], ids=['activitynet', 'fcvid'])
@pytest.mark.parametrize('to', ['video', 'shards'])
def test_from_lists_to_the_first_training_step(main, to, lists, videos, tmp_path, here):
    out = prepared(main, videos, lists, tmp_path / 'out', '--to', to)
    manifest = read_manifest(out)
    rows = read_rows(manifest, 'train')
    assert [(row.id, row.label, row.labels) for row in rows] == [
        ('v_aaaaaaaaaaa', None, (3,)),
        ('v_bbb,b_bbbb-', None, (0, 1)),
        ('v_ccccccccccc', None, (0, 2)),
    ]
    assert [row.id for row in read_rows(manifest, 'val')] == ['v_ddddddddddd']
    failed = [json.loads(line) for line in (out / 'failed.jsonl').read_text().splitlines()]
    assert [(clip['id'], clip['reason']) for clip in failed] == [('v_gone', 'missing')]
    told = json.loads((out / 'stats.json').read_text())['splits']['train']
    assert told['clips_per_class'] == [2, 1, 1, 1] and told['labelled'] == 3
    model, pipeline = tiny('glance_focus/glance-focus_mobilenetv2-r50_g224-p128-s1_16f_activitynet.py')
    dataset = ClipDataset(out, 'train', pipeline)
    for loss in ('cross_entropy', 'binary_cross_entropy'):
        torch.manual_seed(0)
        built = MODELS.build(model | dict(num_classes=4, loss=loss, frozen=('policy',)))
        assert {'loss_step0', 'loss_step1'} <= set(first_step(built, dataset))


def test_from_the_annotation_to_the_first_training_step(official, videos, tmp_path, here):
    out = prepared(activitynet.main, videos, official, tmp_path / 'out', '--segments')
    rows = read_rows(read_manifest(out), 'train')
    assert [(row.id, row.path, row.label, row.start, row.end) for row in rows] == [
        ('v_aaaaaaaaaaa_000', 'v_aaaaaaaaaaa.mp4', 2, 0.2, 1.0),
        ('v_aaaaaaaaaaa_001', 'v_aaaaaaaaaaa.mp4', 0, 1.0, 9.5),
        ('v_aaaaaaaaaaa_002', 'v_aaaaaaaaaaa.mp4', 2, 0.0, 0.4),
    ]
    model, pipeline = tiny('baselines/tsn/tsn_r50_16f_120e_activitynet.py')
    # the second part begins when the video has ended
    dataset = torch.utils.data.Subset(ClipDataset(out, 'train', pipeline), [0, 2])
    torch.manual_seed(0)
    assert 'loss_step0' in first_step(MODELS.build(model | dict(num_classes=3)), dataset)
