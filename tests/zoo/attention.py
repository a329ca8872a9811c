"""Attention with masks that are computed from inputs, as users write it: a table of functions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOKENS, WIDTH, HEADS, ROWS = 6, 8, 2, 9
_HEAD = WIDTH // HEADS
_LOWEST = torch.finfo(torch.float32).min
#: Queries, keys, values [1, heads, tokens, width of a head] and what is padding [1, tokens].
Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / _HEAD**0.5


def _visible(pad: Tensor) -> Tensor:
    return ~pad[:, None, None, :]


def _filled(number: float) -> Attend:
    return lambda q, k, v, pad: (
        _scores(q, k).masked_fill(pad[:, None, None, :], number).softmax(-1) @ v
    )


def _chosen(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    return torch.where(_visible(pad), _scores(q, k), _LOWEST).softmax(-1) @ v


def _by_truth(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_visible(pad))


def _by_numbers(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = torch.zeros(1, 1, 1, TOKENS).masked_fill(pad[:, None, None, :], float("-inf"))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(1, HEADS, TOKENS, -1))


def _causal(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    before = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_visible(pad) & before)


def _two_fills(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    later = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
    scores = _scores(q, k).masked_fill(later, float("-inf"))
    return scores.masked_fill(pad[:, None, None, :], float("-inf")).softmax(-1) @ v


def _two_sums(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    later = torch.full((TOKENS, TOKENS), float("-inf")).triu(1)
    padding = torch.zeros(1, 1, 1, TOKENS).masked_fill(pad[:, None, None, :], float("-inf"))
    return (_scores(q, k) + (later + padding)).softmax(-1) @ v


def _product(number: float) -> Attend:
    def attend(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
        mask = (1.0 - _visible(pad).float()) * number
        return (_scores(q, k) + mask).softmax(-1) @ v

    return attend


def _product_of_less(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    return (_scores(q, k) + (_visible(pad).to(q.dtype) - 1) * 1e4).softmax(-1) @ v


def _slopes(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    """ALiBi (Press et al. 2022) with padding: a bias by distance."""
    at = torch.arange(TOKENS)
    distance = (at[None, :] - at[:, None]).abs().float()
    bias = -distance * torch.tensor([0.5, 0.25]).view(HEADS, 1, 1)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias.masked_fill(pad[:, None, None, :], float("-inf"))
    )


def _causal_slopes(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    at = torch.arange(TOKENS)
    bias = -(at[:, None] - at[None, :]).float() * torch.tensor([0.5, 0.25]).view(HEADS, 1, 1)
    bias = bias.masked_fill(at[:, None] < at[None, :], float("-inf"))
    padding = torch.zeros(1, 1, 1, TOKENS).masked_fill(pad[:, None, None, :], float("-inf"))
    return (_scores(q, k) + bias + padding).softmax(-1) @ v


def _shared_keys(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    """Grouped-query attention: one key and value for both heads."""
    return F.scaled_dot_product_attention(
        q, k[:, :1], v[:, :1], attn_mask=_visible(pad), enable_gqa=True
    )


#: How attention is masked -> what computes it.
ATTENTION: dict[str, Attend] = {
    "masked_fill with -inf": _filled(float("-inf")),
    "masked_fill with -1e9": _filled(-1e9),
    "where with the lowest float": _chosen,
    "SDPA, mask of truth values": _by_truth,
    "SDPA, mask of numbers": _by_numbers,
    "SDPA, causal and padding": _causal,
    "causal and padding, filled": _two_fills,
    "causal and padding, added": _two_sums,
    "(1 - mask) * lowest float": _product(_LOWEST),
    "(1 - mask) * -10000": _product(-1e4),
    "(mask - 1) * 10000": _product_of_less,
    "ALiBi": _slopes,
    "causal ALiBi": _causal_slopes,
    "grouped queries": _shared_keys,
}


class MaskedAttention(nn.Module):
    """All of ``ATTENTION`` on the same tokens [1, TOKENS, WIDTH].

    What is padding comes as ids [1, TOKENS], 0 for padding, and where attention is pooling, from
    the length [1] of the sequence.
    """

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in ATTENTION)
        self.weigh = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor, ids: Tensor, length: Tensor) -> list[Tensor]:
        pad = ids == 0
        results = []
        for project, attend in zip(self.project, ATTENTION.values(), strict=True):
            parts = project(x).reshape(1, TOKENS, 3, HEADS, _HEAD).permute(2, 0, 3, 1, 4)
            results.append(attend(*parts.unbind(0), pad).transpose(1, 2).reshape(x.shape))
        beyond = torch.arange(TOKENS) >= length[:, None]
        weights = self.weigh(x).squeeze(-1).masked_fill(beyond, float("-inf")).softmax(1)
        results.append((weights.unsqueeze(-1) * x).sum(1))
        results.append(x.masked_fill(beyond[:, :, None], float("-inf")).amax(1))
        return results


class Classifier(nn.Module):
    """Token ids to classes: embedding, an encoder that masks padding, masked mean."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.embed = nn.Embedding(ROWS, WIDTH)
        self.positions = nn.Parameter(torch.randn(1, TOKENS, WIDTH) * 0.3)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 12, batch_first=True, **options)
        self.encode = nn.TransformerEncoder(layer, 1)
        self.classify = nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        pad = ids == 0
        x = self.encode(self.embed(ids) + self.positions, src_key_padding_mask=pad)
        seen = (~pad).unsqueeze(-1).float()
        return self.classify((x * seen).sum(1) / seen.sum(1))


class Translator(nn.Module):
    """nn.Transformer: padding in the encoder and in cross-attention, a causal decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(ROWS, WIDTH)
        self.net = nn.Transformer(WIDTH, HEADS, 1, 1, 12, batch_first=True)
        self.register_buffer("later", nn.Transformer.generate_square_subsequent_mask(TOKENS))

    def forward(self, ids: Tensor, target: Tensor) -> Tensor:
        pad = ids == 0
        return self.net(
            self.embed(ids),
            self.embed(target),
            tgt_mask=self.later,
            src_key_padding_mask=pad,
            memory_key_padding_mask=pad,
            tgt_is_causal=True,
        )


class WithMemory(nn.Module):
    """nn.MultiheadAttention over a second input; returns the weights of each head."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, kdim=5, vdim=5)

    def forward(self, x: Tensor, memory: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        x, memory = x.transpose(0, 1), memory.transpose(0, 1)
        y, weights = self.attend(
            x, memory, memory, key_padding_mask=hidden, average_attn_weights=False
        )
        return y.transpose(0, 1), weights
