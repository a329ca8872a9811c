"""MobileNet (Howard et al. 2017) in the form for CIFAR-10, a quarter of its width.

"MobileNets: efficient convolutional neural networks for mobile vision applications". The first
convolution keeps the 32 x 32 pixels, as is usual for images that small; each block is a depthwise
and a pointwise convolution. Input [N, 3, 32, 32]; output [N, 10] scores.
"""

from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)
#: Channels at full width and stride of each block.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


class Separable(nn.Module):
    """Depthwise 3 x 3, then pointwise."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, 3, stride, padding=1, groups=channels, bias=False
        )
        self.norm1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.depthwise(x)))
        return F.relu(self.norm2(self.pointwise(x)))


class MobileNet(nn.Module):
    """A convolution, thirteen separable blocks, a pool and a dense layer."""

    def __init__(self, width: float, classes: int = 10) -> None:
        super().__init__()
        channels = int(32 * width)
        self.first = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        blocks = []
        for full, stride in BLOCKS:
            out = int(full * width)
            blocks.append(Separable(channels, out, stride))
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.first(x))))
        x = F.avg_pool2d(x, 2)
        return self.linear(x.view(x.size(0), -1))


def mobilenet_v1() -> nn.Module:
    """The network, untrained; 210,000 weights."""
    return MobileNet(0.25)
