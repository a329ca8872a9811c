"""An export whose RAM budget asks for stripes: exact on every rung, the cost in the report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgefactor.export.arena.plan import plan_arena
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import Graph
from edgefactor.pipeline import run
from edgefactor.pipeline.config import CheckOptions, ExportOptions
from edgefactor.pipeline.memory_fit import RESERVE_BYTES, arena_budget, fit_ram, stripe_notes
from edgefactor.pipeline.report import read
from tests.export.graphs import lowered, to_int8
from tests.tools import require_tool

RAM_BYTES = 14_000
FACTORY = """
from torch import nn
def make():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.ReLU(),
        nn.Conv2d(8, 12, 1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(300, 4))
"""


def test_a_budget_makes_stripes(tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    (tmp_path / "net.py").write_text(FACTORY)
    scope: dict[str, object] = {}
    exec(FACTORY, scope)
    torch.manual_seed(0)
    module: nn.Module = scope["make"]()  # type: ignore[operator]
    torch.save(module.state_dict(), tmp_path / "net.pt")
    inputs = np.random.default_rng(0).standard_normal((12, 1, 40, 40)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=inputs)
    bundle = tmp_path / "out"
    options = ExportOptions(
        model=tmp_path / "net.pt",
        factory=f"{tmp_path / 'net.py'}:make",
        calibration=str(tmp_path / "data.npz"),
        output=bundle,
        ram_bytes=RAM_BYTES,
        samples=8,
        emulated_samples=2,
    )
    report = run.export(options)
    assert report.ok
    assert report.stripes is not None and report.stripes["fits"]
    assert report.stripes["arena_before_bytes"] > RAM_BYTES
    assert report.ram.total is not None and report.ram.total <= RAM_BYTES
    assert any("stripes of rows" in note for note in report.notes)
    exact = [rung for rung in report.parity if rung.exact_required]
    assert len(exact) == 4
    assert all(rung.differing_elements == 0 for rung in exact)
    assert sum(layer.weight_bytes for layer in report.layers) == report.flash.planned_weights
    found = json.loads((bundle / "report.json").read_text())["ram_bytes"]["stripes"]
    assert found["extra_macs_percent"] == report.stripes["extra_macs_percent"]
    assert read(bundle).stripes == report.stripes
    again = run.check(CheckOptions(bundle=bundle, samples=2, emulate=False))
    assert again.ok and again.stripes == report.stripes


class Branches(nn.Module):
    """Two wide branches, each narrowed again at once: depth first needs half the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Conv2d(2, 24, 3, padding=1) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Conv2d(24, 2, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Breadth first, as it happens to be written."""
        wide = [layer(x).relu() for layer in self.wide]
        narrow = [layer(y) for layer, y in zip(self.narrow, wide, strict=True)]
        return narrow[0] + narrow[1]


def test_operators_are_ordered_for_memory() -> None:
    graph = to_int8(lowered(Branches(), (1, 2, 12, 12)).graph)
    target = CTarget()
    ordered = fit_ram(graph, target, lambda _: None)

    def arena(found: object) -> int:
        return plan_arena(found, CodeCache(target=target).code(found)).arena_bytes  # type: ignore[arg-type]

    assert arena(ordered) < 0.7 * arena(graph)
    assert sorted(op.name for op in ordered.ops) == sorted(op.name for op in graph.ops)
    assert stripe_notes(ordered) == ()


def test_room_for_the_stack_is_left() -> None:
    layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4)
    graph = to_int8(lowered(nn.Sequential(*layers), (1, 1, 32, 32)).graph)
    target = CTarget()
    arena = plan_arena(graph, CodeCache(target=target).least_code(graph)).arena_bytes

    def fitted(ram_bytes: int) -> Graph:
        budget = replace(target, arena_bytes=arena_budget(ram_bytes))
        return fit_ram(graph, budget, lambda _: None)

    assert fitted(arena + RESERVE_BYTES) is graph
    assert fitted(arena + RESERVE_BYTES - 1) is not graph
