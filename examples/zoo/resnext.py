"""ResNeXt (Xie et al. 2017): residual blocks of many small groups, for images of 32 x 32.

"Aggregated residual transformations for deep neural networks", cardinality 8. Input
[N, 3, 32, 32]; output [N, 10] scores.
"""

from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)
CARDINALITY = 8


class Block(nn.Module):
    """1 x 1, grouped 3 x 3, 1 x 1, beside a projection where the shape changes."""

    def __init__(self, channels: int, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=CARDINALITY, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.shortcut(x)
        return F.relu(y)


class ResNeXt(nn.Module):
    """A convolution, three stages of two blocks, mean, dense layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        stages: list[nn.Module] = []
        channels = 16
        for width, out, stride in ((32, 32, 1), (64, 64, 2), (96, 128, 2)):
            stages += [Block(channels, width, out, stride), Block(out, width, out, 1)]
            channels = out
        self.stages = nn.Sequential(*stages)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.stages(self.first(x)), 1)
        return self.linear(x.flatten(1))


def resnext() -> nn.Module:
    """The network, untrained; 106,000 weights."""
    return ResNeXt()
