"""A GRU that resets before the product (linear_before_reset 0), unrolled into its steps.

The other form, which torch.nn.GRU has, runs as a loop (``export/ops/recurrent``): there a step has
one product with the last result, here it has two, one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.pipeline.passes.parts import Parts

#: Each step adds operators and their arguments to the program.
_MOST_STEPS = 64
_ACTIVATIONS = ("sigmoid", "tanh")


def gru_that_resets_before(parts: Parts) -> bool:
    """ONNX's GRU with linear_before_reset 0; others are left as they are."""
    node, graph = parts.node, parts.graph
    weights = [graph.constants.get(name) for name in node.input[1:3]]
    if parts.attribute("linear_before_reset", 0) or not _is_plain(parts):
        return False
    if weights[0] is None or weights[1] is None:
        return False
    steps = parts.shape[0]
    if steps > _MOST_STEPS:
        raise UnsupportedOperatorError(
            "GRU cannot be exported: it resets before the product, and is unrolled.",
            where=f"node {node.name}",
            found=f"{steps} steps",
            expected=f"at most {_MOST_STEPS}",
            hint="use torch.nn.GRU, which resets after the product and runs as a loop",
        )
    count, rows = weights[1].shape[:2]
    bias = np.zeros((count, 2 * rows), np.float32)
    if len(node.input) > 3 and node.input[3]:
        bias = np.asarray(graph.constants[node.input[3]], np.float32)
    named = {"reverse": (True,), "bidirectional": (False, True)}.get(_direction(parts), (False,))
    states: list[list[str]] = []
    for index, backwards in enumerate(named):
        direction = _Direction(parts, weights[0][index], weights[1][index], bias[index], index)
        states.append(direction.run(backwards))
    _results(parts, states, named)
    return True


def _direction(parts: Parts) -> str:
    value = parts.attribute("direction", "forward")
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_plain(parts: Parts) -> bool:
    """Whether there is nothing that the lowering has to refuse, and all that is known is."""
    node, constants = parts.node, parts.graph.constants
    names = [text.decode().lower() for text in parts.attribute("activations", [])]
    usual = all(name == _ACTIVATIONS[i % 2] for i, name in enumerate(names))
    lengths = constants.get(node.input[4]) if len(node.input) > 4 and node.input[4] else None
    known = len(node.input) < 5 or not node.input[4] or lengths is not None
    whole = lengths is None or bool(np.all(lengths == parts.shape[0]))
    bias = len(node.input) < 4 or not node.input[3] or node.input[3] in constants
    plain = not parts.attribute("layout", 0) and not parts.attribute("clip", 0.0)
    return usual and known and whole and bias and plain


class _Direction:
    """Adds the steps of one direction."""

    def __init__(
        self,
        parts: Parts,
        from_input: NDArray[np.float32],
        from_last: NDArray[np.float32],
        bias: NDArray[np.float32],
        index: int,
    ) -> None:
        self.parts, self.index = parts, index
        self.units = from_last.shape[1]
        rows = len(from_last)
        steps, self.batch, _ = parts.shape
        gates = parts.add(
            "MatMul", [parts.node.input[0], parts.constant(from_input.T.copy())],
            (steps, self.batch, rows),
        )  # fmt: skip
        offsets = parts.constant(bias[:rows] + bias[rows:])
        self.gates = parts.add("Add", [gates, offsets], (steps, self.batch, rows))
        split = 2 * self.units
        self.matrices = [
            parts.constant(part.T.copy()) for part in (from_last[:split], from_last[split:])
        ]

    def run(self, backwards: bool) -> list[str]:
        """The states after each step, in the order of the sequence, [batch, units] each."""
        steps = self.parts.shape[0]
        state, results = self._first(), [""] * steps
        for step in range(steps)[::-1] if backwards else range(steps):
            state = results[step] = self._step(step, state)
        return results

    def _first(self) -> str:
        """The given state; empty for zeros."""
        node = self.parts.node
        if len(node.input) < 6 or not node.input[5]:
            return ""
        held = self.parts.graph.constants.get(node.input[5])
        if held is not None:
            return self.parts.constant(held[self.index])
        part = self._slice(node.input[5], 0, self.index, (1, self.batch, self.units))
        return self.parts.reshape(part, (self.batch, self.units))

    def _slice(self, value: str, axis: int, first: int, shape: tuple[int, ...]) -> str:
        numbers = (first, first + shape[axis], axis)
        ends = [self.parts.constant(np.array([number], np.int64)) for number in numbers]
        return self.parts.add("Slice", [value, *ends], shape)

    def _product(self, state: str, shape: tuple[int, ...]) -> str:
        """A state times the matrix of update and reset gates."""
        constants = self.parts.graph.constants
        if state in constants:
            return self.parts.constant(constants[state] @ constants[self.matrices[0]])
        return self.parts.add("MatMul", [state, self.matrices[0]], shape)

    def _step(self, step: int, state: str) -> str:
        add, units = self.parts.add, self.units
        rows, shape = (self.batch, 3 * units), (self.batch, units)
        gates = self.parts.reshape(self._slice(self.gates, 0, step, (1, *rows)), rows)
        both = self._slice(gates, 1, 0, (self.batch, 2 * units))
        offered = self._slice(gates, 1, 2 * units, shape)
        wide = (self.batch, 2 * units)
        if state:
            both = add("Add", [both, self._product(state, wide)], wide)
        both = add("Sigmoid", [both], wide)
        update = self._slice(both, 1, 0, shape)
        if state:
            recalled = add("Mul", [self._slice(both, 1, units, shape), state], shape)
            product = add("MatMul", [recalled, self.matrices[1]], shape)
            offered = add("Add", [offered, product], shape)
        new = add("Tanh", [offered], shape)
        if not state:
            return add("Sub", [new, add("Mul", [update, new], shape)], shape)
        change = add("Mul", [update, add("Sub", [state, new], shape)], shape)
        return add("Add", [new, change], shape)


def _results(parts: Parts, states: list[list[str]], backwards: tuple[bool, ...]) -> None:
    """All states as the first output and the last ones as the second, where they are named."""
    node = parts.node
    steps, batch, _ = parts.shape
    units = parts.graph.shapes[states[0][0]][1]
    count = len(states)
    last = [own[0] if turned else own[-1] for own, turned in zip(states, backwards, strict=True)]
    named = [bool(name) for name in node.output]
    if len(named) > 1 and named[1]:
        rows = [parts.reshape(value, (1, batch, units)) for value in last]
        parts.add("Concat", rows, (count, batch, units), axis=0)
        parts.nodes[-1].output[0] = node.output[1]
    if named[0]:
        one = (1, count, batch, units)
        by_step = []
        for step in range(steps):
            rows = [parts.reshape(own[step], (1, 1, batch, units)) for own in states]
            by_step.append(parts.add("Concat", rows, one, axis=1) if count > 1 else rows[0])
        parts.add("Concat", by_step, (steps, count, batch, units), axis=0)
        parts.nodes[-1].output[0] = node.output[0]
