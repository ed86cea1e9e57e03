"""The parts of a stage, built before anything is trained: what does not build, what does not match."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import logging
from collections.abc import Iterable
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch import nn

from ..schedulers import LONG_WARMUP, warmup_share
from .keys import faults_of_keys, told_unknown
from .known import ConfigError

__all__ = ['check_patches', 'check_stage', 'frame_size']

# what backends of mmengine import when they start
_LIBRARIES = dict(
    TensorboardVisBackend='tensorboard',
    WandbVisBackend='wandb',
    MLflowVisBackend='mlflow',
    ClearMLVisBackend='clearml',
    NeptuneVisBackend='neptune',
    DVCLiveVisBackend='dvclive',
    AimVisBackend='aim',
)


def check_stage(
    name: str, cfg: Config, built: dict[str, Any] | None = None, hooks: Iterable[str] = ()
) -> None:
    """Refuse nested keys that nothing reads, then build every part of a stage and compare what must agree.

    Nothing is trained or written. A nested key is looked for in the signature of the class or function that
    receives it. Not told are names inside dicts whose names are free, and, until it is built, what a class
    gets that passes on any argument (``TimmBackbone``).

    Args:
        name: of the stage, for messages.
        cfg: its whole config.
        built: datasets already built, by their config; shared between stages so that none is read twice.
        hooks: names in ``default_hooks`` that are known beside mmengine's.

    Raises:
        ConfigError: naming the key that nothing reads, by its whole path; the part that cannot be built; the
            two class counts that differ; or a patch that is larger than the frames it is cut from.
    """
    check = _StageCheck(name, {} if built is None else built)
    with registry.DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'gfvideo'):
        check.keys(cfg, hooks)
        datasets = {
            key: check.dataset(key, cfg[key]['dataset'])
            for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')
            if isinstance(cfg.get(key), dict)
        }
        model = check.build('model', lambda: registry.MODELS.build(_with_preprocessor(cfg)))
        check.classes(model, datasets)
        check_patches(model, cfg, check.place)
        batches = {key: check.batches(key, cfg[key], len(dataset)) for key, dataset in datasets.items()}
        check.loops(cfg)
        check.evaluators(cfg)
        check.hooks(cfg)
        check.backends(cfg)
        check.optimizer(model, cfg, batches.get('train_dataloader', 1))


def _with_preprocessor(cfg: Config) -> dict:
    model = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model


class _StageCheck:
    def __init__(self, stage: str, built: dict[str, Any]):
        self.place = f'stage {stage!r}: ' if stage else ''
        self.built = built

    def keys(self, cfg: Config, hooks: Iterable[str]) -> None:
        for fault in faults_of_keys(cfg.to_dict(), hooks):
            raise ConfigError(self.place + fault)

    def build(self, key: str, build: Any) -> Any:
        """Call ``build``; whatever it raises is the fault of ``key``."""
        try:
            return build()
        except Exception as error:  # builders of users' parts may raise anything; it is passed on
            raise ConfigError(f'{self.place}{key} cannot be built: {error}') from error

    def dataset(self, key: str, cfg: dict) -> Any:
        text = json.dumps(cfg, sort_keys=True, default=repr)
        if text not in self.built:
            self.built[text] = self.build(f'{key}.dataset', lambda: _full(registry.DATASETS.build(cfg)))
        return self.built[text]

    def batches(self, key: str, cfg: dict, items: int) -> int:
        """How many batches an epoch has; a loader over mere numbers stands in for the real one."""
        loader = self.build(key, lambda: Runner.build_dataloader({**cfg, 'dataset': range(items)}, seed=0))
        if len(loader) == 0:
            raise ConfigError(
                f'{self.place}{key} has no batch: {items} clips, batch_size={cfg.get("batch_size")}; '
                'use a smaller batch or drop_last=False'
            )
        return len(loader)

    def classes(self, model: nn.Module, datasets: dict[str, Any]) -> None:
        """As many classes in the model as in every dataset, and the same in all of them."""
        expected = getattr(model, 'num_classes', None)
        first: tuple[str, list] | None = None
        for key, dataset in datasets.items():
            classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
            if classes is None:
                continue
            if expected is not None and len(classes) != expected:
                raise ConfigError(
                    f'{self.place}model.num_classes={expected}, but {key}.dataset has {len(classes)} classes '
                    f'({", ".join(map(str, classes[:3]))}{", ..." if len(classes) > 3 else ""}); '
                    f'set model.num_classes={len(classes)}'
                )
            if first is not None and list(classes) != list(first[1]):
                raise ConfigError(
                    f'{self.place}{key}.dataset and {first[0]}.dataset number their classes differently: '
                    f'{_first_difference(classes, first[1])}; prepare both with the same class list'
                )
            first = first or (key, classes)

    def loops(self, cfg: Config) -> None:
        for key, default, given in (
            ('train_cfg', 'EpochBasedTrainLoop', 2),
            ('val_cfg', 'ValLoop', 3),
            ('test_cfg', 'TestLoop', 3),
        ):
            if not isinstance(cfg.get(key), dict):
                continue
            arguments = dict(cfg[key])
            if arguments.pop('by_epoch', True) is False:
                default = 'IterBasedTrainLoop'
            name = arguments.pop('type', default)
            with registry.LOOPS.switch_scope_and_registry(None) as loops:
                loop = name if inspect.isclass(name) else loops.get(name)
            if loop is None:
                raise ConfigError(
                    f'{self.place}{key}.type={name!r} is not a registered loop; is the name right?'
                )
            signature = inspect.signature(loop)
            self.build(
                key,
                lambda given=given, arguments=arguments, signature=signature: signature.bind(
                    *[None] * given, **arguments
                ),
            )

    def evaluators(self, cfg: Config) -> None:
        for key in ('val_evaluator', 'test_evaluator'):
            evaluator = cfg.get(key)
            if isinstance(evaluator, dict) and 'metrics' in evaluator:
                self.build(
                    key,
                    lambda evaluator=evaluator: registry.EVALUATOR.build({'type': 'Evaluator', **evaluator}),
                )
            elif evaluator is not None:
                self.build(key, lambda evaluator=evaluator: Evaluator(evaluator))

    def hooks(self, cfg: Config) -> None:
        hooks = {f'default_hooks.{name}': hook for name, hook in (cfg.get('default_hooks') or {}).items()}
        hooks.update(
            {f'custom_hooks.{number}': hook for number, hook in enumerate(cfg.get('custom_hooks') or [])}
        )
        for key, hook in hooks.items():
            if isinstance(hook, dict):
                hook = {name: value for name, value in hook.items() if name != 'priority'}
                self.build(key, lambda hook=hook: registry.HOOKS.build(hook))

    def backends(self, cfg: Config) -> None:
        """The libraries that the visualizer's backends write with are installed."""
        backends = (cfg.get('visualizer') or {}).get('vis_backends') or []
        for number, backend in enumerate([backends] if isinstance(backends, dict) else backends):
            name = backend.get('type') if isinstance(backend, dict) else None
            name = name.rpartition('.')[2] if isinstance(name, str) else getattr(name, '__name__', '')
            library = _LIBRARIES.get(name)
            if library is not None and importlib.util.find_spec(library) is None:
                raise ConfigError(
                    f'{self.place}visualizer.vis_backends.{number}: {name} needs {library}, which is not'
                    f' installed: pip install {library}, or leave this backend out'
                )

    def optimizer(self, model: nn.Module, cfg: Config, epoch_length: int) -> None:
        if cfg.get('optim_wrapper') is None:
            return
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ConfigError(
                f'{self.place}no parameter of {cfg.model.type} learns; is everything frozen '
                f'(model.frozen={cfg.model.get("frozen")})?'
            )
        self.custom_keys(model, cfg.optim_wrapper)
        wrapper = self.build(
            'optim_wrapper', lambda: build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
        )
        schedulers = cfg.get('param_scheduler') or []
        built = []
        for number, scheduler in enumerate([schedulers] if 'type' in schedulers else schedulers):
            arguments = dict(optimizer=wrapper, epoch_length=epoch_length)
            if 'max_epochs' in cfg.train_cfg:  # as the Runner does
                arguments['end'] = cfg.train_cfg.max_epochs * (
                    1 if scheduler.get('by_epoch', True) else epoch_length
                )
            built.append(
                self.build(
                    f'param_scheduler.{number}',
                    lambda scheduler=scheduler, arguments=arguments: registry.PARAM_SCHEDULERS.build(
                        scheduler, default_args=arguments
                    ),
                )
            )
        self.warmup(built, cfg, epoch_length)

    def warmup(self, schedulers: list[Any], cfg: Config, epoch_length: int) -> None:
        """Warn of a warm-up that is half of the stage or more: a rate that was set for it is not what it
        trains at."""
        if 'max_epochs' not in cfg.train_cfg:
            return
        share = warmup_share(schedulers, cfg.train_cfg.max_epochs, epoch_length)
        if share >= LONG_WARMUP:
            iterations = cfg.train_cfg.max_epochs * epoch_length
            print_log(
                f'{self.place}the warm-up of param_scheduler takes {100 * share:.0f} % of the {iterations}'
                ' iterations, so the rate that is set is reached late or never; warm up over a share of the'
                " stage: dict(type='WarmupLR', share=0.1, by_epoch=False)",
                logger='current',
                level=logging.WARNING,
            )

    def custom_keys(self, model: nn.Module, wrapper: dict) -> None:
        """Each of ``paramwise_cfg.custom_keys`` is part of the name of a parameter."""
        names = [name for name, _ in model.named_parameters()]
        parts = {
            '.'.join(name.split('.')[:depth]) for name in names for depth in range(1, name.count('.') + 2)
        }
        for key, value in ((wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}).items():
            if not any(key in name for name in names):
                fault = told_unknown(f'optim_wrapper.paramwise_cfg.custom_keys.{key}', value, parts)
                raise ConfigError(
                    f'{self.place}{fault} No parameter of {type(model).__name__} has it in its name'
                )


