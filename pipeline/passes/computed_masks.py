"""Masks of attention that are computed from an input: a choice of scores, right before a softmax.

Models write them as numbers: 0 where something may be seen, minus infinity where not, which are
viewed, joined with other masks and added to scores. No range of int8 holds both scores and
infinity, so the choice moves onto the scores and what is left of the mask is a condition:

    Where(c, -inf, x) + y              = Where(c, -inf, x + y)
    Reshape(Where(c, -inf, x))         = Where(Reshape(c), -inf, Reshape(x))
    Where(d, -inf, Where(c, -inf, x))  = Where(d or c, -inf, x)
    v * -1e4, of truth values v        = Where(v > 1/2, -1e4, 0)

What the choice hides scores with is settled when their range is known
(``pipeline/passes/settle_masks.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgefactor.pipeline.passes.finite_masks import HIDDEN, MINUS_INFINITY
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, Shape, attribute

#: What looks at the largest of a row, so that anything far below it does not count.
_READERS = ("ArgMax", "GlobalMaxPool", "LogSoftmax", "MaxPool", "ReduceMax", "Softmax")
_VIEWS = ("Expand", "Identity", "Reshape", "Transpose")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mask:
    """A Where that hides.

    Attributes:
        node: The Where.
        condition: Computed truth values.
        hides: Which of them hide: those that hold, or the others.
        number: The constant that hides.
        rest: What is left to see.
    """

    node: onnx.NodeProto
    condition: str
    hides: bool
    number: str
    rest: str


class _Masks:
    """The masks of a graph while they move; each rule returns whether it changed something."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.choices: dict[str, onnx.NodeProto] = {}

    def look(self) -> None:
        """Find the choices that there are."""
        found = (node for node in self.graph.nodes if node.op_type == "Where")
        self.choices = {node.output[0]: node for node in found}

    def constant(self, value: str) -> NDArray[Any] | None:
        return self.graph.constants.get(value)

    def shape(self, value: str) -> Shape | None:
        held = self.constant(value)
        return self.graph.shapes.get(value) if held is None else held.shape

    def hides_all(self, value: str) -> bool:
        found = self.constant(value)
        return found is not None and found.dtype.kind == "f" and bool(np.all(found <= HIDDEN))

    def mask(self, value: str) -> _Mask | None:
        """The mask that computes a value."""
        node = self.choices.get(value)
        if node is None or self.constant(node.input[0]) is not None:
            return None
        condition, first, second = node.input
        if any(self.shape(name) is None for name in (*node.input, *node.output)):
            return None
        for hides, number, rest in ((True, first, second), (False, second, first)):
            if self.hides_all(number) and not self.hides_all(rest):
                return _Mask(node=node, condition=condition, hides=hides, number=number, rest=rest)
        return None

    def add(
        self, kind: str, inputs: list[str], name: str, shape: Shape, truth: bool = False
    ) -> tuple[str, onnx.NodeProto]:
        value = self.graph.fresh_value(name, shape)
        if truth:
            self.graph.types[value] = TensorProto.BOOL
        return value, helper.make_node(kind, inputs, [value], name=value)

    def choose(
        self, mask: _Mask, condition: str, rest: str, node: onnx.NodeProto
    ) -> onnx.NodeProto:
        """The mask's choice with another condition of other values, in the place of a node."""
        inputs = [condition, mask.number, rest] if mask.hides else [condition, rest, mask.number]
        number = self.constant(mask.number)
        if number is not None and number.ndim and number.size > 1:
            least = self.graph.add_constant(f"{mask.number}_least", np.array(number.min()))
            inputs = [least if name == mask.number else name for name in inputs]
        return helper.make_node("Where", inputs, node.output, name=node.name)

    def through_view(self, node: onnx.NodeProto) -> bool:
        """A view of a mask of numbers is that of its condition."""
        mask = self.mask(node.input[0]) if node.op_type in _VIEWS else None
        rest = None if mask is None else self.constant(mask.rest)
        if mask is None or rest is None or node.output[0] not in self.graph.shapes:
            return False
        shape, target = self.graph.shapes[node.input[0]], self.graph.shapes[node.output[0]]
        view = _numeric_view(node, target)
        # A constant of full size keeps the shape of the result, whatever shape the condition has.
        viewed = view(np.broadcast_to(rest, shape))
        name = self.graph.add_constant(f"{node.output[0]}_rest", np.ascontiguousarray(viewed))
        condition, nodes = self.viewed_condition(mask.condition, shape, view, target)
        self.graph.replace([node], [*nodes, self.choose(mask, condition, name, node)])
        return True

    def viewed_condition(
        self,
        condition: str,
        shape: Shape,
        view: Callable[[NDArray[Any]], NDArray[Any]],
        target: Shape,
    ) -> tuple[str, list[onnx.NodeProto]]:
        """A condition after a view, with axes of 1 where it is the same all along."""
        own = self.graph.shapes[condition]
        numbers = np.arange(np.prod(own, dtype=np.int64)).reshape(own)
        wanted = view(np.broadcast_to(numbers, shape))
        for small in _shapes_within(target, numbers.size):
            if np.array_equal(np.broadcast_to(numbers.reshape(small), target), wanted):
                if small == own:
                    return condition, []
                sizes = self.graph.add_constant(f"{condition}_sizes", np.array(small, np.int64))
                value, node = self.add(
                    "Reshape", [condition, sizes], f"{condition}_view", small, truth=True
                )
                return value, [node]
        flat = self.graph.add_constant(f"{condition}_flat", np.array([numbers.size], np.int64))
        row, first = self.add(
            "Reshape", [condition, flat], f"{condition}_row", (numbers.size,), truth=True
        )
        places = self.graph.add_constant(f"{condition}_places", np.ascontiguousarray(wanted))
        value, second = self.add("Gather", [row, places], f"{condition}_view", target, truth=True)
        return value, [first, second]

    def broadcast(self, *values: str) -> Shape | None:
        """The shape of values together."""
        shapes = [self.shape(value) for value in values]
        known = [shape for shape in shapes if shape is not None]
        return tuple(np.broadcast_shapes(*known)) if len(known) == len(shapes) else None

    def through_sum(self, node: onnx.NodeProto) -> bool:
        """What is added to a mask is added to what it leaves to see."""
        if node.op_type != "Add":
            return False
        for index in (0, 1):
            mask, other = self.mask(node.input[index]), node.input[1 - index]
            shape = None if mask is None else self.broadcast(mask.rest, other)
            if mask is None or shape is None:
                continue
            rest, nodes = self.sum(mask.rest, other, shape, node)
            if self.broadcast(mask.condition, rest) != self.shape(node.output[0]):
                continue
            self.graph.replace([node], [*nodes, self.choose(mask, mask.condition, rest, node)])
            return True
        return False

    def sum(
        self, first: str, second: str, shape: Shape, node: onnx.NodeProto
    ) -> tuple[str, list[onnx.NodeProto]]:
        held, other = self.constant(first), self.constant(second)
        if held is not None and other is not None:
            return self.graph.add_constant(f"{node.output[0]}_sum", held + other), []
        if held is not None and not np.any(held):
            return second, []
        value, added = self.add("Add", [first, second], f"{node.output[0]}_sum", shape)
        return value, [added]

    def through_factor(self, node: onnx.NodeProto) -> bool:
        """A positive number times a mask multiplies what it leaves to see."""
        if node.op_type not in ("Mul", "Div"):
            return False
        for index in (0, 1) if node.op_type == "Mul" else (0,):
            mask, factor = self.mask(node.input[index]), self.constant(node.input[1 - index])
            if mask is None or factor is None or factor.size != 1 or float(factor.item()) <= 0:
                continue
            rest = self.constant(mask.rest)
            if rest is None or factor.ndim > rest.ndim:
                continue
            scaled = rest * factor if node.op_type == "Mul" else rest / factor
            name = self.graph.add_constant(f"{node.output[0]}_rest", np.asarray(scaled, np.float32))
            self.graph.replace([node], [self.choose(mask, mask.condition, name, node)])
            return True
        return False

    def joined(self, node: onnx.NodeProto) -> bool:
        """A mask on a mask is one, and so is one on constants that hide."""
        outer = self.mask(node.output[0]) if node.op_type == "Where" else None
        if outer is None:
            return False
        inner = self.mask(outer.rest)
        if inner is not None:
            return self.join(outer, inner.condition, inner.hides, inner.rest, inner)
        held, left = self.held_mask(outer.rest)
        if held is None:
            return False
        hidden = _without_repeats(np.asarray(held <= HIDDEN))
        name = self.graph.add_constant(f"{node.output[0]}_hidden", hidden)
        if left is None:
            zeros = np.zeros(held.shape, np.float32)
            left = self.graph.add_constant(f"{node.output[0]}_rest", zeros)
        return self.join(outer, name, True, left, outer)

    def held_mask(self, value: str) -> tuple[NDArray[Any] | None, str | None]:
        """A constant mask that a value is, or to which scores were added, and those scores."""
        own = self.constant(value)
        if own is not None:
            return (own, None) if _only_hides(own) else (None, None)
        node = next((n for n in self.graph.nodes if value in n.output), None)
        if node is None or node.op_type != "Add" or self.graph.only_consumer(value) is None:
            return None, None
        for index in (0, 1):
            held = self.constant(node.input[index])
            other = node.input[1 - index]
            same = self.graph.shapes.get(other) == self.graph.shapes[value]
            if held is not None and same and _only_hides(held):
                return held, other
        return None, None

    def join(self, outer: _Mask, condition: str, hides: bool, rest: str, inner: _Mask) -> bool:
        node = outer.node
        nodes: list[onnx.NodeProto] = []
        if hides != outer.hides:
            held = self.constant(condition)
            if held is not None:
                condition = self.graph.add_constant(f"{condition}_not", ~held.astype(bool))
            else:
                condition, turned = self.add(
                    "Not", [condition], f"{condition}_not", self.graph.shapes[condition], truth=True
                )
                nodes.append(turned)
        both = self.broadcast(outer.condition, condition)
        if both is None or self.broadcast(node.output[0], condition, rest) != self.shape(
            node.output[0]
        ):
            return False
        joined, added = self.add(
            "Or" if outer.hides else "And",
            [outer.condition, condition],
            f"{node.output[0]}_condition",
            both,
            truth=True,
        )
        self.graph.replace([node], [*nodes, added, self.choose(outer, joined, rest, node)])
        return True

    def from_product(self, node: onnx.NodeProto) -> bool:
        """Truth values times a large number: 1 hides. They may be counted down: -1 to 0."""
        if node.op_type != "Mul" or node.output[0] not in self.graph.shapes:
            return False
        for index in (0, 1):
            factor, truth = self.constant(node.input[1 - index]), node.input[index]
            if factor is None or factor.size != 1 or abs(float(factor.item())) < -HIDDEN:
                continue
            shape = self.shape(truth)
            if shape is None or not self.leads_to_softmax(node.output[0]):
                continue
            negative = float(factor.item()) < 0
            half = np.array(0.5 if negative else -0.5, np.float32)
            name = node.output[0]
            inputs = [truth, self.graph.add_constant(f"{name}_half", half)]
            kind = "Greater" if negative else "Less"
            condition, compare = self.add(kind, inputs, f"{name}_condition", shape, truth=True)
            number = np.array(-abs(float(factor.item())), np.float32)
            zeros = np.zeros(self.graph.shapes[name], np.float32)
            chosen = [
                condition,
                self.graph.add_constant(f"{name}_number", number),
                self.graph.add_constant(f"{name}_rest", zeros),
            ]
            where = helper.make_node("Where", chosen, node.output, name=node.name)
            self.graph.replace([node], [compare, where])
            return True
        return False

    def readers(self, value: str) -> Iterator[onnx.NodeProto]:
        """What reads a value in the end: views are passed through."""
        for node in self.graph.consumers(value):
            if node.op_type in ("Reshape", "Transpose", "Identity"):
                yield from self.readers(node.output[0])
            else:
                yield node

    def leads_to_softmax(self, value: str) -> bool:
        """Whether a value is added to what a softmax reads, and serves for nothing else."""
        readers = self.graph.consumers(value)
        passes = ("Add", *_VIEWS)
        return bool(readers) and all(
            node.op_type in ("Softmax", "LogSoftmax")
            or (node.op_type in passes and self.leads_to_softmax(node.output[0]))
            for node in readers
        )

    def settle(self, node: onnx.NodeProto) -> bool:
        """No infinity is left where only the largest of a row counts."""
        mask = self.mask(node.output[0]) if node.op_type == "Where" else None
        number = None if mask is None else self.constant(mask.number)
        if mask is None or number is None or np.all(number >= MINUS_INFINITY):
            return False
        readers = list(self.readers(node.output[0]))
        if not readers or any(reader.op_type not in _READERS for reader in readers):
            return False
        finite = np.maximum(number, np.float32(MINUS_INFINITY)).astype(np.float32)
        name = self.graph.add_constant(f"{mask.number}_finite", np.asarray(finite))
        inputs = [name if value == mask.number else value for value in node.input]
        new = helper.make_node("Where", inputs, node.output, name=node.name)
        self.graph.replace([node], [new])
        return True


