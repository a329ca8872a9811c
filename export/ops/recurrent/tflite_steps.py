"""Recurrent layers in TFLite: a WHILE whose body is a step in builtins on int8 and int16.

QUANTIZE from int8 to int16 at the same scale takes the zero point of inputs of gates away and
changes nothing else; at equal scales ADD and SUB on int16 are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefactor.export.functions.recurrence import GATES, OUTPUT, UNIT, state_quantization
from edgefactor.export.ir import DType, Graph, Quantization
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.recurrent.op import Recurrent

#: From the name of a tensor of kept results to what the builder wants beside its shape.
Kept = Callable[[str], tuple[Quantization, str, DType]]


@dataclass(slots=True)
class _Steps:
    """Writes the builtins of a step and numbers their results."""

    op: Recurrent
    builder: TfliteBuilder
    units: int
    count: int = 0

    def name(self, role: str) -> str:
        self.count += 1
        return f"{self.op.name}/{role}{self.count}"

    def wide(self, quantization: Quantization, width: int) -> int:
        name = self.name("wide")
        return self.builder.temporary((1, 1, 1, width), quantization, name, DType.INT16)

    def conv(self, source: int, first: int, result: int) -> None:
        self.builder.op(
            "CONV_2D",
            [source, *(self.builder.tensor(name) for name in self.op.inputs[first : first + 2])],
            [result],
            "Conv2DOptions",
            version=3,
            padding="VALID",
            strideH=1,
            strideW=1,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction="NONE",
        )

    def gate_inputs(self, source: int, first: int) -> int:
        """int16 inputs of the gates less their zero point, [1, 1, 1, gates * units]."""
        width = GATES[self.op.cell] * self.units
        narrow = self.builder.temporary((1, 1, 1, width), self.op.gates, self.name("gates"))
        self.conv(source, first, narrow)
        wide = self.wide(self.centred, width)
        self.quantize(narrow, wide)
        return wide

    @property
    def centred(self) -> Quantization:
        return Quantization(scales=self.op.gates.scales)

    def quantize(self, source: int, result: int) -> None:
        self.builder.op("QUANTIZE", [source], [result], "QuantizeOptions")

    def split(self, source: int, parts: int) -> list[int]:
        """Blocks of ``units`` of the last axis."""
        results = [self.wide(self.centred, self.units) for _ in range(parts)]
        where = self.builder.int32([3], self.name("axis"))
        self.builder.op(
            "SPLIT", [where, source], results, "SplitOptions", version=4, numSplits=parts
        )
        return results

    def curve(self, code: str, source: int) -> int:
        result = self.wide(UNIT, self.units)
        self.builder.op(code, [source], [result], version=3)
        return result

    def both(
        self,
        code: str,
        pair: tuple[int, int],
        quantization: Quantization,
        width: int = 0,
    ) -> int:
        """ADD, SUB or MUL."""
        result = self.wide(quantization, width or self.units)
        version, fields = {"ADD": (4, 1), "SUB": (5, 1), "MUL": (5, 0)}[code]
        self.builder.op(
            code,
            pair,
            [result],
            f"{code.capitalize()}Options",
            version=version,
            fusedActivationFunction="NONE",
            **({"potScaleInt16": False} if fields else {}),
        )
        return result

    def step(self, x: int, h: int, state: int, cells: int) -> tuple[int, int]:
        """The states after a step: ``recurrence.step`` in builtins."""
        width = GATES[self.op.cell] * self.units
        if self.op.cell == "gru":
            xz, xr, xn = self.split(x, 3)
            hz, hr, hn = self.split(h, 3)
            update = self.curve("LOGISTIC", self.both("ADD", (xz, hz), self.centred))
            reset = self.curve("LOGISTIC", self.both("ADD", (xr, hr), self.centred))
            recalled = self.both("MUL", (reset, hn), self.centred)
            new = self.curve("TANH", self.both("ADD", (xn, recalled), self.centred))
            kept = self.both("MUL", (update, state), UNIT)
            fresh = self.both("SUB", (new, self.both("MUL", (update, new), UNIT)), UNIT)
            return self.both("ADD", (fresh, kept), UNIT), cells
        total = self.both("ADD", (x, h), self.centred, width)
        if self.op.cell == "lstm":
            i, o, f, g = self.split(total, 4)
            inlet, outlet, forget = (self.curve("LOGISTIC", gate) for gate in (i, o, f))
            kept_as = state_quantization("lstm")
            added = self.both("MUL", (inlet, self.curve("TANH", g)), kept_as)
            kept = self.both("MUL", (forget, cells), kept_as)
            cells = self.both("ADD", (kept, added), kept_as)
            return self.both("MUL", (outlet, self.curve("TANH", cells)), kept_as), cells
        return self.curve("TANH", total), cells

    def row(self, sequence: int, number: int, width: int, quantization: Quantization) -> int:
        """The input of a step."""
        result = self.builder.temporary((1, 1, 1, width), quantization, self.name("row"))
        fields = {"version": 2, "axis": 1}
        self.builder.op("GATHER", [sequence, number], [result], "GatherOptions", **fields)
        return result

    def from_end(self, number: int, length: int) -> int:
        """The number of a step, counted from the last."""
        result = self.builder.int32_temporary((1,), self.name("number"))
        last = self.builder.int32([length - 1], self.name("last"))
        none: dict[str, Any] = {"fusedActivationFunction": "NONE"}
        self.builder.op("SUB", [last, number], [result], "SubOptions", **none)
        return result

    def moved_on(self, results: int, fresh: int, length: int, kept: Kept) -> int:
        """Results without the oldest, and a fresh one at the other end."""
        rest = self.builder.temporary((1, length - 1, 1, self.units), *kept(self.name("rest")))
        begin = 0 if self.op.reverse else 1
        ends = [(0, begin, 0, 0), (1, begin + length - 1, 1, self.units), (1, 1, 1, 1)]
        numbers = [self.builder.int32(end, self.name("part")) for end in ends]
        self.builder.op(
            "STRIDED_SLICE", [results, *numbers], [rest], "StridedSliceOptions", version=2
        )
        moved = self.builder.temporary((1, length, 1, self.units), *kept(self.name("results")))
        self.rows_joined([fresh, rest] if self.op.reverse else [rest, fresh], moved)
        return moved

    def rows_joined(self, parts: Sequence[int], result: int) -> None:
        self.builder.op(
            "CONCATENATION",
            parts,
            [result],
            "ConcatenationOptions",
            version=2,
            axis=1,
            fusedActivationFunction="NONE",
        )


def _first_values(op: Recurrent, units: int, builder: TfliteBuilder) -> list[int]:
    """The result and the states before the first step."""
    shape, kept_as = (1, 1, 1, units), state_quantization(op.cell)
    if not op.keeps_state:
        state = builder.constant(np.zeros(shape, np.int16), kept_as, f"{op.name}/no_state")
        cells = builder.constant(np.zeros(shape, np.int16), kept_as, f"{op.name}/no_cells")
        result = builder.int8(np.zeros(shape, np.int8), OUTPUT, f"{op.name}/no_result")
        return [result, state, cells]
    first = builder.tensor(op.inputs[5])
    states = [first] * 2
    if op.cell == "lstm":
        names = (f"{op.name}/first_state", f"{op.name}/first_cells")
        states = [builder.temporary(shape, kept_as, name, DType.INT16) for name in names]
        axis = builder.int32([1], f"{op.name}/state_axis")
        builder.op("SPLIT", [axis, first], states, "SplitOptions", version=4, numSplits=2)
    result = builder.temporary(shape, OUTPUT, f"{op.name}/first_result")
    builder.op("QUANTIZE", [states[0]], [result], "QuantizeOptions")
    return [result, *states]


def write_steps(op: Recurrent, graph: Graph, builder: TfliteBuilder) -> None:
    """Write the layer."""
    x, units = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[3]].shape[3]
    length, width = x.shape[1], x.shape[3]
    collects = op.every_step and length > 1
    dtype = DType.INT16 if op.keeps_state else DType.INT8
    shown_as = state_quantization(op.cell) if op.keeps_state else OUTPUT

    def kept(name: str) -> tuple[Quantization, str, DType]:
        return shown_as, name, dtype

    def body(inner: TfliteBuilder, number: int, values: Sequence[int]) -> list[int]:
        steps = _Steps(op=op, builder=inner, units=units)
        sequence, last, state, cells, *results = values
        place = steps.from_end(number, length) if op.reverse else number
        from_input = steps.gate_inputs(steps.row(sequence, place, width, x.quant), 1)
        state, cells = steps.step(from_input, steps.gate_inputs(last, 3), state, cells)
        last = inner.temporary((1, 1, 1, units), OUTPUT, steps.name("result"))
        steps.quantize(state, last)
        if collects:
            fresh = state if op.keeps_state else last
            results = [steps.moved_on(results[0], fresh, length, kept)]
        return [sequence, last, state, cells, *results]

    first = [builder.tensor(op.inputs[0]), *_first_values(op, units, builder)]
    whole = builder.tensor(op.outputs[0])
    ends: list[int | None] = [None] * 4
    if collects:
        empty = np.zeros((1, length, 1, units), str(dtype))
        first.append(builder.constant(empty, shown_as, f"{op.name}/no_results"))
        ends.append(None)
    shown = 4 if collects else 2 if op.keeps_state else 1
    if not (op.keeps_state and op.cell == "lstm"):
        ends[shown] = whole
        builder.loop(op.name, length, first, ends, body)
        return
    rows = length if op.every_step else 1
    ends[shown] = builder.temporary((1, rows, 1, units), *kept(f"{op.name}/states"))
    ends[3] = builder.temporary((1, 1, 1, units), *kept(f"{op.name}/cells"))
    builder.loop(op.name, length, first, ends, body)
    parts = [index for index in (ends[shown], ends[3]) if index is not None]
    _Steps(op=op, builder=builder, units=units).rows_joined(parts, whole)
