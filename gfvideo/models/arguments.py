"""Arguments of the models: checked, and filled in where a part needs to know of another."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..registry import MODELS

__all__ = ['as_size', 'asks_for', 'build_part', 'one_of']


def as_size(size: int | Sequence[int], name: str) -> tuple[int, int]:
    """(height, width) from one number or two.

    Raises:
        ValueError: if one is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f'{name}={size!r} must be positive: one number, or (height, width)')
    return int(height), int(width)


def one_of(value: str, name: str, choices: Mapping[str, str] | Sequence[str]) -> str:
    """``value``, if it is one of the choices; a mapping says in a few words what each does.

    Raises:
        ValueError: naming the argument, its value and the choices.
    """
    if value not in choices:
        told = [
            f'{choice!r} ({choices[choice]})' if isinstance(choices, Mapping) else repr(choice)
            for choice in choices
        ]
        raise ValueError(f'{name}={value!r} is unknown; choose {", ".join(told[:-1])} or {told[-1]}')
    return value


def build_part(settings: Mapping[str, Any], **known: Any) -> Any:
    """Build a part of a recognizer from its config, with what the recognizer knows and the part asks for.

    A part asks by the names of its constructor's arguments, so a class of your own takes as much of
    ``known`` as it needs; what the config says itself goes first.

    Args:
        settings: config of the part, ``dict(type=...)``.
        known: what may be filled in, e.g. ``glance_channels``, ``num_classes``, ``steps``.
    """
    settings = dict(settings)
    made = _made(settings)
    if made is None:  # the registry tells which names there are
        return MODELS.build(settings)
    parameters = inspect.signature(made).parameters.values()
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
    asked = {one.name for one in parameters}
    filled = {name: value for name, value in known.items() if takes_all or name in asked}
    return MODELS.build(filled | settings)


def asks_for(settings: Mapping[str, Any], name: str) -> bool:
    """Whether the constructor of a part names an argument ``name``."""
    made = _made(settings)
    return made is not None and name in inspect.signature(made).parameters


def _made(settings: Mapping[str, Any]) -> Any:
    """The class of a part; None of an unknown name."""
    made = settings['type']
    return MODELS.get(made) if isinstance(made, str) else made
