"""What mmengine lacks: stages, a loop for policies, safe checkpoints, mixed precision and several processes without a GPU."""
from .checkpoint import CheckpointError, SafeCheckpointHook, latest_checkpoint, load_checkpoint, load_weights
from .config_check import ConfigError
from .hooks import DatasetEpochHook, EpochSeedHook
from .launch import adapt_to_devices, init_distributed
from .loops import ResumableEpochLoop
from .optim import AutocastOptimWrapper
from .policy_loop import PolicyLoop
from .stages import Stage, StageRecord, check_stages, expand_stages, load_config, run_stages, select_stage

__all__ = ['AutocastOptimWrapper', 'CheckpointError', 'ConfigError', 'DatasetEpochHook', 'EpochSeedHook', 'PolicyLoop',
           'ResumableEpochLoop', 'SafeCheckpointHook', 'Stage', 'StageRecord', 'adapt_to_devices', 'check_stages', 'expand_stages',
           'init_distributed', 'latest_checkpoint', 'load_checkpoint', 'load_config', 'load_weights', 'run_stages', 'select_stage']
