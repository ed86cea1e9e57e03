"""What the networks of inverted residuals share: their block, rounding of channels, and timm's names of their
parameters."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from .base import Backbone, Maps
from .batch_norm import BatchNorm2d

__all__ = [
    'MBConv',
    'SequentialBackbone',
    'SqueezeExcitation',
    'conv_norm',
    'init_convolutions',
    'names_of_timm',
    'round_to_8',
    'stages_of_timm',
]

Activation = Callable[..., nn.Module]


def round_to_8(channels: float) -> int:
    """The nearest multiple of 8 (halves up) that is at least 8 and at least nine tenths of ``channels``."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    eps: float = 1e-5,
    activation: Activation | None = None,
) -> nn.Sequential:
    """A padded convolution (0), its normalisation (1) and activation (2):
    ``(N, C, H, W) -> (N, out_channels, H/stride, W/stride)``."""
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        BatchNorm2d(out_channels, eps=eps),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation(inplace=True)]))


class SequentialBackbone(Backbone):
    """Base of backbones whose ``features`` run one after another; some of them end with the map of a stride.

    Attributes:
        features: the layers.
        last_of_stride: index in ``features`` of the layer that makes the map of each stride.
        channels: C of the map of each stride.
    """

    features: nn.Sequential
    last_of_stride: dict[int, int]
    channels: dict[int, int]

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``."""
        if stride not in self.last_of_stride:
            raise ValueError(
                f'{type(self).__name__} has no map at stride {stride}; choose one of'
                f' {sorted(self.last_of_stride)}'
            )
        return list(self.features.children())[: self.last_of_stride[stride] + 1]

    def forward(self, x: Tensor) -> Maps:
        maps: Maps = {}
        stride_of = {last: stride for stride, last in self.last_of_stride.items()}
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in stride_of:
                maps[stride_of[i]] = x
        return maps


class SqueezeExcitation(nn.Module):
    """Weigh channels by what the whole map holds (Hu et al., CVPR 2018): ``(N, C, H, W) -> (N, C, H, W)``."""

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.gate = activation(inplace=True), gate()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.fc2(self.activation(self.fc1(x.mean((2, 3), keepdim=True))))  # (N, C, 1, 1)
        return x * self.gate(weights)


class MBConv(nn.Module):
    """Expand, depthwise, squeeze and excite, project; with a skip connection where shape allows.

    Args:
        in_channels, hidden, out_channels: before, inside and after; without expansion ``hidden`` is
            ``in_channels``.
        kernel, stride: of the depthwise convolution.
        squeezed: channels inside the squeeze and excitation, 0 for none.
        activation: class of the activation.
        squeeze_activation, gate: classes of the two activations of the squeeze and excitation.
        eps: of the normalisations.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel: int,
        stride: int,
        squeezed: int,
        activation: Activation,
        squeeze_activation: Activation,
        gate: Activation,
        eps: float,
    ):
        super().__init__()
        self.expands = hidden != in_channels
        self.skip = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if self.expands:
            layers.append(conv_norm(in_channels, hidden, 1, eps=eps, activation=activation))
        layers.append(conv_norm(hidden, hidden, kernel, stride, hidden, eps, activation))
        if squeezed:
            layers.append(SqueezeExcitation(hidden, squeezed, squeeze_activation, gate))
        layers.append(conv_norm(hidden, out_channels, 1, eps=eps))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out = self.block(x)
        if self.skip:
            out += x
        return out


def init_convolutions(network: nn.Module) -> None:
    """He's normal distribution by the outputs of a convolution, biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out')
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# ----------------------------------------------------------------------------------------------- timm's names

# a block of timm's: with expansion conv_pw, bn1, conv_dw, bn2, se, conv_pwl, bn3; without conv_dw, bn1, se,
# conv_pw, bn2; or conv, bn1
_BLOCK = re.compile(r'blocks\.(\d+)\.(\d+)\.(\w+)\.(.+)')
_ORDER = {
    True: (('conv_pw', 'bn1'), ('conv_dw', 'bn2'), ('se',), ('conv_pwl', 'bn3')),
    False: (('conv_dw', 'bn1'), ('se',), ('conv_pw', 'bn2')),
}
_SQUEEZE = {'conv_reduce': 'fc1', 'conv_expand': 'fc2'}


def stages_of_timm(state_dict: dict[str, Tensor]) -> dict[tuple[int, int], set[str]]:
    """Parts of each block of a network in timm's names, (stage, block) to e.g. {'conv_dw', 'bn1', ...}, in
    order; empty for other names."""
    blocks: dict[tuple[int, int], set[str]] = {}
    for key in state_dict:
        if match := _BLOCK.fullmatch(key):
            blocks.setdefault((int(match[1]), int(match[2])), set()).add(match[3])
    return dict(sorted(blocks.items()))


def names_of_timm(
    state_dict: dict[str, Tensor],
    block_name: Callable[[int, int, int], str],
    last_name: str,
    bare_projection: bool = False,
) -> dict[str, Tensor]:
    """A state dict in timm's names of a network of inverted residuals with torchvision's names; others stay
    as they are.

    Args:
        state_dict: without ``module.``; whatever is not of the stem, a block or the last convolution keeps
            its name.
        block_name: of (stage, block, number of the block in the network) the name of the layers of a block,
            e.g. 'features.3.block'.
        last_name: name of the last convolution of the features.
        bare_projection: the projection and its normalisation stand in the block themselves (MobileNetV2), not
            in a layer of their own.
    """
    blocks = stages_of_timm(state_dict)
    if not blocks:
        return dict(state_dict)
    numbers = {block: number for number, block in enumerate(blocks)}
    whole = {
        'conv_stem': 'features.0.0',
        'bn1': 'features.0.1',
        'conv_head': f'{last_name}.0',
        'bn2': f'{last_name}.1',
    }

    def rename(key: str) -> str:
        match = _BLOCK.fullmatch(key)
        if match is None:
            head, _, tail = key.partition('.')
            return f'{whole[head]}.{tail}' if head in whole else key
        stage, index, part, tail = int(match[1]), int(match[2]), match[3], match[4]
        parts = blocks[stage, index]
        if 'conv' in parts:  # MobileNetV3's last stage is a convolution, not a block
            return f'{last_name}.{0 if part == "conv" else 1}.{tail}'
        layers = [layer for layer in _ORDER['conv_pwl' in parts] if layer[0] in parts]
        place = next((i for i, layer in enumerate(layers) if part in layer), None)
        if place is None:
            return key
        base = block_name(stage, index, numbers[stage, index])
        if part == 'se':
            head, _, tail = tail.partition('.')
            return f'{base}.{place}.{_SQUEEZE.get(head, head)}.{tail}'
        within = layers[place].index(part)
        return (
            f'{base}.{place + within}.{tail}'
            if bare_projection and place == len(layers) - 1
            else f'{base}.{place}.{within}.{tail}'
        )

    return {rename(key): value for key, value in state_dict.items()}
