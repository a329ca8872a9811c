"""SqueezeNet (Iandola et al. 2016): Fire modules, no dense layer, for images of 32 x 32.

"SqueezeNet: AlexNet-level accuracy with 50x fewer parameters". A Fire module squeezes the channels
with 1 x 1 filters and expands them with 1 x 1 and 3 x 3 filters side by side.
Input [N, 3, 32, 32]; output [N, 10] scores.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)


class Fire(nn.Module):
    """Squeeze, then two kinds of filters whose results are concatenated."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Version 1.1 with half the width: pools early, eight Fire modules, a last convolution."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(32, 8, 32),
            Fire(64, 8, 32),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(128, 24, 96),
            Fire(192, 24, 96),
            Fire(192, 32, 128),
            Fire(256, 32, 128),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(256, classes, 1), nn.ReLU())
        for layer in self.modules():
            # Without batch norms the start values decide whether it learns at all.
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.features(x))
        return torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)


def squeezenet() -> nn.Module:
    """The network, untrained; 183,000 weights."""
    return SqueezeNet()
