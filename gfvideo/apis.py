"""Use a trained recognizer from Python: build it from its checkpoint, show it a video."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from .data import dataset as datasets
from .engine.checkpoint import load_checkpoint, load_weights
from .engine.config_check import ConfigError
from .engine.stages import expand_stages, load_config, select_stage
from .models.base import Recognizer
from .registry import MODELS
from .structures import ClipSample

__all__ = ['Video', 'build_pipeline', 'frame_names', 'inference_recognizer', 'init_recognizer', 'parse_config', 'predict_clip',
           'prepare_video']

Video = str | PathLike[str] | np.ndarray
"""A video file, a folder of images, or frames ``(N, H, W, 3)`` uint8 RGB."""


def init_recognizer(config: str | PathLike[str] | Config | None = None, checkpoint: str | PathLike[str] | None = None,
                    device: str | torch.device = 'cpu', cfg_options: dict[str, Any] | None = None) -> Recognizer:
    """Build a recognizer, ready to predict.

    Args:
        config: a config file or a :class:`Config`; None takes the one that the checkpoint carries. Of a config with stages, the model is
            that of the last one.
        checkpoint: weights to load, read with ``weights_only=True``; None leaves the weights as they are first drawn.
        device: where the recognizer lives.
        cfg_options: settings to change, as :func:`~gfvideo.engine.stages.expand_stages` takes them, e.g.
            ``{'model.test_centres': 'random'}``.

    Returns:
        The recognizer in eval mode. ``recognizer.cfg`` is its config and ``recognizer.dataset_meta`` what the checkpoint says of the
        dataset it was trained on (``classes``: the names of the classes), an empty dict if it says nothing.

    Raises:
        ValueError: if neither config nor checkpoint is given.
        ConfigError: if a setting is unknown, or the checkpoint carries no config, or one that is more than plain data.
        CheckpointError: if the checkpoint cannot be read safely or does not fit the config.
    """
    if config is None and checkpoint is None:
        raise ValueError('give a config, a checkpoint or both')
    loaded = None if checkpoint is None else load_checkpoint(fspath(checkpoint))
    meta = {} if loaded is None else loaded['meta']
    cfg = _carried_config(meta, checkpoint) if config is None else _given_config(config)
    cfg = select_stage(expand_stages(cfg, cfg_options), None).cfg
    with _own_scope():
        model = MODELS.build(_model_config(cfg))
    if loaded is not None:
        load_weights(model, loaded, fspath(checkpoint))
    model.cfg = cfg
    model.dataset_meta = dict(meta.get('dataset_meta') or {})
    return model.to(device).eval()


def inference_recognizer(model: Recognizer, video: Video | list[Video]) -> ClipSample | list[ClipSample]:
    """Recognize a video, with the test pipeline of the model's config and the predict that ``tools/test.py`` runs.

    Args:
        model: of :func:`init_recognizer`.
        video: a video file, a folder of images, or frames ``(N, H, W, 3)`` uint8 RGB; or a list of such videos.

    Returns:
        The sample with ``step_logits (S+1, C)``, ``logits (C,)`` and, of a recognizer that focuses, ``centres``; for a list of videos
        the list of their samples.

    Raises:
        VideoError: if a video cannot be read.
        ConfigError: if the config has no test pipeline.
        ValueError: if an array is not frames.
    """
    pipeline, names = build_pipeline(model.cfg), frame_names(model.cfg)
    if isinstance(video, (list, tuple)):
        return [predict_clip(model, prepare_video(one, pipeline, **names)) for one in video]
    return predict_clip(model, prepare_video(video, pipeline, **names))


def build_pipeline(cfg: Config) -> datasets.Pipeline:
    """The transforms of ``cfg.test_dataloader.dataset.pipeline``: what every video passes before a trained recognizer sees it.

    Raises:
        ConfigError: if the config has none.
    """
    pipeline = cfg.get('test_dataloader', {}).get('dataset', {}).get('pipeline')
    if not pipeline:
        raise ConfigError('the config has no test_dataloader.dataset.pipeline, so how to prepare a video for the recognizer is unknown')
    with _own_scope():
        return datasets.build_pipeline(pipeline)


def frame_names(cfg: Config) -> dict[str, Any]:
    """``frame_template`` and ``start_index`` of the test dataset, as far as the config names them: how images in folders are called."""
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    return {key: dataset[key] for key in ('frame_template', 'start_index') if dataset.get(key) is not None}


def prepare_video(video: Video, pipeline: datasets.Pipeline, frame_template: str = '{:05d}.jpg', start_index: int = 1) -> dict[str, Any]:
    """One video through the test pipeline.

    Args:
        video: a video file, a folder of images, or frames ``(N, H, W, 3)`` uint8 RGB.
        pipeline: of :func:`build_pipeline`.
        frame_template, start_index: names and first number of the images of a folder.

    Returns:
        dict(inputs=uint8 ``(T, 3, H, W)`` or ``(V, T, 3, H, W)``, data_samples=:class:`ClipSample` without label).
    """
    results = _array_results(video) if isinstance(video, np.ndarray) else _file_results(Path(video))
    return pipeline(dict(results, label=None, frame_template=frame_template, start_index=start_index, rng=np.random.default_rng(0)))


def predict_clip(model: Recognizer, data: dict[str, Any]) -> ClipSample:
    """Predict one prepared clip by ``model.test_step``, as mmengine's test loop does with a batch of one."""
    with torch.no_grad():
        return model.test_step(pseudo_collate([data]))[0]


