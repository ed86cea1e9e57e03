import gc
import importlib.util
import itertools
import math
import pickle
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import (
    build_pipeline,
    inference_recognizer,
    init_recognizer,
    parse_config,
    prepare_video,
    stream,
)
from gfvideo.data import streaming
from gfvideo.data.manifest import ClipRow, write_manifest
from gfvideo.data.readers import ArrayReader
from gfvideo.engine.config import ConfigError
from gfvideo.engine.identity import describe_model
from gfvideo.exits import (
    Calibration,
    ExitsFileError,
    Setting,
    StepExits,
    StreamExits,
    confidence,
    run_clips,
    run_stream,
    write_exits,
)
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
        rows.append(
            ClipRow(
                id=str(number),
                path=f'{number}.mp4',
                kind='video',
                label=number % 3,
                frames=LENGTH,
                height=SIZE[0],
                width=SIZE[1],
            )
        )
    write_manifest(
        root,
        name='tiny',
        version='1',
        classes=CLASSES,
        label_order='given',
        rows=dict(val=rows),
        video_root='videos',
    )
    return root


def encoder():
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)


def config(root, **model):
    pipeline = [
        dict(type='SampleFrames', frames=4, test_mode=True),
        dict(type='DecodeFrames'),
        dict(type='Resize', size=(36, 48)),
        dict(type='PackClip'),
    ]
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='ClipDataset', root=str(root), split='val', pipeline=pipeline, test_mode=True),
    )
    return Config(
        dict(
            default_scope='gfvideo',
            model=dict(
                type='GlanceFocusRecognizer',
                num_classes=3,
                glance=encoder(),
                focus=encoder(),
                glance_size=16,
                patch_size=16,
                steps=2,
                policy=dict(type='RecurrentGaussianPolicy', hidden=8),
                classifier=dict(type='RecurrentClassifier', hidden=16),
            )
            | model,
            test_dataloader=loader,
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='ClipAccuracy'),
        )
    )


