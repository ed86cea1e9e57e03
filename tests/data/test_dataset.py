from __future__ import annotations

import copy
import hashlib
import logging
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from gfvideo.data import dataset as dataset_module
from gfvideo.data.dataset import ClipDataset, TooManyBadVideos, build_pipeline, describe_clip
from gfvideo.data.manifest import ClipRow, ManifestError, write_manifest
from gfvideo.data.readers import VideoError
from gfvideo.registry import DATASETS
from gfvideo.structures import ClipSample

CLASSES = ['a', 'b', 'c']
TRAIN = [
    {'type': 'SampleFrames', 'frames': 3},
    {'type': 'DecodeFrames'},
    {'type': 'RandomResizedCrop', 'size': 16},
    {'type': 'Flip'},
    {'type': 'PackClip'},
]
TEST = [
    {'type': 'SampleFrames', 'frames': 3, 'test_mode': True},
    {'type': 'DecodeFrames'},
    {'type': 'PackClip'},
]
CLIPS = 10


@pytest.fixture(scope='module')
def root(tmp_path_factory, painted_video):
    """Ten clips of 6 to 15 frames."""
    folder = tmp_path_factory.mktemp('prepared')
    (folder / 'videos').mkdir()
    for number in range(CLIPS):
        shutil.copy(painted_video(6 + number), folder / 'videos' / f'{number}.mp4')
    rows = [
        ClipRow(f'clip{number}', f'{number}.mp4', 'video', number % 3, 6 + number, 48, 128)
        for number in range(CLIPS)
    ]
    write_manifest(
        folder,
        name='tiny',
        version='v1',
        classes=CLASSES,
        label_order='sorted',
        video_root='videos',
        rows={'train': rows, 'val': rows[:2]},
        official={'train': 20},
    )
    return folder


@pytest.fixture
def damaged(root, tmp_path):
    """The same set, in which clips 4 and 7 are no videos."""
    shutil.copytree(root, tmp_path / 'set')
    for number in (4, 7):
        (tmp_path / 'set' / 'videos' / f'{number}.mp4').write_text('<html>not found</html>')
    return tmp_path / 'set'


@pytest.fixture
def log(monkeypatch):
    """What the dataset logs in this process."""
    lines = []
    monkeypatch.setattr(
        dataset_module, 'print_log', lambda message, logger, level: lines.append((message, logger, level))
    )
    return lines


def clips(dataset):
    return [
        (sample['data_samples'].video_id, sample['inputs'])
        for sample in (dataset[index] for index in range(len(dataset)))
    ]


def same(one, other):
    return [a == b and torch.equal(x, y) for (a, x), (b, y) in zip(one, other, strict=True)]


# ---- samples and meta information


def test_sample(root, painted_video):
    dataset = DATASETS.build(
        {'type': 'ClipDataset', 'root': str(root), 'split': 'train', 'pipeline': TEST, 'test_mode': True}
    )
    assert isinstance(dataset, ClipDataset)
    assert len(dataset) == CLIPS
    for index in (0, 9):
        sample = dataset[index]
        assert sample['inputs'].shape == (3, 3, 48, 128)
        data = sample['data_samples']
        assert isinstance(data, ClipSample)
        assert (data.video_id, data.path) == (f'clip{index}', str(root / 'videos' / f'{index}.mp4'))
        assert (data.total_frames, data.frame_size, data.gt_label.item()) == (6 + index, (48, 128), index % 3)
        assert [
            painted_video.read_number(frame.permute(1, 2, 0).numpy()) for frame in sample['inputs']
        ] == data.frame_indices


def test_metainfo(root):
    dataset = ClipDataset(root, 'train', TRAIN)
    manifest_hash = dataset.metainfo.pop('manifest_hash')
    assert len(manifest_hash) == 64
    assert manifest_hash == ClipDataset(root, 'val', TEST).metainfo['manifest_hash']
    assert len(dataset.metainfo.pop('content_hash')) == 64
    assert dataset.metainfo == {
        'name': 'tiny',
        'made_hash': None,
        'version': 'v1',
        'classes': CLASSES,
        'label_order': 'sorted',
        'split': 'train',
        'present': CLIPS,
        'official': 20,
    }
    assert dataset.row(3) == ClipRow('clip3', '3.mp4', 'video', 0, 9, 48, 128)


