"""ONNX operators that are written as several simpler ones, before anything else sees them.

Each rule gives the definition that the ONNX specification has for the operator. ``DECOMPOSED`` is
the list of what edgefactor takes in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, Shape, attribute

#: Parts of a product that are worth slices and products of their own.
_MOST_FACTORS = 8


class _Parts:
    """The nodes that take the place of one, as they are added."""

    def __init__(self, graph: OnnxGraph, node: onnx.NodeProto) -> None:
        self.graph = graph
        self.node = node
        self.nodes: list[onnx.NodeProto] = []

    @property
    def shape(self) -> Shape:
        """The shape of the first input."""
        return self.graph.shapes[self.node.input[0]]

    def attribute(self, name: str, default: Any) -> Any:
        return attribute(self.node, name, default)

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def constant(self, array: NDArray[Any]) -> str:
        return self.graph.add_constant(f"{self.node.output[0]}_constant", array)

    def add(self, kind: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """Append a node with one output; the last one added takes over the node's output."""
        name = self.graph.fresh_value(f"{self.node.output[0]}_{kind.lower()}", shape)
        label = f"{self.node.name}_{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=label, **attributes))
        return name

    def reduce(self, kind: str, value: str, *, keep: bool | None = None) -> str:
        """Reduce as the node does: over its axes, into its shape; all axes kept if ``keep``."""
        shape = self.graph.shapes[value]
        axes = self.axes()
        kept = bool(self.attribute("keepdims", 1)) if keep is None else keep
        out = tuple(
            1 if axis in axes else size
            for axis, size in enumerate(shape)
            if kept or axis not in axes
        )
        listed = np.array(axes, np.int64)
        if not axes:
            return self.add("Identity", [value], shape)
        if self.graph.opset >= (13 if kind == "ReduceSum" else 18):
            return self.add(kind, [value, self.constant(listed)], out, keepdims=int(kept))
        return self.add(kind, [value], out, axes=axes, keepdims=int(kept))

    def axes(self) -> list[int]:
        """The axes that the node reduces; none where it changes nothing."""
        given = self.attribute("axes", None)
        if len(self.node.input) > 1 and self.node.input[1]:
            found = self.graph.constants.get(self.node.input[1])
            given = None if found is None else found.reshape(-1).tolist()
        rank = len(self.shape)
        if given:
            return sorted({int(axis) % rank for axis in given})
        return [] if self.attribute("noop_with_empty_axes", 0) else list(range(rank))


Rule = Callable[[_Parts], bool]


def _in_pairs(kind: str) -> Rule:
    """An operator of any number of inputs as a chain of those of two."""

    def rule(parts: _Parts) -> bool:
        first, *rest = parts.node.input
        if len(rest) == 1 and kind == parts.node.op_type:
            return False
        shape, value = parts.shape, first
        for other in rest:
            shape = tuple(np.broadcast_shapes(shape, parts.graph.shapes[other]))
            value = parts.add(kind, [value, other], shape)
        if parts.node.op_type == "Mean":
            parts.add("Mul", [value, parts.number(1 / (1 + len(rest)))], shape)
        elif not rest:
            parts.add("Identity", [value], shape)
        return True

    return rule


def _reduce_min(parts: _Parts) -> bool:
    largest = parts.reduce("ReduceMax", parts.add("Neg", parts.node.input[:1], parts.shape))
    parts.add("Neg", [largest], parts.graph.shapes[largest])
    return True


def _reduced(before: Sequence[str], after: str = "") -> Rule:
    """A sum of what ``before`` makes of each element, and ``after`` of the sum."""

    def rule(parts: _Parts) -> bool:
        value = parts.node.input[0]
        for kind in before:
            inputs = [value, value] if kind == "Mul" else [value]
            value = parts.add(kind, inputs, parts.shape)
        value = parts.reduce("ReduceSum", value)
        if after:
            parts.add(after, [value], parts.graph.shapes[value])
        return True

    return rule


def _reduce_log_sum_exp(parts: _Parts) -> bool:
    x, shape = parts.node.input[0], parts.shape
    largest = parts.reduce("ReduceMax", x, keep=True)
    lower = parts.add("Sub", [x, largest], shape)
    total = parts.reduce("ReduceSum", parts.add("Exp", [lower], shape))
    out = parts.graph.shapes[total]
    log = parts.add("Log", [total], out)
    parts.add("Add", [log, parts.reduce("ReduceMax", x)], out)
    return True


