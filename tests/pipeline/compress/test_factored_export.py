"""Factorized networks on the emulated board: exact on all rungs, and cheaper than before."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.pipeline import run
from edgefactor.pipeline.compress import BY_NAME
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.freezing import freeze
from edgefactor.pipeline.compress.method import parse_options
from edgefactor.pipeline.compress.training import TorchTrainer
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.report import Report
from tests.tools import require_tool

IMAGES = np.random.default_rng(0).standard_normal((64, 16, 10, 10)).astype(np.float32)
EXAMPLE = torch.from_numpy(IMAGES[:1])

#: Method, layers, options, operators or encodings that the report must name.
KINDS = {
    "svd": ("svd", ["6"], {"rank": 6}, ""),
    "tucker": ("tucker", ["0", "3"], {"rank": 0.3}, ""),
    "cp": ("cp", ["0", "3"], {"rank": 12}, ""),
    "spatial": ("spatial", ["0", "3"], {"rank": 0.2}, ""),
    "depthwise": ("depthwise", ["0", "3"], {}, ""),
    "grouped": ("grouped", ["0", "3"], {"groups": 4}, ""),
    "shift": ("shift", ["0", "3"], {}, "Shift"),
    "shift of neighbours": ("shift", ["0", "3"], {"order": "neighbours"}, "Shift"),
    "one tap a kernel": ("shift", ["0", "3"], {"taps": "attention"}, "sparse"),
    "dictionary": ("dictionary", ["6"], {"must_save": "nothing", "nonzeros": 3}, "sparse"),
}


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
        nn.Conv2d(48, 64, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip


def export(model: nn.Module, folder: Path) -> Report:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    torch.export.save(torch.export.export(model, (EXAMPLE,)), folder / "net.pt2")
    np.savez(folder / "inputs.npz", x=IMAGES)
    options = ExportOptions(
        model=folder / "net.pt2",
        calibration=str(folder / "inputs.npz"),
        output=folder / "bundle",
        samples=4,
        emulated_samples=1,
    )
    return run.export(options)


@pytest.fixture(scope="module")
def before(original, tmp_path_factory):
    return export(copy.deepcopy(original), tmp_path_factory.mktemp("original"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_exact_and_cheaper(kind, original, before, tmp_path):
    method_name, layers, values, named = kind
    model, method = copy.deepcopy(original), BY_NAME[method_name]
    if values.get("taps") == "attention":
        values = {**values, "training": {"epochs": 1, "batch": 32}}
    options = parse_options(method.options, values, where="step 1")
    context = Context(trainer=TorchTrainer(), train=Dataset(inputs=(IMAGES,)), teacher=original)
    result = method.apply(model, layers, options, context)
    model.eval()
    assert set(result.layers) == set(layers)
    report = export(freeze(model), tmp_path)
    exact = [rung for rung in report.parity if rung.exact_required]
    assert len(exact) >= 4
    assert [rung.rung for rung in exact if not rung.passed] == []
    seen = {layer.operator for layer in report.layers} | {layer.encoding for layer in report.layers}
    assert any(name.startswith(named) for name in seen)
    if method_name != "dictionary":
        assert report.instructions < before.instructions
    assert report.flash.weights < before.flash.weights or method_name == "dictionary"
