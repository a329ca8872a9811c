"""Layer, RMS, group and instance norm: equal in every runtime, and near the real functions."""

import ctypes
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.functions import normalization
from edgefactor.export.ir import Graph, Quantization, constant
from edgefactor.export.ops.normalize.family import Normalize
from edgefactor.runtime.toolchain import run
from tests.export.ops.every_runtime import (
    Codes,
    activation,
    check_everywhere,
    check_on_board,
    check_plain_twin,
    graph_of,
    last_only,
    quantization,
)
from tests.export.ops.lowering import check_lowering, kinds, parse
from tests.export.ops.oracles import CSRC
from tests.tools import require_tool

#: Views: outer, steps, groups, inner.
VIEWS = [
    (5, 1, 1, 64),
    (1, 1, 1, 1),
    (3, 1, 1, 2),
    (2, 1, 1, 259),
    (1, 20, 3, 7),
    (1, 30, 8, 1),
    (2, 9, 1, 33),
    (1, 1, 1, 1500),
]
#: Standard deviation of codes; None: uniform, 0: all equal.
SPREADS = [None, 0.0, 0.3, 12.0]


def draw(view: tuple[int, ...], spread: float | None, generator: np.random.Generator) -> Codes:
    if spread is None:
        return generator.choice([-128, 127], view).astype(np.int8)
    centre = generator.integers(-128, 128, (view[0], 1, view[2], 1))
    return np.clip(generator.normal(centre, spread, view), -128, 127).astype(np.int8)


