"""Automatic mixed precision where mmengine's wants a GPU, and which rates follow the size of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from torch import nn

from ..registry import LOOPS, OPTIM_WRAPPERS
from .config import ConfigError

__all__ = ['AutocastOptimWrapper', 'scale_rates']


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward passes under ``torch.autocast`` on whatever device the model is on, CPU or GPU; weights and
    updates stay float32.

    bfloat16 has the range of float32, so losses need no scaling. For float16 on a GPU use mmengine's
    AmpOptimWrapper.

    Args:
        dtype: 'bfloat16'.
        kwargs: those of :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: on another dtype.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs):
        super().__init__(**kwargs)
        if dtype not in ('bfloat16', torch.bfloat16):
            raise ValueError(
                f"dtype={dtype!r}: only 'bfloat16' works without loss scaling; float16 on a GPU is"
                " AmpOptimWrapper's"
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """mmengine's context (gradient synchronisation), and autocast on the device of ``model``."""
        device_type = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device_type, torch.bfloat16):
            yield


def scale_rates(cfg: Config, asked: bool) -> None:
    """Set in a stage's config, in place, whether its rates follow the batch size: times the real one over
    their own.

    A stage whose loop says ``scales_rates = False`` (:class:`~gfvideo.engine.PolicyLoop`) keeps its rate, and
    the log says so.

    Args:
        cfg: of the stage.
        asked: scale, whatever ``auto_scale_lr.enable`` is now.

    Raises:
        ConfigError: if rates are to be scaled and the config does not say which batch size they are meant
            for.
    """
    scaling = cfg.get('auto_scale_lr') or {}
    if not (asked or scaling.get('enable')):
        return
    kind = (cfg.get('train_cfg') or {}).get('type')
    loop = LOOPS.get(kind) if isinstance(kind, str) else kind
    if not getattr(loop, 'scales_rates', True):
        cfg.merge_from_dict({'auto_scale_lr.enable': False})
        stage = f'stage {cfg.stage!r}' if cfg.get('stage') else 'the run'
        told = f'{stage} keeps its learning rate: auto_scale_lr leaves out what {kind} trains'
        MMLogger.get_instance('gfvideo').info(told)
        return
    size = scaling.get('base_batch_size')
    if size is None:
        raise ConfigError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=N) in the config: what its rates '
            'are meant for'
        )
    if type(size) is not int or size < 1:
        raise ConfigError(
            f'auto_scale_lr.base_batch_size={size!r}: give the number of clips, 1 or more, that the rates '
            'are meant for'
        )
    cfg.auto_scale_lr.enable = True
