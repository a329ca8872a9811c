"""Weights on few levels, trained through rounding: uniform, ternary and binary.

The real weights are kept and updated; the layer computes with the quantized ones, and gradients
pass the rounding unchanged (straight-through). Uniform levels: Jacob et al. 2018. Ternary: Li and
Liu 2016 (arXiv 1605.04711). Binary: BinaryConnect (Courbariaux et al. 2015, arXiv 1511.00363), with
the mean magnitude of a channel as scale (Rastegari et al. 2016, arXiv 1603.05279, section 3.1).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.records import WeightRecord

Levels = Literal["uniform", "ternary", "binary"]

#: Weights below this share of the mean magnitude become 0 (Li and Liu, equation 6).
_TERNARY_THRESHOLD = 0.7


class QuantizedWeight(nn.Module):
    """Rounds a weight to levels times one factor an output channel.

    Args:
        levels: Which levels.
        bits: Bits a weight, for uniform levels -(2^(bits-1) - 1) to 2^(bits-1) - 1.
        per_channel: One factor a channel, or one for the layer.
    """

    def __init__(self, levels: Levels, bits: int, *, per_channel: bool) -> None:
        super().__init__()
        self.levels, self.per_channel = levels, per_channel
        self.bits = {"uniform": bits, "ternary": 2, "binary": 1}[levels]

    def parts(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(integer levels in the weight's shape, factor of each channel as a column)."""
        rows = weight.detach().reshape(len(weight), -1)
        groups = rows if self.per_channel else rows.reshape(1, -1)
        size = groups.abs()
        if self.levels == "binary":
            levels = torch.where(groups < 0, -1.0, 1.0)
            factor = size.mean(1, keepdim=True)
        elif self.levels == "ternary":
            kept = size > _TERNARY_THRESHOLD * size.mean(1, keepdim=True)
            levels = torch.sign(groups) * kept
            factor = (size * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1)
        else:
            top = 2 ** (self.bits - 1) - 1
            factor = _best_step(groups, top)
            levels = torch.clamp(torch.round(groups / factor), -top, top)
        factor = factor.clamp_min(1e-12).expand(len(groups), 1)
        if not self.per_channel:
            factor = factor.expand(len(rows), 1)
        return levels.reshape(weight.shape), factor

    def forward(self, original: Tensor) -> Tensor:
        """The weight: quantized values, the original's gradient."""
        levels, factor = self.parts(original)
        values = levels * factor.reshape(-1, *(1,) * (original.ndim - 1))
        return original + (values - original).detach()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What to store for a weight: itself."""
        return weight

    def record(self, original: Tensor) -> WeightRecord:
        """What is stored, for accounting."""
        levels, factor = self.parts(original)
        used, index = np.unique(levels.detach().cpu().numpy(), return_inverse=True)
        return WeightRecord(
            kind="quantized",
            shape=tuple(original.shape),
            index=index.reshape(-1).astype(np.int64),
            codebook=used.astype(np.float32)[:, None],
            scale=factor.detach().cpu().numpy().astype(np.float32)[:, 0],
        )


def _best_step(rows: Tensor, top: int) -> Tensor:
    """Of 40 steps between a third and all of the largest magnitude, the one of least error."""
    largest = rows.abs().amax(1, keepdim=True).clamp_min(1e-12)
    best, least = largest / top, torch.full_like(largest, torch.inf)
    for share in torch.linspace(0.35, 1.0, 40):
        step = largest * share / top
        rounded = torch.clamp(torch.round(rows / step), -top, top) * step
        error = (rounded - rows).square().sum(1, keepdim=True)
        best = torch.where(error < least, step, best)
        least = torch.minimum(error, least)
    return best
