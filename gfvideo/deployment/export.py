"""A recognizer as ONNX graphs, one for each step, so that a runtime can stop in between; each checked against
torch."""

from __future__ import annotations

import copy
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from .. import __version__
from ..data.preprocessor import ClipPreprocessor
from ..engine.checkpoint import plain
from ..engine.identity import describe_model
from ..engine.pipelines import build_pipeline, frame_names, prepare_video
from ..files import file_hash
from ..models.base import Recognizer
from ..models.temporal import Cache
from ..structures import LookState, map_tensors
from .optional import needed
from .record import RECORD, ExportRecord, GraphRecord, write_export
from .sessions import as_array, open_session
from .states import BEFORE, CACHE, before_first, fill, named_tensors

__all__ = ['ExportError', 'clip_shape', 'export_recognizer']

BATCH = 'batch'
FIRST_OPSET = 18  # the first whose Resize knows antialiasing
TOLERANCE = 1e-4
CHECKED_BATCHES = (1, 3)  # none is that of the example, which has two clips
LIBRARIES = ('torch', 'onnx', 'onnxscript', 'onnxruntime')
SMOOTHNESS = 4  # pixels between independent values of a random frame
_GRAPH_NAME = re.compile(r'(recognizer|glance|focus_\d+|frame)\.onnx')


class ExportError(RuntimeError):
    """A recognizer cannot be exported, or what came out does not answer as torch does; the message says which
    part."""


class LookAsTensors(nn.Module):
    """One look as a function of tensors: of frames and a state, ``clip_logits`` and the tensors of the next
    state named by ``outputs``.

    Args:
        before: a state as the look before leaves it, :func:`before_first` for the glance; its form counts,
            not its values.
        frames: ``(B, T, 3, H, W)``, an example.
    """

    def __init__(self, model: Recognizer, before: LookState, frames: Tensor):
        super().__init__()
        self.model, self.before, self.step = model, before, before.step + 1
        self.train(model.training)  # an exporter leaves the model as it finds this
        self.given = named_tensors(before)
        after = named_tensors(self.take(frames, before))
        kept = {id(tensor): name for name, tensor in self.given.items()}
        self.carried = [name for name, tensor in after.items() if kept.get(id(tensor)) == name]
        self.outputs = [name for name in after if name not in self.carried]

    @property
    def name(self) -> str:
        """Of the graph, without ending."""
        return f'focus_{self.step}' if self.step else 'glance' if self.model.steps else 'recognizer'

    def take(self, frames: Tensor, before: LookState) -> LookState:
        """The look, as torch takes it."""
        return take_look(self.model, frames, before)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        frames, *given = tensors
        before = fill(self.before, dict(zip(self.given, given)))
        after = named_tensors(self.take(frames, before))
        # clip_logits for runtimes that know nothing of frames; a clone, because a graph wants an output of
        # its own for each name
        return (after['logits'].mean(1), *(after[name].clone() for name in self.outputs))

    def tensors(self, state: LookState) -> dict[str, Tensor]:
        """The outputs, as torch gives them."""
        named = named_tensors(state)
        return {'clip_logits': state.logits.mean(1), **{name: named[name] for name in self.outputs}}


class FrameAsTensors(nn.Module):
    """All looks at the next frames of a stream as one function of tensors: of frames and causal caches, the
    logits of every step, where was looked, and the caches for the frames after.

    Args:
        start: see :func:`before_first`.
    """

    def __init__(self, model: Recognizer, start: LookState, frames: Tensor):
        super().__init__()
        self.model, self.before, self.name, self.step = model, start, 'frame', model.steps
        self.train(model.training)
        self.given = named_tensors(start)
        self.carried: list[str] = []
        self.outputs = [name for name in self.tensors(self.take(frames, start)) if name != 'clip_logits']

    def take(self, frames: Tensor, before: LookState) -> list[LookState]:
        return all_looks(self.model, frames, before)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        frames, *given = tensors
        found = self.tensors(self.take(frames, fill(self.before, dict(zip(self.given, given)))))
        return tuple(tensor.clone() for tensor in found.values())

    def tensors(self, states: Sequence[LookState]) -> dict[str, Tensor]:
        """The outputs, as torch gives them: ``clip_logits (B, C)``, ``step_logits (B, S+1, T, C)``,
        ``centres`` and, where the policy chooses them, ``window_sizes`` ``(B, S, T, 2)``, and the caches."""
        found = dict(
            clip_logits=states[-1].logits.mean(1),
            step_logits=torch.stack([state.logits for state in states], 1),
        )
        for field in ('centres', 'window_sizes'):
            told = [getattr(state, field) for state in states[1:]]
            if told and not any(value is None for value in told):
                found[field] = torch.stack(told, 1)
        return {**found, **only_cache(named_tensors(states[-1]))}


