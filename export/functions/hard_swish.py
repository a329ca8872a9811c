"""TFLite's HARD_SWISH on int8: x * relu6(x + 3) / 6 in 16-bit fixed point."""

from __future__ import annotations

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.functions import gates, tflite_builtins
from edgefactor.export.functions.tflite_builtins import Chain, Step
from edgefactor.export.ir import Quantization
from edgefactor.export.numerics import INT8_MAX, INT8_MIN, IntArray

_INT16_MIN, _INT16_MAX = -(2**15), 2**15 - 1
#: The input is widened by so many bits.
_WIDENED_BITS = 7
#: Scale at which the gate, from -3 to 3, fills 16 bits.
_GATE_SCALE = np.float32(3 / 32768)


def _saturate16(x: IntArray) -> IntArray:
    return np.clip(x, _INT16_MIN, _INT16_MAX)


def _multiply16(a: IntArray, b: int) -> IntArray:
    """High half of ``2*a*b``, rounded to nearest with halves up."""
    return _saturate16((a * b + (1 << 14)) >> 15)


def _factor(real: float) -> tuple[int, int]:
    """A real multiplier as a 16-bit mantissa and an exponent."""
    multiplier, exponent = numerics.quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, _INT16_MAX), exponent


def _gate(wide: IntArray, multiplier: int, exponent: int) -> IntArray:
    """(x + 3) / 6 within [0, 1], in 15 bits; the last left shift comes after the rounding."""
    if exponent > 0:
        wide = _saturate16(wide << (exponent - 1))
    gate = _multiply16(wide, multiplier)
    if exponent > 0:
        gate = _saturate16(gate << 1)
    elif exponent < 0:
        gate = numerics.rounding_divide_by_pot(gate, -exponent)
    return (gate + (1 << 15)) >> 1


def chain(x: Quantization, output: Quantization) -> Chain:
    """HARD_SWISH, or x * hard_sigmoid(x) where that builtin cannot be relied on.

    It cannot where the output is too fine for it, and where dividing scales in float32, as LiteRT
    does, gives another 16-bit factor than in double, as TFLM does (about one scale in 3000).
    """
    wide = x.scale / (1 << _WIDENED_BITS)
    divisors = (output.scale, float(_GATE_SCALE))
    factors = [_factor(wide / divisor) for divisor in divisors]
    in_float = [_factor(float(np.float32(wide) / np.float32(divisor))) for divisor in divisors]
    (multiplier, exponent), gate_factor = factors
    if exponent > 0 or factors != in_float:
        return _product(x, output)

    def compute(codes: IntArray) -> IntArray:
        wide = (np.asarray(codes, np.int64) - x.zero_point) << _WIDENED_BITS
        product = _multiply16(wide, multiplier) * _gate(wide, *gate_factor)
        halved = np.sign(product) * (np.abs(product) >> 15)
        result = numerics.rounding_divide_by_pot(halved, -exponent) + output.zero_point
        return np.clip(result, INT8_MIN, INT8_MAX)

    return (
        Step(
            builtin="HARD_SWISH",
            sources=(0,),
            output=output,
            compute=compute,
            options="HardSwishOptions",
        ),
    )


def _product(x: Quantization, output: Quantization) -> Chain:
    shifted = Quantization(scales=(numerics.float32(6 / 256),), zero_point=INT8_MIN)
    gate = gates.SIGMOID_OUTPUT
    return (
        tflite_builtins.add_constant(x, 3.0, shifted),
        tflite_builtins.multiply_constant(shifted, 1 / 6, gate, source=1),
        tflite_builtins.multiply((x, gate), output, (0, 2)),
    )
