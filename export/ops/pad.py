"""Constant padding. Padded positions hold the code of one real value, usually 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CArray, CTarget, LayerCode, Ref
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.ops.family import (
    Family,
    Lowering,
    Node,
    OnnxBuilder,
    OutputRule,
    Quantizer,
    Shape,
    TfliteBuilder,
)
from edgefactor.export.ops.parts.layouts import int64s, locate, normalize_axis, onnx_order
from edgefactor.export.ops.parts.moves import (
    FILL_SOURCES,
    MOVE_SOURCES,
    Axis,
    fill_call,
    move_call,
    row_major_steps,
)
from edgefactor.export.ops.slice import Slice
from edgefactor.export.ops.take import emit_take

#: ONNX's modes that repeat elements of the tensor -> NumPy's.
_OWN_ELEMENTS: Mapping[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(Op):
    """Adds elements before and after the input.

    Attributes:
        before: How many to add in front, per axis of the input.
        after: How many to add behind, per axis.
        value: The real value that they hold.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0


def pad_code(op: Pad, quantization: Quantization, dtype: DType = DType.INT8) -> int:
    """The code of padded positions.

    Raises:
        UnsupportedOperatorError: The value lies outside what the scale covers.
    """
    if op.value == 0.0:
        return quantization.zero_point
    steps = float(numerics.round_half_away(np.array(op.value / quantization.scale)))
    code = int(steps) + quantization.zero_point
    ends = dtype.code_range
    if not ends[0] <= code <= ends[1]:
        low, high = ((end - quantization.zero_point) * quantization.scale for end in ends)
        raise UnsupportedOperatorError(
            "The value of a pad cannot be represented on the scale of its tensor.",
            where=f"layer {op.name}" + (f", from {op.source}" if op.source else ""),
            found=f"{op.value:g}",
            expected=f"a value from {low:.4g} to {high:.4g}, the range seen in calibration",
            hint="pad with a value that occurs in the data, or calibrate by min-max",
        )
    return code


def _amounts(node: Node, lowering: Lowering, rank: int) -> tuple[list[int], list[int]]:
    """What to add before and after each ONNX axis; negative amounts cut off."""
    pads = node.attributes.get("pads")
    if node.input(1):
        pads = lowering.constant(node.input(1))
    if pads is None:
        lowering.unsupported(node, "its amounts are computed", "give the amounts as constants")
    axes = list(range(rank))
    if node.input(3):
        chosen = lowering.constant(node.input(3))
        if chosen is None:
            lowering.unsupported(node, "its axes are computed", "give the axes as constants")
        axes = [normalize_axis(int(axis), rank) for axis in chosen]
    before, after = [0] * rank, [0] * rank
    numbers = [int(amount) for amount in pads]
    for index, axis in enumerate(axes):
        before[axis], after[axis] = numbers[index], numbers[index + len(axes)]
    return before, after


