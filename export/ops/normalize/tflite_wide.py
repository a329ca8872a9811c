"""A normalization of int16 codes in builtins (``export/functions/wide_normalization.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.functions.wide_normalization import (
    EXACT,
    SCALED_BITS,
    SUM_DIGIT,
    WideNormalization,
)
from edgefactor.export.ir import DType, Tensor
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.normalize.tflite_chain import write_affine
from edgefactor.export.ops.parts.int32_chain import Int32Chain, View


def write_wide_normalization(
    builder: TfliteBuilder,
    name: str,
    inputs: Sequence[Tensor],
    output: Tensor,
    view: View,
    numbers: WideNormalization,
    *,
    centered: bool,
) -> None:
    """Append the operators of one normalization of int16 codes.

    Args:
        builder: Where to.
        name: Of the layer; temporaries are called after it.
        inputs: Activation, gain, offset.
        output: The result.
        view: Outer, steps, groups, inner.
        numbers: Its integers.
        centered: Whether the mean is subtracted.
    """
    chain = Int32Chain(builder, name, view)
    full, group = chain.full, chain.group
    x = chain.enter(inputs[0])
    if centered:
        fits = numbers.count << 15 <= EXACT
        total = chain.sum(x) if fits else chain.sum_of_digits(x, SUM_DIGIT)
        inverse = numerics.float32(1 / numbers.count)
        x = chain.binary("SUB", x, chain.requantize(total, group, inverse, 1.0), full)
    magnitude = chain.binary("MAXIMUM", x, chain.binary("MUL", x, chain.number(-1), full), full)
    largest = chain.reduce("REDUCE_MAX", magnitude)
    divisor = chain.binary("MAXIMUM", largest, chain.number(numbers.least), group)
    factor = chain.binary("DIV", chain.number(2**SCALED_BITS), divisor, group)
    y = chain.binary("MUL", x, factor, full)
    root = _reciprocal_root(chain, _squares(chain, magnitude, factor, numbers), factor, numbers)
    product = chain.binary("MUL", y, root, full)
    unit = chain.requantize(product, full, numbers.product_scale, numbers.unit_scale)
    write_affine(chain, unit, inputs, output)


def _squares(chain: Int32Chain, magnitude: int, factor: int, numbers: WideNormalization) -> int:
    """The sum of z * z over each group, float32, rounded once."""
    shift = SCALED_BITS - numbers.square_bits
    scaled = chain.binary("MUL", magnitude, factor, chain.full)
    rounded = chain.binary("ADD", scaled, chain.number(1 << (shift - 1)), chain.full)
    z = chain.binary("DIV", rounded, chain.number(1 << shift), chain.full)
    squares = chain.binary("MUL", z, z, chain.full)
    base = 1 << numbers.square_bits
    high, low = (chain.sum(digit) for digit in chain.digits(squares, base, chain.full))
    parts = [chain.cast(part, chain.group, DType.INT32, DType.FLOAT32) for part in (high, low)]
    above = _times(chain, parts[0], float(base))
    return chain.binary("ADD", above, parts[1], chain.group, DType.FLOAT32)


def _reciprocal_root(
    chain: Int32Chain, squares: int, factor: int, numbers: WideNormalization
) -> int:
    """r, int32."""
    w = chain.requantize(factor, chain.group, numbers.epsilon_scale, 1.0)
    idle = chain.binary("MUL", w, w, chain.group)
    idle = chain.binary("ADD", idle, chain.number(1), chain.group)
    real = chain.cast(idle, chain.group, DType.INT32, DType.FLOAT32)
    real = _times(chain, real, 4.0**numbers.epsilon_bits)
    v = chain.binary("ADD", squares, real, chain.group, DType.FLOAT32)
    inverse = chain.temporary(chain.group, DType.FLOAT32)
    chain.builder.op("RSQRT", [v], [inverse])
    scaled = _times(chain, inverse, 2.0**numbers.root_bits)
    doubled = chain.cast(scaled, chain.group, DType.FLOAT32, DType.INT32)
    more = chain.binary("ADD", doubled, chain.number(1), chain.group)
    return chain.binary("DIV", more, chain.number(2), chain.group)


def _times(chain: Int32Chain, x: int, power: float) -> int:
    """A float32 of each group times a power of two, which is exact."""
    factor = chain.builder.constant(np.array([power], np.float32), None, chain.new_name())
    return chain.binary("MUL", x, factor, chain.group, DType.FLOAT32)
