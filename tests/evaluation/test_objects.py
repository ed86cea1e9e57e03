import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.evaluation import covered_areas, patch_hit_rate, patch_hits, read_objects, scale_boxes
from gfvideo.ops import crop_patches, patch_corners

H, W = 20, 28


NAMES = ('clock', 'fig')


@st.composite
def looks(draw):
    steps, frames = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    centres = draw(
        st.lists(st.floats(0, 1, width=32), min_size=steps * frames * 2, max_size=steps * frames * 2)
    )
    objects = {}
    for t in range(frames):
        for name in NAMES:
            if draw(st.booleans()):
                top, left = draw(st.integers(0, H - 2)), draw(st.integers(0, W - 2))
                box = (top, left, draw(st.integers(top + 1, H)), draw(st.integers(left + 1, W)))
                objects.setdefault(10 * t, {})[name] = box
    return torch.tensor(centres).view(steps, frames, 2), [10 * t for t in range(frames)], objects, size


def masks_of(centres, size):
    """The pixels that each patch shows, ``(S, T, H, W)``: every pixel carries its number through the cut."""
    S, T = centres.shape[:2]
    numbers = torch.arange(H * W).view(1, 1, 1, H, W)
    masks = np.zeros((S, T, H * W), dtype=bool)
    for s in range(S):
        for t in range(T):
            masks[s, t, crop_patches(numbers, centres[None, s, None, t], size).flatten().numpy()] = True
    return masks.reshape(S, T, H, W)


