"""Norms that PyTorch writes out as several operators become ONNX's own, one node each.

Layer norm by hand or RMS norm (``nn.RMSNorm``) arrive as a mean of squares, a root and products;
group norm as an instance norm of a reshaped tensor. Each alone would round to int8. What comes out
is for the lowering only: RMSNormalization and GroupNormalization with a gain for each channel are
of later operator sets than the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, attribute, is_all

Reals = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Norm:
    """``value / sqrt(mean(value^2) + epsilon)``, of ``value`` less its mean if centred."""

    value: str
    axes: tuple[int, ...]
    epsilon: float
    centred: bool


def recognise_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a node for each norm; the same model if there is none."""
    if not any(node.op_type in ("Sqrt", "InstanceNormalization") for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = OnnxGraph(copy)
    _fuse_quotients(graph)
    _fuse_group_norms(graph)
    return graph.to_model()


def _producer(graph: OnnxGraph, value: str, *kinds: str) -> onnx.NodeProto | None:
    node = graph.producer(value)
    return node if node is not None and node.op_type in kinds else None


def _mean(graph: OnnxGraph, value: str) -> tuple[str, tuple[int, ...]] | None:
    """What a mean with kept axes is of, and its axes, counted from the front."""
    view = _producer(graph, value, "Reshape")
    if view is not None and graph.shapes.get(view.input[0]) == graph.shapes.get(value):
        value = view.input[0]
    node = _producer(graph, value, "ReduceMean", "GlobalAveragePool")
    shape = graph.shapes.get(node.input[0]) if node is not None else None
    if node is None or shape is None:
        return None
    if node.op_type == "GlobalAveragePool":
        return node.input[0], tuple(range(2, len(shape)))
    given = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    axes = attribute(node, "axes", []) if given is None else given.reshape(-1).tolist()
    if not axes or not attribute(node, "keepdims", 1):
        return None
    return node.input[0], tuple(sorted(int(axis) % len(shape) for axis in axes))


def _split_constant(graph: OnnxGraph, node: onnx.NodeProto) -> tuple[str, Reals] | None:
    """The computed and the constant operand of a node that has one of each."""
    held = [name for name in node.input if name in graph.constants]
    free = [name for name in node.input if name not in graph.constants]
    if len(held) != 1 or len(free) != 1:
        return None
    return free[0], np.asarray(graph.constants[held[0]], np.float32)


def _square(graph: OnnxGraph, value: str) -> str | None:
    """What a value is the square of."""
    node = _producer(graph, value, "Pow", "Mul")
    if node is None:
        return None
    if node.op_type == "Mul":
        return node.input[0] if node.input[0] == node.input[1] else None
    exponent = graph.constants.get(node.input[1])
    return node.input[0] if exponent is not None and is_all(exponent, 2) else None


def _root(graph: OnnxGraph, value: str) -> tuple[str, tuple[int, ...], float] | None:
    """The value, axes and epsilon of ``sqrt(mean(value^2) + epsilon)``."""
    sqrt = _producer(graph, value, "Sqrt")
    total = _producer(graph, sqrt.input[0], "Add") if sqrt is not None else None
    parts = _split_constant(graph, total) if total is not None else None
    if parts is None or parts[1].size != 1:
        return None
    mean = _mean(graph, parts[0])
    square = _square(graph, mean[0]) if mean is not None else None
    if mean is None or square is None:
        return None
    return square, mean[1], float(parts[1].reshape(())[()])


def _centred(graph: OnnxGraph, value: str, axes: tuple[int, ...]) -> str | None:
    """What a value is, less its mean over these axes."""
    sub = _producer(graph, value, "Sub")
    mean = _mean(graph, sub.input[1]) if sub is not None else None
    return sub.input[0] if sub is not None and mean == (sub.input[0], axes) else None


def _quotient(graph: OnnxGraph, node: onnx.NodeProto) -> _Norm | None:
    """The norm that ends in a Div by a root, or in a Mul with the root's reciprocal."""
    ends = [(node.input[0], node.input[1])] if node.op_type == "Div" else []
    if node.op_type == "Mul":
        for value, inverse in ((node.input[0], node.input[1]), (node.input[1], node.input[0])):
            maker = _producer(graph, inverse, "Reciprocal")
            if maker is not None:
                ends.append((value, maker.input[0]))
    for value, divisor in ends:
        root = _root(graph, divisor)
        if root is None:
            continue
        squared, axes, epsilon = root
        inner = _centred(graph, value, axes)
        # The mean may have been computed twice, once for the variance.
        if value == squared or (inner is not None and inner == _centred(graph, squared, axes)):
            return _Norm(
                value=inner or value, axes=axes, epsilon=epsilon, centred=inner is not None
            )
    return None


def _fuse_quotients(graph: OnnxGraph) -> None:
    for node in list(graph.nodes):
        norm = _quotient(graph, node)
        shape = graph.shapes.get(norm.value) if norm is not None else None
        if norm is None or shape is None:
            continue
        outside = [axis for axis in range(len(shape)) if axis not in norm.axes]
        graph.replace([node], _norm(graph, node, norm, shape, [*outside, *norm.axes]))
    for node in [n for n in graph.nodes if n.op_type in _TRAILING]:
        _take_affine(graph, node)


#: With and without a mean that is subtracted.
_TRAILING = ("LayerNormalization", "RMSNormalization")


def _norm(
    graph: OnnxGraph,
    node: onnx.NodeProto,
    norm: _Norm,
    shape: Sequence[int],
    perm: list[int],
) -> list[onnx.NodeProto]:
    """The nodes of a norm, between two Transposes if not over the last axes."""
    result = node.output[0]
    kind = _TRAILING[not norm.centred]
    sizes = tuple(shape[axis] for axis in norm.axes)
    gain = graph.add_constant(f"{result}_gain", np.ones(sizes, np.float32))
    fields: dict[str, Any] = {"axis": -len(sizes), "epsilon": norm.epsilon}
    if perm == sorted(perm):
        return [helper.make_node(kind, [norm.value, gain], [result], name=node.name, **fields)]
    moved = tuple(shape[axis] for axis in perm)
    turned = graph.fresh_value(f"{norm.value}_last", moved)
    normed = graph.fresh_value(f"{result}_last", moved)
    back = [perm.index(axis) for axis in range(len(perm))]
    label = node.name
    return [
        helper.make_node("Transpose", [norm.value], [turned], name=f"{label}_to_last", perm=perm),
        helper.make_node(kind, [turned, gain], [normed], name=label, **fields),
        helper.make_node("Transpose", [normed], [result], name=f"{label}_back", perm=back),
    ]


def _take_affine(graph: OnnxGraph, node: onnx.NodeProto) -> None:
    """Gains and offsets that follow a norm, if need be behind a Transpose, go into it."""
    while (step := _next_affine(graph, node)) is not None:
        nodes, number = step
        parameters = [np.asarray(graph.constants[name]) for name in node.input[1:] if name]
        if nodes[-1].op_type == "Mul":
            parameters = [array * number for array in parameters]
        elif node.op_type == "RMSNormalization":
            return
        else:
            parameters = [parameters[0], sum(parameters[1:], number)]
        del node.input[1:]
        node.input.extend(
            graph.add_constant(f"{node.output[0]}_{kind}", np.asarray(array, np.float32))
            for kind, array in zip(("gain", "offset"), parameters, strict=False)
        )
        last = nodes[-1]
        (node, *nodes)[-2].output[0] = last.output[0]
        graph.nodes = [n for n in graph.nodes if n is not last]


def _next_affine(
    graph: OnnxGraph, node: onnx.NodeProto
) -> tuple[list[onnx.NodeProto], Reals] | None:
    """The nodes behind a norm up to a factor or summand, and that as the norm's own parameter."""
    shape = graph.shapes.get(node.input[0], ())
    parameters = [graph.constants.get(name) for name in node.input[1:] if name]
    if not parameters or parameters[0] is None or any(array is None for array in parameters):
        return None
    own = parameters[0].shape
    perm = list(range(len(shape)))
    nodes = []
    after = graph.only_consumer(node.output[0])
    if after is not None and after.op_type == "Transpose":
        perm = [int(axis) for axis in attribute(after, "perm", perm[::-1])]
        nodes.append(after)
        after = graph.only_consumer(after.output[0])
    if after is None or after.op_type not in ("Mul", "Add"):
        return None
    nodes.append(after)
    parts = _split_constant(graph, after)
    if parts is None or graph.shapes.get(after.output[0]) != graph.shapes.get(parts[0]):
        return None
    number = parts[1].reshape((1,) * (len(shape) - parts[1].ndim) + parts[1].shape)
    number = np.transpose(number, np.argsort(perm))
    outside = len(shape) - len(own)
    if any(size != 1 for size in number.shape[:outside]):
        return None
    return nodes, np.broadcast_to(number.reshape(number.shape[outside:]), own)


def _fuse_group_norms(graph: OnnxGraph) -> None:
    """Reshape to groups, instance norm, reshape back, gain, offset: one GroupNormalization."""
    for node in list(graph.nodes):
        before = _producer(graph, node.input[0], "Reshape") if node.input else None
        after = graph.only_consumer(node.output[0])
        if node.op_type != "InstanceNormalization" or before is None or after is None:
            continue
        shape, grouped = graph.shapes.get(before.input[0]), graph.shapes.get(node.input[0])
        given = [graph.constants.get(name) for name in node.input[1:3]]
        if shape is None or grouped is None or given[0] is None or given[1] is None:
            continue
        if after.op_type != "Reshape" or graph.shapes.get(after.output[0]) != shape:
            continue
        if grouped[:1] != shape[:1] or len(shape) < 2 or shape[1] % grouped[1]:
            continue
        gain, offset = (
            np.repeat(np.asarray(array, np.float32), shape[1] // grouped[1]) for array in given
        )
        gone = [node, after]
        while (step := _channel_step(graph, gone[-1].output[0], shape)) is not None:
            follower, number = step
            gone.append(follower)
            if follower.op_type == "Mul":
                gain, offset = gain * number, offset * number
            else:
                offset = offset + number
        result = gone[-1].output[0]
        names = [
            graph.add_constant(f"{result}_{kind}", np.asarray(array, np.float32))
            for kind, array in (("gain", gain), ("offset", offset))
        ]
        new = helper.make_node(
            "GroupNormalization",
            [before.input[0], *names],
            [result],
            name=node.name,
            num_groups=grouped[1],
            epsilon=float(attribute(node, "epsilon", 1e-5)),
        )
        graph.replace(gone, [new])


def _channel_step(
    graph: OnnxGraph, value: str, shape: Sequence[int]
) -> tuple[onnx.NodeProto, Reals] | None:
    """The factor or summand of each channel that follows a value, and its node."""
    node = graph.only_consumer(value)
    if node is None or node.op_type not in ("Mul", "Add"):
        return None
    parts = _split_constant(graph, node)
    if parts is None or graph.shapes.get(node.output[0]) != tuple(shape):
        return None
    number = parts[1].reshape((1,) * (len(shape) - parts[1].ndim) + parts[1].shape)
    if number.size not in (1, number.shape[1]):
        return None
    return node, np.broadcast_to(number.reshape(-1), (shape[1],))
