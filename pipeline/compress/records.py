"""What is stored of one weight tensor: the facts that accounting and export need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["dense", "pruned", "shared", "vector", "quantized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRecord:
    """One weight tensor as it is stored.

    Attributes:
        kind: How.
        shape: PyTorch's shape.
        index: Entry of the codebook for each group of weights, flat; None without a codebook.
        codebook: ``[K, d]`` values; with `mask`, entry 0 is the zero of pruned weights.
        mask: True where a weight is kept, in the weight's shape; None for a dense tensor.
        gap_bits: Bits of a stored distance between kept weights.
        scale: Factor of each output channel that the codebook is shared up to, or None.
        bits: Bits a weight, for uniform quantization without a codebook.
    """

    kind: Kind
    shape: tuple[int, ...]
    index: NDArray[np.int64] | None = None
    codebook: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    gap_bits: int = 0
    scale: NDArray[np.float32] | None = None
    bits: int = 32

    @property
    def weights(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape))

    @property
    def values(self) -> int:
        """Entries of the codebook; 0 without one."""
        return 0 if self.codebook is None else len(self.codebook)
