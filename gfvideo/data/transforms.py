"""The steps from a row of the manifest to a packed clip. Each takes the dict ``results``, changes it in place
and returns it.

What ``results`` holds is told by :class:`~gfvideo.data.results.Results`: :class:`SampleFrames` adds
``frame_indices`` and ``num_views``, :class:`DecodeFrames` adds ``frames`` and ``frame_size``. Sizes are
(height, width) in pixels. Whatever is drawn is drawn once a clip, so all frames are treated alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import EllipsisType
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from einops import rearrange
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from ..registry import TRANSFORMS
from ..structures import ClipSample
from .readers import Make, Reader, VideoError, open_video
from .results import Results
from .sampling import sample_indices

__all__ = [
    'FLIP_LABEL_MAPS',
    'CentreCrop',
    'ColourJitter',
    'DecodeFrames',
    'Flip',
    'MultiScaleCrop',
    'PackClip',
    'RandomCrop',
    'RandomResizedCrop',
    'Reframe',
    'Resize',
    'ResizeShortSide',
    'SampleFrames',
    'ThreeCrop',
    'FrameWindow',
]

# --------------------------------------------------------------------------------------------- sample, decode


@TRANSFORMS.register_module()
class SampleFrames:
    """Choose which frames make the clip; see :mod:`gfvideo.data.sampling` for the rules.

    Args:
        num_frames: T, frames of one view; 8 if it is not given. ``frames`` is another name for it.
        strategy: ``'segment'``, ``'dense'``, ``'uniform'`` or ``'multi_view'``.
        views: V, clips of one video when testing. ``'segment'`` gives 1, or 2 (the middles and the starts of
            the segments).
        test_mode: fixed frames, not random ones.
        reader: reader that counts the frames of a video when ``total_frames`` is unknown.
        **options: further options of the strategy, e.g. ``rule='mmaction2'``, ``span=64``, ``interval=2``.

    Raises:
        ValueError, TypeError: if the sampling function refuses these options.
    """

    def __init__(
        self,
        num_frames: int | None | EllipsisType = ...,
        strategy: str = 'segment',
        views: int = 1,
        test_mode: bool = False,
        reader: str = 'auto',
        *,
        frames: int | None | EllipsisType = ...,
        **options: Any,
    ):
        num_frames = self._said(num_frames, frames)
        _check_at_least('views', views, 1)
        if views > 1 and not test_mode:
            raise ValueError(
                f'views is {views} in training; several views are for testing, set test_mode=True or views=1'
            )
        if strategy == 'segment' and views > 2:
            raise ValueError(
                f"views is {views}; the strategy 'segment' has 1 or 2 views, use 'uniform', 'dense' or"
                " 'multi_view' for more"
            )
        self.num_frames, self.strategy, self.views, self.reader = num_frames, strategy, views, reader
        self.options = {'mode': 'test' if test_mode else 'train', **options}
        if strategy == 'segment' and views == 2:
            self.options['mode'] = 'twice'
        elif strategy != 'segment' and test_mode:
            self.options['views'] = views
        self._indices(
            num_frames, np.random.default_rng(0)
        )  # refuses wrong options now, not in a worker process

    @staticmethod
    def _said(num_frames: int | None | EllipsisType, frames: int | None | EllipsisType) -> int:
        """T, of the two names of it that configs have; 8 if neither is said."""
        said = dict(num_frames=num_frames, frames=frames)
        said = {name: value for name, value in said.items() if value is not ...}
        numbers = {name: value for name, value in said.items() if value is not None}
        if len(numbers) == 2:
            raise ValueError(
                f'num_frames is {num_frames!r} and frames is {frames!r}: two names of one thing; give'
                ' num_frames alone'
            )
        if said and not numbers:
            raise ValueError(
                f'{" and ".join(said)}=None stands for num_frames at the root of the config, and nothing put'
                ' the number there; read the config with gfvideo.engine.load_config, or give the number'
            )
        for name, value in numbers.items():
            _check_at_least(name, value, 1)
            assert isinstance(value, int)
            return value
        return 8

    def _indices(self, total_frames: int, rng: np.random.Generator) -> np.ndarray:
        return sample_indices(self.strategy, total_frames, self.num_frames, rng=rng, **self.options)  # (V, T)

    def __call__(self, results: Results) -> Results:
        cut = results.get('start') is not None or results.get('end') is not None
        if results['total_frames'] is None or cut:
            results['reader'] = _open(results, self.reader)
        if results['total_frames'] is None:
            results['total_frames'] = len(results['reader'])
            if not results['total_frames']:
                raise VideoError(
                    f'{results["path"]}: no frame decodes; drop it from the list', results['path']
                )
        first, stop = _frames_between(results) if cut else (0, results['total_frames'])
        indices = first + self._indices(stop - first, results['rng'])
        results['num_views'] = indices.shape[0]
        results['frame_indices'] = rearrange(indices, 'v t -> (v t)')
        return results


@TRANSFORMS.register_module()
class DecodeFrames:
    """Read the chosen frames.

    Args:
        reader: name of a reader of :mod:`gfvideo.data.readers`; ``'auto'`` takes the fastest that is right.

    Raises (when called):
        VideoError: if the video cannot be read, or has fewer frames than ``total_frames``.
    """

    def __init__(self, reader: str = 'auto'):
        self.reader = reader

    def __call__(self, results: Results, then: Sequence[Reframe] = ()) -> Results:
        """Read, and do what ``then`` does, to every frame as soon as it is read: the results are those of one
        step after the other, without gathering large frames first."""
        reader = results.pop('reader', None) or _open(results, self.reader)
        with reader:
            # (V*T, H, W, 3)
            results['frames'] = _frames(reader, results, _one_frame(then, results) if then else None)
            results['frame_size'] = reader.frame_size
        return results


def _one_frame(steps: Sequence[Reframe], results: Results) -> Make:
    windows: list[FrameWindow] = []  # drawn when the size of a frame is known

    def make(frame: np.ndarray) -> np.ndarray:
        size = frame.shape[:2]
        for step in steps[len(windows) :]:
            windows.append(step.window(size, results))
            size = windows[-1].size
        for window in windows:
            frame = window.of(frame)
        return frame

    return make


def _open(results: Results, reader: str) -> Reader:
    return open_video(
        results['path'], reader=reader, template=results['frame_template'], start=results['start_index']
    )


def _frames_between(results: Results) -> tuple[int, int]:
    """The first frame shown from ``start`` on, and the first one that is not shown before ``end``."""
    start, end = results.get('start') or 0.0, results.get('end')
    times = results['reader'].times()  # (N,) seconds
    first = int(np.searchsorted(times, start))
    stop = len(times) if end is None else int(np.searchsorted(times, end))
    if first >= stop:
        results.pop('reader').close()
        until = 'its end' if end is None else f'{end:g} s'
        raise VideoError(
            f'{results["path"]}: no frame is shown from {start:g} s to {until}, the last one at'
            f' {times[-1]:g} s; correct start and end of its row, or drop it from the list',
            results['path'],
        )
    return first, stop


def _frames(reader: Reader, results: Results, make: Make | None) -> np.ndarray:
    try:
        return reader.get_frames(results['frame_indices'], make)
    except IndexError as error:
        raise VideoError(
            f'{results["path"]}: it has fewer frames than the {results["total_frames"]} that the manifest or'
            ' list says; prepare the dataset again, or correct the list',
            results['path'],
        ) from error


# ---------------------------------------------------------------------------------------------------- reframe


class FrameWindow(NamedTuple):
    """A box of a frame, and the size that it is scaled to (bilinear); all in pixels.

    Attributes:
        top, left: of the box.
        box: its (height, width).
        size: (height, width) of the result.
    """

    top: int
    left: int
    box: tuple[int, int]
    size: tuple[int, int]

    def of(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """``(H, W, 3)`` -> ``(*size, 3)``, in ``out`` if it is given; a view where nothing is scaled."""
        part = frame[self.top : self.top + self.box[0], self.left : self.left + self.box[1]]
        if self.box == self.size:
            return part
        return cv2.resize(part, self.size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


class Reframe:
    """What the steps share that show one window of the frames: the same one of all."""

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        """The window of frames of (H, W); what is left to chance is drawn now."""
        raise NotImplementedError

    def __call__(self, results: Results) -> Results:
        frames = results['frames']  # (N, H, W, 3)
        window = self.window(frames.shape[1:3], results)
        if window.box == window.size:
            # a view, no copy
            results['frames'] = frames[
                :, window.top : window.top + window.box[0], window.left : window.left + window.box[1]
            ]
            return results
        results['frames'] = np.empty((len(frames), *window.size, 3), np.uint8)
        for frame, target in zip(frames, results['frames'], strict=True):
            window.of(frame, target)
        return results


@TRANSFORMS.register_module()
class ResizeShortSide(Reframe):
    """Scale the short side to ``short`` pixels and the long side in proportion, rounded (bilinear).

    Args:
        short: pixels, or ``(least, most)`` to draw the size anew for every clip (the scale jitter of VGG and
            SlowFast).
    """

    def __init__(self, short: int | tuple[int, int]):
        self.least, self.most = (short, short) if isinstance(short, int) else short
        _check_at_least('short', self.least, 1)
        _check_at_least('the upper end of short', self.most, self.least)

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        short = (
            self.least
            if self.least == self.most
            else int(results['rng'].integers(self.least, self.most, endpoint=True))
        )
        height, width = frame_size
        scale = short / min(height, width)
        size = (short, int(width * scale + 0.5)) if height <= width else (int(height * scale + 0.5), short)
        return FrameWindow(0, 0, frame_size, size)


@TRANSFORMS.register_module()
class Resize(Reframe):
    """Scale to a fixed size, whatever the proportions were (bilinear).

    Args:
        size: (height, width) in pixels, or one number for both.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = _pair('size', size)

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        return FrameWindow(0, 0, frame_size, self.size)


