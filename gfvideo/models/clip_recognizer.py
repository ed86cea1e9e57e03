"""The static baseline that every result is compared with: whole frames through one encoder (TSN, or TSM with
a shift)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..ops import resize_frames
from ..registry import MODELS
from ..structures import LookState
from .arguments import as_size
from .base import Recognizer
from .losses import CROSS_ENTROPY, Supervision, known_supervision, supervised_loss, top1
from .temporal import Cache

__all__ = ['ClipRecognizer']


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
        loss: see :class:`Recognizer`.
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
        loss: str = CROSS_ENTROPY,
    ):
        super().__init__(num_classes, data_preprocessor, init_cfg, loss)
        self.supervision = known_supervision(supervision)
        self.encoder = MODELS.build(encoder)
        self.input_size = None if input_size is None else as_size(input_size, 'input_size')
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.encoder.channels, num_classes)

    steps = 0

    def described(self) -> dict[str, Any]:
        size = None if self.input_size is None else list(self.input_size)
        return super().described() | dict(input_size=size)

    def glance(self, frames: Tensor, cache: tuple[Cache, ...] = ()) -> LookState:
        """Step 0 and the only one, here at whole frames ``(B, T, 3, H, W)`` in full; ``cache`` goes on with a
        causal stream."""
        frames = frames if self.input_size is None else resize_frames(frames, self.input_size)
        features = self.encoder(frames, cache[0] if cache else None)
        return LookState(
            step=0,
            logits=self.fc(self.dropout(features.vector)),  # (B, T, C)
            vector=features.vector,
            feature_map=features.map,
            cache=(features.cache,) if features.cache else (),
        )

    def losses(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.glance(frames).logits.float()  # (B, T, C)
        return dict(
            loss_step0=supervised_loss(logits, labels, self.supervision, self.loss),
            acc_step0=top1(logits.mean(1), labels),
        )
