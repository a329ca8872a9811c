"""Ranges of activations: what was seen, and what the searching methods leave of it."""

from typing import get_args

import numpy as np
import pytest

from edgefactor.errors import DataError
from edgefactor.export.ir import Graph
from edgefactor.pipeline import config
from edgefactor.pipeline.calibrate import DEFAULT_METHOD, METHODS, Method, calibrate
from edgefactor.pipeline.lower import lower
from tests.export.ops.lowering import parse

SEARCHES = [method for method in METHODS if method != "min-max"]


def graph(body: str = "s = Add (x, x) y = Relu (s)") -> Graph:
    return lower(parse("float[1,200] x", body), name="net")


def samples(count: int = 20, scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [
        {"x": (generator.standard_normal((1, 200)) * scale).astype(np.float32)}
        for _ in range(count)
    ]


def test_min_max_is_what_was_seen() -> None:
    data = samples()
    stack = np.concatenate([sample["x"] for sample in data])
    ranges = calibrate(graph(), data, method="min-max")
    assert ranges["x"] == (stack.min(), stack.max())
    assert ranges["s"] == (2 * stack.min(), 2 * stack.max())
    assert ranges["y"] == (0.0, 2 * stack.max())


@pytest.mark.parametrize("method", SEARCHES)
def test_an_outlier_is_clipped_or_kept_within_what_was_seen(method: Method) -> None:
    data = samples()
    data[3]["x"][0, 7] = 60.0
    low, high = calibrate(graph(), data, method=method)["x"]
    assert -5.0 < low < -2.0 or method != "percentile"
    assert 2.0 < high <= 60.0
    assert low < 0.0


@pytest.mark.parametrize("method", SEARCHES)
def test_mse_and_entropy_lose_little_of_uniform_values(method: Method) -> None:
    generator = np.random.default_rng(0)
    data = [{"x": generator.uniform(-1, 1, (1, 200)).astype(np.float32)} for _ in range(30)]
    low, high = calibrate(graph(), data, method=method)["x"]
    assert low == pytest.approx(-1.0, abs=0.06)
    assert high == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 5.5, -3.0, 1e-12])
def test_tensors_of_one_value(method: Method, value: float) -> None:
    data = [{"x": np.full((1, 200), value, np.float32)}] * 3
    low, high = calibrate(graph(), data, method=method)["x"]
    assert low <= np.float32(value) <= high


@pytest.mark.parametrize("method", METHODS)
def test_values_far_from_zero(method: Method) -> None:
    data = [{"x": sample["x"] * 0.01 + 10.0} for sample in samples()]
    low, high = calibrate(graph(), data, method=method)["x"]
    assert low <= high
    assert high > 9.5


@pytest.mark.parametrize("where", [0, 5])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(where: int, value: float) -> None:
    data = samples()
    data[where]["x"][0, 3] = value
    with pytest.raises(DataError) as caught:
        calibrate(graph(), data, method="min-max")
    assert "x" in caught.value.where


def test_no_sample() -> None:
    with pytest.raises(DataError, match="no sample"):
        calibrate(graph(), [], method="min-max")


def test_the_methods_are_those_of_the_command_line() -> None:
    assert METHODS == get_args(Method) == config.CALIBRATION_METHODS
    assert DEFAULT_METHOD in METHODS
