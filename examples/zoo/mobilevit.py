"""A small MobileViT (Mehta and Rastegari 2022).

"MobileViT: light-weight, general-purpose, and mobile-friendly vision transformer": convolutions
describe a pixel's surroundings, then the map is unfolded into patches of 2x2 pixels, and pixels in
the same place of all patches attend to each other. Input [N, 3, 48, 48]; output [N, 10] scores.
"""

import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 48, 48)
PATCH = 2


def conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, SiLU."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.SiLU(),
    )


class InvertedResidual(nn.Module):
    """MobileNetV2's block, expanded twofold, with SiLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.layers = nn.Sequential(
            conv(channels, hidden, 1),
            conv(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileVitBlock(nn.Module):
    """Local convolutions, attention between patches, and a convolution of both together."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            conv(channels, channels, 3), nn.Conv2d(channels, width, 1, bias=False)
        )
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, activation=nn.SiLU(), batch_first=True, norm_first=True
        )
        self.attend = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.project = conv(width, channels, 1)
        self.fuse = conv(2 * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.local(x)
        n, width, height, columns = y.shape
        h, w = height // PATCH, columns // PATCH
        # [N, C, h, 2, w, 2] -> a sequence of patches for each of the four places in one
        y = y.reshape(n, width, h, PATCH, w, PATCH).permute(0, 3, 5, 2, 4, 1)
        y = self.attend(y.reshape(n * PATCH * PATCH, h * w, width))
        y = y.reshape(n, PATCH, PATCH, h, w, width).permute(0, 5, 3, 1, 4, 2)
        y = self.project(y.reshape(n, width, height, columns))
        return self.fuse(torch.cat([x, y], dim=1))


def mobilevit() -> nn.Module:
    """The network, untrained; 151,000 weights."""
    return nn.Sequential(
        conv(3, 16, 3, 2),
        InvertedResidual(16, 24, 2),
        InvertedResidual(24, 24, 1),
        MobileVitBlock(24, 32, layers=2),
        InvertedResidual(24, 48, 2),
        MobileVitBlock(48, 48, layers=2),
        conv(48, 96, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
