"""One config, several stages: each a set of overrides, trained in its own folder, from the checkpoint of the
one before.

GFNet's training (Huang et al., TPAMI 2023, Sec. 3.4) is such a chain: random patches, then the policy, then
the encoders again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..data.manifest import read_manifest
from ..files import write_atomically
from ..weights import UnreachableFile, fetch, is_address
from .checkpoint import CheckpointError, latest_checkpoint, load_checkpoint
from .config_check import KNOWN_KEYS, ConfigError, check_keys, check_stage, explain_unknown

__all__ = [
    'Stage',
    'StageRecord',
    'check_pretrained',
    'check_stages',
    'expand_stages',
    'load_config',
    'run_stages',
    'select_stage',
]

START_FROM = ('last', 'best', 'load_from')
RECORD = 'stage_done.json'
# what decides how a stage's weights come out; where they go, what is logged and what is validated does not
_DECIDING = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'randomness',
    'custom_hooks',
    'start_from',
)
_LOADING = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')
_OWN_HOOKS = dict(
    checkpoint='SafeCheckpointHook',
    sync_buffers='SyncBuffersHook',
    dataset_epoch='DatasetEpochHook',
    epoch_seed='EpochSeedHook',
    finite='FiniteHook',
)


_started: Counter[str] = Counter()  # runs of this process, by name


class Stage(NamedTuple):
    """A stage's name ('' for a config without stages) and its whole config."""

    name: str
    cfg: Config


# ----------------------------------------------------------------------------------------------------- expand


