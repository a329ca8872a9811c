"""Key words by two layers of long short-term memory (Hochreiter and Schmidhuber 1997).

As a network for key words on microcontrollers it is in Zhang et al. 2017, "Hello Edge". Input
[N, 49, 10]: 49 frames of 10 coefficients; output [N, 10].
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 49, 10)


class LSTMKeywords(nn.Module):
    """The last result of two LSTM layers, then a dense layer."""

    def __init__(self, coefficients: int, units: int, classes: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(coefficients, units, num_layers=2, batch_first=True)
        self.linear = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        results, _ = self.recurrent(x)
        return self.linear(results[:, -1])


def lstm_keywords(coefficients: int = 10, units: int = 48, classes: int = 10) -> nn.Module:
    """The network, untrained; 30,000 weights."""
    return LSTMKeywords(coefficients, units, classes)
