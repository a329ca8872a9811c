"""The C folder of a model of two steps, and what it must compute; damaged on demand."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).resolve().parent / "fake_model"
WEIGHTS = np.array([sign * 2**k for k in range(7, -1, -1) for sign in (1, -1)])
WEIGHTS[:2] = 127, -127
SYMBOLS = {"fake_scale_weights": ("scale", "weights")}

Codes = npt.NDArray[np.int8]


def samples(count: int) -> Codes:
    """Random inputs, seeded."""
    return np.random.default_rng(count).integers(-128, 128, (count, 16), dtype=np.int8)


def expected(inputs: Codes) -> dict[str, Codes]:
    """What each traced tensor must be."""
    scaled = ((WEIGHTS * inputs.astype(np.int32)) >> 7).astype(np.int8)
    return {"input": inputs, "scaled": scaled, "reversed": scaled[:, ::-1]}


def changed_model(folder: Path, old: str, new: str) -> Path:
    """A copy of the model with a change in its C; `<asm>` tests put wrong code in this way."""
    copy = folder / "c"
    shutil.copytree(FOLDER, copy)
    source = copy / "fake.c"
    text = source.read_text(encoding="utf-8")
    assert old in text
    source.write_text(text.replace(old, new), encoding="utf-8")
    return copy
