"""Float Graph and ranges -> the same with masks that int8 and int16 can hold.

A mask hides scores with very large negative numbers, such as -1e9, which are added to them or take
their place (``export/ops/select.py``). The range of the result would be theirs, and all scores one
code. Any number will do that no softmax tells from them, so the range ends a margin below the
lowest score that was seen, and what the mask hides saturates there. Where only the largest of a row
is asked for there is no margin.

A mask that is computed as numbers and added is first made a choice, as no range holds it either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.ir import Graph, Op, Tensor, constant
from edgefactor.export.ops.arg_extreme import ArgExtreme
from edgefactor.export.ops.elementwise import Add
from edgefactor.export.ops.pool import MaxPool2D
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.export.ops.select import Select
from edgefactor.export.ops.softmax.family import Softmax
from edgefactor.export.ops.table import Table
from edgefactor.pipeline.passes.neighbours import sole_consumer

Range = tuple[float, float]
#: No score is meant to be moved by this much: from here on a number hides.
HIDING = -1e3
#: From here on int8 holds no score beside what a computed mask hides with.
_COARSE = -9e3
#: Codes of a probability of 1, and beyond those a log-softmax of int8 ends.
_CODES, _WIDE_CODES, _LOG_END = 256, 65536, 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Masked:
    """Scores that a mask hides.

    Attributes:
        scores: What the mask is put on.
        mask: The constant that holds what hides.
        reader: What reads the result.
    """

    scores: str
    mask: str
    reader: Op


def _reader(graph: Graph, tensor: str) -> Op | None:
    """What reads a tensor, views and further masks aside, if only the largest of a row counts."""
    op = sole_consumer(graph, tensor)
    while isinstance(op, Reshape | Transpose | Select | Add):
        if isinstance(op, Select) and tensor == op.inputs[0]:
            return None
        tensor = op.outputs[0]
        op = sole_consumer(graph, tensor)
    largest = isinstance(op, ArgExtreme) and op.largest
    return op if largest or isinstance(op, Softmax | MaxPool2D) else None


def _masked(graph: Graph, op: Op) -> _Masked | None:
    """What an operator hides."""
    if isinstance(op, Select):
        candidates = op.inputs[1:]
    elif isinstance(op, Add) and op.activation == "none":
        candidates = op.inputs
    else:
        return None
    held = [name for name in candidates if graph.tensors[name].data is not None]
    free = [name for name in candidates if graph.tensors[name].data is None]
    reader = _reader(graph, op.outputs[0])
    if len(held) != 1 or reader is None:
        return None
    hides = np.asarray(graph.tensors[held[0]].values, np.float32) <= HIDING
    if not hides.any() or bool(hides.all()) is not isinstance(op, Select):
        return None
    return _Masked(scores=free[0], mask=held[0], reader=reader)


class _Settling:
    """Ranges for one width as they are settled."""

    def __init__(self, graph: Graph, ranges: dict[str, Range], wide: bool = False) -> None:
        self.graph, self.ranges, self.wide = graph, ranges, wide
        #: Where ranges end for a mask: the same scores need no second margin.
        self.bottoms: dict[str, float] = {}

    def settle(self, op: Op, found: _Masked, values: NDArray[np.float32]) -> float:
        """Settle the range of masked scores.

        Returns:
            What a sum hides them with.
        """
        seen = values[values > HIDING]
        below, above = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        low, high = self.ranges[found.scores]
        margin = _margin(self.graph, found.reader, wide=self.wide)
        bottom = self.bottoms.get(found.scores, low + min(below, 0.0) - margin)
        if isinstance(op, Select):
            # What it hides with may be a score like others.
            bottom = max(bottom, min(low, float(values.max())))
        result: Op | None = op
        while result is op or isinstance(result, Reshape | Transpose):
            self.ranges[result.outputs[0]] = (bottom, high + max(above, 0.0))
            self.bottoms[result.outputs[0]] = bottom
            result = sole_consumer(self.graph, result.outputs[0])
        return bottom - high


def _margin(graph: Graph, reader: Op, *, wide: bool) -> float:
    """How far below the lowest score all that is hidden in a row counts for less than a code.

    In a softmax, exp(-margin) times the length of the row is below a code of the largest
    probability.
    """
    if not isinstance(reader, Softmax):
        return 0.0
    if reader.log:
        return _LOG_END
    depth = graph.tensors[reader.inputs[0]].shape[-1]
    return math.log((_WIDE_CODES if wide else _CODES) * depth) / reader.beta


def choose_by_masks(graph: Graph, ranges: Mapping[str, Range]) -> tuple[Graph, dict[str, Range]]:
    """Make a computed mask that is added to scores a condition: whether it hides.

    Returns:
        The Graph, and the ranges of the conditions.
    """
    tensors = dict(graph.tensors)
    added: dict[str, Range] = {}
    new_ops: list[Op] = []
    for op in graph.ops:
        mask = _computed_mask(graph, op, ranges)
        if mask is None:
            new_ops.append(op)
            continue
        scores = next(name for name in op.inputs if name != mask)
        # Half a step of int8: what is less is 0 there.
        least = -ranges[mask][0] / 512
        hides, number = f"{op.name}.hides", f"{op.name}.number"
        tensors[hides] = Tensor(name=hides, shape=graph.tensors[mask].shape)
        tensors[number] = constant(number, np.full((1,), 10 * HIDING, np.float32))
        added[hides] = (0.0, 1.0)
        condition = Table(
            name=hides,
            inputs=(mask,),
            outputs=(hides,),
            source=op.source,
            expression=f"x {-least!r} less",
            boolean=True,
        )
        inputs = (hides, number, scores)
        chosen = Select(name=op.name, inputs=inputs, outputs=op.outputs, source=op.source)
        new_ops += [condition, chosen]
    return graph.edit(ops=tuple(new_ops), tensors=tensors), added


def _computed_mask(graph: Graph, op: Op, ranges: Mapping[str, Range]) -> str | None:
    """The operand of a sum of scores that is a computed mask of numbers."""
    if not isinstance(op, Add) or op.activation != "none":
        return None
    reader = _reader(graph, op.outputs[0])
    if not isinstance(reader, Softmax) or reader.log:
        return None
    if any(graph.tensors[name].data is not None for name in op.inputs):
        return None
    hiding = [name for name in op.inputs if ranges[name][0] <= _COARSE and ranges[name][1] <= 1]
    return hiding[0] if len(hiding) == 1 else None


def settle_masks(
    graph: Graph,
    ranges: Mapping[str, Range],
    wide: frozenset[str] = frozenset(),
    wide_ranges: Mapping[str, Range] | None = None,
) -> tuple[Graph, dict[str, Range], dict[str, Range]]:
    """Give masks numbers, and masked scores a range, by the scores that were seen.

    Args:
        graph: Float Graph.
        ranges: Of its activations.
        wide: Names of the operators that run in 16 bits.
        wide_ranges: Of activations that are 16 bits wide; by default ``ranges``.

    Returns:
        The Graph, and both ranges.
    """
    extremes = dict(ranges if wide_ranges is None else wide_ranges)
    graph, added = choose_by_masks(graph, {**ranges, **extremes})
    settling = _Settling(graph, {**ranges, **added}), _Settling(graph, {**extremes, **added}, True)
    tensors = dict(graph.tensors)
    new_ops: list[Op] = []
    for op in graph.ops:
        found = _masked(graph, op)
        if found is None:
            new_ops.append(op)
            continue
        values = np.asarray(tensors[found.mask].values, np.float32)
        hidden = [kind.settle(op, found, values) for kind in settling][op.name in wide]
        if isinstance(op, Add):
            name = f"{found.mask}.{op.name}"
            tensors[name] = constant(name, np.where(values > HIDING, values, np.float32(hidden)))
            inputs = tuple(name if n == found.mask else n for n in op.inputs)
            op = replace(op, inputs=inputs)
        new_ops.append(op)
    return graph.edit(ops=tuple(new_ops), tensors=tensors), settling[0].ranges, settling[1].ranges
