"""Graph -> Graph: a layer whose channels are cut apart becomes a layer for each part.

Attention layers compute queries, keys and values in one product and slice it. As layers of their
own each writes where it is read, and has a scale of its own, where one for all three is that of the
largest.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np

from edgefactor.export.ir import Graph, Op, Tensor, constant
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.reshape import Reshape
from edgefactor.export.ops.slice import Slice
from edgefactor.pipeline.passes.neighbours import sole_consumer


def _channels_of(op: Slice, shape: tuple[int, ...], channels: int) -> range | None:
    """The channels that a slice takes of a map whose channels are the last axes of ``shape``."""
    first = next(
        (place for place in range(len(shape)) if prod(shape[place:]) == channels), len(shape)
    )
    # Axes of size 1 in front of the channels belong to either side.
    whole = [
        (begin, end, step) == (0, size, 1)
        for begin, end, step, size in zip(op.begin, op.end, op.step, shape, strict=True)
    ]
    cut = [place for place, full in enumerate(whole) if not full]
    if len(cut) != 1 or cut[0] < first or op.step[cut[0]] != 1:
        return None
    if prod(shape[first : cut[0]]) != 1:
        return None
    inner = prod(shape[cut[0] + 1 :])
    return range(op.begin[cut[0]] * inner, op.end[cut[0]] * inner)


def _parts(graph: Graph, op: Conv2D) -> tuple[Reshape | None, dict[str, range]] | None:
    """The view between a layer and its slices, and the channels of each slice's output."""
    kernel = graph.tensors[op.inputs[1]].shape[1:3]
    # Wider kernels would gather their inputs once for each part.
    if op.groups != 1 or kernel != (1, 1) or graph.is_output(op.outputs[0]):
        return None
    view = sole_consumer(graph, op.outputs[0])
    seen = op.outputs[0]
    if isinstance(view, Reshape):
        seen = view.outputs[0]
    channels = graph.tensors[op.outputs[0]].shape[-1]
    readers = graph.consumers(seen)
    parts: dict[str, range] = {}
    for reader in readers:
        if not isinstance(reader, Slice):
            return None
        taken = _channels_of(reader, graph.tensors[seen].shape, channels)
        if taken is None:
            return None
        parts[reader.outputs[0]] = taken
    if len(parts) < 2 or graph.is_output(seen):
        return None
    ordered = sorted(parts.values(), key=lambda part: part.start)
    if any(a.stop > b.start for a, b in pairwise(ordered)):
        return None
    return (view if isinstance(view, Reshape) else None), parts


def split_dense(graph: Graph) -> Graph | None:
    """Split the first layer all of whose readers are slices of its channels."""
    for op in graph.ops:
        found = _parts(graph, op) if isinstance(op, Conv2D) else None
        if found is None or not isinstance(op, Conv2D):
            continue
        view, parts = found
        tensors = dict(graph.tensors)
        new: list[Op] = []
        gone = {id(op), *([id(view)] if view is not None else [])}
        for result, channels in parts.items():
            slice_op = graph.producer(result)
            gone.add(id(slice_op))
            new.extend(_part(graph, op, result, channels, tensors))
        at = next(i for i, o in enumerate(graph.ops) if o is op)
        rest = [o for o in graph.ops[at + 1 :] if id(o) not in gone]
        return graph.edit(ops=(*graph.ops[:at], *new, *rest), tensors=tensors)
    return None


def _part(
    graph: Graph, op: Conv2D, result: str, channels: range, tensors: dict[str, Tensor]
) -> tuple[Op, Op]:
    """A layer for some of the channels, and the view that gives its result its shape."""
    label = f"{op.name}.{channels.start}"
    names = []
    for name in op.inputs[1:]:
        part = f"{name}.{channels.start}"
        values = np.asarray(graph.tensors[name].values, np.float32)
        tensors[part] = constant(part, values[channels.start : channels.stop])
        names.append(part)
    before = graph.tensors[op.outputs[0]]
    tensors[label] = replace(before, name=label, shape=(*before.shape[:-1], len(channels)))
    layer = replace(
        op,
        name=label,
        inputs=(op.inputs[0], *names),
        outputs=(label,),
        channel_scale=op.channel_scale[channels.start : channels.stop],
    )
    shape = graph.tensors[result].shape
    view = Reshape(
        name=result, inputs=(label,), outputs=(result,), source=op.source, new_shape=shape
    )
    return layer, view
