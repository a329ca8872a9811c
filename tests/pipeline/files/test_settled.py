"""Parametrizations and quantization-aware training leave plain weights, the same results."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from edgefactor.errors import ModelError
from edgefactor.pipeline.files.settled import settle
from edgefactor.pipeline.load import load
from tests.pipeline import networks


class Symmetric(nn.Module):
    """A weight that is its upper triangle, mirrored."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


class Failing(nn.Module):
    """Registered unsafely it is first called when the weight is read."""

    def forward(self, weight: Tensor) -> Tensor:
        raise ValueError("no such weight")


def parametrized() -> nn.Sequential:
    torch.manual_seed(3)
    symmetric = nn.Linear(6, 6)
    parametrize.register_parametrization(symmetric, "weight", Symmetric())
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(6, 6)),
        parametrizations.orthogonal(nn.Linear(6, 6)),
        parametrizations.spectral_norm(nn.Linear(6, 6)),
        symmetric,
    ).eval()


def in_quantization_aware_training() -> nn.Module:
    from torch.ao import quantization

    torch.manual_seed(4)
    network = nn.Sequential(
        quantization.QuantStub(), nn.Conv2d(1, 4, 3), nn.ReLU(), quantization.DeQuantStub()
    ).train()
    network.qconfig = quantization.get_default_qat_qconfig("qnnpack")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared: nn.Module = quantization.prepare_qat(network)
    prepared(torch.randn(2, 1, 8, 8))
    return prepared


def test_parametrizations_become_the_weights_they_compute() -> None:
    network = parametrized()
    x = torch.randn(5, 6)
    expected = network(x)
    assert settle(network, "net.pt") == ()
    assert not any(parametrize.is_parametrized(part) for part in network.modules())
    torch.testing.assert_close(network(x), expected)


def test_state_dict_of_a_parametrized_network(tmp_path: Path) -> None:
    file = tmp_path / "net_code.py"
    file.write_text("from tests.pipeline.files.test_settled import parametrized as build\n")
    network = parametrized()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1)
    path = networks.pickled(tmp_path / "m.pt", network.state_dict())
    x = torch.randn(5, 6)
    torch.testing.assert_close(load(path, factory=f"{file}:build").module(x), network(x))


def test_parametrization_that_fails() -> None:
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Failing(), unsafe=True)
    with pytest.raises(ModelError, match="parametrized") as caught:
        settle(nn.Sequential(layer), "net.pt")
    assert caught.value.where == "net.pt, 0.weight" and "no such weight" in caught.value.found


def test_fake_quantization_is_left_out() -> None:
    network = in_quantization_aware_training().eval()
    assert any("FakeQuantize" in type(part).__name__ for part in network.modules())
    plain = copy.deepcopy(network)
    (note,) = settle(plain, "net.pt")
    assert "quantization-aware" in note
    assert not any("FakeQuantize" in type(part).__name__ for part in plain.modules())
    x = torch.randn(1, 1, 8, 8)
    weight, bias = network.get_parameter("1.weight"), network.get_parameter("1.bias")
    torch.testing.assert_close(plain(x), torch.conv2d(x, weight, bias).relu())
