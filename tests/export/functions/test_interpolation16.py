"""Functions of int16 codes by knots: the same in every runtime, near the real ones, or refused."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.functions import interpolation16
from edgefactor.export.ir import DType, Graph, Tensor
from edgefactor.export.ops.table import Table, evaluate
from tests.export.ops.every_runtime import (
    Codes,
    activation,
    check_everywhere,
    check_on_board,
    graph_of,
    quantization,
)

GELU = "x 0.5 mul x 2 sqrt div erf 1 add mul"
#: Expression, exponents of the scales of input and output, steps it may be off its real values.
CASES = [
    (GELU, -12, -12, 1.2),
    (GELU, -10, -11, 4.0),
    ("x x softplus tanh mul", -12, -12, 1.5),
    ("x exp", -13, -9, 1.6),
    ("x 0 max x exp 1 sub 1 mul 0 min add", -11, -11, 2.0),
    ("x sin", -15, -15, 1.01),
    ("x x abs 1 add div", -3, -15, 19000.0),  # int8 would be off by 31000
    ("x cosh", -8, -15, None),  # far beyond the output's range
]
#: Every int16 code once.
EVERY = np.arange(-32768, 32768).astype(np.int16).reshape(1, -1)


def graph_of_cases(codes: Codes) -> tuple[Graph, dict[str, Codes]]:
    tensors: list[Tensor] = []
    cases = []
    for number, (expression, scale, output, _) in enumerate(CASES):
        shape, quant = codes.shape, quantization(2.0**scale, 0)
        tensors.append(activation(f"x{number}", shape, quant, DType.INT16))
        name = f"y{number}"
        op = Table(name=name, inputs=(f"x{number}",), outputs=(name,), expression=expression)
        cases.append((op, quantization(2.0**output, 0)))
    graph = graph_of(cases, tensors, dtype=DType.INT16)
    return graph, {tensor.name: codes for tensor in tensors}


def test_all_codes_in_every_runtime(tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(EVERY)
    found = check_everywhere(graph, inputs, tmp_path)
    for number, (expression, scale, output, most) in enumerate(CASES):
        real = evaluate(expression, EVERY * 2.0**scale) / 2.0**output
        if most is not None:
            error = np.abs(found[f"y{number}"] - np.clip(real, -32768, 32767))
            assert error.max() < most, expression
    for op in graph.ops:
        (call,) = ops.family_of(op).layer_code(op, graph, CTarget()).calls
        assert call.function == "ef_table_s16"


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_exact_on_the_board(target: str, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(EVERY[:, ::11])
    check_on_board(graph, inputs, tmp_path, target)


@pytest.mark.parametrize(
    ("expression", "smooth"),
    [
        (GELU, True),
        ("x abs", True),
        ("x 2.0 pow", True),
        ("x exp", True),
        ("x sqrt", False),
        ("x log", False),
        ("x reciprocal", False),
        ("x floor", False),
        ("x x 0.5 greater mul", False),
    ],
)
def test_what_jumps_or_has_a_pole_is_not_interpolated(expression: str, smooth: bool) -> None:
    assert interpolation16.is_smooth(partial(evaluate, expression)) is smooth
    op = Table(name="y", inputs=("x",), outputs=("y",), expression=expression)
    widths = (DType.INT8, DType.INT16) if smooth else (DType.INT8,)
    assert ops.family_of(op).widths(op) == widths


def test_truth_stays_int8() -> None:
    op = Table(name="y", inputs=("x",), outputs=("y",), expression="1 x sub", boolean=True)
    assert ops.family_of(op).widths(op) == (DType.INT8,)
