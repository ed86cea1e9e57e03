"""Which keys a config may hold at each place: those of the class or function that receives them.

Hardly a name stands on this page. What a place accepts is read off the signature in which its keys end; where
a function takes one dict and picks from it, off the function's source.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from mmengine import registry
from mmengine.dist import init_dist
from mmengine.dist import utils as dist_utils
from mmengine.hooks import CheckpointHook
from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper
from mmengine.registry import Registry, build_functions
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from ...data.sampling import STRATEGIES
from ...data.transforms import SampleFrames
from .mmaction2 import here_for_argument, here_for_type

__all__ = ['faults_of_keys', 'told_unknown']

Names = frozenset[str] | None
"""Names that are accepted; None where any may be."""
_BUILT = frozenset({'type', '_scope_'})  # what registries read themselves
# classes that keep their **kwargs for a later call of one of these, and what they give it themselves
_ENDS = {
    CheckpointHook: ((Runner.save_checkpoint,), ('self',)),
    SampleFrames: (tuple(STRATEGIES.values()), ('self', 'total_frames', 'num_frames', 'rng')),
}
_WHOLE = 'a whole number'
_LEAST = dict(
    max_epochs=1,
    max_iters=1,
    val_interval=1,
    val_begin=0,
    batch_size=1,
    num_workers=0,
    prefetch_factor=1,
    num_batch_per_epoch=1,
    base_batch_size=1,
)


# ------------------------------------------------------------------------------------------- what is accepted


@cache
def accepted(target: Callable) -> Names:
    """Keyword arguments that a class or function takes; ``**kwargs`` are followed through ``super()``."""
    if inspect.isclass(target):
        return _accepted(inspect.getmro(target))
    names, kwargs = _of_signature(target)
    return None if kwargs else names


def _accepted(classes: tuple[type, ...]) -> Names:
    number = next((number for number, one in enumerate(classes) if '__init__' in vars(one)), None)
    if number is None or classes[number] is object:
        return frozenset()
    names, kwargs = _of_signature(vars(classes[number])['__init__'])
    if names is None or kwargs is None:
        return None if names is None else names - {'self'}
    if classes[number] in _ENDS:
        ends, given = _ENDS[classes[number]]
        return (names | _names(*(_of_signature(end)[0] for end in ends)) - set(given)) - {'self'}
    if not _passes_on(vars(classes[number])['__init__'], kwargs):
        return None
    inner = _accepted(classes[number + 1 :])
    return None if inner is None else (names | inner) - {'self'}


def _of_signature(function: Callable) -> tuple[Names, str | None]:
    """Names of keyword arguments, and that of ``**kwargs``; a function with those takes any name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C, without a signature
        return None, None
    names = frozenset(
        one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    )
    return names, next((one.name for one in parameters if one.kind == one.VAR_KEYWORD), None)


def _names(*names: Names) -> frozenset[str]:
    """All of them; what takes any name adds none that could be told."""
    return frozenset().union(*(one for one in names if one is not None))


def _passes_on(init: Callable, kwargs: str) -> bool:
    """Whether ``super().__init__`` gets the ``**kwargs`` as they are."""
    for node in ast.walk(_tree(init)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == 'super().__init__':
            return any(
                word.arg is None and isinstance(word.value, ast.Name) and word.value.id == kwargs
                for word in node.keywords
            )
    return False


def _tree(function: Callable) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # written in C, or at a prompt
        return ast.Module([], [])


@cache
def read_by(function: Callable, variable: str) -> frozenset[str]:
    """Constant keys that a function, or a class and its bases, look up in the dict called ``variable``."""
    sources = (
        [one for one in inspect.getmro(function) if one is not object]
        if inspect.isclass(function)
        else [function]
    )
    return frozenset(
        key for source in sources for node in ast.walk(_tree(source)) for key in _looked_up(node, variable)
    )


def _looked_up(node: ast.AST, variable: str) -> Iterator[str]:
    key: ast.AST | None = None
    where: ast.AST | None = None
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ('get', 'pop')
        and node.args
    ):
        where, key = node.func.value, node.args[0]
    elif isinstance(node, ast.Subscript):
        where, key = node.value, node.slice
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        where, key = node.comparators[0], node.left
    if where is None or not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        return
    if ast.unparse(where) == variable:
        yield key.value


@cache
def mmengines_hooks() -> frozenset[str]:
    """Names in the dict of default hooks that a Runner begins with."""
    for node in ast.walk(_tree(Runner.register_default_hooks)):
        if (
            isinstance(node, ast.AnnAssign | ast.Assign)
            and isinstance(node.value, ast.Call)
            and node.value.keywords
        ):
            return frozenset(word.arg for word in node.value.keywords if word.arg)
    return frozenset()


