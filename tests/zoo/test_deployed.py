"""Networks that people deploy go from PyTorch to C unchanged, equal on every exact rung."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.run import export
from tests.pipeline.networks import give_statistics
from tests.tools import require_tool
from tests.zoo.deployed import NETWORKS, Shape

QUICK = ("linear attention", "temporal convolutions", "vision transformer")
MIN_SQNR_DB = 20.0
#: Products of activations have long tails: fewer samples miss the largest, which are clipped then.
CALIBRATION = 256


def inputs(path: Path, shape: Shape, count: int, seed: int) -> str:
    """Samples with coarse structure, as images and signals have it."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((count, *shape[1:]))
    values += np.roll(values, 1, axis=-1)
    np.savez(path, x=values.astype(np.float32))
    return str(path)


def check(name: str, folder: Path) -> None:
    require_tool("gcc")
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    module = give_statistics(make().eval())
    torch.export.save(torch.export.export(module, (torch.zeros(shape),)), folder / "net.pt2")
    report = export(
        ExportOptions(
            model=folder / "net.pt2",
            target="cortex-m4",
            calibration=inputs(folder / "calibration.npz", shape, CALIBRATION, 1),
            data=inputs(folder / "data.npz", shape, 3, 2),
            output=folder / "out",
            samples=3,
            emulate=False,
        )
    )
    for rung in report.parity:
        assert rung.passed, f"{rung.rung}: {rung.differing_elements} differ, {rung.sqnr_db} dB"
    quantization = next(rung for rung in report.parity if rung.rung == "numpy reference")
    assert quantization.sqnr_db is not None and quantization.sqnr_db >= MIN_SQNR_DB


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_exports_unchanged(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)
