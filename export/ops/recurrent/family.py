"""Recurrent layers: GRU, LSTM and plain, one direction each, as loops over the steps of a sequence.

The arithmetic is that of ``export/functions/recurrence.py``; what a step multiplies with weights is
a dense layer as everywhere (per-channel int8 weights, double rounding) whose results, the inputs of
the gates, share one quantization. ONNX gets its own operator; TFLite, which has none that LiteRT
and TFLM compute alike, gets the steps one after the other; C gets a loop around the kernels of
dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.functions import recurrence
from edgefactor.export.functions.recurrence import OUTPUT, STATES, state_quantization
from edgefactor.export.ir import Array, DType, Graph, Op, Quantization, Tensor, constant
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
from edgefactor.export.ops.parts.layer_weights import layer_multipliers, quantize_layer
from edgefactor.export.ops.recurrent.c_loop import recurrent_code
from edgefactor.export.ops.recurrent.lowering import lower_recurrent
from edgefactor.export.ops.recurrent.onnx_node import write_gates, write_node
from edgefactor.export.ops.recurrent.op import Recurrent
from edgefactor.export.ops.recurrent.tflite_steps import write_steps

#: Beyond this a gate is closed or open to a part in 3000, so a wider range only costs resolution.
_WIDEST_GATE = 8.0


class RecurrentFamily(Family):
    """GRU, LSTM and RNN; a bidirectional one is two of them."""

    op = Recurrent
    mixes_widths = True
    onnx_ops = ("GRU", "LSTM", "RNN")

    def lower(self, node: Node, lowering: Lowering) -> None:
        lower_recurrent(node, lowering)

    def output_shape(self, op: Recurrent, inputs: Sequence[Tensor]) -> Shape:
        rows = inputs[0].shape[1] if op.every_step else 1
        if op.keeps_state:
            rows += STATES[op.cell] - 1
        return (1, rows, 1, inputs[3].shape[3])

    def output_rule(self, op: Recurrent) -> OutputRule:
        return state_quantization(op.cell) if op.keeps_state else OUTPUT

    def widths(self, op: Recurrent) -> tuple[DType, ...]:
        return (DType.INT8, DType.INT16) if op.keeps_state else (DType.INT8,)

    def always_wide(self, op: Recurrent) -> bool:
        return op.keeps_state

    def input_width(self, op: Recurrent, index: int) -> DType | None:
        return {0: DType.INT8, 5: DType.INT16}.get(index)

    def wide_input_rule(self, op: Recurrent, index: int) -> Quantization | None:
        return state_quantization(op.cell) if index == 5 else None

    def probes(self, op: Recurrent) -> tuple[str, ...]:
        return (f"{op.name}/gates",)

    def quantize(self, op: Recurrent, quantizer: Quantizer) -> Op:
        low, high = quantizer.range(f"{op.name}/gates")
        gates = numerics.choose_quantization(max(low, -_WIDEST_GATE), min(high, _WIDEST_GATE))
        x = quantizer.tensor(op.inputs[0])
        for index, in_scale, channel_scale in (
            (1, x.quant.scale, op.input_channel_scale),
            (3, OUTPUT.scale, op.recurrent_channel_scale),
        ):
            names = op.inputs[index : index + 2]
            quantize_layer(op, names, in_scale, gates.scale, channel_scale, quantizer)
        for name in op.inputs[5:]:
            first = quantizer.tensor(name)
            if first.dtype is DType.FLOAT32:
                kept_as = state_quantization(op.cell)
                codes = numerics.quantize(first.values, kept_as, DType.INT16)
                quantizer.put(constant(name, codes, kept_as))
        return replace(op, gate_scale=gates.scale, gate_zero_point=gates.zero_point)

    def reference(
        self, op: Recurrent, inputs: Sequence[Tensor], output: Tensor, values: Sequence[Array]
    ) -> Array:
        x = values[0].astype(np.int64).reshape(inputs[0].shape[1], -1)
        from_input = self._gate_inputs(op, inputs[0].quant, inputs[1], values[1:3], x)
        units = inputs[3].shape[3]
        state = cells = np.zeros(units, np.int64)
        if op.keeps_state:
            first = values[5].astype(np.int64).reshape(-1, units)
            state, cells = first[0], first[-1]
        states = np.zeros((len(x), units), np.int64)
        scaling = recurrence.gate_scaling(op.gate_scale)
        order = range(len(x))
        for index in reversed(order) if op.reverse else order:
            last = recurrence.narrow(state, op.cell)[None]
            (from_last,) = self._gate_inputs(op, OUTPUT, inputs[3], values[3:5], last)
            state, cells = recurrence.step(
                op.cell, scaling, from_input[index], from_last, state, cells
            )
            states[index] = state
        shown = states if op.every_step else state[None]
        if not op.keeps_state:
            return recurrence.narrow(shown, op.cell).astype(np.int8).reshape(output.shape)
        if op.cell == "lstm":
            shown = np.concatenate([shown, cells[None]])
        return shown.astype(np.int16).reshape(output.shape)

    def _gate_inputs(
        self,
        op: Recurrent,
        source: Quantization,
        weights: Tensor,
        values: Sequence[Array],
        x: IntArray,
    ) -> IntArray:
        """Inputs of the gates less their zero point, ``[rows, gates * units]``."""
        matrix = values[0].astype(np.int64).reshape(len(values[0]), -1)
        sums = (x - source.zero_point) @ matrix.T + values[1].astype(np.int64)
        scaled = numerics.multiply_by_quantized_multiplier(
            sums, *layer_multipliers(source.scale, weights, op.gate_scale)
        )
        codes = np.clip(scaled + op.gate_zero_point, numerics.INT8_MIN, numerics.INT8_MAX)
        return np.asarray(codes - op.gate_zero_point)

    def write_onnx(self, op: Recurrent, graph: Graph, builder: OnnxBuilder) -> None:
        results = write_node(op, graph, builder)
        if builder.wants_probes:
            (probe,) = self.probes(op)
            builder.probe(probe, write_gates(op, graph, builder, results))

    def write_tflite(self, op: Recurrent, graph: Graph, builder: TfliteBuilder) -> None:
        write_steps(op, graph, builder)

    def layer_code(self, op: Recurrent, graph: Graph, target: CTarget) -> LayerCode:
        return recurrent_code(op, graph, target)


FAMILY = RecurrentFamily()
