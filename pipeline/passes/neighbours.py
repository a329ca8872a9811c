"""What the passes over a Graph ask about an operator's surroundings."""

from __future__ import annotations

from edgefactor.export.ir import Graph, Op, Tensor


def sole_consumer(graph: Graph, tensor: str) -> Op | None:
    """The only reader of a tensor that is not also an output of the network."""
    readers = graph.consumers(tensor)
    return readers[0] if len(readers) == 1 and not graph.is_output(tensor) else None


def merge(graph: Graph, first: Op, second: Op, merged: Op, tensors: dict[str, Tensor]) -> Graph:
    """Replace two neighbouring operators by one at the place of the first."""
    new_ops = tuple(merged if op is first else op for op in graph.ops if op is not second)
    return graph.edit(ops=new_ops, tensors={**graph.tensors, **tensors})


def live_ops(graph: Graph) -> tuple[Op, ...]:
    """The operators that some output depends on, in order."""
    needed = {port.tensor for port in graph.outputs}
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    return tuple(reversed(kept))
