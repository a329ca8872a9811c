"""Convolutions and dense layers: NumPy = LiteRT's reference = TFLM = C, element by element."""

import zlib
from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ir import DType, Graph, Port, Quantization, Tensor, constant
from edgefactor.export.numerics import float32
from edgefactor.export.onnx_writer import codes_to_graph, quantized_name, write_onnx
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ops.parts.layer_weights import layer_multipliers
from edgefactor.export.ops.parts.windows import same_padding, window_output
from edgefactor.export.ports import decode_outputs
from edgefactor.export.reference import run_samples
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.quantize import quantize
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.tflm_runner import TflmRunner
from tests.export.bundles import check_everywhere, random_samples
from tests.tools import require_tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A layer; ``out_range`` is the width of the output's codes over that of the sums."""

    map: tuple[int, int, int]
    out: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    activation: str = "none"
    zero_points: tuple[int, int] = (-3, 5)
    out_range: float = 1.0


ONES = (1, 1, 1, 1)
CASES = {
    "one of everything": Case(map=(1, 1, 1), out=1),
    "pointwise": Case(map=(3, 4, 5), out=6),
    "3x3": Case(map=(6, 7, 3), out=4, kernel=(3, 3)),
    "3x3 torch padding": Case(map=(6, 7, 3), out=4, kernel=(3, 3), padding=ONES),
    "3x3 stride 2, SAME": Case(
        map=(7, 7, 4), out=5, kernel=(3, 3), stride=(2, 2), padding=ONES, activation="relu"
    ),
    "3x3 stride 2, torch differs from SAME": Case(
        map=(8, 8, 4), out=5, kernel=(3, 3), stride=(2, 2), padding=ONES, activation="relu6"
    ),
    "SAME, odd one behind": Case(
        map=(8, 8, 4), out=5, kernel=(3, 3), stride=(2, 2), padding=(0, 0, 1, 1)
    ),
    "SAME, odd one in front": Case(
        map=(8, 8, 4), out=5, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 0, 0)
    ),
    "uneven padding": Case(map=(4, 3, 2), out=3, kernel=(3, 2), padding=(2, 0, 1, 3)),
    "padding wider than the map": Case(map=(1, 1, 2), out=3, kernel=(5, 5), padding=(2, 2, 2, 2)),
    "dilation": Case(map=(9, 9, 3), out=4, kernel=(3, 3), dilation=(2, 3), padding=(2, 3, 2, 3)),
    "groups": Case(map=(5, 5, 8), out=12, kernel=(3, 3), groups=4, padding=ONES),
    "groups, stride": Case(map=(6, 6, 6), out=4, kernel=(2, 2), groups=2, stride=(2, 1)),
    "depthwise": Case(map=(6, 5, 7), out=7, kernel=(3, 3), groups=7, padding=ONES),
    "depthwise stride 2": Case(
        map=(8, 8, 4), out=4, kernel=(3, 3), groups=4, stride=(2, 2), padding=ONES
    ),
    "depthwise multiplier 2": Case(map=(5, 5, 3), out=6, kernel=(3, 3), groups=3, padding=ONES),
    "depthwise dilation": Case(
        map=(9, 9, 3), out=3, kernel=(3, 3), groups=3, dilation=(2, 2), padding=(2, 2, 2, 2)
    ),
    "batch norm": Case(map=(3, 3, 5), out=5, groups=5, activation="relu"),
    "1-D": Case(map=(1, 20, 4), out=6, kernel=(1, 5), padding=(0, 2, 0, 2)),
    "1-D stride, uneven": Case(
        map=(1, 21, 3), out=4, kernel=(1, 4), stride=(1, 2), padding=(0, 2, 0, 0)
    ),
    "1-D depthwise": Case(map=(1, 11, 4), out=4, kernel=(1, 3), groups=4, padding=(0, 1, 0, 1)),
    "dense": Case(map=(1, 1, 64), out=10),
    "dense relu6": Case(map=(1, 1, 37), out=13, activation="relu6"),
    "dense over rows": Case(map=(5, 1, 16), out=7, activation="relu"),
    "one channel": Case(map=(6, 6, 1), out=5, kernel=(3, 3), padding=ONES),
    "lowest zero points": Case(
        map=(5, 5, 4), out=4, kernel=(3, 3), padding=ONES, zero_points=(-128, -128)
    ),
    "highest zero points": Case(
        map=(5, 5, 4), out=4, kernel=(3, 3), padding=ONES, zero_points=(127, 127)
    ),
    "relu6 at the lowest": Case(
        map=(4, 4, 4), out=4, activation="relu6", zero_points=(127, -128), out_range=0.3
    ),
    "relu at the highest": Case(map=(4, 4, 4), out=4, activation="relu", zero_points=(-128, 127)),
    "shift to the left": Case(map=(2, 2, 1), out=3, out_range=2.0**-24),
    "shift 0": Case(map=(2, 2, 1), out=3, out_range=2.0**-7),
    "tiny multiplier": Case(map=(3, 3, 4), out=4, out_range=2.0**12),
    "multiplier of 0": Case(map=(3, 3, 4), out=4, out_range=2.0**30),
}