def load_config(file: str | Path) -> Config:
    """Read a config file and refuse top-level keys that nothing reads; see
    :func:`~gfvideo.engine.config_check.check_keys`.

    Raises:
        FileNotFoundError: if there is no such file.
        ConfigError: naming the key and what was probably meant.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f'no config at {file}')
    cfg = Config.fromfile(file)
    check_keys(cfg)
    return cfg


def expand_stages(cfg: Config, options: Mapping[str, Any] | None = None) -> list[Stage]:
    """The config of every stage: the base with the stage's overrides merged in.

    Dicts are merged deeply, lists replaced whole, and a dict with ``_delete_=True`` replaces instead of
    merging. Each stage works in a folder of its name under ``work_dir``. A stage starts from the last
    checkpoint of the one before, with ``start_from='best'`` from its best, and with an own ``load_from`` from
    that; the base's ``load_from`` is the first stage's.

    Args:
        cfg: a config, with ``stages = [dict(name=..., <overrides>), ...]`` or without.
        options: ``{'model.num_classes': 3}`` as on the command line: set in every stage, over the stage's own
            value. ``stages.1.train_cfg.max_epochs`` or ``stages.policy.train_cfg.max_epochs`` sets one
            stage's, over all else.

    Returns:
        (name, config) of every stage in order; one with the name '' if the config has no stages.

    Raises:
        ConfigError: if an option or a stage's key is unknown, or the stages' names are not usable.
    """
    common, special = _split_options(cfg, options or {})
    base = {key: value for key, value in cfg.items() if key in KNOWN_KEYS and key != 'stages'}
    base['work_dir'] = common.pop('work_dir', base.get('work_dir'))
    if not cfg.get('stages'):
        return [Stage('', _finish(base, cfg, [common]))]
    _check_overrides(cfg.stages)
    stages = []
    for number, overrides in enumerate(cfg.stages):
        name, own = overrides['name'], special.get(number, {})
        merged = _merge(base, {key: value for key, value in overrides.items() if key != 'name'})
        starts_elsewhere = number == 0 or 'load_from' in overrides or 'load_from' in own
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


def _split_options(cfg: Config, options: Mapping[str, Any]) -> tuple[dict, dict[int, dict]]:
    """Options of all stages, and those of single stages by number."""
    names = [stage.get('name') for stage in cfg.get('stages') or []]
    common, special = {}, {}
    for key, value in options.items():
        parts = key.split('.')
        where = parts
        if parts[0] == 'stages':
            if len(parts) < 3 or not (parts[1] in names or parts[1].isdigit() and int(parts[1]) < len(names)):
                raise ConfigError(
                    f'option {key!r}: '
                    + (
                        f'write stages.STAGE.KEY, with STAGE of {names} or its number from 0'
                        if names
                        else 'the config has no stages'
                    )
                )
            number, where = names.index(parts[1]) if parts[1] in names else int(parts[1]), parts[2:]
            special.setdefault(number, {})['.'.join(where)] = value
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


def _check_overrides(stages: Sequence[Mapping]) -> None:
    allowed = KNOWN_KEYS - {'stages', 'stage', 'work_dir'} | {'name'}
    names: list[str] = []
    for number, overrides in enumerate(stages):
        name = overrides.get('name')
        if not isinstance(name, str) or not re.fullmatch(r'\w[\w.-]*', name):
            raise ConfigError(
                f"stages[{number}].name is {name!r}; give every stage a name that can be a folder's, e.g."
                " name='random'"
            )
        if name in names:
            raise ConfigError(f'two stages are named {name!r}; name them differently')
        names.append(name)
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
    stage = _config(merged, cfg)
    for some in options:
        stage.merge_from_dict(dict(some))
    _count_classes(stage)
    return stage


def _count_classes(cfg: Config) -> None:
    """``num_classes=None`` stands for the number of classes of the prepared dataset; it stays None where that
    is not there."""
    model = cfg.get('model') or {}
    if model.get('num_classes', 0) is not None:
        return
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset') or {}
        if (
            dataset.get('form', 'manifest') == 'manifest'
            and (Path(dataset.get('root', '')) / 'dataset.json').is_file()
        ):
            model['num_classes'] = len(read_manifest(dataset['root']).classes)
            return


def _config(content: Mapping, like: Config) -> Config:
    return Config(copy.deepcopy(dict(content)), cfg_text=like.text or ' ', filename=like.filename)


def select_stage(stages: Sequence[Stage], name: str | None) -> Stage:
    """The stage called ``name``, the last one for None.

    Raises:
        ConfigError: if there is none.
    """
    return stages[-1 if name is None else _number_of(stages, name)]


def _number_of(stages: Sequence[Stage], name: str) -> int:
    names = [stage.name for stage in stages]
    if name not in names:
        raise ConfigError(
            f'no stage {name!r}; the config has'
            f' {", ".join(map(repr, names)) if names != [""] else "no stages"}'
        )
    return names.index(name)


# ------------------------------------------------------------------------------------------------------ check


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
        check_stage(stage.name, with_essentials(stage.cfg), datasets, hooks=_OWN_HOOKS)


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


def with_essentials(cfg: Config) -> Config:
    """A copy with what a run that can be resumed needs: safe checkpoints, epochs that know their number, a
    loop that can be cut.

    mmengine's own types of these are replaced; any other type stays.
    """
    cfg = _config(cfg.to_dict(), cfg)
    hooks = dict(cfg.get('default_hooks') or {})
    for name, kind in _OWN_HOOKS.items():
        hook = dict(hooks.get(name) or {})
        hooks[name] = hook | dict(type=kind) if hook.get('type') in (None, 'CheckpointHook') else hook
    cfg.default_hooks = hooks
    if cfg.get('default_scope') is None:
        cfg.default_scope = 'gfvideo'
    loop = dict(cfg.get('train_cfg') or {})
    if loop and loop.pop('by_epoch', True) and loop.get('type') in (None, 'EpochBasedTrainLoop'):
        cfg.train_cfg = loop | dict(type='ResumableEpochLoop')
    return cfg


# -------------------------------------------------------------------------------------------------------- run


class StageRecord(NamedTuple):
    """What a finished stage leaves in its folder; files are named relative to it.

    Attributes:
        stage: its name.
        checkpoint: the last checkpoint.
        best: the best one by ``save_best``, None without.
        settings: a hash of each config key that decided how the weights came out.
        seed: of the run.
    """

    stage: str
    checkpoint: str
    best: str | None
    settings: dict[str, str]
    seed: int


def settings_of(cfg: Config) -> dict[str, str]:
    """A short hash of each key of a stage's config that decides how its weights come out."""
    content = {key: value for key, value in cfg.to_dict().items() if key in _DECIDING and value is not None}
    if 'train_dataloader' in content:
        content['train_dataloader'] = {
            key: value for key, value in content['train_dataloader'].items() if key not in _LOADING
        }
    return {
        key: hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:12]
        for key, value in content.items()
    }


