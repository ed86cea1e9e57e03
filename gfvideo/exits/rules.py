"""What an exit asks after a look: rules, and the two of this package, which hold a score against thresholds.

A rule of your own is one class: derive from :class:`ExitRule` and give ``decide``; or, if it scores how sure
a prediction is and holds that against thresholds, derive from :class:`StepExits` or :class:`StreamExits` and
give ``score``: then calibrations search its thresholds and files of exits keep it. The runtime, streams,
replay and tests take either.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .confidence import STATE_CRITERIA, confidence, known_criterion, state_score

__all__ = ['Decision', 'ExitRule', 'StepExits', 'StreamExits']


class Decision(NamedTuple):
    """What a rule answers, one value a clip or video of the batch.

    Attributes:
        enough: ``(B,)`` bool, no further look: at this frame, of a stream; at the clip.
        stop: ``(B,)`` bool, no further frame, of a stream; only where it is enough of the frame.
        score: ``(B,)`` what it goes by, where it is a number: higher is surer; None where it is none.
    """

    enough: Tensor
    stop: Tensor
    score: Tensor | None = None


class ExitRule(ABC):
    """Decides after every look whether it was enough.

    Attributes:
        kinds: what it may be used for: 'steps' (clips, step by step), 'stream' (frame by frame), or both.
    """

    kinds: ClassVar[tuple[str, ...]] = ('steps', 'stream')

    @property
    @abstractmethod
    def steps(self) -> int:
        """S, the number of focus steps of the recognizers it is for."""

    @property
    def asks(self) -> bool:
        """Whether it could ever exit; if not, it is never asked."""
        return True

    def asks_after(self, step: int) -> bool:
        """Whether it could say that it was enough after ``step`` < S; if not, its answer there is
        not waited for, and of a clip it is not asked."""
        return self.asks

    def asks_to_stop(self, frame: int) -> bool:
        """Whether it could stop a video after ``frame``; if not, its answer there is not waited for."""
        return self.asks

    @abstractmethod
    def decide(self, logits: Tensor, step: int, frame: int | None = None, state: Any = None) -> Decision:
        """After a look, or a batch of them.

        Args:
            logits: ``(B, C)`` the prediction so far: of a clip the mean over its frames, of a stream the mean
                over the frames read (or the last ``window`` of them).
            step: number of the look just taken, 0 for the glance, up to S.
            frame: number of the frame of a stream, from 0; None for a whole clip.
            state: what the look left (:class:`~gfvideo.structures.LookState`), for rules that read more than
                the prediction; None in a replay of stored logits.
        """


NEXT_LOOK = ('value', 'inverted_value')  # criteria that know of the next look alone
UNREACHED = 2.0  # above every score, and still asked for
_RULES: dict[str, Any] = {}


class Thresholds(ExitRule):
    """A score, and thresholds that it is held against; subclasses are dataclasses whose fields JSON can hold.

    Attributes:
        criterion, temperature: see :func:`~gfvideo.exits.confidence`.
    """

    criterion: str
    temperature: float

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        _RULES[cls.__name__] = (
            cls  # a class defined again, as in a notebook, takes the place of the one before
        )

    def score(self, logits: Tensor, step: int, frame: int | None = None, state: Any = None) -> Tensor:
        """How sure the prediction is, ``(B,)`` in [0, 1]; arguments as those of :meth:`decide`."""
        if self.criterion in STATE_CRITERIA:
            return state_score(state, self.criterion)
        return confidence(logits, self.criterion, self.temperature)

    def reads_logits_alone(self) -> bool:
        """Whether scores are the confidence of the prediction, so that stored logits tell them."""
        return type(self).score is Thresholds.score and self.criterion not in STATE_CRITERIA

    def _check(self, **thresholds: Sequence[float]) -> None:
        known_criterion(self.criterion)
        if not 0 < self.temperature < math.inf:
            raise ValueError(f'temperature={self.temperature} must be above 0 and finite')
        for name, values in thresholds.items():
            object.__setattr__(self, name, tuple(map(float, values)))
            if any(math.isnan(value) for value in values):
                raise ValueError(
                    f'{name}={list(values)} holds a nan; write inf for an exit that is never taken'
                )


@dataclass(frozen=True)
class StepExits(Thresholds):
    """Step-level exits of clips: a clip is done as soon as its prediction is sure enough.

    Args:
        thresholds: S of them, after step 0..S-1; a clip leaves at a score of at least this; inf:
            none does.
        criterion, temperature: see :func:`~gfvideo.exits.confidence`.
    """

    thresholds: tuple[float, ...]
    criterion: str = 'max_prob'
    temperature: float = 1.0

    kinds: ClassVar[tuple[str, ...]] = ('steps',)

    def __post_init__(self):
        self._check(thresholds=self.thresholds)

    @property
    def steps(self) -> int:
        return len(self.thresholds)

    @property
    def asks(self) -> bool:
        return any(value < math.inf for value in self.thresholds)

    def asks_after(self, step: int) -> bool:
        return self.thresholds[step] < math.inf

    def decide(self, logits: Tensor, step: int, frame: int | None = None, state: Any = None) -> Decision:
        score = self.score(logits, step, frame, state)
        if step == self.steps:
            enough = torch.ones_like(score, dtype=torch.bool)
        else:
            enough = score >= self.thresholds[step]
        return Decision(enough, enough, score)


@dataclass(frozen=True)
class StreamExits(Thresholds):
    """Exits of a stream: after a look, look once more at this frame, go on to the next, or stop.

    Both questions are put to the prediction from all frames so far. It is enough of a frame after its last
    look, or once the score reaches ``enough`` of that look; then it is enough of the video once the score
    reaches ``stop`` of that frame.

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

    kinds: ClassVar[tuple[str, ...]] = ('stream',)

    def __post_init__(self):
        self._check(enough=self.enough, stop=self.stop)
        if self.criterion in NEXT_LOOK:
            raise ValueError(
                f'criterion={self.criterion!r} says what another look at a frame is worth, and nothing of'
                ' further frames, so it cannot stop a stream; choose max_prob, entropy or margin'
            )

    @property
    def steps(self) -> int:
        return len(self.enough)

    def recording(self) -> StreamExits:
        """Exits that take the same looks and never stop, for a trace; asked after every look if their scores
        are their own, which stand in the trace alone."""
        if self.reads_logits_alone():
            return replace(self, stop=())
        return replace(self, enough=tuple(min(value, UNREACHED) for value in self.enough), stop=(UNREACHED,))

    @property
    def asks(self) -> bool:
        return any(value < math.inf for value in (*self.enough, *self.stop))

    def asks_after(self, step: int) -> bool:
        return self.enough[step] < math.inf

    def asks_to_stop(self, frame: int) -> bool:
        return frame < len(self.stop) and self.stop[frame] < math.inf

    def decide(self, logits: Tensor, step: int, frame: int | None = None, state: Any = None) -> Decision:
        if frame is None:
            raise ValueError('exits of streams decide frame by frame, and no frame was named; give frame=T')
        score = self.score(logits, step, frame, state)
        if step == self.steps:
            enough = torch.ones_like(score, dtype=torch.bool)
        else:
            enough = score >= self.enough[step]
        stop = self.stop[frame] if frame < len(self.stop) else math.inf
        return Decision(enough, enough & (score >= stop), score)


