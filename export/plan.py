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


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


def _first_fit(buffers: Sequence[Buffer]) -> tuple[dict[str, int], int]:
    """Place buffers in the order given, each at the lowest offset that is free."""
    placed: list[tuple[int, Buffer]] = []
    offsets: dict[str, int] = {}
    end = 0
    for buffer in buffers:
        busy = sorted(
            (offset, offset + _aligned(other.size))
            for offset, other in placed
            if _overlap(buffer, other)
        )
        at = 0
        for start, stop in busy:
            if at + buffer.size <= start:
                break
            at = max(at, stop)
        placed.append((at, buffer))
        offsets[buffer.name] = at
        end = max(end, at + buffer.size)
    return offsets, end


def _least_bytes(sizes: Sequence[int]) -> int:
    """What buffers alive at once need at least: only the last one's end may be unaligned."""
    waste = max((_aligned(size) - size for size in sizes), default=0)
    return sum(_aligned(size) for size in sizes) - waste


def place(buffers: Sequence[Buffer]) -> tuple[dict[str, int], int, int]:
    """Offsets of buffers, the arena's size and the lower bound, in bytes.

    Deterministic: the random orders come from a fixed seed.
    """
    steps = sorted({b.first for b in buffers})
    bound = max(
        (_least_bytes([b.size for b in buffers if b.first <= s <= b.last]) for s in steps),
        default=0,
    )
    orders = [
        sorted(buffers, key=lambda b: (-b.size, b.first, b.name)),
        sorted(buffers, key=lambda b: (-(b.last - b.first), -b.size, b.name)),
        sorted(buffers, key=lambda b: (-b.size * (b.last - b.first + 1), b.name)),
        sorted(buffers, key=lambda b: (b.first, -b.size, b.name)),
    ]
    best: tuple[dict[str, int], int] = ({}, 0)
    generator = random.Random(_SEED)
    for turn in range(len(orders) + _SHUFFLES):
        if turn < len(orders):
            order = orders[turn]
        else:
            order = sorted(buffers, key=lambda b: -b.size * generator.uniform(0.3, 1.0))
        offsets, end = _first_fit(order)
        if not best[0] or end < best[1]:
            best = offsets, end
        if _aligned(best[1]) <= _aligned(bound):
            break
    return best[0], best[1], bound


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
    offsets, arena_bytes, bound = place(buffers)
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
        arena_bytes=arena_bytes,
        lower_bound_bytes=bound,
        peak_step=graph.ops[peak].name if graph.ops else "",
        in_place=tuple(in_place),
    )


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
