"""Batch normalisation that needs no map of its own when nothing is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...ops import being_captured

__all__ = ['BatchNorm2d']


class BatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that overwrites its input in evaluation without gradient, to the same numbers.

    Put it behind a convolution, whose output nothing else reads. The large maps of early layers set the peak
    memory of a network, and fetching fresh memory for them takes a good part of the time of a normalisation.
    """

    def _may_overwrite(self, x: Tensor) -> bool:
        if self.training or torch.is_grad_enabled() or x.dtype != self.weight.dtype:
            return False
        return not being_captured()

    def forward(self, x: Tensor) -> Tensor:
        if not self._may_overwrite(x):
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None  # statistics are always tracked
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift.view(-1, 1, 1), x, scale.view(-1, 1, 1), out=x)  # (N, C, H, W)
