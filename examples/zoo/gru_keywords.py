"""Key words by a gated recurrent unit, from a whole utterance or frame by frame.

The layer is that of Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder";
as a network for key words on microcontrollers it is in Zhang et al. 2017, "Hello Edge". Input
[N, 49, 10]: 49 frames of 10 coefficients; output [N, 10].
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 49, 10)


class GRUKeywords(nn.Module):
    """The last state of a GRU, then a dense layer."""

    def __init__(self, coefficients: int, units: int, classes: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(coefficients, units, batch_first=True)
        self.linear = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(x)
        return self.linear(states[:, -1])


def gru_keywords(coefficients: int = 10, units: int = 64, classes: int = 10) -> nn.Module:
    """The network, untrained; 15,000 weights."""
    return GRUKeywords(coefficients, units, classes)


class GRUFrame(GRUKeywords):
    """The same network on one frame, with the state handed on; the same weights.

    ``edgefactor export ... --stateful h=output1 --input-shape h=1,1,64``
    """

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        states, h = self.recurrent(x, h)
        return self.linear(states[:, -1]), h


def gru_keywords_frame(coefficients: int = 10, units: int = 64, classes: int = 10) -> nn.Module:
    """For streams: frame [1, 1, 10] and state [1, 1, 64] to scores and the next state."""
    return GRUFrame(coefficients, units, classes)
