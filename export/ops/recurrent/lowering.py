"""ONNX's GRU, LSTM and RNN -> one Recurrent operator a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.functions.recurrence import GATES, STATES, Cell
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ops.family import Lowering, Node
from edgefactor.export.ops.recurrent.op import Recurrent
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
    given = _gives_states(node, lowering)
    results = [
        _emit(
            node,
            lowering,
            x,
            index,
            reverse=reverse,
            every_step=every_step,
            first=_first_state(node, lowering, index) if given else None,
        )
        for index, reverse in enumerate(directions)
    ]
    count = len(results)
    units = lowering.graph_shape(results[0])[3]
    rows = steps if every_step else 1
    if every_step:
        parts = [_rows(lowering, result, 0, rows) for result in results]
        bound = _joined(lowering, parts, 3, (1, steps, 1, units * count))
        lowering.bind_plain(node.outputs[0], lowering.view(bound, (steps, count, 1, units)))
    ends = [0 if reverse else rows - 1 for reverse in directions]
    for output, places in ((1, ends), (2, [rows] * count if given else None)):
        if len(node.outputs) <= output or not node.outputs[output] or places is None:
            continue
        parts = [
            _rows(lowering, result, place, place + 1)
            for result, place in zip(results, places, strict=True)
        ]
        bound = _joined(lowering, parts, 1, (1, count, 1, units))
        lowering.bind_plain(node.outputs[output], lowering.view(bound, (count, 1, units)))


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
            node, "it resets before the product", "make its weights constant, or use nn.GRU"
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


def _gives_states(node: Node, lowering: Lowering) -> bool:
    """Whether it starts from anything but zeros, or the last state of the cells is wanted."""
    if len(node.outputs) > 2 and node.outputs[2] and lowering.is_read(node.outputs[2]):
        return True
    states = [node.input(index) for index in _INITIAL_STATES[node.op_type]]
    constants = [lowering.constant(state) for state in states if state]
    return any(array is None or np.any(array) for array in constants)


def _first_state(node: Node, lowering: Lowering, direction: int) -> str:
    """The state to start from as the operator wants it, [1, vectors, 1, units]."""
    units = _weights(node, lowering, 2).shape[2]
    held: list[NDArray[np.float32] | None] = []
    for index in _INITIAL_STATES[node.op_type]:
        data = lowering.constant(node.input(index)) if node.input(index) else np.zeros((2, units))
        row = None if data is None else np.asarray(data, np.float32)[direction]
        held.append(None if row is None else row.reshape(1, 1, 1, units))
    known = [row for row in held if row is not None]
    if len(known) == len(held):
        return lowering.add_constant(np.concatenate(known, axis=1), f"{node.name}.first")
    parts = []
    for index, row in zip(_INITIAL_STATES[node.op_type], held, strict=True):
        if row is not None:
            parts.append(lowering.add_constant(row, f"{node.name}.first"))
        else:
            count = lowering.shape(node.input(index))[0]
            whole = lowering.view(lowering.plain(node.input(index)), (1, count, 1, units))
            parts.append(_rows(lowering, whole, direction, direction + 1))
    return _joined(lowering, parts, 1, (1, len(parts), 1, units))


def _weights(node: Node, lowering: Lowering, index: int) -> NDArray[np.float32]:
    data: NDArray[Any] | None = lowering.constant(node.input(index))
    if data is None:
        lowering.unsupported(node, "its weights are computed", "make the weights constant")
    return np.asarray(data, np.float32)


def _emit(
    node: Node,
    lowering: Lowering,
    x: str,
    direction: int,
    *,
    reverse: bool,
    every_step: bool,
    first: str | None,
) -> str:
    """One direction: [1, steps, 1, units], or the last step alone; its states if one is given."""
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
    if first is not None:
        names.append(first)
        steps += STATES[cell] - 1
    return lowering.emit(
        Recurrent,
        [x, *names],
        (1, steps, 1, rows // GATES[cell]),
        hint=hint,
        cell=cell,
        reverse=reverse,
        every_step=every_step,
    )


def _rows(lowering: Lowering, tensor: str, first: int, end: int) -> str:
    """Some of the second axis of a tensor of rank 4."""
    shape = lowering.graph_shape(tensor)
    if (first, end) == (0, shape[1]):
        return tensor
    return lowering.emit(
        Slice,
        [tensor],
        (1, end - first, *shape[2:]),
        hint=f"{tensor}.rows",
        begin=(0, first, 0, 0),
        end=(1, end, *shape[2:]),
        step=(1, 1, 1, 1),
    )


def _joined(lowering: Lowering, parts: list[str], axis: int, shape: tuple[int, ...]) -> str:
    if len(parts) == 1:
        return parts[0]
    return lowering.emit(Concat, parts, shape, hint=f"{parts[0]}.joined", axis=axis)
