"""Where the largest or smallest value along an axis is: ArgMax, ArgMin.

The result is an activation of whole numbers (``export/ops/parts/indices.py``); of equal codes
the first one is found, as in ARG_MAX and ARG_MIN of TFLite, whose int32 result is cast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CTarget, LayerCode
from edgefactor.export.ir import Array, DType, Graph, Op, Tensor
from edgefactor.export.ops.family import (
    ONNX_FLOAT,
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.indices import index_quantization, index_type, require_few
from edgefactor.export.ops.parts.layouts import (
    complete_perm,
    locate,
    long_axes,
    normalize_axis,
    read_stored,
    same_long_sizes,
    write_stored,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgExtreme(Op):
    """Input: activation of any shape; ``axis`` is gone in the output.

    Attributes:
        axis: Along which the place is looked for.
        count: Elements along it.
        largest: Whether the largest is looked for, or the smallest.
    """

    axis: int
    count: int
    largest: bool


class ArgExtremeFamily(Family):
    """ArgMax, ArgMin."""

    op = ArgExtreme
    onnx_ops = ("ArgMax", "ArgMin")
    mixes_widths = True

    def lower(self, node: Node, lowering: Lowering) -> None:
        value, attributes = node.input(0), node.attributes
        shape = lowering.shape(value)
        axis = normalize_axis(int(attributes.get("axis", 0)), len(shape))
        require_few(node, lowering, shape[axis], "its axis")
        if attributes.get("select_last_index", 0) and shape[axis] > 1:
            lowering.unsupported(
                node, "it takes the last of equal values", "take the first (torch.argmax does)"
            )
        x = locate(lowering, value, (axis,))
        place = x.axes[axis]
        out = (*x.shape[:place], *x.shape[place + 1 :])
        tensor = lowering.emit(
            ArgExtreme,
            [x.tensor],
            out,
            axis=place,
            count=shape[axis],
            largest=node.op_type == "ArgMax",
        )
        keep = bool(attributes.get("keepdims", 1))
        new_shape = lowering.shape(node.outputs[0])
        order = [
            old if keep else old - (old > axis) for old in long_axes(shape, x.perm) if old != axis
        ]
        perm = complete_perm(order, new_shape)
        stored = tuple(new_shape[a] for a in perm)
        if not same_long_sizes(lowering.graph_shape(tensor), stored):
            tensor = lowering.view(tensor, stored)
        lowering.bind(node.outputs[0], tensor, perm)

    def output_shape(self, op: ArgExtreme, inputs: Sequence[Tensor]) -> Shape:
        shape = inputs[0].shape
        return (*shape[: op.axis], *shape[op.axis + 1 :])

    def output_rule(self, op: ArgExtreme) -> OutputRule:
        return index_quantization(op.count)

    def input_width(self, op: ArgExtreme, index: int) -> DType | None:
        return DType.INT8

    def always_wide(self, op: ArgExtreme) -> bool:
        return index_type(op.count) is DType.INT16

    def widths(self, op: ArgExtreme) -> tuple[DType, ...]:
        return (DType.INT8, index_type(op.count))

    def width_is_given(self, op: ArgExtreme) -> bool:
        return True

    def whole_numbers(self, op: ArgExtreme) -> tuple[str, ...]:
        return op.outputs if self.always_wide(op) else ()

    def reference(
        self, op: ArgExtreme, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        codes = np.asarray(values[0], np.int64) * (1 if op.largest else -1)
        return np.asarray(codes.argmax(axis=op.axis) + output.quant.zero_point, str(output.dtype))

    def write_onnx(self, op: ArgExtreme, graph: Graph, builder: OnnxBuilder) -> None:
        value = read_stored(builder, graph.tensors[op.inputs[0]])
        kind = "ArgMax" if op.largest else "ArgMin"
        found = builder.node(kind, [value], axis=op.axis, keepdims=0)
        real = builder.node("Cast", [found], to=ONNX_FLOAT)
        write_stored(builder, graph.tensors[op.outputs[0]], real)

    def write_tflite(self, op: ArgExtreme, graph: Graph, builder: TfliteBuilder) -> None:
        output = graph.tensors[op.outputs[0]]
        kind = "Max" if op.largest else "Min"
        wide = builder.int32_temporary(output.shape, f"{op.name}/wide")
        axis = builder.int32([op.axis], f"{op.name}/axis")
        fields: dict[str, Any] = {"outputType": "INT32"}
        inputs = [builder.tensor(op.inputs[0]), axis]
        builder.op(f"ARG_{kind.upper()}", inputs, [wide], f"Arg{kind}Options", **fields)
        if output.quant.zero_point:
            offset = builder.int32([output.quant.zero_point], f"{op.name}/offset")
            moved = builder.int32_temporary(output.shape, f"{op.name}/moved")
            operands = [wide, offset]
            builder.op("ADD", operands, [moved], "AddOptions", fusedActivationFunction="NONE")
            wide = moved
        result = [builder.tensor(output.name)]
        types: dict[str, Any] = {"inDataType": "INT32", "outDataType": output.dtype.name}
        builder.op("CAST", [wide], result, "CastOptions", **types)

    def layer_code(self, op: ArgExtreme, graph: Graph, target: CTarget) -> LayerCode:
        shape = graph.tensors[op.inputs[0]].shape
        wide = graph.tensors[op.outputs[0]].dtype is DType.INT16
        function = "ef_arg_extreme_s8_s16" if wide else "ef_arg_extreme_s8"
        call = Call(
            function=function,
            struct="ef_arg_extreme_args",
            args={
                "outer": prod(shape[: op.axis]),
                "axis": op.count,
                "inner": prod(shape[op.axis + 1 :]),
                "flip": 0 if op.largest else -1,
                "offset": -graph.tensors[op.outputs[0]].quant.zero_point,
            },
            inputs=(op.inputs[0],),
        )
        return LayerCode(calls=(call,), sources=("ef_arg_extreme.h", f"{function}.c"))


FAMILY = ArgExtremeFamily()
