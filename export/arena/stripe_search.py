"""Whether a network runs by stripes, and how: what fits the memory at the least extra work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from edgefactor.export.arena.plan import arena_bound, plan_arena
from edgefactor.export.arena.stripes import Borders, Region, bounds, regions, stripe
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import Graph
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.slice import Slice

#: Key of the Graph's metadata under which the choice is recorded.
METADATA = "stripes"
#: Fewer rows a stripe cost more calls and gain little.
_MOST_STRIPES = 48
#: Each number of stripes tried is at least so many times the one before.
_STEP = 1.25
#: Regions that bring nothing before the search ends.
_PATIENCE = 4
#: Plans that are laid out in full, should the bound not be reached.
_MOST_PLANS = 5
#: What one more call, and one more byte moved, weigh beside a multiply-accumulate.
_CALL_MACS = 150
_BYTE_MACS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StripePlan:
    """How a network runs by stripes.

    Attributes:
        until: The tensor up to which it does.
        stripes: How many.
        borders: "recompute" or "keep" (``export/arena/stripes.py``).
        arena_before_bytes: The arena of the network as a whole.
        arena_bytes: The arena by stripes.
        macs_before: Multiply-accumulates of one inference as a whole.
        extra_macs: What the stripes add.
        copied_bytes: Bytes of kept rows that are copied in one inference.
        fits: Whether the arena is within what was asked for.
        input_by_rows: Whether the caller hands over the input row by row.
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
    input_by_rows: bool = False

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
    """Numbers of stripes to try, each a good deal more than the one before."""
    chosen = [1]
    for count in sorted({len(bounds(height, wanted)) for wanted in range(2, height + 1)}):
        if count <= _MOST_STRIPES and (count >= _STEP * chosen[-1] or count == height):
            chosen.append(count)
    return chosen[1:]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    graph: Graph
    plan: StripePlan
    cost: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """Fitting ones by their cost, the input whole if that fits; the others by their arena."""
        if self.plan.fits:
            return int(self.plan.input_by_rows), self.cost, self.plan.arena_bytes
        return 2, self.plan.arena_bytes, self.cost


def _of_region(
    graph: Graph, region: Region, cache: CodeCache, before: int, budget: int
) -> Iterator[_Candidate]:
    """All ways to run one region by stripes, with the arena that they need at least."""
    macs = multiply_accumulates(graph)
    modes: list[tuple[Borders, bool]] = [("keep", False), ("recompute", False)]
    behind = {name for op in graph.ops[len(region.ops) :] for name in op.inputs}
    if len(graph.inputs) == 1 and region.source not in behind:
        modes.append(("keep", True))
    for borders, by_rows in modes:
        for count in _counts(graph.tensors[region.result].shape[1]):
            striped = stripe(graph, region, count, borders, by_rows=by_rows)
            arena = arena_bound(striped, cache.least_code(striped))
            extra = multiply_accumulates(striped) - macs
            copied = _copied_bytes(striped)
            calls = len(striped.ops) - len(graph.ops)
            plan = StripePlan(
                until=region.result,
                stripes=count,
                borders=borders,
                arena_before_bytes=before,
                arena_bytes=arena,
                macs_before=macs,
                extra_macs=extra,
                copied_bytes=copied,
                fits=arena <= budget,
                input_by_rows=by_rows,
            )
            cost = extra + _CALL_MACS * calls + _BYTE_MACS * copied
            yield _Candidate(graph=striped, plan=plan, cost=cost)


def _candidates(graph: Graph, cache: CodeCache, before: int, budget: int) -> list[_Candidate]:
    """Ways to run by stripes, best first, by the arena that they need at least."""
    code = cache.least_code(graph)
    found: list[_Candidate] = []
    idle = 0
    for region in regions(graph):
        # What comes behind the region needs its memory whatever the stripes do.
        behind = arena_bound(graph, code, since=len(region.ops))
        best = min(found, key=lambda candidate: candidate.rank, default=None)
        least = before if best is None else best.plan.arena_bytes
        if behind > budget and behind >= least:
            continue
        found += _of_region(graph, region, cache, before, budget)
        improved = min(found, key=lambda candidate: candidate.rank)
        idle = idle + 1 if improved is best else 0
        if idle == _PATIENCE:
            break
    return sorted(found, key=lambda candidate: candidate.rank)


def fit_arena(
    graph: Graph, target: CTarget, arena_bytes: int, *, cache: CodeCache | None = None
) -> Graph:
    """Run the beginning of a network by stripes if its arena is too large otherwise.

    Args:
        graph: int8 Graph.
        target: What the C is for: scratch counts too.
        arena_bytes: What the arena may take.
        cache: Layers of the same target that were made before.

    Returns:
        The Graph as it is if it fits or cannot run by stripes; else the one that fits at the
        least extra work, or, where none fits, the one of the smallest arena. The choice is in its
        metadata.
    """
    cache = cache or CodeCache(target=target)
    whole = plan_arena(graph, cache.least_code(graph)).arena_bytes
    if whole <= arena_bytes:
        return graph
    best: _Candidate | None = None
    for candidate in _candidates(graph, cache, whole, arena_bytes)[:_MOST_PLANS]:
        arena = plan_arena(candidate.graph, cache.least_code(candidate.graph)).arena_bytes
        if best is None or arena < best.plan.arena_bytes:
            plan = replace(candidate.plan, arena_bytes=arena, fits=arena <= arena_bytes)
            best = replace(candidate, plan=plan)
        if best.plan.fits:
            break
    if best is None or best.plan.arena_bytes >= whole:
        return graph
    text = json.dumps(best.plan.to_dict(), sort_keys=True)
    return replace(best.graph, metadata={**best.graph.metadata, METADATA: text})
