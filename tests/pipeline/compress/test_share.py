from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.freezing import freeze, records
from edgefactor.pipeline.compress.method import PerLayer
from edgefactor.pipeline.compress.pruning import Prune, PruneOptions
from edgefactor.pipeline.compress.share import Share, ShareOptions
from edgefactor.pipeline.compress.shared_weight import original_of
from tests.pipeline.compress.small_nets import context, network, task
from tests.pipeline.compress.test_scalar_kmeans import FIGURE_3, FIGURE_3_INDEX

# The gradients of the same figure, and the centroids after one step with learning rate 1.
FIGURE_3_GRADIENT = [
    [-0.03, -0.01, 0.03, 0.02],
    [-0.01, 0.01, -0.02, 0.12],
    [-0.01, 0.02, 0.04, 0.01],
    [-0.07, -0.02, 0.01, -0.02],
]
FIGURE_3_SUMS = [-0.03, 0.04, 0.02, 0.04]
LAYERS = ("conv", "fc1", "fc2")


def values(k: float) -> PerLayer:
    return PerLayer.of(k)


def test_figure_3_codes_gradients_and_rate() -> None:
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data = torch.tensor(FIGURE_3, dtype=torch.float32)
    model = nn.Sequential(layer)
    options = ShareOptions(values=values(4), start="linear", grid=False)
    Share().apply(model, ["0"], options, context())
    record, weight = records(model)["0"]
    assert record.index is not None
    assert np.array_equal(record.index.reshape(4, 4), FIGURE_3_INDEX)
    before = original_of(layer).detach().clone()
    (layer.weight * torch.tensor(FIGURE_3_GRADIENT)).sum().backward()
    gradient = original_of(layer).grad
    assert gradient is not None
    assert np.allclose(gradient[:, 0].numpy(), FIGURE_3_SUMS, atol=1e-6)
    step = (before - gradient)[:, 0].numpy()
    assert np.allclose(step, [-0.97, -0.04, 1.48, 1.96], atol=0.006)
    storage = accounting.total({"0": (record, weight)}, 16)
    assert storage.rate == 3.2
    assert accounting.sharing_rate(16, 4) == 3.2


@pytest.mark.parametrize("scale", ["none", "max", "rms"])
@pytest.mark.parametrize("grid", [False, True])
def test_shared_layers_take_k_values_up_to_their_scale(scale: str, grid: bool) -> None:
    net = network()
    options = ShareOptions(values=values(6), scale=scale, grid=grid)
    Share().apply(net, LAYERS, options, context())
    freeze(net)
    for name in LAYERS:
        layer = net.get_submodule(name)
        rows = layer.weight.detach().double().reshape(len(layer.weight), -1)
        if scale != "none":
            rows = rows / layer.weight_scale.double()[:, None]
        step = rows.abs().max() * 1e-6
        assert len(torch.unique(torch.round(rows / step))) <= 6
        codes = rows / rows.abs().max() * 127
        if grid:
            assert torch.allclose(codes, codes.round(), atol=1e-3)


