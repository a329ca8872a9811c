"""Every network of examples/zoo goes from PyTorch to C, equal on every exact rung."""

import re
from pathlib import Path

import pytest

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.report import Report
from edgefactor.pipeline.run import export
from examples.zoo.prepare import FOLDER, NAMES, prepare
from tests.tools import require_tool

QUICK = ("lenet5", "micronet", "sensor_net", "shift_resnet", "tc_resnet")
MIN_SQNR_DB = 20.0
MAX_WEIGHTS = 300_000


def run(name: str, folder: Path, *, emulate: bool, samples: int) -> Report:
    require_tool("gcc")
    prepared = prepare(name, folder)
    return export(
        ExportOptions(
            model=prepared.model,
            factory=prepared.factory,
            target="cortex-m4",
            calibration=str(prepared.calibration),
            data=str(prepared.inputs),
            output=folder / "out",
            samples=samples,
            emulated_samples=2,
            emulate=emulate,
        )
    )


def check(report: Report, *, emulated: bool) -> None:
    rungs = {rung.rung: rung for rung in report.parity}
    for rung in rungs.values():
        assert rung.passed, f"{rung.rung}: {rung.differing_elements} differ, {rung.sqnr_db} dB"
        if rung.exact_required:
            assert rung.differing_elements == 0
    names = "\n".join(rungs)
    for runtime in ("onnxruntime", "litert reference", "tflm", "host"):
        assert runtime in names
    assert ("emulated" in names) == emulated
    quantization = rungs["numpy reference"]
    assert quantization.sqnr_db is not None
    assert quantization.sqnr_db >= MIN_SQNR_DB
    assert sum(layer.weight_bytes for layer in report.layers) <= MAX_WEIGHTS


def test_there_is_a_file_for_every_network() -> None:
    assert len(NAMES) >= 17
    assert set(QUICK) < set(NAMES)
    for name in NAMES:
        text = (FOLDER / f"{name}.py").read_text()
        assert re.search(rf"^def {name}\(.*\) -> nn.Module:", text, re.MULTILINE)
        assert "INPUT_SHAPE = (1, " in text


@pytest.mark.parametrize("name", QUICK)
def test_export_is_exact(name: str, tmp_path: Path) -> None:
    check(run(name, tmp_path, emulate=False, samples=2), emulated=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_export_is_exact_on_emulated_arm(name: str, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    check(run(name, tmp_path, emulate=True, samples=10), emulated=True)
