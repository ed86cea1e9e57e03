import numpy as np
import pytest
import torch

from gfvideo.structures import ClipSample
from gfvideo.visualization import LOOK_COLOURS, draw_looks, draw_sample, save_picture, sheet, step_predictions
from gfvideo.visualization.canvas import Canvas
from gfvideo.visualization.patches import GAP

CLASSES = ['pushing a cup', 'pulling a cup']


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def near(picture, colour, tolerance=40):
    """Pixels of about this colour, (height, width) bool; the tolerance is below the distance of any two
    colours in use."""
    return np.abs(picture.astype(int) - rgb(colour)).sum(-1) < tolerance


def clip(T=4, H=60, W=80, value=90):
    return np.full((T, H, W, 3), value, dtype=np.uint8)


def said(*probabilities):
    return [(CLASSES[i % 2], p) for i, p in enumerate(probabilities)]


def test_the_outline_stands_where_the_patch_is_cut():
    """Draw the frame at its own size: the orange outline must lie on floor(centre * (H - P))."""
    frames, patch, centre = clip(T=1, H=240, W=240), (60, 80), (0.25, 0.75)
    picture = draw_looks(frames, np.array([[centre]]), patch, said(0.4, 0.6), cell_width=240)
    grey = (picture == 90).all(-1)
    top, left = np.argwhere(grey).min(0)  # the frame's own corner in the picture
    orange = near(picture, LOOK_COLOURS[0])
    orange[top + 240 :] = False  # the row of patches is below
    orange[:, :left] = False  # and the text column to the left
    ys, xs = np.nonzero(orange)
    expected = (int(0.25 * (240 - 60)), int(0.75 * (240 - 80)))
    assert abs(ys.min() - top - expected[0]) <= 2 and abs(xs.min() - left - expected[1]) <= 2
    assert abs(ys.max() - top - expected[0] - 60) <= 2 and abs(xs.max() - left - expected[1] - 80) <= 2


def test_patches_show_the_pixels_that_were_cut():
    frames = clip(T=2, H=60, W=60)
    frames[0, :20, :20] = (0, 0, 255)  # blue in the corner of frame 0
    frames[1, 40:, 40:] = (255, 0, 255)  # magenta in the other corner of frame 1
    centres = np.array([[[0, 0], [1, 1]]], dtype=np.float32)
    picture = draw_looks(frames, centres, (20, 20), said(0.4, 0.6), cell_width=100)
    blue, magenta = near(picture, '#0000FF').sum(), near(picture, '#FF00FF').sum()
    # the corner in the frame covers (100/60*20)^2 pixels less its outline, its patch all of 100^2 less its
    # outline
    assert blue > 9000 and magenta > 9000


def test_the_glance_is_shown_as_coarse_as_it_is():
    frames = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    picture = draw_looks(frames, None, None, said(0.5), glance_size=(2, 2), cell_width=100)
    column = picture[:, 400]
    tail = column[-18 - 100 + 4 : -18 - 4]  # inside the lowest image
    assert len(np.unique(tail, axis=0)) == 2


@pytest.mark.parametrize(
    'label, green, red', [(CLASSES[0], True, True), (None, False, False), ('another', False, True)]
)
def test_right_and_wrong_have_their_colours(label, green, red):
    """Step 0 says class 0, step 1 says class 1."""
    picture = draw_looks(
        clip(), np.zeros((1, 4, 2)), (20, 20), said(0.4, 0.6), label=label, glance_size=(8, 8)
    )
    assert near(picture, '#1a7f37').any() == green and near(picture, '#cf222e').any() == red


