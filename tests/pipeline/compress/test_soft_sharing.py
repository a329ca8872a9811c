from __future__ import annotations

import math

import pytest
import torch
from torch import distributions

from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.freezing import records
from edgefactor.pipeline.compress.mixture import Component, Mixture, assign, divergence
from edgefactor.pipeline.compress.soft_sharing import SoftSharing, SoftSharingOptions
from tests.pipeline.compress.small_nets import context, network, task


def mixture() -> Mixture:
    made = Mixture(5, zero_share=0.9, low=-0.6, high=0.6, deviation=0.25)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def test_complexity_and_its_gradients_equal_torch_distributions() -> None:
    made = mixture()
    # More than are taken at a time.
    weights = torch.randn(20_000, generator=torch.Generator().manual_seed(1), requires_grad=True)
    means, log_precisions, log_shares = made.parts()
    assert float(log_shares.detach().exp().sum()) == pytest.approx(1.0)
    oracle = distributions.MixtureSameFamily(
        distributions.Categorical(logits=log_shares),
        distributions.Normal(means, (-0.5 * log_precisions).exp()),
    )
    expected = -oracle.log_prob(weights).sum()
    precisions = log_precisions.exp()
    for prior, part in (((5e3, 2.0), precisions[:1]), ((250.0, 0.1), precisions[1:])):
        gamma = distributions.Gamma(*(torch.tensor(number) for number in prior))
        constant = prior[0] * math.log(prior[1]) - math.lgamma(prior[0])
        expected = expected - (gamma.log_prob(part) - constant).sum()
    found = made.complexity(weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    trained = (weights, *made.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(found, trained), torch.autograd.grad(expected, trained), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=2e-4, atol=2e-4 * float(theirs.abs().max()))


def test_divergence_equals_torch_distributions() -> None:
    a, b = Component(mean=0.1, variance=0.04, share=1), Component(mean=0.3, variance=0.01, share=1)
    p, q = distributions.Normal(0.1, 0.2), distributions.Normal(0.3, 0.1)
    both = distributions.kl_divergence(p, q) + distributions.kl_divergence(q, p)
    assert divergence(a, b) == pytest.approx(float(both) / 2, rel=1e-5)
    assert divergence(a, a) == 0


def test_equal_components_are_merged() -> None:
    made = Mixture(5, zero_share=0.9, low=-0.6, high=0.6, deviation=0.25)
    with torch.no_grad():
        made.means.copy_(torch.tensor([-0.5, 0.0, 0.5, 0.5]))
    merged = made.merged()
    assert [round(c.mean, 3) for c in merged] == [0.0, -0.5, 0.5]
    assert [round(c.share, 4) for c in merged] == [0.925, 0.025, 0.05]


def test_near_components_are_merged_where_it_is_asked_for() -> None:
    made = Mixture(5, zero_share=0.9, low=-0.6, high=0.6, deviation=0.25)
    with torch.no_grad():
        made.means.copy_(torch.tensor([-0.5, 0.1, 0.5, 0.52]))
    assert len(made.merged()) == 5
    assert [round(c.mean, 3) for c in made.merged(0.01)] == [0.0, -0.5, 0.1, 0.51]


def test_assignment_is_the_most_responsible_component() -> None:
    made = mixture()
    weights = torch.randn(500, generator=torch.Generator().manual_seed(1))
    means, log_precisions, log_shares = (part.detach().double() for part in made.parts())
    normals = distributions.Normal(means, (-0.5 * log_precisions).exp())
    expected = (normals.log_prob(weights.double()[:, None]) + log_shares).argmax(1)
    assert torch.equal(assign(weights, made.merged()), expected)


def test_weights_gather_at_few_values_and_zero() -> None:
    net, ctx = network(), context(task())
    first = TrainingOptions(epochs=4, batch=64, learning_rate=2e-3)
    ctx.trainer.fit(net, first, ctx, label="first")
    training = TrainingOptions(epochs=25, batch=64, learning_rate=2e-3, schedule="constant")
    # Few steps: the mixture has to learn faster than on a real network.
    options = SoftSharingOptions(
        components=8,
        tau=0.02,
        zero_share=0.9,
        deviation=0.1,
        spread=0.3,
        rate_means=5e-3,
        rate_precisions=5e-2,
        training=training,
    )
    result = SoftSharing().apply(net, ("conv", "fc1", "fc2"), options, ctx)
    accuracy = ctx.accuracy(net)
    assert accuracy is not None and accuracy > 0.9
    found = records(net)
    for name in ("conv", "fc1", "fc2"):
        assert found[name][0].values <= 8
        assert len(set(found[name][1].ravel().tolist())) <= 8
    assert result.layers["fc1"]["kept"] < 0.6 * 24 * 128
