"""Requantize: the same real values at another scale, int8 to int8. Made by the quantizer only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.unary_code import CODES, unary_code
from edgefactor.export.ir import Array, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import INT8_MAX, INT8_MIN, IntArray
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


def requantize_codes(codes: IntArray, source: Quantization, target: Quantization) -> IntArray:
    """Codes at the target's scale, saturated; TFLite's QUANTIZE from int8 to int8."""
    multiplier, shift = numerics.quantize_multiplier(source.scale / target.scale)
    centred = np.asarray(codes, np.int64) - source.zero_point
    scaled = numerics.multiply_by_quantized_multiplier(centred, multiplier, shift)
    return np.clip(scaled + target.zero_point, INT8_MIN, INT8_MAX)


class RequantizeFamily(Family):
    """TFLite's QUANTIZE."""

    op = Requantize

    def lower(self, node: Node, lowering: Lowering) -> NoReturn:
        lowering.unsupported(node, "no ONNX operator becomes a Requantize", "export a float model")

    def output_shape(self, op: Requantize, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Requantize) -> OutputRule:
        return "free"

    def reference(
        self, op: Requantize, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        codes = requantize_codes(values[0].astype(np.int64), inputs[0].quant, output.quant)
        return codes.astype(np.int8)

    def write_onnx(self, op: Requantize, graph: Graph, builder: OnnxBuilder) -> None:
        # The pair of QuantizeLinear and DequantizeLinear behind every value is the operator.
        builder.write(op.outputs[0], builder.node("Identity", [builder.read(op.inputs[0])]))

    def write_tflite(self, op: Requantize, graph: Graph, builder: TfliteBuilder) -> None:
        source, result = builder.tensor(op.inputs[0]), builder.tensor(op.outputs[0])
        builder.op("QUANTIZE", [source], [result], "QuantizeOptions")

    def layer_code(self, op: Requantize, graph: Graph, target: CTarget) -> LayerCode:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        table = requantize_codes(CODES, x.quant, output.quant)
        slope = x.quant.scale / output.quant.scale
        return unary_code(table, x.name, x.elements, slope, target)


FAMILY = RequantizeFamily()
