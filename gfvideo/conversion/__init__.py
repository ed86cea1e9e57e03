"""Checkpoints that people have already: of TSM, MMAction2, GFNet, AdaFocus, torchvision and timm, to this
package and back."""

from .files import ConversionError, read_published
from .forms import (
    FORMS,
    TARGETS,
    Converted,
    Options,
    convert_file,
    export_encoder,
    recognise_form,
    save_converted,
    save_exported,
    summary,
)

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
    'save_converted',
    'save_exported',
    'summary',
]
