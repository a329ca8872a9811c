"""Concatenation: the quantizer puts all inputs on one scale, so codes are only copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, LayerCode, Ref
from edgefactor.export.ir import Array, DType, Graph, Op, Tensor
from edgefactor.export.ops.family import (
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
from edgefactor.export.ops.parts.layouts import Stored, locate, normalize_axis, onnx_axis
from edgefactor.export.ops.parts.moves import (
    MOVE_SOURCES,
    Axis,
    is_one_block,
    move_call,
    row_major_steps,
)

#: TFLM's kernel takes no more (kMaxInputNum in concatenation.cc).
_MOST_INPUTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Op):
    """Inputs one after another along ``axis``."""

    axis: int


def _fits(part: Stored, first: Stored, axis: int) -> bool:
    """Whether two stored tensors differ in nothing but their length along ``axis``."""
    place = first.axes[axis]
    return (
        len(part.shape) == len(first.shape)
        and part.axes[axis] == place
        and all(
            n == m
            for index, (n, m) in enumerate(zip(part.shape, first.shape, strict=True))
            if index != place
        )
    )


class ConcatFamily(Family):
    """Concat of activations and constants."""

    op = Concat
    onnx_ops = ("Concat",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        values = [value for value in node.inputs if value]
        rank = len(lowering.shape(node.outputs[0]))
        axis = normalize_axis(int(node.attributes["axis"]), rank)
        leader = next((value for value in values if lowering.constant(value) is None), values[0])
        _, perm = lowering.stored(leader)
        parts = [locate(lowering, value, (axis,), perm=perm) for value in values]
        first = parts[values.index(leader)]
        if all(_fits(part, first, axis) for part in parts):
            tensors, shape, place = [part.tensor for part in parts], first.shape, first.axes[axis]
        else:
            tensors = [lowering.stored_like(value, perm) for value in values]
            shape, place = lowering.graph_shape(tensors[0]), perm.index(axis)
        if len(tensors) == 1:
            lowering.bind(node.outputs[0], tensors[0], perm)
            return
        total = sum(lowering.graph_shape(tensor)[place] for tensor in tensors)
        out = (*shape[:place], total, *shape[place + 1 :])
        tensor = lowering.emit(Concat, tensors, out, axis=place)
        lowering.bind(node.outputs[0], tensor, perm)

    def widths(self, op: Concat) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Concat, inputs: Sequence[Tensor]) -> Shape:
        total = sum(tensor.shape[op.axis] for tensor in inputs)
        shape = inputs[0].shape
        return (*shape[: op.axis], total, *shape[op.axis + 1 :])

    def output_rule(self, op: Concat) -> OutputRule:
        return "same"

    def quantize(self, op: Concat, quantizer: Quantizer) -> Op:
        return put_at_scale(op, quantizer, quantizer.tensor(op.outputs[0]))

    def reference(
        self, op: Concat, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        return np.concatenate(values, axis=op.axis)

    def write_onnx(self, op: Concat, graph: Graph, builder: OnnxBuilder) -> None:
        rank = len(graph.tensors[op.outputs[0]].shape)
        parts = [builder.read(name) for name in op.inputs]
        builder.write(op.outputs[0], builder.node("Concat", parts, axis=onnx_axis(op.axis, rank)))

    def write_tflite(self, op: Concat, graph: Graph, builder: TfliteBuilder) -> None:
        output = graph.tensors[op.outputs[0]]

        def join(parts: Sequence[int], result: int) -> None:
            builder.op(
                "CONCATENATION",
                parts,
                [result],
                "ConcatenationOptions",
                version=2,
                axis=op.axis,
                fusedActivationFunction="NONE",
            )

        parts = [builder.tensor(name) for name in op.inputs]
        lengths = [graph.tensors[name].shape[op.axis] for name in op.inputs]
        while len(parts) > _MOST_INPUTS:
            joined: list[tuple[int, int]] = []
            for start in range(0, len(parts), _MOST_INPUTS):
                some = parts[start : start + _MOST_INPUTS]
                shape = list(output.shape)
                shape[op.axis] = sum(lengths[start : start + _MOST_INPUTS])
                label = f"{op.name}/part{len(joined)}of{len(parts)}"
                whole = builder.temporary(tuple(shape), output.quant, label, output.dtype)
                join(some, whole)
                joined.append((whole, shape[op.axis]))
            parts, lengths = ([pair[n] for pair in joined] for n in (0, 1))
        join(parts, builder.tensor(output.name))

    def layer_code(self, op: Concat, graph: Graph, target: CTarget) -> LayerCode:
        shapes = [graph.tensors[name].shape for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        width = output.dtype.bytes
        steps = row_major_steps(output.shape)
        starts = accumulate([0, *(shape[op.axis] for shape in shapes)])
        calls: list[Call] = []
        arrays: list[CArray] = []
        parts: list[tuple[int, int]] = []
        for name, shape, start in zip(op.inputs, shapes, starts, strict=False):
            source: str | Ref = name
            if graph.tensors[name].data is not None:
                source = Ref(suffix=f"part{len(arrays)}")
                # The copy takes bytes, whatever they stand for.
                codes = np.ascontiguousarray(graph.tensors[name].values).reshape(-1).view(np.int8)
                arrays.append(CArray(suffix=source.suffix, ctype="int8_t", data=codes))
            axes = [
                Axis(count=n, in_step=i, out_step=o)
                for n, i, o in zip(shape, row_major_steps(shape), steps, strict=True)
            ]
            out_start = start * steps[op.axis]
            if is_one_block(axes):
                parts.append((len(calls), out_start * width))
            calls.append(move_call(op, source, axes, out_start=out_start, width=width))
        return LayerCode(
            calls=tuple(calls), sources=MOVE_SOURCES, arrays=tuple(arrays), parts=tuple(parts)
        )


FAMILY = ConcatFamily()
