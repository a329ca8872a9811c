"""Functions of 16-bit values by interpolation, as TFLite's int16 kernels define them.

LOGISTIC and TANH are interpolated in fixed point from one table of the logistic function at
multiples of 1/24 (tensorflow/lite/kernels/internal/reference/integer_ops/logistic.h and tanh.h).
SOFTMAX is not: see ``wide_softmax.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import ModelError
from edgefactor.export.numerics import IntArray

#: Entries of the logistic table.
_LOGISTIC_ENTRIES = 256


def logistic_table() -> IntArray:
    """``65536 / (1 + exp(-j / 24))`` for j from 0 to 255, uint16.

    Half of the error that interpolation makes in the middle of the step is taken off; the last
    entry, which only ends a step, is the largest.
    """

    def exact(j: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(65536 / (1 + np.exp(-j / 24)))

    j = np.arange(_LOGISTIC_ENTRIES, dtype=np.float64)
    error = (exact(j) + exact(j + 1)) / 2 - exact(j + 0.5)
    table = np.floor(exact(j) + 0.5 - error / 2).astype(np.int64)
    table[-1] = 65535
    return np.asarray(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateScaling:
    """From input codes to steps of 1/(3 * 4096): ``(code * multiplier + half) >> shift``."""

    multiplier: int
    shift: int

    def apply(self, codes: IntArray) -> IntArray:
        """Scaled codes."""
        half = 1 << (self.shift - 1) if self.shift else 0
        return (np.asarray(codes, np.int64) * self.multiplier + half) >> self.shift


def gate_scaling(scale: float, layer: str) -> GateScaling:
    """The scaling that LOGISTIC and TANH prepare for inputs of a scale that is a power of two.

    Raises:
        ModelError: The scale is beyond what their multiplier of 16 bits holds.
    """
    exponent = 12 + round(math.log2(scale))
    if exponent == 0:
        return GateScaling(multiplier=3, shift=0)
    real, shift = scale * 4096 * 3, 0
    while real <= 32767 / 2 and shift <= 30:
        real, shift = real * 2, shift + 1
    if real > 32767:
        raise ModelError(
            "The input of a sigmoid or tanh has a range that its 16-bit kernel cannot scale.",
            where=f"layer {layer}",
            found=f"values up to {scale * 32768:g}",
            expected="values up to 65536",
            hint="export with --activations int8",
        )
    return GateScaling(multiplier=int(real), shift=shift)


def logistic_codes(codes: IntArray, scaling: GateScaling) -> IntArray:
    """1 / (1 + exp(-x)) at 1/32768."""
    x = scaling.apply(codes)
    result = _interpolate(np.abs(x), 9, 0x7FFF << 10)
    signed = np.where(x >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1)
    return signed >> 10


def tanh_codes(codes: IntArray, scaling: GateScaling) -> IntArray:
    """tanh(x) at 1/32768, as 2 / (1 + exp(-2x)) - 1."""
    x = scaling.apply(codes)
    result = _interpolate(np.abs(x), 8, 0xFFFF << 8)
    signed = np.where(x >= 0, result - (1 << 23) + (1 << 7), -result + (1 << 23) + (1 << 7) - 1)
    return signed >> 8


def _interpolate(x: IntArray, bits: int, beyond: int) -> IntArray:
    """The logistic table at ``x >> bits``, interpolated by the bits below, times ``2**bits``."""
    table = logistic_table()
    index = np.minimum(x >> bits, _LOGISTIC_ENTRIES - 2)
    base, rest = table[index], x & ((1 << bits) - 1)
    value = (base << bits) + rest * (table[index + 1] - base)
    return np.where(x >> bits >= _LOGISTIC_ENTRIES - 1, beyond, value)
