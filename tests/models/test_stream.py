"""Streams: frame by frame is the causal clip, whatever looks are skipped; the state is an object of its own,
and does not grow."""

import gc
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import pytest
import torch

from gfvideo.exits import Decision, ExitRule, StreamExits, confidence
from gfvideo.models import StreamState
from gfvideo.registry import MODELS
from gfvideo.structures import map_tensors

BACKBONES = dict(
    TinyCNN=dict(type='TinyCNN', width=8),
    ResNet=dict(type='ResNet', depth=18),
    Bottleneck=dict(type='ResNet', depth=50),
    MobileNetV2=dict(type='MobileNetV2'),
)


def build(backbone='TinyCNN', steps=2, shift='causal', classifier='ConcatClassifier', **options):
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=BACKBONES[backbone], shift=shift, map_stride=4)
    head = (
        dict(type='ConcatClassifier')
        if classifier == 'ConcatClassifier'
        else dict(type='RecurrentClassifier', hidden=16)
    )
    model = MODELS.build(
        {
            **dict(
                type='GlanceFocusRecognizer',
                glance=encoder,
                focus=encoder,
                classifier=head,
                num_classes=5,
                glance_size=16,
                patch_size=16,
                steps=steps,
                policy=dict(type='RecurrentGaussianPolicy', hidden=16, reduced=4),
            ),
            **options,
        }
    )
    model.init_weights()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_var.fill_(0.3)  # features that differ between frames even in an untrained network
    for layer in model.classifier.fc if classifier == 'ConcatClassifier' else [model.classifier.fc]:
        torch.nn.init.normal_(layer.weight, std=2.0)  # answers that are sure of different things
    return model.eval()


def build_static(shift='causal', **options):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ClipRecognizer',
            num_classes=5,
            encoder=dict(type='Encoder', backbone=BACKBONES['TinyCNN'], shift=shift),
            **options,
        )
    ).eval()


def video(batch=1, frames=40, seed=1):
    return torch.randn(batch, frames, 3, 24, 32, generator=torch.Generator().manual_seed(seed))


def read_all(stream, frames):
    return [stream.read(frames[:, t]) for t in range(frames.shape[1])]


def offline(model, frames, looks):
    """Frame logits ``(T, C)`` of one video whose frame t took ``looks[t]`` focus looks, worked out step by
    step over whole clips.

    Step s is a clip of the frames that took it: the frame before in that clip is the last one that left a
    cache of step s.
    """

    def some_frames(state, kept):
        return replace(
            state,
            **{
                field.name: map_tensors(getattr(state, field.name), lambda x: x[:, kept])
                for field in fields(state)
                if field.name != 'cache'
            },
            cache=(),
        )

    state, kept = model.glance(frames), torch.arange(frames.shape[1])
    logits = state.logits[0].clone()
    for step in range(1, model.steps + 1):
        stay = (looks[kept] >= step).nonzero().squeeze(1)
        if not len(stay):
            break
        kept, state = kept[stay], some_frames(state, stay)
        state = model.focus(frames[:, kept], replace(state, cache=()))
        logits[kept] = state.logits[0]
    return logits


@pytest.mark.parametrize(
    ('backbone', 'classifier'),
    [
        ('TinyCNN', 'ConcatClassifier'),
        ('TinyCNN', 'RecurrentClassifier'),
        ('ResNet', 'ConcatClassifier'),
        ('MobileNetV2', 'RecurrentClassifier'),
    ],
)
def test_a_stream_is_the_causal_clip_over_hundreds_of_frames(backbone, classifier):
    model, frames = build(backbone, classifier=classifier), video(frames=300)
    with torch.no_grad():
        last = model.looks(frames)[-1]
        answers = read_all(model.stream(), frames)
    scale = last.logits.abs().max()
    assert torch.allclose(
        torch.stack([a.frame_logits[0] for a in answers]), last.logits[0], atol=1e-5 * scale
    )
    means = last.logits[0].cumsum(0) / torch.arange(1, 301)[:, None]
    assert torch.allclose(torch.stack([a.logits[0] for a in answers]), means, atol=1e-5 * scale)
    assert torch.allclose(torch.stack([a.centres[0, 1] for a in answers]), last.centres[0], atol=1e-5)
    assert {int(a.looks) for a in answers} == {2} and not any(a.done for a in answers)


