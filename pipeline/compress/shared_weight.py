"""Weights as a model trains them while they are pruned, shared or quantized.

Each is a parametrization of ``layer.weight`` (``torch.nn.utils.parametrize``): the layer computes
as ever, gradients reach what is really stored, and `freezing.freeze` turns it into a plain weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgefactor.pipeline.compress.records import WeightRecord

_GRID = 127


class _Gather(torch.autograd.Function):
    """``codebook[index]``; the gradient of an entry is the sum of its members' gradients.

    Deep Compression (arXiv 1510.00149), section 3.3. Summed by ``bincount``: torch's own backward
    of indexing is serial and slow on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, codebook: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = codebook.shape
        return codebook[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, ctx.shape[1])
        flat = index.reshape(-1)
        if gradient.is_cuda:
            total = torch.zeros(ctx.shape, dtype=gradient.dtype, device=gradient.device)
            total.index_add_(0, flat, gradient)
            return total, None
        columns = [
            torch.bincount(flat, weights=gradient[:, j], minlength=ctx.shape[0])
            for j in range(ctx.shape[1])
        ]
        return torch.stack(columns, 1).to(gradient.dtype), None


class MaskedWeight(nn.Module):
    """A pruned weight: where the mask is 0, so is the weight, and its gradient.

    Args:
        mask: Of the weight's shape; changed in place while pruning goes on.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.to(torch.float32))

    def forward(self, original: Tensor) -> Tensor:
        """The weight."""
        return original * self.mask

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What to store for a weight: itself."""
        return weight

    def record(self, weight: Tensor) -> WeightRecord:
        """What is stored, for accounting."""
        keep = self.mask.detach().cpu().numpy() != 0
        return WeightRecord(kind="pruned", shape=tuple(weight.shape), mask=keep)


class SharedWeight(nn.Module):
    """A weight of few values: an index a group of `d` consecutive weights, and a codebook.

    The trained parameter is the codebook ``[K, d]``.

    Args:
        index: ``[groups]``, which entry each group takes.
        shape: The weight's shape.
        d: Weights a group; consecutive in the order of `channels_last`.
        scale: One positive factor an output channel that the codebook is shared up to, or None.
        zero: Whether entry 0 is the value 0 for good, as pruned weights need.
        grid: Whether entries are rounded to the 8-bit grid of the exporter, so that what is
            trained is what the device computes with; gradients pass straight through.
        channels_last: Whether groups run over input channels (the device's order O, H, W, I)
            rather than over kernel columns (PyTorch's O, I, H, W).
        gap_bits: For pruned weights, bits of a stored index difference; 0 if dense.
    """

    index: Tensor
    scale: Tensor | None

    def __init__(
        self,
        index: Tensor,
        shape: tuple[int, ...],
        *,
        d: int = 1,
        scale: Tensor | None = None,
        zero: bool = False,
        grid: bool = False,
        channels_last: bool = False,
        gap_bits: int = 0,
    ) -> None:
        super().__init__()
        self.register_buffer("index", index.reshape(-1).to(torch.int32))
        self.register_buffer("scale", scale)
        self.shape, self.d, self.zero, self.grid = shape, d, zero, grid
        self.channels_last, self.gap_bits = channels_last, gap_bits

    def values(self, codebook: Tensor) -> Tensor:
        """The entries as the layer uses them: first at zero, on the grid."""
        if self.zero:
            first = torch.ones(len(codebook), 1, device=codebook.device)
            first[0] = 0
            codebook = codebook * first
        if self.grid:
            step = (codebook.detach().abs().max() / _GRID).clamp_min(1e-12)
            snapped = torch.round(codebook.detach() / step) * step
            codebook = codebook + (snapped - codebook).detach()
        return codebook

    def forward(self, codebook: Tensor) -> Tensor:
        """The weight."""
        flat: Tensor = _Gather.apply(  # type: ignore[no-untyped-call]
            self.values(codebook), self.index
        )
        weight = from_groups(flat, self.shape, channels_last=self.channels_last)
        return weight if self.scale is None else weight * self._factors()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The codebook nearest to a weight: the mean of each entry's members."""
        if self.scale is not None:
            weight = weight / self._factors()
        groups = to_groups(weight.detach(), self.d, channels_last=self.channels_last)
        entries = int(self.index.max()) + 1
        total = torch.zeros(entries, self.d, device=weight.device)
        total.index_add_(0, self.index, groups)
        members = torch.bincount(self.index, minlength=entries).clamp_min(1)
        return total / members[:, None]

    def _factors(self) -> Tensor:
        assert self.scale is not None
        return self.scale.reshape(-1, *(1,) * (len(self.shape) - 1))

    def record(self, codebook: Tensor) -> WeightRecord:
        """What is stored, for accounting."""
        index = self.index.detach().cpu().numpy().astype(np.int64)
        sparse = self.zero and self.gap_bits > 0
        return WeightRecord(
            kind="vector" if self.d > 1 else "shared",
            shape=self.shape,
            index=index,
            codebook=self.values(codebook).detach().cpu().numpy().astype(np.float32),
            mask=(index != 0).reshape(self.shape) if sparse else None,
            gap_bits=self.gap_bits,
            scale=None if self.scale is None else self.scale.detach().cpu().numpy(),
        )


def to_groups(weight: Tensor, d: int, *, channels_last: bool) -> Tensor:
    """``[groups, d]`` consecutive weights."""
    if channels_last and weight.ndim == 4:
        weight = weight.permute(0, 2, 3, 1)
    return weight.reshape(-1, d)


def from_groups(groups: Tensor, shape: tuple[int, ...], *, channels_last: bool) -> Tensor:
    """The inverse of `to_groups`."""
    if channels_last and len(shape) == 4:
        return groups.reshape(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
    return groups.reshape(shape)


def set_shared(layer: nn.Module, shared: SharedWeight, codebook: Tensor) -> None:
    """Gives a layer a shared weight with this codebook ``[K, d]``, whatever it had before."""
    unparametrize(layer)
    layer.weight = nn.Parameter(shared(codebook).detach().contiguous())
    parametrize.register_parametrization(layer, "weight", shared, unsafe=True)
    original_of(layer).data = codebook.detach().clone()


def parametrization(layer: nn.Module) -> nn.Module | None:
    """What a layer's weight is made by; None for a plain weight."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chain = layer.get_submodule("parametrizations.weight")
    return chain.get_submodule("0")


def original_of(layer: nn.Module) -> Tensor:
    """The trained parameter behind a parametrized weight."""
    original = layer.get_submodule("parametrizations.weight").original
    assert isinstance(original, Tensor)
    return original


def weight_of(layer: nn.Module) -> Tensor:
    """A layer's weight as it computes with it, detached."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def unparametrize(layer: nn.Module) -> None:
    """Makes a layer's weight a plain parameter with its present values."""
    if parametrize.is_parametrized(layer, "weight"):
        weight = layer.weight
        assert isinstance(weight, Tensor)
        value = weight.detach().clone().contiguous()
        # torch's own removal writes into the stored tensor, whose shape may be another.
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        layer.weight = nn.Parameter(value)
