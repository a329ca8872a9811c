"""A float Graph in PyTorch gives what ONNX Runtime gives, and gradients."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgefactor.export.onnx_writer import write_onnx
from edgefactor.pipeline.sharing_at_export.torch_network import TorchNetwork, torch_network
from tests.export.graphs import lowered

SAMPLES = 3


class Squeezed(nn.Module):
    """Depthwise, dilated and strided convolutions, a gate, two branches, uneven padding."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Hardswish())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.last = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(nn.functional.pad(x, (0, 1, 0, 1)))
        x = nn.functional.relu6(self.depthwise(x))
        both = torch.cat([x * self.gate(x), nn.functional.max_pool2d(x, 3, 1, 1)], dim=1)
        return torch.softmax(self.last(both.mean(dim=(2, 3))), dim=-1)


class Pooled(nn.Module):
    """Average pools whose padding takes part or not, in one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(4, 6, 5, padding=2), nn.LeakyReLU(0.1),
            nn.AvgPool1d(3, 2, 1, count_include_pad=False), nn.Conv1d(6, 4, 3), nn.Tanh(),
            nn.Flatten(), nn.Linear(4 * 6, 3), nn.PReLU(3), nn.GELU(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Sorted(nn.Module):
    """An operator that PyTorch does not run here."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.argmax(x, dim=1)


CASES = {"squeezed": (Squeezed, (1, 3, 9, 9)), "pooled": (Pooled, (1, 4, 16))}


def network(name: str) -> tuple[TorchNetwork, onnxruntime.InferenceSession, np.ndarray]:
    torch.manual_seed(1)
    module, shape = CASES[name]
    graph = lowered(module().eval(), shape).graph
    found = torch_network(graph)
    assert found is not None
    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inputs = np.random.default_rng(0).standard_normal((SAMPLES, *shape)).astype(np.float32)
    return found, session, inputs


@pytest.mark.parametrize("name", CASES)
def test_samples_side_by_side_are_those_of_onnx_runtime(name: str) -> None:
    found, session, inputs = network(name)
    (port,) = found.inputs
    output = session.get_outputs()[0].name
    (values,) = found.run({port: torch.from_numpy(inputs)}, [output], {})
    expected = np.stack([session.run(None, {port: sample})[0] for sample in inputs])
    np.testing.assert_allclose(values.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_every_layer_gets_a_gradient(name: str) -> None:
    found, _, inputs = network(name)
    changed = {
        constant: found.constants[constant].clone().requires_grad_()
        for weights, bias, _ in found.layers.values()
        for constant in (weights, bias)
    }
    (port,) = found.inputs
    values = found.run({port: torch.from_numpy(inputs)}, found.outputs, changed)
    sum(value.square().sum() for value in values).backward()
    assert len(changed) == 2 * len(found.layers) > 0
    assert all(v.grad is not None and bool(v.grad.abs().sum() > 0) for v in changed.values())


def test_what_is_compared_comes_before_the_softmax() -> None:
    found, _, inputs = network("squeezed")
    (port,) = found.inputs
    (values,) = found.run({port: torch.from_numpy(inputs)}, found.outputs, {})
    sums = values.reshape(SAMPLES, -1)
    assert float((sums.sum(dim=1) - 1).abs().max()) > 1e-3
    assert found.outputs == (found.layers["last"][2],)


def test_other_operators_are_not_run() -> None:
    assert torch_network(lowered(Sorted(), (1, 4)).graph) is None