def computed_masks(graph: OnnxGraph) -> None:
    """Move every computed mask of numbers onto the scores that it hides."""
    masks = _Masks(graph)
    rules = (
        masks.from_product,
        masks.through_view,
        masks.through_sum,
        masks.through_factor,
        masks.joined,
        masks.settle,
    )
    masks.look()
    while any(rule(node) for rule in rules for node in list(graph.nodes)):
        masks.look()


def _only_hides(values: NDArray[Any]) -> bool:
    """Whether an array is a mask: zeros and numbers that hide."""
    if values.dtype.kind != "f":
        return False
    hidden = np.asarray(values <= HIDDEN)
    return bool(hidden.any() and not np.any(values[~hidden]))


def _without_repeats(values: NDArray[Any]) -> NDArray[Any]:
    """An array with one element along axes on which nothing changes."""
    for axis in range(values.ndim):
        first = values.take([0], axis)
        if np.array_equal(np.broadcast_to(first, values.shape), values):
            values = first
    return values


def _numeric_view(node: onnx.NodeProto, target: Shape) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """What a view does to an array."""
    if node.op_type == "Transpose":
        perm = attribute(node, "perm", list(range(len(target)))[::-1])
        return lambda array: np.transpose(array, perm)
    if node.op_type == "Expand":
        return lambda array: np.broadcast_to(array, target)
    return lambda array: array.reshape(target)


def _shapes_within(target: Shape, elements: int) -> Iterator[Shape]:
    """The shapes of so many elements that broadcast to a shape."""
    for kept in itertools.product((False, True), repeat=len(target)):
        shape = tuple(size if keep else 1 for keep, size in zip(kept, target, strict=True))
        if int(np.prod(shape, dtype=np.int64)) == elements:
            yield shape
