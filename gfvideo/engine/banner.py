"""What a stage trains, on what and how, in words for a stranger."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from torch import nn

from ..complexity import recognizer_cost
from ..models.base import Recognizer
from ..models.policies.base import DifferentiablePolicy, ValuePolicy
from .config.check import frame_size

__all__ = ['banner', 'clip_shape', 'describe_stage', 'describe_title']

_PLACES = dict(
    random='patches at random places',
    centre='patches at the centre of the frame',
    mean='patches where the policy looks',
    sample='patches at places that the policy draws',
    mixed='patches at random places and where the policy looks',
)
_DECIDING = {'classifier', 'fc'}
_WIDTH = 79


def describe_title(name: str, number: int, of: int) -> str:
    """``'stage 2 of 3: policy'``, ``'training'`` of a config without stages."""
    return f'stage {number} of {of}: {name}' if name else 'training'


def describe_stage(cfg: Config | Mapping, model: nn.Module) -> str:
    """What learns in a stage, from what, and what does not.

    Args:
        cfg: of the stage; its ``train_cfg`` is read.
        model: built from its ``model``.
    """
    if not isinstance(model, Recognizer):
        return f'{type(model).__name__} learns'
    parts = {name: list(part.parameters()) for name, part in model.parts().items()}
    learning = [name for name, own in parts.items() if any(value.requires_grad for value in own)]
    frozen = [name for name, own in parts.items() if own and name not in learning]
    others = [name for name in learning if name != 'policy']
    loop = cfg.get('train_cfg') or {}
    told = []
    if others and loop.get('type') != 'PolicyLoop':
        places = _PLACES.get(vars(model).get('train_centres', ''), 'whole frames')
        told.append(f'{_listed(others)} {_verb(others, "learns", "learn")} on {places}')
    if 'policy' in learning:
        told.append(_policys_way(loop, model.parts()['policy'], bool(told)))
    if frozen:
        told.append(f'{_listed(frozen)} {_verb(frozen, "is", "are")} frozen')
    return '; '.join(told)


def _policys_way(loop: Mapping, policy: nn.Module, beside: bool) -> str:
    if isinstance(policy, ValuePolicy):
        return _values_way(loop, beside)
    if loop.get('type') == 'PolicyLoop':
        return 'the policy learns by PPO where patches pay'
    if loop.get('type') == 'JointLoop':
        every = loop.get('policy_interval', 4)
        return f'the policy learns by PPO where patches pay, at one batch in {every}'
    if isinstance(policy, DifferentiablePolicy):
        return 'the policy learns by the gradient through its patches'
    return 'the policy learns'


def _values_way(loop: Mapping, beside: bool) -> str:
    worth = 'what a look at each place is worth'
    if loop.get('type') not in ('PolicyLoop', 'JointLoop'):
        return f'the policy learns {"beside them " if beside else ""}{worth}'
    times = loop.get('update_epochs', 4)
    often = f', {times} times from each look' if times > 1 else ''
    if loop.get('type') == 'PolicyLoop':
        return f'the policy learns {worth}{often}'
    return f'the policy learns beside them {worth}{often}, at one batch in {loop.get("policy_interval", 4)}'


def _names(parts: Sequence[str]) -> list[str]:
    """In words; several encoders are one thing, and so are the classifier and the encoders' own heads."""
    encoders = [name for name in parts if 'encoder' in name]
    deciding = [name for name in parts if name in _DECIDING or name.endswith('head')]
    named = ['encoders'] if len(encoders) > 1 else [name.replace('_', ' ') for name in encoders]
    if deciding:
        named.append('classifier' if _DECIDING & set(deciding) else 'classifying heads')
    rest = (name for name in parts if name not in encoders + deciding)
    return named + [name.replace('_', ' ') for name in rest]


def _listed(parts: Sequence[str]) -> str:
    *first, last = _names(parts)
    return f'the {", the ".join(first)} and the {last}' if first else f'the {last}'


def _verb(parts: Sequence[str], one: str, several: str) -> str:
    names = _names(parts)
    return several if len(names) > 1 or names[0].endswith('s') else one


def clip_shape(cfg: Config | Mapping) -> tuple[int, int, int, int] | None:
    """(T, 3, H, W) of what the pipeline of validation, else of test, else of training makes of a video; None
    where it does not say."""
    for key in ('val_dataloader', 'test_dataloader', 'train_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset')
        pipeline = dataset.get('pipeline') if isinstance(dataset, Mapping) else None
        if not pipeline:
            continue
        size = frame_size(pipeline)
        counts = [step.get('num_frames') or step.get('frames') for step in pipeline if 'type' in step]
        count = next((count for count in counts if isinstance(count, int)), None)
        return None if size is None or count is None else (count, 3, *size)
    return None


