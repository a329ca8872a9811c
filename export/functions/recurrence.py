"""The integer arithmetic of one step of a GRU, an LSTM and a plain recurrent layer.

Gate inputs are int8: what the input and what the last result contribute, at one quantization. Their
sum is taken as it is, in 16 bits, and so are the gates and the states: a state that int8 held would
not follow small changes. That of hidden units has the scale 2**-15, with LSTM 2**-11 as that of its
cells has, which so stay within +-16. The result of a step is the state of the hidden units as int8
(2**-7), and that is what the next step multiplies with the recurrent weights. Every operation is
what a TFLite builtin computes on int16 with these scales: ADD and SUB are then exact, MUL rounds
once, halves away from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgefactor.export.functions import gates16
from edgefactor.export.ir import Quantization
from edgefactor.export.numerics import INT8_MAX, INT8_MIN, IntArray, rounding_divide_by_pot

Cell = Literal["gru", "lstm", "rnn"]
#: Blocks of rows of the weights, in ONNX's order: update, reset, new; input, output, forget, cell.
GATES: dict[str, int] = {"gru": 3, "lstm": 4, "rnn": 1}
UNIT_BITS, CELL_BITS, OUTPUT_BITS = 15, 11, 7
_STATE_BITS: dict[str, int] = {"gru": UNIT_BITS, "lstm": CELL_BITS, "rnn": UNIT_BITS}
#: Vectors of ``units`` that a cell keeps: of the hidden units and, with LSTM, of the cells.
STATES: dict[str, int] = {"gru": 1, "lstm": 2, "rnn": 1}
UNIT = Quantization(scales=(2.0**-UNIT_BITS,))
OUTPUT = Quantization(scales=(2.0**-OUTPUT_BITS,))
INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GateScaling:
    """How the curves scale their inputs: (multiplier, shift) each.

    Attributes:
        logistic: Of a sum of gate inputs.
        tanh: Likewise.
        cell: Of the state of LSTM cells, for tanh.
    """

    logistic: tuple[int, int]
    tanh: tuple[int, int]
    cell: tuple[int, int]


def state_quantization(cell: Cell) -> Quantization:
    """Scale of what a cell keeps, as int16."""
    return Quantization(scales=(2.0 ** -_STATE_BITS[cell],))


def narrowing_bits(cell: Cell) -> int:
    """By how many bits the int8 result is shorter than the state."""
    return _STATE_BITS[cell] - OUTPUT_BITS


def gate_scaling(scale: float) -> GateScaling:
    """The scalings that follow from the scale of the gate inputs."""
    return GateScaling(
        logistic=gates16.input_scaling(scale, tanh=False),
        tanh=gates16.input_scaling(scale, tanh=True),
        cell=gates16.input_scaling(2.0**-CELL_BITS, tanh=True),
    )


def saturate16(values: IntArray) -> IntArray:
    """Keep values within int16."""
    return np.clip(values, INT16_MIN, INT16_MAX)


def product(first: IntArray, second: IntArray, bits: int) -> IntArray:
    """MUL on int16: first * second / 2**bits, rounded twice as TFLite does, saturated."""
    doubled = (first * second + 1) >> 1
    return saturate16(rounding_divide_by_pot(doubled, bits - 1))


def narrow(state: IntArray, cell: Cell) -> IntArray:
    """QUANTIZE from the state of hidden units to the int8 result."""
    bits = narrowing_bits(cell)
    return np.clip(rounding_divide_by_pot((state + 1) >> 1, bits - 1), INT8_MIN, INT8_MAX)


def step(
    cell: Cell, scaling: GateScaling, x: IntArray, h: IntArray, state: IntArray, cells: IntArray
) -> tuple[IntArray, IntArray]:
    """One step.

    Args:
        cell: Which kind.
        scaling: Of the curves.
        x: Gate inputs from the input, less their zero point, ``[gates * units]``.
        h: Gate inputs from the last result, likewise.
        state: State of the hidden units, ``[units]``.
        cells: State of LSTM cells; returned as it is by the others.

    Returns:
        The states after the step.
    """
    if cell == "gru":
        (xz, xr, xn), (hz, hr, hn) = np.split(x, 3), np.split(h, 3)
        update = gates16.logistic(xz + hz, scaling.logistic)
        reset = gates16.logistic(xr + hr, scaling.logistic)
        new = gates16.tanh(xn + product(reset, hn, UNIT_BITS), scaling.tanh)
        kept = product(update, state, UNIT_BITS)
        fresh = saturate16(new - product(update, new, UNIT_BITS))
        return saturate16(fresh + kept), cells
    if cell == "lstm":
        i, o, f, g = np.split(x + h, 4)
        inlet, outlet, forget = (gates16.logistic(v, scaling.logistic) for v in (i, o, f))
        offer = gates16.tanh(g, scaling.tanh)
        narrower = 2 * UNIT_BITS - CELL_BITS
        added = product(inlet, offer, narrower)
        cells = saturate16(product(forget, cells, UNIT_BITS) + added)
        return product(outlet, gates16.tanh(cells, scaling.cell), narrower), cells
    return gates16.tanh(x + h, scaling.tanh), cells
