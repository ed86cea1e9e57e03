from __future__ import annotations

import math

import av
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvideo.data import transforms as T
from gfvideo.data.dataset import build_pipeline, describe_clip
from gfvideo.data.readers import VideoError
from gfvideo.data.sampling import sample_indices
from gfvideo.registry import TRANSFORMS
from gfvideo.structures import ClipSample


def places(count=2, height=40, width=60):
    """Frames whose pixels say where they are: (row, column, frame)."""
    frame, row, column = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing='ij')
    return np.stack([row, column, frame], axis=-1).astype(np.uint8)


def noise(count=3, height=24, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def results(frames=None, seed=0, **more):
    base = {
        'path': 'x.mp4',
        'kind': 'video',
        'video_id': 'x',
        'label': 1,
        'total_frames': 30,
        'frame_template': '{:05d}.jpg',
        'start_index': 1,
        'rng': np.random.default_rng(seed),
        'num_views': 1,
    }
    if frames is not None:
        base |= {'frames': frames, 'frame_size': frames.shape[1:3], 'frame_indices': np.arange(len(frames))}
    return {**base, **more}


def write_video(path, count=6, height=32, width=48):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libvpx-vp9', rate=12)
        stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
        stream.options = {'deadline': 'realtime', 'cpu-used': '8', 'crf': '10', 'b': '0'}
        for i in range(count):
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(
                        np.full((height, width, 3), 20 + 35 * i, np.uint8), format='rgb24'
                    )
                )
            )
        container.mux(stream.encode())


def test_every_transform_is_registered():
    for name in (
        'SampleFrames',
        'DecodeFrames',
        'ResizeShortSide',
        'Resize',
        'MultiScaleCrop',
        'RandomCrop',
        'RandomResizedCrop',
        'CentreCrop',
        'ThreeCrop',
        'Flip',
        'ColourJitter',
        'PackClip',
    ):
        assert TRANSFORMS.get(name) is getattr(T, name)


# ---- sample


@pytest.mark.parametrize(
    ('config', 'strategy', 'options', 'views'),
    [
        ({'num_frames': 8}, 'segment', {'mode': 'train'}, 1),
        ({'num_frames': 8, 'test_mode': True}, 'segment', {'mode': 'test'}, 1),
        (
            {'num_frames': 4, 'test_mode': True, 'views': 2, 'rule': 'mmaction2'},
            'segment',
            {'mode': 'twice', 'rule': 'mmaction2'},
            2,
        ),
        ({'num_frames': 8, 'strategy': 'dense', 'span': 16}, 'dense', {'mode': 'train', 'span': 16}, 1),
        (
            {'num_frames': 8, 'strategy': 'dense', 'views': 3, 'test_mode': True},
            'dense',
            {'mode': 'test', 'views': 3},
            3,
        ),
        ({'num_frames': 8, 'strategy': 'uniform'}, 'uniform', {'mode': 'train'}, 1),
        (
            {'num_frames': 8, 'strategy': 'uniform', 'views': 5, 'test_mode': True},
            'uniform',
            {'mode': 'test', 'views': 5},
            5,
        ),
        (
            {'num_frames': 8, 'strategy': 'multi_view', 'views': 4, 'test_mode': True, 'interval': 2},
            'multi_view',
            {'mode': 'test', 'views': 4, 'interval': 2},
            4,
        ),
    ],
)
@pytest.mark.parametrize('total', [1, 5, 8, 30, 300])
def test_sample_frames(config, strategy, options, views, total):
    out = T.SampleFrames(**config)(results(seed=7, total_frames=total))
    expected = sample_indices(strategy, total, config['num_frames'], rng=np.random.default_rng(7), **options)
    assert out['num_views'] == views
    np.testing.assert_array_equal(out['frame_indices'], expected.reshape(-1))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'num_frames': 0}, 'num_frames is 0'),
        ({'num_frames': 2.5}, 'num_frames is 2.5'),
        ({'frames': 0}, '^frames is 0'),
        ({'frames': None}, 'frames=None stands for num_frames at the root of the config'),
        ({'num_frames': None, 'frames': None}, 'num_frames and frames=None stands for'),
        ({'num_frames': 8, 'frames': 8}, 'num_frames is 8 and frames is 8: .* give num_frames alone'),
        ({'views': 0}, 'views is 0'),
        ({'views': 2}, 'views are for testing'),
        ({'views': 3, 'test_mode': True}, "'segment' has 1 or 2 views"),
        ({'strategy': 'sparse'}, "'sparse'"),
        ({'rule': 'nobody'}, "'nobody'"),
        ({'frames': 65, 'strategy': 'dense'}, 'span'),
    ],
)
def test_sample_frames_refuses(config, message):
    with pytest.raises(ValueError, match=message):
        T.SampleFrames(**config)