def _reduce_prod(parts: _Parts) -> bool:
    axes, shape, value = parts.axes(), list(parts.shape), parts.node.input[0]
    count = int(np.prod([shape[axis] for axis in axes]))
    if count > _MOST_FACTORS:
        raise UnsupportedOperatorError(
            f"ReduceProd cannot be exported: it is a product of {count} elements, and each "
            "factor adds its rounding to int8",
            where=f"node {parts.node.name}",
            found=f"{parts.node.input[0]} {list(parts.shape)}",
            expected=f"at most {_MOST_FACTORS} factors",
            hint="use the exponential of a sum of logarithms",
        )
    for axis in axes:
        factors = []
        length, shape[axis] = shape[axis], 1
        for index in range(length):
            ends = [parts.constant(np.array([n], np.int64)) for n in (index, index + 1, axis)]
            factors.append(parts.add("Slice", [value, *ends], tuple(shape)))
        value = factors[0]
        for factor in factors[1:]:
            value = parts.add("Mul", [value, factor], tuple(shape))
    kept = bool(parts.attribute("keepdims", 1))
    out = tuple(size for axis, size in enumerate(shape) if kept or axis not in axes)
    parts.add("Reshape", [value, parts.constant(np.array(out, np.int64))], out)
    return True


def _lp_normalization(parts: _Parts) -> bool:
    x, shape = parts.node.input[0], parts.shape
    axis = int(parts.attribute("axis", -1)) % len(shape)
    power = int(parts.attribute("p", 2))
    out = tuple(1 if index == axis else size for index, size in enumerate(shape))
    each = parts.add(*(("Abs", [x], shape) if power == 1 else ("Mul", [x, x], shape)))
    axes = parts.constant(np.array([axis], np.int64))
    norm = parts.add("ReduceSum", [each, axes], out, keepdims=1)
    if power == 2:
        norm = parts.add("Sqrt", [norm], out)
    parts.add("Div", [x, norm], shape)
    return True


def _lrn(parts: _Parts) -> bool:
    """Across channels; the sum over neighbours is a 1x1 convolution with a band of ones."""
    x, shape = parts.node.input[0], parts.shape
    channels, size = shape[1], int(parts.attribute("size", 1))
    alpha, beta = parts.attribute("alpha", 1e-4), parts.attribute("beta", 0.75)
    distance = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    inside = (distance >= -((size - 1) // 2)) & (distance <= size - 1 - (size - 1) // 2)
    weights = (inside * (alpha / size)).astype(np.float32)
    bias = np.full(channels, parts.attribute("bias", 1.0), np.float32)
    squares = parts.add("Mul", [x, x], shape)
    kernel = weights.reshape(channels, channels, *(1 for _ in shape[2:]))
    sums = parts.add("Conv", [squares, parts.constant(kernel), parts.constant(bias)], shape)
    factor = parts.add("Pow", [sums, parts.number(-beta)], shape)
    parts.add("Mul", [x, factor], shape)
    return True


#: ONNX operator -> what writes it as others; False leaves it as it is.
DECOMPOSED: Mapping[str, Rule] = {
    "LRN": _lrn,
    "LpNormalization": _lp_normalization,
    "Max": _in_pairs("Max"),
    "Mean": _in_pairs("Add"),
    "Min": _in_pairs("Min"),
    "ReduceL1": _reduced(["Abs"]),
    "ReduceL2": _reduced(["Mul"], "Sqrt"),
    "ReduceLogSum": _reduced([], "Log"),
    "ReduceLogSumExp": _reduce_log_sum_exp,
    "ReduceMin": _reduce_min,
    "ReduceProd": _reduce_prod,
    "ReduceSumSquare": _reduced(["Mul"]),
    "Sum": _in_pairs("Add"),
}


def decompose(graph: OnnxGraph) -> None:
    """Write every operator of ``DECOMPOSED`` by its rule."""
    for node in list(graph.nodes):
        rule = DECOMPOSED.get(node.op_type)
        if rule is None or any(name and name not in graph.shapes for name in node.input):
            continue
        parts = _Parts(graph, node)
        if rule(parts):
            parts.nodes[-1].output[0] = node.output[0]
            graph.replace([node], parts.nodes)
