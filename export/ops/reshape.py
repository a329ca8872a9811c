"""Operators that leave every element as it is: reshape, transpose, identity.

A Reshape costs nothing in C: its output is its input's memory. Lowering avoids moving data: an
ONNX Transpose only changes the order of axes under which a tensor is known, and a reshape keeps
that order wherever it splits or merges axes that lie together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgefactor.errors import ModelError, UnsupportedOperatorError
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Array, DType, Graph, Op, Tensor
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.blocks import lower_blocks
from edgefactor.export.ops.parts.layouts import (
    TO_NCHW,
    TO_NHWC,
    Perm,
    complete_perm,
    int64s,
    long_axes,
    read_stored,
    same_long_sizes,
    transpose_onnx,
    write_stored,
)
from edgefactor.export.ops.parts.moves import MOVE_SOURCES, Axis, move_call, row_major_steps

#: Axes that TFLite Micro's TRANSPOSE takes.
TFLITE_AXES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Op):
    """The same elements in the same order under ``new_shape``."""

    new_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transpose(Op):
    """Axis i of the output is axis ``perm[i]`` of the input."""

    perm: tuple[int, ...]


def matching_axes(shape: Shape, new_shape: Shape) -> list[tuple[list[int], list[int]]]:
    """The finest groups of axes of equal product, old beside new; axes of size 1 are left out."""
    old = long_axes(shape, range(len(shape)))
    new = long_axes(new_shape, range(len(new_shape)))
    groups = []
    while old:
        left, right = [old.pop(0)], [new.pop(0)]
        size, new_size = shape[left[0]], new_shape[right[0]]
        while size != new_size:
            if size < new_size:
                left.append(old.pop(0))
                size *= shape[left[-1]]
            else:
                right.append(new.pop(0))
                new_size *= new_shape[right[-1]]
        groups.append((left, right))
    return groups


def reshaped_order(shape: Shape, perm: Perm, new_shape: Shape) -> tuple[Perm, Perm]:
    """How a value stored as ``perm`` is best stored for a reshape, and how its result then is.

    The first permutation is ``perm`` if no data has to move: each group of axes that becomes
    another lies together and in order. Otherwise it moves as little as it can.
    """
    groups = matching_axes(shape, new_shape)
    order = long_axes(shape, perm)
    groups.sort(key=lambda group: min(order.index(axis) for axis in group[0]))
    wanted = [axis for old, _ in groups for axis in old]
    new_order = [axis for _, new in groups for axis in new]
    before = perm if wanted == order else complete_perm(wanted, shape)
    return before, complete_perm(new_order, new_shape)


def merge_transpose(shape: Shape, perm: Perm) -> tuple[Shape, Perm]:
    """The same movement of data with as few axes as it takes."""
    order = long_axes(shape, perm)
    if not order:
        return (1,), (0,)
    runs: list[list[int]] = [[order[0]]]
    between = [axis for axis in range(len(shape)) if shape[axis] != 1]
    for axis in order[1:]:
        if between.index(axis) == between.index(runs[-1][-1]) + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    sizes = sorted((run[0], prod(shape[axis] for axis in run)) for run in runs)
    starts = [start for start, _ in sizes]
    return tuple(size for _, size in sizes), tuple(starts.index(run[0]) for run in runs)


def write_reshape(
    builder: TfliteBuilder, source: int, target: int, shape: Shape, name: str
) -> None:
    """Write a TFLite RESHAPE; ``name`` is that of the constant with the new shape."""
    builder.op(
        "RESHAPE",
        [source, builder.int32(shape, name)],
        [target],
        "ReshapeOptions",
        newShape=np.array(shape, np.int32),
    )


def write_transpose(
    builder: TfliteBuilder, op: Op, source: int, target: int, x: Tensor, perm: Perm
) -> None:
    """Write a TFLite TRANSPOSE of ``x``, in as few axes as the permutation has.

    Args:
        builder: Where to.
        op: The operator that needs it; names the constants, and the place in errors.
        source: Index of a tensor with the shape and the scale of ``x``.
        target: Index of the result.
        x: What is transposed.
        perm: Axis i of the result is axis ``perm[i]`` of the source.

    Raises:
        UnsupportedOperatorError: More axes move on their own than TFLite Micro can move.
    """
    shape = x.shape
    name = op.name if source == builder.tensor(op.inputs[0]) else f"{op.name}/{x.name}"
    merged = len(perm) > TFLITE_AXES
    result = target
    if merged:
        full = tuple(shape[axis] for axis in perm)
        shape, perm = merge_transpose(shape, perm)
        if len(perm) > TFLITE_AXES:
            raise UnsupportedOperatorError(
                "A transpose moves more axes than TFLite Micro can.",
                where=f"layer {op.name}" + (f", from {op.source}" if op.source else ""),
                found=f"{len(perm)} independent axes",
                expected=f"at most {TFLITE_AXES}",
                hint="split the permutation into two steps with fewer axes",
            )
        view = builder.temporary(shape, x.quant, f"{name}/merged", x.dtype)
        write_reshape(builder, source, view, shape, f"{name}/merged_shape")
        moved = tuple(shape[axis] for axis in perm)
        source, result = view, builder.temporary(moved, x.quant, f"{name}/moved", x.dtype)
    order = builder.int32(perm, f"{name}/perm")
    builder.op("TRANSPOSE", [source, order], [result], "TransposeOptions", version=2)
    if merged:
        write_reshape(builder, result, target, full, f"{name}/shape")


class ReshapeFamily(Family):
    """Everything that changes a shape or nothing at all."""

    op = Reshape
    onnx_ops = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")

    def lower(self, node: Node, lowering: Lowering) -> None:
        value, output = node.input(0), node.outputs[0]
        if node.op_type == "Dropout" and node.input(2):
            training = lowering.constant(node.input(2))
            if training is None or bool(np.any(training)):
                lowering.unsupported(
                    node, "it is in training mode", "call model.eval() before export"
                )
        if node.op_type in ("Identity", "Dropout"):
            lowering.bind(output, *lowering.stored(value))
            return
        shape, new_shape = lowering.shape(value), lowering.shape(output)
        _, perm = lowering.stored(value)
        before, after = reshaped_order(shape, perm, new_shape)
        tensor, _ = lowering.stored(value)
        if before != perm:
            tensor = lowering.stored_like(value, before)
        found = lowering.graph_shape(tensor)
        stored = tuple(new_shape[axis] for axis in after)
        # Axes of size 1 alone are no reason for an operator.
        if not same_long_sizes(found, stored):
            tensor = lowering.view(tensor, stored)
        lowering.bind(output, tensor, after)

    def widths(self, op: Reshape) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Reshape, inputs: Sequence[Tensor]) -> Shape:
        if prod(op.new_shape) != inputs[0].elements:
            raise ModelError(
                "A reshape changes the number of elements.",
                where=f"layer {op.name}",
                found=f"{list(inputs[0].shape)} to {list(op.new_shape)}",
                hint="this is a fault of edgefactor; please report it with the model",
            )
        return op.new_shape

    def output_rule(self, op: Reshape) -> OutputRule:
        return "same"

    def reference(
        self, op: Reshape, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        return values[0].reshape(op.new_shape)

    def write_onnx(self, op: Reshape, graph: Graph, builder: OnnxBuilder) -> None:
        value = read_stored(builder, graph.tensors[op.inputs[0]])
        value = builder.node("Reshape", [value, int64s(builder, op.new_shape)])
        write_stored(builder, graph.tensors[op.outputs[0]], value)

    def write_tflite(self, op: Reshape, graph: Graph, builder: TfliteBuilder) -> None:
        source, target = builder.tensor(op.inputs[0]), builder.tensor(op.outputs[0])
        write_reshape(builder, source, target, op.new_shape, f"{op.name}/shape")

    def layer_code(self, op: Reshape, graph: Graph, target: CTarget) -> LayerCode:
        return LayerCode(calls=(), in_place=(0,))


class TransposeFamily(Family):
    """Lowered to nothing; the operator appears where another one asks for an order of axes."""

    op = Transpose
    onnx_ops = ("Transpose", "DepthToSpace", "SpaceToDepth")

    def lower(self, node: Node, lowering: Lowering) -> None:
        if node.op_type != "Transpose":
            lower_blocks(node, lowering, Transpose)
            return
        tensor, stored = lowering.stored(node.input(0))
        rank = len(stored)
        perm = [int(axis) for axis in node.attributes.get("perm", range(rank)[::-1])]
        lowering.bind(node.outputs[0], tensor, tuple(perm.index(axis) for axis in stored))

    def widths(self, op: Transpose) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Transpose, inputs: Sequence[Tensor]) -> Shape:
        return tuple(inputs[0].shape[axis] for axis in op.perm)

    def output_rule(self, op: Transpose) -> OutputRule:
        return "same"

    def reference(
        self, op: Transpose, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        return np.ascontiguousarray(np.transpose(values[0], op.perm))

    def write_onnx(self, op: Transpose, graph: Graph, builder: OnnxBuilder) -> None:
        shape, perm = graph.tensors[op.inputs[0]].shape, op.perm
        if len(perm) == 4:
            shape = tuple(shape[axis] for axis in TO_NCHW)
            perm = tuple(TO_NHWC[op.perm[axis]] for axis in TO_NCHW)
        value = transpose_onnx(builder, builder.read(op.inputs[0]), shape, perm)
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: Transpose, graph: Graph, builder: TfliteBuilder) -> None:
        source, target = builder.tensor(op.inputs[0]), builder.tensor(op.outputs[0])
        write_transpose(builder, op, source, target, graph.tensors[op.inputs[0]], op.perm)

    def layer_code(self, op: Transpose, graph: Graph, target: CTarget) -> LayerCode:
        x = graph.tensors[op.inputs[0]]
        shape = x.shape
        in_steps = row_major_steps(shape)
        out_steps = row_major_steps([shape[axis] for axis in op.perm])
        axes = [
            Axis(count=shape[axis], in_step=in_steps[axis], out_step=out_step)
            for axis, out_step in zip(op.perm, out_steps, strict=True)
        ]
        call = move_call(op, op.inputs[0], axes, width=x.dtype.bytes)
        return LayerCode(calls=(call,), sources=MOVE_SOURCES)


RESHAPE = ReshapeFamily()
TRANSPOSE = TransposeFamily()
