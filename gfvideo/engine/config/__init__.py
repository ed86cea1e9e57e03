"""Configs: read, completed, checked before anything is trained, and carried by checkpoints."""

from .carried import carried_config, check_carried, import_own, parse_config
from .check import check_stage
from .gpu import fill_gpu
from .known import KNOWN_KEYS, ConfigError, explain_unknown
from .reading import check_keys, load_config
from .workers import cores_of_process, fill_workers

__all__ = [
    'KNOWN_KEYS',
    'ConfigError',
    'carried_config',
    'check_carried',
    'check_keys',
    'check_stage',
    'cores_of_process',
    'explain_unknown',
    'fill_gpu',
    'fill_workers',
    'import_own',
    'load_config',
    'parse_config',
]
