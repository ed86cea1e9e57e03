"""What every clip recognizer shares: mmengine's forward modes, labels, views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from ..registry import MODELS
from ..structures import ClipSample, LookState
from .stream import Exits, Stream, StreamState

__all__ = [
    'Prediction',
    'Recognizer',
    'Supervision',
    'as_size',
    'known_supervision',
    'labels_of',
    'running_mean',
    'supervised_loss',
    'top1',
]

Supervision = Literal['clip', 'frames']


class Prediction(NamedTuple):
    """Clip logits after every step ``(B, S+1, C)``, and the centres ``(B, S, T, 2)`` of the focus steps, None
    without any.

    ``window_sizes`` ``(B, S, T, 2)`` in pixels, where the policy chooses those too.
    """

    step_logits: Tensor
    centres: Tensor | None
    window_sizes: Tensor | None = None


def as_size(size: int | Sequence[int], name: str) -> tuple[int, int]:
    """(height, width) from one number or two, all positive."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f'{name}={size!r} must be positive: one number, or (height, width)')
    return int(height), int(width)


def labels_of(data_samples: Sequence[ClipSample] | None, num_classes: int, device: torch.device) -> Tensor:
    """Labels ``(B,)``, checked against the number of classes.

    Raises:
        ValueError: if a sample has no label, or one outside 0..C-1.
    """
    if not data_samples or any('gt_label' not in sample for sample in data_samples):
        raise ValueError(
            'training needs a gt_label in every data sample; use PackClip at the end of the training pipeline'
        )
    labels = torch.stack([torch.as_tensor(sample.gt_label).reshape(()) for sample in data_samples]).long()
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero().flatten()
    if len(wrong):
        sample = data_samples[int(wrong[0])]
        raise ValueError(
            f'clip {sample.get("video_id")!r} has label {int(labels[wrong[0]])}, but the model has'
            f' {num_classes} classes (0 is the first); set num_classes to the number of classes of the'
            ' dataset'
        )
    return labels.to(device)


def top1(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of ``logits`` ``(B, C)`` whose largest is at the label."""
    return (logits.argmax(-1) == labels).float().mean()


def running_mean(logits: Tensor) -> Tensor:
    """What a stream has predicted after each frame: the mean of the logits ``(B, T, C)`` of the frames so
    far, ``(B, T, C)``."""
    return logits.cumsum(1) / torch.arange(
        1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype
    ).view(1, -1, 1)


def supervised_loss(logits: Tensor, labels: Tensor, supervision: Supervision) -> Tensor:
    """Cross-entropy of frame logits ``(B, T, C)``: of their mean ('clip'), or the mean of those after every
    frame ('frames')."""
    logits = logits.float()
    if supervision == 'clip':
        return F.cross_entropy(logits.mean(1), labels)
    return F.cross_entropy(running_mean(logits).flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


def known_supervision(supervision: str) -> str:
    """``supervision`` if it is one.

    Raises:
        ValueError: if it is not.
    """
    if supervision not in ('clip', 'frames'):
        raise ValueError(
            f"supervision={supervision!r} is unknown; choose 'clip' (after the last frame) or 'frames' (after"
            ' every frame)'
        )
    return supervision


class Recognizer(BaseModel):
    """Base of the clip recognizers; a subclass gives ``steps`` (S), ``glance``, ``focus`` if S is not 0, and
    ``losses``."""

    steps: int

    def __init__(self, num_classes: int, data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        if num_classes is None:
            raise ValueError(
                'num_classes=None stands for the classes of the prepared dataset of the config, and there is'
                ' none at its root; prepare it, or give the number'
            )
        if num_classes < 1:
            raise ValueError(f'num_classes={num_classes} must be at least 1')
        self.num_classes = num_classes

    def init_weights(self) -> None:
        """Initialise the parts that know how, once; without mmengine's line a parameter in the log."""
        if not self._is_init:
            for part in self.children():
                if hasattr(part, 'init_weights'):
                    part.init_weights()
            self._is_init = True

    @abstractmethod
    def glance(self, frames: Tensor) -> LookState:
        """Step 0 at frames ``(B, T, 3, H, W)``."""

    def looks(self, frames: Tensor) -> list[LookState]:
        """The states after steps 0..S of frames ``(B, T, 3, H, W)``."""
        states = [self.glance(frames)]
        for _ in range(self.steps):
            states.append(self.focus(frames, states[-1]))
        return states

    def predict_steps(self, frames: Tensor) -> Prediction:
        """Clip logits after every step, of frames ``(B, T, 3, H, W)``."""
        states = self.looks(frames)
        step_logits = torch.stack([state.logits.mean(1) for state in states], dim=1)  # (B, S+1, C)
        return Prediction(
            step_logits, torch.stack([state.centres for state in states[1:]], dim=1) if self.steps else None
        )

    @abstractmethod
    def losses(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses (keys that start with ``loss``) and values to log, of frames ``(B, T, 3, H, W)`` and labels
        ``(B,)``."""

    def predict_views(self, frames: Tensor) -> Prediction:
        """Views ``(B, V, T, 3, H, W)``: log of the mean softmax over the views ``(B, S+1, C)``, centres
        ``(B, V, S, T, 2)``."""
        B, V = frames.shape[:2]
        step_logits, centres, _ = self.predict_steps(frames.flatten(0, 1))  # (B*V, S+1, C)
        probabilities = step_logits.float().softmax(-1).unflatten(0, (B, V)).mean(1)  # (B, S+1, C)
        return Prediction(
            probabilities.clamp_min(1e-12).log(), None if centres is None else centres.unflatten(0, (B, V))
        )

    def stream(
        self, exits: Exits | None = None, window: int | None = None, state: StreamState | None = None
    ) -> Stream:
        """A new video to be read frame by frame, see :class:`~gfvideo.models.stream.Stream`; for causal
        recognizers in eval mode."""
        return Stream(self, exits, window, state)

    def forward(self, inputs: Tensor, data_samples: Sequence[ClipSample] | None = None, mode: str = 'tensor'):
        """mmengine's entry.

        Args:
            inputs: normalised frames ``(B, T, 3, H, W)``, or views ``(B, V, T, 3, H, W)`` except for 'loss'.
            data_samples: one a clip; needed by 'loss'.
            mode: 'tensor' gives clip logits ``(B, C)``, 'loss' a dict of losses, 'predict' the samples with
                predictions.
        """
        if mode == 'loss':
            return self.losses(inputs, labels_of(data_samples, self.num_classes, inputs.device))
        if mode not in ('tensor', 'predict'):
            raise ValueError(
                f"mode={mode!r} is unknown to {type(self).__name__}; choose 'tensor', 'loss' or 'predict'"
            )
        if inputs.dim() not in (5, 6):
            raise ValueError(
                f'inputs have shape {tuple(inputs.shape)}; give frames (B, T, 3, H, W) or views (B, V, T, 3,'
                ' H, W)'
            )
        prediction = self.predict_steps(inputs) if inputs.dim() == 5 else self.predict_views(inputs)
        if mode == 'tensor':
            return prediction.step_logits[:, -1]
        samples = list(data_samples) if data_samples else [ClipSample() for _ in range(len(inputs))]
        for i, sample in enumerate(samples):
            sample.step_logits = prediction.step_logits[i].float()
            sample.logits = sample.step_logits[-1]
            if prediction.centres is not None:
                sample.centres = prediction.centres[i].float()
            if prediction.window_sizes is not None:
                sample.window_sizes = prediction.window_sizes[i].float()
        return samples
