"""Comparisons, truth values and choices: all codes, broadcasts, constants, lowering."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.ops.compare import KINDS, Compare
from edgefactor.export.ops.family import BOOLEAN
from edgefactor.export.ops.select import Select
from tests.export.ops.every_runtime import (
    activation,
    check_everywhere,
    graph_of,
    held,
    quantization,
)
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.test_elementwise import BROADCASTS, COLUMNS, ROWS

#: A scale so small that TFLite's own int8 comparison takes neighbours for equal.
SCALE = quantization(0.0003, -3)


def test_all_pairs_of_codes(tmp_path: Path) -> None:
    tensors = [activation(name, ROWS.shape, SCALE) for name in "ab"]
    cases = [
        (Compare(name=kind, inputs=("a", "b"), outputs=(kind,), kind=kind), BOOLEAN)
        for kind in KINDS
    ]
    found = check_everywhere(graph_of(cases, tensors), {"a": ROWS, "b": COLUMNS}, tmp_path)
    np.testing.assert_array_equal(found["LessOrEqual"], ROWS <= COLUMNS)


def test_comparisons_broadcast(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    tensors, cases, inputs = [], [], {}
    for number, shapes in enumerate(BROADCASTS):
        names = f"a{number}", f"b{number}"
        for name, shape in zip(names, shapes, strict=True):
            tensors.append(activation(name, shape, SCALE))
            inputs[name] = generator.integers(-3, 3, shape).astype(np.int8)
        kind = list(KINDS)[number % len(KINDS)]
        op = Compare(name=f"y{number}", inputs=names, outputs=(f"y{number}",), kind=kind)
        cases.append((op, BOOLEAN))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


#: Shapes of condition and choices; which of them are constant.
CHOICES = [
    ((1, 3, 5, 7), (1, 3, 5, 7), (1, 3, 5, 7), ""),
    ((1, 3, 5, 1), (1, 1, 1, 7), (1, 3, 5, 7), ""),
    ((1, 1, 5, 1), (1, 3, 1, 1), (1, 1, 1, 7), ""),
    ((7,), (1, 3, 5, 7), (1, 1, 1, 1), ""),
    ((1, 3, 5, 7), (1, 3, 5, 7), (1,), "b"),
    ((1, 3, 5, 7), (1,), (1, 3, 5, 7), "a"),
    ((1, 3, 5, 7), (1,), (1, 1, 1, 7), "ab"),
    ((5, 7), (1, 3, 5, 7), (1, 3, 1, 7), "c"),
    ((5, 7), (1, 3, 5, 7), (), "cb"),
]


def test_choices(tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    tensors, cases, inputs = [], [], {}
    for number, (*shapes, constants) in enumerate(CHOICES):
        names = [f"{letter}{number}" for letter in "cab"]
        for name, shape in zip(names, shapes, strict=True):
            scale = BOOLEAN if name[0] == "c" else SCALE
            low, high = (0, 2) if name[0] == "c" else (-128, 128)
            codes = np.asarray(generator.integers(low, high, shape), np.int8)
            if name[0] in constants:
                tensors.append(held(name, codes, scale))
            else:
                tensors.append(activation(name, shape, scale))
                inputs[name] = codes
        op = Select(name=f"y{number}", inputs=tuple(names), outputs=(f"y{number}",))
        cases.append((op, SCALE))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


NUMBER = "k = Constant <value_float = 0.25> ()"
TWO = "float[1,4,5,6] x, float[1,4,5,6] z"
#: Inputs, body, operators that are left.
LOWERINGS = {
    "larger of two by hand": (TWO, "c = Greater (x, z) y = Where (c, x, z)", "Compare Select"),
    "masked": (
        "float[1,4,5,6] x, float[1,4,5,6] z",
        f"{NUMBER} c = Less (x, z) y = Where (c, k, x)",
        "Compare Select",
    ),
    "against a number": (
        "float[1,4,5,6] x",
        f"{NUMBER} c = LessOrEqual (x, k) y = Where (c, x, k)",
        "Sub Table Select",
    ),
    "truth as numbers": (TWO, "c = Less (x, z) y = Cast <to = 1> (c)", "Compare"),
    "and, or, not, xor": (
        TWO,
        "a = Less (x, z) b = Not (a) c = GreaterOrEqual (x, z) d = And (b, c) e = Or (d, a) "
        "f = Xor (e, a) y = Where (f, x, z)",
        "Compare Table Compare Minimum Maximum Compare Select",
    ),
    "channels last": (
        "float[1,4,6,6] x",
        "p = MaxPool <kernel_shape = [2, 2]> (x) q = AveragePool <kernel_shape = [2, 2]> (x) "
        "c = Greater (p, q) y = Where (c, q, p)",
        "MaxPool2D AveragePool2D Compare Select",
    ),
    "truth given": (
        "float[1,4,5] x, float[1,4,5] z, bool[1,4,1] c",
        "y = Where (c, x, z)",
        "Select",
    ),
    "truth given, also as numbers": (
        "float[1,4,5] x, float[1,4,5] z, bool[1,4,1] c",
        "m = Cast <to = 1> (c) w = Where (c, x, z) y = Mul (w, m)",
        "Select Mul",
    ),
    "gates joined": (
        TWO,
        "a = Sigmoid (x) b = Sigmoid (z) y = Max (a, b)",
        "Lookup Lookup Maximum",
    ),
    "number to truth": (TWO, "c = Cast <to = 9> (x) y = Where (c, x, z)", "Table Select"),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case: tuple[str, str, str]) -> None:
    inputs, body, expected = case
    assert kinds(check_lowering(parse(inputs, body))) == expected.split()