def read_record(folder: str | Path) -> StageRecord | None:
    """The record of the stage finished in ``folder``, None if none is."""
    file = Path(folder) / RECORD
    return StageRecord(**json.loads(file.read_text())) if file.is_file() else None


def run_stages(stages: Sequence[Stage], only: str | None = None, resume: str | None = None) -> None:
    """Train the stages in order, each from the checkpoint of the one before.

    Starting a stage forgets what an earlier run left of it and of those after it (their records; the files
    stay until they are overwritten), so nothing old is taken for new.

    Args:
        stages: of :func:`expand_stages`, each config with its ``work_dir``.
        only: train this stage alone, from the finished stage before it, or from its ``load_from`` if that one
            is not finished.
        resume: None to start anew; 'auto' to leave out what is finished and go on from the latest checkpoint
            of the first stage that is not; or a checkpoint to go on from, whose stage is in it.

    Raises:
        ConfigError: if ``only`` is unknown or has nothing to start from, or a finished stage had other
            settings.
        CheckpointError, FileNotFoundError: if a checkpoint is gone or of no use.
    """
    first = 0 if only is None else _number_of(stages, only)
    last = len(stages) - 1 if only is None else first
    checkpoint = None
    if resume == 'auto':
        first, checkpoint = _first_unfinished(stages, first, last)
    elif resume is not None:
        first, checkpoint = _stage_of(stages, resume, only), Path(resume)
        last = max(first, last)
    for number in range(first, last + 1):
        cfg = with_essentials(stages[number].cfg)
        settings = settings_of(cfg)
        if checkpoint is None:
            cfg.resume, cfg.load_from = False, _start_of(stages, number)
            _forget(stages[number:], pointers_of=stages[number:])
        else:
            cfg.resume, cfg.load_from, checkpoint = True, str(checkpoint), None
            _take_seed(cfg)
            _forget(stages[number:], pointers_of=stages[number + 1 :])
        _train(stages[number].name, cfg, settings)


def _log(message: str) -> None:
    MMLogger.get_instance('gfvideo').info(message)


def _first_unfinished(stages: Sequence[Stage], first: int, last: int) -> tuple[int, Path | None]:
    """Number of the first stage of first..last that is not finished (last + 1 if all are), and its latest
    checkpoint."""
    for number in range(first, last + 1):
        name, cfg = stages[number]
        record = read_record(cfg.work_dir)
        if record is None:
            return number, latest_checkpoint(cfg.work_dir)
        now = settings_of(with_essentials(cfg))
        changed = sorted(
            key for key in now.keys() | record.settings.keys() if now.get(key) != record.settings.get(key)
        )
        if changed:
            alone = f' (this stage alone: --stage {name})' if name else ''
            raise ConfigError(
                f'{_titled(name)} was finished in {cfg.work_dir} with another {", ".join(changed)}. Resume'
                f' with the settings it was trained with, or train anew without --resume{alone}'
            )
        _log(f'{_titled(name)} is finished: {Path(cfg.work_dir) / record.checkpoint}')
    return last + 1, None


def _titled(name: str) -> str:
    return f'stage {name!r}' if name else 'the run'


def _stage_of(stages: Sequence[Stage], checkpoint: str, only: str | None) -> int:
    """Number of the stage that saved ``checkpoint``."""
    content = load_checkpoint(checkpoint)
    if 'optimizer' not in content:  # the best one, say, or one of another tool
        raise CheckpointError(
            f'{checkpoint} holds weights but no state of a run; start from it with --cfg-options'
            f' load_from={checkpoint}'
        )
    name = content['meta'].get('stage') or ''
    if only is not None and name != only:
        raise ConfigError(f'--resume {checkpoint}: it was saved in {_titled(name)}, not in stage {only!r}')
    return _number_of(stages, name)