@pytest.mark.parametrize(
    'T, H, W, S', [(1, 20, 20, 1), (8, 240, 320, 2), (8, 112, 112, 2), (16, 72, 128, 4), (3, 300, 100, 8)]
)
def test_any_shape_is_drawn(T, H, W, S):
    centres = np.random.default_rng(0).random((S, T, 2))
    picture = draw_looks(
        clip(T, H, W),
        centres,
        (18, 20),
        said(*np.linspace(0, 1, S + 1)),
        title='a clip',
        label=CLASSES[1],
        glance_size=(12, 16),
        frame_indices=range(0, 2 * T, 2),
        objects={0: {'': (2, 3, 12, 13)}},
    )
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert (picture[:, -1] == 255).all() and (picture[-1] == 255).all()  # nothing runs over the margin


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(frames=np.zeros((4, 60, 80, 3))), 'uint8'),
        (dict(centres=np.zeros((1, 3, 2))), 'T=4'),
        (dict(step_predictions=said(0.5)), '1 predictions for 1 looks'),
        (dict(objects={0: {'': (0, 0, 1, 1)}}), 'frame_indices'),
        (dict(patch_size=(61, 20)), 'larger than the frame'),
        (dict(patch_size=None), 'patch'),
        (dict(promises=np.zeros((2, 4, 3, 3))), 'promises'),
    ],
)
def test_errors_name_the_thing(change, message):
    given = dict(
        frames=clip(), centres=np.zeros((1, 4, 2)), patch_size=(20, 20), step_predictions=said(0.4, 0.6)
    )
    with pytest.raises(ValueError, match=message):
        draw_looks(**{**given, **change})


def sample(S, views=None):
    centres = torch.rand(*(() if views is None else (views,)), S, 4, 2) if S else None
    made = ClipSample(
        metainfo=dict(video_id='v7', frame_indices=[0, 3, 6, 9] * (views or 1)),
        gt_label=torch.tensor(1),
        step_logits=torch.randn(S + 1, 2),
    )
    if S:
        made.centres = centres
    return made


def test_a_sample_is_drawn_as_its_parts():
    made = sample(2)
    inputs = torch.randint(0, 255, (4, 3, 60, 80), dtype=torch.uint8)
    expected = draw_looks(
        inputs.permute(0, 2, 3, 1).numpy(),
        made.centres,
        (20, 20),
        step_predictions(made.step_logits, CLASSES),
        title='v7',
        label=CLASSES[1],
        glance_size=(8, 8),
        frame_indices=[0, 3, 6, 9],
    )
    np.testing.assert_array_equal(
        draw_sample(inputs, made, CLASSES, patch_size=(20, 20), glance_size=(8, 8)), expected
    )


@pytest.mark.parametrize('S', [0, 2])
def test_views_and_static_recognizers_are_drawn(S):
    inputs = torch.zeros(3, 4, 3, 60, 80, dtype=torch.uint8)
    assert draw_sample(inputs, sample(S, views=3), patch_size=(20, 20)).ndim == 3


def test_step_predictions_are_softmax():
    logits = torch.tensor([[0.0, 1.0], [3.0, 1.0]])
    assert step_predictions(logits, CLASSES) == [
        (CLASSES[1], pytest.approx(torch.sigmoid(torch.tensor(1.0)).item())),
        (CLASSES[0], pytest.approx(torch.sigmoid(torch.tensor(2.0)).item())),
    ]
    with pytest.raises(ValueError, match='2 logits for 3 class names'):
        step_predictions(logits, ['a', 'b', 'c'])


def test_probabilities_are_those_of_the_loss():
    logits = torch.tensor([[0.0, 1.0], [3.0, 1.0]])
    each = [
        (CLASSES[1], pytest.approx(1 / (1 + np.exp(-1)))),
        (CLASSES[0], pytest.approx(1 / (1 + np.exp(-3)))),
    ]
    assert step_predictions(logits, CLASSES, 'binary_cross_entropy') == each
    made, inputs = sample(0), torch.zeros(4, 3, 40, 60, dtype=torch.uint8)
    made.step_logits = torch.tensor([[2.0, 2.0]])  # a half, or 88 % each
    shown = [
        draw_sample(inputs, made, CLASSES, loss=loss) for loss in ('cross_entropy', 'binary_cross_entropy')
    ]
    assert (shown[0] != shown[1]).any()


def test_sheet_keeps_every_pixel_in_its_place():
    pictures = [np.full((h, w, 3), v, dtype=np.uint8) for h, w, v in ((4, 6, 1), (5, 3, 2), (2, 8, 3))]
    whole = sheet(pictures, columns=2, gap=2)
    assert whole.shape == (5 + 2 + 2, 8 + 2 + 3, 3)
    assert (whole[:4, :6] == 1).all() and (whole[:5, 10:13] == 2).all() and (whole[7:9, :8] == 3).all()
    assert sum((whole == v).sum() for v in (1, 2, 3)) == sum(p.size for p in pictures)
    with pytest.raises(ValueError, match='0 pictures'):
        sheet([])


