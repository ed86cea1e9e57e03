"""The best places of the first map, against a search place by place; and the policy that takes them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.models import Geometry, GlanceFocusRecognizer, TopKPolicy, ValueMapPolicy
from gfvideo.models.policies.top_k import best_centres
from gfvideo.models.policies.value_map import centres_at, refined
from gfvideo.registry import MODELS

GEOMETRY = Geometry((40, 60), (12, 10))


def far(one, other):
    """Whether two patches of 12x10 lie half a patch apart, of tensors (2,) of their centres."""
    y, x = ((one - other).abs() * torch.tensor([28.0, 50.0])).tolist()
    return y >= 6 * (1 - 1e-4) or x >= 5 * (1 - 1e-4)


def searched(values, count):
    """Cell by cell in the order of their values: the first whose patch lies far enough from all taken."""
    h, w = values.shape
    middles = [torch.tensor([(i + 0.5) / h, (j + 0.5) / w]) for i in range(h) for j in range(w)]
    at_cells = [centres_at(middle, GEOMETRY) for middle in middles]
    taken = []
    for _ in range(count):
        for cell in values.flatten().argsort(descending=True).tolist():
            if all(far(at_cells[cell], other) for other in taken):
                centre = centres_at(refined(values[None, None], torch.tensor([[cell]])), GEOMETRY)[0, 0]
                taken.append(centre if all(far(centre, other) for other in taken) else at_cells[cell])
                break
        else:
            raise AssertionError('no place is left')
    return torch.stack(taken)


@given(st.integers(0, 10_000))
def test_places_are_the_best_that_lie_apart(seed):
    values = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(seed))
    found = best_centres(values, 4, GEOMETRY)
    assert found.shape == (2, 4, 3, 2)
    for b in range(2):
        for a in range(3):
            torch.testing.assert_close(found[b, :, a], searched(values[b, a], 4))
            assert all(far(found[b, i, a], found[b, j, a]) for i in range(4) for j in range(i))


def test_where_no_place_is_left_the_farthest_is_taken():
    values = torch.zeros(1, 1, 4, 6)
    values[0, 0, 1, 1] = 1.0
    whole = Geometry((40, 60), (40, 60))  # all patches are one
    assert best_centres(values, 3, whole).shape == (1, 3, 1, 2)
    large = Geometry((40, 60), (34, 50))  # half a patch is 17 high and 25 wide; the room is 6 and 10
    first, second = best_centres(values, 2, large)[0, :, 0]
    assert first.tolist() == [0, 0] and (second == 1).any()


def recognizer(policy, steps=3):
    torch.manual_seed(0)
    encoder = dict(type='Encoder', backbone=dict(type='TinyCNN', width=8), map_stride=4)
    return GlanceFocusRecognizer(
        encoder,
        encoder,
        dict(type=policy, hidden=8),
        dict(type='ConcatClassifier'),
        num_classes=3,
        glance_size=24,
        patch_size=16,
        steps=steps,
    ).eval()


@torch.no_grad()
def test_it_takes_the_value_maps_first_place_and_then_what_the_first_map_says():
    model, frames = recognizer('TopKPolicy'), torch.randn(2, 4, 3, 40, 60)
    map_model = recognizer('ValueMapPolicy')
    assert map_model.load_state_dict(model.state_dict()).missing_keys == []
    geometry = Geometry((40, 60), (16, 16))
    glance = model.glance(frames)
    worth = map_model.policy.promises(map_model.observe(frames, glance))
    planned = best_centres(worth, 3, geometry)  # (B, S, T, 2)
    torch.testing.assert_close(model.predict_steps(frames).centres, planned)
    torch.testing.assert_close(map_model.predict_steps(frames).centres[:, 0], planned[:, 0])
    # a promise beside every look, and none of them moved by what patches show
    assert glance.promise.shape == (2, 4)
    with torch.no_grad():
        for parameter in model.focus_encoder.parameters():
            parameter.add_(1)
    torch.testing.assert_close(model.predict_steps(frames).centres, planned)


@torch.no_grad()
def test_clips_can_be_selected_between_its_looks():
    model, frames = recognizer('TopKPolicy'), torch.randn(3, 2, 3, 40, 60)
    state, rows = model.focus(frames, model.glance(frames)), torch.tensor([2, 0])
    kept = model.focus(frames[rows], state.select(rows))
    torch.testing.assert_close(kept.centres, model.focus(frames, state).centres[rows])


def test_it_is_built_with_the_looks_of_the_recognizer():
    assert recognizer('TopKPolicy', steps=2).policy.steps == 2
    assert isinstance(
        MODELS.build(dict(type='TopKPolicy', glance_channels=3, focus_channels=9, steps=2)), ValueMapPolicy
    )
    with pytest.raises(ValueError, match='discount'):
        TopKPolicy(3, 9, 2, discount=2.0)


def test_the_stem_of_a_value_map_is_that_of_its_best_places():
    options = dict(stem_depth=4, stem_norm=True, stem_size=48, stem_stride=8, hidden=8)
    torch.manual_seed(0)
    value_map, best = ValueMapPolicy(5, 7, **options), TopKPolicy(5, 7, steps=2, **options)
    best.load_state_dict(value_map.state_dict())
    assert best.reads_size == value_map.reads_size == (48, 48)
    assert best.described() == value_map.described() and best.described()['stem_size'] == [48, 48]
