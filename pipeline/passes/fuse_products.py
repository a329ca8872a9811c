"""Graph -> Graph: what stands around a matrix product of activations costs nothing.

A transpose of an operand or of the result is a matter of steps for the kernel, and a factor of the
scores, wherever it is multiplied in, is the softmax's own factor.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgefactor.export.ir import Graph, Op, constant
from edgefactor.export.ops.elementwise import Add, Mul
from edgefactor.export.ops.matmul import MatMul
from edgefactor.export.ops.reshape import Reshape, Transpose, matching_axes
from edgefactor.export.ops.select import Select
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.pipeline.passes.neighbours import merge, sole_consumer
from edgefactor.pipeline.passes.settle_masks import HIDING


def absorb_transposes(graph: Graph) -> Graph | None:
    """A Transpose before or after a MatMul becomes part of its permutations."""
    for op in graph.ops:
        if not isinstance(op, MatMul):
            continue
        after = sole_consumer(graph, op.outputs[0])
        if isinstance(after, Transpose):
            perm = tuple(op.perm_out[axis] for axis in after.perm)
            merged = replace(op, outputs=after.outputs, perm_out=perm)
            return merge(graph, op, after, merged, {})
        if isinstance(after, Reshape) and (through := _through_view(graph, op, after)) is not None:
            return through
        for index, own in enumerate((op.perm_a, op.perm_b)):
            before = graph.producer(op.inputs[index])
            if not isinstance(before, Transpose):
                continue
            perm = tuple(before.perm[axis] for axis in own)
            inputs = list(op.inputs)
            inputs[index] = before.inputs[0]
            changed = replace(
                op,
                inputs=tuple(inputs),
                perm_a=op.perm_a if index else perm,
                perm_b=perm if index else op.perm_b,
            )
            kept = tuple(changed if o is op else o for o in graph.ops)
            return _without_unread(graph.edit(ops=kept), before)
    return None


def _through_view(graph: Graph, op: MatMul, view: Reshape) -> Graph | None:
    """MatMul, a Reshape that merges axes, Transpose: the view comes last."""
    after = sole_consumer(graph, view.outputs[0])
    stored, seen = (graph.tensors[o.outputs[0]].shape for o in (op, view))
    groups = matching_axes(stored, seen)
    if not isinstance(after, Transpose) or any(len(new) != 1 for _, new in groups):
        return None
    merged_axes = {new[0]: old for old, new in groups}
    moved = [axis for place in after.perm for axis in merged_axes.get(place, [])]
    order = [*(axis for axis in range(len(stored)) if axis not in moved), *moved]
    name = f"{op.outputs[0]}.stored"
    result = graph.tensors[after.outputs[0]]
    merged = replace(op, outputs=(name,), perm_out=tuple(op.perm_out[axis] for axis in order))
    last = replace(view, inputs=(name,), outputs=(result.name,), new_shape=result.shape)
    swap: dict[int, Op] = {id(op): merged, id(view): last}
    tensors = dict(graph.tensors)
    shape = tuple(stored[axis] for axis in order)
    tensors[name] = replace(tensors[op.outputs[0]], name=name, shape=shape)
    return graph.edit(
        ops=tuple(swap.get(id(o), o) for o in graph.ops if o is not after), tensors=tensors
    )


def _without_unread(graph: Graph, op: Op) -> Graph:
    if graph.consumers(op.outputs[0]) or graph.is_output(op.outputs[0]):
        return graph
    return graph.edit(ops=tuple(o for o in graph.ops if o is not op))


def _factor(graph: Graph, op: Op) -> tuple[str, float] | None:
    """The tensor that an operator multiplies with one positive number, and the number."""
    if not isinstance(op, Mul) or op.activation != "none":
        return None
    held = [name for name in op.inputs if graph.tensors[name].data is not None]
    free = [name for name in op.inputs if graph.tensors[name].data is None]
    if len(held) != 1 or graph.tensors[held[0]].elements != 1:
        return None
    number = float(np.asarray(graph.tensors[held[0]].values).reshape(())[()])
    same = graph.tensors[free[0]].shape == graph.tensors[op.outputs[0]].shape
    return (free[0], number) if same and number > 0 else None


def _way_to_softmax(graph: Graph, tensor: str) -> list[Op] | None:
    """Operators from a tensor to the softmax whose input is proportional to it."""
    way: list[Op] = []
    while (op := sole_consumer(graph, tensor)) is not None:
        way.append(op)
        if isinstance(op, Softmax):
            return None if op.log else way
        masked = isinstance(op, Add | Select) and any(
            graph.tensors[n].data is not None for n in op.inputs[-2:]
        )
        if isinstance(op, Select) and op.inputs[0] == tensor:
            return None
        product = isinstance(op, MatMul) and op.inputs[0] != op.inputs[1]
        if not (masked or product or isinstance(op, Reshape | Transpose) or _factor(graph, op)):
            return None
        tensor = op.outputs[0]
    return None


def factor_into_softmax(graph: Graph) -> Graph | None:
    """A positive number that multiplies scores, or an operand of them, goes into the softmax."""
    for op in graph.ops:
        found = _factor(graph, op)
        way = _way_to_softmax(graph, op.outputs[0]) if found else None
        if found is None or way is None:
            continue
        source, number = found
        tensors = dict(graph.tensors)
        renamed = {op.outputs[0]: source}
        changed: dict[int, Op] = {}
        for step in way:
            inputs = tuple(renamed.get(name, name) for name in step.inputs)
            if isinstance(step, Softmax):
                changed[id(step)] = replace(step, inputs=inputs, beta=step.beta * number)
                continue
            if isinstance(step, Add | Select):
                mask = next(name for name in inputs[-2:] if tensors[name].data is not None)
                values = np.asarray(tensors[mask].values, np.float32)
                scaled = values / np.float32(number)
                # What hides goes on hiding.
                scaled = np.where(values <= HIDING, np.minimum(values, scaled), scaled)
                name = f"{mask}.unscaled"
                tensors[name] = constant(name, scaled)
                inputs = tuple(name if n == mask else n for n in inputs)
            # Another value, another name.
            result = f"{step.outputs[0]}.unscaled"
            tensors[result] = replace(tensors[step.outputs[0]], name=result)
            renamed[step.outputs[0]] = result
            changed[id(step)] = replace(step, inputs=inputs, outputs=(result,))
        new_ops = tuple(changed.get(id(o), o) for o in graph.ops if o is not op)
        return graph.edit(ops=new_ops, tensors=tensors)
    return None
