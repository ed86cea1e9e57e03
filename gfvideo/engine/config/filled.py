"""What the parts of a config leave open and its top says once: the number of classes, of frames, the flip.

It is filled in after files are merged and options set, so one line of a file that inherits, or one option,
changes it everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...data.manifest import read_manifest
from ...data.remote import is_address
from .known import ConfigError

__all__ = ['fill']

_FRAMES = ('frames', 'num_frames')  # both name T of a clip


def fill(cfg: Config, asked: frozenset[str] = frozenset()) -> None:
    """Fill in a stage's config, in place.

    ``model.num_classes=None`` stands for the number of classes of the prepared dataset (it stays None where
    that is not there); ``frames=None`` of ``SampleFrames`` for the config's ``num_frames``; ``prob=None`` of
    ``Flip`` for the arguments that ``flip`` holds, or no flip where that is None. What a part says itself
    stays.

    Args:
        cfg: files merged, options set; its ``num_frames`` and ``flip`` are taken out.
        asked: keys of the options, which must not be without effect.

    Raises:
        ConfigError: if a part asks for what the config does not say, or an option changes nothing.
    """
    _count_classes(cfg)
    given = {key: cfg.pop(key) for key in ('num_frames', 'flip') if key in cfg}
    used = set()
    for place, pipeline in _pipelines(cfg):
        for number, step in reversed(list(enumerate(pipeline))):
            key = _asks_for(step)
            if key is None:
                continue
            if key not in given:
                setting = dict(num_frames='frames', flip='flip')[key]
                raise ConfigError(
                    f'{place}.{number} leaves its {setting} to the config, which has no {key}; set it'
                )
            used.add(key)
            if key == 'num_frames':
                step.update({name: given[key] for name in _FRAMES if name in step})
            elif given[key] is None:
                del pipeline[number]
            else:
                _flip_as(step, given[key])
    for key in asked & {'num_frames', 'flip'} - used:
        raise ConfigError(
            f'option {key!r} changes nothing: no pipeline of the config leaves it open'
            f' ({"frames=None of SampleFrames" if key == "num_frames" else "prob=None of Flip"}); set the'
            " pipelines' own"
        )


def _asks_for(step: Any) -> str | None:
    """The key at the top of the config that a transform leaves its setting to."""
    if isinstance(step, Mapping) and isinstance(step.get('type'), str):
        kind = step['type'].rpartition('.')[2]
        if kind == 'SampleFrames' and any(step.get(name, 0) is None for name in _FRAMES):
            return 'num_frames'
        if kind == 'Flip' and step.get('prob', 0) is None:
            return 'flip'
    return None


def _flip_as(step: dict, flip: Any) -> None:
    if not isinstance(flip, Mapping):
        raise ConfigError(
            f'flip is {flip!r}; give the arguments of Flip, dict(label_map=...), or None for no flip'
        )
    del step['prob']
    step.update(flip)


def _pipelines(cfg: Config) -> Iterator[tuple[str, list]]:
    """(path, transforms) of every pipeline of every dataset, those inside other datasets too."""
    for key, loader in cfg.items():
        if key.endswith('_dataloader') and isinstance(loader, Mapping):
            yield from _pipelines_in(loader.get('dataset'), f'{key}.dataset')


def _pipelines_in(value: Any, path: str) -> Iterator[tuple[str, list]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == 'pipeline' and isinstance(item, list):
                yield f'{path}.{key}', item
            else:
                yield from _pipelines_in(item, f'{path}.{key}')
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _pipelines_in(item, f'{path}.{number}')


def _count_classes(cfg: Config) -> None:
    model = cfg.get('model') or {}
    if model.get('num_classes', 0) is not None:
        return
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset') or {}
        if dataset.get('form', 'manifest') == 'manifest' and _is_prepared(dataset.get('root', '')):
            model['num_classes'] = len(read_manifest(dataset['root']).classes)
            return


def _is_prepared(root: str | Path) -> bool:
    return is_address(root) or (Path(root) / 'dataset.json').is_file()
