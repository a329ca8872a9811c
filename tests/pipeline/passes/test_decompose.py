"""Decomposed operators compute what ONNX Runtime computes of the whole ones."""

import numpy as np
import onnx
import pytest

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.pipeline.passes.decompose import DECOMPOSED, decompose
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, infer_shapes
from tests.export.ops.lowering import parse, run_float

ONE, TWO = "float[2,3,4] x", "float[2,3,4] x, float[3,1] z"
AXES = "a = Constant <value_ints = [1, -1]> ()"
LAST = "a = Constant <value_ints = [2]> ()"
#: Inputs, nodes, operators that are left.
CASES: dict[str, tuple[str, str, str]] = {
    "three maxima": (TWO, "y = Max (x, z, x)", "Max Max"),
    "two minima": (TWO, "y = Min (x, z)", "Min"),
    "one maximum": (ONE, "y = Max (x)", "Identity"),
    "sum": (TWO, "y = Sum (z, x, x)", "Add Add"),
    "mean": (TWO, "y = Mean (x, z)", "Add Mul"),
    "mean of one": (ONE, "y = Mean (x)", "Mul"),
    "ReduceMin": (ONE, f"{AXES} y = ReduceMin (x, a)", "Neg ReduceMax Neg"),
    "ReduceMin, all axes": (ONE, "y = ReduceMin <keepdims = 0> (x)", "Neg ReduceMax Neg"),
    "ReduceL1": (ONE, f"{AXES} y = ReduceL1 <keepdims = 0> (x, a)", "Abs ReduceSum"),
    "ReduceL2": (ONE, f"{LAST} y = ReduceL2 (x, a)", "Mul ReduceSum Sqrt"),
    "ReduceSumSquare": (ONE, f"{LAST} y = ReduceSumSquare (x, a)", "Mul ReduceSum"),
    "ReduceLogSum": (
        ONE,
        f"p = Exp (x) {LAST} y = ReduceLogSum (p, a)",
        "Exp ReduceSum Log",
    ),
    "ReduceLogSumExp": (
        ONE,
        f"{AXES} y = ReduceLogSumExp <keepdims = 0> (x, a)",
        "ReduceMax Sub Exp ReduceSum Log ReduceMax Add",
    ),
    "ReduceProd": (
        ONE,
        "a = Constant <value_ints = [0, 1]> () y = ReduceProd <keepdims = 0> (x, a)",
        "Slice Slice Mul Slice Slice Slice Mul Mul Reshape",
    ),
    "no axes": (
        ONE,
        "y = ReduceL2 <noop_with_empty_axes = 1> (x)",
        "Mul Identity Sqrt",
    ),
    "LpNormalization": (ONE, "y = LpNormalization <axis = 1> (x)", "Mul ReduceSum Sqrt Div"),
    "LpNormalization, p 1": (ONE, "y = LpNormalization <p = 1> (x)", "Abs ReduceSum Div"),
    "LRN": (
        "float[1,5,3,2] x",
        "y = LRN <size = 3, alpha = 0.5, bias = 2.0> (x)",
        "Mul Conv Pow Mul",
    ),
    "GatherND": (
        "float[3,4,2] x",
        "i = Constant <value_ints = [2, -1]> () y = GatherND (x, i)",
        "Reshape Gather Reshape",
    ),
    "rows written": (
        "float[1,5,3] x, float[1,2,3] u",
        "i = Constant <value = int64[1,2,3] {1,1,1,2,2,2}> () "
        "y = ScatterElements <axis = 1> (x, i, u)",
        "Reshape Slice Slice Concat",
    ),
    "last rows written": (
        "float[4,3] x, float[2,3] u",
        "i = Constant <value = int64[2,1] {-2,-1}> () y = ScatterND (x, i, u)",
        "Reshape Slice Concat",
    ),
    "rows of a constant written": (
        "float[2,3] u",
        "x = Constant <value = float[3,3] {1,2,3,4,5,6,7,8,9}> () "
        "i = Constant <value = int64[2,1] {0,1}> () y = ScatterND (x, i, u)",
        "Reshape Concat",
    ),
    "all written": (
        "float[2,3] x, float[2,3] u",
        "i = Constant <value = int64[2,1] {0,1}> () y = ScatterND (x, i, u)",
        "Reshape",
    ),
    "rows written in another order": (
        "float[4,3] x, float[2,3] u",
        "i = Constant <value = int64[2,1] {1,0}> () y = ScatterND (x, i, u)",
        "Reshape Reshape Concat Gather Reshape",
    ),
    "elements written": (
        "float[3,4] x, float[2,2] u",
        "i = Constant <value = int64[2,2] {3,-3,2,0}> () y = ScatterElements <axis = -1> (x, i, u)",
        "Reshape Reshape Concat Gather Reshape",
    ),
    "points written": (
        "float[3,4,2] x, float[2,2] u",
        "i = Constant <value = int64[2,2] {2,-1,0,1}> () y = ScatterND (x, i, u)",
        "Reshape Reshape Concat Gather Reshape",
    ),
    "triangle": (ONE, "k = Constant <value = int64 {1}> () y = Trilu (x, k)", "Where"),
    "lower triangle": (ONE, "y = Trilu <upper = 0> (x)", "Where"),
    "CumSum without the element": (
        ONE,
        "a = Constant <value_int = 1> () y = CumSum <exclusive = 1, reverse = 1> (x, a)",
        "CumSum Sub",
    ),
    "PRelu, slopes along the last axis": (
        ONE,
        "s = Constant <value_floats = [0.5, -1.0, 2.0, 0.0]> () y = PRelu (x, s)",
        "Min Mul Relu Add",
    ),
    "pool of three axes": (
        "float[1,2,4,5,6] x",
        "y = MaxPool <kernel_shape = [2,3,2], strides = [2,1,2], pads = [1,1,0,0,1,1]> (x)",
        "Reshape MaxPool Reshape MaxPool Reshape",
    ),
    "average over depth": (
        "float[1,2,4,5,6] x",
        "y = AveragePool <kernel_shape = [3,1,1], pads = [1,0,0,1,0,0], count_include_pad = 1> (x)",
        "Reshape AveragePool Reshape",
    ),
    "dilated pool": (
        "float[1,2,7,6] x",
        "y = MaxPool <kernel_shape = [2,2], strides = [2,1], dilations = [3,2]> (x)",
        "Slice Slice Max Slice Max Slice Max",
    ),
    "patches apart": (
        "float[1,8,6] x",
        "s = Constant <value_ints = [4, 6]> () b = Constant <value_ints = [2, 2]> () "
        "y = Col2Im <strides = [2, 2]> (x, s, b)",
        "Reshape ConvTranspose",
    ),
    "patches over one another": (
        "float[1,12,16] x",
        "s = Constant <value_ints = [4, 5]> () b = Constant <value_ints = [3, 2]> () "
        "y = Col2Im <pads = [1, 0, 1, 0]> (x, s, b)",
        "Reshape ConvTranspose",
    ),
}
#: Attributes of Resize, sizes of the result of a map [1, 2, 5, 4].
RESIZINGS = [
    ('mode = "cubic"', (7, 9)),
    ('mode = "cubic", coordinate_transformation_mode = "align_corners"', (3, 9)),
    ('mode = "cubic", coordinate_transformation_mode = "asymmetric", cubic_coeff_a = -0.5', (7, 3)),
    ('mode = "cubic", exclude_outside = 1', (8, 8)),
    ('mode = "cubic", antialias = 1', (2, 3)),
    ('mode = "linear", antialias = 1', (3, 2)),
    ('mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', (1, 8)),
]


