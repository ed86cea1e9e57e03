"""Libraries that only the export needs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ['needed']


def needed(name: str) -> ModuleType:
    """Import a library of the extra ``onnx``.

    Raises:
        ImportError: with the command that installs it, if it is not there.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f'{name} cannot be imported ({error}); ONNX graphs need it: pip install "gfvideo[onnx]"'
        ) from error