# ------------------------------------------------------------------------------------------------------- crop


def _check_fits(
    name: str, size: tuple[int, int], frame_size: tuple[int, int], results: Results
) -> tuple[int, int]:
    """Size of the frames, if a crop of ``size`` fits in."""
    height, width = frame_size
    if size[0] > height or size[1] > width:
        raise ValueError(
            f'{name} of {size} does not fit in the frames of {results["path"]}, {(height, width)} (height,'
            ' width); scale them up first, e.g. by ResizeShortSide'
        )
    return height, width


@TRANSFORMS.register_module()
class MultiScaleCrop(Reframe):
    """Crop at one of several scales and places, then scale to ``size`` (TSN, Wang et al., ECCV 2016, corner
    cropping and scale jittering).

    The crop's height and width are the short side of the frame times two scales at most ``max_distort`` apart
    in the list; a side within 3 pixels of the wanted one is set to it, so that nothing is scaled needlessly.

    Args:
        size: (height, width) of the result in pixels, or one number for both.
        scales: of the short side, each in (0, 1].
        max_distort: how many places apart in ``scales`` those of height and width may be.
        positions: 5 (corners and centre), 13 (with points between them, as TSN and TSM train), or
            ``'random'`` (anywhere).
    """

    # quarters of the room, (down, across); the first five are TSN's corners and centre
    quarters = (
        (0, 0),
        (0, 4),
        (4, 0),
        (4, 4),
        (2, 2),
        (2, 0),
        (2, 4),
        (4, 2),
        (0, 2),
        (1, 1),
        (1, 3),
        (3, 1),
        (3, 3),
    )

    def __init__(
        self,
        size: int | tuple[int, int],
        scales: Sequence[float] = (1, 0.875, 0.75, 0.66),
        max_distort: int = 1,
        positions: Literal[5, 13, 'random'] = 13,
    ):
        self.size = _pair('size', size)
        _check_at_least('max_distort', max_distort, 0)
        if not scales or not all(0 < scale <= 1 for scale in scales):
            raise ValueError(f'scales is {scales!r}; give at least one, each above 0 and at most 1')
        if positions not in (5, 13, 'random'):
            raise ValueError(f"positions is {positions!r}; use 5, 13 or 'random'")
        self.scales, self.positions = tuple(scales), positions
        self.pairs = [
            (i, j) for i in range(len(scales)) for j in range(len(scales)) if abs(i - j) <= max_distort
        ]

    def crop_size(self, frame_size: tuple[int, int], pair: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the crop for a pair of places in ``scales``, before it is scaled to ``size``."""
        sides = [int(min(frame_size) * self.scales[place]) for place in pair]
        height, width = (
            wanted if abs(side - wanted) < 3 else side for side, wanted in zip(sides, self.size, strict=True)
        )
        return max(1, min(height, frame_size[0])), max(1, min(width, frame_size[1]))

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        rng = results['rng']
        height, width = frame_size
        crop = self.crop_size(frame_size, self.pairs[rng.integers(len(self.pairs))])
        room = height - crop[0], width - crop[1]
        if self.positions == 'random':
            top, left = (int(rng.integers(side, endpoint=True)) for side in room)
        else:
            quarter = self.quarters[rng.integers(self.positions)]
            top, left = (room[0] // 4) * quarter[0], (room[1] // 4) * quarter[1]
        return FrameWindow(top, left, crop, self.size)


@TRANSFORMS.register_module()
class RandomResizedCrop(Reframe):
    """Crop a part of random area and proportions, then scale to ``size`` (Szegedy et al., CVPR 2015, "Going
    deeper with convolutions").

    Args:
        size: (height, width) of the result in pixels, or one number for both.
        area: least and most share of the frame's area.
        ratio: least and most width / height; its logarithm is drawn evenly.

    Ten draws are made; if none fits in the frame, the largest centre crop whose proportions are in range is
    taken.
    """

    tries = 10

    def __init__(
        self,
        size: int | tuple[int, int],
        area: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ):
        self.size = _pair('size', size)
        least, most = area
        if not 0 < least <= most <= 1:
            raise ValueError(f'area is {area!r}; give (least, most) with 0 < least <= most <= 1')
        narrowest, widest = ratio
        if not 0 < narrowest <= widest:
            raise ValueError(f'ratio is {ratio!r}; give (least, most) with 0 < least <= most')
        self.area, self.ratio = (least, most), (narrowest, widest)

    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draw (top, left, height, width) of the crop."""
        areas = rng.uniform(*self.area, self.tries) * height * width
        ratios = np.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), self.tries))
        heights, widths = (
            np.round(np.sqrt(areas / ratios)).astype(int),
            np.round(np.sqrt(areas * ratios)).astype(int),
        )
        for h, w in zip(heights.tolist(), widths.tolist(), strict=True):
            if 0 < h <= height and 0 < w <= width:
                return (
                    int(rng.integers(height - h, endpoint=True)),
                    int(rng.integers(width - w, endpoint=True)),
                    h,
                    w,
                )
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        h, w = max(1, min(height, round(width / ratio))), max(1, min(width, round(height * ratio)))
        return (height - h) // 2, (width - w) // 2, h, w

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        top, left, height, width = self.box(*frame_size, results['rng'])
        return FrameWindow(top, left, (height, width), self.size)