@pytest.mark.parametrize('config', [{'num_frames': 3}, {'frames': 3}, {}])
def test_the_number_of_frames_has_two_names(config):
    sample = T.SampleFrames(**config, test_mode=True)
    count = 3 if config else 8
    assert sample.num_frames == count and len(sample(results(total_frames=30))['frame_indices']) == count


def test_sample_frames_refuses_unknown_options():
    with pytest.raises(TypeError, match='stride'):
        T.SampleFrames(stride=3)


# ---- decode


@pytest.mark.parametrize('total', [6, None])
def test_decode_video(tmp_path, total):
    write_video(tmp_path / 'v.webm')
    out = results(path=str(tmp_path / 'v.webm'), total_frames=total)
    out = T.DecodeFrames()(T.SampleFrames(frames=3, test_mode=True)(out))
    assert out['total_frames'] == 6
    assert out['frame_indices'].tolist() == [1, 3, 5]
    assert out['frame_size'] == (32, 48)
    assert out['frames'].shape == (3, 32, 48, 3)
    np.testing.assert_allclose(out['frames'].mean((1, 2, 3)), [55, 125, 195], atol=4)


def test_decode_folder(tmp_path):
    for i in range(5):
        cv2.imwrite(str(tmp_path / f'img_{i:03d}.png'), np.full((8, 10, 3), (10 * i, 100, 200), np.uint8))
    for total in (5, None):
        out = results(
            path=str(tmp_path),
            kind='frames',
            total_frames=total,
            frame_template='img_{:03d}.png',
            start_index=0,
        )
        out = T.DecodeFrames()(T.SampleFrames(frames=5, test_mode=True)(out))
        np.testing.assert_array_equal(out['frames'][:, 0, 0], [(200, 100, 10 * i) for i in range(5)])


def test_decode_says_when_the_video_is_shorter_than_told(tmp_path):
    write_video(tmp_path / 'v.webm')
    out = T.SampleFrames(frames=3, test_mode=True)(results(path=str(tmp_path / 'v.webm'), total_frames=60))
    with pytest.raises(
        VideoError, match=r'v\.webm: it has fewer frames than the 60 .* prepare the dataset again'
    ):
        T.DecodeFrames()(out)


def test_decode_missing_file(tmp_path):
    for total in (6, None):
        with pytest.raises(VideoError, match='none.webm'):
            T.DecodeFrames()(
                T.SampleFrames(frames=3, test_mode=True)(
                    results(path=str(tmp_path / 'none.webm'), total_frames=total)
                )
            )


# ---- resize


