"""MobileNetV2 (Sandler et al. 2018): inverted residuals with linear bottlenecks, narrowed.

"MobileNetV2: inverted residuals and linear bottlenecks". Input [N, 3, 32, 32]; output [N, 10].
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 32, 32)
#: Expansion, channels, number of blocks, stride of the first one.
STAGES = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 2, 2), (6, 24, 2, 2), (6, 32, 2, 1), (6, 48, 2, 2))


def norm_relu6(channels: int, out: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand, filter by channel, project; the input is added where its shape allows."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(norm_relu6(channels, hidden, 1, 1, 1))
        layers += [
            norm_relu6(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Stages of inverted residuals, a last pointwise convolution, mean, dense layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        channels = 16
        layers: list[nn.Module] = [norm_relu6(3, channels, 3, 1, 1)]
        for expansion, out, count, stride in STAGES:
            for index in range(count):
                layers.append(
                    InvertedResidual(channels, out, stride if index == 0 else 1, expansion)
                )
                channels = out
        layers.append(norm_relu6(channels, 160, 1, 1, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(160, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


def mobilenet_v2() -> nn.Module:
    """The network, untrained; 104,000 weights."""
    return MobileNetV2()
