"""Slices with steps, along every axis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.ops.slice import Slice
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import activation, check, graph_of

#: Shape, begin, end, step.
CASES = {
    "first channels": ((1, 3, 4, 8), (0, 0, 0, 0), (1, 3, 4, 4), (1, 1, 1, 1)),
    "last channels": ((1, 3, 4, 8), (0, 0, 0, 4), (1, 3, 4, 8), (1, 1, 1, 1)),
    "rows": ((1, 5, 4, 3), (0, 1, 0, 0), (1, 3, 4, 3), (1, 1, 1, 1)),
    "every second row and column": ((1, 7, 6, 3), (0, 0, 1, 0), (1, 7, 6, 3), (1, 2, 2, 1)),
    "every third channel": ((1, 2, 3, 8), (0, 0, 0, 1), (1, 2, 3, 8), (1, 1, 1, 3)),
    "all": ((1, 2, 3, 4), (0, 0, 0, 0), (1, 2, 3, 4), (1, 1, 1, 1)),
    "two axes": ((1, 9), (0, 2), (1, 8), (1, 2)),
    "three axes": ((1, 4, 6), (0, 1, 2), (1, 4, 5), (1, 1, 1)),
}


def make(begin, end, step):
    return Slice(name="y", inputs=("x",), outputs=("y",), begin=begin, end=end, step=step)


@pytest.mark.parametrize(("shape", "begin", "end", "step"), CASES.values(), ids=CASES.keys())
def test_slice(shape, begin, end, step):
    check(graph_of(make(begin, end, step), [activation(shape)]))


part = st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(1, 6), st.integers(1, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(part, min_size=4, max_size=4))
def test_any_slice(parts):
    shape = tuple(size for size, *_ in parts)
    begin = tuple(min(first, size - 1) for size, first, *_ in parts)
    end = tuple(min(b + n, s) for b, (s, _, n, _) in zip(begin, parts, strict=True))
    step = tuple(step for *_, step in parts)
    check(graph_of(make(begin, end, step), [activation(shape)]))


#: Inputs, body, operator set, the operators that are left.
LOWERINGS = {
    "slice": (
        "float[1,4,8,8] x",
        (
            "p = MaxPool<kernel_shape=[2,2]>(x) "
            "s = Constant<value_ints=[1,0]>() "
            "e=Constant<value_ints=[3,-1]>() "
            "a = Constant<value_ints=[1,3]>() "
            "t=Constant<value_ints=[1,2]>() "
            "y=Slice(p,s,e,a,t)"
        ),
        13,
        ["MaxPool2D", "Slice"],
    ),
    "split": (
        "float[1,4,8,8] x",
        (
            "p = MaxPool<kernel_shape=[2,2]>(x) "
            "l = Constant<value_ints=[1,3]>() "
            "a,b = Split<axis=1>(p,l) "
            "y = Concat<axis=1>(b,a)"
        ),
        13,
        ["MaxPool2D", "Slice", "Slice", "Concat"],
    ),
    "gather a channel": (
        "float[1,4,8,8] x",
        ("p = MaxPool<kernel_shape=[2,2]>(x) i = Constant<value_int=1>() y = Gather<axis=1>(p,i)"),
        13,
        ["MaxPool2D", "Slice", "Reshape"],
    ),
    "gather the last token": (
        "float[1,5,6] x",
        ("i = Constant<value_int=-1>() y = Gather<axis=1>(x,i)"),
        13,
        ["Slice", "Reshape"],
    ),
    "gather every second": (
        "float[1,5,6] x",
        ("i = Constant<value_ints=[0,2,4]>() y = Gather<axis=1>(x,i)"),
        13,
        ["Slice"],
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case):
    inputs, body, opset, expected = case
    assert kinds(check_lowering(parse(inputs, body, opset))) == expected
