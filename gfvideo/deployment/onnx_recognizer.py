"""An exported recognizer with the contract of those in torch: glance, focus, predict, early exit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine.config import Config
from torch import Tensor

from ..engine.config import carried_config, import_own
from ..models.base import Recognizer
from ..models.stream import Stream
from ..models.temporal import Cache
from ..structures import LookState
from .optional import needed
from .record import RECORD, read_export
from .sessions import Plan, Sessions, as_array, on_device, open_session
from .states import BEFORE, CACHE, before_first

__all__ = ['OnnxRecognizer']


class OnnxRecognizer(Recognizer):
    """Runs the graphs of :func:`~gfvideo.deployment.export_recognizer` by onnxruntime; a look that is not
    taken is not run.

    ``glance``, ``focus``, ``looks`` and ``forward`` are those of the recognizer that was exported, so
    :func:`~gfvideo.exits.run_clips` and :func:`~gfvideo.apis.inference_recognizer` take it as they take that
    one, with the same files of exits. The graphs of a causal recognizer go on from the frames before; those
    of one frame (``--frames 1``) stream. Nothing is kept between calls: several threads may share one.

    Args:
        folder: with ``export.json``.
        threads: of each run; None takes a thread a core. They do not spin.
        providers: of onnxruntime, in order of preference; None takes the CPU.
        custom_imports: see :func:`~gfvideo.apis.init_recognizer`.

    Attributes:
        record: what ``export.json`` says.
        cfg: config of the network; empty if it had none.
        dataset_meta: what its checkpoint said of the dataset, e.g. ``classes``.

    Raises:
        ImportError: if onnxruntime is missing.
        FileNotFoundError: if there is no export in the folder, or a graph is missing.
        ConfigError: if the config in ``export.json`` is more than plain data, or names a part that is not
            registered.
        ValueError: if ``export.json`` is malformed, a graph has changed since, or ``threads`` is below 1.
    """

    def __init__(
        self,
        folder: str | Path,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        custom_imports: str | Sequence[str] = (),
    ):
        needed('onnxruntime')
        if threads is not None and threads < 1:
            raise ValueError(f'threads={threads} must be at least 1')
        record = read_export(folder)
        super().__init__(record.num_classes, dict(type='ClipPreprocessor', **record.preprocessor))
        self.record, self.steps = record, record.steps
        import_own(custom_imports)
        self.cfg = Config() if record.cfg is None else carried_config(record.cfg, str(Path(folder) / RECORD))
        self.dataset_meta = record.dataset_meta
        opened = {
            file: open_session(Path(folder) / file, threads, providers)
            for file in {graph.file for graph in record.files()}
        }
        self.sessions = Sessions(
            [opened[graph.file] for graph in record.graphs],
            [Plan.of(graph.inputs, graph.outputs, graph.carried) for graph in record.graphs],
            [graph.inputs for graph in record.files()],
        )
        self._whole_frame = None if record.frame is None else opened[record.frame.file]
        self.eval()

    def described(self) -> dict[str, Any]:
        """What the recognizer that was exported told, with the hash of its weights."""
        return dict(self.record.model)

    def looking_ahead(self) -> list[str]:
        """Nothing, if the graphs go on from the frames before; else they take whole clips."""
        return [] if self.record.streams else ['its graphs']

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0 at frames ``(B, T, 3, H, W)``, normalised; see the recognizer that was exported.

        Raises:
            ValueError: if the frames are not float32 of the T, H and W that were exported, or a cache is
                given to graphs that take whole clips.
        """
        self._check(frames)
        if cache and not self.record.streams:
            raise ValueError('this export takes whole clips, and no cache of the frames before')
        return self.sessions.look(frames, before_first(cache))

    def focus(self, frames: Tensor, state: LookState, centres: Tensor | None = None) -> LookState:
        """One more look at the frames ``(B, T, 3, H, W)`` of ``state``, where the policy in the graph says.

        Raises:
            ValueError: if the frames are not float32 of the T, H and W that were exported, all steps are
                taken, or centres are given.
        """
        self._check(frames)
        if centres is not None:
            raise ValueError(
                'an exported recognizer looks where the policy in its graphs says; give no centres'
            )
        step = state.step + 1
        if step > self.steps:
            raise ValueError(f'look {step} was asked of an export of {self.steps} focus steps')
        return self.sessions.look(frames, state)

    @torch.no_grad()
    def read_frame(self, frames: Tensor, cache: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """All looks at the next frame of a stream in one call.

        Args:
            frames: ``(B, 1, 3, H, W)`` float32, normalised.
            cache: ``cache...`` of the answer to the frame before; None at the start.

        Returns:
            ``clip_logits (B, C)``, ``step_logits (B, S+1, 1, C)``, ``centres (B, S, 1, 2)`` and ``cache...``.

        Raises:
            ValueError: if the export has no such graph, or the frames do not fit.
        """
        self._check(frames)
        graph, session = self.record.frame, self._whole_frame
        if graph is None or session is None:
            raise ValueError(
                'this export has no graph of all looks at a frame; export again with --frames 1 --whole-frame'
            )
        known = dict(cache or {})
        if not known:
            for step, part in enumerate(self.sessions.complete(frames, ())):
                known.update({f'{CACHE}.{step}.{key}': tensor for key, tensor in part.items()})
        feed = {
            name: as_array(frames if name == 'frames' else known[name.removeprefix(BEFORE)])
            for name in graph.inputs
        }
        answers = session.run(list(graph.outputs), feed)
        return dict(zip(graph.outputs, on_device(frames.device, answers)))

    def losses(self, frames: Tensor, labels: Tensor) -> NoReturn:
        raise ValueError('an exported recognizer only predicts; train the one it was exported from')

    def stream(self, *args: Any, **kwargs: Any) -> Stream:
        """See :meth:`Recognizer.stream`.

        Raises:
            ValueError: if the graphs do not go on from the frames before, or take more than one.
        """
        if not self.record.streams:
            raise ValueError(
                'this export takes whole clips; streams need one of a causal recognizer, exported with'
                ' --frames 1'
            )
        if self.record.num_frames > 1:
            raise ValueError(
                f'this export takes {self.record.num_frames} frames at a time, a stream gives one: export'
                ' again with --frames 1'
            )
        return super().stream(*args, **kwargs)

    def _check(self, frames: Tensor) -> None:
        T, (H, W) = self.record.num_frames, self.record.frame_size
        if frames.dim() != 5 or tuple(frames.shape[1:]) != (T, 3, H, W):
            raise ValueError(
                f'frames have shape {tuple(frames.shape)}; this export takes (B, {T}, 3, {H}, {W}). Export'
                ' again with --frames T --frame-size H W for others'
            )
        if frames.dtype != torch.float32:
            raise ValueError(
                f'frames are {frames.dtype}; this export takes float32, normalised by its data_preprocessor'
            )