class Capricious(ExitRule):
    """Exits that take some looks at random, the same every time."""

    steps = 2

    def decide(self, logits, step, frame=None, state=None):
        wanted = torch.randint(3, (), generator=torch.Generator().manual_seed(frame)).item()
        enough = torch.full((len(logits),), step >= wanted)
        return Decision(enough, torch.zeros_like(enough))


@pytest.mark.parametrize('backbone', BACKBONES)
def test_skipped_looks_leave_the_cache_of_the_last_frame_that_took_them(backbone):
    model, frames = build(backbone), video(frames=200)
    with torch.no_grad():
        answers = read_all(model.stream(Capricious()), frames)
        looks = torch.stack([a.looks[0] for a in answers])
        expected = offline(model, frames, looks)
    assert looks.bincount().min() > 40
    assert torch.allclose(
        torch.stack([a.frame_logits[0] for a in answers]), expected, atol=1e-5 * expected.abs().max()
    )
    assert torch.allclose(answers[-1].logits[0], expected.mean(0), atol=1e-5 * expected.abs().max())


def test_it_is_enough_of_a_frame_once_the_prediction_is_sure():
    model, frames = build(), video(frames=60)
    sure = confidence(torch.stack([a.logits[0] for a in read_all(model.stream(), frames)]))
    middle = sure[5:].median().item()
    answers = read_all(model.stream(StreamExits((middle, middle))), frames)
    assert len({int(a.looks) for a in answers}) > 1
    total = torch.zeros(5)
    for t, answer in enumerate(answers):
        looks = int(answer.looks)
        total += answer.frame_logits[0]
        assert looks == 2 or confidence(total / (t + 1)) >= middle - 1e-6
        assert answer.centres[0, :looks].isfinite().all() and answer.centres[0, looks:].isnan().all()


def test_videos_of_a_batch_take_their_own_looks_and_stop_on_their_own():
    model, frames = build(), video(batch=5, frames=30)
    with torch.no_grad():
        sure = confidence(torch.stack([a.logits for a in read_all(model.stream(), frames)]))
        exits = StreamExits(
            (sure.median().item(), sure.quantile(0.6).item()), (sure.quantile(0.9).item(),) * 29
        )
        together = read_all(model.stream(exits), frames)
        apart = [read_all(model.stream(exits), frames[i : i + 1]) for i in range(5)]
    assert (
        len({tuple(a.looks.tolist()) for a in together}) > 5 and torch.stack([a.done for a in together]).any()
    )
    for t, answer in enumerate(together):
        for name in ('logits', 'frame_logits'):
            assert torch.allclose(
                getattr(answer, name), torch.cat([getattr(one[t], name) for one in apart]), atol=1e-4
            )
        assert answer.looks.tolist() == [int(one[t].looks) for one in apart]
        assert answer.done.tolist() == [bool(one[t].done) for one in apart]


def test_select_goes_on_with_some_videos():
    model, frames = build(), video(batch=4, frames=6)
    exits = StreamExits((0.5, 0.7))
    with torch.no_grad():
        whole = read_all(model.stream(exits), frames)
        stream = model.stream(exits)
        read_all(stream, frames[:, :3])
        some = stream.select(torch.tensor([True, False, False, True]))
        later = read_all(some, frames[[0, 3], 3:])
        rest = read_all(stream.select([1, 2]), frames[1:3, 3:])
        as_before = read_all(stream, frames[:, 3:])  # the stream itself stayed as it was
    for t in range(3):
        assert torch.allclose(later[t].logits, whole[3 + t].logits[[0, 3]], atol=1e-5)
        assert torch.allclose(rest[t].logits, whole[3 + t].logits[1:3], atol=1e-5)
        assert torch.allclose(as_before[t].logits, whole[3 + t].logits, atol=1e-5)


