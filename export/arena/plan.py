"""The arena: one block of memory for all activations and scratch, laid out ahead of time.

``views`` says which tensors share memory, ``placement`` finds the offsets; this module puts
the two together for a Graph and the C that its operators became.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgefactor.export.arena.placement import (
    ALIGNMENT,
    Block,
    Overlap,
    bounds_by_step,
    buffer,
    lower_bound,
    place,
)
from edgefactor.export.arena.views import Sharing, blocks, share
from edgefactor.export.c_code.layer_code import LayerCode
from edgefactor.export.ir import Graph

__all__ = [
    "ALIGNMENT",
    "ArenaPlan",
    "arena_bound",
    "plan_arena",
    "step_bounds",
    "without_skipped",
]

_SCRATCH = "\0scratch:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaPlan:
    """Where everything lies.

    Attributes:
        offsets: Tensor name -> byte offset.
        scratch: Operator name -> byte offset of its scratch memory.
        arena_bytes: End of the highest buffer: what the caller has to provide.
        lower_bound_bytes: No plan with these buffers can be smaller.
        peak_step: Name of the operator at which most memory is alive.
        in_place: Names of operators whose output takes over an input's memory.
        skipped: Operator name -> indices of its calls that only copy what lies there already.
    """

    offsets: Mapping[str, int]
    scratch: Mapping[str, int]
    arena_bytes: int
    lower_bound_bytes: int
    peak_step: str
    in_place: tuple[str, ...]
    skipped: Mapping[str, frozenset[int]]


def plan_arena(graph: Graph, code: Mapping[str, LayerCode]) -> ArenaPlan:
    """Lay out all activations of an int8 Graph and the scratch of its kernels.

    Args:
        graph: int8 Graph, operators in execution order.
        code: Operator name -> its C.
    """
    sharing = share(graph, code)
    memory = _memory(graph, code, sharing)
    placement = place(memory, _overlaps(graph, code, sharing))
    offsets = placement.offsets
    spans = [span for block in memory for span in block.spans]
    peak = max(
        range(len(graph.ops)),
        key=lambda s: sum(span.size for span in spans if span.first <= s <= span.last),
        default=0,
    )
    return ArenaPlan(
        offsets={name: offsets[seat.block] + seat.offset for name, seat in sharing.seats.items()},
        scratch={
            op.name: offsets[_SCRATCH + op.name]
            for op in graph.ops
            if _SCRATCH + op.name in offsets
        },
        arena_bytes=placement.arena_bytes,
        lower_bound_bytes=placement.lower_bound_bytes,
        peak_step=graph.ops[peak].name if graph.ops else "",
        in_place=sharing.in_place,
        skipped=sharing.skipped,
    )


def arena_bound(graph: Graph, code: Mapping[str, LayerCode], *, since: int = -1) -> int:
    """What the arena cannot go below, without laying it out: quick, and nearly always reached.

    Args:
        graph: int8 Graph.
        code: Operator name -> its C.
        since: Index of the first operator that counts; -1 for all and the inputs.
    """
    sharing = share(graph, code)
    memory, overlaps = _memory(graph, code, sharing), _overlaps(graph, code, sharing)
    return lower_bound(memory, overlaps, since=since)


def step_bounds(graph: Graph, code: Mapping[str, LayerCode]) -> list[int]:
    """What the arena cannot go below because of each operator."""
    sharing = share(graph, code)
    memory, overlaps = _memory(graph, code, sharing), _overlaps(graph, code, sharing)
    found = bounds_by_step(memory, overlaps, range(len(graph.ops)))
    return [found[step] for step in range(len(graph.ops))]


def without_skipped(code: Mapping[str, LayerCode], plan: ArenaPlan) -> dict[str, LayerCode]:
    """The C that is left when copies that the plan makes needless are taken out."""
    result = dict(code)
    for name, omitted in plan.skipped.items():
        before = code[name]
        calls = tuple(call for i, call in enumerate(before.calls) if i not in omitted)
        sources = before.sources if calls else ()
        result[name] = replace(before, calls=calls, sources=sources)
    return result


def _memory(graph: Graph, code: Mapping[str, LayerCode], sharing: Sharing) -> list[Block]:
    scratch = [
        buffer(_SCRATCH + op.name, code[op.name].scratch_bytes, step, step)
        for step, op in enumerate(graph.ops)
        if code[op.name].scratch_bytes
    ]
    return blocks(graph, sharing) + scratch


def _overlaps(
    graph: Graph, code: Mapping[str, LayerCode], sharing: Sharing
) -> dict[tuple[str, str], list[Overlap]]:
    """Where an output, or scratch, may lie over the input that dies."""
    result: dict[tuple[str, str], list[Overlap]] = {}
    for step, op in enumerate(graph.ops):
        layer = code[op.name]
        copied = sharing.seats.get(op.inputs[0])
        if layer.scratch_lead is not None and copied is not None:
            entry = Overlap(
                step=step,
                source=(copied.offset, graph.tensors[op.inputs[0]].bytes),
                result=(0, layer.scratch_bytes),
                lead=layer.scratch_lead,
            )
            result.setdefault((copied.block, _SCRATCH + op.name), []).append(entry)
        output = op.outputs[0]
        written = sharing.seats[output]
        for index, lead in layer.overlaps:
            name = op.inputs[index]
            read = sharing.seats.get(name)
            if read is None or read.block == written.block:
                continue
            entry = Overlap(
                step=step,
                source=(read.offset, graph.tensors[name].bytes),
                result=(written.offset, graph.tensors[output].bytes),
                lead=lead,
            )
            result.setdefault((read.block, written.block), []).append(entry)
    return result
