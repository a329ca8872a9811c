"""Attention as PyTorch exports it: which operators are left, and int8 results near float ones."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.export import numerics
from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.slice import Slice
from edgefactor.export.reference import run_reference
from edgefactor.export.tflite_writer import write_tflite
from edgefactor.export.validate import validate
from edgefactor.pipeline.calibrate import calibrate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.canonical import canonicalise
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.passes.onnx_graph import OnnxGraph
from edgefactor.pipeline.quantize import quantize
from edgefactor.pipeline.simplify import simplify
from edgefactor.runtime.litert_runner import LiteRtRunner
from edgefactor.runtime.tflm_runner import TflmRunner
from tests.export.ops.lowering import parse, run_float
from tests.pipeline.test_simplify import trace

WIDTH, HEADS, TOKENS = 16, 2, 6
SHAPE = (1, TOKENS, WIDTH)
MOVES = ("Reshape", "Transpose")
ATTENTION = ["MatMul", "Softmax", "MatMul"]
MASKED = ["MatMul", "Add", "Softmax", "MatMul"]


class Heads(nn.Module):
    """Attention by a function of queries, keys and values."""

    def __init__(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.attend = attend
        self.project = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.project(x).reshape(1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        return self.attend(*qkv.unbind(0)).transpose(1, 2).reshape(SHAPE)


class Layer(nn.Module):
    """nn.MultiheadAttention."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, x, x, **self.options)[0]


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1) @ v


def masked_by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(-2, -1) * 8**-0.5
    hidden = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v


def by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k), dim=-1)
    return torch.einsum("bhqk,bhkd->bhqd", scores, v)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


TRIANGLE = torch.full((TOKENS, TOKENS), float("-inf")).triu(1)
QKV = ["Conv2D"] * 3
#: Name -> network and the operators that compute.
CASES: dict[str, tuple[nn.Module, list[str]]] = {
    "by hand": (Heads(by_hand), [*QKV, *ATTENTION]),
    "einsum": (Heads(by_einsum), [*QKV, *ATTENTION]),
    "masked_fill": (Heads(masked_by_hand), [*QKV, *MASKED]),
    "SDPA": (Heads(F.scaled_dot_product_attention), [*QKV, *ATTENTION]),
    "causal SDPA": (Heads(causal), [*QKV, *MASKED]),
    "MultiheadAttention": (Layer(need_weights=False), [*QKV, *ATTENTION, "Conv2D"]),
    "MultiheadAttention with weights": (Layer(), [*QKV, *ATTENTION, "Conv2D"]),
    "MultiheadAttention, mask": (
        Layer(need_weights=False, attn_mask=TRIANGLE),
        [*QKV, *MASKED, "Conv2D"],
    ),
    "encoder layer": (
        nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True),
        [*QKV, *ATTENTION, "Conv2D", "Add", "Normalize", "Conv2D", "Conv2D", "Add", "Normalize"],
    ),
    "encoder layer that normalizes first": (
        nn.TransformerEncoderLayer(
            WIDTH, HEADS, 24, activation="gelu", batch_first=True, norm_first=True
        ),
        [
            "Normalize", *QKV, *ATTENTION, "Conv2D", "Add",
            "Normalize", "Conv2D", "Table", "Conv2D", "Add",
        ],
    ),
}  # fmt: skip


def computing(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.ops if type(op).__name__ not in MOVES]


