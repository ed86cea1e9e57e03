"""The contract of the recognizers: what training, streams, exits, cost, export and pictures stand on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import rearrange
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..ops import being_captured, micro_batch_for
from ..registry import HUB, MODELS
from ..structures import ClipSample, LookState
from .encoder import Encoder
from .losses import CROSS_ENTROPY, known_loss, labels_of, mean_answer, probabilities_of
from .stream import Decides, Stream, StreamState
from .temporal import Cache

__all__ = ['Prediction', 'Recognizer']


class Prediction(NamedTuple):
    """Clip logits after every step ``(B, S+1, C)``, and the centres ``(B, S, T, 2)`` of the focus steps, None
    without any.

    ``window_sizes`` ``(B, S, T, 2)`` in pixels, where the policy chooses those too.
    """

    step_logits: Tensor
    centres: Tensor | None
    window_sizes: Tensor | None = None


class Recognizer(BaseModel):
    """Base of the clip recognizers.

    A subclass gives ``steps``, :meth:`glance`, :meth:`focus` unless ``steps`` is 0, and :meth:`losses` if it
    trains. The rest follows from these, and may be said better by the subclass: :meth:`parts`,
    :meth:`described`, :meth:`looking_ahead`, :attr:`draws`. Nothing outside asks a recognizer for anything
    else, so a recognizer of your own is streamed, counted, calibrated and exported as those of this package
    are.

    No state is kept on ``self`` between calls: what one look leaves for the next is in the
    :class:`~gfvideo.structures.LookState`.

    Args:
        num_classes: C.
        data_preprocessor: config of the preprocessor; None takes ``ClipPreprocessor`` with its defaults.
        init_cfg: of mmengine.
        loss: what the logits mean, and learn by: 'cross_entropy', one class excludes the others (several
            classes of a clip have equal shares); 'binary_cross_entropy', each class for itself, for clips
            that may show several; or one of :func:`~gfvideo.models.losses.register_loss`.

    Attributes:
        steps: S, the number of focus steps.
        cfg: the config it was built from; empty if it was built by hand.
        dataset_meta: what its checkpoint said of the dataset, e.g. ``classes``; empty if nothing.
        provenance: what its checkpoint said of its training: stage, epoch, seed, datasets with their hashes;
            empty if nothing.

    Raises:
        ValueError: if there are no classes.
    """

    steps: int = 0
    _is_init: bool

    def __init__(
        self,
        num_classes: int,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        loss: str = CROSS_ENTROPY,
    ):
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        self.loss = known_loss(loss)
        if num_classes is None:
            raise ValueError(
                'num_classes=None stands for the classes of the prepared dataset of the config, and there is'
                ' none at its root; prepare it, or give the number'
            )
        if num_classes < 1:
            raise ValueError(f'num_classes={num_classes} must be at least 1')
        self.num_classes = num_classes
        self.cfg = Config()
        self.dataset_meta: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}

    # ---- the contract

    @abstractmethod
    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0 at every frame.

        Args:
            frames: ``(B, T, 3, H, W)``, normalised.
            cache: ``LookState.cache`` of the frames before, in a causal stream.
        """

    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState:
        """One more look at every frame.

        Args:
            frames: ``(B, T, 3, H, W)``, those of ``state``.
            state: what the look before left.
            centres: ``(B, T, 2)`` to cut at, (y, x) in [0, 1]; None lets the recognizer choose.

        Raises:
            NotImplementedError: of a recognizer that has no focus steps.
        """
        raise NotImplementedError(f'{type(self).__name__} has steps={self.steps} and no focus')

    def losses(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses (keys that start with ``loss``) and values to log, of frames ``(B, T, 3, H, W)`` and labels
        ``(B,)``, or ``(B, C)`` of clips with several classes.

        Raises:
            NotImplementedError: of a recognizer that does not train.
        """
        raise NotImplementedError(f'{type(self).__name__} has no losses, so it cannot train')

    def parts(self) -> dict[str, nn.Module]:
        """The parts of the recognizer by the names of their attributes, in the order in which they run.

        For counting, freezing, and hashes: the weights of part ``name`` are those of the state dict that
        start with ``name.``. Here: every child that has weights.
        """
        return {
            name: child
            for name, child in self.named_children()
            if name != 'data_preprocessor' and child.state_dict()
        }

    def described(self) -> dict[str, Any]:
        """Settings that, with the weights, decide what it predicts and costs, as JSON holds them.

        Exits and exports belong to exactly these. A subclass adds its own: ``super().described() |
        dict(patch_size=[P, P])``. Pictures read ``glance_size`` and ``patch_size``, (height, width) in
        pixels, where there are any.
        """
        encoders = self._encoders().values()
        # the usual loss is left out, as it was before there were others: exits and exports stay valid
        other = {} if self.loss == CROSS_ENTROPY else dict(loss=self.loss)
        return other | dict(
            type=type(self).__name__,
            num_classes=self.num_classes,
            steps=self.steps,
            shift=sorted({str(encoder.shift) for encoder in encoders}),
            fold_div=sorted({encoder.fold_div for encoder in encoders}),
            preprocessor={
                name: value.flatten().tolist() for name, value in self.data_preprocessor.named_buffers()
            },
        )

    def looking_ahead(self) -> list[str]:
        """Names of the parts that need later frames to look at this one; a recognizer without any streams.

        Here: encoders with the bidirectional shift.
        """
        return [name for name, encoder in self._encoders().items() if encoder.shift == 'bidirectional']

    @property
    def draws(self) -> bool:
        """Whether its looks are drawn at random at test, so that no run repeats another."""
        return False

    @property
    def prepares_for_sizes(self) -> bool:
        """Whether each new number of clips in a batch costs time first, so that few sizes are to be asked
        for."""
        return False

    def by_torch(self) -> Recognizer:
        """The recognizer whose modules torch runs, for counting; itself, but for one that another engine
        computes."""
        return self

    def set_progress(self, fraction: float) -> None:
        """Which share of a stage, in [0, 1], is behind it; a policy's schedule of exploration goes by it."""

    # ---- the form of model hubs, which is written by a room that imports this one

    def save_pretrained(self, folder: str | PathLike[str], **options: Any) -> Path:
        """Write the recognizer to a folder that :func:`gfvideo.from_pretrained` reads; see
        :func:`gfvideo.hub.save_pretrained`."""
        return HUB.get('save_pretrained')(self, folder, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the recognizer to a model hub; see :func:`gfvideo.hub.push_to_hub`."""
        return HUB.get('push_to_hub')(self, repo_id, **options)

    # ---- what follows from it

    def _encoders(self) -> dict[str, Encoder]:
        return {name: module for name, module in self.named_modules() if isinstance(module, Encoder)}

    def init_weights(self) -> None:
        """Initialise the parts that know how, once; without mmengine's line a parameter in the log."""
        if not self._is_init:  # of mmengine
            for part in self.children():
                if hasattr(part, 'init_weights'):
                    part.init_weights()
            self._is_init = True

    def looks(self, frames: Any) -> list[LookState]:
        """The states after steps 0..S of frames ``(B, T, 3, H, W)``."""
        states = [self.glance(frames)]
        for _ in range(self.steps):
            states.append(self.focus(frames, states[-1]))
        return states

    def probabilities(self, logits: Tensor) -> Tensor:
        """What logits ``(..., C)`` mean by its loss: the softmax, or each class for itself."""
        return probabilities_of(logits, self.loss)

    def predict_steps(self, frames: Tensor) -> Prediction:
        """Clip logits after every step, of frames ``(B, T, 3, H, W)``; where a few clips at a time are faster
        (:func:`~gfvideo.ops.micro_batch_for`), of so many at a time, to the same numbers."""
        if not isinstance(frames, Tensor):  # glance and focus frames apart, of AdaFocus
            return self._predict_together(frames)
        parts = [self._predict_together(part) for part in frames.split(self._clips_at_a_time(frames))]
        if len(parts) == 1:
            return parts[0]
        step_logits, centres, window_sizes = zip(*parts)
        return Prediction(torch.cat(step_logits), _concatenated(centres), _concatenated(window_sizes))

    def _clips_at_a_time(self, frames: Tensor) -> int:
        whole = max(1, len(frames))
        if whole == 1 or self.training or self.draws or torch.is_grad_enabled() or being_captured():
            return whole  # draws of a batch are not those of its parts
        if micro_batch_for(frames.device) is None:
            return whole
        T, _, height, width = frames.shape[1:]
        told = self.described()
        looks = [told[size] for size in ('glance_size', 'patch_size', 'input_size') if told.get(size)]
        pixels = T * max(h * w for h, w in looks or [(height, width)])
        return min(whole, micro_batch_for(frames.device, pixels) or whole)

    def answers(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> list[LookState]:
        """The states after steps 0..S where all looks are taken, without exits in between.

        Of each ``logits``, ``centres`` and ``window_sizes`` are asked for, of the last also ``cache``; an
        engine may leave out the rest.

        Args:
            frames: ``(B, T, 3, H, W)``, normalised.
            cache: of the frames before, in a causal stream.
        """
        states = [self.glance(frames, cache)]
        while states[-1].step < self.steps:
            states.append(self.focus(frames, states[-1]))
        return states

    def _predict_together(self, frames: Tensor) -> Prediction:
        states = self.answers(frames)
        step_logits = torch.stack([state.logits.mean(1) for state in states], dim=1)  # (B, S+1, C)
        focused = states[1:]
        return Prediction(
            step_logits,
            _stacked([state.centres for state in focused]),
            _stacked([state.window_sizes for state in focused]),
        )

    def predict_views(self, frames: Tensor) -> Prediction:
        """Views ``(B, V, T, 3, H, W)``: logits ``(B, S+1, C)`` of the mean probabilities over the views (of
        cross-entropy, the log of the mean softmax), centres ``(B, V, S, T, 2)``."""
        V = frames.shape[1]
        step_logits, centres, _ = self.predict_steps(rearrange(frames, 'b v t c h w -> (b v) t c h w'))
        by_view = rearrange(step_logits, '(b v) s c -> b v s c', v=V)
        if centres is not None:
            centres = rearrange(centres, '(b v) s t yx -> b v s t yx', v=V)
        return Prediction(mean_answer(by_view, 1, self.loss), centres)

    def stream(
        self, exits: Decides | None = None, window: int | None = None, state: StreamState | None = None
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


def _concatenated(values: Sequence[Tensor | None]) -> Tensor | None:
    told = [value for value in values if value is not None]
    return torch.cat(told) if told else None


def _stacked(values: Sequence[Tensor | None]) -> Tensor | None:
    """Of S looks ``(B, T, 2)`` each ``(B, S, T, 2)``; None without looks, or where they do not say."""
    told = [value for value in values if value is not None]
    return torch.stack(told, 1) if told and len(told) == len(values) else None