def check_patches(model: nn.Module, cfg: Config, place: str = '') -> None:
    """Patches fit into the frames, where a pipeline says how large its frames are.

    Args:
        model: whose ``patch_size`` is meant; one without is fine.
        cfg: of the stage.
        place: what the message begins with.

    Raises:
        ConfigError: naming the pipeline and both sizes.
    """
    patch = getattr(model, 'patch_size', None)
    if not isinstance(patch, tuple):
        return
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset')
        frame = frame_size(dataset.get('pipeline')) if isinstance(dataset, dict) else None
        if frame is not None and any(p > f for p, f in zip(patch, frame)):
            raise ConfigError(
                f'{place}model.patch_size={_sides(patch)} is larger than the frames of {_sides(frame)} that'
                f' {key}.dataset.pipeline makes; choose a smaller patch or larger frames'
            )


def frame_size(pipeline: Any) -> tuple[int, int] | None:
    """(H, W) of the frames that a pipeline ends with, None where that depends on the video."""
    size = None
    for step in pipeline if isinstance(pipeline, list | tuple) else ():
        if not isinstance(step, dict):
            return None  # a function: what it does to the size is unknown
        if 'size' in step:
            size = (step['size'],) * 2 if isinstance(step['size'], int) else tuple(step['size'])
        elif 'short' in step:
            size = None  # the longer side follows the video
    return size


def _sides(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def _full(dataset: Any) -> Any:
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return dataset


def _first_difference(classes: list, others: list) -> str:
    if len(classes) != len(others):
        return f'{len(classes)} and {len(others)} classes'
    label = next(label for label, pair in enumerate(zip(classes, others)) if pair[0] != pair[1])
    return f'label {label} is {classes[label]!r} and {others[label]!r}'