def save_checkpoint(path, config, **meta):
    """A checkpoint of drawn weights with the form that a run saves; running statistics are not the initial
    ones."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    for name, buffer in model.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(cfg=config.pretty_text, dataset_meta=dict(classes=CLASSES)) | meta,
        ),
        path,
    )
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
    assert (
        init_recognizer(cfg, checkpoint, cfg_options={'model.test_centres': 'sample'}).test_centres
        == 'sample'
    )
    assert cfg.model.test_centres == 'centre'  # the caller's config is left alone


def test_of_stages_the_last_one_counts(dataset):
    cfg = config(dataset)
    cfg.stages = [
        dict(name='random', model=dict(test_centres='random')),
        dict(name='tune', model=dict(test_centres='mean', aux_weight=3.0)),
    ]
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
    assert (
        of_file.video_id == '1'
        and of_file.total_frames == LENGTH
        and of_file.frame_size == SIZE
        and 'gt_label' not in of_file
    )
    assert of_file.step_logits.shape == (3, 3) and of_file.centres.shape == (2, 4, 2)
    torch.testing.assert_close(of_file.step_logits, again.step_logits, rtol=0, atol=0)
    # readers may convert colours in another way
    torch.testing.assert_close(of_file.step_logits, of_array.step_logits, rtol=0, atol=0.05)
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
    tool.main(
        [
            str(tmp_path / 'config.py'),
            str(checkpoint),
            '--work-dir',
            str(tmp_path / 'work'),
            '--dump',
            str(dump),
        ]
    )
    dumped = pickle.loads(dump.read_bytes())
    model = init_recognizer(checkpoint=checkpoint)
    assert [sample['video_id'] for sample in dumped] == [str(number) for number in range(CLIPS)]
    for sample in dumped:
        own = inference_recognizer(model, dataset / 'videos' / f'{sample["video_id"]}.mp4')
        torch.testing.assert_close(own.step_logits, sample['step_logits'], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(own.centres, sample['centres'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'array', [np.zeros((4, 48, 64), np.uint8), np.zeros((4, 48, 64, 3)), np.zeros((0, 48, 64, 3), np.uint8)]
)
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
    cfg.pop('test_dataloader')
    with pytest.raises(ConfigError, match='no test_dataloader'):
        build_pipeline(cfg)


# ---- frame by frame, and with exits


def causal_config(root, **model):
    looking_back = encoder() | dict(shift='causal')
    return config(root, glance=looking_back, focus=looking_back, **model)


@pytest.fixture(scope='module')
def causal(dataset):
    save_checkpoint(dataset / 'causal.pth', causal_config(dataset))
    return init_recognizer(checkpoint=dataset / 'causal.pth')


@pytest.fixture(scope='module')
def video(tmp_path_factory, painted_video):
    """Every frame depends on those before alone, so none is decoded ahead of the one that is asked for."""
    frames = (
        np.random.default_rng(1).integers(0, 255, (LENGTH, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    )
    return painted_video.write(
        tmp_path_factory.mktemp('stream') / 'clip.mp4', frames, options={'bf': '0', 'tune': 'zerolatency'}
    )


@pytest.fixture(scope='module')
def frames(video):
    with av.open(str(video)) as container:
        return np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])


def normalised(model, video):
    """(1, T, 3, H, W) as the model sees a video."""
    data = prepare_video(video, build_pipeline(model.cfg))
    return model.data_preprocessor(dict(inputs=[data['inputs']], data_samples=[data['data_samples']]))[
        'inputs'
    ]


def calibration(model, exits):
    kind = 'steps' if isinstance(exits, StepExits) else 'stream'
    setting = Setting(exits, 0.5, dict(gmacs=1.0), (1, 0, 0))
    return Calibration(
        kind, 'gmacs', (setting,), dict(gmacs=[0.1, 0.2, 0.3]), dict(model=describe_model(model))
    )


NEVER = (math.inf, math.inf)
AFTER_FRAME_1 = StreamExits(NEVER, (math.inf, 0.0))


def test_the_last_answer_of_a_stream_is_that_of_the_clip(causal, video):
    clip = inference_recognizer(causal, video)
    answers = list(stream(causal, video))
    assert [answer.index for answer in answers] == clip.frame_indices
    torch.testing.assert_close(answers[-1].logits, clip.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        answers[-1].logits, sum(answer.frame_logits for answer in answers) / 4, rtol=0, atol=1e-5
    )
    for t, answer in enumerate(answers):
        assert answer.looks == 2 and not answer.done
        torch.testing.assert_close(answer.centres, clip.centres[:, t], rtol=0, atol=1e-5)
    assert 0 < answers[0].ms < answers[1].ms < answers[3].ms


@pytest.mark.parametrize('given', ['exits', 'calibration', 'file'])
def test_what_comes_after_the_exit_is_never_decoded(causal, video, tmp_path, given):
    full = list(stream(causal, video))
    exits = dict(
        exits=AFTER_FRAME_1, calibration=calibration(causal, AFTER_FRAME_1), file=tmp_path / 'exits.json'
    )[given]
    write_exits(tmp_path / 'exits.json', calibration(causal, AFTER_FRAME_1))
    answers = list(stream(causal, video, exits))
    assert [answer.done for answer in answers] == [False, True]
    for one, other in zip(answers, full):
        torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=1e-6)
    decoded = [answer.decoded for answer in full]  # of the frames before a wanted one only what it needs
    assert [answer.decoded for answer in answers] == decoded[:2] and answers[1].decoded <= answers[
        1
    ].index + 1
    assert decoded[1] < decoded[2] < decoded[3] <= LENGTH


def test_a_file_is_closed_at_the_exit(causal, frames, monkeypatch):
    closed = []
    monkeypatch.setattr(ArrayReader, 'close', lambda self: closed.append(self.decoded))
    assert len(list(stream(causal, frames, AFTER_FRAME_1))) == 2 and closed == [2]
    reading = stream(causal, frames)
    next(reading)
    reading.close()  # the caller has seen enough
    assert closed == [2, 1]


def test_looks_are_skipped_as_the_runtime_skips_them(causal, frames):
    inputs = normalised(causal, frames)
    sure = confidence(run_stream(causal, inputs, None).frame_logits)[0].sort().values
    exits = StreamExits((sure[1:3].mean().item(), 0.0))
    expected = run_stream(causal, inputs, exits)
    answers = list(stream(causal, frames, exits))
    assert [answer.looks for answer in answers] == expected.looks[0].tolist()
    assert [len(answer.centres) for answer in answers] == [answer.looks for answer in answers] and {
        0,
        1,
    } >= set(expected.looks[0].tolist())
    for t, answer in enumerate(answers):
        assert answer.centres.isfinite().all()
        torch.testing.assert_close(answer.logits, expected.frame_logits[0, t], rtol=0, atol=1e-5)


def test_a_stream_that_does_not_stop_goes_on(causal, frames):
    exits = StreamExits((0.0, 0.0), (0.0,))
    assert len(list(stream(causal, frames, exits))) == 1
    answers = list(stream(causal, frames, exits, stop=False))
    assert (
        len(answers) == 4
        and not any(answer.done for answer in answers)
        and [answer.looks for answer in answers] == [0] * 4
    )


def test_a_window_forgets(causal, frames):
    def means(answers, window):
        logits = [answer.frame_logits for answer in answers]
        return [torch.stack(logits[max(0, t + 1 - window) : t + 1]).mean(0) for t in range(len(logits))]

    # of a sampled video all frames count
    for options, window, count in (
        (dict(window=2), 2, 4),
        (dict(), LENGTH, 4),
        (dict(every=1), 4, LENGTH),
        (dict(every=1, window=3), 3, LENGTH),
        (dict(every=5), 4, 3),
    ):
        answers = list(stream(causal, frames, **options))
        assert len(answers) == count
        for answer, mean in zip(answers, means(answers, window)):
            torch.testing.assert_close(answer.logits, mean, rtol=0, atol=1e-5)


def test_an_endless_generator_is_answered_as_it_comes(causal, frames):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield frames[number % LENGTH]

    reading = stream(causal, endless(), every=2)
    assert taken == []  # nothing is read at the call
    answers = list(itertools.islice(reading, 6))
    assert [answer.index for answer in answers] == [0, 2, 4, 6, 8, 10] and len(taken) == answers[
        -1
    ].decoded == 11
    for one, other in zip(answers, stream(causal, frames, every=2)):
        torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=1e-6)
    stopped = list(stream(causal, endless(), StreamExits(NEVER, (math.inf,) * 5 + (0.0,))))
    assert len(stopped) == 6 and stopped[-1].done and len(taken) == 11 + 6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_of_a_long_stream(causal, frames):
    """Nothing grows with the number of frames: neither objects, nor tensors, nor the memory of the
    process."""
    status = Path('/proc/self/status')

    def held():
        gc.collect()
        tensors = [item for item in gc.get_objects() if type(item) is torch.Tensor]
        resident = re.search(r'VmRSS:\s+(\d+) kB', status.read_text())[1] if status.exists() else 0
        return len(gc.get_objects()), sum(tensor.nbytes for tensor in tensors), int(resident) / 1024

    reading, marks = stream(causal, itertools.cycle(frames)), {}
    for number, answer in enumerate(reading, 1):
        assert answer.index == number - 1
        if number in (2_000, 10_000):
            marks[number] = held()
        if number == 10_000:
            break
    reading.close()
    print('after frames: objects, bytes of tensors, MiB resident', marks)
    (objects, tensors, resident), (objects_later, tensors_later, resident_later) = marks.values()
    assert objects_later < objects + 500  # 8,000 frames later: not one object in 16 frames
    assert tensors_later <= tensors + 10_000
    assert resident_later < resident + 32  # allocators breathe; frames kept would be 70 MiB


def test_streams_that_look_forward_are_refused_at_the_call(checkpoint, dataset, monkeypatch):
    closed, close = [], streaming.FrameSource.close
    monkeypatch.setattr(streaming.FrameSource, 'close', lambda self: (closed.append(self), close(self)))
    model = init_recognizer(checkpoint=checkpoint)
    with pytest.raises(ValueError, match="shift='bidirectional'.*train with shift='causal'"):
        stream(model, dataset / 'videos' / '0.mp4')
    assert len(closed) == 1


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(every=0), 'every=0 must be at least 1'),
        (dict(window=0), 'window=0 must be at least 1'),
        (dict(exits=StepExits((0.5, 0.5))), 'holds StepExits, but exits of streams are needed.*--stream'),
        (dict(exits=StreamExits((0.5,))), 'exits for 1 focus steps, but the model has 2'),
        (dict(source=np.zeros((4, 48, 64))), r'give frames \(N, H, W, 3\) uint8'),
    ],
)
def test_what_a_stream_refuses_at_the_call(causal, frames, options, message):
    with pytest.raises(ValueError, match=message):
        stream(causal, **{'source': frames, **options})


def test_exits_of_another_model_are_refused(causal, checkpoint, frames, tmp_path):
    clip_model = init_recognizer(checkpoint=checkpoint)
    write_exits(tmp_path / 'stream.json', calibration(causal, AFTER_FRAME_1))
    changed = init_recognizer(causal_config(tmp_path, test_centres='centre'))
    with pytest.raises(
        ExitsFileError,
        match=r"stream.json was fitted for another model \(test_centres 'mean' there and 'centre' here",
    ):
        stream(changed, frames, tmp_path / 'stream.json')
    with pytest.raises(ExitsFileError, match='the calibration was fitted for another model'):
        inference_recognizer(clip_model, frames, calibration(causal, StepExits(NEVER)))
    with pytest.raises(ValueError, match='stream.json holds StreamExits, but exits of clips are needed'):
        inference_recognizer(causal, frames, str(tmp_path / 'stream.json'))
    with pytest.raises(FileNotFoundError, match='no exits at .*none.json'):
        inference_recognizer(causal, frames, tmp_path / 'none.json')


def test_clips_leave_as_the_runtime_says(dataset, checkpoint, tmp_path):
    model = init_recognizer(checkpoint=checkpoint)
    paths = [dataset / 'videos' / f'{number}.mp4' for number in range(CLIPS)]
    inputs = torch.cat([normalised(model, path) for path in paths])
    sure = confidence(run_clips(model, inputs, StepExits((0.0, 0.0))).logits).sort().values
    exits = StepExits((sure[2:4].mean().item(), math.inf))
    expected = run_clips(model, inputs, exits)
    assert set(expected.steps.tolist()) == {0, 2}
    write_exits(tmp_path / 'exits.json', calibration(model, exits))
    samples = inference_recognizer(model, paths, tmp_path / 'exits.json')
    for i, sample in enumerate(samples):
        assert sample.video_id == str(i) and sample.exit == expected.steps[i] and 'step_logits' not in sample
        torch.testing.assert_close(sample.logits, expected.logits[i], rtol=0, atol=1e-5)
        torch.testing.assert_close(sample.centres, expected.centres[i], rtol=0, atol=1e-5, equal_nan=True)
    full = inference_recognizer(model, paths[0], replace(exits, thresholds=NEVER))
    torch.testing.assert_close(full.logits, inference_recognizer(model, paths[0]).logits, rtol=0, atol=1e-5)
    assert full.exit == 2


def test_views_have_no_exits(dataset, checkpoint, frames):
    cfg = config(dataset)
    cfg.test_dataloader.dataset.pipeline[0].views = 2
    with pytest.raises(ValueError, match='several views of a video; exits are for one view'):
        inference_recognizer(init_recognizer(cfg, checkpoint), frames, StepExits(NEVER))


# ---- the config that a checkpoint carries is read, not run


def test_finished_configs_come_back_whole():
    cfg = Config(
        {
            'a': 1,
            'b': dict(
                type='X',
                lr=1e-3,
                nested=[1, (2, 3), [dict(x=None)]],
                no=False,
                minus=-0.5,
                text='it\'s "q"\nnew',
            ),
            'inf': float('inf'),
            'minus_inf': -float('inf'),
            'd': {'w.h': 1, 3: dict(y=())},
            'set': {1, 2},
            'long': 'a b ' * 100,
            'empty': {},
            'stages': [dict(name='a'), dict(name='b', deep=dict(er=[]))],
        }
    )
    assert parse_config(cfg.pretty_text).to_dict() == cfg.to_dict()


@pytest.mark.parametrize(
    'text, message',
    [
        ('import os', 'more than'),
        ("a = __import__('os').system('true')", 'no plain value'),
        ('a = b', 'no plain value'),
        ('a = dict(**{})', 'no plain value'),
        ('a = [x for x in (1,)]', 'no plain value'),
        ('a, b = 1, 2', 'more than'),
        ('a = -"x"', 'no plain value'),
        ('a = (', 'not Python'),
        ('print()', 'more than'),
    ],
)
def test_programs_are_not_run(text, message):
    with pytest.raises(ValueError, match=message):
        parse_config(text)


def test_a_program_in_a_checkpoint_is_refused(dataset, tmp_path):
    save_checkpoint(tmp_path / 'evil.pth', config(dataset), cfg=f'open({str(tmp_path / "ran")!r}, "w")')
    with pytest.raises(ConfigError, match='evil.pth cannot be used.*give its config file'):
        init_recognizer(checkpoint=tmp_path / 'evil.pth')
    assert not (tmp_path / 'ran').exists()
