"""ONNX's Scan and Loop of a fixed number of rounds, written out round by round.

What the rounds compute is then seen like everything else: a loop h = a * h + b becomes one operator
again (``find_scans``), and equal weights are stored once. A loop whose number of rounds depends on
the data, or that holds another or an If, is left for the check that refuses control flow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgefactor.pipeline.passes.onnx_graph import attribute, static_shapes

#: Each round copies the body.
MOST_ROUNDS = 256
_INNER = ("If", "Loop", "Scan", "SequenceMap")


def unroll_loops(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model without the loops whose number of rounds is known.

    Args:
        model: With static shapes where ONNX can infer them.

    Returns:
        The same model if there are none; else a copy.
    """
    if not any(node.op_type in ("Loop", "Scan") for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    unroller = _Unroller(copy)
    nodes: list[onnx.NodeProto] = []
    for node in copy.graph.node:
        nodes.extend(unroller.rounds_of(node) or [node])
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


class _Unroller:
    """Writes loops of one model out; new constants go into its graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.shapes = static_shapes(model)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.constants |= _constant_nodes(model.graph.node)

    def rounds_of(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes of all rounds; None for what is no such loop."""
        if node.domain not in ("", "ai.onnx") or node.op_type not in ("Loop", "Scan"):
            return None
        body: onnx.GraphProto = attribute(node, "body", None)
        if any(inner.op_type in _INNER for inner in body.node):
            return None
        loop = _Rounds(self, node, body)
        return loop.scan() if node.op_type == "Scan" else loop.loop()

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name


class _Rounds:
    """Writes one loop out."""

    def __init__(self, unroller: _Unroller, node: onnx.NodeProto, body: onnx.GraphProto) -> None:
        self.unroller, self.node, self.body = unroller, node, body
        self.prefix = node.name or node.output[0]
        self.nodes: list[onnx.NodeProto] = []
        self.held = {
            tensor.name: unroller.constant(
                f"{self.prefix}/{tensor.name}", numpy_helper.to_array(tensor)
            )
            for tensor in body.initializer
        }

    def scan(self) -> list[onnx.NodeProto] | None:
        """ONNX's Scan, operator set 9 and later: rounds over axes of some of its inputs."""
        count = int(attribute(self.node, "num_scan_inputs", 0))
        states = list(self.node.input[: len(self.node.input) - count])
        sequences = list(self.node.input[len(states) :])
        axes = self._list("scan_input_axes", count)
        turned = self._list("scan_input_directions", count)
        shape = self.unroller.shapes.get(sequences[0]) if sequences else None
        if shape is None or shape[axes[0]] > MOST_ROUNDS:
            return None
        rounds = shape[axes[0]]
        results: list[list[str]] = []
        for number in range(rounds):
            rows = [
                self._row(name, axis, rounds - 1 - number if back else number, number)
                for name, axis, back in zip(sequences, axes, turned, strict=True)
            ]
            outputs = self._round(number, [*states, *rows])
            states, more = outputs[: len(states)], outputs[len(states) :]
            results.append(more)
        self._finish(states, results, "scan_output_")
        return self.nodes

    def loop(self) -> list[onnx.NodeProto] | None:
        """ONNX's Loop with a constant number of rounds and a condition that always holds."""
        known = self.unroller.constants
        names = [*self.node.input, "", ""]
        rounds = known.get(names[0])
        condition = known.get(names[1], None if names[1] else np.array(True))
        if rounds is None or condition is None or not np.all(condition) or not self._goes_on():
            return None
        if not 0 < int(rounds.reshape(())) <= MOST_ROUNDS:
            return None
        holds = self.unroller.constant(f"{self.prefix}/holds", np.array(True))
        states = list(self.node.input[2:])
        results: list[list[str]] = []
        for number in range(int(rounds.reshape(()))):
            count = self.unroller.constant(f"{self.prefix}/{number}", np.array(number, np.int64))
            outputs = self._round(number, [count, holds, *states])[1:]
            states, more = outputs[: len(states)], outputs[len(states) :]
            results.append(more)
        self._finish(states, results, "")
        return self.nodes

    def _goes_on(self) -> bool:
        """Whether the body says that every round has a next one."""
        wanted = self.body.output[0].name
        given = self.body.input[1].name
        held = {t.name: numpy_helper.to_array(t) for t in self.body.initializer}
        held |= _constant_nodes(self.body.node)
        producers = {name: node for node in self.body.node for name in node.output}
        while wanted in producers and producers[wanted].op_type in ("Identity", "Cast"):
            wanted = producers[wanted].input[0]
        return wanted == given or bool(np.all(held.get(wanted, False)))

    def _list(self, name: str, count: int) -> list[int]:
        return [int(value) for value in attribute(self.node, name, [0] * count)]

    def _add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        name = f"{self.prefix}/{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def _row(self, sequence: str, axis: int, place: int, number: int) -> str:
        """One element of a sequence, without its axis."""
        output = f"{self.prefix}/{number}/{sequence}"
        index = self.unroller.constant(f"{output}/place", np.array(place, np.int64))
        return self._add("Gather", [sequence, index], output, axis=axis)

    def _round(self, number: int, values: Sequence[str]) -> list[str]:
        """Append the body with its inputs given; the names of its outputs."""
        names: dict[str, str] = dict(self.held)
        names |= {port.name: value for port, value in zip(self.body.input, values, strict=True)}
        for node in self.body.node:
            fresh = onnx.NodeProto()
            fresh.CopyFrom(node)
            fresh.name = f"{self.prefix}/{number}/{node.name or node.output[0]}"
            renamed = {name: f"{self.prefix}/{number}/{name}" for name in node.output if name}
            fresh.input[:] = [names.get(name, name) for name in node.input]
            fresh.output[:] = [renamed.get(name, "") for name in node.output]
            names |= renamed
            self.nodes.append(fresh)
        return [names.get(port.name, port.name) for port in self.body.output]

    def _finish(self, states: Sequence[str], results: list[list[str]], attributes: str) -> None:
        """Bind the outputs of the loop: the last states, and what all rounds gave."""
        outputs = list(self.node.output)
        for name, value in zip(outputs, states, strict=False):
            if name:
                self._add("Identity", [value], name)
        stacked = outputs[len(states) :]
        axes = self._list(f"{attributes}axes", len(stacked)) if attributes else [0] * len(stacked)
        turned = [0] * len(stacked)
        if attributes:
            turned = self._list(f"{attributes}directions", len(stacked))
        for index, name in enumerate(stacked):
            if not name:
                continue
            where = self.unroller.constant(f"{name}/axis", np.array([axes[index]], np.int64))
            rows = [
                self._add("Unsqueeze", [row[index], where], f"{name}/{number}")
                for number, row in enumerate(results)
            ]
            self._add("Concat", rows[::-1] if turned[index] else rows, name, axis=axes[index])


def _constant_nodes(nodes: Sequence[onnx.NodeProto]) -> Mapping[str, NDArray[Any]]:
    """The arrays of Constant nodes that hold a tensor or a number."""
    found = {}
    for node in nodes:
        if node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            if isinstance(value, onnx.TensorProto):
                value = numpy_helper.to_array(value)
            if not isinstance(value, bytes | list):
                found[node.output[0]] = np.asarray(value)
    return found