def _start_of(stages: Sequence[Stage], number: int) -> str | None:
    """The checkpoint that stage ``number`` starts from."""
    name, cfg = stages[number]
    given = cfg.get('load_from')
    if number == 0 or cfg.start_from == 'load_from':
        return given
    before = stages[number - 1]
    record = read_record(before.cfg.work_dir)
    if record is None and given is not None:
        _log(
            f'stage {before.name!r} is not finished in {before.cfg.work_dir}: stage {name!r} starts from'
            f' load_from={given}'
        )
        return given
    if record is None:
        raise ConfigError(
            f'stage {name!r} starts from stage {before.name!r}, which is not finished in'
            f' {before.cfg.work_dir}: train that first (--stage {before.name}), or name a checkpoint with'
            ' --cfg-options load_from=PATH'
        )
    if record.settings != settings_of(with_essentials(before.cfg)):
        _log(
            f'stage {before.name!r} was finished with other settings than the config has now; stage {name!r}'
            ' starts from it all the same'
        )
    chosen = record.best if cfg.start_from == 'best' else record.checkpoint
    if chosen is None:
        raise ConfigError(
            f"stage {name!r} has start_from='best', but stage {before.name!r} kept no best checkpoint in "
            f'{before.cfg.work_dir}'
        )
    file = Path(before.cfg.work_dir) / chosen
    if not file.is_file():
        raise CheckpointError(
            f'{file}, from which stage {name!r} starts, is gone; train stage {before.name!r} again, or name a'
            ' checkpoint with --cfg-options load_from=PATH'
        )
    return str(file)


def _take_seed(cfg: Config) -> None:
    """A run without a seed of its own drew one; samplers are built before mmengine looks it up in the
    checkpoint."""
    seed = load_checkpoint(cfg.load_from)['meta'].get('seed')
    randomness = dict(cfg.get('randomness') or {})
    if randomness.get('seed') is None:
        cfg.randomness = randomness | dict(seed=seed)


def _forget(stages: Sequence[Stage], pointers_of: Sequence[Stage]) -> None:
    """Remove the records of ``stages``, and what names the latest checkpoint of ``pointers_of``."""
    if is_main_process():
        for name, cfg in [(RECORD, stage.cfg) for stage in stages] + [
            ('last_checkpoint', stage.cfg) for stage in pointers_of
        ]:
            (Path(cfg.work_dir) / name).unlink(missing_ok=True)
    barrier()


def _train(name: str, cfg: Config, settings: dict[str, str]) -> None:
    # mmengine keeps loggers and message hubs by this name and the second it starts in: two short runs of a
    # process, which would then clear each other's old checkpoints away, must not share them
    own = '_'.join(filter(None, [cfg.get('experiment_name') or Path(cfg.filename or 'run').stem, name]))
    _started[own] += 1
    cfg.experiment_name = own if _started[own] == 1 else f'{own}_{_started[own]}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    last, best = (runner.message_hub.get_info(key) for key in ('last_ckpt', 'best_ckpt'))
    if last is None:
        raise CheckpointError(
            f'{_titled(name)} saved no checkpoint in {cfg.work_dir}; leave default_hooks.checkpoint.save_last'
            ' at True'
        )
    record = StageRecord(
        name, _relative(last, cfg), None if best is None else _relative(best, cfg), settings, runner.seed
    )
    if is_main_process():
        write_atomically(Path(cfg.work_dir) / RECORD, json.dumps(record._asdict(), indent=1).encode())
    barrier()


def _relative(file: str, cfg: Config) -> str:
    """``file`` as seen from the work dir; one saved before the folder was moved is looked for by its name."""
    here = Path(cfg.work_dir) / Path(file).name
    return here.name if here.is_file() else os.path.relpath(file, cfg.work_dir)
