"""The integer arithmetic of layer, RMS, group and instance norm, the same in every runtime.

Over the n codes of a group, with sums in int32:

    centre  = S / n                      rounded; S is the sum of the codes
    x       = code - centre              RMS norm: code - zero point, and no mean below
    s       = S - n * centre             what the rounding left: |s| <= n / 2
    v       = sum of x * x - s * s / n   n times the variance, in codes squared
    r       = floor(2^22 * 1 / sqrt(v + epsilon))
    product = (2^7 * x - 2^7 * s / n) * r               2^29 times a number within [-1, 1]
    unit    = product at 2^-f, int16                    the normalized value
    result  = unit * gain + offset, requantized         gain 15 bits, offset 30 bits

Divisions by n are products with a rounded multiplier, as requantization is. The root and its
reciprocal are IEEE single precision, each rounded to the nearest, so that a TFLite file computes
the same numbers by RSQRT on float; ``runtime/csrc/ef_root.h`` finds them with integers alone.
What is left of epsilon after division by the squared scale is at least 1, so nothing is divided
by zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.numerics import IntArray

#: Codes that one group may have: sums of squares and the mean's remainder fit their types.
MAX_COUNT = 2**15
#: Bits behind the binary point of a code less the mean.
FRACTION_BITS = 7
#: Bits behind the binary point of a product: 1 stands for all of a group's variance in one code.
#: Twice a product fits in int32, and so does twice the result: SMMULR takes doubled numbers.
PRODUCT_BITS = 29
#: The normalized value needs no more bits than this behind the binary point.
MAX_UNIT_BITS = 12
#: Gains and offsets, so that the sum of an offset and a product with 15 bits stays below 2^30.
_GAIN_LIMIT, _OFFSET_LIMIT = 2**14 - 1, 2**29
_MAX_EPSILON = 2**30

Multiplier = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """The numbers of one normalization.

    Attributes:
        count: Codes of a group.
        epsilon: What is added to v.
        mean: Multiplier and shift of S / n.
        remainder: Of s * s / n.
        centre: Of 2^7 * s / n.
        unit: Of products to normalized values.
        unit_bits: Bits behind the binary point of those.
        product_scale: Real value of 1 in a product; a float32.
    """

    count: int
    epsilon: int
    mean: Multiplier
    remainder: Multiplier
    centre: Multiplier
    unit: Multiplier
    unit_bits: int
    product_scale: float

    @property
    def unit_scale(self) -> float:
        """Real value of 1 in a normalized value."""
        return 2.0**-self.unit_bits


def unit_bits(count: int) -> int:
    """Bits behind the binary point with which a normalized value, at most sqrt(n), fits int16."""
    return min(MAX_UNIT_BITS, int(math.log2(numerics.INT16_MAX / math.sqrt(count))))


def normalization(count: int, scale: float, epsilon: float) -> Normalization:
    """The numbers for groups of ``count`` codes with this scale."""
    inverse = numerics.float32(1 / count)
    product_scale = numerics.float32(math.sqrt(count) * 2.0**-PRODUCT_BITS)
    bits = unit_bits(count)
    return Normalization(
        count=count,
        epsilon=int(min(max(round(epsilon * count / scale**2), 1), _MAX_EPSILON)),
        mean=numerics.quantize_multiplier(inverse),
        remainder=numerics.quantize_multiplier(inverse),
        centre=numerics.quantize_multiplier(inverse * 2**FRACTION_BITS),
        unit=numerics.quantize_multiplier(product_scale * 2.0**bits),
        unit_bits=bits,
        product_scale=product_scale,
    )


def reciprocal_root(v: IntArray) -> IntArray:
    """floor(2^22 / sqrt(v)) of positive int32, with the roundings of IEEE single precision."""
    single = np.float32(1) / np.sqrt(v.astype(np.float32))
    return np.asarray(single * np.float32(2 ** (PRODUCT_BITS - FRACTION_BITS)), np.int64)


def normalized(codes: IntArray, numbers: Normalization, zero_point: int | None) -> IntArray:
    """Normalized values, int16, of groups along axes 1 and 3 of [outer, steps, groups, inner].

    Args:
        codes: int8 codes.
        numbers: Of such groups.
        zero_point: What stands for 0 (RMS norm); None: the mean is subtracted.
    """
    axes = (1, 3)
    if zero_point is None:
        total = codes.sum(axis=axes, keepdims=True)
        middle = numerics.multiply_by_quantized_multiplier(total, *numbers.mean)
        x = codes - middle
        rest = total - numbers.count * middle
        lost = numerics.multiply_by_quantized_multiplier(rest * rest, *numbers.remainder)
        fraction = numerics.multiply_by_quantized_multiplier(rest, *numbers.centre)
    else:
        x = codes - zero_point
        lost = fraction = np.zeros_like(codes[:, :1, :, :1])
    v = (x * x).sum(axis=axes, keepdims=True) - lost
    products = ((x << FRACTION_BITS) - fraction) * reciprocal_root(v + numbers.epsilon)
    units = numerics.multiply_by_quantized_multiplier(products, *numbers.unit)
    return np.asarray(np.clip(units, -numerics.INT16_MAX - 1, numerics.INT16_MAX))


def quantize_affine(
    gain: NDArray[np.float32], offset: NDArray[np.float32], bits: int
) -> tuple[IntArray, IntArray, float]:
    """Codes of gains and offsets, and the scale of a gain.

    Args:
        gain: Per channel.
        offset: Per channel.
        bits: Bits behind the binary point of normalized values.
    """
    least = 1e-12
    by_gain = float(np.abs(gain).max()) / _GAIN_LIMIT
    by_offset = float(np.abs(offset).max()) * 2.0**bits / _OFFSET_LIMIT
    scale = numerics.float32(max(by_gain, by_offset, least))
    # The largest may round up past the limit, because the scale is a float32.
    gains = np.clip(
        numerics.round_half_away(gain.astype(np.float64) / scale),
        -_GAIN_LIMIT,
        _GAIN_LIMIT,
    )
    offsets = numerics.round_half_away(offset.astype(np.float64) * 2.0**bits / scale)
    return gains, np.clip(offsets, -_OFFSET_LIMIT, _OFFSET_LIMIT), scale
