"""RegNetY (Radosavovic et al., CVPR 2020), with torchvision's parameter names."""

from __future__ import annotations

import math
import re
from itertools import groupby
from typing import Literal

from torch import Tensor, nn

from ...registry import MODELS
from .base import Backbone, Maps
from .batch_norm import BatchNorm2d
from .mobile_blocks import SqueezeExcitation, init_convolutions

__all__ = ['RegNetY']


def _conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        BatchNorm2d(out_channels),
    ]


class Branch(nn.Module):
    """1x1, grouped 3x3, squeeze and excitation, 1x1:
    ``(N, in_channels, H, W) -> (N, out_channels, H/stride, W/stride)``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, group: int):
        super().__init__()
        self.a = nn.Sequential(*_conv_norm(in_channels, out_channels, 1), nn.ReLU(inplace=True))
        self.b = nn.Sequential(
            *_conv_norm(out_channels, out_channels, 3, stride, out_channels // group), nn.ReLU(inplace=True)
        )
        self.se = SqueezeExcitation(out_channels, round(in_channels / 4), nn.ReLU, nn.Sigmoid)
        self.c = nn.Sequential(*_conv_norm(out_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.se(self.b(self.a(x))))


class YBlock(nn.Module):
    """A residual bottleneck of ratio 1; its skip connection is projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, group: int):
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        self.proj = nn.Sequential(*_conv_norm(in_channels, out_channels, 1, stride)) if changes else None
        self.f = Branch(in_channels, out_channels, stride, group)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.f(x)
        out += x if self.proj is None else self.proj(x)
        return self.activation(out)


@MODELS.register_module()
class RegNetY(Backbone):
    """RegNetY feature extractor, without the classifier.

    Args:
        size: '400m', '600m', '800m' or '1.6g', the multiply-adds of an image of 224 pixels.
        rounding: how a stage's width becomes a multiple of its group width. Halves go up in 'torchvision', to
            the even multiple in 'timm' (and pycls and GFNet). Of these sizes that matters for '800m' alone:
            64, 144, 320 and 784 channels against 64, 128, 320 and 768.

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride,
    ``{4: ..., 8: ..., 16: ..., 32: (N, C, H/32, W/32)}``; sizes are rounded up. ``channels`` holds the
    channels of each.

    Raises:
        ValueError: for another size or rounding.
    """

    # initial width, slope, multiplier, depth, channels of a group: the paper's w_0, w_a, w_m, d, g
    settings = {
        '400m': (48, 27.89, 2.09, 16, 8),
        '600m': (48, 32.54, 2.32, 15, 16),
        '800m': (56, 38.84, 2.4, 14, 16),
        '1.6g': (48, 20.71, 2.65, 27, 24),
    }

    def __init__(
        self,
        size: Literal['400m', '600m', '800m', '1.6g'] = '800m',
        rounding: Literal['torchvision', 'timm'] = 'torchvision',
    ):
        super().__init__()
        if size not in self.settings:
            raise ValueError(f'no RegNetY of size {size!r}; choose one of {list(self.settings)}')
        if rounding not in ('torchvision', 'timm'):
            raise ValueError(f"RegNetY rounding={rounding!r} is unknown; choose 'torchvision' or 'timm'")
        before, self.channels = 32, {}
        self.stem = nn.Sequential(*_conv_norm(3, before, 3, 2), nn.ReLU(inplace=True))
        self.trunk_output = nn.Sequential()
        for i, (out, repeat, group) in enumerate(self._stages(size, rounding), 1):
            stage = nn.Sequential()
            for j in range(repeat):
                stage.add_module(
                    f'block{i}-{j}', YBlock(before if j == 0 else out, out, 2 if j == 0 else 1, group)
                )
            self.trunk_output.add_module(f'block{i}', stage)
            self.channels[2 * 2**i] = before = out
        self.init_weights()

    @classmethod
    def _stages(cls, size: str, rounding: str) -> list[tuple[int, int, int]]:
        """(width, blocks, group width) of each stage: widths grow linearly and are quantised, equations (2)
        to (4) of the paper."""
        initial, slope, multiplier, depth, group = cls.settings[size]
        steps = [
            round(math.log((initial + slope * j) / initial) / math.log(multiplier)) for j in range(depth)
        ]
        stages = []
        for step, blocks in groupby(steps):
            width = 8 * round(initial * multiplier**step / 8)
            group_here = min(group, width)
            multiple = width / group_here
            stages.append(
                (
                    group_here
                    * (math.floor(multiple + 0.5) if rounding == 'torchvision' else round(multiple)),
                    len(list(blocks)),
                    group_here,
                )
            )
        return stages

    def init_weights(self) -> None:
        init_convolutions(self)

    def shift_points(self) -> list[str]:
        """The first convolution of every residual branch (TSM, "blockres")."""
        return [
            f'trunk_output.{name}.{block}.f.a.0'
            for name, stage in self.trunk_output.named_children()
            for block, _ in stage.named_children()
        ]

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``."""
        if stride not in self.channels:
            raise ValueError(f'RegNetY has no map at stride {stride}; choose one of {sorted(self.channels)}')
        return [self.stem, *list(self.trunk_output)[: list(self.channels).index(stride) + 1]]

    def forward(self, x: Tensor) -> Maps:
        x = self.stem(x)  # (N, 32, H/2, W/2)
        maps: Maps = {}
        for stride, stage in zip(self.channels, self.trunk_output):
            maps[stride] = x = stage(x)  # (N, channels[stride], H/stride, W/stride)
        return maps

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's names, timm's (``s1.b1.conv1.conv``) or pycls's and GFNet's (``s1.b1.f.a_bn``),
        without the classifier.

        A leading ``module.`` (data parallel) is stripped.
        """
        inside = (
            (r'downsample\.conv|proj(?=\.weight)', 'proj.0'),
            (r'downsample\.bn|bn', 'proj.1'),
            (r'(?:conv1\.conv|f\.a(?=\.weight))', 'f.a.0'),
            (r'conv1\.bn|f\.a_bn', 'f.a.1'),
            (r'(?:conv2\.conv|f\.b(?=\.weight))', 'f.b.0'),
            (r'conv2\.bn|f\.b_bn', 'f.b.1'),
            (r'(?:conv3\.conv|f\.c(?=\.weight))', 'f.c.0'),
            (r'conv3\.bn|f\.c_bn', 'f.c.1'),
            (r'(?:f\.)?se\.(?:fc1|f_ex\.0)', 'f.se.fc1'),
            (r'(?:f\.)?se\.(?:fc2|f_ex\.2)', 'f.se.fc2'),
        )

        def rename(key: str) -> str:
            if stem := re.fullmatch(r'stem\.(conv|bn)\.(.+)', key):
                return f'stem.{0 if stem[1] == "conv" else 1}.{stem[2]}'
            block = re.fullmatch(r's(\d+)\.b(\d+)\.(.+)', key)
            if block is None:
                return key
            base = f'trunk_output.block{block[1]}.block{block[1]}-{int(block[2]) - 1}'
            for pattern, name in inside:
                if match := re.match(rf'(?:{pattern})(?=\.)', block[3]):
                    return f'{base}.{name}{block[3][match.end() :]}'
            return key

        plain = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        return {rename(key): value for key, value in plain.items() if not re.match(r'(?:head\.)?fc\.', key)}
