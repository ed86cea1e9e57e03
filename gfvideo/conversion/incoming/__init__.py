"""Published forms in: files of other code bases to checkpoints of this package."""

from .files import read_published
from .forms import FORMS, Converted, Options, convert_file, recognise_form, save_converted, summary

__all__ = [
    'FORMS',
    'Converted',
    'Options',
    'convert_file',
    'read_published',
    'recognise_form',
    'save_converted',
    'summary',
]
