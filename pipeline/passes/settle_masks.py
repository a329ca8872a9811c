"""Float Graph and ranges -> the same with masks of a size that int8 can hold.

A mask added to scores holds very large negative numbers where nothing may be seen, such as -1e9.
The range of the sum would be theirs, and all scores one code. Any number will do that no softmax
tells from them, so the range ends a margin below the lowest score that was seen, and what the mask
hides saturates there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgefactor.export.ir import Graph, Op, constant
from edgefactor.export.ops.elementwise import Add
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.pipeline.passes.neighbours import sole_consumer

Range = tuple[float, float]
#: No score is meant to be moved by this much: from here on a number hides.
HIDING = -1e3


def _softmax_after(graph: Graph, tensor: str) -> Softmax | None:
    op = sole_consumer(graph, tensor)
    while isinstance(op, Reshape | Transpose):
        op = sole_consumer(graph, op.outputs[0])
    return op if isinstance(op, Softmax) and not op.log else None


def _masked(graph: Graph, op: Op) -> tuple[str, str, Softmax] | None:
    """The scores, the mask, and the softmax of their sum."""
    if not isinstance(op, Add) or op.activation != "none":
        return None
    held = [name for name in op.inputs if graph.tensors[name].data is not None]
    free = [name for name in op.inputs if graph.tensors[name].data is None]
    softmax = _softmax_after(graph, op.outputs[0])
    if len(held) != 1 or softmax is None:
        return None
    hides = np.asarray(graph.tensors[held[0]].values, np.float32) <= HIDING
    return (free[0], held[0], softmax) if hides.any() and not hides.all() else None


def settle_masks(graph: Graph, ranges: Mapping[str, Range]) -> tuple[Graph, dict[str, Range]]:
    """Give masks numbers, and masked scores a range, by the scores that were seen.

    The margin makes all that is hidden in a row weigh less than one code of the largest
    probability: exp(-margin) times the length of the row is below 1 / 256.
    """
    tensors, settled = dict(graph.tensors), dict(ranges)
    new_ops: list[Op] = []
    for op in graph.ops:
        found = _masked(graph, op)
        if found is None:
            new_ops.append(op)
            continue
        scores, mask, softmax = found
        values = np.asarray(tensors[mask].values, np.float32)
        seen = values[values > HIDING]
        depth = graph.tensors[softmax.inputs[0]].shape[-1]
        margin = math.log(256 * depth) / softmax.beta
        low, high = ranges[scores]
        bottom = low + min(float(seen.min()), 0.0) - margin
        name = f"{mask}.{op.name}"
        hidden = np.float32(bottom - high)
        tensors[name] = constant(name, np.where(values > HIDING, values, hidden))
        inputs = tuple(name if n == mask else n for n in op.inputs)
        new_ops.append(replace(op, inputs=inputs))
        settled[op.outputs[0]] = (bottom, high + max(float(seen.max()), 0.0))
        after = sole_consumer(graph, op.outputs[0])
        while after is not None and not isinstance(after, Softmax):
            settled[after.outputs[0]] = settled[op.outputs[0]]
            after = sole_consumer(graph, after.outputs[0])
    return graph.edit(ops=tuple(new_ops), tensors=tensors), settled
