import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.evaluation import patch_hit_rate, patch_hits, read_objects, scale_boxes
from gfvideo.ops import crop_patches

H, W = 20, 28


@st.composite
def looks(draw):
    steps, frames = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    centres = draw(
        st.lists(st.floats(0, 1, width=32), min_size=steps * frames * 2, max_size=steps * frames * 2)
    )
    boxes = {}
    for t in range(frames):
        if draw(st.booleans()):
            top, left = draw(st.integers(0, H - 2)), draw(st.integers(0, W - 2))
            boxes[10 * t] = (top, left, draw(st.integers(top + 1, H)), draw(st.integers(left + 1, W)))
    return torch.tensor(centres).view(steps, frames, 2), [10 * t for t in range(frames)], boxes, size


@settings(max_examples=60, deadline=None)
@given(looks())
def test_hits_are_what_the_cut_patches_show(sample):
    """Paint the object and its middle pixel into empty frames, cut the patches, count."""
    centres, indices, boxes, size = sample
    centre, whole, known = patch_hits(centres, indices, boxes, (H, W), size)
    for t, frame in enumerate(indices):
        assert known[t] == (frame in boxes)
        if frame not in boxes:
            assert not centre[:, t].any() and not whole[:, t].any()
            continue
        top, left, bottom, right = boxes[frame]
        canvas = torch.zeros(1, 1, 2, H, W)
        canvas[0, 0, 0, top:bottom, left:right] = 1
        canvas[0, 0, 1, (top + bottom) // 2, (left + right) // 2] = 1  # the pixel that holds the middle
        for s in range(len(centres)):
            patch = crop_patches(canvas, centres[None, s, None, t], size)[0, 0]
            assert bool(patch[1].any()) == centre[s, t]
            assert bool(patch[0].sum() == (bottom - top) * (right - left)) == whole[s, t]


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
    boxes = {0: (0, 0, 4, 4), 1: (1, 1, 6, 6)}
    rates = patch_hit_rate(centres, [[0, 1], [0, 2]], [boxes, boxes], (H, W), patch)
    # frames with an object: clip 0 has two, clip 1 has one (frame 2 is in no table)
    assert rates == dict(
        centre=pytest.approx([1 / 3, 1 / 3]),
        whole=pytest.approx([1 / 3, 1 / 3]),
        clip=pytest.approx([0.5, 1.0]),
        frame=pytest.approx([1 / 3, 2 / 3]),
        after_miss=pytest.approx([1 / 3, 1 / 2]),  # look 1 missed two frames, look 2 holds one of them
    )


def test_an_object_that_sticks_out_is_whole_when_all_that_can_be_seen_is_in_the_patch():
    boxes = {0: (-3.0, -2.0, 3.0, 4.0), 1: (H + 1, 0, H + 4, 4)}  # the second has left the frame
    centre, whole, known = patch_hits(torch.zeros(1, 2, 2), [0, 1], boxes, (H, W), (5, 5))
    assert (
        known.tolist() == [True, False]
        and whole.tolist() == [[True, False]]
        and centre.tolist() == [[True, False]]
    )


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
    assert objects['7'] == {0: (6, 16, 14, 24), 1: (6, 17.5, 14, 25.5)} and set(objects) == {'7', '8'}
    table.write_text('id,frame,x,y\n7,0,20,10\n')
    with pytest.raises(ValueError, match='no column diameter'):
        read_objects(table)
    table.write_text('id,frame,x,y,diameter\n7,0,20,ten,8\n')
    with pytest.raises(ValueError, match='line 2'):
        read_objects(table)


def test_boxes_follow_a_resize_and_refuse_a_crop():
    assert scale_boxes({3: (10, 20, 30, 40)}, (240, 320), (120, 160)) == {3: (5, 10, 15, 20)}
    assert scale_boxes({3: (10, 20, 30, 40)}, (240, 320), (224, 299))[3][0] == pytest.approx(10 * 224 / 240)
    with pytest.raises(ValueError, match='cropped'):
        scale_boxes({}, (240, 320), (224, 224))


def test_real_objects_are_in_their_frames(shared):
    objects = read_objects(shared / 'data' / 'turning_camera_ssv2' / 'objects.csv')
    boxes = np.array([list(frames.values()) for frames in objects.values()])  # (videos, frames, 4)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    assert boxes.shape == (1260, 36, 4) and (middle >= 0).all() and (middle < (240, 320)).all()
