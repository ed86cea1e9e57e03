"""Sampling against the published rules, written out slowly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfvideo.data.sampling import (
    STRATEGIES,
    dense_indices,
    multi_view_indices,
    sample_indices,
    spread_indices,
    uniform_indices,
)

LENGTHS = [1, 2, 3, 5, 7, 8, 9, 12, 15, 16, 17, 23, 31, 36, 63, 64, 65, 66, 100, 250, 300]
FRAMES = [1, 3, 8, 16]

totals = st.integers(1, 400)
lengths = st.integers(1, 32)
seeds = st.integers(0, 2**32 - 1)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- the published rules, one frame at a time; `draw(n)` is one random number from 0 to n - 1, `draws(n, k)`
# are k of them


def tsm_sample_indices(total, length, draws):
    """TSM, ops/dataset.py, TSNDataSet._sample_indices with new_length 1, less its start at 1."""
    average_duration = (total - 1 + 1) // length
    if average_duration > 0:
        shifts = draws(average_duration, length)
        return [segment * average_duration + shifts[segment] for segment in range(length)]
    if total > length:
        return sorted(draws(total - 1 + 1, length))
    return [0] * length


def tsm_val_indices(total, length):
    """TSNDataSet._get_val_indices."""
    if total > length + 1 - 1:
        tick = total / float(length)
        return [int(tick / 2.0 + tick * x) for x in range(length)]
    return [0] * length


def tsm_test_indices(total, length, twice=False):
    """TSNDataSet._get_test_indices, and its twice_sample."""
    tick = total / float(length)
    middles = [int(tick / 2.0 + tick * x) for x in range(length)]
    return middles + [int(tick * x) for x in range(length)] if twice else middles


def tsm_dense_train(total, length, draws):
    positions = max(1, 1 + total - 64)
    stride = 64 // length
    start = 0 if positions == 1 else draws(positions - 1, 1)[0]
    return [(x * stride + start) % total for x in range(length)]


def tsm_dense_test(total, length):
    positions = max(1, 1 + total - 64)
    stride = 64 // length
    offsets = []
    for view in range(10):
        start = int(view * (positions - 1) / 9)
        offsets += [(x * stride + start) % total for x in range(length)]
    return offsets


def mmaction2_train(total, clip_len, interval, num_clips, draws):
    """MMAction2 1.2, SampleFrames._get_train_clips and transform, out_of_bound_opt='loop'."""
    ori_clip_len = clip_len * interval
    avg_interval = (total - ori_clip_len + 1) // num_clips
    if avg_interval > 0:
        shifts = draws(avg_interval, num_clips)
        offsets = [clip * avg_interval + shifts[clip] for clip in range(num_clips)]
    elif total > max(num_clips, ori_clip_len):
        offsets = sorted(draws(total - ori_clip_len + 1, num_clips))
    elif avg_interval == 0:
        ratio = (total - ori_clip_len + 1.0) / num_clips
        offsets = [round(clip * ratio) for clip in range(num_clips)]  # half to even, as numpy's around
    else:
        offsets = [0] * num_clips
    return [int(offset + x * interval) % total for offset in offsets for x in range(clip_len)]


def mmaction2_test(total, clip_len, interval, num_clips, twice=False, beyond='loop'):
    """SampleFrames._get_test_clips and transform."""
    if clip_len == 1:
        avg_interval = total / float(num_clips)
        offsets = [clip * avg_interval + avg_interval / 2.0 for clip in range(num_clips)]
        if twice:
            offsets += [clip * avg_interval for clip in range(num_clips)]
    elif num_clips > 1:
        max_offset = max(total - ((clip_len - 1) * interval + 1), 0)
        offsets = [round(clip * (max_offset / float(num_clips - 1))) for clip in range(num_clips)]
    else:
        offsets = [max(total - ((clip_len - 1) * interval + 1), 0) // 2]
    indices = []
    for offset in offsets:
        clip = [int(offset + x * interval) for x in range(clip_len)]
        last = max([index for index in clip if index < total], default=0)
        indices += [
            index if index < total else (index % total if beyond == 'loop' else last) for index in clip
        ]
    return indices


def mmaction2_uniform(total, clip_len, num_clips=None, draw_between=None):
    """MMAction2 1.2, UniformSample._get_sample_clips: random if draw_between is given."""
    seg_size = float(total - 1) / clip_len
    starts = [round(seg_size * x) for x in range(clip_len)]
    if draw_between:
        return draw_between(starts, [round(seg_size * (x + 1)) for x in range(clip_len)])
    duration = seg_size / (num_clips + 1)
    return [start + int(duration * (view + 1)) for view in range(num_clips) for start in starts]


def drawn_by(seed):
    rng = generator(seed)
    return lambda below, count: rng.integers(below, size=count).tolist()


def flat(indices: np.ndarray) -> list[int]:
    assert indices.dtype == np.int64 and indices.ndim == 2
    return indices.reshape(-1).tolist()


# ---- equality over the table


@pytest.mark.parametrize('length', FRAMES)
@pytest.mark.parametrize('total', LENGTHS)
def test_equals_tsm(total, length):
    assert flat(spread_indices(total, length, mode='train', rng=generator(5))) == tsm_sample_indices(
        total, length, drawn_by(5)
    )
    assert flat(spread_indices(total, length, mode='val')) == tsm_val_indices(total, length)
    assert flat(spread_indices(total, length)) == tsm_test_indices(total, length)
    twice = spread_indices(total, length, mode='twice')
    assert twice.shape == (2, length) and flat(twice) == tsm_test_indices(total, length, twice=True)
    assert flat(dense_indices(total, length, mode='train', rng=generator(5))) == tsm_dense_train(
        total, length, drawn_by(5)
    )
    dense = dense_indices(total, length)
    assert dense.shape == (10, length) and flat(dense) == tsm_dense_test(total, length)


@pytest.mark.parametrize('length', FRAMES)
@pytest.mark.parametrize('total', LENGTHS)
def test_equals_mmaction2(total, length):
    train = spread_indices(total, length, mode='train', rule='mmaction2', rng=generator(5))
    assert flat(train) == mmaction2_train(total, 1, 1, length, drawn_by(5))
    assert flat(spread_indices(total, length, rule='mmaction2')) == mmaction2_test(total, 1, 1, length)
    assert flat(spread_indices(total, length, rule='mmaction2', mode='val')) == mmaction2_test(
        total, 1, 1, length
    )
    assert flat(spread_indices(total, length, rule='mmaction2', mode='twice')) == mmaction2_test(
        total, 1, 1, length, twice=True
    )


@pytest.mark.parametrize('interval', [1, 2, 8])
@pytest.mark.parametrize('views', [1, 2, 10])
@pytest.mark.parametrize('length', FRAMES)
def test_multi_view_equals_mmaction2(length, views, interval):
    for total in LENGTHS:
        train = multi_view_indices(
            total, length, mode='train', views=views, interval=interval, rng=generator(5)
        )
        assert flat(train) == mmaction2_train(total, length, interval, views, drawn_by(5)), total
        for beyond in ('loop', 'repeat_last'):
            test = multi_view_indices(total, length, views=views, interval=interval, beyond=beyond)
            assert test.shape == (views, length)
            assert flat(test) == mmaction2_test(total, length, interval, views, beyond=beyond), (
                total,
                beyond,
            )


@pytest.mark.parametrize('length', FRAMES)
def test_uniform_equals_mmaction2(length):
    def draw_between(low, high):
        return generator(5).integers(low, high, endpoint=True).tolist()

    for total in LENGTHS:
        for views in (1, 2, 5):
            assert flat(uniform_indices(total, length, views=views)) == mmaction2_uniform(
                total, length, views
            ), (total, views)
        train = uniform_indices(total, length, mode='train', rng=generator(5))
        assert flat(train) == mmaction2_uniform(total, length, draw_between=draw_between), total


# ---- the table in numbers, so that reference and code cannot err together


@pytest.mark.parametrize(
    ('total', 'options', 'expected'),
    [
        (36, {}, [2, 6, 11, 15, 20, 24, 29, 33]),
        (36, {'mode': 'twice'}, [2, 6, 11, 15, 20, 24, 29, 33, 0, 4, 9, 13, 18, 22, 27, 31]),
        (8, {}, [0, 1, 2, 3, 4, 5, 6, 7]),
        (8, {'mode': 'val'}, [0] * 8),  # TSM's validation needs more than T frames
        (9, {'mode': 'val'}, [0, 1, 2, 3, 5, 6, 7, 8]),
        (3, {}, [0, 0, 0, 1, 1, 2, 2, 2]),
        (1, {}, [0] * 8),
        (3, {'mode': 'train'}, [0] * 8),  # TSM repeats frame 0
        (5, {'mode': 'train', 'rule': 'mmaction2'}, [0, 1, 1, 2, 2, 3, 4, 4]),
        (
            2,
            {'mode': 'train', 'rule': 'mmaction2'},
            [0, 0, 0, 1, 1, 1, 0, 0],
        ),  # rounded up to frame 2, which wraps round
        (3, {'rule': 'mmaction2'}, [0, 0, 0, 1, 1, 2, 2, 2]),
    ],
)
def test_spread_by_hand(total, options, expected):
    assert flat(spread_indices(total, 8, rng=generator(), **options)) == expected


def test_others_by_hand():
    assert flat(dense_indices(64, 8, views=1)) == [0, 8, 16, 24, 32, 40, 48, 56]
    assert flat(dense_indices(20, 8, views=1)) == [0, 8, 16, 4, 12, 0, 8, 16]
    assert flat(uniform_indices(33, 4)) == [4, 12, 20, 28]
    assert flat(uniform_indices(3, 8)) == [0, 0, 0, 1, 1, 1, 2, 2]
    assert flat(multi_view_indices(10, 4, views=3)) == [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9]
    assert flat(multi_view_indices(3, 4)) == [0, 1, 2, 0]
    assert flat(multi_view_indices(3, 4, beyond='repeat_last')) == [0, 1, 2, 2]


# ---- properties


@given(
    totals,
    lengths,
    seeds,
    st.sampled_from(['train', 'val', 'test', 'twice']),
    st.sampled_from(['tsm', 'mmaction2']),
)
def test_spread_is_in_range(total, length, seed, mode, rule):
    indices = spread_indices(total, length, mode=mode, rule=rule, rng=generator(seed))
    assert indices.shape == (2 if mode == 'twice' else 1, length)
    assert indices.min() >= 0 and indices.max() < total
    if rule == 'tsm' or total >= length or mode != 'train':
        assert (np.diff(indices, axis=1) >= 0).all()
    if total >= length and mode in ('train', 'test'):
        assert (np.diff(indices, axis=1) > 0).all()  # no frame twice while there are enough


@given(totals, lengths, seeds)
def test_random_frames_stay_in_their_segments(total, length, seed):
    indices = spread_indices(total, length, mode='train', rng=generator(seed))[0]
    if total >= length:
        assert (indices // (total // length) == np.arange(length)).all()


@given(totals, st.integers(1, 64), seeds, st.integers(1, 12))
def test_dense_keeps_its_stride(total, length, seed, views):
    for indices in (
        dense_indices(total, length, mode='train', rng=generator(seed)),
        dense_indices(total, length, views=views),
    ):
        assert indices.min() >= 0 and indices.max() < total
        assert ((np.diff(indices, axis=1) - 64 // length) % total == 0).all()


@given(totals, lengths, seeds, st.integers(1, 8))
def test_uniform_is_sorted_and_in_range(total, length, seed, views):
    for indices in (
        uniform_indices(total, length, mode='train', rng=generator(seed)),
        uniform_indices(total, length, views=views),
    ):
        assert indices.min() >= 0 and indices.max() < total
        assert (np.diff(indices, axis=1) >= 0).all()


@given(
    totals,
    lengths,
    seeds,
    st.integers(1, 8),
    st.integers(1, 9),
    st.sampled_from(['train', 'test']),
    st.sampled_from(['loop', 'repeat_last']),
)
def test_multi_view_is_in_range(total, length, seed, views, interval, mode, beyond):
    indices = multi_view_indices(
        total, length, mode=mode, views=views, interval=interval, beyond=beyond, rng=generator(seed)
    )
    assert indices.shape == (views, length)
    assert indices.min() >= 0 and indices.max() < total
    if total > max(views, length * interval):  # shorter videos repeat frames, and may wrap round
        assert (np.diff(indices, axis=1) == interval).all() and (np.diff(indices[:, 0]) >= 0).all()


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_same_seed_same_frames(strategy):
    first, second, other = (
        sample_indices(strategy, 300, 8, mode='train', rng=generator(seed)) for seed in (3, 3, 4)
    )
    assert (first == second).all() and (first != other).any()


# ---- errors


@pytest.mark.parametrize('strategy', STRATEGIES)
@pytest.mark.parametrize('total', [0, -1])
def test_no_frames(strategy, total):
    with pytest.raises(ValueError, match=f'{total} frames'):
        sample_indices(strategy, total, 8)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: sample_indices('sparse', 10, 8), "'sparse'.*'segment'"),
        (lambda: spread_indices(10, 8, rule='tsn'), "'tsn'.*'tsm', 'mmaction2'"),
        (lambda: spread_indices(10, 8, mode='testing'), "'testing'.*'twice'"),
        (lambda: uniform_indices(10, 8, mode='twice'), "'twice'"),
        (lambda: multi_view_indices(10, 8, beyond='wrap'), "'wrap'.*'loop'"),
        (lambda: spread_indices(10, 0), 'num_frames is 0'),
        (lambda: uniform_indices(10, 8, views=0), 'views is 0'),
        (lambda: multi_view_indices(10, 8, interval=0), 'interval is 0'),
        (lambda: dense_indices(100, 65), '65 frames in a span of 64'),
        *(
            (lambda strategy=strategy: sample_indices(strategy, 100, 8, mode='train'), 'rng')
            for strategy in STRATEGIES
        ),
    ],
)
def test_errors_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
