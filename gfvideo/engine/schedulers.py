"""Warm-up that is a share of a stage, and a warning where a warm-up is most of one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mmengine.optim import LinearLR

from ..registry import PARAM_SCHEDULERS

__all__ = ['LONG_WARMUP', 'WarmupLR', 'warmup_share']

LONG_WARMUP = 0.5
"""Share of a stage from which on a warm-up is warned of: the rate that was set is reached late or never."""


@PARAM_SCHEDULERS.register_module()
class WarmupLR(LinearLR):
    """A linear warm-up over the first share of a stage, however many iterations the stage has.

    A warm-up of a fixed number of iterations is most of a stage on a small dataset, whose schedule then never
    comes near the rate that is set. Write ``by_epoch=False`` beside it: the Runner then says how many
    iterations there are.

    Args:
        optimizer: optimizer or its wrapper, given by the builder.
        share: of the stage's iterations that warm up, above 0 and below 1.
        start_factor: of the rate at the first iteration, in [0, 1]; at the end of the warm-up it is 1.
        end: iterations of the whole stage, given by the Runner.
        by_epoch: False.
        last_step, verbose: see :class:`mmengine.optim.LinearLR`.

    Raises:
        ValueError: if an argument is out of range, or ``by_epoch`` is not False.
    """

    def __init__(
        self,
        optimizer: Any,
        share: float = 0.1,
        start_factor: float = 0.01,
        end: int | None = None,
        by_epoch: bool = True,
        last_step: int = -1,
        verbose: bool = False,
    ):
        if not 0 < share < 1:
            raise ValueError(
                f'share={share} must be above 0 and below 1: the part of the stage that warms up'
            )
        if by_epoch or end is None:
            raise ValueError(
                'a share of a stage is counted in iterations; write '
                "dict(type='WarmupLR', share=..., by_epoch=False)"
            )
        iterations = max(2, round(share * end))  # the second one is the first at the full rate
        super().__init__(
            optimizer,
            start_factor=start_factor,
            end=iterations,
            by_epoch=False,
            last_step=last_step,
            verbose=verbose,
        )


def warmup_share(schedulers: Iterable[Any], epochs: int, epoch_length: int) -> float:
    """The longest warm-up among built schedulers, as a share of the stage, in [0, 1].

    Args:
        schedulers: built; one that starts below its final factor (``start_factor``, or a constant ``factor``
            below 1) at step 0 is a warm-up.
        epochs: of the stage.
        epoch_length: iterations of one.
    """
    longest = 0.0
    for scheduler in schedulers:
        factor = getattr(scheduler, 'start_factor', getattr(scheduler, 'factor', 1.0))
        if scheduler.begin == 0 and factor < getattr(scheduler, 'end_factor', 1.0):
            total = epochs if scheduler.by_epoch else epochs * epoch_length
            longest = max(longest, min(scheduler.end / total, 1.0) if math.isfinite(scheduler.end) else 1.0)
    return longest
