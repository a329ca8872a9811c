"""Masks of attention in one form: a sum of scores and finite numbers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edgefactor.pipeline.passes.onnx_graph import OnnxGraph

#: What a mask may hide scores with, and what takes the place of infinity.
HIDDEN, MINUS_INFINITY = -1e3, -1e9


def finite_masks(graph: OnnxGraph) -> None:
    """A mask that a constant condition puts on scores is a sum; nothing in it is infinite.

    PyTorch also writes the lowest float32, which no factor may make larger.
    """
    for node in list(graph.nodes):
        if _replaces_nan(graph, node):
            graph.replace([node], [helper.make_node("Identity", node.input[2:], node.output)])
        elif node.op_type == "Where" and node.input[0] in graph.constants:
            branches = [graph.constants.get(name) for name in node.input[1:]]
            which = next((i for i, b in enumerate(branches) if b is not None), None)
            if which is None or branches[1 - which] is not None:
                continue
            hidden = branches[which]
            shape = graph.shapes.get(node.input[2 - which])
            if hidden is None or np.any(hidden > HIDDEN) or shape != graph.shapes[node.output[0]]:
                continue
            hides = (
                graph.constants[node.input[0]] if which == 0 else ~graph.constants[node.input[0]]
            )
            mask = np.where(hides, np.float32(MINUS_INFINITY), np.float32(0))
            added = graph.add_constant(f"{node.output[0]}_mask", np.asarray(mask, np.float32))
            new = helper.make_node(
                "Add", [node.input[2 - which], added], node.output, name=node.name
            )
            graph.replace([node], [new])
        elif node.op_type == "Add":
            for index, name in enumerate(node.input):
                values = graph.constants.get(name, np.zeros(0))
                infinite = values < MINUS_INFINITY
                if infinite.any() and not infinite.all():
                    finite = np.where(infinite, np.float32(MINUS_INFINITY), values)
                    node.input[index] = graph.add_constant(f"{name}_finite", finite)


def _replaces_nan(graph: OnnxGraph, node: onnx.NodeProto) -> bool:
    """Whether a node puts something in the place of NaN, which nothing finite computes.

    PyTorch does so after a softmax, for rows in which everything is hidden.
    """
    if node.op_type != "Where":
        return False
    condition = graph.producer(node.input[0])
    return (
        condition is not None
        and condition.op_type == "IsNaN"
        and condition.input[0] == node.input[2]
        and graph.shapes.get(node.input[2]) == graph.shapes.get(node.output[0])
    )
