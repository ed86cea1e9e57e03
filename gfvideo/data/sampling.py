"""Which frames of a video make a clip: pure functions on integers.

Every function takes the number of frames of a video and the number of frames T of a clip and returns indices
from 0 as an ``int64`` array ``(V, T)``: V views (clips) of T frames, one row a view. Training gives one view.
Flatten it for a reader.

Where the published codes disagree the rule is named: ``'tsm'`` (Lin et al., ICCV 2019, its reference code)
and ``'mmaction2'`` (MMAction2 1.2). Both are kept to the letter, short videos included, so that a recipe from
elsewhere finds the frames it was made with.

What a video with fewer frames than T gives: TSM in training repeats frame 0 and in testing repeats frames
evenly; MMAction2 repeats them nearly evenly (in training a last index that is rounded up wraps round to frame
0, as it does there); dense and multi-view sampling wrap round; uniform sampling repeats frames in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

__all__ = [
    'STRATEGIES',
    'dense_indices',
    'multi_view_indices',
    'sample_indices',
    'spread_indices',
    'uniform_indices',
]

Entry = TypeVar('Entry')


def spread_indices(
    total_frames: int,
    num_frames: int,
    *,
    mode: str = 'test',
    rule: str = 'tsm',
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """One frame out of each of ``num_frames`` equal segments (TSN, Wang et al., ECCV 2016; TSM).

    Args:
        total_frames: frames of the video, at least 1.
        num_frames: T, frames of a clip, at least 1.
        mode: ``'train'`` draws one frame at random in each segment; ``'val'`` and ``'test'`` take the middle
            ones (they differ in TSM alone, where ``'val'`` repeats frame 0 unless the video is longer than
            T); ``'twice'`` gives two views, the middles and the starts of the segments (TSM's and MMAction2's
            ``twice_sample``).
        rule: ``'tsm'`` or ``'mmaction2'`` (``SampleFrames(clip_len=1, num_clips=T)``).
        rng: the source of chance, needed in training only.

    Returns:
        ``(1, T)`` int64 in [0, total_frames), or ``(2, T)`` when ``mode='twice'``.

    Raises:
        ValueError: no frames, no number of frames, or a mode or rule that does not exist.
    """
    _check_counts(total_frames, num_frames)
    rules = _choose(_SPREAD_RULES, rule, 'rule of segment sampling')
    pick = _choose(rules, mode, f'mode of segment sampling by {rule!r}')
    return _rows(pick(total_frames, num_frames, rng), num_frames)


def dense_indices(
    total_frames: int,
    num_frames: int,
    *,
    mode: str = 'test',
    span: int = 64,
    views: int = 10,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """T frames at a fixed stride inside a window of ``span`` frames (I3D's sampling, the same in TSM and
    MMAction2).

    The stride is ``span // T``; a video shorter than the window wraps round. As published, the last possible
    start is never drawn in training.

    Args:
        total_frames: frames of the video, at least 1.
        num_frames: T, from 1 to ``span``.
        mode: ``'train'`` (and TSM's ``'val'``) draws the window's start; ``'test'`` spreads ``views`` starts
            evenly.
        span: frames the window covers.
        views: V, windows in testing.
        rng: the source of chance, needed in training only.

    Returns:
        ``(1, T)`` in training, ``(views, T)`` in testing; int64 in [0, total_frames).

    Raises:
        ValueError: no frames, no number of frames, a T longer than the span, or a mode that does not exist.
    """
    _check_counts(total_frames, num_frames, views)
    if num_frames > span:
        raise ValueError(
            f'dense sampling of {num_frames} frames in a span of {span}: the stride would be 0; give span >='
            f' {num_frames}'
        )
    starts = _choose(_DENSE_STARTS, mode, 'mode of dense sampling')(
        max(1, 1 + total_frames - span), views, rng
    )
    return (starts[:, None] + np.arange(num_frames) * (span // num_frames)) % total_frames  # (V, T)


def uniform_indices(
    total_frames: int,
    num_frames: int,
    *,
    mode: str = 'test',
    views: int = 1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """One frame between each two of T + 1 evenly spaced borders, the first and the last frame being borders
    too.

    The rule of PySlowFast on Something-Something V2 and of MMAction2's ``UniformSample``; short videos repeat
    frames in order.

    Args:
        total_frames: frames of the video, at least 1.
        num_frames: T, at least 1.
        mode: ``'train'`` draws between the borders, both included; ``'val'`` and ``'test'`` give ``views``
            clips, the k-th of them at k / (V + 1) of the way, k = 1..V.
        views: V, clips in testing.
        rng: the source of chance, needed in training only.

    Returns:
        ``(1, T)`` in training, ``(views, T)`` in testing; int64 in [0, total_frames), sorted along T.

    Raises:
        ValueError: no frames, no number of frames, no view, or a mode that does not exist.
    """
    _check_counts(total_frames, num_frames, views)
    return _choose(_UNIFORM_MODES, mode, 'mode of uniform sampling')(total_frames, num_frames, views, rng)


def multi_view_indices(
    total_frames: int,
    num_frames: int,
    *,
    mode: str = 'test',
    views: int = 1,
    interval: int = 1,
    beyond: str = 'loop',
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """V clips of T frames at a fixed interval, spread over the video (MMAction2's
    ``SampleFrames(clip_len=T, num_clips=V)``).

    Args:
        total_frames: frames of the video, at least 1.
        num_frames: T, at least 1; at T = 1 the rule is that of :func:`spread_indices` with V segments.
        mode: ``'train'`` draws the starts, ``'test'`` spreads them evenly from the first frame to the last
            possible start (with one view: in the middle).
        views: V, at least 1.
        interval: frames from one sampled frame to the next.
        beyond: what an index past the end becomes: ``'loop'`` wraps round, ``'repeat_last'`` repeats the
            clip's last frame.
        rng: the source of chance, needed in training only.

    Returns:
        ``(views, T)`` int64 in [0, total_frames).

    Raises:
        ValueError: no frames, number of frames, view or interval, or no such mode or ``beyond``.
    """
    _check_counts(total_frames, num_frames, views, interval)
    if num_frames == 1 and mode in ('val', 'test'):
        starts = _mmaction2_middles(total_frames, views, None)
    else:
        starts = _choose(_VIEW_STARTS, mode, 'mode of multi-view sampling')(
            total_frames, num_frames, views, interval, rng
        )
    indices = starts.astype(np.int64)[:, None] + np.arange(num_frames) * interval  # (V, T)
    return _choose(_BEYOND, beyond, 'way to treat indices past the end')(indices, total_frames)


def sample_indices(strategy: str, total_frames: int, num_frames: int, **options: Any) -> np.ndarray:
    """Indices ``(V, T)`` by the strategy of that name; ``options`` are the keywords of its function.

    ``'segment'``, ``'dense'``, ``'uniform'`` and ``'multi_view'`` name the functions of this module.

    Raises:
        ValueError: a strategy that does not exist, and whatever the function raises.
    """
    return _choose(STRATEGIES, strategy, 'sampling strategy')(total_frames, num_frames, **options)


# ---- segment: TSM


def _tsm_random(total: int, num_frames: int, rng: np.random.Generator | None) -> np.ndarray:
    width = total // num_frames
    if width == 0:
        return np.zeros(num_frames, np.int64)
    return np.arange(num_frames) * width + _need(rng).integers(width, size=num_frames)


def _tsm_middles(total: int, num_frames: int, _rng: object) -> np.ndarray:
    width = total / num_frames
    return (width / 2.0 + width * np.arange(num_frames)).astype(np.int64)


def _tsm_validation(total: int, num_frames: int, rng: object) -> np.ndarray:
    return _tsm_middles(total, num_frames, rng) if total > num_frames else np.zeros(num_frames, np.int64)


def _tsm_twice(total: int, num_frames: int, rng: object) -> np.ndarray:
    starts = (total / num_frames * np.arange(num_frames)).astype(np.int64)
    return np.concatenate([_tsm_middles(total, num_frames, rng), starts])


# ---- segment: MMAction2


def _mmaction2_random(total: int, num_frames: int, rng: np.random.Generator | None) -> np.ndarray:
    return _mmaction2_random_starts(total, 1, num_frames, 1, rng).astype(np.int64) % total


def _mmaction2_middles(total: int, num_frames: int, _rng: object) -> np.ndarray:
    width = total / num_frames
    return (np.arange(num_frames) * width + width / 2.0).astype(np.int64) % total


def _mmaction2_twice(total: int, num_frames: int, rng: object) -> np.ndarray:
    starts = (np.arange(num_frames) * (total / num_frames)).astype(np.int64) % total
    return np.concatenate([_mmaction2_middles(total, num_frames, rng), starts])


# ---- dense


def _dense_random_start(places: int, _views: int, rng: np.random.Generator | None) -> np.ndarray:
    return np.zeros(1, np.int64) if places == 1 else _need(rng).integers(places - 1, size=1)


def _dense_spread_starts(places: int, views: int, _rng: object) -> np.ndarray:
    return np.linspace(0, places - 1, num=views).astype(np.int64)


# ---- uniform


def _uniform_borders(total: int, num_frames: int) -> np.ndarray:
    return np.round(np.arange(num_frames + 1) * ((total - 1) / num_frames)).astype(np.int64)  # (T + 1,)


def _uniform_random(total: int, num_frames: int, _views: int, rng: np.random.Generator | None) -> np.ndarray:
    borders = _uniform_borders(total, num_frames)
    return _need(rng).integers(borders[:-1], borders[1:], endpoint=True)[None]  # (1, T)


def _uniform_spread(total: int, num_frames: int, views: int, _rng: object) -> np.ndarray:
    step = (total - 1) / num_frames / (views + 1)
    offsets = (step * np.arange(1, views + 1)).astype(np.int64)  # (V,)
    return offsets[:, None] + _uniform_borders(total, num_frames)[:-1]  # (V, T)


# ---- multi-view


def _mmaction2_random_starts(
    total: int, num_frames: int, views: int, interval: int, rng: np.random.Generator | None
) -> np.ndarray:
    places = total - num_frames * interval + 1
    width = places // views
    if width > 0:
        return np.arange(views) * width + _need(rng).integers(width, size=views)
    if total > max(views, num_frames * interval):
        return np.sort(_need(rng).integers(places, size=views))
    if width == 0:
        return np.around(np.arange(views) * (places / views))
    return np.zeros(views, np.int64)


def _mmaction2_spread_starts(
    total: int, num_frames: int, views: int, interval: int, _rng: object
) -> np.ndarray:
    last = max(total - ((num_frames - 1) * interval + 1), 0)
    return np.round(np.arange(views) * (last / (views - 1))) if views > 1 else np.array([last // 2])


def _repeat_last(indices: np.ndarray, total: int) -> np.ndarray:
    inside = indices < total
    last = (inside * indices).max(axis=1, keepdims=True)  # (V, 1)
    return np.where(inside, indices, last)


# ---- common


def _rows(indices: np.ndarray, num_frames: int) -> np.ndarray:
    return indices.astype(np.int64).reshape(-1, num_frames)  # (V, T)


def _check_counts(total_frames: int, num_frames: int, views: int = 1, interval: int = 1) -> None:
    if total_frames < 1:
        raise ValueError(
            f'cannot sample from a video with {total_frames} frames; drop it from the list or find out why'
            ' nothing decodes'
        )
    for name, value in (('num_frames', num_frames), ('views', views), ('interval', interval)):
        if value < 1:
            raise ValueError(f'{name} is {value}; it must be at least 1')


def _choose(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    if name not in table:
        raise ValueError(f'no {what} is called {name!r}; there are {", ".join(map(repr, table))}')
    return table[name]


def _need(rng: np.random.Generator | None) -> np.random.Generator:
    if rng is None:
        raise ValueError(
            'random sampling needs rng, a numpy.random.Generator; give rng=numpy.random.default_rng(seed)'
        )
    return rng


_SPREAD_RULES = {
    'tsm': {'train': _tsm_random, 'val': _tsm_validation, 'test': _tsm_middles, 'twice': _tsm_twice},
    'mmaction2': {
        'train': _mmaction2_random,
        'val': _mmaction2_middles,
        'test': _mmaction2_middles,
        'twice': _mmaction2_twice,
    },
}
_DENSE_STARTS = {'train': _dense_random_start, 'val': _dense_random_start, 'test': _dense_spread_starts}
_UNIFORM_MODES = {'train': _uniform_random, 'val': _uniform_spread, 'test': _uniform_spread}
_VIEW_STARTS = {
    'train': _mmaction2_random_starts,
    'val': _mmaction2_spread_starts,
    'test': _mmaction2_spread_starts,
}
_BEYOND: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {'loop': np.mod, 'repeat_last': _repeat_last}

STRATEGIES: dict[str, Callable[..., np.ndarray]] = {
    'segment': spread_indices,
    'dense': dense_indices,
    'uniform': uniform_indices,
    'multi_view': multi_view_indices,
}
