"""Tables of any function: exact in every runtime at all codes, and near the function itself."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export import numerics
from edgefactor.export.ops.table import FAMILY, Table, evaluate, substitute, table_codes
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    quantization,
)

#: Expression, scale and zero point of the input, of the output.
CASES = (
    ("x erf", (0.02, 3), (1 / 127, 0)),
    ("x exp", (0.03, 100), (0.05, -128)),
    ("x log", (0.02, -128), (0.05, 0)),
    ("x sqrt", (0.1, -128), (0.02, -128)),
    ("x reciprocal", (0.02, 0), (0.1, 0)),
    ("x x softplus tanh mul", (0.05, -10), (0.03, -110)),
    ("x 0.5 mul x 2 sqrt div erf 1 add mul", (0.04, 0), (0.02, -120)),
    ("x 0 max x exp 1 sub 0.7 mul 0 min add", (0.1, 20), (0.05, -60)),
    ("x 3.0 pow", (0.02, 5), (0.1, 0)),
    ("x round", (0.041, 7), (0.06, -3)),
)


def test_exact_everywhere(tmp_path: Path) -> None:
    shape = (1, 4, 8, 8)
    quants = [(quantization(*x), quantization(*y)) for _, x, y in CASES]
    tensors = [activation(f"x{i}", shape, x) for i, (x, _) in enumerate(quants)]
    cases = [
        (Table(name=f"t{i}", inputs=(f"x{i}",), outputs=(f"y{i}",), expression=expression), y)
        for i, ((expression, _, _), (_, y)) in enumerate(zip(CASES, quants, strict=True))
    ]
    graph = graph_of(cases, tensors)
    found = check_everywhere(
        graph, {tensor.name: CODES.reshape(shape) for tensor in tensors}, tmp_path
    )
    for i, ((expression, _, _), (x, y)) in enumerate(zip(CASES, quants, strict=True)):
        with np.errstate(all="ignore"):
            real = evaluate(expression, numerics.dequantize(CODES, x).astype(np.float64))
        low, high = ((end - y.zero_point) * y.scale for end in (-128, 127))
        inside = np.isfinite(real) & (real >= low) & (real <= high)
        got = numerics.dequantize(found[f"y{i}"].reshape(-1), y)
        assert inside.sum() > 20
        np.testing.assert_allclose(got[inside], real[inside], atol=0.501 * y.scale)


@pytest.mark.parametrize(
    ("expression", "code", "expected"),
    [("x log", -5, -7), ("x reciprocal", 0, 127), ("x log", 0, -128), ("x sqrt", -1, -7)],
)
def test_where_a_function_has_no_value(expression: str, code: int, expected: int) -> None:
    op = Table(name="t", inputs=("x",), outputs=("y",), expression=expression)
    codes = table_codes(op, quantization(0.1, 0), quantization(0.1, -7))
    assert codes[code + 128] == expected


def test_substitution_is_composition() -> None:
    x = np.linspace(-2, 2, 9)
    outer, inner = "x x sigmoid mul", "x 1 add"
    composed = evaluate(substitute(outer, inner), x)
    np.testing.assert_array_equal(composed, evaluate(outer, evaluate(inner, x)))


def test_every_word_has_an_onnx_operator() -> None:
    assert {"Erf", "Exp", "Gelu", "Mish", "Pow", "Reciprocal", "Sqrt"} <= set(FAMILY.onnx_ops)
