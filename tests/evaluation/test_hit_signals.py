"""What is told of looks, against loops; and how well numbers tell hits from misses, by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import BaseDataElement

from gfvideo.evaluation import signals_of, told_apart
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

T = 2


def model(scope='frame'):
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=None)
    return MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            num_classes=3,
            glance=encoder,
            focus=encoder,
            policy=dict(type='ValueMapPolicy', hidden=8, scope=scope),
            classifier=dict(type='ConcatClassifier'),
            glance_size=16,
            patch_size=12,
            steps=1,
        )
    ).eval()


def sample(video_id, label):
    made = ClipSample(metainfo=dict(video_id=video_id, frame_indices=[3, 7], frame_size=(40, 60)))
    assert isinstance(made, BaseDataElement)
    made.gt_label = label
    return made


OBJECTS = {'a': {3: {'fig': (0.0, 0.0, 40.0, 60.0)}, 7: {'fig': (10.0, 20.0, 16.0, 26.0)}}}


def test_numbers_are_those_of_the_looks():
    network, frames = model(), torch.rand(2, T, 3, 40, 60)
    samples = [sample('a', 2), sample('b', 1)]
    torch.manual_seed(5)
    signals, hits = signals_of(network, [(frames, samples)], OBJECTS, looks=3)
    assert hits.shape == (6,) and all(values.shape == (6,) for values in signals.values())  # of clip a alone
    torch.manual_seed(5)
    with torch.no_grad():
        before = network.glance(frames)
    row = 0
    for centres in torch.rand(3, 2, T, 2):
        with torch.no_grad():
            after = network.focus(frames, before, centres)
            own = network.focus_head(after.vector)
        for t in range(T):
            moved = after.logits[0, t] - before.logits[0, t]
            gain = after.logits[0, t].softmax(-1)[2] - before.logits[0, t].softmax(-1)[2]
            expected = dict(
                gain=gain, alone=own[0, t].softmax(-1)[2], change=math.sqrt(float(moved.square().mean()))
            )
            for name, value in expected.items():
                assert float(signals[name][row]) == pytest.approx(float(value), abs=1e-5)
            y, x = (after.centres[0, t] * torch.tensor([28.0, 48.0])).tolist()
            middle = (20, 30) if t == 0 else (13, 23)
            inside = math.floor(y) <= middle[0] < math.floor(y) + 12
            inside = inside and math.floor(x) <= middle[1] < math.floor(x) + 12
            assert bool(hits[row]) == inside
            row += 1


def test_what_cannot_be_compared_is_refused():
    batch = (torch.rand(1, T, 3, 40, 60), [sample('b', 0)])
    with pytest.raises(ValueError, match='no clip shows an object'):
        signals_of(model(), [batch], OBJECTS)
    with pytest.raises(ValueError, match='no clip shows an object'):
        signals_of(model(), [], OBJECTS)
    with pytest.raises(ValueError, match="scope='clip'"):
        signals_of(model('clip'), [batch], OBJECTS)


def test_a_signal_by_hand():
    signal = told_apart(torch.tensor([1.0, 3.0, 2.0, 0.0]), torch.tensor([False, True, True, False]))
    assert signal.hit == 2.5 and signal.miss == 0.5 and signal.auc == 1.0
    assert signal.correlation == pytest.approx(2 / math.sqrt(5))
    nothing = told_apart(torch.ones(2), torch.tensor([True, True]))
    assert nothing.hit == 1 and all(map(math.isnan, nothing[1:]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs):
    hits = [value for value, hit in pairs if hit]
    misses = [value for value, hit in pairs if not hit]
    signal = told_apart(
        torch.tensor([float(value) for value, _ in pairs]), torch.tensor([hit for _, hit in pairs])
    )
    if not hits or not misses:
        assert math.isnan(signal.auc)
        return
    in_order = [(hit > miss) + 0.5 * (hit == miss) for hit in hits for miss in misses]
    assert signal.auc == pytest.approx(sum(in_order) / len(in_order))
