"""Scales by the rules of TFLite, sums within 32 bits, and clustered layers that stay clustered."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor, nn

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, IsaFeatures
from edgefactor.export.ir import Graph, Port, constant
from edgefactor.export.ir import Tensor as GraphTensor
from edgefactor.export.numerics import choose_quantization
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.conv import Conv2D
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_reference, run_samples
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from tests.export.graphs import lowered, to_int8
from tests.export.ops.lowering import parse
from tests.pipeline.networks import give_statistics

VALUES = 16
MAP = "float[1,4,6,6] x"


def int8(body: str, ranges: dict[str, tuple[float, float]], inputs: str = MAP) -> Graph:
    graph = lower(parse(inputs, body), name="net")
    known = {tensor.name: ranges.get(tensor.name, (-1.0, 1.0)) for tensor in graph.activations}
    return validate(quantize(graph, known), "quantize", quantized=True)


def kinds(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.ops]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("y = MaxPool <kernel_shape = [2, 2]> (x)", ["x", "y"]),
        ("y = AveragePool <kernel_shape = [2, 2]> (x)", ["x", "y"]),
        ("r = Relu (x) y = Concat <axis = 1> (x, r)", ["x", "r", "y"]),
        (
            "r = Relu (x) p = MaxPool <kernel_shape = [1,1]> (r) y = Concat <axis = 1> (x, p)",
            ["x", "r", "p", "y"],
        ),
    ],
)
def test_operators_that_move_values_share_one_scale(body: str, names: list[str]) -> None:
    graph = int8(body, {"x": (-1.0, 3.0), "r": (0.0, 5.0)})
    widest = choose_quantization(-1.0, 5.0 if "r" in names else 3.0)
    for name in names:
        assert graph.tensors[name].quant == widest


@pytest.mark.parametrize(
    ("body", "scale", "zero_point"),
    [
        ("y = Sigmoid (x)", 1 / 256, -128),
        ("y = Tanh (x)", 1 / 128, 0),
        ("y = Softmax <axis = 1> (x)", 1 / 256, -128),
    ],
)
def test_scales_that_tflite_dictates(body: str, scale: float, zero_point: int) -> None:
    graph = int8(body, {}, "float[1,6] x")
    found = graph.tensors[graph.ops[-1].outputs[0]].quant
    assert (found.scale, found.zero_point) == (scale, zero_point)


def test_a_dictated_scale_is_not_forced_on_others() -> None:
    body = "s = Sigmoid (x) y = Concat <axis = 1> (x, s)"
    graph = int8(body, {"x": (-8.0, 8.0), "s": (0.0, 1.0), "y": (-8.0, 8.0)})
    assert kinds(graph) == ["Lookup", "Requantize", "Concat"]
    concat = graph.ops[-1]
    assert {graph.tensors[name].quant for name in (*concat.inputs, *concat.outputs)} == {
        choose_quantization(-8.0, 8.0)
    }
    assert graph.tensors["s"].quant.scale == 1 / 256


def test_a_dictated_scale_is_kept_where_nothing_is_joined() -> None:
    body = "s = Sigmoid (x) p = MaxPool <kernel_shape = [2, 2]> (s) y = Flatten (p)"
    graph = int8(body, {})
    assert "Requantize" not in kinds(graph)
    for op in graph.ops:
        for name in op.outputs:
            assert graph.tensors[name].quant.scale == 1 / 256


def conv_graph(weights: np.ndarray, bias: np.ndarray, **fields: object) -> Graph:
    out, depth = weights.shape[0], weights.shape[-1]
    tensors = {
        "x": GraphTensor(name="x", shape=(1, 1, 1, depth)),
        "y": GraphTensor(name="y", shape=(1, 1, 1, out)),
        "w": constant("w", weights.reshape(out, 1, 1, depth).astype(np.float32)),
        "b": constant("b", bias.astype(np.float32)),
    }
    op = Conv2D(name="c", inputs=("x", "w", "b"), outputs=("y",), **fields)  # type: ignore[arg-type]

    def ports(name: str) -> tuple[Port, ...]:
        shape = tensors[name].shape
        return (Port(tensor=name, name=name, shape=shape, perm=(0, 1, 2, 3)),)

    return Graph(name="n", tensors=tensors, ops=(op,), inputs=ports("x"), outputs=ports("y"))


def test_weights_are_symmetric_and_fill_their_range() -> None:
    weights = np.random.default_rng(0).normal(0, [[1.0], [1e-2], [50.0]], (3, 40))
    graph = quantize(conv_graph(weights, np.ones(3)), {"x": (-1.0, 1.0), "y": (-9.0, 9.0)})
    codes = np.asarray(graph.tensors["w"].values, np.int64).reshape(3, -1)
    np.testing.assert_array_equal(np.abs(codes).max(axis=1), 127)
    scales = np.array(graph.tensors["w"].quant.scales)
    np.testing.assert_allclose(codes * scales[:, None], weights, atol=scales.max() * 0.501)
    assert graph.tensors["w"].quant.zero_point == 0
    bias = graph.tensors["b"]
    np.testing.assert_allclose(
        bias.quant.scales, scales * graph.tensors["x"].quant.scale, rtol=1e-6
    )


@pytest.mark.parametrize("width", [0, 1, 4], ids=["free", "values", "vectors of 4"])
@pytest.mark.parametrize("bias", [0.0, 3.0, -250.0])
def test_dead_channels_keep_their_bias(width: int, bias: float) -> None:
    generator = np.random.default_rng(0)
    clustered = width > 0
    if width == 4:
        table = generator.normal(0, 0.5, (VALUES, width))
        weights = table[generator.integers(0, VALUES, (6, 16))].reshape(6, 64)
    else:
        weights = generator.choice(np.linspace(-1, 1, VALUES), (6, 64))
    weights[1] = 0.0
    weights[2] *= 1e-9
    weights[3] *= 1e-30
    fields = {"channel_scale": (1.0,) * 6} if clustered else {}
    if clustered:
        weights[2:4] = weights[1]
    graph = quantize(
        conv_graph(weights, np.full(6, bias), **fields), {"x": (-1.0, 1.0), "y": (-300.0, 300.0)}
    )
    validate(graph, "quantize", quantized=True)
    biases = np.asarray(graph.tensors["b"].values, np.int64)
    # The scale is rounded to float32 after the limit was applied.
    assert np.abs(biases).max() <= 2**22 * (1 + 1e-6)
    # No channel keeps the others from the fast kernels.
    code = ops.family_of(graph.ops[0]).layer_code(
        graph.ops[0], graph, CTarget(features=IsaFeatures(dsp=True, unaligned=True))
    )
    assert code.calls[0].function.endswith("_dsp")
    for x in (-128, 127):
        codes = run_reference(graph, {"x": np.full((1, 1, 1, 64), x, np.int8)})["y"]
        (real,) = decode_outputs(graph, {"y": codes[None]})
        np.testing.assert_allclose(real.reshape(-1)[1:4], bias, atol=2.4)
    if clustered:
        vectors = np.asarray(graph.tensors["w"].values).reshape(-1, width)
        assert len(np.unique(vectors, axis=0)) <= VALUES


# -- weights that take few values ---------------------------------------------------------------


def cluster(weights: Tensor, seed: int = 0) -> None:
    """Replace weights by the nearest of 16 of them, in place."""
    generator = torch.Generator().manual_seed(seed)
    flat = weights.detach().reshape(-1)
    table = flat[torch.randperm(flat.numel(), generator=generator)[:VALUES]]
    nearest = (flat.reshape(-1, 1) - table).abs().argmin(dim=1)
    weights.data = table[nearest].reshape(weights.shape)


def clustered(module: nn.Module) -> nn.Module:
    for index, layer in enumerate(module.modules()):
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            cluster(layer.weight, index)
    return module


def positive_scales(module: nn.Sequential) -> nn.Sequential:
    """Statistics that training would leave; every channel's factor is positive."""
    return give_statistics(module)


