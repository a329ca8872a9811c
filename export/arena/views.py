"""Where tensors share memory: views, parts of a concatenation, outputs computed in place.

The result says for each tensor in which block it lies and where, and which copies fall away. A
block is the memory of one tensor, its owner; every other tensor in it covers a range of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from edgefactor.export.arena.placement import Block, Span
from edgefactor.export.c_code.layer_code import INPUT_BY_ROWS, LayerCode
from edgefactor.export.ir import Graph, Op

#: Kernels that read words expect a map to start at a multiple of this, in bytes.
WORD_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The place of a tensor: so many bytes into the block of another one (or of its own)."""

    block: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Who lies where.

    Attributes:
        seats: Tensor name -> its place.
        first: Tensor name -> step at which it is written; -1 for network inputs.
        last: Tensor name -> last step at which its own bytes are read.
        skipped: Operator name -> indices of its calls that need not run.
        in_place: Operators whose output takes over an input's memory.
    """

    seats: Mapping[str, Seat]
    first: Mapping[str, int]
    last: Mapping[str, int]
    skipped: Mapping[str, frozenset[int]]
    in_place: tuple[str, ...]


@dataclass(slots=True)
class _Seating:
    """Seats as they are found, operator by operator."""

    graph: Graph
    code: Mapping[str, LayerCode]
    first: dict[str, int]
    uses: dict[str, int]
    seats: dict[str, Seat] = field(default_factory=dict)
    neighbours: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, set[int]] = field(default_factory=dict)
    in_place: list[str] = field(default_factory=list)

    def sit(self, tensor: str, seat: Seat) -> None:
        self.seats[tensor] = seat
        self.neighbours.setdefault(seat.block, []).append(tensor)

    def _bytes(self, tensor: str) -> int:
        return self.graph.tensors[tensor].bytes

    def seat_parts(self) -> None:
        """Parts of concatenations go into the result's memory; the outermost result first."""
        inputs = {port.tensor for port in self.graph.inputs}
        producers = {op.outputs[0]: op for op in self.graph.ops}
        for op in reversed(self.graph.ops):
            whole = op.outputs[0]
            for index, offset in self.code[op.name].parts:
                part = op.inputs[index]
                producer = producers.get(part)
                if producer is None or part in self.seats or part in inputs:
                    continue
                if self.code[producer.name].is_alias or offset % WORD_BYTES:
                    continue
                if whole not in self.seats:
                    self.sit(whole, Seat(block=whole, offset=0))
                seat = self.seats[whole]
                self.sit(part, Seat(block=seat.block, offset=seat.offset + offset))
                self.skipped.setdefault(op.name, set()).add(index)

    def seat_output(self, step: int, op: Op) -> None:
        """A view of the input, a part that has its seat, the input's memory, or its own."""
        output, code = op.outputs[0], self.code[op.name]
        if output in self.seats:
            return
        source = self.seats.get(op.inputs[0])
        if code.is_alias and source is not None:
            self.sit(output, source)
            return
        inside = code.inside
        if inside is not None and source is not None and inside % WORD_BYTES == 0:
            self.sit(output, Seat(block=source.block, offset=source.offset + inside))
            self.skipped[op.name] = set(range(len(code.calls)))
            return
        for index in code.in_place:
            host = self._host(step, op, index)
            if host is not None:
                self.in_place.append(op.name)
                self.sit(output, host)
                return
        self.sit(output, Seat(block=output, offset=0))

    def _host(self, step: int, op: Op, index: int) -> Seat | None:
        """The seat of an input that the output may take over; None while anyone needs it."""
        name, size = op.inputs[index], self._bytes(op.outputs[0])
        seat = self.seats.get(name)
        if seat is None or self.uses[name] != step or size > self._bytes(name):
            return None
        for other in self.neighbours[seat.block]:
            if other == name:
                continue
            start = self.seats[other].offset
            apart = start + self._bytes(other) <= seat.offset or seat.offset + size <= start
            # Another operand in the same memory would be overwritten while it is read.
            if not apart and (self.uses[other] > step or other in op.inputs):
                return None
        return None if op.inputs.count(name) > 1 else seat


def share(graph: Graph, code: Mapping[str, LayerCode]) -> Sharing:
    """Decide which tensors share memory.

    Args:
        graph: int8 Graph, operators in execution order.
        code: Operator name -> its C.
    """
    first = {port.tensor: -1 for port in graph.inputs}
    uses = dict(first)
    for step, op in enumerate(graph.ops):
        for name in op.inputs:
            uses[name] = step
        first[op.outputs[0]] = step
        uses[op.outputs[0]] = step
    end = len(graph.ops)
    uses.update({port.tensor: end for port in graph.outputs})
    seating = _Seating(graph=graph, code=code, first=first, uses=uses)
    for port in graph.inputs:
        # An input that comes row by row never lies in the arena.
        if port.tensor not in seating.seats and port.tensor != graph.metadata.get(INPUT_BY_ROWS):
            seating.sit(port.tensor, Seat(block=port.tensor, offset=0))
    seating.seat_parts()
    for step, op in enumerate(graph.ops):
        seating.seat_output(step, op)
    skipped = {name: frozenset(calls) for name, calls in seating.skipped.items()}
    return Sharing(
        seats=seating.seats,
        first=first,
        last=_reads(graph, code, skipped, first),
        skipped=skipped,
        in_place=tuple(seating.in_place),
    )


def _reads(
    graph: Graph,
    code: Mapping[str, LayerCode],
    skipped: Mapping[str, frozenset[int]],
    first: Mapping[str, int],
) -> dict[str, int]:
    """Last step at which each tensor's own bytes are read; views read through their own."""
    last = dict(first)
    for step, op in enumerate(graph.ops):
        omitted = skipped.get(op.name, frozenset())
        calls = code[op.name].calls
        for index, name in enumerate(op.inputs):
            if len(omitted) < len(calls) and not (index in omitted and len(calls) > 1):
                last[name] = step
    last.update({port.tensor: len(graph.ops) for port in graph.outputs})
    return last


def blocks(graph: Graph, sharing: Sharing) -> list[Block]:
    """The blocks with their spans: bytes that the same tensors cover live for the same steps."""
    members: dict[str, list[str]] = {}
    for name, seat in sharing.seats.items():
        members.setdefault(seat.block, []).append(name)
    result = []
    for owner, names in members.items():
        ranges = [
            (sharing.seats[name].offset, sharing.seats[name].offset + graph.tensors[name].bytes)
            for name in names
        ]
        cuts = sorted({edge for pair in ranges for edge in pair})
        spans: list[Span] = []
        for low, high in pairwise(cuts):
            covering = [
                name
                for name, (start, stop) in zip(names, ranges, strict=True)
                if start <= low and high <= stop
            ]
            spans.append(
                Span(
                    offset=low,
                    size=high - low,
                    first=min(sharing.first[name] for name in covering),
                    last=max(sharing.last[name] for name in covering),
                )
            )
        result.append(Block(name=owner, spans=tuple(_joined(spans))))
    return result


def _joined(spans: list[Span]) -> list[Span]:
    """Neighbours of the same lifetime as one."""
    joined: list[Span] = []
    for span in spans:
        before = joined[-1] if joined else None
        if before is not None and (before.first, before.last) == (span.first, span.last):
            span = Span(
                offset=before.offset,
                size=before.size + span.size,
                first=span.first,
                last=span.last,
            )
            joined.pop()
        joined.append(span)
    return joined