class _ArrayReader:
    """Frames in memory behind the protocol of the video readers."""

    def __init__(self, frames: np.ndarray):
        self.frames = frames

    def __enter__(self) -> _ArrayReader:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def frame_size(self) -> tuple[int, int]:
        return self.frames.shape[1:3]

    def get_frames(self, indices: np.ndarray) -> np.ndarray:
        return self.frames[indices]


def _array_results(frames: np.ndarray) -> dict[str, Any]:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f'an array of shape {frames.shape} and type {frames.dtype} is no video; give frames (N, H, W, 3) uint8 RGB')
    return dict(path='', kind='video', video_id='frames', total_frames=len(frames), reader=_ArrayReader(frames))


def _file_results(path: Path) -> dict[str, Any]:
    kind = 'frames' if path.is_dir() else 'video'
    return dict(path=str(path), kind=kind, video_id=path.name if kind == 'frames' else path.stem, total_frames=None)


def _model_config(cfg: Config) -> dict:
    """The model's settings; a preprocessor named beside the model belongs to it, as in mmengine's Runner."""
    model = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model


def _given_config(config: str | PathLike[str] | Config) -> Config:
    return config.copy() if isinstance(config, Config) else load_config(fspath(config))


def _carried_config(meta: dict, checkpoint: str | PathLike[str]) -> Config:
    text = meta.get('cfg')
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'{fspath(checkpoint)} carries no config (meta has {sorted(meta)}); give its config file too')
    try:
        return parse_config(text)
    except ValueError as error:
        raise ConfigError(f'the config in {fspath(checkpoint)} cannot be used: {error}; give its config file') from error


def parse_config(text: str) -> Config:
    """Read the text of a finished config (``Config.pretty_text``, as checkpoints carry it) without running it.

    A config file is a program. Text from a checkpoint may come from anyone, so only assignments of plain values pass: numbers, text,
    True, False, None, inf, nan, lists, tuples, sets, dicts and ``dict(...)``.

    Raises:
        ValueError: if the text holds anything else.
    """
    try:
        lines = ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(f'line {error.lineno} is not Python') from error
    values = {}
    for line in lines:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)):
            raise ValueError(f'line {line.lineno} is more than "name = value"')
        values[line.targets[0].id] = _plain_value(line.value)
    return Config(values)


def _plain_value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.expr() as operand) if isinstance(number := _plain_value(operand), (int, float)):
            return -number
        case ast.Name(id='inf' | 'nan' as name):
            return float(name)
        case ast.List(elts) | ast.Tuple(elts) | ast.Set(elts):
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(_plain_value(item) for item in elts)
        case ast.Dict(keys, items) if None not in keys:
            return {_plain_value(key): _plain_value(item) for key, item in zip(keys, items, strict=True)}
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=keywords) if all(keyword.arg for keyword in keywords):
            first = dict(_plain_value(args[0])) if args else {}
            return first | {keyword.arg: _plain_value(keyword.value) for keyword in keywords}
    raise ValueError(f'line {node.lineno} holds {ast.unparse(node)[:60]!r}, which is no plain value')


@contextmanager
def _own_scope() -> Iterator[None]:
    """Look names of types up in gfvideo's registries first, whatever scope the caller has set."""
    with DefaultScope.overwrite_default_scope('gfvideo'):
        yield
