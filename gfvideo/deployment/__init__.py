"""Trained recognizers for use elsewhere: checkpoints of weights alone, ONNX graphs that run without
torch, and engines that compute the looks."""

from .export import ExportError, clip_shape, export_recognizer
from .onnx_recognizer import OnnxRecognizer
from .publish import publish_checkpoint
from .record import ExportRecord, GraphRecord, read_export
from .runtime import Runtime, with_runtime

__all__ = [
    'ExportError',
    'ExportRecord',
    'GraphRecord',
    'OnnxRecognizer',
    'Runtime',
    'clip_shape',
    'export_recognizer',
    'publish_checkpoint',
    'read_export',
    'with_runtime',
]
