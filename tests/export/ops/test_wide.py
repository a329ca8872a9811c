"""Operators on 16-bit activations: NumPy = LiteRT's reference = TFLM = C, element by element."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefactor.errors import ModelError
from edgefactor.export import numerics, ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.conv_kernels.wide import pair_words
from edgefactor.export.ir import DType, Graph, Op, Quantization, Tensor, constant
from edgefactor.export.ops.concat import Concat
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.elementwise import Add, Mul, Sub
from edgefactor.export.ops.extremes import Maximum, Minimum
from edgefactor.export.ops.family import BOOLEAN
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.ops.matmul import MatMul
from edgefactor.export.ops.pad import Pad
from edgefactor.export.ops.pool import AveragePool2D, MaxPool2D
from edgefactor.export.ops.reshape import Reshape, Transpose
from edgefactor.export.ops.select import Select
from edgefactor.export.ops.slice import Slice
from tests.export.ops.every_runtime import (
    activation,
    check_everywhere,
    check_on_board,
    graph_of,
    quantization,
)
from tests.export.ops.test_conv import CASES, Case

SCALE = quantization(1 / 4096, 0)
DSP = CTarget(features=IsaFeatures(dsp=True, unaligned=True))
BOARDS = ("cortex-m0plus", "cortex-m4", "cortex-m55")


def codes(generator: np.random.Generator, shape: Sequence[int]) -> NDArray[np.int16]:
    """Uniform int16; the extremes occur."""
    values = generator.integers(-32768, 32768, shape).astype(np.int16)
    values.reshape(-1)[:2] = (-32768, 32767)[: values.size]
    return values


def wide(name: str, shape: Sequence[int], scale: float = SCALE.scale) -> Tensor:
    return activation(name, shape, quantization(scale, 0), DType.INT16)


MAP = (1, 5, 6, 4)
MOVES: dict[str, tuple[Op, Sequence[Sequence[int]]]] = {
    "reshape": (Reshape(name="y", inputs=("x",), outputs=("y",), new_shape=(1, 30, 4)), [MAP]),
    "transpose": (Transpose(name="y", inputs=("x",), outputs=("y",), perm=(0, 3, 1, 2)), [MAP]),
    "transpose of 5 axes": (
        Transpose(name="y", inputs=("x",), outputs=("y",), perm=(0, 1, 2, 4, 3)),
        [(1, 2, 3, 2, 5)],
    ),
    "slice": (
        Slice(
            name="y",
            inputs=("x",),
            outputs=("y",),
            begin=(0, 1, 0, 1),
            end=(1, 5, 6, 4),
            step=(1, 2, 1, 1),
        ),
        [MAP],
    ),
    "rows": (
        Slice(
            name="y",
            inputs=("x",),
            outputs=("y",),
            begin=(0, 1, 0, 0),
            end=(1, 4, 6, 4),
            step=(1, 1, 1, 1),
        ),
        [MAP],
    ),
    "concat of rows": (Concat(name="y", inputs=("x", "z"), outputs=("y",), axis=1), [MAP, MAP]),
    "concat of channels": (
        Concat(name="y", inputs=("x", "z"), outputs=("y",), axis=3),
        [MAP, (1, 5, 6, 3)],
    ),
    "pad": (
        Pad(name="y", inputs=("x",), outputs=("y",), before=(0, 1, 0, 2), after=(0, 0, 3, 1)),
        [MAP],
    ),
    "pad with a value": (
        Pad(name="y", inputs=("x",), outputs=("y",), before=(1, 0), after=(0, 2), value=-1.5),
        [(3, 5)],
    ),
    "average": (
        AveragePool2D(name="y", inputs=("x",), outputs=("y",), kernel=(2, 3), stride=(2, 1)),
        [MAP],
    ),
    "average of the map": (
        AveragePool2D(name="y", inputs=("x",), outputs=("y",), kernel=(5, 6)),
        [MAP],
    ),
    "maximum": (
        MaxPool2D(
            name="y",
            inputs=("x",),
            outputs=("y",),
            kernel=(3, 3),
            stride=(2, 2),
            padding=(1, 1, 1, 1),
        ),
        [MAP],
    ),
}


def test_operators_that_keep_the_scale(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors: list[Tensor] = []
    cases = []
    for number, (op, shapes) in enumerate(MOVES.values()):
        names = tuple(f"{name}{number}" for name in op.inputs)
        tensors += [wide(name, shape) for name, shape in zip(names, shapes, strict=True)]
        result = f"y{number}"
        cases.append((replace(op, name=result, inputs=names, outputs=(result,)), SCALE))
    graph = graph_of(cases, tensors, dtype=DType.INT16)
    check_everywhere(graph, {t.name: codes(generator, t.shape) for t in tensors}, tmp_path)


SHAPES = (
    ((1, 40, 50, 2), (1, 40, 50, 2)),
    ((1, 5, 4, 7), (1, 1, 1, 7)),
    ((2, 3, 5), (3, 1)),
    ((1, 6, 1), (1, 1, 9)),
)


def pairs_graph(
    kind: type[Add], generator: np.random.Generator
) -> tuple[Graph, dict[str, NDArray[np.int16]]]:
    """Sums or products of all shapes side by side, and inputs."""
    tensors: list[Tensor] = []
    cases, inputs = [], {}
    for number, (first, second) in enumerate(SHAPES):
        for held in (False, True):
            names = (f"a{number}{held}", f"b{number}{held}")
            scales = 2.0 ** generator.integers(-15, -9, 2)
            values = [codes(generator, shape) for shape in (first, second)]
            tensors.append(wide(names[0], first, float(scales[0])))
            inputs[names[0]] = values[0]
            if held:
                quant = quantization(float(scales[1]), 0)
                tensors.append(constant(names[1], values[1], quant))
            else:
                tensors.append(wide(names[1], second, float(scales[1])))
                inputs[names[1]] = values[1]
            name = f"y{number}{held}"
            op = kind(
                name=name,
                inputs=names if number % 2 == 0 else names[::-1],
                outputs=(name,),
                activation=("none", "relu", "relu6")[number % 3],
            )
            real = 8192 * scales[0] * scales[1] if kind is Mul else max(scales[:2])
            cases.append((op, quantization(float(real), 0)))
    return graph_of(cases, tensors, dtype=DType.INT16), inputs


@pytest.mark.parametrize("kind", [Add, Sub, Mul])
def test_sums_and_products(kind: type[Add], tmp_path: Path) -> None:
    graph, inputs = pairs_graph(kind, np.random.default_rng(4))
    results = check_everywhere(graph, inputs, tmp_path)
    assert all(len(np.unique(results[op.name])) > 1 for op in graph.ops)
    kernels = {
        call.function
        for op in graph.ops
        for call in ops.family_of(op).layer_code(op, graph, CTarget()).calls
    }
    assert kernels == {"ef_mul_shifted_s16" if kind is Mul else "ef_add_s16"}


@pytest.mark.parametrize("target", BOARDS)
@pytest.mark.parametrize("kind", [Sub, Mul])
def test_sums_and_products_on_the_board(kind: type[Add], target: str, tmp_path: Path) -> None:
    check_on_board(*pairs_graph(kind, np.random.default_rng(12)), tmp_path, target)


def test_products_finer_than_their_operands(tmp_path: Path) -> None:
    """Shifts to the left."""
    generator = np.random.default_rng(13)
    tensors = [wide("a", (1, 999), 2.0**-3), wide("b", (1, 999), 2.0**-4)]
    ends = [-9, -8, -7]
    cases = [
        (Mul(name=f"y{end}", inputs=("a", "b"), outputs=(f"y{end}",)), quantization(2.0**end, 0))
        for end in ends
    ]
    graph = graph_of(cases, tensors, dtype=DType.INT16)
    inputs = {tensor.name: codes(generator, tensor.shape) // 256 for tensor in tensors}
    check_everywhere(graph, inputs, tmp_path)
    for op in graph.ops:
        (call,) = ops.family_of(op).layer_code(op, graph, CTarget()).calls
        assert call.function == "ef_mul_s16"


EXTREMES = (((1, 4, 5, 3), (1, 4, 5, 3)), ((1, 5, 4, 7), (1, 1, 1, 7)), ((2, 6, 1), (1, 1, 9)))


@pytest.mark.parametrize("kind", [Maximum, Minimum])
def test_the_larger_and_the_smaller(kind: type[Maximum], tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    tensors: list[Tensor] = []
    cases = []
    for number, shapes in enumerate(EXTREMES):
        names = (f"a{number}", f"b{number}")
        tensors += [wide(name, shape) for name, shape in zip(names, shapes, strict=True)]
        cases.append((kind(name=f"y{number}", inputs=names, outputs=(f"y{number}",)), SCALE))
    graph = graph_of(cases, tensors, dtype=DType.INT16)
    check_everywhere(graph, {t.name: codes(generator, t.shape) for t in tensors}, tmp_path)


#: Shapes of condition and choices; which of the choices is constant.
CHOICES = [
    ((1, 3, 5, 7), (1, 3, 5, 7), (1, 3, 5, 7), ""),
    ((1, 1, 1, 7), (1, 3, 5, 7), (), "b"),
    ((1, 1, 5, 1), (1,), (1, 3, 5, 7), "a"),
]


def test_choices(tmp_path: Path) -> None:
    generator = np.random.default_rng(10)
    tensors: list[Tensor] = []
    inputs: dict[str, NDArray[np.generic]] = {}
    cases = []
    for number, (*shapes, held) in enumerate(CHOICES):
        names = tuple(f"{letter}{number}" for letter in "cab")
        tensors.append(activation(names[0], shapes[0], BOOLEAN))
        inputs[names[0]] = generator.integers(0, 2, shapes[0]).astype(np.int8)
        for name, shape in zip(names[1:], shapes[1:], strict=True):
            values = np.asarray(generator.integers(-32768, 32768, shape), np.int16)
            if name[0] in held:
                tensors.append(constant(name, values, SCALE))
            else:
                tensors.append(wide(name, shape))
                inputs[name] = values
        cases.append((Select(name=f"y{number}", inputs=names, outputs=(f"y{number}",)), SCALE))
    check_everywhere(graph_of(cases, tensors, dtype=DType.INT16), inputs, tmp_path)


PRODUCTS: dict[str, MatMul] = {
    "plain": MatMul(
        name="y", inputs=("a", "b"), outputs=("y",),
        perm_a=(0, 1, 2), perm_b=(0, 1, 2), perm_out=(0, 1, 2),
    ),
    "scores": MatMul(
        name="y", inputs=("a", "b"), outputs=("y",),
        perm_a=(0, 2, 1, 3), perm_b=(0, 2, 3, 1), perm_out=(0, 1, 2, 3),
    ),
    "heads": MatMul(
        name="y", inputs=("a", "b"), outputs=("y",),
        perm_a=(0, 1, 2, 3), perm_b=(0, 2, 1, 3), perm_out=(0, 2, 1, 3),
    ),
}  # fmt: skip
PRODUCTS["long"] = PRODUCTS["single"] = PRODUCTS["plain"]
PRODUCT_SHAPES = {
    "plain": ((2, 5, 9), (2, 9, 4)),
    "long": ((1, 3, 300), (1, 300, 37)),
    "single": ((1, 1, 1), (1, 1, 1)),
    "scores": ((1, 7, 2, 5), (1, 6, 2, 5)),
    "heads": ((1, 2, 7, 6), (1, 6, 2, 5)),
}


def products_graph(generator: np.random.Generator) -> Graph:
    """All products side by side, of two activations and with a constant."""
    tensors: list[Tensor] = []
    cases = []
    for name, op in PRODUCTS.items():
        for held in (False, True):
            names = (f"a{name}{held}", f"b{name}{held}")
            first, second = PRODUCT_SHAPES[name]
            tensors.append(wide(names[0], first))
            if held:
                tensors.append(constant(names[1], codes(generator, second), SCALE))
            else:
                tensors.append(wide(names[1], second))
            result = f"y{name}{held}"
            case = replace(op, name=result, inputs=names, outputs=(result,))
            cases.append((case, quantization(2.0 ** -(8 - len(tensors) % 3), 0)))
    return graph_of(cases, tensors, dtype=DType.INT16)


@pytest.mark.parametrize("target", [CTarget(), DSP], ids=["plain", "dsp"])
def test_products_of_matrices(target: CTarget, tmp_path: Path) -> None:
    generator = np.random.default_rng(9)
    graph = products_graph(generator)
    inputs = {p.tensor: codes(generator, graph.tensors[p.tensor].shape) for p in graph.inputs}
    found = check_everywhere(graph, inputs, tmp_path, target)
    for op in graph.ops:
        (call,) = ops.family_of(op).layer_code(op, graph, target).calls
        assert call.function == ("ef_matmul_s16_dsp" if target is DSP else "ef_matmul_s16")
        results = found[op.outputs[0]]
        assert len(np.unique(results)) > min(10, results.size // 2)


@pytest.mark.parametrize("target", BOARDS)
def test_products_of_matrices_on_the_board(target: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(10)
    graph = products_graph(generator)
    inputs = {p.tensor: codes(generator, graph.tensors[p.tensor].shape) for p in graph.inputs}
    check_on_board(graph, inputs, tmp_path, target)


def product_at(scale: float, depth: int) -> Graph:
    op = replace(PRODUCTS["plain"], name="y", inputs=("a", "b"), outputs=("y",))
    tensors = [wide("a", (1, 2, depth)), wide("b", (1, depth, 3))]
    return graph_of([(op, quantization(scale, 0))], tensors, dtype=DType.INT16)


@pytest.mark.parametrize("target", [CTarget(), DSP], ids=["plain", "dsp"])
def test_products_that_could_wrap_around_get_a_coarser_scale_or_are_refused(
    target: CTarget,
    tmp_path: Path,
) -> None:
    depth = 100
    (op,) = product_at(1.0, depth).ops
    family = ops.family_of(op)
    finest = family.finest_scale(op, [SCALE.scale] * 2, [(1, 2, depth), (1, depth, 3)])
    ends = np.full((1, 2, depth), 32767, np.int16), np.full((1, depth, 3), -32768, np.int16)
    graph = product_at(finest, depth)
    check_everywhere(graph, dict(zip("ab", ends, strict=True)), tmp_path, target)
    too_fine = product_at(finest / 2, depth)
    with pytest.raises(ModelError, match="far outside"):
        family.layer_code(op, too_fine, CTarget())


#: Every int16 code once.
EVERY = np.arange(-32768, 32768).astype(np.int16).reshape(1, -1)
FUNCTIONS: dict[str, dict[str, float]] = {
    "relu": {},
    "clip": {"low": -0.75, "high": 3.0},
    "sigmoid": {},
    "tanh": {},
    "silu": {},
}


def functions_graph(name: str, shape: Sequence[int]) -> Graph:
    """One function of a tensor at several scales."""
    tensors: list[Tensor] = []
    cases = []
    for number, exponent in enumerate((-17, -13, -12, -11, -8, -3)):
        tensors.append(wide(f"x{number}", shape, 2.0**exponent))
        op = Lookup(
            name=f"y{number}",
            inputs=(f"x{number}",),
            outputs=(f"y{number}",),
            function=name,
            **FUNCTIONS[name],
        )
        gate = name in ("sigmoid", "tanh")
        result = -15 if gate else exponent + (number + 1) % 3 - 1
        cases.append((op, quantization(2.0**result, 0)))
    return graph_of(cases, tensors, dtype=DType.INT16)


@pytest.mark.parametrize("target", BOARDS)
@pytest.mark.parametrize("name", ["clip", "silu"])
def test_functions_on_the_board(name: str, target: str, tmp_path: Path) -> None:
    some = EVERY[:, ::7]
    graph = functions_graph(name, some.shape)
    check_on_board(graph, {port.tensor: some for port in graph.inputs}, tmp_path, target)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_all_codes(name: str, tmp_path: Path) -> None:
    graph = functions_graph(name, EVERY.shape)
    found = check_everywhere(graph, {port.tensor: EVERY for port in graph.inputs}, tmp_path)
    real = EVERY.astype(np.float64) * 2.0**-12
    expected = {"sigmoid": 1 / (1 + np.exp(-real)), "tanh": np.tanh(real)}
    if name in expected:
        assert np.abs(found["y2"] / 32768 - expected[name]).max() < 2.0**-13


@pytest.mark.parametrize("kind", [Add, Sub])
def test_sums_of_very_different_scales(kind: type[Add], tmp_path: Path) -> None:
    """Operands that lose bits, and results that are finer than both."""
    generator = np.random.default_rng(7)
    exponents = [(-20, -3, -3), (-3, -19, -4), (-15, -31, -16), (-12, -12, -25), (-5, -9, -18)]
    tensors: list[Tensor] = []
    cases = []
    for number, (first, second, result) in enumerate(exponents):
        names = (f"a{number}", f"b{number}")
        tensors += [wide(names[0], (1, 999), 2.0**first), wide(names[1], (1, 999), 2.0**second)]
        op = kind(name=f"y{number}", inputs=names, outputs=(f"y{number}",))
        cases.append((op, quantization(2.0**result, 0)))
    graph = graph_of(cases, tensors, dtype=DType.INT16)
    inputs = {tensor.name: codes(generator, tensor.shape) for tensor in tensors}
    check_everywhere(graph, inputs, tmp_path)
    (call,) = ops.family_of(graph.ops[0]).layer_code(graph.ops[0], graph, CTarget()).calls
    assert call.function == "ef_add_rescaled_s16"


#: Accumulators grow to the left by at most 7 bits in TFLite's kernels.
LAYERS = {name: case for name, case in CASES.items() if name != "shift to the left"}


def layers_graph(layers: Mapping[str, Case], generator: np.random.Generator) -> Graph:
    """Layers on int16 side by side, with biases of the order of their sums."""
    tensors: list[Tensor] = []
    cases = []
    for number, case in enumerate(layers.values()):
        height, width, channels = case.map
        depth = channels // case.groups
        rows = generator.integers(-127, 128, (case.out, *case.kernel, depth))
        scales = tuple(float(np.float32(s)) for s in generator.uniform(0.5, 2, case.out) / 500)
        bias = generator.integers(-(2**20), 2**20, case.out) * max(1, rows[0].size // 8)
        bias_scales = tuple(float(np.float32(s * SCALE.scale)) for s in scales)
        x, w, b, y = (f"{letter}{number}" for letter in "xwby")
        op = Conv2D(
            name=y,
            inputs=(x, w, b),
            outputs=(y,),
            stride=case.stride,
            dilation=case.dilation,
            padding=case.padding,
            groups=case.groups,
            activation=case.activation,  # type: ignore[arg-type]
        )
        tensors += [
            wide(x, (1, height, width, channels)),
            constant(w, rows.astype(np.int8), Quantization(scales=scales, axis=0)),
            constant(b, bias.astype(np.int64), Quantization(scales=bias_scales, axis=0)),
        ]
        reach = 127 * np.sqrt(rows[0].size) * 2 * case.out_range * np.mean(scales) * SCALE.scale
        cases.append((op, numerics.choose_symmetric(0, 32767 * float(reach))))
    return graph_of(cases, tensors, dtype=DType.INT16)


@pytest.mark.parametrize("target", [CTarget(), DSP], ids=["plain", "dsp"])
def test_layers(target: CTarget, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    graph = layers_graph(LAYERS, generator)
    inputs = {p.tensor: codes(generator, graph.tensors[p.tensor].shape) for p in graph.inputs}
    results = check_everywhere(graph, inputs, tmp_path, target)
    for op, (name, case) in zip(graph.ops, LAYERS.items(), strict=True):
        (call,) = ops.family_of(op).layer_code(op, graph, target).calls
        depthwise = case.groups > 1 and case.groups == case.map[2]
        kernel = "ef_depthwise_s16" if depthwise else "ef_conv2d_s16"
        expected = f"{kernel}_dsp" if target is DSP else kernel
        # Shifts to the right of less than 17 are left to the plain kernel.
        assert call.function == ("ef_conv2d_s16_ref" if name == "shift 0" else expected)
        if case.out_range == 1.0:
            assert len(np.unique(results[op.outputs[0]])) >= min(3, results[op.outputs[0]].size), (
                name
            )


def test_a_layer_that_grows_too_much_is_refused() -> None:
    graph = layers_graph({"left": CASES["shift to the left"]}, np.random.default_rng(5))
    (op,) = graph.ops
    with pytest.raises(ModelError, match="far outside"):
        ops.family_of(op).layer_code(op, graph, CTarget())


def test_sums_of_more_than_32_bits(tmp_path: Path) -> None:
    case = Case(map=(1, 1, 1400), out=5, out_range=20.0)
    graph = layers_graph({"long": case}, np.random.default_rng(6))
    weights = np.asarray(graph.tensors["w0"].values, np.int64).reshape(5, -1)
    x = np.where(weights[0] < 0, -32768, 32767).astype(np.int16).reshape(1, 1, 1, -1)
    (op,) = graph.ops
    code = ops.family_of(op).layer_code(op, graph, DSP)
    assert [call.function for call in code.calls] == ["ef_conv2d_s16_ref"]
    assert x.reshape(-1).astype(np.int64) @ weights[0] > 2**31
    results = check_everywhere(graph, {"x0": x}, tmp_path, DSP)
    assert len(np.unique(results["y0"])) > 3


def test_the_order_of_pairs() -> None:
    found = pair_words(np.arange(1, 16, dtype=np.int8).reshape(3, 1, 1, 5), groups=1)
    halves = found.view(np.int16).astype(int)
    both = [256 * a + b for a, b in zip(range(1, 6), range(6, 11), strict=True)]
    alone = [256 * a for a in range(11, 16)]
    assert halves.tolist() == [*both, 0, 0, 0, *alone, 0, 0, 0]


@pytest.mark.parametrize("target", BOARDS)
def test_layers_on_the_board(target: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(11)
    graph = layers_graph(LAYERS, generator)
    inputs = {p.tensor: codes(generator, graph.tensors[p.tensor].shape) for p in graph.inputs}
    check_on_board(graph, inputs, tmp_path, target)
