import numpy as np
import pytest
import torch
from mmengine.config import Config

from gfvideo.apis import inference_recognizer, init_recognizer, stream
from gfvideo.complexity import recognizer_cost, whole_frames_cost
from gfvideo.data.dataset import build_pipeline as pipeline_of
from gfvideo.exits import StepExits, StreamExits, confidence
from gfvideo.registry import MODELS
from gfvideo.watching import (
    field_of_view,
    look_at_clip,
    looks_taken,
    moments_of_clip,
    watch_clip,
    watch_sliding,
    watch_stream,
)

T, H, W, P = 4, 40, 60, 16
FRAMES = np.random.default_rng(0).integers(0, 255, (12, 5, 6, 3), dtype=np.uint8).repeat(8, 1).repeat(10, 2)
STEPS = [dict(type='Resize', size=(36, 48)), dict(type='CentreCrop', size=32)]


def config(**model):
    encoder = dict(
        type='Encoder',
        backbone=dict(type='TinyCNN', width=8),
        map_stride=4,
        shift=model.pop('shift', 'bidirectional'),
    )
    pipeline = [
        dict(type='SampleFrames', frames=T, test_mode=True),
        dict(type='DecodeFrames'),
        *STEPS,
        dict(type='PackClip'),
    ]
    return Config(
        dict(
            model=dict(
                type='GlanceFocusRecognizer',
                num_classes=3,
                glance=encoder,
                focus=encoder,
                glance_size=16,
                patch_size=P,
                steps=2,
                policy=dict(type='RecurrentGaussianPolicy', hidden=8),
                classifier=dict(type='RecurrentClassifier', hidden=16),
            )
            | model,
            test_dataloader=dict(dataset=dict(type='ClipDataset', root='', split='val', pipeline=pipeline)),
        )
    )


def built(**model):
    torch.manual_seed(0)
    return init_recognizer(config(**model))


@pytest.fixture(scope='module')
def model():
    return built()


@pytest.fixture(scope='module')
def causal():
    return built(shift='causal')


# ---- which part of the frame is seen


