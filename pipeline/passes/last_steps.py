"""Recurrent layers of which only the last result is read keep no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgefactor.export.functions.recurrence import STATES
from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops.recurrent.op import Recurrent
from edgefactor.export.ops.reshape import Reshape
from edgefactor.export.ops.slice import Slice


def _takes_last(graph: Graph, layer: Recurrent, part: Slice) -> bool:
    """Whether a slice of the results, in whatever shape, is that of the step computed last."""
    units = graph.tensors[layer.outputs[0]].shape[3]
    source = graph.tensors[part.inputs[0]]
    ends = zip(part.begin, part.end, part.step, strict=True)
    numbers = np.arange(source.elements).reshape(source.shape)
    taken = numbers[tuple(slice(*end) for end in ends)].reshape(-1)
    first = 0 if layer.reverse else source.elements - units
    return bool(np.array_equal(taken, np.arange(first, first + units)))


def _sole_reader(graph: Graph, op: Op) -> Op | None:
    readers = graph.consumers(op.outputs[0])
    return readers[0] if len(readers) == 1 and not graph.is_output(op.outputs[0]) else None


def keep_last_steps(graph: Graph) -> Graph:
    """Recurrent, a view or none, then a slice of the last step: Recurrent of one result, a view."""
    for layer in graph.ops:
        if not isinstance(layer, Recurrent) or not layer.every_step:
            continue
        if layer.keeps_state and STATES[layer.cell] > 1:
            continue  # the last row is the state of the cells
        reader = _sole_reader(graph, layer)
        view = reader if isinstance(reader, Reshape) else None
        part = _sole_reader(graph, view) if view is not None else reader
        if not isinstance(part, Slice) or not _takes_last(graph, layer, part):
            continue
        units = graph.tensors[layer.outputs[0]].shape[3]
        name = f"{layer.outputs[0]}.last_step"
        tensors = dict(graph.tensors)
        tensors[name] = replace(graph.tensors[layer.outputs[0]], name=name, shape=(1, 1, 1, units))
        short = replace(layer, outputs=(name,), every_step=False)
        shown = Reshape(
            name=part.name,
            inputs=(name,),
            outputs=part.outputs,
            source=part.source,
            new_shape=graph.tensors[part.outputs[0]].shape,
        )
        swap = {id(layer): short, id(part): shown}
        new_ops = tuple(swap.get(id(op), op) for op in graph.ops if op is not view)
        graph = graph.edit(ops=new_ops, tensors=tensors)
    return graph
