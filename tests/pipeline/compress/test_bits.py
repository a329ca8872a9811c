from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgefactor.errors import BudgetError
from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.bits import CHOICES, allocate, layer_bytes
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.freezing import records
from edgefactor.pipeline.compress.share import Share, ShareOptions
from tests.pipeline.compress.small_nets import context, network, task

LAYERS = ("conv", "fc1", "fc2")


@pytest.mark.parametrize("seed", range(8))
def test_allocation_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [f"layer{i}" for i in range(4)]
    weights = rng.integers(10, 3000, 4).tolist()
    losses = {
        name: dict(zip(CHOICES, np.sort(rng.exponential(size=6))[::-1].tolist(), strict=True))
        for name in layers
    }
    sizes = {
        name: {k: layer_bytes(n, k) for k in CHOICES}
        for name, n in zip(layers, weights, strict=True)
    }
    budget = int(sum(weights) * rng.uniform(0.3, 0.6)) + 64
    best = min(
        sum(losses[name][k] for name, k in zip(layers, choice, strict=True))
        for choice in itertools.product(CHOICES, repeat=4)
        if sum(sizes[name][k] for name, k in zip(layers, choice, strict=True)) <= budget
    )
    found = allocate(losses, sizes, budget)
    assert sum(losses[name][k] for name, k in found.items()) == pytest.approx(best)
    assert sum(sizes[name][k] for name, k in found.items()) <= budget


def test_budget_below_one_bit_a_weight() -> None:
    sizes = {"a": {2: layer_bytes(800, 2)}}
    with pytest.raises(BudgetError, match="too small") as caught:
        allocate({"a": {2: 1.0}}, sizes, 100)
    assert caught.value.expected == "at least 102 bytes for these layers"


def test_shared_under_a_budget() -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=5, batch=64, learning_rate=2e-3)
    ctx.trainer.fit(net, training, ctx, label="first")
    weights = {"conv": 72, "fc1": 3072, "fc2": 96}
    # Two bits each, and a little more that only the small layers can use.
    budget = sum(layer_bytes(count, 4) for count in weights.values()) + 100
    result = Share().apply(net, LAYERS, ShareOptions(budget_bytes=budget), ctx)
    chosen = {name: figures["values"] for name, figures in result.layers.items()}
    assert sum(layer_bytes(weights[name], k) for name, k in chosen.items()) <= budget
    assert len(set(chosen.values())) > 1
    storage = accounting.total(records(net), 3240)
    assert storage.device_weight_bytes <= budget
