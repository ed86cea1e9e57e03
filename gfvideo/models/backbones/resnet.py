"""ResNet (He et al., CVPR 2016), with torchvision's parameter names and its bottleneck (stride on the 3x3
convolution, "v1.5")."""

from __future__ import annotations

from torch import Tensor, nn

from ...registry import MODELS
from .base import Backbone, Maps
from .batch_norm import BatchNorm2d

__all__ = ['ResNet']


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(_conv1x1(in_channels, out_channels, stride), BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; ``(N, in_channels, H, W) -> (N, width, H/stride, W/stride)``."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(in_channels, width, stride), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3x3(width, width), BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        # one expression: a name would keep a map in memory past its use
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; ``(N, in_channels, H, W) -> (N, 4 * width, H/stride, W/stride)``."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        out_channels = width * self.expansion
        self.conv1, self.bn1 = _conv1x1(in_channels, width), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3x3(width, width, stride), BatchNorm2d(width)
        self.conv3, self.bn3 = _conv1x1(width, out_channels), BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        # one expression: a name would keep a map in memory past its use
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


@MODELS.register_module()
class ResNet(Backbone):
    """ResNet feature extractor, without the classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride,
    ``{4: (N, 64 or 256, H/4, W/4), 8: ..., 16: ..., 32: (N, 512 or 2048, H/32, W/32)}``; sizes are rounded
    up. ``channels`` holds the channels of each.

    Raises:
        ValueError: for another depth.
    """

    settings: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }  # block, blocks in layer1..layer4

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, depth: int = 50):
        super().__init__()
        if depth not in self.settings:
            raise ValueError(f'no ResNet of depth {depth}; choose one of {sorted(self.settings)}')
        block, repeats = self.settings[depth]
        self.depth = depth
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.channels: dict[int, int] = {}
        channels = 64
        for i, repeat in enumerate(repeats):
            width, first_stride = 64 * 2**i, 1 if i == 0 else 2
            blocks = []
            for j in range(repeat):
                blocks.append(block(channels, width, first_stride if j == 0 else 1))
                channels = width * block.expansion
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
            self.channels[4 * 2**i] = channels
        self.init_weights()

    def init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def _layers(self) -> list[nn.Sequential]:
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def shift_points(self) -> list[str]:
        """The first convolution of every residual branch; of every second one when layer3 has 23 blocks or
        more (TSM, "blockres")."""
        every = 2 if len(self.layer3) >= 23 else 1
        return [
            f'layer{i + 1}.{j}.conv1'
            for i, layer in enumerate(self._layers())
            for j in range(0, len(layer), every)
        ]

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``."""
        if stride not in self.channels:
            raise ValueError(f'ResNet has no map at stride {stride}; choose one of {sorted(self.channels)}')
        return [self.conv1, self.bn1, *self._layers()[: list(self.channels).index(stride) + 1]]

    def forward(self, x: Tensor) -> Maps:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        maps: Maps = {}
        for stride, layer in zip(self.channels, self._layers()):
            maps[stride] = x = layer(x)  # (N, channels[stride], H/stride, W/stride)
        return maps

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's ImageNet weights without their classifier ``fc``; a leading ``module.`` (data
        parallel) is stripped."""
        plain = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        return {key: value for key, value in plain.items() if not key.startswith('fc.')}
