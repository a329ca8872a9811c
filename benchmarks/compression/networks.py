"""The networks of the MNIST tables, as Caffe's examples and LeCun et al. 1998 define them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LeNet300(nn.Module):
    """784-300-100-10, 266,200 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.ip1 = nn.Linear(784, 300)
        self.ip2 = nn.Linear(300, 100)
        self.ip3 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images [N, 1, 28, 28]."""
        x = torch.relu(self.ip1(x.flatten(1)))
        return self.ip3(torch.relu(self.ip2(x)))


class LeNet5(nn.Module):
    """Caffe's LeNet-5: two convolutions, two dense layers, 430,500 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images [N, 1, 28, 28]."""
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return self.ip2(torch.relu(self.ip1(x.flatten(1))))


def lenet_300_100() -> nn.Module:
    """For --model."""
    return LeNet300()


def lenet_5() -> nn.Module:
    """For --model."""
    return LeNet5()