class PadFamily(Family):
    """Pad; negative amounts become a slice, padding with elements of the tensor a Take."""

    op = Pad
    onnx_ops = ("Pad",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        mode = node.attributes.get("mode", "constant")
        if mode != "constant":
            self._lower_with_own_elements(node, lowering, mode)
            return
        fill = node.attributes.get("value", 0.0)
        if node.input(2):
            fill = lowering.constant(node.input(2))
            if fill is None:
                lowering.unsupported(node, "its value is computed", "pad with a constant")
        value = float(np.asarray(fill, np.float64).reshape(-1)[0])
        if not np.isfinite(value):
            lowering.unsupported(
                node, f"its value is {value}", "use the padding of the pool itself, or 0"
            )
        shape = lowering.shape(node.input(0))
        amounts = _amounts(node, lowering, len(shape))
        padded = [axis for axis, pair in enumerate(zip(*amounts, strict=True)) if any(pair)]
        x = locate(lowering, node.input(0), padded)
        before, after = [0] * len(x.shape), [0] * len(x.shape)
        for axis in padded:
            before[x.axes[axis]], after[x.axes[axis]] = (side[axis] for side in amounts)
        tensor, current = x.tensor, x.shape
        if min(*before, *after, 0) < 0:
            begin = tuple(max(-amount, 0) for amount in before)
            end = tuple(n - max(-a, 0) for n, a in zip(current, after, strict=True))
            current = tuple(e - b for b, e in zip(begin, end, strict=True))
            steps = (1,) * len(current)
            tensor = lowering.emit(Slice, [tensor], current, begin=begin, end=end, step=steps)
        front, back = (tuple(max(amount, 0) for amount in side) for side in (before, after))
        if any((*front, *back)):
            out = tuple(b + n + a for b, n, a in zip(front, current, back, strict=True))
            tensor = lowering.emit(Pad, [tensor], out, before=front, after=back, value=value)
        lowering.bind(node.outputs[0], tensor, x.perm)

    def _lower_with_own_elements(self, node: Node, lowering: Lowering, mode: str) -> None:
        shape = lowering.shape(node.input(0))
        amounts = _amounts(node, lowering, len(shape))
        padded = [axis for axis, pair in enumerate(zip(*amounts, strict=True)) if any(pair)]
        x = locate(lowering, node.input(0), padded)
        tensor = x.tensor
        for axis in padded:
            front, back = (side[axis] for side in amounts)
            indices = np.arange(shape[axis])[max(-front, 0) : shape[axis] - max(-back, 0)]
            if mode not in _OWN_ELEMENTS or indices.size == 0:
                lowering.unsupported(node, f"its mode is {mode}", "pad with a constant, such as 0")
            pads = (max(front, 0), max(back, 0))
            chosen = np.pad(indices, pads, mode=_OWN_ELEMENTS[mode])
            tensor = emit_take(node, lowering, tensor, x.axes[axis], chosen.tolist())
        lowering.bind(node.outputs[0], tensor, x.perm)

    def widths(self, op: Pad) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def output_shape(self, op: Pad, inputs: Sequence[Tensor]) -> Shape:
        sides = zip(op.before, inputs[0].shape, op.after, strict=True)
        return tuple(before + size + after for before, size, after in sides)

    def output_rule(self, op: Pad) -> OutputRule:
        return "same"

    def quantize(self, op: Pad, quantizer: Quantizer) -> Op:
        output = quantizer.tensor(op.outputs[0])
        pad_code(op, output.quant, output.dtype)
        return op

    def reference(
        self, op: Pad, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        amounts = list(zip(op.before, op.after, strict=True))
        code = pad_code(op, output.quant, output.dtype)
        return np.pad(values[0], amounts, constant_values=code)

    def write_onnx(self, op: Pad, graph: Graph, builder: OnnxBuilder) -> None:
        amounts = int64s(builder, [*onnx_order(op.before), *onnx_order(op.after)])
        value = builder.literal(np.array(op.value, np.float32))
        padded = builder.node("Pad", [builder.read(op.inputs[0]), amounts, value])
        builder.write(op.outputs[0], padded)

    def write_tflite(self, op: Pad, graph: Graph, builder: TfliteBuilder) -> None:
        output = graph.tensors[op.outputs[0]]
        amounts = builder.int32(list(zip(op.before, op.after, strict=True)), f"{op.name}/padding")
        inputs = [builder.tensor(op.inputs[0]), amounts]
        code = pad_code(op, output.quant, output.dtype)
        outputs = [builder.tensor(output.name)]
        if code == output.quant.zero_point:
            builder.op("PAD", inputs, outputs, "PadOptions", version=2)
            return
        data = np.array([code], str(output.dtype))
        fill = builder.constant(data, output.quant, f"{op.name}/value")
        builder.op("PADV2", [*inputs, fill], outputs, "PadV2Options", version=2)

    def layer_code(self, op: Pad, graph: Graph, target: CTarget) -> LayerCode:
        shape, output = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]]
        steps = row_major_steps(output.shape)
        axes = [
            Axis(count=n, in_step=i, out_step=o)
            for n, i, o in zip(shape, row_major_steps(shape), steps, strict=True)
        ]
        start = sum(amount * step for amount, step in zip(op.before, steps, strict=True))
        width = output.dtype.bytes
        move = move_call(op, op.inputs[0], axes, out_start=start, width=width)
        code = pad_code(op, output.quant, output.dtype)
        if width == 1 or code == 0:
            return LayerCode(
                calls=(fill_call(output.bytes, code), move),
                sources=tuple(dict.fromkeys((*FILL_SOURCES, *MOVE_SOURCES))),
            )
        # Wider codes are repeated by a copy that stays where it reads.
        everywhere = [Axis(count=output.elements, in_step=0, out_step=1)]
        repeat = move_call(op, Ref(suffix="value"), everywhere, width=width)
        value = np.array([code], str(output.dtype)).view(np.int8)
        return LayerCode(
            calls=(repeat, move),
            sources=MOVE_SOURCES,
            arrays=(CArray(suffix="value", ctype="int8_t", data=value),),
        )


FAMILY = PadFamily()
