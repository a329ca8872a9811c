"""MobileNetV3-Small (Howard et al. 2019) at a fraction of its width.

"Searching for MobileNetV3": squeeze-and-excite with hard sigmoid, hard swish in the later layers.
Input [N, 3, 64, 64]; output [N, 10] scores.
"""

from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 64, 64)
#: Kernel, expanded channels, output channels, squeeze-and-excite, hard swish, stride.
BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 40, 16, False, False, 2),
    (3, 48, 16, False, False, 1),
    (5, 48, 24, True, True, 2),
    (5, 96, 24, True, True, 1),
    (5, 64, 24, True, True, 1),
    (5, 96, 32, True, True, 2),
    (5, 144, 32, True, True, 1),
)


class SqueezeExcite(nn.Module):
    """Each channel is scaled by a number that the means of all channels decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.expand(F.relu(self.reduce(self.pool(x))))
        return F.hardsigmoid(scale) * x


class Bottleneck(nn.Module):
    """Expand, depthwise, squeeze-and-excite, project."""

    def __init__(
        self,
        channels: int,
        kernel: int,
        hidden: int,
        out: int,
        excite: bool,
        swish: bool,
        stride: int,
    ) -> None:
        super().__init__()

        def activation() -> nn.Module:
            return nn.Hardswish() if swish else nn.ReLU()

        self.block = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            activation(),
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            activation(),
            SqueezeExcite(hidden) if excite else nn.Identity(),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.block(x)
        if self.residual:
            result += x
        return result


class MobileNetV3(nn.Module):
    """A convolution of stride 2, the bottlenecks, and a classifier with one hidden layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.Hardswish(),
        ]
        channels = 16
        for kernel, hidden, out, excite, swish, stride in BLOCKS:
            layers.append(Bottleneck(channels, kernel, hidden, out, excite, swish, stride))
            channels = out
        layers += [nn.Conv2d(channels, 144, 1, bias=False), nn.BatchNorm2d(144), nn.Hardswish()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(144, 128), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(128, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(x.flatten(1))


def mobilenet_v3_small() -> nn.Module:
    """The network, untrained; 87,000 weights."""
    return MobileNetV3()
