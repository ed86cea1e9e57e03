import math
from dataclasses import replace

import pytest
import torch
from mmengine.structures import BaseDataElement

from gfvideo.complexity import recognizer_cost
from gfvideo.engine import exiting
from gfvideo.engine.exiting import ExitingRecognizer, costs_of, micro_batch_for
from gfvideo.engine.identity import check_exits, describe_model, same_clips, weights_hash
from gfvideo.exits import (
    Calibration,
    ExitsFileError,
    Setting,
    StepExits,
    StreamExits,
    confidence,
    read_exits,
    run_clips,
    run_stream,
    write_exits,
)
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

CLIPS, FRAMES, CLASSES, STEPS = 9, 4, 5, 2


def encoder(shift='bidirectional'):
    return dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift, map_stride=4)


def build(shift='bidirectional', seed=0, **options):
    torch.manual_seed(seed)
    model = MODELS.build(
        {
            **dict(
                type='GlanceFocusRecognizer',
                glance=encoder(shift),
                focus=encoder(shift),
                num_classes=CLASSES,
                classifier=dict(type='ConcatClassifier'),
                glance_size=16,
                patch_size=12,
                steps=STEPS,
                policy=dict(type='RecurrentGaussianPolicy', hidden=16, reduced=4),
            ),
            **options,
        }
    )
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_var.fill_(0.3)
    for layer in model.classifier.fc:
        torch.nn.init.normal_(layer.weight, std=0.3)
    return model.eval()


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.fixture(scope='module')
def causal():
    return build('causal')


@pytest.fixture(scope='module')
def frames():
    return torch.randn(CLIPS, FRAMES, 3, 24, 32, generator=torch.Generator().manual_seed(3))


def calibration_of(model):
    setting = Setting(StepExits((0.5, 0.6)), 0.7, dict(gmacs=1.0), (3, 2, 1))
    return Calibration(
        'steps', 'gmacs', (setting,), dict(gmacs=[0.5, 1.0, 1.5]), dict(model=describe_model(model))
    )


# ---- which model exits belong to

IMAGENET = dict(
    mean=[pytest.approx(value) for value in (123.675, 116.28, 103.53)],
    std=[pytest.approx(value) for value in (58.395, 57.12, 57.375)],
)


def test_a_model_is_described_by_its_weights_and_what_decides_its_predictions(model):
    assert describe_model(model) == dict(
        weights=weights_hash(model.state_dict()),
        type='GlanceFocusRecognizer',
        shift=['bidirectional'],
        fold_div=[8],
        policy=['RecurrentGaussianPolicy', 'frame'],
        steps=STEPS,
        glance_size=[16, 16],
        patch_size=[12, 12],
        glance_resize='antialiased',
        test_centres='mean',
        num_classes=CLASSES,
        preprocessor=IMAGENET,
    )
    whole = MODELS.build(
        dict(type='ClipRecognizer', encoder=encoder('causal'), num_classes=3, input_size=(20, 24))
    )
    assert describe_model(whole) == dict(
        weights=weights_hash(whole.state_dict()),
        type='ClipRecognizer',
        shift=['causal'],
        fold_div=[8],
        steps=0,
        input_size=[20, 24],
        num_classes=3,
        preprocessor=IMAGENET,
    )


def test_exits_belong_to_their_own_model_also_through_a_file(model, tmp_path):
    write_exits(tmp_path / 'exits.json', calibration_of(model))
    check_exits(calibration_of(model), model, 'here')
    check_exits(read_exits(tmp_path / 'exits.json'), build(), 'here')


@pytest.mark.parametrize(
    'other, told',
    [
        (dict(seed=1), r'weights [0-9a-f]{12}\.\.\. there and [0-9a-f]{12}\.\.\. here\)'),
        (
            dict(glance_size=20),
            r'glance_size \[16, 16\] there and \[20, 20\] here, weights ',
        ),  # sizes of the policy's maps
        (dict(patch_size=(8, 16)), r'patch_size \[12, 12\] there and \[8, 16\] here'),
        (dict(test_centres='centre'), r"test_centres 'mean' there and 'centre' here\)"),
        (dict(shift='causal'), r"shift \['bidirectional'\] there and \['causal'\] here\)"),
    ],
)
def test_exits_of_another_model_are_refused_and_the_difference_is_named(model, other, told):
    changed = build(**other)
    if not {'seed', 'glance_size', 'patch_size'} & set(other):
        # it is not the weights that tell
        assert weights_hash(changed.state_dict()) == weights_hash(model.state_dict())
    with pytest.raises(
        ExitsFileError, match=rf'exits.json was fitted for another model \({told}.*tools/calibrate.py'
    ):
        check_exits(calibration_of(model), changed, 'exits.json')


