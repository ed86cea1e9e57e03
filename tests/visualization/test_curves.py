import numpy as np
import pytest

from gfvideo.visualization import Curve, draw_curves


def test_curves_become_a_picture_of_the_size_asked_for():
    curves = {
        'Glance-and-Focus': Curve([0.1, 0.4], [0.3, 0.8], [0.02, 0.01]),
        'static TSM': Curve([2.5], [0.79]),
    }
    picture = draw_curves(curves, title='clips', chance=0.1, size=(640, 480))
    assert picture.shape == (480, 640, 3) and picture.dtype == np.uint8
    # no state is left behind
    assert np.array_equal(picture, draw_curves(curves, title='clips', chance=0.1, size=(640, 480)))
    for colour in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)):
        assert (picture == colour).all(-1).sum() > 50


def test_an_accuracy_moves_its_marker():
    low, high = (draw_curves({'a': Curve([1, 2], [0.0, y])}) for y in (0.5, 1.0))
    assert not np.array_equal(low, high)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (([1, 2], [0.5]), 'as many'),
        (([], []), 'as many'),
        (([1], [0.5], [0.1, 0.1]), 'as many'),
        (([1], [77.0]), 'fractions'),
    ],
)
def test_curves_must_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        Curve(*arguments)


def test_no_curve_is_an_error():
    with pytest.raises(ValueError, match='no curve'):
        draw_curves({})
