"""Graph -> Graph: operators that another one can do at no cost disappear.

Each pass is local and keeps the values of the tensors that remain; all work on the float Graph,
before quantization decides scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Graph, Op, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.elementwise import Add, Mul, Sub
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.parts.activation import Activation
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.export.validate import validate
from edgefactor.pipeline.passes.find_scans import find_scans
from edgefactor.pipeline.passes.fuse_products import absorb_transposes, factor_into_softmax
from edgefactor.pipeline.passes.fuse_shift import recognise_shifts
from edgefactor.pipeline.passes.fuse_tables import fuse_tables
from edgefactor.pipeline.passes.last_steps import keep_last_steps
from edgefactor.pipeline.passes.neighbours import merge, sole_consumer
from edgefactor.pipeline.passes.split_dense import split_dense

Pass = Callable[[Graph], Graph]


def _repeat(step: Callable[[Graph], Graph | None]) -> Pass:
    """Apply a rewriting step until it finds nothing more."""

    def run(graph: Graph) -> Graph:
        while (rewritten := step(graph)) is not None:
            graph = rewritten
        return graph

    return run


def _fold_channel_scale(graph: Graph) -> Graph | None:
    """Convolution, then a factor and an offset per channel: one convolution."""
    for op in graph.ops:
        if not isinstance(op, Conv2D) or op.activation != "none":
            continue
        after = sole_consumer(graph, op.outputs[0])
        if after is None:
            continue
        channels = graph.tensors[op.outputs[0]].shape[-1]
        affine = _channel_affine(graph, after, op.outputs[0], channels)
        if affine is None:
            continue
        factor, offset = affine
        weights = np.asarray(graph.tensors[op.inputs[1]].values, np.float32)
        bias = np.asarray(graph.tensors[op.inputs[2]].values, np.float32)
        names = (f"{op.inputs[1]}.folded", f"{op.inputs[2]}.folded")
        new = {
            names[0]: constant(
                names[0], (weights * factor[:, None, None, None]).astype(np.float32)
            ),
            names[1]: constant(names[1], (bias * factor + offset).astype(np.float32)),
        }
        merged = replace(op, inputs=(op.inputs[0], *names), outputs=after.outputs)
        if isinstance(after, Conv2D):
            merged = replace(merged, activation=after.activation)
        elif isinstance(after, (Add, Sub, Mul)):
            merged = replace(merged, activation=after.activation)
        return merge(graph, op, after, merged, new)
    return None


def _channel_affine(
    graph: Graph, op: Op, source: str, channels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """``(factor, offset)`` per channel if an operator computes source * factor + offset."""
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    if isinstance(op, Conv2D):
        weights = graph.tensors[op.inputs[1]]
        plain = op.stride == (1, 1) and op.padding == (0, 0, 0, 0)
        if op.groups != channels or weights.shape != (channels, 1, 1, 1) or not plain:
            return None
        return (
            np.asarray(weights.values, np.float32).reshape(-1),
            np.asarray(graph.tensors[op.inputs[2]].values, np.float32),
        )
    if not isinstance(op, (Add, Sub, Mul)):
        return None
    left, right = op.inputs
    other = right if left == source else left
    tensor = graph.tensors[other]
    if tensor.data is None or tensor.elements not in (1, channels):
        return None
    if tensor.elements == channels and tensor.shape[-1] != channels:
        return None
    if graph.tensors[op.outputs[0]].shape != graph.tensors[source].shape:
        return None
    values = np.broadcast_to(np.asarray(tensor.data, np.float32).reshape(-1), (channels,))
    if isinstance(op, Mul):
        return values, zeros
    if isinstance(op, Add):
        return ones, values
    return (ones, -values) if left == source else (-ones, values)


def _fuse_activation(graph: Graph) -> Graph | None:
    """ReLU or ReLU6 after an operator that clamps its own result."""
    for op in graph.ops:
        if not isinstance(op, (Conv2D, Add, Sub, Mul)) or op.activation != "none":
            continue
        after = sole_consumer(graph, op.outputs[0])
        activation = _as_activation(after) if isinstance(after, Lookup) else None
        if after is None or activation is None:
            continue
        merged = replace(op, activation=activation, outputs=after.outputs)
        return merge(graph, op, after, merged, {})
    return None


def _as_activation(op: Lookup) -> Activation | None:
    """The fused activation that does what a table operator does."""
    if op.function == "relu" or (op.function, op.low, op.high) == ("clip", 0.0, None):
        return "relu"
    return "relu6" if (op.function, op.low, op.high) == ("clip", 0.0, 6.0) else None


def _fuse_gate(graph: Graph) -> Graph | None:
    """X * sigmoid(x) -> SiLU, x * hard_sigmoid(x) -> hard swish: tables of one input."""
    products = {"sigmoid": "silu", "hard_sigmoid": "hard_swish"}
    for op in graph.ops:
        if not isinstance(op, Lookup) or op.function not in products:
            continue
        after = sole_consumer(graph, op.outputs[0])
        if not isinstance(after, Mul) or after.activation != "none":
            continue
        if set(after.inputs) != {op.inputs[0], op.outputs[0]}:
            continue
        if op.function == "hard_sigmoid" and not _is_gate_of_hard_swish(op):
            continue
        merged = Lookup(
            name=after.name,
            inputs=op.inputs,
            outputs=after.outputs,
            source=after.source,
            function=products[op.function],
        )
        return merge(graph, op, after, merged, {})
    return None


def _is_gate_of_hard_swish(op: Lookup) -> bool:
    return abs(op.alpha - 1 / 6) < 1e-6 and abs(op.beta - 0.5) < 1e-6


def _absorb_transpose(graph: Graph) -> Graph | None:
    """Transpose, Reshape, dense: the dense layer's weights take the order of the stored map."""
    for op in graph.ops:
        if not isinstance(op, Transpose):
            continue
        view = sole_consumer(graph, op.outputs[0])
        if not isinstance(view, Reshape):
            continue
        dense = sole_consumer(graph, view.outputs[0])
        if not isinstance(dense, Conv2D) or dense.inputs[0] != view.outputs[0]:
            continue
        shape = graph.tensors[view.outputs[0]].shape
        before = graph.tensors[op.inputs[0]].shape
        if shape != (1, 1, 1, graph.tensors[op.inputs[0]].elements) or dense.groups != 1:
            continue
        order = np.arange(shape[-1]).reshape([before[axis] for axis in op.perm])
        # stored[j] is column order_stored[j] of the weights that expect the transposed order.
        stored = np.transpose(order, np.argsort(op.perm)).reshape(-1)
        weights = np.asarray(graph.tensors[dense.inputs[1]].values)[:, :, :, stored]
        name = f"{dense.inputs[1]}.reordered"
        # Another order of elements is another value: it gets another name.
        flat = f"{view.outputs[0]}.stored"
        merged_view = replace(view, inputs=op.inputs, outputs=(flat,))
        merged = replace(dense, inputs=(flat, name, dense.inputs[2]))
        swap = {id(view): merged_view, id(dense): merged}
        new_ops = tuple(swap.get(id(o), o) for o in graph.ops if o is not op)
        tensors = {
            **graph.tensors,
            flat: replace(graph.tensors[view.outputs[0]], name=flat),
            name: constant(name, np.ascontiguousarray(weights)),
        }
        return graph.edit(ops=new_ops, tensors=tensors)
    return None


