"""Pictures of clips while they are tested."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.hooks import Hook

from ..structures import ClipSample
from ..visualization import draw_sample, save_picture

__all__ = ['ShowHook', 'picture_path']


class ShowHook(Hook):
    """Draw every N-th tested clip: its frames, the patches of each look, its class and what was said.

    Args:
        folder: for the pictures, ``ID.png`` each; an id with slashes is in folders of these names.
        interval: N; the first clip is drawn, then every N-th of the dataset, whichever process tests it.
        patch_size, glance_size: of the recognizer in pixels, as of
            :func:`~gfvideo.visualization.draw_sample`.
        classes: their names; None takes those of the dataset, or numbers.
        loss: of the recognizer, which says what its logits mean.
    """

    priority = 'LOW'

    def __init__(
        self,
        folder: str | Path,
        interval: int = 1,
        patch_size: tuple[int, int] | None = None,
        glance_size: tuple[int, int] | None = None,
        classes: Sequence[str] | None = None,
        loss: str = 'cross_entropy',
    ):
        self.folder, self.interval, self.classes = Path(folder), interval, classes
        self.patch_size, self.glance_size, self.loss = patch_size, glance_size, loss
        self._seen = 0

    def before_test_epoch(self, runner: Any) -> None:
        self._seen = 0

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Mapping | None = None,
        outputs: Sequence[ClipSample] | None = None,
    ) -> None:
        rank, processes = get_dist_info()
        dataset = runner.test_dataloader.dataset
        names = self.classes or (getattr(dataset, 'metainfo', None) or {}).get('classes')
        for inputs, sample in zip((data_batch or {}).get('inputs', []), outputs or []):
            place = self._seen * processes + rank  # samplers deal clips out by turns
            self._seen += 1
            if place % self.interval or place >= len(dataset):  # the last ones only fill up
                continue
            picture = draw_sample(
                inputs,
                sample,
                names,
                patch_size=self.patch_size,
                glance_size=self.glance_size,
                loss=self.loss,
            )
            save_picture(picture, picture_path(self.folder, str(sample.get('video_id', place))))


def picture_path(folder: Path, video_id: str) -> Path:
    """``ID.png`` below ``folder``, whatever the id: steps out of the folder are left out, and letters that
    names of files cannot have become ``_``."""
    parts = [re.sub(r'[<>:"|?*\\\x00-\x1f]', '_', part) for part in PurePosixPath(video_id).parts]
    kept = [part for part in parts if part.strip('./')] or ['clip']
    return folder.joinpath(*kept[:-1], f'{kept[-1]}.png')
