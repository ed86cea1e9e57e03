"""From frames to features, with time: a backbone, its temporal shift and its streaming cache."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ..ops import being_captured
from ..registry import MODELS
from .backbones.base import Backbone, Maps
from .folding import Folding
from .pretrained import load_pretrained
from .temporal import Cache, Shift, TemporalContext, insert_shift, temporal_context

__all__ = ['Encoder', 'Features']


class Features(NamedTuple):
    """Features of a look at every frame.

    Attributes:
        vector: ``(B, T, F)``, the deepest map averaged over space, or what the backbone makes of it
            (``to_vector``).
        map: ``(B, T, D, h, w)``, the map at ``map_stride``.
        cache: what the next frame of a causal stream needs; empty otherwise.
    """

    vector: Tensor
    map: Tensor
    cache: Cache


@MODELS.register_module()
class Encoder(nn.Module):
    """A backbone that sees time through the temporal shift (TSM, Lin et al., ICCV 2019).

    In evaluation without gradients it runs a copy of the backbone whose batch normalisations are folded into
    its convolutions (:mod:`gfvideo.models.folding`), to the same numbers but for rounding. Weights that are
    written through ``parameter.data`` are taken up by the next call of ``eval()``; all other changes at once.

    Args:
        backbone: config of a backbone; its ``init_cfg=dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads
            image weights.
        shift: 'bidirectional', 'causal', or None for frames that do not see each other (TSN).
        fold_div: 1/fold_div of the channels shift each way.
        map_stride: stride of the map that is handed to the policy; None for the deepest.
        frozen_stride: keep everything up to this stride as it was pretrained, 0 for nothing.

    Attributes:
        channels: F of the vectors.
        map_channels: D of the maps.
    """

    def __init__(
        self,
        backbone: dict,
        shift: Shift | None = 'bidirectional',
        fold_div: int = 8,
        map_stride: int | None = None,
        frozen_stride: int = 0,
    ):
        super().__init__()
        if shift not in ('bidirectional', 'causal', None):
            raise ValueError(f"shift={shift!r} is unknown; choose 'bidirectional', 'causal' or None")
        backbone = dict(backbone)
        self.pretrained = self._pretrained_source(backbone.pop('init_cfg', None))
        built = MODELS.build(backbone)
        if not isinstance(built, Backbone):
            raise TypeError(
                f'backbone is a {type(built).__name__}, which is no Backbone; derive it from'
                ' gfvideo.models.backbones.Backbone, which says what an encoder needs'
            )
        self.backbone: Backbone = built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a stub's gap
        self.shift, self.fold_div = shift, fold_div
        if shift is not None:
            insert_shift(self.backbone, self.backbone.shift_points())
        strides = sorted(self.backbone.channels)
        self.last_stride = strides[-1]
        self.map_stride = self.last_stride if map_stride is None else map_stride
        if self.map_stride not in strides:
            raise ValueError(
                f'map_stride={map_stride} is none of the strides of {type(self.backbone).__name__}: {strides}'
            )
        self.channels: int = self.backbone.vector_channels or self.backbone.channels[self.last_stride]
        self.map_channels: int = self.backbone.channels[self.map_stride]
        self.frozen = self.backbone.layers_up_to(frozen_stride) if frozen_stride else []
        for layer in self.frozen:
            layer.requires_grad_(False)
        self._folding = Folding(self.backbone)

    @staticmethod
    def _pretrained_source(init_cfg: dict | None) -> str | None:
        if init_cfg is None:
            return None
        if init_cfg.get('type') != 'Pretrained' or 'checkpoint' not in init_cfg:
            raise ValueError(
                f"init_cfg={init_cfg!r} is unknown; write init_cfg=dict(type='Pretrained',"
                ' checkpoint=PATH_OR_URL)'
            )
        return init_cfg['checkpoint']

    def init_weights(self) -> None:
        """Random weights, then the pretrained ones if the config names any."""
        self.backbone.init_weights()
        if self.pretrained is not None:
            load_pretrained(self.backbone, self.pretrained)

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        self._folding.forget()
        return self

    def map_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the map at ``map_stride`` for frames of ``size`` (H, W)."""
        return self.backbone.map_size(size, self.map_stride)

    def forward(self, frames: Tensor, cache: Cache | None = None) -> Features:
        """Read frames ``(B, T, 3, H, W)``; ``cache`` continues a causal stream from its earlier frames.

        Raises:
            ValueError: on clips of one frame with the bidirectional shift.
        """
        T = frames.shape[1]
        images = rearrange(frames, 'b t c h w -> (b t) c h w').contiguous(memory_format=torch.channels_last)
        backbone = self._running(images, T)
        maps, cache_out = self._maps(backbone, images, T, cache)
        return Features(
            vector=rearrange(self._vector(backbone, maps), '(b t) f -> b t f', t=T),
            map=rearrange(maps[self.map_stride], '(b t) d h w -> b t d h w', t=T),
            cache=cache_out,
        )

    def _running(self, images: Tensor, T: int) -> Backbone:
        """The backbone, or in evaluation its folded copy."""
        if self.training or torch.is_grad_enabled() or being_captured() or type(images) is not Tensor:
            return self.backbone
        return self._folding.of(self.backbone, partial(self._trial, images, T))

    @torch.no_grad()
    def _trial(self, images: Tensor, T: int, backbone: Backbone) -> list[Tensor]:
        """What ``backbone`` makes of the first clip, in the precision of its weights."""
        like = next((weights for weights in backbone.parameters()), images)
        with torch.autocast(images.device.type, enabled=False):
            maps, _ = self._maps(backbone, images[:T].to(like.dtype, copy=True), T, None)
            return [*maps.values(), self._vector(backbone, maps)]

    def _maps(self, backbone: Backbone, images: Tensor, T: int, cache: Cache | None) -> tuple[Maps, Cache]:
        if self.shift is None:
            return backbone(images), {}
        context = TemporalContext(T, self.shift, self.fold_div, cache or None, images=images.shape[0])
        with temporal_context(context):
            return backbone(images), context.cache_out

    def _vector(self, backbone: Backbone, maps: Maps) -> Tensor:
        """``(B*T, F)``."""
        return maps['vector'] if 'vector' in maps else backbone.to_vector(maps[self.last_stride])
