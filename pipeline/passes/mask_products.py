"""Masks that are whole numbers times a large one, ``(1 - mask) * -10000``: choices of 0 and it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgefactor.pipeline.passes.finite_masks import HIDDEN
from edgefactor.pipeline.passes.mask_views import VIEWS
from edgefactor.pipeline.passes.mask_ways import only_hides
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph

_WHOLE = (TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64)


def choose_by_products(graph: OnnxGraph) -> None:
    """V * -1e4, of whole numbers v, is Where(v > 1/2, -1e4, 0); (v - 1) * 1e4 hides where v is 0.

    Only where all that comes of it is a softmax.
    """
    for node in list(graph.nodes):
        if node.op_type == "Mul" and only_hides(graph, node.output[0]):
            _choose(graph, node)


def _choose(graph: OnnxGraph, node: onnx.NodeProto) -> None:
    name = node.output[0]
    for index in (0, 1):
        factor, truth = graph.constants.get(node.input[1 - index]), node.input[index]
        shape = graph.shapes.get(truth)
        if factor is None or factor.size != 1 or shape is None or shape != graph.shapes.get(name):
            continue
        number, below = float(factor.item()), _is_below_one(graph, truth)
        if number * (-1 if below else 1) > HIDDEN or not _is_whole(graph, truth):
            continue
        half = np.array(-0.5 if below else 0.5, np.float32)
        inputs = [truth, graph.add_constant(f"{name}_half", half)]
        condition = graph.fresh_value(f"{name}_condition", shape)
        graph.types[condition] = TensorProto.BOOL
        kind = "Less" if below else "Greater"
        compare = helper.make_node(kind, inputs, [condition], name=condition)
        chosen = [
            condition,
            graph.add_constant(f"{name}_least", np.array(-abs(number), np.float32)),
            graph.add_constant(f"{name}_rest", np.zeros(shape, np.float32)),
        ]
        where = helper.make_node("Where", chosen, node.output, name=node.name)
        graph.replace([node], [compare, where])
        return


def _is_below_one(graph: OnnxGraph, value: str) -> bool:
    """Whether a value is another one less 1."""
    node = graph.producer(value)
    held = graph.constants.get(node.input[1]) if node and node.op_type == "Sub" else None
    return held is not None and bool(np.all(held == 1))


def _is_whole(graph: OnnxGraph, value: str) -> bool:
    """Whether a value can only be a whole number: of truth values, or of an input of such."""
    held, node = graph.constants.get(value), graph.producer(value)
    if held is not None:
        return bool(np.all(held == np.rint(held)))
    if node is None:
        return False
    if node.op_type == "Cast":
        return graph.types.get(node.input[0], TensorProto.FLOAT) in _WHOLE
    inputs = node.input[:1] if node.op_type in VIEWS else node.input
    return node.op_type in ("Sub", *VIEWS) and all(_is_whole(graph, name) for name in inputs)
