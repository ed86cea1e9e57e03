"""The last step of the data: uint8 clips of a batch to one normalised float tensor on the model's device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..registry import MODELS

__all__ = ['ClipPreprocessor']


@MODELS.register_module()
class ClipPreprocessor(BaseDataPreprocessor):
    """Stack, move to the device, and normalise: ``(x - mean) / std`` per channel.

    Args:
        mean, std: of R, G and B on the scale 0..255; the defaults are ImageNet's.
        channels_last: lay the pixels out so that ``flatten(0, 1)`` of the result is in channels-last memory
            format.
        non_blocking: do not wait for the copy to a GPU (it overlaps with other work only from pinned memory);
            the normalisation, on the same stream, does wait.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        channels_last: bool = False,
        non_blocking: bool = True,
    ):
        super().__init__(non_blocking=non_blocking)
        for name, values in (('mean', mean), ('std', std)):
            if len(values) != 3:
                raise ValueError(f'{name} is {values!r}; give three numbers, for R, G and B')
        if min(std) <= 0:
            raise ValueError(f'std is {std!r}; give numbers above 0')
        self.channels_last = channels_last
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalise one batch.

        Args:
            data: ``inputs``, a list of B uint8 tensors ``(T, 3, H, W)`` or ``(V, T, 3, H, W)`` of one shape,
                or one tensor of them stacked; and optionally ``data_samples``.
            training: unused, mmengine's interface.

        Returns:
            The same keys; ``inputs`` is float32 ``(B, T, 3, H, W)`` or ``(B, V, T, 3, H, W)`` on the
            preprocessor's device.

        Raises:
            ValueError: if the shapes within the batch differ, or a clip is not uint8 of such a shape; it
                names the videos and sizes.
        """
        names = _names(data)
        clips = data['inputs']
        _check(clips, names)
        data = self.cast_data(dict(data))  # one by one: they may be in pinned memory, a stack of them is not
        clips = data['inputs']
        if not isinstance(clips, Tensor):
            clips = torch.stack(list(clips))  # (B, T, 3, H, W), or (B, V, T, 3, H, W)
        if self.channels_last:
            pixels = rearrange(clips, '... t c h w -> ... t h w c').contiguous()
            clips = rearrange(pixels, '... t h w c -> ... t c h w')
        return {**data, 'inputs': clips.float().sub_(self.mean).div_(self.std)}


def _names(data: Mapping[str, Any]) -> list[str]:
    """How an error calls the clips: by their video ids, else by their places in the batch."""
    samples = data.get('data_samples') or [None] * len(data['inputs'])
    return [getattr(sample, 'video_id', None) or f'clip {place}' for place, sample in enumerate(samples)]


def _check(clips: Sequence[Tensor] | Tensor, names: Sequence[str]) -> None:
    for clip, name in zip(clips, names, strict=True):
        if clip.dtype != torch.uint8 or clip.ndim not in (4, 5) or clip.shape[-3] != 3:
            raise ValueError(
                f'{name} is {clip.dtype} {tuple(clip.shape)}; expected uint8 (T, 3, H, W) or (V, T, 3, H, W),'
                ' as PackClip makes'
            )
    if len({clip.shape for clip in clips}) > 1:
        sizes = ', '.join(f'{name} {tuple(clip.shape)}' for clip, name in zip(clips, names, strict=True))
        raise ValueError(
            f'clips of different shapes in one batch: {sizes}; end the pipeline with a crop or Resize of a'
            ' fixed size, and sample as many frames from every video, or use a batch size of 1'
        )