BUILT_IN = (StepExits, StreamExits)


def rule_class(name: str) -> type[StepExits | StreamExits]:
    """The class of that name, of this package or one of your own that has been imported.

    Raises:
        ValueError: if there is none.
    """
    if name not in _RULES:
        raise ValueError(
            f'exit rule {name!r} is unknown; import the module that defines it first (custom_imports of the'
            f' config). Known are {", ".join(sorted(_RULES))}'
        )
    return _RULES[name]


def to_plain(exits: StepExits | StreamExits) -> dict[str, Any]:
    """As JSON can hold it: null for a threshold that is never reached; a class of your own says its name as
    ``rule``."""
    named = {} if type(exits) in BUILT_IN else dict(rule=type(exits).__name__)
    return named | {name: _without_inf(value) for name, value in asdict(exits).items()}


def _without_inf(value: Any) -> Any:
    return [None if item == math.inf else item for item in value] if isinstance(value, tuple) else value


def from_plain(values: Mapping[str, Any]) -> StepExits | StreamExits:
    """Back from :func:`to_plain`'s form.

    Raises:
        ValueError: if a name is unknown or a value is none of such exits.
    """
    fields = {name: _with_inf(value) for name, value in values.items() if name != 'rule'}
    built_in = StepExits if 'thresholds' in values else StreamExits
    kind = rule_class(values['rule']) if 'rule' in values else built_in
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f'{dict(values)} are no exits: {error}') from error


def _with_inf(value: Any) -> Any:
    return tuple(math.inf if item is None else item for item in value) if isinstance(value, list) else value
