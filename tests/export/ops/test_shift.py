"""Shifted channels: every runtime, every code, and depthwise convolutions that are shifts."""

import numpy as np
import onnx
import onnxruntime
import pytest

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export import numerics
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.ir import DType, Graph, Tensor
from edgefactor.export.onnx_writer import codes_to_graph, quantized_name, write_onnx
from edgefactor.export.ops import family_of
from edgefactor.export.ops.family import Node
from edgefactor.export.ops.shift import FAMILY, Shift, one_hot_kernels, shift_runs
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.runtime.host import HostRunner
from edgefactor.runtime.litert_runner import LiteRtRunner
from tests.export.ops.every_runtime import (
    CODES,
    activation,
    check_everywhere,
    graph_of,
    quantization,
    write_sources,
)
from tests.export.ops.lowering import kinds, parse, run_float
from tests.tools import REPOSITORY, require_tool

CSRC = REPOSITORY / "runtime" / "csrc"

#: The nine moves of a 3x3 window, row by row.
NINE = tuple((rows, columns) for rows in (-1, 0, 1) for columns in (-1, 0, 1))


def spread(channels: int, moves=NINE):
    """Neighbouring channels move alike, as many for each move."""
    return tuple(moves[channel * len(moves) // channels] for channel in range(channels))


#: Height, width, moves, zero point.
CASES = {
    "one channel": (4, 5, ((1, -1),), 3),
    "each its own": (5, 7, NINE, -128),
    "runs of four by words": (6, 6, spread(36), -5),
    "runs of three": (6, 5, spread(27), 127),
    "unequal runs": (5, 4, spread(16), 0),
    "one pixel": (1, 1, NINE, 9),
    "one row": (1, 6, NINE, -9),
    "one column": (6, 1, NINE, 1),
    "nothing moves": (3, 3, ((0, 0),) * 4, 5),
    "far": (7, 6, ((2, -2), (-2, 2), (0, 2), (2, 0)), -128),
    "beyond the map": (2, 2, ((2, 0), (0, -2), (-2, 2), (1, 1)), 11),
    "eight by words, moved to the right": (4, 8, ((0, -1),) * 8, -1),
}


def make(moves) -> Shift:
    return Shift(name="y", inputs=("x",), outputs=("y",), moves=moves)


def case_graph(height, width, moves, zero_point) -> Graph:
    quant = quantization(0.0371, zero_point)
    return graph_of(
        [(make(moves), quant)], [activation("x", (1, height, width, len(moves)), quant)]
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_shift_everywhere(case, tmp_path):
    graph = case_graph(*case)
    shape = graph.tensors["x"].shape
    codes = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    found = check_everywhere(graph, {"x": codes}, tmp_path)["y"]
    for channel, (rows, columns) in enumerate(graph.ops[0].moves):
        for y, x in np.ndindex(*shape[1:3]):
            inside = 0 <= y + rows < shape[1] and 0 <= x + columns < shape[2]
            expected = codes[0, y + rows, x + columns, channel] if inside else case[3]
            assert found[0, y, x, channel] == expected


@pytest.mark.parametrize("zero_point", [-128, -1, 0, 127])
@pytest.mark.parametrize("scale", [1e-6, 0.0039215689, 0.7, 123.456])
def test_every_code_comes_back_from_every_runtime(scale, zero_point, tmp_path):
    quant = quantization(scale, zero_point)
    x = activation("x", (1, 16, 16, 1), quant)
    graph = graph_of([(make(((0, 0),)), quant)], [x])
    found = check_everywhere(graph, {"x": CODES.reshape(x.shape)}, tmp_path)["y"]
    np.testing.assert_array_equal(found.reshape(-1), CODES)
    np.testing.assert_array_equal(run_onnx(graph, CODES.reshape(x.shape)).reshape(-1), CODES)


def run_onnx(graph: Graph, codes):
    """ONNX Runtime with everything it does to Q/DQ pairs."""
    quant = graph.tensors["x"].quant
    model = write_onnx(graph, extra_outputs=["y"])
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    real = (codes.astype(np.float32) - quant.zero_point) * np.float32(quant.scale)
    (found,) = session.run([quantized_name("y")], {"x": real})
    return codes_to_graph(found, graph.tensors["y"])


def test_onnx_runtime_moves_the_codes():
    graph = case_graph(*CASES["unequal runs"])
    codes = np.random.default_rng(1).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)
    op = graph.ops[0]
    expected = family_of(op).reference(op, [graph.tensors["x"]], graph.tensors["y"], [codes])
    np.testing.assert_array_equal(run_onnx(graph, codes), expected)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_optimized_kernels_of_litert(case):
    """Those that run where nobody asks for the reference ones; the product with 1 is exact too."""
    graph = case_graph(*case)
    codes = np.random.default_rng(1).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)
    op = graph.ops[0]
    expected = family_of(op).reference(op, [graph.tensors["x"]], graph.tensors["y"], [codes])
    runner = LiteRtRunner(write_tflite(graph), reference=False)
    found = runner.run({"x": codes[None]}, ["y"])["y"]
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_the_multiplier_of_one_keeps_every_accumulator():
    multiplier, shift = numerics.quantize_multiplier(1.0)
    accumulators = np.arange(-255, 256, dtype=np.int64)
    found = numerics.multiply_by_quantized_multiplier(
        accumulators, np.array([multiplier]), np.array([shift])
    )
    np.testing.assert_array_equal(found, accumulators)


def test_plain_twin(tmp_path):
    """The twin of every case, compiled in place of the kernel."""
    require_tool("gcc")
    for height, width, moves, zero_point in CASES.values():
        graph = case_graph(height, width, moves, zero_point)
        codes = np.random.default_rng(2).integers(-128, 128, graph.tensors["x"].shape)
        codes = codes.astype(np.int8)
        folder = write_sources(graph, tmp_path)
        plain = (CSRC / "ef_shift_s8_ref.c").read_text().replace("ef_shift_s8_ref", "ef_shift_s8")
        (folder / "kernels" / "ef_shift_s8.c").write_text(plain)
        with HostRunner(folder, sanitize=True) as host:
            found = host.outputs(codes.reshape(1, -1))
        op = graph.ops[0]
        expected = family_of(op).reference(op, [graph.tensors["x"]], graph.tensors["y"], [codes])
        np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1))


