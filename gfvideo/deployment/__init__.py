"""Trained recognizers for use elsewhere: checkpoints of weights alone, ONNX graphs that run without
torch, and engines that compute the looks."""

from .bfloat16 import with_bfloat16
from .export import ExportError, clip_shape, export_recognizer
from .onnx_recognizer import OnnxRecognizer
from .publish import publish_checkpoint
from .quantize import AccuracyDrop, QuantizationError, quantize_export
from .record import ExportRecord, GraphRecord, read_export
from .runtime import Runtime, with_runtime

__all__ = [
    'AccuracyDrop',
    'ExportError',
    'ExportRecord',
    'GraphRecord',
    'OnnxRecognizer',
    'QuantizationError',
    'Runtime',
    'clip_shape',
    'export_recognizer',
    'publish_checkpoint',
    'quantize_export',
    'read_export',
    'with_bfloat16',
    'with_runtime',
]
