"""DenseNet (Huang et al., CVPR 2017), with torchvision's parameter names."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import MODELS
from .base import Backbone, Maps
from .batch_norm import BatchNorm2d
from .mobile_blocks import init_convolutions

__all__ = ['DenseNet']


class DenseLayer(nn.Module):
    """Normalise, 1x1, normalise, 3x3; its outputs are set beside its inputs:
    ``(N, C, H, W) -> (N, C + growth, H, W)``."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = (
            BatchNorm2d(4 * growth),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        # norm1 must leave x whole: the layers that follow read it, too
        branch = self.conv2(self.relu(self.norm2(self.conv1(self.relu(self.norm1(x))))))
        return torch.cat([x, branch], 1)


class Transition(nn.Sequential):
    """Between dense blocks: normalise, halve the channels, halve the size (rounded down)."""

    def __init__(self, channels: int):
        super().__init__()
        self.add_module('norm', nn.BatchNorm2d(channels))
        self.add_module('relu', nn.ReLU(inplace=True))
        self.add_module('conv', nn.Conv2d(channels, channels // 2, 1, bias=False))
        self.add_module('pool', nn.AvgPool2d(2, 2))


@MODELS.register_module()
class DenseNet(Backbone):
    """DenseNet feature extractor, without the classifier.

    Args:
        depth: 121, 169 or 201.

    ``forward`` takes images ``(N, 3, H, W)``, at least 29 pixels wide and high, and returns the feature maps
    by stride, ``{4: ..., 8: ..., 16: (the outputs of the dense blocks), 32: (N, 1024, 1664 or 1920, h, w)}``,
    the deepest after the last normalisation and its ReLU. Two halvings round up, those between dense blocks
    down; see ``map_size``. ``channels`` holds the channels of each.

    Raises:
        ValueError: for another depth.
    """

    # layers of the dense blocks
    settings = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}

    def __init__(self, depth: int = 121):
        super().__init__()
        if depth not in self.settings:
            raise ValueError(f'no DenseNet of depth {depth}; choose one of {sorted(self.settings)}')
        growth, channels = 32, 64
        self.features = nn.Sequential()
        self.features.add_module('conv0', nn.Conv2d(3, channels, 7, 2, padding=3, bias=False))
        self.features.add_module('norm0', BatchNorm2d(channels))
        self.features.add_module('relu0', nn.ReLU(inplace=True))
        self.features.add_module('pool0', nn.MaxPool2d(3, 2, padding=1))
        self.channels: dict[int, int] = {}
        for i, repeat in enumerate(self.settings[depth], 1):
            block = nn.Sequential()
            for j in range(1, repeat + 1):
                block.add_module(f'denselayer{j}', DenseLayer(channels, growth))
                channels += growth
            self.features.add_module(f'denseblock{i}', block)
            self.channels[2 * 2**i] = channels
            if i < len(self.settings[depth]):
                self.features.add_module(f'transition{i}', Transition(channels))
                channels //= 2
        self.features.add_module('norm5', nn.BatchNorm2d(channels))
        self.init_weights()

    def init_weights(self) -> None:
        init_convolutions(self)

    def shift_points(self) -> list[str]:
        """``conv1`` of every dense layer: its branch sees other frames, the maps that are set beside it stay
        as they were."""
        return [name for name, _ in self.features.named_modules(prefix='features') if name.endswith('.conv1')]

    def _last_of_stride(self) -> dict[str, int]:
        """Name of the layer that makes a map to the stride."""
        names = ['denseblock1', 'denseblock2', 'denseblock3', 'norm5']
        return dict(zip(names, self.channels))

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``."""
        if stride not in self.channels:
            raise ValueError(f'DenseNet has no map at stride {stride}; choose one of {sorted(self.channels)}')
        layers = []
        for name, layer in self.features.named_children():
            layers.append(layer)
            if self._last_of_stride().get(name) == stride:
                break
        return layers

    def map_size(self, size: tuple[int, int], stride: int) -> tuple[int, int]:
        """(h, w) of the map at ``stride`` for images of ``size`` (H, W): the stem rounds up, the transitions
        round down."""
        height, width = (-(-side // 4) // (stride // 4) for side in size)
        return height, width

    def forward(self, x: Tensor) -> Maps:
        maps: Maps = {}
        stride_of = self._last_of_stride()
        for name, layer in self.features.named_children():
            x = layer(x)
            if name in stride_of:
                maps[stride_of[name]] = x
        maps[32] = F.relu(maps[32])
        return maps

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's and timm's names, which are the same, without the classifier; ``module.`` is
        stripped.

        Old files count the layers of a dense layer with a dot (``denselayer1.norm.1.weight``).
        """
        plain = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        return {
            re.sub(r'(denselayer\d+\.(?:norm|conv))\.([12])\.', r'\1\2.', key): value
            for key, value in plain.items()
            if not key.startswith('classifier.')
        }