def test_neighbours_with_one_move_are_one_run():
    assert shift_runs(((0, 1), (0, 1), (1, 0), (0, 1))) == ((2, 0, 1), (1, 1, 0), (1, 0, 1))


def test_no_weights_and_no_multiplications_are_left():
    graph = case_graph(*CASES["runs of four by words"])
    code = FAMILY.layer_code(graph.ops[0], graph, CTarget())
    assert code.encoding == ""
    assert code.weight_bytes == 0
    assert sum(array.data.nbytes for array in code.arrays) == 9 * 3 * 2


def test_one_hot_kernels_are_as_small_as_the_farthest_move():
    assert one_hot_kernels(((0, 0),)).shape == (1, 1, 1)
    kernels = one_hot_kernels(((0, -2), (1, 0)))
    assert kernels.shape == (2, 5, 5)
    assert kernels[0, 2, 0] == kernels[1, 3, 2] == 1
    assert kernels.sum() == 2


def test_onnx_has_no_such_operator():
    class NoLowering:
        def unsupported(self, node, reason, hint):
            raise UnsupportedOperatorError(reason, hint=hint)

    with pytest.raises(UnsupportedOperatorError):
        FAMILY.lower(Node(op_type="Shift", name="", inputs=(), outputs=()), NoLowering())


def test_output_keeps_shape_and_scale():
    x = Tensor(name="x", shape=(1, 3, 4, 2), dtype=DType.INT8, quantization=quantization(1.0, 0))
    op = make(((0, 0), (1, 1)))
    assert FAMILY.output_shape(op, [x]) == x.shape
    assert FAMILY.output_rule(op) == "same"


TAPS = ((0, 0), (1, 1), (1, 2))


def taps(*values: float):
    """Three kernels with one value at TAPS."""
    kernels = np.zeros((3, 1, 3, 3), np.float32)
    for channel, value in enumerate(values):
        kernels[(channel, 0, *TAPS[channel])] = value
    return kernels


def with_second_tap():
    kernels = taps(1, 1, 1)
    kernels[0, 0, 2, 2] = 1
    return kernels


#: Attributes of the convolution, its kernels, the operators it becomes.
CONVOLUTIONS = {
    "a shift": ("group=3,pads=[1,1,1,1]", taps(1, 1, 1), ["Shift"]),
    "dilated": ("group=3,pads=[2,2,2,2],dilations=[2,2]", taps(1, 1, 1), ["Shift"]),
    "two taps": ("group=3,pads=[1,1,1,1]", with_second_tap(), ["Conv2D"]),
    "another factor": ("group=3,pads=[1,1,1,1]", taps(2, 1, 1), ["Conv2D"]),
    "an empty kernel": ("group=3,pads=[1,1,1,1]", taps(0, 1, 1), ["Conv2D"]),
    "a stride": ("group=3,pads=[1,1,1,1],strides=[2,2]", taps(1, 1, 1), ["Conv2D"]),
    "a smaller map": ("group=3", taps(1, 1, 1), ["Conv2D"]),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_depthwise_convolutions_that_only_move_become_shifts(case):
    attributes, kernels, expected = case
    model = parse("float[1,3,6,5] x, float[3,1,3,3] w", f"y = Conv<{attributes}>(x, w)")
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernels, "w"))
    del model.graph.input[1]
    graph = fuse(lower(model, name="net"))
    assert kinds(graph) == expected
    generator = np.random.default_rng(3)
    feeds = {"x": generator.standard_normal((1, 3, 6, 5)).astype(np.float32)}
    np.testing.assert_array_equal(run_float(write_onnx(graph), feeds), run_float(model, feeds))
