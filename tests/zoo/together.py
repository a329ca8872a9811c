"""Many small PyTorch modules as one: tracing takes a second however small the network."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ports import decode_outputs, encode_inputs
from edgefactor.export.reference import run_samples
from tests.export.graphs import to_int8

Shape = tuple[int, ...]
Real = NDArray[np.float32]


def leaves(result: object) -> list[Tensor]:
    """The tensors in what a module returns."""
    if isinstance(result, Tensor):
        return [result]
    assert isinstance(result, (list, tuple))
    return [tensor for item in result for tensor in leaves(item)]


class Together(nn.Module):
    """Modules side by side, each with an input of its own."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        results = [part(x) for part, x in zip(self.parts, inputs, strict=True)]
        return leaves(results)


def run_float(graph: Graph, inputs: Sequence[Real]) -> list[Real]:
    """A float Graph in ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {port.name: array for port, array in zip(graph.inputs, inputs, strict=True)}
    return session.run([port.name for port in graph.outputs], feeds)


def normal_inputs(shapes: Sequence[Shape]) -> list[Real]:
    """One sample."""
    generator = np.random.default_rng(4)
    return [generator.standard_normal(shape).astype(np.float32) for shape in shapes]


def steps_from_torch(
    module: nn.Module, graph: Graph, inputs: Sequence[Real]
) -> tuple[Graph, dict[str, Real], list[float]]:
    """Quantize a module's float Graph on a sample and compare both with PyTorch on it.

    The float Graph must give PyTorch's values.

    Returns:
        The int8 Graph, the codes of its inputs, and for each output the largest distance from
        PyTorch in steps of its scale.
    """
    with torch.no_grad():
        expected = [t.float().numpy() for t in leaves(module(*map(torch.from_numpy, inputs)))]
    for port, array, wanted in zip(graph.outputs, run_float(graph, inputs), expected, strict=True):
        assert array.shape == wanted.shape, port.name
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-5, err_msg=port.name)
    int8 = to_int8(graph, inputs)
    codes = encode_inputs(int8, inputs)
    real = decode_outputs(int8, run_samples(int8, codes))
    steps = []
    for port, array, wanted in zip(int8.outputs, real, expected, strict=True):
        distance = float(np.abs(array.reshape(wanted.shape) - wanted).max())
        steps.append(distance / int8.tensors[port.tensor].quant.scale)
    return int8, {name: array[0] for name, array in codes.items()}, steps
