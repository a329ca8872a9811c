"""Limits and rungs that cannot be measured, and models that the runtimes cannot survive."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgefactor.pipeline import run
from edgefactor.pipeline.checking.ladder import Findings, attempt
from edgefactor.pipeline.config import ExportOptions, InputShape
from edgefactor.pipeline.report import Report
from edgefactor.runtime import toolchain
from edgefactor.targets.catalogue import load_target
from tests.pipeline import networks
from tests.tools import require_tool


def export(folder: Path, module: nn.Module, shape: tuple[int, ...], **fields: object) -> Report:
    torch.manual_seed(0)
    model = networks.pickled(folder / "net.pt", module)
    return run.export(
        ExportOptions(
            model=model,
            input_shapes=(InputShape(dims=shape),),
            output=folder / "out",
            **{"samples": 2, "emulated_samples": 1, **fields},  # type: ignore[arg-type]
        )
    )


def unverified(report: Report) -> dict[str, str]:
    return {entry.what: entry.reason for entry in report.not_verified}


def test_softmax_of_nearly_equal_scores_does_not_end_the_process(tmp_path: Path) -> None:
    # LiteRT's reference kernel and TFLM abort where the exponentials of a row sum to 512.
    torch.manual_seed(0)
    layer = nn.Linear(4, 1000)
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    report = export(tmp_path, nn.Sequential(layer, nn.Softmax(-1)), (1, 4), target="host")
    assert "512" in unverified(report)["LiteRT reference, TFLM"]
    rungs = {rung.rung: rung for rung in report.parity}
    assert not {"litert reference", "tflm"} & set(rungs)
    assert rungs["c host"].passed and rungs["litert default"].rung


class Peaks(nn.Module):
    """CenterNet's peaks of a map: where it is the largest of its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heat = self.conv(x).sigmoid()
        return (nn.functional.max_pool2d(heat, 3, 1, 1) == heat).float() * heat


def test_equality_of_computed_values_is_said_to_jump(tmp_path: Path) -> None:
    report = export(tmp_path, Peaks(), (1, 3, 12, 12), target="host", samples=20, trust_pickle=True)
    assert any("codes are equal" in note for note in report.notes)
    by_ratio = next(rung for rung in report.parity if rung.rung == "litert default")
    far = replace(by_ratio, passed=False, sqnr_db=18.0)
    for rung, excuse, left_out in (
        (far, "it jumps", True),
        (far, "", False),
        (replace(far, tolerance="every constant equal"), "it jumps", False),
        (by_ratio, "it jumps", False),
    ):
        findings = Findings()
        attempt(findings, "a runtime", lambda rung=rung: rung, excuse)
        assert bool(findings.not_verified) == left_out != bool(findings.rungs)


@pytest.fixture
def without_tools(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Makes the programs named by the parameter unknown."""
    real = toolchain.shutil.which  # type: ignore[attr-defined]
    missing = request.param
    monkeypatch.setattr(
        toolchain.shutil,  # type: ignore[attr-defined]
        "which",
        lambda name: None if any(word in name for word in missing) else real(name),
    )


@pytest.mark.parametrize("without_tools", [("cc", "gcc", "qemu")], indirect=True)
@pytest.mark.usefixtures("without_tools")
def test_limits_without_a_compiler(tmp_path: Path) -> None:
    report = export(
        tmp_path,
        networks.convolutional(),
        (1, 3, 8, 8),
        flash_bytes=4096,
        ram_bytes=64,
        instructions=10,
    )
    # What is known to be too much is over; what might fit is not called fitting.
    assert [(gate.name, gate.passed) for gate in report.gates] == [("ram", False)]
    assert not report.ok
    reasons = unverified(report)
    assert {"flash within 4,096 bytes", "instructions within 10 instructions"} <= set(reasons)
    hints = [reason for reason in reasons.values() if "install" in reason]
    assert len(hints) == 2 and all("not installed" in reason for reason in hints)


@pytest.mark.parametrize("without_tools", [("qemu",)], indirect=True)
@pytest.mark.usefixtures("without_tools")
def test_flash_is_measured_without_an_emulator(tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    report = export(tmp_path, networks.convolutional(), (1, 3, 8, 8), flash_bytes=1024)
    assert report.flash.total is not None and report.ram.total is None
    assert [(gate.name, gate.passed) for gate in report.gates] == [("flash", False)]
    assert "qemu-system-arm" in unverified(report)["C on emulated Arm, RAM and instructions"]


def test_a_model_larger_than_the_board_is_reported(tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    board = load_target("cortex-m4").board
    assert board is not None
    outputs = board.flash_bytes // 1024 + 1
    report = export(tmp_path, nn.Linear(1024, outputs), (1, 1024), samples=1)
    gates = {gate.name: gate for gate in report.gates}
    assert not report.ok and not gates["flash"].passed
    assert gates["flash"].found is not None and gates["flash"].found > board.flash_bytes
    assert any("does not fit the FLASH" in entry.reason for entry in report.not_verified)
