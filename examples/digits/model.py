"""A small network for handwritten digits of 8 x 8 pixels."""

from collections import OrderedDict

from torch import nn


def digits() -> nn.Module:
    """The network, untrained. Input [N, 1, 8, 8], grey levels 0..16; output [N, 10] scores.

    The export takes a factory like this one beside a file of trained weights, so that no code has
    to be loaded from the file.
    """
    return nn.Sequential(
        OrderedDict(
            first=nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
            ),
            depthwise=nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
                nn.BatchNorm2d(16),
                nn.ReLU(),
            ),
            pointwise=nn.Sequential(
                nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
            ),
            # The last two layers hold most of the weights, and share them (train.py). They have no
            # batch norm, whose scales would be folded into the weights and take their sharing away.
            last=nn.Sequential(nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU()),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense=nn.Linear(48 * 2 * 2, 10),
        )
    )
