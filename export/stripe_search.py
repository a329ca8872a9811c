"""Whether a network runs by stripes, and how: what fits the memory at the least extra work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from edgefactor.export.code_cache import CodeCache
from edgefactor.export.ir import Graph
from edgefactor.export.layer_code import CTarget
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.slice import Slice
from edgefactor.export.plan import arena_bound, plan_arena
from edgefactor.export.stripes import Borders, bounds, regions, stripe

#: Key of the Graph's metadata under which the choice is recorded.
METADATA = "stripes"
#: Fewer rows a stripe cost more calls and gain little.
_MOST_STRIPES = 48
#: What one more call, and one more byte moved, weigh beside a multiply-accumulate.
_CALL_MACS = 150
_BYTE_MACS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StripePlan:
    """How a network runs by stripes.

    Attributes:
        until: The tensor up to which it does.
        stripes: How many.
        borders: "recompute" or "keep" (``export/stripes.py``).
        arena_before_bytes: The arena of the network as a whole.
        arena_bytes: The arena by stripes.
        macs_before: Multiply-accumulates of one inference as a whole.
        extra_macs: What the stripes add.
        copied_bytes: Bytes of kept rows that are copied in one inference.
        fits: Whether the arena is within what was asked for.
    """

    until: str
    stripes: int
    borders: Borders
    arena_before_bytes: int
    arena_bytes: int
    macs_before: int
    extra_macs: int
    copied_bytes: int
    fits: bool

    @property
    def extra_macs_percent(self) -> float:
        """Of the arithmetic of the whole network."""
        return round(100 * self.extra_macs / max(self.macs_before, 1), 2)

    def to_dict(self) -> dict[str, object]:
        """For the report and the Graph's metadata."""
        return {**asdict(self), "extra_macs_percent": self.extra_macs_percent}


def recorded(graph: Graph) -> dict[str, object] | None:
    """What ``fit_arena`` recorded in a Graph; None if it runs as a whole."""
    text = graph.metadata.get(METADATA)
    return None if text is None else dict(json.loads(text))


def multiply_accumulates(graph: Graph) -> int:
    """Products of weights and activations in one inference."""
    total = 0
    for op in graph.ops:
        if isinstance(op, Conv2D):
            weights = graph.tensors[op.inputs[1]]
            channels = weights.shape[0]
            total += graph.tensors[op.outputs[0]].elements * (weights.elements // channels)
    return total


def _copied_bytes(graph: Graph) -> int:
    """Rows that are kept from one stripe to the next."""
    kept = (op for op in graph.ops if isinstance(op, Slice) and op.name.endswith("@kept"))
    return sum(graph.tensors[op.outputs[0]].bytes for op in kept)


def _counts(height: int) -> list[int]:
    """Numbers of stripes that differ in what they do, few first."""
    lengths = sorted({len(bounds(height, count)) for count in range(2, height + 1)})
    return [count for count in lengths if count <= _MOST_STRIPES]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    graph: Graph
    plan: StripePlan
    cost: int


def _candidates(graph: Graph, cache: CodeCache, budget: int) -> Iterator[_Candidate]:
    """All ways to run by stripes, with the arena that they need at least."""
    before = arena_bound(graph, cache.code(graph))
    macs = multiply_accumulates(graph)
    modes: tuple[Borders, ...] = ("keep", "recompute")
    for region in regions(graph):
        for borders in modes:
            for count in _counts(graph.tensors[region.result].shape[1]):
                striped = stripe(graph, region, count, borders)
                code = cache.code(striped)
                arena = arena_bound(striped, code)
                extra = multiply_accumulates(striped) - macs
                copied = _copied_bytes(striped)
                calls = len(striped.ops) - len(graph.ops)
                yield _Candidate(
                    graph=striped,
                    plan=StripePlan(
                        until=region.result,
                        stripes=count,
                        borders=borders,
                        arena_before_bytes=before,
                        arena_bytes=arena,
                        macs_before=macs,
                        extra_macs=extra,
                        copied_bytes=copied,
                        fits=arena <= budget,
                    ),
                    cost=extra + _CALL_MACS * calls + _BYTE_MACS * copied,
                )


def fit_arena(graph: Graph, target: CTarget, arena_bytes: int) -> Graph:
    """Run the beginning of a network by stripes if its arena is too large otherwise.

    Args:
        graph: int8 Graph.
        target: What the C is for: scratch counts too.
        arena_bytes: What the arena may take.

    Returns:
        The Graph as it is if it fits or cannot run by stripes; else the one that fits at the
        least extra work, or, where none fits, the one of the smallest arena. The choice is in its
        metadata.
    """
    cache = CodeCache(target=target)
    whole = plan_arena(graph, cache.code(graph)).arena_bytes
    if whole <= arena_bytes:
        return graph
    candidates = sorted(
        _candidates(graph, cache, arena_bytes),
        key=lambda c: (
            not c.plan.fits,
            c.cost if c.plan.fits else c.plan.arena_bytes,
            c.plan.arena_bytes,
        ),
    )
    best: _Candidate | None = None
    for candidate in candidates:
        found = plan_arena(candidate.graph, cache.code(candidate.graph)).arena_bytes
        if best is None or found < best.plan.arena_bytes:
            best = replace(
                candidate,
                plan=replace(
                    candidate.plan,
                    arena_before_bytes=whole,
                    arena_bytes=found,
                    fits=found <= arena_bytes,
                ),
            )
        if best.plan.fits or not candidate.plan.fits:
            break
    if best is None or best.plan.arena_bytes >= whole:
        return graph
    text = json.dumps(best.plan.to_dict(), sort_keys=True)
    return replace(best.graph, metadata={**graph.metadata, METADATA: text})
