"""The controls, row by row, against the recognizer run by hand; the differences against sums by hand."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest
import torch

from gfvideo.complexity import recognizer_cost
from gfvideo.evaluation import (
    Answers,
    ControlMeter,
    ControlRow,
    control_rows,
    controls_table,
    oracle_centres,
    over_seeds,
    patch_hit_rate,
    right_answers,
)
from gfvideo.models import ClipRecognizer, GlanceFocusRecognizer
from gfvideo.structures import ClipSample

N, T, H, W, STEPS, PATCH = 6, 3, 40, 60, 2, 16
ENCODER = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)


def recognizer(policy='ValueMapPolicy', seed=0, scope='frame', **settings):
    torch.manual_seed(seed)
    model = GlanceFocusRecognizer(
        ENCODER,
        ENCODER,
        dict(type=policy, hidden=8, scope=scope),
        dict(type='ConcatClassifier'),
        num_classes=3,
        glance_size=24,
        patch_size=PATCH,
        steps=STEPS,
        **settings,
    ).eval()
    with torch.no_grad():  # so that what patches show matters
        for layer in model.classifier.fc:
            layer.weight.mul_(30)
    return model


@pytest.fixture(scope='module')
def clips():
    """Frames, samples of videos twice as large, and where two objects are in them; the last has none."""
    frames = torch.randn(N, T, 3, H, W, generator=torch.Generator().manual_seed(1))
    samples, objects = [], {}
    for number in range(N):
        name = f'v{number}'
        sample = ClipSample(metainfo=dict(video_id=name, frame_indices=[0, 4, 8], frame_size=(2 * H, 2 * W)))
        sample.gt_label = torch.tensor(number % 3)
        samples.append(sample)
        if number < N - 1:
            y, x = 12 + 9.0 * number, 90 - 13.0 * number
            objects[name] = {
                0: dict(clock=(y, x, y + 8, x + 8), fig=(60.0, 20.0, 70.0, 30.0)),
                4: dict(clock=(y + 6, x, y + 14, x + 8)),
            }
    return frames, samples, objects


def measured(model, clips, batch=N, **settings):
    frames, samples, objects = clips
    meter = ControlMeter(model, objects, **settings)
    for first in range(0, N, batch):
        meter.add(frames[first : first + batch], samples[first : first + batch])
    assert meter.video_ids == [sample.video_id for sample in samples]
    return {row.name: row for row in meter.answers()}


def halved(objects):
    """Boxes in frames half as large."""
    return {
        frame: {name: tuple(side / 2 for side in box) for name, box in boxes.items()}
        for frame, boxes in objects.items()
    }


@torch.no_grad()
def looked(model, frames, centres):
    """Step logits at given centres ``(B, S, T, 2)``."""
    state = model.glance(frames)
    logits = [state.logits.mean(1)]
    for step in range(STEPS):
        state = model.focus(frames, state, centres[:, step])
        logits.append(state.logits.mean(1))
    return torch.stack(logits, 1)


@pytest.mark.parametrize('mode', ['mean', 'random'])
def test_every_row_is_the_recognizer_looking_there(clips, mode):
    frames, samples, objects = clips
    labels = torch.tensor([int(sample.gt_label) for sample in samples])
    model, tuned = recognizer(test_centres=mode), recognizer(seed=3)
    rows = measured(model, clips, tuned=dict(centre=tuned, random=tuned), draws=2, seed=5)
    assert model.test_centres == mode  # as it was
    names = [
        'learned',
        'random',
        'centre',
        'top-k',
        'oracle',
        'glance only',
        'centre, tuned',
        'random, tuned',
    ]
    assert list(rows) == names

    model.test_centres = 'mean'
    with torch.no_grad():
        learned = model.predict_steps(frames)
        top_k_model = recognizer('TopKPolicy')
        top_k_model.load_state_dict(model.state_dict())
        top_k = top_k_model.predict_steps(frames)
    middle = torch.full((N, STEPS, T, 2), 0.5)
    oracle = torch.stack(
        [
            oracle_centres(halved(objects.get(sample.video_id, {})), [0, 4, 8], (H, W), (PATCH, PATCH), STEPS)
            for sample in samples
        ]
    )
    generator = torch.Generator().manual_seed(5)
    draws = torch.stack([torch.rand(2, STEPS, T, 2, generator=generator) for _ in range(N)], 1)
    expected = {
        'learned': [learned.step_logits],
        'centre': [looked(model, frames, middle)],
        'top-k': [top_k.step_logits],
        'oracle': [looked(model, frames, oracle)],
        'random': [looked(model, frames, draw) for draw in draws],
        'centre, tuned': [looked(tuned, frames, middle)],
        'random, tuned': [looked(tuned, frames, draw) for draw in draws],
    }
    for name, logits in expected.items():
        right = [
            [[int(row.argmax()) == label for row in one] for one, label in zip(draw, labels)]
            for draw in logits
        ]
        np.testing.assert_allclose(rows[name].right, np.mean(right, axis=0))
    np.testing.assert_array_equal(rows['glance only'].right, rows['learned'].right[:, :1])
    assert len({row.right[:, -1].tobytes() for row in rows.values()}) > 3  # places matter here

    indices, boxes = [[0, 4, 8]] * N, [halved(objects.get(sample.video_id, {})) for sample in samples]
    for name, centres in dict(learned=learned.centres, oracle=oracle, centre=middle).items():
        rates = patch_hit_rate(centres, indices, boxes, (H, W), (PATCH, PATCH))
        assert str(rows[name].hits) == str(rates)  # nan is not equal to itself
    both = patch_hit_rate(list(draws.flatten(0, 1)), indices * 2, boxes * 2, (H, W), (PATCH, PATCH))
    assert rows['random'].hits['centre'] == pytest.approx(both['centre'])
    assert rows['random'].hits['area'] == pytest.approx(both['area'])
    assert rows['oracle'].hits['found'][-1] == 1.0 and rows['glance only'].hits is None


def test_rows_cost_what_runs(clips):
    model = recognizer()
    rows = measured(model, clips)
    learned = recognizer_cost(model, (T, 3, H, W))
    assert rows['learned'].gmacs == pytest.approx([count / 1e9 for count in learned['steps']])
    policy = [step['policy'] / 1e9 for step in learned['by_step']]
    without = np.array(rows['learned'].gmacs) - np.cumsum(policy)
    assert min(policy[:STEPS]) > 0
    for name in ('random', 'centre', 'oracle'):
        assert rows[name].gmacs == pytest.approx(without)
    assert rows['top-k'].gmacs == pytest.approx(without + policy[0])
    assert rows['glance only'].gmacs == pytest.approx(without[:1])


def test_batches_and_rows_do_not_change_the_answers(clips):
    whole, parts = measured(recognizer(), clips, draws=3), measured(recognizer(), clips, batch=4, draws=3)
    assert all((whole[name].right == parts[name].right).all() for name in whole)
    assert whole['random'].hits['centre'] == pytest.approx(parts['random'].hits['centre'])
    other = measured(recognizer(), clips, draws=3, seed=1)
    assert whole['random'].hits['area'] != other['random'].hits['area']


def test_a_policy_that_values_no_places_and_clips_without_objects(clips):
    frames, samples, _ = clips
    meter = ControlMeter(recognizer('RecurrentGaussianPolicy'))
    meter.add(frames, samples)
    rows = meter.answers()
    assert [row.name for row in rows] == ['learned', 'random', 'centre', 'glance only']
    assert all(row.hits is None for row in rows)


def test_one_place_for_all_frames_of_a_clip(clips):
    frames, samples, _ = clips
    model = recognizer(scope='clip')
    rows = measured(model, clips, draws=2)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([torch.rand(2, STEPS, 1, 2, generator=generator) for _ in range(N)], 1)
    draws = draws.expand(-1, -1, -1, T, -1)  # (D, B, S, T, 2)
    top_k = recognizer('TopKPolicy', scope='clip')
    top_k.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = {
            'random': [looked(model, frames, draw) for draw in draws],
            'top-k': [top_k.predict_steps(frames).step_logits],
        }
    labels = torch.tensor([int(sample.gt_label) for sample in samples])
    for name, logits in expected.items():
        right = torch.stack([(one.argmax(2) == labels[:, None]).double() for one in logits]).mean(0)
        np.testing.assert_allclose(rows[name].right, right)


def test_windows_of_other_sizes_are_not_taken_for_patches(clips):
    """Where the policy chooses what size it cuts, only the rows at given places have hits."""
    model = recognizer()
    model.policy.sizes = True
    rows = measured(model, clips)
    assert rows['learned'].hits is None and rows['centre'].hits is not None


def test_differences_are_of_the_same_clips():
    right = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]], dtype=float)
    other = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=float)
    rows = control_rows(
        [
            Answers('learned', right, [1, 2, 3]),
            Answers('random', other, [1, 2, 3]),
            Answers('glance only', right[:, :1], [1]),
            Answers('static', other[:, 1:2], [9], step=None),
        ]
    )
    assert rows[0].top1 == [0.25, 0.75, 0.75] and rows[0].ahead == []
    assert rows[0].errors == pytest.approx([np.sqrt(p * (1 - p) / 4) for p in rows[0].top1])
    assert [one.mean for one in rows[1].ahead] == [0, 0.25, 0.25]
    assert [one.error for one in rows[1].ahead] == pytest.approx(
        [0, np.std([1, 0, 0, 0]) / 2, np.std([1, 0, 1, -1]) / 2]
    )
    assert rows[2].ahead == [(0.5, pytest.approx(np.std([1, 1, 0, 0]) / 2))]  # its last look, less the glance
    assert rows[3].ahead == [(0.25, pytest.approx(np.std([1, 1, 0, -1]) / 2))]
    shared = control_rows([Answers('learned', right, [1, 2, 3])], sources=list('aabb'))[0]
    # deviations of the sources sum to 1 - 0.5 and 1.5 - 2
    assert shared.errors[2] == pytest.approx(np.sqrt(0.5**2 + 0.5**2) / 4)
    table = controls_table(rows).splitlines()
    assert [line.split('  ')[0] for line in table] == ['row', 'learned', 'random', 'glance only', 'static']
    assert '75.0 ± 21.7' in table[1] and '+25.0 ± 41.5' in table[2] and 'hit 1' not in table[0]
    assert rows[3].as_json()['ahead'] == [dict(mean=0.25, error=rows[3].ahead[0].error)]


def test_rows_are_written_without_nan(clips):
    row = control_rows([measured(recognizer(), clips)['oracle']])[0]
    assert np.isnan(row.hits['after_miss'][-1]) and row.as_json()['hits']['after_miss'][-1] is None
    again = ControlRow.from_json(json.loads(json.dumps(row.as_json(), allow_nan=False)))
    assert again.hits['found'] == row.hits['found'] and again.ahead == row.ahead
    assert controls_table([again]) == controls_table([row]) and '- of 0' in controls_table([row])


def test_over_seeds(clips):
    runs = [
        control_rows([one for one in measured(recognizer(seed=seed), clips).values()]) for seed in range(3)
    ]
    rows = over_seeds(runs)
    assert [row.name for row in rows] == [row.name for row in runs[0]]
    for number, row in enumerate(rows):
        for step in range(len(row.top1)):
            each = [run[number].top1[step] for run in runs]
            assert row.top1[step] == pytest.approx(sum(each) / 3)
            assert row.errors[step] == pytest.approx(statistics.stdev(each))
        assert len(row.ahead) == len(runs[0][number].ahead)
        if row.ahead:
            each = [run[number].ahead[-1].mean for run in runs]
            assert row.ahead[-1] == pytest.approx((sum(each) / 3, statistics.stdev(each)))
    hits = [run[0].hits for run in runs]
    assert rows[0].hits['area'] == pytest.approx(np.mean([one['area'] for one in hits], axis=0).tolist())
    assert rows[0].hits['objects']['clock']['centre'][0] == pytest.approx(
        sum(one['objects']['clock']['centre'][0] for one in hits) / 3
    )
    assert rows[0].hits['misses'] == [sum(one['misses'][step] for one in hits) for step in range(STEPS)]
    with pytest.raises(ValueError, match='two seeds or more'):
        over_seeds(runs[:1])
    with pytest.raises(ValueError, match='the same rows'):
        over_seeds([runs[0], runs[1][1:]])


def test_equal_scores_are_not_all_right():
    logits = torch.zeros(3, 2, 3)
    assert right_answers(logits, torch.tensor([0, 1, 2])).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_faults(clips):
    frames, samples, _ = clips
    with pytest.raises(ValueError, match='ClipRecognizer with steps=0 takes no looks'):
        ControlMeter(ClipRecognizer(ENCODER, num_classes=3))
    with pytest.raises(ValueError, match="tuned on 'mean' patches is unknown"):
        ControlMeter(recognizer(), tuned=dict(mean=recognizer()))
    with pytest.raises(ValueError, match='draws=0'):
        ControlMeter(recognizer(), draws=0)
    with pytest.raises(ValueError, match='no clip was looked at'):
        ControlMeter(recognizer()).answers()
    with pytest.raises(ValueError, match="clip 'v0' has no label"):
        ControlMeter(recognizer()).add(
            frames[:1], [ClipSample(metainfo=dict(video_id='v0', frame_indices=[0, 4, 8], frame_size=(H, W)))]
        )
    with pytest.raises(ValueError, match="row 'static' has 2 clips"):
        control_rows([Answers('learned', np.ones((3, 2)), [1]), Answers('static', np.ones((2, 1)), [1])])
