"""Comparisons of two tensors, as int8 truth values: the codes 0 and 1.

Two activations share one scale, so their codes are compared, which is exact. TFLite's comparisons
of int8 rescale both sides and lose small differences; in TFLite codes are compared as int32. With a
constant it is a function of the difference, which one constant number makes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code import binary_code
from edgefactor.export.c_code.broadcasting import broadcast_shape
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Array, Graph, Op, Tensor
from edgefactor.export.ops.elementwise import Sub
from edgefactor.export.ops.family import (
    BOOLEAN,
    ONNX_FLOAT,
    ONNX_INT32,
    ONNX_INT64,
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.parts.operands import lower_operands
from edgefactor.export.ops.table import TRUTH, Table

_WHOLE = (ONNX_INT32, ONNX_INT64)
_LESS, _EQUAL, _GREATER = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare(Op):
    """Inputs: two activations whose shapes broadcast.

    Attributes:
        kind: A key of KINDS.
    """

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One comparison.

    Attributes:
        compare: On codes.
        tflite: TFLite's builtin.
        accepted: Which orders of the operands the C kernel says 1 to.
        of_difference: The truth of it as an expression in the difference ``x``.
    """

    compare: Callable[[Array, Array], NDArray[np.bool_]]
    tflite: str
    accepted: int
    of_difference: str


#: ONNX operator -> what it is.
KINDS: Mapping[str, _Kind] = {
    "Equal": _Kind(compare=np.equal, tflite="EQUAL", accepted=_EQUAL, of_difference="x 0 equal"),
    "Greater": _Kind(
        compare=np.greater, tflite="GREATER", accepted=_GREATER, of_difference="x 0 greater"
    ),
    "GreaterOrEqual": _Kind(
        compare=np.greater_equal,
        tflite="GREATER_EQUAL",
        accepted=_GREATER + _EQUAL,
        of_difference="1 x 0 less sub",
    ),
    "Less": _Kind(compare=np.less, tflite="LESS", accepted=_LESS, of_difference="x 0 less"),
    "LessOrEqual": _Kind(
        compare=np.less_equal,
        tflite="LESS_EQUAL",
        accepted=_LESS + _EQUAL,
        of_difference="1 x 0 greater sub",
    ),
    "Xor": _Kind(
        compare=np.not_equal, tflite="NOT_EQUAL", accepted=_LESS + _GREATER, of_difference=TRUTH
    ),
}


class CompareFamily(Family):
    """Equal, Greater, GreaterOrEqual, Less, LessOrEqual; Xor of truth values."""

    op = Compare
    onnx_ops = tuple(KINDS)

    def lower(self, node: Node, lowering: Lowering) -> None:
        operands = lower_operands(node, lowering)
        shape = broadcast_shape(*(lowering.graph_shape(name) for name in operands.tensors))
        kind = node.op_type
        if all(lowering.constant(value) is None for value in node.inputs):
            result = lowering.emit(Compare, operands.tensors, shape, kind=kind)
        else:
            hint = f"{node.outputs[0]}.difference"
            difference = lowering.emit(Sub, operands.tensors, shape, hint=hint)
            if any(lowering.element_type(value) in _WHOLE for value in node.inputs):
                # Differences of whole numbers are told apart whatever the range of the numbers.
                fields = {"function": "clip", "low": -1.0, "high": 1.0}
                difference = lowering.emit(Lookup, [difference], shape, hint=hint, **fields)
            expression = KINDS[kind].of_difference
            result = lowering.emit(Table, [difference], shape, expression=expression, boolean=True)
        lowering.bind(node.outputs[0], result, operands.perm)

    def output_shape(self, op: Compare, inputs: Sequence[Tensor]) -> Shape:
        return broadcast_shape(inputs[0].shape, inputs[1].shape)

    def output_rule(self, op: Compare) -> OutputRule:
        return BOOLEAN

    def one_scale(self, op: Compare) -> tuple[str, ...]:
        return op.inputs

    def reference(
        self, op: Compare, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        return np.asarray(KINDS[op.kind].compare(values[0], values[1]), np.int8)

    def write_onnx(self, op: Compare, graph: Graph, builder: OnnxBuilder) -> None:
        operands = [builder.read(name) for name in op.inputs]
        if op.kind == "Xor":
            holds = builder.node("Not", [builder.node("Equal", operands)])
        else:
            holds = builder.node(op.kind, operands)
        builder.write(op.outputs[0], builder.node("Cast", [holds], to=ONNX_FLOAT))

    def write_tflite(self, op: Compare, graph: Graph, builder: TfliteBuilder) -> None:
        wide = []
        for index, name in enumerate(op.inputs):
            shape = graph.tensors[name].shape
            wide.append(builder.int32_temporary(shape, f"{op.name}/wide{index}"))
            builder.op(
                "CAST",
                [builder.tensor(name)],
                [wide[-1]],
                "CastOptions",
                inDataType="INT8",
                outDataType="INT32",
            )
        output = graph.tensors[op.outputs[0]]
        holds = builder.bool_temporary(output.shape, f"{op.name}/holds")
        code = KINDS[op.kind].tflite
        options = "".join(word.capitalize() for word in code.split("_")) + "Options"
        builder.op(code, wide, [holds], options)
        result = [builder.tensor(output.name)]
        builder.op("CAST", [holds], result, "CastOptions", inDataType="BOOL", outDataType="INT8")

    def layer_code(self, op: Compare, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        accepted = KINDS[op.kind].accepted
        return binary_code.compare_code(inputs, graph.tensors[op.outputs[0]], accepted)


FAMILY = CompareFamily()
