"""Norms that PyTorch exports as several operators: one Normalize each, with the same values."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgefactor.export.ir import Graph
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.validate import validate
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.passes.fuse import fuse
from edgefactor.pipeline.simplify import simplify
from tests.pipeline.test_simplify import trace


class Function(nn.Module):
    """A function of the input and of a gain and an offset of one axis."""

    def __init__(self, function: Callable[..., Tensor], channels: int) -> None:
        super().__init__()
        self.function = function
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, channels))
        self.offset = nn.Parameter(torch.linspace(-1, 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.gain, self.offset)


def by_hand(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).pow(2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-6) * gain + offset


def by_var(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    variance = x.var(-1, keepdim=True, unbiased=False)
    return gain * ((x - x.mean(-1, keepdim=True)) * torch.rsqrt(variance + 1e-6))


def over_channels(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).square().mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + 1e-6)
    return gain[:, None, None] * x + offset[:, None, None]


def rms(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * gain


def two_factors(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    return (by_hand(x, gain, offset) + offset) * 0.5


def another_divisor(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def affine(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.linspace(0.5, 1.5, parameter.numel()).reshape(parameter.shape))
    return norm


ROWS, MAP = (1, 5, 8), (1, 4, 5, 6)
#: Name -> (network, input shape, operators that compute).
CASES: dict[str, tuple[nn.Module, tuple[int, ...], list[str]]] = {
    "layer norm": (affine(nn.LayerNorm(8)), ROWS, ["Normalize"]),
    "layer norm of two axes": (affine(nn.LayerNorm([5, 8])), (1, 3, 5, 8), ["Normalize"]),
    "by hand": (Function(by_hand, 8), ROWS, ["Normalize"]),
    "by var": (Function(by_var, 8), ROWS, ["Normalize"]),
    "over channels": (Function(over_channels, 4), MAP, ["Normalize"]),
    "two factors": (Function(two_factors, 8), ROWS, ["Normalize"]),
    "RMS norm": (affine(nn.RMSNorm(8)), ROWS, ["Normalize"]),
    "RMS norm by hand": (Function(rms, 8), ROWS, ["Normalize"]),
    "group norm": (affine(nn.GroupNorm(2, 4)), MAP, ["Normalize"]),
    "group norm of one group": (affine(nn.GroupNorm(1, 4)), MAP, ["Normalize"]),
    "instance norm": (affine(nn.InstanceNorm2d(4, affine=True)), MAP, ["Normalize"]),
    "instance norm of rows": (nn.InstanceNorm1d(4), (1, 4, 6), ["Normalize"]),
    "group norm of channels": (
        nn.Sequential(nn.Conv2d(4, 6, 1), affine(nn.GroupNorm(3, 6)), nn.Conv2d(6, 2, 1)),
        MAP,
        ["Conv2D", "Normalize", "Conv2D"],
    ),
}


def lowered(network: nn.Module, shape: tuple[int, ...]) -> Graph:
    model = simplify(trace(network.eval(), shape)).model
    return fuse(validate(lower(model, name="net"), "lower"))


def compare(graph: Graph, network: nn.Module, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(1, 2, shape).astype(np.float32)
    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {graph.inputs[0].name: x})
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_one_operator(name: str) -> None:
    network, shape, kinds = CASES[name]
    graph = lowered(network, shape)
    moves = ("Reshape", "Transpose")
    assert [type(op).__name__ for op in graph.ops if type(op).__name__ not in moves] == kinds
    compare(graph, network, shape)


def test_what_only_looks_like_a_norm_stays() -> None:
    network = Function(another_divisor, 8)
    graph = lowered(network, ROWS)
    assert "Normalize" not in [type(op).__name__ for op in graph.ops]
    compare(graph, network, ROWS)
