"""Use a trained recognizer from Python: build it from its checkpoint, show it a video, whole or frame by
frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .exits import Calibration, ExitRule, read_exits, run_clips
from .home import model_config

# the rest loads when it is used: mmengine alone takes about as long as torch
if TYPE_CHECKING:
    from mmengine.config import Config

    from .data.streaming import FrameSource, Source, Video
    from .deployment.runtime import Runtime
    from .engine.config import parse_config
    from .engine.pipelines import build_pipeline, frame_names, prepare_video
    from .models.base import Recognizer
    from .models.stream import Stream
    from .structures import ClipSample

__all__ = [
    'Exits',
    'StreamedFrame',
    'Video',
    'build_pipeline',
    'create_model',
    'frame_names',
    'inference_recognizer',
    'init_recognizer',
    'parse_config',
    'predict_clip',
    'prepare_video',
    'stream',
]

Exits = str | PathLike[str] | Calibration | ExitRule
"""A file of ``tools/calibrate.py``, what was read from it, or a rule of your own."""

LATER = {
    'Video': 'gfvideo.data.streaming',
    'parse_config': 'gfvideo.engine.config',
    **dict.fromkeys(('build_pipeline', 'frame_names', 'prepare_video'), 'gfvideo.engine.pipelines'),
}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(LATER[name]), name)


def init_recognizer(
    config: str | PathLike[str] | Config | None = None,
    checkpoint: str | PathLike[str] | None = None,
    device: str | torch.device | None = 'cpu',
    cfg_options: dict[str, Any] | None = None,
    custom_imports: str | Sequence[str] = (),
    runtime: Runtime = 'eager',
) -> Recognizer:
    """Build a recognizer, ready to predict.

    Args:
        config: a config file, a name of :func:`gfvideo.list_models`, or a :class:`Config`; None takes the one
            that the checkpoint carries. Of a config with stages, the model is that of the last one. A config
            file is a program and is run; what a checkpoint carries is not, and may name parts that are
            registered under gfvideo alone. A folder, without a checkpoint beside it, is taken for that.
        checkpoint: weights to load, read with ``weights_only=True``: a file, an http(s) address, the folder
            of a run or of :func:`~gfvideo.hub.save_pretrained`; None leaves the weights as they are first
            drawn.
        device: where the recognizer lives; None chooses, see :func:`~gfvideo.engine.choose_device` (for
            ``runtime='onnxruntime'`` the CPU, which it is for).
        cfg_options: settings to change, as :func:`~gfvideo.engine.stages.expand_stages` takes them, e.g.
            ``{'model.test_centres': 'random'}``.
        custom_imports: modules of your own to import first, so that a checkpoint may carry the names of the
            parts they register.
        runtime: what computes the looks, see :func:`~gfvideo.deployment.with_runtime`: 'eager' torch,
            'onnxruntime', 'compile', or 'auto'. One that is to train is eager.

    Returns:
        The recognizer in eval mode. ``recognizer.cfg`` is its config, ``recognizer.dataset_meta`` what the
        checkpoint says of the dataset it was trained on (``classes``: the names of the classes), and
        ``recognizer.provenance`` what it says of its training (stage, epoch, seed, datasets with their
        hashes); empty dicts if it says nothing.

    Raises:
        ValueError: if neither config nor checkpoint is given.
        ConfigError: if a setting is unknown, or the checkpoint carries no config, one that is more than plain
            data, or one that names a part that is not registered; or the device is not on this machine.
        FileNotFoundError: if there is no checkpoint.
        CheckpointError: if the checkpoint cannot be read safely or does not fit the config.
    """
    from .engine.checkpoint import PROVENANCE, checkpoint_of, load_checkpoint, load_weights
    from .engine.config import ConfigError, carried_config, import_own
    from .engine.launch import choose_device
    from .engine.pipelines import own_scope
    from .engine.stages import expand_stages, select_stage
    from .registry import MODELS

    if config is None and checkpoint is None:
        raise ValueError('give a config, a checkpoint or both')
    place = choose_device('cpu' if device is None and runtime == 'onnxruntime' else device)
    if checkpoint is None and isinstance(config, str | PathLike) and Path(config).expanduser().is_dir():
        config, checkpoint = None, config
    source = '' if checkpoint is None else checkpoint_of(checkpoint)
    loaded = None if checkpoint is None else load_checkpoint(source)
    meta = {} if loaded is None else loaded['meta']
    import_own(custom_imports)
    cfg = carried_config(meta.get('cfg'), source) if config is None else _given_config(config)
    cfg = select_stage(expand_stages(cfg, cfg_options), None).cfg
    if not isinstance(cfg.get('model'), dict) or 'type' not in cfg.model:
        where = source if config is None else 'the config'
        raise ConfigError(
            f'{where}: model is {cfg.get("model")!r}, not the settings of a recognizer (dict(type=...)); '
            'give the config file it was trained with'
        )
    with own_scope():
        model = MODELS.build(_model_config(cfg))
    if loaded is not None:
        load_weights(model, loaded, source)
    model.cfg = cfg
    model.dataset_meta = dict(meta.get('dataset_meta') or {})
    model.provenance = {key: meta[key] for key in PROVENANCE if meta.get(key) is not None}
    model = model.to(place).eval()
    if runtime == 'eager':
        return model
    from .deployment.runtime import with_runtime

    return with_runtime(model, runtime)


def create_model(name: str, pretrained: str | PathLike[str] | None = None, **options: Any) -> Recognizer:
    """The recognizer of a config that comes with the package.

    Args:
        name: one of :func:`gfvideo.list_models`, e.g. ``'glance-focus_r50_g128-p128-s2_8f_ssv2'``.
        pretrained: a checkpoint of it, a file or a URL; None leaves the weights as they are first drawn.
        options: further arguments of :func:`init_recognizer`.

    Raises:
        FileNotFoundError: if there is no config of that name; names near to it are given.
    """
    return init_recognizer(model_config(name), pretrained, **options)


def inference_recognizer(
    model: Recognizer, video: Video | list[Video], exits: Exits | None = None
) -> ClipSample | list[ClipSample]:
    """Recognize a video, with the test pipeline of the model's config and the predict that ``tools/test.py``
    runs.

    Args:
        model: of :func:`init_recognizer`.
        video: a video file; a folder of images; frames ``(N, H, W, 3)`` or ``(N, 3, H, W)`` uint8 RGB, an
            array or a tensor; the bytes of a video file; an open decoder of torchcodec; or a list of such
            videos.
        exits: stop at the step after which the clip is sure: a file of ``tools/calibrate.py``, or
            :class:`~gfvideo.exits.StepExits`.

    Returns:
        The sample with ``step_logits (S+1, C)``, ``logits (C,)`` and, of a recognizer that focuses,
        ``centres``; with ``exits`` no ``step_logits`` but ``exit``, the step that was the last, and
        ``centres`` are nan for looks that were not taken. For a list of videos the list of their samples.

    Raises:
        VideoError: if a video cannot be read.
        ConfigError: if the config has no test pipeline.
        ExitsFileError: if the exits belong to another model.
        ValueError: if an array or a tensor is not frames, or the exits are those of streams.
        TypeError: if it is no video at all.
    """
    from .engine.pipelines import build_pipeline, frame_names, prepare_video

    pipeline, names = build_pipeline(model.cfg), frame_names(model.cfg)
    given = None if exits is None else _exits_for(model, exits, 'steps')
    samples = [
        predict_clip(model, prepare_video(one, pipeline, **names), given)
        for one in (video if isinstance(video, (list, tuple)) else [video])
    ]
    return samples if isinstance(video, (list, tuple)) else samples[0]


def _exits_for(model: Recognizer, exits: Exits, kind: str) -> ExitRule:
    """Exits of the wanted kind that belong to the model; of a calibration the chosen setting."""
    name = 'the calibration'
    if isinstance(exits, (str, PathLike)):
        name, exits = fspath(exits), read_exits(fspath(exits))
    if isinstance(exits, Calibration):
        from .engine.identity import check_exits

        check_exits(exits, model, name)
        exits = exits.pick().exits
    if kind not in exits.kinds:
        needed, other = ('clips', '') if kind == 'steps' else ('streams', ' --stream')
        raise ValueError(
            f'{name} holds {type(exits).__name__}, but exits of {needed} are needed: tools/calibrate.py'
            f' ...{other}'
        )
    return exits


def predict_clip(model: Recognizer, data: dict[str, Any], exits: ExitRule | None = None) -> ClipSample:
    """Predict one prepared clip by ``model.test_step``, as mmengine's test loop does with a batch of one, or
    by early exit."""
    from mmengine.dataset import pseudo_collate

    from .engine.exiting import micro_batch_for

    with torch.no_grad():
        if exits is None:
            return model.test_step(pseudo_collate([data]))[0]
        batch = model.data_preprocessor(pseudo_collate([data]))
        if batch['inputs'].dim() != 5:
            raise ValueError('the test pipeline makes several views of a video; exits are for one view')
        out = run_clips(model, batch['inputs'], exits, micro_batch_for(batch['inputs'].device))
    sample = batch['data_samples'][0]
    sample.set_data(dict(logits=out.logits[0].float(), exit=out.steps[0]))
    if out.centres is not None:
        sample.centres = out.centres[0]
    if out.window_sizes is not None:
        sample.window_sizes = out.window_sizes[0]
    return sample


# ---------------------------------------------------------------------------------------------------- streams


class StreamedFrame(NamedTuple):
    """What is known after a frame of a video that is being read.

    Attributes:
        index: number of the frame in the video, from 0.
        logits: ``(C,)`` the prediction from all frames so far (or the last ``window``).
        frame_logits: ``(C,)`` of this frame alone.
        looks: focus looks that this frame took.
        centres: ``(looks, 2)`` where they were cut, (y, x) in [0, 1].
        done: whether the exits say stop; it is the last frame then.
        decoded: frames that were decoded so far to get here.
        ms: since the video was opened.
        picture: ``(H, W, 3)`` uint8 RGB, the whole frame.
        inputs: ``(3, h, w)`` uint8 RGB, what the test pipeline made of it for the recognizer.
    """

    index: int  # type: ignore[assignment]  # not used as a sequence to search in
    logits: torch.Tensor
    frame_logits: torch.Tensor
    looks: int
    centres: torch.Tensor
    done: bool
    decoded: int
    ms: float
    picture: np.ndarray
    inputs: torch.Tensor


def stream(
    model: Recognizer,
    source: Source,
    exits: Exits | None = None,
    *,
    every: int | None = None,
    window: int | None = None,
    stop: bool = True,
    timeout: float | None = 10.0,
) -> Iterator[StreamedFrame]:
    """Read a video frame by frame with a causal recognizer and answer after every frame; what comes after the
    exit is never decoded.

    What :func:`inference_recognizer` takes is sampled as the test pipeline of the model's config says, so
    without exits the last answer is that of :func:`inference_recognizer`. Cameras, addresses and iterators
    are read as they come.

    Args:
        model: of :func:`init_recognizer`, with ``shift='causal'``.
        source: a video as of :func:`inference_recognizer`; the number of a camera; an address
            (``rtsp://...``, ``http://...``); or any iterable of frames ``(H, W, 3)`` or ``(3, H, W)`` uint8
            RGB, which may never end.
        exits: a file of ``tools/calibrate.py --stream``, or :class:`~gfvideo.exits.StreamExits`; None takes
            every look at every frame.
        every: take one frame out of so many; for a file it replaces the sampling of the test pipeline, and
            reads to the end. The distance of frames should resemble that of training.
        window: predict from the last so many frames. None: all frames of a sampled video; otherwise as many
            as a clip of the test pipeline has, so that an endless camera is answered about now. Memory does
            not grow either way.
        stop: False goes on after the exits are sure: an answer a frame for as long as frames come.
        timeout: longest wait for a frame of a camera or an address, in seconds; None waits for ever.
            Files and iterators are waited for.

    Yields:
        A :class:`StreamedFrame` a frame; the last one has ``done=True`` if the exits stopped it.

    Raises:
        VideoError: if the video cannot be read.
        RuntimeError: if there is no such camera.
        TimeoutError: if the camera or the address gives no frame for ``timeout`` seconds.
        ConfigError: if the config has no test pipeline.
        ExitsFileError: if the exits belong to another model.
        ValueError: if the recognizer looks forward in time, the test pipeline cannot be run frame by frame,
            the exits are those of clips, the timeout is not above 0, or a frame is none.
    """
    from .data.streaming import FrameSource
    from .engine.pipelines import build_pipeline, frame_names

    if every is not None and every < 1:
        raise ValueError(f'every={every} must be at least 1')
    given = None if exits is None else _exits_for(model, exits, 'stream')
    pipeline, began = build_pipeline(model.cfg), time.perf_counter()
    frames = FrameSource(source, pipeline, every, timeout=timeout, **frame_names(model.cfg))
    opening = time.perf_counter() - began
    try:
        reading = model.stream(given, frames.num_frames if window is None and not frames.sampled else window)
    except ValueError:
        frames.close()
        raise
    return _read_on(
        model, reading, frames, opening, stop
    )  # faults so far show at the call, not at the first frame


def _read_on(
    model: Recognizer, reading: Stream, frames: FrameSource, opening: float, stop: bool
) -> Iterator[StreamedFrame]:
    from mmengine.dataset import pseudo_collate

    began = time.perf_counter() - opening
    with closing(frames):
        for index, data in frames:
            batch = model.data_preprocessor(pseudo_collate([data]))['inputs']  # (1, 1, 3, H, W)
            answer = reading.read(batch[:, 0])
            looks, done = int(answer.looks[0]), stop and bool(answer.done[0])
            yield StreamedFrame(
                index,
                answer.logits[0],
                answer.frame_logits[0],
                looks,
                answer.centres[0, :looks],
                done,
                frames.decoded,
                1e3 * (time.perf_counter() - began),
                frames.picture,
                data['inputs'][0],
            )
            if done:
                return


def _model_config(cfg: Config) -> dict:
    """The model's settings; a preprocessor named beside the model belongs to it, as in mmengine's Runner."""
    model = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model


def _given_config(config: str | PathLike[str] | Config) -> Config:
    from mmengine.config import Config

    from .engine.config import load_config

    return config.copy() if isinstance(config, Config) else load_config(fspath(config))
