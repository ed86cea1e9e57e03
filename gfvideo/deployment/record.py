"""``export.json``: what the graphs beside it are, what they take and give, and which weights are in them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import file_hash

__all__ = ['RECORD', 'ExportRecord', 'GraphRecord', 'read_export', 'write_export']

RECORD = 'export.json'
FORMAT = 1
NAMES = dict(num_frames='frames')  # fields that have another name in the file


@dataclass(frozen=True)
class GraphRecord:
    """The graph of one step.

    Attributes:
        file: its name in the folder; several steps may share one.
        sha256, bytes: of the file.
        inputs, outputs: shapes by name; ``'batch'`` stands for any number of clips.
        carried: tensors of the state before that belong to the state after, unchanged.
        differences: largest difference from torch of each output, as a share of the largest value of that
            output.
    """

    file: str
    sha256: str
    bytes: int
    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    carried: list[str]
    differences: dict[str, float]


@dataclass(frozen=True)
class ExportRecord:
    """An exported recognizer.

    Attributes:
        graphs: one for each step 0..S.
        steps: S.
        num_classes: C.
        num_frames: T, frames of a clip.
        frame_size: (H, W) in pixels.
        model: :func:`~gfvideo.engine.describe_model` of the network, with the hash of its weights;
            calibrations belong to exactly these.
        preprocessor: mean and std of R, G and B on the scale 0..255, which are not in the graphs.
        dataset_meta: what the checkpoint said of its dataset, e.g. ``classes``.
        cfg: text of the config, None if the network had none.
        opset: of the graphs.
        versions: of the libraries that exported.
        streams: whether the graphs take and give causal caches, so that they read on.
        frame: the graph that takes all looks at a frame of a stream in one call, where there is one.
        precision: in which the encoders compute, 'float32' or 'int8'.
        accuracy: of an export in 8 bits, what that cost: ``exported`` and ``quantized``, fractions, on
            ``clips``.
    """

    graphs: list[GraphRecord]
    steps: int
    num_classes: int
    num_frames: int
    frame_size: tuple[int, int]
    model: dict[str, Any]
    preprocessor: dict[str, list[float]]
    dataset_meta: dict[str, Any]
    cfg: str | None
    opset: int
    versions: dict[str, str]
    streams: bool = False
    frame: GraphRecord | None = None
    precision: str = 'float32'
    accuracy: dict[str, float] | None = None

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, None if the checkpoint did not say."""
        return self.dataset_meta.get('classes')

    def files(self) -> list[GraphRecord]:
        """All graphs that lie beside the record."""
        return self.graphs if self.frame is None else [*self.graphs, self.frame]


def write_export(folder: Path, record: ExportRecord) -> None:
    content = {NAMES.get(name, name): value for name, value in asdict(record).items()}
    (folder / RECORD).write_text(json.dumps(dict(format=FORMAT, **content), indent=1) + '\n')


def read_export(folder: str | Path) -> ExportRecord:
    """Read ``export.json`` of a folder and check that the graphs are those it tells of.

    Raises:
        FileNotFoundError: if there is no ``export.json``, or a graph is missing.
        ValueError: if it is of another format, or a graph has changed since.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise FileNotFoundError(
            f'no {RECORD} in {folder}; make it with tools/deployment/export_onnx.py CHECKPOINT {folder}'
        )
    try:
        content = json.loads(path.read_text())
        found = content.pop('format')
        if found != FORMAT:
            raise ValueError(f'it has format {found}, this version reads {FORMAT}')
        graphs = [GraphRecord(**graph) for graph in content.pop('graphs')]
        content = {**content, 'frame_size': tuple(content['frame_size'])}
        if content.get('frame') is not None:
            content['frame'] = GraphRecord(**content['frame'])
        for name, written in NAMES.items():
            content[name] = content.pop(written)
        record = ExportRecord(graphs=graphs, **content)
        _check(record)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f'{path} cannot be used ({type(error).__name__}: {error}); export again') from error
    for graph in {graph.file: graph for graph in record.files()}.values():
        if not path.with_name(graph.file).is_file():
            raise FileNotFoundError(
                f'{path} tells of {graph.file}, which is not beside it; copy the whole folder'
            )
        if file_hash(path.with_name(graph.file)) != graph.sha256:
            raise ValueError(
                f'{path.with_name(graph.file)} is not the graph that {path} tells of; copy the whole folder,'
                ' or export again'
            )
    return record


def _check(record: ExportRecord) -> None:
    """Refuse values that an export cannot have written; what they are used for comes later, and trusts
    them."""
    counts = dict(
        steps=record.steps,
        num_classes=record.num_classes,
        frames=record.num_frames,
        opset=record.opset,
        height=record.frame_size[0],
        width=record.frame_size[1],
    )
    for name, value in counts.items():
        if type(value) is not int or value < (name != 'steps'):
            raise ValueError(f'{name} is {value!r}, not a number of them')
    if len(record.graphs) != record.steps + 1:
        raise ValueError(f'it has {len(record.graphs)} graphs for the glance and {record.steps} focus steps')
    for graph in record.files():
        if not isinstance(graph.file, str) or Path(graph.file).name != graph.file or not graph.file:
            raise ValueError(f'graph {graph.file!r} is not the name of a file beside it')
    values = record.preprocessor
    if set(values) != {'mean', 'std'} or not all(_is_rgb(value) for value in values.values()):
        raise ValueError(f'preprocessor is {values!r}, not mean and std of R, G and B')
    for name in ('model', 'dataset_meta', 'versions'):
        if not isinstance(getattr(record, name), dict):
            raise ValueError(f'{name} is {getattr(record, name)!r}, not an object')
    if not isinstance(record.streams, bool):
        raise ValueError(f'streams is {record.streams!r}, neither true nor false')
    if not isinstance(record.cfg, str | None):
        raise ValueError(f'cfg is a {type(record.cfg).__name__}, not the text of a config')


def _is_rgb(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(item) in (int, float) for item in value)
