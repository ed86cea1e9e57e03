"""Stages trained one after the other, each in its own Runner and folder; begun anew or gone on with."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import MMLogger

from ...files import write_atomically
from ..checkpoint import CheckpointError, keep_last_and_best, latest_checkpoint, load_checkpoint
from ..config.gpu import fill_gpu
from ..config.known import ConfigError
from ..config.workers import fill_workers
from ..telling import StageRunner
from .essentials import with_essentials
from .expand import Stage, number_of
from .record import RECORD, StageRecord, read_record, settings_of

__all__ = ['run_stages']

_started: Counter[str] = Counter()  # runs of this process, by name


def run_stages(stages: Sequence[Stage], only: str | None = None, resume: str | None = None) -> int:
    """Train the stages in order, each from the checkpoint of the one before.

    Starting a stage forgets what an earlier run left of it and of those after it (their records; the files
    stay until they are overwritten), so nothing old is taken for new. A stage that is finished leaves its
    last and its best checkpoint as ``last.pth`` and ``best.pth`` in its folder, and the last stage in the
    run's as well; without validation the best is the last.

    Args:
        stages: of :func:`expand_stages`, each config with its ``work_dir``.
        only: train this stage alone, from the finished stage before it, or from its ``load_from`` if that one
            is not finished.
        resume: None to start anew; 'auto' to leave out what is finished and go on from the latest checkpoint
            of the first stage that is not; or a checkpoint to go on from, whose stage is in it.

    Returns:
        Number of the last stage that is finished, from 0.

    Raises:
        ConfigError: if ``only`` is unknown or has nothing to start from, or a finished stage had other
            settings.
        CheckpointError, FileNotFoundError: if a checkpoint is gone or of no use.
    """
    first = 0 if only is None else number_of(stages, only)
    last = len(stages) - 1 if only is None else first
    checkpoint = None
    if resume == 'auto':
        first, checkpoint = _first_unfinished(stages, first, last)
    elif resume is not None:
        first, checkpoint = _stage_of(stages, resume, only), Path(resume)
        last = max(first, last)
    for number in range(first, last + 1):
        cfg = with_essentials(stages[number].cfg)
        for told in (fill_workers(cfg), fill_gpu(cfg)):
            if told:
                _log(told)
        settings = settings_of(cfg)
        if checkpoint is None:
            cfg.resume, cfg.load_from = False, _start_of(stages, number)
            _forget(stages[number:], pointers_of=stages[number:])
        else:
            cfg.resume, cfg.load_from, checkpoint = True, str(checkpoint), None
            _take_seed(cfg)
            _forget(stages[number:], pointers_of=stages[number + 1 :])
        _train(stages[number].name, cfg, settings, (number + 1, len(stages)))
    return last


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
    return number_of(stages, name)


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


def _train(name: str, cfg: Config, settings: dict[str, str], place: tuple[int, int]) -> None:
    # mmengine keeps loggers and message hubs by this name and the second it starts in: two short runs of a
    # process, which would then clear each other's old checkpoints away, must not share them
    own = '_'.join(filter(None, [cfg.get('experiment_name') or Path(cfg.filename or 'run').stem, name]))
    _started[own] += 1
    cfg.experiment_name = own if _started[own] == 1 else f'{own}_{_started[own]}'
    runner = StageRunner.from_cfg(cfg)
    runner.place = place
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
        folder = Path(cfg.work_dir)
        ends_run = place[0] == place[1] and folder.name == name  # a stage in a folder of the run's
        for kept_in in (folder, folder.parent) if ends_run else (folder,):
            keep_last_and_best(
                kept_in, folder / record.checkpoint, None if record.best is None else folder / record.best
            )
        write_atomically(folder / RECORD, json.dumps(record._asdict(), indent=1).encode())
    barrier()


def _relative(file: str, cfg: Config) -> str:
    """``file`` as seen from the work dir; one saved before the folder was moved is looked for by its name."""
    here = Path(cfg.work_dir) / Path(file).name
    return here.name if here.is_file() else os.path.relpath(file, cfg.work_dir)
