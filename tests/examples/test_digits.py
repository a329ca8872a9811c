"""The trained example is what its script and the README say it is."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from tests.tools import REPOSITORY

FOLDER = REPOSITORY / "examples" / "digits"
SHARED_LAYERS = ("last.0.weight", "dense.weight")


def load_script(name: str) -> ModuleType:
    """A file of the example as a module; its folder is no package."""
    spec = importlib.util.spec_from_file_location(f"digits_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained() -> torch.nn.Module:
    model = load_script("model").digits()
    model.load_state_dict(torch.load(FOLDER / "model.pt", weights_only=True))
    return model.eval()


def test_model_file_is_small() -> None:
    assert (FOLDER / "model.pt").stat().st_size < 100_000


def test_last_layers_share_16_values() -> None:
    weights = trained().state_dict()
    assert [weights[name].unique().numel() for name in SHARED_LAYERS] == [16, 16]


def test_accuracy_on_digits_of_other_writers() -> None:
    _, _, x, y = load_script("data").load()
    with torch.no_grad():
        found = trained()(torch.from_numpy(x)).argmax(1).numpy()
    assert np.mean(found == y) > 0.98


def test_data_script_writes_both_files(tmp_path: Path) -> None:
    script = [sys.executable, str(FOLDER / "data.py"), str(tmp_path / "new")]
    subprocess.run(script, check=True, timeout=120)
    with np.load(tmp_path / "new" / "calibration.npz") as calibration:
        assert calibration["x"].shape == (200, 1, 8, 8)
    with np.load(tmp_path / "new" / "test.npz") as test:
        assert test["x"].shape == (500, 1, 8, 8)
        assert test["y"].shape == (500,)
