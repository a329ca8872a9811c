"""ONNX's GRU, LSTM and RNN -> one Recurrent operator a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.functions.recurrence import GATES, Cell
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ops.family import Lowering, Node
from edgefactor.export.ops.recurrent_op import Recurrent
from edgefactor.export.ops.slice import Slice

_CELLS: dict[str, Cell] = {"GRU": "gru", "LSTM": "lstm", "RNN": "rnn"}
_ACTIVATIONS = {"GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"], "RNN": ["tanh"]}
_INITIAL_STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}
_MOST_STEPS = 65535


def lower_recurrent(node: Node, lowering: Lowering) -> None:
    """Emit the directions and bind the results."""
    directions = _directions(node, lowering)
    _check(node, lowering, len(directions))
    steps, _, inputs = lowering.shape(node.input(0))
    x = lowering.view(lowering.plain(node.input(0)), (1, steps, 1, inputs))
    every_step = bool(node.outputs[0])
    results = [
        _emit(node, lowering, x, index, reverse=reverse, every_step=every_step)
        for index, reverse in enumerate(directions)
    ]
    units = lowering.graph_shape(results[0])[3]
    if every_step:
        bound = _joined(lowering, results, 3, (1, steps, 1, units * len(results)))
        shape = (steps, len(results), 1, units)
        lowering.bind_plain(node.outputs[0], lowering.view(bound, shape))
    if len(node.outputs) > 1 and node.outputs[1]:
        ends = [
            _end(lowering, result, reverse=reverse)
            for result, reverse in zip(results, directions, strict=True)
        ]
        bound = _joined(lowering, ends, 1, (1, len(ends), 1, units))
        lowering.bind_plain(node.outputs[1], lowering.view(bound, (len(ends), 1, units)))


def _directions(node: Node, lowering: Lowering) -> tuple[bool, ...]:
    """Per direction, whether it runs backwards."""
    named = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    direction = node.attributes.get("direction", "forward")
    if direction not in named:
        lowering.unsupported(node, f"its direction is {direction}", "use nn.GRU or nn.LSTM")
    return named[direction]


def _check(node: Node, lowering: Lowering, directions: int) -> None:
    """Refuse what the integer form does not compute."""
    attributes = node.attributes
    steps, batch, _ = lowering.shape(node.input(0))
    if batch != 1:
        lowering.unsupported(node, f"its batch is {batch}", "keep the batch at 1")
    if steps > _MOST_STEPS:
        lowering.unsupported(node, f"it has {steps} steps", f"use at most {_MOST_STEPS}")
    if attributes.get("layout", 0):
        lowering.unsupported(node, "its layout is batch first", "export with layout 0")
    if node.op_type == "GRU" and not attributes.get("linear_before_reset", 0):
        lowering.unsupported(
            node, "it resets before the product", "use nn.GRU, which resets after it"
        )
    if attributes.get("clip", 0.0) or attributes.get("input_forget", 0) or node.input(7):
        lowering.unsupported(node, "it clips, couples gates or has peepholes", "use nn.LSTM")
    found = [
        name.decode() if isinstance(name, bytes) else name
        for name in attributes.get("activations", [])
    ]
    expected = _ACTIVATIONS[node.op_type] * directions
    if found and [name.lower() for name in found] != expected:
        lowering.unsupported(
            node, f"its activations are {', '.join(found)}", "use sigmoid and tanh"
        )
    lengths = lowering.constant(node.input(4)) if node.input(4) else np.array([steps])
    if lengths is None or np.any(lengths != steps):
        lowering.unsupported(node, "its sequences end early", "leave sequence_lens out")
    for index in _INITIAL_STATES[node.op_type]:
        state = lowering.constant(node.input(index)) if node.input(index) else np.zeros(1)
        if state is None or np.any(state):
            lowering.unsupported(
                node, "its first state is not zero", "start from zeros, the default of nn.GRU"
            )


def _weights(node: Node, lowering: Lowering, index: int) -> NDArray[np.float32]:
    data: NDArray[Any] | None = lowering.constant(node.input(index))
    if data is None:
        lowering.unsupported(node, "its weights are computed", "make the weights constant")
    return np.asarray(data, np.float32)


def _emit(
    node: Node, lowering: Lowering, x: str, direction: int, *, reverse: bool, every_step: bool
) -> str:
    """One direction: [1, steps, 1, units], or the last result alone."""
    cell = _CELLS[node.op_type]
    hint = node.outputs[0] or node.outputs[1]
    names = []
    rows = 0
    for index, role in ((1, "input"), (2, "recurrent")):
        matrix = _weights(node, lowering, index)[direction]
        rows = len(matrix)
        bias = np.zeros(2 * rows, np.float32)
        if node.input(3):
            bias = _weights(node, lowering, 3)[direction]
        part = bias[(index - 1) * rows : index * rows]
        names += [
            lowering.add_constant(matrix[:, None, None, :], f"{hint}.{role}.weight"),
            lowering.add_constant(part, f"{hint}.{role}.bias"),
        ]
    steps = lowering.graph_shape(x)[1] if every_step else 1
    return lowering.emit(
        Recurrent,
        [x, *names],
        (1, steps, 1, rows // GATES[cell]),
        hint=hint,
        cell=cell,
        reverse=reverse,
        every_step=every_step,
    )


def _end(lowering: Lowering, result: str, *, reverse: bool) -> str:
    """The result of the step that is computed last."""
    steps, units = lowering.graph_shape(result)[1::2]
    if steps == 1:
        return result
    last = 0 if reverse else steps - 1
    return lowering.emit(
        Slice,
        [result],
        (1, 1, 1, units),
        hint=f"{result}.last",
        begin=(0, last, 0, 0),
        end=(1, last + 1, 1, units),
        step=(1, 1, 1, 1),
    )


def _joined(lowering: Lowering, parts: list[str], axis: int, shape: tuple[int, ...]) -> str:
    if len(parts) == 1:
        return parts[0]
    return lowering.emit(Concat, parts, shape, hint=f"{parts[0]}.both", axis=axis)
