"""Recognizers of the AdaFocus family: a glance at few frames, one window per clip, a focus on more frames.

AdaFocus V2 on TSM (Wang et al., CVPR 2022) and Uni-AdaFocus on TSM (Wang et al., TPAMI 2024), as policies and
encoders of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce, repeat
from torch import Tensor, nn

from ..ops import crop_patches_bilinear, crop_windows, resize_frames
from ..registry import MODELS
from ..structures import ClipSample, LookState
from .arguments import as_size, build_part
from .base import Recognizer
from .losses import labels_of, top1
from .policies import Choice, Geometry, Observation, frames_at_quantiles
from .temporal import Cache

__all__ = ['AdaFocusRecognizer']

Frames = Tensor | Mapping[str, Tensor]


def seen(features: Tensor | None) -> Tensor:
    """What a look left; looks of this recognizer leave all of it."""
    assert features is not None
    return features


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

    Training (``mode='loss'``) follows AdaFocus V2: every clip is read at the policy's window and at a random
    one; the encoders learn through heads of their own, the answer through linear layers on detached vectors.
    A :class:`StackedMapPolicy` learns through the sampling of the patch; a :class:`DeformablePolicy` through
    its window on the glance map, a :class:`FramePolicy` through the glance logits that its weights would
    pick, as in Uni-AdaFocus, with all terms weighted alike and without its regulariser of the window's size.

    Raises:
        ValueError: on frames of other numbers or sizes than the policy was built for.
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
        self.policy = build_part(
            policy,
            glance_channels=self.glance_encoder.map_channels,
            glance_frames=glance_frames,
            glance_map=self.glance_encoder.map_size(self.glance_size),
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

    # ---- the contract

    def parts(self) -> dict[str, nn.Module]:
        names = ('glance_encoder', 'policy', 'frame_policy', 'focus_encoder', 'classifier')
        heads = ('glance_head', 'focus_head', 'window_head')
        return {name: part for name in (*names, *heads) if (part := getattr(self, name)) is not None}

    def described(self) -> dict[str, Any]:
        return super().described() | dict(
            glance_size=list(self.glance_size),
            patch_size=list(self.patch_size),
            glance_frames=self.glance_frames,
            focus_frames=self.focus_frames,
            policy=[type(self.policy).__name__, self.policy.scope],
        )

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

    def _pick(self, candidates: Tensor, glance: LookState) -> Tensor | None:
        """Indices ``(B, K)`` of the focus frames, None for all the candidates; in training at random
        quantiles of equal parts."""
        if self.frame_policy is None:
            return None
        vectors = seen(glance.vector)
        T = candidates.shape[1]
        chosen = max(1, T // 3) if self.focus_frames is None else self.focus_frames
        quantiles = None
        if self.training:
            rank = torch.arange(chosen, device=vectors.device)
            quantiles = (rank + torch.rand(candidates.shape[0], chosen, device=vectors.device)) / chosen
        return frames_at_quantiles(self.frame_policy(vectors).detach(), T, chosen, quantiles)

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
                size.

        Returns:
            A state with logits ``(B, K, C)``, of which the mean over frames is the sum of both encoders' clip
            logits; ``frame_indices`` ``(B, K)`` are the focus frames, None if all candidates are; ``centres``
            and ``window_sizes`` ``(B, T, 2)`` are the clip's one window, nan at frames not focused on.
        """
        candidates = self._frames(frames)[1]
        indices = self._pick(candidates, state)
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

    def choose(self, frames: Frames, state: LookState) -> Choice:
        """The window of the clip, from the glance map without gradient to the encoder."""
        return self.policy(Observation(0, seen(state.feature_map).detach(), None, self.geometry(frames)))

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
        chosen = torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device)
        return values.masked_fill(~chosen.scatter(1, indices, True)[..., None], torch.nan)

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
        """Cross-entropies of the answer and of the own heads, means of the policy's and a random window."""
        candidates = self._frames(frames)[1]
        glance = self.glance(frames)
        from_glance = glance.logits.mean(1)  # (B, C)
        B, device = len(candidates), candidates.device
        chosen = self.choose(frames, glance)
        random = Choice(torch.rand(B, 1, 2, device=device))
        if self.policy.sizes:  # it learns on the glance map, below; the patch is cut without gradient
            at, sizes = chosen.centres.detach(), seen(chosen.window_sizes).detach()
            chosen = chosen._replace(centres=at, window_sizes=sizes)
        indices = self._pick(candidates, glance)
        total: dict[str, Tensor] = dict(
            loss_glance_head=F.cross_entropy(self.glance_head(self.dropout(glance.vector)).mean(1), labels)
        )
        for name, choice in (('policy', chosen), ('random', random)):
            vector = self.focus_encoder(self._cut(self._take(candidates, indices), choice)).vector
            answer = self.classifier['focus'](self.dropout(vector.detach())).mean(1) + from_glance
            total[f'loss_{name}_window'] = F.cross_entropy(answer, labels) / 2
            total[f'loss_{name}_head'] = (
                F.cross_entropy(self.focus_head(self.dropout(vector)).mean(1), labels) / 2
            )
            if name == 'policy':
                total['acc_step1'] = top1(answer, labels)
        if self.window_head is not None:
            total['loss_window_policy'] = F.cross_entropy(
                self._window_logits(seen(glance.feature_map).detach(), frames, glance), labels
            )
        if self.frame_policy is not None:
            weights = self.frame_policy(seen(glance.vector).detach())
            logits = self.glance_head(glance.vector).detach()
            total['loss_frame_policy'] = F.cross_entropy(
                expected_draws(logits, weights, max(1, self.glance_frames // 3)), labels
            )
        total['acc_step0'] = top1(glance.logits.mean(1), labels)
        return total

    def _window_logits(self, feature_map: Tensor, frames: Frames, glance: LookState) -> Tensor:
        """Logits ``(B, C)`` of the mean of the glance map ``(B, Tg, D, h, w)`` inside the policy's window."""
        assert self.window_head is not None  # asked for only where the policy chooses sizes
        choice, (height, width) = self.choose(frames, glance), self.geometry(frames).frame_size
        # map cells a pixel
        cells = feature_map.new_tensor([feature_map.shape[-2] / height, feature_map.shape[-1] / width])
        p, q = (max(1, side // self.glance_encoder.map_stride) for side in self.patch_size)
        inside = crop_windows(feature_map, choice.centres, seen(choice.window_sizes) * cells, (p, q))
        return self.window_head(reduce(inside, 'b t d p q -> b d', 'mean'))


def expected_draws(logits: Tensor, weights: Tensor, draws: int, samples: int = 128) -> Tensor:
    """Mean logits of frames drawn by their weights without putting back, differentiable in the weights
    (Uni-AdaFocus).

    Args:
        logits: ``(B, T, C)``.
        weights: ``(B, T)``, positive, adding up to 1.
        draws: frames drawn one after the other; which were drawn before is sampled, which comes next is the
            expectation.
        samples: random orders to average over.

    Returns:
        ``(B, C)``.
    """
    rows = repeat(weights, 'b t -> (b samples) t', samples=samples)
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