def take_look(model: Recognizer, frames: Tensor, before: LookState) -> LookState:
    """The look after ``before``."""
    return model.glance(frames, before.cache) if before.step < 0 else model.focus(frames, before)


def all_looks(model: Recognizer, frames: Tensor, before: LookState) -> list[LookState]:
    """The states after every step."""
    states = [take_look(model, frames, before)]
    for _ in range(model.steps):
        states.append(take_look(model, frames, states[-1]))
    return states


def only_cache(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of causal caches."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(CACHE + '.')}


@torch.no_grad()
def export_recognizer(
    model: Recognizer,
    folder: str | Path,
    num_frames: int | None = None,
    frame_size: tuple[int, int] | None = None,
    opset: int = FIRST_OPSET,
    whole_frame: bool = False,
) -> ExportRecord:
    """Write ``recognizer.onnx`` of a static recognizer, or ``glance.onnx``, ``focus_1.onnx``, ... of one that
    focuses, and ``export.json``.

    Every graph is run by onnxruntime, with two numbers of clips, and must give what torch gives, to 1e-4 of
    the largest value of each output; the folder is written only if all do. The number of clips in a batch is
    free; T, H and W are fixed.

    Of a causal recognizer the graphs also take what the frames before left, zeros at the start, and give what
    the next ones need, so clips can be read in parts of T frames, and with T = 1 frame by frame.

    Args:
        model: trained; it is left as it is.
        folder: where the files go; an earlier export in it is replaced.
        num_frames: T; None asks the test pipeline of ``model.cfg``.
        frame_size: (H, W) in pixels; None asks the test pipeline.
        opset: version of ONNX's operators, 18 at least.
        whole_frame: of a causal recognizer also write ``frame.onnx``, which takes all looks in one call, for
            runtimes that know nothing of looks.

    Returns:
        What ``export.json`` says.

    Raises:
        ImportError: if onnx, onnxscript or onnxruntime is missing.
        ExportError: if the network cannot be exported, or a graph differs from torch.
        ValueError: if T, H or W is unknown, the opset too old, or ``whole_frame`` is asked of a recognizer
            that needs later frames.
    """
    for library in LIBRARIES:
        needed(library)
    if opset < FIRST_OPSET:
        raise ValueError(f'opset={opset} has no antialiased resizing; choose {FIRST_OPSET} or later')
    check_exportable(model)
    streams = not model.looking_ahead()
    if whole_frame and not streams:
        raise ValueError(
            f'{" and ".join(model.looking_ahead())} need later frames, so there is no graph of one frame:'
            " train with shift='causal', or leave whole_frame out"
        )
    _earlier_graphs(Path(folder))  # a wrong folder shows now, not after minutes
    if num_frames is None or frame_size is None:
        num_frames, frame_size = clip_shape(_config_of(model), num_frames, frame_size)
    own = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    example = random_frames(2, num_frames, frame_size)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as part:
        graphs: list[GraphRecord] = []
        start = before_first(empty_cache(own, example) if streams else ())
        before = start
        for _ in range(own.steps + 1):
            look = LookAsTensors(own, before, example)
            graphs.append(_shared(look, graphs, Path(part)) or _exported(look, Path(part), example, opset))
            after = look.take(example, before)
            before = after if streams else replace(after, cache=())
        frame = None
        if whole_frame:
            frame = _exported(FrameAsTensors(own, start, example), Path(part), example, opset)
        record = _record(own, graphs, frame, num_frames, frame_size, opset)
        write_export(Path(part), record)
        publish_export(Path(part), folder)
    return record


def clip_shape(
    cfg: Config, num_frames: int | None = None, frame_size: tuple[int, int] | None = None
) -> tuple[int, tuple[int, int]]:
    """T and (H, W) of what the test pipeline of a config makes of any video, where they are not given.

    Raises:
        ConfigError: if the config has no test pipeline.
        ValueError: if they depend on the video.
    """
    pipeline, names = build_pipeline(cfg), frame_names(cfg)
    videos = (np.zeros((length, *size, 3), np.uint8) for length, size in ((64, (240, 320)), (40, (360, 288))))
    # (T, 3, H, W)
    shapes = [tuple(prepare_video(video, pipeline, **names)['inputs'].shape[-4:]) for video in videos]
    lengths, sizes = {shape[0] for shape in shapes}, {shape[2:] for shape in shapes}
    if num_frames is None and len(lengths) > 1:
        raise ValueError(
            'the test pipeline takes more frames from longer videos; a graph has one T: give'
            ' num_frames (--frames T)'
        )
    if frame_size is None and len(sizes) > 1:
        raise ValueError(
            'the test pipeline leaves frames as large as those of the video; a graph has one size: give'
            ' frame_size (--frame-size H W), and end the test pipeline with Resize or a crop to that size'
        )
    return num_frames or lengths.pop(), tuple(frame_size or sizes.pop())


def _config_of(model: Recognizer) -> Config:
    if not model.cfg:
        raise ValueError(
            'the recognizer has no config (model.cfg), so T, H and W of its clips are unknown: give'
            ' num_frames and frame_size'
        )
    return model.cfg


def check_exportable(model: Recognizer) -> None:
    """Refuse recognizers that no graphs can stand for.

    Raises:
        ExportError: if its looks are drawn, or it has a preprocessor of another kind.
    """
    if model.draws:
        raise ExportError(
            'the looks of this recognizer are drawn at random, and a graph must answer the same twice;'
            " export with test_centres='mean' or 'centre'"
        )
    if not isinstance(model.data_preprocessor, ClipPreprocessor):
        raise ExportError(
            f'the data_preprocessor is a {type(model.data_preprocessor).__name__}; an export knows'
            ' ClipPreprocessor alone'
        )


def empty_cache(model: Recognizer, frames: Tensor) -> tuple[Cache, ...]:
    """Causal caches of zeros, which must be as good as none: a graph is always given some.

    Raises:
        ExportError: if they are not.
    """
    states = all_looks(model, frames, before_first())
    empty = map_tensors(states[-1].cache, torch.zeros_like)
    for plain_state, state in zip(states, all_looks(model, frames, before_first(empty))):
        if not torch.allclose(plain_state.logits, state.logits, rtol=0, atol=TOLERANCE):
            raise ExportError(
                f'step {state.step} at the start of a stream is not that after caches of zeros, and a graph'
                ' needs caches at every frame; let what it carries from frame to frame start at zeros'
            )
    return empty


def random_frames(batch: int, num_frames: int, frame_size: tuple[int, int], seed: int = 0) -> Tensor:
    """``(B, T, 3, H, W)``, as smooth as pictures are: white noise would all but vanish in the resizing and
    show its rounding alone."""
    cells = [side // SMOOTHNESS + 2 for side in frame_size]
    coarse = torch.randn(batch * num_frames, 3, *cells, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, frame_size, mode='bilinear').unflatten(0, (batch, num_frames))


# -------------------------------------------------------------------------------------------------- one graph


def _exported(look: LookAsTensors | FrameAsTensors, folder: Path, example: Tensor, opset: int) -> GraphRecord:
    """Export one look, or all, and check it."""
    inputs = {'frames': example, **as_inputs(look.given)}
    proto = _to_onnx(look, inputs, ['clip_logits', *look.outputs], opset)
    path = folder / f'{look.name}.onnx'
    needed('onnx').save(proto, str(path))
    differences = check_graph(look, _opened(path), example)
    return GraphRecord(
        path.name,
        file_hash(path),
        path.stat().st_size,
        _shapes(proto.graph.input),
        _shapes(proto.graph.output),
        look.carried,
        differences,
    )


def _shared(look: LookAsTensors, graphs: list[GraphRecord], folder: Path) -> GraphRecord | None:
    """The record of an earlier focus graph if it serves this step, too: the same names and shapes, and the
    same answers."""
    if look.step < 3:  # the second focus look is the first with a look of its kind before it
        return None
    earlier = graphs[-1]
    given = {name: list(tensor.shape[1:]) for name, tensor in as_inputs(look.given).items()}
    fits = all(name == 'frames' or given.get(name) == shape[1:] for name, shape in earlier.inputs.items())
    if not fits or list(earlier.outputs) != ['clip_logits', *look.outputs] or earlier.carried != look.carried:
        return None
    try:
        session, example = _opened(folder / earlier.file), random_frames(2, *_clip_shape_of(earlier))
        return replace(earlier, differences=check_graph(look, session, example))
    except ExportError:
        return None


def _opened(path: Path) -> Any:
    try:
        return open_session(path)
    except Exception as error:  # onnxruntime raises errors of its own kinds
        raise ExportError(f'{path.name} cannot be loaded: {error}') from error


def as_inputs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the names of a graph's inputs; copies, because the exporter takes one tensor under two names for one
    input."""
    return {BEFORE + name: tensor.clone() for name, tensor in tensors.items()}


def _clip_shape_of(graph: GraphRecord) -> tuple[int, tuple[int, int]]:
    _, T, _, H, W = graph.inputs['frames']  # of which the number of clips alone is a word
    return int(T), (int(H), int(W))


def _to_onnx(
    look: LookAsTensors | FrameAsTensors, inputs: Mapping[str, Tensor], outputs: list[str], opset: int
) -> Any:
    """The graph of a look; inputs that it does not read are left out."""
    batch = torch.export.Dim(BATCH)
    shapes = (tuple({0: batch} for _ in inputs),)
    try:
        with quiet():
            program = torch.onnx.export(
                look,
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                external_data=False,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=shapes,
                custom_translation_table={
                    torch.ops.aten._upsample_bilinear2d_aa.default: _resize_as_products()
                },
            )
    except Exception as error:  # the exporter raises errors of many kinds
        reason = error.__cause__ or error
        raise ExportError(
            f'torch cannot export step {look.step}'
            f' ({type(reason).__name__}: {str(reason).strip().splitlines()[0]})'
        ) from error
    assert program is not None  # with dynamo=True there is one
    proto = program.model_proto
    found = next(entry.version for entry in proto.opset_import if entry.domain in ('', 'ai.onnx'))
    if found != opset:
        raise ExportError(f'the graph came out with opset {found} instead of {opset}; choose --opset {found}')
    read = {name for node in proto.graph.node for name in node.input} | {
        output.name for output in proto.graph.output
    }
    kept = [entry for entry in proto.graph.input if entry.name in read]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    for node in proto.graph.node:  # where in which file of this machine torch was called
        node.ClearField('metadata_props')
        node.ClearField('doc_string')
    return proto


def _resize_as_products() -> Callable[..., Any]:
    """Antialiased resizing as matrix products with torch's own weights, for the exporter.

    ONNX has an operator for it, whose weights are rounded otherwise; the difference, 1e-5 of a pixel, grows
    tenfold in a deep network.
    """
    onnxscript = needed('onnxscript')
    operators = getattr(onnxscript, f'opset{FIRST_OPSET}')

    def constant(values: Tensor) -> Any:
        return operators.Constant(value=onnxscript.ir.tensor(values.contiguous().numpy()))

    def along(x: Any, axis: int, side: int, new_side: int) -> Any:
        parts = []
        for first, weights in weight_bands(side, new_side):
            window = operators.Slice(
                x, *(constant(torch.tensor([value])) for value in (first, first + weights.shape[1], axis))
            )
            parts.append(
                operators.MatMul(window, constant(weights.T))
                if axis == 3
                else operators.MatMul(constant(weights), window)
            )
        return operators.Concat(*parts, axis=axis)

    def resize(
        x: Any,
        output_size: Sequence[int],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Any:
        (H, W), (height, width) = (int(side) for side in x.shape[-2:]), (int(side) for side in output_size)
        return along(along(x, 2, H, height), 3, W, width)  # (B*T, 3, height, width)

    return resize


def resize_weights(side: int, new_side: int) -> Tensor:
    """``(new_side, side)``: what each pixel of the old side gives to each of the new one in antialiased
    bilinear resizing."""
    unit = torch.eye(side)[None, None]  # (1, 1, side, side)
    return F.interpolate(unit, (new_side, side), mode='bilinear', align_corners=False, antialias=True)[0, 0]


def weight_bands(side: int, new_side: int, rows: int = 12) -> list[tuple[int, Tensor]]:
    """:func:`resize_weights` cut into bands of ``rows`` new pixels, without the old ones that have no part in
    them.

    Returns:
        (first old pixel, ``(rows, old pixels)``) of each band; far fewer multiply-adds than the whole matrix,
        most of which is zeros.
    """
    bands = []
    for weights in resize_weights(side, new_side).split(rows):
        used = weights.any(0).nonzero().flatten()
        bands.append((int(used[0]), weights[:, int(used[0]) : int(used[-1]) + 1]))
    return bands


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter reports libraries that are not needed."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def _shapes(entries: Any) -> dict[str, list[int | str]]:
    return {
        entry.name: [dim.dim_value or BATCH for dim in entry.type.tensor_type.shape.dim] for entry in entries
    }


# --------------------------------------------------------------------------------------------------- checking


def check_graph(
    look: LookAsTensors | FrameAsTensors,
    session: Any,
    example: Tensor,
    batches: Sequence[int] = CHECKED_BATCHES,
) -> dict[str, float]:
    """Largest difference of each output from torch, as a share of the largest value of that output.

    Args:
        session: of onnxruntime.
        example: a clip of the size that the graph takes.
        batches: numbers of clips that are tried.

    Raises:
        ExportError: if the graph does not run, or a difference is above 1e-4.
    """
    differences: dict[str, float] = {}
    for batch in batches:
        _, T, _, H, W = example.shape
        frames = random_frames(batch, T, (H, W), seed=batch)
        before = _state_before(look, frames)
        tensors = {'frames': frames, **as_inputs(named_tensors(before))}
        feed = {entry.name: as_array(tensors[entry.name]) for entry in session.get_inputs()}
        names = [entry.name for entry in session.get_outputs()]
        try:
            answers = {name: torch.from_numpy(value) for name, value in zip(names, session.run(names, feed))}
        except Exception as error:  # onnxruntime raises errors of its own kinds
            raise ExportError(f'{look.name}.onnx does not run on {batch} clips: {error}') from error
        for name, expected in _expected(look, frames, before, answers).items():
            if answers[name].shape != expected.shape:
                raise ExportError(
                    f'{look.name}.onnx: {name} of {batch} clips has shape {tuple(answers[name].shape)}'
                    f' instead of {tuple(expected.shape)}'
                )
            differences[name] = max(differences.get(name, 0.0), _difference(answers[name], expected))
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= TOLERANCE:
        raise ExportError(
            f'{look.name}.onnx does not answer as torch does: {worst} differs by {differences[worst]:.1e} of'
            f' its largest value, {TOLERANCE:g} are allowed; try another opset, or report it'
        )
    return differences


def _difference(answer: Tensor, expected: Tensor) -> float:
    """As a share of the largest expected value; nan (centres of frames that were not looked at) belongs where
    nan is expected."""
    if answer.dtype.is_floating_point and not torch.equal(answer.isnan(), expected.isnan()):
        return float('inf')
    answer, expected = answer.double().nan_to_num(0.0), expected.double().nan_to_num(0.0)
    return float((answer - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


def _state_before(look: LookAsTensors | FrameAsTensors, frames: Tensor) -> LookState:
    """What torch leaves before this look; of a stream, after earlier frames."""
    before = before_first()
    if look.before.cache:
        B, T, _, H, W = frames.shape
        earlier = random_frames(B, T, (H, W), seed=100 + B)
        before = before_first(all_looks(look.model, earlier, before)[-1].cache)
    while before.step < look.before.step:
        before = take_look(look.model, frames, before)
    return before if look.before.cache else replace(before, cache=())


def _expected(
    look: LookAsTensors | FrameAsTensors, frames: Tensor, before: LookState, answers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Torch's answer; of a look that was cut at centres, at those of the graph if they are all but the same:
    where one lies so near the edge of a pixel that rounding decides, another patch is cut."""
    if isinstance(look, FrameAsTensors):
        return look.tensors(_all_looks_at(look.model, frames, before, answers.get('centres')))
    after = look.take(frames, before)
    centres = answers.get('centres')
    if before.step < 0 or centres is None:
        return look.tensors(after)
    return look.tensors(_look_at(look.model, frames, before, after, centres))


def _look_at(
    model: Recognizer, frames: Tensor, before: LookState, after: LookState, centres: Tensor
) -> LookState:
    """``after``, cut at ``centres`` if these are all but its own."""
    if after.centres is None or after.window_sizes is not None:
        return after
    if not torch.allclose(centres, after.centres, rtol=0, atol=TOLERANCE):
        return after
    there = named_tensors(model.focus(frames, before, centres))
    own = named_tensors(after)
    return fill(
        after,
        {
            name: own[name] if name.partition('.')[0] in ('memory', 'centres') else there.get(name, own[name])
            for name in own
        },
    )


def _all_looks_at(
    model: Recognizer, frames: Tensor, before: LookState, centres: Tensor | None
) -> list[LookState]:
    states = [take_look(model, frames, before)]
    for step in range(model.steps):
        after = take_look(model, frames, states[-1])
        found = after if centres is None else _look_at(model, frames, states[-1], after, centres[:, step])
        states.append(found)
    return states


# ------------------------------------------------------------------------------------------------- the folder


def _record(
    model: Recognizer,
    graphs: list[GraphRecord],
    frame: GraphRecord | None,
    num_frames: int,
    frame_size: tuple[int, int],
    opset: int,
) -> ExportRecord:
    preprocessor = {
        name: getattr(model.data_preprocessor, name).flatten().tolist() for name in ('mean', 'std')
    }
    return ExportRecord(
        graphs=graphs,
        steps=model.steps,
        num_classes=model.num_classes,
        num_frames=num_frames,
        frame_size=frame_size,
        model=describe_model(model),
        preprocessor=preprocessor,
        dataset_meta=_without_tensors(plain(dict(model.dataset_meta))),
        cfg=model.cfg.pretty_text if model.cfg else None,
        opset=opset,
        versions={'gfvideo': __version__, **{library: version(library) for library in LIBRARIES}},
        streams=not model.looking_ahead(),
        frame=frame,
    )


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _without_tensors(item) for key, item in value.items()}
    return [_without_tensors(item) for item in value] if isinstance(value, (list, tuple)) else value


def _earlier_graphs(folder: Path) -> set[str]:
    """Names of the graphs of an earlier export in a folder, which a new one may replace.

    Raises:
        ExportError: if the folder is a file, or holds files that an export writes but no export wrote.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f'{folder} is a file; name a folder for the graphs')
    record = folder / RECORD
    told = json.loads(record.read_text(encoding='utf-8')) if record.is_file() else {}
    named = {graph['file'] for graph in [*told.get('graphs', []), told.get('frame')] if graph}
    foreign = sorted(
        path.name
        for path in folder.glob('*.onnx')
        if path.name not in named and _GRAPH_NAME.fullmatch(path.name)
    )
    if foreign:
        raise ExportError(
            f'{folder} holds {", ".join(foreign)}, which no export recorded in {RECORD} wrote; name an empty'
            ' folder, or remove them'
        )
    return named


def publish_export(part: Path, folder: Path) -> None:
    """Move finished files over those of an earlier export, which go; without ``export.json`` a folder is
    none."""
    earlier = _earlier_graphs(folder)
    folder.mkdir(exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for name in earlier:
        (folder / Path(name).name).unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == RECORD):
        shutil.move(path, folder / path.name)
