"""The published policy: a GRU over looks gives the mean of a Gaussian over centres (GFNet, Sec. 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from torch import Tensor, nn

from ...registry import MODELS
from ..arguments import one_of
from .base import Choice, Geometry, Observation, Scope, StochasticPolicy, cell_centres
from .stem import GlanceStem

__all__ = ['GaussianMemory', 'RecurrentGaussianPolicy']


class GaussianMemory(NamedTuple):
    """State between choices: GRU state ``(B, A, hidden)``, the glance map's keys ``(B, A, K, h, w)`` if the
    actor attends, and the GRU state of a critic that reads for itself."""

    hidden: Tensor
    keys: Tensor | None
    judged: Tensor | None = None


class MapReader(nn.Module):
    """A feature map to a vector: 1x1 convolution, flatten, linear (GFNet's policy encoder)."""

    def __init__(self, channels: int, size: tuple[int, int], reduced: int, hidden: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.linear = nn.Linear(reduced * math.prod(size), hidden)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(N, D, h, w)`` to ``(N, hidden)``."""
        return F.relu(self.linear(F.relu(self.reduce(feature_map)).flatten(1)))


class FlatReader(nn.Module):
    """A feature map to a vector: flatten, two linear layers (GFNet's policy encoder for ResNet and
    DenseNet)."""

    wide = 2048

    def __init__(self, channels: int, size: tuple[int, int], hidden: int):
        super().__init__()
        self.linear1 = nn.Linear(channels * math.prod(size), self.wide)
        self.linear2 = nn.Linear(self.wide, hidden)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(N, D, h, w)`` to ``(N, hidden)``."""
        return F.relu(self.linear2(F.relu(self.linear1(feature_map.flatten(1)))))


class LinearActor(nn.Module):
    """The published actor: mean = sigmoid(linear(hidden))."""

    def __init__(self, hidden: int):
        super().__init__()
        self.linear = nn.Linear(hidden, 2)

    def forward(self, hidden: Tensor, keys: None, centres: Tensor | None, geometry: Geometry) -> Tensor:
        return torch.sigmoid(self.linear(hidden))


class AttentionActor(nn.Module):
    """The mean is where the GRU's query attends on the glance map (a soft argmax, Levine et al., JMLR 2016,
    Sec. 4.2).

    What the eye-catching thing looks like is learned once for all places, so far fewer trials are needed than
    to learn the way from a flattened map to two numbers place by place. A last channel marks where the
    previous look was cut, which the GRU may seek or avoid.
    """

    def __init__(self, hidden: int, key_channels: int):
        super().__init__()
        self.query = nn.Linear(hidden, key_channels)
        self.return_weight = nn.Linear(hidden, 1)
        self.scale = key_channels**-0.5

    def forward(self, hidden: Tensor, keys: Tensor, centres: Tensor | None, geometry: Geometry) -> Tensor:
        """hidden ``(B, A, hidden)``, keys ``(B, A, K, h, w)``, centres ``(B, A, 2)`` of the previous look, to
        means ``(B, A, 2)``."""
        # (B, A, h, w)
        scores = einsum(self.query(hidden), keys, 'b a k, b a k h w -> b a h w').float() * self.scale
        h, w = keys.shape[-2:]
        ys, xs = cell_centres((h, w), geometry, scores.device)
        if centres is not None:
            width = [patch / (2 * max(frame - patch, 1)) for frame, patch in zip(*geometry)]
            near = torch.exp(
                -(((ys[:, None] - centres[..., 0, None, None]) / width[0]) ** 2)
                - ((xs - centres[..., 1, None, None]) / width[1]) ** 2
            )  # (B, A, h, w)
            scores = scores + self.return_weight(hidden).float()[..., None] * near
        attention = scores.flatten(2).softmax(-1).view_as(scores)
        # (B, A, 2)
        return torch.stack([(attention.sum(3) * ys).sum(2), (attention.sum(2) * xs).sum(2)], dim=-1)


@MODELS.register_module()
class RecurrentGaussianPolicy(StochasticPolicy):
    """Centres from a Gaussian whose mean a GRU over looks sets; drawn while learning, the mean at test.

    The raw draw is kept for the probability ratio of PPO and clamped only to cut, so the ratio belongs to
    what was drawn.

    Args:
        glance_channels, focus_channels: D of the maps of the glance and of the focus looks.
        glance_map, focus_map: (h, w) of these maps.
        steps: S.
        scope: 'frame' or 'clip'; a clip's one centre is chosen from the mean of its frames.
        actor: 'attention' or 'linear' (published).
        reader: what turns a map into the GRU's input: 'convolution' (1x1, then a linear layer) or 'flat' (two
            linear layers, as published for ResNet and DenseNet).
        share_reader: one reader for the maps of all looks (published); else the glance has its own.
        critic_layers: linear layers of the critic, 2 or 1 (published).
        own_critic: the critic has readers and a GRU of its own (as in AdaptiveNN); else it shares the actor's
            (published).
        pixels: the actor attends on the glance's map and, through a stem of its own, its pixels; False: on
            the map alone.
        hidden: size of the GRU state.
        reduced: channels after the 1x1 convolution, and of the attention's keys.
        std: standard deviation of the draw, in units of the centre, at the start and at the end of the
            policy's training.

    ``actor='linear', share_reader=True, critic_layers=1, std=(0.1, 0.1)`` is the published policy, with
    ``hidden=1024, reader='flat'`` for ResNet and DenseNet.

    Raises:
        ValueError: on an unknown choice, a map too small to attend on, or a shared reader for maps that
            differ.
    """

    std: Tensor

    def __init__(
        self,
        glance_channels: int,
        focus_channels: int,
        glance_map: tuple[int, int],
        focus_map: tuple[int, int],
        steps: int,
        scope: Scope = 'frame',
        actor: Literal['attention', 'linear'] = 'attention',
        reader: Literal['convolution', 'flat'] = 'convolution',
        share_reader: bool = False,
        critic_layers: int = 2,
        own_critic: bool = False,
        pixels: bool = False,
        hidden: int = 256,
        reduced: int = 32,
        std: tuple[float, float] = (0.25, 0.1),
    ):
        super().__init__(scope)
        one_of(actor, 'actor', ('attention', 'linear'))
        one_of(reader, 'reader', ('convolution', 'flat'))
        if actor == 'attention' and max(glance_map) < 2:
            raise ValueError(
                f'the glance map that the policy reads has {glance_map} cells, so its attention cannot move;'
                " give the glance encoder a smaller map_stride, or set actor='linear'"
            )
        if min(std) <= 0:
            raise ValueError(f'std={std} must be positive at both ends')
        if critic_layers not in (1, 2):
            raise ValueError(f'critic_layers={critic_layers} must be 1 or 2')
        glance_form = glance_channels, (glance_map[0], glance_map[1])
        focus_form = focus_channels, (focus_map[0], focus_map[1])
        if share_reader and glance_form != focus_form:
            raise ValueError(
                f'share_reader=True needs maps of one form, but the glance has {glance_form} and the focus'
                f' {focus_form} (channels, size); use the same encoder and G = P, or share_reader=False'
            )
        if pixels and actor != 'attention':
            raise ValueError(f"pixels=True is for actor='attention', which looks for places; not {actor!r}")
        self.share_reader = share_reader
        self.reads_glance = pixels
        make_reader: Callable[[int, tuple[int, int]], nn.Module] = (
            partial(MapReader, reduced=reduced, hidden=hidden)
            if reader == 'convolution'
            else partial(FlatReader, hidden=hidden)
        )
        self.glance_reader = make_reader(*glance_form)
        self.focus_reader = make_reader(*focus_form) if steps > 1 and not share_reader else None
        self.gru = nn.GRUCell(hidden, hidden)
        self.judge = None
        if own_critic:
            readers = [make_reader(*glance_form)]
            readers += [make_reader(*focus_form)] if self.focus_reader is not None else []
            self.judge = nn.ModuleDict(dict(readers=nn.ModuleList(readers), gru=nn.GRUCell(hidden, hidden)))
        self.stem = GlanceStem(reduced) if pixels else None
        self.keys = None
        if actor == 'attention':
            self.keys = nn.Sequential(
                nn.Conv2d(glance_channels + (reduced if pixels else 0), 2 * reduced, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(2 * reduced, reduced, 1),
            )
        self.actor = AttentionActor(hidden, reduced) if actor == 'attention' else LinearActor(hidden)
        self.critic = nn.Sequential(
            *[nn.Linear(hidden, hidden), nn.ReLU()] * (critic_layers - 1), nn.Linear(hidden, 1)
        )
        self.std_range = tuple(std)
        self.register_buffer('std', torch.tensor(float(std[0])))

    def set_progress(self, fraction: float) -> None:
        start, end = self.std_range
        self.std.fill_(start + (end - start) * min(max(fraction, 0.0), 1.0))

    def _pool(self, x: Tensor) -> Tensor:
        """What frames ``(B, T, ...)`` give, as the choices ``(B, A, ...)`` read it."""
        return x.mean(1, keepdim=True) if self.scope == 'clip' else x

    def _read(
        self,
        observation: Observation,
        readers: tuple[nn.Module, nn.Module | None],
        gru: nn.Module,
        before: Tensor | None,
    ) -> Tensor:
        """A GRU's state ``(B, A, hidden)`` after the latest look."""
        T = observation.feature_map.shape[1]
        images = rearrange(observation.feature_map.detach(), 'b t d h w -> (b t) d h w')
        reader = readers[0] if observation.step == 0 or readers[1] is None else readers[1]
        seen = self._pool(rearrange(reader(images), '(b t) f -> b t f', t=T))  # (B, A, hidden)
        known = None if before is None else rearrange(before, 'b a f -> (b a) f')
        hidden = gru(rearrange(seen, 'b a f -> (b a) f'), known)
        return rearrange(hidden, '(b a) f -> b a f', a=seen.shape[1])

    def _keys(self, observation: Observation) -> Tensor | None:
        """What the actor attends on, of the glance: ``(B, A, K, h, w)``."""
        if self.keys is None:
            return None
        T, glance = observation.feature_map.shape[1], observation.glance
        images = rearrange(observation.feature_map.detach(), 'b t d h w -> (b t) d h w')
        if self.stem is not None:
            assert glance is not None  # asked for by reads_glance
            images = self.stem(images, rearrange(glance, 'b t c h w -> (b t) c h w'))
        return self._pool(rearrange(self.keys(images), '(b t) k h w -> b t k h w', t=T))

    def _remember(self, observation: Observation) -> GaussianMemory:
        memory: GaussianMemory | None = observation.memory
        readers = self.glance_reader, self.focus_reader
        hidden = self._read(observation, readers, self.gru, memory.hidden if memory else None)
        return GaussianMemory(hidden, memory.keys if memory else self._keys(observation))

    def _judged(self, observation: Observation, memory: GaussianMemory) -> Tensor:
        """What the critic goes by, ``(B, A, hidden)``."""
        if self.judge is None:
            return memory.hidden
        before: GaussianMemory | None = observation.memory
        own = list(self.judge['readers'])  # type: ignore[call-overload]  # a ModuleDict's stub
        readers = own[0], own[1] if len(own) > 1 else None
        return self._read(observation, readers, self.judge['gru'], before.judged if before else None)

    def _mean(self, observation: Observation) -> tuple[Tensor, GaussianMemory]:
        """Mean of the Gaussian ``(B, A, 2)``, not clamped, and what is remembered."""
        memory = self._remember(observation)
        before = None if observation.centres is None else observation.centres[:, : memory.hidden.shape[1]]
        return self.actor(memory.hidden, memory.keys, before, observation.geometry).float(), memory

    def forward(self, observation: Observation) -> Choice:
        """The mean."""
        mean, memory = self._mean(observation)
        return Choice(self.for_frames(mean.clamp(0, 1), observation), memory)

    def draw(self, observation: Observation) -> Choice:
        mean, memory = self._mean(observation)
        return self._drawn(observation, mean, memory, mean + self.std * torch.randn_like(mean))

    def evaluate(self, observation: Observation, action: Tensor) -> Choice:
        """See :class:`StochasticPolicy`; the entropy depends on the schedule of ``std`` alone, so it has no
        gradient."""
        return self._drawn(observation, *self._mean(observation), action)

    def _drawn(
        self, observation: Observation, mean: Tensor, memory: GaussianMemory, action: Tensor
    ) -> Choice:
        log_std, log_turn = self.std.log(), math.log(2 * math.pi)
        judged = self._judged(observation, memory)
        # two coordinates, each a Gaussian of its own
        log_prob = reduce(
            -(((action - mean) / self.std) ** 2) / 2 - log_std - log_turn / 2, 'b a yx -> b a', 'sum'
        )
        return Choice(
            self.for_frames(action.clamp(0, 1), observation),
            memory if self.judge is None else memory._replace(judged=judged),
            action=action,
            log_prob=log_prob,
            value=self.critic(judged).squeeze(-1).float(),  # (B, A)
            entropy=(1 + log_turn + 2 * log_std).expand(log_prob.shape),
        )
