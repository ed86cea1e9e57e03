"""How tensor functions are being run: whether now, on which device, and how much at a time pays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ['being_captured', 'micro_batch_for', 'numbers_like']

PIXELS_AT_A_TIME = 2**19  # measured with MobileNetV2 and TinyCNN, of 48 x 48 to 224 x 224 pixels, on one core


def being_captured() -> bool:
    """Whether a compiler, exporter or tracer writes the operations down, which plans memory by itself."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def micro_batch_for(device: torch.device, pixels: int | None = None) -> int | None:
    """How many clips to look at together: on a CPU few at a time stay in its caches, a GPU takes the whole
    batch.

    Args:
        device: that of the frames.
        pixels: of the frames of one clip, as large as they are looked at; None takes 4 clips, as of 96 x 96
            pixels and 12 frames.

    Returns:
        At least 1; None for all.
    """
    if device.type != 'cpu':
        return None
    return 4 if pixels is None else max(1, PIXELS_AT_A_TIME // pixels)


def numbers_like(x: Tensor, numbers: Sequence[float]) -> Tensor:
    """A few numbers ``(N,)`` of the dtype and on the device of ``x``, made there: to send them, as
    ``x.new_tensor`` does, a host waits for all that a GPU has still to do."""
    return torch.stack([x.new_full((), number) for number in numbers])
