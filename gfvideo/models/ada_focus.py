"""Recognizers of the AdaFocus family: a glance at few frames, one window per clip, a focus on more frames.

AdaFocus V2 on TSM (Wang et al., CVPR 2022) and Uni-AdaFocus on TSM (Wang et al., TPAMI 2024), as policies and
encoders of this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

import torch
from einops import einsum, rearrange, reduce, repeat
from torch import Tensor, nn

from ..ops import crop_patches_bilinear, crop_windows, numbers_like, resize_frames
from ..registry import MODELS
from ..structures import ClipSample, LookState
from .arguments import as_size, build_part, one_of
from .base import Recognizer
from .losses import clip_loss, labels_of, top1
from .policies import (
    CentrePolicy,
    Choice,
    DeformablePolicy,
    DifferentiablePolicy,
    Geometry,
    Observation,
    Policy,
    RandomPolicy,
    frames_at_quantiles,
)
from .policies.base import has_trainable
from .temporal import Cache

__all__ = ['AdaFocusRecognizer']

Frames = Tensor | Mapping[str, Tensor]
Windows = Literal['mixed', 'mean', 'random', 'centre']
Result = TypeVar('Result')

LOSS_WEIGHTS = dict(
    answer=1.0, glance_head=1.0, focus_head=1.0, window_policy=1.0, frame_policy=1.0, window_size=0.5
)


def seen(features: Tensor | None) -> Tensor:
    """What a look left; looks of this recognizer leave all of it."""
    assert features is not None
    return features


def in_float32(function: Callable[[Tensor], Result], features: Tensor) -> Result:
    """``function`` of ``features``, in float32 where autocast would run it in less (Uni-AdaFocus keeps its
    policies out of mixed precision)."""
    device_type = features.device.type
    if not torch.amp.is_autocast_available(device_type) or not torch.is_autocast_enabled(device_type):
        return function(features)
    with torch.autocast(device_type, enabled=False):
        return function(features.float())


def clip_logits(logits: Tensor) -> Tensor:
    """Of logits ``(B, T, C)`` of frames those of the clip ``(B, C)``."""
    return in_float32(lambda logits: logits.mean(1), logits)


@MODELS.register_module()
class AdaFocusRecognizer(Recognizer):
    """Glance at ``glance_frames`` frames, choose one window for the clip, focus on ``focus_frames`` frames
    there; logits are added.

    Where a method takes frames, it takes ``dict(glance=(B, Tg, 3, H, W), focus=(B, T, 3, H, W))``, the focus
    frames being the candidates, or one tensor ``(B, T, 3, H, W)`` of candidates, of which ``glance_frames``
    evenly spaced ones are glanced at. Steps are 0, the glance, and 1, the focus, so the step-level exits of
    this package apply.

    Args:
        glance, focus: configs of the two encoders; both see time, with the bidirectional shift.
        policy: config of a :class:`~gfvideo.models.policies.StackedMapPolicy` or
            :class:`~gfvideo.models.policies.DeformablePolicy`.
        num_classes: C.
        patch_size: P, one number or (height, width) in pixels.
        glance_size: one number or (height, width) in pixels.
        glance_frames: Tg.
        frame_policy: config of a :class:`~gfvideo.models.policies.FramePolicy`, which picks the focus frames
            among the candidates; None focuses on all of them.
        focus_frames: how many are picked; None for a third of the candidates. Without a frame policy it has
            no meaning and must be None.
        dropout: rate before the linear layers.
        train_centres: which windows every clip is read at in training: 'mixed', the policy's and a random one
            of ``patch_size``, as published; 'mean', the policy's alone; or a control, 'random' or 'centre'.
        test_centres: 'mean', the policy's window; or a control, 'random' or 'centre', of ``patch_size``.
        frozen: names of :meth:`parts` that do not learn.
        loss_weights: weights of the terms of the loss, see :meth:`losses`; what it leaves out is 1, and 0.5
            for ``window_size``.

    Training (``mode='loss'``) follows AdaFocus V2: the encoders learn through heads of their own, the answer
    through linear layers on detached vectors. A :class:`StackedMapPolicy` learns through the sampling of the
    patch that the focus encoder reads. In Uni-AdaFocus no gradient passes there: a :class:`DeformablePolicy`
    learns through its window on the glance map, a :class:`FramePolicy` through the glance logits that its
    weights would pick.

    Raises:
        ValueError: on unknown centres, parts or terms, a policy that does not choose one window a clip, and
            frames of other numbers or sizes than the policy was built for.
    """

    steps = 1

    def __init__(
        self,
        glance: dict,
        focus: dict,
        policy: dict,
        num_classes: int,
        patch_size: int | tuple[int, int],
        glance_size: int | tuple[int, int] = 224,
        glance_frames: int = 8,
        frame_policy: dict | None = None,
        focus_frames: int | None = None,
        dropout: float = 0.5,
        train_centres: Windows = 'mixed',
        test_centres: Windows = 'mean',
        frozen: Sequence[str] = (),
        loss_weights: Mapping[str, float] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(num_classes, data_preprocessor, init_cfg)
        if focus_frames is not None and frame_policy is None:
            raise ValueError(
                f'focus_frames={focus_frames} needs a frame_policy to pick them; without one, give as many'
                ' frames'
            )
        self.glance_frames, self.focus_frames = glance_frames, focus_frames
        self.glance_size = as_size(glance_size, 'glance_size')
        self.patch_size = as_size(patch_size, 'patch_size')
        self.glance_encoder, self.focus_encoder = MODELS.build(glance), MODELS.build(focus)
        self.policy: Policy = build_part(
            policy,
            glance_channels=self.glance_encoder.map_channels,
            glance_frames=glance_frames,
            glance_map=self.glance_encoder.map_size(self.glance_size),
        )
        if self.policy.scope != 'clip':
            raise ValueError(
                f'{type(self.policy).__name__} has scope={self.policy.scope!r}, and AdaFocus cuts one window'
                " for all frames of a clip; give policy=dict(scope='clip', ...)"
            )
        self.frame_policy = None
        if frame_policy is not None:
            self.frame_policy = build_part(frame_policy, glance_channels=self.glance_encoder.channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.ModuleDict(
            dict(
                glance=nn.Linear(self.glance_encoder.channels, num_classes),
                focus=nn.Linear(self.focus_encoder.channels, num_classes),
            )
        )
        self.glance_head = nn.Linear(self.glance_encoder.channels, num_classes)
        self.focus_head = nn.Linear(self.focus_encoder.channels, num_classes)
        self.window_head = None
        if self.policy.sizes:
            self.window_head = nn.Linear(self.glance_encoder.map_channels, num_classes)
        self.controls = dict(random=RandomPolicy('clip'), centre=CentrePolicy('clip'))
        self.train_centres = one_of(train_centres, 'train_centres', get_args(Windows))
        self.test_centres = one_of(test_centres, 'test_centres', ('mean', *self.controls))
        self.loss_weights = self._known_weights(loss_weights or {})
        self.frozen = tuple(frozen)
        if set(self.frozen) - set(self.parts()):
            raise ValueError(f'frozen={self.frozen} names unknown parts; choose of {tuple(self.parts())}')
        for name in self.frozen:
            self.parts()[name].requires_grad_(False)

    def _known_weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Those of the terms that this recognizer's parts make."""
        missing = set()
        if not self.policy.sizes:
            missing.add('window_policy')
        if not isinstance(self.policy, DeformablePolicy):
            missing.add('window_size')
        if self.frame_policy is None:
            missing.add('frame_policy')
        known = {name: weight for name, weight in LOSS_WEIGHTS.items() if name not in missing}
        for name, weight in weights.items():
            if name not in known:
                raise ValueError(
                    f'loss_weights[{name!r}]={weight!r} weighs no term of this recognizer; its parts make'
                    f' {", ".join(known)}'
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ValueError(f'loss_weights[{name!r}]={weight!r} must be a number')
            if not 0 <= weight < math.inf:
                raise ValueError(f'loss_weights[{name!r}]={weight!r} must be finite and not negative')
        return known | {name: float(weight) for name, weight in weights.items()}

    # ---- the contract

    def parts(self) -> dict[str, nn.Module]:
        names = ('glance_encoder', 'policy', 'frame_policy', 'focus_encoder', 'classifier')
        heads = ('glance_head', 'focus_head', 'window_head')
        return {name: part for name in (*names, *heads) if (part := getattr(self, name)) is not None}

    def looking_ahead(self) -> list[str]:
        return [*super().looking_ahead(), 'policy']  # one window for all frames

    def described(self) -> dict[str, Any]:
        told = {} if self.test_centres == 'mean' else dict(test_centres=self.test_centres)
        return (
            super().described()
            | told
            | dict(
                glance_size=list(self.glance_size),
                patch_size=list(self.patch_size),
                glance_frames=self.glance_frames,
                focus_frames=self.focus_frames,
                policy=[type(self.policy).__name__, self.policy.scope],
            )
        )

    @property
    def draws(self) -> bool:
        return self.test_centres == 'random'

    def train(self, mode: bool = True) -> AdaFocusRecognizer:
        super().train(mode)
        for name in self.frozen:
            self.parts()[name].eval()
        return self

    # ---- frames

    def _frames(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Glance frames ``(B, Tg, 3, H, W)`` and candidates ``(B, T, 3, H, W)``."""
        if isinstance(frames, Tensor):
            T = frames.shape[1]
            if T < self.glance_frames:
                raise ValueError(
                    f'{T} frames are fewer than the {self.glance_frames} that the glance needs; give at least'
                    ' as many'
                )
            moments = (torch.arange(self.glance_frames, device=frames.device) + 0.5) / self.glance_frames
            return frames[:, (moments * T).long()], frames
        if set(frames) != {'glance', 'focus'}:
            raise ValueError(
                f'frames come as a tensor or as dict(glance=..., focus=...), not with {sorted(frames)}'
            )
        return frames['glance'], frames['focus']

    def _frame_weights(self, glance: LookState) -> Tensor | None:
        """How much each glance frame matters ``(B, Tg)``, without gradient to the encoder; None without a
        frame policy."""
        return (
            None if self.frame_policy is None else in_float32(self.frame_policy, seen(glance.vector).detach())
        )

    def _pick(self, candidates: Tensor, weights: Tensor | None) -> Tensor | None:
        """Indices ``(B, K)`` of the focus frames by the weights of the glance frames, None for all the
        candidates; in training at random quantiles of equal parts."""
        if weights is None:
            return None
        T = candidates.shape[1]
        chosen = max(1, T // 3) if self.focus_frames is None else self.focus_frames
        quantiles = None
        if self.training:
            rank = torch.arange(chosen, device=weights.device)
            quantiles = (rank + torch.rand(candidates.shape[0], chosen, device=weights.device)) / chosen
        return frames_at_quantiles(weights.detach(), T, chosen, quantiles)

    @staticmethod
    def _take(candidates: Tensor, indices: Tensor | None) -> Tensor:
        if indices is None:
            return candidates
        # (B, K, 3, H, W)
        return candidates[torch.arange(candidates.shape[0], device=candidates.device)[:, None], indices]

    # ---- looks

    def geometry(self, frames: Frames) -> Geometry:
        height, width = self._frames(frames)[1].shape[-2:]
        return Geometry((height, width), self.patch_size)

    def glance(self, frames: Frames, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0: the glance frames; logits are ``(B, Tg, C)``."""
        features = self.glance_encoder(resize_frames(self._frames(frames)[0], self.glance_size))
        logits = self.classifier['glance'](self.dropout(features.vector.detach()))
        return LookState(step=0, logits=logits, vector=features.vector, feature_map=features.map)

    def focus(self, frames: Frames, state: LookState, centres: Tensor | None = None) -> LookState:
        """Step 1: the window on the focus frames.

        Args:
            frames: those of ``state``.
            state: what the glance left.
            centres: ``(B, 1, 2)`` to cut patches of ``patch_size`` at; None lets the policy choose place and
                size, or the control that ``train_centres`` or ``test_centres`` names.

        Returns:
            A state with logits ``(B, K, C)``, of which the mean over frames is the sum of both encoders' clip
            logits; ``frame_indices`` ``(B, K)`` are the focus frames, None if all candidates are; ``centres``
            and ``window_sizes`` ``(B, T, 2)`` are the clip's one window, nan at frames not focused on.
        """
        candidates = self._frames(frames)[1]
        indices = self._pick(candidates, self._frame_weights(state))
        choice = self.choose(frames, state) if centres is None else Choice(centres)
        features = self.focus_encoder(self._cut(self._take(candidates, indices), choice))
        from_glance = state.logits.mean(1, keepdim=True)  # (B, 1, C)
        logits = self.classifier['focus'](self.dropout(features.vector.detach())) + from_glance  # (B, K, C)
        T, sizes = candidates.shape[1], choice.window_sizes
        return LookState(
            step=1,
            logits=logits,
            vector=features.vector,
            feature_map=features.map,
            centres=self._where_focused(choice.centres, indices, T),
            window_sizes=None if sizes is None else self._where_focused(sizes, indices, T),
            frame_indices=indices,
        )

    def choose(self, frames: Frames, state: LookState, centres: Windows | None = None) -> Choice:
        """The window of the clip, by ``centres`` or as this mode (training, test) has it: a control's, or the
        policy's from the glance map, without gradient to the encoder."""
        mode = centres or (self.train_centres if self.training else self.test_centres)
        geometry = self.geometry(frames)
        chooser = self.controls.get(mode, self.policy)
        return in_float32(
            lambda feature_map: chooser(Observation(0, feature_map, None, geometry)),
            seen(state.feature_map).detach(),
        )

    def _cut(self, frames: Tensor, choice: Choice) -> Tensor:
        """The window, one for all frames ``(B, K, 3, H, W)``, as patches ``(B, K, 3, *P)``."""
        K = frames.shape[1]
        centres = repeat(choice.centres[:, 0], 'b yx -> b k yx', k=K)
        if choice.window_sizes is None:
            return crop_patches_bilinear(frames, centres, self.patch_size)
        sizes = repeat(choice.window_sizes[:, 0], 'b yx -> b k yx', k=K)
        return crop_windows(frames, centres, sizes, self.patch_size)

    @staticmethod
    def _where_focused(values: Tensor, indices: Tensor | None, num_frames: int) -> Tensor:
        """A window's numbers ``(B, 1 or T, 2)`` as ``(B, T, 2)``, nan at frames not focused on."""
        values = repeat(values[:, 0], 'b yx -> b t yx', t=num_frames)
        if indices is None:
            return values
        frames = torch.arange(num_frames, device=values.device)
        chosen = (indices[..., None] == frames).any(1)  # (B, T)
        return values.masked_fill(~chosen[..., None], torch.nan)

    # ---- prediction and losses

    def forward(self, inputs: Frames, data_samples: Sequence[ClipSample] | None = None, mode: str = 'tensor'):
        """See :meth:`Recognizer.forward`; takes ``dict(glance=..., focus=...)`` too."""
        if isinstance(inputs, Tensor):
            return super().forward(inputs, data_samples, mode)
        if mode == 'tensor':
            return self.looks(inputs)[-1].logits.mean(1)
        if mode == 'loss':
            return self.losses(
                inputs, labels_of(data_samples, self.num_classes, self._frames(inputs)[1].device)
            )
        raise ValueError(
            f"mode={mode!r} takes one tensor of frames; glance and focus frames apart are for 'tensor' and"
            " 'loss'"
        )

    def losses(self, frames: Frames, labels: Tensor) -> dict[str, Tensor]:
        """What ``loss_weights`` weighs, each a cross-entropy but for the last:

        ===================  ===============  =======================================================
        logged as            weight           of
        ===================  ===============  =======================================================
        loss_<W>_window      answer           the answer at window W, mean over the windows
        loss_glance_head     glance_head      the glance encoder's own head
        loss_<W>_head        focus_head       the focus encoder's own head at W, mean over the windows
        loss_window_policy   window_policy    the glance map inside the policy's window
        loss_frame_policy    frame_policy     glance logits of frames drawn by the frame policy's weights
        loss_window_size     window_size      squared distance of the window's sides to the largest
        ===================  ===============  =======================================================

        W is 'policy', 'random' or 'centre', as ``train_centres`` has them. Terms of weight 0 are left out.

        Raises:
            ValueError: in training, if no gradient would reach a part that is not frozen.
        """
        if self.training:
            self._check_everything_learns()
        weights, candidates = self.loss_weights, self._frames(frames)[1]
        glance = self.glance(frames)
        from_glance = clip_logits(glance.logits)
        own = None
        if self.policy.sizes or self.train_centres in ('mixed', 'mean'):
            own = self.choose(frames, glance, 'mean')
        frame_weights = self._frame_weights(glance)
        windows = self._windows(frames, glance, own)
        focused = self._take(candidates, self._pick(candidates, frame_weights))
        each = 1 / len(windows)

        terms = [
            ('loss_glance_head', weights['glance_head'], self._own_loss('glance', glance.vector, labels))
        ]
        answers = []
        for name, vector in zip(windows, self._read(focused, list(windows.values()))):
            from_focus = clip_logits(self.classifier['focus'](self.dropout(vector.detach())))
            answers.append(from_focus + from_glance)
            answer_loss = clip_loss(answers[-1], labels)
            terms.append((f'loss_{name}_window', each * weights['answer'], answer_loss))
            own_loss = self._own_loss('focus', vector, labels)
            terms.append((f'loss_{name}_head', each * weights['focus_head'], own_loss))
        if own is not None and self.policy.sizes:
            window_loss = clip_loss(self._window_logits(frames, glance, own), labels)
            terms.append(('loss_window_policy', weights['window_policy'], window_loss))
            if isinstance(self.policy, DeformablePolicy):
                penalty = self.policy.size_penalty(seen(own.window_sizes))
                terms.append(('loss_window_size', weights['window_size'], penalty))
        if frame_weights is not None:
            frame_loss = clip_loss(self._drawn_logits(glance, frame_weights), labels)
            terms.append(('loss_frame_policy', weights['frame_policy'], frame_loss))
        losses = {name: weight * loss for name, weight, loss in terms if weight}
        return losses | dict(acc_step0=top1(from_glance, labels), acc_step1=top1(answers[0], labels))

    def _windows(self, frames: Frames, glance: LookState, own: Choice | None) -> dict[str, Choice]:
        """The windows that every clip is read at in training; of a policy that learns on the glance map
        without gradient."""
        windows = {}
        if own is not None and self.train_centres in ('mixed', 'mean'):
            if self.policy.sizes:
                own = own._replace(centres=own.centres.detach(), window_sizes=seen(own.window_sizes).detach())
            windows['policy'] = own
        if self.train_centres != 'mean':
            control: Windows = 'centre' if self.train_centres == 'centre' else 'random'
            windows[control] = self.choose(frames, glance, control)
        return windows

    def _read(self, focused: Tensor, windows: Sequence[Choice]) -> Sequence[Tensor]:
        """What the focus encoder sees in each of the windows, ``(B, K, F)``; in one batch in Uni-AdaFocus,
        one after the other in AdaFocus V2, which BatchNorm tells apart."""
        patches = [self._cut(focused, window) for window in windows]
        if self.policy.sizes:
            return self.focus_encoder(torch.cat(patches)).vector.chunk(len(patches))
        return [self.focus_encoder(one).vector for one in patches]

    def _own_loss(self, encoder: str, vectors: Tensor | None, labels: Tensor) -> Tensor:
        head = self.glance_head if encoder == 'glance' else self.focus_head
        return clip_loss(clip_logits(head(self.dropout(seen(vectors)))), labels)

    def _window_logits(self, frames: Frames, glance: LookState, choice: Choice) -> Tensor:
        """Logits ``(B, C)`` of the mean of the glance map ``(B, Tg, D, h, w)`` inside the policy's window."""
        window_head = self.window_head
        assert window_head is not None  # asked for only where the policy chooses sizes
        height, width = self.geometry(frames).frame_size

        def logits(feature_map: Tensor) -> Tensor:
            h, w = feature_map.shape[-2:]
            sizes = seen(choice.window_sizes) * numbers_like(
                feature_map, [h / height, w / width]
            )  # map cells
            cells = max(1, self.patch_size[0] * h // height), max(1, self.patch_size[1] * w // width)
            inside = crop_windows(feature_map, choice.centres, sizes, cells)
            return window_head(reduce(inside, 'b t d p q -> b d', 'mean'))

        return in_float32(logits, seen(glance.feature_map).detach())

    def _drawn_logits(self, glance: LookState, frame_weights: Tensor) -> Tensor:
        """The glance's own logits ``(B, C)``, without gradient, of a third of its frames drawn by the
        weights."""
        logits = self.glance_head(seen(glance.vector)).detach()
        draws = max(1, self.glance_frames // 3)
        return in_float32(lambda logits: expected_draws(logits, frame_weights, draws), logits)

    def _check_everything_learns(self) -> None:
        """Refuse parts that are not frozen and that no loss would train."""
        taught_by = dict(
            glance_encoder='glance_head',
            glance_head='glance_head',
            focus_encoder='focus_head',
            focus_head='focus_head',
            classifier='answer',
            window_head='window_policy',
            frame_policy='frame_policy',
            policy='window_policy' if self.policy.sizes else 'focus_head',
        )
        for name, part in self.parts().items():
            term, why = taught_by[name], None
            if not has_trainable(part):
                continue
            if not self.loss_weights[term]:
                why = f'loss_weights[{term!r}]=0 leaves out the term that teaches it; give it a weight'
            elif name == 'policy' and not isinstance(self.policy, DifferentiablePolicy):
                why = f'{type(self.policy).__name__} is no DifferentiablePolicy; choose one'
            elif name == 'policy' and not self.policy.sizes and self.train_centres not in ('mixed', 'mean'):
                why = (
                    f"train_centres={self.train_centres!r} never asks it; set train_centres='mixed' or 'mean'"
                )
            if why:
                raise ValueError(
                    f'{name} has parameters that are to be trained, and no gradient of these losses would'
                    f' reach them: {why}, or freeze it: model.frozen=({name!r},)'
                )


def expected_draws(logits: Tensor, weights: Tensor, draws: int, samples: int = 128) -> Tensor:
    """Mean logits of frames drawn by their weights without putting back, differentiable in the weights
    (Uni-AdaFocus).

    Args:
        logits: ``(B, T, C)``.
        weights: ``(B, T)``, not negative, adding up to 1.
        draws: frames drawn one after the other; which were drawn before is sampled, which comes next is the
            expectation.
        samples: random orders to average over.

    Returns:
        ``(B, C)``.
    """
    positive = weights.clamp_min(torch.finfo(weights.dtype).tiny)  # a sure choice leaves others to draw
    rows = repeat(positive, 'b t -> (b samples) t', samples=samples)
    picked = rows.new_zeros(rows.shape[0], 0, dtype=torch.long)  # (B*samples, draws - 1)
    if draws > 1:
        picked = torch.multinomial(rows.detach(), draws - 1)
    total = logits.new_zeros(logits.shape[0], logits.shape[2])
    for draw in range(draws):
        left = rows if draw == 0 else rows.scatter(1, picked[:, :draw], 0.0)
        left = left / left.sum(1, keepdim=True).detach()
        left = rearrange(left, '(b samples) t -> b samples t', samples=samples)
        total = total + einsum(left, logits, 'b samples t, b t c -> b c') / samples
    return total / draws
