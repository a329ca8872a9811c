"""Views of conditions that are the same along some axes: they stay so."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, Shape, attribute

VIEWS = ("Expand", "Identity", "Reshape", "Transpose")
View = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCondition:
    """A condition after a view, and the nodes that compute it."""

    value: str
    nodes: tuple[onnx.NodeProto, ...] = ()


def numeric_view(node: onnx.NodeProto, target: Shape) -> View:
    """What a node of ``VIEWS`` does to an array; ``target`` is the shape of its result."""
    if node.op_type == "Transpose":
        perm = attribute(node, "perm", list(range(len(target)))[::-1])
        return lambda array: np.transpose(array, perm)
    if node.op_type == "Expand":
        return lambda array: np.broadcast_to(array, target)
    return lambda array: array.reshape(target)


def constant_widths(graph: OnnxGraph, node: onnx.NodeProto) -> list[tuple[int, int]] | None:
    """How many elements a Pad adds before and behind each axis; None where it is not so simple."""
    if node.op_type != "Pad" or attribute(node, "mode", b"constant") != b"constant":
        return None
    listed = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    if listed is None or len(node.input) > 3 or np.any(listed < 0):
        return None
    rank = listed.size // 2
    return [(int(listed[axis]), int(listed[axis + rank])) for axis in range(rank)]


def view_condition(
    graph: OnnxGraph, condition: str, shape: Shape, view: View, target: Shape
) -> SeenCondition:
    """A condition as a view of what it is broadcast to shows it.

    Args:
        graph: Where new values get their names.
        condition: Truth values.
        shape: What the condition broadcasts to before the view.
        view: Of arrays of this shape.
        target: The shape after it.

    Returns:
        A condition that broadcasts to ``target``; of as many elements as before where the view
        keeps together what is the same.
    """
    own = graph.shapes[condition]
    count = int(np.prod(own, dtype=np.int64))
    numbers = np.arange(count).reshape(own)
    wanted = view(np.broadcast_to(numbers, shape))
    made: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], result: Shape) -> str:
        value = graph.fresh_value(f"{condition}_view", result)
        graph.types[value] = TensorProto.BOOL
        made.append(helper.make_node(kind, inputs, [value], name=value))
        return value

    for small in _shapes_within(target, count):
        if not np.array_equal(np.broadcast_to(numbers.reshape(small), target), wanted):
            continue
        if small == own:
            return SeenCondition(value=condition)
        sizes = graph.add_constant(f"{condition}_sizes", np.array(small, np.int64))
        value = add("Reshape", [condition, sizes], small)
        return SeenCondition(value=value, nodes=tuple(made))
    sizes = graph.add_constant(f"{condition}_sizes", np.array([count], np.int64))
    row = add("Reshape", [condition, sizes], (count,))
    places = graph.add_constant(f"{condition}_places", np.ascontiguousarray(wanted))
    value = add("Gather", [row, places], target)
    return SeenCondition(value=value, nodes=tuple(made))


def _shapes_within(target: Shape, elements: int) -> Iterator[Shape]:
    """The shapes of so many elements that broadcast to a shape."""
    for kept in itertools.product((False, True), repeat=len(target)):
        shape = tuple(size if keep else 1 for keep, size in zip(kept, target, strict=True))
        if int(np.prod(shape, dtype=np.int64)) == elements:
            yield shape
