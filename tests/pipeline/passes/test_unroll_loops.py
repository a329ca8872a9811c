"""Loops of a fixed number of rounds compute what ONNX Runtime computes of them whole."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.pipeline.passes.onnx_graph import infer_shapes
from edgefactor.pipeline.passes.unroll_loops import MOST_ROUNDS, unroll_loops
from edgefactor.pipeline.simplify import simplify
from edgefactor.pipeline.trace import TracedModel
from tests.export.graphs import lowered, to_int8
from tests.export.ops.every_runtime import check_everywhere

HEAD = '<ir_version: 9, opset_import: ["": 18]>'
SCAN = """
net (float[3] h, float[5,3] a, float[3,5] b) => (float[3] last, float[5,3] sums, float[3,5] seen)
<float[3] gain = {0.5, 1, 2}>
{
   [loop] last, sums, seen = Scan <num_scan_inputs = 2, scan_input_axes = [0, 1],
      scan_input_directions = [0, 1], scan_output_axes = [0, 1], scan_output_directions = [1, 0],
      body = one (float[3] s, float[3] x, float[3] y) => (float[3] t, float[3] u, float[3] v)
      <float[3] half = {0.5, 0.5, 0.5}>
      { d = Mul (s, half) e = Mul (x, gain) t = Add (d, e) u = Identity (t) v = Sub (t, y) }
   > (h, a, b)
}"""
LOOP = """
net (float[1,4] x) => (float[1,4] last, float[3,1,4] all)
<int64 rounds = {3}, float[1,4] step = {1, 2, 3, 4}>
{
   [loop] last, all = Loop <
      body = one (int64 i, bool before, float[1,4] s) => (bool after, float[1,4] t, float[1,4] u)
      { after = Identity (before) n = Cast <to = 1> (i) m = Mul (step, n)
        k = Add (s, m) t = Tanh (k) u = Neg (t) }
   > (rounds, , x)
}"""
#: The number of rounds is the first element of an input.
BY_DATA = LOOP.replace("(float[1,4] x)", "(float[1,4] x, int64 rounds)").replace(
    "int64 rounds = {3}, ", ""
)


def parsed(text: str) -> onnx.ModelProto:
    return infer_shapes(onnx.parser.parse_model(HEAD + text))


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


@pytest.mark.parametrize("text", [SCAN, LOOP], ids=["scan", "loop"])
def test_same_values(text: str) -> None:
    model = parsed(text)
    generator = np.random.default_rng(2)
    feeds = {
        port.name: generator.standard_normal(
            [d.dim_value for d in port.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for port in model.graph.input
    }
    result = infer_shapes(unroll_loops(model))
    assert not {node.op_type for node in result.graph.node} & {"Scan", "Loop"}
    onnx.checker.check_model(result, full_check=True)
    for found, wanted in zip(run(result, feeds), run(model, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_rounds_that_depend_on_the_data_are_refused() -> None:
    model = parsed(BY_DATA)
    assert unroll_loops(model).graph.node[0].op_type == "Loop"
    with pytest.raises(UnsupportedOperatorError, match="constant number of rounds") as caught:
        simplify(TracedModel(model=model))
    assert "node loop" in str(caught.value)


def test_so_many_rounds_are_refused() -> None:
    model = parsed(LOOP.replace("rounds = {3}", f"rounds = {{{MOST_ROUNDS + 1}}}"))
    assert unroll_loops(model).graph.node[0].op_type == "Loop"


class Recurrence(nn.Module):
    """h = a * h + b by PyTorch's own scan, which its exporter writes as ONNX's Scan."""

    def forward(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops.scan import scan

        def step(state: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.sigmoid(row) * state + row
            return state, state.clone()

        return scan(step, torch.zeros(1, 6), x.transpose(0, 1))[1]


def test_a_scan_of_pytorch_is_exact_everywhere(tmp_path: Path) -> None:
    graph = lowered(Recurrence(), (1, 5, 6)).graph
    integer = to_int8(graph)
    shape = integer.tensors[integer.inputs[0].tensor].shape
    codes = np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)
    check_everywhere(integer, {integer.inputs[0].tensor: codes}, tmp_path)
