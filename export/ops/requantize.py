"""Requantize: the same real values at another scale or in another width. Made by passes only.

Where 8-bit and 16-bit activations meet, this is the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.unary_code import CODES, unary_code
from edgefactor.export.functions.wide_functions import rescaling_code
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import IntArray
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Op):
    """Input: activation of any shape."""


def requantize_codes(
    codes: IntArray, source: Quantization, target: Quantization, dtype: DType = DType.INT8
) -> IntArray:
    """Codes at the target's scale, saturated to its type; TFLite's QUANTIZE between integers."""
    multiplier, shift = numerics.quantize_multiplier(source.scale / target.scale)
    centred = np.asarray(codes, np.int64) - source.zero_point
    scaled = numerics.multiply_by_quantized_multiplier(centred, multiplier, shift)
    return np.clip(scaled + target.zero_point, *dtype.code_range)


class RequantizeFamily(Family):
    """TFLite's QUANTIZE."""

    op = Requantize
    mixes_widths = True

    def widths(self, op: Requantize) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def lower(self, node: Node, lowering: Lowering) -> NoReturn:
        lowering.unsupported(node, "no ONNX operator becomes a Requantize", "export a float model")

    def output_shape(self, op: Requantize, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Requantize) -> OutputRule:
        return "free"

    def finest_scale(
        self, op: Requantize, inputs: Sequence[float], shapes: Sequence[Shape]
    ) -> float:
        # More than 8 further bits of a copy hold nothing, and would overflow in between.
        return float(2.0 ** (np.floor(np.log2(inputs[0])) - 8))

    def reference(
        self, op: Requantize, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        codes = values[0].astype(np.int64)
        result = requantize_codes(codes, inputs[0].quant, output.quant, output.dtype)
        return result.astype(str(output.dtype))

    def write_onnx(self, op: Requantize, graph: Graph, builder: OnnxBuilder) -> None:
        # The pair of QuantizeLinear and DequantizeLinear behind every value is the operator.
        builder.write(op.outputs[0], builder.node("Identity", [builder.read(op.inputs[0])]))

    def write_tflite(self, op: Requantize, graph: Graph, builder: TfliteBuilder) -> None:
        source, result = builder.tensor(op.inputs[0]), builder.tensor(op.outputs[0])
        builder.op("QUANTIZE", [source], [result], "QuantizeOptions")

    def layer_code(self, op: Requantize, graph: Graph, target: CTarget) -> LayerCode:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if DType.INT16 in (x.dtype, output.dtype):
            return rescaling_code(x, output, output.dtype.code_range)
        table = requantize_codes(CODES, x.quant, output.quant)
        slope = x.quant.scale / output.quant.scale
        return unary_code(table, x.name, x.elements, slope, target)


FAMILY = RequantizeFamily()