def _join_reshapes(graph: Graph) -> Graph | None:
    """A view of a view is one view; a view that changes nothing is none."""
    for op in graph.ops:
        if not isinstance(op, Reshape):
            continue
        before = graph.producer(op.inputs[0])
        if isinstance(before, Reshape):
            joined = replace(op, inputs=before.inputs)
            new_ops = tuple(joined if o is op else o for o in graph.ops)
            kept = tuple(
                o
                for o in new_ops
                if o is not before
                or graph.is_output(before.outputs[0])
                or len(graph.consumers(before.outputs[0])) > 1
            )
            return graph.edit(ops=kept)
        source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
        if source.shape == result.shape and not graph.is_output(result.name):
            rest = tuple(
                replace(o, inputs=tuple(source.name if n == result.name else n for n in o.inputs))
                for o in graph.ops
                if o is not op
            )
            return graph.edit(ops=rest)
    return None


PASSES: tuple[tuple[str, Pass], ...] = (
    ("find scans", find_scans),
    ("join reshapes", _repeat(_join_reshapes)),
    ("keep last steps", keep_last_steps),
    ("join reshapes once more", _repeat(_join_reshapes)),
    ("recognise shifts", recognise_shifts),
    ("fuse tables", fuse_tables),
    ("fold factors per channel", _repeat(_fold_channel_scale)),
    ("split layers whose channels are cut apart", _repeat(split_dense)),
    ("absorb transposes into products", _repeat(absorb_transposes)),
    ("join reshapes around products", _repeat(_join_reshapes)),
    ("take factors into softmax", _repeat(factor_into_softmax)),
    ("fuse gates", _repeat(_fuse_gate)),
    ("fuse activations", _repeat(_fuse_activation)),
    ("absorb transposes into dense layers", _repeat(_absorb_transpose)),
)


def fuse(graph: Graph) -> Graph:
    """Apply all passes in order to a float Graph; the result computes the same values."""
    for name, step in PASSES:
        graph = validate(step(graph), name)
    return graph