def slow_bilinear(image, size):
    """Half-pixel centres, edges repeated, in floating point."""
    out = np.empty((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            v = min(max((y + 0.5) * image.shape[0] / size[0] - 0.5, 0), image.shape[0] - 1)
            u = min(max((x + 0.5) * image.shape[1] / size[1] - 0.5, 0), image.shape[1] - 1)
            v0, u0 = int(v), int(u)
            v1, u1 = min(v0 + 1, image.shape[0] - 1), min(u0 + 1, image.shape[1] - 1)
            top = image[v0, u0] * (1 - u + u0) + image[v0, u1] * (u - u0)
            out[y, x] = top * (1 - v + v0) + (image[v1, u0] * (1 - u + u0) + image[v1, u1] * (u - u0)) * (
                v - v0
            )
    return out


@pytest.mark.parametrize('size', [(12, 16), (30, 20), (7, 45), (24, 32)])
def test_resize_is_bilinear(size):
    frames = noise()
    out = T.Resize(size)(results(frames))['frames']
    assert out.shape == (3, *size, 3)
    assert out.dtype == np.uint8
    for frame, got in zip(frames, out, strict=True):
        np.testing.assert_allclose(got, slow_bilinear(frame.astype(float), size), atol=1.01)


@pytest.mark.parametrize(
    ('size', 'short', 'expected'),
    [
        ((24, 32), 12, (12, 16)),
        ((32, 24), 12, (16, 12)),
        ((240, 427), 112, (112, 199)),
        ((10, 10), 7, (7, 7)),
        ((24, 32), 24, (24, 32)),
    ],
)
def test_resize_short_side(size, short, expected):
    frames = noise(2, *size)
    out = T.ResizeShortSide(short)(results(frames))['frames']
    assert out.shape[1:3] == expected
    np.testing.assert_array_equal(out, T.Resize(expected)(results(frames))['frames'])


def test_resize_short_side_jitters_in_range_and_by_rng():
    transform = T.ResizeShortSide((10, 14))
    sides = [min(transform(results(noise(1), seed=seed))['frames'].shape[1:3]) for seed in range(60)]
    assert set(sides) == {10, 11, 12, 13, 14}
    assert sides[:5] == [
        min(transform(results(noise(1), seed=seed))['frames'].shape[1:3]) for seed in range(5)
    ]


# ---- crops

TSN_POSITIONS = {
    (0, 0),
    (0, 40),
    (20, 0),
    (20, 40),
    (10, 20),  # corners, centre: (top, left)
    (10, 0),
    (10, 40),
    (20, 20),
    (0, 20),
    (5, 10),
    (5, 30),
    (15, 10),
    (15, 30),
}  # the eight between, for a room of 20 x 40


@pytest.mark.parametrize(
    ('positions', 'expected'), [(13, TSN_POSITIONS), (5, {(0, 0), (0, 40), (20, 0), (20, 40), (10, 20)})]
)
def test_multi_scale_crop_positions(positions, expected):
    transform, seen = T.MultiScaleCrop(20, scales=(0.5,), positions=positions), set()
    for seed in range(150):
        out = transform(results(places(), seed=seed))['frames']
        top, left = map(int, out[0, 0, 0, :2])
        np.testing.assert_array_equal(out, places()[:, top : top + 20, left : left + 20])
        seen.add((top, left))
    assert seen == expected


def test_multi_scale_crop_anywhere():
    transform = T.MultiScaleCrop(20, scales=(0.5,), positions='random')
    corners = np.array(
        [transform(results(places(1), seed=seed))['frames'][0, 0, 0, :2] for seed in range(300)]
    )
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [20, 40]
    assert len(set(map(tuple, corners))) > 200


def test_multi_scale_crop_sizes():
    """TSN: short side times two scales at most one apart, snapped to the wanted size within 3 pixels."""
    transform = T.MultiScaleCrop((224, 224))
    sides = [256, 224, 192, 168]  # of 256: 1, .875, .75, .66
    expected = {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    assert {transform.crop_size((256, 340), pair) for pair in transform.pairs} == expected
    assert T.MultiScaleCrop(224).crop_size((258, 340), (1, 1)) == (224, 224)  # 225 snaps
    assert T.MultiScaleCrop(224).crop_size((260, 340), (1, 1)) == (227, 227)  # 227 does not
    # never beyond the frame
    assert T.MultiScaleCrop(224, scales=(1,)).crop_size((222, 300), (0, 0)) == (222, 224)


@pytest.mark.parametrize('seed', range(8))
def test_multi_scale_crop_result_is_one_of_the_crops_resized(seed):
    frames = noise(2, 40, 60, seed)
    transform = T.MultiScaleCrop(16)
    candidates = []
    for pair in transform.pairs:
        h, w = transform.crop_size((40, 60), pair)
        for down, across in transform.quarters:
            top, left = (40 - h) // 4 * down, (60 - w) // 4 * across
            candidates.append(
                np.stack(
                    [cv2.resize(frame[top : top + h, left : left + w].copy(), (16, 16)) for frame in frames]
                )
            )
    out = transform(results(frames, seed=seed))['frames']
    assert any(np.array_equal(out, candidate) for candidate in candidates)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 99))
def test_random_resized_crop_box(height, width, seed):
    transform = T.RandomResizedCrop(8, area=(0.2, 0.9), ratio=(0.5, 2.0))
    top, left, h, w = transform.box(height, width, np.random.default_rng(seed))
    assert 0 <= top <= height - h
    assert 0 <= left <= width - w
    assert h > 0
    assert w > 0
    # rounding is small, and the fallback is the whole frame
    if min(height, width) >= 50 and 0.5 <= width / height <= 2:
        whole = (h, w) == (height, width)
        assert whole or 0.2 * 0.9 <= h * w / (height * width) <= 0.9 * 1.1
        assert 0.5 * 0.9 <= w / h <= 2 * 1.1


def test_random_resized_crop_falls_back_to_the_centre():
    # a square of the whole area never fits in a wide frame
    transform = T.RandomResizedCrop(8, area=(1, 1), ratio=(1, 1))
    assert transform.box(40, 100, np.random.default_rng(0)) == (0, 30, 40, 40)
    assert transform.box(100, 40, np.random.default_rng(0)) == (30, 0, 40, 40)


def test_random_resized_crop_covers_the_range():
    transform = T.RandomResizedCrop(8)
    boxes = np.array([transform.box(200, 200, np.random.default_rng(seed)) for seed in range(400)])
    areas, ratios = boxes[:, 2] * boxes[:, 3] / 200**2, boxes[:, 3] / boxes[:, 2]
    assert areas.min() < 0.12
    assert areas.max() > 0.85
    assert abs(np.log(ratios).mean()) < 0.05
    assert ratios.min() < 0.78
    assert ratios.max() > 1.28


def test_random_resized_crop_takes_the_drawn_box():
    transform, frames = T.RandomResizedCrop((8, 12)), noise(2, 40, 60)
    top, left, h, w = transform.box(40, 60, np.random.default_rng(5))
    expected = np.stack(
        [cv2.resize(frame[top : top + h, left : left + w].copy(), (12, 8)) for frame in frames]
    )
    np.testing.assert_array_equal(transform(results(frames, seed=5))['frames'], expected)


def test_random_crop_cuts_one_box_and_reaches_every_place():
    frames, seen = places(3, 6, 8), set()
    for seed in range(200):
        out = T.RandomCrop((4, 5))(results(frames, seed=seed))['frames']
        top, left = (int(x) for x in out[0, 0, 0, :2])  # places() paints its row and column into every pixel
        np.testing.assert_array_equal(out, frames[:, top : top + 4, left : left + 5])
        seen.add((top, left))
    assert seen == {(top, left) for top in range(3) for left in range(4)}


@pytest.mark.parametrize(
    ('size', 'top', 'left'), [((20, 20), 10, 20), (40, 0, 10), ((39, 59), 0, 0), ((40, 60), 0, 0)]
)
def test_centre_crop(size, top, left):
    out = T.CentreCrop(size)(results(places()))['frames']
    h, w = (size, size) if isinstance(size, int) else size
    np.testing.assert_array_equal(out, places()[:, top : top + h, left : left + w])


@pytest.mark.parametrize(
    ('height', 'width', 'corners'),
    [
        (20, 60, [(0, 0), (0, 20), (0, 40)]),
        (60, 20, [(0, 0), (20, 0), (40, 0)]),
        (20, 25, [(0, 0), (0, 2), (0, 5)]),
        (24, 60, [(2, 0), (2, 20), (2, 40)]),
    ],
)
def test_three_crop(height, width, corners):
    frames = places(4, height, width)  # V = 2 views of T = 2 frames
    out = T.ThreeCrop(20)(results(frames, num_views=2))
    expected = [frames[:, top : top + 20, left : left + 20] for top, left in corners]
    np.testing.assert_array_equal(out['frames'], np.concatenate(expected))
    assert out['num_views'] == 6
    packed = T.PackClip()(out)['inputs']  # (6, 2, 3, 20, 20)
    assert packed.shape == (6, 2, 3, 20, 20)
    assert packed[:, :, 2, 0, 0].tolist() == [[0, 1], [2, 3]] * 3  # every view keeps its own frames
    assert [tuple(view[0, :2, 0, 0].tolist()) for view in packed[::2]] == corners


@pytest.mark.parametrize('crop', [T.CentreCrop(41), T.RandomCrop(41), T.ThreeCrop((20, 61))])
def test_crops_larger_than_the_frame_are_refused(crop):
    with pytest.raises(
        ValueError, match=r'does not fit in the frames of x\.mp4, \(40, 60\).*ResizeShortSide'
    ):
        crop(results(places()))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: T.Resize(0), 'size is 0'),
        (lambda: T.Resize((1, 2, 3)), r'size is \(1, 2, 3\)'),
        (lambda: T.CentreCrop('12'), "size is '12'"),
        (lambda: T.CentreCrop((4, 2.0)), 'size is 2.0'),
        (lambda: T.ResizeShortSide(0), 'short is 0'),
        (lambda: T.ResizeShortSide((8, 4)), 'upper end of short is 4'),
        (lambda: T.MultiScaleCrop(8, scales=()), r'scales is \(\)'),
        (lambda: T.MultiScaleCrop(8, scales=(1, 1.2)), 'scales'),
        (lambda: T.MultiScaleCrop(8, positions=4), 'positions is 4'),
        (lambda: T.MultiScaleCrop(8, max_distort=-1), 'max_distort is -1'),
        (lambda: T.RandomResizedCrop(8, area=(0.5, 0.2)), 'area is'),
        (lambda: T.RandomResizedCrop(8, ratio=(0, 1)), 'ratio is'),
        (lambda: T.Flip(1.5), 'prob is 1.5'),
        (lambda: T.Flip(None), 'prob=None stands for flip at the root of the config'),
        (lambda: T.Flip(label_map='ucf'), "label_map is 'ucf'"),
        (lambda: T.Flip(label_map={1: 2, 2: 3}), 'changes class 2 into'),
        (lambda: T.Flip(label_map={1: 'a'}), 'by number or all by name'),
        (lambda: T.ColourJitter(brightness=-1), 'brightness is -1'),
        (lambda: T.ColourJitter(hue=0.6), 'hue is 0.6'),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- flip


