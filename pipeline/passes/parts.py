"""The nodes that take the place of an ONNX operator, as a rule adds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, Shape, attribute


class Parts:
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
        """An attribute of the node, or ``default``."""
        return attribute(self.node, name, default)

    def number(self, value: float) -> str:
        """A constant number."""
        return self.constant(np.array(value, np.float32))

    def constant(self, array: NDArray[Any]) -> str:
        """A constant."""
        return self.graph.add_constant(f"{self.node.output[0]}_constant", array)

    def add(self, kind: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """Append a node with one output; the last one added takes over the node's output."""
        name = self.graph.fresh_value(f"{self.node.output[0]}_{kind.lower()}", shape)
        label = f"{self.node.name}_{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=label, **attributes))
        return name

    def reshape(self, value: str, shape: Shape) -> str:
        """Append a Reshape."""
        return self.add("Reshape", [value, self.constant(np.array(shape, np.int64))], shape)

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


#: Adds the parts of a node; False leaves the node as it is.
Rule = Callable[[Parts], bool]
