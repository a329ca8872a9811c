"""Runs the first part of a network by stripes of rows, so that its large maps never exist whole.

Two ways, both a pass Graph -> Graph with the same operators on fewer rows; the weights stay single:

- "recompute": every stripe computes all that it depends on, the rows at its borders again (patches:
  Lin et al. 2021, MCUNetV2, arXiv:2110.15352, here over the whole width, so that the results lie
  one after another in memory and joining them costs nothing);
- "keep": every row is computed once; the rows that the next stripe needs too are kept (line
  buffers, as in streaming hardware): no arithmetic is added, a few rows of every map stay.

The arithmetic of every output element is that of the whole map: padding stays only at the border of
the map, and it holds the zero point, so results are equal in every bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from edgefactor.export.arena.row_windows import Rows, RowWindow, on_rows, row_window
from edgefactor.export.c_code.layer_code import INPUT_BY_ROWS, STRIPE_MARK
from edgefactor.export.ir import Graph, Op, Tensor
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ops.slice import Slice

#: TFLM's limit.
MOST_CONCAT_INPUTS = 10
Borders = Literal["recompute", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Operators that can run by stripes.

    Attributes:
        source: The tensor they start from.
        result: The only tensor that leaves them.
        ops: In execution order.
        windows: Operator name -> its rows.
    """

    source: str
    result: str
    ops: tuple[Op, ...]
    windows: dict[str, RowWindow]


def regions(graph: Graph) -> tuple[Region, ...]:
    """The beginnings of the network that can run by stripes, shortest first.

    Each starts at the same network input and ends where a single tensor carries everything on.
    """
    if not graph.ops:
        return ()
    source = graph.ops[0].inputs[0]
    shape = graph.tensors[source].shape
    if not any(port.tensor == source for port in graph.inputs) or len(shape) != 4:
        return ()
    last_use = {name: step for step, op in enumerate(graph.ops) for name in op.inputs}
    last_use.update({port.tensor: len(graph.ops) for port in graph.outputs})
    known = {source}
    windows: dict[str, RowWindow] = {}
    found = []
    for step, op in enumerate(graph.ops):
        read = {name for name in op.inputs if graph.tensors[name].data is None}
        window = row_window(op, graph)
        if window is None or not read <= known:
            break
        known.add(op.outputs[0])
        windows[op.name] = window
        leaving = {name for name in known if last_use.get(name, -1) > step}
        if leaving == {op.outputs[0]} and graph.tensors[op.outputs[0]].shape[1] > 1:
            ops = graph.ops[: step + 1]
            found.append(
                Region(source=source, result=op.outputs[0], ops=ops, windows=dict(windows))
            )
    return tuple(found)


