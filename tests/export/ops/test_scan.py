"""Linear recurrences and running sums: exact in every runtime, and found in unrolled loops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgefactor.export.ir import DType, Quantization
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.scan import Scan
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from tests.export.graphs import lowered, to_int8
from tests.export.ops.every_runtime import activation, check_everywhere, graph_of, quantization
from tests.pipeline.onnx_runs import run_onnx

#: (steps, width, type of the decays or None for a running sum, type of the additions, reverse)
CASES = [
    (1, 1, DType.INT8, DType.INT8, False),
    (9, 5, DType.INT8, DType.INT8, False),
    (2, 16, DType.INT8, DType.INT16, True),
    (7, 3, DType.INT16, DType.INT8, False),
    (6, 4, DType.INT16, DType.INT16, True),
    (12, 3, None, DType.INT8, False),
    (5, 2, None, DType.INT16, True),
    (1, 4, None, DType.INT16, False),
]


def test_every_runtime(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    tensors, ops, inputs = [], [], {}
    for number, (steps, width, decay, addition, reverse) in enumerate(CASES):
        names = []
        for role, dtype, reach in (("a", decay, 1.1), ("b", addition, 0.9)):
            if dtype is None:
                continue
            low, high = dtype.code_range
            wide = dtype is DType.INT16
            quant = (
                Quantization(scales=(2.0**-14,))
                if wide
                else quantization(2 * reach / 255, int(generator.integers(-128, 128)))
            )
            names.append(f"{role}{number}")
            tensors.append(activation(names[-1], (1, steps, 1, width), quant, dtype))
            codes = generator.integers(low, high + 1, (1, steps, 1, width))
            inputs[names[-1]] = codes.astype(str(dtype))
        # A small scale saturates some states.
        scale = Quantization(scales=(2.0 ** -(12 + number % 4),))
        op = Scan(name=f"y{number}", inputs=tuple(names), outputs=(f"y{number}",), reverse=reverse)
        ops.append((op, scale))
    graph = graph_of(ops, tensors, dtype=DType.INT16)
    found = check_everywhere(graph, inputs, tmp_path)
    codes = np.concatenate([found[op.outputs[0]].reshape(-1) for op in graph.ops])
    assert np.any(np.abs(codes.astype(int)) >= 32767)
    assert np.any(np.abs(codes.astype(int)) < 10000)


class Recurrence(nn.Module):
    """h = a * h + b over the second axis, as a loop."""

    def __init__(self, *, stacked: bool, start: bool = True) -> None:
        super().__init__()
        self.stacked, self.start = stacked, start

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        decay = torch.exp(-nn.functional.softplus(a))
        h = torch.zeros_like(b[:, 0]) if self.start else b[:, 0]
        states = [] if self.start else [h]
        for step in range(0 if self.start else 1, a.shape[1]):
            h = decay[:, step] * h + b[:, step]
            states.append(h)
        return torch.stack(states, 1) if self.stacked else h


class RunningSum(nn.Module):
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cumsum(a + b, self.axis)


@pytest.mark.parametrize(
    ("module", "scans"),
    [
        (Recurrence(stacked=True), 1),
        (Recurrence(stacked=False), 1),
        (Recurrence(stacked=True, start=False), 1),
        (RunningSum(1), 1),
        (RunningSum(-1), 1),
    ],
)
def test_loops_become_one_operator(module: nn.Module, scans: int) -> None:
    shape = (1, 12, 3, 4)
    stages = lowered(module, shape, shape)
    kinds = [type(op).__name__ for op in stages.graph.ops]
    assert kinds.count("Scan") == scans
    assert len(kinds) < 12
    generator = np.random.default_rng(1)
    pair = [generator.standard_normal(shape).astype(np.float32) for _ in range(2)]
    expected = module(*map(torch.from_numpy, pair)).numpy()
    (found,) = run_onnx(write_onnx(stages.graph), *pair)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    graph = to_int8(stages.graph, tuple(pair))
    values = run_samples(graph, encode_inputs(graph, pair))
    (real,) = decode_outputs(graph, values)
    noise = np.square(real.reshape(expected.shape) - expected).mean()
    assert noise < np.square(expected).mean() / 10**2.5