def test_exits_of_earlier_versions_are_compared_by_what_they_tell(model):
    told = {key: value for key, value in describe_model(model).items() if key != 'glance_resize'}
    earlier = replace(calibration_of(model), source=dict(model=told))
    check_exits(earlier, model, 'exits.json')
    with pytest.raises(ExitsFileError, match="test_centres 'mean' there and 'centre' here"):
        check_exits(earlier, build(test_centres='centre'), 'exits.json')


def test_exits_of_nobody_are_refused(model):
    with pytest.raises(ExitsFileError, match='weights None there'):
        check_exits(replace(calibration_of(model), source={}), model, 'exits.json')


def test_the_hash_of_weights():
    def other(**changed):
        return weights_hash(
            {**dict(a=torch.arange(6.0).view(2, 3), b=torch.tensor(7), c=torch.zeros(0, 2)), **changed}
        )

    same = other()
    assert len(same) == 64 and same == weights_hash(
        dict(c=torch.zeros(0, 2), b=torch.tensor(7), a=torch.arange(6.0).view(2, 3))
    )
    assert same == weights_hash(
        {'module.a': torch.arange(6.0).view(2, 3), 'module.b': torch.tensor(7), 'module.c': torch.zeros(0, 2)}
    )
    # how it lies in memory is no matter
    assert same == other(a=torch.arange(6.0).view(2, 3).t().contiguous().t())
    value = torch.arange(6.0).view(2, 3)
    value[1, 2] += 1e-6
    renamed = weights_hash(dict(z=torch.arange(6.0).view(2, 3), b=torch.tensor(7), c=torch.zeros(0, 2)))
    hashes = [
        same,
        renamed,
        other(a=value),
        other(a=torch.arange(6.0).view(3, 2)),
        other(a=torch.arange(6.0).view(2, 3).int()),
        other(b=torch.tensor([7])),
        other(d=torch.zeros(1)),
    ]
    assert len(set(hashes)) == len(hashes)


# ---- costs


def test_costs_of_clips_are_those_of_the_recognizer(model, frames):
    costs = costs_of(model, frames[:1], 'steps', repeats=3)
    assert costs['gmacs'] == [steps / 1e9 for steps in recognizer_cost(model, (FRAMES, 3, 24, 32))['steps']]
    assert len(costs['ms']) == STEPS + 1 and costs['ms'][0] > 0 and costs['ms'] == sorted(costs['ms'])


def test_looks_at_all_frames_of_a_stream_cost_what_a_clip_costs(causal, frames):
    clip, look = (
        costs_of(causal, frames[:1], 'steps', repeats=1),
        costs_of(causal, frames[:1], 'stream', repeats=3),
    )
    assert [FRAMES * sum(look['gmacs'][: step + 1]) for step in range(STEPS + 1)] == pytest.approx(
        clip['gmacs'], rel=1e-9
    )
    assert min(look['gmacs']) > 0 and min(look['ms']) >= 0


def test_times_that_cross_never_fall(causal, frames, monkeypatch):
    monkeypatch.setattr(exiting, 'latency', lambda *args, **kwargs: [3.0, 2.0, 5.0])
    assert costs_of(causal, frames[:1], 'steps')['ms'] == [3.0, 3.0, 5.0]
    assert costs_of(causal, frames[:1], 'stream')['ms'] == [3.0, 0.0, 2.0]


def test_a_cpu_takes_few_clips_at_a_time():
    assert micro_batch_for(torch.device('cpu')) == 4 and micro_batch_for(torch.device('cuda', 0)) is None


# ---- predicting


