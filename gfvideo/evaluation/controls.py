"""What a learned policy is worth: the same network on the same clips, looking elsewhere.

A policy that is no better than random patches has learned nothing, however good the accuracy; one that is no
worse than the oracle has nothing left to learn. :class:`ControlMeter` shows each batch of clips to a
recognizer once for every row, so clips are decoded once; :func:`control_rows` makes the table's rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..complexity import recognizer_cost
from ..models import GlanceFocusRecognizer, Recognizer, ValueMapPolicy
from ..models.glance_focus import CentreMode
from ..models.policies.top_k import best_centres
from ..structures import ClipSample, LookState
from .functional import label_ranks
from .objects import HitRates, Objects, patch_hit_rate, scale_boxes
from .oracle import oracle_centres
from .sources import Difference, mean_standard_error, paired_difference

__all__ = [
    'Answers',
    'ControlMeter',
    'ControlRow',
    'control_rows',
    'controls_table',
    'over_seeds',
    'right_answers',
]

TUNED = ('random', 'centre')  # the controls that can be trained on


@dataclass(frozen=True)
class Answers:
    """What one row answered on N clips.

    Attributes:
        name: of the row.
        right: ``(N, S+1)`` whether the clip was recognized after each step; of several draws the share of
            those that did. One column where there is one answer.
        gmacs: cumulative GMACs of a clip after each column.
        hits: where the patches fell; None if the places are unknown.
        step: number of the first column's step, 0 for the glance; None for a network of its own kind.
    """

    name: str
    right: np.ndarray
    gmacs: Sequence[float]
    hits: HitRates | None = None
    step: int | None = 0


@dataclass(frozen=True)
class ControlRow:
    """One row of the table; fractions.

    Attributes:
        name, step, gmacs, hits: as of :class:`Answers`.
        top1: after each step, or the one answer.
        errors: standard errors of ``top1``.
        ahead: how far the learned row is ahead, on the same clips: after each step where the row has as many;
            else of its last answer over the row's. Empty for the learned row itself.
    """

    name: str
    step: int | None
    top1: list[float]
    errors: list[float]
    ahead: list[Difference]
    gmacs: list[float]
    hits: HitRates | None

    def as_json(self) -> dict[str, Any]:
        """As JSON holds it: what is not a number (a rate of nothing) is null."""
        written = asdict(self) | dict(ahead=[difference._asdict() for difference in self.ahead])
        return _without_nan(written)

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> ControlRow:
        """Back from :meth:`as_json`."""
        return cls(**{**written, 'ahead': [Difference(**one) for one in written['ahead']]})


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def right_answers(step_logits: Tensor, labels: Tensor) -> np.ndarray:
    """Which clips are recognized after each step, ``(N, S+1)`` of 0 and 1, from step logits ``(N, S+1,
    C)``."""
    ranks = [label_ranks(logits, labels) for logits in step_logits.unbind(1)]
    return (torch.stack(ranks, 1) == 0).double().cpu().numpy()


def control_rows(answers: Sequence[Answers], sources: Sequence[str] | None = None) -> list[ControlRow]:
    """Accuracies, their standard errors, and how far the first row, the learned one, is ahead.

    Args:
        answers: of the same N clips in the same order.
        sources: N names of what each clip is from (:mod:`gfvideo.evaluation.sources`); None where every clip
            is its own source.

    Raises:
        ValueError: if rows are not of as many clips.
    """
    learned = answers[0]
    rows = []
    for one in answers:
        if len(one.right) != len(learned.right):
            raise ValueError(
                f'row {one.name!r} has {len(one.right)} clips and {learned.name!r} {len(learned.right)}; test'
                ' all on the same ones'
            )
        columns = list(one.right.T)
        compared = learned.right.T if len(columns) == learned.right.shape[1] else learned.right.T[-1:]
        ahead = [paired_difference(*pair, sources) for pair in zip(compared, columns[-len(compared) :])]
        rows.append(
            ControlRow(
                one.name,
                one.step,
                [float(column.mean()) for column in columns],
                [mean_standard_error(column, sources) for column in columns],
                [] if one is learned else ahead,
                list(one.gmacs),
                one.hits,
            )
        )
    return rows


def over_seeds(runs: Sequence[Sequence[ControlRow]]) -> list[ControlRow]:
    """The same rows of several trainings: means, and in the place of standard errors the standard deviations
    over trainings, of the differences too.

    Args:
        runs: for each of two or more seeds the rows, by the same names in the same order.

    Raises:
        ValueError: if there are fewer seeds, or their rows are not the same.
    """
    names = [[row.name for row in rows] for rows in runs]
    if len(runs) < 2 or any(found != names[0] for found in names):
        raise ValueError(f'{len(runs)} runs with rows {names}: give the same rows of two seeds or more')
    return [_over_seeds(rows) for rows in zip(*runs, strict=True)]


def _over_seeds(rows: Sequence[ControlRow]) -> ControlRow:
    first, top1 = rows[0], np.array([row.top1 for row in rows])  # (seeds, S+1)
    ahead = np.array([[one.mean for one in row.ahead] for row in rows])  # (seeds, S+1), or 1, or 0
    known = [row.hits for row in rows if row.hits is not None]
    return ControlRow(
        first.name,
        first.step,
        top1.mean(0).tolist(),
        top1.std(0, ddof=1).tolist(),
        [Difference(float(one.mean()), float(one.std(ddof=1))) for one in ahead.T],
        first.gmacs,
        _mean_hits(known) if known else None,
    )


def _mean_hits(hits: Sequence[HitRates]) -> HitRates:
    """The means of all rates; ``misses`` are added up, since rates after a miss rest on all of them."""

    def mean(values: Sequence[Any]) -> Any:
        if isinstance(values[0], dict):
            return {key: mean([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], list):
            return [mean(items) for items in zip(*values, strict=True)]
        numbers = [value for value in values if value is not None and not math.isnan(value)]
        return float(np.mean(numbers)) if numbers else math.nan

    misses = np.sum([one['misses'] for one in hits], axis=0).tolist()
    return cast(HitRates, mean(hits) | dict(misses=misses))


class ControlMeter:
    """A recognizer and its controls, batch by batch.

    The rows: ``learned``, the policy's best choice; ``random``, the mean of several draws; ``centre``;
    ``top-k``, where the policy is a value map, the best places of its first map; ``oracle``, where objects
    are known; ``glance only``; and ``random, tuned`` and ``centre, tuned``, recognizers whose encoders
    learned on such patches.

    Args:
        recognizer: in evaluation mode, with one look or more.
        objects: video id -> frame number -> name -> box, in pixels of the video; None where they are unknown.
        tuned: 'random' or 'centre' -> a recognizer of as many looks.
        draws: number of draws of random patches.
        seed: of these draws, which depend on the order of the clips and on nothing else.

    Raises:
        ValueError: if a recognizer takes no looks, or a control is unknown.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        objects: Mapping[str, Objects] | None = None,
        tuned: Mapping[str, Recognizer] | None = None,
        draws: int = 3,
        seed: int = 0,
    ):
        self.recognizer, self.objects = _that_looks(recognizer), objects
        self.tuned = {name: _that_looks(model) for name, model in (tuned or {}).items()}
        for name, model in self.tuned.items():
            if name not in TUNED:
                raise ValueError(f'a control tuned on {name!r} patches is unknown; choose of {TUNED}')
            if model.steps != recognizer.steps:
                raise ValueError(
                    f'the control tuned on {name} patches takes {model.steps} looks, the recognizer'
                    f' {recognizer.steps}; train it with as many'
                )
        if draws < 1:
            raise ValueError(f'draws={draws} must be 1 or more')
        self.draws, self.video_ids = draws, list[str]()
        self._generator = torch.Generator().manual_seed(seed)
        self._right: dict[str, list[np.ndarray]] = {}
        self._looks: dict[str, list[tuple[int, np.ndarray]]] = {}  # (clip, (S, T, 2))
        self._clips: list[tuple[list[int], Objects, tuple[int, int]]] = []
        self._frame_shape: tuple[int, int, int, int] | None = None  # of the first batch

    # ---- batches

    @torch.no_grad()
    def add(self, frames: Tensor, samples: Sequence[ClipSample]) -> None:
        """Look at a batch in every way.

        Args:
            frames: ``(B, T, 3, H, W)``, normalised.
            samples: their annotations.

        Raises:
            ValueError: if a clip has no label, or frames were cropped and objects are asked for.
        """
        unlabelled = [sample.video_id for sample in samples if 'gt_label' not in sample]
        if unlabelled:
            raise ValueError(f'clip {unlabelled[0]!r} has no label; measure on a split with labels')
        labels = torch.tensor([int(sample.gt_label) for sample in samples], device=frames.device)
        _, T, channels, H, W = frames.shape
        self._frame_shape = self._frame_shape or (T, channels, H, W)
        first, size = len(self._clips), (H, W)
        for sample in samples:
            found = (self.objects or {}).get(sample.video_id, {})
            boxes = scale_boxes(found, sample.frame_size, size) if found else {}
            self._clips.append((list(sample.frame_indices), boxes, size))
            self.video_ids.append(sample.video_id)

        model = self.recognizer
        at_random = self._random_centres(frames)  # (D, B, S, T, 2)
        in_the_middle = torch.full_like(at_random[:1], 0.5)
        with _choosing(model, 'mean'):
            glance = model.glance(frames)
            self._keep('learned', first, labels, [_looks(model, frames, glance)])
        given = dict(random=at_random, centre=in_the_middle)
        if isinstance(model.policy, ValueMapPolicy):
            given['top-k'] = self._top_k_centres(frames, glance)[None]
        if self.objects is not None:
            given['oracle'] = self._oracle_centres(first, size).to(frames.device)[None]
        for name, draws in given.items():
            self._look_at(name, model, frames, glance, draws, first, labels)
        for name, other in self.tuned.items():
            self._look_at(f'{name}, tuned', other, frames, None, given[name], first, labels)

    def _look_at(
        self,
        name: str,
        model: GlanceFocusRecognizer,
        frames: Tensor,
        glance: LookState | None,
        draws: Tensor,
        first: int,
        labels: Tensor,
    ) -> None:
        """Look at given centres ``(D, B, S, T, 2)``, without asking the policy."""
        with _choosing(model, 'centre'):
            glance = model.glance(frames) if glance is None else replace(glance, ahead=None, promise=None)
            self._keep(name, first, labels, [_looks(model, frames, glance, centres) for centres in draws])

    def _keep(self, name: str, first: int, labels: Tensor, draws: Sequence[list[LookState]]) -> None:
        right = []
        for states in draws:
            right.append(right_answers(torch.stack([state.logits.mean(1) for state in states], 1), labels))
            # (B, S, T, 2)
            centres = torch.stack([state.centres for state in states[1:] if state.centres is not None], 1)
            self._looks.setdefault(name, []).extend(enumerate(centres.float().cpu().numpy(), start=first))
        self._right.setdefault(name, []).append(np.mean(right, axis=0))

    # ---- centres that no policy chose

    def _random_centres(self, frames: Tensor) -> Tensor:
        """``(D, B, S, T, 2)``, clip by clip, so that the size of batches changes nothing."""
        T, S = frames.shape[1], self.recognizer.steps
        A = T if self.recognizer.policy.scope == 'frame' else 1
        drawn = [torch.rand(self.draws, S, A, 2, generator=self._generator) for _ in frames]
        return torch.stack(drawn, 1).expand(-1, -1, -1, T, -1).to(frames.device)

    def _top_k_centres(self, frames: Tensor, glance: LookState) -> Tensor:
        """``(B, S, T, 2)``: what :class:`~gfvideo.models.TopKPolicy` would choose with the policy's
        weights."""
        policy = self.recognizer.policy
        assert isinstance(policy, ValueMapPolicy)  # asked before
        observation = self.recognizer.observe(frames, glance)
        left = policy.left(policy.valued(observation))
        centres = best_centres(left, self.recognizer.steps, observation.geometry)  # (B, S, A, 2)
        return centres.expand(-1, -1, frames.shape[1], -1)

    def _oracle_centres(self, first: int, size: tuple[int, int]) -> Tensor:
        """``(B, S, T, 2)`` of the clips from ``first`` on."""
        model = self.recognizer
        return torch.stack(
            [
                oracle_centres(boxes, indices, size, model.patch_size, model.steps)
                for indices, boxes, _ in self._clips[first:]
            ]
        )

    # ---- what came of it

    def answers(self) -> list[Answers]:
        """The rows so far, the learned one first.

        Raises:
            ValueError: if there was no clip, or no frame of them has a known object.
        """
        if self._frame_shape is None:
            raise ValueError('no clip was looked at; is the split empty?')
        costs = self._costs(self._frame_shape)
        right = {name: np.concatenate(parts) for name, parts in self._right.items()}
        rows = [Answers(name, right[name], costs[name], self._hits(name)) for name in right]
        glance = Answers('glance only', right['learned'][:, :1], costs['centre'][:1])
        own = [row for row in rows if not row.name.endswith('tuned')]
        return [*own, glance, *(row for row in rows if row not in own)]

    def _costs(self, frame_shape: tuple[int, int, int, int]) -> dict[str, list[float]]:
        """Cumulative GMACs after each step by row: only the policy's own choices cost its multiply-adds."""
        model = self.recognizer
        with _choosing(model, 'mean'):
            learned = recognizer_cost(model, frame_shape)
        with _choosing(model, 'centre'):
            given = recognizer_cost(model, frame_shape)['steps']
        costs = {name: given for name in ('random', 'centre', 'oracle')} | dict(learned=learned['steps'])
        # the first map is made after the glance, and no other
        costs['top-k'] = [count + learned['by_step'][0]['policy'] for count in given]
        for name, other in self.tuned.items():
            with _choosing(other, 'centre'):
                costs[f'{name}, tuned'] = recognizer_cost(other, frame_shape)['steps']
        return {name: [count / 1e9 for count in counts] for name, counts in costs.items()}

    def _hits(self, name: str) -> HitRates | None:
        model = self.tuned.get(name.removesuffix(', tuned'), self.recognizer)
        if self.objects is None or (name == 'learned' and model.policy.sizes):
            return None  # what it cuts has other sizes
        looks = self._looks[name]
        indices, boxes, sizes = zip(*(self._clips[clip] for clip, _ in looks), strict=True)
        return patch_hit_rate([centres for _, centres in looks], indices, boxes, sizes, model.patch_size)


