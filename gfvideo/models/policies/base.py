"""What every policy is: from what the latest look showed to the centres of the next."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

__all__ = ['Choice', 'Geometry', 'Observation', 'Policy', 'Scope']

Scope = Literal['frame', 'clip']


class Geometry(NamedTuple):
    """(H, W) of the frames and (height, width) of the patches, in pixels."""

    frame_size: tuple[int, int]
    patch_size: tuple[int, int]


class Observation(NamedTuple):
    """What a policy may read: the number of the latest look, its map ``(B, T, D, h, w)`` and its centres
    (None for the glance)."""

    step: int
    feature_map: Tensor
    centres: Tensor | None


class Choice(NamedTuple):
    """What a policy answers.

    Attributes:
        centres: ``(B, T, 2)`` in [0, 1], where to cut.
        memory: state for its next choice.
        action: ``(B, A, 2)`` the raw choice before it was clamped to [0, 1]; A = T in scope 'frame', 1 in
            scope 'clip'.
        log_prob: ``(B, A)`` of the raw choice; None for a mean, or where nothing learns.
        value: ``(B, A)`` estimate of the return before the choice; None likewise.
        window_sizes: ``(B, T, 2)`` (height, width) in pixels of what is cut, where the policy chooses that
            too; None for the patch size.
    """

    centres: Tensor
    memory: Any = None
    action: Tensor | None = None
    log_prob: Tensor | None = None
    value: Tensor | None = None
    window_sizes: Tensor | None = None


class Policy(nn.Module):
    """Base of the policies.

    Args:
        scope: 'frame', a centre for every frame, or 'clip', one for all frames of a clip.
    """

    learns = False

    def __init__(self, scope: Scope = 'frame'):
        super().__init__()
        if scope not in ('frame', 'clip'):
            raise ValueError(f"scope={scope!r} is unknown; choose 'frame' or 'clip'")
        self.scope = scope

    def forward(
        self,
        observation: Observation,
        memory: Any,
        geometry: Geometry,
        sample: bool = False,
        action: Tensor | None = None,
    ) -> Choice:
        """Choose the centres of the next look; ``sample`` draws, else the mean is taken; ``action``
        re-evaluates an earlier choice."""
        raise NotImplementedError

    def set_progress(self, fraction: float) -> None:
        """Tell the policy which share of its training, in [0, 1], is behind it."""
