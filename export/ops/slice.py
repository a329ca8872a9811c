"""Parts of a tensor: slices with steps, splits, and one index of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Array, DType, Graph, Op, Tensor
from edgefactor.export.ops.embed import lower_embedding
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.layouts import (
    Stored,
    complete_perm,
    int64s,
    locate,
    long_axes,
    normalize_axis,
    onnx_order,
    same_long_sizes,
)
from edgefactor.export.ops.parts.moves import (
    MOVE_SOURCES,
    Axis,
    is_one_block,
    move_call,
    row_major_steps,
)
from edgefactor.export.ops.reshape import write_reshape
from edgefactor.export.ops.take import emit_take

#: Axes that TFLite Micro's STRIDED_SLICE takes.
_TFLITE_AXES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Op):
    """Every ``step``-th element of [``begin``, ``end``), per axis of the input."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    step: tuple[int, ...]


def slice_shape(op: Slice) -> Shape:
    """Elements taken along each axis."""
    return tuple(
        -(-(end - begin) // step)
        for begin, end, step in zip(op.begin, op.end, op.step, strict=True)
    )


def emit_slice(lowering: Lowering, x: Stored, parts: dict[int, range]) -> str:
    """Take ``parts`` (per ONNX axis) of a stored tensor; the tensor itself if that is all of it."""
    begin, end, step = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    for axis, part in parts.items():
        place = x.axes[axis]
        if place >= 0:
            begin[place], end[place], step[place] = part.start, part[-1] + 1, part.step
    out = tuple(-(-(e - b) // s) for b, e, s in zip(begin, end, step, strict=True))
    if out == x.shape:
        return x.tensor
    return lowering.emit(
        Slice, [x.tensor], out, begin=tuple(begin), end=tuple(end), step=tuple(step)
    )


def _merged_parts(op: Slice, shape: Shape) -> list[tuple[int, range]]:
    """Sizes of axes and what is taken, in no more axes than needed where there are too many."""
    parts = [
        (size, range(begin, end, step))
        for size, begin, end, step in zip(shape, op.begin, op.end, op.step, strict=True)
    ]
    place = len(parts) - 1
    while place > 0 and len(parts) > _TFLITE_AXES:
        (outer, cut), (inner, rest) = parts[place - 1], parts[place]
        if outer == 1:
            parts[place - 1 : place + 1] = [(inner, rest)]
        elif rest == range(inner) and cut.step == 1:
            whole = range(cut.start * inner, cut.stop * inner)
            parts[place - 1 : place + 1] = [(outer * inner, whole)]
        place -= 1
    return parts


class SliceFamily(Family):
    """Slice, Split (one Slice an output) and Gather."""

    op = Slice
    onnx_ops = ("Slice", "Split", "Gather")

    def lower(self, node: Node, lowering: Lowering) -> None:
        if node.op_type == "Slice":
            self._lower_slice(node, lowering)
        elif node.op_type == "Split":
            self._lower_split(node, lowering)
        else:
            self._lower_gather(node, lowering)

    def _numbers(self, node: Node, lowering: Lowering, index: int, name: str) -> list[int] | None:
        """A list that is an attribute in old operator sets and an input in new ones."""
        given: Any = node.attributes.get(name)
        if node.input(index):
            given = lowering.constant(node.input(index))
            if given is None:
                lowering.unsupported(node, f"its {name} are computed", "use constant numbers")
        return None if given is None else [int(number) for number in np.asarray(given).reshape(-1)]

    def _lower_slice(self, node: Node, lowering: Lowering) -> None:
        value = node.input(0)
        shape = lowering.shape(value)
        starts = self._numbers(node, lowering, 1, "starts") or []
        ends = self._numbers(node, lowering, 2, "ends") or []
        axes = self._numbers(node, lowering, 3, "axes") or list(range(len(starts)))
        steps = self._numbers(node, lowering, 4, "steps") or [1] * len(starts)
        parts: dict[int, range] = {}
        mirrored: dict[int, range] = {}
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            axis = normalize_axis(axis, len(shape))
            if step == 0:
                lowering.unsupported(node, "its step is 0", "use another step")
            # Python's slices clamp out-of-range ends as ONNX does.
            part = range(shape[axis])[start:end:step]
            if not part:
                lowering.unsupported(node, "it takes no element", "remove the slice")
            (parts if step > 0 else mirrored)[axis] = part
        x = locate(lowering, value, tuple(mirrored))
        tensor = emit_slice(lowering, x, parts)
        for axis, part in mirrored.items():
            tensor = emit_take(node, lowering, tensor, x.axes[axis], part)
        lowering.bind(node.outputs[0], tensor, x.perm)

    def _lower_split(self, node: Node, lowering: Lowering) -> None:
        value = node.input(0)
        shape = lowering.shape(value)
        axis = normalize_axis(int(node.attributes.get("axis", 0)), len(shape))
        x = locate(lowering, value)
        first = 0
        for output in node.outputs:
            size = lowering.shape(output)[axis]
            part = {axis: range(first, first + size)}
            lowering.bind(output, emit_slice(lowering, x, part), x.perm)
            first += size

    def _lower_gather(self, node: Node, lowering: Lowering) -> None:
        value = node.input(0)
        shape = lowering.shape(value)
        axis = normalize_axis(int(node.attributes.get("axis", 0)), len(shape))
        indices = lowering.constant(node.input(1))
        data = lowering.constant(value)
        if indices is None and data is not None:
            lower_embedding(node, lowering, np.asarray(data, np.float32))
            return
        if indices is None:
            lowering.unsupported(
                node,
                "both its data and its indices are computed",
                "use constant indices, or choose by comparisons and torch.where",
            )
        chosen = [normalize_axis(int(i), shape[axis]) for i in np.asarray(indices).reshape(-1)]
        step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
        part = range(chosen[0], chosen[0] + step * len(chosen), step) if step > 0 else range(0)
        x = locate(lowering, value, (axis,))
        if list(part) == chosen:
            tensor = emit_slice(lowering, x, {axis: part})
        else:
            tensor = emit_take(node, lowering, x.tensor, x.axes[axis], chosen)
        # In the place of the axis are those of the indices.
        added = np.ndim(indices)
        new_shape = lowering.shape(node.outputs[0])
        order: list[int] = []
        for old in long_axes(shape, x.perm):
            if old != axis:
                order.append(old + (added - 1) * (old > axis))
        place = len([old for old in x.perm[: x.perm.index(axis)] if shape[old] != 1])
        order[place:place] = [new for new in range(axis, axis + added) if new_shape[new] != 1]
        perm = complete_perm(order, new_shape)
        stored = tuple(new_shape[a] for a in perm)
        if not same_long_sizes(lowering.graph_shape(tensor), stored):
            tensor = lowering.view(tensor, stored)
        lowering.bind(node.outputs[0], tensor, perm)

    def widths(self, op: Slice) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Slice, inputs: Sequence[Tensor]) -> Shape:
        return slice_shape(op)

    def output_rule(self, op: Slice) -> OutputRule:
        return "same"

    def reference(
        self, op: Slice, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        parts = tuple(slice(*part) for part in zip(op.begin, op.end, op.step, strict=True))
        return np.ascontiguousarray(values[0][parts])

    def write_onnx(self, op: Slice, graph: Graph, builder: OnnxBuilder) -> None:
        begin, end, step = (int64s(builder, onnx_order(n)) for n in (op.begin, op.end, op.step))
        axes = int64s(builder, range(len(op.begin)))
        value = builder.node("Slice", [builder.read(op.inputs[0]), begin, end, axes, step])
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: Slice, graph: Graph, builder: TfliteBuilder) -> None:
        x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        source, target = builder.tensor(x.name), builder.tensor(output.name)
        parts = _merged_parts(op, x.shape)
        merged = len(parts) < len(x.shape)
        result = target
        if merged:
            sizes = tuple(size for size, _ in parts)
            seen = builder.temporary(sizes, x.quant, f"{op.name}/merged", x.dtype)
            write_reshape(builder, source, seen, sizes, f"{op.name}/merged_shape")
            taken = tuple(len(part) for _, part in parts)
            source = seen
            result = builder.temporary(taken, x.quant, f"{op.name}/taken", x.dtype)
        if len(parts) > _TFLITE_AXES:
            raise UnsupportedOperatorError(
                "A slice has more axes than TFLite Micro can take.",
                where=f"layer {op.name}" + (f", from {op.source}" if op.source else ""),
                found=f"{len(parts)} axes that are cut or lie between such",
                expected=f"at most {_TFLITE_AXES}",
                hint="slice in two steps, or reshape to fewer axes before",
            )
        ends = {
            "begin": [part.start for _, part in parts],
            "end": [part.stop for _, part in parts],
            "strides": [part.step for _, part in parts],
        }
        numbers = [builder.int32(values, f"{op.name}/{name}") for name, values in ends.items()]
        builder.op("STRIDED_SLICE", [source, *numbers], [result], "StridedSliceOptions", version=2)
        if merged:
            write_reshape(builder, result, target, output.shape, f"{op.name}/shape")

    def layer_code(self, op: Slice, graph: Graph, target: CTarget) -> LayerCode:
        x = graph.tensors[op.inputs[0]]
        in_steps = row_major_steps(x.shape)
        out_shape = graph.tensors[op.outputs[0]].shape
        axes = [
            Axis(count=n, in_step=i * step, out_step=o)
            for n, i, step, o in zip(
                out_shape, in_steps, op.step, row_major_steps(out_shape), strict=True
            )
        ]
        start = sum(begin * step for begin, step in zip(op.begin, in_steps, strict=True))
        call = move_call(op, op.inputs[0], axes, in_start=start, width=x.dtype.bytes)
        # Every element moves towards the front or stays, and they move in order.
        inside = start * x.dtype.bytes if is_one_block(axes) else None
        return LayerCode(calls=(call,), sources=MOVE_SOURCES, in_place=(0,), inside=inside)


FAMILY = SliceFamily()