def test_training_goes_through_the_codebook_and_keeps_sharing() -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=4, batch=64, learning_rate=3e-3)
    ctx.trainer.fit(net, training, ctx, label="first")
    options = ShareOptions(values=values(2), scale="rms")
    Share().apply(net, LAYERS, options, ctx)
    before = ctx.accuracy(net)
    assert before is not None
    ctx.trainer.fit(net, training, ctx, label="tune")
    after = ctx.accuracy(net)
    assert after is not None and after > before
    with torch.no_grad():
        trained = net(torch.from_numpy(task().inputs[0]))
    freeze(net)
    assert type(net.fc1.weight) is nn.Parameter
    with torch.no_grad():
        assert torch.equal(net(torch.from_numpy(task().inputs[0])), trained)
    assert len(torch.unique(net.fc1.weight / net.fc1.weight_scale[:, None] * 1e4 // 1)) <= 8


def test_gradient_of_the_codebook_equals_autograd_through_indexing() -> None:
    net = network()
    Share().apply(net, LAYERS, ShareOptions(values=values(5), scale="rms", grid=False), context())
    inputs, labels = torch.from_numpy(task(32).inputs[0]), torch.from_numpy(task(32).labels)
    nn.functional.cross_entropy(net(inputs), labels).backward()
    shared = net.fc1.parametrizations.weight
    codebook = shared.original.detach().clone().requires_grad_()
    weight = codebook[shared[0].index.long()].reshape(24, 128) * shared[0].scale[:, None]
    reference = network()
    Share().apply(reference, ("conv", "fc2"), ShareOptions(
        values=values(5), scale="rms", grid=False), context())  # fmt: skip
    outputs = torch.func.functional_call(reference, {"fc1.weight": weight}, (inputs,))
    nn.functional.cross_entropy(outputs, labels).backward()
    assert torch.allclose(shared.original.grad, codebook.grad, rtol=1e-4, atol=1e-7)


def test_pruned_zeros_stay_zero_while_the_rest_is_trained() -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=2, batch=64)
    prune = PruneOptions(keep=PerLayer.of({"fc1": 0.1, "*": 0.5}), every=2, training=training)
    Prune().apply(net, LAYERS, prune, ctx)
    kept = {name: net.get_submodule(name).weight.detach() != 0 for name in LAYERS}
    assert int(kept["fc1"].sum()) == round(0.1 * 24 * 128)
    assert int(kept["fc2"].sum()) == 48
    Share().apply(net, LAYERS, ShareOptions(values=values(8), training=training), ctx)
    for name in LAYERS:
        weight = net.get_submodule(name).weight.detach()
        assert not weight[~kept[name]].any()
        assert len(torch.unique(weight)) <= 8


def test_gradual_pruning_ends_at_the_fraction_and_learns() -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=6, batch=64, learning_rate=2e-3)
    Prune().apply(net, LAYERS, PruneOptions(keep=values(0.2), every=3, training=training), ctx)
    accuracy = ctx.accuracy(net)
    assert accuracy is not None and accuracy > 0.6


def test_importance_by_inputs_ignores_weights_that_see_nothing() -> None:
    model = nn.Sequential(nn.Linear(6, 3))
    inputs = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)
    inputs[:, :3] = 0
    data = replace(task(64), inputs=(inputs,), labels=None)
    options = PruneOptions(keep=values(0.5), importance="inputs")
    Prune().apply(model, ["0"], options, context(data))
    assert not model[0].weight[:, :3].any()
    assert model[0].weight[:, 3:].all()


@pytest.mark.parametrize("k", [97, 4000])
def test_more_values_than_weights(k: int) -> None:
    with pytest.raises(OptionError, match="cannot have that many") as caught:
        Share().apply(network(), ["fc2"], ShareOptions(values=values(k)), context())
    assert caught.value.where == "fc2"


def test_a_layer_is_shared_once() -> None:
    net = network()
    Share().apply(net, ["fc2"], ShareOptions(), context())
    with pytest.raises(OptionError, match="already"):
        Share().apply(net, ["fc2"], ShareOptions(), context())


def test_the_elbow_of_a_pruned_layer_counts_zero_beside_its_values() -> None:
    """Two groups of weights, one of each sign, are two values and zero."""
    net = nn.Sequential(nn.Linear(20, 10, bias=False))
    signs = torch.where(torch.rand(10, 20, generator=torch.Generator().manual_seed(0)) < 0.5, -1, 1)
    net[0].weight.data = signs * torch.linspace(0.9, 1.0, 200).reshape(10, 20)
    Prune().apply(net, ["0"], PruneOptions(keep=values(0.5)), context())
    Share().apply(net, ["0"], ShareOptions(values=values(0)), context())
    found = torch.unique(net[0].weight.detach())
    assert len(found) == 3
    assert found[0] < -0.9 and found[1] == 0 and found[2] > 0.9


def test_small_layers_take_fewer_values_where_asked() -> None:
    net = network()
    with pytest.raises(OptionError, match="that many shared values"):
        Share().apply(net, ["conv"], ShareOptions(values=values(100)), context())
    Share().apply(net, LAYERS, ShareOptions(values=values(100), small_layers="fewer"), context())
    assert records(net)["conv"][0].values == 72
    assert records(net)["fc1"][0].values == 100
