"""Clips of a test to look at: small pictures of their frames, where the patches fell, what was answered."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..apis import build_pipeline, frame_names, init_recognizer, prepare_video
from ..complexity import recognizer_cost
from ..data.readers import VideoError
from ..engine import CheckpointError, ConfigError
from ..models.base import Recognizer
from ..progress import progress
from ..visualization import patch_windows
from ..visualization.canvas import fit_inside, resize
from .answers import ClipAnswers
from .folder import RunFolder

__all__ = ['Gallery', 'Trained', 'evenly', 'strip_of', 'trained_of']

MOST_BYTES = 70_000
"""Of the pictures of one clip; more is not seen."""
SIDES, QUALITIES = (256, 224, 192, 160, 128, 96, 64), (80, 55)


class Trained:
    """A run's recognizer, for its sizes, its costs and how its clips are prepared.

    Args:
        model: of :func:`~gfvideo.apis.init_recognizer`.

    Attributes:
        classes: names of its classes, by number if not given.
        patch_size, glance_size: (height, width) in pixels, None where it has none.
    """

    def __init__(self, model: Recognizer):
        told = model.described()
        self._model, self._pipeline, self._names = model, build_pipeline(model.cfg), frame_names(model.cfg)
        given = list(model.dataset_meta.get('classes') or [])
        self.classes = [str(name) for name in given] or [f'class {n}' for n in range(model.num_classes)]
        self.patch_size = _pair(told.get('patch_size'))
        self.glance_size = _pair(told.get('glance_size'))

    def frames(self, clip: dict[str, Any]) -> np.ndarray:
        """The frames of the first view of a dumped clip as the recognizer was given them, ``(T, H, W, 3)``
        uint8.

        Raises:
            VideoError, FileNotFoundError: if the video cannot be read any more.
        """
        inputs = prepare_video(str(clip['path']), self._pipeline, **self._names)['inputs']
        inputs = inputs[0] if inputs.ndim == 5 else inputs
        return np.ascontiguousarray(inputs.permute(0, 2, 3, 1).numpy())

    def probabilities(self, logits: Tensor) -> Tensor:
        """What logits ``(..., C)`` mean."""
        return self._model.probabilities(logits)

    def gmacs(self, frames: np.ndarray) -> list[float]:
        """1e9 multiply-adds of a clip of such frames, cumulative after each step."""
        T, H, W, channels = frames.shape
        return [count / 1e9 for count in recognizer_cost(self._model, (T, channels, H, W))['steps']]


def _pair(size: Any) -> tuple[int, int] | None:
    return (int(size[0]), int(size[1])) if size else None


def trained_of(run: RunFolder, custom_imports: Sequence[str] = ()) -> Trained | None:
    """The recognizer of a run by the config that its checkpoint carries; None, and a fault of the run, where
    it cannot be built."""
    if run.checkpoint is None:
        return None
    try:
        return Trained(init_recognizer(checkpoint=run.checkpoint, custom_imports=custom_imports))
    except (ConfigError, CheckpointError, ValueError) as error:
        run.faults.append(f'{run.checkpoint}: {error}')
        return None


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers 0 to count - 1, evenly spread, the ends kept."""
    if count <= most:
        return list(range(count))
    if most < 2:
        return list(range(most))
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


