"""What the steps of a pipeline hand on: a dict that describes a clip and holds more after every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np

from .readers import Reader

__all__ = ['FrameNames', 'Results']


class FrameNames(TypedDict):
    """How the images of a folder are called.

    Attributes:
        frame_template: form of the names with one number, e.g. ``'{:05d}.jpg'``.
        start_index: number of the first image.
    """

    frame_template: str
    start_index: int


class Results(FrameNames):
    """A clip on its way through the pipeline; a plain dict at run time.

    Attributes:
        path: the video file, or the folder of images; '' of frames in memory.
        kind: 'video', 'frames' for a folder of images, or 'image' for one picture.
        video_id: what the clip is called.
        total_frames: frames of the video, None when unknown.
        rng: the only source of chance, so the same generator gives the same clip.
        label: class number; None or absent when unknown.
        labels: class numbers of a clip that may have several; empty or absent of one that has one.
        start, end: seconds from the first frame: the part of the video that is the clip; None or absent: from
            its first frame on, up to its last one.
        classes: the dataset's class names, if it has them.
        reader: of a video that is open already; the step that decodes takes it out and closes it.
        num_views: V.
        frame_indices: int64 ``(V*T,)``, view by view.
        frames: uint8 RGB ``(V*T, H, W, 3)``.
        frame_size: (H, W) of the frames as they were decoded.
    """

    path: str
    kind: str
    video_id: str
    total_frames: int | None
    rng: np.random.Generator
    label: NotRequired[int | None]
    labels: NotRequired[tuple[int, ...]]
    start: NotRequired[float | None]
    end: NotRequired[float | None]
    classes: NotRequired[Sequence[str]]
    reader: NotRequired[Reader]
    num_views: NotRequired[int]
    frame_indices: NotRequired[np.ndarray]
    frames: NotRequired[np.ndarray]
    frame_size: NotRequired[tuple[int, int]]