def pixels_of(box):
    """The pixels of a box, and the one that holds its middle."""
    top, left, bottom, right = box
    whole, middle = np.zeros((2, H, W), dtype=bool)
    whole[top:bottom, left:right] = True
    middle[(top + bottom) // 2, (left + right) // 2] = True
    return whole, middle


@settings(max_examples=60, deadline=None)
@given(looks())
def test_hits_are_what_the_cut_patches_show(sample):
    """Which pixels of each object, and of its middle, lie in the pixels that were cut."""
    centres, indices, objects, size = sample
    hits, masks = patch_hits(centres, indices, objects, (H, W), size), masks_of(centres, size)
    assert hits.names == tuple(name for name in NAMES if any(name in boxes for boxes in objects.values()))
    for o, name in enumerate(hits.names):
        for t, frame in enumerate(indices):
            box = objects.get(frame, {}).get(name)
            assert hits.known[o, t] == (box is not None)
            if box is None:
                assert not hits.centre[o, :, t].any() and not hits.whole[o, :, t].any()
                continue
            whole, middle = pixels_of(box)
            for s in range(len(centres)):
                assert hits.centre[o, s, t] == (masks[s, t] & middle).any()
                assert hits.whole[o, s, t] == ((masks[s, t] & whole).sum() == whole.sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(looks(), min_size=1, max_size=3))
def test_rates_are_counts_of_pixels_and_frames(samples):
    """Everything counted frame by frame from masks of pixels, of clips with as many looks and one size."""
    size, S = samples[0][3], min(len(centres) for centres, *_ in samples)
    clips = [(centres[:S], indices, objects) for centres, indices, objects, _ in samples]
    if not any(objects for *_, objects in clips):
        with pytest.raises(ValueError, match='no frame of these clips'):
            patch_hit_rate(*zip(*clips, strict=True), (H, W), size)
        return
    rates = patch_hit_rate(*zip(*clips, strict=True), (H, W), size)
    masks = [masks_of(centres, size) for centres, *_ in clips]
    for s in range(S):
        area, centre, union, after_miss, found, clip, throughout = [], [], [], [], [], [], []
        own = {name: ([], []) for name in NAMES}
        for mask, (_, indices, objects) in zip(masks, clips, strict=True):
            if objects:
                clip.append(False)
                throughout.append(True)
            for t, frame in enumerate(indices):
                area.append(mask[: s + 1, t].any(0).mean())
                middles = {name: pixels_of(box)[1] for name, box in objects.get(frame, {}).items()}
                if not middles:
                    continue
                held = {name: (mask[:, t] & middle).any((1, 2)) for name, middle in middles.items()}
                looked = np.array(list(held.values())).any(0)  # (S,)
                centre.append(looked[s])
                union.append(looked[: s + 1].any())
                clip[-1] |= looked[: s + 1].any()
                throughout[-1] &= looked[: s + 1].any()
                found += [one[: s + 1].any() for one in held.values()]
                after_miss += [] if looked[:s].any() else [looked[s]]
                for name, one in held.items():
                    own[name][0].append(one[s])
                    own[name][1].append(one[: s + 1].any())
        assert rates['area'][s] == pytest.approx(np.mean(area))
        assert rates['centre'][s] == pytest.approx(np.mean(centre))
        assert rates['frame'][s] == pytest.approx(np.mean(union))
        assert rates['clip'][s] == pytest.approx(np.mean(clip))
        assert rates['clip_throughout'][s] == pytest.approx(np.mean(throughout))
        assert rates['found'][s] == pytest.approx(np.mean(found))
        assert rates['misses'][s] == len(after_miss)
        expected = np.mean(after_miss) if after_miss else np.nan
        assert rates['after_miss'][s] == pytest.approx(expected, nan_ok=True)
        for name, (each, so_far) in own.items():
            if each:
                assert rates['objects'][name]['centre'][s] == pytest.approx(np.mean(each))
                assert rates['objects'][name]['frame'][s] == pytest.approx(np.mean(so_far))
            else:
                assert name not in rates['objects']


def test_rates_over_clips():
    patch = (4, 4)
    corner = torch.tensor([0.0, 0.0])
    far = torch.tensor([1.0, 1.0])
    # clip 0: found in look 2
    centres = torch.stack(
        [
            torch.stack([torch.stack([far, far]), torch.stack([corner, far])]),
            torch.stack([torch.stack([corner, far]), torch.stack([far, far])]),
        ]
    )  # clip 1: found in look 1
    boxes = {0: {'': (0, 0, 4, 4)}, 1: {'': (1, 1, 6, 6)}}
    rates = patch_hit_rate(centres, [[0, 1], [0, 2]], [boxes, boxes], (H, W), patch)
    # frames with an object: clip 0 has two, clip 1 has one (frame 2 is in no table)
    assert rates == dict(
        centre=pytest.approx([1 / 3, 1 / 3]),
        whole=pytest.approx([1 / 3, 1 / 3]),
        clip=pytest.approx([0.5, 1.0]),
        clip_throughout=pytest.approx([0.5, 0.5]),
        near=pytest.approx([0.0, 0.0]),
        frame=pytest.approx([1 / 3, 2 / 3]),
        after_miss=pytest.approx([1 / 3, 1 / 2]),  # look 1 missed two frames, look 2 holds one of them
        misses=[3, 2],
        found=pytest.approx([1 / 3, 2 / 3]),
        area=pytest.approx([16 / 560, 24 / 560]),  # at two of four frames both looks are at one place
        objects={
            '': dict(
                centre=pytest.approx([1 / 3, 1 / 3]),
                whole=pytest.approx([1 / 3, 1 / 3]),
                frame=pytest.approx([1 / 3, 2 / 3]),
            )
        },
    )


@settings(max_examples=60, deadline=None)
@given(looks())
def test_a_miss_is_near_where_a_patch_of_twice_the_size_would_hold_the_object(sample):
    centres, indices, objects, size = sample
    hits = patch_hits(centres, indices, objects, (H, W), size)
    corners = patch_corners(centres, (H, W), size).floor().numpy()
    for o, name in enumerate(hits.names):
        for t, frame in enumerate(indices):
            box = objects.get(frame, {}).get(name)
            for s in range(len(centres)):
                middles = corners[s, t] + np.asarray(size) / 2
                away = (np.inf, np.inf) if box is None else np.abs((np.add(box[:2], box[2:])) / 2 - middles)
                if np.all(away != size):  # on the edge of it either way is right
                    assert hits.near[o, s, t] == np.all(away < size)
    assert not (hits.centre & ~hits.near).any()


def test_misses_are_near_or_elsewhere():
    boxes = {0: {'': (4, 4, 6, 6)}, 1: {'': (14, 14, 16, 16)}, 2: {'': (0, 0, 2, 2)}}
    rates = patch_hit_rate(torch.zeros(1, 1, 3, 2), [[0, 1, 2]], [boxes], (H, W), (4, 4))
    assert rates['near'] == pytest.approx([1 / 2]) and rates['clip_throughout'] == [0]  # 5, 5 and 15, 15
    hit = patch_hit_rate(torch.zeros(1, 1, 1, 2), [[2]], [boxes], (H, W), (4, 4))
    assert np.isnan(hit['near']).all() and hit['clip_throughout'] == [1]


def test_an_object_that_sticks_out_is_whole_when_all_that_can_be_seen_is_in_the_patch():
    # the second has left the frame
    boxes = {0: {'': (-3.0, -2.0, 3.0, 4.0)}, 1: {'': (H + 1, 0, H + 4, 4)}}
    hits = patch_hits(torch.zeros(1, 2, 2), [0, 1], boxes, (H, W), (5, 5))
    assert hits.known.tolist() == [[True, False]]
    assert hits.whole.tolist() == hits.centre.tolist() == [[[True, False]]]


def test_a_look_that_was_not_taken_holds_and_covers_nothing():
    centres = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[float('nan')] * 2, [1.0, 1.0]]])  # (S, T, 2)
    hits = patch_hits(centres, [0, 1], {0: {'': (0, 0, 2, 2)}}, (H, W), (5, 5))
    assert hits.centre.tolist() == [[[True, False], [False, False]]]
    np.testing.assert_allclose(
        covered_areas(centres, (H, W), (5, 5)), np.array([[25, 25], [25, 50]]) / (H * W)
    )


