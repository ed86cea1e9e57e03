"""The static baseline that every result is compared with: whole frames through one encoder (TSN, or TSM with
a shift)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..registry import MODELS
from ..structures import LookState
from .base import Recognizer, Supervision, as_size, known_supervision, supervised_loss, top1
from .temporal import Cache

__all__ = ['ClipRecognizer', 'Resize', 'resize_frames']


Resize = Literal['antialiased', 'bilinear', 'bicubic']


def resize_frames(frames: Tensor, size: tuple[int, int], resize: Resize = 'antialiased') -> Tensor:
    """Frames ``(B, T, 3, H, W)`` to ``(B, T, 3, *size)``.

    Args:
        frames: floating point.
        size: (height, width) in pixels.
        resize: 'antialiased' is bilinear over all the pixels that a new one covers; 'bilinear' and 'bicubic'
            sample between neighbouring pixels with the corners aligned, as the published GFNet glances do
            (bicubic; bilinear for DenseNet and RegNet).

    Raises:
        ValueError: on another ``resize``.
    """
    if resize not in ('antialiased', 'bilinear', 'bicubic'):
        raise ValueError(f"resize={resize!r} is unknown; choose 'antialiased', 'bilinear' or 'bicubic'")
    if tuple(frames.shape[-2:]) == size:
        return frames
    how = (
        dict(mode='bilinear', align_corners=False, antialias=True)
        if resize == 'antialiased'
        else dict(mode=resize, align_corners=True)
    )
    resized = F.interpolate(frames.flatten(0, 1), size, **how)  # (B*T, 3, h, w)
    return resized.unflatten(0, frames.shape[:2])


@MODELS.register_module()
class ClipRecognizer(Recognizer):
    """Mean over frames of a linear layer on the encoder's vectors (TSN, Wang et al., ECCV 2016; TSM, Lin et
    al., ICCV 2019).

    Args:
        encoder: config of an :class:`~gfvideo.models.encoder.Encoder`; ``shift=None`` in it makes TSN.
        num_classes: C.
        input_size: resize frames to this height and width inside the model; None takes them as they come.
        dropout: rate before the linear layer.
        supervision: 'clip' after the last frame, 'frames' after every frame, for the causal shift.
    """

    def __init__(
        self,
        encoder: dict,
        num_classes: int,
        input_size: int | tuple[int, int] | None = None,
        dropout: float = 0.5,
        supervision: Supervision = 'clip',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(num_classes, data_preprocessor, init_cfg)
        self.supervision = known_supervision(supervision)
        self.encoder = MODELS.build(encoder)
        self.input_size = None if input_size is None else as_size(input_size, 'input_size')
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.encoder.channels, num_classes)

    steps = 0

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0 and the only one, here at whole frames ``(B, T, 3, H, W)`` in full; ``cache`` goes on with a
        causal stream."""
        frames = frames if self.input_size is None else resize_frames(frames, self.input_size)
        features = self.encoder(frames, cache[0] if cache else None)
        logits = self.fc(self.dropout(features.vector))  # (B, T, C)
        return LookState(
            0, logits, features.vector, features.map, None, cache=(features.cache,) if features.cache else ()
        )

    def frame_logits(self, frames: Tensor) -> Tensor:
        """``(B, T, 3, H, W)`` to ``(B, T, C)``."""
        return self.glance(frames).logits

    def losses(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.frame_logits(frames).float()  # (B, T, C)
        return dict(
            loss_step0=supervised_loss(logits, labels, self.supervision),
            acc_step0=top1(logits.mean(1), labels),
        )
