"""Steps of sequences: recurrent layers, loops, running sums, rows of tables."""

from typing import Any

import numpy as np

from tests.zoo.networks.network import LARGEST, TOKENS, Network

_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def recurrent(net: Network, x: str) -> None:
    """A layer in one or two directions over axis 1; all results, and sometimes the last ones."""
    _, steps, inputs = net.shape(x)
    kind = net.choose(list(_GATES))
    units = net.draw.integer(1, 4)
    direction = net.choose(["forward", "reverse", "bidirectional"])
    count = 2 if direction == "bidirectional" else 1
    rows = _GATES[kind] * units
    weights = [net.normal(count, rows, width) for width in (inputs, units)]
    # Few operators take a value whose first axis is no batch.
    turned = net.truth("Transpose", [x], (steps, 1, inputs), perm=[1, 0, 2])
    operands = [turned, *weights]
    operands.append(net.normal(count, 2 * rows) if net.flag() else "")
    if net.flag():
        operands.append("")
        states = 2 if kind == "LSTM" else 1
        for _ in range(states):
            first = net.generator.uniform(-0.9, 0.9, (count, 1, units)).astype(np.float32)
            operands.append(net.constant(first))
    shapes = [(steps, count, 1, units)]
    if net.flag():
        shapes.append((count, 1, units))
    attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    results = net.node(kind, operands, *shapes, **attributes)
    if len(shapes) > 1:
        last = net.nodes[-1].output[1]
        net.truths.add(last)
        shape = (1, count, units)
        net.node("Transpose", [last], shape, perm=[1, 0, 2])
    net.truths.add(results)
    turned = net.node("Transpose", [results], (1, steps, count, units), perm=[2, 0, 1, 3])
    whole = (1, steps, count * units)
    net.node("Reshape", [turned, net.constant(np.array(whole, np.int64))], whole)


def recurrence(net: Network, x: str) -> None:
    """h[t] = a[t] * h[t - 1] + b[t], as exporters unroll it."""
    shape = net.shape(x)
    steps, width = shape[1:]
    if steps < 3:
        return
    decays = net.node("Sigmoid", [x], shape)
    gain = net.constant(net.generator.uniform(0.2, 1, width).astype(np.float32))
    added = net.node("Mul", [x, gain], shape)
    state, states = "", []
    row = (1, 1, width)
    for step in range(steps):
        ends = [net.constant(np.array([n], np.int64)) for n in (step, step + 1, 1)]
        addition = net.node("Slice", [added, *ends], row)
        if state:
            decay = net.node("Slice", [decays, *ends], row)
            addition = net.node("Add", [net.node("Mul", [decay, state], row), addition], row)
        states.append(state := addition)
    net.node("Concat", states, shape, axis=1)


def running_sum(net: Network, x: str) -> None:
    shape = net.shape(x)
    axis = net.draw.integer(1, len(shape) - 1)
    number = net.constant(np.array(axis, np.int64))
    net.node("CumSum", [x, number], shape, reverse=net.draw.integer(0, 1))


def embedding(net: Network, x: str) -> None:
    """Rows of a table by whole parts of a value; sometimes more rows than int8 codes."""
    shape = net.shape(x)
    width = net.draw.integer(1, 3)
    if int(np.prod(shape)) * width > LARGEST or len(shape) > 3:
        return
    size = net.node("Abs", [x], shape)
    found = net.truth("Cast", [size], shape, to=7)
    # No value of a network this small is as large as the shorter table.
    limit = net.constant(np.array(8, np.int64))
    found = net.truth("Min", [found, limit], shape)
    net.node("Gather", [net.normal(net.choose([9, 300]), width), found], (*shape, width))


def tokens(net: Network) -> None:
    """An input of token ids and its rows of a table."""
    count = net.draw.integer(1, 6)
    name = f"t{len(net.inputs)}"
    net.inputs.append(name)
    net.truths.add(name)
    net.tokens.add(name)
    net.shapes[name] = (1, count)
    width = net.draw.integer(1, 5)
    net.node("Gather", [net.normal(TOKENS, width), name], (1, count, width))
