"""Patches at the true places: against cut pixels, and a table of what is taken where nobody knows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.evaluation import oracle_centres, patch_hit_rate, read_objects
from gfvideo.ops import crop_patches

H, W = 20, 28


@given(st.integers(0, H - 1), st.integers(0, W - 1), st.integers(1, 9), st.integers(1, 9))
def test_the_patch_is_the_one_whose_middle_is_nearest_to_the_objects(y, x, height, width):
    """Of all patches inside the frame, cut one by one."""
    box = (y - 1.0, x - 2.0, y + 2.0, x + 3.0)  # its middle is the middle of pixel (y, x)
    (centre,) = oracle_centres({0: {'': box}}, [0], (H, W), (height, width), 1)  # (T, 2)
    corners = [(top, left) for top in range(H - height + 1) for left in range(W - width + 1)]

    def away(corner):
        return abs(corner[0] + height / 2 - y - 0.5), abs(corner[1] + width / 2 - x - 0.5)

    nearest = tuple(min(away(corner)[axis] for corner in corners) for axis in (0, 1))
    numbers = torch.arange(H * W).view(1, 1, 1, H, W)
    first = int(crop_patches(numbers, centre[None], (height, width)).flatten()[0])
    found = away((first // W, first % W))
    assert found[0] <= nearest[0] + 1 and found[1] <= nearest[1] + 1  # corners are whole pixels


def at(y, x):
    return (y - 2.0, x - 2.0, y + 2.0, x + 2.0)


def middles(centres, patch):
    """Of patches at centres ``(S, T, 2)``, in pixels."""
    return (centres * (torch.tensor([H, W]) - patch) + patch / 2).tolist()


@pytest.mark.parametrize(
    'objects, frames, expected',
    [
        ({0: {'': at(8, 9)}, 4: {'': at(10, 12)}}, [0, 4], [(8, 9), (10, 12)]),
        ({0: {'': at(8, 9)}, 4: {'': at(10, 12)}}, [2, 3, 9], [(8, 9), (8, 9), (10, 12)]),  # the last before
        ({5: {'': at(8, 9)}, 7: {'': at(10, 12)}}, [0, 4, 6], [(8, 9), (8, 9), (8, 9)]),  # the first after
        ({0: {'': at(8, 9)}, 4: {'': at(-9, 12)}}, [4], [(8, 9)]),  # it has left the frame
        ({}, [0, 3], [(10, 14), (10, 14)]),
    ],
)
def test_places_where_they_are_known_and_where_not(objects, frames, expected):
    for places in middles(oracle_centres(objects, frames, (H, W), (8, 8), 2), 8):  # both looks
        assert places == pytest.approx([pytest.approx(one, abs=1e-4) for one in expected])


def test_each_look_takes_an_object_by_name():
    objects = {0: {'wheel': at(8, 9), 'fig': at(12, 20)}, 1: {'fig': at(12, 21)}}
    looks = middles(oracle_centres(objects, [0, 1], (H, W), (8, 8), 3), 8)
    fig, wheel = [[12, 20], [12, 21]], [[8, 9], [8, 9]]
    for found, expected in zip(looks, (fig, wheel, fig), strict=True):
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected, dtype=torch.float32))


def test_on_real_clips_it_holds_every_object(shared):
    table = shared / 'data' / 'two_dials_ssv2' / 'objects.csv'
    if not table.is_file():
        pytest.skip(f'{table} is not here')
    videos = list(read_objects(table).values())[:100]
    indices = [list(range(0, 24, 3))] * len(videos)
    centres = [oracle_centres(objects, indices[0], (360, 480), (64, 64), 2) for objects in videos]
    rates = patch_hit_rate(centres, indices, videos, (360, 480), (64, 64))
    assert rates['found'][1] == 1.0 and rates['found'][0] == pytest.approx(0.5, abs=0.01)
