"""Attention of rows in which everything is hidden: 0, as PyTorch's own kernels give it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make_softmax_safe(model: onnx.ModelProto) -> None:
    """Put 0 in the place of what a softmax of nothing but minus infinity gives in ONNX, NaN.

    ``scaled_dot_product_attention`` gives 0 for such rows, padding that looks only at padding; the
    exporter of PyTorch keeps that for masks of truth values and not for those of numbers. A network
    that does compute NaN has been refused before.
    """
    graph = model.graph
    if not _holds_infinity(graph):
        return
    guarded = {node.input[0] for node in graph.node if node.op_type == "IsNaN"}
    nodes: list[onnx.NodeProto] = []
    zero = "softmax_of_nothing"
    for node in graph.node:
        nodes.append(node)
        out = node.output[0] if node.output else ""
        if node.op_type != "Softmax" or out in guarded:
            continue
        before, broken = f"{out}_unguarded", f"{out}_broken"
        node.output[0] = before
        nodes.append(helper.make_node("IsNaN", [before], [broken], name=broken))
        nodes.append(helper.make_node("Where", [broken, zero, before], [out], name=f"{out}_safe"))
    if len(nodes) > len(graph.node):
        graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), zero))
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _holds_infinity(graph: onnx.GraphProto) -> bool:
    tensors = list(graph.initializer)
    tensors += [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    return any(
        tensor.data_type == TensorProto.FLOAT
        and not tensor.external_data
        and bool(np.isneginf(numpy_helper.to_array(tensor)).any())
        for tensor in tensors
    )
