"""A residual network whose stream has one channel far larger than the others.

Trained transformers and deep residual networks grow such channels ("massive activations", Sun et
al. 2024, arXiv:2402.17762). They set the range of the whole stream, and leave few of the 256 steps
of int8 to all other channels: here the outputs drown in noise unless the stream is 16 bits wide.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 12, 12)
#: How much larger the first channel is.
OUTLIER = 80.0


class Block(nn.Module):
    """Adds to the stream what it computes from it; hardly looks at the large channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, channels, 3, padding=1)
        self.write = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.write(torch.relu(self.look(x)))


class ResidualStream(nn.Module):
    """Stem, blocks, and a head that reads the average of the stream without the large channel."""

    def __init__(self, channels: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(blocks)))
        self.head = nn.Linear(channels, classes)
        self.grow_outlier()

    @torch.no_grad()
    def grow_outlier(self) -> None:
        """Make the first channel large, and what reads the stream used to it."""
        self.stem.weight[0] *= OUTLIER
        self.stem.bias[0] = OUTLIER / 2
        for block in self.blocks:
            block.look.weight[:, 0] /= OUTLIER
        self.head.weight[:, 0] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


def residual_stream(channels: int = 16, blocks: int = 6, classes: int = 10) -> nn.Module:
    """The network for images of 3 x 12 x 12."""
    return ResidualStream(channels, blocks, classes)
