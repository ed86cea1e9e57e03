"""The Glance-and-Focus recognizer: a glance at every frame, then focus looks where a policy says.

GFNet (Huang et al., TPAMI 2023) gives the looks, the policy and the three stages; TSM (Lin et al., ICCV 2019)
lets both looks see time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..ops import ResizeMode, crop_patches, crop_patches_bilinear, crop_windows, resize_frames
from ..registry import MODELS
from ..structures import ClipSample, LookState
from .arguments import as_size, asks_for, build_part, one_of
from .base import Recognizer
from .losses import (
    CROSS_ENTROPY,
    Supervision,
    distillation_loss,
    known_supervision,
    label_log_probs,
    labels_of,
    supervised_loss,
    top1,
)
from .policies import (
    CentrePolicy,
    Choice,
    DifferentiablePolicy,
    Geometry,
    LooksTold,
    Observation,
    Policy,
    RandomPolicy,
    StochasticPolicy,
    ValuePolicy,
    ValueRollout,
)
from .policies.base import has_trainable
from .ppo import (
    COMPARED,
    Rollout,
    clipped_policy_loss,
    explained_variance,
    generalised_advantages,
    known_reward,
    leave_one_out,
    normalise,
    step_rewards,
)
from .temporal import Cache, Shift

__all__ = ['CentreMode', 'GlanceFocusRecognizer']

POLICY = 'policy.'  # in front of the names of what a policy carries from frame to frame in a causal cache

CentreMode = Literal['random', 'centre', 'sample', 'mean', 'mixed']


@MODELS.register_module()
class GlanceFocusRecognizer(Recognizer):
    """Glance at every frame at ``glance_size``, then look ``steps`` times at a patch of ``patch_size`` cut at
    full resolution.

    Args:
        glance, focus: configs of the two encoders.
        policy: config of the policy, of any of the three kinds (:mod:`gfvideo.models.policies.base`);
            channels, map sizes, classes and steps are filled in.
        classifier: config of the classifier; channels, classes and steps are filled in.
        num_classes: C.
        glance_size: G, one number or (height, width) in pixels.
        patch_size: P, one number or (height, width) in pixels.
        glance_resize: how frames become the glance, see
            :func:`~gfvideo.ops.resize_frames`.
        steps: S, the number of focus steps.
        train_centres, test_centres: where patches are cut: 'random', 'centre' (of the frame), or by the
            policy: 'sample' (its draws) or 'mean' (its best choice); 'mixed', for training, takes the
            policy's draws at half of the places and random ones at the others. GFNet's stages are
            train_centres='random', then the policy's own stage, then 'sample' or 'mean'. A differentiable
            policy learns with train_centres='mean'.
        frozen: names of :meth:`parts` that do not learn.
        aux_weight: weight of the encoders' own heads, which keep each encoder from becoming a mere helper of
            the other (lambda of GFNet's loss).
        dropout: rate before the own heads.
        reward: see :func:`~gfvideo.models.ppo.step_rewards`; per frame in scope 'frame', per clip in scope
            'clip'.
        ppo: gamma, lam, clip, value_weight, entropy_weight of the policy's stage; ``baseline`` 'critic', or
            'group': every clip is looked at ``group`` times, and each time is compared with the mean of the
            others (:func:`~gfvideo.models.ppo.leave_one_out`), without a critic, gamma applies, lam does not.
        supervision: 'clip' supervises every step after the last frame; 'frames' after every frame too, so
            that a causal recognizer answers a stream at any time; 'rising' does so with a weight that rises
            with the number of frames read, for the first ones cannot know what takes time.
        distil_weight: weight of the divergence of every look's prediction from that of the last look
            (AdaptiveNN).
        full_frame_weight: weight of the focus encoder's own answer to whole frames, resized to the patch
            size (AdaptiveNN; there 2).
        value_looks: looks at further random places beside each one that is taken, for a policy that learns
            values and for it alone: no gradient reaches the encoders. They cost little where the encoders are
            frozen, as in a stage of the map alone.
        budgets: what is drawn anew for each training batch, so that one network serves many costs: any of
            ``steps``, ``patch_sizes`` and ``frames``, lists of choices; of S looks the first ones are taken,
            of T frames evenly spaced ones. None trains at the full cost. Distributed training needs
            ``find_unused_parameters=True`` with fewer steps.
        loss: see :class:`Recognizer`. Rewards and the gains that a value map learns are of the probability of
            the true class; of a clip with several classes, of the geometric mean of their probabilities
            (:func:`~gfvideo.models.losses.label_log_probs`).

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
        glance_resize: ResizeMode = 'antialiased',
        train_centres: CentreMode = 'random',
        test_centres: CentreMode = 'mean',
        frozen: Sequence[str] = (),
        aux_weight: float = 1.0,
        dropout: float = 0.0,
        reward: str = 'prob',
        ppo: dict | None = None,
        supervision: Supervision = 'clip',
        distil_weight: float = 0.0,
        full_frame_weight: float = 0.0,
        value_looks: int = 0,
        budgets: Mapping[str, Sequence] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        loss: str = CROSS_ENTROPY,
    ):
        super().__init__(num_classes, data_preprocessor, init_cfg, loss)
        if steps < 0:
            raise ValueError(f'steps={steps} must not be negative; 0 is glance only')
        self.steps, self.aux_weight = steps, aux_weight
        self.reward = known_reward(reward)
        self.glance_size = as_size(glance_size, 'glance_size')
        self.patch_size = as_size(patch_size, 'patch_size')
        self.glance_resize, self.supervision = glance_resize, known_supervision(supervision)
        self.distil_weight, self.full_frame_weight = distil_weight, full_frame_weight
        self.budgets = self._known_budgets(budgets or {})
        self.ppo: dict[str, Any] = dict(
            gamma=0.7,
            lam=0.95,
            clip=0.2,
            value_weight=0.5,
            entropy_weight=0.0,
            baseline='critic',
            group=4,
        )
        unknown = set(ppo or ()) - set(self.ppo)
        if unknown:
            raise ValueError(f'ppo has no {sorted(unknown)}; it takes {sorted(self.ppo)}')
        self.ppo.update(ppo or {})
        one_of(self.ppo['baseline'], "ppo['baseline']", ('critic', 'group'))
        if self.ppo['group'] < 2:
            raise ValueError(
                f"ppo['group']={self.ppo['group']} must be 2 or more, to be compared with others"
            )

        self.glance_encoder, self.focus_encoder = MODELS.build(glance), MODELS.build(focus)
        self.classifier = build_part(
            classifier,
            glance_channels=self.glance_encoder.channels,
            focus_channels=self.focus_encoder.channels,
            num_classes=num_classes,
            steps=steps,
        )
        self.policy: Policy = build_part(
            policy,
            glance_channels=self.glance_encoder.map_channels,
            focus_channels=self.focus_encoder.map_channels,
            glance_map=self.glance_encoder.map_size(self.glance_size),
            focus_map=self.focus_encoder.map_size(self.patch_size),
            num_classes=num_classes,
            steps=steps,
            shift=self.glance_encoder.shift,
        )
        self.dropout = nn.Dropout(dropout)
        self.glance_head = nn.Linear(self.glance_encoder.channels, num_classes)
        self.focus_head = nn.Linear(self.focus_encoder.channels, num_classes)
        shifts = self.glance_encoder.shift, self.focus_encoder.shift
        if 'causal' in shifts:
            if self.policy.scope == 'clip':
                raise ValueError(
                    "scope='clip' chooses one centre from all frames, so later frames would reach earlier"
                    " ones through the policy; use scope='frame' with the causal shift"
                )
            if self._policys_shift() == 'bidirectional' and 'bidirectional' not in shifts:
                raise ValueError(
                    "the policy has shift='bidirectional' beside the causal shift of the encoders, so later"
                    ' frames would reach earlier ones through it; leave its shift out, it takes that of the'
                    ' glance encoder'
                )
        self.controls = dict(random=RandomPolicy(self.policy.scope), centre=CentrePolicy(self.policy.scope))
        if value_looks < 0 or (value_looks and not isinstance(self.policy, ValuePolicy)):
            raise ValueError(
                f'value_looks={value_looks}: give 0, or a number from 1 on with a policy that learns values'
                f' ({type(self.policy).__name__} does not)'
            )
        self.value_looks = value_looks
        self.train_centres = self._known_centres('train_centres', train_centres)
        self.test_centres = self._known_centres('test_centres', test_centres)
        asked = steps > 1 and self.train_centres not in self.controls
        if 'patch_sizes' in self.budgets and asked and asks_for(policy, 'focus_map'):
            raise ValueError(
                f"budgets['patch_sizes'] needs a policy that reads patches of any size, but"
                f' {type(self.policy).__name__} is built for the map of one (focus_map); leave patch_sizes'
                " out, train with train_centres='random', or choose a ValueMapPolicy"
            )
        self.frozen = tuple(frozen)
        if set(self.frozen) - set(self.parts()):
            raise ValueError(f'frozen={self.frozen} names unknown parts; choose of {tuple(self.parts())}')
        for name in self.frozen:
            self.parts()[name].requires_grad_(False)

    def _known_budgets(self, budgets: Mapping[str, Sequence]) -> dict[str, list]:
        unknown = set(budgets) - {'steps', 'patch_sizes', 'frames'}
        if unknown:
            raise ValueError(
                f"budgets has no {sorted(unknown)}; it takes 'steps', 'patch_sizes' and 'frames'"
            )
        for name, choices in budgets.items():
            if isinstance(choices, int | str) or not len(choices):
                raise ValueError(f'budgets[{name!r}]={choices!r} must be a list of choices')
        for steps in budgets.get('steps', ()):
            if not 0 <= steps <= self.steps:
                raise ValueError(f"budgets['steps'] holds {steps}, but the recognizer has 0 to {self.steps}")
        for frames in budgets.get('frames', ()):
            if frames < 1:
                raise ValueError(f"budgets['frames'] holds {frames}; a clip has 1 frame or more")
        known: dict[str, list] = {name: list(choices) for name, choices in budgets.items()}
        if 'patch_sizes' in known:
            known['patch_sizes'] = [as_size(size, "budgets['patch_sizes']") for size in known['patch_sizes']]
        return known

    def _known_centres(self, name: str, value: str) -> str:
        one_of(value, name, get_args(CentreMode))
        if value == 'sample' and not isinstance(self.policy, StochasticPolicy | ValuePolicy):
            raise ValueError(
                f"{name}='sample' asks the policy for draws, but {type(self.policy).__name__} is no"
                " StochasticPolicy; choose 'mean'"
            )
        if value == 'mixed' and name == 'test_centres':
            raise ValueError("test_centres='mixed' is for training; choose 'mean'")
        return value

    # ---- the contract

    def parts(self) -> dict[str, nn.Module]:
        names = 'glance_encoder', 'policy', 'focus_encoder', 'classifier', 'glance_head', 'focus_head'
        return {name: getattr(self, name) for name in names}

    def described(self) -> dict[str, Any]:
        settings = self.policy.described()
        if self.policy.scope == 'frame' and self._policys_shift() != self.glance_encoder.shift:
            settings = settings | dict(shift=str(self._policys_shift()))
        told = dict(policy_settings=settings) if settings else {}
        return (
            super().described()
            | told
            | dict(
                glance_size=list(self.glance_size),
                patch_size=list(self.patch_size),
                glance_resize=self.glance_resize,
                test_centres=self.test_centres,
                policy=[type(self.policy).__name__, self.policy.scope],
            )
        )

    def _policys_shift(self) -> Shift | None:
        """How the policy sees its neighbours in time; as the glance encoder, if it does not say."""
        return getattr(self.policy, 'shift', self.glance_encoder.shift)

    def looking_ahead(self) -> list[str]:
        asked = self.steps > 0 and self.test_centres not in self.controls
        reads = not isinstance(self.policy, RandomPolicy | CentrePolicy)
        ahead = self.policy.scope == 'clip' or self._policys_shift() == 'bidirectional'
        found = super().looking_ahead()
        return [*found, 'policy'] if asked and reads and ahead else found

    @property
    def draws(self) -> bool:
        return self.steps > 0 and self.test_centres in ('random', 'sample')

    def train(self, mode: bool = True) -> GlanceFocusRecognizer:
        super().train(mode)
        for name in self.frozen:
            self.parts()[name].eval()
        return self

    def set_progress(self, fraction: float) -> None:
        if isinstance(self.policy, StochasticPolicy):
            self.policy.set_progress(fraction)

    # ---- looks

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0: every frame, small; see :meth:`Recognizer.glance`."""
        small = resize_frames(frames, self.glance_size, self.glance_resize)
        features = self.glance_encoder(small, (cache[0] or None) if cache else None)
        logits, evidence = self.classifier(features.vector, None, 0)
        state = LookState(
            step=0,
            logits=logits,
            vector=features.vector,
            feature_map=features.map,
            evidence=evidence,
            cache=self._store(cache, 0, features.cache),
            glance=self._for_policy(frames, small),
        )
        return self._with_ahead(frames, state)

    def _for_policy(self, frames: Tensor, small: Tensor) -> Tensor | None:
        """The pixels that the policy reads of frames that were glanced at as ``small``."""
        if not self.policy.reads_glance:
            return None
        size = self.policy.reads_size
        return small if size in (None, self.glance_size) else resize_frames(frames, size, self.glance_resize)

    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState:
        """One more look at every frame; see :meth:`Recognizer.focus`.

        Without ``centres`` the policy chooses, or the control that ``train_centres`` or ``test_centres``
        names.
        """
        chosen = state.ahead  # where the policy was asked already
        if chosen is None:
            chosen = self.choose(frames, state) if centres is None else self._given(centres, frames, state)
        if centres is not None:
            chosen = Choice(centres, chosen.memory, carried=chosen.carried)
        return self._with_ahead(frames, self._look(frames, state, chosen))

    @torch.no_grad()
    def _given(self, centres: Tensor, frames: Tensor, state: LookState) -> Choice:
        """Centres that the policy does not choose; what it knows before this look, it is to find at the
        next."""
        mode = self.train_centres if self.training else self.test_centres
        if mode in self.controls:  # it is never asked
            return Choice(centres, state.memory)
        return self.policy(self.observe(frames, state))

    def _with_ahead(self, frames: Tensor, state: LookState) -> LookState:
        """With the choice of the next look, if the policy values looks: exits may ask what it promises."""
        asked = not self.training and self.test_centres == 'mean' and isinstance(self.policy, ValuePolicy)
        if not asked or state.step >= self.steps:
            return state
        ahead = self.choose(frames, state)
        return replace(state, ahead=ahead, promise=ahead.value)

    def _look(self, frames: Tensor, state: LookState, choice: Choice) -> LookState:
        """The look that was chosen."""
        step = state.step + 1
        patches = self._cut(frames, choice, state.patch_size or self.patch_size)
        features = self.focus_encoder(patches, _encoders_part(self._before(state, step)))
        logits, evidence = self.classifier(features.vector, state.evidence, step)
        return LookState(
            step=step,
            logits=logits,
            vector=features.vector,
            feature_map=features.map,
            evidence=evidence,
            memory=choice.memory,
            centres=choice.centres,
            cache=self._store(state.cache, step, _with_policys_part(features.cache, choice.carried)),
            window_sizes=choice.window_sizes,
            glance=state.glance,
            patch_size=state.patch_size,
        )

    @staticmethod
    def _cut(frames: Tensor, choice: Choice, patch_size: tuple[int, int]) -> Tensor:
        """Patches ``(B, T, 3, *P)``: exactly, or by bilinear sampling where a gradient is to reach the
        policy."""
        if choice.window_sizes is not None:
            return crop_windows(frames, choice.centres, choice.window_sizes, patch_size)
        cut = crop_patches_bilinear if choice.centres.requires_grad else crop_patches
        return cut(frames, choice.centres, patch_size)

    @staticmethod
    def _before(state: LookState, step: int) -> Cache | None:
        """What the frame before left of ``step``."""
        return state.cache[step] if step < len(state.cache) else None

    @staticmethod
    def _store(cache: tuple[Cache, ...], step: int, new: Cache) -> tuple[Cache, ...]:
        """Causal caches with the one of ``step`` replaced; those of other steps stay, for frames that may
        take them later."""
        if not new:
            return cache
        before = cache[:step] + ({},) * (step - len(cache))  # steps that leave nothing
        return before + (new,) + cache[step + 1 :]

    def observe(self, frames: Tensor, state: LookState) -> Observation:
        """What the policy may read after a look; no gradient reaches the encoders through it."""
        assert state.feature_map is not None  # every look of this recognizer leaves its map
        geometry = Geometry((frames.shape[-2], frames.shape[-1]), state.patch_size or self.patch_size)
        centres = None if state.centres is None else state.centres.detach()
        return Observation(
            step=state.step,
            feature_map=state.feature_map.detach(),
            centres=centres,
            geometry=geometry,
            memory=state.memory,
            glance=state.glance,
            logits=state.logits.detach(),
            carried=_policys_part(self._before(state, state.step + 1)),
        )

    def choose(self, frames: Tensor, state: LookState, centres: CentreMode | None = None) -> Choice:
        """Centres of the next look, by ``centres`` or as this mode (training, test) has them."""
        mode = centres or (self.train_centres if self.training else self.test_centres)
        observation = self.observe(frames, state)
        if mode in self.controls:
            return self.controls[mode](observation)._replace(memory=state.memory)
        if mode == 'mixed':
            return self._mixed(observation)
        if mode == 'sample' and isinstance(self.policy, StochasticPolicy | ValuePolicy):
            with torch.no_grad():
                return self.policy.draw(observation)
        learns = self.training and isinstance(self.policy, DifferentiablePolicy)
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            return self.policy(observation)

    @torch.no_grad()
    def promise_maps(self, frames: Tensor) -> Tensor | None:
        """What a look at each place promised before each look at clips ``(B, T, 3, H, W)``.

        Returns:
            ``(B, S, T, h, w)``, maps of the whole frame, see :meth:`ValuePolicy.promises`; None without looks
            or of a policy that keeps no map.
        """
        if not self.steps or not isinstance(self.policy, ValuePolicy):
            return None
        maps, state = [], self.glance(frames)
        for _ in range(self.steps):
            observation = self.observe(frames, state)
            maps.append(self.policy.promises(observation))
            own = self.policy(observation)  # it remembers, wherever the look goes
            if self.test_centres != 'mean':
                own = own._replace(centres=self.choose(frames, state).centres)
            state = self._look(frames, state, own)
        known = [one.expand(-1, frames.shape[1], -1, -1) for one in maps if one is not None]
        return torch.stack(known, 1) if len(known) == self.steps else None

    @torch.no_grad()
    def _mixed(self, observation: Observation) -> Choice:
        """At half of the places the policy's draw, or its choice if it draws nothing; at the others a random
        one."""
        if isinstance(self.policy, StochasticPolicy | ValuePolicy):
            own = self.policy.draw(observation)
        else:
            own = self.policy(observation)
        elsewhere = self.controls['random'](observation).centres
        A = elsewhere.shape[1] if self.policy.scope == 'frame' else 1
        at_random = torch.rand(elsewhere.shape[0], A, 1, device=elsewhere.device) < 0.5
        return own._replace(centres=torch.where(at_random, elsewhere, own.centres))

    # ---- the losses of stages 1 and 3, and of differentiable policies

    def losses(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Every step supervised, and the encoders' own heads (GFNet, Eq. 8): mean over steps of CE +
        aux_weight * own CE.

        Raises:
            ValueError: if the policy is not frozen and no gradient would reach it.
        """
        if self.training:
            self._check_policy_learns()
        results = {}
        frames, states = self._looks_within_budget(frames)
        for state in states:
            own_head = self.glance_head if state.step == 0 else self.focus_head
            own_logits = own_head(self.dropout(state.vector))  # (B, T, C)
            own_loss = supervised_loss(own_logits, labels, self.supervision, self.loss)
            loss = supervised_loss(state.logits, labels, self.supervision, self.loss)
            results[f'loss_step{state.step}'] = loss / len(states)
            results[f'loss_aux_step{state.step}'] = self.aux_weight * own_loss / len(states)
            results[f'acc_step{state.step}'] = top1(state.logits.float().mean(1), labels)
        if self.distil_weight and len(states) > 1:
            taught = [
                distillation_loss(state.logits, states[-1].logits, self.supervision, self.loss)
                for state in states[:-1]
            ]
            results['loss_distil'] = self.distil_weight * torch.stack(taught).sum() / len(states)
        if self.full_frame_weight:
            results['loss_full_frame'] = self.full_frame_weight * self._full_frame_loss(frames, labels)
        if (
            self.training
            and isinstance(self.policy, ValuePolicy)
            and has_trainable(self.policy)
            and len(states) > 1
        ):
            rollout = self._value_rollout(frames, states, labels)
            results['loss_policy'] = self.policy.value_loss(rollout.observations, rollout.told)
        return results

    def _looks_within_budget(self, frames: Tensor) -> tuple[Tensor, list[LookState]]:
        """The frames that are read, and the states after each step; while training as ``budgets`` draws."""
        if not self.training or not self.budgets:
            return frames, self.looks(frames)
        drawn = {name: choices[torch.randint(len(choices), ())] for name, choices in self.budgets.items()}
        T = frames.shape[1]
        if 'frames' in drawn:
            if drawn['frames'] > T:
                raise ValueError(
                    f"budgets['frames'] holds {drawn['frames']}, but clips have {T} frames; raise num_frames"
                )
            middles = (torch.arange(drawn['frames']) + 0.5) * T / drawn['frames']
            frames = frames[:, middles.long().to(frames.device)]
        states = [replace(self.glance(frames), patch_size=drawn.get('patch_sizes'))]
        for _ in range(drawn.get('steps', self.steps)):
            states.append(self.focus(frames, states[-1]))
        return frames, states

    def _full_frame_loss(self, frames: Tensor, labels: Tensor) -> Tensor:
        whole = resize_frames(frames, self.patch_size, self.glance_resize)
        logits = self.focus_head(self.dropout(self.focus_encoder(whole).vector))
        return supervised_loss(logits, labels, self.supervision, self.loss)

    def _value_rollout(self, frames: Tensor, states: Sequence[LookState], labels: Tensor) -> ValueRollout:
        """What the policy may learn of every look that was taken, and of ``value_looks`` others in its
        place."""
        observations = tuple(self.observe(frames, state)._replace(memory=None) for state in states[:-1])
        steps = []
        for before, taken in zip(states, states[1:]):
            others = (
                self._look(frames, before, self.choose(frames, before, 'random'))
                for _ in range(self.value_looks)
            )  # one at a time, for each holds a map; without gradient, as looks_told asks for them
            with statistics_kept(self.focus_encoder, self.classifier):
                steps.append(self.looks_told(before, chain([taken], others), labels))
        return ValueRollout(observations, LooksTold(*(torch.stack(told) for told in zip(*steps))))

    @torch.no_grad()
    def looks_told(self, before: LookState, looks: Iterable[LookState], labels: Tensor) -> LooksTold:
        """What N looks at one clip, each from the same state, were worth: :class:`LooksTold` of one step, its
        fields without the dimension S.

        Args:
            before: the state that all of them follow.
            looks: the states after each.
            labels: as :meth:`losses` takes them.
        """
        known = self._label_log_probs(before.logits, labels).exp()
        told = []
        for after in looks:
            if after.centres is None:
                raise ValueError('a glance is no look at a place; give states after a focus step')
            gain = self._label_log_probs(after.logits, labels).exp() - known
            own = self._label_log_probs(self.focus_head(after.vector), labels).exp()
            told.append((after.centres, gain, own, self._change(before.logits, after.logits)))
        return LooksTold(*(torch.stack(parts) for parts in zip(*told)))

    def _change(self, before: Tensor, after: Tensor) -> Tensor:
        """How far logits ``(B, T, C)`` moved, ``(B, A)``: root mean square over the classes."""
        moved = (after - before).float()
        moved = moved if self.policy.scope == 'frame' else moved.mean(1, keepdim=True)
        return moved.square().mean(-1).sqrt()

    def _check_policy_learns(self) -> None:
        """Refuse a policy that is not frozen and that no loss would train."""
        if not has_trainable(self.policy):
            return
        if isinstance(self.policy, ValuePolicy):
            if self.steps:
                return
            why = 'with steps=0 there is no look to learn from; give steps'
        elif isinstance(self.policy, DifferentiablePolicy):
            if self.steps and self.train_centres == 'mean':
                return
            why = f"train_centres={self.train_centres!r} never asks it; set train_centres='mean'"
        elif isinstance(self.policy, StochasticPolicy):
            why = "it learns by PPO alone, in a stage of its own (train_cfg=dict(type='PolicyLoop'))"
        else:
            why = (
                'it is neither a StochasticPolicy nor a DifferentiablePolicy nor a ValuePolicy; derive it'
                ' from one of these'
            )
        raise ValueError(
            f'{type(self.policy).__name__} has parameters that are to be trained, and no gradient of these'
            f" losses would reach them: {why}, or freeze it here: model.frozen=('policy',)"
        )

    # ---- the stage of a policy alone

    def forward(
        self,
        inputs: Tensor | Rollout | ValueRollout,
        data_samples: Sequence[ClipSample] | None = None,
        mode: str = 'tensor',
    ):
        """mmengine's entry; beside the modes of :class:`Recognizer`, 'rollout' looks at frames, 'policy_loss'
        learns from what that brought."""
        if isinstance(inputs, Rollout | ValueRollout):
            if mode != 'policy_loss':
                raise ValueError(
                    f"mode={mode!r} takes frames, and a rollout was given; use mode='policy_loss'"
                )
            return self.policy_losses(inputs)
        if mode == 'rollout':
            return self.rollout(inputs, labels_of(data_samples, self.num_classes, inputs.device))
        return super().forward(inputs, data_samples, mode)

    def _label_log_probs(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Log-probability of the true class, per frame ``(B, T)`` in scope 'frame', per clip ``(B, 1)`` in
        scope 'clip'."""
        logits = logits if self.policy.scope == 'frame' else logits.mean(1, keepdim=True)
        return label_log_probs(logits, labels, self.loss)

    @torch.no_grad()
    def rollout(self, frames: Tensor, labels: Tensor) -> Rollout | ValueRollout:
        """Look at frames ``(B, T, 3, H, W)``, and note what it brought: where the draws of a stochastic
        policy say; of one that learns values, where ``train_centres`` says, and at ``value_looks`` other
        places.

        Raises:
            TypeError: if the policy is of another kind.
            ValueError: if it is frozen, or there are no focus steps to choose for.
        """
        policy = self._policy_that_learns()
        if isinstance(policy, ValuePolicy):
            frames, states = self._looks_within_budget(frames)
            if len(states) == 1:
                raise ValueError(
                    f"budgets['steps']={self.budgets['steps']} drew 0, and without a look there is nothing to"
                    f' learn for {type(policy).__name__}; leave 0 out in its own stage'
                )
            return self._value_rollout(frames, states, labels)
        state = self.glance(frames)
        if self.ppo['baseline'] == 'group':
            rows = torch.arange(len(frames), device=frames.device).repeat_interleave(self.ppo['group'])
            frames, labels, state = frames[rows], labels[rows], state.select(rows)
        log_probs, elsewhere, observed, choices = [self._label_log_probs(state.logits, labels)], [], [], []
        for _ in range(self.steps):
            observed.append(self.observe(frames, state)._replace(memory=None))
            choice = policy.draw(self.observe(frames, state))
            choices.append(choice)
            if self.reward in COMPARED:
                at_random = self._look(frames, state, self.choose(frames, state, 'random'))
                elsewhere.append(self._label_log_probs(at_random.logits, labels))
            state = self._look(frames, state, choice)
            log_probs.append(self._label_log_probs(state.logits, labels))
        values = self._told(choices, 'value', log_probs[0].shape)  # (S, B, A)
        rewards = step_rewards(
            torch.stack(log_probs), self.reward, torch.stack(elsewhere) if elsewhere else None
        )
        advantages, returns = self._advantages(rewards, values)
        old_log_probs = self._told(choices, 'log_prob', values.shape[1:])
        by_clip = [
            rearrange(x, 's b a -> b s a')
            for x in (old_log_probs, values, rewards, normalise(advantages), returns)
        ]
        centres = torch.stack([choice.centres for choice in choices], 1)  # (B, S, T, 2)
        actions = [choice.action for choice in choices if choice.action is not None]
        if len(actions) < len(choices):
            raise TypeError(f'a draw of {type(policy).__name__} has no action; PPO needs what was drawn')
        return Rollout(tuple(observed), centres, torch.stack(actions, 1), *by_clip)

    def _advantages(self, rewards: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages and returns ``(S, B, A)``, by the baseline that ``ppo`` names."""
        if self.ppo['baseline'] == 'critic':
            return generalised_advantages(rewards, values, self.ppo['gamma'], self.ppo['lam'])
        returns, _ = generalised_advantages(rewards, torch.zeros_like(rewards), self.ppo['gamma'], 1.0)
        return leave_one_out(returns, self.ppo['group']), returns

    def _policy_that_learns(self) -> StochasticPolicy | ValuePolicy:
        """The policy, if a stage of its own can train it."""
        policy = type(self.policy).__name__
        if not isinstance(self.policy, StochasticPolicy | ValuePolicy):
            raise TypeError(
                f'{policy} is no StochasticPolicy or ValuePolicy, so no stage of its own trains it; a'
                " DifferentiablePolicy (train_centres='mean') learns with the encoders, any other has nothing"
                ' to learn: leave this stage out'
            )
        if not self.steps or not has_trainable(self.policy):
            raise ValueError(
                f'this stage is to train {policy}, but '
                + ('it is frozen' if self.steps else 'the recognizer has steps=0 and never asks it')
                + '; correct model.frozen or model.steps, or leave the stage out'
            )
        return self.policy

    def _told(self, choices: Sequence[Choice], name: str, shape: torch.Size) -> Tensor:
        """A field of S choices, ``(S, B, A)``.

        Raises:
            TypeError: if the policy left it out, or gave it another shape.
        """
        for choice in choices:
            value = getattr(choice, name)
            if value is None or value.shape != shape:
                told = 'None' if value is None else f'of shape {tuple(value.shape)}'
                raise TypeError(
                    f'{name} of a choice of {type(self.policy).__name__} is {told}; PPO needs (B, A) ='
                    f' {tuple(shape)}, A = T in scope frame and 1 in scope clip (see StochasticPolicy)'
                )
        return torch.stack([getattr(choice, name) for choice in choices])

    def policy_losses(self, rollout: Rollout | ValueRollout) -> dict[str, Tensor]:
        """Losses of the policy as it is now on what an earlier one did, and diagnostics: PPO's; of values,
        how far they are from what looks were worth."""
        policy = self._policy_that_learns()
        if isinstance(rollout, ValueRollout):
            return self._value_losses(policy, rollout)
        assert isinstance(policy, StochasticPolicy)  # it made this rollout
        memory, choices = None, []
        for observation, action in zip(rollout.observations, rollout.actions.unbind(1), strict=True):
            choices.append(policy.evaluate(observation._replace(memory=memory), action))
            memory = choices[-1].memory
        log_probs, values, entropy = (
            rearrange(self._told(choices, name, rollout.log_probs[:, 0].shape), 's b a -> b s a')
            for name in ('log_prob', 'value', 'entropy')
        )
        policy_loss, diagnostics = clipped_policy_loss(
            log_probs, rollout.log_probs, rollout.advantages, self.ppo['clip']
        )
        # without a critic its loss weighs nothing, but distributed training waits for all parameters
        weight = self.ppo['value_weight'] if self.ppo['baseline'] == 'critic' else 0.0
        losses = dict(
            loss_policy=policy_loss,
            loss_value=weight * F.mse_loss(values, rollout.returns),
        )
        if self.ppo['entropy_weight']:
            losses['loss_entropy'] = -self.ppo['entropy_weight'] * entropy.mean()
        return losses | dict(
            entropy=entropy.detach().mean(),
            explained_variance=explained_variance(rollout.values, rollout.returns),
            **diagnostics,
            **{f'reward_step{s + 1}': rollout.rewards[:, s].mean() for s in range(self.steps)},
        )

    @staticmethod
    def _value_losses(policy: StochasticPolicy | ValuePolicy, rollout: ValueRollout) -> dict[str, Tensor]:
        assert isinstance(policy, ValuePolicy)  # it made this rollout
        taken = rollout.told.changes[:, 0].flatten(1).mean(1)  # (S,)
        loss = policy.value_loss(rollout.observations, rollout.told)
        return dict(loss_policy=loss) | {f'change_step{s}': mean for s, mean in enumerate(taken, 1)}


@contextmanager
def statistics_kept(*modules: nn.Module) -> Iterator[None]:
    """Within it, batch normalization goes by its batch and keeps its running statistics as they are."""
    norms = [
        norm
        for module in modules
        for norm in module.modules()
        if isinstance(norm, nn.modules.batchnorm._BatchNorm)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _with_policys_part(cache: Cache, carried: Mapping[str, Tensor] | None) -> Cache:
    return cache | {POLICY + name: value for name, value in (carried or {}).items()}


def _policys_part(cache: Cache | None) -> Cache | None:
    found = {
        name.removeprefix(POLICY): value for name, value in (cache or {}).items() if name.startswith(POLICY)
    }
    return found or None


def _encoders_part(cache: Cache | None) -> Cache | None:
    return {name: value for name, value in (cache or {}).items() if not name.startswith(POLICY)} or None
