"""ResNet-20 for CIFAR-10 (He et al. 2015, section 4.2) with shortcuts that have no parameters.

"Deep residual learning for image recognition". Where a stage begins, the shortcut takes every
second pixel and adds channels of zeros (option A). Input [N, 3, 32, 32]; output [N, 10] scores.
"""

from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)


class Block(nn.Module):
    """Two convolutions and the shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.added = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            half = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(x + y)


class ResNet20(nn.Module):
    """Three stages of three blocks."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks = []
        channels = 16
        for out in (16, 32, 64):
            for index in range(3):
                blocks.append(Block(channels, out, 2 if out != channels and index == 0 else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.avg_pool2d(x, x.size(3)).flatten(1))


def resnet20() -> nn.Module:
    """The network, untrained; 268,000 weights."""
    return ResNet20()
