"""EfficientNet-Lite (Google 2020), narrowed: EfficientNet without what integers do badly.

Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks"; the
Lite form has ReLU6 in place of swish and no squeeze-and-excite, and keeps the kernels of 5 x 5.
Input [N, 3, 48, 48]; output [N, 10] scores.
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 48, 48)
#: Expansion, kernel, channels, number of blocks, stride of the first one.
STAGES = (
    (1, 3, 8, 1, 1),
    (4, 3, 12, 2, 2),
    (4, 5, 20, 2, 2),
    (4, 3, 32, 2, 2),
    (4, 5, 48, 2, 1),
)


def convolution(channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> nn.Module:
    """Convolution and batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
    )


class MBConv(nn.Module):
    """Expand, depthwise, project; the input is added where its shape allows."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [convolution(channels, hidden, 1, 1), nn.ReLU6()]
        layers += [
            convolution(hidden, hidden, kernel, stride, groups=hidden),
            nn.ReLU6(),
            convolution(hidden, out, 1, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return y + x if self.residual else y


def efficientnet_lite() -> nn.Module:
    """The network, untrained; 73,000 weights."""
    layers: list[nn.Module] = [convolution(3, 16, 3, 2), nn.ReLU6()]
    channels = 16
    for expansion, kernel, out, count, stride in STAGES:
        for index in range(count):
            layers.append(MBConv(channels, out, kernel, stride if index == 0 else 1, expansion))
            channels = out
    return nn.Sequential(
        nn.Sequential(*layers),
        nn.Sequential(convolution(channels, 192, 1, 1), nn.ReLU6()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(192, 10),
    )
