"""Norms of int16 codes: equal in every runtime, and much nearer to the real functions than int8."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.functions import normalization, wide_normalization
from edgefactor.export.ir import DType, Graph, Quantization, constant
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
from tests.export.ops.oracles import CSRC
from tests.tools import require_tool

#: Views: outer, steps, groups, inner; most codes in a group where sums need digits.
VIEWS = [
    (5, 1, 1, 64),
    (1, 1, 1, 1),
    (3, 1, 1, 2),
    (2, 1, 1, 513),
    (1, 20, 3, 7),
    (1, 30, 8, 1),
    (2, 9, 1, 33),
    (1, 1, 1, 5000),
]
#: Standard deviation of codes; None: the ends of the range, 0: all equal.
SPREADS = [None, 0.0, 0.4, 3000.0]
#: Signal-to-noise ratio where a group has a few bits; the worst case is one code apart.
WANTED_DB = 55.0


def draw(view: tuple[int, ...], spread: float | None, generator: np.random.Generator) -> Codes:
    if spread is None:
        return generator.choice([-32768, 32767], view).astype(np.int16)
    centre = generator.integers(-30000, 30000, (view[0], 1, view[2], 1))
    codes = np.clip(generator.normal(centre, spread, view), -32768, 32767)
    codes.reshape(-1)[0] *= 1 if spread else 0.5  # an outlier in a group of equal codes
    return codes.astype(np.int16)


def graph_of_cases(part: int) -> tuple[Graph, dict[str, Codes]]:
    """Every fourth view with every spread, centred and not: TFLM preserves no more tensors."""
    generator = np.random.default_rng(14)
    tensors, cases, inputs = [], [], {}
    for number, (view, spread) in enumerate((v, s) for v in VIEWS[part::4] for s in SPREADS):
        x, gain, offset = f"x{number}", f"g{number}", f"o{number}"
        scale = 2.0 ** int(generator.integers(-22, -8))
        tensors.append(activation(x, view, quantization(scale, 0), DType.INT16))
        inputs[x] = draw(view, spread, generator)
        bits = normalization.unit_bits(view[1] * view[3])
        channels = view[2] * view[3]
        real = generator.normal(1, 0.3, channels), generator.normal(0, 1, channels)
        affine = [array.astype(np.float32) for array in real]
        codes = normalization.quantize_affine(affine[0], affine[1], bits)
        for name, values, factor in ((gain, codes[0], 1.0), (offset, codes[1], 2.0**-bits)):
            scales = Quantization(scales=(codes[2] * factor,))
            tensors.append(constant(name, values.astype(np.int32), scales))
        op = Normalize(
            name=f"y{number}",
            inputs=(x, gain, offset),
            outputs=(f"y{number}",),
            view=view,
            centered=bool(number % 3),
            epsilon=float(generator.choice([0.0, 1e-12, 1e-5, 1e-3])),
        )
        cases.append((op, quantization(2.0**-11, 0)))
    return graph_of(cases, tensors, dtype=DType.INT16), inputs


def real_norm(op: Normalize, graph: Graph, codes: Codes) -> np.ndarray:
    """The definition in double precision."""
    x, gain, offset = (graph.tensors[name] for name in op.inputs)
    value = (codes.astype(np.float64) * x.quant.scale).reshape(op.view)
    if op.centered:
        value = value - value.mean(axis=(1, 3), keepdims=True)
    value = value / np.sqrt((value**2).mean(axis=(1, 3), keepdims=True) + op.epsilon + 1e-300)
    for tensor, mix in ((gain, np.multiply), (offset, np.add)):
        value = mix(value, tensor.values.reshape(op.view[2:]) * tensor.quant.scale)
    return value.reshape(codes.shape)


@pytest.mark.parametrize("part", range(4))
def test_every_runtime(part: int, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(part)
    expected = check_everywhere(graph, inputs, tmp_path)
    measured = 0
    for op in graph.ops:
        assert isinstance(op, Normalize)
        output = graph.tensors[op.outputs[0]]
        codes = inputs[op.inputs[0]]
        # The mean is rounded to a code: of codes that hardly differ, that is much.
        if codes.reshape(op.view).astype(float).std(axis=(1, 3)).min() > 100:
            real = np.clip(real_norm(op, graph, codes), -16, 16)
            noise = expected[output.name] * output.quant.scale - real
            found = 10 * np.log10((real**2).mean() / (noise**2).mean())
            assert found > WANTED_DB, op
            measured += 1
    assert measured >= 2


def test_the_plain_twin(tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(1)
    check_plain_twin(graph, inputs, tmp_path, "ef_normalize_s16")


@pytest.mark.parametrize(
    ("part", "target"), [(0, "cortex-m0plus"), (3, "cortex-m4"), (3, "cortex-m55")]
)
def test_exact_on_the_board(part: int, target: str, tmp_path: Path) -> None:
    graph, inputs = graph_of_cases(part)
    check_on_board(graph, inputs, tmp_path, target)


def test_in_place(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    view = (4, 1, 1, 16)
    ones = constant("g", np.full(16, 16383, np.int32), quantization(1 / 16383, 0))
    zeros = constant("o", np.zeros(16, np.int32), quantization(2.0**-12 / 16383, 0))
    tensors = [activation("x", (4, 16), quantization(2.0**-12, 0), DType.INT16), ones, zeros]
    cases = [
        (Normalize(name=name, inputs=(source, "g", "o"), outputs=(name,), view=view),
         quantization(2.0**-13, 0))
        for name, source in (("a", "x"), ("b", "a"))
    ]  # fmt: skip
    codes = generator.integers(-32768, 32768, (4, 16)).astype(np.int16)
    graph = last_only(graph_of(cases, tensors, dtype=DType.INT16))
    check_everywhere(graph, {"x": codes}, tmp_path)


def test_an_epsilon_that_outweighs_the_whole_range(tmp_path: Path) -> None:
    """Then the norm is hardly more than a product with 1 / sqrt(epsilon)."""
    generator = np.random.default_rng(6)
    view = (3, 1, 1, 32)
    ones = constant("g", np.full(32, 16383, np.int32), quantization(1 / 16383, 0))
    zeros = constant("o", np.zeros(32, np.int32), quantization(2.0**-12 / 16383, 0))
    tensors = [activation("x", view, quantization(2.0**-30, 0), DType.INT16), ones, zeros]
    op = Normalize(
        name="y", inputs=("x", "g", "o"), outputs=("y",), view=view, centered=False, epsilon=1e-5
    )
    graph = graph_of([(op, quantization(2.0**-19, 0))], tensors, dtype=DType.INT16)
    codes = generator.integers(-32768, 32768, view).astype(np.int16)
    found = check_everywhere(graph, {"x": codes}, tmp_path)["y"] * 2.0**-19
    np.testing.assert_allclose(found, real_norm(op, graph, codes), atol=2.0**-11)


def test_the_root_in_integers_is_that_of_ieee_single(tmp_path: Path) -> None:
    """Against the processor's own float32, for all magnitudes up to 2^60."""
    compiler = require_tool("gcc")
    library, caller = tmp_path / "root.so", tmp_path / "all.c"
    caller.write_text(
        '#include "ef_root.h"\nvoid all(const uint64_t *v, const int32_t *bits, int32_t *out, '
        "int n) { for (int i = 0; i < n; i++) { "
        "out[i] = ef_reciprocal_root_wide(ef_round_single(v[i]), bits[i]); } }\n"
    )
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", "-fsanitize=undefined", f"-I{CSRC}"]
    strict = "-fno-sanitize-recover=all"
    source = CSRC / "ef_root_wide.c"
    run((compiler, *flags, strict, "-o", library, caller, source), timeout_seconds=60)
    generator = np.random.default_rng(6)
    parts = [np.arange(1, 50_000), 2**24 + np.arange(-500, 500), 2**25 + np.arange(-500, 500)]
    parts += [2**k + np.arange(-300, 300) for k in range(26, 60)]
    parts += [2**k * (2**24 + np.arange(200)) + 2 ** (k - 1) for k in range(1, 30)]  # halves
    parts.append((2 ** generator.uniform(0, 60, 100_000)).astype(np.int64))
    values = np.concatenate(parts).astype(np.uint64)
    real = values.astype(np.float32)
    bits = np.floor(np.log2(real.astype(np.float64)) / 2).astype(np.int32) + 15
    found = np.zeros(len(values), np.int32)
    ctypes.CDLL(str(library)).all(
        *(ctypes.c_void_p(array.ctypes.data) for array in (values, bits, found)), len(values)
    )
    single = np.float32(1) / np.sqrt(real)
    exact = np.ldexp(single, bits).astype(np.int64)
    np.testing.assert_array_equal(found, exact)


def test_no_more_is_summed_than_float32_holds() -> None:
    for count in (1, 2, 511, 512, 513, 1024, 1025, 2**14 + 1, 2**15):
        numbers = wide_normalization.normalization(count, 2.0**-12, 1e-5)
        assert count << numbers.square_bits <= wide_normalization.EXACT
        assert numbers.square_bits >= 9
