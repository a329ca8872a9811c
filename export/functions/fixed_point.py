"""Fixed-point exponential, logistic, tanh and logarithm, as the integer kernels of TFLite use them.

A value with ``integer_bits`` k is an int32 that stands for ``raw / 2**(31 - k)``. The exponential
and the reciprocal follow gemmlowp's definitions (polynomial around -1/8 and a product of constants
for the higher bits; Newton-Raphson division); the logarithm is the one of TFLite's LOG_SOFTMAX.
All functions take and return NumPy int64 arrays that hold int32 values.
"""

from __future__ import annotations

import math

import numpy as np

from edgefactor.export.numerics import (
    INT32_MAX,
    INT32_MIN,
    IntArray,
    rounding_divide_by_pot,
)
from edgefactor.export.numerics import saturating_rounding_doubling_high_mul as multiply

#: 1 with no integer bits, as near as int32 comes to it.
ONE = INT32_MAX


def _fixed(real: float, integer_bits: int = 0) -> int:
    """A real constant in fixed point, rounded to nearest."""
    return min(math.floor(real * 2.0 ** (31 - integer_bits) + 0.5), INT32_MAX)


def shift_left_saturating(x: IntArray, bits: int) -> IntArray:
    """``x * 2**bits``, kept within int32."""
    return np.asarray(np.clip(np.asarray(x, np.int64) << bits, INT32_MIN, INT32_MAX))


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Largest difference whose rescaled value fits ``integer_bits``, as TFLite computes it."""
    largest = ((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**left_shift
    return math.floor(largest)


def _exp_near_zero(a: IntArray) -> IntArray:
    """``exp(a)`` for a in [-1/4, 0), no integer bits: a fourth-degree Taylor series at -1/8."""
    centre = _fixed(math.exp(-1 / 8))
    x = a + (1 << 28)
    x2 = multiply(x, x)
    x3 = multiply(x2, x)
    x4_over_4 = rounding_divide_by_pot(multiply(x2, x2), 2)
    third = _fixed(1 / 3)
    tail = rounding_divide_by_pot(multiply(x4_over_4 + x3, third) + x2, 1)
    return np.minimum(centre + multiply(x + tail, centre), INT32_MAX)


def exp_on_negative_values(a: IntArray, integer_bits: int) -> IntArray:
    """``exp(a)`` for a <= 0 with ``integer_bits``; the result has no integer bits."""
    a = np.asarray(a, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    below = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(shift_left_saturating(below, integer_bits))
    remainder = below - a
    for exponent in range(-2, min(integer_bits, 5)):
        factor = _fixed(math.exp(-(2.0**exponent)))
        chosen = (remainder >> (fraction_bits + exponent)) & 1
        result = np.where(chosen == 1, multiply(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, ONE, result)


def _two_over_one_plus(a: IntArray) -> IntArray:
    """``2 / (1 + a)`` for a in [0, 1] without integer bits; the result has 2 integer bits.

    Three steps of Newton-Raphson division from the linear estimate 48/17 - 32/17 d.
    """
    half_denominator = (np.asarray(a, np.int64) + ONE + 1) // 2
    x = _fixed(48 / 17, 2) + multiply(half_denominator, -_fixed(32 / 17, 2))
    for _ in range(3):
        error = (1 << 29) - multiply(half_denominator, x)
        x = x + shift_left_saturating(multiply(x, error), 2)
    return x


def one_over_one_plus(a: IntArray) -> IntArray:
    """``1 / (1 + a)`` for a in [0, 1]; neither has integer bits."""
    return shift_left_saturating(_two_over_one_plus(a), 1)


def one_minus_over_one_plus(a: IntArray) -> IntArray:
    """``(1 - a) / (1 + a)`` for a in [0, 1]; neither has integer bits."""
    return shift_left_saturating(_two_over_one_plus(a) - (1 << 29), 2)


def logistic(a: IntArray, integer_bits: int) -> IntArray:
    """``1 / (1 + exp(-a))``; the result has no integer bits."""
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(a), integer_bits))
    result = np.where(a > 0, positive, ONE - positive)
    return np.where(a == 0, 1 << 30, result)


def tanh(a: IntArray, integer_bits: int) -> IntArray:
    """``tanh(a)``; the result has no integer bits."""
    a = np.asarray(a, np.int64)
    # exp(-2|a|): the same bits with the binary point one place to the right.
    magnitude = one_minus_over_one_plus(exp_on_negative_values(-np.abs(a), integer_bits + 1))
    return np.where(a == 0, 0, np.where(a < 0, -magnitude, magnitude))


def leading_zeros(x: IntArray) -> IntArray:
    """Zero bits above the highest set bit of positive int32 values."""
    return 32 - np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def reciprocal(x: IntArray, integer_bits: int) -> tuple[IntArray, IntArray]:
    """``1 / x`` for x >= 1 with ``integer_bits``.

    Returns:
        ``(mantissa, exponent)``: the result is ``mantissa / 2**31 / 2**exponent``.
    """
    zeros = leading_zeros(x)
    fraction = (np.asarray(x, np.int64) << zeros) - (1 << 31)
    return one_over_one_plus(fraction), integer_bits - zeros


def log(x: IntArray, integer_bits: int, result_bits: int) -> IntArray:
    """Natural logarithm of x >= 1 with ``integer_bits``; the result has ``result_bits``.

    x is written as r * 2**p with r about the fourth root of 1/2, in whichever of two ways (p whole
    or p halved) brings r nearest; log(r) is a rational function of r - 2**(-1/4).
    """
    x = np.asarray(x, np.int64)
    sum_bits = result_bits + 1
    centre, half_root = _fixed(0.5**0.25), _fixed(0.5**0.5)
    root = 2.0**0.25
    quarter = 1 << (29 - sum_bits)

    zeros = leading_zeros(x)
    upper = shift_left_saturating(multiply(x << (zeros - 1), half_root), 1)
    upper_power = ((integer_bits - zeros) << (31 - sum_bits)) + quarter
    headroom = leading_zeros(multiply(x, half_root)) - 1
    lower = np.minimum(x << headroom, INT32_MAX)
    lower_power = ((integer_bits - headroom) << (31 - sum_bits)) - quarter
    r, power = np.minimum(upper, lower), np.maximum(upper_power, lower_power)

    p = (r + centre + 1) // 2
    q = 2 * (r - centre)
    square = multiply(q, q)
    numerator = multiply(q, r) + multiply(multiply(q, square), _fixed(11 / 240 * root))
    inner = _fixed(2 / root - root) + q + multiply(square, _fixed(root / 20))
    denominator = multiply(p, inner) + multiply(q, _fixed(root / 4))
    scaled = rounding_divide_by_pot(numerator, sum_bits)
    total = multiply(power, _fixed(math.log(2))) + multiply(scaled, one_over_one_plus(denominator))
    return shift_left_saturating(total, 1)
