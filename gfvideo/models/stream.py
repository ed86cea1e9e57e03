"""One video, frame by frame, through a causal recognizer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..structures import LookState, map_tensors
from .temporal import Cache

__all__ = ['Decides', 'Looks', 'Stream', 'StreamAnswer', 'StreamState']


class Decided(Protocol):
    """What such exits answer, ``(B,)`` each; :class:`gfvideo.exits.Decision` is one."""

    @property
    def enough(self) -> Tensor: ...

    @property
    def stop(self) -> Tensor: ...

    @property
    def score(self) -> Tensor | None: ...


class Decides(Protocol):
    """What decides after a look; a :class:`gfvideo.exits.ExitRule` is one."""

    @property
    def steps(self) -> int: ...

    @property
    def asks(self) -> bool: ...

    def asks_after(self, step: int) -> bool: ...

    def decide(
        self, logits: Tensor, step: int, frame: int | None = None, state: LookState | None = None
    ) -> Decided: ...


class Looks(Protocol):
    """What a stream needs of a model; a :class:`~gfvideo.models.base.Recognizer` has it."""

    steps: int
    training: bool

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState: ...

    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState: ...

    def answers(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> list[LookState]: ...

    def looking_ahead(self) -> list[str]: ...


class StreamAnswer(NamedTuple):
    """What is known after a frame.

    Attributes:
        logits: ``(B, C)`` the prediction from all frames so far (or the last ``window``): the mean of their
            logits.
        frame_logits: ``(B, C)`` of this frame alone.
        looks: ``(B,)`` int64, focus looks that this frame took, 0..S.
        done: ``(B,)`` bool, sure enough to stop.
        centres: ``(B, S, 2)`` where the looks were cut, nan for those not taken.
        score: ``(B,)`` what the exits made of the latest look, nan without exits.
    """

    logits: Tensor
    frame_logits: Tensor
    looks: Tensor
    done: Tensor
    centres: Tensor
    score: Tensor


@dataclass(frozen=True)
class StreamState:
    """All that a stream remembers; tensors and numbers only, so it can be pickled, copied, or moved to
    another process.

    Attributes:
        num_frames: frames read.
        cache: causal caches, one dict per step, each of the last frame that took that step.
        total: ``(B, C)`` sum of the logits of all frames; None with a window, or at the start.
        recent: logits ``(B, C)`` of the last ``window`` frames; empty without a window.
    """

    num_frames: int = 0
    cache: tuple[Cache, ...] = ()
    total: Tensor | None = None
    recent: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor | slice) -> StreamState:
        """Keep some videos of the batch: a slice, a bool mask ``(B,)`` or indices ``(N,)``."""
        if isinstance(rows, Tensor) and rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        return StreamState(
            self.num_frames,
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
        ValueError: if an encoder or the policy looks forward in time, the model is in training mode, or the
            exits are of another number of steps.
    """

    def __init__(
        self,
        model: Looks,
        exits: Decides | None = None,
        window: int | None = None,
        state: StreamState | None = None,
    ):
        forward_looking = model.looking_ahead()
        if forward_looking:
            raise ValueError(
                f"later frames are needed by {' and '.join(forward_looking)} (shift='bidirectional', or a"
                " policy of scope='clip'), so no answer can be given before them; train with shift='causal',"
                " a policy of scope='frame' (and supervision='frames') to stream"
            )
        if model.training:
            raise ValueError('the model is in training mode; call model.eval() before streaming')
        if window is not None and window < 1:
            raise ValueError(f'window={window} must be at least 1 frame, or None for all')
        if exits is not None and exits.steps != model.steps:
            raise ValueError(
                f'exits for {exits.steps} focus steps, but the model has {model.steps}; calibrate this model'
            )
        self.model, self.window = model, window
        self.exits = exits if exits is not None and exits.asks else None
        self.state = state or StreamState()

    def reset(self) -> None:
        """Forget the video; the next frame is the first of another."""
        self.state = StreamState()

    def select(self, rows: Tensor | slice) -> Stream:
        """A stream of some videos of the batch; this one stays as it is."""
        chosen = copy.copy(self)
        chosen.state = self.state.select(rows)
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
        B, steps, exits, before = len(frames), self.model.steps, self.exits, self.state
        self._check_batch(before, B)
        if exits is None:
            return self._read_all(frames, before)
        state = self.model.glance(frames, before.cache)
        frame_logits = state.logits[:, 0].clone()  # (B, C)
        device = frame_logits.device
        looks = torch.zeros(B, dtype=torch.long, device=device)
        done = torch.zeros(B, dtype=torch.bool, device=device)
        centres = torch.full((B, steps, 2), torch.nan, device=device)
        score = None
        cache, rows, earlier = list(state.cache), None, self._earlier(before)
        count = (before.num_frames if self.window is None else len(earlier)) + 1
        for step in range(steps + 1):
            if step:
                state = self.model.focus(frames, state)
                looking = slice(None) if rows is None else rows
                frame_logits[looking], looks[looking] = state.logits[:, 0], step
                if state.centres is not None:
                    centres[looking, step - 1] = state.centres[:, 0].to(centres.dtype)
                if step < len(state.cache):
                    cache += [{}] * (step - len(cache))  # steps that leave nothing
                    cache[step : step + 1] = [_merged(before.cache, step, state.cache[step], rows, B)]
            now = sum((x if rows is None else x[rows] for x in earlier), state.logits[:, 0]) / count
            answer = exits.decide(now, step, before.num_frames, state)
            looking = slice(None) if rows is None else rows
            done[looking] |= answer.stop
            if answer.score is not None:
                score = answer.score.new_full((B,), torch.nan) if score is None else score
                score[looking] = answer.score
            if step < steps and not exits.asks_after(step):
                continue  # all take the next look
            # the one wait for the device of a look
            stay = (~answer.enough).nonzero().squeeze(1) if step < steps else looks.new_empty(0)
            if not len(stay):
                break
            if len(stay) < len(answer.enough):
                rows = stay if rows is None else rows[stay]
                frames, state = frames[stay], state.select(stay)
        self.state = self._next(before, tuple(cache), frame_logits)
        if score is None:
            score = torch.full((B,), torch.nan, device=device)
        return StreamAnswer(sum(earlier, frame_logits) / count, frame_logits, looks, done, centres, score)

    def _read_all(self, frames: Tensor, before: StreamState) -> StreamAnswer:
        """Every look at the next frame."""
        states, earlier = self.model.answers(frames, before.cache), self._earlier(before)
        logits, B = states[-1].logits[:, 0], len(frames)
        centres = logits.new_full((B, self.model.steps, 2), torch.nan, dtype=torch.float32)
        for state in states[1:]:
            if state.centres is not None:
                centres[:, state.step - 1] = state.centres[:, 0].to(centres.dtype)
        self.state = self._next(before, states[-1].cache, logits)
        count = (before.num_frames if self.window is None else len(earlier)) + 1
        looks = torch.full((B,), self.model.steps, dtype=torch.long, device=logits.device)
        never = torch.zeros(B, dtype=torch.bool, device=logits.device)
        unknown = torch.full((B,), torch.nan, device=logits.device)
        return StreamAnswer(sum(earlier, logits) / count, logits, looks, never, centres, unknown)

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
            return StreamState(before.num_frames + 1, cache, None, (*self._earlier(before), logits))
        return StreamState(
            before.num_frames + 1, cache, logits if before.total is None else before.total + logits
        )


def _merged(before: tuple[Cache, ...], step: int, new: Cache, rows: Tensor | None, videos: int) -> Cache:
    """The cache of ``step``: what the videos in ``rows`` left now, and for the others what was there (zeros
    at a stream's start)."""
    if rows is None:
        return new
    merged = {}
    for name, value in new.items():
        old = before[step].get(name) if step < len(before) else None
        old = value.new_zeros(videos, *value.shape[1:]) if old is None else old.clone()
        old[rows] = value
        merged[name] = old
    return merged
