"""Elementwise ONNX nodes in every layout, lowered and compared with ONNX Runtime."""

import numpy as np
import onnx
import pytest

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.ir import Graph
from edgefactor.export.numerics import dequantize
from edgefactor.export.numerics import quantize as quantize_codes
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.lookup import Lookup
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from tests.export.ops.lowering import kinds, parse, run_float
from tests.export.ops.oracles import run_litert, run_tflm

#: Covers every value of these small models.
RANGE = (-8.0, 8.0)

CONV = "c = Conv <kernel_shape = [1, 1]> (x, w)\n"


def with_conv(body: str, inputs: str = "float[1,3,4,5] x") -> onnx.ModelProto:
    """A model whose ``c`` [1, 6, 4, 5] is stored channels last."""
    model = parse(f"{inputs}, float[6,3,1,1] w", CONV + body)
    return freeze(model, "w")


def freeze(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """Make inputs of a model constant."""
    generator = np.random.default_rng(7)
    for info in [info for info in model.graph.input if info.name in names]:
        shape = [axis.dim_value for axis in info.type.tensor_type.shape.dim]
        data = generator.uniform(0.6, 1.0, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(data, info.name))
        model.graph.input.remove(info)
    return model


def check_lowering(model: onnx.ModelProto) -> Graph:
    """Compare the float Graph with the model and the int8 Graph's runtimes with each other."""
    graph = validate(lower(model, name="net"), "lower")
    generator = np.random.default_rng(1)
    feeds = {p.name: generator.uniform(-1.5, 1.5, p.shape).astype(np.float32) for p in graph.inputs}
    expected = run_float(model, feeds)
    np.testing.assert_allclose(run_float(write_onnx(graph), feeds), expected, rtol=1e-5, atol=1e-6)
    ranges = {tensor.name: RANGE for tensor in graph.activations}
    int8 = validate(quantize(graph, ranges), "quantize", quantized=True)
    codes = {}
    for port in int8.inputs:
        tensor = int8.tensors[port.tensor]
        stored = port.to_graph(feeds[port.name], tensor.shape)
        codes[tensor.name] = quantize_codes(stored, tensor.quant)
    (last,) = int8.outputs
    result = run_reference(int8, codes)[last.tensor]
    real = last.from_graph(dequantize(result, int8.tensors[last.tensor].quant))
    assert np.abs(real - expected).max() < 0.25
    file = write_tflite(int8)
    np.testing.assert_array_equal(run_litert(file, codes), result)
    ordered = [codes[port.tensor] for port in int8.inputs]
    np.testing.assert_array_equal(run_tflm(file, ordered), result)
    return graph


ONE_INPUT = [
    "y = Relu(x)",
    "y = LeakyRelu<alpha = 0.2>(x)",
    "y = HardSigmoid<alpha = 0.1666667, beta = 0.5>(x)",
    "y = HardSwish(x)",
    "y = Abs(x)",
    "y = Neg(x)",
    "low = Constant <value_float = -1.0> ()\n y = Clip(x, low)",
    "low = Constant <value_float = -1.0> ()\n high = Constant <value_float = 2.0> ()\n"
    " y = Clip(x, low, high)",
    "y = Sigmoid(x)",
    "y = Tanh(x)",
]


@pytest.mark.parametrize("body", ONE_INPUT)
@pytest.mark.parametrize("shape", ["1,12", "1,3,4", "1,3,4,5"])
def test_one_input(body: str, shape: str) -> None:
    assert kinds(check_lowering(parse(f"float[{shape}] x", body))) == ["Lookup"]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", ["1", "6,1,1", "1,6,1,1", "1,1,4,5", "4,5", "1,6,4,5", "5"])
def test_constant_beside_channels_last(kind: str, shape: str) -> None:
    model = with_conv(f"y = {kind}(c, k)", f"float[1,3,4,5] x, float[{shape}] k")
    graph = check_lowering(freeze(model, "k"))
    expected = "Mul" if kind == "Div" else kind
    assert kinds(graph) == ["Conv2D", expected]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize(
    ("shape", "moved"),
    [
        ("1,6,4,5", True),
        ("1,6,1,1", False),
        ("6,1,1", False),
        ("4,5", False),
        ("1,1,4,5", False),
        ("6,4,5", True),
        ("1", False),
    ],
)
def test_activation_beside_channels_last(kind: str, shape: str, moved: bool) -> None:
    model = with_conv(f"y = {kind}(k, c)", f"float[1,3,4,5] x, float[{shape}] k")
    assert ("Transpose" in kinds(check_lowering(model))) == moved


def test_constant_first() -> None:
    graph = check_lowering(freeze(parse("float[1,3,4] x, float[1] k", "y = Sub(k, x)"), "k"))
    assert kinds(graph) == ["Sub"]
    assert graph.tensors[graph.ops[0].inputs[0]].data is not None


def test_both_operands_broadcast() -> None:
    check_lowering(parse("float[1,6,1,5] a, float[1,6,4,1] b", "y = Add(a, b)"))
    check_lowering(parse("float[1,1,5] a, float[1,2,4,1] b", "y = Mul(a, b)"))


def test_sequence_of_rank_3_beside_a_convolution() -> None:
    model = parse(
        "float[1,3,8] x, float[6,3,1] w, float[1,6,1] g, float[6,1] k",
        "c = Conv <kernel_shape = [1]> (x, w)\n m = Mul(c, g)\n y = Add(m, k)",
    )
    assert "Transpose" not in kinds(check_lowering(freeze(model, "w", "k")))


@pytest.mark.parametrize("slopes", ["6,1,1", "1", "1,6,1,1"])
def test_prelu(slopes: str) -> None:
    model = with_conv("y = PRelu(c, k)", f"float[1,3,4,5] x, float[{slopes}] k")
    graph = check_lowering(freeze(model, "k"))
    assert kinds(graph) == ["Conv2D", "Lookup" if slopes == "1" else "PRelu"]


def test_clip_without_limits_is_no_clip() -> None:
    graph = check_lowering(parse("float[1,6] x", "y = Clip(x)"))
    (op,) = graph.ops
    assert isinstance(op, Lookup) and op.low is None and op.high is None


@pytest.mark.parametrize(
    ("inputs", "axis"), [("float[1,12] x", -1), ("float[1,3,4] x", 1), ("float[1,3,4,5] x", 1)]
)
def test_softmax(inputs: str, axis: int) -> None:
    for kind in ("Softmax", "LogSoftmax"):
        check_lowering(parse(inputs, f"y = {kind}<axis = {axis}>(x)"))


def test_softmax_over_channels_of_a_convolution_moves_nothing() -> None:
    graph = check_lowering(with_conv("y = Softmax<axis = 1>(c)"))
    assert kinds(graph) == ["Conv2D", "Softmax"]


@pytest.mark.parametrize(
    "body", ["y = Div(x, z)", "y = PRelu(x, z)", "y = Clip(x, z)", "y = Div(z, x)"]
)
def test_unsupported(body: str) -> None:
    inputs = "float[1,6] x, float z" if "Clip" in body else "float[1,6] x, float[1,6] z"
    with pytest.raises(UnsupportedOperatorError, match="cannot be exported"):
        check_lowering(parse(inputs, body))
