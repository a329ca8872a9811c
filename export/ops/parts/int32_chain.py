"""Chains of TFLite builtins on int32 and float32 for what has no integer builtin of its own.

LiteRT's reference kernels and TensorFlow Lite Micro compute all of these alike: +, -, *, / on int32
(the quotient is truncated), the larger of two, sums and maxima of whole numbers in float32 as long
as they stay below 2^24, single operations on float32, and QUANTIZE from int32 with two roundings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefactor.export.ir import DType, Quantization, Tensor
from edgefactor.export.numerics import IntArray
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.reshape import write_reshape

View = tuple[int, int, int, int]
_OPTIONS = {
    "ADD": "AddOptions",
    "DIV": "DivOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "SUB": "SubOptions",
}


class Int32Chain:
    """Appends operators on temporaries of one layer.

    A tensor is seen as [outer, steps, groups, inner]; sums and maxima run over the elements of a
    group, which are steps and inner.

    Attributes:
        full: Shape of what there is for each element.
        group: Shape of what there is for each group.
    """

    def __init__(self, builder: TfliteBuilder, name: str, view: View) -> None:
        self.builder, self.name = builder, name
        self.full: View = view
        self.group: View = (view[0], 1, view[2], 1)
        self.elements = view[1] * view[3]
        self._count = 0

    def new_name(self) -> str:
        """A name that the layer has not used yet."""
        self._count += 1
        return f"{self.name}/{self._count}"

    def temporary(self, shape: View, dtype: DType = DType.INT32, scale: float | None = None) -> int:
        quantization = None if scale is None else Quantization(scales=(scale,))
        return self.builder.temporary(shape, quantization, self.new_name(), dtype)

    def number(self, value: int) -> int:
        """An int32 constant that broadcasts."""
        return self.builder.int32([value], self.new_name())

    def enter(self, x: Tensor) -> int:
        """The codes of the layer's activation, int32 of the full shape."""
        seen = self.builder.temporary(self.full, x.quant, f"{self.name}/view", x.dtype)
        source = self.builder.tensor(x.name)
        write_reshape(self.builder, source, seen, self.full, f"{self.name}/shape")
        return self.cast(seen, self.full, x.dtype, DType.INT32)

    def leave(self, result: int, output: Tensor, scale: float) -> None:
        """Append int32 values of the full shape at a scale as the layer's output, saturated.

        At the output's own scale QUANTIZE changes nothing else.
        """
        narrowed = self.builder.temporary(
            self.full, output.quant, f"{self.name}/result", output.dtype
        )
        self.quantize(result, narrowed, self.full, scale)
        target = self.builder.tensor(output.name)
        write_reshape(self.builder, narrowed, target, output.shape, f"{self.name}/out_shape")

    def binary(
        self, code: str, first: int, second: int, shape: View, dtype: DType = DType.INT32
    ) -> int:
        result = self.temporary(shape, dtype)
        none: dict[str, Any] = {"fusedActivationFunction": "NONE"}
        fields = {} if code == "MAXIMUM" else none
        self.builder.op(code, [first, second], [result], _OPTIONS[code], **fields)
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
        write_reshape(self.builder, x, scaled, shape, f"{self.new_name()}.shape")
        self.builder.op("QUANTIZE", [scaled], [result], "QuantizeOptions", version=2)

    def requantize(self, x: int, shape: View, scale: float, target: float) -> int:
        """An int32 tensor at one scale -> int16 at another one, and back to int32."""
        short = self.temporary(shape, DType.INT16, target)
        self.quantize(x, short, shape, scale)
        return self.cast(short, shape, DType.INT16, DType.INT32)

    def reduce(self, code: str, x: int) -> int:
        """SUM or REDUCE_MAX over each group of int32 below 2^24 in magnitude, the sums included."""
        real = self.cast(x, self.full, DType.INT32, DType.FLOAT32)
        total = self.temporary(self.group, DType.FLOAT32)
        axes = self.builder.int32([1, 3], f"{self.new_name()}.axes")
        self.builder.op(code, [real, axes], [total], "ReducerOptions", keepDims=True)
        return self.cast(total, self.group, DType.FLOAT32, DType.INT32)

    def sum(self, x: int) -> int:
        """The sum over each group of int32; below 2^24 in magnitude."""
        return self.reduce("SUM", x)

    def gather(self, table: IntArray, places: int) -> int:
        """Entries of a table, int32 below 2^24 in magnitude, at int32 places of the full shape.

        TFLite Micro's GATHER takes float32, which holds them exactly.
        """
        held = self.builder.constant(np.asarray(table, np.float32), None, self.new_name())
        found = self.temporary(self.full, DType.FLOAT32)
        self.builder.op("GATHER", [held, places], [found], "GatherOptions", version=2, axis=0)
        return self.cast(found, self.full, DType.FLOAT32, DType.INT32)

    def digits(self, x: int, base: int, shape: View) -> tuple[int, int]:
        """The quotient by a base, truncated, and what is left, which has the sign of ``x``."""
        divisor = self.number(base)
        high = self.binary("DIV", x, divisor, shape)
        above = self.binary("MUL", high, divisor, shape)
        return high, self.binary("SUB", x, above, shape)

    def sum_of_digits(self, x: int, base: int) -> int:
        """The sum over each group of int32, in int32, where float32 would not hold it.

        Sums of quotients by the base and of what is left stay below 2^24 in magnitude.
        """
        high, low = (self.sum(digit) for digit in self.digits(x, base, self.full))
        above = self.binary("MUL", high, self.number(base), self.group)
        return self.binary("ADD", above, low, self.group)

    def _cast(self, x: int, result: int, before: DType, after: DType) -> None:
        self.builder.op(
            "CAST", [x], [result], "CastOptions", inDataType=before.name, outDataType=after.name
        )
