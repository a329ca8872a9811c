"""Pools against LiteRT, TFLM, ONNX Runtime and PyTorch's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ops.parts.windows import same_padding, settle_padding, window_output
from edgefactor.export.ops.pool import AveragePool2D, MaxPool2D, Pool2D
from edgefactor.export.reference import run_reference
from edgefactor.pipeline.lower import lower
from tests.export.ops.lowering import check_lowering, kinds, parse
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


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2), st.booleans())
def test_windows_are_counted_as_pytorch_counts_them(size, kernel, stride, pad, ceil_mode):
    torch = pytest.importorskip("torch")
    pad = min(pad, kernel // 2)
    size = max(size, kernel)
    found = torch.nn.functional.max_pool1d(
        torch.zeros(1, 1, size), kernel, stride, pad, ceil_mode=ceil_mode
    )
    map_, window, steps = (1, size), (1, kernel), (1, stride)
    padding = settle_padding(map_, window, steps, (0, pad, 0, pad), ceil_mode=ceil_mode)
    assert window_output(map_, window, steps, (1, 1), padding) == (1, found.shape[2])


#: Inputs, body, operator set, the operators that are left.
LOWERINGS = {
    "average": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)",
        18,
        ["AveragePool2D"],
    ),
    "padding counts": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],count_include_pad=1>(x)",
        18,
        ["Pad", "AveragePool2D"],
    ),
    "padding left out": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[3,3], strides=[1,1], pads=[1,1,1,1]>(x)",
        18,
        ["AveragePool2D"],
    ),
    "average, ceil": (
        "float[1,4,7,7] x",
        "y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)",
        18,
        ["AveragePool2D"],
    ),
    "average, ceil, overlapping": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)",
        18,
        ["AveragePool2D"],
    ),
    "average, ceil, padding counts": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],"
        "ceil_mode=1,count_include_pad=1>(x)",
        19,
        ["Pad", "AveragePool2D"],
    ),
    "average of a sequence": (
        "float[1,4,8] x",
        "y = AveragePool<kernel_shape=[3], strides=[2]>(x)",
        18,
        ["AveragePool2D", "Reshape"],
    ),
    "maximum": (
        "float[1,4,8,8] x",
        "y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)",
        18,
        ["MaxPool2D"],
    ),
    "maximum, ceil": (
        "float[1,4,8,8] x",
        "y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)",
        18,
        ["MaxPool2D"],
    ),
    "maximum, ceil, padding": (
        "float[1,4,8,8] x",
        "y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1, pads=[1,1,1,1]>(x)",
        18,
        ["MaxPool2D"],
    ),
    "maximum of a sequence": (
        "float[1,4,9] x",
        "y = MaxPool<kernel_shape=[2], strides=[2]>(x)",
        18,
        ["MaxPool2D", "Reshape"],
    ),
    "global average": ("float[1,4,8,8] x", "y = GlobalAveragePool(x)", 18, ["AveragePool2D"]),
    "global average of a sequence": (
        "float[1,4,8] x",
        "y = GlobalAveragePool(x)",
        18,
        ["AveragePool2D", "Reshape"],
    ),
    "global maximum, flatten": (
        "float[1,4,8,8] x",
        ("a = GlobalMaxPool(x) y = Flatten<axis=1>(a)"),
        18,
        ["MaxPool2D", "Reshape"],
    ),
    "mean hw": (
        "float[1,4,8,8] x",
        ("a = Constant<value_ints=[2,3]>() y = ReduceMean<keepdims=0>(x, a)"),
        18,
        ["Reshape", "AveragePool2D", "Reshape"],
    ),
    "mean h": (
        "float[1,4,8,8] x",
        ("a = Constant<value_ints=[2]>() y = ReduceMean<keepdims=0>(x, a)"),
        18,
        ["AveragePool2D", "Reshape"],
    ),
    "mean w": (
        "float[1,4,8,8] x",
        ("a = Constant<value_ints=[-1]>() y = ReduceMean<keepdims=0>(x, a)"),
        18,
        ["Reshape", "AveragePool2D", "Reshape"],
    ),
    "mean w keep": (
        "float[1,4,8,8] x",
        ("a = Constant<value_ints=[-1]>() y = ReduceMean<keepdims=1>(x, a)"),
        18,
        ["Reshape", "AveragePool2D", "Reshape"],
    ),
    "mean c": (
        "float[1,4,8,8] x",
        ("a = Constant<value_ints=[1]>() y = ReduceMean<keepdims=0>(x, a)"),
        18,
        ["AveragePool2D", "Reshape"],
    ),
    "mean c keep old": (
        "float[1,4,8,8] x",
        "y = ReduceMean<axes=[1]>(x)",
        13,
        ["AveragePool2D", "Reshape"],
    ),
    "mean ch": (
        "float[1,4,8,8] x",
        "y = ReduceMean<axes=[1,2]>(x)",
        13,
        ["AveragePool2D", "Reshape"],
    ),
    "mean cw after pool": (
        "float[1,4,8,8] x",
        ("p = MaxPool<kernel_shape=[2,2]>(x) y = ReduceMean<axes=[1,3],keepdims=0>(p)"),
        13,
        ["MaxPool2D", "Reshape", "AveragePool2D", "Reshape"],
    ),
    "mean c after pool": (
        "float[1,4,8,8] x",
        ("p = MaxPool<kernel_shape=[2,2]>(x) y = ReduceMean<axes=[1],keepdims=0>(p)"),
        13,
        ["MaxPool2D", "Reshape", "AveragePool2D", "Reshape"],
    ),
    "mean all": ("float[1,4,8,8] x", "y = ReduceMean (x)", 18, ["Reshape", "AveragePool2D"]),
    "padding left out, corrected": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)",
        18,
        ["Pad", "AveragePool2D", "Mul"],
    ),
    "max rank 3": (
        "float[1,6,5] x",
        "y = ReduceMax<axes=[1],keepdims=0>(x)",
        13,
        ["Reshape", "MaxPool2D", "Reshape"],
    ),
    "max rank 3 keep": (
        "float[1,6,5] x",
        "y = ReduceMax<axes=[2],keepdims=1>(x)",
        13,
        ["Reshape", "MaxPool2D", "Reshape"],
    ),
}
#: Inputs, body, operator set, words of the message.
UNSUPPORTED = {
    "padding left out": (
        "float[1,4,8,8] x",
        "y = AveragePool<kernel_shape=[3,3], strides=[1,1], pads=[2,2,2,2]>(x)",
        18,
        "leaves the others out",
    ),
    "dilated": (
        "float[1,4,8,8] x",
        "y = MaxPool<kernel_shape=[3,3], dilations=[2,2]>(x)",
        18,
        "dilated",
    ),
    "three axes": (
        "float[1,2,4,4,4] x",
        "y = MaxPool<kernel_shape=[2,2,2]>(x)",
        18,
        "3-dimensional",
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
