"""U-Net (Ronneberger et al. 2015), narrowed, with nearest-neighbour upsampling.

"U-Net: convolutional networks for biomedical image segmentation": the maps of the way down are
concatenated to those of the way up. Input [N, 3, 32, 32]; output [N, 4, 32, 32], a score for each
class at each pixel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)


def double(channels: int, out: int) -> nn.Sequential:
    """Two convolutions with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for before in (channels, out):
        layers += [
            nn.Conv2d(before, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three levels down, three up."""

    def __init__(self, width: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.down1 = double(3, width)
        self.down2 = double(width, 2 * width)
        self.down3 = double(2 * width, 4 * width)
        self.bottom = double(4 * width, 8 * width)
        self.up3 = double(12 * width, 4 * width)
        self.up2 = double(6 * width, 2 * width)
        self.up1 = double(3 * width, width)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        third = self.down3(F.max_pool2d(second, 2))
        x = self.bottom(F.max_pool2d(third, 2))
        x = self.up3(torch.cat([F.interpolate(x, scale_factor=2), third], 1))
        x = self.up2(torch.cat([F.interpolate(x, scale_factor=2), second], 1))
        x = self.up1(torch.cat([F.interpolate(x, scale_factor=2), first], 1))
        return self.last(x)


def unet() -> nn.Module:
    """The network, untrained; 122,000 weights."""
    return UNet()
