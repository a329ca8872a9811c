"""Sums, differences and products: all pairs of codes, every kind of broadcast, fused ReLU."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import Graph
from edgefactor.export.ops.elementwise import Add, Mul, Sub
from tests.export.ops.every_runtime import (
    CODES,
    check_everywhere,
    graph_of,
    held,
    last_only,
    near,
    quantization,
    random_quantization,
)
from tests.export.ops.every_runtime import (
    activation as tensor_of,
)

#: All pairs of codes.
ROWS, COLUMNS = (grid.reshape(1, 256, 256, 1) for grid in np.meshgrid(CODES, CODES, indexing="ij"))
KINDS = (Add, Sub, Mul)
#: Shapes of two operands.
BROADCASTS = [
    ((1, 3, 5, 7), (1, 3, 5, 7)),
    ((1, 3, 5, 7), (1, 1, 1, 7)),
    ((1, 1, 1, 7), (1, 3, 5, 7)),
    ((1, 3, 5, 7), (1, 3, 5, 1)),
    ((1, 3, 5, 7), (1, 3, 1, 7)),
    ((1, 3, 1, 7), (1, 1, 5, 7)),
    ((1, 3, 5, 7), (1, 1, 1, 1)),
    ((1, 3, 5, 7), (7,)),
    ((1, 3, 5, 7), (5, 1)),
    ((2, 1, 4, 1), (1, 3, 1, 5)),
    ((1, 6), (1, 6)),
    ((1, 6), (1, 1)),
    ((1, 1, 1, 1), (1, 1, 1, 1)),
]


def kernels_of(graph: Graph, target: CTarget | None = None) -> list[str]:
    codes = [ops.family_of(op).layer_code(op, graph, target or CTarget()) for op in graph.ops]
    return [call.function for code in codes for call in code.calls]


@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_of_codes(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    first = random_quantization(generator)
    second = near(first, generator, 2.0)
    tensors = [tensor_of("a", ROWS.shape, first), tensor_of("b", ROWS.shape, second)]
    cases = []
    for number in range(9):
        kind = KINDS[number % 3]
        op = kind(
            name=f"y{number}",
            inputs=("a", "b") if number % 2 else ("b", "a"),
            outputs=(f"y{number}",),
            activation=("none", "relu", "relu6")[number // 3],
        )
        cases.append((op, near(first, generator)))
    check_everywhere(graph_of(cases, tensors), {"a": ROWS, "b": COLUMNS}, tmp_path)


#: Scales for which no linear form gives the codes of all pairs.
NOT_LINEAR = (
    (quantization(0.02378476969897747, 61), quantization(0.0068000308237969875, 3)),
    quantization(0.018602000549435616, -99),
)


def test_sum_without_a_linear_form(tmp_path: Path) -> None:
    (first, second), output = NOT_LINEAR
    tensors = [tensor_of("a", ROWS.shape, first), tensor_of("b", ROWS.shape, second)]
    op = Add(name="y", inputs=("a", "b"), outputs=("y",))
    graph = graph_of([(op, output)], tensors)
    assert kernels_of(graph) == ["ef_add_rescaled_s8"]
    check_everywhere(graph, {"a": ROWS, "b": COLUMNS}, tmp_path)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_broadcasts(activation: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    tensors, cases, inputs = [], [], {}
    for number, (left, right) in enumerate(BROADCASTS):
        first = quantization(0.05, -3)
        second = near(first, generator)
        names = f"a{number}", f"b{number}"
        for name, shape, quant in zip(names, (left, right), (first, second), strict=True):
            tensors.append(tensor_of(name, shape, quant))
            inputs[name] = generator.integers(-128, 128, shape).astype(np.int8)
        for kind in KINDS:
            label = f"{kind.__name__.lower()}{number}"
            op = kind(name=label, inputs=names, outputs=(label,), activation=activation)
            cases.append((op, quantization(0.06, -128 if number % 2 else 5)))
    check_everywhere(graph_of(cases, tensors), inputs, tmp_path)


@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_constants(optimize: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    x = tensor_of("x", (1, 8, 8, 4), quantization(0.03, 11))
    tensors, cases = [x], []
    for number, shape in enumerate([(1,), (1, 1, 1, 4), (1, 8, 8, 1), (1, 8, 8, 4), ()]):
        name = f"c{number}"
        codes = np.asarray(generator.integers(-128, 128, shape), np.int8)
        tensors.append(held(name, codes, near(x.quant, generator)))
        for kind in KINDS:
            for inputs in (("x", name), (name, "x")):
                label = f"{kind.__name__.lower()}{len(cases)}"
                op = kind(name=label, inputs=inputs, outputs=(label,))
                cases.append((op, quantization(0.04, -20)))
    graph = graph_of(cases, tensors)
    codes = CODES.reshape(1, 8, 8, 4)
    check_everywhere(graph, {"x": codes}, tmp_path, CTarget(optimize=optimize))


def test_same_operand_twice_and_in_place(tmp_path: Path) -> None:
    x = tensor_of("x", (1, 4, 8, 8), quantization(0.03, 11))
    scale = quantization(0.05, -9)
    cases = [
        (Add(name="a", inputs=("x", "x"), outputs=("a",)), scale),
        (Mul(name="b", inputs=("a", "a"), outputs=("b",)), scale),
        (Sub(name="c", inputs=("b", "a"), outputs=("c",)), scale),
        (Mul(name="d", inputs=("b", "c"), outputs=("d",)), scale),
    ]
    check_everywhere(last_only(graph_of(cases, [x])), {"x": CODES.reshape(1, 4, 8, 8)}, tmp_path)


def test_equal_shapes_take_the_short_kernel() -> None:
    tensors = [tensor_of(n, (1, 4, 4, 4), quantization(0.03, 11)) for n in ("a", "b")]
    op = Add(name="y", inputs=("a", "b"), outputs=("y",), activation="relu")
    assert kernels_of(graph_of([(op, quantization(0.05, -128))], tensors)) == ["ef_add_s8"]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_sum_has_the_codes_of_its_definition(seed: int) -> None:
    """What ``layer_code`` chose, evaluated in NumPy, against the reference on all pairs."""
    generator = np.random.default_rng(seed)
    first = random_quantization(generator)
    tensors = [
        tensor_of("a", ROWS.shape, first),
        tensor_of("b", ROWS.shape, near(first, generator, 3.0)),
    ]
    kind = (Add, Sub)[seed % 2]
    op = kind(
        name="y", inputs=("a", "b"), outputs=("y",), activation=("none", "relu", "relu6")[seed % 3]
    )
    graph = graph_of([(op, near(first, generator, 2.0))], tensors)
    family = ops.family_of(op)
    (call,) = family.layer_code(op, graph, CTarget()).calls
    if call.function != "ef_add_s8":
        return
    form = call.args["form"]
    total = (
        ROWS.astype(np.int64) * form["multiplier1"] + COLUMNS.astype(np.int64) * form["multiplier2"]
    )
    wrapped = (total + form["offset"] + 2**31) % 2**32 - 2**31
    found = np.clip(wrapped >> form["shift"], form["low"], form["high"])
    expected = family.reference(op, tensors, graph.tensors["y"], [ROWS, COLUMNS])
    np.testing.assert_array_equal(found, expected)
