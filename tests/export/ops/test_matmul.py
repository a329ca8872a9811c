"""Products of two activations: layouts, broadcasts, odd sizes, every kernel and its plain twin."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.ir import Graph
from edgefactor.export.ops.matmul import MatMul
from edgefactor.pipeline.lower import lower
from tests.export.ops.every_runtime import (
    Codes,
    activation,
    check_everywhere,
    check_on_board,
    check_plain_twin,
    graph_of,
    held,
    quantization,
)
from tests.export.ops.lowering import check_lowering, kinds, parse

PLAIN = {rank: tuple(range(rank)) for rank in range(2, 6)}
DSP = CTarget(features=IsaFeatures(dsp=True, unaligned=True))
MVE = CTarget(features=IsaFeatures(dsp=True, mve=True, unaligned=True))
KERNELS = {"ef_matmul_s8": CTarget(), "ef_matmul_s8_dsp": DSP, "ef_matmul_s8_mve": MVE}
#: Stored shapes, and the permutations of both operands and of the result.
CASES = [
    ((5, 7), (7, 6), PLAIN[2], PLAIN[2], PLAIN[2]),
    ((1, 1), (1, 1), PLAIN[2], PLAIN[2], PLAIN[2]),
    ((1, 9), (9, 1), PLAIN[2], PLAIN[2], PLAIN[2]),
    ((3, 16), (5, 16), PLAIN[2], (1, 0), PLAIN[2]),
    ((16, 3), (16, 5), (1, 0), PLAIN[2], (1, 0)),
    ((2, 4, 8), (2, 8, 4), PLAIN[3], PLAIN[3], PLAIN[3]),
    ((2, 4, 8), (8, 3), PLAIN[3], PLAIN[2], PLAIN[3]),
    ((4, 8), (3, 8, 5), PLAIN[2], PLAIN[3], PLAIN[3]),
    ((2, 1, 5, 6), (1, 3, 6, 4), PLAIN[4], PLAIN[4], PLAIN[4]),
    # Queries with keys, then with values, as heads lie after a dense layer: [1, tokens, heads, d].
    ((1, 9, 3, 10), (1, 9, 3, 10), (0, 2, 1, 3), (0, 2, 3, 1), PLAIN[4]),
    ((1, 3, 9, 9), (1, 9, 3, 10), PLAIN[4], (0, 2, 1, 3), (0, 2, 1, 3)),
    ((2, 2, 2, 3, 5), (2, 2, 2, 5, 3), PLAIN[5], PLAIN[5], (4, 0, 1, 2, 3)),
    # More columns than are packed at a time.
    ((3, 300), (300, 37), PLAIN[2], PLAIN[2], PLAIN[2]),
]


def graph_of_cases() -> tuple[Graph, dict[str, Codes]]:
    """All cases side by side, and inputs."""
    generator = np.random.default_rng(1)
    tensors, cases, inputs = [], [], {}
    for number, (first, second, perm_a, perm_b, perm_out) in enumerate(CASES):
        names = f"a{number}", f"b{number}"
        zeros = generator.choice([-128, -3, 0, 127], 2)
        for name, shape, zero in zip(names, (first, second), zeros, strict=True):
            tensors.append(activation(name, shape, quantization(0.03, int(zero))))
            inputs[name] = generator.integers(-128, 128, shape).astype(np.int8)
        op = MatMul(
            name=f"y{number}",
            inputs=names,
            outputs=(f"y{number}",),
            perm_a=perm_a,
            perm_b=perm_b,
            perm_out=perm_out,
        )
        depth = first[perm_a[-1]]
        cases.append((op, quantization(0.05 * depth**0.5, int(generator.integers(-128, 128)))))
    return graph_of(cases, tensors), inputs


@pytest.mark.parametrize("kernel", KERNELS)
def test_layouts_and_sizes(kernel: str, tmp_path: Path) -> None:
    target = KERNELS[kernel]
    graph, inputs = graph_of_cases()
    called = {
        call.function
        for op in graph.ops
        for call in ops.family_of(op).layer_code(op, graph, target).calls
    }
    assert called == {kernel}
    expected = check_everywhere(graph, inputs, tmp_path, target)
    # The arithmetic against real numbers: half a step, and the rounding of the multiplier.
    for op in graph.ops:
        assert isinstance(op, MatMul)
        real = [
            np.transpose(inputs[n].astype(np.float64) - t.quant.zero_point, p) * t.quant.scale
            for n, t, p in (
                (n, graph.tensors[n], p)
                for n, p in zip(op.inputs, (op.perm_a, op.perm_b), strict=True)
            )
        ]
        output = graph.tensors[op.outputs[0]]
        steps = np.transpose(real[0] @ real[1], op.perm_out) / output.quant.scale
        codes = np.clip(steps + output.quant.zero_point, -128, 127)
        assert np.abs(expected[output.name] - codes).max() <= 0.51


def test_the_plain_twin(tmp_path: Path) -> None:
    graph, inputs = graph_of_cases()
    check_plain_twin(graph, inputs, tmp_path, "ef_matmul_s8")


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_exact_on_the_board(target: str, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases()
    check_on_board(graph, inputs, tmp_path, target)


@pytest.mark.parametrize("scale", [0.0004, 20.0])
def test_shifts_to_the_left_and_saturation(scale: float, tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    tensors = [activation(n, (4, 4), quantization(0.5, 5)) for n in ("a", "b")]
    op = MatMul(
        name="y", inputs=("a", "b"), outputs=("y",), perm_a=(0, 1), perm_b=(0, 1), perm_out=(0, 1)
    )
    inputs = {n: generator.integers(-128, 128, (4, 4)).astype(np.int8) for n in ("a", "b")}
    check_everywhere(graph_of([(op, quantization(scale, 3))], tensors), inputs, tmp_path, DSP)


@pytest.mark.parametrize("constant_first", [True, False])
def test_a_constant_operand(constant_first: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    codes = generator.integers(-128, 128, (2, 6, 6)).astype(np.int8)
    c = held("c", codes, quantization(0.02, -5))
    x = activation("x", (2, 6, 6), quantization(0.03, 7))
    op = MatMul(
        name="y",
        inputs=("c", "x") if constant_first else ("x", "c"),
        outputs=("y",),
        perm_a=PLAIN[3],
        perm_b=PLAIN[3],
        perm_out=PLAIN[3],
    )
    check_everywhere(graph_of([(op, quantization(0.1, 3))], [x, c]), {"x": codes[::-1]}, tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_layout_in_numpy_is_that_of_matmul(data: st.DataObject) -> None:
    """The reference against NumPy's own product, for any batch axes and any order of axes."""
    batch = data.draw(st.lists(st.integers(1, 3), max_size=2))
    rows, depth, columns = (data.draw(st.integers(1, 5)) for _ in range(3))
    rank = len(batch) + 2
    perms = [tuple(data.draw(st.permutations(range(rank)))) for _ in range(3)]
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    tensors, values = [], []
    for name, tail, perm in (("a", (rows, depth), perms[0]), ("b", (depth, columns), perms[1])):
        logical = (*(data.draw(st.sampled_from([1, size])) for size in batch), *tail)
        stored = [0] * rank
        for axis, place in enumerate(perm):
            stored[place] = logical[axis]
        tensors.append(activation(name, stored, quantization(1.0, 0)))
        values.append(generator.integers(-5, 6, stored).astype(np.int8))
    op = MatMul(
        name="y",
        inputs=("a", "b"),
        outputs=("y",),
        perm_a=perms[0],
        perm_b=perms[1],
        perm_out=perms[2],
    )
    graph = graph_of([(op, quantization(1.0, 0))], tensors)
    found = ops.family_of(op).reference(op, tensors, graph.tensors["y"], values)
    first, second = (np.transpose(v.astype(int), p) for v, p in zip(values, perms[:2], strict=True))
    # At a scale of 1 sums of up to 5 * 25 are their own codes.
    np.testing.assert_array_equal(found, np.transpose(first @ second, perms[2]))


