"""Where masks of numbers lead to."""

from __future__ import annotations

from edgefactor.pipeline.passes.mask_views import VIEWS
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph

#: What looks at the largest of a row, so that anything far below it does not count.
SOFTMAX = ("LogSoftmax", "Softmax")
READERS = (*SOFTMAX, "ArgMax", "GlobalMaxPool", "MaxPool", "ReduceMax")
#: What masked scores may pass on the way there.
_STEPS = ("Add", "Where", *VIEWS)


def only_hides(graph: OnnxGraph, value: str, readers: tuple[str, ...] = SOFTMAX) -> bool:
    """Whether every way from a value leads to an operator of ``readers``."""
    ways = graph.consumers(value)
    return bool(ways) and all(
        node.op_type in readers
        or (node.op_type in _STEPS and only_hides(graph, node.output[0], readers))
        for node in ways
    )
