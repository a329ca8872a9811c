"""MobileNet-like networks with random weights, for benchmarks of memory and instructions.

Howard et al. 2017 (arXiv:1704.04861) and Sandler et al. 2018 (arXiv:1801.04381), with batch norm
folded into the biases: what memory and instructions depend on, not accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

V1_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
             (1024, 2), (1024, 1))  # fmt: skip
V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
"""Expansion, channels, repetitions, stride of the first."""


def _channels(count: float) -> int:
    """Rounded to a multiple of 8, by no more than a tenth down."""
    rounded = max(8, int(count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count else rounded


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; the input is added where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [_convolution(inputs, wide, 1), nn.ReLU6()]
        layers += [_convolution(wide, wide, 3, stride, wide), nn.ReLU6()]
        layers.append(_convolution(wide, outputs, 1))
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """NCHW."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def mobilenet_v1(width: float = 0.25, classes: int = 2) -> nn.Module:
    """Depthwise separable convolutions, as in the visual wake words benchmark."""
    torch.manual_seed(0)
    channels = _channels(32 * width)
    layers: list[nn.Module] = [_convolution(3, channels, 3, 2), nn.ReLU()]
    for outputs, stride in V1_LAYERS:
        wide = _channels(outputs * width)
        layers += [_convolution(channels, channels, 3, stride, channels), nn.ReLU()]
        layers += [_convolution(channels, wide, 1), nn.ReLU()]
        channels = wide
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers).eval()


def mobilenet_v2(width: float = 0.35, classes: int = 2, last: int = 1280) -> nn.Module:
    """Inverted residuals with linear bottlenecks."""
    torch.manual_seed(0)
    channels = _channels(32 * width)
    layers: list[nn.Module] = [_convolution(3, channels, 3, 2), nn.ReLU6()]
    for expansion, outputs, repetitions, stride in V2_BLOCKS:
        wide = _channels(outputs * width)
        for index in range(repetitions):
            layers.append(InvertedResidual(channels, wide, expansion, 1 if index else stride))
            channels = wide
    layers += [_convolution(channels, last, 1), nn.ReLU6()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes)]
    return nn.Sequential(*layers).eval()


NETWORKS = {"mobilenet_v2_0.35": mobilenet_v2, "mobilenet_v1_0.25": mobilenet_v1}
INPUT_SHAPE = (1, 3, 96, 96)
