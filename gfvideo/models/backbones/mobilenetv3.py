"""MobileNetV3 (Howard et al., ICCV 2019), with torchvision's parameter names."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import MODELS
from .mobile_blocks import (
    MBConv,
    SequentialBackbone,
    conv_norm,
    init_convolutions,
    names_of_timm,
    round_to_8,
    stages_of_timm,
)

__all__ = ['MobileNetV3']


@MODELS.register_module()
class MobileNetV3(SequentialBackbone):
    """MobileNetV3 feature extractor, with the linear layer that the paper puts behind the pooling.

    Args:
        size: 'large' or 'small'.
        width: width multiplier.
        norm_eps: epsilon of the normalisations: torchvision's weights were trained with 1e-3, timm's (and
            GFNet's) with 1e-5.
        rounding: whose arithmetic the width multiplier follows; at width 1 they agree. 'torchvision'
            multiplies the paper's numbers of expanded channels, makes the last convolution six times as wide
            as the block before it, and scales stem and head, too. 'timm' expands the rounded input of a block
            by the paper's ratio, scales the last convolution itself, keeps the stem's 16 channels below a
            width of 0.75, and never scales the head (1280 or 1024).
        head_channels: outputs of the linear layer; None for those of ``rounding``.

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride,
    ``{4: ..., 8: ..., 16: ..., 32: (N, 960 * width or 576 * width, H/32, W/32)}`` (the large one has a map at
    stride 2, too); sizes are rounded up. ``channels`` holds the channels of each. ``to_vector`` pools the
    deepest and runs the linear layer and its hard-swish: ``(N, vector_channels)``.

    Raises:
        ValueError: for another size or rounding.
    """

    # kernel, expansion, expanded, out, squeeze and excitation, hard-swish (or ReLU), stride: Tables 1 and 2
    # of the paper
    settings = {
        'large': (
            (3, 1, 16, 16, False, False, 1),
            (3, 4, 64, 24, False, False, 2),
            (3, 3, 72, 24, False, False, 1),
            (5, 3, 72, 40, True, False, 2),
            (5, 3, 120, 40, True, False, 1),
            (5, 3, 120, 40, True, False, 1),
            (3, 6, 240, 80, False, True, 2),
            (3, 2.5, 200, 80, False, True, 1),
            (3, 2.3, 184, 80, False, True, 1),
            (3, 2.3, 184, 80, False, True, 1),
            (3, 6, 480, 112, True, True, 1),
            (3, 6, 672, 112, True, True, 1),
            (5, 6, 672, 160, True, True, 2),
            (5, 6, 960, 160, True, True, 1),
            (5, 6, 960, 160, True, True, 1),
        ),
        'small': (
            (3, 1, 16, 16, True, False, 2),
            (3, 4.5, 72, 24, False, False, 2),
            (3, 3.67, 88, 24, False, False, 1),
            (5, 4, 96, 40, True, True, 2),
            (5, 6, 240, 40, True, True, 1),
            (5, 6, 240, 40, True, True, 1),
            (5, 3, 120, 48, True, True, 1),
            (5, 3, 144, 48, True, True, 1),
            (5, 6, 288, 96, True, True, 2),
            (5, 6, 576, 96, True, True, 1),
            (5, 6, 576, 96, True, True, 1),
        ),
    }
    heads = {'large': 1280, 'small': 1024}

    def __init__(
        self,
        size: Literal['large', 'small'] = 'large',
        width: float = 1.0,
        norm_eps: float = 1e-3,
        rounding: Literal['torchvision', 'timm'] = 'torchvision',
        head_channels: int | None = None,
    ):
        super().__init__()
        if size not in self.settings:
            raise ValueError(f"no MobileNetV3 of size {size!r}; choose 'large' or 'small'")
        if rounding not in ('torchvision', 'timm'):
            raise ValueError(f"MobileNetV3 rounding={rounding!r} is unknown; choose 'torchvision' or 'timm'")
        as_timm = rounding == 'timm'
        channels, stride_now = 16 if as_timm and width < 0.75 else round_to_8(16 * width), 2
        layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, eps=norm_eps, activation=nn.Hardswish)]
        self.last_of_stride: dict[int, int] = {}
        self.channels: dict[int, int] = {}
        for kernel, expansion, expanded, out, squeeze, hard_swish, stride in self.settings[size]:
            hidden = round_to_8(channels * expansion if as_timm else expanded * width)
            out, stride_now = round_to_8(out * width), stride_now * stride
            layers.append(
                MBConv(
                    channels,
                    hidden,
                    out,
                    kernel,
                    stride,
                    round_to_8(hidden // 4) if squeeze else 0,
                    nn.Hardswish if hard_swish else nn.ReLU,
                    nn.ReLU,
                    nn.Hardsigmoid,
                    norm_eps,
                )
            )
            channels = out
            self.last_of_stride[stride_now], self.channels[stride_now] = len(layers) - 1, channels
        last = round_to_8(6 * self.settings[size][-1][3] * width) if as_timm else 6 * channels
        layers.append(conv_norm(channels, last, 1, eps=norm_eps, activation=nn.Hardswish))
        self.last_of_stride[32], self.channels[32] = len(layers) - 1, last
        self.features = nn.Sequential(*layers)
        head = self.heads[size]
        self.vector_channels: int = head_channels or (head if as_timm else round_to_8(head * width))
        self.classifier = nn.Sequential(nn.Linear(last, self.vector_channels))
        self.init_weights()

    def init_weights(self) -> None:
        init_convolutions(self)
        for layer in self.classifier:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)

    def shift_points(self) -> list[str]:
        """The expansion of every inverted residual that expands and has a skip connection, as in TSM's
        MobileNetV2."""
        return [
            f'features.{i}.block.0.0'
            for i, block in enumerate(self.features)
            if isinstance(block, MBConv) and block.skip and block.expands
        ]

    def to_vector(self, deepest: Tensor) -> Tensor:
        """``(N, C, h, w)``, the deepest map, to ``(N, vector_channels)``; a linear classifier follows in the
        paper."""
        return F.hardswish(self.classifier(deepest.mean((2, 3))))

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's names, or timm's (``conv_stem``, ``blocks.1.0.conv_pw``), without the last linear
        layer.

        timm's ``conv_head``, a 1x1 convolution on the pooled map, is the linear layer ``classifier.0``. A
        leading ``module.`` (data parallel) is stripped.
        """
        plain = {key.removeprefix('module.'): value for key, value in state_dict.items()}
        blocks = stages_of_timm(plain)
        last = f'features.{len(blocks)}'  # timm counts the last convolution as a block, not the stem
        if blocks:
            plain = {key: value for key, value in plain.items() if not key.startswith('classifier.')}
            plain = {
                f'classifier.0.{key.removeprefix("conv_head.")}' if key.startswith('conv_head.') else key: (
                    value.flatten(1) if key == 'conv_head.weight' else value
                )
                for key, value in plain.items()
            }
        renamed = names_of_timm(plain, lambda stage, index, number: f'features.{number + 1}.block', last)
        return {
            key: value
            for key, value in renamed.items()
            if not key.startswith('classifier.') or key.startswith('classifier.0.')
        }
