"""Layer, RMS, group and instance norm of int16 codes, the same in every runtime.

16-bit codes leave no room for sums of squares in int32, and groups may be small beside the tensor's
range, so each group is first scaled up to 16 bits, by a whole number: nothing is rounded. Over the
n codes of a group, n at most 2^15:

    middle  = S / n                         rounded; S is the sum of the codes. RMS norm: 0
    x       = code - middle                 17 bits and a sign at most
    factor  = 2^16 / max(max|x|, least)     truncated, 1 or more
    y       = x * factor                    |y| <= 2^16
    z       = |y| / 2^(16 - b)              rounded: at most b bits, so that sums of z * z, as two
                                            digits of b bits, are exact in float32
    w       = factor * E                    int16: epsilon as z sees it, in units of 2^t
    v       = sum of z * z + (w * w + 1) * 4^t
    r       = floor(2^(14 + b) / sqrt(v) + 1) / 2
    product = y * r                         2^29 times a number within [-1, 1], nearly
    unit    = product at 2^-f, int16        from here on as for int8 codes
                                            (``export/functions/normalization.py``)

``least`` is where epsilon alone outweighs a group. v is rounded to single precision (its two parts
before they are added, and the sum), and so are its root and the reciprocal of that: IEEE, to the
nearest. ``runtime/csrc/ef_root.h`` finds them with integers alone. The mean is rounded to a code:
in 16 bits that is below what quantization itself loses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.functions.normalization import PRODUCT_BITS, Multiplier, unit_bits
from edgefactor.export.numerics import IntArray

#: Bits of y, and of the largest z.
SCALED_BITS, MOST_SQUARE_BITS = 16, 15
#: Whole numbers up to here are exact in float32.
EXACT = 2**24
#: Base of the digits that codes are summed in where their sum could exceed that.
SUM_DIGIT = 256
#: No magnitude of a code less the mean is larger.
_LARGEST = 2**SCALED_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class WideNormalization:
    """The numbers of one normalization.

    Attributes:
        count: Codes of a group.
        square_bits: b above.
        least: Smallest divisor of 2^16.
        epsilon: Multiplier and shift of factor to w.
        epsilon_scale: The same as a float32; positive.
        epsilon_bits: t above.
        mean: Multiplier and shift of S / n.
        unit: Of products to normalized values.
        unit_bits: Bits behind the binary point of those.
        product_scale: Real value of 1 in a product; a float32.
    """

    count: int
    square_bits: int
    least: int
    epsilon: Multiplier
    epsilon_scale: float
    epsilon_bits: int
    mean: Multiplier
    unit: Multiplier
    unit_bits: int
    product_scale: float

    @property
    def unit_scale(self) -> float:
        """Real value of 1 in a normalized value."""
        return 2.0**-self.unit_bits

    @property
    def root_bits(self) -> int:
        """Bits behind the binary point of a reciprocal root before it is halved."""
        return PRODUCT_BITS - SCALED_BITS + self.square_bits + 1


def normalization(count: int, scale: float, epsilon: float) -> WideNormalization:
    """The numbers for groups of ``count`` int16 codes with this scale."""
    bits = min(MOST_SQUARE_BITS, int(math.log2(EXACT / count)))
    # A standard deviation of sqrt(epsilon), as the root of a sum of squares of codes.
    idle = math.sqrt(epsilon * count) / scale
    least = int(min(max(math.ceil(idle), 1), _LARGEST))
    exact = idle * 2.0 ** (bits - SCALED_BITS)
    largest = exact * (_LARGEST // least)
    halvings = max(0, math.ceil(math.log2(largest / numerics.INT16_MAX))) if largest > 0 else 0
    # Without an epsilon any number will do that becomes 0.
    as_single = numerics.float32(max(exact * 2.0**-halvings, 2.0**-60))
    product_scale = numerics.float32(math.sqrt(count) * 2.0**-PRODUCT_BITS)
    unit = unit_bits(count)
    return WideNormalization(
        count=count,
        square_bits=bits,
        least=least,
        epsilon=numerics.quantize_multiplier(as_single),
        epsilon_scale=as_single,
        epsilon_bits=halvings,
        mean=numerics.quantize_multiplier(numerics.float32(1 / count)),
        unit=numerics.quantize_multiplier(product_scale * 2.0**unit),
        unit_bits=unit,
        product_scale=product_scale,
    )


def reciprocal_root(squares: IntArray, idle: IntArray, numbers: WideNormalization) -> IntArray:
    """The halved root r above, with the roundings of IEEE single precision.

    Args:
        squares: Sums of z * z.
        idle: w * w + 1.
        numbers: Of the normalization.
    """
    # float64 holds the sums exactly; each step below rounds once to float32.
    v = squares.astype(np.float64).astype(np.float32) + idle.astype(np.float32) * np.float32(
        4**numbers.epsilon_bits
    )
    single = np.float32(1) / np.sqrt(v)
    doubled = np.asarray(single * np.float32(2**numbers.root_bits), np.int64)
    return (doubled + 1) // 2


def normalized(codes: IntArray, numbers: WideNormalization, *, centered: bool) -> IntArray:
    """Normalized values, int16, of groups along axes 1 and 3 of [outer, steps, groups, inner].

    Args:
        codes: int16 codes.
        numbers: Of such groups.
        centered: Whether the mean is subtracted.
    """
    axes = (1, 3)
    x = codes
    if centered:
        total = codes.sum(axis=axes, keepdims=True)
        x = codes - numerics.multiply_by_quantized_multiplier(total, *numbers.mean)
    largest = np.abs(x).max(axis=axes, keepdims=True)
    factor = _LARGEST // np.maximum(largest, numbers.least)
    y = x * factor
    shift = SCALED_BITS - numbers.square_bits
    z = (np.abs(y) + (1 << (shift - 1))) >> shift
    w = numerics.multiply_by_quantized_multiplier(factor, *numbers.epsilon)
    w = np.minimum(w, numerics.INT16_MAX)
    squares = (z * z).sum(axis=axes, keepdims=True)
    products = y * reciprocal_root(squares, w * w + 1, numbers)
    units = numerics.multiply_by_quantized_multiplier(products, *numbers.unit)
    return np.asarray(np.clip(units, -numerics.INT16_MAX - 1, numerics.INT16_MAX))