@TRANSFORMS.register_module()
class RandomCrop(Reframe):
    """Cut the same box out of every frame, at a random place and without resizing.

    Args:
        size: of the box, one number or (height, width).

    Raises:
        ValueError: if the frames are smaller.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = _pair('size', size)

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        height, width = _check_fits('RandomCrop', self.size, frame_size, results)
        top = int(results['rng'].integers(height - self.size[0] + 1))
        left = int(results['rng'].integers(width - self.size[1] + 1))
        return FrameWindow(top, left, self.size, self.size)


@TRANSFORMS.register_module(['CentreCrop', 'CenterCrop'])
class CentreCrop(Reframe):
    """Cut the centre. Configs may say ``CenterCrop`` too.

    Args:
        size: (height, width) in pixels, or one number for both; an error if the frames are smaller.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = _pair('size', size)

    def window(self, frame_size: tuple[int, int], results: Results) -> FrameWindow:
        height, width = _check_fits('CentreCrop', self.size, frame_size, results)
        return FrameWindow((height - self.size[0]) // 2, (width - self.size[1]) // 2, self.size, self.size)


@TRANSFORMS.register_module()
class ThreeCrop:
    """Cut three places along the long side (its two ends and the middle), centred on the short side: three
    times as many views.

    Args:
        size: (height, width) in pixels, or one number for both; an error if the frames are smaller.

    The views of the first place come first, then those of the middle, then those of the last.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = _pair('size', size)

    def __call__(self, results: Results) -> Results:
        frames = results['frames']
        height, width = _check_fits('ThreeCrop', self.size, frames.shape[1:3], results)
        down, across = height - self.size[0], width - self.size[1]
        corners = [
            (down * i // 2, across // 2) if height > width else (down // 2, across * i // 2) for i in range(3)
        ]
        # (3*V*T, h, w, 3)
        results['frames'] = np.concatenate(
            [frames[:, top : top + self.size[0], left : left + self.size[1]] for top, left in corners]
        )
        results['num_views'] *= 3
        return results


# -------------------------------------------------------------------------------------------- flip and colour

LabelMap = Mapping[int, int] | Mapping[str, str]
FLIP_LABEL_MAPS: dict[str, LabelMap] = {
    'something-something-v2': {86: 87, 93: 94, 166: 167},
    'jester': {
        'Sliding Two Fingers Left': 'Sliding Two Fingers Right',
        'Swiping Left': 'Swiping Right',
        'Turning Hand Clockwise': 'Turning Hand Counterclockwise',
    },
}
DIRECTIONS = {
    'left',
    'right',
    'clockwise',
    'counterclockwise',
    'anticlockwise',
    'leftward',
    'rightward',
    'leftwards',
    'rightwards',
}


@TRANSFORMS.register_module()
class Flip:
    """Mirror the clip left to right, and swap its class where the mirror image shows another one.

    Args:
        prob: of mirroring, in [0, 1].
        label_map: pairs of classes that change into each other, by number or by name (one direction is
            enough); or the name of a known set: ``'something-something-v2'`` (numbers 86-87, 93-94, 166-167;
            valid for the sorted labels of V1 too) or ``'jester'`` (by name, whatever the order). ``{}`` says
            that mirroring changes no class. None says nothing: then clips are mirrored only if the dataset
            has no class with a word such as "left" or "clockwise" in its name; otherwise none is, and a
            warning says so once.
    """

    def __init__(self, prob: float = 0.5, label_map: LabelMap | str | None = None):
        if prob is None:
            raise ValueError(
                'prob=None stands for flip at the root of the config, and nothing put it there; read the'
                ' config with gfvideo.engine.load_config, or give the probability'
            )
        if not 0 <= prob <= 1:
            raise ValueError(f'prob is {prob!r}; give a probability in [0, 1]')
        if isinstance(label_map, str):
            if label_map not in FLIP_LABEL_MAPS:
                raise ValueError(
                    f'label_map is {label_map!r}; the known ones are {", ".join(FLIP_LABEL_MAPS)}, or give a'
                    ' dict of classes'
                )
            label_map = FLIP_LABEL_MAPS[label_map]
        self.prob = prob
        self._says_nothing = label_map is None
        self._numbers, self._names = _both_ways(label_map or {})

    def __call__(self, results: Results) -> Results:
        mirrored = results['rng'].random() < self.prob
        if not mirrored or (self._says_nothing and _direction_in(tuple(results.get('classes', ())))):
            return results
        results['frames'] = _mirrored(results['frames'])
        label = results.get('label')
        if label is not None:
            results['label'] = self._mirrored_label(label, results.get('classes'))
        if results.get('labels'):
            several = (self._mirrored_label(one, results.get('classes')) for one in results['labels'])
            results['labels'] = tuple(sorted(several))
        return results

    def _mirrored_label(self, label: int, classes: Sequence[str] | None) -> int:
        if self._numbers and classes is not None and max(self._numbers) >= len(classes):
            raise ValueError(
                f'label_map swaps class {max(self._numbers)}, the dataset has {len(classes)} classes,'
                ' counted from 0; give the map of this dataset'
            )
        if not self._names:
            return self._numbers.get(label, label)
        if classes is None:
            raise ValueError(
                'label_map names classes, but the dataset gives no class names; give class numbers'
            )
        return _numbered(tuple(self._names.items()), tuple(classes)).get(label, label)


def _mirrored(frames: np.ndarray) -> np.ndarray:
    out = np.empty(frames.shape, np.uint8)
    for frame, target in zip(frames, out, strict=True):
        cv2.flip(frame, 1, dst=target)  # a negative stride would make every later step copy slowly
    return out


def _both_ways(label_map: LabelMap) -> tuple[dict[int, int], dict[str, str]]:
    """The map by number and that by name, of which one is empty, with the way back added; an error if a class
    would change into two."""
    if {type(name) for pair in label_map.items() for name in pair} not in (set(), {int}, {str}):
        raise ValueError(f'label_map is {label_map!r}; give all classes by number or all by name')
    both: dict[int | str, int | str] = {}
    for one, other in [*label_map.items(), *((other, one) for one, other in label_map.items())]:
        if both.setdefault(one, other) != other:
            raise ValueError(
                f'label_map changes class {one!r} into {both[one]!r} and into {other!r}; mirroring twice must'
                ' give the class back'
            )
    pairs = both.items()
    return (
        {one: other for one, other in pairs if isinstance(one, int) and isinstance(other, int)},
        {one: other for one, other in pairs if isinstance(one, str) and isinstance(other, str)},
    )


@lru_cache
def _numbered(names: tuple[tuple[str, str], ...], classes: tuple[str, ...]) -> dict[int, int]:
    unknown = [name for name, _ in names if name not in classes]
    if unknown:
        raise ValueError(
            f'label_map names {", ".join(map(repr, unknown))}, which the dataset does not have; give the map'
            ' of this dataset'
        )
    return {classes.index(one): classes.index(other) for one, other in names}


@lru_cache
def _direction_in(classes: tuple[str, ...]) -> bool:
    """Whether a class name holds a direction; warns, once of all processes that read for one, if one does."""
    named = [
        name for name in classes if DIRECTIONS & set(name.lower().replace('-', ' ').replace('_', ' ').split())
    ]
    worker = get_worker_info()
    if named and (worker is None or worker.id == 0):
        print_log(
            f'Flip mirrors nothing: {len(named)} classes name a direction, e.g. {named[0]!r}, and label_map'
            ' is not given; give the pairs that change into each other, or label_map={} if none does',
            logger='current',
            level=30,
        )
    return bool(named)


@TRANSFORMS.register_module(['ColourJitter', 'ColorJitter'])
class ColourJitter:
    """Change brightness, contrast, saturation and hue of the whole clip by one random linear map of the
    colours. Configs may say ``ColorJitter`` too.

    Each factor is drawn evenly from [1 - x, 1 + x]; the hue turns by up to ``hue`` of a full circle either
    way, in the YIQ plane. They are applied in this order as one matrix on RGB, rounded and cut to 0..255 once
    at the end. Contrast is about the mean grey of the clip.

    Args:
        brightness, contrast, saturation: x, in [0, 1].
        hue: in [0, 0.5].
    """

    grey = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    # FCC NTSC, 1953
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])

    def __init__(
        self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
    ):
        for name, (value, most) in {
            'brightness': (brightness, 1),
            'contrast': (contrast, 1),
            'saturation': (saturation, 1),
            'hue': (hue, 0.5),
        }.items():
            if not 0 <= value <= most:
                raise ValueError(f'{name} is {value!r}; give a number from 0 to {most}')
        self.strengths, self.hue = (brightness, contrast, saturation), hue

    def matrix(self, mean_colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the map ``(3, 4)`` from (R, G, B, 1) to (R, G, B); ``mean_colour`` (3,) is the clip's."""
        brightness, contrast, saturation = (rng.uniform(1 - x, 1 + x) for x in self.strengths)
        turn = 2 * math.pi * rng.uniform(-self.hue, self.hue)
        colour = saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), self.grey)
        if turn:
            rotation = np.array(
                [[1, 0, 0], [0, math.cos(turn), -math.sin(turn)], [0, math.sin(turn), math.cos(turn)]]
            )
            colour = np.linalg.inv(self.to_yiq) @ rotation @ self.to_yiq @ colour
        offset = (1 - contrast) * brightness * (self.grey @ mean_colour) * np.ones(3)
        return np.column_stack([contrast * brightness * colour, colour @ offset])

    def __call__(self, results: Results) -> Results:
        frames = np.ascontiguousarray(results['frames'])
        pixels = frames.reshape(1, -1, 3)  # (1, N*H*W, 3)
        matrix = self.matrix(np.array(cv2.mean(pixels)[:3]), results['rng'])
        results['frames'] = cv2.transform(pixels, matrix).reshape(frames.shape)  # (N, H, W, 3)
        return results


