"""Reshapes and transposes; the order of elements is NumPy's."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export.ops.reshape import Reshape, Transpose, reshaped_order
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import activation, check, graph_of

RESHAPES = [
    ((1, 4, 5, 6), (1, 120)),
    ((1, 120), (1, 4, 5, 6)),
    ((1, 4, 5, 6), (1, 2, 10, 6)),
    ((1, 1, 1, 7), (1, 7)),
    ((1, 6), (1, 1, 1, 6)),
    ((1, 4, 6), (1, 1, 4, 6)),
    ((24,), (1, 2, 3, 4)),
    ((1, 2, 3, 4, 5), (1, 6, 4, 5)),
]
TRANSPOSES = [
    ((1, 4, 5, 6), (0, 3, 1, 2)),
    ((1, 4, 5, 6), (0, 2, 1, 3)),
    ((1, 1, 5, 6), (0, 3, 1, 2)),
    ((3, 4), (1, 0)),
    ((2, 3, 4), (2, 0, 1)),
    ((1, 3, 4, 2, 5), (0, 1, 2, 4, 3)),
]


@pytest.mark.parametrize(("shape", "new_shape"), RESHAPES)
def test_reshape(shape, new_shape):
    op = Reshape(name="y", inputs=("x",), outputs=("y",), new_shape=new_shape)
    check(graph_of(op, [activation(shape)]))


@pytest.mark.parametrize(("shape", "perm"), TRANSPOSES)
def test_transpose(shape, perm):
    op = Transpose(name="y", inputs=("x",), outputs=("y",), perm=perm)
    check(graph_of(op, [activation(shape)]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=4, max_size=4), st.permutations(range(4)))
def test_any_transpose_of_four_axes(shape, perm):
    op = Transpose(name="y", inputs=("x",), outputs=("y",), perm=tuple(perm))
    check(graph_of(op, [activation(tuple(shape))]))


def test_six_axes():
    # The pixel shuffle of an NCHW tensor; TFLite Micro takes five axes at most.
    op = Transpose(name="y", inputs=("x",), outputs=("y",), perm=(0, 1, 4, 2, 5, 3))
    check(graph_of(op, [activation((1, 2, 3, 2, 4, 5))]))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([(1, 12, 4, 5), (1, 12, 20), (1, 2, 6, 4, 5), (1, 1, 12, 20), (1, 3, 4, 20)]),
    st.sampled_from([(1, 240), (1, 12, 20), (1, 3, 4, 4, 5), (1, 240, 1, 1), (2, 6, 4, 5)]),
    st.randoms(use_true_random=False),
)
def test_a_reshape_keeps_the_layout_it_can(shape, new_shape, random):
    perm = random.choice(list(itertools.permutations(range(len(shape)))))
    before, after = reshaped_order(shape, perm, new_shape)
    value = np.arange(240).reshape(shape)
    memory = np.transpose(value, before).reshape(-1)
    wanted = np.transpose(value.reshape(new_shape), after).reshape(-1)
    np.testing.assert_array_equal(memory, wanted)


def test_channels_last_survives_where_no_data_has_to_move():
    nhwc = (0, 2, 3, 1)
    assert reshaped_order((1, 8, 4, 5), nhwc, (1, 8, 20)) == (nhwc, (0, 2, 1))
    assert reshaped_order((1, 8, 4, 5), nhwc, (1, 2, 4, 4, 5)) == (nhwc, (0, 3, 4, 1, 2))
    assert reshaped_order((1, 8, 1, 1), nhwc, (1, 8)) == (nhwc, (0, 1))
    assert reshaped_order((1, 8, 4, 5), nhwc, (1, 160)) == ((0, 1, 2, 3), (0, 1))


#: What torch's nearest upsampling becomes.
ASYMMETRIC = 'mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor"'
#: Inputs, body, operator set, the operators that are left.
LOWERINGS = {
    "depth to space": (
        "float[1,12,3,4] x",
        "y = DepthToSpace<blocksize=2>(x)",
        13,
        ["Reshape", "Transpose", "Reshape"],
    ),
    "pixel shuffle of torch": (
        "float[1,12,3,4] x",
        'a = MaxPool<kernel_shape=[1,1]>(x) y = DepthToSpace<blocksize=2,mode="CRD">(a)',
        13,
        ["MaxPool2D", "Reshape", "Transpose", "Reshape"],
    ),
    "space to depth": (
        "float[1,3,4,6] x",
        "a = MaxPool<kernel_shape=[1,1]>(x) y = SpaceToDepth<blocksize=2>(a)",
        13,
        ["MaxPool2D", "Reshape", "Transpose", "Reshape"],
    ),
    "flatten": (
        "float[1,4,8,8] x",
        ("p = MaxPool<kernel_shape=[2,2]>(x) y = Flatten(p)"),
        13,
        ["MaxPool2D", "Transpose", "Reshape"],
    ),
    "reshape": (
        "float[1,4,8,8] x",
        ("p = MaxPool<kernel_shape=[2,2]>(x) s = Constant<value_ints=[1,4,-1]>() y = Reshape(p,s)"),
        13,
        ["MaxPool2D", "Reshape"],
    ),
    "tokens": (
        "float[1,4,8,8] x",
        (
            "p = MaxPool<kernel_shape=[2,2]>(x) "
            "s = Constant<value_ints=[1,4,-1]>() "
            "r = Reshape(p,s) "
            "y = Transpose<perm=[0,2,1]>(r)"
        ),
        13,
        ["MaxPool2D", "Reshape"],
    ),
    "channel shuffle": (
        "float[1,4,8,8] x",
        (
            "p = MaxPool<kernel_shape=[2,2]>(x) "
            "s = Constant<value_ints=[1,2,2,7,7]>() "
            "r = Reshape(p,s) "
            "t = Transpose<perm=[0,2,1,3,4]>(r) "
            "s2 = Constant<value_ints=[1,4,7,7]>() "
            "q = Reshape(t,s2) "
            "y=MaxPool<kernel_shape=[2,2]>(q)"
        ),
        13,
        ["MaxPool2D", "Reshape", "Transpose", "Reshape", "MaxPool2D"],
    ),
    "pixel shuffle": (
        "float[1,4,6,6] x",
        (
            "p = MaxPool<kernel_shape=[2,2]>(x) "
            "s = Constant<value_ints=[1,1,2,2,5,5]>() "
            "r = Reshape(p,s) "
            "t = Transpose<perm=[0,1,4,2,5,3]>(r) "
            "s2 = Constant<value_ints=[1,1,10,10]>() "
            "y = Reshape(t,s2)"
        ),
        13,
        ["MaxPool2D", "Reshape", "Transpose", "Reshape"],
    ),
    "squeeze": (
        "float[1,4,1,8] x",
        ("p = MaxPool<kernel_shape=[1,2]>(x) a = Constant<value_ints=[2]>() y = Squeeze(p,a)"),
        13,
        ["MaxPool2D", "Reshape"],
    ),
    "unsqueeze": (
        "float[1,4,8] x",
        (
            "p = MaxPool<kernel_shape=[2]>(x) "
            "a = Constant<value_ints=[2]>() "
            "q = Unsqueeze(p,a) "
            "y = MaxPool<kernel_shape=[1,2]>(q)"
        ),
        13,
        ["MaxPool2D", "MaxPool2D"],
    ),
    "transpose": ("float[1,4,8,8] x", "y = Transpose<perm=[0,2,3,1]>(x)", 13, []),
    "no operation": (
        "float[1,4,8] x",
        (
            "s = Constant<value_ints=[1,4,24]>() "
            f"r = Resize<{ASYMMETRIC}>(x,,,s) "
            "i = Identity(r) "
            "d = Dropout(i) "
            "y = Cast<to=1>(d)"
        ),
        13,
        ["ResizeNearest", "Reshape"],
    ),
    # Integers between two casts: the numbers are truncated.
    "cast": ("float[1,4,8,8] x", "z = Cast<to=6>(x) y = Cast<to=1>(z)", 18, ["Table"]),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case):
    inputs, body, opset, expected = case
    assert kinds(check_lowering(parse(inputs, body, opset))) == expected