def test_index_out_of_range(root):
    with pytest.raises(IndexError, match='clip 2 of a split of 2'):
        ClipDataset(root, 'val', TEST)[2]


@pytest.mark.parametrize(
    ('form', 'folder', 'line'),
    [('mmaction2_video', 'videos', '{}.mp4 {}'), ('path_label', '.', 'videos/{}.mp4,{}')],
)
def test_video_lists(root, tmp_path, form, folder, line):
    (tmp_path / 'list.txt').write_text('\n'.join(line.format(number, number % 3) for number in range(3)))
    (tmp_path / 'classes.txt').write_text('a\nb\nc\n')
    for classes in (CLASSES, str(tmp_path / 'classes.txt')):
        dataset = ClipDataset(
            root / folder,
            'val',
            TEST,
            form=form,
            list_file=tmp_path / 'list.txt',
            classes=classes,
            test_mode=True,
        )
        assert dataset.metainfo['classes'] == CLASSES
    reference = ClipDataset(root, 'train', TEST, test_mode=True)
    for index in range(3):
        sample, expected = dataset[index], reference[index]
        assert torch.equal(sample['inputs'], expected['inputs'])
        assert sample['data_samples'].gt_label == expected['data_samples'].gt_label
        assert sample['data_samples'].total_frames == 6 + index  # counted by the reader
    assert (dataset.metainfo['present'], dataset.metainfo['official']) == (3, None)
    assert len(dataset.metainfo['manifest_hash']) == 64


@pytest.mark.parametrize(
    ('form', 'template', 'given'),
    [
        ('mmaction2_frames', 'img_{:05d}.jpg', {}),
        ('tsm', '{:05d}.jpg', {}),
        ('tsm', 'frame{:02d}.png', {'frame_template': 'frame{:02d}.png', 'start_index': 0}),
    ],
)
def test_frame_lists(tmp_path, form, template, given):
    folder, start = tmp_path / 'frames' / '100', given.get('start_index', 1)
    folder.mkdir(parents=True)
    for number in range(4):
        cv2.imwrite(str(folder / template.format(start + number)), np.full((8, 10, 3), 20 * number, np.uint8))
    (tmp_path / 'list.txt').write_text('100 4 2\n')
    pipeline = [{'type': 'SampleFrames', 'frames': 4, 'test_mode': True}, *TEST[1:]]
    dataset = ClipDataset(
        tmp_path / 'frames',
        'val',
        pipeline,
        form=form,
        list_file=tmp_path / 'list.txt',
        classes=CLASSES,
        test_mode=True,
        **given,
    )
    np.testing.assert_allclose(dataset[0]['inputs'].float().mean((1, 2, 3)), [0, 20, 40, 60], atol=1)
    assert dataset[0]['data_samples'].gt_label == 2


def test_describe_clip_gives_what_the_dataset_gives(root):
    pipeline = build_pipeline(TEST)
    sample, expected = (
        pipeline(describe_clip(root / 'videos' / '5.mp4')),
        ClipDataset(root, 'train', TEST, test_mode=True)[5],
    )
    assert torch.equal(sample['inputs'], expected['inputs'])
    assert sample['data_samples'].frame_indices == expected['data_samples'].frame_indices
    assert sample['data_samples'].video_id == '5'
    assert 'gt_label' not in sample['data_samples']


# ---- folds