def integer_results(graph: Graph, x: np.ndarray) -> tuple[Graph, np.ndarray]:
    """Quantize a Graph on its input, run it in NumPy and both interpreters; its real output."""
    feeds = {graph.inputs[0].name: x}
    int8 = quantize(graph, calibrate(graph, [feeds], method="min-max"))
    validate(int8, "quantize", quantized=True)
    port = int8.inputs[0]
    tensor = int8.tensors[port.tensor]
    codes = {tensor.name: numerics.quantize(port.to_graph(x, tensor.shape), tensor.quant)}
    expected = run_reference(int8, codes)
    file = write_tflite(int8)
    samples = {name: array[None] for name, array in codes.items()}
    names = [op.outputs[0] for op in int8.ops]
    for runner in (LiteRtRunner(file), TflmRunner(file)):
        found = runner.run(samples, names)
        for name in names:
            np.testing.assert_array_equal(
                found[name].reshape(expected[name].shape), expected[name], f"{runner.name}: {name}"
            )
    last = int8.outputs[0]
    real = numerics.dequantize(expected[last.tensor], int8.tensors[last.tensor].quant)
    return int8, last.from_graph(real.reshape(1, *real.shape[1:]))


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_and_its_values(name: str) -> None:
    network, kinds = CASES[name]
    torch.manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)
    network.eval()
    graph = fuse(validate(lower(simplify(trace(network, SHAPE)).model, name="net"), "lower"))
    assert sorted(computing(graph)) == sorted(kinds)
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    session = onnxruntime.InferenceSession(write_onnx(graph).SerializeToString())
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    (found,) = session.run(None, {graph.inputs[0].name: x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    _, real = integer_results(graph, x)
    noise = float(np.square(real.reshape(expected.shape) - expected).sum())
    assert 10 * np.log10(float(np.square(expected).sum()) / noise) > 25


def test_no_transpose_is_computed_for_heads() -> None:
    network = Heads(F.scaled_dot_product_attention).eval()
    graph = fuse(lower(simplify(trace(network, SHAPE)).model, name="net"))
    assert "Transpose" not in [type(op).__name__ for op in graph.ops]


def test_what_a_mask_hides_weighs_less_than_a_code() -> None:
    """Uniform scores of a narrow range: what is hidden would show if the margin were too small."""
    body = "s = Add(x, m)\ny = Softmax<axis=-1>(s)"
    model = parse("float[1,40,40] x", body)
    mask = np.triu(np.full((40, 40), -np.inf, np.float32), 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(mask, "m"))
    edited = OnnxGraph(onnx.shape_inference.infer_shapes(model))
    canonicalise(edited)
    graph = fuse(lower(edited.to_model(), name="net"))
    x = np.random.default_rng(1).uniform(-0.2, 0.2, (1, 40, 40)).astype(np.float32)
    int8, found = integer_results(graph, x)
    (add,) = [op for op in int8.ops if type(op).__name__ == "Add"]
    # Not wrecked: a few codes a unit, not one for all.
    assert int8.tensors[add.outputs[0]].quant.scale < 0.05
    expected = run_float(model, {"x": x})
    # Half a step of the scores, and half a code.
    assert np.abs(found - expected).max() <= 2 / 256
    assert np.all(found[:, mask == -np.inf] == 0)


def test_slices_with_other_readers_stay() -> None:
    body = "c = MatMul(x, w)\na, b = Split<axis=2>(c, parts)\nr = Relu(c)\ny = Concat<axis=2>(a, r)"
    model = parse("float[1,5,4] x", f"parts = Constant<value_ints=[2,4]>()\n{body}")
    weights = np.random.default_rng(2).standard_normal((4, 6)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    graph = fuse(lower(onnx.shape_inference.infer_shapes(model), name="net"))
    assert any(isinstance(op, Slice) for op in graph.ops)


def test_slices_of_more_axes_than_tflite_micro_takes() -> None:
    body = "y = Slice(x, b, e, a, s)"
    numbers = "b = Constant<value_ints=[1,2]>()\ne = Constant<value_ints=[3,3]>()\n"
    numbers += "a = Constant<value_ints=[2,4]>()\ns = Constant<value_ints=[1,1]>()\n"
    model = parse("float[1,2,3,2,4,2] x", numbers + body)
    graph = lower(model, name="net")
    x = np.random.default_rng(3).standard_normal((1, 2, 3, 2, 4, 2)).astype(np.float32)
    _, found = integer_results(graph, x)
    assert np.abs(found - x[:, :, 1:3, :, 2:3]).max() < 0.02
