"""Recurrent layers in TFLite: a WHILE whose body is a step in builtins on int8 and int16.

QUANTIZE from int8 to int16 at the same scale takes the zero point of inputs of gates away and
changes nothing else; at equal scales ADD and SUB on int16 are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefactor.export.functions.recurrence import CELL_STATE, GATES, OUTPUT, STATE
from edgefactor.export.ir import DType, Graph, Quantization
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.recurrent_op import Recurrent


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
        result = self.wide(STATE, self.units)
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
            kept = self.both("MUL", (update, state), STATE)
            fresh = self.both("SUB", (new, self.both("MUL", (update, new), STATE)), STATE)
            return self.both("ADD", (fresh, kept), STATE), cells
        total = self.both("ADD", (x, h), self.centred, width)
        if self.op.cell == "lstm":
            i, o, f, g = self.split(total, 4)
            inlet, outlet, forget = (self.curve("LOGISTIC", gate) for gate in (i, o, f))
            added = self.both("MUL", (inlet, self.curve("TANH", g)), CELL_STATE)
            kept = self.both("MUL", (forget, cells), CELL_STATE)
            cells = self.both("ADD", (kept, added), CELL_STATE)
            return self.both("MUL", (outlet, self.curve("TANH", cells)), STATE), cells
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

    def moved_on(self, results: int, fresh: int, length: int) -> int:
        """Results without the oldest, and a fresh one at the other end."""
        rest_shape, shape = (1, length - 1, 1, self.units), (1, length, 1, self.units)
        rest = self.builder.temporary(rest_shape, OUTPUT, self.name("rest"))
        begin = 0 if self.op.reverse else 1
        ends = [(0, begin, 0, 0), (1, begin + length - 1, 1, self.units), (1, 1, 1, 1)]
        numbers = [self.builder.int32(end, self.name("part")) for end in ends]
        self.builder.op(
            "STRIDED_SLICE", [results, *numbers], [rest], "StridedSliceOptions", version=2
        )
        moved = self.builder.temporary(shape, OUTPUT, self.name("results"))
        self.builder.op(
            "CONCATENATION",
            [fresh, rest] if self.op.reverse else [rest, fresh],
            [moved],
            "ConcatenationOptions",
            version=2,
            axis=1,
            fusedActivationFunction="NONE",
        )
        return moved


def write_steps(op: Recurrent, graph: Graph, builder: TfliteBuilder) -> None:
    """Write the layer."""
    x, units = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[3]].shape[3]
    length, width = x.shape[1], x.shape[3]
    keeps = op.every_step and length > 1

    def body(inner: TfliteBuilder, number: int, values: Sequence[int]) -> list[int]:
        steps = _Steps(op=op, builder=inner, units=units)
        sequence, last, state, cells, *results = values
        place = steps.from_end(number, length) if op.reverse else number
        from_input = steps.gate_inputs(steps.row(sequence, place, width, x.quant), 1)
        state, cells = steps.step(from_input, steps.gate_inputs(last, 3), state, cells)
        last = inner.temporary((1, 1, 1, units), OUTPUT, steps.name("result"))
        steps.quantize(state, last)
        kept = [steps.moved_on(results[0], last, length)] if keeps else []
        return [sequence, last, state, cells, *kept]

    def zeros(rows: int, dtype: str, quantization: Quantization, role: str) -> int:
        data = np.zeros((1, rows, 1, units), dtype)
        return builder.constant(data, quantization, f"{op.name}/{role}")

    first = [
        builder.tensor(op.inputs[0]),
        zeros(1, "int8", OUTPUT, "no_result"),
        zeros(1, "int16", STATE, "no_state"),
        zeros(1, "int16", CELL_STATE, "no_cells"),
    ]
    whole = builder.tensor(op.outputs[0])
    if keeps:
        first.append(zeros(length, "int8", OUTPUT, "no_results"))
        results = [None, None, None, None, whole]
    else:
        results = [None, whole, None, None]
    builder.loop(op.name, length, first, results, body)
