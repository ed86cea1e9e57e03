"""What computes the looks of a recognizer: torch as it is, torch's compiler, or onnxruntime."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Literal, NoReturn, get_args

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..engine.identity import describe_model
from ..models.arguments import one_of
from ..models.base import Recognizer
from ..models.temporal import Cache
from ..structures import LookState, map_tensors
from .export import ExportError, check_exportable
from .optional import needed
from .states import before_first, fill, joined, named_tensors, packed
from .tracing import TracedAnswers, TracedLooks, trace_answers, trace_looks

__all__ = ['Runtime', 'with_runtime']

Runtime = Literal['auto', 'eager', 'onnxruntime', 'compile']
LIBRARIES = ('onnx', 'onnxruntime')
MOST_SIZES = 16  # of clips whose graphs are kept
_making = threading.Lock()


def with_runtime(model: Recognizer, runtime: Runtime = 'auto', threads: int | None = None) -> Recognizer:
    """The same recognizer, its looks computed by another engine: exits, streams and predictions go on as
    before.

    Args:
        model: trained, in evaluation mode.
        runtime: 'eager' returns the model as it is. 'onnxruntime' makes graphs of its looks at the first clip
            of each size and number of frames, which takes a second or two a look, and is for the CPU.
            'compile' has torch.compile make kernels at the first clip, for a CPU with a C++ compiler, or a
            GPU. 'auto' takes onnxruntime on a CPU where it is installed and the recognizer can be traced,
            else eager.
        threads: of onnxruntime; None takes as many as torch has (torch.get_num_threads()).

    Returns:
        A recognizer that predicts, exits and streams, and does not train.

    Raises:
        ImportError: if onnxruntime is asked for and missing.
        ExportError: if onnxruntime is asked for and the looks are drawn at random.
        ValueError: if the runtime is unknown, the model is in training mode, or it is not on the CPU and
            onnxruntime is asked for.
    """
    one_of(runtime, 'runtime', get_args(Runtime))
    if threads is not None and threads < 1:
        raise ValueError(f'threads={threads} must be at least 1')
    if model.training:
        raise ValueError('the model is in training mode; call model.eval() before it gets a runtime')
    if runtime == 'auto':
        why = _why_not_graphs(model)
        if why is None:
            return GraphRecognizer(model, threads or torch.get_num_threads(), fall_back=True)
        print_log(f"runtime='auto' takes eager torch: {why}", 'current')
        return model
    if runtime == 'onnxruntime':
        for library in LIBRARIES:
            needed(library)
        if _device(model).type != 'cpu':
            raise ValueError(
                f"runtime='onnxruntime' is for the CPU, and the model is on {_device(model)}; move it there,"
                " or choose 'compile' or 'eager'"
            )
        check_exportable(model)
        return GraphRecognizer(model, threads or torch.get_num_threads())
    return CompiledRecognizer(model) if runtime == 'compile' else model


def _device(model: Recognizer) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device('cpu'))


def _why_not_graphs(model: Recognizer) -> str | None:
    missing = [library for library in LIBRARIES if importlib.util.find_spec(library) is None]
    if missing:
        return f'{" and ".join(missing)} are not installed (pip install "gfvideo[onnx]")'
    if _device(model).type != 'cpu':
        return f'the model is on {_device(model)}'
    try:
        check_exportable(model)
    except ExportError as error:
        return str(error)
    return None


class EngineRecognizer(Recognizer):
    """A recognizer that tells what another one is, and computes its looks in another way."""

    def __init__(self, model: Recognizer):
        super().__init__(model.num_classes, loss=model.loss)
        self.model, self.steps = model, model.steps
        self.data_preprocessor = model.data_preprocessor
        self.cfg, self.dataset_meta, self.provenance = model.cfg, model.dataset_meta, model.provenance
        self._described: dict[str, Any] = {}
        self.eval()

    def parts(self) -> dict[str, nn.Module]:
        return self.model.parts()

    def described(self) -> dict[str, Any]:
        """What the recognizer itself tells, with the hash of its weights, which change no more."""
        if not self._described:
            self._described = describe_model(self.model)
        return dict(self._described)

    def by_torch(self) -> Recognizer:
        return self.model

    def looking_ahead(self) -> list[str]:
        return self.model.looking_ahead()

    @property
    def draws(self) -> bool:
        return self.model.draws

    def losses(self, frames: Tensor, labels: Tensor) -> NoReturn:
        raise ValueError("a recognizer with a runtime only predicts; train it with runtime='eager'")


class CompiledRecognizer(EngineRecognizer):
    """Looks as torch.compile makes them, anew for each size of clip.

    Args:
        model: in evaluation mode.
        options: of torch.compile.
    """

    def __init__(self, model: Recognizer, **options: Any):
        super().__init__(model)
        self._glance = torch.compile(model.glance, dynamic=False, **options)
        self._focus = torch.compile(model.focus, dynamic=False, **options)

    @property
    def prepares_for_sizes(self) -> bool:
        """It compiles anew for each."""
        return True

    @torch.no_grad()
    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        return self._glance(frames, cache)

    @torch.no_grad()
    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState:
        return self._focus(frames, state, centres)


class GraphRecognizer(EngineRecognizer):
    """Looks as graphs in onnxruntime, one clip after the other: on a CPU single clips are as fast as batches.

    Graphs are made at the first clip of each size and number of frames, and those of the last sizes are kept.
    Looks at centres of the caller's are left to torch.

    Args:
        model: in evaluation mode, on the CPU.
        threads: of a run; None takes a thread a core.
        fall_back: whether torch takes the looks, and a line says why, where no graph can be made.
    """

    def __init__(self, model: Recognizer, threads: int | None = None, fall_back: bool = False):
        super().__init__(model)
        self.threads, self.fall_back = threads, fall_back
        self._made: dict[tuple[int, ...], Any] = {}  # by what is traced and the size of clips

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        return self._look(frames, before_first(cache))

    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState:
        if state.step >= self.steps:
            raise ValueError(f'look {state.step + 1} was asked of a recognizer of {self.steps} focus steps')
        return self._look(frames, state, centres)

    @torch.no_grad()
    def answers(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> list[LookState]:
        """See :meth:`Recognizer.answers`; all looks at a clip in one call."""
        self._check(frames)
        graph: TracedAnswers | None = self._graphs(trace_answers, frames)
        if graph is None:
            return self.model.answers(frames, cache)
        clips = [slice(i, i + 1) for i in range(len(frames))]
        if len(clips) == 1:
            return graph.run(frames, cache)
        parts = [graph.run(frames[clip], map_tensors(cache, itemgetter(clip))) for clip in clips]
        return [joined(states) for states in zip(*parts)]

    @torch.no_grad()
    def _look(self, frames: Tensor, before: LookState, centres: Tensor | None = None) -> LookState:
        self._check(frames)
        looks: TracedLooks | None = self._graphs(trace_looks, frames)
        if looks is None:
            return self._by_torch(frames, before, centres)
        if centres is not None:
            template = looks.states[before.step]
            after = self._by_torch(frames, fill(template, named_tensors(before)), centres)
            return packed(after.step, named_tensors(after))
        if len(frames) == 1:
            return looks.sessions.look(frames, before)
        clips = [slice(i, i + 1) for i in range(len(frames))]
        if before.step < 0:
            parts = [before_first(map_tensors(before.cache, itemgetter(clip))) for clip in clips]
        else:
            parts = [before.select(clip) for clip in clips]
        return joined([looks.sessions.look(frames[clip], part) for clip, part in zip(clips, parts)])

    def _by_torch(self, frames: Tensor, before: LookState, centres: Tensor | None) -> LookState:
        if before.step < 0:
            return self.model.glance(frames, before.cache)
        return self.model.focus(frames, before, centres)

    @staticmethod
    def _check(frames: Tensor) -> None:
        if frames.dim() != 5 or frames.dtype != torch.float32:
            raise ValueError(
                f'frames are {frames.dtype} of shape {tuple(frames.shape)}; give normalised float32'
                ' (B, T, 3, H, W)'
            )

    def _graphs(self, trace: Callable[..., Any], frames: Tensor) -> Any:
        """What ``trace`` makes for clips of this size, made if there is none; None where torch takes the
        looks."""
        key = (trace.__name__, frames.shape[1], *frames.shape[3:])
        with _making:
            if key in self._made:
                return self._made[key]
            graphs = self._traced(trace, *key[1:])
            while len(self._made) >= MOST_SIZES:
                del self._made[next(iter(self._made))]
            self._made[key] = graphs
            return graphs

    def _traced(self, trace: Callable[..., Any], T: int, H: int, W: int) -> Any:
        print_log(f'makes graphs for {T} frame{"s" if T > 1 else ""} of {H}x{W}', 'current')
        try:
            return trace(self.model, T, (H, W), self.threads)
        except ExportError as error:
            if not self.fall_back:
                raise
            print_log(f"runtime='auto' takes eager torch: {error}", 'current')
            return None
