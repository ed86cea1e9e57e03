"""What an exit asks after a look: the thresholds of a clip's steps, and of a stream's looks and frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .confidence import CRITERIA, confidence

__all__ = ['StepExits', 'StreamExits']


def _check(criterion: str, temperature: float, **thresholds: Sequence[float]) -> None:
    if criterion not in CRITERIA:
        raise ValueError(f'criterion={criterion!r} is unknown; choose {", ".join(map(repr, CRITERIA))}')
    if not 0 < temperature < math.inf:
        raise ValueError(f'temperature={temperature} must be above 0 and finite')
    for name, values in thresholds.items():
        if any(math.isnan(value) for value in values):
            raise ValueError(f'{name}={list(values)} holds a nan; write inf where nobody is to leave')


@dataclass(frozen=True)
class StepExits:
    """Step-level exits of clips: a clip is done as soon as its prediction is sure enough.

    Args:
        thresholds: S of them, after step 0..S-1; a clip leaves at a confidence of at least this, inf lets
            nobody out.
        criterion, temperature: see :func:`~gfvideo.exits.confidence`.
    """

    thresholds: tuple[float, ...]
    criterion: str = 'max_prob'
    temperature: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, 'thresholds', tuple(map(float, self.thresholds)))
        _check(self.criterion, self.temperature, thresholds=self.thresholds)

    def sure(self, logits: Tensor, step: int) -> Tensor:
        """Which of the clips with logits ``(B, C)`` after ``step`` < S are done, ``(B,)`` bool."""
        return confidence(logits, self.criterion, self.temperature) >= self.thresholds[step]


@dataclass(frozen=True)
class StreamExits:
    """Exits of a stream: after a look, look once more at this frame, go on to the next, or stop.

    Both questions are put to the prediction from all frames so far. It is enough of a frame after its last
    look, or once the confidence reaches ``enough`` of that look; then it is enough of the video once the
    confidence reaches ``stop`` of that frame.

    Args:
        enough: S thresholds, after look 0..S-1 of any frame (step-level); inf always takes the next look, 0
            never.
        stop: thresholds after frame 0, 1, ... (frame-level); inf goes on, as do the frames beyond them.
        criterion, temperature: see :func:`~gfvideo.exits.confidence`.
    """

    enough: tuple[float, ...]
    stop: tuple[float, ...] = ()
    criterion: str = 'max_prob'
    temperature: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, 'enough', tuple(map(float, self.enough)))
        object.__setattr__(self, 'stop', tuple(map(float, self.stop)))
        _check(self.criterion, self.temperature, enough=self.enough, stop=self.stop)

    @property
    def asks(self) -> bool:
        """Whether any threshold can be reached; otherwise no confidence is worked out at all."""
        return any(value < math.inf for value in (*self.enough, *self.stop))

    def decide(self, logits: Tensor, frame: int, step: int) -> tuple[Tensor, Tensor]:
        """After look ``step`` of frame number ``frame`` (both from 0), on the prediction ``(B, C)`` from all
        frames so far.

        Returns:
            ``(B,)`` bool, is it enough of this frame; and ``(B,)`` bool, of the video (only where it is
            enough of the frame).
        """
        sure = confidence(logits, self.criterion, self.temperature)
        last = step == len(self.enough)
        enough = torch.ones_like(sure, dtype=torch.bool) if last else sure >= self.enough[step]
        return enough, enough & (sure >= (self.stop[frame] if frame < len(self.stop) else math.inf))


def to_plain(exits: StepExits | StreamExits) -> dict[str, Any]:
    """As JSON can hold it: null for a threshold that lets nobody out."""
    return {
        key: [None if item == math.inf else item for item in value] if isinstance(value, tuple) else value
        for key, value in asdict(exits).items()
    }


def from_plain(values: Mapping[str, Any]) -> StepExits | StreamExits:
    """Back from :func:`to_plain`'s form.

    Raises:
        ValueError: if a name is unknown or a value is none of such exits.
    """
    kind = StepExits if 'thresholds' in values else StreamExits
    try:
        return kind(
            **{
                key: (
                    tuple(math.inf if item is None else item for item in value)
                    if isinstance(value, list)
                    else value
                )
                for key, value in values.items()
            }
        )
    except TypeError as error:
        raise ValueError(f'{dict(values)} are no exits: {error}') from error
