"""LeNet-5 of LeCun et al. 1998, with tanh and average pooling as it was.

"Gradient-based learning applied to document recognition". Input [N, 1, 32, 32], grey levels;
output [N, 10] scores. 61,000 weights.
"""

from collections import OrderedDict

from torch import nn

INPUT_SHAPE = (1, 1, 32, 32)


def lenet5() -> nn.Module:
    """The network, untrained."""
    return nn.Sequential(
        OrderedDict(
            c1=nn.Conv2d(1, 6, 5),
            t1=nn.Tanh(),
            s2=nn.AvgPool2d(2),
            c3=nn.Conv2d(6, 16, 5),
            t3=nn.Tanh(),
            s4=nn.AvgPool2d(2),
            c5=nn.Conv2d(16, 120, 5),
            t5=nn.Tanh(),
            flatten=nn.Flatten(),
            f6=nn.Linear(120, 84),
            t6=nn.Tanh(),
            output=nn.Linear(84, 10),
        )
    )
