"""The Glance-and-Focus recognizer: a glance at every frame, then focus looks where a policy says.

GFNet (Huang et al., TPAMI 2023) gives the looks, the policy and the three stages; TSM (Lin et al., ICCV 2019)
lets both looks see time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import crop_patches
from ..registry import MODELS
from ..structures import ClipSample, LookState
from .base import Recognizer, Supervision, as_size, known_supervision, labels_of, supervised_loss, top1
from .clip_recognizer import Resize, resize_frames
from .policies import CentrePolicy, Choice, Geometry, Observation, RandomPolicy
from .ppo import (
    Reward,
    Rollout,
    clipped_policy_loss,
    explained_variance,
    generalised_advantages,
    normalise,
    step_rewards,
)
from .temporal import Cache

__all__ = ['Centres', 'GlanceFocusRecognizer']

Centres = Literal['random', 'centre', 'sample', 'mean']

PARTS = ('glance_encoder', 'focus_encoder', 'policy', 'classifier', 'glance_head', 'focus_head')


@MODELS.register_module()
class GlanceFocusRecognizer(Recognizer):
    """Glance at every frame at ``glance_size``, then look ``steps`` times at a patch of ``patch_size`` cut at
    full resolution.

    Args:
        glance, focus: configs of the two encoders.
        policy: config of the policy; channels, map sizes and steps are filled in.
        classifier: config of the classifier; channels, classes and steps are filled in.
        num_classes: C.
        glance_size: G, one number or (height, width) in pixels.
        patch_size: P, one number or (height, width) in pixels.
        glance_resize: how frames become the glance, see
            :func:`~gfvideo.models.clip_recognizer.resize_frames`.
        steps: S, the number of focus steps.
        train_centres, test_centres: where patches are cut: 'random', 'centre' (of the frame), or by the
            policy: 'sample' (its draws) or 'mean'. GFNet's stages are train_centres='random', then the
            policy's own stage, then 'sample' or 'mean'.
        frozen: parts that do not learn, of glance_encoder, focus_encoder, policy, classifier, glance_head,
            focus_head.
        aux_weight: weight of the encoders' own heads, which keep each encoder from becoming a mere helper of
            the other (lambda of GFNet's loss).
        dropout: rate before the own heads.
        reward: see :func:`~gfvideo.models.ppo.step_rewards`; per frame in scope 'frame', per clip in scope
            'clip'.
        ppo: gamma, lam, clip, value_weight of the policy's stage.
        supervision: 'clip' supervises every step after the last frame; 'frames' after every frame too, so
            that a causal recognizer answers a stream at any time.

    Raises:
        ValueError: on unknown parts or centres, or a scope the causal shift cannot serve.
    """

    def __init__(
        self,
        glance: dict,
        focus: dict,
        policy: dict,
        classifier: dict,
        num_classes: int,
        glance_size: int | tuple[int, int],
        patch_size: int | tuple[int, int],
        steps: int = 2,
        glance_resize: Resize = 'antialiased',
        train_centres: Centres = 'random',
        test_centres: Centres = 'mean',
        frozen: Sequence[str] = (),
        aux_weight: float = 1.0,
        dropout: float = 0.0,
        reward: Reward = 'log_prob',
        ppo: dict | None = None,
        supervision: Supervision = 'clip',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(num_classes, data_preprocessor, init_cfg)
        if steps < 0:
            raise ValueError(f'steps={steps} must not be negative; 0 is glance only')
        self.steps, self.aux_weight, self.reward = steps, aux_weight, reward
        self.glance_size, self.patch_size = (
            as_size(glance_size, 'glance_size'),
            as_size(patch_size, 'patch_size'),
        )
        self.glance_resize, self.supervision = glance_resize, known_supervision(supervision)
        self.ppo = dict(gamma=0.7, lam=0.95, clip=0.2, value_weight=0.5)
        unknown = set(ppo or ()) - set(self.ppo)
        if unknown:
            raise ValueError(f'ppo has no {sorted(unknown)}; it takes {sorted(self.ppo)}')
        self.ppo.update(ppo or {})

        self.glance_encoder, self.focus_encoder = MODELS.build(glance), MODELS.build(focus)
        self.classifier = MODELS.build(
            dict(
                glance_channels=self.glance_encoder.channels,
                focus_channels=self.focus_encoder.channels,
                num_classes=num_classes,
                steps=steps,
            )
            | dict(classifier)
        )
        self.policy = self._build_policy(dict(policy))
        self.dropout = nn.Dropout(dropout)
        self.glance_head = nn.Linear(self.glance_encoder.channels, num_classes)
        self.focus_head = nn.Linear(self.focus_encoder.channels, num_classes)
        if self.policy.scope == 'clip' and 'causal' in (self.glance_encoder.shift, self.focus_encoder.shift):
            raise ValueError(
                "scope='clip' chooses one centre from all frames, so later frames would reach earlier ones"
                " through the policy; use scope='frame' with the causal shift"
            )
        self.controls = dict(random=RandomPolicy(self.policy.scope), centre=CentrePolicy(self.policy.scope))
        self.train_centres = self._known_centres('train_centres', train_centres)
        self.test_centres = self._known_centres('test_centres', test_centres)
        self.frozen = tuple(frozen)
        if set(self.frozen) - set(PARTS):
            raise ValueError(f'frozen={self.frozen} names unknown parts; choose of {PARTS}')
        for name in self.frozen:
            getattr(self, name).requires_grad_(False)

    def _build_policy(self, policy: dict) -> nn.Module:
        if MODELS.get(policy['type']).learns:
            policy = dict(
                glance_channels=self.glance_encoder.map_channels,
                focus_channels=self.focus_encoder.map_channels,
                glance_map=self.glance_encoder.map_size(self.glance_size),
                focus_map=self.focus_encoder.map_size(self.patch_size),
                steps=self.steps,
                **policy,
            )
        return MODELS.build(policy)

    @staticmethod
    def _known_centres(name: str, value: str) -> str:
        if value not in ('random', 'centre', 'sample', 'mean'):
            raise ValueError(f"{name}={value!r} is unknown; choose 'random', 'centre', 'sample' or 'mean'")
        return value

    def train(self, mode: bool = True) -> GlanceFocusRecognizer:
        super().train(mode)
        for name in self.frozen:
            getattr(self, name).eval()
        return self

    def set_progress(self, fraction: float) -> None:
        """Share of the policy's stage, in [0, 1], that is behind it; it sets the policy's exploration."""
        self.policy.set_progress(fraction)

    # ---- looks

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0: every frame, small.

        Args:
            frames: ``(B, T, 3, H, W)``, normalised.
            cache: ``LookState.cache`` of the frames before, in a causal stream.
        """
        features = self.glance_encoder(
            resize_frames(frames, self.glance_size, self.glance_resize), cache[0] if cache else None
        )
        logits, evidence = self.classifier(features.vector, None, 0)
        return LookState(
            0, logits, features.vector, features.map, evidence, cache=self._store(cache, 0, features.cache)
        )

    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState:
        """One more look at every frame.

        Args:
            frames: ``(B, T, 3, H, W)``, those of ``state``.
            state: what the look before left.
            centres: ``(B, T, 2)`` to cut at; None lets the policy (or the control named by
                ``train_centres``/``test_centres``) choose.
        """
        if centres is None:
            choice = self.choose(frames, state)
            centres, state = choice.centres, replace(state, memory=choice.memory)
        step = state.step + 1
        cache = state.cache[step] if step < len(state.cache) else None
        features = self.focus_encoder(crop_patches(frames, centres, self.patch_size), cache)
        logits, evidence = self.classifier(features.vector, state.evidence, step)
        return LookState(
            step,
            logits,
            features.vector,
            features.map,
            evidence,
            state.memory,
            centres,
            self._store(state.cache, step, features.cache),
        )

    @staticmethod
    def _store(cache: tuple[Cache, ...], step: int, new: Cache) -> tuple[Cache, ...]:
        """Causal caches with the one of ``step`` replaced; those of other steps stay, for frames that may
        take them later."""
        return cache[:step] + (new,) + cache[step + 1 :] if new else cache

    def geometry(self, frames: Tensor) -> Geometry:
        return Geometry(tuple(frames.shape[-2:]), self.patch_size)

    def choose(self, frames: Tensor, state: LookState, centres: Centres | None = None) -> Choice:
        """Centres of the next look; no gradient reaches the encoders through them."""
        centres = centres or (self.train_centres if self.training else self.test_centres)
        observation = Observation(state.step, state.feature_map.detach(), state.centres)
        if centres in self.controls:
            return self.controls[centres](observation, None, self.geometry(frames))
        with torch.no_grad():
            return self.policy(observation, state.memory, self.geometry(frames), sample=centres == 'sample')

    # ---- the losses of stages 1 and 3

    def losses(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Every step supervised, and the encoders' own heads (GFNet, Eq. 8): mean over steps of CE +
        aux_weight * own CE."""
        results = {}
        for state in self.looks(frames):
            own_head = self.glance_head if state.step == 0 else self.focus_head
            own_logits = own_head(self.dropout(state.vector))  # (B, T, C)
            own_loss = supervised_loss(own_logits, labels, self.supervision)
            results[f'loss_step{state.step}'] = supervised_loss(state.logits, labels, self.supervision) / (
                self.steps + 1
            )
            results[f'loss_aux_step{state.step}'] = self.aux_weight * own_loss / (self.steps + 1)
            results[f'acc_step{state.step}'] = top1(state.logits.float().mean(1), labels)
        return results

    # ---- the policy's stage

    def forward(
        self, inputs: Tensor | Rollout, data_samples: Sequence[ClipSample] | None = None, mode: str = 'tensor'
    ):
        """mmengine's entry; beside the modes of :class:`Recognizer`, 'rollout' draws centres for frames,
        'policy_loss' learns from them."""
        if mode == 'rollout':
            return self.rollout(inputs, labels_of(data_samples, self.num_classes, inputs.device))
        if mode == 'policy_loss':
            return self.policy_losses(inputs)
        return super().forward(inputs, data_samples, mode)

    def _label_log_probs(self, state: LookState, labels: Tensor) -> Tensor:
        """Log-probability of the true class, per frame ``(B, T)`` in scope 'frame', per clip ``(B, 1)`` in
        scope 'clip'."""
        logits = state.logits if self.policy.scope == 'frame' else state.logits.mean(1, keepdim=True)
        return (
            logits.float()
            .log_softmax(-1)
            .gather(2, labels.view(-1, 1, 1).expand(-1, logits.shape[1], 1))
            .squeeze(2)
        )

    @torch.no_grad()
    def rollout(self, frames: Tensor, labels: Tensor) -> Rollout:
        """Look at frames ``(B, T, 3, H, W)`` where the policy's draws say, and note what it brought."""
        state = self.glance(frames)
        log_probs, random_log_probs, observed, choices = [self._label_log_probs(state, labels)], [], [], []
        for _ in range(self.steps):
            choice = self.choose(frames, state, 'sample')
            observed.append(state.feature_map)
            choices.append(choice)
            if self.reward == 'contrast':
                elsewhere = self.focus(frames, state, self.choose(frames, state, 'random').centres)
                random_log_probs.append(self._label_log_probs(elsewhere, labels))
            state = self.focus(frames, replace(state, memory=choice.memory), choice.centres)
            log_probs.append(self._label_log_probs(state, labels))
        at_random = torch.stack(random_log_probs) if random_log_probs else None
        rewards = step_rewards(torch.stack(log_probs), self.reward, at_random)  # (S, B, A)
        values = torch.stack([choice.value for choice in choices])  # (S, B, A)
        advantages, returns = generalised_advantages(rewards, values, self.ppo['gamma'], self.ppo['lam'])
        # (B, S, A) each
        by_clip = [x.transpose(0, 1) for x in (values, rewards, normalise(advantages), returns)]
        return Rollout(
            tuple(observed),
            torch.stack([choice.centres for choice in choices], 1),
            torch.stack([c.action for c in choices], 1),
            torch.stack([c.log_prob for c in choices], 1),
            *by_clip,
            self.geometry(frames),
        )

    def policy_losses(self, rollout: Rollout) -> dict[str, Tensor]:
        """PPO's losses of the policy as it is now on what an earlier one did, and diagnostics."""
        memory, log_probs, values = None, [], []
        for step in range(self.steps):
            observation = Observation(
                step, rollout.feature_maps[step], rollout.centres[:, step - 1] if step else None
            )
            choice = self.policy(observation, memory, rollout.geometry, action=rollout.actions[:, step])
            memory = choice.memory
            log_probs.append(choice.log_prob)
            values.append(choice.value)
        log_probs, values = torch.stack(log_probs, 1), torch.stack(values, 1)  # (B, S, A)
        policy_loss, diagnostics = clipped_policy_loss(
            log_probs, rollout.log_probs, rollout.advantages, self.ppo['clip']
        )
        value_loss = self.ppo['value_weight'] * F.mse_loss(values, rollout.returns)
        diagnostics.update({f'reward_step{s + 1}': rollout.rewards[:, s].mean() for s in range(self.steps)})
        return dict(
            loss_policy=policy_loss,
            loss_value=value_loss,
            entropy=self.policy.entropy(),
            explained_variance=explained_variance(rollout.values, rollout.returns),
            **diagnostics,
        )
