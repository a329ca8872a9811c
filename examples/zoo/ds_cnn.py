"""DS-CNN: key words by depthwise separable convolutions (Zhang et al. 2017).

"Hello Edge: keyword spotting on microcontrollers", in the size that the benchmark MLPerf Tiny has.
Input [N, 1, 49, 10]: 49 frames of 10 coefficients as an image; output [N, 12] scores.
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 1, 49, 10)


def norm_relu(layer: nn.Conv2d) -> nn.Sequential:
    """A convolution with batch norm and ReLU."""
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU())


class DSCNN(nn.Module):
    """A convolution over a fifth of the time, four separable blocks, mean, dense layer."""

    def __init__(self, channels: int = 64, blocks: int = 4, classes: int = 12) -> None:
        super().__init__()
        self.first = norm_relu(nn.Conv2d(1, channels, (10, 4), 2, (5, 1), bias=False))
        layers: list[nn.Module] = [nn.Dropout(0.2)]
        for _ in range(blocks):
            depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            pointwise = nn.Conv2d(channels, channels, 1, bias=False)
            layers += [norm_relu(depthwise), norm_relu(pointwise)]
        self.blocks = nn.Sequential(*layers, nn.Dropout(0.4))
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.blocks(self.first(x)).mean([2, 3]))


def ds_cnn() -> nn.Module:
    """The network, untrained; 22,000 weights."""
    return DSCNN()
