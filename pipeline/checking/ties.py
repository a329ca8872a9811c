"""Networks whose results jump where two computed values are equal, such as the peaks of a map."""

from __future__ import annotations

from edgefactor.export.ir import Graph
from edgefactor.export.ops.compare import Compare


def ties(graph: Graph) -> tuple[str, ...]:
    """Names of the operators that ask whether computed values are equal; not whole numbers."""
    return tuple(
        op.name
        for op in graph.ops
        if isinstance(op, Compare)
        and op.kind == "Equal"
        and graph.tensors[op.inputs[0]].quant.scale != 1
    )


def tie_excuse(graph: Graph) -> str:
    """Why a runtime that rounds otherwise may give other results; empty where it may not."""
    found = ties(graph)
    if not found:
        return ""
    return (
        f"{found[0]} asks whether computed values are equal, and one that is rounded to the next "
        "code no longer is"
    )


def tie_notes(graph: Graph) -> tuple[str, ...]:
    """What such a network computes other than the float one."""
    return tuple(
        f"{name} holds where codes are equal, which more values are than in float: neighbours of "
        "the same code are all peaks. Take the first of them, or compare after the network."
        for name in ties(graph)
    )
