"""Functions of one tensor, element by element: in C a table of 256 codes (or a linear form).

ReLU, clip, leaky ReLU, sigmoid, tanh, hard sigmoid, hard swish, SiLU, absolute value, negation. In
TFLite each is one builtin or a short chain; the table is that chain's integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.c_code.unary_code import CODES, unary_code
from edgefactor.export.functions import gates, hard_swish, wide_functions
from edgefactor.export.functions import tflite_builtins as builtins
from edgefactor.export.functions.tflite_builtins import Chain
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import float32
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
class Lookup(Op):
    """Input: activation of any shape.

    Attributes:
        function: A key of FUNCTIONS.
        alpha: Slope of the negative side (leaky_relu); slope of hard_sigmoid.
        beta: Value of hard_sigmoid at 0.
        low: Lower end of a clip; None if it has none.
        high: Upper end of a clip; None if it has none.
    """

    function: str
    alpha: float = 0.0
    beta: float = 0.0
    low: float | None = None
    high: float | None = None


def _relu(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    return (builtins.relu(x, output),)


def _clip(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    # RELU6 on codes differs between LiteRT and TFLM; a QUANTIZE saturates at the output's range.
    return (
        builtins.requantize(x, output),
        *builtins.bound(output, op.low, op.high, source=1),
    )


def _leaky_relu(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    return (builtins.leaky_relu(x, output, op.alpha),)


def _sigmoid(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    return gates.logistic(x)


def _tanh(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    return gates.tanh(x)


def _silu(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    gate = gates.logistic(x)
    pair = (x, gate[-1].output)
    return (*gate, builtins.multiply(pair, output, (0, len(gate))))


def _hard_sigmoid(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    # x + beta / alpha at a scale 1 / alpha times the output's has the output's codes already;
    # the product with alpha only changes what they stand for. So int8 rounds once.
    shifted = Quantization(scales=(float32(output.scale / op.alpha),), zero_point=output.zero_point)
    return (
        builtins.add_constant(x, op.beta / op.alpha, shifted),
        builtins.multiply_constant(shifted, op.alpha, output, source=1),
        *builtins.bound(output, 0.0, 1.0, source=2),
    )


def _hard_swish(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    return hard_swish.chain(x, output)


def _abs(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    return (builtins.absolute(x, output),)


def _neg(op: Lookup, x: Quantization, output: Quantization) -> Chain:
    # TFLM has no NEG on int8.
    return (builtins.multiply_constant(x, -1.0, output),)


#: Name -> the TFLite builtins that compute it.
FUNCTIONS: Mapping[str, Callable[[Lookup, Quantization, Quantization], Chain]] = {
    "relu": _relu,
    "clip": _clip,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "silu": _silu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "abs": _abs,
    "neg": _neg,
}

#: Slope of the functions that are linear between their ends.
_SLOPES: Mapping[str, Callable[[Lookup], float]] = {
    "relu": lambda op: 1.0,
    "clip": lambda op: 1.0,
    "neg": lambda op: -1.0,
    "hard_sigmoid": lambda op: op.alpha,
}

_FROM_ONNX = {
    "Relu": "relu",
    "Clip": "clip",
    "LeakyRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish",
    "Abs": "abs",
    "Neg": "neg",
}


class LookupFamily(Family):
    """Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSigmoid, HardSwish, Abs, Neg; SiLU by fusion."""

    op = Lookup
    onnx_ops = tuple(_FROM_ONNX)

    def lower(self, node: Node, lowering: Lowering) -> None:
        fields: dict[str, Any] = {"function": _FROM_ONNX[node.op_type]}
        if node.op_type == "Clip":
            fields |= self._clip_fields(node, lowering)
        elif node.op_type == "LeakyRelu":
            fields["alpha"] = float(node.attributes.get("alpha", 0.01))
        elif node.op_type == "HardSigmoid":
            fields["alpha"] = float(node.attributes.get("alpha", 0.2))
            fields["beta"] = float(node.attributes.get("beta", 0.5))
            if fields["alpha"] <= 0.0:
                lowering.unsupported(node, "its slope is not positive", "use nn.Hardsigmoid")
        tensor, perm = lowering.stored(node.input(0))
        result = lowering.emit(Lookup, [tensor], lowering.graph_shape(tensor), **fields)
        lowering.bind(node.outputs[0], result, perm)

    def _clip_fields(self, node: Node, lowering: Lowering) -> dict[str, float | None]:
        ends: list[float | None] = []
        for index, limit in ((1, -np.inf), (2, np.inf)):
            end = None
            if node.input(index):
                data = lowering.constant(node.input(index))
                if data is None:
                    lowering.unsupported(node, "its limits are computed", "use constant limits")
                end = float(np.asarray(data).reshape(()))
                # float32's own ends are how exporters write "no limit".
                end = None if abs(end) >= np.finfo(np.float32).max and end * limit > 0 else end
            ends.append(end)
        return {"low": ends[0], "high": ends[1]}

    def widths(self, op: Lookup) -> tuple[DType, ...]:
        wide = (DType.INT16,) if op.function in wide_functions.FUNCTIONS else ()
        return (DType.INT8, *wide)

    def wide_output_rule(self, op: Lookup) -> OutputRule:
        return wide_functions.GATE_OUTPUT if op.function in ("sigmoid", "tanh") else "free"

    def output_shape(self, op: Lookup, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Lookup) -> OutputRule:
        fixed = {"sigmoid": gates.SIGMOID_OUTPUT, "tanh": gates.TANH_OUTPUT}
        return fixed.get(op.function, "free")

    def chain(self, op: Lookup, x: Tensor, output: Tensor) -> Chain:
        """The TFLite builtins of an operator between two quantized tensors."""
        functions = wide_functions.FUNCTIONS if output.dtype is DType.INT16 else FUNCTIONS
        return functions[op.function](op, x.quant, output.quant)

    def reference(
        self, op: Lookup, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        chain, codes = self.chain(op, inputs[0], output), values[0].astype(np.int64)
        if output.dtype is DType.INT16:
            return builtins.evaluate(chain, codes).astype(np.int16)
        table = builtins.evaluate(chain, CODES).astype(np.int8)
        return np.asarray(table[codes - int(CODES[0])])

    def write_onnx(self, op: Lookup, graph: Graph, builder: OnnxBuilder) -> None:
        x = builder.read(op.inputs[0])
        if op.function == "clip":
            ends = [
                "" if end is None else builder.literal(np.array(end, np.float32))
                for end in (op.low, op.high)
            ]
            value = builder.node("Clip", [x, *ends])
        elif op.function == "silu":
            value = builder.node("Mul", [x, builder.node("Sigmoid", [x])])
        else:
            kind = next(name for name, function in _FROM_ONNX.items() if function == op.function)
            attributes: dict[str, float] = {}
            if op.function in ("leaky_relu", "hard_sigmoid"):
                attributes["alpha"] = op.alpha
            if op.function == "hard_sigmoid":
                attributes["beta"] = op.beta
            value = builder.node(kind, [x], **attributes)
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: Lookup, graph: Graph, builder: TfliteBuilder) -> None:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        ends = builder.tensor(x.name), builder.tensor(output.name)
        builtins.write(self.chain(op, x, output), ends, x.shape, builder, op.name, output.dtype)

    def layer_code(self, op: Lookup, graph: Graph, target: CTarget) -> LayerCode:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if output.dtype is DType.INT16:
            return wide_functions.code(op, x, output)
        table = builtins.evaluate(self.chain(op, x, output), CODES)
        slope = _SLOPES[op.function](op) if op.function in _SLOPES else 0.0
        slope *= x.quant.scale / output.quant.scale
        return unary_code(table, x.name, x.elements, slope, target)


FAMILY = LookupFamily()
