"""Nearest upsampling by whole factors."""

import numpy as np
import pytest

from edgefactor.export.ops.family import Node
from edgefactor.export.ops.resize import ResizeNearest, corners_are_exact, source_indices
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import activation, check, graph_of

FACTORS = [(1, 1), (2, 2), (1, 3), (3, 1), (5, 7), (6, 10), (11, 13)]
#: Sizes at which float32 scales such as 1/3 could pick the wrong neighbour.
SHAPES = [(1, 1, 1, 1), (1, 5, 4, 3), (1, 1, 97, 2), (1, 41, 3, 1)]


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_resize(shape, factors):
    op = ResizeNearest(name="y", inputs=("x",), outputs=("y",), factors=factors)
    check(graph_of(op, [activation(shape)]))


@pytest.mark.parametrize("factors", [(41, 1), (1, 47)])
def test_factors_at_which_float32_corners_fail(factors):
    assert not corners_are_exact(7, max(factors))
    op = ResizeNearest(name="y", inputs=("x",), outputs=("y",), factors=factors)
    check(graph_of(op, [activation((1, 7, 7, 1))]))


@pytest.mark.parametrize("factor", range(1, 20))
def test_asymmetric_floor_repeats_elements(factor):
    attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    node = Node(op_type="Resize", name="r", inputs=("x",), outputs=("y",), attributes=attributes)
    found = source_indices(node, 50, 50 * factor, float(np.float32(factor)))
    np.testing.assert_array_equal(found, np.arange(50 * factor) // factor)


#: What torch's nearest upsampling becomes.
ASYMMETRIC = 'mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor"'
#: Inputs, body, operator set, the operators that are left.
LOWERINGS = {
    "up": (
        "float[1,4,8,8] x",
        (f"s = Constant<value_floats=[1.0,1.0,2.0,3.0]>() y = Resize<{ASYMMETRIC}>(x,,s)"),
        13,
        ["ResizeNearest"],
    ),
    "half-pixel centres": (
        "float[1,4,8,8] x",
        ('s = Constant<value_floats=[1.0,1.0,2.0,3.0]>() y = Resize<mode="nearest">(x,,s)'),
        13,
        ["ResizeNearest"],
    ),
    "down": (
        "float[1,4,8,8] x",
        (f"s = Constant<value_floats=[1.0,1.0,0.5,0.5]>() y = Resize<{ASYMMETRIC}>(x,,s)"),
        13,
        ["Slice"],
    ),
    "down, uneven": (
        "float[1,4,9,8] x",
        (f"s = Constant<value_ints=[1,4,3,4]>() y = Resize<{ASYMMETRIC}>(x,,,s)"),
        13,
        ["Slice"],
    ),
    "a fraction": (
        "float[1,4,8,6] x",
        ('s = Constant<value_floats=[1.0,1.0,1.5,2.0]>() y = Resize<mode="nearest">(x,,s)'),
        13,
        ["Take", "ResizeNearest"],
    ),
    "a fraction less": (
        "float[1,4,7,6] x",
        (f"s = Constant<value_ints=[1,4,5,3]>() y = Resize<{ASYMMETRIC}>(x,,,s)"),
        13,
        ["Take", "Slice"],
    ),
    "a sequence": (
        "float[1,4,8] x",
        (f"s = Constant<value_ints=[1,4,24]>() y = Resize<{ASYMMETRIC}>(x,,,s)"),
        13,
        ["ResizeNearest", "Reshape"],
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case):
    inputs, body, opset, expected = case
    assert kinds(check_lowering(parse(inputs, body, opset))) == expected
