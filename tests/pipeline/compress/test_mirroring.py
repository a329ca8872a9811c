from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.mirroring import mirror_negative_channels
from edgefactor.pipeline.compress.share import Share, ShareOptions
from tests.pipeline.compress.small_nets import context, task


def network(*, bias: bool) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=bias), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 36, 6, bias=bias), nn.BatchNorm1d(6),
    )  # fmt: skip
    for norm in (net[1], net[5]):
        norm.weight.data = torch.randn(norm.num_features)
        norm.running_mean = torch.randn(norm.num_features)
        norm.running_var = torch.rand(norm.num_features) + 0.5
    return net.eval()


@pytest.mark.parametrize("bias", [True, False])
def test_the_same_function_to_the_bit_with_positive_factors(bias: bool) -> None:
    net = network(bias=bias)
    x = torch.randn(5, 3, 8, 8)
    before = net(x)
    assert (net[1].weight < 0).any() and (net[5].weight < 0).any()
    mirror_negative_channels(net)
    assert (net[1].weight >= 0).all() and (net[5].weight >= 0).all()
    assert torch.equal(net(x), before)


def test_layers_with_other_readers_stay() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)
            self.norm.weight.data = -torch.ones(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    net = Two().eval()
    state = copy.deepcopy(net.state_dict())
    mirror_negative_channels(net)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


def test_training_does_not_make_factors_of_shared_layers_negative() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(6)
    )
    net(torch.from_numpy(task(2).inputs[0]))
    with torch.no_grad():
        net[1].weight.fill_(1e-4)
    other = copy.deepcopy(net)
    options = TrainingOptions(epochs=2, batch=32, learning_rate=1e-3)
    for model, shared in ((net, True), (other, False)):
        ctx = context(task(256))
        if shared:
            Share().apply(model, ["0"], ShareOptions(), ctx)
        ctx.trainer.fit(model, options, ctx, label="test")
    assert (other[1].weight < 0).any(), "this training would"
    assert (net[1].weight >= 0).all()
    assert (net[1].weight > 0).any()
