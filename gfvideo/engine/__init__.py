"""What mmengine lacks: stages, a loop for policies, safe checkpoints, mixed precision and several processes
without a GPU."""

from .checkpoint import (
    CheckpointError,
    SafeCheckpointHook,
    checkpoint_of,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
)
from .config import ConfigError, fill_gpu, fill_workers, load_config
from .exiting import ExitingRecognizer, costs_of
from .faults import tell_faults
from .hooks import DatasetEpochHook, EpochSeedHook, FiniteHook, NotFiniteError
from .identity import check_exits, describe_model, same_clips, weights_hash
from .launch import adapt_to_devices, choose_device, init_distributed, leave_distributed
from .loops import ResumableEpochLoop
from .next_steps import next_commands, next_steps
from .optim import AutocastOptimWrapper, TSMOptimWrapperConstructor, scale_rates
from .policy_loop import JointLoop, PolicyLoop
from .schedulers import WarmupLR
from .showing import ShowHook
from .stages import (
    Stage,
    StageRecord,
    check_pretrained,
    check_stages,
    expand_stages,
    run_stages,
    select_stage,
)
from .terminal import keep_for_the_file

__all__ = [
    'AutocastOptimWrapper',
    'CheckpointError',
    'ConfigError',
    'DatasetEpochHook',
    'EpochSeedHook',
    'ExitingRecognizer',
    'FiniteHook',
    'NotFiniteError',
    'JointLoop',
    'PolicyLoop',
    'ResumableEpochLoop',
    'SafeCheckpointHook',
    'ShowHook',
    'Stage',
    'StageRecord',
    'TSMOptimWrapperConstructor',
    'WarmupLR',
    'adapt_to_devices',
    'check_exits',
    'check_pretrained',
    'check_stages',
    'checkpoint_of',
    'choose_device',
    'costs_of',
    'describe_model',
    'expand_stages',
    'fill_gpu',
    'fill_workers',
    'init_distributed',
    'latest_checkpoint',
    'leave_distributed',
    'load_checkpoint',
    'load_config',
    'keep_for_the_file',
    'load_weights',
    'next_commands',
    'next_steps',
    'run_stages',
    'same_clips',
    'scale_rates',
    'select_stage',
    'tell_faults',
    'weights_hash',
]
