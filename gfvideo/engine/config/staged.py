"""``stages`` of a config: a dict of overrides by name, in order; a list of dicts that hold their ``name``
means the same.

mmengine merges dicts and replaces lists, so of a dict a file that inherits it changes one value of one stage.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .known import ConfigError

__all__ = ['check_new_stages', 'check_order', 'deletions', 'keep_deletions', 'stages_by_name']

_DELETE = '_delete_'
_BY_NAME = 'stages = dict(random=dict(model=dict(...)), policy=dict(...))'


def stages_by_name(stages: Any, place: str = 'the config') -> dict[str, Mapping[str, Any]]:
    """Overrides of every stage by its name, in order, of either form; a stage that is None is left out.

    Raises:
        ConfigError: if it is of neither form, or a name is missing, used twice or no name of a folder.
    """
    if not stages:
        return {}
    if isinstance(stages, Mapping):
        named = [
            (name, _unmarked(value))
            for name, value in stages.items()
            if name != _DELETE and value is not None
        ]
    elif isinstance(stages, Sequence) and not isinstance(stages, str):
        named = [_named(value, number, place) for number, value in enumerate(stages)]
    else:
        raise ConfigError(f'{place} has stages={stages!r}; write them as a dict by name, {_BY_NAME}')
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in named:
        if not isinstance(value, Mapping):
            raise ConfigError(f'{place} has stages.{name}={value!r}, not a dict of settings')
        if not re.fullmatch(r'\w[\w.-]*', str(name)):
            raise ConfigError(
                f"{place}: stages has the name {name!r}; give every stage one that can be a folder's"
            )
        if name in found:
            raise ConfigError(f'{place}: two stages are named {name!r}; name them differently')
        found[str(name)] = value
    return found


def _unmarked(stage: Any) -> Any:
    """A stage without the mark that it replaces one of that name, where there was none."""
    return (
        {key: value for key, value in stage.items() if key != _DELETE}
        if isinstance(stage, Mapping)
        else stage
    )


def _named(stage: Any, number: int, place: str) -> tuple[str, Any]:
    """(name, overrides) of a stage in a list."""
    if not isinstance(stage, Mapping):
        raise ConfigError(f'{place} has stages.{number}={stage!r}, not a dict of settings')
    name = stage.get('name')
    if not isinstance(name, str):
        raise ConfigError(
            f'stages[{number}].name is {name!r}; give every stage a name, or write the stages as a dict by'
            f' name, {_BY_NAME}'
        )
    return name, {key: value for key, value in stage.items() if key != 'name'}


def check_order(values: Mapping[str, Any], place: str) -> None:
    """Refuse several stages in a dict whose order is lost: mmengine's ``Config.dump`` and ``pretty_text``
    sort the keys of dicts, which a hand that writes ``type`` first does not.

    Args:
        values: of a whole config, in the order in which they were read.
        place: where they come from, for messages.

    Raises:
        ConfigError: naming the stages.
    """
    names = list(stages_by_name(values.get('stages'), place))
    dicts = list(_dicts_in(values))
    if (
        isinstance(values['stages'] if names else None, Mapping)
        and len(names) > 1
        and all(keys == sorted(keys) for keys in dicts)
        and any('type' in keys[1:] for keys in dicts)
    ):
        raise ConfigError(
            f'{place} has its keys in order of the alphabet, as Config.dump writes them, so in which order'
            f' its stages ({", ".join(names)}) train is lost; write them as a list,'
            ' stages = [dict(name=...), ...]'
        )


def _dicts_in(value: Any) -> Iterator[list[str]]:
    """Keys of every dict in nested values."""
    if isinstance(value, Mapping):
        yield [str(key) for key in value]
    for item in (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    ):
        yield from _dicts_in(item)


# ------------------------------------------------------------------------------------ files that inherit some


def check_new_stages(cfg: Config, file: Path, bases: Sequence[Path]) -> None:
    """Refuse a stage that a file adds to those it inherits under a name that all but reads as one of theirs:
    what was to change that one would train as another.

    Raises:
        ConfigError: naming both.
    """
    if not isinstance(cfg.get('stages'), Mapping):
        return
    names = list(stages_by_name(cfg.stages, str(file)))
    inherited = {
        name
        for base in bases
        if isinstance(stages := Config.fromfile(base).get('stages'), Mapping)
        for name in stages
        if name in names
    }
    for name in names:
        near = difflib.get_close_matches(name, inherited, 1, 0.75)
        if name not in inherited and near and re.sub(r'[\d._-]+$', '', name) not in inherited:
            raise ConfigError(
                f'{file}: stage {name!r} is none of the stages it inherits ({", ".join(sorted(inherited))});'
                f' did you mean {near[0]!r}? One more stage needs a name that is less like another'
            )


def keep_deletions(cfg: Config, deleted: set[tuple[str, ...]]) -> None:
    """Put ``_delete_=True`` back into stages, in place.

    In a file that inherits stages it means two things: what the base says there of the stage goes, and what
    all stages share goes too. mmengine does the first and drops the mark that the second needs.

    Args:
        cfg: as mmengine has read it.
        deleted: of :func:`deletions`.
    """
    for path in deleted:
        node = cfg.get('stages')
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        if isinstance(node, dict):
            node[_DELETE] = True


def deletions(tree: ast.Module, of_bases: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Where in ``stages`` a config file says ``_delete_=True``, as paths of keys such as ('policy',
    'optim_wrapper', 'optimizer'); a whole stage that is replaced is not among them.

    Args:
        tree: of the file.
        of_bases: those of the files it inherits.
    """
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    own = set(_deleted(values.get('stages'), values, ()))
    kept = {path for path in of_bases if not any(path[: len(one)] == one for one in own)}
    return kept | {path for path in own if len(path) > 1}


def _deleted(node: ast.expr | None, values: Mapping[str, ast.expr], path: tuple[str, ...]) -> Iterator[tuple]:
    match node:
        case ast.Name(id) if id in values and values[id] is not node:
            rest = {name: value for name, value in values.items() if name != id}
            yield from _deleted(values[id], rest, path)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _deleted(left, values, path)
            yield from _deleted(right, values, path)
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=words):
            for one in args:
                yield from _deleted(one, values, path)
            for word in words:
                yield from _entry(word.arg, word.value, values, path)
        case ast.Dict(keys=keys, values=items):
            for key, item in zip(keys, items, strict=True):
                name = None if key is None else getattr(key, 'value', '')
                yield from _entry(name, item, values, path)


def _entry(key: str | None, item: ast.expr, values: Mapping[str, ast.expr], path: tuple) -> Iterator[tuple]:
    """Of one key of a dict; None for ``**item``."""
    if key == _DELETE:
        if isinstance(item, ast.Constant) and item.value:
            yield path
        return
    yield from _deleted(item, values, path if key is None else (*path, key))