# --------------------------------------------------------------------------------------------- how it is told


def told_unknown(path: str, value: Any, known: Iterable[str]) -> str:
    """What to tell of a key that nothing reads, with the known one it resembles."""
    known = sorted(set(known) - {'_scope_'})
    close = difflib.get_close_matches(path.rpartition('.')[2], known, 1)
    shown = '' if isinstance(value, Mapping | list | tuple) else f' (its value: {_short(value)})'
    listed = ', '.join(known[:12]) + (', ...' if len(known) > 12 else '') if known else 'none'
    return f'{path} is unknown{shown}; ' + (
        f'did you mean {close[0]!r}?' if close else f'known there: {listed}'
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _among(path: str, values: Mapping, known: Names) -> Iterator[str]:
    if known is not None:
        yield from (
            told_unknown(f'{path}.{key}', value, known) for key, value in values.items() if key not in known
        )


def _whole_numbers(path: str, values: Mapping, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value, least = values.get(name), _LEAST.get(name)
        if value is not None and (type(value) is not int or least is not None and value < least):
            yield f'{path}.{name} is {_short(value)}: {_WHOLE} is wanted' + (
                '' if least is None else f', {least} or more'
            )


# ------------------------------------------------------------------------------------------ registered things


def _all_names(tree: Registry) -> set[str]:
    names = set(tree.module_dict)
    return names | _all_names(tree.parent) if tree.parent is not None else names


def _find(tree: Registry, kind: Any) -> tuple[Callable | None, list[str]]:
    """The class or function that ``kind`` names, or the registered names it resembles."""
    if not isinstance(kind, str):
        return kind if callable(kind) else None, []
    with tree.switch_scope_and_registry(None) as here:
        found = here.get(kind)
        return found, (
            []
            if found is not None
            else difflib.get_close_matches(kind.rpartition('.')[2], _all_names(here), 1)
        )


def _registered(
    path: str, cfg: Any, trees: tuple[Registry, ...], default: str | None = None, beside: Iterable[str] = ()
) -> Iterator[str]:
    """Faults of a dict that a registry builds from, and of those inside it.

    Args:
        path: where it stands.
        cfg: the dict; anything else has been built already.
        trees: the registry; dicts inside may be of the others.
        default: its type where it names none.
        beside: keys that are read before it is built.
    """
    if not isinstance(cfg, Mapping):
        return
    kind = cfg.get('type', default)
    if kind is None:
        yield from _near_type(path, cfg)
        return
    target, close = _find(trees[0], kind)
    if target is None:
        yield _unregistered(path, kind, close, trees[0])
        return
    known = accepted(target)
    if known is not None:
        yield from _unknown_arguments(path, cfg, known | _BUILT | set(beside), target)
    yield from _texts_for_numbers(path, cfg, target)
    yield from _no_choices(path, cfg, target)
    yield from _inside(path, {key: value for key, value in cfg.items() if key not in beside}, trees, target)


def _unknown_arguments(path: str, cfg: Mapping, known: frozenset[str], target: Callable) -> Iterator[str]:
    """Arguments that ``target`` does not take; of those of MMAction2, what they are here."""
    for key, value in cfg.items():
        if key not in known:
            here = here_for_argument(getattr(target, '__name__', ''), key)
            yield (
                told_unknown(f'{path}.{key}', value, known)
                if here is None
                else f"{path}.{key}={_short(value)} is MMAction2's; here it is {here}"
            )


def _unregistered(path: str, kind: Any, close: list[str], tree: Registry) -> str:
    here = here_for_type(kind) if isinstance(kind, str) else None
    if here is not None:
        return f"{path}.type={_short(kind)} is MMAction2's; here it is {here}"
    known = (
        f'did you mean {close[0]!r}?'
        if close
        else 'is the name right, and is its module among custom_imports?'
    )
    return f'{path}.type={_short(kind)} is no registered {tree.name}; {known}'


def _near_type(path: str, cfg: Mapping) -> Iterator[str]:
    near = difflib.get_close_matches('type', map(str, cfg), 1)
    yield (
        told_unknown(f'{path}.{near[0]}', cfg[near[0]], ['type'])
        if near
        else f'{path} has no type, the name of what is to be built'
    )


def _inside(
    path: str, value: Any, trees: tuple[Registry, ...], receiver: Callable | None = None
) -> Iterator[str]:
    """Faults of dicts with a type among the arguments of something built, the ``receiver``."""
    items = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    for key, inner in items:
        place = f'{path}.{key}'
        if not (isinstance(inner, Mapping) and 'type' in inner):
            yield from _misspelt_type(place, inner, trees)
            yield from _inside(place, inner, trees)
            continue
        found = [(tree, *_find(tree, inner['type'])) for tree in trees]
        holder = next((tree for tree, target, _ in found if target is not None), None)
        if holder is not None:
            # what the receiver takes out of the dict before it is built: an encoder its backbone's init_cfg
            taken: frozenset[str] = frozenset()
            if inspect.isclass(receiver):
                reads: Callable = receiver
                taken = read_by(reads, key) - _BUILT
            yield from _registered(
                place, inner, (holder, *(tree for tree in trees if tree is not holder)), None, taken
            )
            for name in taken:
                known = read_by(receiver, name)
                if isinstance(inner.get(name), Mapping) and known:
                    yield from _among(f'{place}.{name}', inner[name], known)
            continue
        near = [(tree, close) for tree, _, close in found if close]
        kind = inner['type']
        if near:  # else a type may have a meaning of its own there
            yield _unregistered(place, kind, near[0][1], near[0][0])
        elif isinstance(kind, str) and here_for_type(kind) is not None:
            yield _unregistered(place, kind, [], trees[0])


def _misspelt_type(path: str, value: Any, trees: tuple[Registry, ...]) -> Iterator[str]:
    """A dict that means something registered, under a key that is almost ``type``."""
    if not isinstance(value, Mapping):
        return
    for key in difflib.get_close_matches('type', [key for key in value if isinstance(key, str)], 1):
        kind = value[key]
        if isinstance(kind, str) and any(_find(tree, kind)[0] is not None for tree in trees):
            yield told_unknown(f'{path}.{key}', kind, ['type'])


def _texts_for_numbers(path: str, cfg: Mapping, target: Callable) -> Iterator[str]:
    """Strings where the signature says ``int`` or ``float``: the usual slip on a command line."""
    for name, kind in _numbers_of(target).items():
        if isinstance(cfg.get(name), str):
            yield f'{path}.{name} is {_short(cfg[name])}: {kind} is wanted'


@cache
def _numbers_of(target: Callable) -> dict[str, str]:
    """Arguments that are numbers by the signature, and of what kind."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return {}
    kinds = dict(int=_WHOLE, float='a number')
    annotations = {one.name: getattr(one.annotation, '__name__', one.annotation) for one in parameters}
    return {
        name: kinds[kind] for name, kind in annotations.items() if isinstance(kind, str) and kind in kinds
    }


def _no_choices(path: str, cfg: Mapping, target: Callable) -> Iterator[str]:
    """Values that are none of those that the signature names (``Literal``)."""
    for name, choices in _choices_of(target).items():
        if isinstance(cfg.get(name), str) and cfg[name] not in choices:
            near = difflib.get_close_matches(cfg[name], choices, 1)
            told = f'did you mean {near[0]!r}?' if near else f'choose of {", ".join(map(repr, choices))}'
            yield f'{path}.{name}={_short(cfg[name])} is unknown; {told}'


@cache
def _choices_of(target: Callable) -> dict[str, tuple[str, ...]]:
    """Arguments that take one of a few texts by the signature, and which."""
    init = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(init)
    except (AttributeError, NameError, TypeError):  # of a part that names what it does not import
        return {}
    return {
        name: typing.get_args(hint)
        for name, hint in hints.items()
        if typing.get_origin(hint) is typing.Literal
    }


# ------------------------------------------------------------------------------------------------- the places


def _dataloader(path: str, cfg: Mapping) -> Iterator[str]:
    own = read_by(Runner.build_dataloader, 'dataloader_cfg')
    yield from _among(path, cfg, _names(accepted(DataLoader), own))
    yield from _whole_numbers(
        path, cfg, ('batch_size', 'num_workers', 'prefetch_factor', 'num_batch_per_epoch')
    )
    for key in ('dataset', 'sampler'):
        if key not in cfg and not (key == 'sampler' and 'batch_sampler' in cfg):
            yield f'{path} has no {key}'
    yield from _registered(f'{path}.dataset', cfg.get('dataset'), (registry.DATASETS, registry.TRANSFORMS))
    for key in ('sampler', 'batch_sampler'):
        yield from _registered(f'{path}.{key}', cfg.get(key), (registry.DATA_SAMPLERS,))
    for key in ('collate_fn', 'worker_init_fn'):
        yield from _registered(f'{path}.{key}', cfg.get(key), (registry.FUNCTIONS,))


def _train_loop(path: str, cfg: Mapping) -> Iterator[str]:
    default = 'EpochBasedTrainLoop' if cfg.get('by_epoch', True) else 'IterBasedTrainLoop'
    yield from _loop(path, cfg, default, read_by(Runner.build_train_loop, 'loop_cfg'))


def _val_loop(path: str, cfg: Mapping) -> Iterator[str]:
    yield from _loop(path, cfg, 'ValLoop' if path == 'val_cfg' else 'TestLoop')


def _loop(path: str, cfg: Mapping, default: str, beside: Iterable[str] = ()) -> Iterator[str]:
    yield from _whole_numbers(path, cfg, ('max_epochs', 'max_iters', 'val_interval', 'val_begin'))
    yield from _registered(path, cfg, (registry.LOOPS,), default, beside)


def _evaluator(path: str, cfg: Any) -> Iterator[str]:
    if isinstance(cfg, Mapping) and 'metrics' in cfg:
        yield from _registered(
            path,
            {key: value for key, value in cfg.items() if key != 'metrics'},
            (registry.EVALUATOR,),
            'Evaluator',
        )
        path, cfg = f'{path}.metrics', cfg['metrics']
    yield from _one_or_several(path, cfg, (registry.METRICS,))


def _one_or_several(
    path: str, cfg: Any, trees: tuple[Registry, ...], beside: Iterable[str] = ()
) -> Iterator[str]:
    several = isinstance(cfg, list | tuple)
    for number, one in enumerate(cfg if several else [cfg]):
        yield from _registered(f'{path}.{number}' if several else path, one, trees, None, beside)


def _schedulers(path: str, cfg: Any) -> Iterator[str]:
    if (
        isinstance(cfg, Mapping) and cfg and all(isinstance(one, list | tuple) for one in cfg.values())
    ):  # of several optimizers
        for name, some in cfg.items():
            yield from _schedulers(f'{path}.{name}', some)
        return
    yield from _one_or_several(
        path, cfg, (registry.PARAM_SCHEDULERS,), read_by(build_functions.build_scheduler_from_cfg, 'args')
    )


def _custom_hooks(path: str, cfg: Any) -> Iterator[str]:
    yield from _one_or_several(path, cfg, (registry.HOOKS,), read_by(Runner.register_hook, 'hook'))


def _default_hooks(path: str, cfg: Mapping, known: Iterable[str]) -> Iterator[str]:
    known = mmengines_hooks() | set(known)
    for name, hook in cfg.items():
        place = f'{path}.{name}'
        # any name may be added, but one that all but reads as a known one leaves that at its default
        if name not in known and (
            difflib.get_close_matches(name, known, 1, 0.75)
            or not (isinstance(hook, Mapping) and 'type' in hook)
        ):
            yield told_unknown(place, hook, known) + ' Hooks of your own go into custom_hooks'
        elif isinstance(hook, Mapping):
            yield from _registered(
                place, hook, (registry.HOOKS,), None, read_by(Runner.register_hook, 'hook')
            )


def _optim_wrapper(path: str, cfg: Mapping) -> Iterator[str]:
    if 'optimizer' not in cfg:
        constructor, _ = _find(
            registry.OPTIM_WRAPPER_CONSTRUCTORS, cfg.get('constructor', 'DefaultOptimWrapperConstructor')
        )
        # one of another kind may build several optimizers, and names their keys itself
        if isinstance(constructor, type) and issubclass(constructor, DefaultOptimWrapperConstructor):
            near = difflib.get_close_matches('optimizer', map(str, cfg), 1)
            yield (
                told_unknown(f'{path}.{near[0]}', cfg[near[0]], ['optimizer'])
                if near
                else f'{path} has no optimizer'
            )
        return
    beside = read_by(build_optim_wrapper, 'optim_wrapper_cfg') | {'optimizer', 'clip_grad'}
    yield from _registered(path, cfg, (registry.OPTIM_WRAPPERS,), 'OptimWrapper', beside)
    yield from _registered(f'{path}.optimizer', cfg['optimizer'], (registry.OPTIMIZERS,))
    clip = cfg.get('clip_grad')
    if isinstance(clip, Mapping):
        function = getattr(torch.nn.utils, f'clip_grad_{clip.get("type", "norm")}_', None)
        if function is None:
            yield f"{path}.clip_grad.type is {_short(clip['type'])}; choose 'norm' or 'value'"
        else:
            yield from _among(
                f'{path}.clip_grad', clip, _names(accepted(function)) - {'parameters'} | {'type'}
            )
    if isinstance(cfg.get('paramwise_cfg'), Mapping):
        yield from _paramwise(f'{path}.paramwise_cfg', cfg['paramwise_cfg'], cfg)


def _paramwise(path: str, cfg: Mapping, wrapper: Mapping) -> Iterator[str]:
    constructor, _ = _find(
        registry.OPTIM_WRAPPER_CONSTRUCTORS, wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
    )
    known = read_by(constructor, 'self.paramwise_cfg') if constructor is not None else frozenset()
    if not known:
        return  # a constructor that reads it in another way
    yield from _among(path, cfg, known)
    optimizer, _ = _find(registry.OPTIMIZERS, wrapper['optimizer'].get('type'))
    options = None if optimizer is None else accepted(optimizer)
    for name, one in (cfg.get('custom_keys') or {}).items():
        if isinstance(one, Mapping) and options is not None:
            yield from _among(
                f'{path}.custom_keys.{name}',
                one,
                read_by(constructor, 'custom_keys[key]') | options - {'params'},
            )


def _environment(path: str, cfg: Mapping) -> Iterator[str]:
    yield from _among(path, cfg, read_by(Runner.setup_env, 'env_cfg'))
    launchers = (
        init_dist,
        dist_utils._init_dist_pytorch,
        dist_utils._init_dist_mpi,
        dist_utils._init_dist_slurm,
    )
    process_group = _names(
        *(_of_signature(one)[0] for one in (*launchers, torch.distributed.init_process_group))
    )
    for key, known in (
        ('mp_cfg', _names(accepted(set_multi_processing)) - {'distributed'}),
        ('dist_cfg', process_group - {'launcher'}),
    ):
        if isinstance(cfg.get(key), Mapping):
            yield from _among(f'{path}.{key}', cfg[key], known)


def _visualizer(path: str, cfg: Mapping) -> Iterator[str]:
    yield from _registered(path, cfg, (registry.VISUALIZERS, registry.VISBACKENDS), 'Visualizer')


def _scaled_rates(path: str, cfg: Mapping) -> Iterator[str]:
    yield from _among(path, cfg, read_by(Runner.scale_lr, 'auto_scale_lr'))
    yield from _whole_numbers(path, cfg, ('base_batch_size',))


def _built_by(tree: Registry, default: str | None = None) -> Callable[[str, Mapping], Iterator[str]]:
    return lambda path, cfg: _registered(path, cfg, (tree,), default)


def _taken_by(function: Callable, *given: str) -> Callable[[str, Mapping], Iterator[str]]:
    """Keys of a dict that becomes the arguments of ``function``, but for those that it is given beside."""
    return lambda path, cfg: _among(path, cfg, _names(accepted(function)) - {'self', *given})


_PLACES: dict[str, Callable[[str, Any], Iterator[str]]] = dict(
    model=_built_by(registry.MODELS),
    data_preprocessor=_built_by(registry.MODELS),
    train_dataloader=_dataloader,
    val_dataloader=_dataloader,
    test_dataloader=_dataloader,
    train_cfg=_train_loop,
    val_cfg=_val_loop,
    test_cfg=_val_loop,
    optim_wrapper=_optim_wrapper,
    auto_scale_lr=_scaled_rates,
    env_cfg=_environment,
    randomness=_taken_by(Runner.set_randomness),
    log_processor=_built_by(registry.LOG_PROCESSORS, 'LogProcessor'),
    visualizer=_visualizer,
    model_wrapper_cfg=_built_by(registry.MODEL_WRAPPERS, 'MMDistributedDataParallel'),
    compile=_taken_by(torch.compile, 'model'),
    custom_imports=_taken_by(import_modules_from_strings),
)
_LISTS: dict[str, Callable[[str, Any], Iterator[str]]] = dict(
    val_evaluator=_evaluator,
    test_evaluator=_evaluator,
    param_scheduler=_schedulers,
    custom_hooks=_custom_hooks,
)


def faults_of_keys(cfg: Mapping[str, Any], hooks: Iterable[str] = ()) -> Iterator[str]:
    """What is wrong with nested keys of a config: unknown keys, unregistered types, texts for numbers.

    Args:
        cfg: the config of a stage.
        hooks: names in ``default_hooks`` that are known beside mmengine's.

    Yields:
        A line each, with the whole path of the key and, where there is one, the known name it resembles.
    """
    for path, faults in _PLACES.items():
        if isinstance(cfg.get(path), Mapping):
            yield from faults(path, cfg[path])
    if isinstance(cfg.get('default_hooks'), Mapping):
        yield from _default_hooks('default_hooks', cfg['default_hooks'], hooks)
    for path, faults in _LISTS.items():
        if isinstance(cfg.get(path), Mapping | list | tuple):
            yield from faults(path, cfg[path])
