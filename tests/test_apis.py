import importlib.util
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import build_pipeline, inference_recognizer, init_recognizer, parse_config
from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.engine.config_check import ConfigError
from gfvideo.registry import MODELS

REPOSITORY = Path(__file__).parents[1]
CLASSES = ['rising', 'falling', 'standing']
CLIPS, LENGTH, SIZE = 5, 12, (48, 64)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory, painted_video):
    """A prepared dataset of a few tiny videos, each different."""
    root = tmp_path_factory.mktemp('dataset')
    (root / 'videos').mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(CLIPS):
        frames = rng.integers(0, 255, (LENGTH, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        painted_video.write(root / 'videos' / f'{number}.mp4', frames)
        rows.append(ClipRow(id=str(number), path=f'{number}.mp4', kind='video', label=number % 3, frames=LENGTH, height=SIZE[0],
                            width=SIZE[1]))
    write_manifest(root, name='tiny', version='1', classes=CLASSES, label_order='given', rows=dict(val=rows), video_root='videos')
    return root


def encoder():
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)


def config(root, **model):
    pipeline = [dict(type='SampleFrames', frames=4, test_mode=True), dict(type='DecodeFrames'), dict(type='Resize', size=(36, 48)),
                dict(type='PackClip')]
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                  dataset=dict(type='ClipDataset', root=str(root), split='val', pipeline=pipeline, test_mode=True))
    return Config(dict(
        default_scope='gfvideo',
        model=dict(type='GlanceFocusRecognizer', num_classes=3, glance=encoder(), focus=encoder(), glance_size=16, patch_size=16, steps=2,
                   policy=dict(type='RecurrentGaussianPolicy', hidden=8), classifier=dict(type='RecurrentClassifier', hidden=16)) | model,
        test_dataloader=loader, test_cfg=dict(type='TestLoop'), test_evaluator=dict(type='ClipAccuracy')))


