"""Sparse convolutions: pairs, the kernel in C against every runtime, and when they are chosen."""

import numpy as np
import pytest

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.conv_kernels.sparse import NAME, pairs_of
from edgefactor.export.ir import Quantization, constant
from edgefactor.export.ops import family_of
from edgefactor.export.ops.conv import Conv2D
from edgefactor.runtime.host import HostRunner
from tests.export.ops.every_runtime import (
    activation,
    check_everywhere,
    graph_of,
    quantization,
    write_sources,
)
from tests.tools import REPOSITORY, require_tool

CSRC = REPOSITORY / "runtime" / "csrc"
M4 = CTarget(features=IsaFeatures(dsp=True, unaligned=True), encodings={"y": NAME})


def one_tap(outputs, kernel, inputs, generator, taps=1):
    """Kernels of which `taps` weights are left, as shift attention leaves them."""
    codes = np.zeros((outputs, *kernel, inputs), np.int8)
    for o, i in np.ndindex(outputs, inputs):
        for place in generator.permutation(kernel[0] * kernel[1])[:taps]:
            code = generator.choice([-127, 127, *range(-100, 101, 7)])
            codes[(o, *np.unravel_index(place, kernel), i)] = code
    return codes


def pruned(outputs, kernel, inputs, generator, share=0.05):
    codes = generator.integers(-127, 128, (outputs, *kernel, inputs))
    return (codes * (generator.random(codes.shape) < share)).astype(np.int8)


def long_gaps(outputs, kernel, inputs, generator):
    """First and last weight only: distances beyond a byte."""
    codes = np.zeros((outputs, kernel[0] * kernel[1] * inputs), np.int8)
    codes[:, [0, -1]] = generator.integers(1, 128, (outputs, 2))
    codes[0] = 0
    return codes.reshape(outputs, *kernel, inputs)


#: Height, width, inputs, outputs, kernel, weights, fields of the operator.
CASES = {
    "SAL": (6, 7, 8, 5, (3, 3), one_tap, {"padding": (1, 1, 1, 1)}),
    "SAL, stride 2": (7, 7, 4, 6, (3, 3), one_tap, {"padding": (1, 1, 1, 1), "stride": (2, 2)}),
    "SAL2": (4, 4, 8, 3, (3, 3), lambda *a: one_tap(*a, taps=2), {"padding": (1, 1, 1, 1)}),
    "pruned": (5, 6, 16, 7, (3, 3), pruned, {"activation": "relu"}),
    "pruned 1x1": (3, 3, 64, 9, (1, 1), pruned, {"stride": (2, 2)}),
    "dilated": (9, 8, 3, 4, (3, 2), pruned, {"dilation": (2, 2), "padding": (2, 1, 2, 1)}),
    "one row": (1, 9, 6, 4, (1, 5), pruned, {"padding": (0, 2, 0, 2)}),
    "dense layer": (1, 1, 300, 10, (1, 1), pruned, {}),
    "long gaps": (2, 2, 700, 3, (1, 1), long_gaps, {}),
    "one pixel of a large window": (3, 3, 2, 2, (5, 5), pruned, {"padding": (2, 2, 2, 2)}),
}


def case_graph(height, width, inputs, outputs, kernel, weights, fields):
    generator = np.random.default_rng(4)
    codes = weights(outputs, kernel, inputs, generator)
    x = activation("x", (1, height, width, inputs), quantization(0.05, 11))
    scales = tuple(float(np.float32(s)) for s in generator.uniform(0.001, 0.01, outputs))
    bias_scales = tuple(float(np.float32(np.float64(s) * x.quant.scale)) for s in scales)
    bias = generator.integers(-3000, 3000, outputs).astype(np.int32)
    tensors = [
        x,
        constant("w", codes, Quantization(scales=scales, axis=0)),
        constant("b", bias, Quantization(scales=bias_scales, axis=0)),
    ]
    op = Conv2D(name="y", inputs=("x", "w", "b"), outputs=("y",), **fields)
    return graph_of([(op, quantization(0.06, -9))], tensors)


def inputs_of(graph):
    shape = graph.tensors["x"].shape
    return np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_everywhere(case, tmp_path):
    graph = case_graph(*case)
    check_everywhere(graph, {"x": inputs_of(graph)}, tmp_path, M4)
    assert (tmp_path / "kernels" / "ef_sparse_conv_s8.c").is_file()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_plain_twin(case, tmp_path):
    require_tool("gcc")
    graph = case_graph(*case)
    op, codes = graph.ops[0], inputs_of(graph)
    folder = write_sources(graph, tmp_path, M4)
    plain = (CSRC / "ef_sparse_conv_s8_ref.c").read_text()
    kernel = folder / "kernels" / "ef_sparse_conv_s8.c"
    kernel.write_text(plain.replace("ef_sparse_conv_s8_ref", "ef_sparse_conv_s8"))
    with HostRunner(folder, sanitize=True) as host:
        found = host.outputs(codes.reshape(1, -1))
    tensors = [graph.tensors[name] for name in op.inputs]
    values = [codes, tensors[1].values, tensors[2].values]
    expected = family_of(op).reference(op, tensors, graph.tensors["y"], values)
    np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1))


def test_pairs_read_back():
    codes = long_gaps(3, (1, 1), 700, np.random.default_rng(0))
    data, counts = pairs_of(codes)
    assert counts.tolist() == [0, 4, 4]
    found = np.zeros((3, 700), np.int64)
    entries = iter(data.reshape(-1, 2).astype(int).tolist())
    for channel, count in enumerate(counts):
        place = 0
        for _ in range(count):
            gap, byte = next(entries)
            place += gap
            found[channel, place] += byte - 256 * (byte > 127)
    np.testing.assert_array_equal(found, codes.reshape(3, 700))


def code_of(graph, **fields):
    op = graph.ops[0]
    target = CTarget(features=IsaFeatures(dsp=True, unaligned=True), **fields)
    return family_of(op).layer_code(op, graph, target)


def test_one_tap_of_nine_is_stored_and_multiplied_alone():
    case = (16, 16, 32, 32, (3, 3), one_tap, {"padding": (1, 1, 1, 1)})
    for optimize in ("balanced", "speed"):
        code = code_of(case_graph(*case), optimize=optimize)
        assert code.encoding == NAME
        assert code.weight_bytes < 32 * 32 * 9 / 4
        sparse, dense = code.alternatives[:2]
        assert sparse.instructions < dense.instructions
    smallest = code_of(case_graph(*case), optimize="size")
    assert smallest.encoding == "huffman"  # one bit for each of eight taps
    assert smallest.weight_bytes < code.weight_bytes


def test_dense_weights_stay_dense():
    case = (4, 4, 8, 8, (3, 3), lambda *a: pruned(*a, share=0.9), {})
    code = code_of(case_graph(*case))
    assert code.encoding != NAME
    assert all(option.encoding != NAME for option in code.alternatives)
    with pytest.raises(OptionError, match="pairs of distance"):
        code_of(case_graph(*case), encodings={"y": NAME})
