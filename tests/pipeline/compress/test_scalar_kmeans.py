from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress import scalar_kmeans
from edgefactor.pipeline.compress.scalar_kmeans import cluster, elbow

# Figure 3 of Deep Compression (arXiv 1510.00149): weights, cluster of each, centroids.
FIGURE_3 = np.array(
    [
        [2.09, -0.98, 1.48, 0.09],
        [0.05, -0.14, -1.08, 2.12],
        [-0.91, 1.92, 0.0, -1.03],
        [1.87, 0.0, 1.53, 1.49],
    ]
)
FIGURE_3_INDEX = np.array([[3, 0, 2, 1], [1, 1, 0, 3], [0, 3, 1, 0], [3, 1, 2, 2]])

STARTS = ("linear", "density", "random", "k-means++")


def brute_force(values: np.ndarray, weights: np.ndarray, k: int) -> float:
    """The least inertia over all ways to cut the sorted values into k runs."""
    order = np.argsort(values)
    x, w = values[order], weights[order]
    best = np.inf
    for cuts in itertools.combinations(range(1, len(x)), k - 1):
        total = 0.0
        for part, mass in zip(np.split(x, cuts), np.split(w, cuts), strict=True):
            center = (part * mass).sum() / mass.sum()
            total += (mass * (part - center) ** 2).sum()
        best = min(best, total)
    return best


def test_figure_3_of_deep_compression() -> None:
    for start in ("exact", *STARTS[:1]):
        found = cluster(FIGURE_3, 4, start=start)
        assert np.array_equal(found.index, FIGURE_3_INDEX)
        assert np.allclose(found.centroids, [-1.0, 0.0, 1.5, 2.0], atol=0.005)


@pytest.mark.parametrize("n, k", [(1, 1), (2, 2), (5, 2), (8, 3), (11, 4), (12, 6), (12, 11)])
@pytest.mark.parametrize("seed", range(5))
def test_exact_equals_brute_force(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(n).round(1) + 100  # rounded: some values repeat
    weights = rng.uniform(0.1, 5, n)
    assert cluster(values, k, weights=weights).inertia == pytest.approx(
        brute_force(values, weights, k), abs=1e-9
    )


@pytest.mark.parametrize("k", [2, 7, 32])
def test_exact_is_never_worse_than_scikit_learn_or_any_start(k: int) -> None:
    sklearn_cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(k)
    values = np.concatenate([rng.laplace(size=1500), rng.normal(3, 0.2, 500)])
    best = cluster(values, k).inertia
    model = sklearn_cluster.KMeans(k, n_init=10, random_state=0).fit(values[:, None])
    assert best <= model.inertia_ * (1 + 1e-9)
    for start in STARTS:
        assert best <= cluster(values, k, start=start, seed=1).inertia * (1 + 1e-9)


def test_lloyd_from_a_linear_start_equals_scikit_learn() -> None:
    sklearn_cluster = pytest.importorskip("sklearn.cluster")
    values = np.random.default_rng(0).standard_normal(1000)
    start = np.linspace(values.min(), values.max(), 8)[:, None]
    model = sklearn_cluster.KMeans(8, init=start, n_init=1, tol=0, max_iter=300)
    model.fit(values[:, None])
    mine = cluster(values, 8, start="linear")
    assert np.allclose(mine.centroids, np.sort(model.cluster_centers_[:, 0]))


def test_binned_search_is_as_good_as_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).standard_normal(20_000)
    exact = cluster(values, 16).inertia
    monkeypatch.setattr(scalar_kmeans, "EXACT_POINTS", 4096)
    assert cluster(values, 16).inertia <= exact * 1.0001


def test_values_are_their_nearest_centroids() -> None:
    values = np.random.default_rng(0).standard_normal((30, 40))
    found = cluster(values, 9)
    nearest = np.abs(values[..., None] - found.centroids).argmin(-1)
    assert np.array_equal(found.index, nearest)
    for j, center in enumerate(found.centroids):
        assert values[found.index == j].mean() == pytest.approx(center)


def test_fewer_distinct_values_than_clusters() -> None:
    found = cluster(np.array([1.0, 1.0, 2.0, 2.0]), 3)
    assert found.centroids.tolist() == [1.0, 2.0]
    assert found.inertia == 0


@pytest.mark.parametrize("k", [0, 5])
def test_impossible_number_of_clusters(k: int) -> None:
    with pytest.raises(OptionError, match="that many shared values"):
        cluster(np.arange(4.0), k)


def test_elbow_finds_the_number_of_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(center, 0.01, 200) for center in (-3, -1, 0, 1, 4, 9)])
    assert elbow(values, (2, 3, 4, 6, 8, 12, 16, 24, 32)) == 6
