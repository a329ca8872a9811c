"""Counts a model by the official rules of the MicroNet challenge (2019).

Storage is everything that inference needs, 32 bits making one parameter: dense values, or the
nonzeros with a mask of one bit a weight, or indices into a codebook with the codebook. Operations
are multiplications and additions counted apart, each costing the bits of its largest input over 32;
a function such as exp costs one. An entry that stores nothing below 16 bits may count 16 bits for
parameters and multiplications, not for additions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgefactor.pipeline.load import LoadedModel

#: More distinct values than this are no codebook.
_MOST_VALUES = 256
#: Multiplications and additions per element of functions (rules of the challenge's counting.py).
_PER_ELEMENT = {
    "relu": (1, 0), "hardtanh": (1, 0), "clamp_min": (1, 0), "clamp": (1, 0),
    "leaky_relu": (1, 0), "sigmoid": (2, 1), "silu": (3, 1), "tanh": (3, 2), "gelu": (3, 2),
    "hardsigmoid": (2, 1), "hardswish": (3, 1), "add": (0, 1), "sub": (0, 1), "mul": (1, 0),
    "div": (1, 0), "exp": (1, 0), "_softmax": (2, 1),
}  # fmt: skip
_NORMALIZATIONS = (
    "native_batch_norm",
    "_native_batch_norm_legit_no_training",
    "batch_norm",
    "cudnn_batch_norm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Storage in units of 32 bits, and weighted operations of one inference."""

    parameters: float
    multiplies: float
    additions: float


def stored_bits(weight: Tensor, bits: int) -> float:
    """The fewest bits that hold a tensor: dense, sparse with a mask, or by a codebook.

    Args:
        weight: The values.
        bits: Of one value.
    """
    size = weight.numel()
    kept = int(torch.count_nonzero(weight))
    ways = [size * bits, kept * bits + size]
    values = torch.unique(weight.detach())
    if weight.ndim > 1 and len(values) <= min(_MOST_VALUES, size // 2):
        index = max(math.ceil(math.log2(len(values))), 1)
        ways.append(size * index + len(values) * 32)
        nonzero = int((values != 0).sum())
        sparse_index = max(math.ceil(math.log2(max(nonzero, 1))), 1)
        ways.append(kept * sparse_index + size + nonzero * 32)
    return float(min(ways))


def count_official(loaded: LoadedModel, inputs: Sequence[Tensor]) -> tuple[Count, tuple[str, ...]]:
    """Storage and operations, and how they were counted.

    Args:
        loaded: The model.
        inputs: One sample.
    """
    seen = _Operations()
    with torch.no_grad(), seen:
        loaded.module(*inputs)
    notes = []
    if seen.offsets:
        # Its factors fold into the weights before it; one offset a channel stays.
        notes.append("batch norm counted as folded into the layer before it")
    weights = [weight for weight in seen.weights.values() if weight.numel()]
    small = [weight for weight in weights if _is_below_16_bits(weight)]
    bits = 32 if small else 16
    notes.append(
        "stored below 16 bits, so nothing counts 16 bits for free"
        if small
        else "nothing is stored below 16 bits: parameters and multiplications count 16 bits"
    )
    stored = sum(stored_bits(weight, bits) for weight in weights) + seen.offsets * bits
    count = Count(
        parameters=stored / 32,
        multiplies=seen.multiplies * bits / 32,
        additions=seen.additions,
    )
    return count, tuple(notes)


def _is_below_16_bits(weight: Tensor) -> bool:
    """Whether a codebook holds a tensor in less than 16 bits for each weight that is not 0."""
    kept = int(torch.count_nonzero(weight))
    return stored_bits(weight, 32) < min(kept * 16, kept * 16 + weight.numel())


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what one run does, and collects the weights that it reads."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiplies = self.additions = 0.0
        self.offsets = 0
        self.weights: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs an operator and counts it."""
        result = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket.__name__).removesuffix("_")
        leaf = next((leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)), None)
        if leaf is not None:
            self._count(name, args, leaf)
        return result

    def _count(self, name: str, args: tuple[Any, ...], output: Tensor) -> None:
        size = output.numel()
        if "convolution" in name:
            self._products(args[1], args[2], size)
        elif name in ("addmm", "mm", "linear"):
            weight = args[2] if name == "addmm" else args[1]
            rows = weight.T if name != "linear" else weight
            bias = args[0] if name == "addmm" else (args[2] if len(args) > 2 else None)
            self._products(rows, bias, size)
        elif name in _NORMALIZATIONS:
            self.offsets += int(args[0].shape[1])
            self.additions += size
        elif "avg_pool" in name or name == "mean":
            window = args[0].numel() // size
            self.additions += size * (window - 1)
            self.multiplies += size
        elif "max_pool" in name:
            # A comparison counts as a multiplication, as ReLU's does.
            window = args[1][0] * args[1][-1] if len(args) > 1 else 1
            self.multiplies += size * (window - 1)
        elif name in _PER_ELEMENT:
            multiplies, additions = _PER_ELEMENT[name]
            self.multiplies += multiplies * size
            self.additions += additions * size

    def _products(self, weight: Tensor, bias: Tensor | None, outputs: int) -> None:
        """Sums of products; products with a weight of 0 are left out."""
        rows = weight.reshape(len(weight), -1)
        kept = torch.count_nonzero(rows, dim=1).double()
        each = outputs / len(rows)
        self.multiplies += float(kept.sum()) * each
        self.additions += float((kept - 1).clamp(min=0).sum()) * each
        self.weights[weight.data_ptr()] = weight
        if bias is not None:
            self.additions += outputs
            self.weights[bias.data_ptr()] = bias
