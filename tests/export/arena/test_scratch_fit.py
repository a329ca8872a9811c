"""Scratch takes what lies free, and the arena grows no larger for it than the policy asks."""

from itertools import pairwise

import pytest
from torch import nn

from edgefactor.export.arena.plan import plan_arena
from edgefactor.export.arena.scratch_fit import SLACK, fit_scratch
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures, LayerCode
from edgefactor.export.ir import Graph
from tests.export.graphs import lowered, to_int8

M4 = IsaFeatures(dsp=True, unaligned=True)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A large map at the beginning, small ones behind it, all with weights of 16 values."""
    layers: list[nn.Module] = [nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4)]
    for _ in range(3):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = (layer.weight.data * 60).round().clip(-7, 8) / 8
    return to_int8(lowered(nn.Sequential(*layers), (1, 4, 24, 24)).graph)


def instructions(code: dict[str, LayerCode]) -> int:
    return sum(layer.alternatives[0].instructions for layer in code.values() if layer.alternatives)


def fitted(graph: Graph, optimize: str, arena_bytes: int = 0) -> tuple[int, int]:
    """Arena and instructions."""
    target = CTarget(features=M4, optimize=optimize, arena_bytes=arena_bytes)
    # The same kernels for all policies, so that only scratch differs.
    made = CodeCache(target=CTarget(features=M4)).code(graph)
    code, plan = fit_scratch(graph, made, target)
    assert plan == plan_arena(graph, code)
    return plan.arena_bytes, instructions(code)


def test_policies_trade_memory_for_instructions(graph: Graph) -> None:
    found = [fitted(graph, optimize) for optimize in ("size", "balanced", "speed")]
    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in pairwise(found))
    assert found[0][0] < found[2][0]
    assert found[1][1] <= SLACK["balanced"] * found[2][1]


def test_free_memory_is_used(graph: Graph) -> None:
    """Behind the peak there is room: the least arena need not cost the most instructions."""
    code = CodeCache(target=CTarget(features=M4)).code(graph)
    least = {name: layer.least_scratch for name, layer in code.items()}
    arena, cost = fitted(graph, "size")
    assert arena <= plan_arena(graph, least).arena_bytes
    assert cost < instructions(least)


def test_a_budget_is_kept_where_that_is_possible(graph: Graph) -> None:
    least, slow = fitted(graph, "size")
    fast, _ = fitted(graph, "speed")
    budget = (least + fast) // 2
    assert least < budget < fast
    arena, cost = fitted(graph, "speed", budget)
    assert arena <= budget and cost <= slow
    assert fitted(graph, "speed", 1)[0] == least
