"""A product with a matrix that is computed: PyTorch's ``addmm``, ONNX's Gemm of two activations."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, attribute


def split_products(graph: OnnxGraph) -> None:
    """A Gemm of two activations becomes Transpose, MatMul, and a Mul and Add where it has them."""
    for node in list(graph.nodes):
        computed = node.op_type == "Gemm" and node.input[1] not in graph.constants
        shapes = [graph.shapes.get(name) for name in node.input[:2]]
        if not computed or None in shapes:
            continue
        new: list[onnx.NodeProto] = []
        operands = []
        for name, key in zip(node.input[:2], ("transA", "transB"), strict=True):
            if attribute(node, key, 0):
                turned = graph.fresh_value(f"{name}_turned", graph.shapes[name][::-1])
                new.append(helper.make_node("Transpose", [name], [turned], perm=[1, 0]))
                name = turned
            operands.append(name)
        shape = graph.shapes[node.output[0]]
        new.append(helper.make_node("MatMul", operands, [""], name=node.name))
        alpha, beta = (float(attribute(node, key, 1.0)) for key in ("alpha", "beta"))
        if alpha != 1:
            _append(graph, new, "Mul", np.float32(alpha), shape)
        if len(node.input) > 2 and node.input[2]:
            added = node.input[2]
            if beta != 1:
                constant = graph.constants.get(added)
                if constant is None:
                    continue  # the lowering refuses it
                added = graph.add_constant(f"{added}_scaled", constant * np.float32(beta))
            _append(graph, new, "Add", added, shape)
        new[-1].output[0] = node.output[0]
        graph.replace([node], new)


def _append(
    graph: OnnxGraph,
    nodes: list[onnx.NodeProto],
    kind: str,
    operand: str | np.float32,
    shape: tuple[int, ...],
) -> None:
    """Add a node that reads the last one's result and another operand."""
    before = nodes[-1]
    before.output[0] = graph.fresh_value(f"{before.name}_product", shape)
    if isinstance(operand, np.float32):
        operand = graph.add_constant(f"{before.name}_factor", np.asarray(operand))
    name = f"{before.name}_{kind.lower()}"
    nodes.append(helper.make_node(kind, [before.output[0], operand], [""], name=name))