def test_looks_that_were_not_taken_neither_hit_nor_miss():
    box, nan = {'': (0, 0, 2, 2)}, [float('nan')] * 2
    centres = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]], [nan, [0.0, 0.0], nan]])  # (S, T, 2)
    rates = patch_hit_rate([centres], [[0, 1, 2]], [{0: box, 1: box, 2: box}], (H, W), (5, 5))
    assert rates['centre'] == rates['whole'] == [pytest.approx(1 / 3), 1.0]
    assert rates['objects']['']['centre'] == [pytest.approx(1 / 3), 1.0]
    assert rates['after_miss'][1] == 1.0 and rates['misses'] == [3, 1]
    assert rates['frame'] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    none = torch.full((1, 1, 2), float('nan'))
    assert np.isnan(patch_hit_rate([none], [[0]], [{0: box}], (H, W), (5, 5))['centre']).all()


def test_no_object_at_all_is_an_error():
    with pytest.raises(ValueError, match='no frame of these clips'):
        patch_hit_rate(torch.zeros(1, 1, 1, 2), [[0]], [{}], (H, W), (4, 4))
    with pytest.raises(ValueError, match='same clips'):
        patch_hit_rate(torch.zeros(2, 1, 1, 2), [[0]], [{}], (H, W), (4, 4))
    with pytest.raises(ValueError, match='T=3'):
        patch_hits(torch.zeros(1, 2, 2), [0, 1, 2], {}, (H, W), (4, 4))


def test_read_objects(tmp_path):
    table = tmp_path / 'objects.csv'
    table.write_text('id,frame,x,y,diameter\n7,0,20,10,8\n7,1,21.5,10,8\n8,0,1,2,3\n')
    objects = read_objects(table)
    assert objects['7'] == {0: {'': (6, 16, 14, 24)}, 1: {'': (6, 17.5, 14, 25.5)}}
    assert set(objects) == {'7', '8'}
    table.write_text('id,frame,object,x,y,diameter\n7,0,fig,20,10,8\n7,0,clock,21.5,10,8\n7,3,fig,1,2,2\n')
    assert read_objects(table)['7'] == {
        0: {'fig': (6, 16, 14, 24), 'clock': (6, 17.5, 14, 25.5)},
        3: {'fig': (1, 0, 3, 2)},
    }
    table.write_text('id,frame,x,y\n7,0,20,10\n')
    with pytest.raises(ValueError, match='no column diameter'):
        read_objects(table)
    table.write_text('id,frame,x,y,diameter\n7,0,20,ten,8\n')
    with pytest.raises(ValueError, match='line 2'):
        read_objects(table)
    table.write_text('id,frame,x,y,diameter\n7,0,20,10,8\n7,0,30,10,8\n')
    with pytest.raises(ValueError, match="line 3: frame 0 of 7 has object '' twice"):
        read_objects(table)


def test_boxes_follow_a_resize_and_refuse_a_crop():
    boxes = {3: {'fig': (10, 20, 30, 40), 'clock': (0, 0, 4, 6)}}
    assert scale_boxes(boxes, (240, 320), (120, 160)) == {3: {'fig': (5, 10, 15, 20), 'clock': (0, 0, 2, 3)}}
    assert scale_boxes(boxes, (240, 320), (224, 299))[3]['fig'][0] == pytest.approx(10 * 224 / 240)
    with pytest.raises(ValueError, match='cropped'):
        scale_boxes({}, (240, 320), (224, 224))


@pytest.mark.parametrize(
    'folder, videos, frames, names, size',
    [
        ('turning_camera_ssv2', 1260, 36, {''}, (240, 320)),
        ('two_dials_ssv2', 1008, 24, {'clock', 'compass', 'stopwatch'}, (360, 480)),
    ],
)
def test_real_objects_are_in_their_frames(shared, folder, videos, frames, names, size):
    table = shared / 'data' / folder / 'objects.csv'
    if not table.is_file():
        pytest.skip(f'{table} is not here')
    objects = read_objects(table)
    assert len(objects) == videos and {len(found) for found in objects.values()} == {frames}
    boxes = np.array([box for video in objects.values() for here in video.values() for box in here.values()])
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (middle >= 0).all() and (middle < size).all()
    assert {name for video in objects.values() for here in video.values() for name in here} == names
