from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress import accounting
from edgefactor.pipeline.compress.context import TrainingOptions
from edgefactor.pipeline.compress.deep_k_means import DeepKMeans, DeepKMeansOptions, Projection
from edgefactor.pipeline.compress.freezing import freeze, records
from edgefactor.pipeline.compress.method import PerLayer
from edgefactor.pipeline.compress.share_vectors import ShareVectors, ShareVectorsOptions
from edgefactor.pipeline.compress.vector_kmeans import cluster_vectors
from tests.pipeline.compress.small_nets import context, network, task


def test_from_the_same_start_as_scikit_learn() -> None:
    sklearn_cluster = pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(0).standard_normal((600, 4))
    start = points[:12]
    model = sklearn_cluster.KMeans(12, init=start, n_init=1, tol=0, max_iter=300).fit(points)
    mine = cluster_vectors(points, 12, start=start)
    assert mine.inertia == pytest.approx(model.inertia_, rel=1e-3)


def test_plus_plus_is_as_good_as_scikit_learn() -> None:
    sklearn_cluster = pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(1).laplace(size=(2000, 2))
    model = sklearn_cluster.KMeans(32, n_init=3, random_state=0).fit(points)
    best = min(cluster_vectors(points, 32, seed=seed).inertia for seed in range(3))
    assert best < 1.05 * model.inertia_


def test_weights_of_coordinates_count() -> None:
    rng = np.random.default_rng(2)
    points = np.concatenate([rng.choice([-1.0, 1.0], (200, 1)), rng.normal(size=(200, 1))], 1)
    weights = np.tile([1.0, 1e-6], (200, 1))
    found = cluster_vectors(points, 2, weights=weights)
    assert np.allclose(np.sort(found.centroids[:, 0]), [-1, 1])
    off = points - found.centroids[found.index]
    assert found.inertia == pytest.approx(float((weights * off**2).sum()))


@pytest.mark.parametrize("d, layout", [(2, "channels"), (4, "channels"), (8, "rows")])
def test_groups_of_a_layer_take_few_vectors(d: int, layout: str) -> None:
    net = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(64, 32))
    options = ShareVectorsOptions(d=d, layout=layout, values=PerLayer.of(10))
    ShareVectors().apply(net, ["0", "2"], options, context())
    freeze(net)
    kernel = net[0].weight.detach()
    rows = kernel.permute(0, 2, 3, 1).reshape(-1, d) if layout == "channels" else kernel
    rows = rows if layout == "channels" else rows.reshape(-1, 3)
    assert len(torch.unique(rows, dim=0)) <= 10
    assert len(torch.unique(net[2].weight.detach().reshape(-1, d), dim=0)) <= 10


def test_storage_of_two_bits_a_weight() -> None:
    net = nn.Sequential(nn.Linear(64, 128, bias=False))
    options = ShareVectorsOptions(d=4, values=PerLayer.of(256))
    result = ShareVectors().apply(net, ["0"], options, context())
    assert result.layers["0"]["bits"] == 2
    storage = accounting.total(records(net), 64 * 128)
    assert storage.stored_bits == 64 * 128 * 2 + 256 * 4 * 32


def test_layers_that_d_does_not_divide_are_left_with_a_note() -> None:
    net = network()
    result = ShareVectors().apply(net, ("conv", "fc1"), ShareVectorsOptions(d=4), context())
    assert list(result.layers) == ["fc1"]
    assert "conv was left" in result.notes[0]
    assert type(net.conv.weight) is nn.Parameter


def test_more_vectors_than_groups() -> None:
    options = ShareVectorsOptions(d=8, values=PerLayer.of(13))
    with pytest.raises(OptionError, match="cannot have that many") as caught:
        ShareVectors().apply(network(), ("fc2",), options, context())
    assert caught.value.found == "13 vectors for 12 groups of 8 weights"


def test_vectors_are_trained() -> None:
    net, ctx = network(), context(task())
    training = TrainingOptions(epochs=5, batch=64, learning_rate=2e-3)
    ctx.trainer.fit(net, training, ctx, label="first")
    plain = ShareVectorsOptions(d=4, values=PerLayer.of(6), importance="inputs", scale="rms")
    ShareVectors().apply(net, ("fc1", "fc2"), plain, ctx)
    before = ctx.trainer.fit(net, TrainingOptions(epochs=1, batch=64), ctx, label="a")[0]
    after = ctx.trainer.fit(net, training, ctx, label="b")[-1]
    assert after < before
    freeze(net)
    rows = net.fc2.weight / net.fc2.weight_scale[:, None]
    assert len(torch.unique(torch.round(rows.reshape(-1, 4) * 1e4), dim=0)) <= 6


@pytest.mark.parametrize("kind, d, k", [("clusters", 4, 5), ("spectral", 8, 3)])
def test_penalty_is_the_trace_formula_and_its_gradient(kind: str, d: int, k: int) -> None:
    layer = nn.Linear(16, 6)
    part = Projection(layer, d, k, kind, 0)
    columns = layer.weight.detach().reshape(-1, d).T.double()
    if kind == "spectral":
        vectors = torch.linalg.eigh(columns.T @ columns)[1]
        f = vectors[:, -k:]
    else:
        hot = nn.functional.one_hot(part.index, k).double()
        f = hot / hot.sum(0).clamp_min(1).sqrt()
        assert torch.allclose(f.T @ f, torch.eye(k).double())
    gram = columns.T @ columns
    expected = 0.5 * (gram.trace() - (f.T @ gram @ f).trace())
    penalty = part.penalty()
    assert float(penalty.detach()) == pytest.approx(float(expected), rel=1e-4)
    penalty.backward()
    assert layer.weight.grad is not None
    gradient = (columns - columns @ f @ f.T).T.reshape(6, 16)
    assert torch.allclose(layer.weight.grad.double(), gradient, atol=1e-5)


def test_retraining_with_the_penalty_loses_less_than_without() -> None:
    teacher, ctx = network(), context(task())
    first = TrainingOptions(epochs=6, batch=64, learning_rate=2e-3)
    ctx.trainer.fit(teacher, first, ctx, label="first")
    errors = {}
    for strength in (0.0, 0.3):
        net = network()
        net.load_state_dict(teacher.state_dict())
        options = DeepKMeansOptions(
            values=PerLayer.of(4),
            strength=strength,
            renew=4,
            retraining=TrainingOptions(epochs=8, batch=64, learning_rate=1e-3),
        )
        result = DeepKMeans().apply(net, ("fc1", "fc2"), options, context(task()))
        errors[strength] = result.layers["fc1"]["relative_error"]
    assert errors[0.3] < 0.7 * errors[0.0]


def test_spectral_penalty_without_effect_is_said() -> None:
    options = DeepKMeansOptions(
        values=PerLayer.of(4), penalty="spectral", retraining=TrainingOptions(epochs=0)
    )
    result = DeepKMeans().apply(network(), ("conv",), options, context(task()))
    assert "is zero for K = 4 and rows of 3" in result.notes[0]