def test_many_streams_on_one_model_and_in_threads():
    model, videos = build(), [video(frames=12, seed=seed) for seed in range(6)]
    exits = StreamExits((0.6, 0.6))
    alone = [read_all(model.stream(exits), frames)[-1].logits for frames in videos]
    streams = [model.stream(exits) for _ in videos]
    for t in range(12):
        interleaved = [stream.read(frames[:, t]).logits for stream, frames in zip(streams, videos)]
    with ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(lambda frames: read_all(model.stream(exits), frames)[-1].logits, videos))
    for one, other, third in zip(alone, interleaved, threaded):
        assert torch.equal(one, other) and torch.equal(one, third)


def test_state_survives_pickling_and_reset_forgets():
    model, frames = build(), video(frames=10)
    exits = StreamExits((0.6, 0.6))
    whole = read_all(model.stream(exits), frames)
    stream = model.stream(exits)
    read_all(stream, frames[:, :4])
    state = pickle.loads(pickle.dumps(stream.state))
    assert isinstance(state, StreamState) and state.num_frames == 4
    resumed = read_all(model.stream(exits, state=state), frames[:, 4:])
    assert torch.equal(resumed[-1].logits, whole[-1].logits)
    stream.reset()
    assert torch.equal(read_all(stream, frames)[-1].logits, whole[-1].logits)


def test_a_window_predicts_from_the_last_frames_alone():
    model, frames = build(), video(frames=9)
    each = torch.stack([a.frame_logits[0] for a in read_all(model.stream(), frames)])
    for window in (1, 3, 20):
        answers = read_all(model.stream(window=window), frames)
        for t, answer in enumerate(answers):
            assert torch.allclose(answer.logits[0], each[max(0, t + 1 - window) : t + 1].mean(0), atol=1e-6)


def test_calling_a_stream_gives_the_logits_of_the_frame_and_one_frame_needs_no_batch():
    model, frames = build(), video(frames=3)
    each = read_all(model.stream(), frames)
    stream = model.stream()
    for t in range(3):
        assert torch.equal(stream(frames[0, t]), each[t].frame_logits)


def test_static_recognizers_stream_too():
    for shift in ('causal', None):
        model, frames = build_static(shift), video(frames=100)
        with torch.no_grad():
            logits = model.glance(frames).logits[0]
        answers = read_all(model.stream(), frames)
        assert torch.allclose(torch.cat([a.frame_logits for a in answers]), logits, atol=1e-5)
        assert torch.allclose(answers[-1].logits[0], logits.mean(0), atol=1e-5)
        sure = confidence(logits.cumsum(0) / torch.arange(1, 101)[:, None])
        stop = model.stream(StreamExits((), (sure[0].item() + 1e-4,) * 100))
        first = next(t for t in range(100) if stop.read(frames[:, t]).done)
        assert first == int((sure >= sure[0] + 1e-4).int().argmax())


@pytest.mark.parametrize('window', [None, 8])
def test_memory_is_constant_over_ten_thousand_frames(window):
    model = build(steps=1, policy=dict(type='CentrePolicy'))
    frame = torch.randn(3, 16, 16)
    exits = StreamExits((0.0,)) if window is None else StreamExits((math.inf,), ())
    count = 10_000 if window is None else 1_000
    stream = model.stream(exits, window=window)

    def held():
        gc.collect()
        tensors = [x for x in gc.get_objects() if type(x) is torch.Tensor]
        return (
            len(tensors),
            sum(x.untyped_storage().nbytes() for x in tensors),
            len(pickle.dumps(stream.state)),
        )

    for _ in range(20):
        stream.read(frame)
    before = held()
    for _ in range(count - 20):
        stream.read(frame)
    assert stream.state.num_frames == count
    after = held()
    assert after[:2] == before[:2] and after[2] <= before[2] + 8  # the count of frames takes a byte more


