"""Shift attention layers (SAL): a softmax over the taps of each kernel that hardens into one.

Hacene et al. 2019, "Attention Based Pruning for Shift Networks" (arXiv 1905.12300). Beside the
weights W each layer has an attention A of the same shape; it convolves with A' * W, where A' is the
softmax over a kernel's taps of T * A / std(A), and T grows by a constant factor every step. At the
end one tap a kernel is left. The paper's figure also shows two weights a kernel (SAL2), which its
code does not hold; here that is the sum of two such attentions, hardened into two different taps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.shared_weight import (
    MaskedWeight,
    original_of,
    unparametrize,
    weight_of,
)

if TYPE_CHECKING:
    from edgefactor.pipeline.compress.shift import ShiftOptions

#: Bits of a kept weight beside its own 32: which of nine taps it is.
POSITION_BITS = 4


class ShiftAttention(nn.Module):
    """``weight * A'``; a parametrization of a convolution's weight.

    Args:
        shape: The weight's, [O, I, h, w].
        heads: Attentions that are added; each keeps one tap.
        shared: Whether all outputs look at the same tap of an input.
        temperature: T at the start.
        generator: Draws the attentions, uniform in [0, 1).
    """

    temperature: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        heads: int,
        shared: bool,
        temperature: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        outputs, inputs, height, width = shape
        size = (heads, 1 if shared else outputs, inputs, height * width)
        self.attention = nn.Parameter(torch.rand(size, generator=generator))
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.kernel = (height, width)

    def soft(self) -> Tensor:
        """A', summed over the heads, [O or 1, I, h, w]."""
        spread = self.attention.std(dim=-1, keepdim=True).clamp_min(1e-12)
        soft = torch.softmax(self.temperature * self.attention / spread, dim=-1)
        return soft.sum(0).unflatten(-1, self.kernel)  # type: ignore[no-untyped-call,no-any-return]

    def hard(self) -> Tensor:
        """The taps that are kept, as 0 and 1, [O or 1, I, h, w]: another one for each head."""
        scores = self.attention.detach().clone()
        mask = torch.zeros_like(scores[0])
        for head in scores:
            free = head.masked_fill(mask.bool(), -math.inf)
            mask.scatter_(-1, free.argmax(-1, keepdim=True), 1.0)
        return mask.reshape(*mask.shape[:-1], *self.kernel)

    def forward(self, weight: Tensor) -> Tensor:
        """The weights as the convolution sees them."""
        return weight * self.soft()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is trained for a weight to start from: the weight itself."""
        return weight


def attach(
    layer: nn.Conv2d, *, heads: int, shared: bool, temperature: float, generator: torch.Generator
) -> ShiftAttention:
    """Gives a convolution an attention.

    It starts half at random, as the paper's, half in the order of the weights' size: in a trained
    layer the largest weight of a kernel is likeliest to stay.
    """
    weight = layer.weight.detach()
    attention = ShiftAttention(
        tuple(weight.shape),
        heads=heads,
        shared=shared,
        temperature=temperature,
        generator=generator,
    ).to(weight.device)
    size = weight.pow(2).sum(0, keepdim=True) if shared else weight.pow(2)
    ranks = size.flatten(2).argsort(-1).argsort(-1).to(weight.dtype)
    with torch.no_grad():
        # Half a draw, half the rank of the weight; each head prefers another of the largest.
        for head in range(heads):
            wanted = (ranks + head).remainder(ranks.shape[-1]) / ranks.shape[-1]
            attention.attention[head].mul_(0.5).add_(wanted * 0.5)
    unparametrize(layer)
    parametrize.register_parametrization(layer, "weight", attention, unsafe=True)
    return attention


def harden(layer: nn.Conv2d, attention: ShiftAttention) -> None:
    """Keeps one tap of each kernel for each head; the others are 0 and stay so."""
    mask = attention.hard()
    kept = (original_of(layer).detach() * mask).contiguous()
    unparametrize(layer)
    layer.weight = nn.Parameter(kept)
    full = mask.expand_as(kept).contiguous()
    parametrize.register_parametrization(layer, "weight", MaskedWeight(full))


def learn_taps(
    model: nn.Module, names: Sequence[str], options: ShiftOptions, context: Context
) -> None:
    """Trains with attentions while their temperature grows, then hardens them."""
    heads = 2 if options.taps == "attention-2" else 1
    shared = options.taps == "attention-shared"
    layers: list[tuple[nn.Conv2d, ShiftAttention]] = []
    for salt, name in enumerate(names):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        attention = attach(
            layer,
            heads=heads,
            shared=shared,
            temperature=options.temperature,
            generator=context.generator(salt),
        )
        layers.append((layer, attention))
    growth = math.log(options.final_temperature / options.temperature)

    def warm(done: int, total: int) -> None:
        temperature = options.temperature * math.exp(growth * done / max(total, 1))
        for _, attention in layers:
            attention.temperature.fill_(temperature)

    context.trainer.fit(model, options.training, context, label="shift", after_step=warm)
    for layer, attention in layers:
        harden(layer, attention)
        if shared:
            unparametrize(layer)


def figures(model: nn.Module, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is left of each layer: kept weights, and what they count with their positions."""
    result = {}
    for name in names:
        weight = weight_of(model.get_submodule(name))
        kept = int((weight != 0).sum())
        result[name] = {
            "weights": (weight.numel(), kept),
            "counted_parameters": kept * (32 + POSITION_BITS) / 32,
        }
    return result
