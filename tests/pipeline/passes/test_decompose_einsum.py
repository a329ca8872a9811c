"""Any Einsum without diagonals is products of two tensors, sums and transposes."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.pipeline.passes.decompose import decompose
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph, infer_shapes
from tests.export.ops.lowering import run_float

SIZES = dict(zip("abcdefghij", (2, 3, 1, 4, 5, 2, 3, 2, 1, 3), strict=True))
#: Equation, ranks of an ellipsis, operands that are constants, operators that are made of it.
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], str]] = {
    "attention stays": ("abde,abfe->abdf", (), (), "Einsum"),
    "outer product": ("abd,de->abde", (), (), "Reshape Reshape Mul"),
    "three factors of Mamba": (
        "abd,abe,abd->abde",
        (),
        (),
        "Reshape Reshape Mul Reshape Mul",
    ),
    "linear attention": ("abde,abef,abd->abdf", (), (), "Einsum Reshape Mul"),
    "weights on the right": ("abd,de->abe", (), (1,), "MatMul"),
    "weights on the left": ("ed,abd->abe", (), (0,), "MatMul"),
    "weights of two axes": ("abde,def->abf", (), (1,), "Reshape MatMul"),
    "graph convolution": ("abde,ef->abdf", (), (1,), "MatMul"),
    "mixed channels": ("abd,be->aed", (), (1,), "Transpose MatMul Transpose"),
    "several axes of each": ("abde,afde->abf", (), (), "Reshape Transpose Reshape MatMul"),
    "sum": ("abd->a", (), (), "ReduceSum"),
    "transpose": ("abd->dab", (), (), "Transpose"),
    "the same": ("abd->abd", (), (), "Identity"),
    "sum of one alone": ("abd,be->ae", (), (), "ReduceSum Einsum"),
    "without a result": ("ba,bd", (), (), "Einsum"),
    "everything": ("abd,abd->", (), (), "Reshape Reshape MatMul Reshape"),
    "ellipsis": ("...bd,...de->...be", (2, 2), (), "Einsum"),
    "ellipsis without a result": ("...bd,de", (1, 0), (), "Reshape MatMul Reshape"),
}


def model(equation: str, ellipses: tuple[int, ...], constants: tuple[int, ...]) -> onnx.ModelProto:
    """One Einsum of operands x0, x1, ..."""
    terms = equation.split("->")[0].split(",")
    generator = np.random.default_rng(1)
    inputs, held, sizes = [], [], []
    for index, term in enumerate(terms):
        beside = [6, 7][2 - ellipses[index] :] if "." in term else []
        shape = [*beside, *(SIZES[letter] for letter in term.replace(".", ""))]
        sizes.append(shape)
        name = f"x{index}"
        if index in constants:
            values = generator.standard_normal(shape).astype(np.float32)
            held.append(onnx.numpy_helper.from_array(values, name))
        else:
            inputs.append(onnx.helper.make_tensor_value_info(name, 1, shape))
    names = [f"x{index}" for index in range(len(terms))]
    node = onnx.helper.make_node("Einsum", names, ["y"], name="e", equation=equation)
    result = np.einsum(equation, *(np.zeros(shape) for shape in sizes))
    output = onnx.helper.make_tensor_value_info("y", 1, result.shape)
    graph = onnx.helper.make_graph([node], "net", inputs, [output], held)
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


def check(before: onnx.ModelProto) -> list[str]:
    """The operators that are left; they compute the same."""
    copy = onnx.ModelProto()
    copy.CopyFrom(before)
    graph = OnnxGraph(copy)
    decompose(graph)
    after = infer_shapes(graph.to_model())
    generator = np.random.default_rng(2)
    feeds = {
        info.name: generator.uniform(
            -2, 2, [axis.dim_value for axis in info.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for info in before.graph.input
    }
    expected, found = run_float(before, feeds), run_float(after, feeds)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    return [node.op_type for node in after.graph.node]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_same_values(case: tuple[str, tuple[int, ...], tuple[int, ...], str]) -> None:
    equation, ellipses, constants, left = case
    assert check(model(equation, ellipses, constants)) == left.split()


@pytest.mark.parametrize("equation", ["aa->a", "aab,ac->bc", "ab,ac->aa"])
def test_diagonals_are_left(equation: str) -> None:
    graph = OnnxGraph(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 18]> net (float[2,2,2] x0, float[2,2] x1) => '
            f'(float y) {{ y = Einsum <equation = "{equation}"> (x0, x1) }}'
        )
        if "," in equation
        else onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 18]> net (float[2,2] x0) => '
            f'(float y) {{ y = Einsum <equation = "{equation}"> (x0) }}'
        )
    )
    decompose(graph)
    assert [node.op_type for node in graph.nodes] == ["Einsum"]


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    letters = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)
    terms = ["".join(draw(letters)) for _ in range(draw(st.integers(1, 3)))]
    every = sorted(set("".join(terms)))
    result = draw(st.lists(st.sampled_from(every), max_size=4, unique=True))
    constants = draw(st.sets(st.integers(0, len(terms) - 1), max_size=len(terms) - 1))
    return f"{','.join(terms)}->{''.join(result)}", tuple(constants)


@settings(max_examples=150, deadline=None)
@given(equations())
def test_any_equation(case: tuple[str, tuple[int, ...]]) -> None:
    equation, constants = case
    check(model(equation, (), constants))
