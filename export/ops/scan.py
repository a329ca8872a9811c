"""Linear recurrences along a sequence: h[t] = a[t] * h[t - 1] + b[t], and running sums, a = 1.

The state is int16 and is the result; it starts as zeros. In integers: ``b`` is brought to the scale
of the state (QUANTIZE), the product with ``a`` rounds once more (MUL), the sum saturates (ADD at
equal scales, which is exact). Selective scans of state space models (Gu and Dao 2023, "Mamba",
arXiv 2312.00752) are this operator between products; a pass makes it of a loop that an exporter has
unrolled. In TFLite it is a WHILE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import Call, CTarget, CValue, LayerCode
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor
from edgefactor.export.numerics import IntArray
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
from edgefactor.export.ops.parts.layouts import int64s, normalize_axis
from edgefactor.export.ops.requantize import requantize_codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan(Op):
    """Inputs: decays a and additions b, [1, steps, 1, width] each; a running sum has b alone.

    Attributes:
        reverse: From the last step to the first.
    """

    reverse: bool = False

    @property
    def decays(self) -> bool:
        """Whether the state is multiplied at each step."""
        return len(self.inputs) > 1


def _order(op: Scan, steps: int) -> Sequence[int]:
    return range(steps)[::-1] if op.reverse else range(steps)


class ScanFamily(Family):
    """CumSum; recurrences that passes find."""

    op = Scan
    mixes_widths = True
    onnx_ops = ("CumSum",)

    def lower(self, node: Node, lowering: Lowering) -> None:
        value = node.input(0)
        shape = lowering.shape(value)
        axis = lowering.constant(node.input(1))
        if axis is None:
            lowering.unsupported(node, "its axis is computed", "use a constant axis")
        if node.attributes.get("exclusive", 0):
            lowering.unsupported(
                node, "it leaves the element itself out", "subtract the input from torch.cumsum"
            )
        along = normalize_axis(int(np.asarray(axis).reshape(())), len(shape))
        perm = (along, *(other for other in range(len(shape)) if other != along))
        moved = tuple(shape[place] for place in perm)
        flat = (1, shape[along], 1, int(np.prod(moved[1:], dtype=np.int64)))
        x = lowering.view(lowering.stored_like(value, perm), flat)
        reverse = bool(node.attributes.get("reverse", 0))
        result = lowering.emit(Scan, [x], flat, reverse=reverse)
        lowering.bind(node.outputs[0], lowering.view(result, moved), perm)

    def output_shape(self, op: Scan, inputs: Sequence[Tensor]) -> Shape:
        return inputs[-1].shape

    def output_rule(self, op: Scan) -> OutputRule:
        return "free"

    def widths(self, op: Scan) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16)

    def always_wide(self, op: Scan) -> bool:
        return True

    def finest_scale(self, op: Scan, inputs: Sequence[float], shapes: Sequence[Shape]) -> float:
        # More than 8 further bits of an addition hold nothing, and would overflow in between.
        return float(2.0 ** (np.floor(np.log2(inputs[-1])) - 8))

    def quantize(self, op: Scan, quantizer: Quantizer) -> Op:
        decay = quantizer.tensor(op.inputs[0])
        if op.decays and decay.data is None and decay.quant.scale >= 1:
            raise UnsupportedOperatorError(
                "The state of a recurrence grows too fast for 16 bits.",
                where=f"layer {op.name}",
                found=f"decays in steps of {decay.quant.scale:.3g}",
                expected="decays within +-127, as a rule between 0 and 1",
                hint="check the sign of what is exponentiated",
            )
        return super().quantize(op, quantizer)

    def reference(
        self, op: Scan, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        steps = output.shape[1]
        added = requantize_codes(
            values[-1].astype(np.int64), inputs[-1].quant, output.quant, DType.INT16
        ).reshape(steps, -1)
        decays: IntArray | None = None
        if op.decays:
            decays = values[0].astype(np.int64).reshape(steps, -1) - inputs[0].quant.zero_point
        scaling = numerics.quantize_multiplier(inputs[0].quant.scale)
        state = np.zeros(added.shape[1], np.int64)
        states = np.zeros_like(added)
        limits = DType.INT16.code_range
        for step in _order(op, steps):
            if decays is not None:
                product = numerics.multiply_by_quantized_multiplier(decays[step] * state, *scaling)
                state = np.clip(product, *limits)
            state = states[step] = np.clip(state + added[step], *limits)
        return states.astype(np.int16).reshape(output.shape)

    def write_onnx(self, op: Scan, graph: Graph, builder: OnnxBuilder) -> None:
        steps = graph.tensors[op.outputs[0]].shape[1]
        sources = [builder.read(name) for name in op.inputs]
        axis = int64s(builder, (2,))
        results = [""] * steps
        before = ""
        for step in _order(op, steps):
            ends = [int64s(builder, (end,)) for end in (step, step + 1)]
            row = [builder.node("Slice", [source, *ends, axis]) for source in sources]
            state = row[-1]
            if before:
                kept = builder.node("Mul", [row[0], before]) if op.decays else before
                state = builder.node("Add", [kept, state])
            results[step] = before = state
        builder.write(op.outputs[0], builder.node("Concat", results, axis=2))

    def write_tflite(self, op: Scan, graph: Graph, builder: TfliteBuilder) -> None:
        output = graph.tensors[op.outputs[0]]
        steps, width = output.shape[1], output.shape[3]
        zeros = np.zeros((1, 1, 1, width), np.int16)
        first = [
            *(builder.tensor(name) for name in op.inputs),
            builder.constant(zeros, output.quant, f"{op.name}/no_state"),
            builder.constant(
                np.zeros((1, steps, 1, width), np.int16), output.quant, f"{op.name}/no_states"
            ),
        ]
        inputs = [graph.tensors[name] for name in op.inputs]

        def body(inner: TfliteBuilder, number: int, values: Sequence[int]) -> list[int]:
            writer = _Step(op, inner, steps, width)
            *sequences, state, states = values
            rows = []
            for index, tensor in enumerate(inputs):
                row, sequences[index] = writer.row(sequences[index], number, tensor)
                scale = output.quant if tensor is inputs[-1] else _centred(tensor.quant)
                rows.append(writer.wide(row, tensor, scale))
            if op.decays:
                state = writer.both("MUL", (rows[0], state), output.quant)
            state = writer.both("ADD", (state, rows[-1]), output.quant)
            return [*sequences, state, writer.append(states, state, output.quant)]

        results: list[int | None] = [None] * len(first)
        results[-1] = builder.tensor(output.name)
        builder.loop(op.name, steps, first, results, body)

    def layer_code(self, op: Scan, graph: Graph, target: CTarget) -> LayerCode:
        inputs = [graph.tensors[name] for name in op.inputs]
        output = graph.tensors[op.outputs[0]]
        decay = numerics.quantize_multiplier(inputs[0].quant.scale)
        addition = numerics.quantize_multiplier(inputs[-1].quant.scale / output.quant.scale)
        args: dict[str, CValue] = {
            "steps": output.shape[1],
            "width": output.shape[3],
            "decay_zero_point": inputs[0].quant.zero_point,
            "decay_multiplier": decay[0],
            "decay_shift": decay[1],
            "addition_zero_point": inputs[-1].quant.zero_point,
            "addition_multiplier": addition[0],
            "addition_shift": addition[1],
            "reverse": int(op.reverse),
            "wide_decays": int(inputs[0].dtype is DType.INT16),
            "wide_additions": int(inputs[-1].dtype is DType.INT16),
        }
        function = "ef_scan_s16" if op.decays else "ef_running_sum_s16"
        call = Call(
            function=function, struct="ef_scan_args", args=args, inputs=op.inputs, as_bytes=True
        )
        headers = ("ef_scan.h", "ef_numerics.h", "ef_wide.h")
        return LayerCode(calls=(call,), sources=(f"{function}.c", *headers))


def _centred(quantization: Quantization) -> Quantization:
    return Quantization(scales=quantization.scales)


class _Step:
    """Writes the builtins of a step."""

    def __init__(self, op: Scan, builder: TfliteBuilder, steps: int, width: int) -> None:
        self.op, self.builder, self.steps, self.width = op, builder, steps, width
        self.count = 0

    def name(self, role: str) -> str:
        self.count += 1
        return f"{self.op.name}/{role}{self.count}"

    def _new(self, rows: int, quantization: Quantization, dtype: DType) -> int:
        shape = (1, rows, 1, self.width)
        return self.builder.temporary(shape, quantization, self.name("value"), dtype)

    def row(self, sequence: int, number: int, tensor: Tensor) -> tuple[int, int]:
        """The row of a step, and the sequence for the next step.

        TFLM's GATHER takes no int16: such a sequence goes round, its next row always in front.
        """
        result = self._new(1, tensor.quant, tensor.dtype)
        last = self.steps - 1
        if tensor.dtype is DType.INT8:
            if self.op.reverse:
                turned = self.builder.int32_temporary((1,), self.name("number"))
                none: dict[str, Any] = {"fusedActivationFunction": "NONE"}
                ends = [self.builder.int32([last], self.name("last")), number]
                self.builder.op("SUB", ends, [turned], "SubOptions", **none)
                number = turned
            fields = {"version": 2, "axis": 1}
            self.builder.op("GATHER", [sequence, number], [result], "GatherOptions", **fields)
            return result, sequence
        front = last if self.op.reverse else 0
        self._slice(sequence, result, front, front + 1)
        if self.steps == 1:
            return result, sequence
        rest = self._new(last, tensor.quant, tensor.dtype)
        self._slice(sequence, rest, 1 - min(front, 1), self.steps - min(front, 1))
        parts = [result, rest] if self.op.reverse else [rest, result]
        return result, self._joined(parts, tensor.quant)

    def _slice(self, source: int, result: int, first: int, end: int) -> None:
        ends = [(0, first, 0, 0), (1, end, 1, self.width), (1, 1, 1, 1)]
        numbers = [self.builder.int32(values, self.name("part")) for values in ends]
        self.builder.op(
            "STRIDED_SLICE", [source, *numbers], [result], "StridedSliceOptions", version=2
        )

    def _joined(self, parts: Sequence[int], quantization: Quantization) -> int:
        result = self._new(self.steps, quantization, DType.INT16)
        self.builder.op(
            "CONCATENATION",
            parts,
            [result],
            "ConcatenationOptions",
            version=2,
            axis=1,
            fusedActivationFunction="NONE",
        )
        return result

    def wide(self, row: int, tensor: Tensor, quantization: Quantization) -> int:
        """A row as int16 at a scale."""
        if tensor.dtype is DType.INT16 and tensor.quant == quantization:
            return row
        result = self._new(1, quantization, DType.INT16)
        self.builder.op("QUANTIZE", [row], [result], "QuantizeOptions")
        return result

    def both(self, code: str, pair: tuple[int, int], quantization: Quantization) -> int:
        """MUL or ADD."""
        result = self._new(1, quantization, DType.INT16)
        more = {"potScaleInt16": False} if code == "ADD" else {}
        self.builder.op(
            code,
            pair,
            [result],
            f"{code.capitalize()}Options",
            version=4 if code == "ADD" else 5,
            fusedActivationFunction="NONE",
            **more,
        )
        return result

    def append(self, states: int, state: int, quantization: Quantization) -> int:
        """The states without the oldest, and the new one at the other end."""
        if self.steps == 1:
            return state
        rest = self._new(self.steps - 1, quantization, DType.INT16)
        first = 0 if self.op.reverse else 1
        self._slice(states, rest, first, first + self.steps - 1)
        return self._joined([state, rest] if self.op.reverse else [rest, state], quantization)


FAMILY = ScanFamily()