def test_flip_mirrors_every_frame():
    out = T.Flip(prob=1)(results(places()))
    np.testing.assert_array_equal(out['frames'], places()[:, :, ::-1])
    assert out['label'] == 1
    np.testing.assert_array_equal(T.Flip(prob=0)(results(places()))['frames'], places())


def test_flip_of_a_cropped_view():
    out = T.Flip(prob=1)(T.CentreCrop((20, 30))(results(places())))
    np.testing.assert_array_equal(out['frames'], places()[:, 10:30, 15:45][:, :, ::-1])


def test_flip_probability():
    flips = [
        T.Flip(prob=0.3)(results(places(1, 2, 3), seed=seed))['frames'][0, 0, 0, 1] == 2
        for seed in range(1000)
    ]
    assert 0.25 < np.mean(flips) < 0.35


def test_flip_swaps_the_classes_of_something_something_v2():
    flip = T.Flip(prob=1, label_map='something-something-v2')
    classes = [f'class {i}' for i in range(174)]
    swapped = {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}
    for label in range(174):
        assert flip(results(places(1), label=label, classes=classes))['label'] == swapped.get(label, label)
    assert T.Flip(prob=0, label_map='something-something-v2')(results(places(1), label=86))['label'] == 86


def test_flip_refuses_a_map_of_another_dataset():
    with pytest.raises(ValueError, match='swaps class 167, the dataset has 12 classes'):
        T.Flip(prob=1, label_map='something-something-v2')(results(places(1), classes=['c'] * 12))


