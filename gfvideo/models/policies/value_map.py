"""A policy that learns what a look is worth: values of every place, regressed on looks that were taken.

Where each look is judged by itself, no trial by trial search is needed: every patch that training cuts,
random ones first of all, tells what a patch at its place was worth. What a place is worth is learned from
what a glance shows there, once for all places; the best place not seen yet is looked at next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from ...ops import bidirectional_shift, causal_shift, numbers_like
from ...registry import MODELS
from ..arguments import as_size, one_of
from ..temporal import Shift
from .base import Choice, Geometry, LooksTold, Observation, Scope, ValuePolicy
from .stem import GlanceStem

__all__ = ['ValueMapPolicy', 'ValueMemory']

KEPT = 0.5  # of the places seen at earlier frames, a frame later
AS_BEFORE = 'as_before'  # name of a buffer, see ValueMapPolicy.upgrade_weights
NOTABLE = 3.0  # a change of logits that counts half, between nothing and all
BY = ('change', 'sum', 'gain', 'alone')
By = Literal['change', 'sum', 'gain', 'alone']


class ValueMemory(NamedTuple):
    """State between choices.

    Attributes:
        features: ``(B, A, K, h, w)`` what the glance shows, and what patches showed, where they lie.
        seen: ``(B, A, h, w)`` how much of each cell was looked at, in [0, 1].
    """

    features: Tensor
    seen: Tensor


class Valued(NamedTuple):
    """What is known before a choice.

    Attributes:
        memory: of the looks so far.
        promise: ``(B, A, h, w)`` expected gain of a look at each cell.
        alone: ``(B, A, h, w)`` expected probability of the true class from a look at each cell by itself.
        change: ``(B, A, h, w)`` expected change of what the looks so far say, from 0, nothing, to 1.
        carried: for the next frame of a causal stream.
    """

    memory: ValueMemory
    promise: Tensor
    alone: Tensor
    change: Tensor
    carried: dict[str, Tensor]


@MODELS.register_module()
class ValueMapPolicy(ValuePolicy):
    """The cell of the glance's map with the largest value, refined within its neighbours.

    It reads the glance's map and, through a stem of its own, the glance's pixels: a map that was trained for
    classes says little of where they are told apart. What patches showed is written back into the map where
    they lie (AdaptiveNN, Nature Machine Intelligence 2025), places that were looked at are marked, at this
    frame and at those it may know of, and so is how sure the looks so far are. Neighbouring frames are seen
    through a temporal shift of the map, as the encoders see them.

    A cell has three values. What a look there would add to the probability of the true class, the gain, is
    what exits ask for, but a poor teacher of places: it is small where the looks before know a training clip
    already, and of either sign where patches cannot be read well yet. What a look would tell by itself is
    little where no single look can know. How far a look moves the logits, whatever the class, the change
    (compare Bayesian surprise: Itti and Baldi, Vision Research 2009), needs far fewer looks to tell a place
    with something to read from one without, and is small again where the looks before have read it. Places
    are chosen by it, or by what ``chosen_by`` says, which falls by ``discount`` as far as a cell was seen.

    Args:
        glance_channels: D of the glance's map.
        focus_channels: D of the maps of the focus looks.
        scope: 'frame' or 'clip'; a clip's one centre is chosen from the mean of its frames.
        shift: of the glance encoder, for the map's own temporal shift; None for frames that do not see each
            other.
        hidden: channels K of the stem and of the map of features.
        discount: share of a seen cell's promise that is taken off it, in [0, 1]; 0 leaves it to the map,
            which learns from looks that repeat each other.
        temperature: of the draws while learning: cells are drawn by softmax(value / temperature).
        write_back: whether patches are written back.
        temporal: whether the map is shifted in time.
        chosen_by: 'change', 'gain', 'alone', or 'sum', that of the last two.
        stem_depth: convolutions of the stem, 2 or more: fine detail is found by a deeper one.
        stem_norm: whether a batch normalization follows each of them, with which the map learns in fewer
            steps.
        stem_size: in pixels, one number or (height, width), of the frames that the stem reads; None for those
            of the glance. A stem is cheap beside an encoder, so it may see more than the glance.
        stem_stride: of all convolutions of the stem together, a power of two, 4 or more.

    Raises:
        ValueError: if the discount is outside [0, 1], the temperature not above 0, or ``chosen_by`` unknown,
            or the stem has too few convolutions for its stride.
    """

    reads_glance = True

    def __init__(
        self,
        glance_channels: int,
        focus_channels: int,
        scope: Scope = 'frame',
        shift: Shift | None = None,
        hidden: int = 32,
        discount: float = 1.0,
        temperature: float = 0.1,
        write_back: bool = True,
        temporal: bool = True,
        chosen_by: By = 'change',
        stem_depth: int = 2,
        stem_norm: bool = False,
        stem_size: int | Sequence[int] | None = None,
        stem_stride: int = 4,
    ):
        super().__init__(scope)
        one_of(chosen_by, 'chosen_by', BY)
        self.chosen_by: By = chosen_by
        if not 0 <= discount <= 1:
            raise ValueError(f'discount={discount} must be in [0, 1]')
        if temperature <= 0:
            raise ValueError(f'temperature={temperature} must be above 0')
        self.discount, self.temperature = discount, temperature
        self.shift = shift if temporal and scope == 'frame' else None
        self._as_given = self.chosen_by, self.shift
        # of weights of an earlier version, which choose as they did: in the state dict only then
        self.as_before: Tensor | None
        self.register_buffer('as_before', None)
        self.stem = GlanceStem(hidden, stem_depth, stem_norm, stem_stride)
        self.reads_size = None if stem_size is None else as_size(stem_size, 'stem_size')
        self.mix = nn.Sequential(nn.Conv2d(glance_channels + hidden, hidden, 3, padding=1), nn.ReLU())
        self.write = nn.Conv2d(focus_channels, hidden, 1) if write_back else None
        if self.write is not None:  # at first the map is that of the glance
            nn.init.zeros_(self.write.weight)
            nn.init.zeros_(self.write.bias)  # type: ignore[arg-type]  # a stub's gap
        # the map of features; how far each cell was seen, here and at other frames; how sure; which look
        self.value = nn.Sequential(
            nn.Conv2d(hidden + 4, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, 3, 1)
        )

    def described(self) -> dict[str, Any]:
        told = dict[str, Any](discount=self.discount, chosen_by=self.chosen_by)
        return told | ({} if self.reads_size is None else dict(stem_size=list(self.reads_size)))

    def upgrade_weights(self, weights: dict[str, Tensor], prefix: str = '') -> None:
        """Turn weights of earlier versions into those of this one, in place, and choose as they did: their
        places come back, also where they are trained on or saved again. The first version saw frames singly
        and wrote nothing back; the second knew of no change."""
        first = prefix + 'stem.0.weight' in weights
        if first:
            self._upgrade_first(weights, prefix)
        names = [f'{prefix}value.2.{name}' for name in ('weight', 'bias')]
        if names[0] not in weights:
            return
        for name in names:
            if len(weights[name]) == 2:
                weights[name] = torch.cat([weights[name], torch.zeros_like(weights[name][:1])])
        key = prefix + AS_BEFORE
        by, shift = self._as_given
        if key not in weights:
            # weights that an earlier version saved again tell by what is zero: that they know no change, or
            # that they read nothing of other frames
            hidden = weights[prefix + 'value.0.weight'].shape[1] - 4
            first |= not weights[prefix + 'value.0.weight'][:, hidden + 1 : hidden + 3].any()
            unchanged = not any(weights[name][2].any() for name in names)
            before = (by == 'change' and unchanged), (shift is not None and first)
            if any(before):
                weights[key] = torch.tensor(before, dtype=torch.uint8)
        told = weights.get(key)
        self.as_before = None if told is None else told.clone().to(next(self.parameters()).device)
        by_sum, singly = (False, False) if self.as_before is None else self.as_before.bool().tolist()
        self.chosen_by, self.shift = 'sum' if by_sum else by, None if singly else shift

    def _upgrade_first(self, weights: dict[str, Tensor], prefix: str) -> None:
        for name in ('0.weight', '0.bias', '2.weight', '2.bias'):
            weights[f'{prefix}stem.pixels.{name}'] = weights.pop(f'{prefix}stem.{name}')
        weight = weights[prefix + 'value.0.weight']  # of features, seen, look
        unread = weight.new_zeros(len(weight), 2, *weight.shape[2:])
        weights[prefix + 'value.0.weight'] = torch.cat([weight[:, :-1], unread, weight[:, -1:]], 1)
        if self.write is not None:
            for name, value in self.write.state_dict().items():
                weights[f'{prefix}write.{name}'] = torch.zeros_like(value)
        for name in ('weight', 'bias'):  # chosen by the gain alone
            gain = weights[f'{prefix}value.2.{name}']
            weights[f'{prefix}value.2.{name}'] = torch.cat([gain, torch.zeros_like(gain)])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        self.upgrade_weights(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *others)

    # ---- what is known

    def _pool(self, x: Tensor) -> Tensor:
        """What frames ``(B, T, ...)`` give, as the choices ``(B, A, ...)`` read it."""
        return x.mean(1, keepdim=True) if self.scope == 'clip' else x

    def _features(self, observation: Observation) -> Tensor:
        """What the glance shows, ``(B, A, K, h, w)``."""
        T, glance = observation.feature_map.shape[1], observation.glance
        assert glance is not None  # asked for by reads_glance
        maps = rearrange(observation.feature_map.detach(), 'b t d h w -> (b t) d h w')
        both = self.stem(maps, rearrange(glance, 'b t c h w -> (b t) c h w'))
        return self._pool(rearrange(self.mix(both), '(b t) k h w -> b t k h w', t=T))

    def remember(self, observation: Observation) -> ValueMemory:
        """What is known before the choice: the glance's features, and the patches and places of all looks so
        far."""
        memory: ValueMemory | None = observation.memory
        if memory is None:
            features = self._features(observation)
            memory = ValueMemory(features, features.new_zeros(*features.shape[:2], *features.shape[-2:]))
        if observation.centres is None:
            return memory
        features, seen = memory
        cells = (seen.shape[-2], seen.shape[-1])
        centres = observation.centres[:, : seen.shape[1]]
        covered = coverage(centres, cells, observation.geometry).to(seen.dtype)
        if self.write is not None and observation.step > 0:
            T = observation.feature_map.shape[1]
            patches = self.write(rearrange(observation.feature_map.detach(), 'b t d h w -> (b t) d h w'))
            patches = self._pool(rearrange(patches, '(b t) k h w -> b t k h w', t=T))
            features = features + covered[:, :, None] * placed(patches, centres, cells, observation.geometry)
        return ValueMemory(features, torch.maximum(seen, covered))

    def _sureness(self, observation: Observation, like: Tensor) -> Tensor:
        """Largest probability of what the looks so far say, on every cell ``(B, A, h, w)``."""
        if observation.logits is None:
            return torch.zeros_like(like)
        logits = self._pool(observation.logits.detach())
        sure = logits.float().softmax(-1).amax(-1).to(like.dtype)  # (B, A)
        return sure[..., None, None].expand_as(like)

    def _elsewhere(self, seen: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Places seen at other frames that may be known, ``(B, A, h, w)``: causally those before, fading;
        else the mean over all.

        And what the next frame is to know, ``(B, h, w)``.
        """
        if self.shift is None:
            return torch.zeros_like(seen), seen[:, -1]
        if self.shift == 'bidirectional':
            return seen.mean(1, keepdim=True).expand_as(seen), seen[:, -1]
        known, found = torch.zeros_like(seen[:, 0]) if before is None else before, []
        for t in range(seen.shape[1]):
            found.append(known)
            known = torch.maximum(KEPT * known, seen[:, t])
        return torch.stack(found, 1), known

    def _shifted(self, features: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features ``(B, A, K, h, w)`` that see their neighbours in time, and what the next frame needs."""
        if self.shift == 'causal':
            return causal_shift(features, before)
        if self.shift == 'bidirectional' and features.shape[1] > 1:
            return bidirectional_shift(features), None
        return features, None

    def valued(self, observation: Observation) -> Valued:
        """What is known before the choice, and what a look at each cell would add, tell by itself, and
        change."""
        memory = self.remember(observation)
        carried: Mapping[str, Tensor] = observation.carried or {}
        A = memory.seen.shape[1]
        features, kept = self._shifted(memory.features, carried.get('features'))
        elsewhere, known = self._elsewhere(memory.seen, carried.get('seen'))
        look = torch.full_like(memory.seen, float(observation.step))
        planes = torch.stack(
            [memory.seen, elsewhere, self._sureness(observation, memory.seen), look], 2
        )  # (B, A, 4, h, w)
        x = rearrange(torch.cat([features, planes.to(features.dtype)], 2), 'b a k h w -> (b a) k h w')
        promise, alone, change = rearrange(self.value(x), '(b a) values h w -> values b a h w', a=A)
        left = {} if kept is None else dict(features=kept, seen=known)
        return Valued(memory, promise, alone, change, left)

    def left(self, valued: Valued) -> Tensor:
        """How good each cell still is, ``(B, A, h, w)``, by ``chosen_by``: less where it was seen, down to
        the least of all cells."""
        values = dict(
            change=valued.change,
            sum=valued.promise + valued.alone,
            gain=valued.promise,
            alone=valued.alone,
        )
        worth, seen = values[self.chosen_by], valued.memory.seen
        return worth - self.discount * seen * (worth - reduce(worth, 'b a h w -> b a 1 1', 'min'))

    def promises(self, observation: Observation) -> Tensor | None:
        return self.left(self.valued(observation))

    # ---- choices

    def forward(self, observation: Observation) -> Choice:
        valued = self.valued(observation)
        left = self.left(valued)
        cells = rearrange(left, 'b a h w -> b a (h w)').argmax(-1)  # (B, A)
        return self._choice(observation, valued, refined(left, cells))

    def draw(self, observation: Observation) -> Choice:
        valued = self.valued(observation)
        left = self.left(valued)
        A, (h, w) = left.shape[1], left.shape[-2:]
        weights = rearrange(left.float() / self.temperature, 'b a h w -> (b a) (h w)').softmax(-1)
        cells = rearrange(torch.multinomial(weights, 1), '(b a) 1 -> b a', a=A)
        within = torch.rand(*cells.shape, 2, device=cells.device)  # anywhere in the cell
        places = (torch.stack([cells // w, cells % w], -1) + within) / numbers_like(within, [h, w])
        return self._choice(observation, valued, places)

    def _choice(self, observation: Observation, valued: Valued, places: Tensor) -> Choice:
        """A choice of places ``(B, A, 2)``, as parts of the frame's height and width."""
        centres = centres_at(places, observation.geometry)
        return Choice(
            self.for_frames(centres, observation),
            valued.memory,
            value=value_at(valued.promise, centres, observation.geometry),
            carried=valued.carried or None,
        )

    def value_loss(self, observations: Sequence[Observation], told: LooksTold) -> Tensor:
        expected: list[Tensor] = []
        memory = None
        for observation, places in zip(observations, told.centres, strict=True):
            valued = self.valued(observation._replace(memory=memory))
            memory = valued.memory
            places = rearrange(places[:, :, : memory.seen.shape[1]], 'n b a yx -> b a n yx')
            values = (valued.promise, valued.alone, valued.change)
            at = torch.stack([values_at(one, places, observation.geometry) for one in values])
            expected.append(rearrange(at, 'values b a n -> values n b a'))
        found = torch.stack(expected, 1).float()  # (3, S, N, B, A)
        notable = told.changes**2 / (told.changes**2 + NOTABLE**2)
        worth = torch.stack([told.gains, told.alone, notable])
        return len(worth) * F.smooth_l1_loss(found, worth, beta=0.25)


def coverage(centres: Tensor, cells: tuple[int, int], geometry: Geometry) -> Tensor:
    """How much of each cell of a map lies in the patches at ``centres`` ``(B, A, 2)``: ``(B, A, h, w)`` in
    [0, 1]."""
    parts = []
    for axis, (count, frame, patch) in enumerate(zip(cells, *geometry)):
        side = frame / count
        first = centres[..., axis, None] * (frame - patch)  # (B, A, 1), pixels
        start = torch.arange(count, device=centres.device) * side
        overlap = torch.minimum(first + patch, start + side) - torch.maximum(first, start)
        parts.append((overlap / side).clamp(0, 1))
    return parts[0][..., :, None] * parts[1][..., None, :]


def placed(patches: Tensor, centres: Tensor, cells: tuple[int, int], geometry: Geometry) -> Tensor:
    """Maps of patches laid where the patches lie in the frame.

    Args:
        patches: ``(B, A, K, p, q)``.
        centres: ``(B, A, 2)`` of the patches.
        cells: (h, w) of the frame's map.

    Returns:
        ``(B, A, K, h, w)``: at each cell what the patch shows at the middle of the cell, between its own
        cells bilinear; beyond the patch, what its edge shows.
    """
    A = centres.shape[1]
    axes = []
    for axis, (count, frame, patch) in enumerate(zip(cells, *geometry)):
        middles = (torch.arange(count, device=centres.device) + 0.5) * (frame / count)
        first = centres[..., axis, None] * (frame - patch)  # (B, A, 1), pixels
        axes.append(2 * (middles - first) / patch - 1)  # -1 and 1 are the patch's edges
    grid = torch.stack(
        [
            repeat(axes[1], 'b a w -> (b a) h w', h=cells[0]),
            repeat(axes[0], 'b a h -> (b a) h w', w=cells[1]),
        ],
        -1,
    )  # (B*A, h, w, 2), x first
    flat = rearrange(patches, 'b a k p q -> (b a) k p q')
    at = F.grid_sample(flat, grid.to(flat.dtype), padding_mode='border', align_corners=False)
    return rearrange(at, '(b a) k h w -> b a k h w', a=A)


def centres_at(places: Tensor, geometry: Geometry) -> Tensor:
    """Centres ``(..., 2)`` of the patches whose middles are at ``places``, parts of height and width."""
    frame, patch = (numbers_like(places, size) for size in geometry)
    return ((places * frame - patch / 2) / (frame - patch).clamp_min(1)).clamp(0, 1)


def value_at(values: Tensor, centres: Tensor, geometry: Geometry) -> Tensor:
    """Values ``(B, A, h, w)`` at the middles of the patches at ``centres`` ``(B, A, 2)``, between cells
    bilinear: ``(B, A)``."""
    return values_at(values, centres[:, :, None], geometry).squeeze(2)


def values_at(values: Tensor, centres: Tensor, geometry: Geometry) -> Tensor:
    """As :func:`value_at`, of N patches each: centres ``(B, A, N, 2)``, values ``(B, A, N)``."""
    A = values.shape[1]
    frame, patch = (numbers_like(centres, size) for size in geometry)
    middles = (centres * (frame - patch) + patch / 2) / frame  # (B, A, N, 2), parts of height and width
    grid = rearrange(2 * middles - 1, 'b a n yx -> (b a) 1 n yx').flip(-1)  # x first
    maps = rearrange(values, 'b a h w -> (b a) 1 h w')
    at = F.grid_sample(maps, grid.to(maps.dtype), padding_mode='border', align_corners=False)
    return rearrange(at, '(b a) 1 1 n -> b a n', a=A)


def refined(values: Tensor, cells: Tensor) -> Tensor:
    """Places ``(B, A, 2)``, parts of height and width: the middle of the best cell, moved by what its
    neighbours on either side promise, half a cell at most (a parabola through three points).

    It never lies between two places that both promise much.
    """
    h, w = values.shape[-2:]
    padded = F.pad(values.float(), (1, 1, 1, 1), mode='replicate')
    y, x = cells // w, cells % w
    flat = rearrange(padded, 'b a h w -> b a (h w)')

    # the cell itself, those above and below, those on either side
    steps = numbers_like(cells, (0, -(w + 2), w + 2, -1, 1))
    index = ((y + 1) * (w + 2) + x + 1)[..., None] + steps  # (B, A, 5)
    here, above, below, left, right = flat.gather(2, index).unbind(-1)
    offsets = []
    for before, after in ((above, below), (left, right)):
        bend = (2 * here - before - after).clamp_min(1e-6)
        offsets.append((0.5 * (after - before) / bend).clamp(-0.5, 0.5))
    places = torch.stack([y + 0.5 + offsets[0], x + 0.5 + offsets[1]], -1)
    return places / numbers_like(places, [h, w])
