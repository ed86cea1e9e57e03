from dataclasses import replace

import numpy as np
import pytest

from gfvideo.visualization import Moment, Scene, Spent, Window, as_glanced, draw_moment, draw_strip
from gfvideo.visualization.film import frame_as_seen, place_of

H, W, G, P = 48, 64, 8, 16
SCENE = Scene('a video', ['rising', 'falling'], 2, (G, G))
ALL = Window(0, 0, H, W)


def frames(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (H, W, 3), dtype=np.uint8)


def moment(**changes):
    picture = frames()
    told = Moment(
        picture,
        picture,
        ALL,
        index=5,
        place=1,
        windows=[Window(8, 16, P, P), None],
        taken=[1, 1, 0],
        skipped=[False, False, False],
        probabilities=np.array([0.25, 0.75]),
        costs=Spent(0.1, 0.2, 0.4),
        status='Look 1',
    )
    return replace(told, **changes)


def painted(picture, colour):
    """How many pixels have this colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - rgb).sum(-1) < 12).sum())


# ---- the frame


def test_a_patch_is_drawn_at_its_pixels_and_the_rest_is_the_glance():
    told = moment()
    drawn = frame_as_seen(SCENE, told, (H, W))
    np.testing.assert_array_equal(drawn[8 : 8 + P, 16 : 16 + P], told.picture[8 : 8 + P, 16 : 16 + P])
    outside = np.ones((H, W), bool)
    outside[8 : 8 + P, 16 : 16 + P] = False
    alone = frame_as_seen(SCENE, replace(told, windows=[None, None]), (H, W))
    np.testing.assert_array_equal(drawn[outside], alone[outside])
    small = as_glanced(told.picture[None], (G, G))[0]
    assert np.abs(alone.mean((0, 1)) - small.mean((0, 1))).max() < 2 and alone.std() < told.picture.std() / 2


def test_a_patch_of_a_cut_frame_is_drawn_where_it_is_in_the_whole_one():
    whole = frames(1)
    # the recognizer is given the middle, twice as large
    seen = whole[8:40, 16:48].repeat(2, 0).repeat(2, 1)  # (64, 64, 3)
    told = moment(
        picture=whole, seen=seen, field=Window(8, 16, 32, 32), windows=[Window(16, 32, 16, 16), None]
    )
    drawn = frame_as_seen(SCENE, told, (2 * H, 2 * W))
    top, left = 2 * 8 + 16, 2 * 16 + 32
    np.testing.assert_array_equal(drawn[top : top + 16, left : left + 16], seen[16:32, 32:48])
    assert drawn[:16].mean() < 0.5 * whole.mean()  # never given: dark


def test_a_frame_that_was_not_looked_at_is_grey():
    drawn = frame_as_seen(SCENE, moment(watched=False, windows=[None, None]), (H, W))
    assert (drawn == drawn[..., :1]).all() and drawn.min() >= 150


def test_places_of_windows():
    assert place_of(Window(8, 16, 16, 16), Window(0, 0, 96, 128), (48, 64)) == (16, 32, 32, 32)
    assert place_of(Window(0, 0, 48, 64), Window(10, 20, 48, 64), (48, 64)) == (10, 20, 48, 64)


# ---- the picture


@pytest.mark.parametrize('width', [1280, 400])
def test_looks_taken_are_in_colour_and_skipped_ones_in_grey(width):
    first, second, grey = '#E69F00', '#56B4E9', '#d8dee4'
    taken = draw_moment(SCENE, moment(), width).render()
    assert taken.shape[1] == width and taken.shape[0] % 2 == 0
    assert painted(taken, first) > 100 and painted(taken, second) < 10  # of the noisy frame
    both = draw_moment(
        SCENE, moment(windows=[Window(8, 16, P, P), Window(0, 0, P, P)], taken=[2, 2, 2]), width
    )
    assert painted(both.render(), second) > 100
    skipped = draw_moment(SCENE, moment(skipped=[True] * 3, end=True), width).render()
    assert painted(skipped, grey) > painted(taken, grey) + 1000


def test_bars_are_as_long_as_what_they_say():
    blue = '#0072B2'
    lengths = []
    for likely in (0.9, 0.6):
        told = moment(probabilities=np.array([1 - likely, likely]), costs=Spent(0, 0.2, 0.4))
        lengths.append(painted(draw_moment(SCENE, told).render(), blue))
    assert lengths[0] / lengths[1] == pytest.approx(1.5, rel=0.03)
    costs = []
    for so_far in (0.1, 0.4):
        told = moment(probabilities=np.array([1e-9, 1e-9]), costs=Spent(so_far, 0.4, 0.8))
        costs.append(painted(draw_moment(SCENE, told).render(), blue))
    assert costs[1] / costs[0] == pytest.approx(4, rel=0.1)


def test_all_moments_of_a_film_are_of_one_size():
    sizes = {
        draw_moment(SCENE, told, 400).pixels.shape
        for told in (
            moment(),
            moment(end=True, status='a long word ' * 20),
            moment(watched=False, windows=[None, None]),
            moment(probabilities=None),
        )
    }
    assert len(sizes) == 1


def test_a_still_shows_each_frame_once():
    told = [moment(index=index, place=index % 3, picture=frames(index)) for index in (0, 0, 1, 2)]
    drawn = draw_strip(SCENE, told, 800)
    assert drawn.pixels.shape[1] == 800 and drawn.render().dtype == np.uint8
    assert painted(drawn.render(), '#E69F00') > 3 * 50  # an outline in each


def test_a_recognizer_of_whole_frames():
    scene = replace(SCENE, steps=0, glance_size=None)
    told = moment(windows=[], taken=[0, 0, -1])
    np.testing.assert_array_equal(frame_as_seen(scene, told, (H, W)), told.picture)
    assert draw_moment(scene, told).pixels.shape[1] == 1280


def test_odd_widths_are_refused():
    with pytest.raises(ValueError, match='width=401: give an even number'):
        draw_moment(SCENE, moment(), 401)
