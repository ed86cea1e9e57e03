"""Where configs, tools and data preparation lie: beside the package in a checkout, else inside it."""

from __future__ import annotations

import difflib
import fnmatch
from pathlib import Path

__all__ = ['home', 'list_models', 'model_config']

PACKAGE = Path(__file__).resolve().parent
CARRIED = PACKAGE / '.mim'  # where OpenMMLab's mim looks, too


def home() -> Path:
    """The folder that holds ``configs``, ``tools`` and ``data_prep``.

    Raises:
        FileNotFoundError: if the package came without them.
    """
    for folder in (PACKAGE.parent, CARRIED):
        if (folder / 'configs' / '_base_').is_dir() and (folder / 'tools' / 'train.py').is_file():
            return folder
    raise FileNotFoundError(
        f'neither {PACKAGE.parent} nor {CARRIED} holds configs and tools; install gfvideo from its wheel, or'
        ' work in a checkout'
    )


def _configs() -> dict[str, Path]:
    folder = home() / 'configs'
    return {
        path.stem: path
        for path in sorted(folder.rglob('*.py'))
        if '_base_' not in path.relative_to(folder).parts
    }


def list_models(pattern: str = '*') -> list[str]:
    """Names of the configs that come with the package, as :func:`create_model` and the tools take them.

    Args:
        pattern: with ``*`` and ``?``, e.g. ``'*ssv2*'``; a word alone is looked for anywhere.
    """
    wanted = pattern if set(pattern) & set('*?[') else f'*{pattern}*'
    return fnmatch.filter(_configs(), wanted)


def model_config(name: str) -> Path:
    """The config file of a name.

    Raises:
        FileNotFoundError: if there is none; the message names those that are near.
    """
    known = _configs()
    stem = name.removesuffix('.py')
    if stem not in known:
        near = difflib.get_close_matches(stem, known, n=3, cutoff=0.5)
        hint = f'; near to it are {", ".join(near)}' if near else ''
        raise FileNotFoundError(
            f'no config at {name}, and none that comes with gfvideo has that name{hint}; see gfvideo models'
        )
    return known[stem]