def decomposed(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = OnnxGraph(copy)
    decompose(graph)
    return infer_shapes(graph.to_model())


def check(model: onnx.ModelProto) -> list[str]:
    after = decomposed(model)
    generator = np.random.default_rng(2)
    feeds = {}
    for info in model.graph.input:
        shape = [axis.dim_value for axis in info.type.tensor_type.shape.dim]
        feeds[info.name] = generator.uniform(-2, 2, shape).astype(np.float32)
    expected, found = run_float(model, feeds), run_float(after, feeds)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return [node.op_type for node in after.graph.node]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_same_values(case: tuple[str, str, str]) -> None:
    inputs, body, left = case
    assert check(parse(inputs, body)) == left.split()


@pytest.mark.parametrize("kind", ["ReduceMin", "ReduceL1", "ReduceLogSumExp"])
def test_axes_as_attribute(kind: str) -> None:
    """Before operator set 18 the axes are no input."""
    check(parse(ONE, f"y = {kind} <axes = [0, -1], keepdims = 0> (x)", 13))


@pytest.mark.parametrize(("attributes", "size"), RESIZINGS)
def test_resizing(attributes: str, size: tuple[int, int]) -> None:
    body = f"s = Constant <value_ints = {[1, 2, *size]}> () y = Resize <{attributes}> (x, , , s)"
    kinds = check(parse("float[1,2,5,4] x", body))
    assert kinds == ["MatMul", "Transpose", "MatMul", "Transpose"]


def test_linear_resizing_by_whole_sizes_stays() -> None:
    body = 's = Constant <value_ints = [1,2,7,8]> () y = Resize <mode = "linear"> (x, , , s)'
    assert check(parse("float[1,2,5,4] x", body)) == ["Resize"]


def test_every_rule_is_tried() -> None:
    tried = {"Resize", "Einsum", "GRU"} | {
        node.op_type for i, b, _ in CASES.values() for node in parse(i, b).graph.node
    }
    assert tried >= set(DECOMPOSED)


def test_a_long_product_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match="product of 24 elements"):
        decomposed(parse(ONE, "y = ReduceProd (x)"))
