"""Softmax of int16 rows: equal in every runtime, and within a step or two of the real function."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.functions.wide_softmax import softmax_codes
from edgefactor.export.ir import DType
from edgefactor.export.ops.softmax import FAMILY
from edgefactor.export.ops.softmax.family import Softmax
from tests.export.ops.every_runtime import (
    Codes,
    activation,
    check_everywhere,
    check_on_board,
    graph_of,
    last_only,
    quantization,
)

#: Codes with this standard deviation; None: uniform over int16.
SPREADS = [None, 0.0, 300.0, 8000.0]
SHAPES = [(1, 10), (1, 4, 5, 12), (1, 1), (1, 2), (1, 3, 600), (1, 511)]


def rows(shape: tuple[int, ...], spread: float | None, generator: np.random.Generator) -> Codes:
    if spread is None:
        codes = generator.integers(-32768, 32768, shape).astype(np.int16)
        codes.reshape(-1)[:2] = (-32768, 32767)[: codes.size]
        return codes
    return np.clip(generator.normal(0, spread, shape), -32768, 32767).astype(np.int16)


def graph_of_cases():
    generator = np.random.default_rng(3)
    tensors, cases, inputs = [], [], {}
    for number, (shape, spread) in enumerate((s, d) for s in SHAPES for d in SPREADS):
        scale = 2.0 ** int(generator.integers(-17, -5))
        tensors.append(activation(f"x{number}", shape, quantization(scale, 0), DType.INT16))
        inputs[f"x{number}"] = rows(shape, spread, generator)
        beta = float(generator.choice([1.0, 0.3]))
        op = Softmax(name=f"y{number}", inputs=(f"x{number}",), outputs=(f"y{number}",), beta=beta)
        cases.append((op, quantization(1.0, 0)))
    return graph_of(cases, tensors, dtype=DType.INT16), inputs


def test_rows_of_many_kinds(tmp_path: Path) -> None:
    graph, inputs = graph_of_cases()
    found = check_everywhere(graph, inputs, tmp_path)
    for op in graph.ops:
        x = graph.tensors[op.inputs[0]]
        real = np.exp(
            (inputs[x.name] - inputs[x.name].max(axis=-1, keepdims=True).astype(float))
            * x.quant.scale
            * op.beta
        )
        real /= real.sum(axis=-1, keepdims=True)
        assert np.abs(found[op.outputs[0]] - np.minimum(real * 32768, 32767)).max() < 2.5, op


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_exact_on_the_board(target: str, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases()
    check_on_board(graph, inputs, tmp_path, target)


def test_in_place(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    cases = [
        (Softmax(name=name, inputs=(source,), outputs=(name,)), quantization(1.0, 0))
        for name, source in (("a", "x"), ("b", "a"))
    ]
    x = activation("x", (1, 4, 16), quantization(2.0**-12, 0), DType.INT16)
    graph = last_only(graph_of(cases, [x], dtype=DType.INT16))
    check_everywhere(graph, {"x": rows((1, 4, 16), None, generator)}, tmp_path)


def test_equal_scores_of_the_longest_row() -> None:
    found = softmax_codes(np.zeros((1, 2**15), np.int64), 2.0**-12)
    assert np.all(found == 1)


def test_rows_that_are_too_long_are_refused() -> None:
    class Quantizer:
        def tensor(self, name: str):
            return activation(name, (1, 2**15 + 1), quantization(1 / 32768, 0), DType.INT16)

    with pytest.raises(UnsupportedOperatorError, match="32768"):
        FAMILY.quantize(Softmax(name="y", inputs=("x",), outputs=("y",)), Quantizer())
