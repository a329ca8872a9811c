"""Hardmax: 1 where the largest value along the last axis is, 0 elsewhere; the first of equals.

In TFLite the place is ARG_MAX's, compared with the numbers of all places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import Call, CTarget, LayerCode
from edgefactor.export.ir import Array, Graph, Op, Tensor
from edgefactor.export.ops.family import (
    BOOLEAN,
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.layouts import normalize_axis, read_stored, write_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardmax(Op):
    """Input: activation; along its last axis the largest value is looked for."""


class HardmaxFamily(Family):
    """Hardmax."""

    op = Hardmax
    onnx_ops = ("Hardmax",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        rank = len(lowering.shape(node.input(0)))
        axis = normalize_axis(int(node.attributes.get("axis", -1)), rank)
        perm = (*(other for other in range(rank) if other != axis), axis)
        tensor = lowering.stored_like(node.input(0), perm)
        result = lowering.emit(Hardmax, [tensor], lowering.graph_shape(tensor))
        lowering.bind(node.outputs[0], result, perm)

    def output_shape(self, op: Hardmax, inputs: Sequence[Tensor]) -> Shape:
        return inputs[0].shape

    def output_rule(self, op: Hardmax) -> OutputRule:
        return BOOLEAN

    def reference(
        self, op: Hardmax, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        x = np.asarray(values[0], np.int8)
        places = np.arange(x.shape[-1])
        return np.asarray(x.argmax(axis=-1)[..., None] == places, np.int8)

    def write_onnx(self, op: Hardmax, graph: Graph, builder: OnnxBuilder) -> None:
        value = read_stored(builder, graph.tensors[op.inputs[0]])
        found = builder.node("Hardmax", [value], axis=-1)
        write_stored(builder, graph.tensors[op.outputs[0]], found)

    def write_tflite(self, op: Hardmax, graph: Graph, builder: TfliteBuilder) -> None:
        shape = graph.tensors[op.outputs[0]].shape
        last = len(shape) - 1
        place = builder.int32_temporary(shape[:-1], f"{op.name}/place")
        inputs = [builder.tensor(op.inputs[0]), builder.int32([last], f"{op.name}/axis")]
        fields: dict[str, Any] = {"outputType": "INT32"}
        builder.op("ARG_MAX", inputs, [place], "ArgMaxOptions", **fields)
        column = builder.int32_temporary((*shape[:-1], 1), f"{op.name}/column")
        sizes = np.array((*shape[:-1], 1), np.int32)
        operands = [place, builder.int32(sizes, f"{op.name}/column_shape")]
        builder.op("RESHAPE", operands, [column], "ReshapeOptions", newShape=sizes)
        holds = builder.bool_temporary(shape, f"{op.name}/holds")
        places = builder.int32(np.arange(shape[-1]), f"{op.name}/places")
        builder.op("EQUAL", [column, places], [holds], "EqualOptions")
        result = [builder.tensor(op.outputs[0])]
        builder.op("CAST", [holds], result, "CastOptions", inDataType="BOOL", outDataType="INT8")

    def layer_code(self, op: Hardmax, graph: Graph, target: CTarget) -> LayerCode:
        x = graph.tensors[op.inputs[0]]
        call = Call(
            function="ef_hardmax_s8",
            struct="ef_hardmax_args",
            args={"rows": x.elements // x.shape[-1], "columns": x.shape[-1]},
            inputs=(x.name,),
        )
        sources = ("ef_hardmax.h", "ef_hardmax_s8.c")
        return LayerCode(calls=(call,), sources=sources, in_place=(0,))


FAMILY = HardmaxFamily()
