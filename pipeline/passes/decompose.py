"""ONNX operators that are written as several simpler ones, before anything else sees them.

Each rule gives the definition that the ONNX specification has for the operator. ``DECOMPOSED`` is
the list of what edgefactor takes in this way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.pipeline.passes import decompose_maps, decompose_writes
from edgefactor.pipeline.passes.decompose_einsum import einsum
from edgefactor.pipeline.passes.decompose_gru import gru_that_resets_before
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph
from edgefactor.pipeline.passes.parts import Parts, Rule

#: Parts of a product that are worth slices and products of their own.
_MOST_FACTORS = 8


def _in_pairs(kind: str) -> Rule:
    """An operator of any number of inputs as a chain of those of two."""

    def rule(parts: Parts) -> bool:
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


def _reduce_min(parts: Parts) -> bool:
    largest = parts.reduce("ReduceMax", parts.add("Neg", parts.node.input[:1], parts.shape))
    parts.add("Neg", [largest], parts.graph.shapes[largest])
    return True


def _reduced(before: Sequence[str], after: str = "") -> Rule:
    """A sum of what ``before`` makes of each element, and ``after`` of the sum."""

    def rule(parts: Parts) -> bool:
        value = parts.node.input[0]
        for kind in before:
            inputs = [value, value] if kind == "Mul" else [value]
            value = parts.add(kind, inputs, parts.shape)
        value = parts.reduce("ReduceSum", value)
        if after:
            parts.add(after, [value], parts.graph.shapes[value])
        return True

    return rule


def _reduce_log_sum_exp(parts: Parts) -> bool:
    x, shape = parts.node.input[0], parts.shape
    largest = parts.reduce("ReduceMax", x, keep=True)
    lower = parts.add("Sub", [x, largest], shape)
    total = parts.reduce("ReduceSum", parts.add("Exp", [lower], shape))
    out = parts.graph.shapes[total]
    log = parts.add("Log", [total], out)
    parts.add("Add", [log, parts.reduce("ReduceMax", x)], out)
    return True


def _reduce_prod(parts: Parts) -> bool:
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
    parts.reshape(value, out)
    return True


def _lp_normalization(parts: Parts) -> bool:
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


def _lrn(parts: Parts) -> bool:
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


def _running_sum(parts: Parts) -> bool:
    """A running sum without the element itself."""
    if not parts.attribute("exclusive", 0):
        return False
    turned = int(parts.attribute("reverse", 0))
    whole = parts.add("CumSum", parts.node.input, parts.shape, reverse=turned)
    parts.add("Sub", [whole, parts.node.input[0]], parts.shape)
    return True


def _prelu(parts: Parts) -> bool:
    """Slopes that are not one a channel, or one for all."""
    slopes = parts.graph.constants.get(parts.node.input[1])
    if slopes is None:
        return False
    shape = parts.shape
    padded = (1,) * (len(shape) - slopes.ndim) + slopes.shape
    if slopes.size == max(padded[1:2], default=1):
        return False
    x = parts.node.input[0]
    below = parts.add("Min", [x, parts.number(0)], shape)
    sloped = parts.add("Mul", [below, parts.node.input[1]], shape)
    parts.add("Add", [parts.add("Relu", [x], shape), sloped], shape)
    return True


#: ONNX operator -> what writes it as others; False leaves it as it is.
DECOMPOSED: Mapping[str, Rule] = {
    "AveragePool": decompose_maps.pool,
    "Col2Im": decompose_maps.col2im,
    "CumSum": _running_sum,
    "GRU": gru_that_resets_before,
    "Einsum": einsum,
    "GatherND": decompose_maps.gather_nd,
    "LRN": _lrn,
    "LpNormalization": _lp_normalization,
    "Max": _in_pairs("Max"),
    "MaxPool": decompose_maps.pool,
    "Mean": _in_pairs("Add"),
    "Min": _in_pairs("Min"),
    "PRelu": _prelu,
    "ReduceL1": _reduced(["Abs"]),
    "ReduceL2": _reduced(["Mul"], "Sqrt"),
    "ReduceLogSum": _reduced([], "Log"),
    "ReduceLogSumExp": _reduce_log_sum_exp,
    "ReduceMin": _reduce_min,
    "ReduceProd": _reduce_prod,
    "ReduceSumSquare": _reduced(["Mul"]),
    "Resize": decompose_maps.resize,
    "ScatterElements": decompose_writes.scatter_elements,
    "ScatterND": decompose_writes.scatter_nd,
    "Sum": _in_pairs("Add"),
    "Trilu": decompose_writes.trilu,
}


def decompose(graph: OnnxGraph) -> None:
    """Write every operator of ``DECOMPOSED`` by its rule."""
    for node in list(graph.nodes):
        rule = DECOMPOSED.get(node.op_type)
        if rule is None or any(name and name not in graph.shapes for name in node.input):
            continue
        parts = Parts(graph, node)
        if rule(parts):
            if parts.nodes[-1].output[0] not in node.output:
                parts.nodes[-1].output[0] = node.output[0]
            graph.replace([node], parts.nodes)
