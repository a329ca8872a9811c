"""How much working memory each kernel gets: what the arena's peak leaves free anyway, and no more.

Strips of more pixels cost fewer instructions and more scratch. Scratch lives for one operator, so
that it is free wherever other operators need more memory; at the peak it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from edgefactor.export.arena.plan import ArenaPlan, plan_arena, step_bounds
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Graph

#: The smallest arena is taken that costs no more than this many times the fewest instructions.
SLACK: Mapping[str, float] = {"speed": 1.003, "balanced": 1.06, "size": math.inf}
_MOST_CHOICES = 16
_MOST_SIZES = 24
#: A kernel leaves free what would save it no more than this share: large blocks leave gaps.
_THRIFT = (1.0, 1.003, 1.02, 1.05, 1.1, 1.2)
#: Plans that are laid out, where their lower bounds are not reached; fewer for long networks.
_MOST_PLANS = 12
_PLANNED_OPERATORS = 1000

Code = Mapping[str, LayerCode]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What each operator may take.

    Attributes:
        layers: For each operator, the layer with rising amounts of scratch.
        needs: For each of these, what the arena cannot go below because of it.
    """

    layers: tuple[tuple[LayerCode, ...], ...]
    needs: tuple[tuple[int, ...], ...]

    def picks(self, arena: int, thrift: float) -> tuple[int, ...]:
        """For each operator the least scratch nearly as good as all that fits such an arena."""
        chosen = []
        for layers, needs in zip(self.layers, self.needs, strict=True):
            fitting = [rank for rank, need in enumerate(needs) if need <= arena] or [0]
            enough = thrift * _instructions(layers[fitting[-1]])
            chosen.append(next(rank for rank in fitting if _instructions(layers[rank]) <= enough))
        return tuple(chosen)

    def bound(self, picks: tuple[int, ...]) -> int:
        """What the arena cannot go below."""
        return max(needs[rank] for needs, rank in zip(self.needs, picks, strict=True))

    def instructions(self, picks: tuple[int, ...]) -> int:
        """Estimate for all operators together."""
        chosen = zip(self.layers, picks, strict=True)
        return sum(_instructions(layers[rank]) for layers, rank in chosen)


def fit_scratch(
    graph: Graph, code: Code, target: CTarget
) -> tuple[dict[str, LayerCode], ArenaPlan]:
    """Every kernel with as much working memory as fits beside what lives while it runs.

    How large the arena becomes is the policy's choice: "size" takes the smallest, "speed" the
    smallest one with the fewest instructions, "balanced" the smallest one with at most 6 % more.
    ``target.arena_bytes`` is kept to if that can be done.

    Args:
        graph: int8 Graph, operators in execution order.
        code: Operator name -> its C.
        target: The policy and the memory there is.

    Returns:
        The C and its arena.
    """
    if not any(layer.scratch_choices for layer in code.values()):
        return dict(code), plan_arena(graph, code)
    options = _options(graph, code)
    fitted, plan = _smallest(graph, options, SLACK[target.optimize])
    if target.arena_bytes and plan.arena_bytes > target.arena_bytes:
        return _smallest(graph, options, math.inf)
    return fitted, plan


def _smallest(
    graph: Graph, options: _Options, slack: float
) -> tuple[dict[str, LayerCode], ArenaPlan]:
    """The smallest arena within so many times the fewest instructions."""
    sizes = sorted({need for row in options.needs for need in row})
    least = max(needs[0] for needs in options.needs)
    sizes = _spread([size for size in sizes if size >= least], _MOST_SIZES)
    ways = {options.picks(size, thrift) for size in sizes for thrift in _THRIFT}
    enough = slack * options.instructions(options.picks(sizes[-1], 1.0))
    ranked = sorted(
        (options.bound(picks), cost, picks)
        for picks in ways
        if (cost := options.instructions(picks)) <= enough
    )
    best: tuple[dict[str, LayerCode], ArenaPlan] | None = None
    most = max(2, min(_MOST_PLANS, _PLANNED_OPERATORS // len(graph.ops)))
    for bound, _, picks in ranked[:most]:
        if best is not None and bound >= best[1].arena_bytes:
            break
        code = {
            op.name: layers[rank]
            for op, layers, rank in zip(graph.ops, options.layers, picks, strict=True)
        }
        plan = plan_arena(graph, code)
        if best is None or plan.arena_bytes < best[1].arena_bytes:
            best = code, plan
    assert best is not None, "the way with the fewest instructions is among them"
    return best


def _options(graph: Graph, code: Code) -> _Options:
    layers = tuple(
        tuple(map(code[op.name].with_scratch, choices)) or (code[op.name],)
        for op in graph.ops
        for choices in [_spread(list(code[op.name].scratch_choices), _MOST_CHOICES)]
    )
    bounds = []
    for rank in range(max(map(len, layers))):
        some = zip(graph.ops, layers, strict=True)
        chosen = {op.name: choices[min(rank, len(choices) - 1)] for op, choices in some}
        bounds.append(step_bounds(graph, chosen))
    needs = (
        tuple(bounds[rank][step] for rank in range(len(choices)))
        for step, choices in enumerate(layers)
    )
    return _Options(layers=layers, needs=tuple(needs))


def _instructions(layer: LayerCode) -> int:
    return layer.alternatives[0].instructions if layer.alternatives else 0


def _spread(items: list[_Item], most: int) -> list[_Item]:
    """At most so many of them, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
