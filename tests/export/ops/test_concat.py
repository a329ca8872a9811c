"""Concatenation along every axis, of activations and constants."""

import numpy as np
import pytest

from edgefactor.export.ir import constant
from edgefactor.export.ops.concat import Concat
from tests.export.ops.oracles import SCALE, activation, check, graph_of

#: Shapes of the inputs, axis.
CASES = {
    "channels": ([(1, 3, 4, 8), (1, 3, 4, 4)], 3),
    "rows": ([(1, 3, 4, 2), (1, 1, 4, 2), (1, 2, 4, 2)], 1),
    "columns": ([(1, 3, 4, 2), (1, 3, 5, 2)], 2),
    "one channel each": ([(1, 4, 4, 1)] * 4, 3),
    "two axes": ([(1, 7), (1, 3)], 1),
    "three axes": ([(1, 5, 3), (1, 5, 4)], 2),
}


def make(count, axis):
    names = tuple(f"x{index}" for index in range(count))
    return Concat(name="y", inputs=names, outputs=("y",), axis=axis)


@pytest.mark.parametrize(("shapes", "axis"), CASES.values(), ids=CASES.keys())
def test_concat(shapes, axis):
    op = make(len(shapes), axis)
    inputs = [activation(shape, name) for name, shape in zip(op.inputs, shapes, strict=True)]
    check(graph_of(op, inputs))


def test_a_constant_takes_part():
    codes = np.arange(-8, 8, dtype=np.int8).reshape(1, 2, 2, 4)
    check(graph_of(make(2, 3), [activation((1, 2, 2, 3), "x0"), constant("x1", codes, SCALE)]))


def test_the_same_tensor_twice():
    op = Concat(name="y", inputs=("x", "x"), outputs=("y",), axis=3)
    check(graph_of(op, [activation((1, 2, 3, 4))]))