def middle(values):
    """A threshold that about half of the values reach, and none nearly."""
    values = values.flatten().sort().values
    return values[len(values) // 2 - 1 : len(values) // 2 + 1].mean().item()


@pytest.fixture(scope='module')
def step_exits(model, frames):
    with torch.no_grad():
        sure = confidence(model.predict_steps(frames).step_logits)
    return StepExits((middle(sure[:, 0]), middle(sure[:, 1])))


@pytest.fixture(scope='module')
def stream_exits(causal, frames):
    sure = confidence(run_stream(causal, frames, None).frame_logits)
    return StreamExits((middle(sure),) * STEPS, (math.inf, middle(sure[:, 1]), middle(sure[:, 2])))


def predict(recognizer, frames, samples=None):
    return recognizer(frames, samples, mode='predict')


@pytest.mark.parametrize('micro_batch', ['auto', None, 2])
def test_clips_leave_as_the_runtime_says_and_replay_agrees(model, frames, step_exits, micro_batch):
    expected = run_clips(model, frames, step_exits)
    assert len(expected.steps.unique()) > 1
    samples = predict(ExitingRecognizer(model, step_exits, micro_batch=micro_batch).eval(), frames)
    with torch.no_grad():
        steps = model.predict_steps(frames).step_logits
    for i, sample in enumerate(samples):
        assert sample.exit == sample.looks == sample.replay_exit == sample.replay_looks == expected.steps[i]
        torch.testing.assert_close(sample.logits, expected.logits[i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sample.replay_logits, steps[i, expected.steps[i]], rtol=1e-4, atol=1e-4)
        assert sample.ms == samples[0].ms > 0


def test_streams_stop_as_the_runtime_says_and_replay_agrees(causal, frames, stream_exits):
    expected = run_stream(causal, frames, stream_exits)
    full = run_stream(causal, frames, replace(stream_exits, stop=()))
    assert len(expected.num_frames.unique()) > 1 and len(expected.looks.unique()) > 2
    for i, sample in enumerate(predict(ExitingRecognizer(causal, stream_exits).eval(), frames)):
        assert sample.exit + 1 == sample.replay_exit + 1 == expected.num_frames[i]
        assert sample.looks.tolist() == sample.replay_looks.tolist() == expected.looks[i].tolist()
        torch.testing.assert_close(sample.logits, expected.logits[i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            sample.replay_logits, full.frame_logits[i, sample.exit], rtol=1e-4, atol=1e-4
        )


def test_without_replay_no_other_run_is_made(model, frames, step_exits):
    clips = []
    handle = model.glance_encoder.register_forward_hook(
        lambda module, args, output: clips.append(len(args[0]))
    )
    try:
        recognizer = ExitingRecognizer(model, step_exits, replay=False, micro_batch=None).eval()
        samples = predict(recognizer, frames)
        assert clips == [1, CLIPS]  # the first run is not timed
        predict(recognizer, frames)
        assert clips == [1, CLIPS, CLIPS]
    finally:
        handle.remove()
    assert set(samples[0].keys()) == {'logits', 'exit', 'looks', 'centres', 'ms'}


def test_a_test_step_keeps_labels_and_names(model, step_exits):
    images = torch.randint(
        256, (FRAMES, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    given = ClipSample(metainfo=dict(video_id='one'), gt_label=torch.tensor(3))
    recognizer = ExitingRecognizer(model, step_exits).eval()
    with torch.no_grad():
        (sample,) = recognizer.test_step(dict(inputs=[images], data_samples=[given]))
        normalised = model.data_preprocessor(dict(inputs=[images], data_samples=[given]))['inputs']
    assert isinstance(sample, BaseDataElement) and sample.video_id == 'one' and sample.gt_label == 3
    torch.testing.assert_close(
        sample.logits, run_clips(model, normalised, step_exits).logits[0], rtol=1e-4, atol=1e-4
    )


def test_other_modes_and_views_are_refused(model, frames, step_exits):
    recognizer = ExitingRecognizer(model, step_exits)
    for mode in ('loss', 'tensor'):
        with pytest.raises(ValueError, match=f"mode='{mode}': .*only predicts"):
            recognizer(frames, mode=mode)
    with pytest.raises(ValueError, match=r'\(9, 1, 4, 3, 24, 32\); exits were fitted for one view'):
        predict(recognizer, frames[:, None])


def test_a_recognizer_with_exits_keeps_its_weights(model, step_exits):
    before = weights_hash(model.state_dict())
    ExitingRecognizer(model, step_exits).init_weights()
    assert weights_hash(model.state_dict()) == before


# ---- whether exits saw the clips that they are judged on


@pytest.mark.parametrize(
    'fitted, tested, same',
    [
        (None, None, True),
        ('0/2', '0/2', True),
        ('0/2', '1/2', False),
        ('0/2', None, True),
        (None, '1/2', True),
        ('0/2', '1/3', True),
        ('1/4', '3/4', False),
    ],
)
def test_folds_of_the_same_split(fitted, tested, same):
    def data(fold, **changed):
        return dict(manifest_hash='abc', split='val') | changed | ({} if fold is None else dict(fold=fold))

    exits = Calibration('steps', 'gmacs', (), {}, dict(data=data(fitted)))
    assert same_clips(exits, data(tested)) is same
    assert not same_clips(exits, data(tested, split='test')) and not same_clips(
        exits, data(tested, manifest_hash='abd')
    )


def test_exits_of_the_same_content():
    """Whatever the dataset and its split are called; exits from before there was a content hash compare what
    they tell."""
    data = dict(manifest_hash='abc', content_hash='c', split='val')
    exits = Calibration('steps', 'gmacs', (), {}, dict(data=data))
    assert same_clips(exits, data | dict(manifest_hash='other', split='validation'))
    assert not same_clips(exits, data | dict(content_hash='d'))
    old = Calibration('steps', 'gmacs', (), {}, dict(data=dict(manifest_hash='abc', split='val')))
    assert same_clips(old, data) and not same_clips(old, data | dict(split='test'))
