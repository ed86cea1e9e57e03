"""On which device a command runs, and several processes, with GPUs or without: mmengine starts them on GPUs
only."""

from __future__ import annotations

import datetime
import os
import subprocess

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed
from mmengine.logging import print_log
from mmengine.utils.dl_utils import set_multi_processing

from .config import ConfigError

__all__ = ['LAUNCHERS', 'adapt_to_devices', 'choose_device', 'init_distributed', 'leave_distributed']

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def choose_device(name: str | torch.device | None = None) -> torch.device:
    """The device to run on: the one that is named; where none is, a GPU if torch finds one, else the CPU.

    Args:
        name: 'cpu', 'cuda', 'cuda:1', ... as torch names devices.

    Raises:
        ConfigError: if torch knows no such device, or it is not on this machine.
    """
    if name is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f'device {str(name)!r} is unknown; give cpu, cuda, cuda:1, ...') from error
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == 'cuda' and (device.index or 0) >= found:
        gpus = ', '.join(f'cuda:{number}' for number in range(found))
        raise ConfigError(
            f'device {str(name)!r} is not here: torch {torch.__version__} finds'
            f' {f"{gpus} alone" if found else "no GPU"}; give cpu, or leave it out to have one chosen'
        )
    if device.type not in ('cpu', 'cuda', 'meta'):
        try:
            torch.empty(0, device=device)
        except (AssertionError, NotImplementedError, RuntimeError) as error:
            raise ConfigError(f'device {str(name)!r} is not here; give cpu or cuda') from error
    return device


def init_distributed(launcher: str, env_cfg: dict | None = None) -> None:
    """Join the process group, before any Runner is built: 'nccl' (or as ``env_cfg`` says) with GPUs, 'gloo'
    without.

    Args:
        launcher: 'none', 'pytorch' (torchrun), 'slurm' or 'mpi'.
        env_cfg: mmengine's; ``dist_cfg`` and ``mp_cfg`` are read.

    Raises:
        ConfigError: if the launcher is unknown or did not start this process.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f'launcher={launcher!r} is unknown; choose of {", ".join(LAUNCHERS)}')
    if launcher == 'none' or is_distributed():
        return
    env_cfg = env_cfg or {}
    dist_cfg = dict(env_cfg.get('dist_cfg', {}))
    set_multi_processing(**env_cfg.get('mp_cfg', {}), distributed=True)
    _check_environment(launcher)
    if torch.cuda.is_available():
        init_dist(launcher, **dist_cfg)
        return
    if launcher != 'pytorch':
        _export_torch_variables(launcher)
    torch.distributed.init_process_group(
        'gloo', timeout=datetime.timedelta(seconds=dist_cfg.get('timeout', 1800))
    )


def leave_distributed() -> None:
    """Leave the process group, where this process joined one; the last thing a command does.

    Without it the threads of 'gloo' may still be letting go of tensors while the interpreter is taken down,
    which aborts a process that has done its work.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


_VARIABLES = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', 'SLURM_NODELIST'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', 'MASTER_ADDR'),
)
_STARTERS = dict(
    pytorch='torchrun, e.g. tools/dist_train.sh CONFIG GPUS',
    slurm='srun, e.g. tools/slurm_train.sh PARTITION JOB CONFIG',
    mpi='mpirun with MASTER_ADDR exported',
)


def _check_environment(launcher: str) -> None:
    missing = [name for name in _VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise ConfigError(
            f'--launcher {launcher}: {", ".join(missing)} not set; start the processes with'
            f' {_STARTERS[launcher]}'
        )


def _export_torch_variables(launcher: str) -> None:
    """Tell torch, in its own words, what slurm or mpi said."""
    for name, source in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), _VARIABLES[launcher]):
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        nodes = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        os.environ['MASTER_ADDR'] = nodes.split()[0]


def adapt_to_devices(cfg: Config, launcher: str) -> None:
    """Set, in place, what a Runner needs to wrap the model for several processes on the devices at hand.

    Buffers are not broadcast at every pass; SyncBuffersHook averages them after each epoch, so that every
    rank's clips count. A stage may leave parameters without gradient (the policy's while patches are random),
    hence ``find_unused_parameters``.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', True),
    )
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    if not torch.cuda.is_available():
        wrapper['device_ids'] = None
        cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
        if cfg.get('sync_bn') is not None:
            print_log(f'sync_bn={cfg.sync_bn!r} needs GPUs and is left out', logger='current', level=30)
            cfg.sync_bn = None
    cfg.model_wrapper_cfg = wrapper
