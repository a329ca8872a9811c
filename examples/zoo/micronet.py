"""A MicroNet-like network (Li et al. 2021) with squeeze-and-excite.

"MicroNet: improving image recognition with extremely low FLOPs": depthwise filters factorized into
a column and a row, pointwise filters factorized into two grouped ones with a channel shuffle
between them. Input [N, 3, 48, 48]; output [N, 10] scores.
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 48, 48)


class Shuffle(nn.Module):
    """Channels of all groups take turns (Zhang et al. 2018, ShuffleNet)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        x = x.view(n, self.groups, channels // self.groups, height, width)
        return x.transpose(1, 2).reshape(n, channels, height, width)


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that the mean of the map decides (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // 4),
            nn.ReLU(),
            nn.Linear(channels // 4, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, channels = x.shape[:2]
        return x * self.gate(x.mean(dim=(2, 3))).view(n, channels, 1, 1)


class Block(nn.Module):
    """Column, row, grouped squeeze, shuffle, grouped expansion, excitation."""

    def __init__(self, channels: int, out: int, stride: int, groups: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), (stride, 1), (1, 0), groups=channels),
            nn.Conv2d(channels, channels, (1, 3), (1, stride), (0, 1), groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, out // 2, 1, groups=groups, bias=False),
            nn.BatchNorm2d(out // 2),
            Shuffle(groups),
            nn.Conv2d(out // 2, out, 1, groups=groups, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            SqueezeExcite(out),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def micronet() -> nn.Module:
    """The network, untrained; 22,000 weights."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 32, 2),
        Block(32, 32, 1),
        Block(32, 64, 2),
        Block(64, 64, 1),
        Block(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
