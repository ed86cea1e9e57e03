"""A map that is taught places finds what its glance shows, and nothing else."""

import pytest
import torch

from gfvideo.evaluation import Glances, found_share, glances_of, teach_places
from gfvideo.models import Geometry, ValueMapPolicy
from gfvideo.registry import MODELS
from gfvideo.structures import ClipSample

T, SIZE, PATCH = 2, 48, 12


def clips(count, shown, seed):
    """Grey noise with a bright square of 6 pixels, or none, in frames that are their own glance."""
    generator = torch.Generator().manual_seed(seed)
    small = 0.2 * torch.randn(count, T, 3, SIZE, SIZE, generator=generator)
    corners = torch.randint(0, SIZE - 6, (count, T, 2), generator=generator)
    if shown:
        for n in range(count):
            for t in range(T):
                y, x = corners[n, t].tolist()
                small[n, t, :, y : y + 6, x : x + 6] += 2
    boxes = torch.cat([corners, corners + 6], -1).float()[:, None]  # (N, 1, T, 4)
    maps, logits = torch.zeros(count, T, 4, 12, 12), torch.zeros(count, T, 3)
    return Glances(maps.half(), small.half(), logits, boxes, Geometry((SIZE, SIZE), (PATCH, PATCH)))


def taught(shown):
    torch.manual_seed(0)
    policy = ValueMapPolicy(4, 4, hidden=8, chosen_by='alone')
    losses = list(teach_places(policy, clips(160, shown, 0), epochs=6, samples=16, batch_size=8, rate=5e-3))
    return losses, *found_share(policy, clips(64, shown, 1))


def test_what_a_glance_shows_is_found():
    losses, found, luck = taught(shown=True)
    assert losses[-1] < losses[0]
    assert found > 0.85 and luck < 0.25


def test_what_it_does_not_show_is_not():
    _, found, _ = taught(shown=False)
    assert found < 0.3


def model():
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), shift=None)
    return MODELS.build(
        dict(
            type='GlanceFocusRecognizer',
            num_classes=3,
            glance=encoder,
            focus=encoder,
            policy=dict(type='ValueMapPolicy', hidden=8),
            classifier=dict(type='ConcatClassifier'),
            glance_size=16,
            patch_size=12,
            steps=1,
        )
    ).eval()


def sample(video_id):
    return ClipSample(metainfo=dict(video_id=video_id, frame_indices=[3, 7], frame_size=(40, 60)))


def test_boxes_follow_the_frames_and_missing_objects_are_nowhere():
    objects = {'a': {3: {'fig': (10.0, 20.0, 20.0, 30.0)}, 7: {'wheel': (0.0, 0.0, 4.0, 4.0)}}}
    seen = glances_of(model(), [(torch.rand(2, T, 3, 20, 30), [sample('a'), sample('b')])], objects)
    assert seen.boxes.shape == (2, 2, T, 4) and seen.geometry == Geometry((20, 30), (12, 12))
    assert seen.boxes[0, 0, 0].tolist() == [5, 10, 10, 15]  # frames were halved
    assert seen.boxes[0, 1, 1].tolist() == [0, 0, 2, 2]
    assert seen.boxes[0, 0, 1].isnan().all() and seen.boxes[1].isnan().all()


def test_objects_that_have_left_the_frame_are_nowhere():
    objects = {'a': {3: {'fig': (10.0, 60.0, 20.0, 70.0)}, 7: {'fig': (-4.0, 58.0, 4.0, 66.0)}}}
    boxes = glances_of(model(), [(torch.rand(1, T, 3, 40, 60), [sample('a')])], objects).boxes
    assert boxes[0, 0, 0].isnan().all() and boxes[0, 0, 1].tolist() == [-4, 58, 4, 66]


def test_clips_that_show_nothing_are_refused():
    with pytest.raises(ValueError, match='no clip shows an object'):
        glances_of(model(), [(torch.rand(1, T, 3, 20, 30), [sample('a')])], {})
