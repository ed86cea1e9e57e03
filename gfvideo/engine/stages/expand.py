"""One config, several stages: each a set of overrides, trained in its own folder, from the checkpoint of the
one before.

GFNet's training (Huang et al., TPAMI 2023, Sec. 3.4) is such a chain: random patches, then the policy, then
the encoders again.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config

from ..config.filled import fill
from ..config.known import KNOWN_KEYS, ConfigError, explain_unknown
from ..config.staged import stages_by_name

__all__ = ['START_FROM', 'Stage', 'expand_stages', 'like', 'number_of', 'select_stage']

START_FROM = ('last', 'best', 'load_from')


class Stage(NamedTuple):
    """A stage's name ('' for a config without stages) and its whole config."""

    name: str
    cfg: Config


def expand_stages(cfg: Config, options: Mapping[str, Any] | None = None) -> list[Stage]:
    """The config of every stage: the base with the stage's overrides merged in.

    Dicts are merged deeply, lists replaced whole, and a dict with ``_delete_=True`` replaces instead of
    merging. Each stage works in a folder of its name under ``work_dir``. A stage starts from the last
    checkpoint of the one before, with ``start_from='best'`` from its best, and with an own ``load_from`` from
    that; the base's ``load_from`` is the first stage's.

    Args:
        cfg: a config, with ``stages = dict(NAME=dict(<overrides>), ...)`` or without; a list of dicts that
            hold their ``name`` means the same.
        options: ``{'model.num_classes': 3}`` as on the command line: set in every stage, over the stage's own
            value. ``stages.1.train_cfg.max_epochs`` or ``stages.policy.train_cfg.max_epochs`` sets one
            stage's, over all else; ``{'stages.policy': None}`` leaves a stage out.

    Returns:
        (name, config) of every stage in order; one with the name '' if the config has no stages.

    Raises:
        ConfigError: if an option or a stage's key is unknown, or the stages' names are not usable.
    """
    given = stages_by_name(cfg.get('stages'))
    common, special = _split_options(cfg, list(given), options or {})
    given = {name: overrides for name, overrides in given.items() if special.get(name, {}) is not None}
    base = {key: value for key, value in cfg.items() if key in KNOWN_KEYS and key != 'stages'}
    base['work_dir'] = common.pop('work_dir', base.get('work_dir'))
    if special and not given:
        raise ConfigError('the options leave no stage; leave out fewer')
    if not given:
        return [Stage('', _finish(base, cfg, [common]))]
    stages: list[Stage] = []
    for name, overrides in given.items():
        own = special.get(name) or {}
        _check_overrides(name, overrides)
        merged = _merge(base, overrides)
        starts_elsewhere = not stages or 'load_from' in overrides or 'load_from' in own
        merged.update(
            stage=name,
            start_from=overrides.get('start_from') or ('load_from' if starts_elsewhere else 'last'),
        )
        if base['work_dir']:
            merged['work_dir'] = os.path.join(base['work_dir'], name)
        stages.append(Stage(name, _finish(merged, cfg, [common, own])))
        if stages[-1].cfg.start_from not in START_FROM:
            raise ConfigError(
                f'stage {name!r}: start_from={stages[-1].cfg.start_from!r} is unknown; choose of'
                f' {", ".join(START_FROM)}'
            )
    return stages


def _split_options(
    cfg: Config, names: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict, dict[str, dict | None]]:
    """Options of all stages, and those of single stages by name; None of a stage that is left out."""
    common: dict[str, Any] = {}
    special: dict[str, dict[str, Any] | None] = {}
    for key, value in options.items():
        parts = key.split('.')
        where = parts
        if parts[0] == 'stages':
            known = len(parts) > 1 and (
                parts[1] in names or parts[1].isdigit() and int(parts[1]) < len(names)
            )
            if not known or len(parts) < 3 and value is not None:
                raise ConfigError(
                    f'option {key!r}: '
                    + (
                        f'write stages.STAGE.KEY, with STAGE of {names} or its number from 0, or'
                        ' stages.STAGE=None to leave it out'
                        if names
                        else 'the config has no stages'
                    )
                )
            name, where = parts[1] if parts[1] in names else names[int(parts[1])], parts[2:]
            if not where:
                special[name] = None
                continue
            own = special.setdefault(name, {})
            if own is not None:  # what is left out takes no options
                own['.'.join(where)] = value
        else:
            common[key] = value
        if where[0] not in KNOWN_KEYS - {'stages', 'stage'}:
            helper = (
                ': it is a helper of the config file and was read already; set what it stands for'
                if where[0] in cfg
                else ''
            )
            raise ConfigError(explain_unknown(where[0], f'option {key!r}') + helper)
    return common, special


def _check_overrides(name: str, overrides: Mapping) -> None:
    allowed = KNOWN_KEYS - {'stages', 'stage', 'work_dir'}
    for key in overrides:
        if key not in allowed:
            raise ConfigError(explain_unknown(key, f'stage {name!r}', allowed))


def _merge(base: Any, overrides: Mapping) -> dict:
    merged = dict(base) if isinstance(base, Mapping) and not overrides.get('_delete_') else {}
    for key, value in overrides.items():
        if key != '_delete_':
            merged[key] = (
                _merge(merged.get(key), value) if isinstance(value, Mapping) else copy.deepcopy(value)
            )
    return merged


def _finish(merged: dict, cfg: Config, options: Sequence[Mapping[str, Any]]) -> Config:
    # a stage that names its loop overrides a base that says by_epoch=True
    if 'type' in (merged.get('train_cfg') or {}):
        merged['train_cfg'] = {key: value for key, value in merged['train_cfg'].items() if key != 'by_epoch'}
    stage = like(cfg, merged)
    for some in options:
        stage.merge_from_dict(dict(some))
    fill(stage, frozenset(key.partition('.')[0] for some in options for key in some))
    return stage


def like(cfg: Config, content: Mapping) -> Config:
    """A config of ``content`` that was read where ``cfg`` was."""
    return Config(copy.deepcopy(dict(content)), cfg_text=cfg.text or ' ', filename=cfg.filename)


def select_stage(stages: Sequence[Stage], name: str | None) -> Stage:
    """The stage called ``name``, the last one for None.

    Raises:
        ConfigError: if there is none.
    """
    return stages[-1 if name is None else number_of(stages, name)]


def number_of(stages: Sequence[Stage], name: str) -> int:
    """The place of the stage called ``name``.

    Raises:
        ConfigError: if there is none.
    """
    names = [stage.name for stage in stages]
    if name not in names:
        raise ConfigError(
            f'no stage {name!r}; the config has'
            f' {", ".join(map(repr, names)) if names != [""] else "no stages"}'
        )
    return names.index(name)
