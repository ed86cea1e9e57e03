"""How things are measured: what other work takes of the machine, and tables that are gone on with."""

from .load import BUSY, Load, all_work, own_work, share_of_others, warning
from .table import MeasuredRow, Table, machine

__all__ = [
    'BUSY',
    'Load',
    'MeasuredRow',
    'Table',
    'all_work',
    'machine',
    'own_work',
    'share_of_others',
    'warning',
]
