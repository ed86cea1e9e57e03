"""EfficientNet (Tan and Le, ICML 2019), with torchvision's parameter names and symmetric padding."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from ...registry import MODELS
from .mobile_blocks import (
    MBConv,
    SequentialBackbone,
    conv_norm,
    init_convolutions,
    names_of_timm,
    round_to_8,
)

__all__ = ['EfficientNet']


@MODELS.register_module()
class EfficientNet(SequentialBackbone):
    """EfficientNet feature extractor, without the classifier and without stochastic depth.

    Args:
        variant: 'b0', 'b1', 'b2' or 'b3'.
        norm_eps: epsilon of the normalisations: 1e-5 for torchvision's weights and timm's own, 1e-3 for those
            converted from TensorFlow (which want that framework's lopsided padding, too, so they do not fit
            exactly).

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride,
    ``{2: ..., 4: ..., 8: ..., 16: ..., 32: (N, 1280 to 1536, H/32, W/32)}``; sizes are rounded up.
    ``channels`` holds the channels of each.

    Raises:
        ValueError: for another variant.
    """

    settings = (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )  # expansion, kernel, stride, channels, blocks of b0
    scales = {'b0': (1.0, 1.0), 'b1': (1.0, 1.1), 'b2': (1.1, 1.2), 'b3': (1.2, 1.4)}  # of width and depth

    def __init__(self, variant: Literal['b0', 'b1', 'b2', 'b3'] = 'b0', norm_eps: float = 1e-5):
        super().__init__()
        if variant not in self.scales:
            raise ValueError(f'no EfficientNet {variant!r}; choose one of {sorted(self.scales)}')
        width, depth = self.scales[variant]
        channels, stride_now = round_to_8(32 * width), 2
        stages: list[nn.Module] = [conv_norm(3, channels, 3, 2, eps=norm_eps, activation=nn.SiLU)]
        self.last_of_stride: dict[int, int] = {}
        self.channels: dict[int, int] = {}
        for expansion, kernel, first_stride, out, repeat in self.settings:
            out, stride_now, blocks = round_to_8(out * width), stride_now * first_stride, []
            for j in range(math.ceil(repeat * depth)):
                hidden = round_to_8(channels * expansion)
                blocks.append(
                    MBConv(
                        channels,
                        hidden,
                        out,
                        kernel,
                        first_stride if j == 0 else 1,
                        channels // 4,
                        nn.SiLU,
                        nn.SiLU,
                        nn.Sigmoid,
                        norm_eps,
                    )
                )
                channels = out
            stages.append(nn.Sequential(*blocks))
            self.last_of_stride[stride_now], self.channels[stride_now] = len(stages) - 1, channels
        last = 4 * channels
        stages.append(conv_norm(channels, last, 1, eps=norm_eps, activation=nn.SiLU))
        self.last_of_stride[32], self.channels[32] = len(stages) - 1, last
        self.features = nn.Sequential(*stages)
        self.init_weights()

    def init_weights(self) -> None:
        init_convolutions(self)

    def shift_points(self) -> list[str]:
        """The expansion of every inverted residual that expands and has a skip connection, as in TSM's
        MobileNetV2."""
        return [
            f'features.{i}.{j}.block.0.0'
            for i, stage in enumerate(self.features)
            for j, block in enumerate(stage.children())
            if isinstance(block, MBConv) and block.skip and block.expands
        ]

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's names, or timm's (``conv_stem``, ``blocks.1.0.conv_pw``), without the classifier;
        ``module.`` is stripped."""
        plain = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        plain = {key: value for key, value in plain.items() if not key.startswith('classifier.')}
        return names_of_timm(
            plain, lambda stage, index, number: f'features.{stage + 1}.{index}.block', 'features.8'
        )
