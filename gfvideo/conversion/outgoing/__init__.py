"""Published forms out: encoders of this package to files of other code bases."""

from .encoders import TARGETS, export_encoder, save_exported

__all__ = ['TARGETS', 'export_encoder', 'save_exported']
