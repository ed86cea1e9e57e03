"""Exports in whole numbers: the encoders' convolutions in 8 bits, fitted on clips, with what that costs in
accuracy measured and written down."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files import file_hash
from ..models.base import Recognizer
from ..structures import LookState
from .export import publish_export
from .onnx_recognizer import OnnxRecognizer
from .optional import needed
from .record import ExportRecord, GraphRecord, read_export, write_export
from .sessions import Place, as_array
from .states import BEFORE, before_first

__all__ = ['AccuracyDrop', 'QuantizationError', 'quantize_export']

KEPT = ('policy', 'classifier', 'head')  # parts that stay as they are: small, and places hang on them
FIRST = 4  # convolutions of an encoder that stay, too: on pixels rounding costs most
LARGEST_DROP = 0.005


class QuantizationError(RuntimeError):
    """Rounding, to 8 bits or to bfloat16, loses more accuracy than is allowed; the message says how much."""


class AccuracyDrop(NamedTuple):
    """Top-1 accuracy of the last look on labelled clips, in float32 (as exported) and rounded, fractions."""

    exported: float
    quantized: float
    clips: int


@torch.no_grad()
def quantize_export(
    source: str | Path,
    folder: str | Path,
    fit_on: Sequence[Tensor],
    judge_on: Iterable[tuple[Tensor, int]] = (),
    largest_drop: float | None = LARGEST_DROP,
    threads: int | None = None,
) -> tuple[ExportRecord, AccuracyDrop | None]:
    """Write an export whose encoders compute in 8-bit integers, for processors that multiply those faster.

    Weights are rounded channel by channel, activations by the ranges that they take on ``fit_on``. The first
    convolutions of an encoder, policy, classifier and heads stay in float32. Files of exits fit as before,
    their thresholds taken as they are.

    Args:
        source: folder of an export.
        folder: where the new one goes.
        fit_on: clips ``(1, T, 3, H, W)``, normalised, of the size that the export takes; a few dozen, not
            those of ``judge_on``.
        judge_on: clips and their classes, to measure the loss of accuracy.
        largest_drop: of accuracy, a fraction, beyond which nothing is written; None allows any.
        threads: of onnxruntime.

    Returns:
        The record of the new export, and what was measured; None without clips to judge on.

    Raises:
        QuantizationError: if more accuracy is lost than allowed, or nothing was measured and a largest drop
            is asked for.
        ValueError: if there are no clips to fit on.
    """
    if not fit_on:
        raise ValueError('give clips to fit the ranges of activations on; a few dozen of the validation set')
    exported = OnnxRecognizer(source, threads)
    with tempfile.TemporaryDirectory(prefix='gfvideo-quantize-') as part:
        record = _quantized(exported, Path(source), Path(part), fit_on)
        write_export(Path(part), record)
        drop = accuracy_drop(exported, OnnxRecognizer(part, threads), judge_on)
        check_drop('8 bits', drop, largest_drop)
        if drop is not None:
            record = replace(record, accuracy=drop._asdict())
            write_export(Path(part), record)
        Path(folder).parent.mkdir(parents=True, exist_ok=True)
        publish_export(Path(part), Path(folder))
    return record, drop


def check_drop(what: str, drop: AccuracyDrop | None, largest: float | None) -> None:
    """Refuse ``what`` if it loses more than ``largest``, a fraction, or if nobody knows what it loses.

    Raises:
        QuantizationError: then.
    """
    if largest is None:
        return
    if drop is None:
        raise QuantizationError(
            f'no labelled clips were given, so what {what} cost in accuracy is unknown; give some, or allow'
            ' any loss (largest_drop=None)'
        )
    lost = drop.exported - drop.quantized
    if lost > largest:
        raise QuantizationError(
            f'{what} cost {100 * lost:.1f} points of accuracy on {drop.clips} clips'
            f' ({100 * drop.exported:.1f} % to {100 * drop.quantized:.1f} %), and {100 * largest:g} are'
            ' allowed; fit on more clips where there are ranges to fit, or allow more (largest_drop)'
        )


@torch.no_grad()
def accuracy_drop(
    exact: Recognizer, rounded: Recognizer, clips: Iterable[tuple[Tensor, int]]
) -> AccuracyDrop | None:
    """Top-1 accuracy of both on clips ``(1, T, 3, H, W)`` and their classes; None without any."""
    right = [0, 0]
    total = 0
    for clip, label in clips:
        total += 1
        for which, model in enumerate((exact, rounded)):
            right[which] += int(model.predict_steps(clip).step_logits[0, -1].argmax()) == label
    return AccuracyDrop(right[0] / total, right[1] / total, total) if total else None


def _quantized(exported: OnnxRecognizer, source: Path, target: Path, clips: Sequence[Tensor]) -> ExportRecord:
    """The graphs of ``source`` in 8 bits in ``target``, and their record."""
    record = read_export(source)
    if record.frame is not None:  # which would be fitted on other tensors; the looks serve as well
        record = replace(record, frame=None)
    states = [_states_before(exported, clip) for clip in clips]
    done: dict[str, GraphRecord] = {}
    graphs = []
    for step, graph in enumerate(record.graphs):
        if graph.file not in done:
            feeds = [_feed(graph, clip, before[step]) for clip, before in zip(clips, states)]
            _quantize_graph(source / graph.file, target / graph.file, feeds)
            path = target / graph.file
            done[graph.file] = replace(
                graph, sha256=file_hash(path), bytes=path.stat().st_size, differences={}
            )
        graphs.append(done[graph.file])
    return replace(
        record,
        graphs=graphs,
        precision='int8',
        versions={**record.versions, 'quantized by onnxruntime': needed('onnxruntime').__version__},
    )


def _states_before(exported: OnnxRecognizer, clip: Tensor) -> list[LookState]:
    """What there is before each look at a clip."""
    start = before_first(exported.sessions.complete(clip, ()))
    states = [start, exported.glance(clip)]
    while states[-1].step < exported.steps:
        states.append(exported.focus(clip, states[-1]))
    return states[:-1]


def _feed(graph: GraphRecord, clip: Tensor, before: LookState) -> dict[str, Any]:
    return {
        name: as_array(clip if name == 'frames' else Place.of(name.removeprefix(BEFORE)).find(before))
        for name in graph.inputs
    }


def _quantize_graph(source: Path, target: Path, feeds: Sequence[dict[str, Any]]) -> None:
    needed('onnxruntime')
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    onnx = needed('onnx')

    class Feeds(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    with _without_advice():
        quantize_static(
            str(source),
            str(target),
            Feeds(),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=_nodes_of_encoder(onnx.load(str(source)).graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def _without_advice() -> Iterator[None]:
    """onnxruntime's advice to fuse normalisation first, which these graphs have done already, on the root
    logger, and the handler that it leaves there."""
    root = logging.getLogger()
    handlers = list(root.handlers)

    def other(record: logging.LogRecord) -> bool:
        return 'pre-processing before quantization' not in record.getMessage()

    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)


def _nodes_of_encoder(graph: Any) -> list[str]:
    """Names of the convolutions that are rounded, and of the activations and sums that read what one gives,
    for these set its range. Whatever else computes with numbers, places above all, stays as it is."""
    convolutions = [
        node
        for node in graph.node
        if node.op_type == 'Conv' and not any(part in node.input[1] for part in KEPT)
    ]
    rounded = convolutions[FIRST:]
    given = {output for node in rounded for output in node.output}
    after = [
        node for node in graph.node if node.op_type in ('Clip', 'Relu', 'Add') and given & set(node.input)
    ]
    return [node.name for node in (*rounded, *after)]
