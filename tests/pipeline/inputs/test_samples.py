"""What a report says of the samples that set the scales."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.inputs.data import Dataset
from edgefactor.pipeline.inputs.samples import settle_data

OPTIONS = ExportOptions(model=Path("net.pt"), calibration="c.npz")


def notes(*inputs: np.ndarray, evaluated: bool = False) -> str:
    data = Dataset(inputs=tuple(array.astype(np.float32) for array in inputs))
    other = data if evaluated else None
    return " ".join(settle_data(OPTIONS, data, other, data.shapes).notes)


@pytest.mark.parametrize("evaluated", [False, True])
def test_samples_that_set_no_good_scales(evaluated: bool) -> None:
    values = np.arange(40).reshape(20, 2)
    assert "calibrated on" not in notes(values, evaluated=evaluated)
    assert "everywhere" not in notes(values, evaluated=evaluated)
    assert "calibrated on 1 sample:" in notes(values[:1], evaluated=evaluated)
    assert "calibrated on 9 samples:" in notes(values[:9], evaluated=evaluated)
    found = notes(values, np.full((20, 3), 2.5), evaluated=evaluated)
    assert "input 1 is 2.5 everywhere" in found and "input 0" not in found
