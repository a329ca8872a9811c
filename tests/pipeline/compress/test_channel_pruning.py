from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.channel_pruning import (
    PruneChannels,
    PruneChannelsOptions,
    most_important,
)
from edgefactor.pipeline.compress.channels import follow, trace
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.method import PerLayer
from tests.pipeline.compress.small_nets import context, network, task


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.back = nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        y = self.back(F.relu(self.depthwise(self.inner(x))))
        return self.head(torch.relu(x + y).mean((2, 3)))


def options(keep: float, **others: object) -> PruneChannelsOptions:
    return PruneChannelsOptions(keep=PerLayer.of(keep), **others)


def silence(model: nn.Module, name: str, kept: Tensor) -> None:
    """Sets the channels that are not kept to zero where they come from."""
    layer = model.get_submodule(name)
    gone = torch.ones(len(layer.weight), dtype=torch.bool)
    gone[kept] = False
    with torch.no_grad():
        layer.weight[gone] = 0
        layer.bias[gone] = 0


def test_removed_channels_are_as_silent_ones() -> None:
    torch.manual_seed(0)
    net = Residual().eval()
    with torch.no_grad():
        net.depthwise.bias.zero_()
    silent = copy.deepcopy(net)
    graph = trace(net)
    assert graph is not None
    channels = follow(graph, "inner")
    assert (channels.depthwise, channels.readers) == (["depthwise"], {"back": 1})
    silence(silent, "inner", most_important(net, channels, 5))
    result = PruneChannels().apply(net, ["inner"], options(0.6), context())
    assert result.layers["inner"] == {"channels": 8, "kept": 5}
    assert net.inner.out_channels == net.depthwise.groups == net.back.in_channels == 5
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(net(x), silent(x), atol=1e-6)


def test_flattened_readers_and_batch_norm() -> None:
    net = network()
    with torch.no_grad():
        net.norm.weight.copy_(torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0]))
        net.norm.bias.mul_(net.norm.weight)
    whole = copy.deepcopy(net)
    PruneChannels().apply(net, ["conv", "fc1"], options(0.5), context())
    assert net.conv.out_channels == net.norm.num_features == 4
    assert (net.fc1.in_features, net.fc1.out_features, net.fc2.in_features) == (64, 12, 12)
    x = torch.from_numpy(task(4).inputs[0])
    with torch.no_grad():
        hidden = F.max_pool2d(torch.relu(whole.norm(whole.conv(x))), 2)[:, ::2].flatten(1)
        mine = F.max_pool2d(torch.relu(net.norm(net.conv(x))), 2).flatten(1)
        assert torch.allclose(mine, hidden, atol=1e-6)
        assert net(x).shape == (4, 4)


def test_channels_of_a_sum_and_of_the_output_stay() -> None:
    net = Residual().eval()
    names = ["first", "inner", "depthwise", "back", "head"]
    result = PruneChannels().apply(net, names, options(0.5), context())
    assert list(result.layers) == ["inner"]
    said = "\n".join(result.notes)
    for name in ("first", "depthwise", "back", "head"):
        assert f"{name} was left" in said
    assert net(torch.zeros(1, 1, 8, 8)).shape == (1, 4)
    with pytest.raises(OptionError, match="No layer"):
        PruneChannels().apply(net, ["back"], options(0.5), context())


def test_multiples_and_training() -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=8, batch=64, learning_rate=5e-3)
    chosen = options(0.4, multiple=8, training=training)
    PruneChannels().apply(net, ["fc1"], chosen, ctx)
    assert net.fc1.out_features == 8
    accuracy = ctx.accuracy(net)
    assert accuracy is not None and accuracy > 0.6


def test_code_that_depends_on_values() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) if x.sum() > 0 else x

    with pytest.raises(OptionError, match="cannot be followed"):
        PruneChannels().apply(Branching(), ["fc"], options(0.5), context())
