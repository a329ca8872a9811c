"""An export with weights that are decoded at start-up: every rung, the report, the check again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgefactor.cli import commands
from edgefactor.pipeline import run
from edgefactor.pipeline.config import CheckOptions, ExportOptions
from edgefactor.pipeline.memory_fit import RESERVE_BYTES, start_up_budget
from edgefactor.pipeline.report import read
from tests.tools import require_tool

RAM_BYTES = 40_000
FACTORY = """
from torch import nn
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 96), nn.ReLU(), nn.Linear(96, 6))
"""


def options(folder: Path, **fields: object) -> ExportOptions:
    (folder / "net.py").write_text(FACTORY)
    scope: dict[str, object] = {}
    exec(FACTORY, scope)
    torch.manual_seed(0)
    module: nn.Module = scope["make"]()  # type: ignore[operator]
    for weight in (module[1].weight, module[3].weight):
        weight.data = torch.where(weight.abs() < 0.7 * weight.abs().max(), 0 * weight, weight)
    torch.save(module.state_dict(), folder / "net.pt")
    inputs = np.random.default_rng(0).standard_normal((12, 1, 16, 16)).astype(np.float32)
    np.savez(folder / "data.npz", x=inputs)
    return ExportOptions(
        model=folder / "net.pt",
        factory=f"{folder / 'net.py'}:make",
        calibration=str(folder / "data.npz"),
        share=8,
        samples=4,
        emulated_samples=2,
        **fields,  # type: ignore[arg-type]
    )


def test_export_and_check(tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    bundle = tmp_path / "out"
    report = run.export(options(tmp_path, output=bundle, ram_bytes=RAM_BYTES))
    assert report.ok
    exact = [rung for rung in report.parity if rung.exact_required]
    assert len(exact) == 4
    assert all(rung.differing_elements == 0 for rung in exact)
    assert any("NAME_prepare" in note for note in report.notes)
    assert any(layer.encoding.startswith("huffman-") for layer in report.layers)
    ram = report.ram
    assert ram.weights > 0 and ram.total is not None and ram.total <= RAM_BYTES
    assert ram.total == ram.planned_arena + ram.weights + (ram.stack or 0) + (ram.static or 0)
    assert report.start_up_instructions is not None
    assert report.start_up_instructions > 10 * ram.weights
    assert read(bundle) == report
    again = run.check(CheckOptions(bundle=bundle, samples=2, emulate=False))
    assert again.ok and again.ram.weights == ram.weights
    printed = CliRunner().invoke(commands, ["report", str(bundle)])
    assert printed.exit_code == 0
    assert "weights decoded at start-up" in printed.output
    assert "instructions at start-up" in printed.output
    printed = CliRunner().invoke(commands, ["report", str(bundle), "--alternatives"])
    assert printed.exit_code == 0
    assert "huffman-" in printed.output and " RAM " in printed.output
    # A manifest without the two options is one of an earlier version: nothing is decoded there.
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["options"]["start_up_bytes"] == RAM_BYTES - RESERVE_BYTES


@pytest.mark.parametrize("fields", [{}, {"huffman": "none", "ram_bytes": RAM_BYTES}])
def test_nothing_is_decoded_unless_ram_is_given(tmp_path: Path, fields: dict[str, object]) -> None:
    report = run.export(options(tmp_path, output=tmp_path / "out", emulate=False, **fields))
    assert report.ok and report.ram.weights == 0
    assert not any(layer.encoding.startswith("huffman") for layer in report.layers)
    assert "net_prepare" not in (tmp_path / "out" / "c" / "net.h").read_text()


def test_what_the_budget_is(tmp_path: Path) -> None:
    for fields, ram, expected in (
        ({}, 10_000, 0),
        ({"huffman": "start-up"}, 10_000, 10_000 - RESERVE_BYTES),
        ({"ram_bytes": 10_000}, 10_000, 10_000 - RESERVE_BYTES),
        ({"ram_bytes": 10_000, "huffman": "tile"}, 10_000, 0),
        ({"ram_bytes": 10_000, "huffman": "none"}, 10_000, 0),
    ):
        assert start_up_budget(ExportOptions(model=tmp_path / "net.pt", **fields), ram) == expected
