"""Recurrent layers as ONNX's GRU, LSTM and RNN on real values."""

from __future__ import annotations

from typing import Any

from edgefactor.export.functions.recurrence import GATES, STATES
from edgefactor.export.ir import Graph
from edgefactor.export.ops.family import OnnxBuilder
from edgefactor.export.ops.parts.layouts import int64s
from edgefactor.export.ops.recurrent.op import Recurrent

_FLAT = (0, 1, 2, 3)


def write_node(op: Recurrent, graph: Graph, builder: OnnxBuilder) -> str:
    """Write the layer as one node; return the results of all steps, [steps, 1, 1, units]."""
    steps, inputs = graph.tensors[op.inputs[0]].shape[1::2]
    units = graph.tensors[op.inputs[3]].shape[3]
    rows = GATES[op.cell] * units
    moved = builder.node("Transpose", [builder.read(op.inputs[0])], perm=[2, 0, 3, 1])
    x = builder.node("Reshape", [moved, int64s(builder, (steps, 1, inputs))])
    weights = [
        builder.node(
            "Reshape",
            [builder.read_weights(name, _FLAT), int64s(builder, (1, rows, -1))],
        )
        for name in (op.inputs[1], op.inputs[3])
    ]
    biases = [builder.read_weights(name, (0,)) for name in (op.inputs[2], op.inputs[4])]
    joined = builder.node("Concat", biases, axis=0)
    bias = builder.node("Reshape", [joined, int64s(builder, (1, 2 * rows))])
    attributes: dict[str, Any] = {
        "hidden_size": units,
        "direction": "reverse" if op.reverse else "forward",
    }
    if op.cell == "gru":
        attributes["linear_before_reset"] = 1
    operands = [x, *weights, bias]
    if op.keeps_state:
        operands += ["", *_first_states(op, units, builder)]
    results, *last = builder.node_of(op.cell.upper(), operands, 1 + STATES[op.cell], **attributes)
    shape = int64s(builder, (1, -1, 1, units))
    shown = builder.node("Reshape", [results if op.every_step else last[0], shape])
    if op.keeps_state and op.cell == "lstm":
        cells = builder.node("Reshape", [last[1], shape])
        shown = builder.node("Concat", [shown, cells], axis=1)
    builder.write(op.outputs[0], builder.node("Transpose", [shown], perm=[0, 3, 1, 2]))
    return results


def _first_states(op: Recurrent, units: int, builder: OnnxBuilder) -> list[str]:
    """The states to start from, [1, 1, units] each."""
    flat = builder.node("Transpose", [builder.read(op.inputs[5])], perm=[2, 0, 3, 1])
    count = STATES[op.cell]
    rows = builder.node("Reshape", [flat, int64s(builder, (count, 1, units))])
    if count == 1:
        return [rows]
    return [
        builder.node("Slice", [rows, int64s(builder, (i,)), int64s(builder, (i + 1,))])
        for i in range(count)
    ]


def write_gates(op: Recurrent, graph: Graph, builder: OnnxBuilder, results: str) -> str:
    """All inputs of the gates of a float Graph, in no order: their range is what counts.

    The results of all steps stand for those before each step: at most the last one is too many.

    Args:
        op: The layer.
        graph: Float Graph.
        builder: Takes the nodes.
        results: What ``write_node`` returned.
    """
    source = builder.node("Transpose", [builder.read(op.inputs[0])], perm=[0, 2, 3, 1])
    parts = []
    for value, weights, bias in ((source, 1, 2), (results, 3, 4)):
        width = int64s(builder, (-1, graph.tensors[op.inputs[weights]].shape[3]))
        rows = builder.node("Reshape", [value, width])
        matrix = builder.node("Reshape", [builder.read_weights(op.inputs[weights], _FLAT), width])
        offsets = builder.read_weights(op.inputs[bias], (0,))
        product = builder.node("Gemm", [rows, matrix, offsets], transB=1)
        parts.append(builder.node("Reshape", [product, int64s(builder, (-1,))]))
    return builder.node("Concat", parts, axis=0)
