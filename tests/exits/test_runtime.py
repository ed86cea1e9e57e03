"""The runtime skips what it says it skips, and answers as a replay on the predictions of all looks says it
should."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from gfvideo.exits import (
    Decision,
    ExitRule,
    StepExits,
    StreamExits,
    confidence,
    replay_clips,
    replay_stream,
    run_clips,
    run_stream,
)
from gfvideo.models import GlanceFocusRecognizer
from gfvideo.registry import MODELS

CLIPS, FRAMES = 9, 6


def build(shift='bidirectional', steps=2, **options) -> GlanceFocusRecognizer:
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=shift, map_stride=4)
    model = MODELS.build(
        {
            **dict(
                type='GlanceFocusRecognizer',
                glance=encoder,
                focus=encoder,
                classifier=dict(type='ConcatClassifier'),
                num_classes=5,
                glance_size=16,
                patch_size=12,
                steps=steps,
                policy=dict(type='RecurrentGaussianPolicy', hidden=16, reduced=4),
            ),
            **options,
        }
    )
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_var.fill_(0.3)
    for layer in model.classifier.fc:
        torch.nn.init.normal_(layer.weight, std=2.0)
    return model.eval()


FRAMES_IN = torch.randn(CLIPS, FRAMES, 3, 24, 32, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(CLIPS) % 5
MODEL, CAUSAL = build(), build('causal')
with torch.no_grad():
    STEP_LOGITS = MODEL.predict_steps(FRAMES_IN).step_logits
    TRACE = run_stream(CAUSAL, FRAMES_IN, None)


class Counter:
    """Images that went through an encoder."""

    def __init__(self, encoder):
        self.images = 0
        self.handle = encoder.register_forward_hook(self.count)

    def count(self, module, args, output):
        self.images += args[0].shape[0] * args[0].shape[1]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.handle.remove()


def some_thresholds(values):
    """Strategy: thresholds at random ranks of what occurs, and both ends."""
    between = sorted(values.flatten().tolist())
    middles = [(a + b) / 2 for a, b in zip(between, between[1:])]
    return st.sampled_from([0.0, math.inf, *middles])


@settings(max_examples=60)
@given(
    st.tuples(some_thresholds(confidence(STEP_LOGITS[:, 0])), some_thresholds(confidence(STEP_LOGITS[:, 1]))),
    st.sampled_from([None, 1, 2, 4, 100]),
)
def test_clips_leave_as_replay_says(thresholds, micro_batch):
    exits = StepExits(thresholds)
    expected = replay_clips(STEP_LOGITS, LABELS, exits, [1, 2, 3])
    with Counter(MODEL.glance_encoder) as glances, Counter(MODEL.focus_encoder) as looks:
        result = run_clips(MODEL, FRAMES_IN, exits, micro_batch)
    assert result.steps.tolist() == expected.positions.tolist()
    assert torch.allclose(result.logits, STEP_LOGITS[torch.arange(CLIPS), expected.positions], atol=1e-4)
    # the rest never ran
    assert glances.images == CLIPS * FRAMES and looks.images == int(expected.positions.sum()) * FRAMES
    for clip, step in enumerate(result.steps.tolist()):
        assert result.centres[clip, :step].isfinite().all() and result.centres[clip, step:].isnan().all()


def test_without_exits_every_look_is_taken():
    result = run_clips(MODEL, FRAMES_IN, None, 4)
    assert result.steps.tolist() == [2] * CLIPS
    assert torch.allclose(result.logits, STEP_LOGITS[:, -1], atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(result.centres[:, 1], MODEL.looks(FRAMES_IN)[2].centres, atol=1e-5)


@settings(max_examples=40)
@given(
    some_thresholds(confidence(TRACE.frame_logits)),
    st.lists(some_thresholds(confidence(TRACE.frame_logits)), min_size=0, max_size=6),
)
def test_streams_stop_as_replay_says(enough, stop):
    exits = StreamExits((enough, enough), tuple(stop))
    trace = run_stream(CAUSAL, FRAMES_IN, replace(exits, stop=()))
    expected = replay_stream(trace, LABELS, exits, [1, 1, 1])
    with Counter(CAUSAL.glance_encoder) as glances, Counter(CAUSAL.focus_encoder) as looks:
        result = run_stream(CAUSAL, FRAMES_IN, exits)
    assert (result.num_frames - 1).tolist() == expected.positions.tolist()
    assert torch.allclose(
        result.logits, trace.frame_logits[torch.arange(CLIPS), expected.positions], atol=1e-4
    )
    assert glances.images == int(result.num_frames.sum()) and looks.images == int(
        result.looks.clamp_min(0).sum()
    )
    for clip, read in enumerate(result.num_frames.tolist()):
        assert (
            result.looks[clip, :read].tolist() == trace.looks[clip, :read].tolist()
            and (result.looks[clip, read:] == -1).all()
        )
        assert result.frame_logits[clip, read:].isnan().all()


def test_glance_only_models_have_nothing_to_skip_but_frames():
    model = build('causal', steps=0)
    assert run_clips(model, FRAMES_IN, StepExits(())).steps.tolist() == [0] * CLIPS
    with torch.no_grad():
        sure = confidence(model.glance(FRAMES_IN[:, :1]).logits[:, 0])
    result = run_stream(model, FRAMES_IN, StreamExits((), (sure.sort().values[4].item() - 1e-9,)))
    assert result.num_frames.tolist() == [1 if value >= sure.sort().values[4] else FRAMES for value in sure]


def test_exits_of_another_number_of_steps_are_refused():
    with pytest.raises(ValueError, match='exits of 1 focus steps for a model of 2'):
        run_clips(MODEL, FRAMES_IN, StepExits((0.5,)))


def test_named_tuples_in_a_state_are_selected():
    with torch.no_grad():
        state = MODEL.focus(FRAMES_IN, MODEL.glance(FRAMES_IN))
    kept = state.select(torch.tensor([4, 1]))
    assert type(kept.memory) is type(state.memory) and torch.equal(
        kept.memory.hidden, state.memory.hidden[[4, 1]]
    )


class Waits(TorchDispatchMode):
    """The operations at which a host waits for a GPU, and how many numbers it sends there."""

    def __init__(self):
        super().__init__()
        self.names, self.sent = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ('nonzero', '_local_scalar_dense', 'equal', 'is_nonzero', 'masked_select'):
            self.names.append(name)
        self.sent += name == 'lift_fresh'
        return func(*args, **(kwargs or {}))


class Undecided(ExitRule):
    """Lets clips out above a probability; of a stream it takes every look and never stops."""

    steps = 2

    def __init__(self, threshold: float):
        self.threshold = threshold

    def decide(self, logits, step, frame=None, state=None):
        score = logits.softmax(-1).amax(-1)
        enough = score >= self.threshold if step < self.steps else torch.ones_like(score, dtype=torch.bool)
        return Decision(enough, enough & (score > 2), score)


class TakesEveryLook(Undecided):
    def asks_after(self, step):
        return False


def test_the_host_waits_once_a_step_of_clips_and_once_a_frame_of_streams():
    threshold = STEP_LOGITS[:, 0].softmax(-1).amax(-1).median().item()
    with Waits() as waits:
        steps = run_clips(MODEL, FRAMES_IN, Undecided(threshold)).steps
    assert 0 < (steps == 0).sum() < CLIPS
    assert waits.names == ['nonzero'] * 2
    with Waits() as waits:
        looks = run_stream(CAUSAL, FRAMES_IN, TakesEveryLook(2.0)).looks
    assert (looks == 2).all()
    assert waits.names == ['nonzero'] * (FRAMES - 1)


def test_no_look_waits():
    with torch.no_grad(), Waits() as waits:
        state = MODEL.glance(FRAMES_IN)
        for _ in range(2):
            state = MODEL.focus(FRAMES_IN, state)
    assert waits.names == [] and waits.sent == 0


class Sizes:
    """A model, and how many clips every look was asked for."""

    steps = 2

    def __init__(self):
        self.seen = []

    def glance(self, frames):
        self.seen.append(len(frames))
        return MODEL.glance(frames)

    def focus(self, frames, state):
        self.seen.append(len(frames))
        assert len(state.logits) == len(frames)
        return MODEL.focus(frames, state)


@settings(max_examples=10)
@given(st.lists(st.floats(0.2, 1.0), min_size=2, max_size=2), st.integers(1, CLIPS))
def test_batches_in_buckets_answer_the_same(thresholds, clips):
    rule, model = StepExits(tuple(thresholds)), Sizes()
    ours = run_clips(model, FRAMES_IN[:clips], rule, buckets=True)
    theirs = run_clips(MODEL, FRAMES_IN[:clips], rule)
    assert ours.steps.tolist() == theirs.steps.tolist()
    torch.testing.assert_close(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.centres, theirs.centres, equal_nan=True)
    stayed = [clips, *(int((theirs.steps > step).sum()) for step in range(2))]
    expected = [min(clips, 2 ** math.ceil(math.log2(count))) for count in stayed if count]
    assert [size for size in model.seen if size != clips] == [size for size in expected if size != clips]


def test_few_sizes_of_batch_are_met_in_buckets():
    surest = confidence(STEP_LOGITS[:, 0]).sort().values
    plain, filled = Sizes(), Sizes()
    for threshold in ((surest[1:] + surest[:-1]) / 2).tolist():  # 1 to 8 clips stay
        exits = StepExits((threshold, math.inf))
        run_clips(plain, FRAMES_IN, exits)
        run_clips(filled, FRAMES_IN, exits, buckets=True)
    assert set(plain.seen) == set(range(1, CLIPS + 1))
    assert set(filled.seen) == {1, 2, 4, 8, CLIPS}


class Told(ExitRule):
    """Notes how many clips the state speaks of that it is shown."""

    steps = 2

    def __init__(self):
        self.rows = []

    def decide(self, logits, step, frame=None, state=None):
        self.rows.append((len(logits), len(state.logits)))
        enough = torch.arange(len(logits)) % 4 == 0 if step < 2 else torch.ones(len(logits), dtype=torch.bool)
        return Decision(enough, enough, logits.softmax(-1).amax(-1))


def test_rules_are_not_shown_what_fills_a_bucket():
    rule = Told()
    run_clips(MODEL, FRAMES_IN[:7], rule, buckets=True)
    assert rule.rows == [(7, 7), (5, 5)]
