"""An export from end to end, and what the ladder says when the C is wrong."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.export.serialize import from_json
from edgefactor.pipeline import run
from edgefactor.pipeline.bundle import C_FOLDER, GRAPH
from edgefactor.pipeline.checking.ladder import Int8Ladder
from edgefactor.pipeline.config import CheckOptions, ExportOptions
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import Report, read
from edgefactor.runtime.host import HostRunner
from edgefactor.targets.catalogue import load_target
from tests.tools import require_tool

CLASSES, SAMPLES = 4, 120
FACTORY = """
import torch
from torch import nn
def make():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(), nn.Flatten(), nn.Linear(32, 4))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a state dict, its factory and labelled data."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "net.py").write_text(FACTORY)
    scope: dict[str, object] = {}
    exec(FACTORY, scope)
    torch.manual_seed(0)
    module: nn.Module = scope["make"]()  # type: ignore[operator]
    torch.save(module.state_dict(), folder / "net.pt")
    x = np.random.default_rng(0).standard_normal((SAMPLES, 2, 8, 8)).astype(np.float32)
    with torch.no_grad():
        labels = module.eval()(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(folder / "data.npz", x=x, y=labels)
    np.savez(folder / "calibration.npz", x=x[:50])
    return folder


def options(place: Path, output: str, **fields: object) -> ExportOptions:
    return ExportOptions(
        model=place / "net.pt",
        factory=f"{place / 'net.py'}:make",
        calibration=str(place / "calibration.npz"),
        data=str(place / "data.npz"),
        output=place / output,
        **{"target": "host", "samples": 20, **fields},  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def exported(place: Path) -> tuple[Path, Report]:
    require_tool("cc")
    return place / "bundle", run.export(options(place, "bundle"))


def test_every_rung_and_every_file(exported: tuple[Path, Report]) -> None:
    folder, report = exported
    assert report.ok
    names = [rung.rung for rung in report.parity]
    for word in ("onnxruntime", "litert", "tflm", "host"):
        assert any(word in name for name in names), names
    exact = [rung for rung in report.parity if rung.exact_required]
    assert len(exact) == 3
    assert all(rung.differing_elements == 0 and rung.samples == 20 for rung in exact)
    assert len({(rung.tensors, rung.elements) for rung in exact}) == 1
    for file in ("model.onnx", "model.int8.onnx", "model.tflite", "c", "report.json"):
        assert (folder / file).exists()
    assert report.accuracy.samples == SAMPLES
    assert report.accuracy.float_ == 1.0
    assert report.accuracy.device is not None
    assert report.accuracy.device > 0.9
    assert read(folder) == report


def test_the_same_bytes_again(place: Path, exported: tuple[Path, Report]) -> None:
    run.export(options(place, "again"))
    first, second = exported[0], place / "again"
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_check_repeats_the_rungs(place: Path, exported: tuple[Path, Report]) -> None:
    folder, report = exported
    again = run.check(CheckOptions(bundle=folder, data=str(place / "data.npz"), samples=20))
    assert again.ok
    assert again.parity[-1] == report.parity[-1]
    assert again.accuracy == report.accuracy


def test_check_refuses_a_changed_bundle(exported: tuple[Path, Report], tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(exported[0], copy)
    text = (copy / C_FOLDER / "net.c").read_text()
    (copy / C_FOLDER / "net.c").write_text(text + "\n")
    with pytest.raises(OptionError, match="changed"):
        run.check(CheckOptions(bundle=copy))


@pytest.mark.parametrize(("layer", "first_wrong"), [(0, 0), (-1, -1)])
def test_a_wrong_weight_is_found_and_its_tensor_named(
    exported: tuple[Path, Report], tmp_path: Path, layer: int, first_wrong: int
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(exported[0], copy)
    source = copy / C_FOLDER / "net.c"
    text = source.read_text()
    arrays = list(re.finditer(r"static const u?int8_t \w+_w\w*\[\d+\] = \{\n([^\n]+)", text))
    found = arrays[layer]
    # The highest bit of a line of bytes: one alone may meet an input that is always 0.
    low = 0 if "uint8_t" in found[0] else -128
    wrong = re.sub(r"-?\d+", lambda n: str((int(n[0]) - low ^ 128) + low), found[1])
    source.write_text(text[: found.start(1)] + wrong + text[found.end(1) :])
    graph = from_json((copy / GRAPH).read_text(), GRAPH)
    x = np.random.default_rng(1).standard_normal((8, 2, 8, 8)).astype(np.float32)
    data = Dataset(inputs=(x,), labels=None, source="noise")
    ladder = Int8Ladder(graph, copy, load_target("host"), data, lambda _: None)
    assert ladder.litert(reference=True).passed
    assert ladder.tflm().passed
    with HostRunner(copy / C_FOLDER) as runner:
        rung = ladder.c_code(runner, "c host", 8)
    assert not rung.passed
    layers = [op.outputs[0] for op in graph.ops if type(op).__name__ == "Conv2D"]
    assert rung.first_mismatch is not None
    assert rung.first_mismatch["tensor"] == layers[first_wrong]
    trace = json.loads((copy / C_FOLDER / "trace.json").read_text())
    assert layers[first_wrong] in [entry["tensor"] for entry in trace]


def test_limits_that_are_missed(place: Path) -> None:
    require_tool("cc")
    report = run.export(options(place, "small", flash_bytes=64, ram_bytes=64, samples=2))
    assert not report.ok
    missed = {gate.name for gate in report.gates if not gate.passed}
    assert missed == {"flash", "ram"}
    assert all(rung.passed for rung in report.parity)


class Odd(nn.Module):
    """Two outputs, one without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(x)
        return y[0], y


def test_outputs_without_a_batch_axis(tmp_path: Path) -> None:
    require_tool("cc")
    program = torch.export.export(Odd().eval(), (torch.zeros(1, 4, 6),))
    torch.export.save(program, tmp_path / "odd.pt2")
    chosen = ExportOptions(
        model=tmp_path / "odd.pt2", target="host", output=tmp_path / "out", samples=3
    )
    report = run.export(chosen)
    assert report.ok
    assert report.accuracy.samples == 0
    assert {rung.samples for rung in report.parity} == {3}
    assert any(entry.what == "accuracy" for entry in report.not_verified)