@pytest.mark.parametrize('parts', [1, 2, 3])
def test_folds_are_disjoint_and_together_the_split(root, parts):
    whole = ClipDataset(root, 'train', TEST, test_mode=True)
    folds = [
        ClipDataset(root, 'train', TEST, test_mode=True, fold=f'{part}/{parts}') for part in range(parts)
    ]
    ids = [[fold.row(index).id for index in range(len(fold))] for fold in folds]
    assert sorted(sum(ids, [])) == sorted(whole.row(index).id for index in range(CLIPS))  # each clip once
    for part, (fold, own) in enumerate(zip(folds, ids)):
        expected = [
            number
            for number in range(CLIPS)  # in the order of the split
            if int(hashlib.sha256(f'clip{number}'.encode()).hexdigest()[:16], 16) % parts == part
        ]
        assert own == [f'clip{number}' for number in expected] and len(fold) == len(own) > 0
        assert fold.metainfo == {
            **whole.metainfo,
            'fold': f'{part}/{parts}',
            'present': len(own),
            'official': None,
        }
        assert torch.equal(fold[0]['inputs'], whole[expected[0]]['inputs'])
    assert 'fold' not in whole.metainfo


def test_the_fold_of_a_clip_does_not_depend_on_the_others(root):
    train, val = (ClipDataset(root, split, TEST, test_mode=True, fold='0/2') for split in ('train', 'val'))
    assert [train.row(i).id for i in range(len(train)) if train.row(i).id in ('clip0', 'clip1')] == [
        val.row(i).id for i in range(len(val))
    ]


@pytest.mark.parametrize('fold', ['2/2', '-1/2', '1', '/2', '0/', '0/0', 'a/b', '0/2/4', '0.5/2', 1, ''])
def test_folds_that_do_not_exist(root, fold):
    with pytest.raises(ValueError, match=r"write 'K/N' with K from 0 and below N"):
        ClipDataset(root, 'train', TEST, test_mode=True, fold=fold)


def test_a_fold_without_clips(root):
    ids = [
        int.from_bytes(hashlib.sha256(f'clip{number}'.encode()).digest()[:8]) % 50 for number in range(CLIPS)
    ]
    empty = next(part for part in range(50) if part not in ids)
    with pytest.raises(
        ManifestError, match=f"part {empty} of 50 of split 'train' has no clip; make fewer parts"
    ):
        ClipDataset(root, 'train', TEST, test_mode=True, fold=f'{empty}/50')


# ---- what must fail before training


def test_missing_manifest_names_path_and_command(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r'no prepared dataset at .*nowhere.*\n.*data_prep/<dataset>\.py .* --out .*nowhere',
    ):
        ClipDataset(tmp_path / 'nowhere', 'train', TRAIN)
    with pytest.raises(FileNotFoundError, match=r'make it with\n  python data_prep/toy\.py --out data/toy'):
        ClipDataset(tmp_path / 'nowhere', 'train', TRAIN, prepare='python data_prep/toy.py --out data/toy')


def test_missing_videos(root, tmp_path):
    shutil.copytree(root, tmp_path / 'set')
    shutil.rmtree(tmp_path / 'set' / 'videos')
    with pytest.raises(
        FileNotFoundError, match=r'folder of the videos, .*set/videos, is missing.*correct video_root'
    ):
        ClipDataset(tmp_path / 'set', 'train', TRAIN)


def test_empty_split(tmp_path):
    write_manifest(
        tmp_path,
        name='n',
        version='1',
        classes=['a'],
        label_order='given',
        rows={'train': []},
        video_root='.',
    )
    with pytest.raises(ManifestError, match="split 'train' has no clip"):
        ClipDataset(tmp_path, 'train', TRAIN)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'split': 'test'}, "has no split 'test'"),
        ({'form': 'kinetics'}, "form is 'kinetics'; use 'manifest'"),
        ({'form': 'tsm'}, "'tsm' needs list_file"),
        ({'classes': CLASSES}, 'belong to list files'),
        ({'max_bad_rate': 2}, 'max_bad_rate is 2'),
        ({'pipeline': []}, 'pipeline is empty'),
        ({'seed': -1}, 'seed is -1'),
        ({'seed': None}, 'seed is None'),
    ],
)
def test_wrong_arguments(root, change, message):
    with pytest.raises(ValueError, match=message):
        ClipDataset(**{'root': root, 'split': 'train', 'pipeline': TRAIN, **change})