@pytest.mark.parametrize('order', [1, -1])
def test_flip_by_name_holds_in_every_label_order(order):
    pairs = {
        'Sliding Two Fingers Left': 'Sliding Two Fingers Right',
        'Swiping Left': 'Swiping Right',
        'Turning Hand Clockwise': 'Turning Hand Counterclockwise',
    }
    classes = [*pairs, *pairs.values(), 'Stop Sign', 'Swiping Up'][::order]
    flip = T.Flip(prob=1, label_map='jester')
    for label, name in enumerate(classes):
        mirrored = {**pairs, **{other: one for one, other in pairs.items()}}.get(name, name)
        assert classes[flip(results(places(1), label=label, classes=classes))['label']] == mirrored
    with pytest.raises(ValueError, match='gives no class names'):
        flip(results(places(1)))
    with pytest.raises(ValueError, match="'Sliding Two Fingers Left'.*does not have"):
        flip(results(places(1), classes=['a', 'b']))


def test_flip_without_a_map_leaves_directions_alone():
    classes = ['Turning the camera left while filming a clock', 'Sitting']
    assert np.array_equal(T.Flip(prob=1)(results(places(), classes=classes))['frames'], places())
    assert not np.array_equal(
        T.Flip(prob=1, label_map={})(results(places(), classes=classes))['frames'], places()
    )
    assert not np.array_equal(
        T.Flip(prob=1)(results(places(), classes=['Pouring leftovers', 'Copyright']))['frames'], places()
    )


