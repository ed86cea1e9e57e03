"""Automatic mixed precision where mmengine's wants a GPU."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPERS

__all__ = ['AutocastOptimWrapper']


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward passes under ``torch.autocast`` on whatever device the model is on, CPU or GPU; weights and updates stay float32.

    bfloat16 has the range of float32, so losses need no scaling. For float16 on a GPU use mmengine's AmpOptimWrapper.

    Args:
        dtype: 'bfloat16'.
        kwargs: those of :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: on another dtype.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs):
        super().__init__(**kwargs)
        if dtype not in ('bfloat16', torch.bfloat16):
            raise ValueError(f"dtype={dtype!r}: only 'bfloat16' works without loss scaling; float16 on a GPU is AmpOptimWrapper's")

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """mmengine's context (gradient synchronisation), and autocast on the device of ``model``."""
        device_type = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device_type, torch.bfloat16):
            yield
