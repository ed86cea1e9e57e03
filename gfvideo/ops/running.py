"""How tensor functions are being run: whether now, on which device, and how much at a time pays."""

from __future__ import annotations

import torch

__all__ = ['being_captured', 'micro_batch_for']


def being_captured() -> bool:
    """Whether a compiler, exporter or tracer writes the operations down, which plans memory by itself."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def micro_batch_for(device: torch.device) -> int | None:
    """How many clips to look at together: on a CPU few at a time stay in its caches, a GPU takes the whole
    batch."""
    return 4 if device.type == 'cpu' else None
