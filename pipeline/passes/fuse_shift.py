"""Graph -> Graph: depthwise convolutions that only move their channels become shifts."""

from __future__ import annotations

import numpy as np

from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.shift import Move, Shift


def _moves(graph: Graph, op: Op) -> tuple[Move, ...] | None:
    """Where each channel moves if that is all a convolution does."""
    if not isinstance(op, Conv2D) or op.activation != "none" or op.stride != (1, 1):
        return None
    x, weights, bias = (graph.tensors[name] for name in op.inputs)
    channels = x.shape[3]
    kernels = np.asarray(weights.values, np.float32)
    depthwise = op.groups == channels == kernels.shape[0]
    if not depthwise or graph.tensors[op.outputs[0]].shape != x.shape or np.any(bias.values):
        return None
    flat = kernels.reshape(channels, -1)
    if np.any((flat != 0).sum(axis=1) != 1) or np.any(flat.sum(axis=1) != 1):
        return None
    rows, columns = np.unravel_index(flat.argmax(axis=1), kernels.shape[1:3])
    down = rows * op.dilation[0] - op.padding[0]
    right = columns * op.dilation[1] - op.padding[1]
    return tuple((int(a), int(b)) for a, b in zip(down, right, strict=True))


def recognise_shifts(graph: Graph) -> Graph:
    """Replace depthwise convolutions whose every kernel is a single 1.

    Must run before activations and factors are fused into them.
    """
    new_ops: list[Op] = []
    for op in graph.ops:
        moves = _moves(graph, op)
        if moves is not None:
            op = Shift(
                name=op.name,
                inputs=op.inputs[:1],
                outputs=op.outputs,
                source=op.source,
                moves=moves,
            )
        new_ops.append(op)
    return graph.edit(ops=tuple(new_ops))
