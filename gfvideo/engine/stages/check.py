"""What stops a run of several stages, told before the first one trains."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...weights import UnreachableFile, fetch, is_address
from ..config.check import check_stage
from ..config.gpu import fill_gpu
from ..config.known import ConfigError
from ..config.workers import fill_workers
from .essentials import OWN_HOOKS, with_essentials
from .expand import Stage

__all__ = ['check_pretrained', 'check_stages', 'pretrained_sources']


def check_stages(stages: Sequence[Stage]) -> None:
    """Build all that every stage needs, so that a fault of the last one is told before the first one trains.

    Raises:
        ConfigError: naming the stage, the key and the fault.
    """
    datasets: dict[str, Any] = {}
    for stage, before in zip(stages, [None, *stages]):
        if (
            before is not None
            and stage.cfg.start_from == 'best'
            and not _checkpoint_hook(before.cfg).get('save_best')
        ):
            raise ConfigError(
                f"stage {stage.name!r} has start_from='best', but stage {before.name!r} keeps no best"
                " checkpoint; set default_hooks.checkpoint.save_best, e.g. to 'top1'"
            )
        cfg = with_essentials(stage.cfg)
        fill_workers(cfg)
        fill_gpu(cfg)
        check_stage(stage.name, cfg, datasets, hooks=OWN_HOOKS)


def check_pretrained(stages: Sequence[Stage]) -> None:
    """Have the pretrained weights of every stage at hand before anything is built; those at an address are
    fetched now.

    Raises:
        ConfigError: naming the key, the file or address, and the ways round.
    """
    for stage in stages:
        for key, source in pretrained_sources(stage.cfg.get('model') or {}, 'model'):
            try:
                if is_address(source):
                    fetch(source)
                elif not Path(source).expanduser().is_file():
                    raise FileNotFoundError(f'there is no file {source} (looked from {Path.cwd()})')
            except (UnreachableFile, FileNotFoundError) as error:
                variable = re.search(r'\{\{\s*\$(\w+):' + re.escape(source), stage.cfg.text or '')
                local = (
                    f'name a file of them in the environment variable {variable[1]}'
                    if variable
                    else f'set {key}.checkpoint to a file of them'
                )
                raise ConfigError(
                    f'pretrained weights, {key}: {error}; {local}, or start from random ones with '
                    f'--cfg-options {key}=None'
                ) from error


def pretrained_sources(values: Any, path: str) -> Iterator[tuple[str, str]]:
    """(key, file or address) of every ``init_cfg=dict(type='Pretrained', checkpoint=...)`` in nested
    settings."""
    if isinstance(values, Mapping):
        found = values.get('init_cfg')
        if (
            isinstance(found, Mapping)
            and found.get('type') == 'Pretrained'
            and isinstance(found.get('checkpoint'), str)
        ):
            yield f'{path}.init_cfg', found['checkpoint']
        for key, value in values.items():
            yield from pretrained_sources(value, f'{path}.{key}')


def _checkpoint_hook(cfg: Config) -> Mapping:
    return (cfg.get('default_hooks') or {}).get('checkpoint') or {}
