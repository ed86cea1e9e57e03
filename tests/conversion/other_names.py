"""From this package's names, which are torchvision's, to those of other code bases: small random models for
tests."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from gfvideo.registry import MODELS

# blocks in each of timm's stages
STAGES = {
    ('MobileNetV2', None): (1, 2, 3, 4, 3, 3, 1),
    ('MobileNetV3', 'large'): (1, 2, 3, 4, 2, 3),
    ('MobileNetV3', 'small'): (1, 2, 3, 2, 3),
}


def random_backbone(config: dict) -> nn.Module:
    """Statistics, scales and offsets drawn, so that none of them can be lost unseen; evaluation mode."""
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.8, 1.2),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.7, 1.4),
            ):
                nn.init.uniform_(values, low, high)
    return model


def shapes_of(config: dict) -> nn.Module:
    with torch.device('meta'):
        return MODELS.build(config)


def vector_of(backbone: nn.Module, images: Tensor) -> Tensor:
    deepest = backbone(images)[32]
    return backbone.to_vector(deepest)


def vector_channels(backbone: nn.Module) -> int:
    return backbone.vector_channels or backbone.channels[32]


def timm_names(backbone: nn.Module, config: dict) -> dict[str, Tensor]:
    """A backbone's weights under timm's names."""
    kind, weights = config['type'], backbone.state_dict()
    if kind in ('ResNet', 'DenseNet'):
        return weights
    if kind == 'RegNetY':
        return {
            _regnet(
                name,
                (
                    'stem.conv',
                    'stem.bn',
                    'downsample.conv',
                    'downsample.bn',
                    'conv{}.conv',
                    'conv{}.bn',
                    'se.fc1',
                    'se.fc2',
                ),
            ): value
            for name, value in weights.items()
        }
    return _inverted_residuals(kind, config.get('size', 'large') if kind == 'MobileNetV3' else None, weights)


def gfnet_names(backbone: nn.Module, config: dict) -> dict[str, Tensor]:
    """A backbone's weights under the names of GFNet's code: pycls' for RegNetY, timm's else."""
    if config['type'] != 'RegNetY':
        return timm_names(backbone, config)
    names = ('stem.conv', 'stem.bn', 'proj', 'bn', 'f.{}', 'f.{}_bn', 'f.se.f_ex.0', 'f.se.f_ex.2')
    return {_regnet(name, names): value for name, value in backbone.state_dict().items()}


def _regnet(name: str, names: tuple[str, ...]) -> str:
    stem_conv, stem_norm, skip_conv, skip_norm, conv, norm, squeeze, expand = names
    if match := re.fullmatch(r'stem\.([01])\.(\w+)', name):
        return f'{stem_norm if match[1] == "1" else stem_conv}.{match[2]}'
    stage, index, part, leaf = re.fullmatch(
        r'trunk_output\.block(\d)\.block\d-(\d+)\.(.+)\.(\w+)', name
    ).groups()
    letter_or_number = (lambda letter: letter) if '_bn' in norm else (lambda letter: 'abc'.index(letter) + 1)
    places = {'proj.0': skip_conv, 'proj.1': skip_norm, 'f.se.fc1': squeeze, 'f.se.fc2': expand}
    for letter in 'abc':
        places |= {
            f'f.{letter}.0': conv.format(letter_or_number(letter)),
            f'f.{letter}.1': norm.format(letter_or_number(letter)),
        }
    return f's{stage}.b{int(index) + 1}.{places[part]}.{leaf}'


def _inverted_residuals(kind: str, size: str | None, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    blocks: dict[str, list[str]] = {}  # of each block its layers, e.g. ['0', '1', '2', '3']
    pattern = {
        'MobileNetV2': r'(features\.\d+)\.conv\.(\d+)',
        'MobileNetV3': r'(features\.\d+)\.block\.(\d+)',
        'EfficientNet': r'(features\.\d+\.\d+)\.block\.(\d+)',
    }[kind]
    for name in weights:
        if match := re.match(pattern, name):
            layers = blocks.setdefault(match[1], [])
            layers += [match[2]] if match[2] not in layers else []
    counts = STAGES.get((kind, size), ())
    places = [f'{stage}.{index}' for stage, count in enumerate(counts) for index in range(count)]
    last = max(int(name.split('.')[1]) for name in weights if name.startswith('features.'))

    def rename(name: str) -> str:
        leaf = name.rpartition('.')[2]
        if name.startswith('features.0.'):
            return f'{"conv_stem" if name.split(".")[2] == "0" else "bn1"}.{leaf}'
        if name.startswith('classifier.0.'):
            return f'conv_head.{leaf}'
        if name.startswith(f'features.{last}.'):
            conv, norm = (
                (f'blocks.{len(counts)}.0.conv', f'blocks.{len(counts)}.0.bn1')
                if kind == 'MobileNetV3'
                else ('conv_head', 'bn2')
            )
            return f'{conv if name.split(".")[2] == "0" else norm}.{leaf}'
        match = re.match(pattern, name)
        layers, number = blocks[match[1]], int(match[2])
        if kind == 'EfficientNet':
            stage, index = match[1].split('.')[1:]
            place = f'blocks.{int(stage) - 1}.{index}'
        else:
            place = f'blocks.{places[int(match[1].split(".")[1]) - 1]}'
        if '.fc1.' in name or '.fc2.' in name:
            return f'{place}.se.{"conv_reduce" if ".fc1." in name else "conv_expand"}.{leaf}'
        squeeze = {layer for layer in layers if f'{match[1]}.block.{layer}.fc1.weight' in weights}
        if kind == 'MobileNetV2':  # the projection and its normalisation stand by themselves
            convolutions = ('conv_pw', 'conv_dw', 'conv_pwl') if len(layers) == 4 else ('conv_dw', 'conv_pw')
            which, norm = (
                (number, name.split('.')[4] == '1')
                if number < len(layers) - 2
                else (len(layers) - 2, number == len(layers) - 1)
            )
        else:
            order = [layer for layer in layers if layer not in squeeze]
            convolutions = ('conv_pw', 'conv_dw', 'conv_pwl') if len(order) == 3 else ('conv_dw', 'conv_pw')
            which, norm = order.index(match[2]), name.rpartition('.')[0].endswith('.1')
        return f'{place}.{f"bn{which + 1}" if norm else convolutions[which]}.{leaf}'

    renamed = {rename(name): value for name, value in weights.items()}
    if kind == 'MobileNetV3':  # the linear layer is a 1x1 convolution there
        renamed['conv_head.weight'] = renamed['conv_head.weight'][:, :, None, None]
    return renamed
