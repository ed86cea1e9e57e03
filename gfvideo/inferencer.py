"""The inferencer that users of mmengine and of the OpenMMLab libraries know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer

from .apis import Exits, build_pipeline, init_recognizer
from .exits import ExitRule
from .visualization import draw_strip
from .watching import LookedClip, chosen_exits, look_at_clip, moments_of_clip, scene_of

__all__ = ['GlanceFocusInferencer']


class GlanceFocusInferencer(BaseInferencer):
    """Predict videos, and draw what was looked at.

        inferencer = GlanceFocusInferencer(weights='work_dirs/RUN')
        inferencer('video.mp4', out_dir='pictures')['predictions']
        # [{'video': 'video.mp4', 'label': 3, 'name': 'Opening a jar', 'score': 0.93, 'scores': [...], ...}]

    Args:
        model: config, or a config file; None takes the one that the checkpoint carries.
        weights: a checkpoint or the folder of a run (:func:`~gfvideo.engine.checkpoint_of`).
        device: where it runs; None takes a GPU if there is one.
        exits: stop when sure, as of :func:`gfvideo.apis.inference_recognizer`.
        show_progress: a bar over the inputs.

    Raises:
        ValueError, ConfigError, CheckpointError: as :func:`gfvideo.apis.init_recognizer`.
    """

    visualize_kwargs = {'return_vis', 'out_dir', 'form', 'width'}
    postprocess_kwargs: set[str] = set()

    def __init__(
        self,
        model: str | PathLike[str] | Config | dict | None = None,
        weights: str | PathLike[str] | None = None,
        device: str | None = None,
        exits: Exits | None = None,
        show_progress: bool = False,
    ):
        cfg = Config(model) if isinstance(model, dict) and not isinstance(model, Config) else model
        self.model = init_recognizer(cfg, weights, device)
        self.scope, self.cfg, self.show_progress = 'gfvideo', self.model.cfg, show_progress
        self.pipeline = self._init_pipeline(self.cfg)
        self.collate_fn, self.visualizer = pseudo_collate, None
        self.exits: ExitRule | None = chosen_exits(self.model, exits)

    def _init_pipeline(self, cfg: Any) -> Callable:
        return build_pipeline(cfg)

    def _inputs_to_list(self, inputs: Any) -> list:
        """One video or a list of them; a folder is one video of images."""
        return list(inputs) if isinstance(inputs, list | tuple) else [inputs]

    def preprocess(self, inputs: list, batch_size: int = 1, **kwargs: Any) -> Iterator[list]:
        """Videos by the batch; each is decoded when it is looked at."""
        yield from self._get_chunk_data(inputs, batch_size)

    @torch.no_grad()
    def forward(self, inputs: Any, **kwargs: Any) -> list[LookedClip]:
        """Look at videos, one after the other, so that each may stop when it is sure."""
        return [look_at_clip(self.model, video, self.exits) for video in inputs]

    def visualize(
        self,
        inputs: list,
        preds: Sequence[LookedClip],
        return_vis: bool = False,
        out_dir: str | PathLike[str] = '',
        form: str = 'png',
        width: int = 1280,
        **kwargs: Any,
    ) -> list[np.ndarray] | None:
        """Pictures of what was looked at, and files of them.

        Args:
            inputs: the videos.
            preds: of :meth:`forward`.
            return_vis: whether to return the pictures, ``(H, W, 3)`` uint8 RGB each.
            out_dir: folder to write them to, named by the videos; '' writes none.
            form: of the files: 'png', 'pdf' or 'svg'.
            width: of the pictures in pixels.
        """
        if not return_vis and not out_dir:
            return None
        pictures, names = [], _names(preds)
        for name, looked in zip(names, preds):
            moments = moments_of_clip(self.model, looked, self.exits is not None)
            drawn = draw_strip(scene_of(self.model, name), moments, width)
            if out_dir:
                drawn.save(Path(out_dir) / f'{name}.{form}')
            pictures.append(drawn.render())
        return pictures if return_vis else None

    def postprocess(
        self,
        preds: Sequence[LookedClip],
        visualization: list[np.ndarray] | None,
        return_datasamples: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """``predictions``, a dict of plain values for each video, or with ``return_datasamples`` its
        :class:`~gfvideo.structures.ClipSample`; and ``visualization``."""
        if return_datasamples:
            predictions: list[Any] = [looked.sample for looked in preds]
        else:
            predictions = [self._plain(name, looked) for name, looked in zip(_names(preds), preds)]
        return dict(predictions=predictions, visualization=visualization)

    def _plain(self, name: str, looked: LookedClip) -> dict[str, Any]:
        scores = self.model.probabilities(looked.sample.logits)
        label = int(scores.argmax())
        return dict(
            video=name,
            label=label,
            name=scene_of(self.model, name).classes[label],
            score=float(scores[label]),
            scores=scores.tolist(),
            looks=looked.states[-1].step,
            frame_indices=[int(index) for index in looked.sample.get('frame_indices', [])],
        )


def _names(preds: Sequence[LookedClip]) -> list[str]:
    """Of the videos; one that comes again has a number behind."""
    ids = [str(looked.sample.get('video_id', 'video')) for looked in preds]
    counts = [ids[:number].count(name) for number, name in enumerate(ids)]
    return [f'{name}_{count + 1}' if count else name for name, count in zip(ids, counts)]
