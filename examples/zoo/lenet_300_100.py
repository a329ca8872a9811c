"""LeNet-300-100: the fully connected network of LeCun et al. 1998, section III.

"Gradient-based learning applied to document recognition". Input [N, 1, 28, 28], grey levels;
output [N, 10] scores. 266,200 weights.
"""

from torch import nn

INPUT_SHAPE = (1, 1, 28, 28)


def lenet_300_100() -> nn.Module:
    """The network, untrained."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
