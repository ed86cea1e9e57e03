"""Trained recognizers for use elsewhere: checkpoints of weights alone, and ONNX graphs that run without
torch."""

from .export import ExportError, clip_shape, export_recognizer
from .onnx_recognizer import OnnxRecognizer
from .publish import publish_checkpoint
from .record import ExportRecord, GraphRecord, read_export

__all__ = [
    'ExportError',
    'ExportRecord',
    'GraphRecord',
    'OnnxRecognizer',
    'clip_shape',
    'export_recognizer',
    'publish_checkpoint',
    'read_export',
]
