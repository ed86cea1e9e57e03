"""Checkpoints that people have already: of TSM, MMAction2, GFNet, AdaFocus, torchvision and timm, to this
package and back."""

from .errors import ConversionError
from .incoming import (
    FORMS,
    Converted,
    Options,
    convert_file,
    read_published,
    recognise_form,
    register_form,
    save_converted,
    summary,
)
from .outgoing import TARGETS, export_encoder, save_exported

__all__ = [
    'FORMS',
    'TARGETS',
    'ConversionError',
    'Converted',
    'Options',
    'convert_file',
    'export_encoder',
    'read_published',
    'recognise_form',
    'register_form',
    'save_converted',
    'save_exported',
    'summary',
]