def test_saved_pictures_come_back(tmp_path):
    import cv2

    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    path = save_picture(picture, tmp_path / 'new' / 'folder' / 'look ü.png')
    read = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read[..., ::-1], picture)
    with pytest.raises(ValueError, match='end it in .png'):
        save_picture(picture, tmp_path / 'look.txt')


def test_text_is_wrapped_and_cut():
    canvas = Canvas(20, 200)
    words = 'Turning the camera downwards while filming a grandfather clock'
    lines = canvas.wrap(words, 150, size=15)
    assert all(canvas.width_of(line, 15) <= 150 for line in lines) and len(lines) == 3
    assert ' '.join(canvas.wrap(words, 150, size=15, lines=9)) == words
    assert canvas.wrap(words, 150, size=15, lines=1)[0].endswith('…')
    assert canvas.wrap('Donaudampfschifffahrtsgesellschaft', 80, size=15)[0].endswith('…')
    assert canvas.wrap('', 80) == []


def test_dollars_and_underscores_are_no_formula():
    assert Canvas(20, 200).width_of('a$_1$b') > Canvas(20, 200).width_of('a_1b')


@pytest.mark.parametrize(
    'window_size, top, left, height, width',
    [((30.0, 20.0), 15, 80, 30, 20), (None, 22, 84, 16, 16)],  # (0.5, 1) of the room beside it
)
def test_windows_of_other_sizes_and_frames_without_a_look(window_size, top, left, height, width):
    """Drawn at their own size, the second of three frames has an outline where the window was cut."""
    centres = np.full((1, 3, 2), np.nan, dtype=np.float32)
    centres[0, 1] = (0.5, 1.0)
    sizes = None
    if window_size is not None:
        sizes = np.full((1, 3, 2), np.nan, dtype=np.float32)
        sizes[0, 1] = window_size
    picture = draw_looks(
        clip(3, 60, 100), centres, (16, 16), said(0.4, 0.6), cell_width=100, window_sizes=sizes
    )
    y, x = np.argwhere((picture == 90).all(-1)).min(0)  # the corner of the first frame
    ys, xs = np.nonzero(near(picture[y : y + 60, x:], LOOK_COLOURS[0]))
    expected = np.array([[top, top + height], [left + 100 + GAP, left + 100 + GAP + width]])
    assert np.abs(np.array([[ys.min(), ys.max()], [xs.min(), xs.max()]]) - expected).max() <= 2


def test_only_frames_that_were_focused_on_are_drawn():
    inputs = torch.zeros(3, 3, 60, 100, dtype=torch.uint8)
    sample = ClipSample()
    sample.step_logits = torch.zeros(2, 4)
    sample.centres = torch.full((1, 3, 2), torch.nan)
    sample.centres[0, 1:] = 0.5
    drawn = draw_sample(inputs, sample, patch_size=(16, 16), title='a')
    everything = ClipSample()
    everything.step_logits, everything.centres = sample.step_logits, torch.full((1, 2, 2), 0.5)
    assert drawn.shape == draw_sample(inputs[1:], everything, patch_size=(16, 16), title='a').shape


def test_the_map_of_promises_is_bright_where_it_promises():
    """One cell of three by four is best: the row over the look's patches is brightest in that cell alone."""
    frames, values = clip(T=1, H=120, W=160, value=90), np.zeros((1, 1, 3, 4), dtype=np.float32)
    values[0, 0, 2, 1] = 0.5
    given = dict(centres=np.zeros((1, 1, 2)), patch_size=(20, 20), step_predictions=said(0.4, 0.6))
    plain = draw_looks(frames, **given, cell_width=160)
    picture = draw_looks(frames, **given, cell_width=160, promises=values)
    added = picture.shape[0] - plain.shape[0]
    assert added == 120 + 2 * GAP
    left = np.argwhere((plain == 90).all(-1)).min(0)[1]
    top = np.argwhere((plain == 90).all(-1)).min(0)[0]
    row = picture[top + 120 + 2 * GAP :][:120, left : left + 160].astype(int).sum(-1)
    cells = row.reshape(3, 40, 4, 40)[:, 12:28, :, 12:28].mean((1, 3))
    assert np.unravel_index(cells.argmax(), cells.shape) == (2, 1)
    assert cells.max() > 2 * np.median(cells)