def _batched(items: list[str], size: int) -> Iterator[tuple[str, ...]]:
    """Runs of ``size`` items; the last may be shorter, but not of one alone."""
    count = -(-len(items) // size)
    step, extra = divmod(len(items), count)
    start = 0
    for index in range(count):
        end = start + step + (index < extra)
        yield tuple(items[start:end])
        start = end


@dataclass(slots=True)
class _Held:
    """The rows of a map that are in memory, and the tensor that holds them."""

    tensor: str
    rows: Rows


@dataclass(slots=True)
class _Builder:
    """The operators of the stripes as they are made."""

    graph: Graph
    region: Region
    borders: Borders
    ops: list[Op] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    held: dict[str, _Held] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def _tensor(self, like: str, role: str, rows: int) -> str:
        """A new tensor with so many rows of a map."""
        before = self.graph.tensors[like]
        name = f"{like}{STRIPE_MARK}{self.number}{role}"
        shape = (1, rows, *before.shape[2:])
        self.tensors[name] = replace(before, name=name, shape=shape)
        return name

    def rows_of(self, tensor: str, rows: Rows, role: str) -> str:
        """Some rows of a map that are held, as a tensor of their own."""
        held = self.held[tensor]
        if held.rows == rows:
            return held.tensor
        name = self._tensor(tensor, role, rows[1] - rows[0])
        shape = self.graph.tensors[tensor].shape
        first = rows[0] - held.rows[0]
        self.ops.append(
            Slice(
                name=name,
                inputs=(held.tensor,),
                outputs=(name,),
                begin=(0, first, 0, 0),
                end=(1, first + rows[1] - rows[0], *shape[2:]),
                step=(1, 1, 1, 1),
            )
        )
        return name

    def compute(self, op: Op, rows: Rows) -> str:
        """Append an operator for some rows of its output; returns their tensor."""
        window = self.region.windows[op.name]
        needed = window.needs(rows)
        sources: dict[str, str] = {}
        for name in op.inputs:
            if self.graph.tensors[name].data is None and name not in sources:
                role = f"{STRIPE_MARK}{op.name}"
                sources[name] = self.rows_of(name, needed, role)
        output = self._tensor(op.outputs[0], "", rows[1] - rows[0])
        self.ops.append(
            replace(
                on_rows(op, window, rows),
                name=f"{op.name}{STRIPE_MARK}{self.number}",
                inputs=tuple(sources.get(name, name) for name in op.inputs),
                outputs=(output,),
            )
        )
        return output

    def gather(self, pieces: list[str]) -> None:
        """The result of the region from its stripes, by a few at a time."""
        result, level = self.region.result, 0
        while len(pieces) > 1:
            last = len(pieces) <= MOST_CONCAT_INPUTS
            groups = list(_batched(pieces, MOST_CONCAT_INPUTS))
            pieces = []
            for index, group in enumerate(groups):
                name, role = result, f"{STRIPE_MARK}rows{level}.{index}"
                if not last:
                    rows = sum(self.tensors[piece].shape[1] for piece in group)
                    name = self._tensor(result, role, rows)
                self.ops.append(
                    Concat(name=f"{result}{role}", inputs=group, outputs=(name,), axis=1)
                )
                pieces.append(name)
            level += 1

    def hold(self, tensor: str, fresh: str, rows: Rows) -> None:
        """Put new rows behind those that are kept from the stripe before."""
        before = self.held.get(tensor)
        start, end = rows
        if self.done.get(tensor, 0) and before is not None and before.rows[0] < before.rows[1]:
            start = before.rows[0]
            name = self._tensor(tensor, f"{STRIPE_MARK}joined", end - start)
            parts = before.tensor, fresh
            self.ops.append(Concat(name=name, inputs=parts, outputs=(name,), axis=1))
            fresh = name
        self.held[tensor] = _Held(tensor=fresh, rows=(start, end))
        self.done[tensor] = end


def _needs(region: Region, ends: dict[str, Rows]) -> dict[str, Rows]:
    """Rows of every map that some rows of the result (in ``ends``) depend on."""
    wanted = dict(ends)
    for op in reversed(region.ops):
        rows = wanted.get(op.outputs[0])
        if rows is None or rows[0] >= rows[1]:
            continue
        low, high = region.windows[op.name].needs(rows)
        for name in op.inputs:
            before = wanted.get(name, (low, high))
            wanted[name] = min(before[0], low), max(before[1], high)
    return wanted


def bounds(height: int, count: int) -> list[int]:
    """Rows at which ``count`` stripes end, as equal as can be, the last one the shortest."""
    step = -(-height // count)
    return [*range(step, height, step), height]


def stripe(
    graph: Graph, region: Region, count: int, borders: Borders, *, by_rows: bool = False
) -> Graph:
    """Run a region by stripes.

    Args:
        graph: int8 Graph.
        region: One of ``regions(graph)``.
        count: Stripes, at most the rows of the region's result.
        borders: What happens to rows that two stripes need.
        by_rows: Whether the caller hands over the input row by row, from top to bottom and each
            row once: then it takes no memory as a whole. Only with kept borders, and for a
            network of one input that nothing behind the region reads.
    """
    builder = _Builder(graph=graph, region=region, borders=borders)
    height = graph.tensors[region.result].shape[1]
    whole = _Held(tensor=region.source, rows=(0, graph.tensors[region.source].shape[1]))
    builder.held[region.source] = whole
    metadata = dict(graph.metadata)
    if by_rows:
        metadata[INPUT_BY_ROWS] = region.source
    pieces: list[str] = []
    start = 0
    for end in bounds(height, count):
        wanted = _needs(region, {region.result: (start, end)})
        if borders == "keep":
            ends = {name: rows[1] for name, rows in wanted.items()}
            if by_rows:
                _fetch(builder, whole, ends[region.source])
            _stream(builder, ends, pieces)
        else:
            for op in region.ops:
                tensor = op.outputs[0]
                piece = builder.compute(op, wanted[tensor])
                builder.held[tensor] = _Held(tensor=piece, rows=wanted[tensor])
            pieces.append(builder.held[region.result].tensor)
        start = end
        builder.number += 1
    builder.gather(pieces)
    striped = graph.edit(
        ops=(*builder.ops, *graph.ops[len(region.ops) :]),
        tensors={**graph.tensors, **builder.tensors},
    )
    return replace(striped, metadata=metadata)


def _fetch(builder: _Builder, whole: _Held, end: int) -> None:
    """The next rows of the input, behind those that are still needed."""
    source = builder.region.source
    start = builder.done.get(source, 0)
    if start < end:
        before = builder.held[source]
        builder.held[source] = whole
        fresh = builder.rows_of(source, (start, end), f"{STRIPE_MARK}fetched")
        builder.held[source] = before
        builder.hold(source, fresh, (start, end))


def _stream(builder: _Builder, ends: dict[str, int], pieces: list[str]) -> None:
    """One stripe with kept borders: compute each map on from where the stripe before ended."""
    region, done = builder.region, builder.done
    for op in region.ops:
        tensor = op.outputs[0]
        start, end = done.get(tensor, 0), ends.get(tensor, 0)
        if start >= end:
            continue
        fresh = builder.compute(op, (start, end))
        if tensor == region.result:
            pieces.append(fresh)
            done[tensor] = end
        else:
            builder.hold(tensor, fresh, (start, end))
    _retire(builder)


def _retire(builder: _Builder) -> None:
    """Keep of every map only the rows that stripes to come still need."""
    region, held, done = builder.region, builder.held, builder.done
    by_rows = [region.source] if region.source in done else []
    for tensor in [*by_rows, *(op.outputs[0] for op in region.ops[:-1])]:
        rows = held.get(tensor)
        if rows is None:
            continue
        future = [
            region.windows[reader.name].needs((done.get(reader.outputs[0], 0),) * 2)[0]
            for reader in region.ops
            if tensor in reader.inputs
            and done.get(reader.outputs[0], 0) < builder.graph.tensors[reader.outputs[0]].shape[1]
        ]
        first = min([*future, rows.rows[1]])
        if first >= rows.rows[1]:
            held[tensor] = _Held(tensor="", rows=(rows.rows[1], rows.rows[1]))
        elif first > rows.rows[0]:
            kept = builder.rows_of(tensor, (first, rows.rows[1]), f"{STRIPE_MARK}kept")
            held[tensor] = _Held(tensor=kept, rows=(first, rows.rows[1]))