def save_checkpoint(path, config, **meta):
    """A checkpoint of drawn weights with the form that a run saves; running statistics are not the initial ones."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    for name, buffer in model.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=config.pretty_text, dataset_meta=dict(classes=CLASSES)) | meta), path)
    return model


@pytest.fixture(scope='module')
def checkpoint(dataset):
    path = dataset / 'model.pth'
    save_checkpoint(path, config(dataset))
    return path


def test_the_checkpoint_alone_makes_the_recognizer(dataset, checkpoint):
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    model = init_recognizer(checkpoint=checkpoint)
    assert not model.training and model.dataset_meta['classes'] == CLASSES
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert model.cfg.test_dataloader == config(dataset).test_dataloader


def test_a_given_config_takes_the_place_of_the_carried_one(dataset, checkpoint):
    cfg = config(dataset, test_centres='centre')
    model = init_recognizer(cfg, checkpoint)
    assert model.test_centres == 'centre'
    cfg.dump(dataset / 'given.py')
    assert init_recognizer(str(dataset / 'given.py'), checkpoint).test_centres == 'centre'
    assert init_recognizer(cfg, checkpoint, cfg_options={'model.test_centres': 'sample'}).test_centres == 'sample'
    assert cfg.model.test_centres == 'centre'                                # the caller's config is left alone


def test_of_stages_the_last_one_counts(dataset):
    cfg = config(dataset)
    cfg.stages = [dict(name='random', model=dict(test_centres='random')),
                  dict(name='tune', model=dict(test_centres='mean', aux_weight=3.0))]
    model = init_recognizer(cfg)
    assert (model.test_centres, model.aux_weight) == ('mean', 3.0)


def test_a_preprocessor_beside_the_model_belongs_to_it(dataset):
    cfg = config(dataset)
    cfg.data_preprocessor = dict(type='ClipPreprocessor', mean=[1, 2, 3], std=[4, 5, 6])
    assert init_recognizer(cfg).data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_file_and_array_of_its_frames_give_the_same(dataset, checkpoint):
    model = init_recognizer(checkpoint=checkpoint)
    path = dataset / 'videos' / '1.mp4'
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])
    of_file, of_array, again = inference_recognizer(model, [path, frames, str(path)])
    assert of_file.video_id == '1' and of_file.total_frames == LENGTH and of_file.frame_size == SIZE and 'gt_label' not in of_file
    assert of_file.step_logits.shape == (3, 3) and of_file.centres.shape == (2, 4, 2)
    torch.testing.assert_close(of_file.step_logits, again.step_logits, rtol=0, atol=0)
    torch.testing.assert_close(of_file.step_logits, of_array.step_logits, rtol=0, atol=0.05)   # readers may convert colours in another way
    assert isinstance(inference_recognizer(model, path).logits, torch.Tensor)


def test_batches_and_the_dataset_give_the_same(dataset, checkpoint):
    """The test loop's way (dataset, batches of two) and the API's way (one file) meet in the same numbers."""
    from mmengine.dataset import pseudo_collate

    from gfvideo.registry import DATASETS
    model = init_recognizer(checkpoint=checkpoint)
    clips = DATASETS.build(model.cfg.test_dataloader.dataset)
    with torch.no_grad():
        batch = model.test_step(pseudo_collate([clips[0], clips[1]]))
    alone = inference_recognizer(model, [dataset / 'videos' / f'{number}.mp4' for number in range(2)])
    for one, other in zip(batch, alone):
        assert one.frame_indices == other.frame_indices
        torch.testing.assert_close(one.step_logits, other.step_logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(one.centres, other.centres, rtol=1e-5, atol=1e-5)


def test_the_tool_dumps_what_the_api_says(dataset, checkpoint, tmp_path):
    """tools/test.py --dump against inference_recognizer, on the same videos."""
    config(dataset).dump(tmp_path / 'config.py')
    dump = tmp_path / 'predictions.pkl'
    spec = importlib.util.spec_from_file_location('test_tool', REPOSITORY / 'tools' / 'test.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main([str(tmp_path / 'config.py'), str(checkpoint), '--work-dir', str(tmp_path / 'work'), '--dump', str(dump)])
    dumped = pickle.loads(dump.read_bytes())
    model = init_recognizer(checkpoint=checkpoint)
    assert [sample['video_id'] for sample in dumped] == [str(number) for number in range(CLIPS)]
    for sample in dumped:
        own = inference_recognizer(model, dataset / 'videos' / f'{sample["video_id"]}.mp4')
        torch.testing.assert_close(own.step_logits, sample['step_logits'], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(own.centres, sample['centres'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('array', [np.zeros((4, 48, 64), np.uint8), np.zeros((4, 48, 64, 3)), np.zeros((0, 48, 64, 3), np.uint8)])
def test_an_array_that_is_no_video_is_refused(checkpoint, array):
    with pytest.raises(ValueError, match=r'give frames \(N, H, W, 3\) uint8'):
        inference_recognizer(init_recognizer(checkpoint=checkpoint), array)


def test_what_is_missing_is_named(dataset, checkpoint, tmp_path):
    with pytest.raises(ValueError, match='config, a checkpoint or both'):
        init_recognizer()
    save_checkpoint(tmp_path / 'bare.pth', config(dataset), cfg=None)
    with pytest.raises(ConfigError, match='bare.pth carries no config'):
        init_recognizer(checkpoint=tmp_path / 'bare.pth')
    assert init_recognizer(config(dataset), tmp_path / 'bare.pth')
    cfg = config(dataset)
    del cfg._cfg_dict['test_dataloader']
    with pytest.raises(ConfigError, match='no test_dataloader'):
        build_pipeline(cfg)


# ---- the config that a checkpoint carries is read, not run

def test_finished_configs_come_back_whole():
    cfg = Config({'a': 1, 'b': dict(type='X', lr=1e-3, nested=[1, (2, 3), [dict(x=None)]], no=False, minus=-0.5, text='it\'s "q"\nnew'),
                  'inf': float('inf'), 'minus_inf': -float('inf'), 'd': {'w.h': 1, 3: dict(y=())}, 'set': {1, 2}, 'long': 'a b ' * 100,
                  'empty': {}, 'stages': [dict(name='a'), dict(name='b', deep=dict(er=[]))]})
    assert parse_config(cfg.pretty_text).to_dict() == cfg.to_dict()


@pytest.mark.parametrize('text, message', [
    ('import os', 'more than'), ("a = __import__('os').system('true')", 'no plain value'), ('a = b', 'no plain value'),
    ('a = dict(**{})', 'no plain value'), ('a = [x for x in (1,)]', 'no plain value'), ('a, b = 1, 2', 'more than'),
    ('a = -"x"', 'no plain value'), ('a = (', 'not Python'), ('print()', 'more than'),
])
def test_programs_are_not_run(text, message):
    with pytest.raises(ValueError, match=message):
        parse_config(text)


def test_a_program_in_a_checkpoint_is_refused(dataset, tmp_path):
    save_checkpoint(tmp_path / 'evil.pth', config(dataset), cfg=f'open({str(tmp_path / "ran")!r}, "w")')
    with pytest.raises(ConfigError, match='evil.pth cannot be used.*give its config file'):
        init_recognizer(checkpoint=tmp_path / 'evil.pth')
    assert not (tmp_path / 'ran').exists()