def _that_looks(model: Recognizer) -> GlanceFocusRecognizer:
    if not isinstance(model, GlanceFocusRecognizer) or model.steps < 1:
        raise ValueError(
            f'{type(model).__name__} with steps={model.steps} takes no looks at places that could be given;'
            ' give a GlanceFocusRecognizer with one look or more'
        )
    return model


@contextmanager
def _choosing(model: GlanceFocusRecognizer, centres: CentreMode) -> Iterator[None]:
    """Inside, the recognizer chooses its centres so."""
    before = model.test_centres
    model.test_centres = centres
    try:
        yield
    finally:
        model.test_centres = before


def _looks(
    model: GlanceFocusRecognizer, frames: Tensor, glance: LookState, centres: Tensor | None = None
) -> list[LookState]:
    """The states after all steps, at given centres ``(B, S, T, 2)`` or at those of the policy."""
    states = [glance]
    for step in range(model.steps):
        given = None if centres is None else centres[:, step]
        states.append(model.focus(frames, states[-1], given))
    return states


# -------------------------------------------------------------------------------------------------- the table


def controls_table(rows: Sequence[ControlRow]) -> str:
    """Lines of text: top-1 in percent after each step, how far the learned row is ahead in points, GMACs
    after the last step, and where the patches fell, in percent."""
    S = len(rows[0].top1) - 1
    steps = ['glance', *(f'look {s + 1}' for s in range(S))]
    hits = [f'hit {s + 1}' for s in range(S)] + ['after a miss', 'frames', 'found', 'area']
    head = ['row', *steps, *(f'ahead, {step}' for step in steps), 'GMACs', *hits]
    lines = [head, *([row.name, *_cells(row, S)] for row in rows)]
    used = [i for i in range(len(head)) if i < S + 2 or any(line[i] for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in used}
    return '\n'.join(
        '  '.join(line[i].ljust(widths[i]) if i == 0 else line[i].rjust(widths[i]) for i in used).rstrip()
        for line in lines
    )


def _cells(row: ControlRow, S: int) -> list[str]:
    """Of one row: S+1 accuracies, S+1 differences, GMACs, S+4 of hits; '' where there is none."""
    accuracies, ahead = [''] * (S + 1), [''] * (S + 1)
    first = S if row.step is None else row.step
    for column, (top1, error) in enumerate(zip(row.top1, row.errors), start=first):
        accuracies[column] = f'{100 * top1:.1f} ± {100 * error:.1f}'
    for column, difference in enumerate(row.ahead, start=S + 1 - len(row.ahead)):
        ahead[column] = f'{100 * difference.mean:+.1f} ± {100 * difference.error:.1f}'
    return [*accuracies, *ahead, f'{row.gmacs[-1]:.4f}', *_hit_cells(row.hits, S)]


def _hit_cells(hits: HitRates | None, S: int) -> list[str]:
    if hits is None:
        return [''] * (S + 4)
    after = f'{_percent(hits["after_miss"][-1])} of {hits["misses"][-1]}' if S > 1 else ''
    return [
        *map(_percent, hits['centre']),
        after,
        *(_percent(share[-1]) for share in (hits['frame'], hits['found'], hits['area'])),
    ]


def _percent(share: float | None) -> str:
    return '-' if share is None or math.isnan(share) else f'{100 * share:.1f}'
