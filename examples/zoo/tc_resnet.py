"""TC-ResNet8 (Choi et al. 2019): key words by convolutions over time alone.

"Temporal convolution for real-time keyword spotting on mobile devices": the 40 coefficients of a
frame are the channels, the filters run over time. Input [N, 40, 98], frames last; output [N, 12].
"""

from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 40, 98)


class Block(nn.Module):
    """Two temporal convolutions of 9 frames; stride 2 with a projection."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, out, 9, 2, 4, bias=False)
        self.norm1 = nn.BatchNorm1d(out)
        self.conv2 = nn.Conv1d(out, out, 9, 1, 4, bias=False)
        self.norm2 = nn.BatchNorm1d(out)
        self.project = nn.Conv1d(channels, out, 1, 2, bias=False)
        self.norm3 = nn.BatchNorm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + F.relu(self.norm3(self.project(x))))


class TCResNet(nn.Module):
    """A convolution of 3 frames, three blocks, mean over time, dense layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, 16, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(Block(16, 24), Block(24, 32), Block(32, 48))
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.first(x))
        return self.linear(self.dropout(x.mean(dim=2)))


def tc_resnet(channels: int = 40, classes: int = 12) -> nn.Module:
    """The network, untrained; 65,000 weights."""
    return TCResNet(channels, classes)