def test_faults_are_told():
    with pytest.raises(
        ValueError,
        match="glance_encoder and focus_encoder .*shift='bidirectional'.*train with shift='causal'",
    ):
        build(shift='bidirectional').stream()
    model = build()
    with pytest.raises(ValueError, match='training mode'):
        model.train().stream()
    model.eval()
    with pytest.raises(ValueError, match='exits for 1 focus steps, but the model has 2'):
        model.stream(StreamExits((0.5,)))
    with pytest.raises(ValueError, match='window=0'):
        model.stream(window=0)
    stream = model.stream()
    stream.read(torch.randn(2, 3, 24, 32))
    with pytest.raises(ValueError, match='a frame of 3 videos in a stream of 2'):
        stream.read(torch.randn(3, 3, 24, 32))
    with pytest.raises(ValueError, match=r'shape \(1, 1, 3, 24, 32\)'):
        model.stream().read(torch.randn(1, 1, 3, 24, 32))


@torch.no_grad()
@pytest.mark.parametrize('policy', ['ValueMapPolicy', 'RecurrentGaussianPolicy', 'CentrePolicy'])
@pytest.mark.parametrize(
    ('glance', 'focus', 'own'), [(None, 'causal', None), ('causal', None, None), (None, None, 'causal')]
)
def test_parts_that_see_no_time_beside_parts_that_do(glance, focus, own, policy):
    if own and policy != 'ValueMapPolicy':
        pytest.skip('no shift of its own')
    encoder = dict(type='Encoder', backbone=BACKBONES['TinyCNN'], map_stride=4, fold_div=4)
    model = build(
        glance=encoder | dict(shift=glance),
        focus=encoder | dict(shift=focus),
        policy=dict(type=policy) | (dict(shift=own) if own else {}),
    )
    frames = video(batch=3, frames=5)
    looks = model.looks(frames)
    for exits in (None, StreamExits((2.0, 2.0), (2.0,) * 5)):  # exits that never let go
        found = torch.stack([answer.frame_logits for answer in read_all(model.stream(exits), frames)], 1)
        torch.testing.assert_close(found, looks[-1].logits, rtol=1e-4, atol=1e-4)
    some = StreamExits((0.35, 0.35), (2.0,) * 5)  # some rows look on, others do not
    together = read_all(model.stream(some), frames)
    alone = [read_all(model.stream(some), frames[b : b + 1]) for b in range(3)]
    for t in range(5):
        for b in range(3):
            torch.testing.assert_close(
                together[t].frame_logits[b], alone[b][t].frame_logits[0], rtol=1e-4, atol=1e-4
            )


def test_a_policy_that_looks_ahead_does_not_stream():
    encoder = dict(type='Encoder', backbone=BACKBONES['TinyCNN'], map_stride=4, shift=None)
    for policy in (dict(scope='clip'), dict(shift='bidirectional')):
        still = build(glance=encoder, focus=encoder, policy=dict(type='ValueMapPolicy') | policy)
        assert still.looking_ahead() == ['policy']
        with pytest.raises(ValueError, match="later frames are needed by policy .*scope='frame'"):
            still.stream()
        still.test_centres = 'centre'  # which asks no policy
        assert still.looking_ahead() == []
    with pytest.raises(ValueError, match="the policy has shift='bidirectional' beside the causal shift"):
        build(policy=dict(type='ValueMapPolicy', shift='bidirectional'))
    ahead = build(glance=encoder | dict(shift='bidirectional'), policy=dict(type='ValueMapPolicy'))
    assert ahead.looking_ahead() == ['glance_encoder', 'policy']  # where its glance does, so may its policy
