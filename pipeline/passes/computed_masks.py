"""Masks of attention that are computed from an input: a choice of scores, right before a softmax.

Models write them as numbers: 0 where something may be seen, minus infinity where not, which are
viewed, joined with other masks and added to scores. No range of int8 holds both scores and
infinity, so the choice moves onto the scores and what is left of the mask is a condition:

    Where(c, -inf, x) + y              = Where(c, -inf, x + y)
    Reshape(Where(c, -inf, x))         = Where(Reshape(c), -inf, Reshape(x))
    Where(d, -inf, Where(c, -inf, x))  = Where(d or c, -inf, x)
    v * -1e4, of truth values v        = Where(v > 1/2, -1e4, 0)

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
from edgefactor.pipeline.passes.mask_views import VIEWS, numeric_view, view_condition
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, Shape

#: What looks at the largest of a row, so that anything far below it does not count.
_SOFTMAX = ("LogSoftmax", "Softmax")
_READERS = (*_SOFTMAX, "ArgMax", "GlobalMaxPool", "MaxPool", "ReduceMax")
_WHOLE = (TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64)
#: What masked scores may pass on the way there.
_STEPS = ("Add", "Where", *VIEWS)


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

    def only_hides(self, value: str, readers: tuple[str, ...] = _SOFTMAX) -> bool:
        """Whether every way from a value leads to an operator of ``readers``."""
        ways = self.graph.consumers(value)
        return bool(ways) and all(
            node.op_type in readers
            or (node.op_type in _STEPS and self.only_hides(node.output[0], readers))
            for node in ways
        )

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

    def broadcast(self, *values: str) -> Shape | None:
        """The shape of values together."""
        shapes = [self.shape(value) for value in values]
        known = [shape for shape in shapes if shape is not None]
        return tuple(np.broadcast_shapes(*known)) if len(known) == len(shapes) else None

    def through_sum(self, node: onnx.NodeProto) -> bool:
        """What is added to a mask is added to what it leaves to see."""
        if node.op_type != "Add" or not self.only_hides(node.output[0]):
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
        if outer is None or not self.only_hides(node.output[0]):
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
        node = self.producer(value)
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

    def from_product(self, node: onnx.NodeProto) -> bool:
        """Whole numbers v times a large one: 1 hides; with v - 1, 0 does."""
        if node.op_type != "Mul" or not self.only_hides(node.output[0]):
            return False
        for index in (0, 1):
            factor, truth = self.constant(node.input[1 - index]), node.input[index]
            shape = self.shape(truth)
            if factor is None or factor.size != 1 or shape != self.shape(node.output[0]):
                continue
            number, below = float(factor.item()), self.is_below_one(truth)
            if number * (-1 if below else 1) > HIDDEN or not self.is_whole(truth):
                continue
            name = node.output[0]
            half = np.array(-0.5 if below else 0.5, np.float32)
            inputs = [truth, self.graph.add_constant(f"{name}_half", half)]
            kind = "Less" if below else "Greater"
            condition, compare = self.add(
                kind, inputs, f"{name}_condition", shape or (), truth=True
            )
            least = np.array(-abs(number), np.float32)
            chosen = [
                condition,
                self.graph.add_constant(f"{name}_least", least),
                self.graph.add_constant(
                    f"{name}_rest", np.zeros(self.graph.shapes[name], np.float32)
                ),
            ]
            where = helper.make_node("Where", chosen, node.output, name=node.name)
            self.graph.replace([node], [compare, where])
            return True
        return False

    def producer(self, value: str) -> onnx.NodeProto | None:
        return next((n for n in self.graph.nodes if value in n.output), None)

    def is_below_one(self, value: str) -> bool:
        """Whether a value is another one less 1."""
        node = self.producer(value)
        held = None if node is None or node.op_type != "Sub" else self.constant(node.input[1])
        return held is not None and bool(np.all(held == 1))

    def is_whole(self, value: str) -> bool:
        """Whether a value can only be a whole number: of truth values, or of an input of such."""
        held, node = self.constant(value), self.producer(value)
        if held is not None:
            return bool(np.all(held == np.rint(held)))
        if node is None:
            return False
        if node.op_type == "Cast":
            return self.graph.types.get(node.input[0], TensorProto.FLOAT) in _WHOLE
        inputs = node.input[:1] if node.op_type in VIEWS else node.input
        return node.op_type in ("Sub", *VIEWS) and all(self.is_whole(name) for name in inputs)

    def settle(self, node: onnx.NodeProto) -> bool:
        """No infinity is left where only the largest of a row counts."""
        mask = self.mask(node.output[0]) if node.op_type == "Where" else None
        number = None if mask is None else self.constant(mask.number)
        if mask is None or number is None or np.all(number >= MINUS_INFINITY):
            return False
        if not self.only_hides(node.output[0], _READERS):
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
