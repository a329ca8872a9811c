"""Pools against LiteRT, TFLM, ONNX Runtime and PyTorch's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.ops.pool import AveragePool2D, MaxPool2D, Pool2D
from edgefactor.export.ops.windows import same_padding
from edgefactor.export.reference import run_reference
from tests.export.ops.oracles import activation, check, graph_of

#: Map (rows, columns, channels), kernel, stride, padding.
CASES = {
    "2x2": ((4, 4, 8), (2, 2), (2, 2), (0, 0, 0, 0)),
    "one element": ((1, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    "global": ((8, 8, 64), (8, 8), (1, 1), (0, 0, 0, 0)),
    "global of 257 rows": ((257, 1, 4), (257, 1), (1, 1), (0, 0, 0, 0)),
    "global of 600 positions": ((20, 30, 4), (20, 30), (1, 1), (0, 0, 0, 0)),
    "wide row": ((2, 300, 4), (2, 300), (1, 1), (0, 0, 0, 0)),
    "rows only": ((6, 5, 3), (6, 1), (1, 1), (0, 0, 0, 0)),
    "columns only": ((6, 5, 3), (1, 5), (1, 1), (0, 0, 0, 0)),
    "over channels": ((9, 40, 1), (1, 40), (1, 1), (0, 0, 0, 0)),
    "overlapping": ((7, 9, 4), (3, 3), (2, 2), (0, 0, 0, 0)),
    "stride 1": ((5, 5, 6), (3, 2), (1, 1), (0, 0, 0, 0)),
    "same": ((7, 7, 4), (3, 3), (2, 2), (1, 1, 1, 1)),
    "same, stride 1": ((5, 6, 5), (3, 3), (1, 1), (1, 1, 1, 1)),
    "ceil": ((7, 5, 4), (2, 2), (2, 2), (0, 0, 1, 1)),
    "rows left over": ((6, 6, 4), (4, 4), (3, 3), (0, 0, 0, 0)),
}
#: Paddings that TFLite's average pool cannot express.
MAX_CASES = {
    "torch": ((8, 8, 4), (3, 3), (2, 2), (1, 1, 0, 0)),
    "uneven": ((5, 4, 3), (3, 4), (1, 2), (2, 1, 0, 3)),
}


def pool_graph(op_type, case, zero_point=-7):
    shape, kernel, stride, padding = case
    x = activation((1, *shape), zero_point=zero_point)
    op = op_type(
        name="y", inputs=("x",), outputs=("y",), kernel=kernel, stride=stride, padding=padding
    )
    return graph_of(op, [x], x.quant)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_average_pool(case):
    # ONNX Runtime rounds halves to even, and sums in float.
    check(pool_graph(AveragePool2D, case), onnx_lsb=1)


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_average_pool_at_the_ends_of_the_zero_point(zero_point):
    check(pool_graph(AveragePool2D, CASES["overlapping"], zero_point), onnx_lsb=1)


@pytest.mark.parametrize(
    "case", [*CASES.values(), *MAX_CASES.values()], ids=[*CASES.keys(), *MAX_CASES.keys()]
)
def test_max_pool(case):
    check(pool_graph(MaxPool2D, case))


sizes = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([AveragePool2D, MaxPool2D]),
    st.tuples(sizes, sizes, sizes),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
)
def test_any_shape(op_type: type[Pool2D], shape, kernel, stride, same):
    padding = same_padding(shape[:2], kernel, stride, (1, 1)) if same else (0, 0, 0, 0)
    if not same:
        shape = (max(shape[0], kernel[0]), max(shape[1], kernel[1]), shape[2])
    check(pool_graph(op_type, (shape, kernel, stride, padding)), onnx_lsb=1)


def test_means_round_halves_away_from_zero():
    graph = pool_graph(AveragePool2D, ((1, 2, 4), (1, 2), (1, 2), (0, 0, 0, 0)))
    codes = np.array([[1, -1, 3, -3], [2, -2, 4, -4]], np.int8).reshape(1, 1, 2, 4)
    assert run_reference(graph, {"x": codes})["y"].reshape(-1).tolist() == [2, -2, 4, -4]