# ---- chance


def test_samples_depend_on_seed_epoch_and_index_alone(root):
    first = ClipDataset(root, 'train', TRAIN, seed=3)
    epochs = []
    for epoch in range(3):
        first.set_epoch(epoch)
        epochs.append(clips(first))
    assert sum(same(epochs[0], epochs[1])) < 3  # a crop of the plain background may look alike
    resumed = ClipDataset(root, 'train', TRAIN, seed=3)
    resumed.set_epoch(2)
    assert torch.equal(resumed[5]['inputs'], epochs[2][5][1])  # asked for twice, and out of order
    assert all(same(clips(resumed), epochs[2]))
    resumed.set_epoch(2, seed=4)
    assert sum(same(clips(resumed), epochs[2])) < 3
    resumed.set_epoch(0, seed=3)
    assert all(same(clips(resumed), epochs[0]))


def drawn(rng: np.random.Generator) -> int:
    return rng.integers(1 << 60)


@pytest.mark.parametrize('test_mode', [False, True])
def test_rng_is_of_seed_epoch_index(root, test_mode):
    dataset = ClipDataset(root, 'train', TRAIN, seed=7, test_mode=test_mode)
    dataset.set_epoch(2)
    epoch = 0 if test_mode else 2
    assert drawn(dataset.rng(5)) == drawn(np.random.default_rng((7, epoch, 5, 0)))


def loaded(loader):
    batches = list(loader)
    ids = [sample.video_id for batch in batches for sample in batch['data_samples']]
    return list(zip(ids, [clip for batch in batches for clip in batch['inputs']], strict=True))


def test_workers_give_the_same_samples(root):
    """Persistent workers, which hold their copy of the dataset from the first epoch on."""
    alone, shared = ClipDataset(root, 'train', TRAIN, seed=1), ClipDataset(root, 'train', TRAIN, seed=1)
    workers = DataLoader(shared, 4, num_workers=2, persistent_workers=True, collate_fn=pseudo_collate)
    for epoch in (0, 5):
        alone.set_epoch(epoch)
        shared.set_epoch(epoch)
        assert all(same(loaded(workers), clips(alone)))


def test_test_mode_ignores_the_epoch(root):
    dataset = ClipDataset(root, 'train', TRAIN, test_mode=True)
    before = clips(dataset)
    dataset.set_epoch(3)
    assert all(same(clips(dataset), before))


def test_copies(root):
    dataset = ClipDataset(root, 'train', TRAIN)
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert all(same(clips(other), clips(dataset)))
        other.set_epoch(4)
        assert drawn(dataset.rng(5)) == drawn(np.random.default_rng((0, 0, 5, 0)))


# ---- bad videos


def test_a_bad_video_raises_in_test_mode(damaged):
    dataset = ClipDataset(damaged, 'train', TEST, test_mode=True)
    with pytest.raises(VideoError, match=r'4\.mp4'):
        dataset[4]
    dataset[5]


def test_a_bad_video_is_counted_logged_and_replaced_in_training(damaged, root, log):
    dataset = ClipDataset(damaged, 'train', TRAIN, max_bad_rate=0.5)
    drawn = clips(dataset)
    assert [clip for clip, _ in drawn[:4]] == ['clip0', 'clip1', 'clip2', 'clip3']
    assert drawn[4][0] not in ('clip4', 'clip7')
    assert drawn[7][0] not in ('clip4', 'clip7')
    attempts, bad = dataset.bad_videos()
    assert bad.keys() == {'4.mp4', '7.mp4'}
    assert attempts == CLIPS + sum(bad.values())
    assert len(log) == sum(bad.values())
    for message, logger, level in log:
        assert 'another clip takes its place' in message
        assert 'mp4' in message
        assert (logger, level) == ('current', logging.WARNING)
    others = [index for index in range(CLIPS) if index not in (4, 7)]
    good = clips(ClipDataset(root, 'train', TRAIN))
    assert all(same([drawn[index] for index in others], [good[index] for index in others])), (
        'a bad clip must not change the others'
    )


