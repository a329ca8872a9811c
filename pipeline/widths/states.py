"""What is int16 whatever the precision: states of recurrent layers, and indices beyond int8.

They are so inside of the network and where they enter and leave it.
"""

from __future__ import annotations

from dataclasses import replace

from edgefactor.export import ops
from edgefactor.export.ir import DType, Graph, Op
from edgefactor.export.ops.elementwise import Sub
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.recurrent.op import Recurrent
from edgefactor.export.ops.requantize import Requantize
from edgefactor.pipeline.passes.neighbours import sole_consumer


def carries_states(graph: Graph) -> frozenset[str]:
    """Names of the operators that compute states, and of those that only move them.

    Operators that move indices which int8 does not hold are among them.
    """
    found: set[str] = set()
    states: set[str] = set()
    for op in graph.ops:
        activations = [name for name in op.inputs if graph.tensors[name].data is None]
        computes = ops.family_of(op).always_wide(op)
        moves = _only_moves(op) and states.issuperset(activations)
        if computes or moves:
            found.add(op.name)
            states.add(op.outputs[0])
    # What leads to the state that a layer starts from.
    wanted = {op.inputs[5] for op in graph.ops if isinstance(op, Recurrent) and op.keeps_state}
    for op in reversed(graph.ops):
        if op.outputs[0] in wanted and _only_moves(op):
            found.add(op.name)
            wanted.update(op.inputs)
    indices = whole_numbers(graph)
    found |= {op.name for op in graph.ops if _only_moves(op) and op.outputs[0] in indices}
    return frozenset(found | _comparisons(graph, indices))


def _comparisons(graph: Graph, indices: frozenset[str]) -> set[str]:
    """Names of what finds out whether indices are a number (padding): a difference, clipped."""
    found = set()
    for op in graph.ops:
        clip = sole_consumer(graph, op.outputs[0])
        if isinstance(op, Sub) and isinstance(clip, Lookup) and clip.function == "clip":
            reads = [name for name in op.inputs if graph.tensors[name].data is None]
            if indices.issuperset(reads):
                found |= {op.name, clip.name}
    return found


def whole_numbers(graph: Graph) -> frozenset[str]:
    """The tensors of indices that need 16 bits, from where they enter to where they leave."""
    found = {name for op in graph.ops for name in ops.family_of(op).whole_numbers(op)}
    for op in graph.ops:
        activations = [name for name in op.inputs if graph.tensors[name].data is None]
        if _only_moves(op) and activations and found.issuperset(activations):
            found.update(op.outputs)
    for op in reversed(graph.ops):
        if _only_moves(op) and found.issuperset(op.outputs):
            found.update(name for name in op.inputs if graph.tensors[name].data is None)
    return frozenset(found)


def _only_moves(op: Op) -> bool:
    family = ops.family_of(op)
    return family.output_rule(op) == "same" and DType.INT16 in family.widths(op)


def widen_states(graph: Graph) -> Graph:
    """Let states that are int16 inside of an integer Graph enter and leave it as they are.

    A state that is read as int8 somewhere too keeps its border there.
    """
    inputs, outputs, kept = list(graph.inputs), list(graph.outputs), list(graph.ops)
    for state, (takes, returns) in zip(graph.states, graph.state_tensors, strict=True):
        entry = [op for op in graph.consumers(takes) if isinstance(op, Requantize)]
        leave = graph.producer(returns)
        if len(entry) != 1 or len(graph.consumers(takes)) != 1 or not isinstance(leave, Requantize):
            continue
        inside = graph.tensors[entry[0].outputs[0]], graph.tensors[leave.inputs[0]]
        if any(tensor.dtype is not DType.INT16 for tensor in inside):
            continue
        if inside[0].quant != inside[1].quant:
            continue
        inputs = [
            replace(port, tensor=inside[0].name) if port.name == state.input else port
            for port in inputs
        ]
        outputs = [
            replace(port, tensor=inside[1].name) if port.name == state.output else port
            for port in outputs
        ]
        kept.remove(entry[0])
        others = [port for port in outputs if port.tensor == returns]
        if not graph.consumers(returns) and not others:
            kept.remove(leave)
    return graph.edit(ops=tuple(kept), inputs=tuple(inputs), outputs=tuple(outputs))
