"""A single-shot detector with several outputs, after SSD (Liu et al. 2016) and SSDLite.

"SSD: single shot multibox detector". At two scales a separable head gives, for each of three
anchors at each place, four numbers of a box and the class probabilities. Input [N, 3, 64, 64];
outputs boxes [N, 240, 4] and classes [N, 240, 5], and the coarse map [N, 64, 4, 4] for a tracker.
"""

import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 64, 64)
ANCHORS, CLASSES = 3, 5


def separable(channels: int, out: int, stride: int) -> nn.Sequential:
    """Depthwise and pointwise convolution with batch norm and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(),
    )


def head(channels: int, numbers: int) -> nn.Sequential:
    """Depthwise, then ``numbers`` for each anchor."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.ReLU6(),
        nn.Conv2d(channels, ANCHORS * numbers, 1),
    )


class Detector(nn.Module):
    """A small backbone and heads on its last two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU6(),
            separable(16, 24, 2),
            separable(24, 32, 2),
            separable(32, 48, 1),
        )
        self.coarse = nn.Sequential(separable(48, 64, 2), separable(64, 64, 1))
        self.boxes = nn.ModuleList([head(48, 4), head(64, 4)])
        self.classes = nn.ModuleList([head(48, CLASSES), head(64, CLASSES)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.stem(x)
        coarse = self.coarse(fine)
        found: dict[str, list[Tensor]] = {"boxes": [], "classes": []}
        for index, features in enumerate((fine, coarse)):
            for name, heads, numbers in (
                ("boxes", self.boxes, 4),
                ("classes", self.classes, CLASSES),
            ):
                values = heads[index](features).permute(0, 2, 3, 1)
                found[name].append(values.reshape(values.shape[0], -1, numbers))
        classes = torch.cat(found["classes"], dim=1).sigmoid()
        return torch.cat(found["boxes"], dim=1), classes, coarse


def detector() -> nn.Module:
    """The network, untrained; 17,000 weights."""
    return Detector()
