"""Reading, sampling and preparing clips.

The modules load when they are asked for: the workers of data preparation read videos without the weight of
torch.
"""

from importlib import import_module
from types import ModuleType

__all__ = ['dataset', 'manifest', 'preprocessor', 'readers', 'sampling', 'streaming', 'transforms']


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return import_module(f'{__name__}.{name}')
