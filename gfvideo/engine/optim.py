"""Automatic mixed precision where mmengine's wants a GPU, TSM's rates by the kind of a parameter, and which
rates follow the size of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from ..registry import LOOPS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from .config import ConfigError

__all__ = ['AutocastOptimWrapper', 'TSMOptimWrapperConstructor', 'scale_rates']


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


_NORMS = (_NormBase, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
# (rate, decay), both times those of the optimizer
_TSM_GROUPS = dict(
    weight=(1, 1),
    bias=(2, 0),
    norm=(1, 0),
    last_weight=(5, 1),
    last_bias=(10, 0),
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TSMOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Rates and decays by the kind of a parameter, as TSM trains (Lin et al., ICCV 2019, published code):

    ============================  ======  =======
    of the optimizer's            rate    decay
    ============================  ======  =======
    weights                       x 1     x 1
    biases                        x 2     none
    normalisation, both           x 1     none
    weight of the last layer      x 5     x 1
    bias of the last layer        x 10    none
    ============================  ======  =======

    ``optim_wrapper=dict(constructor='TSMOptimWrapperConstructor', optimizer=...)`` in a config. Frozen
    parameters are left out.

    Args:
        optim_wrapper_cfg: ``optim_wrapper`` of the config, with an optimizer that has ``lr``.
        paramwise_cfg: ``last_layers``, names of the modules that start from random weights and learn
            fastest: a layer, or a module all of whose layers do. ``('fc',)`` by default, that of
            :class:`~gfvideo.models.ClipRecognizer`.

    Raises:
        ConfigError: if the optimizer has no rate, there is no module of such a name, or it has no parameters.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self.last_layers = tuple(
            self.paramwise_cfg.get('last_layers', ('fc',))  # type: ignore[has-type]  # of the base class
        )
        self.paramwise_cfg = dict(last_layers=self.last_layers)  # not empty: mmengine then asks add_params
        if self.base_lr is None:
            raise ConfigError('optim_wrapper.optimizer has no lr, which TSM sets by the kind of a parameter')

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Append a group for each kind of parameter that ``module`` has."""
        self._check(module)
        groups: dict[str, list[nn.Parameter]] = {name: [] for name in _TSM_GROUPS}
        seen: set[int] = set()
        for place, part in module.named_modules():
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in seen:  # shared ones count once
                    seen.add(id(parameter))
                    groups[self._kind(place, part, name)].append(parameter)
        for kind, (rate, decay) in _TSM_GROUPS.items():
            if groups[kind]:
                group = dict(params=groups[kind], lr=rate * self.base_lr, kind=kind)
                params.append(
                    group | ({} if self.base_wd is None else dict(weight_decay=decay * self.base_wd))
                )

    def _kind(self, place: str, part: nn.Module, name: str) -> str:
        if isinstance(part, _NORMS):
            return 'norm'
        last = any(place == layer or place.startswith(f'{layer}.') for layer in self.last_layers)
        return ('last_' if last else '') + ('bias' if name.startswith('bias') else 'weight')

    def _check(self, module: nn.Module) -> None:
        modules = dict(module.named_modules())
        for layer in self.last_layers:
            if layer not in modules or next(modules[layer].parameters(), None) is None:
                raise ConfigError(
                    f'optim_wrapper.paramwise_cfg.last_layers names {layer!r}, which is no layer of'
                    f' {type(module).__name__} with parameters; it has'
                    f' {", ".join(name for name, _ in module.named_children())}'
                )


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
