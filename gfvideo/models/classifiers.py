"""Classifiers over a growing series of looks: evidence in, evidence out, logits after every look.

Every frame has evidence of its own; frames meet in the temporal shift and in the mean of their logits.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..registry import MODELS

__all__ = ['ConcatClassifier', 'RecurrentClassifier', 'SumClassifier']


@MODELS.register_module()
class RecurrentClassifier(nn.Module):
    """A GRU over looks and one linear layer (GFNet for ResNet, DenseNet and RegNet).

    Args:
        glance_channels: F of the glance vectors.
        focus_channels: F of the focus vectors; where it differs, each look is first projected to ``hidden``.
        num_classes: C.
        steps: S; any number of looks works, the argument is there for a common signature.
        hidden: size of the GRU state.
        dropout: rate, applied to the state before the linear layer.
        glance_fc: answer the glance by a linear layer of its own, on its vector alone, as published for
            RegNet; its evidence still starts the GRU.
    """

    def __init__(
        self,
        glance_channels: int,
        focus_channels: int,
        num_classes: int,
        steps: int,
        hidden: int = 1024,
        dropout: float = 0.0,
        glance_fc: bool = False,
    ):
        super().__init__()
        self.glance_fc = nn.Linear(glance_channels, num_classes) if glance_fc else None
        self.same_width = glance_channels == focus_channels
        if not self.same_width:
            self.project_glance = nn.Linear(glance_channels, hidden)
            self.project_focus = nn.Linear(focus_channels, hidden)
        self.gru = nn.GRUCell(glance_channels if self.same_width else hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden, num_classes)

    def forward(self, vector: Tensor, evidence: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """One look's ``(B, T, F)`` and the evidence so far to logits ``(B, T, C)`` and new evidence
        ``(B, T, hidden)``."""
        T, glance_vector = vector.shape[1], vector
        if not self.same_width:
            vector = (self.project_glance if step == 0 else self.project_focus)(vector)
        before = None if evidence is None else rearrange(evidence, 'b t f -> (b t) f')
        after = self.gru(rearrange(vector, 'b t f -> (b t) f'), before)
        evidence = rearrange(after, '(b t) f -> b t f', t=T)
        if step == 0 and self.glance_fc is not None:
            return self.glance_fc(self.dropout(glance_vector)), evidence
        return self.fc(self.dropout(evidence)), evidence


@MODELS.register_module()
class ConcatClassifier(nn.Module):
    """The vectors of all looks side by side, one linear layer per number of looks (GFNet for MobileNetV3 and
    EfficientNet).

    Args:
        glance_channels, focus_channels, num_classes: as in :class:`RecurrentClassifier`.
        steps: S, the number of focus steps; S + 1 linear layers are made.
        dropout: rate, applied to the vectors.
    """

    def __init__(
        self, glance_channels: int, focus_channels: int, num_classes: int, steps: int, dropout: float = 0.0
    ):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.ModuleList(
            [nn.Linear(glance_channels + step * focus_channels, num_classes) for step in range(steps + 1)]
        )

    def forward(self, vector: Tensor, evidence: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """One look's ``(B, T, F)`` and the vectors so far to logits ``(B, T, C)`` and the vectors with this
        one.

        Raises:
            ValueError: if there is no linear layer for so many looks.
        """
        if step >= len(self.fc):
            raise ValueError(
                f'look {step} was asked of a classifier built for {len(self.fc) - 1} focus steps; build it'
                f' with steps={step}'
            )
        vectors = vector if evidence is None else torch.cat([evidence, vector], dim=-1)  # (B, T, F0 + step*F)
        return self.fc[step](self.dropout(vectors)), vectors


@MODELS.register_module()
class SumClassifier(nn.Module):
    """One linear layer a look on the vector of that look alone; their answers add up.

    :class:`ConcatClassifier` without weights that are said twice: there every number of looks has a layer on
    all vectors so far, (S + 1) (S + 2) / 2 times F * C weights for F as wide, here it is S + 1 times.

    Args:
        glance_channels, focus_channels, num_classes: as in :class:`RecurrentClassifier`.
        steps: S, the number of focus steps; S + 1 linear layers are made.
        dropout: rate, applied to the vectors.
    """

    def __init__(
        self, glance_channels: int, focus_channels: int, num_classes: int, steps: int, dropout: float = 0.0
    ):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        channels = [glance_channels] + [focus_channels] * steps
        self.fc = nn.ModuleList([nn.Linear(width, num_classes) for width in channels])

    def forward(self, vector: Tensor, evidence: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """One look's ``(B, T, F)`` and the logits so far to logits ``(B, T, C)``, twice: they are the
        evidence, too.

        Raises:
            ValueError: if there is no linear layer for so many looks.
        """
        if step >= len(self.fc):
            raise ValueError(
                f'look {step} was asked of a classifier built for {len(self.fc) - 1} focus steps; build it'
                f' with steps={step}'
            )
        logits = self.fc[step](self.dropout(vector))
        logits = logits if evidence is None else evidence + logits
        return logits, logits
