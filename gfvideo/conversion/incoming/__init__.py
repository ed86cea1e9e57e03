"""Published forms in: files of other code bases to checkpoints of this package."""

from .convert import Converted, convert_file, save_converted, summary
from .files import read_published
from .forms import FORMS, Options, recognise_form, register_form

__all__ = [
    'FORMS',
    'Converted',
    'Options',
    'convert_file',
    'read_published',
    'recognise_form',
    'register_form',
    'save_converted',
    'summary',
]
