"""A normalization as TFLite builtins: sums and products in int32, the root in float32.

TFLite Micro sums int32 not at all and float32 exactly as long as a sum stays below 2^24; squares
that could exceed it are summed as two digits of 8 bits. QUANTIZE from int32 is a requantization
with two roundings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgefactor.export.functions.normalization import (
    FRACTION_BITS,
    PRODUCT_BITS,
    Normalization,
)
from edgefactor.export.ir import DType, Quantization, Tensor
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.parts.int32_chain import Int32Chain, View

#: Squares of int8 codes less their mean, at most 255^2 each, whose sum float32 holds exactly.
_EXACT_SQUARES = 2**24 // 255**2
_DIGIT = 256


def write_normalization(
    builder: TfliteBuilder,
    name: str,
    inputs: Sequence[Tensor],
    output: Tensor,
    view: View,
    numbers: Normalization,
    *,
    centered: bool,
) -> None:
    """Append the operators of one normalization.

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
    codes = chain.enter(inputs[0])
    inverse = Quantization(scales=(float(np.float32(1 / numbers.count)),)).scale
    if centered:
        total = chain.sum(codes)
        middle = chain.requantize(total, chain.group, inverse, 1.0)
        whole = chain.binary("MUL", middle, chain.number(numbers.count), chain.group)
        rest = chain.binary("SUB", total, whole, chain.group)
        square = chain.binary("MUL", rest, rest, chain.group)
        lost = chain.requantize(square, chain.group, inverse, 1.0)
        fraction = chain.requantize(rest, chain.group, inverse, 2.0**-FRACTION_BITS)
    else:
        middle = chain.number(inputs[0].quant.zero_point)
    x = chain.binary("SUB", codes, middle, chain.full)
    squares = chain.binary("MUL", x, x, chain.full)
    if numbers.count <= _EXACT_SQUARES:
        v = chain.sum(squares)
    else:
        v = chain.sum_of_digits(squares, _DIGIT)
    if centered:
        v = chain.binary("SUB", v, lost, chain.group)
    v = chain.binary("ADD", v, chain.number(numbers.epsilon), chain.group)
    root = _reciprocal_root(chain, v)
    x = chain.binary("MUL", x, chain.number(2**FRACTION_BITS), chain.full)
    if centered:
        x = chain.binary("SUB", x, fraction, chain.full)
    product = chain.binary("MUL", x, root, chain.full)
    unit = chain.requantize(product, chain.full, numbers.product_scale, numbers.unit_scale)
    write_affine(chain, unit, inputs, output)


def write_affine(chain: Int32Chain, unit: int, inputs: Sequence[Tensor], output: Tensor) -> None:
    """Gain and offset of normalized values, and the result in the type and shape of the output.

    Args:
        chain: Of the layer.
        unit: Normalized values, int32.
        inputs: Activation, gain, offset.
        output: The result.
    """
    builder, view = chain.builder, chain.full
    channels = (1, 1, *view[2:])
    gain, offset = (
        builder.int32(np.asarray(tensor.values).reshape(channels), tensor.name)
        for tensor in inputs[1:]
    )
    scaled = chain.binary("MUL", unit, gain, chain.full)
    moved = chain.binary("ADD", scaled, offset, chain.full)
    chain.leave(moved, output, inputs[2].quant.scale)


def _reciprocal_root(chain: Int32Chain, v: int) -> int:
    """floor(2^22 / sqrt(v)) in int32."""
    builder = chain.builder
    real = chain.cast(v, chain.group, DType.INT32, DType.FLOAT32)
    inverse, scaled = (chain.temporary(chain.group, DType.FLOAT32) for _ in range(2))
    builder.op("RSQRT", [real], [inverse])
    power = np.array([2.0 ** (PRODUCT_BITS - FRACTION_BITS)], np.float32)
    factor = builder.constant(power, None, f"{chain.name}/power")
    builder.op("MUL", [inverse, factor], [scaled], "MulOptions", fusedActivationFunction="NONE")
    return chain.cast(scaled, chain.group, DType.FLOAT32, DType.INT32)