def strip_of(frames: np.ndarray, most_bytes: int) -> dict[str, Any]:
    """All frames of a clip in one WebP picture, as large as the bytes allow.

    Args:
        frames: ``(T, H, W, 3)`` uint8 RGB.
        most_bytes: of the picture; the smallest form is taken even if it has more.

    Returns:
        dict(source=data address, columns, frames=T, height and width of a frame in the picture).
    """
    T, H, W = frames.shape[:3]
    columns = min(T, 8)
    for side in SIDES:
        height, width = fit_inside((H, W), (min(side, max(H, W)),) * 2)
        rows = -(-T // columns)
        whole = np.zeros((rows * height, columns * width, 3), np.uint8)
        for t, frame in enumerate(frames):
            y, x = t // columns * height, t % columns * width
            whole[y : y + height, x : x + width] = resize(frame, height, width)
        for quality in QUALITIES:
            _, encoded = cv2.imencode('.webp', whole[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
            if len(encoded) <= most_bytes:
                break
        else:
            continue
        break
    text = base64.b64encode(encoded.tobytes()).decode()
    return dict(
        source=f'data:image/webp;base64,{text}', columns=columns, frames=T, height=height, width=width
    )


@dataclass
class Gallery:
    """Clips of several runs; pictures of one video are kept once.

    Attributes:
        most_clips: of each run.
        most_bytes: of all pictures together, as they stand in the page.
        runs: what the page needs of each run.
        videos: the pictures.
    """

    most_clips: int
    most_bytes: int
    runs: list[dict[str, Any]] = field(default_factory=list)
    videos: list[dict[str, Any]] = field(default_factory=list)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    _chosen: list[str] = field(default_factory=list)

    def add(self, run: RunFolder, answers: ClipAnswers, trained: Trained | None, runs: int = 1) -> None:
        """Add the clips of a run; of later runs those that the first one showed, as far as they have them.

        Args:
            run: what was found; gets a fault where videos cannot be read any more.
            answers: of its test.
            trained: of the run; None shows answers without pictures.
            runs: how many are to come, this one included, to share the bytes among.
        """
        ids = [str(clip.get('video_id')) for clip in answers.clips]
        shown = [place for place, one in enumerate(ids) if one in set(self._chosen)]
        places = (shown or evenly(len(ids), self.most_clips))[: self.most_clips]
        if not self._chosen:
            self._chosen = [ids[place] for place in places]
        left = self.most_bytes - sum(len(video['source']) for video in self.videos)
        # what base64 makes of three bytes are four
        each = min(MOST_BYTES, left * 3 // 4 // (max(1, len(places)) * max(1, runs)))
        clips, unread = [], []
        for place in progress(places, f'{run.name}: clips'):
            clip = answers.clips[place]
            told = _answer(answers, place, trained) | dict(id=ids[place], video=None, windows=None)
            if trained is not None:
                try:
                    told |= self._pictures(clip, trained, each)
                except (VideoError, OSError, ValueError, KeyError) as error:
                    unread.append(f'{type(error).__name__}: {error}')
            clips.append(told)
        if unread:
            run.faults.append(f'{len(unread)} of {len(places)} clips have no pictures: {unread[0]}')
        self.runs.append(
            dict(
                name=run.name,
                classes=_classes(trained, answers),
                all=len(ids),
                exits=answers.exits is not None,
                exitsFrom=answers.exits_from,
                streamed=answers.streamed,
                looks=answers.step_logits.shape[1] - 1,
                glance=None if trained is None else trained.glance_size,
                clips=clips,
            )
        )

    def _pictures(self, clip: dict[str, Any], trained: Trained, most_bytes: int) -> dict[str, Any]:
        """The number of the clip's pictures, and the windows of its looks as shares of the frame."""
        frames = trained.frames(clip)
        T, H, W = frames.shape[:3]
        key = str(clip['path']), f'{T}, {H}, {W}, {list(clip.get("frame_indices") or [])[:T]}'
        if key not in self._places:
            self._places[key] = len(self.videos)
            indices = [int(index) for index in list(clip.get('frame_indices') or range(T))[:T]]
            self.videos.append(strip_of(frames, most_bytes) | dict(full=[H, W], indices=indices))
        return dict(video=self._places[key], windows=_windows_of(clip, trained, (H, W)))


def _classes(trained: Trained | None, answers: ClipAnswers) -> list[str]:
    count = answers.step_logits.shape[2]
    known = trained is not None and len(trained.classes) == count
    return trained.classes if known and trained is not None else [f'class {n}' for n in range(count)]


def _answer(answers: ClipAnswers, place: int, trained: Trained | None) -> dict[str, Any]:
    """What was said of one clip after each step."""
    logits = answers.step_logits[place]  # (S+1, C)
    shares = logits.softmax(-1) if trained is None else trained.probabilities(logits)
    label = int(answers.labels[place])
    best, numbers = shares.topk(min(3, shares.shape[1]), dim=-1)  # (S+1, 3)
    return dict(
        label=label,
        best=numbers.tolist(),
        sure=[[round(value, 4) for value in row] for row in best.tolist()],
        truth=[round(value, 4) for value in shares[:, label].tolist()],
        exit=None if answers.exits is None else int(answers.exits[place]),
    )


def _windows_of(clip: dict[str, Any], trained: Trained, size: tuple[int, int]) -> list | None:
    """(top, left, height, width) of each look at each frame, as shares of the frame; None without looks."""
    centres, sizes = clip.get('centres'), clip.get('window_sizes')
    if centres is None or trained.patch_size is None:
        return None
    centres = centres[0] if centres.ndim == 4 else centres  # (S, T, 2)
    sizes = sizes[0] if sizes is not None and sizes.ndim == 4 else sizes
    windows = patch_windows(
        centres.float().cpu().numpy(), size, trained.patch_size, None if sizes is None else sizes.cpu()
    )
    shares = torch.from_numpy(windows).double() / torch.tensor([size[0], size[1], size[0], size[1]])
    return [[[round(value, 4) for value in one] for one in look] for look in shares.tolist()]
