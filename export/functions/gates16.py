"""TFLite's LOGISTIC and TANH on int16: a table of the sigmoid with straight lines between.

The input code is brought to steps of 1/6144 (tanh) or 1/12288 (logistic) by a multiplier of 15 bits
and a shift; the result has the scale 2**-15. LiteRT's reference kernels and TFLM agree in every
code at every scale. ``runtime/csrc/ef_gates.h`` is the twin in C.
"""

from __future__ import annotations

import math

import numpy as np

from edgefactor.export.ir import Quantization
from edgefactor.export.numerics import IntArray, float32

#: Quantization of both results.
UNIT = Quantization(scales=(2.0**-15,))
_STEPS_PER_UNIT = 4096.0 * 3.0
_MULTIPLIER_MAX = 32767
_LAST = 255


def _knots() -> IntArray:
    """2**16 * sigmoid(k / 24), moved by half of what a chord between two knots misses."""
    x = np.arange(_LAST + 1) / 24.0
    sigmoid = 1.0 / (1.0 + np.exp(-x))
    curvature = sigmoid * (1.0 - sigmoid) * (1.0 - 2.0 * sigmoid)
    knots = np.rint(65536.0 * (sigmoid - curvature / 24.0**2 / 16.0)).astype(np.int64)
    knots[_LAST] = 65535
    return knots


#: The sigmoid of 0 to 10.6 in units of 2**-16.
KNOTS = _knots()


def input_scaling(scale: float, *, tanh: bool) -> tuple[int, int]:
    """``(multiplier, shift)``: the input in steps is ``(code * multiplier + half) >> shift``.

    Args:
        scale: Of the input codes.
        tanh: Whether it is for TANH, which shifts less at one scale.
    """
    mantissa, exponent = math.frexp(float32(scale))
    integer_shift = 12 + exponent - 1
    if mantissa == 0.5 and (integer_shift == 0 or (tanh and integer_shift == 1)):
        return 3 << integer_shift, 0
    multiplier, shift = float32(scale) * _STEPS_PER_UNIT, 0
    while multiplier <= _MULTIPLIER_MAX / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return int(multiplier), shift


def _curve(
    codes: IntArray, scaling: tuple[int, int], fraction_bits: int
) -> tuple[IntArray, IntArray]:
    """The scaled input, and the sigmoid of its magnitude in units of 2**-(16 + fraction_bits)."""
    multiplier, shift = scaling
    half = 1 << (shift - 1) if shift else 0
    x = (np.asarray(codes, np.int64) * multiplier + half) >> shift
    size = np.abs(x)
    index = np.minimum(size >> fraction_bits, _LAST - 1)
    rest = size & ((1 << fraction_bits) - 1)
    line = (KNOTS[index] << fraction_bits) + rest * (KNOTS[index + 1] - KNOTS[index])
    return x, np.where(size >> fraction_bits >= _LAST, -1, line)


def logistic(codes: IntArray, scaling: tuple[int, int]) -> IntArray:
    """1 / (1 + exp(-x)) at ``UNIT``."""
    x, line = _curve(codes, scaling, 9)
    line = np.where(line < 0, 0x7FFF << 10, line)
    return np.asarray(np.where(x >= 0, line + 512, (1 << 25) - line + 511) >> 10)


def tanh(codes: IntArray, scaling: tuple[int, int]) -> IntArray:
    """The hyperbolic tangent at ``UNIT``."""
    x, line = _curve(codes, scaling, 8)
    above = np.where(line < 0, 0xFFFF << 8, line) - (1 << 23)
    return np.asarray(np.where(x >= 0, above + 128, 127 - above) >> 8)
