"""Constant padding with the zero point and with other codes."""

import pytest

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ir import Quantization
from edgefactor.export.ops.pad import Pad, pad_code
from edgefactor.pipeline.lower import lower
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import activation, check, graph_of

#: Shape, before, after, value.
CASES = {
    "rows and columns": ((1, 4, 5, 3), (0, 1, 2, 0), (0, 3, 0, 0), 0.0),
    "channels": ((1, 3, 3, 4), (0, 0, 0, 1), (0, 0, 0, 3), 0.0),
    "all axes": ((1, 2, 3, 4), (0, 1, 1, 1), (1, 1, 1, 1), 0.0),
    "behind only": ((1, 6, 6, 2), (0, 0, 0, 0), (0, 1, 1, 0), 0.0),
    "two axes": ((2, 5), (0, 2), (0, 1), 0.0),
    "three axes": ((1, 5, 4), (0, 2, 0), (0, 0, 1), 0.0),
    "a value": ((1, 4, 5, 3), (0, 1, 1, 0), (0, 1, 1, 0), 1.5),
    "a negative value": ((1, 4, 5, 3), (0, 1, 1, 0), (0, 1, 1, 0), -7.5625),
}


def make(before, after, value):
    return Pad(name="y", inputs=("x",), outputs=("y",), before=before, after=after, value=value)


@pytest.mark.parametrize(("shape", "before", "after", "value"), CASES.values(), ids=CASES.keys())
def test_pad(shape, before, after, value):
    check(graph_of(make(before, after, value), [activation(shape)]))


def test_a_value_outside_the_range_is_refused_with_the_range():
    with pytest.raises(UnsupportedOperatorError) as caught:
        pad_code(make((0, 1), (0, 1), 100.0), Quantization(scales=(0.5,), zero_point=0))
    assert caught.value.found == "100"
    assert "-64 to 63.5" in caught.value.expected


#: Inputs, body, operator set, the operators that are left.
LOWERINGS = {
    "plain": (
        "float[1,4,8,8] x",
        ("a = Constant<value_ints=[0,0,1,2,0,1,0,3]>() y = Pad(x,a)"),
        18,
        ["Pad"],
    ),
    "before a pool": (
        "float[1,4,8,8] x",
        (
            "a = Constant<value_ints=[0,0,1,2,0,1,0,3]>() "
            "b=Pad(x,a) "
            "y = MaxPool<kernel_shape=[2,2]>(b)"
        ),
        18,
        ["Pad", "MaxPool2D"],
    ),
    "crop and value": (
        "float[1,4,8,8] x",
        (
            "a = Constant<value_ints=[0,0,-1,2,0,0,0,-3]>() "
            "v = Constant<value_floats=[1.5]>() "
            "y = Pad(x,a,v)"
        ),
        18,
        ["Slice", "Pad"],
    ),
    "axes as input": (
        "float[1,4,8] x",
        (
            "a = Constant<value_ints=[1,1]>() "
            "e = Constant<value_floats=[0.0]>() "
            "ax = Constant<value_ints=[-1]>() "
            "b = MaxPool<kernel_shape=[2]>(x) "
            "y = Pad(b,a,e,ax)"
        ),
        18,
        ["MaxPool2D", "Pad", "Reshape"],
    ),
}
#: Inputs, body, operator set, words of the message.
UNSUPPORTED = {
    "computed value": (
        "float[1,4,8,8] x, float v",
        ("a = Constant<value_ints=[0,0,1,1,0,0,1,1]>() y = Pad(x,a,v)"),
        18,
        "value is computed",
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case):
    inputs, body, opset, expected = case
    assert kinds(check_lowering(parse(inputs, body, opset))) == expected


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_cannot_be_done_is_refused_with_a_way_out(case):
    inputs, body, opset, words = case
    with pytest.raises(UnsupportedOperatorError, match=words) as caught:
        lower(parse(inputs, body, opset), name="net")
    assert "node" in caught.value.where
    assert caught.value.hint
