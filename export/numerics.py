"""The integer arithmetic of the device, defined once.

Everything here follows gemmlowp's fixed-point conventions as TensorFlow Lite's reference kernels
use them (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", arXiv 1712.05877): requantization rounds twice, first in the
doubling high multiply, then in the right shift. All functions work on NumPy arrays of int64 that
hold int32 values, so that no intermediate overflows unnoticed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Array, DType, Quantization

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

INT8_MIN, INT8_MAX = -128, 127
INT16_MAX = 32767
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
WEIGHT_MAX = 127


def float32(value: float) -> float:
    """The nearest float32, as a Python float: what a file with float32 scales will hold."""
    return float(np.float32(value))


def round_half_away(values: NDArray[np.floating]) -> IntArray:
    """Round to the nearest integer, halves away from zero (C's ``round``), elementwise."""
    whole = np.trunc(values)
    # Adding 0.5 first would round 0.49999999999999994 up: the sum itself is rounded.
    away = np.abs(values - whole) >= 0.5
    return np.asarray(whole + np.sign(values) * away, np.int64)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Write a non-negative real multiplier as ``m / 2**31 * 2**shift``.

    Returns:
        ``(m, shift)`` with m in [2**30, 2**31 - 1] and shift the exponent (positive: left), or
        (0, 0) when the multiplier is 0 or too small to move any int32.
    """
    if real == 0.0:
        return 0, 0
    mantissa, shift = math.frexp(real)
    fixed = math.floor(mantissa * 2**31 + 0.5)
    if fixed == 2**31:
        fixed, shift = fixed // 2, shift + 1
    if shift < -31:
        return 0, 0
    return fixed, shift


def saturating_rounding_doubling_high_mul(a: IntArray, b: IntArray | int) -> IntArray:
    """High 32 bits of ``2*a*b``, rounded to nearest with halves up; saturates at -2**31 squared."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.asarray(np.minimum((product + (1 << 30)) >> 31, INT32_MAX), np.int64)


def rounding_divide_by_pot(x: IntArray, exponent: IntArray | int) -> IntArray:
    """``x / 2**exponent`` rounded to nearest, halves away from zero; exponent in [0, 31]."""
    exponent = np.asarray(exponent, np.int64)
    x = np.asarray(x, np.int64)
    mask = (np.int64(1) << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def wrap_int32(x: IntArray) -> IntArray:
    """Reduce to int32 with wrap-around, as the device's registers do."""
    return np.asarray(((np.asarray(x, np.int64) + 2**31) & 0xFFFFFFFF) - 2**31, np.int64)


def multiply_by_quantized_multiplier(
    x: IntArray, multiplier: IntArray | int, shift: IntArray | int
) -> IntArray:
    """Scale int32 accumulators by ``multiplier / 2**31 * 2**shift`` with gemmlowp's two roundings.

    Args:
        x: int32 values.
        multiplier: Fixed-point mantissa(s), broadcast against ``x``.
        shift: Exponent(s), positive to the left, broadcast against ``x``.
    """
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def reduced_multiplier(multiplier: IntArray) -> IntArray:
    """32-bit mantissas rounded to 15 bits and a sign, for products with 64-bit accumulators."""
    rounded = (np.asarray(multiplier, np.int64) + (1 << 15)) >> 16
    return np.asarray(np.minimum(rounded, INT16_MAX))


def multiply_by_reduced_multiplier(x: IntArray, reduced: IntArray, shift: IntArray) -> IntArray:
    """Scale accumulators by ``reduced / 2**15 * 2**shift``, rounded once, halves up.

    TFLite's MultiplyByQuantizedMultiplier of 64-bit accumulators, which layers with 16-bit
    activations use.

    Args:
        x: Accumulators below 2**47.
        reduced: What ``reduced_multiplier`` returned, broadcast against ``x``.
        shift: Exponents, positive to the left, at most 7.
    """
    right = 15 - np.asarray(shift, np.int64)
    return np.asarray((np.asarray(x, np.int64) * reduced + (np.int64(1) << (right - 1))) >> right)


def choose_quantization(low: float, high: float) -> Quantization:
    """The int8 asymmetric quantization that covers [low, high] and represents 0 exactly.

    The zero point is chosen as TensorFlow Lite chooses it: the candidate with the smaller error
    of the two ends, rounded and kept within int8.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < 1e-9:
        # A tensor that is always 0 still needs a scale; any one is exact.
        return Quantization(scales=(float32(1.0 / 256),), zero_point=-128 if low >= 0 else 0)
    scale = float32((high - low) / (INT8_MAX - INT8_MIN))
    from_low, from_high = INT8_MIN - low / scale, INT8_MAX - high / scale
    error_low = abs(INT8_MIN) + abs(low / scale)
    error_high = abs(INT8_MAX) + abs(high / scale)
    exact = from_low if error_low < error_high else from_high
    zero_point = int(min(max(math.floor(exact + 0.5), INT8_MIN), INT8_MAX))
    return Quantization(scales=(scale,), zero_point=zero_point)


def choose_symmetric(low: float, high: float) -> Quantization:
    """The int16 quantization that covers [low, high]: zero point 0, the scale a power of two.

    TFLite's 16-bit scheme asks for the first. The second costs up to one of the 16 bits; with it
    sums and products are shifts, and runtimes that compute a product's scale in float32 (LiteRT) or
    in double (TFLM) get the same.
    """
    largest = max(abs(float(low)), abs(float(high)))
    if largest < 1e-9:
        # Always 0: any scale is exact.
        return Quantization(scales=(1.0 / 32768,))
    return Quantization(scales=(2.0 ** math.ceil(math.log2(largest / INT16_MAX)),))


def choose_for(dtype: DType, low: float, high: float) -> Quantization:
    """The quantization of an activation of a type: int8 asymmetric, int16 symmetric."""
    return choose_symmetric(low, high) if dtype is DType.INT16 else choose_quantization(low, high)


def quantize(
    real: NDArray[np.generic], quantization: Quantization, dtype: DType = DType.INT8
) -> Array:
    """Real values -> int8 or int16 codes of a per-tensor quantization, saturating.

    Computed in float32 with halves to even, as ONNX's QuantizeLinear is defined; the generated C
    does the same. NaN becomes the lowest code.
    """
    with np.errstate(over="ignore"):
        scaled = np.asarray(real, np.float32) / np.float32(quantization.scale)
    # Beyond three times the range of codes every zero point saturates; int64 would not hold it.
    low, high = dtype.code_range
    reach = 2.0 * (high - low + 1)
    steps = np.nan_to_num(np.clip(np.rint(scaled), -reach, reach), nan=-reach)
    codes = steps.astype(np.int64) + quantization.zero_point
    return np.asarray(np.clip(codes, low, high), str(dtype))


def dequantize(codes: NDArray[np.integer], quantization: Quantization) -> FloatArray:
    """int8 or int16 codes -> real values (float32) of a per-tensor quantization."""
    centred = codes.astype(np.int32) - quantization.zero_point
    return (centred * np.float32(quantization.scale)).astype(np.float32)