def affine(
    view: tuple[int, ...], generator: np.random.Generator, reach: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    channels = view[2] * view[3]
    gain = generator.normal(0, reach, channels).astype(np.float32)
    return gain, generator.normal(0, 1, channels).astype(np.float32)


def graph_of_cases(half: int) -> tuple[Graph, dict[str, Codes]]:
    """Every second view with every spread, centred and not."""
    generator = np.random.default_rng(4)
    tensors, cases, inputs = [], [], {}
    # TFLite Micro preserves the tensors of no more at once.
    for number, (view, spread) in enumerate((v, s) for v in VIEWS[half::2] for s in SPREADS):
        x, gain, offset = f"x{number}", f"g{number}", f"o{number}"
        scale = float(np.exp(generator.uniform(np.log(1e-3), np.log(2.0))))
        tensors.append(activation(x, view, quantization(scale, int(generator.integers(-128, 128)))))
        inputs[x] = draw(view, spread, generator)
        bits = normalization.unit_bits(view[1] * view[3])
        codes = normalization.quantize_affine(*affine(view, generator), bits)
        for name, values, factor in ((gain, codes[0], 1.0), (offset, codes[1], 2.0**-bits)):
            scales = Quantization(scales=(codes[2] * factor,))
            tensors.append(constant(name, values.astype(np.int32), scales))
        op = Normalize(
            name=f"y{number}",
            inputs=(x, gain, offset),
            outputs=(f"y{number}",),
            view=view,
            centered=bool(number % 3),
            epsilon=float(generator.choice([1e-12, 1e-5, 1e-3])),
        )
        cases.append((op, quantization(0.03, int(generator.integers(-40, 40)))))
    return graph_of(cases, tensors), inputs


def real_norm(op: Normalize, graph: Graph, codes: Codes) -> np.ndarray:
    """The definition in double precision."""
    x, gain, offset = (graph.tensors[name] for name in op.inputs)
    value = (codes.astype(np.float64) - x.quant.zero_point) * x.quant.scale
    value = value.reshape(op.view)
    if op.centered:
        value = value - value.mean(axis=(1, 3), keepdims=True)
    value = value / np.sqrt((value**2).mean(axis=(1, 3), keepdims=True) + op.epsilon)
    for tensor, mix in ((gain, np.multiply), (offset, np.add)):
        value = mix(value, tensor.values.reshape(op.view[2:]) * tensor.quant.scale)
    return value.reshape(codes.shape)


@pytest.mark.parametrize(("half", "dsp"), [(0, False), (1, True)])
def test_every_runtime(half: int, dsp: bool, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(half)
    target = CTarget(features=IsaFeatures(dsp=dsp, unaligned=dsp))
    expected = check_everywhere(graph, inputs, tmp_path, target)
    for op in graph.ops:
        assert isinstance(op, Normalize)
        output = graph.tensors[op.outputs[0]]
        codes = inputs[op.inputs[0]]
        # Where codes of a group hardly differ, v has few bits; so has what it is made from.
        if codes.reshape(op.view).astype(float).std(axis=(1, 3)).min() > 2:
            real = real_norm(op, graph, codes)
            exact = np.clip(real / output.quant.scale + output.quant.zero_point, -128, 127)
            assert np.abs(expected[output.name] - exact).max() <= 0.6, op


@pytest.mark.parametrize("half", [0, 1])
def test_the_plain_twin(half: int, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(half)
    check_plain_twin(graph, inputs, tmp_path, "ef_normalize_s8")


@pytest.mark.parametrize(
    ("half", "target"), [(0, "cortex-m0plus"), (0, "cortex-m4"), (1, "cortex-m4")]
)
def test_exact_on_the_board(half: int, target: str, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(half)
    check_on_board(graph, inputs, tmp_path, target)


def test_in_place(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    view = (4, 1, 1, 16)
    ones = constant("g", np.full(16, 16383, np.int32), quantization(1 / 16383, 0))
    zeros = constant("o", np.zeros(16, np.int32), quantization(2.0**-12 / 16383, 0))
    tensors = [activation("x", (4, 16), quantization(0.1, 0)), ones, zeros]
    cases = [
        (Normalize(name="a", inputs=("x", "g", "o"), outputs=("a",), view=view),
         quantization(0.02, 0)),
        (Normalize(name="b", inputs=("a", "g", "o"), outputs=("b",), view=view),
         quantization(0.02, 0)),
    ]  # fmt: skip
    codes = generator.integers(-128, 128, (4, 16)).astype(np.int8)
    check_everywhere(last_only(graph_of(cases, tensors)), {"x": codes}, tmp_path)


def test_the_root_in_integers_is_that_of_ieee_single(tmp_path: Path) -> None:
    """Against the processor's own float32: small numbers, powers of two, and all magnitudes."""
    compiler = require_tool("gcc")
    library, caller = tmp_path / "root.so", tmp_path / "all.c"
    caller.write_text(
        '#include "ef_root.h"\nvoid all(const int32_t *v, int32_t *out, int n) '
        "{ for (int i = 0; i < n; i++) { out[i] = ef_reciprocal_root(v[i]); } }\n"
    )
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", "-fsanitize=undefined", f"-I{CSRC}"]
    strict = "-fno-sanitize-recover=all"
    run((compiler, *flags, strict, "-o", library, caller, CSRC / "ef_root.c"), timeout_seconds=60)
    generator = np.random.default_rng(6)
    parts = [np.arange(1, 200_000), 2**31 - 1 - np.arange(2000)]
    parts += [2**k + np.arange(-500, 500) for k in range(10, 31)]
    parts.append(2 ** generator.uniform(0, 31, 200_000))
    values = np.clip(np.concatenate(parts).astype(np.int64), 1, 2**31 - 1)
    given, found = values.astype(np.int32), np.zeros(len(values), np.int32)
    pointer = ctypes.POINTER(ctypes.c_int32)
    ctypes.CDLL(str(library)).all(
        given.ctypes.data_as(pointer), found.ctypes.data_as(pointer), len(values)
    )
    np.testing.assert_array_equal(found, normalization.reciprocal_root(values))
    near = 2**22 / np.sqrt(values.astype(np.float64))
    assert np.all(np.abs(found - near) <= 1 + near * 2.0**-22)


def test_scales_far_apart_take_the_plain_kernel(tmp_path: Path) -> None:
    view = (4, 1, 1, 16)
    codes = draw(view, 20.0, np.random.default_rng(8))
    gain, offset = np.full(16, 16383, np.int32), np.zeros(16, np.int32)
    parameters = [
        constant("g", gain, quantization(1e-3 / 16383, 0)),
        constant("o", offset, quantization(1e-3 * 2.0**-12 / 16383, 0)),
    ]
    tensors = [activation("x", view, quantization(0.1, 0)), *parameters]
    op = Normalize(name="y", inputs=("x", "g", "o"), outputs=("y",), view=view)
    graph = graph_of([(op, quantization(0.5, 0))], tensors)
    (call,) = ops.family_of(op).layer_code(op, graph, CTarget()).calls
    assert call.function == "ef_normalize_s8_ref"
    check_everywhere(graph, {"x": codes}, tmp_path)


def test_large_offsets_take_bits_from_gains() -> None:
    gain, offset = np.float32([1.0, -0.5]), np.float32([300.0, -1.0])
    gains, offsets, scale = normalization.quantize_affine(gain, offset, 12)
    assert np.abs(offsets).max() <= 2**29
    np.testing.assert_allclose(gains * scale, gain, atol=scale)
    np.testing.assert_allclose(offsets * scale * 2.0**-12, offset, rtol=1e-6)


LOWERED = [
    ("float[1,5,8] x", "LayerNormalization<axis=-1>(x, g, b)", 8),
    ("float[1,3,5,8] x", "LayerNormalization<axis=2,epsilon=0.001>(x, g, b)", (5, 8)),
    ("float[1,8,5,3] x", "LayerNormalization<axis=1>(x, g)", (8, 5, 3)),
    ("float[1,5,8] x", "InstanceNormalization(x, g, b)", 5),
    ("float[1,8,3,5] x", "InstanceNormalization(x, g, b)", 8),
    ("float[1,8,3,5] x", "GroupNormalization<num_groups=4>(x, g, b)", 8),
]


@pytest.mark.parametrize(("inputs", "body", "shape"), LOWERED)
def test_lowering(inputs: str, body: str, shape: int | tuple[int, ...]) -> None:
    sizes = (shape,) if isinstance(shape, int) else shape
    generator = np.random.default_rng(7)
    opset = 21 if "Group" in body else 18
    model = parse_with(inputs, body, opset, g=generator.normal(1, 0.2, sizes), b=np.ones(sizes))
    graph = check_lowering(model, reach=6.0)
    assert "Normalize" in kinds(graph)


def parse_with(inputs: str, body: str, opset: int, **constants: np.ndarray) -> onnx.ModelProto:
    """A model of one node with constants."""
    listed = ", ".join(
        f"float[{','.join(map(str, array.shape))}] {name}" for name, array in constants.items()
    )
    model = parse(f"{inputs}, {listed}", f"y = {body}", opset)
    kept = [info for info in model.graph.input if info.name not in constants]
    shape = kept[0].type.tensor_type.shape
    del model.graph.input[:]
    model.graph.input.extend(kept)
    # Shape inference does not know all of these operators; none changes a shape.
    model.graph.output[0].type.tensor_type.shape.CopyFrom(shape)
    for name, array in constants.items():
        tensor = onnx.numpy_helper.from_array(array.astype(np.float32), name)
        model.graph.initializer.append(tensor)
    return model
