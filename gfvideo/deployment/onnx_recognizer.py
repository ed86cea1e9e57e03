"""An exported recognizer with the contract of those in torch: glance, focus, predict, early exit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine.config import Config
from torch import Tensor

from ..engine.config import carried_config, import_own
from ..models.base import Recognizer
from ..models.temporal import Cache
from ..structures import LookState
from .optional import needed
from .record import RECORD, GraphRecord, read_export
from .states import BEFORE, named_tensors, packed

__all__ = ['OnnxRecognizer']


class OnnxRecognizer(Recognizer):
    """Runs the graphs of :func:`~gfvideo.deployment.export_recognizer` by onnxruntime; a look that is not
    taken is not run.

    ``glance``, ``focus``, ``looks`` and ``forward`` are those of the recognizer that was exported, so
    :func:`~gfvideo.exits.run_clips` and :func:`~gfvideo.apis.inference_recognizer` take it as they take that
    one, with the same files of exits. Nothing is kept between calls: several threads may share one.

    Args:
        folder: with ``export.json``.
        threads: of each run; None leaves it to onnxruntime (a thread a core).
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
        onnxruntime = needed('onnxruntime')
        if threads is not None and threads < 1:
            raise ValueError(f'threads={threads} must be at least 1')
        record = read_export(folder)
        super().__init__(record.num_classes, dict(type='ClipPreprocessor', **record.preprocessor))
        self.record, self.steps = record, record.steps
        import_own(custom_imports)
        self.cfg = Config() if record.cfg is None else carried_config(record.cfg, str(Path(folder) / RECORD))
        self.dataset_meta = record.dataset_meta
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        files = {graph.file: str(Path(folder) / graph.file) for graph in record.graphs}
        sessions = {
            file: onnxruntime.InferenceSession(
                path, options, providers=list(providers or ['CPUExecutionProvider'])
            )
            for file, path in files.items()
        }
        self.sessions = [sessions[graph.file] for graph in record.graphs]
        self.eval()

    def described(self) -> dict[str, Any]:
        """What the recognizer that was exported told, with the hash of its weights."""
        return dict(self.record.model)

    def looking_ahead(self) -> list[str]:
        """The graphs take whole clips."""
        return ['its graphs']

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0 at frames ``(B, T, 3, H, W)``, normalised; see the recognizer that was exported.

        Raises:
            ValueError: if the frames are not float32 of the T, H and W that were exported, or a cache is
                given.
        """
        self._check(frames)
        if cache:
            raise ValueError('an exported recognizer takes whole clips, and no cache of the frames before')
        return packed(0, self._run(0, frames, {}))

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
        return packed(step, self._run(step, frames, named_tensors(state)))

    def losses(self, frames: Tensor, labels: Tensor) -> NoReturn:
        raise ValueError('an exported recognizer only predicts; train the one it was exported from')

    def stream(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(
            'an exported recognizer takes whole clips; streams need a causal recognizer in torch'
        )

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

    def _run(self, step: int, frames: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The named tensors after ``step``, on the device of the frames."""
        graph: GraphRecord = self.record.graphs[step]
        given = {'frames': frames, **{BEFORE + name: tensor for name, tensor in state.items()}}
        feed = {name: given[name].detach().cpu().contiguous().numpy() for name in graph.inputs}
        names = [name for name in graph.outputs if name != 'clip_logits']
        answers = self.sessions[step].run(names, feed)
        new = {name: torch.from_numpy(answer).to(frames.device) for name, answer in zip(names, answers)}
        return {**{name: state[name] for name in graph.carried}, **new}
