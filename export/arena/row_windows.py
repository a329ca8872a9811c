"""Which rows of its input an operator needs for rows of its output, and the operator on those."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgefactor.export.ir import Graph, Op
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.elementwise import Add, Mul, Sub
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.pool import AveragePool2D, MaxPool2D, Pool2D
from edgefactor.export.ops.prelu import PRelu
from edgefactor.export.ops.requantize import Requantize
from edgefactor.export.ops.table import Table

Rows = tuple[int, int]
"""First row and the one behind the last."""

_CHANNEL_AXIS = 3
_POINTWISE = (Add, Sub, Mul, Lookup, Table, PRelu, Requantize, Concat)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWindow:
    """How output rows depend on input rows: ``y`` on ``span`` rows from ``y * stride - pad`` on.

    Attributes:
        span: Rows that one output row sees.
        stride: Input rows from one output row to the next.
        pad: Rows of padding above the map.
        height: Rows of the input.
    """

    span: int
    stride: int
    pad: int
    height: int

    def needs(self, rows: Rows) -> Rows:
        """The rows of the map that some rows of the output depend on."""
        low, high = self._reach(rows)
        return min(max(low, 0), self.height), max(min(high, self.height), 0)

    def padding(self, rows: Rows) -> Rows:
        """How many of the rows that output rows see lie above and below the map."""
        low, high = self._reach(rows)
        return max(-low, 0), max(high - self.height, 0)

    def _reach(self, rows: Rows) -> Rows:
        first, end = rows
        return first * self.stride - self.pad, (end - 1) * self.stride - self.pad + self.span


def row_window(op: Op, graph: Graph) -> RowWindow | None:
    """The rows an operator reads; None if it cannot be computed a few rows at a time."""
    window = _window(op, graph)
    if window is None:
        return None
    last = graph.tensors[op.outputs[0]].shape[1] - 1
    # An output row that sees nothing but padding would need no row at all.
    empty = [window.needs((row, row + 1)) for row in (0, last)]
    return None if any(first >= end for first, end in empty) else window


def _window(op: Op, graph: Graph) -> RowWindow | None:
    output = graph.tensors[op.outputs[0]].shape
    activations = [t for name in op.inputs if (t := graph.tensors[name]).data is None]
    if len(output) != 4 or output[0] != 1 or not activations:
        return None
    height = activations[0].shape[1] if len(activations[0].shape) == 4 else 0
    if isinstance(op, Conv2D):
        span = (graph.tensors[op.inputs[1]].shape[1] - 1) * op.dilation[0] + 1
        return RowWindow(span=span, stride=op.stride[0], pad=op.padding[0], height=height)
    if isinstance(op, Pool2D):
        # TFLite's average over padding is that of whole maps only.
        if isinstance(op, AveragePool2D) and any(op.padding):
            return None
        return RowWindow(span=op.kernel[0], stride=op.stride[0], pad=op.padding[0], height=height)
    if not isinstance(op, _POINTWISE) or not _row_by_row(op, graph):
        return None
    return RowWindow(span=1, stride=1, pad=0, height=height)


def _row_by_row(op: Op, graph: Graph) -> bool:
    """Whether every activation has the output's rows and every constant is the same in all."""
    height = graph.tensors[op.outputs[0]].shape[1]
    if isinstance(op, Concat) and op.axis != _CHANNEL_AXIS:
        return False
    for name in op.inputs:
        tensor = graph.tensors[name]
        if tensor.data is None:
            if len(tensor.shape) != 4 or tensor.shape[:2] != (1, height):
                return False
        elif isinstance(op, Concat) or (len(tensor.shape) > 2 and tensor.shape[-3] != 1):
            return False
    return True


def on_rows(op: Op, window: RowWindow, rows: Rows) -> Op:
    """The same operator for some rows of its output, reading just the rows these need."""
    above, below = window.padding(rows)
    if isinstance(op, (Conv2D, MaxPool2D, AveragePool2D)):
        return replace(op, padding=(above, op.padding[1], below, op.padding[3]))
    return op
