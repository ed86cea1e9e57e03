"""Glance-and-Focus networks for video recognition, on Temporal Shift Modules."""

from __future__ import annotations

from typing import Any

__version__ = '0.1.0'
__all__ = ['__version__', 'create_model', 'from_pretrained', 'list_models']

_HOMES = {'create_model': 'apis', 'from_pretrained': 'hub', 'list_models': 'home'}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is: ``import gfvideo`` alone is quick."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module

    return getattr(import_module(f'.{_HOMES[name]}', __name__), name)
