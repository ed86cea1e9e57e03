"""How many processes read clips, where a config leaves it to the machine: ``num_workers=None``."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ['MOST_WORKERS', 'cores_of_process', 'fill_workers']

MOST_WORKERS = 8
_PROCESSES = dict(
    pytorch='LOCAL_WORLD_SIZE', slurm='SLURM_STEP_TASKS_PER_NODE', mpi='OMPI_COMM_WORLD_LOCAL_SIZE'
)


def cores_of_process(launcher: str, environment: Mapping[str, str] = os.environ) -> int:
    """The cores that one process may count on, 1 or more.

    They are those that the system lets it use, divided by the processes that were started on this machine; of
    Slurm those that it set aside for a task, where it did.

    Args:
        launcher: what started the process: 'none', 'pytorch' (torchrun), 'slurm' or 'mpi'.
    """
    if launcher == 'slurm' and environment.get('SLURM_CPUS_PER_TASK', '').isdigit():
        return max(1, int(environment['SLURM_CPUS_PER_TASK']))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, cores // _processes(environment.get(_PROCESSES.get(launcher, ''), '')))


def _processes(text: str) -> int:
    """'4', or '4(x2),3' of Slurm: the most on any machine; 1 where nothing is said."""
    counts = [part.partition('(')[0] for part in text.split(',')]
    return max([1, *(int(count) for count in counts if count.isdigit())])


def fill_workers(cfg: MutableMapping[str, Any], cores: int | None = None) -> str:
    """Fill in, in place, ``num_workers=None`` of a config's loaders.

    It stands for as many as there are cores, at most :data:`MOST_WORKERS` a loader: training and validation
    take turns, and the workers of the one wait while the other reads. Numbers that are there stay; where they
    are 0, ``persistent_workers`` becomes False, as there are none.

    Args:
        cfg: the config of a stage; its ``launcher`` says what started this process.
        cores: that this process may count on; None: of :func:`cores_of_process`.

    Returns:
        A line that tells what was filled in; '' if nothing was.
    """
    cores = cores_of_process(cfg.get('launcher') or 'none') if cores is None else cores
    loaders = {
        key: value
        for key, value in cfg.items()
        if key.endswith('_dataloader') and isinstance(value, MutableMapping)
    }
    empty = [key for key, loader in loaders.items() if loader.get('num_workers', 0) is None]
    for key in empty:
        loaders[key]['num_workers'] = max(1, min(MOST_WORKERS, cores))
    for loader in loaders.values():
        if loader.get('num_workers', 0) == 0 and loader.get('persistent_workers'):
            loader['persistent_workers'] = False
    told = ', '.join(f'{loaders[key]["num_workers"]} of {key}' for key in empty)
    return f'processes that read clips: {told} (cores for this process: {cores})' if told else ''
