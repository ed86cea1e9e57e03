"""Watch a recognizer at work: the moments of which :mod:`gfvideo.visualization` draws films and stills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from einops import rearrange
from mmengine.dataset import pseudo_collate
from torch import Tensor

from .apis import Exits, build_pipeline, frame_names, predict_clip, stream
from .complexity import recognizer_cost, whole_frames_cost
from .data.dataset import Pipeline
from .data.results import Results
from .data.streaming import TIMEOUT, FrameSource, Source, Video, describe_video
from .data.transforms import DecodeFrames
from .engine.identity import check_exits
from .exits import Calibration, ExitRule, read_exits
from .models.base import Recognizer
from .structures import ClipSample, LookState
from .visualization import Moment, Scene, Spent, Window, window_of

__all__ = [
    'LookedClip',
    'chosen_exits',
    'field_of_view',
    'look_at_clip',
    'moments_of_clip',
    'scene_of',
    'watch_clip',
    'watch_sliding',
    'watch_stream',
]

GIGA = 1e9


def scene_of(model: Recognizer, title: str) -> Scene:
    """What holds for all pictures of a film of ``model``."""
    told = model.described()
    size = told.get('glance_size')
    names = model.dataset_meta.get('classes') or [f'class {number}' for number in range(model.num_classes)]
    return Scene(
        title,
        list(names),
        model.steps,
        None if size is None else (int(size[0]), int(size[1])),
        told.get('glance_resize', 'antialiased'),
    )


def chosen_exits(model: Recognizer, exits: Exits | None) -> ExitRule | None:
    """The rule that exits stand for: of a file or a calibration, which must belong to the model, the chosen
    setting.

    Raises:
        ExitsFileError: if they belong to another model, or the file cannot be read.
    """
    name = 'the calibration'
    if isinstance(exits, str | PathLike):
        name, exits = fspath(exits), read_exits(fspath(exits))
    if isinstance(exits, Calibration):
        check_exits(exits, model, name)
        return exits.pick().exits
    return exits


def field_of_view(pipeline: Pipeline, frame_size: tuple[int, int]) -> Window | None:
    """Which part of a frame a pipeline hands to the recognizer, of several crops the first.

    It is found out by trying: a picture whose colours say where every pixel stands goes through the pipeline.

    Args:
        pipeline: of :func:`gfvideo.apis.build_pipeline`.
        frame_size: (H, W) of the frames of the video, in pixels.

    Returns:
        The part in pixels of the frame; None if the pipeline does more than cut and scale.
    """
    H, W = frame_size
    ramps = np.zeros((H, W, 3), np.uint8)
    ramps[..., 0] = np.rint(255 * (np.arange(H) + 0.5) / H)[:, None]
    ramps[..., 1] = np.rint(255 * (np.arange(W) + 0.5) / W)
    steps = list(pipeline.steps)
    decodes = [number for number, step in enumerate(steps) if isinstance(step, DecodeFrames)]
    if not decodes:
        return None
    made: Any = Results(
        path='', kind='video', video_id='', total_frames=1, rng=np.random.default_rng(0), num_views=1,
        frame_template='', start_index=0, label=None, frames=ramps[None], frame_indices=np.zeros(1, int),
        frame_size=frame_size,
    )  # fmt: skip
    for step in steps[decodes[0] + 1 :]:
        made = step(made)
    seen = made['inputs'].flatten(0, -4)[0].double() / 255  # (3, h, w)
    edges = [_edges(seen[0].mean(1)), _edges(seen[1].mean(0))]
    if any(edge is None for edge in edges):
        return None
    (top, bottom), (left, right) = (edge for edge in edges if edge is not None)
    return Window(top * H, left * W, (bottom - top) * H, (right - left) * W)


def _edges(shares: Tensor) -> tuple[float, float] | None:
    """Where along the frame, in [0, 1], the first pixel begins and the last one ends, by the straight line
    through what pixels say; None if they are not on one."""
    at = torch.arange(len(shares), dtype=shares.dtype) + 0.5
    if len(shares) == 1:
        return 0.0, 1.0
    slope = ((at - at.mean()) * (shares - shares.mean())).sum() / (at - at.mean()).square().sum()
    begin = shares.mean() - slope * at.mean()
    if slope <= 0 or (begin + slope * at - shares).abs().max() > 0.02:
        return None
    first, last = float(begin), float(begin + slope * len(shares))
    # an edge of the frame is the edge: colours are rounded
    return (0.0 if abs(first) < 0.004 else first), (1.0 if abs(last - 1) < 0.004 else last)


# ------------------------------------------------------------------------------------------------------ clips


@dataclass(frozen=True)
class LookedClip:
    """One clip, looked at step by step.

    Attributes:
        pictures: ``(T, H, W, 3)`` uint8 RGB, the whole frames.
        inputs: ``(T, 3, h, w)`` uint8 RGB, what the recognizer was given.
        states: after each step that was taken.
        sample: its prediction, as of :func:`gfvideo.apis.inference_recognizer`.
        field: where ``inputs`` lie in ``pictures``; None if unknown.
    """

    pictures: np.ndarray
    inputs: Tensor
    states: Sequence[LookState]
    sample: ClipSample
    field: Window | None


@torch.no_grad()
def looks_taken(model: Recognizer, frames: Tensor, exits: ExitRule | None = None) -> list[LookState]:
    """The states of a clip ``(1, T, 3, h, w)``, normalised, step by step until it is sure;
    :func:`gfvideo.exits.run_clips` without forgetting what it saw.

    Raises:
        ValueError: if the exits are of as many steps as another model has, or those of streams.
    """
    if exits is not None and ('steps' not in exits.kinds or exits.steps != model.steps):
        raise ValueError(
            f'{type(exits).__name__} of {exits.steps} focus steps cannot end the looks at a clip of a model'
            f' of {model.steps}: exits of clips are needed, fitted on this model: tools/calibrate.py'
        )
    states = [model.glance(frames)]
    while states[-1].step < model.steps:
        state = states[-1]
        if exits is not None and exits.asks_after(state.step):
            if bool(exits.decide(state.logits.mean(1), state.step, None, state).enough[0]):
                break
        states.append(model.focus(frames, state))
    return states


def look_at_clip(model: Recognizer, video: Video, exits: ExitRule | None = None) -> LookedClip:
    """Look at a video through the test pipeline of the model's config; of several views at the first, and the
    prediction is that of all of them.

    Raises:
        VideoError: if the video cannot be read.
        ConfigError: if the config has no test pipeline.
        ValueError: if the exits are not of clips, or the video is none.
    """
    pipeline = build_pipeline(model.cfg)
    made: Any = describe_video(video, **frame_names(model.cfg))
    pictures = None
    for step in pipeline.steps:
        made = step(made)
        if isinstance(step, DecodeFrames):
            pictures = made['frames']
    inputs, sample = made['inputs'], made['data_samples']
    views = inputs.dim() == 5
    if views:
        sample = predict_clip(model, made, exits)
        inputs = inputs[0]
    field = None
    if pictures is None:
        pictures = rearrange(inputs, 't c h w -> t h w c').numpy()
    else:
        field = field_of_view(pipeline, pictures.shape[1:3])
    frames = model.data_preprocessor(pseudo_collate([dict(inputs=inputs)]))['inputs']
    states = looks_taken(model, frames, exits)
    if not views:
        _say(sample, states, model.steps, exits)
    return LookedClip(pictures[: len(inputs)], inputs, states, sample, field)


def _say(sample: ClipSample, states: Sequence[LookState], steps: int, exits: ExitRule | None) -> None:
    """Put the prediction into the sample."""
    step_logits = torch.cat([state.logits.mean(1) for state in states]).float()  # (steps taken + 1, C)
    sample.logits = step_logits[-1]
    if exits is None:
        sample.step_logits = step_logits
    else:
        sample.exit = torch.tensor(len(states) - 1)
    told = [state.centres[0].float() for state in states[1:] if state.centres is not None]
    if told:
        centres = torch.full((steps, *told[0].shape), torch.nan)  # (S, T, 2)
        centres[: len(told)] = torch.stack(told).cpu()
        sample.centres = centres


def windows_of(
    states: Sequence[LookState], steps: int, t: int, seen: tuple[int, int], patch_size: tuple[int, int]
) -> list:
    """Where the looks of ``states`` were cut at frame ``t``, None for those that were not."""
    found: list[Window | None] = [None] * steps
    for state in states[1:]:
        if state.centres is not None:
            sizes = None if state.window_sizes is None else state.window_sizes[0, t].tolist()
            size = state.patch_size or patch_size
            found[state.step - 1] = window_of(state.centres[0, t].tolist(), seen, size, sizes)
    return found


def _patch_size(model: Recognizer) -> tuple[int, int]:
    """(height, width) of its patches; (0, 0) of a recognizer without looks."""
    height, width = model.described().get('patch_size') or (0, 0)
    return int(height), int(width)


def costs_of_steps(model: Recognizer, shape: tuple[int, ...]) -> tuple[list[float], float | None]:
    """GMACs of a clip ``(T, 3, h, w)`` after each step, and of watching its frames whole."""
    T, channels, h, w = shape
    steps = [count / GIGA for count in recognizer_cost(model, (T, channels, h, w))['steps']]
    return steps, whole_frames_cost(model, (T, channels, h, w)) / GIGA


def moments_of_clip(model: Recognizer, looked: LookedClip, exits: bool = False) -> list[Moment]:
    """The film of one clip: every frame after the glance, then every frame after the first look, and so on to
    the last look that was taken, and how it ended."""
    T, S = len(looked.inputs), model.steps
    seen = rearrange(looked.inputs, 't c h w -> t h w c').numpy()
    steps, whole = costs_of_steps(model, looked.inputs.shape)
    indices = [int(index) for index in looked.sample.get('frame_indices', range(T))]
    patch_size, last = _patch_size(model), len(looked.states) - 1
    moments = []
    for state in looked.states:
        s = state.step
        probabilities = model.probabilities(state.logits.mean(1)[0]).cpu().numpy()
        for t in range(T):
            looks = looked.states[: s + 1]
            windows = windows_of(looks, S, t, seen.shape[1:3], patch_size)
            moments.append(
                Moment(
                    looked.pictures[t],
                    seen[t],
                    looked.field,
                    indices[t],
                    t,
                    windows,
                    taken=[s if at <= t else s - 1 for at in range(T)],
                    skipped=[s == S and at <= t for at in range(T)],
                    probabilities=probabilities,
                    costs=Spent(steps[s], steps[-1], whole),
                    status=_step_status(model, s, t, T),
                )
            )
    sure = f'Sure enough after {_named(last)}: stopped' if last < S else 'All looks taken'
    if exits and last == S and S:
        sure = 'Never sure enough to stop: all looks taken'
    end = moments[-1]
    return [*moments, _ended(end, sure if S else 'All frames watched', [last] * T)]


def _ended(moment: Moment, status: str, taken: Sequence[int], **changes: Any) -> Moment:
    return replace(moment, status=status, taken=taken, skipped=[True] * len(taken), end=True, **changes)


def _named(step: int) -> str:
    return f'look {step}' if step else 'the glance'


def _step_status(model: Recognizer, step: int, t: int, T: int) -> str:
    if not model.steps:
        return f'Frame {t + 1} of {T}'
    return f'{f"Look {step} of {model.steps}" if step else "Glance"}: frame {t + 1} of {T}'


def watch_clip(model: Recognizer, video: Video, exits: ExitRule | None = None) -> Iterator[Moment]:
    """:func:`moments_of_clip` of a video."""
    yield from moments_of_clip(model, look_at_clip(model, video, exits), exits is not None)


# ---------------------------------------------------------------------------------------------------- streams


def watch_stream(
    model: Recognizer,
    source: Source,
    exits: ExitRule | None = None,
    *,
    every: int | None = None,
    window: int | None = None,
    timeout: float | None = TIMEOUT,
) -> Iterator[Moment]:
    """The film of a stream: a moment a frame, with all looks at it; after the exit the frames that were never
    looked at (of a video; they are decoded for the film alone).

    Args:
        model: of :func:`gfvideo.apis.init_recognizer`, whose encoders look backward in time only.
        source, every, window, timeout: as of :func:`gfvideo.apis.stream`.
        exits: of streams; None takes all looks.

    Raises:
        VideoError, TimeoutError, RuntimeError, ConfigError, ValueError: as :func:`gfvideo.apis.stream`.
    """
    pipeline, names, S = build_pipeline(model.cfg), frame_names(model.cfg), model.steps
    with closing(FrameSource(source, pipeline, every, timeout=timeout, **names)) as frames:
        planned = frames.planned  # nothing is read yet
    taken: list[int] = [] if planned is None else [-1] * planned
    skipped = [False] * len(taken)
    patch_size = _patch_size(model)
    steps: list[float] = []
    whole: float | None = None
    field, so_far, moment = None, 0.0, None
    for place, frame in enumerate(stream(model, source, exits, every=every, window=window, timeout=timeout)):
        if not place:
            steps, whole = costs_of_steps(model, (1, *frame.inputs.shape))
            field = field_of_view(pipeline, frame.picture.shape[:2])
        if place == len(taken):
            taken.append(-1)
            skipped.append(False)
        taken[place], skipped[place] = frame.looks, True
        so_far += steps[frame.looks]
        seen = rearrange(frame.inputs, 'c h w -> h w c').numpy()
        windows: list[Window | None] = [
            window_of(centre, seen.shape[:2], patch_size) for centre in frame.centres.tolist()
        ]
        count = len(taken)
        moment = Moment(
            frame.picture,
            seen,
            field,
            frame.index,
            place,
            windows + [None] * (S - len(windows)),
            taken=taken,
            skipped=skipped,
            probabilities=model.probabilities(frame.logits).cpu().numpy(),
            costs=Spent(so_far, steps[-1] * count, None if whole is None else whole * count),
            status=_frame_status(place, planned, frame.looks, S),
        )
        if not frame.done:
            yield _frozen(moment, planned)
    if moment is None:
        return
    left = len(taken) - moment.place - 1
    status = f'Sure enough at frame {moment.place + 1}' + (f': {left} never read' if left else '')
    yield _ended(moment, status if frame.done else 'All frames read', taken)
    if left and planned is not None:
        with closing(FrameSource(source, pipeline, every, timeout=timeout, **names)) as frames:
            for place, (index, data) in enumerate(frames):
                if place > moment.place:
                    seen = rearrange(data['inputs'][0], 'c h w -> h w c').numpy()
                    yield _ended(
                        moment, status, taken, picture=frames.picture, seen=seen, index=index, place=place,
                        windows=[None] * S, watched=False,
                    )  # fmt: skip


def _frozen(moment: Moment, planned: int | None) -> Moment:
    """With the table of looks as it is now; that of an endless stream goes on growing, and is shared."""
    return moment if planned is None else replace(moment, taken=[*moment.taken], skipped=[*moment.skipped])


def _frame_status(place: int, planned: int | None, looks: int, steps: int) -> str:
    words = f'Frame {place + 1}' + (f' of {planned}' if planned else '')
    if not steps:
        return words
    enough = f', {looks} of {steps} looks were enough' if looks < steps else f', {looks} looks'
    return words + (', the glance was enough' if not looks else enough)


# ----------------------------------------------------------------------------------- clips, one after another


def watch_sliding(
    model: Recognizer,
    source: Source,
    exits: ExitRule | None = None,
    *,
    every: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    timeout: float | None = TIMEOUT,
) -> Iterator[Moment]:
    """The film of clips that slide along a long video or an endless stream, for recognizers that need later
    frames: a moment a frame, with what was said of the clip that ends with it or soon after.

    Args:
        model: any recognizer.
        source, timeout: as of :func:`gfvideo.apis.stream`.
        exits: of clips; None takes all looks.
        every: take one frame out of so many; 1 by default.
        window: frames of a clip; by default as many as the test pipeline takes.
        stride: frames from clip to clip; by default ``window``. The first clip needs ``window`` frames.

    Raises:
        VideoError, TimeoutError, RuntimeError, ConfigError, ValueError: as :func:`gfvideo.apis.stream`, and
            if ``window`` or ``stride`` is below 1 or the stride above the window.
    """
    pipeline = build_pipeline(model.cfg)
    frames = FrameSource(source, pipeline, every or 1, timeout=timeout, **frame_names(model.cfg))
    T = frames.num_frames if window is None else window
    step = T if stride is None else stride
    if T < 1 or not 1 <= step <= T:
        frames.close()
        raise ValueError(
            f'window={T}, stride={step}: give a window of 1 frame or more, a stride from 1 to it'
        )
    held: list[tuple[int, np.ndarray, Tensor]] = []
    film = _Sliding(model, pipeline, T, exits)
    new = 0
    with closing(frames):
        for index, data in frames:
            held = (
                [*held[-(T - 1) :], (index, frames.picture, data['inputs'][0])]
                if T > 1
                else [(index, frames.picture, data['inputs'][0])]
            )
            new += 1
            if len(held) == T and (new >= step if film.clips else True):
                yield from film.clip(held, new)
                new = 0
    if new and held:
        yield from film.clip(held, new)
    if film.last is not None:
        yield _ended(film.last, f'{film.clips} clips of {T} frames watched', film.taken)


class _Sliding:
    """Clips of a film so far."""

    def __init__(self, model: Recognizer, pipeline: Pipeline, T: int, exits: ExitRule | None):
        self.model, self.pipeline, self.T, self.exits = model, pipeline, T, exits
        self.taken: list[int] = []
        self.skipped: list[bool] = []
        self.clips, self.so_far = 0, 0.0
        self.last: Moment | None = None
        self.steps: list[float] = []

    def clip(self, held: Sequence[tuple[int, np.ndarray, Tensor]], new: int) -> Iterator[Moment]:
        """The moments of the last ``new`` frames of a clip; one that is too short repeats frames."""
        model, S = self.model, self.model.steps
        places = [
            at * len(held) // self.T for at in range(self.T)
        ]  # all of them, or, of too few, some more than once
        inputs = torch.stack([held[place][2] for place in places])  # (T, 3, h, w)
        if not self.clips:
            self.steps, self.whole = costs_of_steps(model, inputs.shape)
            self.field = field_of_view(self.pipeline, held[0][1].shape[:2])
        frames = model.data_preprocessor(pseudo_collate([dict(inputs=inputs)]))['inputs']
        states = looks_taken(model, frames, self.exits)
        step, patch_size = states[-1].step, _patch_size(model)
        self.clips += 1
        self.so_far += self.steps[step]
        self.taken += [step] * new
        self.skipped += [True] * new
        probabilities = model.probabilities(states[-1].logits.mean(1)[0]).cpu().numpy()
        whole = None if self.whole is None else self.whole / self.T * len(self.taken)
        for place in range(len(held) - new, len(held)):
            index, picture, one = held[place]
            t = self.T - 1 - places[::-1].index(place)
            self.last = Moment(
                picture,
                rearrange(one, 'c h w -> h w c').numpy(),
                self.field,
                index,
                len(self.taken) - len(held) + place,
                windows_of(states, S, t, (one.shape[-2], one.shape[-1]), patch_size),
                taken=self.taken,
                skipped=self.skipped,
                probabilities=probabilities,
                costs=Spent(self.so_far, self.steps[-1] * self.clips, whole),
                status=f'Frames {held[0][0]} to {held[-1][0]}: {_enough(step, S)}',
            )
            yield self.last


def _enough(step: int, steps: int) -> str:
    if not steps:
        return 'all watched'
    return f'all {steps} looks' if step == steps else f'sure enough after {_named(step)}'
