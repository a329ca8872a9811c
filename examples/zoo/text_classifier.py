"""A text classifier: token ids to classes by one Transformer encoder layer that ignores padding.

The encoder is that of Vaswani et al. 2017, "Attention is all you need", with learned positions.
Texts are token ids from 1 on, filled up with 0 at the end. What is padding is computed from the
ids; it is neither attended to nor counted in the mean over tokens. Input [N, 24]: ids; output
[N, 20] scores.
"""

import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 24)
#: Ids, and that of padding.
WORDS, PADDING = 200, 0


class TextClassifier(nn.Module):
    """Embedding and positions, encoder layer, mean over what is no padding, dense layer."""

    def __init__(self, words: int, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width, padding_idx=PADDING)
        self.positions = nn.Parameter(torch.randn(1, INPUT_SHAPE[1], width) * 0.5)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.classify = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == PADDING
        x = self.encoder(self.embed(ids) + self.positions, src_key_padding_mask=padding)
        words = (~padding).unsqueeze(-1).float()
        return self.classify((x * words).sum(1) / words.sum(1))


def text_classifier(words: int = WORDS, width: int = 32, classes: int = 20) -> nn.Module:
    """The network, untrained; 16,000 weights."""
    return TextClassifier(words, width, 4, classes)
