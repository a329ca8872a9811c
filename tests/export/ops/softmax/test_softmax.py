"""Softmax and log-softmax: random and lopsided rows of many lengths and scales."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.ops.softmax.family import Softmax, log_softmax_codes, softmax_codes
from tests.export.ops.every_runtime import (
    activation,
    check_everywhere,
    graph_of,
    last_only,
    quantization,
)

#: Codes with this standard deviation; None: uniform over int8.
SPREADS = [None, 0.0, 2.0, 20.0]
SHAPES = [(1, 10), (1, 1, 1, 10), (1, 4, 5, 12), (1, 1), (1, 2), (1, 8, 300), (1, 511)]


def rows(shape: tuple[int, ...], spread: float | None, generator: np.random.Generator):
    if spread is None:
        return generator.integers(-128, 128, shape).astype(np.int8)
    return np.clip(generator.normal(0, spread, shape), -128, 127).astype(np.int8)


@pytest.mark.parametrize("log", [False, True])
def test_rows_of_many_kinds(log: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors, cases, inputs = [], [], {}
    for number, (shape, spread) in enumerate((s, d) for s in SHAPES for d in SPREADS):
        scale = float(np.exp(generator.uniform(np.log(1e-3), np.log(3.0))))
        tensors.append(activation(f"x{number}", shape, quantization(scale, 4)))
        inputs[f"x{number}"] = rows(shape, spread, generator)
        op = Softmax(name=f"y{number}", inputs=(f"x{number}",), outputs=(f"y{number}",), log=log)
        cases.append((op, quantization(1.0, 0)))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


def test_in_place(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    cases = [
        (Softmax(name="a", inputs=("x",), outputs=("a",)), quantization(1.0, 0)),
        (Softmax(name="b", inputs=("a",), outputs=("b",), log=True), quantization(1.0, 0)),
    ]
    graph = last_only(graph_of(cases, [activation("x", (1, 4, 16), quantization(0.1, 0))]))
    check_everywhere(graph, {"x": rows((1, 4, 16), None, generator)}, tmp_path)


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.5])
def test_near_the_real_functions(scale: float) -> None:
    codes = np.random.default_rng(5).integers(-128, 128, (200, 10))
    real = (codes - codes.max(axis=1, keepdims=True)) * scale
    logarithm = real - np.log(np.exp(real).sum(axis=1, keepdims=True))
    found = softmax_codes(codes, scale)
    assert np.abs(found - np.clip(np.rint(np.exp(logarithm) * 256) - 128, -128, 127)).max() <= 1
    found = log_softmax_codes(codes, scale)
    assert np.abs(found - np.clip(np.rint(logarithm * 16) + 127, -128, 127)).max() <= 1


def test_more_equal_values_than_the_runtimes_allow() -> None:
    assert np.all(softmax_codes(np.zeros((1, 1000), np.int64), 0.1) == -128)
