"""A small residual CNN that learns from scratch on a CPU; for demos, tests and small inputs."""

from __future__ import annotations

from torch import Tensor, nn

from ...registry import MODELS
from .base import Backbone, Maps
from .batch_norm import BatchNorm2d
from .resnet import BasicBlock

__all__ = ['TinyCNN']


@MODELS.register_module()
class TinyCNN(Backbone):
    """A residual CNN of about ``0.31 * (width / 32) ** 2`` million parameters for inputs of 32 to 112 pixels.

    Args:
        width: channels of the stem; the three stages have ``width``, ``2 * width`` and ``4 * width``.
        blocks: residual blocks in each of the three stages.

    ``forward`` takes images ``(N, 3, H, W)`` and returns the feature maps by stride,
    ``{4: (N, width, H/4, W/4), 8: (N, 2 * width, ...), 16: (N, 4 * width, ...)}``; sizes are rounded up.
    ``channels`` holds the channels of each.

    Raises:
        ValueError: if ``width`` is not a positive multiple of 8 (the temporal shift moves eighths), or a
            stage has no block.
    """

    def __init__(self, width: int = 32, blocks: tuple[int, int, int] = (1, 1, 1)):
        super().__init__()
        if width < 8 or width % 8:
            raise ValueError(f'TinyCNN width={width}; choose a positive multiple of 8')
        if len(blocks) != 3 or min(blocks) < 1:
            raise ValueError(
                f'TinyCNN blocks={tuple(blocks)}; give three positive numbers of blocks, one for each of the'
                ' strides 4, 8, 16'
            )
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, padding=1, bias=False), BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.channels = {4: width, 8: 2 * width, 16: 4 * width}
        stages, before = [], width
        for out, repeat in zip(self.channels.values(), blocks):
            stages.append(
                nn.Sequential(
                    *(BasicBlock(before if j == 0 else out, out, 2 if j == 0 else 1) for j in range(repeat))
                )
            )
            before = out
        self.stages = nn.ModuleList(stages)
        self.init_weights()

    def init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def shift_points(self) -> list[str]:
        """The first convolution of every residual branch (TSM, "blockres")."""
        names = (
            f'stages.{i}.{j}.conv1'
            for i, stage in enumerate(self.stages)
            for j, _ in enumerate(stage.children())
        )
        return list(names)

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """The layers that make the map at ``stride``."""
        if stride not in self.channels:
            raise ValueError(f'TinyCNN has no map at stride {stride}; choose one of {sorted(self.channels)}')
        return [self.stem, *self.stages[: list(self.channels).index(stride) + 1]]

    def forward(self, x: Tensor) -> Maps:
        x = self.stem(x)  # (N, width, H/2, W/2)
        maps: Maps = {}
        for stride, stage in zip(self.channels, self.stages):
            maps[stride] = x = stage(x)  # (N, channels[stride], H/stride, W/stride)
        return maps

    @staticmethod
    def rename_pretrained(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """The names as they are; a leading ``module.`` (data parallel) is stripped."""
        return {key.removeprefix('module.'): value for key, value in state_dict.items()}
