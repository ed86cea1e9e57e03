"""MobileNetV2 (Sandler et al., CVPR 2018), with torchvision's parameter names."""

from __future__ import annotations

import re

from torch import Tensor, nn

from ...registry import MODELS
from .batch_norm import BatchNorm2d
from .mobile_blocks import SequentialBackbone, names_of_timm, round_to_8, stages_of_timm

__all__ = ['MobileNetV2']


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; with a skip connection where shape allows."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand: int):
        super().__init__()
        hidden = in_channels * expand
        layers: list[nn.Module] = [_conv_bn_relu(in_channels, hidden, 1)] if expand != 1 else []
        layers += [
            _conv_bn_relu(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)
        self.skip = stride == 1 and in_channels == out_channels
        self.expands = expand != 1

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.skip:
            out += x
        return out


@MODELS.register_module()
class MobileNetV2(SequentialBackbone):
    """MobileNetV2 feature extractor.

    Args:
        width: width multiplier.

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride:
    ``{4: ..., 8: ..., 16: ..., 32: (N, 1280, h, w)}``.
    """

    # t, c, n, s
    settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, width: float = 1.0):
        super().__init__()
        channels, stride_now = round_to_8(32 * width), 2
        layers: list[nn.Module] = [_conv_bn_relu(3, channels, 3, 2)]
        self.last_of_stride: dict[int, int] = {}
        self.channels: dict[int, int] = {}
        for expand, out, repeat, first_stride in self.settings:
            out = round_to_8(out * width)
            for i in range(repeat):
                stride = first_stride if i == 0 else 1
                stride_now *= stride
                layers.append(InvertedResidual(channels, out, stride, expand))
                channels = out
            self.last_of_stride[stride_now], self.channels[stride_now] = len(layers) - 1, channels
        last = round_to_8(1280 * max(1.0, width))
        layers.append(_conv_bn_relu(channels, last, 1))
        self.last_of_stride[32], self.channels[32] = len(layers) - 1, last
        self.features = nn.Sequential(*layers)
        self.init_weights()

    def init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out')

    def shift_points(self) -> list[str]:
        """The first convolution of every inverted residual that expands and has a skip connection (TSM)."""
        return [
            f'features.{i}.conv.0.0'
            for i, block in enumerate(self.features)
            if isinstance(block, InvertedResidual) and block.skip and block.expands
        ]

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of the original layout (``features.2.conv.3``) or of timm (``blocks.1.0.conv_dw``) to
        torchvision's (``features.2.conv.1.0``), without the classifier; others stay as they are. A leading
        ``module.`` (data parallel) is stripped.

        The original numbers the layers of a block flat: expand conv 0, bn 1, depthwise 3, 4, project 6, 7;
        without expansion 0, 1, 3, 4.
        """
        state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        state_dict = {key: value for key, value in state_dict.items() if not key.startswith('classifier.')}
        if blocks := stages_of_timm(state_dict):
            return names_of_timm(
                state_dict,
                lambda stage, index, number: f'features.{number + 1}.conv',
                f'features.{len(blocks) + 1}',
                bare_projection=True,
            )
        if any(re.fullmatch(r'features\.\d+\.conv\.\d+\.\d+\.weight', key) for key in state_dict):
            return state_dict
        expands = {
            key.split('.')[1] for key in state_dict if re.fullmatch(r'features\.\d+\.conv\.6\.weight', key)
        }
        with_expansion = {'0': '0.0', '1': '0.1', '3': '1.0', '4': '1.1', '6': '2', '7': '3'}
        without = {'0': '0.0', '1': '0.1', '3': '1', '4': '2'}

        def rename(key: str) -> str:
            match = re.fullmatch(r'(features\.(\d+)\.conv\.)(\d+)(\..+)', key)
            if match is None:
                return key
            head, block, layer, tail = match.groups()
            return head + (with_expansion if block in expands else without)[layer] + tail

        return {rename(key): value for key, value in state_dict.items()}