#: Inputs, operators, and those of the Graph that are no reshapes.
LOWERED = [
    ("float[1,2,5,7] x, float[1,2,7,6] z", "y = MatMul(x, z)", ["MatMul"]),
    ("float[1,5,7] x, float[1,7,6] z", "y = MatMul(x, z)", ["MatMul"]),
    ("float[1,5,7] x, float[7] z", "y = MatMul(x, z)", ["MatMul"]),
    ("float[7] x, float[1,7,6] z", "y = MatMul(x, z)", ["MatMul"]),
    (
        "float[1,5,3,7] x, float[1,5,3,7] z",
        "q = Transpose<perm=[0,2,1,3]>(x) k = Transpose<perm=[0,2,3,1]>(z) y = MatMul(q, k)",
        ["MatMul"],
    ),
    (
        "float[1,3,5,7] x, float[1,7,3,6] z",
        "v = Transpose<perm=[0,2,1,3]>(z) o = MatMul(x, v) y = Transpose<perm=[0,2,1,3]>(o)",
        ["MatMul"],
    ),
    *(
        (inputs, f'y = Einsum<equation="{equation}">(x, z)', ["MatMul"])
        for inputs, equation in (
            ("float[1,3,5,7] x, float[1,3,6,7] z", "bhqd,bhkd->bhqk"),
            ("float[1,5,3,7] x, float[1,6,3,7] z", "bqhd,bkhd->bhqk"),
            ("float[1,3,5,7] x, float[1,7,3,6] z", "bhqk,bkhd->bqhd"),
            ("float[1,4] x, float[1,5] z", "ai,aj->aij"),
            ("float[1,4] x, float[1,4] z", "ai,ai->ai"),
            ("float[1,4,5] x, float[1,5] z", "aij,aj->ai"),
        )
    ),
]


@pytest.mark.parametrize(("inputs", "body", "expected"), LOWERED)
def test_lowering(inputs: str, body: str, expected: list[str]) -> None:
    graph = check_lowering(parse(inputs, body.replace(") ", ")\n")), reach=63.0)
    # The port of the output keeps its order, so that the last Transpose moves nothing.
    assert [kind for kind in kinds(graph) if kind != "Reshape"] == expected


@pytest.mark.parametrize(
    "equation", ["ij,jk->i", "ij,jk", "ii,ij->ij", "abcd,ecdf->abef", "...ij,...jk->...ik"]
)
def test_other_equations_are_refused(equation: str) -> None:
    sizes = {letter: 3 for letter in "abcdefijk"}
    terms = equation.replace("...", "").split("->")[0].split(",")
    inputs = ", ".join(
        f"float[{','.join(str(sizes[c]) for c in term)}] {name}"
        for term, name in zip(terms, ("x", "z"), strict=True)
    )
    model = parse(inputs, f'y = Einsum<equation="{equation}">(x, z)')
    with pytest.raises(UnsupportedOperatorError, match="Einsum"):
        lower(model, name="net")
