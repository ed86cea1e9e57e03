"""One config, several stages: expanded, checked, and trained one after the other."""

from .check import check_pretrained, check_stages
from .essentials import OWN_HOOKS, with_essentials
from .expand import Stage, expand_stages, select_stage
from .record import StageRecord, read_record, settings_of
from .run import run_stages

__all__ = [
    'OWN_HOOKS',
    'Stage',
    'StageRecord',
    'check_pretrained',
    'check_stages',
    'expand_stages',
    'read_record',
    'run_stages',
    'select_stage',
    'settings_of',
    'with_essentials',
]