@pytest.mark.parametrize('size', [(40, 60), (240, 321), (1080, 1920)])
@pytest.mark.parametrize(
    'steps, part',
    [
        ([], lambda H, W: (0, 0, H, W)),
        ([dict(type='Resize', size=(20, 20))], lambda H, W: (0, 0, H, W)),
        ([dict(type='CentreCrop', size=32)], lambda H, W: ((H - 32) // 2, (W - 32) // 2, 32, 32)),
        (
            [dict(type='Resize', size=(36, 48)), dict(type='CentreCrop', size=32)],
            lambda H, W: (2 * H / 36, 8 * W / 48, 32 * H / 36, 32 * W / 48),
        ),
    ],
)
def test_the_field_of_view_is_found_by_looking_through_the_pipeline(size, steps, part):
    pipeline = pipeline_of(
        [dict(type='SampleFrames', test_mode=True), dict(type='DecodeFrames'), *steps, dict(type='PackClip')]
    )
    field = field_of_view(pipeline, size)
    found = (field.top, field.left, field.height, field.width)
    assert np.abs(np.array(found) - part(*size)).max() < 0.5 + 0.004 * max(size)


def test_a_pipeline_that_does_more_than_cut_and_scale_has_no_field():
    pipeline = pipeline_of(
        [dict(type='DecodeFrames'), dict(type='Flip', prob=1.0, label_map={}), dict(type='PackClip')]
    )
    assert field_of_view(pipeline, (40, 60)) is None
    assert field_of_view(pipeline_of([dict(type='PackClip')]), (40, 60)) is None


# ---- clips


def test_a_clip_is_predicted_as_ever_and_costs_what_it_costs(model):
    looked = look_at_clip(model, FRAMES)
    sample = inference_recognizer(model, FRAMES)
    torch.testing.assert_close(looked.sample.step_logits, sample.step_logits)
    torch.testing.assert_close(looked.sample.centres, sample.centres)
    moments = moments_of_clip(model, looked)
    assert len(moments) == 3 * T + 1 and moments[-1].end and not moments[0].end
    cost = recognizer_cost(model, (T, 3, 32, 32))['steps']
    whole = whole_frames_cost(model, (T, 3, 32, 32))
    for number, moment in enumerate(moments[:-1]):
        step, t = divmod(number, T)
        assert moment.costs.so_far == cost[step] / 1e9 and moment.costs.all_looks == cost[-1] / 1e9
        assert moment.costs.whole == whole / 1e9
        np.testing.assert_allclose(moment.probabilities, sample.step_logits[step].softmax(-1), rtol=1e-5)
        assert moment.index == sample.frame_indices[t]
        np.testing.assert_array_equal(moment.picture, FRAMES[moment.index])
        assert [window is not None for window in moment.windows] == [step >= 1, step >= 2]
    window = moments[-1].windows[1]
    corner = (sample.centres[1, T - 1] * (32 - P)).floor()
    assert (window.top, window.left, window.height) == (corner[0], corner[1], P)


def test_a_clip_that_is_sure_stops_and_the_rest_is_skipped(model):
    sure = confidence(inference_recognizer(model, FRAMES).step_logits)
    exits = StepExits((2.0, float(sure[1])))
    moments = list(watch_clip(model, FRAMES, exits))
    assert len(moments) == 2 * T + 1 and 'Sure enough after look 1' in moments[-1].status
    end = moments[-1]
    assert end.taken == [1] * T and all(end.skipped) and end.windows[1] is None
    assert end.costs.so_far == recognizer_cost(model, (T, 3, 32, 32))['steps'][1] / 1e9
    expected = inference_recognizer(model, FRAMES, exits)
    looked = look_at_clip(model, FRAMES, exits)
    assert int(looked.sample.exit) == int(expected.exit) == 1
    torch.testing.assert_close(looked.sample.logits, expected.logits)
    torch.testing.assert_close(looked.sample.centres, expected.centres, equal_nan=True)


def test_whole_frames_cost_what_a_static_network_of_the_encoder_costs(model):
    static = MODELS.build(
        dict(
            type='ClipRecognizer',
            num_classes=3,
            encoder=dict(type='Encoder', backbone=dict(type='TinyCNN', width=8)),
        )
    )
    cost = recognizer_cost(static, (T, 3, 32, 32))
    assert whole_frames_cost(model, (T, 3, 32, 32)) == cost['parts']['encoder']


def test_exits_of_another_model_or_of_streams_are_refused(model):
    frames = torch.zeros(1, T, 3, 32, 32)
    for exits in (StepExits((0.5,)), StreamExits((0.5, 0.5))):
        with pytest.raises(ValueError, match='exits of clips are needed'):
            looks_taken(model, frames, exits)


# ---- streams


def test_a_stream_is_watched_frame_by_frame(causal):
    exits = StreamExits((0.0, 0.0))  # a glance is always enough
    for rule, looks in ((None, 2), (exits, 0)):
        answers = list(stream(causal, FRAMES, rule))
        *moments, end = watch_stream(causal, FRAMES, rule)
        assert len(moments) == len(answers) == T and end.end
        cost = [value / 1e9 for value in recognizer_cost(causal, (1, 3, 32, 32))['steps']]
        whole = whole_frames_cost(causal, (1, 3, 32, 32)) / 1e9
        for number, (moment, answer) in enumerate(zip(moments, answers)):
            assert moment.index == answer.index and moment.looks == answer.looks == looks
            np.testing.assert_allclose(moment.probabilities, answer.logits.softmax(-1), rtol=1e-6)
            assert moment.costs.so_far == pytest.approx((number + 1) * cost[looks])
            assert moment.costs.all_looks == pytest.approx(T * cost[-1])
            assert moment.costs.whole == pytest.approx(T * whole)
            assert moment.taken == [looks] * (number + 1) + [-1] * (T - number - 1)
            assert moment.skipped == [True] * (number + 1) + [False] * (T - number - 1)


def test_frames_after_the_exit_are_shown_as_not_looked_at(causal):
    moments = list(watch_stream(causal, FRAMES, StreamExits((0.0, 0.0), (2.0, 0.0))))
    assert [moment.watched for moment in moments] == [True, True, False, False]
    assert [moment.end for moment in moments] == [False, True, True, True]
    assert 'Sure enough at frame 2: 2 never read' == moments[-1].status
    assert moments[-1].taken == [0, 0, -1, -1] and all(moments[-1].skipped)
    np.testing.assert_array_equal(moments[-1].picture, FRAMES[moments[-1].index])
    assert moments[-1].costs == moments[1].costs


def test_an_endless_stream_is_counted_as_it_goes(causal):
    frames = (torch.from_numpy(frame).permute(2, 0, 1) for frame in FRAMES)
    *moments, end = watch_stream(causal, frames, every=2)
    assert [moment.index for moment in moments] == [0, 2, 4, 6, 8, 10] and end.end
    assert end.costs.so_far == pytest.approx(end.costs.all_looks) and len(end.taken) == 6


# ---- sliding clips


def test_clips_slide_along_a_video(model):
    *moments, end = watch_sliding(model, FRAMES, window=T, stride=3)
    assert [moment.index for moment in moments] == list(range(12)) and end.end
    assert end.picture.shape == (H, W, 3)
    # frames 0-3, 3-6 (new: 4-6), 6-9, and what is left, 8-11
    direct = {first: inference_recognizer(model, FRAMES[first : first + T]) for first in (0, 3, 6, 8)}
    for index, first in enumerate([0] * 4 + [3] * 3 + [6] * 3 + [8] * 2):
        expected = direct[first].logits.softmax(-1)
        np.testing.assert_allclose(moments[index].probabilities, expected, rtol=1e-4, atol=1e-6)
    cost = recognizer_cost(model, (T, 3, 32, 32))['steps'][-1] / 1e9
    assert end.costs.so_far == pytest.approx(4 * cost)
    assert end.costs.whole == pytest.approx(whole_frames_cost(model, (T, 3, 32, 32)) / 1e9 / T * 12)


def test_a_video_shorter_than_a_clip_repeats_frames(model):
    moments = list(watch_sliding(model, FRAMES[:2], window=T))
    assert [moment.index for moment in moments] == [0, 1, 1]


@pytest.mark.parametrize('window, stride', [(0, None), (4, 5), (4, 0)])
def test_windows_that_skip_frames_are_refused(model, window, stride):
    with pytest.raises(ValueError, match='give a window of 1 frame or more, a stride from 1 to it'):
        list(watch_sliding(model, FRAMES, window=window, stride=stride))
