"""Hardmax: every shape and axis, equal values, in place."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.ops.family import BOOLEAN
from edgefactor.export.ops.hardmax import Hardmax
from tests.export.ops.every_runtime import activation, check_everywhere, graph_of, quantization
from tests.export.ops.lowering import check_lowering, kinds, parse

SHAPES = [(1, 3, 4, 5), (1, 7), (2, 3, 4), (1, 1), (1, 300)]


def test_everywhere(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors, cases, inputs = [], [], {}
    for number, shape in enumerate(SHAPES):
        tensors.append(activation(f"x{number}", shape, quantization(0.05, -3)))
        # Few codes, so that many are equal.
        inputs[f"x{number}"] = generator.choice([-128, -3, 7, 127], shape).astype(np.int8)
        op = Hardmax(name=f"y{number}", inputs=(f"x{number}",), outputs=(f"y{number}",))
        cases.append((op, BOOLEAN))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ("1,4,5", -1, ["Hardmax"]),
        ("1,4,5", 1, ["Transpose", "Hardmax"]),
        ("1,4,1,1", 1, ["Reshape", "Hardmax", "Reshape"]),
    ],
)
def test_lowering(shape: str, axis: int, expected: list[str]) -> None:
    graph = check_lowering(parse(f"float[{shape}] x", f"y = Hardmax <axis = {axis}> (x)"))
    assert [kind for kind in kinds(graph) if kind != "Reshape"] == [
        kind for kind in expected if kind != "Reshape"
    ]
