"""Passes that give every ONNX model one form, so that the lowering has few cases.

Each pass takes the graph and edits it. They rely on static shapes and on constants being
initializers, and keep the result equal to float rounding; the tests compare before and after in
ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgefactor.pipeline.passes.computed_masks import computed_masks
from edgefactor.pipeline.passes.decompose import decompose
from edgefactor.pipeline.passes.finite_masks import finite_masks
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, attribute
from edgefactor.pipeline.passes.split_products import split_products

_BROADCASTING = {
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min",
    "Mul", "Or", "Sub", "Where", "Xor",
}  # fmt: skip
_VIEWS = ("Flatten", "Squeeze", "Unsqueeze", "Reshape")


def canonicalise(graph: OnnxGraph) -> None:
    """Runs all passes in order."""
    for one_pass in PASSES:
        one_pass(graph)


def remove_identities(graph: OnnxGraph) -> None:
    """Identity, Dropout at inference, and Cast between equal types go."""
    for node in list(graph.nodes):
        if node.op_type not in ("Identity", "Dropout") or not node.input[0]:
            continue
        if len(node.input) > 2 and np.any(graph.constants.get(node.input[2], True)):
            continue  # a Dropout in training mode is no identity; the lowering says so
        if any(name in graph.outputs for name in node.output):
            # The output keeps its name; it is the producer that takes it over, if it may.
            producer = next((n for n in graph.nodes if node.input[0] in n.output), None)
            if producer is None or node.input[0] in graph.outputs:
                continue
            old, new = node.input[0], node.output[0]
            graph.nodes = [n for n in graph.nodes if n is not node]
            graph.rename_input(old, new)
            for position, name in enumerate(producer.output):
                if name == old:
                    producer.output[position] = new
            continue
        graph.nodes = [n for n in graph.nodes if n is not node]
        graph.rename_input(node.output[0], node.input[0])


def make_views_static(graph: OnnxGraph) -> None:
    """Flatten, Squeeze, Unsqueeze and every Reshape become Reshape to plain sizes."""
    for node in list(graph.nodes):
        if node.op_type not in _VIEWS or node.output[0] not in graph.shapes:
            continue
        shape = graph.shapes[node.output[0]]
        if node.input[0] in graph.shapes and graph.shapes[node.input[0]] == shape:
            node.op_type = "Identity"
            del node.attribute[:], node.input[1:]
            continue
        sizes = graph.add_constant(f"{node.output[0]}_shape", np.asarray(shape, np.int64))
        new = helper.make_node("Reshape", [node.input[0], sizes], node.output[:1], name=node.name)
        graph.replace([node], [new])


def matmul_to_gemm(graph: OnnxGraph) -> None:
    """A product with a constant matrix, and the constant added to it, become one Gemm.

    Inputs of more than two axes are flattened to rows first and get their shape back after.
    """
    for node in list(graph.nodes):
        weights = graph.constants.get(node.input[1]) if node.op_type == "MatMul" else None
        shape = graph.shapes.get(node.input[0])
        if weights is None or weights.ndim != 2 or shape is None or len(shape) < 2:
            continue
        weight_name = graph.add_constant(f"{node.input[1]}_T", np.ascontiguousarray(weights.T))
        old, inputs = [node], [node.input[0], weight_name]
        follower = graph.only_consumer(node.output[0])
        if follower is not None and follower.op_type == "Add":
            other = follower.input[1 if follower.input[0] == node.output[0] else 0]
            bias = graph.constants.get(other)
            if bias is not None and _is_bias(bias, weights.shape[1]):
                row = np.broadcast_to(bias.reshape(-1), (weights.shape[1],))
                inputs.append(graph.add_constant(f"{other}_row", np.ascontiguousarray(row)))
                old.append(follower)
        output = old[-1].output[0]
        graph.replace(old, _gemm_on_rows(graph, node.name, inputs, output, shape))


def _is_bias(array: NDArray[np.generic], features: int) -> bool:
    # Only the last axis may be longer than 1; a bias that differs by row is a real addition.
    return array.size == 1 or (array.shape[-1] == features == array.size)


def _gemm_on_rows(
    graph: OnnxGraph, name: str, inputs: list[str], output: str, shape: tuple[int, ...]
) -> list[onnx.NodeProto]:
    if len(shape) == 2:
        return [helper.make_node("Gemm", inputs, [output], name=name, transB=1)]
    rows = int(np.prod(shape[:-1]))
    features = graph.constants[inputs[1]].shape[0]
    flat = graph.fresh_value(f"{output}_rows_in", (rows, shape[-1]))
    wide = graph.fresh_value(f"{output}_rows_out", (rows, features))
    flat_shape = graph.add_constant(f"{flat}_shape", np.asarray((rows, shape[-1]), np.int64))
    full_shape = graph.add_constant(
        f"{output}_shape", np.asarray((*shape[:-1], features), np.int64)
    )
    return [
        helper.make_node("Reshape", [inputs[0], flat_shape], [flat], name=f"{name}_rows"),
        helper.make_node("Gemm", [flat, *inputs[1:]], [wide], name=name, transB=1),
        helper.make_node("Reshape", [wide, full_shape], [output], name=f"{name}_shape"),
    ]


def normalise_gemm(graph: OnnxGraph) -> None:
    """Gemm with constant weights gets transB=1, alpha=beta=1 and a bias of one value a row."""
    for node in list(graph.nodes):
        weights = graph.constants.get(node.input[1]) if node.op_type == "Gemm" else None
        if weights is None or weights.ndim != 2 or attribute(node, "transA", 0):
            continue
        alpha, beta = (np.float32(attribute(node, key, 1.0)) for key in ("alpha", "beta"))
        rows = weights if attribute(node, "transB", 0) else weights.T
        inputs = list(node.input)
        if len(inputs) > 2 and inputs[2]:
            bias = graph.constants.get(inputs[2])
            if bias is None or not _is_bias(bias, rows.shape[0]):
                _add_after(graph, node)
                continue
            full = np.broadcast_to(bias.reshape(-1), (rows.shape[0],)) * beta
            if bias.shape != full.shape or beta != 1:
                inputs[2] = graph.add_constant(f"{inputs[2]}_row", full.astype(np.float32))
        if alpha != 1 or rows is not weights:
            scaled = np.ascontiguousarray(rows * alpha, dtype=np.float32)
            inputs[1] = graph.add_constant(f"{inputs[1]}_T", scaled)
        new = helper.make_node("Gemm", inputs, node.output, name=node.name, transB=1)
        graph.replace([node], [new])


def _add_after(graph: OnnxGraph, node: onnx.NodeProto) -> None:
    """What a Gemm adds that is no bias, a matrix or an activation, becomes an Add of its own."""
    beta, added = np.float32(attribute(node, "beta", 1.0)), graph.constants.get(node.input[2])
    if beta != 1 and added is None:
        return
    other = node.input[2]
    if added is not None:
        scaled = (added * beta).astype(np.float32)
        other = graph.add_constant(f"{other}_scaled", scaled) if beta != 1 else other
    product = graph.fresh_value(f"{node.output[0]}_product", graph.shapes[node.output[0]])
    new = onnx.NodeProto()
    new.CopyFrom(node)
    del new.input[2:], new.output[:]
    new.output.append(product)
    total = helper.make_node("Add", [product, other], node.output, name=f"{node.name}_add")
    graph.replace([node], [new, total])


def fold_batch_norm(graph: OnnxGraph) -> None:
    """Batch norm after a convolution or Gemm that nothing else reads goes into its weights."""
    for node in list(graph.nodes):
        if node.op_type != "BatchNormalization" or any(node.output[1:]):
            continue
        producer = next((n for n in graph.nodes if node.input[0] in n.output), None)
        if producer is None or producer.op_type not in ("Conv", "ConvTranspose", "Gemm"):
            continue
        transposed = producer.op_type == "ConvTranspose"
        if transposed and attribute(producer, "group", 1) != 1:
            continue
        if graph.only_consumer(node.input[0]) is not node:
            continue
        values = [graph.constants.get(name) for name in (*node.input[1:5], producer.input[1])]
        has_bias = len(producer.input) > 2 and bool(producer.input[2])
        bias = graph.constants.get(producer.input[2]) if has_bias else None
        arrays = [value for value in values if value is not None]
        if len(arrays) < len(values) or (has_bias and bias is None):
            continue
        # In double precision: the square root and the division would else round twice.
        gamma, beta, mean, variance, weights = (value.astype(np.float64) for value in arrays)
        factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        # Output channels are the first axis of the weights, of a transposed convolution the second.
        folded = weights * factor.reshape(-1, *(1,) * (weights.ndim - 1 - transposed))
        old = 0.0 if bias is None else bias.astype(np.float64)
        inputs = [
            producer.input[0],
            graph.add_constant(f"{producer.input[1]}_folded", folded.astype(np.float32)),
            graph.add_constant(
                f"{producer.input[1]}_folded_bias",
                ((old - mean) * factor + beta).astype(np.float32),
            ),
        ]
        new = onnx.NodeProto()
        new.CopyFrom(producer)
        del new.input[:], new.output[:]
        new.input.extend(inputs)
        new.output.append(node.output[0])
        graph.replace([producer, node], [new])


def mean_to_global_pool(graph: OnnxGraph) -> None:
    """A mean over all axes behind the channels is GlobalAveragePool; other means keep their axes.

    The axes of those are made positive and sorted.
    """
    for node in list(graph.nodes):
        shape = graph.shapes.get(node.input[0])
        if node.op_type != "ReduceMean" or shape is None:
            continue
        axes = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
        listed = attribute(node, "axes", []) if axes is None else [int(axis) for axis in axes]
        if not listed and attribute(node, "noop_with_empty_axes", 0):
            node.op_type = "Identity"
            del node.attribute[:], node.input[1:]
            continue
        rank = len(shape)
        reduced = tuple(sorted({axis % rank for axis in listed})) or tuple(range(rank))
        keep = bool(attribute(node, "keepdims", 1))
        if rank in (3, 4) and reduced == tuple(range(2, rank)):
            graph.replace([node], _global_pool(graph, node, shape, keep))
            continue
        name = graph.add_constant(f"{node.output[0]}_axes", np.asarray(reduced, np.int64))
        new = helper.make_node(
            "ReduceMean", [node.input[0], name], node.output, name=node.name, keepdims=int(keep)
        )
        graph.replace([node], [new])


def _global_pool(
    graph: OnnxGraph, node: onnx.NodeProto, shape: tuple[int, ...], keep: bool
) -> list[onnx.NodeProto]:
    if keep:
        return [helper.make_node("GlobalAveragePool", node.input[:1], node.output, name=node.name)]
    pooled = graph.fresh_value(f"{node.output[0]}_pooled", (*shape[:2], *(1,) * (len(shape) - 2)))
    sizes = graph.add_constant(f"{node.output[0]}_shape", np.asarray(shape[:2], np.int64))
    return [
        helper.make_node("GlobalAveragePool", node.input[:1], [pooled], name=node.name),
        helper.make_node("Reshape", [pooled, sizes], node.output, name=f"{node.name}_flat"),
    ]


def divide_by_reciprocals(graph: OnnxGraph) -> None:
    """A division by what is computed is a product with its reciprocal, which is a table."""
    for node in list(graph.nodes):
        divisor = node.input[1] if node.op_type == "Div" else ""
        if not divisor or divisor in graph.constants or divisor not in graph.shapes:
            continue
        inverse = graph.fresh_value(f"{divisor}_inverse", graph.shapes[divisor])
        inverted = helper.make_node("Reciprocal", [divisor], [inverse], name=f"{node.name}_inverse")
        product = helper.make_node("Mul", [node.input[0], inverse], node.output, name=node.name)
        graph.replace([node], [inverted, product])


def drop_expands(graph: OnnxGraph) -> None:
    """An Expand goes where it changes nothing, or where what reads it broadcasts by itself."""
    for node in list(graph.nodes):
        if node.op_type != "Expand" or node.output[0] in graph.outputs:
            continue
        shape = graph.shapes.get(node.input[0])
        if shape is None:
            continue
        readers = graph.consumers(node.output[0])
        same = shape == graph.shapes.get(node.output[0])
        if same or all(_broadcasts(graph, reader, node, shape) for reader in readers):
            graph.nodes = [n for n in graph.nodes if n is not node]
            graph.rename_input(node.output[0], node.input[0])


def _broadcasts(
    graph: OnnxGraph, reader: onnx.NodeProto, expand: onnx.NodeProto, shape: tuple[int, ...]
) -> bool:
    """Whether a reader of an Expand gives the same shape without it."""
    if reader.op_type not in _BROADCASTING:
        return False
    shapes = [
        shape if name == expand.output[0] else graph.shapes.get(name, ()) for name in reader.input
    ]
    return np.broadcast_shapes(*shapes) == graph.shapes.get(reader.output[0])


def drop_centring(graph: OnnxGraph) -> None:
    """The softmax of scores less the largest of their row is that of the scores."""
    for node in list(graph.nodes):
        less = graph.producer(node.input[0]) if node.op_type in ("LogSoftmax", "Softmax") else None
        if less is None or less.op_type != "Sub":
            continue
        largest, rank = graph.producer(less.input[1]), len(graph.shapes.get(less.input[0], ()))
        if largest is None or largest.op_type != "ReduceMax" or largest.input[0] != less.input[0]:
            continue
        held = graph.constants.get(largest.input[1]) if len(largest.input) > 1 else None
        axes = attribute(largest, "axes", []) if held is None else held.reshape(-1).tolist()
        axis = attribute(node, "axis", -1)
        if rank and [a % rank for a in axes] == [axis % rank] and attribute(largest, "keepdims", 1):
            node.input[0] = less.input[0]
            for unread in (less, largest):
                name = unread.output[0]
                if not graph.consumers(name) and name not in graph.outputs:
                    graph.replace([unread], [])


def merge_views(graph: OnnxGraph) -> None:
    """A Reshape that only feeds another Reshape goes."""
    for node in list(graph.nodes):
        if node.op_type != "Reshape":
            continue
        producer = next((n for n in graph.nodes if node.input[0] in n.output), None)
        if producer is not None and producer.op_type == "Reshape":
            if graph.only_consumer(producer.output[0]) is node:
                node.input[0] = producer.input[0]
                graph.nodes = [n for n in graph.nodes if n is not producer]


PASSES: tuple[Callable[[OnnxGraph], None], ...] = (
    decompose,
    remove_identities,
    matmul_to_gemm,
    normalise_gemm,
    split_products,
    fold_batch_norm,
    mean_to_global_pool,
    divide_by_reciprocals,
    drop_centring,
    finite_masks,
    drop_expands,
    make_views_static,
    merge_views,
    computed_masks,
    merge_views,
    remove_identities,
)
