"""Where MMAction2 keeps the blocks of its networks."""

from __future__ import annotations

from ..models import MobileNetV2

__all__ = ['mobilenetv2_blocks']


def mobilenetv2_blocks() -> dict[str, str]:
    """MMAction2's ``layer3.1`` of each ``features.N`` between stem and last convolution."""
    names, number = {}, 1
    for layer, (_, _, repeat, _) in enumerate(MobileNetV2.settings, start=1):
        for block in range(repeat):
            names[str(number)] = f'layer{layer}.{block}'
            number += 1
    return names
