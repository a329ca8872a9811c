"""Slices with steps, along every axis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.ops.slice import Slice
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
