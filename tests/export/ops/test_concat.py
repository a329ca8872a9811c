"""Concatenation along every axis, of activations and constants."""

import numpy as np
import pytest

from edgefactor.export.ir import constant
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ports import encode_inputs
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from tests.export.ops.every_runtime import check_everywhere
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import SCALE, activation, check, graph_of

#: Shapes of the inputs, axis.
CASES = {
    "channels": ([(1, 3, 4, 8), (1, 3, 4, 4)], 3),
    "rows": ([(1, 3, 4, 2), (1, 1, 4, 2), (1, 2, 4, 2)], 1),
    "columns": ([(1, 3, 4, 2), (1, 3, 5, 2)], 2),
    "one channel each": ([(1, 4, 4, 1)] * 4, 3),
    "more parts than a kernel of TFLM takes": ([(1, 2, 3, n % 3 + 1) for n in range(11)], 3),
    "more than its square": ([(1, 1 + n % 2) for n in range(103)], 1),
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


#: Inputs, body, operator set, the operators that are left.
LOWERINGS = {
    "parts and means": (
        "float[1,4,8,8] x",
        (
            "p = MaxPool<kernel_shape=[1,1]>(x) "
            "l = Constant<value_ints=[1,3]>() "
            "a,b = Split<axis=1>(p,l) "
            "c = ReduceMean<axes=[1]>(b) "
            "d = ReduceMean<axes=[1]>(x) "
            "y = Concat<axis=1>(a,c,d)"
        ),
        13,
        [
            "MaxPool2D",
            "Slice",
            "Slice",
            "Reshape",
            "AveragePool2D",
            "Reshape",
            "Reshape",
            "AveragePool2D",
            "Reshape",
            "Concat",
        ],
    ),
    "stack": (
        "float[1,5,6] x",
        (
            "a = Constant<value_ints=[1]>() "
            "u = Unsqueeze(x,a) "
            "m = ReduceMax<axes=[1]>(x) "
            "v = Unsqueeze(x,a) "
            "y = Concat<axis=1>(u,v)"
        ),
        13,
        ["Reshape", "Concat"],
    ),
    "sequences": (
        "float[1,4,8] x",
        (
            "p = MaxPool<kernel_shape=[2]>(x) "
            "q = AveragePool<kernel_shape=[2]>(x) "
            "y = Concat<axis=1>(p,q)"
        ),
        13,
        ["MaxPool2D", "AveragePool2D", "Concat", "Reshape"],
    ),
}


@pytest.mark.parametrize("case", LOWERINGS.values(), ids=LOWERINGS.keys())
def test_lowering(case):
    inputs, body, opset, expected = case
    assert kinds(check_lowering(parse(inputs, body, opset))) == expected


def test_a_constant_in_two_concatenations_of_different_scales(tmp_path):
    body = "k = Constant<value_floats=[0.5,-1.0]>()\ns = Constant<value_ints=[1,2]>()\n"
    body += "r = Reshape(k, s)\ny = Concat<axis=1>(x, r)\nv = Concat<axis=1>(z, r)\n"
    graph = lower(parse("float[1,3] x, float[1,3] z", body + "w = Mul(y, v)"), name="net")
    x = np.array([[1, -2, 0.5]], np.float32)
    feeds = {"x": x, "z": 9 * x}
    int8 = quantize(graph, calibrate(graph, [feeds], method="min-max"))
    codes = encode_inputs(int8, [x, 9 * x])
    check_everywhere(int8, {name: array[0] for name, array in codes.items()}, tmp_path)
