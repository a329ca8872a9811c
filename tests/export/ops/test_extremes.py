"""Larger and smaller of two tensors: all pairs of codes, broadcasts, constants, lowering."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.ops.extremes import Maximum, Minimum
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    held,
    quantization,
)
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.test_elementwise import BROADCASTS, COLUMNS, ROWS

SCALE = quantization(0.05, -3)
KINDS = (Maximum, Minimum)


def test_all_pairs_of_codes(tmp_path: Path) -> None:
    tensors = [activation(name, ROWS.shape, SCALE) for name in "ab"]
    cases = [
        (Maximum(name="x", inputs=("a", "b"), outputs=("x",)), SCALE),
        (Minimum(name="y", inputs=("b", "a"), outputs=("y",)), SCALE),
    ]
    found = check_everywhere(graph_of(cases, tensors), {"a": ROWS, "b": COLUMNS}, tmp_path)
    np.testing.assert_array_equal(found["x"], np.maximum(ROWS, COLUMNS))


def test_broadcasts_and_constants(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    tensors, cases, inputs = [], [], {}
    for number, (left, right) in enumerate(BROADCASTS):
        names = f"a{number}", f"b{number}"
        for index, (name, shape) in enumerate(zip(names, (left, right), strict=True)):
            codes = generator.integers(-128, 128, shape).astype(np.int8)
            if index and number % 3 == 0:
                tensors.append(held(name, codes, SCALE))
            else:
                tensors.append(activation(name, shape, SCALE))
                inputs[name] = codes
        for kind in KINDS:
            label = f"{kind.__name__.lower()}{number}"
            cases.append((kind(name=label, inputs=names, outputs=(label,)), SCALE))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


def test_in_place(tmp_path: Path) -> None:
    x = activation("x", (1, 4, 8, 8), SCALE)
    cases = [
        (Maximum(name="a", inputs=("x", "x"), outputs=("a",)), SCALE),
        (Minimum(name="b", inputs=("a", "x"), outputs=("b",)), SCALE),
    ]
    check_everywhere(graph_of(cases, [x]), {"x": CODES.reshape(1, 4, 8, 8)}, tmp_path)


#: Inputs, body, operators that are left.
LOWERINGS = {
    "two maps": ("float[1,4,5,6] x, float[1,4,5,6] z", "y = Max (x, z)", ["Maximum"]),
    "map and channels": ("float[1,4,5,6] x, float[1,4,1,1] z", "y = Min (x, z)", ["Minimum"]),
    "a number": (
        "float[1,4,5] x",
        "c = Constant <value_float = 0.5> () y = Max (x, c)",
        ["Lookup"],
    ),
    "a number in front": (
        "float[1,4,5] x",
        "c = Constant <value_floats = [-0.5]> () y = Min (c, x)",
        ["Lookup"],
    ),
    "a row": (
        "float[1,3,4] x",
        "c = Constant <value_floats = [-1.0, 0.0, 1.0, 2.0]> () y = Max (x, c)",
        ["Maximum"],
    ),
    "channels last": (
        "float[1,4,5,6] x",
        "p = MaxPool <kernel_shape = [2, 2]> (x) q = AveragePool <kernel_shape = [2, 2]> (x) "
        "y = Max (q, p)",
        ["MaxPool2D", "AveragePool2D", "Maximum"],
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case: tuple[str, str, list[str]]) -> None:
    inputs, body, expected = case
    assert kinds(check_lowering(parse(inputs, body))) == expected
