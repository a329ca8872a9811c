"""The arena: one block of memory for all activations and scratch, laid out ahead of time.

Every buffer has a lifetime in steps of the network. Buffers whose lifetimes overlap must not
overlap in memory. Finding the smallest arena is NP-hard (it is dynamic storage allocation), so
several first-fit orders are tried; the lower bound, the largest sum of sizes alive at one step,
says when the best possible has been reached.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgefactor.export.ir import Graph
from edgefactor.export.layer_code import LayerCode

ALIGNMENT = 16
_SHUFFLES = 400
_SEED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """A span of memory with a lifetime.

    Attributes:
        name: For reports.
        size: Bytes, without alignment.
        first: Step at which it is first written; -1 for network inputs.
        last: Last step at which it is used, inclusive.
    """

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Offsets of buffers by name, the end of the highest, and what no plan can go below."""

    offsets: Mapping[str, int]
    arena_bytes: int
    lower_bound_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaPlan:
    """Where everything lies.

    Attributes:
        offsets: Tensor name -> byte offset. Tensors that share memory share an offset.
        scratch: Operator name -> byte offset of its scratch memory.
        arena_bytes: End of the highest buffer: what the caller has to provide.
        lower_bound_bytes: No plan with these buffers can be smaller.
        peak_step: Name of the operator at which most memory is alive.
        in_place: Names of operators whose output takes over an input's memory.
    """

    offsets: Mapping[str, int]
    scratch: Mapping[str, int]
    arena_bytes: int
    lower_bound_bytes: int
    peak_step: str
    in_place: tuple[str, ...]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _meet(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


#: (name of an operator's input buffer, name of its output buffer) -> lead: they may overlap if the
#: output starts at least so many bytes before the input.
Leads = Mapping[tuple[str, str], int]


def _forbidden(buffer: Buffer, other: Buffer, offset: int, leads: Leads) -> tuple[int, int]:
    """Offsets strictly between these two put ``buffer`` over ``other`` at ``offset``."""
    low, high = offset - buffer.size, offset + _aligned(other.size)
    lead = leads.get((other.name, buffer.name))
    if lead is not None:
        low = max(low, offset - lead)
    lead = leads.get((buffer.name, other.name))
    if lead is not None:
        high = min(high, _aligned(max(0, offset + lead)))
    return low, high


def _first_fit(buffers: Sequence[Buffer], leads: Leads) -> tuple[dict[str, int], int]:
    """Place buffers in the order given, each at the lowest offset that is free."""
    placed: list[tuple[int, Buffer]] = []
    offsets: dict[str, int] = {}
    end = 0
    for buffer in buffers:
        busy = [
            _forbidden(buffer, other, offset, leads)
            for offset, other in placed
            if _meet(buffer, other)
        ]
        free = (
            start
            for start in sorted({0, *(stop for _, stop in busy)})
            if start >= 0 and not any(low < start < high for low, high in busy)
        )
        at = next(free)
        placed.append((at, buffer))
        offsets[buffer.name] = at
        end = max(end, at + buffer.size)
    return offsets, end


def _least_bytes(buffers: Sequence[Buffer], leads: Leads) -> int:
    """What buffers alive at once need at least: only the last one's end may be unaligned."""
    sizes = {buffer.name: buffer.size for buffer in buffers}
    for (source, result), lead in leads.items():
        if source in sizes and result in sizes:
            over = max(sizes[result], max(lead, 0) + sizes[source])
            if over < _aligned(sizes[result]) + sizes[source]:
                sizes[result] = over
                del sizes[source]
    waste = max((_aligned(size) - size for size in sizes.values()), default=0)
    return sum(_aligned(size) for size in sizes.values()) - waste


def place(buffers: Sequence[Buffer], leads: Leads = MappingProxyType({})) -> Placement:
    """Offsets of buffers, the arena's size and the lower bound.

    Args:
        buffers: What has to be placed.
        leads: Pairs that may overlap.

    Returns:
        The best plan found. Deterministic: the random orders come from a fixed seed.
    """
    steps = sorted({b.first for b in buffers})
    bound = max(
        (_least_bytes([b for b in buffers if b.first <= s <= b.last], leads) for s in steps),
        default=0,
    )
    orders = [
        sorted(buffers, key=lambda b: (-b.size, b.first, b.name)),
        sorted(buffers, key=lambda b: (-(b.last - b.first), -b.size, b.name)),
        sorted(buffers, key=lambda b: (-b.size * (b.last - b.first + 1), b.name)),
        sorted(buffers, key=lambda b: (b.first, -b.size, b.name)),
        sorted(buffers, key=lambda b: (-b.first, -b.size, b.name)),
    ]
    best: tuple[dict[str, int], int] = ({}, 0)
    generator = random.Random(_SEED)
    for turn in range(len(orders) + _SHUFFLES):
        if turn < len(orders):
            order = orders[turn]
        else:
            # Large ones first, or late ones first: an output lies below the input it overlaps.
            late = turn % 2
            order = sorted(
                buffers,
                key=lambda b: -(b.first + 2 if late else b.size) * generator.uniform(0.3, 1.0),
            )
        offsets, end = _first_fit(order, leads)
        if not best[0] or end < best[1]:
            best = offsets, end
        if _aligned(best[1]) <= _aligned(bound):
            break
    return Placement(offsets=best[0], arena_bytes=best[1], lower_bound_bytes=bound)


def plan_arena(graph: Graph, code: Mapping[str, LayerCode]) -> ArenaPlan:
    """Lay out all activations of an int8 Graph and the scratch of its kernels.

    Args:
        graph: int8 Graph, operators in execution order.
        code: Operator name -> its C.
    """
    last_use: dict[str, int] = {}
    for step, op in enumerate(graph.ops):
        for name in op.inputs:
            last_use[name] = step
    end = len(graph.ops)
    for port in graph.outputs:
        last_use[port.tensor] = end
    owner: dict[str, str] = {port.tensor: port.tensor for port in graph.inputs}
    first = {port.tensor: -1 for port in graph.inputs}
    last = {port.tensor: last_use.get(port.tensor, -1) for port in graph.inputs}
    sizes = {port.tensor: graph.tensors[port.tensor].bytes for port in graph.inputs}
    in_place: list[str] = []
    for step, op in enumerate(graph.ops):
        output = graph.tensors[op.outputs[0]]
        host = _host(graph, code[op.name], step, owner, last)
        until = last_use.get(output.name, step)
        if host is None:
            owner[output.name] = output.name
            first[output.name], last[output.name] = step, until
            sizes[output.name] = output.bytes
            continue
        if not code[op.name].is_alias:
            in_place.append(op.name)
        owner[output.name] = host
        last[host] = max(last[host], until)
        sizes[host] = max(sizes[host], output.bytes)
    buffers = [
        Buffer(name=name, size=sizes[name], first=first[name], last=last[name]) for name in first
    ]
    prefix = "\0scratch:"
    buffers += [
        Buffer(name=prefix + op.name, size=code[op.name].scratch_bytes, first=step, last=step)
        for step, op in enumerate(graph.ops)
        if code[op.name].scratch_bytes
    ]
    placement = place(buffers, _leads(graph, code, owner, first, last))
    offsets = placement.offsets
    peak = max(
        range(end),
        key=lambda s: sum(b.size for b in buffers if b.first <= s <= b.last),
        default=0,
    )
    return ArenaPlan(
        offsets={name: offsets[host] for name, host in owner.items()},
        scratch={
            op.name: offsets[prefix + op.name] for op in graph.ops if prefix + op.name in offsets
        },
        arena_bytes=placement.arena_bytes,
        lower_bound_bytes=placement.lower_bound_bytes,
        peak_step=graph.ops[peak].name if graph.ops else "",
        in_place=tuple(in_place),
    )


def _leads(
    graph: Graph,
    code: Mapping[str, LayerCode],
    owner: Mapping[str, str],
    first: Mapping[str, int],
    last: Mapping[str, int],
) -> dict[tuple[str, str], int]:
    """Pairs of buffers that may overlap: an input that dies and the output that is born."""
    leads: dict[tuple[str, str], int] = {}
    for step, op in enumerate(graph.ops):
        result = owner[op.outputs[0]]
        for index, lead in code[op.name].overlaps:
            source = owner.get(op.inputs[index])
            if source is None or source == result:
                continue
            if last[source] == step and first[result] == step:
                leads[source, result] = lead
    return leads


def _host(
    graph: Graph, code: LayerCode, step: int, owner: Mapping[str, str], last: Mapping[str, int]
) -> str | None:
    """The buffer that an operator's output may take over, or None."""
    op = graph.ops[step]
    if code.is_alias:
        return owner[op.inputs[0]]
    for index in code.in_place:
        name = op.inputs[index]
        if graph.tensors[name].data is not None:
            continue
        host = owner[name]
        # Another operand in the same memory would be overwritten while it is read.
        shared = any(
            owner.get(other) == host for place_, other in enumerate(op.inputs) if place_ != index
        )
        fits = graph.tensors[op.outputs[0]].bytes <= graph.tensors[name].bytes
        if last[host] == step and not shared and fits:
            return host
    return None
