"""A folder that holds a recognizer the way model hubs hold them: ``config.json`` and ``model.safetensors``.

What a checkpoint of a run carries in one pickle is told here in JSON and in a file of tensors alone, which
other programs read as well. :func:`~gfvideo.engine.load_checkpoint` gives the same of both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import __version__
from ..files import write_atomically
from .config import ConfigError
from .identity import weights_hash

__all__ = [
    'CONFIG',
    'WEIGHTS',
    'is_hub_folder',
    'json_value',
    'plain_value',
    'read_hub_meta',
    'write_hub_folder',
]

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
LIBRARY, FORMAT = 'gfvideo', 1
OF_THE_RUN = ('work_dir', 'load_from', 'resume', 'custom_imports')
"""Keys of a config that tell of the run and the machine it was on, and are not written."""
_ITEMS, _FLOAT = '__items__', '__float__'


def is_hub_folder(folder: str | Path) -> bool:
    """Whether a folder has both files."""
    return all((Path(folder) / name).is_file() for name in (CONFIG, WEIGHTS))


def write_hub_folder(
    folder: str | Path, weights: Mapping[str, Tensor], cfg: Mapping[str, Any], meta: Mapping[str, Any]
) -> None:
    """Write weights and what is needed to use them; ``config.json`` is written last.

    Args:
        folder: made if it is not there.
        weights: the state dict; tensors may share memory, the file holds each whole.
        cfg: the config, plain values alone; tuples become lists, and keys that tell of the run
            (``work_dir``, ``load_from``, ``resume``, ``custom_imports``) are left out.
        meta: more to keep, plain values alone: ``dataset_meta``, ``stage``, ``datasets``, ...

    Raises:
        ImportError: if the package safetensors is not installed.
        ConfigError: if ``cfg`` or ``meta`` holds a value that JSON has no form for; the message names it.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ImportError(
            f'{Path(folder) / WEIGHTS} cannot be written: the package safetensors is not installed: '
            'pip install "gfvideo[hub]"'
        ) from error
    kept = {key: value for key, value in cfg.items() if key not in OF_THE_RUN}
    model = kept.get('model')
    content = dict(
        library_name=LIBRARY,
        format=FORMAT,
        gfvideo_version=__version__,
        architectures=[model['type']] if isinstance(model, Mapping) and 'type' in model else [],
        weights_hash=weights_hash(weights),
        meta=json_value(meta, 'meta'),
        config=json_value(kept, 'config'),
    )
    alone = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    write_atomically(Path(folder) / WEIGHTS, save(alone, metadata=dict(format='pt')))
    write_atomically(Path(folder) / CONFIG, (json.dumps(content, indent=1) + '\n').encode())


def read_hub_meta(path: str | Path) -> dict[str, Any] | None:
    """What ``config.json`` tells, in the form of a checkpoint's ``meta``: ``cfg`` is the text of the config.

    Args:
        path: of ``config.json``.

    Returns:
        None if there is no such file, or it is one of another library.

    Raises:
        ConfigError: if it is no JSON, of another format, or lacks a part.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f'{path} is no JSON ({str(error)[:200]}); save or download the folder again'
        ) from error
    if not isinstance(content, dict) or content.get('library_name') != LIBRARY:
        return None
    if content.get('format') != FORMAT:
        raise ConfigError(
            f'{path} has format {content.get("format")!r}, this version of gfvideo ({__version__}) reads'
            f' {FORMAT}; it was written by version {content.get("gfvideo_version")!r}'
        )
    try:
        config, meta = plain_value(content.get('config')), plain_value(content.get('meta'))
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f'{path} holds no config ({error}); save or download the folder again') from error
    for name, value in (('config', config), ('meta', meta)):
        if not isinstance(value, dict):
            raise ConfigError(
                f'{path} has {name}={value!r:.80}, not an object; save or download the folder again'
            )
    text = '\n'.join(f'{key} = {value!r}' for key, value in config.items())
    told = dict(cfg=text, gfvideo_version=content.get('gfvideo_version'))
    return meta | told | {key: content[key] for key in ('weights_hash',) if content.get(key) is not None}


def json_value(value: Any, place: str) -> Any:
    """``value`` as JSON holds it, for :func:`plain_value` to read.

    Tuples become lists. A dict whose keys are not all text becomes ``{"__items__": [[key, value], ...]}``,
    and a number that is not finite ``{"__float__": "inf"}``.

    Raises:
        ConfigError: naming the place of a value that has no such form.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        return [json_value(item, f'{place}[{number}]') for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key not in (_ITEMS, _FLOAT) for key in value):
            return {key: json_value(item, f'{place}.{key}') for key, item in value.items()}
        pairs = [
            [json_value(key, f'a key of {place}'), json_value(item, f'{place}[{key!r}]')]
            for key, item in value.items()
        ]
        return {_ITEMS: pairs}
    raise ConfigError(
        f'{place}={value!r:.80} cannot be saved: config.json holds text, numbers, True, False, None, lists'
        ' and dicts'
    )


def plain_value(value: Any) -> Any:
    """What :func:`json_value` was given, but for tuples.

    Raises:
        ValueError, TypeError: if the form is none of :func:`json_value`.
    """
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_FLOAT}:
        return float(value[_FLOAT])
    if set(value) == {_ITEMS}:
        return {plain_value(key): plain_value(item) for key, item in value[_ITEMS]}
    return {key: plain_value(item) for key, item in value.items()}