def test_replacements_are_reproducible(damaged):
    one, other = (ClipDataset(damaged, 'train', TRAIN, max_bad_rate=1) for _ in range(2))
    clips(one)  # what was drawn before does not matter
    one.set_epoch(6)
    other.set_epoch(6)
    workers = DataLoader(other, 3, num_workers=2, collate_fn=pseudo_collate)
    assert all(same(loaded(workers), clips(one)))


def test_counts_of_all_workers_are_added(damaged):
    dataset = ClipDataset(damaged, 'train', TRAIN, max_bad_rate=1)
    for _ in range(2):  # the workers of the second epoch are new ones
        list(DataLoader(dataset, 2, num_workers=2, collate_fn=pseudo_collate))
    attempts, bad = dataset.bad_videos()
    assert attempts == 2 * CLIPS + sum(bad.values())
    assert bad['4.mp4'] >= 2
    assert bad['7.mp4'] >= 2
    assert list(bad.values()) == sorted(bad.values(), reverse=True)


def test_stops_above_the_rate(damaged, log):
    dataset = ClipDataset(damaged, 'train', TRAIN, max_bad_rate=0.1, min_attempts=20)
    with pytest.raises(TooManyBadVideos) as caught:
        for epoch in range(4):
            dataset.set_epoch(epoch)
            clips(dataset)
    attempts, bad = dataset.bad_videos()
    assert attempts >= 20
    assert sum(bad.values()) > 0.1 * attempts
    message = str(caught.value)
    assert (
        f'{sum(bad.values())} of {attempts} attempts to read a video failed, more than max_bad_rate=0.1'
        in message
    )
    for path, count in bad.items():
        assert f'{path} ({count} times)' in message


def test_does_not_stop_at_or_below_the_rate(damaged):
    dataset = ClipDataset(damaged, 'train', TRAIN, max_bad_rate=0.5, min_attempts=1)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        clips(dataset)


def test_stops_in_worker_processes(damaged):
    dataset = ClipDataset(damaged, 'train', TRAIN, max_bad_rate=0, min_attempts=1)
    with pytest.raises(TooManyBadVideos, match=r'more than max_bad_rate=0'):
        list(DataLoader(dataset, 2, num_workers=2, collate_fn=pseudo_collate))


def test_stops_at_once_when_nothing_can_be_read(root, tmp_path, log):
    shutil.copytree(root, tmp_path / 'set')
    for video in (tmp_path / 'set' / 'videos').iterdir():
        video.unlink()
    with pytest.raises(
        TooManyBadVideos, match=r'10 videos in a row could not be read; is .*set/videos the right folder'
    ):
        ClipDataset(tmp_path / 'set', 'train', TRAIN, max_bad_rate=1)[0]


def test_faults_of_the_program_are_not_taken_for_bad_videos(root):
    def broken(results):
        raise KeyError('typing error')

    with pytest.raises(KeyError, match='typing error'):
        ClipDataset(root, 'train', [broken])[0]


def test_clips_without_a_label_are_for_predicting(root, tmp_path):
    shutil.copytree(root / 'videos', tmp_path / 'videos')
    rows = [ClipRow('clip0', '0.mp4', 'video', 0, 6), ClipRow('clip1', '1.mp4', 'video', None, 7)]
    write_manifest(
        tmp_path,
        name='n',
        version='v',
        classes=CLASSES,
        label_order='sorted',
        video_root='videos',
        rows={'test': rows},
    )
    with pytest.raises(
        ManifestError, match=r"1 of 2 clips of split 'test' have no label .*train on another split"
    ):
        ClipDataset(tmp_path, 'test', TRAIN)
    samples = [
        ClipDataset(tmp_path, 'test', TEST, test_mode=True)[index]['data_samples'] for index in range(2)
    ]
    assert ['gt_label' in sample for sample in samples] == [True, False]
