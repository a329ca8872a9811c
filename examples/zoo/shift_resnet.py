"""A residual network whose spatial filters are fixed shifts (Wu et al. 2018).

"Shift: a zero FLOP, zero parameter alternative to spatial convolutions". A shift moves each group
of channels by one pixel in its own direction; all that is learnt are 1 x 1 convolutions. It is
written with slices and pads, as plain PyTorch. Input [N, 3, 32, 32]; output [N, 10] scores.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)
#: Rows and columns that each group of channels moves.
DIRECTIONS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


def shift(x: Tensor, down: int, right: int) -> Tensor:
    """Move a map by whole pixels; zeros move in."""
    height, width = x.shape[2:]
    padded = F.pad(x, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    return padded[:, :, top : top + height, left : left + width]


class Shift(nn.Module):
    """Moves each fifth of the channels in its direction."""

    def forward(self, x: Tensor) -> Tensor:
        groups = torch.chunk(x, len(DIRECTIONS), dim=1)
        return torch.cat([shift(g, *d) for g, d in zip(groups, DIRECTIONS, strict=True)], 1)


class Block(nn.Module):
    """Pointwise, shift, pointwise, beside the input."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        hidden = 2 * out
        self.body = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            Shift(),
            nn.Conv2d(hidden, out, 1, stride, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def shift_resnet() -> nn.Module:
    """The network, untrained; 63,000 weights."""
    return nn.Sequential(
        nn.Conv2d(3, 20, 3, padding=1, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(inplace=True),
        Block(20, 20, 1),
        Block(20, 40, 2),
        Block(40, 40, 1),
        Block(40, 80, 2),
        Block(80, 80, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(80, 10),
    )
