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
from edgefactor.export.ops.reshape import write_reshape

View = tuple[int, int, int, int]
#: Squares of int8 codes less their mean, at most 255^2 each, whose sum float32 holds exactly.
_EXACT_SQUARES = 2**24 // 255**2
_DIGIT = 256
_OPTIONS = {"MUL": "MulOptions", "SUB": "SubOptions", "ADD": "AddOptions", "DIV": "DivOptions"}


class _Chain:
    """Appends operators on temporaries of one layer."""

    def __init__(self, builder: TfliteBuilder, name: str, view: View) -> None:
        self.builder, self.name = builder, name
        self.full: View = view
        self.group: View = (view[0], 1, view[2], 1)
        self.count = 0

    def temporary(self, shape: View, dtype: DType = DType.INT32, scale: float | None = None) -> int:
        self.count += 1
        quantization = None if scale is None else Quantization(scales=(scale,))
        return self.builder.temporary(shape, quantization, f"{self.name}/{self.count}", dtype)

    def number(self, value: int) -> int:
        self.count += 1
        return self.builder.int32([value], f"{self.name}/{self.count}")

    def binary(self, code: str, first: int, second: int, shape: View) -> int:
        result = self.temporary(shape)
        options = _OPTIONS[code]
        self.builder.op(code, [first, second], [result], options, fusedActivationFunction="NONE")
        return result

    def cast(self, x: int, shape: View, before: DType, after: DType) -> int:
        result = self.temporary(shape, after)
        self._cast(x, result, before, after)
        return result

    def quantize(self, x: int, result: int, shape: View, scale: float) -> None:
        """QUANTIZE an int32 tensor at a scale.

        A reshape gives it the scale: TFLite Micro's arithmetic refuses int32 that has one.
        """
        scaled = self.temporary(shape, scale=scale)
        write_reshape(self.builder, x, scaled, shape, f"{self.name}/{self.count}.shape")
        self.builder.op("QUANTIZE", [scaled], [result], "QuantizeOptions", version=2)

    def requantize(self, x: int, shape: View, scale: float, target: float) -> int:
        """An int32 tensor at one scale -> int16 at another one, and back to int32."""
        short = self.temporary(shape, DType.INT16, target)
        self.quantize(x, short, shape, scale)
        return self.cast(short, shape, DType.INT16, DType.INT32)

    def sum(self, x: int) -> int:
        """The sum of int32 values over the elements of a group; below 2^24 in magnitude."""
        real = self.cast(x, self.full, DType.INT32, DType.FLOAT32)
        total = self.temporary(self.group, DType.FLOAT32)
        axes = self.builder.int32([1, 3], f"{self.name}/{self.count}.axes")
        self.builder.op("SUM", [real, axes], [total], "ReducerOptions", keepDims=True)
        result = self.temporary(self.group)
        self._cast(total, result, DType.FLOAT32, DType.INT32)
        return result

    def _cast(self, x: int, result: int, before: DType, after: DType) -> None:
        self.builder.op(
            "CAST", [x], [result], "CastOptions", inDataType=before.name, outDataType=after.name
        )


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
    chain = _Chain(builder, name, view)
    source = builder.tensor(inputs[0].name)
    seen = builder.temporary(view, inputs[0].quant, f"{name}/view")
    write_reshape(builder, source, seen, view, f"{name}/shape")
    codes = chain.cast(seen, chain.full, DType.INT8, DType.INT32)
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
        digit = chain.number(_DIGIT)
        high = chain.binary("DIV", squares, digit, chain.full)
        above = chain.binary("MUL", high, digit, chain.full)
        low = chain.sum(chain.binary("SUB", squares, above, chain.full))
        v = chain.binary("MUL", chain.sum(high), digit, chain.group)
        v = chain.binary("ADD", v, low, chain.group)
    if centered:
        v = chain.binary("SUB", v, lost, chain.group)
    v = chain.binary("ADD", v, chain.number(numbers.epsilon), chain.group)
    root = _reciprocal_root(chain, v)
    x = chain.binary("MUL", x, chain.number(2**FRACTION_BITS), chain.full)
    if centered:
        x = chain.binary("SUB", x, fraction, chain.full)
    product = chain.binary("MUL", x, root, chain.full)
    unit = chain.requantize(product, chain.full, numbers.product_scale, numbers.unit_scale)
    channels = (1, 1, *view[2:])
    gain, offset = (
        builder.int32(np.asarray(tensor.values).reshape(channels), tensor.name)
        for tensor in inputs[1:]
    )
    scaled = chain.binary("MUL", unit, gain, chain.full)
    moved = chain.binary("ADD", scaled, offset, chain.full)
    result = builder.temporary(view, output.quant, f"{name}/result")
    chain.quantize(moved, result, chain.full, inputs[2].quant.scale)
    write_reshape(builder, result, builder.tensor(output.name), output.shape, f"{name}/out_shape")


def _reciprocal_root(chain: _Chain, v: int) -> int:
    """floor(2^22 / sqrt(v)) in int32."""
    builder = chain.builder
    real = chain.cast(v, chain.group, DType.INT32, DType.FLOAT32)
    inverse, scaled = (chain.temporary(chain.group, DType.FLOAT32) for _ in range(2))
    builder.op("RSQRT", [real], [inverse])
    power = np.array([2.0 ** (PRODUCT_BITS - FRACTION_BITS)], np.float32)
    factor = builder.constant(power, None, f"{chain.name}/power")
    builder.op("MUL", [inverse, factor], [scaled], "MulOptions", fusedActivationFunction="NONE")
    return chain.cast(scaled, chain.group, DType.FLOAT32, DType.INT32)
