"""Masks of attention that are computed from an input: a choice of scores, right before a softmax.

Models write them as numbers: 0 where something may be seen, minus infinity where not, which are
viewed, joined with other masks and added to scores. No range of int8 holds both scores and
infinity, so the choice moves onto the scores and what is left of the mask is a condition:

    Where(c, -inf, x) + y              = Where(c, -inf, x + y)
    Reshape(Where(c, -inf, x))         = Where(Reshape(c), -inf, Reshape(x))
    Where(d, -inf, Where(c, -inf, x))  = Where(d or c, -inf, x)

Only where all that comes of a mask is a softmax or a maximum: there it does not matter which of the
large numbers hides. What the choice hides scores with is settled when their range is known
(``pipeline/passes/settle_masks.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgefactor.pipeline.passes.finite_masks import HIDDEN, MINUS_INFINITY
from edgefactor.pipeline.passes.mask_products import choose_by_products
from edgefactor.pipeline.passes.mask_views import (
    VIEWS,
    constant_widths,
    numeric_view,
    view_condition,
)
from edgefactor.pipeline.passes.mask_ways import READERS, only_hides
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, Shape

#: What functions make of a very large negative number.
_ENDS = {"Exp": 0.0, "HardSigmoid": 0.0, "Relu": 0.0, "Sigmoid": 0.0, "Softplus": 0.0, "Tanh": -1.0}


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
        for hides, number, rest in ((True, first, second), (False, second, first)):
            # The number gives the result no shape.
            whole = self.broadcast(condition, rest)
            if whole is None or whole != self.shape(value):
                continue
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
        self, mask: _Mask, condition: str, rest: str, node: onnx.NodeProto, factor: float = 1.0
    ) -> onnx.NodeProto:
        """The mask's choice with another condition of other values, in the place of a node."""
        least = float(np.min(self.graph.constants[mask.number])) * factor
        name = self.graph.add_constant(f"{node.output[0]}_least", np.array(least, np.float32))
        inputs = [condition, name, rest] if mask.hides else [condition, rest, name]
        return helper.make_node("Where", inputs, node.output, name=node.name)

    def through_view(self, node: onnx.NodeProto) -> bool:
        """A view of a mask of numbers is that of its condition."""
        mask = self.mask(node.input[0]) if node.op_type in VIEWS else None
        rest = None if mask is None else self.constant(mask.rest)
        if mask is None or rest is None or node.output[0] not in self.graph.shapes:
            return False
        shape, target = self.graph.shapes[node.input[0]], self.graph.shapes[node.output[0]]
        view = numeric_view(node, target)
        # A constant of full size keeps the shape of the result, whatever shape the condition has.
        viewed = np.ascontiguousarray(view(np.broadcast_to(rest, shape)))
        name = self.graph.add_constant(f"{node.output[0]}_rest", viewed)
        seen = view_condition(self.graph, mask.condition, shape, view, target)
        new = self.choose(mask, seen.value, name, node)
        self.graph.replace([node], [*seen.nodes, new])
        return True

    def through_pad(self, node: onnx.NodeProto) -> bool:
        """What is added at the ends of a mask of numbers is seen, if its number does not hide."""
        widths = constant_widths(self.graph, node)
        mask = None if widths is None else self.mask(node.input[0])
        rest = None if mask is None else self.constant(mask.rest)
        if mask is None or rest is None or widths is None:
            return False
        number = self.constant(node.input[2]) if node.input[2:] and node.input[2] else None
        value = 0.0 if number is None else float(number.item())
        shape = self.graph.shapes[node.input[0]]
        if value <= HIDDEN or self.shape(mask.condition) != shape:
            return False
        padded = np.pad(np.broadcast_to(rest, shape), widths, constant_values=value)
        name = self.graph.add_constant(f"{node.output[0]}_rest", padded)
        seen = self.graph.add_constant(f"{node.output[0]}_seen", np.array(not mask.hides))
        inputs = [mask.condition, node.input[1], seen]
        label = f"{node.output[0]}_condition"
        condition, pad = self.add("Pad", inputs, label, padded.shape, truth=True)
        self.graph.replace([node], [pad, self.choose(mask, condition, name, node)])
        return True

    def through_function(self, node: onnx.NodeProto) -> bool:
        """A function that ends in a number: what is hidden has that value."""
        mask = self.mask(node.input[0]) if node.op_type in _ENDS else None
        if mask is None or self.constant(mask.rest) is not None:
            return False
        shape = self.shape(mask.rest) or ()
        value, seen = self.add(node.op_type, [mask.rest], f"{node.output[0]}_seen", shape)
        seen.attribute.extend(node.attribute)
        end = np.array(_ENDS[node.op_type], np.float32)
        name = self.graph.add_constant(f"{node.output[0]}_end", end)
        inputs = [mask.condition, name, value] if mask.hides else [mask.condition, value, name]
        where = helper.make_node("Where", inputs, node.output, name=node.name)
        self.graph.replace([node], [seen, where])
        return True

    def broadcast(self, *values: str) -> Shape | None:
        """The shape of values together."""
        shapes = [self.shape(value) for value in values]
        known = [shape for shape in shapes if shape is not None]
        return tuple(np.broadcast_shapes(*known)) if len(known) == len(shapes) else None

    def through_sum(self, node: onnx.NodeProto) -> bool:
        """What is added to a mask is added to what it leaves to see."""
        if node.op_type != "Add" or not only_hides(self.graph, node.output[0]):
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
            times = float(factor.item()) if node.op_type == "Mul" else 1 / float(factor.item())
            scaled = np.asarray(rest * np.float32(times))
            name = self.graph.add_constant(f"{node.output[0]}_rest", scaled)
            new = self.choose(mask, mask.condition, name, node, times)
            self.graph.replace([node], [new])
            return True
        return False

    def joined(self, node: onnx.NodeProto) -> bool:
        """A mask on a mask is one, and so is one on constants that hide."""
        outer = self.mask(node.output[0]) if node.op_type == "Where" else None
        if outer is None or not only_hides(self.graph, node.output[0]):
            return False
        inner = self.mask(outer.rest)
        if inner is not None:
            return self.join(outer, inner.condition, inner.hides, inner.rest, [])
        found = self.held_mask(outer.rest)
        if found is None:
            return False
        held, left = found
        hidden = _without_repeats(np.asarray(held <= HIDDEN))
        name = self.graph.add_constant(f"{node.output[0]}_hidden", hidden)
        # What is not hidden by the constant may be moved by it: a bias by position.
        cleared = np.where(held <= HIDDEN, np.float32(0), held)
        rest = self.graph.add_constant(f"{node.output[0]}_rest", cleared)
        nodes: list[onnx.NodeProto] = []
        if left is not None and np.any(cleared):
            shape = self.shape(outer.rest) or ()
            rest, added = self.add("Add", [left, rest], f"{node.output[0]}_sum", shape)
            nodes.append(added)
        elif left is not None:
            rest = left
        return self.join(outer, name, True, rest, nodes)

    def held_mask(self, value: str) -> tuple[NDArray[Any], str | None] | None:
        """A constant that hides, which a value is or to which scores were added, and those."""
        own = self.constant(value)
        if own is not None:
            return (own, None) if _hides_some(own) else None
        node = self.graph.producer(value)
        if node is None or node.op_type != "Add" or self.graph.only_consumer(value) is None:
            return None
        for index in (0, 1):
            held, other = self.constant(node.input[index]), node.input[1 - index]
            if held is not None and self.shape(other) == self.shape(value) and _hides_some(held):
                return held, other
        return None

    def join(
        self, outer: _Mask, condition: str, hides: bool, rest: str, nodes: list[onnx.NodeProto]
    ) -> bool:
        """Make a mask hide what another condition hides too, and leave ``rest`` to see."""
        node = outer.node
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

    def settle(self, node: onnx.NodeProto) -> bool:
        """No infinity is left where only the largest of a row counts."""
        mask = self.mask(node.output[0]) if node.op_type == "Where" else None
        number = None if mask is None else self.constant(mask.number)
        if mask is None or number is None or np.all(number >= MINUS_INFINITY):
            return False
        if not only_hides(self.graph, node.output[0], READERS):
            return False
        finite = np.maximum(number, np.float32(MINUS_INFINITY)).astype(np.float32)
        name = self.graph.add_constant(f"{mask.number}_finite", np.asarray(finite))
        inputs = [name if value == mask.number else value for value in node.input]
        new = helper.make_node("Where", inputs, node.output, name=node.name)
        self.graph.replace([node], [new])
        return True


def computed_masks(graph: OnnxGraph) -> None:
    """Move every computed mask of numbers onto the scores that it hides."""
    choose_by_products(graph)
    masks = _Masks(graph)
    rules = (
        masks.through_view,
        masks.through_pad,
        masks.through_function,
        masks.through_sum,
        masks.through_factor,
        masks.joined,
        masks.settle,
    )
    masks.look()
    while any(rule(node) for rule in rules for node in list(graph.nodes)):
        masks.look()


def _hides_some(values: NDArray[Any]) -> bool:
    """Whether an array is a mask: some of its numbers hide."""
    hidden = np.asarray(values <= HIDDEN)
    return values.dtype.kind == "f" and bool(hidden.any() and not hidden.all())


def _without_repeats(values: NDArray[Any]) -> NDArray[Any]:
    """An array with one element along axes on which nothing changes."""
    for axis in range(values.ndim):
        first = values.take([0], axis)
        if np.array_equal(np.broadcast_to(first, values.shape), values):
            values = first
    return values
