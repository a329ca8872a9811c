"""Resizing: nearest by whole factors; by others it is a Take, to smaller ones a slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import CTarget, LayerCode
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
from edgefactor.export.ops.parts.moves import MOVE_SOURCES, Axis, move_call, row_major_steps
from edgefactor.export.ops.resize_bilinear import lower_bilinear
from edgefactor.export.ops.slice import Slice
from edgefactor.export.ops.take import emit_take

_ADVICE = "use mode 'nearest' or 'bilinear', on the last two axes of an NCHW tensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeNearest(Op):
    """Input: activation NHWC; every element is repeated ``factors`` (rows, columns) times."""

    factors: tuple[int, int]


def source_indices(node: Node, size: int, new_size: int, scale: float) -> NDArray[np.int64] | None:
    """Which element along an axis each element of the result copies; None for an unknown rule."""
    attributes = node.attributes
    at = np.arange(new_size, dtype=np.float64)
    default = "half_pixel" if node.op_type == "Resize" else "asymmetric"
    transformation = attributes.get("coordinate_transformation_mode", default)
    if transformation == "asymmetric":
        position = at / scale
    elif transformation == "half_pixel" or (
        transformation == "pytorch_half_pixel" and new_size > 1
    ):
        position = (at + 0.5) / scale - 0.5
    elif transformation == "align_corners" and new_size > 1:
        position = at * (size - 1) / (new_size - 1)
    else:
        return None
    # Far below the distance of any two positions, far above the rounding of a division.
    tiny = 1e-6
    rounding = "round_prefer_floor" if node.op_type == "Resize" else "floor"
    indices = {
        "floor": lambda: np.floor(position + tiny),
        "ceil": lambda: np.ceil(position - tiny),
        "round_prefer_floor": lambda: np.ceil(position - 0.5 - tiny),
        "round_prefer_ceil": lambda: np.floor(position + 0.5 + tiny),
    }.get(attributes.get("nearest_mode", rounding))
    return None if indices is None else np.clip(indices(), 0, size - 1).astype(np.int64)


def corners_are_exact(size: int, factor: int) -> bool:
    """Whether TFLite's default rule, the floor of ``index * scale`` in float32, picks right.

    It picks a neighbour first at factor 41. Half-pixel centres always fall inside the source
    element, but need a later version of the operator.
    """
    scale = np.float32(size) / np.float32(size * factor)
    corners = np.arange(size, dtype=np.float32) * np.float32(factor)
    return bool(np.array_equal(np.floor(corners * scale), np.arange(size)))


class ResizeFamily(Family):
    """Resize and Upsample."""

    op = ResizeNearest
    onnx_ops = ("Resize", "Upsample")

    def lower(self, node: Node, lowering: Lowering) -> None:
        mode = node.attributes.get("mode", "nearest")
        if mode not in ("nearest", "linear"):
            lowering.unsupported(node, f"its mode is {mode}", _ADVICE)
        shape, new_shape = lowering.shape(node.input(0)), lowering.shape(node.outputs[0])
        if len(shape) not in (3, 4) or shape[:2] != new_shape[:2]:
            lowering.unsupported(node, f"it resizes {list(shape)} to {list(new_shape)}", _ADVICE)
        scales = self._scales(node, lowering, shape, new_shape)
        if mode == "linear":
            lower_bilinear(node, lowering, scales)
            return
        factors, steps = [1, 1], [1, 1]
        tensor = lowering.channels_last(node.input(0))
        for axis in range(2, len(shape)):
            place = axis - len(shape) + 2
            size, new_size = shape[axis], new_shape[axis]
            indices = source_indices(node, size, new_size, scales[axis])
            if indices is None:
                mode = node.attributes.get("coordinate_transformation_mode", "the default")
                lowering.unsupported(node, f"its coordinates are {mode}", _ADVICE)
            factor, step = max(new_size // size, 1), max(size // new_size, 1)
            if np.array_equal(indices, np.arange(new_size) // factor * step):
                factors[place], steps[place] = factor, step
            else:
                tensor = emit_take(node, lowering, tensor, 1 + place, indices.tolist())
        stored = lowering.graph_shape(tensor)
        if steps != [1, 1]:
            step_all = (1, *steps, 1)
            rows, columns = new_shape[2:] if len(shape) == 4 else (1, new_shape[2])
            # A size that the step does not divide leaves out what is behind the last multiple.
            rows = rows if steps[0] > 1 else stored[1]
            columns = columns if steps[1] > 1 else stored[2]
            kept = (stored[0], rows, columns, stored[3])
            ends = tuple((n - 1) * s + 1 for n, s in zip(kept, step_all, strict=True))
            tensor = lowering.emit(
                Slice, [tensor], kept, begin=(0, 0, 0, 0), end=ends, step=step_all
            )
            stored = kept
        if factors != [1, 1]:
            out = (stored[0], stored[1] * factors[0], stored[2] * factors[1], stored[3])
            tensor = lowering.emit(ResizeNearest, [tensor], out, factors=(factors[0], factors[1]))
        lowering.bind_channels_last(node.outputs[0], tensor)

    def _scales(
        self, node: Node, lowering: Lowering, shape: Shape, new_shape: Shape
    ) -> list[float]:
        """New size over old per axis: as the node gives it, or from the sizes."""
        given = node.attributes.get("scales")
        index = 1 if node.op_type == "Upsample" else 2
        if node.input(index):
            given = lowering.constant(node.input(index))
        scales = [new / old for old, new in zip(shape, new_shape, strict=True)]
        if given is not None and len(given):
            rank = len(shape)
            axes = [int(axis) % rank for axis in node.attributes.get("axes", range(rank))]
            for axis, scale in zip(axes, given, strict=True):
                scales[axis] = float(scale)
        return scales

    def output_shape(self, op: ResizeNearest, inputs: Sequence[Tensor]) -> Shape:
        n, height, width, channels = inputs[0].shape
        return (n, height * op.factors[0], width * op.factors[1], channels)

    def output_rule(self, op: ResizeNearest) -> OutputRule:
        return "same"

    def reference(
        self, op: ResizeNearest, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> NDArray[np.int8]:
        rows = np.repeat(np.asarray(values[0], np.int8), op.factors[0], axis=1)
        return np.repeat(rows, op.factors[1], axis=2)

    def write_onnx(self, op: ResizeNearest, graph: Graph, builder: OnnxBuilder) -> None:
        scales = builder.literal(np.array([1, 1, *op.factors], np.float32))
        value = builder.node(
            "Resize",
            [builder.read(op.inputs[0]), "", scales],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        builder.write(op.outputs[0], value)

    def write_tflite(self, op: ResizeNearest, graph: Graph, builder: TfliteBuilder) -> None:
        output = graph.tensors[op.outputs[0]]
        size = builder.int32(output.shape[1:3], f"{op.name}/size")
        shape = graph.tensors[op.inputs[0]].shape
        exact = all(map(corners_are_exact, shape[1:3], op.factors))
        builder.op(
            "RESIZE_NEAREST_NEIGHBOR",
            [builder.tensor(op.inputs[0]), size],
            [builder.tensor(output.name)],
            "ResizeNearestNeighborOptions",
            version=2 if exact else 3,
            alignCorners=False,
            halfPixelCenters=not exact,
        )

    def layer_code(self, op: ResizeNearest, graph: Graph, target: CTarget) -> LayerCode:
        shape = graph.tensors[op.inputs[0]].shape
        _, in_row, in_column, _ = row_major_steps(shape)
        _, out_row, out_column, _ = row_major_steps(graph.tensors[op.outputs[0]].shape)
        rows, columns = op.factors
        axes = [
            Axis(count=shape[1], in_step=in_row, out_step=rows * out_row),
            Axis(count=rows, in_step=0, out_step=out_row),
            Axis(count=shape[2], in_step=in_column, out_step=columns * out_column),
            Axis(count=columns, in_step=0, out_step=out_column),
            Axis(count=shape[3], in_step=1, out_step=1),
        ]
        return LayerCode(calls=(move_call(op, op.inputs[0], axes),), sources=MOVE_SOURCES)


FAMILY = ResizeFamily()
