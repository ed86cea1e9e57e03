"""What a backbone is: an image network whose maps an encoder reads, and which names where time comes in."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ['Backbone', 'Maps']

Maps = dict[int | str, Tensor]
"""Maps by stride, and perhaps a vector under ``'vector'``."""


class Backbone(nn.Module, ABC):
    """Base of the backbones: images ``(N, 3, H, W)`` to maps by stride, without a classifier.

    Attributes:
        channels: of the map at each stride, ``{4: 64, 8: 128, ...}``.
        vector_channels: F of the vectors; None where a vector is the mean of the deepest map.
    """

    channels: dict[int, int]
    vector_channels: int | None = None

    @abstractmethod
    def forward(self, x: Tensor) -> Maps:
        """Images ``(N, 3, H, W)`` to the maps ``(N, channels[stride], H/stride, W/stride)`` by stride.

        A vector that does not come from the deepest map, as that of a class token, stands beside them as
        ``'vector'``, ``(N, vector_channels)``.
        """

    @abstractmethod
    def shift_points(self) -> list[str]:
        """Dotted names of the modules in front of which the temporal shift goes."""

    @abstractmethod
    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``.

        Raises:
            ValueError: if there is no such map.
        """

    def init_weights(self) -> None:
        """Draw the weights anew; here they stay as torch drew them."""

    def to_vector(self, deepest: Tensor) -> Tensor:
        """The deepest map ``(N, C, h, w)`` to vectors ``(N, F)``; here its mean over space."""
        return deepest.mean((2, 3))

    def map_size(self, size: tuple[int, int], stride: int) -> tuple[int, int]:
        """(h, w) of the map at ``stride`` for images of ``size`` (H, W); here every halving rounds up."""
        height, width = size
        return -(-height // stride), -(-width // stride)

    def rename_pretrained(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of a file of pretrained weights to those of this backbone, the classifier left out; here they
        stay, without a leading ``module.`` (data parallel)."""
        return {name.removeprefix('module.'): value for name, value in state_dict.items()}
