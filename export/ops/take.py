"""Chosen elements along one axis, in any order and number: TFLite's GATHER of constant indices.

Gathers, mirrored slices, repeats, padding with what is there, and nearest resizing by any factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, LayerCode, Ref
from edgefactor.export.ir import Array, Graph, Op, Tensor
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.layouts import int64s, onnx_axis

#: Indices are 16 bits in C.
LONGEST_AXIS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Take(Op):
    """Element i along ``axis`` of the output is element ``indices[i]`` of the input."""

    axis: int
    indices: tuple[int, ...]


def emit_take(
    node: Node, lowering: Lowering, tensor: str, axis: int, indices: Sequence[int]
) -> str:
    """Take ``indices`` along an axis of a Graph tensor; the tensor itself if that is all of it."""
    shape = lowering.graph_shape(tensor)
    if list(indices) == list(range(shape[axis])):
        return tensor
    if shape[axis] > LONGEST_AXIS:
        lowering.unsupported(
            node,
            f"it chooses among {shape[axis]} elements of an axis",
            f"use at most {LONGEST_AXIS}, or split the axis in two",
        )
    out = (*shape[:axis], len(indices), *shape[axis + 1 :])
    chosen = tuple(int(index) for index in indices)
    return lowering.emit(Take, [tensor], out, axis=axis, indices=chosen)


class TakeFamily(Family):
    """Expand and Tile; other families lower what they cannot do as a slice to Take."""

    op = Take
    onnx_ops = ("Expand", "Tile")

    def lower(self, node: Node, lowering: Lowering) -> None:
        value, output = node.input(0), node.outputs[0]
        shape, new_shape = lowering.shape(value), lowering.shape(output)
        if lowering.constant(node.input(1)) is None:
            what = "shape" if node.op_type == "Expand" else "repeats"
            lowering.unsupported(node, f"its {what} are computed", "use constant numbers")
        missing = len(new_shape) - len(shape)
        _, stored = lowering.stored(value)
        perm = (*range(missing), *(axis + missing for axis in stored))
        tensor = lowering.stored_like(value, stored)
        full = (*(1 for _ in range(missing)), *lowering.graph_shape(tensor))
        tensor = lowering.view(tensor, full)
        for place, axis in enumerate(perm):
            # An Expand repeats axes of size 1, for which both mean the same.
            size = full[place]
            indices = [index % size for index in range(new_shape[axis])]
            tensor = emit_take(node, lowering, tensor, place, indices)
        lowering.bind(output, tensor, perm)

    def output_shape(self, op: Take, inputs: Sequence[Tensor]) -> Shape:
        shape = inputs[0].shape
        return (*shape[: op.axis], len(op.indices), *shape[op.axis + 1 :])

    def output_rule(self, op: Take) -> OutputRule:
        return "same"

    def reference(
        self, op: Take, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        return np.take(np.asarray(values[0], np.int8), op.indices, axis=op.axis)

    def write_onnx(self, op: Take, graph: Graph, builder: OnnxBuilder) -> None:
        axis = onnx_axis(op.axis, len(graph.tensors[op.inputs[0]].shape))
        inputs = [builder.read(op.inputs[0]), int64s(builder, op.indices)]
        builder.write(op.outputs[0], builder.node("Gather", inputs, axis=axis))

    def write_tflite(self, op: Take, graph: Graph, builder: TfliteBuilder) -> None:
        indices = builder.int32(op.indices, f"{op.name}/indices")
        inputs, outputs = [builder.tensor(op.inputs[0]), indices], [builder.tensor(op.outputs[0])]
        builder.op("GATHER", inputs, outputs, "GatherOptions", version=2, axis=op.axis)

    def layer_code(self, op: Take, graph: Graph, target: CTarget) -> LayerCode:
        shape = graph.tensors[op.inputs[0]].shape
        block = prod(shape[op.axis + 1 :])
        call = Call(
            function="ef_take_s8",
            struct="ef_take_args",
            args={
                "outer": prod(shape[: op.axis]),
                "axis_bytes": shape[op.axis] * block,
                "count": len(op.indices),
                "block": block,
                "indices": Ref(suffix="indices"),
            },
            inputs=(op.inputs[0],),
        )
        data = np.array(op.indices, np.uint16)
        return LayerCode(
            calls=(call,),
            sources=("ef_take.h", "ef_take_s8.c"),
            arrays=(CArray(suffix="indices", ctype="uint16_t", data=data),),
        )


FAMILY = TakeFamily()
