"""A residual network of shift attention layers (Hacene et al. 2019): one weight a kernel.

"Attention based pruning for shift networks". While it trains, a softmax over the nine taps of each
kernel weighs them, and hardens step by step; in evaluation one tap of nine is left, so each output
is a sum of shifted inputs. The export stores what is left. Input [N, 3, 32, 32]; output [N, 10].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)
#: Temperature of the softmax at first and at last, and its growth with each step of training.
FIRST, LAST, GROWTH = 6.7, 200.0, 1.005


class ShiftAttention(nn.Module):
    """A 3 x 3 convolution that learns which tap of each kernel to keep."""

    temperature: Tensor

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty(out, channels, 9)))
        self.attention = nn.Parameter(torch.rand(out, channels, 9))
        self.register_buffer("temperature", torch.tensor(FIRST))

    def taps(self) -> Tensor:
        """How much each tap counts; 0 or 1 in evaluation."""
        if not self.training:
            return F.one_hot(self.attention.argmax(-1), 9).float()
        self.temperature.mul_(GROWTH).clamp_(max=LAST)
        spread = self.attention.std(-1, keepdim=True)
        return (self.temperature * self.attention / spread).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.taps()).unflatten(-1, (3, 3))
        return F.conv2d(x, weight, stride=self.stride, padding=1)


class Block(nn.Module):
    """Two shift attention layers beside the input."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ShiftAttention(channels, out, stride),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            ShiftAttention(out, out),
            nn.BatchNorm2d(out),
        )
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def shift_attention_resnet() -> nn.Module:
    """The network, untrained; 170,000 weights, of which 22,000 stay."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        Block(16, 16, 1),
        Block(16, 32, 2),
        Block(32, 32, 1),
        Block(32, 64, 2),
        Block(64, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
