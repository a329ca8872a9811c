"""A small Transformer encoder for key words, after the Keyword Transformer (Berg et al. 2021).

"Keyword Transformer: a self-attention model for keyword spotting": each of the 49 frames of 10 MFCC
coefficients is a token; learned positions are added, encoder layers follow, and the mean over time
is classified. Input [N, 49, 10]; output [N, 12] scores.
"""

import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 49, 10)


class KeywordTransformer(nn.Module):
    """Embedding of frames, positions, encoder layers that normalize first, mean, dense layer."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 3, classes: int = 12) -> None:
        super().__init__()
        frames, coefficients = INPUT_SHAPE[1:]
        self.embed = nn.Linear(coefficients, width)
        self.positions = nn.Parameter(torch.randn(1, frames, width) * 0.5)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(self.embed(x) + self.positions)
        return self.classify(x.mean(dim=1))


def transformer_kws() -> nn.Module:
    """The network, untrained; 105,000 weights."""
    return KeywordTransformer()
