"""TFLite's LOGISTIC and TANH on int8, kept to scales at which every runtime agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.functions import fixed_point
from edgefactor.export.functions.tflite_builtins import Chain, Step, requantize, saturate
from edgefactor.export.ir import Quantization
from edgefactor.export.numerics import INT8_MAX, INT8_MIN, IntArray, float32
from edgefactor.export.numerics import multiply_by_quantized_multiplier as scale_by

SIGMOID_OUTPUT = Quantization(scales=(1 / 256,), zero_point=-128)
TANH_OUTPUT = Quantization(scales=(1 / 128,), zero_point=0)
#: Integer bits of the scaled input of logistic and tanh.
_INPUT_BITS = 4
#: A real result so near the middle of two codes, in codes, may round either way in float32.
_TIE_MARGIN = 1e-4


def _gate(
    builtin: str,
    x: Quantization,
    output: Quantization,
    exact: Callable[[IntArray, int], IntArray],
    real: Callable[[Any], Any],
    bits: int,
) -> Chain:
    """LOGISTIC or TANH, behind a QUANTIZE where the runtimes' roundings differ.

    TFLM computes them in fixed point, LiteRT rounds a float; for about one scale in 400 some code
    lies so near the middle of two results that they differ. The input is then re-labelled with a
    scale that is larger by a few parts in 4096: its codes stay what they are, the results move
    away from the middle, and every runtime agrees again.
    """
    codes = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int64)

    def fixed(scale: float) -> Callable[[IntArray], IntArray]:
        multiplier, shift = numerics.quantize_multiplier(scale * 2.0 ** (31 - _INPUT_BITS))
        radius = fixed_point.input_radius(_INPUT_BITS, shift)

        def compute(values: IntArray) -> IntArray:
            centred = np.asarray(values, np.int64) - x.zero_point
            inside = np.abs(centred) < radius
            scaled = scale_by(np.where(inside, centred, 0), multiplier, shift)
            fraction = numerics.rounding_divide_by_pot(exact(scaled, _INPUT_BITS), 31 - bits)
            end = np.where(centred < 0, INT8_MIN, INT8_MAX)
            return np.where(inside, saturate(fraction + output.zero_point), end)

        return compute

    def is_safe(scale: float) -> bool:
        results = real((codes - x.zero_point) * scale) * 2.0**bits
        if np.any(np.abs(results - np.floor(results) - 0.5) < _TIE_MARGIN):
            return False
        rounded = saturate(numerics.round_half_away(results) + output.zero_point)
        return bool(np.array_equal(rounded, fixed(scale)(codes)))

    for step in range(9):
        label = replace(x, scales=(float32(x.scale * (1 + step / 4096)),))
        if is_safe(label.scale):
            break
    moved = step > 0
    gate = Step(
        builtin=builtin,
        sources=(int(moved),),
        output=output,
        compute=fixed(label.scale),
        version=2,
    )
    return (requantize(x, label), gate) if moved else (gate,)


def logistic(x: Quantization) -> Chain:
    """1 / (1 + exp(-x)) at SIGMOID_OUTPUT."""
    return _gate(
        "LOGISTIC", x, SIGMOID_OUTPUT, fixed_point.logistic, lambda v: 1 / (1 + np.exp(-v)), 8
    )


def tanh(x: Quantization) -> Chain:
    """The hyperbolic tangent of x at TANH_OUTPUT."""
    return _gate("TANH", x, TANH_OUTPUT, fixed_point.tanh, np.tanh, 7)
