from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.freezing import freeze, records
from edgefactor.pipeline.compress.quantized_weight import QuantizedWeight
from edgefactor.pipeline.compress.quantizing import (
    Binary,
    QuantizeOptions,
    Ternary,
    Uniform,
    UniformOptions,
)
from tests.pipeline.compress.small_nets import context, network, task

LAYERS = ("conv", "fc1", "fc2")
CASES = [
    (Uniform(), UniformOptions(bits=4), 15, 4),
    (Uniform(), UniformOptions(bits=2), 3, 2),
    (Ternary(), QuantizeOptions(), 3, 2),
    (Binary(), QuantizeOptions(), 2, 1),
    (Binary(), QuantizeOptions(per_channel=False), 2, 1),
]


@pytest.mark.parametrize("method, options, levels, bits", CASES)
def test_levels_up_to_one_factor(method, options, levels: int, bits: int) -> None:
    net = network()
    method.apply(net, LAYERS, options, context())
    with torch.no_grad():
        expected = net(torch.from_numpy(task(8).inputs[0]))
    storage = accounting.total(records(net), 3240)
    for layer in storage.layers:
        assert layer.weight_bits == bits
    freeze(net)
    with torch.no_grad():
        assert torch.equal(net(torch.from_numpy(task(8).inputs[0])), expected)
    for name in LAYERS:
        layer = net.get_submodule(name)
        rows = layer.weight.detach().reshape(len(layer.weight), -1) / layer.weight_scale[:, None]
        assert torch.allclose(rows, rows.round(), atol=1e-4)
        assert len(torch.unique(rows.round())) <= levels


@pytest.mark.parametrize("method, options, levels, bits", CASES[:4])
def test_trained_through_the_rounding(method, options, levels: int, bits: int) -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=6, batch=64, learning_rate=3e-3)
    ctx.trainer.fit(net, training, ctx, label="first")
    method.apply(net, LAYERS, options, ctx)
    ctx.trainer.fit(net, training, ctx, label="tune")
    accuracy = ctx.accuracy(net)
    assert accuracy is not None and accuracy > 0.85


def test_ternary_is_the_published_rule() -> None:
    weight = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    levels, factor = QuantizedWeight("ternary", 0, per_channel=True).parts(weight)
    for row, level, scale in zip(weight.numpy(), levels.numpy(), factor.numpy(), strict=True):
        kept = np.abs(row) > 0.7 * np.abs(row).mean()
        assert np.array_equal(level, np.where(kept, np.sign(row), 0))
        assert scale[0] == pytest.approx(np.abs(row[kept]).mean(), rel=1e-5)


def test_binary_factor_is_the_least_squares_one() -> None:
    weight = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    levels, factor = QuantizedWeight("binary", 0, per_channel=True).parts(weight)
    best = (weight * levels).sum(1) / levels.square().sum(1)
    assert torch.allclose(factor[:, 0], best, rtol=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_uniform_is_never_worse_than_the_full_range(bits: int) -> None:
    weight = torch.randn(5, 300, generator=torch.Generator().manual_seed(bits))
    levels, factor = QuantizedWeight("uniform", bits, per_channel=True).parts(weight)
    top = 2 ** (bits - 1) - 1
    assert int(levels.abs().max()) <= top
    step = weight.abs().amax(1, keepdim=True) / top
    plain = (torch.round(weight / step) * step - weight).square().sum(1)
    error = (levels * factor - weight).square().sum(1)
    assert (error <= plain * (1 + 1e-6)).all()


def test_gradient_passes_unchanged() -> None:
    layer = nn.Linear(6, 4)
    nn.utils.parametrize.register_parametrization(
        layer, "weight", QuantizedWeight("binary", 0, per_channel=True)
    )
    direction = torch.randn(4, 6)
    (layer.weight * direction).sum().backward()
    assert torch.equal(layer.parametrizations.weight.original.grad, direction)


def test_quantized_twice() -> None:
    net = network()
    Binary().apply(net, ("fc1",), QuantizeOptions(), context())
    with pytest.raises(OptionError, match="already"):
        Ternary().apply(net, ("fc1",), QuantizeOptions(), context())
