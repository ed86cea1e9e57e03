"""What a recognizer answered on each clip of a test, after every step, and where it left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..evaluation import class_accuracies, confusion_matrix
from ..exits import CRITERIA, Calibration, StepExits, replay_clips
from .folder import RunFolder

__all__ = ['ClassRow', 'ClipAnswers', 'answers_of', 'class_rows']


@dataclass(frozen=True)
class ClipAnswers:
    """N clips through one recognizer.

    Attributes:
        file: the predictions.
        clips: as they were dumped, see :class:`~gfvideo.structures.ClipSample`.
        labels: ``(N,)``.
        step_logits: ``(N, S+1, C)``.
        exits: ``(N,)`` the step, or of a stream the frame, after which each clip left; None where nothing
            says.
        exits_from: where ``exits`` are from, in words.
        streamed: whether ``exits`` are frames.
    """

    file: Path
    clips: list[dict[str, Any]]
    labels: Tensor
    step_logits: Tensor
    exits: Tensor | None = None
    exits_from: str = ''
    streamed: bool = False

    @property
    def last(self) -> Tensor:
        """The logits that the answer of each clip is read from, ``(N, C)``: those after the last step."""
        return self.step_logits[:, -1]


def answers_of(run: RunFolder) -> ClipAnswers | None:
    """The predictions of the run's largest test with all steps and labels; None without one.

    Where clips left is taken from a test with exits, if that was dumped too; else the chosen setting of the
    run's ``exits.json`` is replayed on these predictions.
    """
    whole = {
        path: clips
        for path, clips in run.dumps.items()
        if clips and all('step_logits' in clip and 'gt_label' in clip for clip in clips)
    }
    if not whole:
        return None
    file = max(whole, key=lambda path: len(whole[path]))
    clips = whole[file]
    if len({tuple(clip['step_logits'].shape) for clip in clips}) > 1:
        run.faults.append(f'{file}: predictions of several shapes; dump those of one test')
        return None
    labels = torch.tensor([int(clip['gt_label']) for clip in clips])
    step_logits = torch.stack([clip['step_logits'].float().cpu() for clip in clips])  # (N, S+1, C)
    if int(labels.max()) >= step_logits.shape[2] or int(labels.min()) < 0:
        run.faults.append(f'{file}: label {int(labels.max())} of {step_logits.shape[2]} classes')
        return None
    exits, exits_from, streamed = _really_left(run, clips)
    if exits is None:
        exits, exits_from = _replayed(run, step_logits, labels)
    return ClipAnswers(file, clips, labels, step_logits, exits, exits_from, streamed)


def _really_left(run: RunFolder, clips: Sequence[dict[str, Any]]) -> tuple[Tensor | None, str, bool]:
    for path, dumped in run.dumps.items():
        left = {str(clip.get('video_id')): clip for clip in dumped if 'exit' in clip}
        if left and all(str(clip.get('video_id')) in left for clip in clips):
            found = [left[str(clip.get('video_id'))] for clip in clips]
            streamed = any(torch.as_tensor(one['looks']).ndim > 0 for one in found if 'looks' in one)
            return torch.tensor([int(one['exit']) for one in found]), f'as tested, {path.name}', streamed
    return None, '', False


def _replayed(run: RunFolder, step_logits: Tensor, labels: Tensor) -> tuple[Tensor | None, str]:
    for path, calibration in run.exits.items():
        rule = replayable(calibration, step_logits.shape[1] - 1)
        if rule is not None and rule.thresholds:
            steps = list(range(step_logits.shape[1]))
            return replay_clips(step_logits, labels, rule, steps).positions, f'replayed by {path.name}'
    return None, ''


def replayable(calibration: Calibration, steps: int, number: int | None = None) -> StepExits | None:
    """The exits of a setting (None: the chosen one), if predictions of so many looks alone can replay
    them."""
    rule = calibration.sweep[calibration.chosen if number is None else number].exits
    fits = isinstance(rule, StepExits) and rule.criterion in CRITERIA and len(rule.thresholds) == steps
    return rule if fits and isinstance(rule, StepExits) else None


class ClassRow(NamedTuple):
    """How one class fared.

    Attributes:
        label: number of the class.
        name: of the class.
        clips: with this label.
        accuracy: share of them that are right after the last step; nan without clips.
        mean_exit: mean step (frame) after which they left; None where nothing says.
        mistaken_for: the class they are mistaken for most often, and how often; None if never.
    """

    label: int
    name: str
    clips: int
    accuracy: float
    mean_exit: float | None
    mistaken_for: tuple[str, int] | None


def class_rows(answers: ClipAnswers, classes: Sequence[str]) -> list[ClassRow]:
    """A row for each class that has clips, in the order of labels."""
    matrix = confusion_matrix(answers.last, answers.labels)  # (C, C)
    accuracies = class_accuracies(answers.last, answers.labels).tolist()
    rows = []
    for label, counts in enumerate(matrix):
        here = answers.labels == label
        if not here.any():
            continue
        others = counts.clone()
        others[label] = 0
        worst = int(others.argmax())
        exits = None if answers.exits is None else answers.exits[here].double().mean().item()
        rows.append(
            ClassRow(
                label,
                classes[label],
                int(here.sum()),
                accuracies[label] if math.isfinite(accuracies[label]) else 0.0,
                exits,
                (classes[worst], int(others[worst])) if others[worst] else None,
            )
        )
    return rows
