"""The .tflite of an export in tflite-runtime 2.14, the last one of its name: as in LiteRT today."""

import os
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

from edgefactor.pipeline import run
from edgefactor.pipeline.bundle import TFLITE
from edgefactor.pipeline.config import ExportOptions, InputShape
from edgefactor.runtime.litert_runner import LiteRtRunner

PACKAGES = ("tflite-runtime==2.14.0", "numpy<2")
SAMPLES = 20
CASES = [
    ("resnet8", (1, 3, 32, 32), (0.0, 255.0)),
    ("ds_cnn", (1, 1, 49, 10), (-100.0, 60.0)),
    ("autoencoder", (1, 640), (-50.0, 10.0)),
]
"""Network, shape of its input, range of values that it was trained on."""


@pytest.fixture(scope="session")
def old_python() -> Path:
    """The interpreter of an environment with tflite-runtime, kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "edgefactor" / "tflite-runtime-2.14"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *PACKAGES],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        if done.returncode:
            # Its wheels end with Python 3.11.
            pytest.skip(f"tflite-runtime cannot be installed: {done.stderr[-300:]}")
        ready.touch()
    return python


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("name", "shape", "ends"), CASES, ids=[case[0] for case in CASES])
def test_same_outputs_as_litert(
    name: str,
    shape: tuple[int, ...],
    ends: tuple[float, float],
    shared: Path,
    old_python: Path,
    tmp_path: Path,
) -> None:
    generator = np.random.default_rng(3)
    real = generator.uniform(*ends, (SAMPLES, *shape[1:])).astype(np.float32)
    np.save(tmp_path / "calibration.npy", real)
    report = run.export(
        ExportOptions(
            model=shared / "models" / f"{name}.pt",
            factory=f"{shared / 'models' / 'mlperf_tiny.py'}:{name}",
            input_shapes=(InputShape(dims=shape),),
            calibration=str(tmp_path / "calibration.npy"),
            target="host",
            output=tmp_path / "out",
            samples=1,
        )
    )
    assert not [rung.rung for rung in report.parity if rung.exact_required and not rung.passed]
    model = tmp_path / "out" / TFLITE
    runner = LiteRtRunner(model, reference=True)
    codes = {
        port: generator.integers(-128, 128, (SAMPLES, *size), dtype=np.int8)
        for port, (size, _) in runner.inputs.items()
    }
    expected = runner.run(codes, runner.outputs)
    np.savez(tmp_path / "in.npz", **codes)
    script = Path(__file__).with_name("tflite_old.py")
    done = subprocess.run(
        [old_python, script, model, tmp_path / "in.npz", tmp_path / "out.npz"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    assert len(found.files) == len(expected)
    for key, output in zip(found.files, runner.outputs, strict=True):
        assert np.array_equal(found[key].reshape(expected[output].shape), expected[output])
        assert len(np.unique(expected[output])) > 1