def with_dead_channels() -> nn.Module:
    module = give_statistics(nn.Sequential(nn.Conv2d(8, 32, 3), nn.BatchNorm2d(32), nn.ReLU()))
    norm = module[1]
    norm.weight.data[[3, 7, 20]] = 0.0
    norm.weight.data[9] = 1e-20
    return module


class RecordedScales(nn.Module):
    """Weights that share their values up to a factor a channel, which a buffer records."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 32, 3)
        cluster(self.conv.weight)
        factors = torch.rand(32, generator=torch.Generator().manual_seed(1)) + 0.2
        self.conv.weight.data *= factors.reshape(-1, 1, 1, 1)
        self.conv.register_buffer("weight_scale", factors)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


IMAGE, LINE = (1, 8, 6, 6), (1, 8, 20)
CLUSTERED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU()), IMAGE),
    "1-D": (lambda: nn.Sequential(nn.Conv1d(8, 32, 5), nn.ReLU()), LINE),
    "dense": (lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 24)), (1, 64)),
    "batch norm folded": (
        lambda: positive_scales(
            nn.Sequential(nn.Conv2d(8, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 3))
        ),
        IMAGE,
    ),
    "batch norm after a dense layer": (
        lambda: positive_scales(nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32))),
        (1, 64),
    ),
    "columns in another order": (
        lambda: nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 24)),
        IMAGE,
    ),
    "columns in another order, batch norm folded": (
        lambda: positive_scales(
            nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(256, 24), nn.BatchNorm1d(24))
        ),
        IMAGE,
    ),
    "dead channels": (with_dead_channels, IMAGE),
}


@pytest.mark.parametrize("name", [*CLUSTERED, "recorded scales"])
def test_clustered_layers_arrive_clustered(name: str) -> None:
    torch.manual_seed(0)
    if name == "recorded scales":
        module, shape = RecordedScales(), IMAGE
    else:
        make, shape = CLUSTERED[name]
        module = clustered(make())
    graph = to_int8(lowered(module.eval(), shape).graph)
    layers = [op for op in graph.ops if isinstance(op, Conv2D)]
    assert layers
    model = schema.ModelT.InitFromPackedBuf(write_tflite(graph), 0)
    in_tflite = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    in_onnx = [
        array
        for array in map(onnx.numpy_helper.to_array, write_onnx(graph).graph.initializer)
        if array.dtype == np.int8 and array.ndim == 4
    ]
    for op in layers:
        codes = graph.tensors[op.inputs[1]].values
        assert len(np.unique(codes)) <= VALUES
        raw = model.buffers[in_tflite[op.inputs[1]].buffer].data
        assert len(np.unique(np.array(raw, np.uint8).view(np.int8))) <= VALUES
        wanted = np.transpose(codes, (0, 3, 1, 2))
        assert any(
            array.shape == wanted.shape and np.array_equal(array, wanted) for array in in_onnx
        )
        for features in (IsaFeatures(), IsaFeatures(dsp=True, unaligned=True)):
            target = CTarget(features=features, optimize="size")
            code = ops.family_of(op).layer_code(op, graph, target)
            assert (code.encoding, code.bits) == ("codebook", 4)
            assert code.distinct_values <= VALUES
            assert code.weight_bytes <= codes.size // 2 + 16 + 64


@pytest.mark.parametrize("name", ["batch norm folded", "dead channels"])
def test_clustered_layers_compute_the_same(name: str) -> None:
    make, shape = CLUSTERED[name]
    torch.manual_seed(0)
    module = clustered(make()).eval()
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    graph = to_int8(lowered(module, shape).graph, [x])
    (found,) = decode_outputs(graph, run_samples(graph, encode_inputs(graph, [x])))
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    step = graph.tensors[graph.outputs[0].tensor].quant.scale
    np.testing.assert_allclose(found, expected, atol=8 * step)


def test_free_weights_keep_a_scale_a_channel() -> None:
    torch.manual_seed(0)
    graph = to_int8(lowered(nn.Sequential(nn.Conv2d(8, 16, 3)), IMAGE).graph)
    (op,) = [op for op in graph.ops if isinstance(op, Conv2D)]
    codes = np.asarray(graph.tensors[op.inputs[1]].values, np.int64).reshape(16, -1)
    np.testing.assert_array_equal(np.abs(codes).max(axis=1), 127)