def banner(runner: Any, number: int, of: int) -> str:
    """Several lines: what is trained, the data, the parts with their cost, batches and rates, and where all
    goes.

    Args:
        runner: about to train.
        number, of: of the stage, from 1, and of all stages.
    """
    cfg, model = runner.cfg, runner.model.module if is_model_wrapper(runner.model) else runner.model
    title = f'{describe_title(cfg.get("stage") or "", number, of)} — {describe_stage(cfg, model)}'
    lines = textwrap.wrap(title, _WIDTH, subsequent_indent='  ')
    rows = [*_data(runner), *_model(cfg, model), *_schedule(runner), *_files(runner)]
    return '\n'.join([*lines, *(f'  {name:<12}{text}' for name, text in rows)])


def _data(runner: Any) -> Iterable[tuple[str, str]]:
    loaders = dict(training=runner.train_dataloader)
    if runner.val_loop is not None:
        loaders['validation'] = runner.val_dataloader
    for name, loader in loaders.items():
        meta = getattr(loader.dataset, 'metainfo', None) or {}
        told = [str(meta.get('name') or type(loader.dataset).__name__)]
        told += [f'split {meta["split"]}'] if meta.get('split') else []
        told += [f'fold {meta["fold"]}'] if meta.get('fold') else []
        told += [f'{len(loader.dataset)} clips']
        names = dict(content_hash='content', made_hash='made')
        if not meta.get('content_hash'):
            names = dict(manifest_hash='hash')
        told += [f'{word} {meta[key][:12]}' for key, word in names.items() if meta.get(key)]
        yield name, ', '.join(told)


def _model(cfg: Config, model: nn.Module) -> Iterable[tuple[str, str]]:
    million = sum(value.numel() for value in model.parameters()) / 1e6
    if not isinstance(model, Recognizer):
        yield 'model', f'{type(model).__name__}, {million:.3g} M parameters'
        return
    shape = None if cfg.get('compile') else clip_shape(cfg)
    costs = None if shape is None else recognizer_cost(model, shape)
    yield 'model', f'{type(model).__name__}, {million:.3g} M parameters'
    if shape is not None and costs is not None:
        gmacs = _number(costs['steps'][-1] / 1e9)
        yield 'cost', f'{gmacs} GMACs a clip of {shape[0]} frames, {shape[2]}x{shape[3]}'
    for name, part in model.parts().items():
        parameters = list(part.parameters())
        row = f'  {name:<16}{_number(sum(value.numel() for value in parameters) / 1e6):>8} M'
        if costs is not None:
            row += f'{_number(sum(step.get(name, 0) for step in costs["by_step"]) / 1e9):>10} GMACs'
        frozen = parameters and not any(value.requires_grad for value in parameters)
        yield '', row + ('   frozen' if frozen else '')


def _number(value: float) -> str:
    return '0' if value == 0 else f'{value:.3g}' if value >= 0.0005 else '<0.001'


def _schedule(runner: Any) -> Iterable[tuple[str, str]]:
    loop, loader = runner.train_loop, runner.train_dataloader
    if 'max_epochs' in (runner.cfg.get('train_cfg') or {}):
        epochs = loop.max_epochs
        yield 'length', f'{epochs} epoch{"s" * (epochs != 1)} of {len(loader)} batches'
    else:
        yield 'length', f'{loop.max_iters} batches'
    size, processes = runner.cfg.train_dataloader.get('batch_size'), runner.world_size
    if size is not None:
        several = f' x {processes} processes = {size * processes}' if processes > 1 else ''
        count = (runner.cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        yield 'batch', f'{size}{several} clips' + (f', {count} batches an update' if count > 1 else '')
    groups = getattr(runner.optim_wrapper, 'param_groups', None)
    if isinstance(groups, list):
        learning = [group for group in groups if any(value.requires_grad for value in group['params'])]
        rates = sorted({group.get('initial_lr', group['lr']) for group in learning})
        optimizer = type(runner.optim_wrapper.optimizer).__name__
        yield 'rates', f'{optimizer}, learning rate {", ".join(f"{rate:.3g}" for rate in rates)}'


def _files(runner: Any) -> Iterable[tuple[str, str]]:
    start = runner.cfg.get('load_from')
    if start:
        yield ('goes on' if runner.cfg.get('resume') else 'starts from'), str(_short(start))
    yield 'checkpoints', _short(runner.work_dir)
    yield 'log', _short(os.path.join(runner.log_dir, f'{runner.timestamp}.log'))


def _short(path: str) -> str:
    """``path`` from here, where it is below."""
    if '://' in path:
        return path
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
