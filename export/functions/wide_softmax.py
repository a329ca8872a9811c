"""Softmax of int16 codes, the same in every runtime.

TFLite's own int16 SOFTMAX is not used: LiteRT 2.3 and TensorFlow Lite Micro make its tables of the
exponential differently, and one result in about a thousand differs by one. Instead, with the
distance d of a code to the largest of its row, at most 2^16 - 1:

    power       = A[d / 256] * B[d % 256]       A[i] = exp(-256 i * scale) at 1/65535,
                                                B[i] = exp(-i * scale) at 2^-14
    share       = power / 2^15                  rounded: exp(-d * scale) at 2^-15
    result      = 2^15 * share / sum of shares  rounded: 1/32768 is a step, 32767 the most

Everything is int32. An error of a power is at most 1.5 * 2^-16 of the row's largest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.numerics import IntArray

ENTRIES = 256
#: Elements of a row: 2^15 * share and the sum of shares fit int32.
MAX_DEPTH = 2**15
_COARSE, _FINE = 65535, 2**14
#: Bits of a power that a share leaves out, and of a share.
POWER_BITS, SHARE_BITS = 15, 15


def tables(scale: float) -> tuple[IntArray, IntArray]:
    """A and B for differences of codes with this scale; zeros at the end of A are left out."""
    steps = np.arange(ENTRIES, dtype=np.float64) * scale
    coarse = numerics.round_half_away(np.exp(-steps * ENTRIES) * _COARSE)
    fine = numerics.round_half_away(np.exp(-steps) * _FINE)
    return coarse[: np.count_nonzero(coarse)], fine


def softmax_codes(codes: IntArray, scale: float) -> IntArray:
    """Codes of the probabilities at 1/32768, over the last axis.

    Args:
        codes: int16 codes, at most MAX_DEPTH in a row.
        scale: Real value of a step, times what scores are multiplied by.
    """
    coarse, fine = (whole(table) for table in tables(scale))
    distance = codes.max(axis=-1, keepdims=True) - codes
    power = coarse[distance // ENTRIES] * fine[distance % ENTRIES]
    share = (power + (1 << (POWER_BITS - 1))) >> POWER_BITS
    total = share.sum(axis=-1, keepdims=True)
    result = ((share << SHARE_BITS) + total // 2) // total
    return np.asarray(np.minimum(result, numerics.INT16_MAX))


def whole(table: IntArray) -> NDArray[np.int64]:
    """A table with its zeros."""
    return np.pad(table, (0, ENTRIES - len(table)))
