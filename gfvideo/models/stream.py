"""One video, frame by frame, through a causal recognizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from ..structures import map_tensors
from .temporal import Cache

if TYPE_CHECKING:
    from .base import Recognizer

__all__ = ['Stream', 'StreamAnswer', 'StreamState']


class Exits(Protocol):
    """What decides after a look; :class:`gfvideo.exits.StreamExits` is one."""

    asks: bool

    def decide(self, logits: Tensor, frame: int, step: int) -> tuple[Tensor, Tensor]:
        """Prediction ``(B, C)`` after look ``step`` of ``frame`` -> is it enough of the frame ``(B,)``, of
        the video ``(B,)``."""


class StreamAnswer(NamedTuple):
    """What is known after a frame.

    Attributes:
        logits: ``(B, C)`` the prediction from all frames so far (or the last ``window``): the mean of their
            logits.
        frame_logits: ``(B, C)`` of this frame alone.
        looks: ``(B,)`` int64, focus looks that this frame took, 0..S.
        done: ``(B,)`` bool, sure enough to stop.
        centres: ``(B, S, 2)`` where the looks were cut, nan for those not taken.
    """

    logits: Tensor
    frame_logits: Tensor
    looks: Tensor
    done: Tensor
    centres: Tensor


@dataclass(frozen=True)
class StreamState:
    """All that a stream remembers; tensors and numbers only, so it can be pickled, copied, or moved to
    another process.

    Attributes:
        frames: number of frames read.
        cache: causal caches, one dict per step, each of the last frame that took that step.
        total: ``(B, C)`` sum of the logits of all frames; None with a window, or at the start.
        recent: logits ``(B, C)`` of the last ``window`` frames; empty without a window.
    """

    frames: int = 0
    cache: tuple[Cache, ...] = ()
    total: Tensor | None = None
    recent: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor | slice) -> StreamState:
        """Keep some videos of the batch: a slice, a bool mask ``(B,)`` or indices ``(N,)``."""
        if isinstance(rows, Tensor) and rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        return StreamState(
            self.frames,
            *(map_tensors(value, lambda x: x[rows]) for value in (self.cache, self.total, self.recent)),
        )


class Stream:
    """A video being read, of ``model.stream()``; the model keeps nothing, so many streams may run on it at
    once, also in threads.

    Args:
        model: a recognizer in evaluation mode whose encoders look backward in time only.
        exits: decides after every look; None takes every look at every frame and never says done.
        window: predict from the last ``window`` frames, for cameras that never end; None from all frames.
        state: of an earlier stream, to go on where it was.

    Raises:
        ValueError: if an encoder looks forward in time, the model is in training mode, or the exits are of
            another number of steps.
    """

    def __init__(
        self,
        model: Recognizer,
        exits: Exits | None = None,
        window: int | None = None,
        state: StreamState | None = None,
    ):
        forward_looking = [
            name
            for name, module in model.named_modules()
            if getattr(module, 'shift', None) == 'bidirectional'
        ]
        if forward_looking:
            raise ValueError(
                f"{' and '.join(forward_looking)} have shift='bidirectional': they need the next frame, so no"
                " answer can be given before it; train with shift='causal' (and supervision='frames') to"
                ' stream'
            )
        if model.training:
            raise ValueError('the model is in training mode; call model.eval() before streaming')
        if window is not None and window < 1:
            raise ValueError(f'window={window} must be at least 1 frame, or None for all')
        if exits is not None and len(exits.enough) != model.steps:
            raise ValueError(
                f'exits for {len(exits.enough)} focus steps, but the model has {model.steps}; calibrate this'
                ' model'
            )
        self.model, self.window = model, window
        self.exits = exits if exits is not None and exits.asks else None
        self.state = state or StreamState()

    def reset(self) -> None:
        """Forget the video; the next frame is the first of another."""
        self.state = StreamState()

    def select(self, rows: Tensor | slice) -> Stream:
        """A stream of some videos of the batch; this one stays as it is."""
        chosen = object.__new__(Stream)
        chosen.__dict__.update(self.__dict__, state=self.state.select(rows))
        return chosen

    def __call__(self, frame: Tensor) -> Tensor:
        """Logits ``(B, C)`` of the next frame alone, without those before it (but seeing them through the
        shift)."""
        return self.read(frame).frame_logits

    @torch.no_grad()
    def read(self, frame: Tensor) -> StreamAnswer:
        """Look at the next frame.

        Args:
            frame: ``(B, 3, H, W)`` or, for one video, ``(3, H, W)``; normalised, of the same size every time.

        Raises:
            ValueError: if the number of videos or the size is not that of the frames before.
        """
        frames = (frame if frame.dim() == 4 else frame[None])[:, None]  # (B, 1, 3, H, W)
        if frames.dim() != 5:
            raise ValueError(f'a frame of shape {tuple(frame.shape)}; give (B, 3, H, W) or (3, H, W)')
        B, steps = len(frames), self.model.steps
        before = self.state
        self._check_batch(before, B)
        state = self.model.glance(frames, before.cache)
        frame_logits = state.logits[:, 0].clone()  # (B, C)
        looks, done = (
            torch.zeros(B, dtype=dtype, device=frame_logits.device) for dtype in (torch.long, torch.bool)
        )
        centres = torch.full((B, steps, 2), torch.nan, device=frames.device)
        cache, rows, earlier = list(state.cache), None, self._earlier(before)
        count = (before.frames if self.window is None else len(earlier)) + 1
        for step in range(steps + 1):
            if step:
                state = self.model.focus(frames, state)
                if rows is None:
                    frame_logits, centres[:, step - 1] = state.logits[:, 0].clone(), state.centres[:, 0]
                    looks.fill_(step)
                else:
                    frame_logits[rows], looks[rows] = state.logits[:, 0], step
                    centres[rows, step - 1] = state.centres[:, 0].to(centres.dtype)
                if state.cache:
                    cache[step : step + 1] = [_merged(before.cache, step, state.cache[step], rows, B)]
            if self.exits is None:
                continue
            now = sum((x if rows is None else x[rows] for x in earlier), state.logits[:, 0]) / count
            enough, stop = self.exits.decide(now, before.frames, step)
            if rows is None:
                done |= stop
            else:
                done[rows] |= stop
            stay = (~enough).nonzero().squeeze(1) if step < steps else enough.new_empty(0)
            if not len(stay):
                break
            if len(stay) < len(enough):
                rows = stay if rows is None else rows[stay]
                frames, state = frames[stay], state.select(stay)
        self.state = self._next(before, tuple(cache), frame_logits)
        return StreamAnswer(sum(earlier, frame_logits) / count, frame_logits, looks, done, centres)

    def _check_batch(self, before: StreamState, videos: int) -> None:
        known = before.total if before.total is not None else before.recent[0] if before.recent else None
        if known is not None and len(known) != videos:
            raise ValueError(
                f'a frame of {videos} videos in a stream of {len(known)}; keep some with select, or start'
                ' another stream'
            )

    def _earlier(self, before: StreamState) -> tuple[Tensor, ...]:
        """Logits of the frames before that count: their sum, or the last of them one by one."""
        if self.window is not None:
            return before.recent[1 - self.window :] if self.window > 1 else ()
        return () if before.total is None else (before.total,)

    def _next(self, before: StreamState, cache: tuple[Cache, ...], logits: Tensor) -> StreamState:
        if self.window is not None:
            return StreamState(before.frames + 1, cache, None, (*self._earlier(before), logits))
        return StreamState(
            before.frames + 1, cache, logits if before.total is None else before.total + logits
        )


def _merged(before: tuple[Cache, ...], step: int, new: Cache, rows: Tensor | None, videos: int) -> Cache:
    """The cache of ``step``: what the videos in ``rows`` left now, and for the others what was there (zeros
    at a stream's start)."""
    if rows is None:
        return new
    merged = {}
    for name, value in new.items():
        old = before[step][name].clone() if step < len(before) else value.new_zeros(videos, *value.shape[1:])
        old[rows] = value
        merged[name] = old
    return merged
