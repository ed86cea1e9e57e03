"""Configs that checkpoints and exports carry: read as data, and built from registered parts alone.

A config *file* is a program: it is run when it is read, and may name any object to import. Text inside a file
from elsewhere must do neither. It is parsed without being run, and every part that it names is looked up,
before anything is built, among the names that are registered already. mmengine's registries import what they
do not know (``type='a.b'``, and a plain name too, as a module); a carried config never gets that far.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry, root
from mmengine.utils import import_modules_from_strings

from ... import registry as own
from .known import ConfigError
from .staged import check_order, stages_by_name

__all__ = ['carried_config', 'check_carried', 'import_own', 'parse_config']

# What a key's dicts with a type are built by. The nearest of these keys above a dict decides.
_BUILT = dict(
    model=own.MODELS,
    data_preprocessor=own.MODELS,
    dataset=own.DATASETS,
    datasets=own.DATASETS,
    pipeline=own.TRANSFORMS,
    transforms=own.TRANSFORMS,
)
# these belong to training and testing, which take a config file; mmengine's own names stand there, too
_ENGINE = dict(
    train_cfg=(own.LOOPS,),
    val_cfg=(own.LOOPS,),
    test_cfg=(own.LOOPS,),
    optim_wrapper=(own.OPTIM_WRAPPERS, own.OPTIM_WRAPPER_CONSTRUCTORS),
    optimizer=(own.OPTIMIZERS,),
    constructor=(own.OPTIM_WRAPPER_CONSTRUCTORS,),
    param_scheduler=(own.PARAM_SCHEDULERS,),
    val_evaluator=(own.METRICS, own.EVALUATORS),
    test_evaluator=(own.METRICS, own.EVALUATORS),
    metrics=(own.METRICS,),
    default_hooks=(own.HOOKS,),
    custom_hooks=(own.HOOKS,),
    visualizer=(own.VISUALIZERS,),
    vis_backends=(own.VISBACKENDS,),
    log_processor=(own.LOG_PROCESSORS,),
    model_wrapper_cfg=(own.MODEL_WRAPPERS,),
    sampler=(own.DATA_SAMPLERS,),
    batch_sampler=(own.DATA_SAMPLERS,),
    collate_fn=(own.FUNCTIONS,),
    worker_init_fn=(own.FUNCTIONS,),
    init_cfg=(root.WEIGHT_INITIALIZERS,),
)
# mmengine's, around our datasets
_WRAPPERS = frozenset({'ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset'})
_TOP = ('model', 'data_preprocessor', 'train_cfg', 'optim_wrapper')  # dicts, where they are there
_REMEDY = (
    'nothing is imported because a file says so. If the part is yours, import its module first: '
    "custom_imports=['its.module'] (--custom-imports its.module); or give the config file"
)


def carried_config(text: object, source: str, kind: str = 'config') -> Config:
    """The config that a file from elsewhere carries, fit to be built.

    Args:
        text: a finished config (``Config.pretty_text``).
        source: the file, for messages.
        kind: what to call the text in messages.

    Raises:
        ConfigError: if it is no text, is more than plain values, or names a part that is not registered.
    """
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'{source} carries no {kind}; give its config file too')
    try:
        cfg = parse_config(text)
    except ValueError as error:
        raise ConfigError(f'the {kind} in {source} cannot be used: {error}; give its config file') from error
    _check_shape(cfg.to_dict(), f'the {kind} in {source}')
    check_carried(cfg.to_dict(), f'the {kind} in {source}')
    cfg.pop('custom_imports', None)  # what the run imported; it must not be imported here
    return cfg


def _check_shape(values: Mapping, source: str) -> None:
    """Refuse values of other types where dicts are expected."""
    try:
        stages = stages_by_name(values.get('stages'), source)
        check_order(values, source)
    except ConfigError as error:
        raise ConfigError(f'{error}; give its config file') from error
    for held in (values, *stages.values()):
        for key in (*_TOP, *(name for name in held if name.endswith('_dataloader'))):
            value = held.get(key)
            if not isinstance(value, Mapping | None):
                raise ConfigError(f'{source} has {key}={value!r}, not a dict; give its config file')
            if value and not isinstance(value.get('dataset'), Mapping | None):
                raise ConfigError(
                    f'{source} has {key}.dataset={value["dataset"]!r}, not a dict; give its config file'
                )


def import_own(modules: str | Sequence[str]) -> None:
    """Import modules that the *user* names, so that the parts they register can be built from carried
    configs.

    Args:
        modules: names as in an import statement; the name of one, or several.

    Raises:
        ConfigError: if one cannot be found.
    """
    for name in [modules] if isinstance(modules, str) else modules:
        try:
            import_modules_from_strings([name])
        except ImportError as error:
            raise ConfigError(
                f'custom_imports: {name!r} cannot be imported ({error}); is it installed, or its folder on '
                'PYTHONPATH?'
            ) from error


# -------------------------------------------------------------------------------------------------- the names


def check_carried(values: Any, source: str) -> None:
    """Refuse any part, at any depth, that is not a plain name registered for its place.

    Models, datasets and transforms must be registered under gfvideo; what training alone builds may be
    mmengine's. A registered class may have a static method ``refused(settings: dict) -> str`` that says what
    of a carried dict it will not follow ('' for nothing), as parts do that could be told to fetch files.

    Args:
        values: plain values, as :func:`parse_config` gives them.
        source: where they come from, for messages.

    Raises:
        ConfigError: naming the key's path, its value and the remedy.
    """
    for path, node, places in _dicts(values, (), ()):
        for key in ('_scope_', 'custom_imports'):
            # at the top it is what the training run imported
            if key in node and (path or key != 'custom_imports'):
                raise ConfigError(f'{source} has {_told((*path, key))}={node[key]!r}: {_REMEDY}')
        if 'type' in node:
            _check_type(node, (*path, 'type'), places, source, values)


def _dicts(
    value: Any, path: tuple, places: tuple[str, ...]
) -> Iterator[tuple[tuple, Mapping, tuple[str, ...]]]:
    """(path, dict, the known keys above it) of every dict in nested plain values."""
    if isinstance(value, Mapping):
        yield path, value, places
        # inside a part, and among hooks that are named as their owner likes, no key of the engine's means
        # anything
        inside = bool(places) and (places[-1] in _BUILT or places[-1] == 'default_hooks')
        for key, item in value.items():
            named = path == ('stages',)  # as their owner likes
            tells = not named and (key in _BUILT or key == 'init_cfg' or key in _ENGINE and not inside)
            yield from _dicts(item, (*path, key), (*places, key) if tells else places)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, item in enumerate(value):
            yield from _dicts(item, (*path, number), places)


def _check_type(node: Mapping, path: tuple, places: tuple[str, ...], source: str, values: Any) -> None:
    name, told = node['type'], f'{source} names {_told(path)}={node["type"]!r}'
    if not isinstance(name, str):
        raise ConfigError(f'{told}, which is no name of a part: {_REMEDY}')
    if not name.isidentifier():
        raise ConfigError(f'{told}, which is more than the plain name of a registered part: {_REMEDY}')
    known = _names(places[-1] if places else None)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.8)
        imports = values.get('custom_imports') if isinstance(values, Mapping) else None
        raise ConfigError(
            f'{told}, which is not registered'
            + (f' (near: {near[0]!r})' if near else '')
            + (f' (its training run imported {imports!r})' if imports else '')
            + f': {_REMEDY}'
        )
    part = known[name]
    reason = part.refused(dict(node)) if hasattr(part, 'refused') else ''
    if reason:
        raise ConfigError(
            f'{source}: {_told(path[:-1])} {reason}; give the config file if you trust where it comes from'
        )


def _names(place: str | None) -> dict[str, Any]:
    """The parts that may stand at a place, by name; where no key tells the place, those of all places."""
    if place is None:
        return {name: part for key in (*_BUILT, *_ENGINE) for name, part in _names(key).items()}
    if place in _BUILT:
        found = _registered(_BUILT[place])
        if _BUILT[place] is own.DATASETS:
            found |= {
                name: part for name, part in _registered(own.DATASETS.parent).items() if name in _WRAPPERS
            }
        return found
    return {
        name: part
        for registry in _ENGINE[place]
        for one in (registry.parent, registry)
        if one is not None
        for name, part in _registered(one).items()
    }


def _registered(registry: Registry) -> dict[str, Any]:
    registry.import_from_location()
    return dict(registry.module_dict)


def _told(path: Iterable[Any]) -> str:
    return '.'.join(map(str, path)) or 'it'


# --------------------------------------------------------------------------------------------------- the text


def parse_config(text: str) -> Config:
    """Read the text of a finished config (``Config.pretty_text``, as checkpoints carry it) without running
    it.

    A config file is a program. Text from a checkpoint may come from anyone, so only assignments of plain
    values pass: numbers, text, True, False, None, inf, nan, lists, tuples, sets, dicts and ``dict(...)``.

    Raises:
        ValueError: if the text holds anything else.
    """
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'line {getattr(error, "lineno", None) or 1} is not Python') from error
    values = {}
    for line in lines:
        if not (
            isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)
        ):
            raise ValueError(f'line {line.lineno} is more than "name = value"')
        try:
            values[line.targets[0].id] = _plain_value(line.value)
        except (TypeError, RecursionError) as error:  # a list as a key of a dict, say
            raise ValueError(f'line {line.lineno} holds no plain value ({error})') from error
    try:
        return Config(values)
    # names that Config keeps for itself
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f'it is no config ({error})') from error


def _plain_value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.expr() as operand) if isinstance(
            number := _plain_value(operand), (int, float)
        ):
            return -number
        case ast.Name(id='inf' | 'nan' as name):
            return float(name)
        case ast.List(elts) | ast.Tuple(elts) | ast.Set(elts):
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(_plain_value(item) for item in elts)
        case ast.Dict(keys, items) if None not in keys:
            pairs = zip(keys, items, strict=True)
            return {_plain_value(key): _plain_value(item) for key, item in pairs if key is not None}
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=keywords) if all(
            keyword.arg for keyword in keywords
        ):
            first = dict(_plain_value(args[0])) if args else {}
            return first | {keyword.arg: _plain_value(keyword.value) for keyword in keywords}
    raise ValueError(f'line {node.lineno} holds {ast.unparse(node)[:60]!r}, which is no plain value')