class Mirrored(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, number):
        T.Flip(prob=1)(results(places(), classes=['Swiping left']))
        return number


def test_one_of_several_readers_says_so(capfd):
    from torch.utils.data import DataLoader

    list(DataLoader(Mirrored(), batch_size=1, num_workers=3, multiprocessing_context='spawn'))
    said = capfd.readouterr()
    assert (said.out + said.err).count('Flip mirrors nothing') == 1


def test_flip_without_a_label():
    unlabelled = results(places(1), label=None)
    assert T.Flip(prob=1, label_map={1: 2})(unlabelled)['label'] is None


# ---- colour


def slow_jitter(frames, brightness, contrast, saturation):
    """One step after the other, in floating point."""
    x = frames.astype(float) * brightness
    grey = (x @ [0.299, 0.587, 0.114]).mean()
    x = contrast * x + (1 - contrast) * grey
    grey = x @ [0.299, 0.587, 0.114]
    x = saturation * x + (1 - saturation) * grey[..., None]
    return x.clip(0, 255)


@pytest.mark.parametrize('seed', range(10))
def test_colour_jitter(seed):
    frames = noise(2, 6, 7, seed)
    rng = np.random.default_rng(seed)
    factors = [rng.uniform(1 - x, 1 + x) for x in (0.4, 0.3, 0.5)]
    out = T.ColourJitter(0.4, 0.3, 0.5)(results(frames, seed=seed))['frames']
    assert out.dtype == np.uint8
    # rounding; cv2 keeps 10 bits of a factor
    np.testing.assert_allclose(out, slow_jitter(frames, *factors), atol=1)


def test_colour_jitter_of_nothing_changes_nothing():
    np.testing.assert_array_equal(T.ColourJitter()(results(noise()))['frames'], noise())


@pytest.mark.parametrize('seed', range(5))
def test_hue_keeps_brightness_and_greys(seed):
    frames = np.full((1, 2, 2, 3), 90, np.uint8)
    np.testing.assert_allclose(T.ColourJitter(hue=0.5)(results(frames, seed=seed))['frames'], 90, atol=1)
    coloured = np.full((1, 2, 2, 3), (140, 110, 100), np.uint8)
    out = T.ColourJitter(hue=0.5)(results(coloured, seed=seed))['frames'][0, 0, 0]
    np.testing.assert_allclose(
        out @ [0.299, 0.587, 0.114], [140, 110, 100] @ np.array([0.299, 0.587, 0.114]), atol=1.1
    )