#: Extreme multipliers and clamps leave two codes or one.
FLAT = {"multiplier of 0", "tiny multiplier", "shift 0", "shift to the left", "relu at the highest"}


def add_layer(
    name: str, case: Case, tensors: dict[str, Tensor], *, batch: int = 1
) -> tuple[Conv2D, Tensor, Tensor]:
    """A layer ``name`` with its tensors; its input and output have ``name`` in theirs."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    depth = case.map[2] // case.groups
    height, width = window_output(case.map, case.kernel, case.stride, case.dilation, case.padding)
    codes = generator.integers(-127, 128, (case.out, *case.kernel, depth)).astype(np.int8)
    in_scale = float32(0.02)
    scales = [float32(s) for s in 0.01 * generator.uniform(0.3, 1.0, case.out)]
    bias = generator.integers(-4000, 4000, case.out).astype(np.int32)
    spread = 128 * 127 * np.sqrt(depth * case.kernel[0] * case.kernel[1])
    out_scale = float32(in_scale * 0.01 * spread / 128 * case.out_range)
    x = Tensor(
        name=f"{name}.x",
        shape=(batch, *case.map),
        dtype=DType.INT8,
        quantization=Quantization(scales=(in_scale,), zero_point=case.zero_points[0]),
    )
    y = Tensor(
        name=f"{name}.y",
        shape=(batch, height, width, case.out),
        dtype=DType.INT8,
        quantization=Quantization(scales=(out_scale,), zero_point=case.zero_points[1]),
    )
    weights = constant(f"{name}.w", codes, Quantization(scales=tuple(scales), axis=0))
    offsets = constant(
        f"{name}.b", bias, Quantization(scales=tuple(float32(in_scale * s) for s in scales), axis=0)
    )
    tensors.update({t.name: t for t in (x, y, weights, offsets)})
    op = Conv2D(
        name=name,
        inputs=(x.name, weights.name, offsets.name),
        outputs=(y.name,),
        stride=case.stride,
        dilation=case.dilation,
        padding=case.padding,
        groups=case.groups,
        activation=case.activation,
    )
    return op, x, y


def port(tensor: Tensor) -> Port:
    return Port(tensor=tensor.name, name=tensor.name, shape=tensor.shape, perm=(0, 1, 2, 3))


def network(cases: dict[str, Case]) -> Graph:
    """All layers side by side, each with an input and an output of its own."""
    tensors: dict[str, Tensor] = {}
    layers = [add_layer(name, case, tensors) for name, case in cases.items()]
    graph = Graph(
        name="layers",
        tensors=tensors,
        ops=tuple(op for op, _, _ in layers),
        inputs=tuple(port(x) for _, x, _ in layers),
        outputs=tuple(port(y) for _, _, y in layers),
    )
    return validate(graph, "test", quantized=True)


@pytest.mark.parametrize("sanitize", [False, True])
def test_every_runtime_computes_the_same(tmp_path, sanitize: bool) -> None:
    require_tool("cc")
    expected = check_everywhere(network(CASES), tmp_path, sanitize=sanitize)
    # The table is worth little if outputs saturate or stay at the zero point.
    for name in CASES.keys() - FLAT:
        assert len(np.unique(expected[f"{name}.y"])) > 2, name


def test_onnxruntime_is_within_one_code() -> None:
    # It requantizes in float: a sum near a half goes to the other side.
    graph = network({n: c for n, c in CASES.items() if n != "shift to the left"})
    inputs = random_samples(graph, 2)
    expected = run_samples(graph, inputs)
    names = [p.tensor for p in graph.outputs]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        write_onnx(graph, extra_outputs=names).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    for index in range(2):
        feeds = {
            p.name: (
                inputs[p.tensor][index].astype(np.float32)
                - graph.tensors[p.tensor].quant.zero_point
            )
            * np.float32(graph.tensors[p.tensor].quant.scale)
            for p in graph.inputs
        }
        found = session.run([quantized_name(name) for name in names], feeds)
        for name, codes in zip(names, found, strict=True):
            codes = codes_to_graph(codes, graph.tensors[name])
            difference = np.abs(codes.astype(int) - expected[name][index])
            assert difference.max() <= 1, name
            assert np.mean(difference) < 0.05, name


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [("shift to the left", 1, 30), ("shift 0", -1, 0), ("multiplier of 0", 0, 0)],
)
def test_the_extreme_multipliers_are_extreme(name: str, lowest: int, highest: int) -> None:
    graph = network({name: CASES[name]})
    tensors = [graph.tensors[n] for n in graph.ops[0].inputs]
    output = graph.tensors[graph.ops[0].outputs[0]]
    multiplier, shift = layer_multipliers(tensors[0].quant.scale, tensors[1], output.quant.scale)
    assert lowest <= shift.min() <= shift.max() <= highest
    assert np.all(multiplier > 0) == (name != "multiplier of 0")


@pytest.mark.parametrize("name", ["3x3 stride 2, SAME", "groups", "depthwise multiplier 2", "1-D"])
def test_the_reference_is_pytorchs_convolution(name: str) -> None:
    # Real arithmetic on the dequantized numbers, rounded once; ours rounds twice.
    graph = network({name: CASES[name]})
    inputs = random_samples(graph)
    op = graph.ops[0]
    assert isinstance(op, Conv2D)
    x, weights, bias = (graph.tensors[n] for n in op.inputs)
    real = (inputs[x.name][:, 0] - np.float64(x.quant.zero_point)) * x.quant.scale
    factors = np.array(weights.quant.scales).reshape(-1, 1, 1, 1)
    top, left, bottom, right = op.padding
    padded = np.pad(real.transpose(0, 3, 1, 2), ((0, 0), (0, 0), (top, bottom), (left, right)))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(padded),
        torch.from_numpy((weights.values * factors).transpose(0, 3, 1, 2)),
        torch.from_numpy(bias.values * np.array(weights.quant.scales) * x.quant.scale),
        op.stride,
        0,
        op.dilation,
        op.groups,
    ).numpy()
    if op.activation == "relu":
        expected = np.maximum(expected, 0)
    (found,) = decode_outputs(graph, run_samples(graph, inputs))
    y = graph.tensors[op.outputs[0]].quant
    ends = [y.scale * (code - y.zero_point) for code in (-128, 127)]
    wanted = np.clip(expected.transpose(0, 2, 3, 1), *ends)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=y.scale * 0.502)


@st.composite
def layers(draw: st.DrawFn) -> Case:
    groups = draw(st.integers(1, 3))
    depth, per_group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (draw(st.integers(1, 9)) for _ in range(2))
    padding = draw(
        st.just(same_padding((height, width), kernel, stride, dilation))
        | st.tuples(*(st.integers(0, 3) for _ in range(4)))
    )
    height = max(height, span[0] - padding[0] - padding[2])
    width = max(width, span[1] - padding[1] - padding[3])
    return Case(
        map=(height, width, groups * depth),
        out=groups * per_group,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        groups=groups,
        activation=draw(st.sampled_from(["none", "relu", "relu6"])),
        zero_points=draw(st.tuples(st.integers(-128, 127), st.integers(-128, 127))),
        out_range=draw(st.floats(0.05, 4.0)),
    )


@settings(max_examples=40, deadline=None)
@given(layers())
def test_any_shape_in_litert_and_tflm(case: Case) -> None:
    graph = network({"layer": case})
    inputs = random_samples(graph)
    file = write_tflite(graph)
    expected = run_samples(graph, inputs)["layer.y"]
    for runner in (LiteRtRunner(file, reference=True), TflmRunner(file)):
        found = runner.run(inputs, ["layer.y"])["layer.y"]
        np.testing.assert_array_equal(found.reshape(expected.shape), expected, runner.name)


def test_sums_beyond_32_bits_are_refused() -> None:
    tensors = {
        "x": Tensor(name="x", shape=(1, 1, 1, 70_000)),
        "w": constant("w", np.ones((1, 1, 1, 70_000), np.float32)),
        "b": constant("b", np.zeros(1, np.float32)),
        "y": Tensor(name="y", shape=(1, 1, 1, 1)),
    }
    op = Conv2D(name="wide", inputs=("x", "w", "b"), outputs=("y",))
    graph = Graph(
        name="net",
        tensors=tensors,
        ops=(op,),
        inputs=(port(tensors["x"]),),
        outputs=(port(tensors["y"]),),
    )
    with pytest.raises(UnsupportedOperatorError) as caught:
        quantize(graph, {"x": (0.0, 1.0), "y": (0.0, 1.0)})
    assert "wide" in caught.value.where