# ------------------------------------------------------------------------------------------------------- pack


@TRANSFORMS.register_module()
class PackClip:
    """End of the pipeline: ``dict(inputs=uint8 tensor, data_samples=ClipSample)``.

    ``inputs`` is ``(T, 3, H, W)``, or ``(V, T, 3, H, W)`` when there is more than one view; RGB, 0..255,
    contiguous.
    """

    def __call__(self, results: Results) -> dict[str, Any]:
        views, indices = results['num_views'], results['frame_indices'].tolist()
        clip = _channels_first(results['frames'])  # (V*T, 3, H, W)
        if views > 1:
            clip = rearrange(clip, '(v t) c h w -> v t c h w', v=views)
        sample = ClipSample(
            metainfo={
                'video_id': results['video_id'],
                'path': results['path'],
                'total_frames': results['total_frames'],
                'frame_indices': indices,
                'frame_size': tuple(results['frame_size']),
                'input_size': tuple(clip.shape[-2:]),
            }
        )
        if results.get('label') is not None:
            sample.gt_label = torch.tensor(results['label'])
        if results.get('labels'):
            sample.gt_labels = torch.tensor(results['labels'])
        return {'inputs': clip, 'data_samples': sample}


def _channels_first(frames: np.ndarray) -> torch.Tensor:
    """``(N, H, W, 3)``, which may be a view -> contiguous ``(N, 3, H, W)``."""
    count, height, width, _ = frames.shape
    planes = np.empty((count, 3, height, width), np.uint8)
    for frame, target in zip(frames, planes, strict=True):
        # of whole lines, which is ten times as fast as of a view
        cv2.split(np.ascontiguousarray(frame), list(target))
    return torch.from_numpy(planes)


# ------------------------------------------------------------------------------------------------------ check


def _check_at_least(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f'{name} is {value!r}; give a whole number from {least}')


def _pair(name: str, size: Any) -> tuple[int, int]:
    """(height, width) of a size given as one number or two."""
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f'{name} is {size!r}; give one number or (height, width)')
    for side in pair:
        _check_at_least(name, side, 1)
    return tuple(pair)