def test_hue_of_a_full_turn_is_no_turn():
    transform = T.ColourJitter(hue=0.5)

    class Half:
        def uniform(self, low, high):
            return high if high == 0.5 else 1.0

    twice = transform.matrix(np.zeros(3), Half())[:, :3] @ transform.matrix(np.zeros(3), Half())[:, :3]
    np.testing.assert_allclose(twice, np.eye(3), atol=1e-12)
    assert math.isclose(np.linalg.det(transform.matrix(np.zeros(3), Half())[:, :3]), 1.0)


def test_colour_jitter_of_a_view():
    cut = T.CentreCrop((4, 5))(results(noise(2, 6, 7), seed=3))
    expected = T.ColourJitter(0.4)(results(noise(2, 6, 7)[:, 1:5, 1:6].copy(), seed=3))['frames']
    np.testing.assert_array_equal(T.ColourJitter(0.4)(cut)['frames'], expected)


# ---- pack


@pytest.mark.parametrize('view', [slice(None), slice(3, 20)])
@pytest.mark.parametrize('views', [1, 3])
def test_pack(view, views):
    frames = noise(6)[:, view, view]
    out = T.PackClip()(results(frames, num_views=views, frame_indices=np.arange(6) * 2))
    expected = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2)
    expected = expected if views == 1 else expected.reshape(3, 2, *expected.shape[1:])
    assert torch.equal(out['inputs'], expected)
    assert out['inputs'].is_contiguous()
    assert out['inputs'].dtype == torch.uint8
    sample = out['data_samples']
    assert isinstance(sample, ClipSample)
    assert (sample.video_id, sample.path, sample.total_frames, sample.frame_size) == (
        'x',
        'x.mp4',
        30,
        frames.shape[1:3],
    )
    assert sample.frame_indices == [0, 2, 4, 6, 8, 10]
    assert sample.gt_label.dtype == torch.int64
    assert sample.gt_label.shape == ()
    assert sample.gt_label.item() == 1


def test_pack_without_a_label():
    unlabelled = results(noise())
    del unlabelled['label']
    assert 'gt_label' not in T.PackClip()(unlabelled)['data_samples']


def test_same_random_numbers_same_clip():
    def clip(seed):
        out = results(noise(4, 48, 64), seed=seed)
        for step in (
            T.ResizeShortSide((40, 60)),
            T.RandomResizedCrop(32),
            T.MultiScaleCrop(24),
            T.Flip(),
            T.ColourJitter(0.4, 0.4, 0.4, 0.1),
            T.PackClip(),
        ):
            out = step(out)
        return out['inputs']

    assert torch.equal(clip(1), clip(1))
    assert not torch.equal(clip(1), clip(2))


# ---- frames cut and scaled as they are read


@pytest.mark.parametrize(
    'reframes',
    [
        [dict(type='ResizeShortSide', short=(20, 40)), dict(type='CentreCrop', size=18)],
        [dict(type='ResizeShortSide', short=48), dict(type='RandomCrop', size=(20, 30))],
        [dict(type='MultiScaleCrop', size=24), dict(type='Flip', prob=0.5, label_map={})],
        [dict(type='RandomResizedCrop', size=(16, 24)), dict(type='ColourJitter', brightness=0.4)],
        [dict(type='Resize', size=(30, 40)), dict(type='ThreeCrop', size=30)],
        [dict(type='Flip', prob=1.0, label_map={}), dict(type='CentreCrop', size=18)],
    ],
)
def test_a_pipeline_gives_what_its_steps_give_one_by_one(painted_video, reframes):
    pipeline = build_pipeline(
        [
            dict(type='SampleFrames', num_frames=5, strategy='segment'),
            dict(type='DecodeFrames'),
            *reframes,
            dict(type='PackClip'),
        ]
    )
    path = painted_video(24)
    for seed in range(4):
        made, state = describe_clip(path, seed=seed), describe_clip(path, seed=seed)
        clip = pipeline(made)
        for step in pipeline.steps:
            state = step(state)
        assert torch.equal(clip['inputs'], state['inputs'])
        assert clip['data_samples'].frame_size == state['data_samples'].frame_size == (48, 128)
