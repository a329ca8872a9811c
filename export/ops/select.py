"""Elements of one tensor or of another, as a condition says: ONNX's Where, TFLite's SELECT_V2.

Conditions are int8 tensors of the codes 0 and 1 (``BOOLEAN``). Both choices and the result share
one scale, so codes are only copied. A constant beyond the scale is its nearest end: what hides
scores from a softmax is the lowest code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgefactor.export.c_code.broadcasting import broadcast_loops, broadcast_shape
from edgefactor.export.c_code.layer_code import (
    Call,
    CArray,
    CSymbol,
    CTarget,
    CValue,
    LayerCode,
    Ref,
)
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor, constant
from edgefactor.export.ops.family import (
    BOOLEAN,
    ONNX_BOOL,
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Quantizer,
    Shape,
    TfliteBuilder,
    put_at_scale,
)
from edgefactor.export.ops.parts.operands import lower_operands

#: What the C calls the operands.
_STEPS = ("condition_steps", "steps1", "steps2")
_CONSTANTS = ("condition", "constant1", "constant2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Op):
    """Inputs: condition, what is taken where it holds, what is taken elsewhere."""


class SelectFamily(Family):
    """Where."""

    op = Select
    onnx_ops = ("Where",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        operands = lower_operands(node, lowering)
        shapes = [lowering.graph_shape(name) for name in operands.tensors]
        result = lowering.emit(Select, operands.tensors, broadcast_shape(*shapes))
        lowering.bind(node.outputs[0], result, operands.perm)

    def output_shape(self, op: Select, inputs: Sequence[Tensor]) -> Shape:
        return broadcast_shape(*(tensor.shape for tensor in inputs))

    def widths(self, op: Select) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def input_width(self, op: Select, index: int) -> DType | None:
        return DType.INT8 if index == 0 else None

    def output_rule(self, op: Select) -> OutputRule:
        return "same"

    def one_scale(self, op: Select) -> tuple[str, ...]:
        return (*op.inputs[1:], *op.outputs)

    def input_rule(self, op: Select, index: int) -> Quantization | None:
        return BOOLEAN if index == 0 else None

    def quantize(self, op: Select, quantizer: Quantizer) -> Op:
        condition = quantizer.tensor(op.inputs[0])
        if condition.data is not None and condition.dtype == "float32":
            holds = (np.asarray(condition.data) != 0).astype(np.int8)
            quantizer.put(constant(condition.name, holds, BOOLEAN))
        return put_at_scale(op, quantizer, quantizer.tensor(op.outputs[0]))

    def reference(
        self, op: Select, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        condition, first, second = values
        chosen = np.where(np.asarray(condition, np.int8) != 0, first, second)
        return np.asarray(chosen, str(output.dtype))

    def write_onnx(self, op: Select, graph: Graph, builder: OnnxBuilder) -> None:
        condition, first, second = (builder.read(name) for name in op.inputs)
        holds = builder.node("Cast", [condition], to=ONNX_BOOL)
        builder.write(op.outputs[0], builder.node("Where", [holds, first, second]))

    def write_tflite(self, op: Select, graph: Graph, builder: TfliteBuilder) -> None:
        condition, first, second = (builder.tensor(name) for name in op.inputs)
        holds = builder.bool_temporary(graph.tensors[op.inputs[0]].shape, f"{op.name}/condition")
        builder.op(
            "CAST", [condition], [holds], "CastOptions", inDataType="INT8", outDataType="BOOL"
        )
        result = [builder.tensor(op.outputs[0])]
        builder.op("SELECT_V2", [holds, first, second], result, "SelectV2Options")

    def layer_code(self, op: Select, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        function = "ef_select_s16" if output.dtype is DType.INT16 else "ef_select_s8"
        loops = broadcast_loops(*(tensor.shape for tensor in inputs))
        if loops is None:
            raise ValueError(f"{op.name}: lowering lets no broadcast of so many loops through")
        args: dict[str, CValue] = {"sizes": loops.sizes}
        args |= dict(zip(_STEPS, loops.steps, strict=True))
        arrays: list[CArray] = []
        names: list[str] = []
        # The kernel does not use the pointer that it gets for a constant operand.
        passed = next(tensor.name for tensor in inputs if tensor.data is None)
        for field, tensor in zip(_CONSTANTS, inputs, strict=True):
            args[field] = CSymbol(name="NULL") if tensor.data is None else Ref(suffix=field)
            names.append(passed if tensor.data is not None else tensor.name)
            if tensor.data is not None:
                data = np.asarray(tensor.data, str(tensor.dtype)).reshape(-1)
                arrays.append(CArray(suffix=field, ctype=f"{tensor.dtype}_t", data=data))
        call = Call(function=function, struct="ef_select_args", args=args, inputs=tuple(names))
        return LayerCode(
            calls=(call,),
            sources=("ef_select.h", f"{function}.c"),
            arrays=tuple(arrays),
            in_place=tuple(
                i
                for i, t in enumerate(inputs)
                if t.data is None and t.elements == output.elements and t.dtype is output.dtype
            ),
        )


FAMILY = SelectFamily()
