"""The test pipeline of a config, for a video that no dataset lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..data import dataset as datasets
from ..data.streaming import Video, describe_video
from .config import ConfigError

__all__ = ['build_pipeline', 'frame_names', 'own_scope', 'prepare_video']


@contextmanager
def own_scope() -> Iterator[None]:
    """Look names of types up in gfvideo's registries first, whatever scope the caller has set."""
    with DefaultScope.overwrite_default_scope('gfvideo'):
        yield


def build_pipeline(cfg: Config) -> datasets.Pipeline:
    """The transforms of ``cfg.test_dataloader.dataset.pipeline``: what every video passes before a trained
    recognizer sees it.

    Raises:
        ConfigError: if the config has none.
    """
    pipeline = cfg.get('test_dataloader', {}).get('dataset', {}).get('pipeline')
    if not pipeline:
        raise ConfigError(
            'the config has no test_dataloader.dataset.pipeline, so how to prepare a video for the recognizer'
            ' is unknown'
        )
    with own_scope():
        return datasets.build_pipeline(pipeline)


def frame_names(cfg: Config) -> dict[str, Any]:
    """``frame_template`` and ``start_index`` of the test dataset, as far as the config names them: how images
    in folders are called."""
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    return {key: dataset[key] for key in ('frame_template', 'start_index') if dataset.get(key) is not None}


def prepare_video(
    video: Video, pipeline: datasets.Pipeline, frame_template: str = '{:05d}.jpg', start_index: int = 1
) -> dict[str, Any]:
    """One video through the test pipeline.

    Args:
        video: as of :func:`~gfvideo.apis.inference_recognizer`.
        pipeline: of :func:`build_pipeline`.
        frame_template, start_index: names and first number of the images of a folder.

    Returns:
        dict(inputs=uint8 ``(T, 3, H, W)`` or ``(V, T, 3, H, W)``, data_samples=:class:`ClipSample` without
        label).
    """
    return pipeline(describe_video(video, frame_template, start_index))
